use super::*;

#[test]
fn names_are_unique() {
    let mut names: Vec<&str> =
        COMMANDS.iter().flat_map(|c| std::iter::once(c.name).chain(c.aliases.iter().copied())).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for command in COMMANDS {
        let mut longs: Vec<&str> =
            options(command).flat_map(|opt| opt.aliases.iter().copied().chain([opt.long])).collect();
        let mut shorts: Vec<char> = options(command).filter_map(|opt| opt.short).collect();
        let count = (longs.len(), shorts.len());
        longs.sort_unstable();
        longs.dedup();
        shorts.sort_unstable();
        shorts.dedup();
        assert_eq!((longs.len(), shorts.len()), count, "{}", command.name);
    }
    assert!(command(DEFAULT_COMMAND).is_some());
}

#[test]
fn every_option_has_a_variable_named_after_the_program() {
    for opt in COMMANDS.iter().flat_map(|command| command.options) {
        let name = opt.env.strip_prefix("MUXLOOP_").unwrap_or_default();
        assert!(
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'),
            "--{}",
            opt.long
        );
    }
    assert!(EVERYWHERE.iter().all(|opt| opt.env.is_empty()), "help and version are asked for by hand");
}

#[test]
fn a_variable_means_one_option() {
    let opts = || COMMANDS.iter().flat_map(|command| command.options);
    for opt in opts() {
        let others = opts().filter(|other| other.env == opt.env);
        for other in others {
            assert_eq!(
                (other.long, other.value, other.words),
                (opt.long, opt.value, opt.words),
                "{}",
                opt.env
            );
        }
    }
}

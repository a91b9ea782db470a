//! Completion scripts for bash, zsh and fish, made from the table.

use super::table::{self, COMMANDS, Command, Opt, Words};
use crate::base::sorted;
use std::fmt::Write;

/// The script for one of [`table::SHELLS`].
pub fn script(shell: &str) -> String {
    match shell {
        "bash" => bash(),
        "zsh" => zsh(),
        _ => fish(),
    }
}

fn bash() -> String {
    let mut cases = String::new();
    for command in COMMANDS {
        let mut words: Vec<String> = table::options(command).flat_map(spellings).collect();
        words.extend(command.operand.iter().flat_map(table::operand_words).map(str::to_owned));
        let names: Vec<&str> = std::iter::once(command.name).chain(command.aliases.iter().copied()).collect();
        // Files beside the options.
        let is_file = command.operand.as_ref().is_some_and(|operand| matches!(operand.words, Words::Path));
        let files = if is_file { "; COMPREPLY=($(compgen -f -- \"$cur\"))" } else { "" };
        let _ = writeln!(cases, "    {}) words=\"{}\"{files} ;;", names.join("|"), words.join(" "));
    }
    let mut values = String::new();
    for opt in each_option() {
        let pattern = spellings(opt).join("|");
        let action = match (opt.value.is_empty(), opt.is_path, opt.words) {
            (true, ..) => continue,
            (_, true, _) => "COMPREPLY=($(compgen -f -- \"$cur\")); return".to_owned(),
            (_, _, []) => "return".to_owned(),
            (_, _, words) => format!("COMPREPLY=($(compgen -W \"{}\" -- \"$cur\")); return", words.join(" ")),
        };
        let _ = writeln!(values, "    {pattern}) {action} ;;");
    }
    let commands: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    format!(
        "# bash completion of muxloop\n\
         _muxloop() {{\n  \
         local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} words\n  \
         COMPREPLY=()\n  \
         case $prev in\n{values}  esac\n  \
         case ${{COMP_WORDS[1]}} in\n{cases}    \
         *) words=\"{commands} {run}\" ;;\n  esac\n  \
         COMPREPLY+=($(compgen -W \"$words\" -- \"$cur\"))\n\
         }}\n\
         complete -o filenames -F _muxloop muxloop\n",
        commands = commands.join(" "),
        run = default_options().flat_map(spellings).collect::<Vec<_>>().join(" "),
    )
}

fn zsh() -> String {
    let mut commands = String::new();
    let mut cases = String::new();
    for command in COMMANDS {
        let _ = writeln!(commands, "    '{}:{}'", command.name, quote(command.summary, "'\\''"));
        let mut specs: Vec<String> = table::options(command).flat_map(zsh_specs).collect();
        specs.extend(command.operand.iter().map(|operand| match operand.words {
            Words::Path => format!("'1:{}:_files'", operand.name),
            Words::Servers => format!("'*:{}:()'", operand.name),
            Words::Program => format!("'*:{}:_command_names'", operand.name),
            _ => format!("'1:{}:({})'", operand.name, table::operand_words(operand).join(" ")),
        }));
        let _ = writeln!(cases, "    {}) _arguments {} ;;", command.name, specs.join(" "));
    }
    let run: Vec<String> = default_options().flat_map(zsh_specs).collect();
    format!(
        "#compdef muxloop\n\
         _muxloop() {{\n  \
         local -a commands=(\n{commands}  )\n  \
         if (( CURRENT == 2 )) && [[ ${{words[2]}} != -* ]]; then\n    \
         _describe command commands\n    return\n  fi\n  \
         case ${{words[2]}} in\n    \
         -*) _arguments {run} ; return ;;\n  esac\n  \
         local command=${{words[2]}}\n  \
         shift words; (( CURRENT-- ))\n  \
         case $command in\n{cases}  esac\n\
         }}\n\
         if [[ $funcstack[1] == _muxloop ]]; then _muxloop \"$@\"; else compdef _muxloop muxloop; fi\n",
        run = run.join(" "),
    )
}

/// `'--config[doc]:FILE:_files'`, once for each spelling.
fn zsh_specs(opt: &'static Opt) -> Vec<String> {
    let value = match (opt.value, opt.is_path, opt.words) {
        ("", ..) => String::new(),
        (name, true, _) => format!(":{name}:_files"),
        (name, _, words) => format!(":{name}:({})", words.join(" ")),
    };
    let doc = quote(opt.doc, "'\\''").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:");
    spellings(opt).iter().map(|spelling| format!("'{spelling}[{doc}]{value}'")).collect()
}

fn fish() -> String {
    let mut text = String::from("# fish completion of muxloop\ncomplete -c muxloop -f\n");
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    let none_yet = format!("not __fish_seen_subcommand_from {}", names.join(" "));
    for command in COMMANDS {
        let summary = quote(command.summary, "\\'");
        let _ = writeln!(text, "complete -c muxloop -n '{none_yet}' -a {} -d '{summary}'", command.name);
    }
    for opt in default_options() {
        let _ = writeln!(text, "complete -c muxloop -n '{none_yet}'{}", fish_option(opt));
    }
    for command in COMMANDS {
        let here = format!("complete -c muxloop -n '__fish_seen_subcommand_from {}'", command.name);
        for opt in table::options(command) {
            let _ = writeln!(text, "{here}{}", fish_option(opt));
        }
        if let Some(operand) = &command.operand {
            let _ = match operand.words {
                Words::Path => writeln!(text, "{here} -F"),
                _ => writeln!(text, "{here} -a '{}'", table::operand_words(operand).join(" ")),
            };
        }
    }
    text
}

fn fish_option(opt: &Opt) -> String {
    let short = opt.short.map_or(String::new(), |short| format!(" -s {short}"));
    let value = match (opt.value, opt.is_path, opt.words) {
        ("", ..) => String::new(),
        (_, true, _) => " -r -F".to_owned(),
        (_, _, []) => " -x".to_owned(),
        (_, _, words) => format!(" -x -a '{}'", words.join(" ")),
    };
    format!("{short} -l {}{value} -d '{}'", opt.long, quote(opt.doc, "\\'"))
}

/// `--config` and `-c`.
fn spellings(opt: &Opt) -> Vec<String> {
    std::iter::once(format!("--{}", opt.long)).chain(opt.short.map(|short| format!("-{short}"))).collect()
}

fn default_options() -> impl Iterator<Item = &'static Opt> {
    table::command(table::DEFAULT_COMMAND).into_iter().flat_map(table::options)
}

/// Every option once, by its long name.
fn each_option() -> Vec<&'static Opt> {
    let mut all: Vec<&Opt> =
        COMMANDS.iter().flat_map(|command: &'static Command| table::options(command)).collect();
    sorted::sort_by_key(&mut all, |opt| opt.long);
    all.dedup_by_key(|opt| opt.long);
    all
}

/// Text for a single-quoted string of a shell.
fn quote(text: &str, quote: &str) -> String {
    text.replace('\'', quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_knows_every_command_and_option() {
        for shell in table::SHELLS {
            let text = script(shell);
            for command in COMMANDS {
                assert!(text.contains(command.name), "{shell} {}", command.name);
            }
            for opt in each_option() {
                let long =
                    if *shell == "fish" { format!("-l {}", opt.long) } else { format!("--{}", opt.long) };
                assert!(text.contains(&long), "{shell} {long}");
            }
        }
    }
}

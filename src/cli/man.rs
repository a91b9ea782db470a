//! The man page, made from the table, in roff with the `man` macros.

use super::help::{spelling, usage};
use super::table::{COMMANDS, Command, EVERYWHERE, Opt};
use crate::base::sorted;
use std::fmt::Write;

/// muxloop(1).
pub fn page() -> String {
    let mut text = format!(
        ".TH MUXLOOP 1 \"\" \"muxloop {}\"\n.SH NAME\nmuxloop \\- runs every MCP server once and lets many clients \
         share it\n.SH SYNOPSIS\n.B muxloop\n[\\fB\\-c\\fR FILE] [OPTION]...\n.br\n.B muxloop\nCOMMAND [OPTION]...\n",
        env!("CARGO_PKG_VERSION")
    );
    text.push_str(".SH COMMANDS\n");
    COMMANDS.iter().for_each(|command| section(&mut text, command));
    text.push_str(".SH OPTIONS OF EVERY COMMAND\n");
    EVERYWHERE.iter().for_each(|opt| option(&mut text, opt));
    text.push_str(".SH ENVIRONMENT\n");
    let mut variables: Vec<&Opt> =
        COMMANDS.iter().flat_map(|c| c.options).filter(|o| !o.env.is_empty()).collect();
    sorted::sort_by_key(&mut variables, |opt| opt.env);
    variables.dedup_by_key(|opt| opt.env);
    for opt in variables {
        let (env, long) = (roff(opt.env), roff(opt.long));
        let words = if opt.value.is_empty() { ": true or false" } else { "" };
        let _ = writeln!(text, ".TP\n.B {env}\nStands in for \\fB\\-\\-{long}\\fR{words}.");
    }
    text.push_str(
        ".TP\n.B RUST_LOG\nFilter of log lines (LEVEL, or TARGET=LEVEL with commas between), if neither an option \
         nor MUXLOOP_LOG says one.\n\
         .SH FILES\n.TP\n.I mux.toml\nThe configuration;\n.B muxloop help config\nlists its keys.\n",
    );
    text
}

fn section(text: &mut String, command: &'static Command) {
    let _ = writeln!(text, ".SS \"{}\"\n{}.", roff(&usage(command)), roff(&capitalized(command.summary)));
    if !command.aliases.is_empty() {
        let _ = writeln!(text, "Also: {}.", roff(&command.aliases.join(", ")));
    }
    if !command.about.is_empty() {
        let _ = writeln!(
            text,
            ".PP\n{}",
            command.about.iter().map(|line| roff(line)).collect::<Vec<_>>().join("\n")
        );
    }
    command.options.iter().for_each(|opt| option(text, opt));
    for (line, doc) in command.examples {
        let doc = if doc.is_empty() { String::new() } else { format!("    # {}", roff(doc)) };
        let _ = writeln!(text, ".PP\n.EX\n    {}{doc}\n.EE", roff(line));
    }
}

fn option(text: &mut String, opt: &Opt) {
    let _ = writeln!(text, ".TP\n.B {}\n{}.", roff(spelling(opt).trim_start()), roff(&capitalized(opt.doc)));
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// Text that roff takes literally: no escapes, no macro at the start of a line, quotes as they are.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq").replace('~', "\\(ti");
    match escaped.starts_with(['.', '\'']) {
        true => format!("\\&{escaped}"),
        false => escaped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command_option_and_variable() {
        let page = page();
        for command in COMMANDS {
            assert!(page.contains(&format!(".SS \"muxloop {}", roff(command.name))), "{}", command.name);
            for opt in command.options {
                assert!(page.contains(&format!("\\-\\-{}", roff(opt.long))), "{}", opt.long);
                assert!(page.contains(opt.env), "{}", opt.env);
            }
        }
        assert!(page.starts_with(".TH MUXLOOP 1 "));
    }

    #[test]
    fn text_cannot_become_a_macro() {
        assert_eq!(roff(".so /etc/passwd"), "\\&.so /etc/passwd");
        assert_eq!(roff("a\\b \"c\" -d"), "a\\eb \\(dqc\\(dq \\-d");
    }
}

//! What `--help` prints, made from the table. Each text fits a screen of 24 lines of 80 characters.

use super::table::{self, COMMANDS, Command, EVERYWHERE, Opt};
use std::fmt::Write;

/// The whole program.
pub fn overview() -> String {
    let mut text = String::from(
        "muxloop: runs every MCP server once and lets many clients share it\n\n\
         Usage: muxloop [-c FILE] [OPTION]...     run the servers of a configuration\n       \
         muxloop COMMAND [OPTION]...\n\nCommands:\n",
    );
    for line in COMMANDS.chunk_by(|a, b| !a.group.is_empty() && a.group == b.group) {
        let names: Vec<&str> = line.iter().map(|command| command.name).collect();
        let summary = if line[0].group.is_empty() { line[0].summary } else { line[0].group };
        let _ = writeln!(text, "  {:<22} {summary}", names.join("|"));
    }
    text.push_str(
        "\nOptions and exit codes of a command: muxloop help COMMAND\n\
         Every key of mux.toml:               muxloop help config\n\
         \nExample: muxloop -c mux.toml\n",
    );
    text
}

/// One command.
pub fn of(command: &'static Command) -> String {
    let mut text = format!("muxloop {}: {}\nUsage: {}\n", command.name, command.summary, usage(command));
    if !command.about.is_empty() {
        text.push('\n');
    }
    for line in command.about {
        let _ = writeln!(text, "{line}");
    }
    if !command.passes_through {
        text.push_str("\nOptions:\n");
        command.options.iter().for_each(|opt| option(&mut text, opt));
        let everywhere: Vec<String> = EVERYWHERE.iter().map(|opt| spelling(opt).trim().to_owned()).collect();
        let _ = writeln!(text, "  {:<26} print this help; the version", everywhere.join(", "));
    }
    text.push_str("\nExamples:\n");
    for (line, doc) in command.examples {
        let doc = if doc.is_empty() { String::new() } else { format!("     # {doc}") };
        let _ = writeln!(text, "  {line}{doc}");
    }
    text
}

/// The shape of its command line.
pub fn usage(command: &'static Command) -> String {
    let mut text = format!("muxloop {}", command.name);
    for opt in command.options.iter().filter(|opt| opt.required) {
        let _ = write!(text, " --{} {}", opt.long, opt.value);
    }
    match &command.operand {
        Some(operand) if matches!(operand.words, table::Words::Program) => {
            let _ = write!(text, " [OPTION]... [--] {}...", operand.name);
            return text;
        }
        Some(operand) if operand.required => {
            let words = table::operand_words(operand).join("|");
            let _ = write!(text, " {}", if words.is_empty() { operand.name } else { &words });
        }
        Some(operand) => {
            let many = if matches!(operand.words, table::Words::Servers) { "..." } else { "" };
            let _ = write!(text, " [{}]{many}", operand.name);
        }
        None => {}
    }
    text.push_str(" [OPTION]...");
    text
}

/// How an option is written: `-c, --config FILE`.
pub fn spelling(opt: &Opt) -> String {
    let short = opt.short.map_or("    ".to_owned(), |short| format!("-{short}, "));
    format!("{short}--{} {}", opt.long, opt.value).trim_end().to_owned()
}

fn option(text: &mut String, opt: &Opt) {
    let env = if opt.env.is_empty() { String::new() } else { format!(" [${}]", opt.env) };
    let _ = writeln!(text, "  {:<26} {}{env}", spelling(opt), opt.doc);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_help_fits_a_screen_and_shows_an_example() {
        let texts = COMMANDS.iter().map(|command| (command.name, of(command))).chain([("", overview())]);
        for (name, text) in texts {
            assert!(text.lines().count() <= 24, "{name}: {} lines\n{text}", text.lines().count());
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
            assert!(text.contains("Example"), "{name}");
            let example = text.split_once("Example").map_or("", |(_, rest)| rest);
            assert!(example.contains("muxloop"), "{name}");
        }
    }

    #[test]
    fn an_option_line_has_names_doc_and_variable() {
        let text = of(table::command("proxy").unwrap());
        assert!(
            text.contains("  -s, --socket PATH          socket of the server [$MUXLOOP_SOCKET]\n"),
            "{text}"
        );
        assert!(text.starts_with("muxloop proxy: connect"));
        assert!(text.contains("\nUsage: muxloop proxy --socket PATH [OPTION]...\n"));
    }
}

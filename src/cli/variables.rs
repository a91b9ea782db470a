//! `docs/environment.md`, made from the table: which variable stands in for which option.

use super::table::{COMMANDS, Opt};
use crate::base::sorted;
use std::fmt::Write;

/// The whole page.
pub fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    text.push_str("\n| variable | stands in for | of | |\n|---|---|---|---|\n");
    let mut options: Vec<&Opt> = COMMANDS.iter().flat_map(|command| command.options).collect();
    sorted::sort_by_key(&mut options, |opt| opt.env);
    options.dedup_by_key(|opt| opt.env);
    for opt in options {
        let mut commands = Vec::new();
        for command in COMMANDS {
            if command.options.iter().any(|other| other.env == opt.env) {
                commands.push(format!("`{}`", command.name));
            }
        }
        let of =
            if commands.len() > LIST_MAX { "all that run or ask".to_owned() } else { commands.join(", ") };
        let value = if opt.value.is_empty() { String::new() } else { format!(" {}", opt.value) };
        let _ = writeln!(text, "| `{}` | `--{}{value}` | {of} | {} |", opt.env, opt.long, opt.doc);
    }
    text
}

/// Commands named of one option; of `--config`, they would fill the page.
const LIST_MAX: usize = 4;

const INTRODUCTION: &str = "\
<!-- Made from the table in src/cli/table.rs: `MUXLOOP_WRITE_DOCS=1 cargo test docs_` writes it. -->

# Variables

Every option of every command can also be given by environment. What the command line says wins over the variable, that
over the file, the file over the default. An empty variable counts as unset; a bad value is an error that names the
variable, with exit code 2. An option without a value is `true` or `false` there (also `1` and `0`, `yes` and `no`, `on`
and `off`; `MUXLOOP_VERBOSE` may be `2`, for `-vv`), and `--OPTION=false` overrules a variable that says `true`.

Only `--help` and `--version` have none, nor has `demo-server`, whose options belong to one server each, while all
servers have one environment.

`RUST_LOG` filters log lines in the syntax of env_logger (`info,server::memory=debug`), after option and variable and
before the file. `HOME`, `XDG_RUNTIME_DIR` and `XDG_CONFIG_HOME` tell the default places of files. In `muxloop` below
`XDG_CACHE_HOME`, else `~/.cache`, is kept which protocol era servers speak (`eras.json`); it may be deleted at any
time. muxloop itself sets `MUXLOOP_OWNER` and `MUXLOOP_CHILD` for its servers, by which it finds what they leave behind.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_are_in_step_with_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/environment.md");
        if std::env::var_os("MUXLOOP_WRITE_DOCS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == markdown(), "docs/environment.md is stale: MUXLOOP_WRITE_DOCS=1 cargo test docs_");
    }

    #[test]
    fn every_variable_has_its_row() {
        let text = markdown();
        for opt in COMMANDS.iter().flat_map(|command| command.options) {
            assert!(text.contains(&format!("| `{}` | `--{}", opt.env, opt.long)), "{}", opt.env);
        }
    }
}

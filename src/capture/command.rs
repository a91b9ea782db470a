//! `muxloop replay FILE`.

use super::{Outcome, replay};
use crate::cli;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;

/// Replays a file and says what came of it. Exit code 0: the same, 1: not, 2: the file cannot be replayed to
/// its end.
pub fn replay_file(path: &Path) -> ExitCode {
    let name = path.display();
    let input = match File::open(path) {
        Ok(file) => BufReader::with_capacity(READ_AHEAD, file),
        Err(error) => return refuse(&format!("replay: {name}: {error}")),
    };
    let (outcome, version) = replay(Box::new(input));
    if let Some(version) = version.filter(|version| version != env!("CARGO_PKG_VERSION")) {
        let own = env!("CARGO_PKG_VERSION");
        cli::complain(&format!("{name} was recorded by muxloop {version}, this is {own}"));
    }
    match outcome {
        Outcome::Same { turns, bytes_out } => cli::print(&format!("same: {}\n", extent(turns, bytes_out))),
        Outcome::Different { line, text } => {
            cli::print(&format!("different: {name}:{line}: {text}\n"));
            ExitCode::FAILURE
        }
        Outcome::CutOff { line, why, turns, bytes_out } => {
            refuse(&format!("{name}:{line}: {why}; the same so far: {}", extent(turns, bytes_out)))
        }
        Outcome::Bad { line, why } => refuse(&format!("{name}:{line}: {why}")),
    }
}

fn extent(turns: u64, bytes_out: u64) -> String {
    let plural = if turns == 1 { "" } else { "s" };
    format!("{turns} turn{plural}, {bytes_out} bytes out")
}

fn refuse(why: &str) -> ExitCode {
    cli::complain(why);
    ExitCode::from(cli::EXIT_USAGE)
}

/// Bytes read at once.
const READ_AHEAD: usize = 256 << 10;

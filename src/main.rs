//! The muxloop binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(command) if command == "demo-server" => muxloop::demo::run(args.collect()),
        _ => {
            eprintln!("usage: muxloop demo-server [OPTION]...");
            ExitCode::from(2)
        }
    }
}

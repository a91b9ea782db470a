//! `muxloop demo-server`: an MCP server over stdio inside the binary.
//!
//! It has two uses. Somebody without any other MCP server sees with it what muxloop does; and with its fault
//! options it is the child of the end-to-end tests: late, noisy, mute, dying, or breaking the protocol on request.
//! It also watches its client: what a client may not do is noted, and the tool `whoami` lists it.
//!
//! ```text
//! stdin ─▶ reader (thread) ─▶ server ─▶ outbox ─▶ stdout        one main loop: lines, timers, flush
//!                              ├─ session    eras, handshake, who the caller is
//!                              ├─ tools, tasks, questions, interview   what `tools/call` does
//!                              ├─ content    resources, prompts, completion
//!                              ├─ listen     modern subscriptions and all change notifications
//!                              └─ ledger     counts per method, protocol violations of the client
//! ```
//!
//! This is a child process and never part of the multiplexer: it blocks, it has a thread, it builds JSON trees.
//! Nothing in here is used by the multiplexer, and it uses nothing of the multiplexer, so that one mistake
//! cannot hide in both. `echo` is the exception to the slow road: an echo for benchmarks without JSON trees.

mod content;
mod echo;
mod interview;
mod kinds;
mod ledger;
mod listen;
mod options;
mod outbox;
mod process;
mod questions;
mod reader;
mod rpc;
mod server;
mod session;
mod tasks;
mod timers;
mod tools;

use std::ffi::OsString;
use std::process::ExitCode;

use options::{Parsed, Role};

/// Runs `muxloop demo-server` with the arguments after that word, until stdin ends or a fault option says so.
///
/// Exit codes: 0 at the end of stdin, 2 for a wrong option, else what a fault option or the tool `crash` asked for.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let options = match options::parse(args) {
        Ok(Parsed::Run(options)) => *options,
        Ok(Parsed::Help) => {
            print!("{}", options::help());
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("muxloop demo-server: {message}\nTry `muxloop demo-server --help`.");
            return ExitCode::from(2);
        }
    };
    match options.role {
        Role::Sleeper => process::sleep_on(options.lifetime),
        Role::Mute => process::swallow_stdin(&options),
        Role::BenchEcho => echo::run(),
        Role::Server => server::run(options),
    }
}

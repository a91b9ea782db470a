//! `muxloop doctor`: what is wrong with a configuration and with each of its servers, and what to do about it
//! (`docs/doctor.md`).
//!
//! ```text
//! settings (the file), command (the program), sockets, http ──▶ Findings
//!                                                           │ nothing keeps it from starting
//! runner (one loop) ─▶ Trial (steps) ─▶ Wire (lines) ─▶ process
//!                        └ handshake, lists, schema judge; advice, stop ─▶ Findings ─▶ report
//! ```
//!
//! No daemon is needed, and one that runs is left alone: each server is tried in a process of its own, which
//! the [`Reactor`] ends with all that descends from it, also if this command is killed.

mod advice;
mod clashes;
mod command;
mod finding;
mod handshake;
#[cfg(feature = "http")]
mod http;
mod lists;
mod oddities;
mod report;
mod runner;
mod schema;
mod secrets;
mod settings;
mod sockets;
mod stop;
mod trial;
mod wire;

use crate::cli::{self, DoctorOptions, EXIT_USAGE, find_config};
use crate::client::text;
use crate::config::{ServerConfig, Surroundings};
use crate::reactor::Reactor;
use finding::{Finding, Findings, Severity};
use report::Block;
use runner::Interrupted;
use secrets::Secrets;
use settings::Settings;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use trial::{Trial, Tried};

/// Checks, and prints what was found. Exit codes: 0 no error, 1 an error, 2 the command line or the file is
/// wrong.
pub fn run(options: &DoctorOptions, surroundings: &Surroundings) -> ExitCode {
    let found = find_config(options.config.as_deref(), surroundings);
    let path = found.as_deref().unwrap_or(Path::new(""));
    let mut doctor = Doctor { options, surroundings, path, blocks: Vec::new() };
    if let Err(why) = &found {
        return doctor.refuse(why);
    }
    match doctor.examine() {
        Ok(code) => code,
        Err(interrupted) => {
            cli::complain(&match interrupted {
                Interrupted::BySignal => {
                    "doctor: interrupted; every process that was started is ended".to_owned()
                }
                Interrupted::ByKernel(error) => format!("doctor: the poll loop failed: {error}"),
            });
            ExitCode::FAILURE
        }
    }
}

struct Doctor<'a> {
    options: &'a DoctorOptions,
    surroundings: &'a Surroundings,
    path: &'a Path,
    /// What is known so far; shown already, unless it is for programs.
    blocks: Vec<Block>,
}

impl Doctor<'_> {
    fn examine(&mut self) -> Result<ExitCode, Interrupted> {
        let begun = Instant::now();
        let mut findings = Findings::default();
        let settings = Settings::load(self.path, &self.options.servers, self.surroundings, &mut findings);
        let Some(settings) = settings else {
            self.show(Block::about_all(&self.path.display().to_string(), findings.sorted()));
            return Ok(self.end(None, ExitCode::from(EXIT_USAGE)));
        };
        let daemon = sockets::daemon(self.path, self.surroundings, &mut findings);
        #[cfg(feature = "http")]
        http::check(settings.http(), daemon, &mut findings);
        for finding in clashes::twins(&settings.chosen()) {
            findings.add(finding);
        }
        let patience = Duration::from_millis(self.options.timeout_ms);
        let title = title(self.path, &settings, patience);
        self.show(Block::about_all(&title, findings.sorted()));
        let tried = self.try_servers(&settings, daemon, patience)?;
        self.blocks.extend(tried.iter().map(Block::of));
        let clashes = clashes::tools(&tried);
        if !clashes.is_empty() {
            self.show(Block::about_all("between servers", clashes));
        }
        let is_error = |finding: &Finding| finding.severity == Severity::Error;
        let has_error = self.blocks.iter().flat_map(|block| &block.findings).any(is_error);
        Ok(self.end(Some((tried.len(), begun)), ExitCode::from(u8::from(has_error))))
    }

    /// Each server; shown as they are done, in the order of the file.
    fn try_servers(
        &self,
        settings: &Settings,
        daemon: Option<u32>,
        patience: Duration,
    ) -> Result<Vec<Tried>, Interrupted> {
        let home = self.surroundings.home.as_deref();
        let mut reactor = Reactor::for_command().map_err(Interrupted::ByKernel)?;
        let chosen = settings.chosen();
        let trials = chosen.iter().map(|server| {
            let mut findings = Findings::of(&server.policy.name, Secrets::of(server));
            let may_start = check_before(server, daemon, home, &mut findings);
            Trial::new(server, findings, patience, may_start)
        });
        let (is_text, colours) = (!self.options.json, text::colours());
        runner::run(&mut reactor, trials.collect(), &mut |tried| {
            if is_text {
                let _ = cli::print_all(&Block::of(tried).text(colours));
            }
        })
    }

    /// Without a configuration there is nothing to show but why.
    fn refuse(&mut self, why: &str) -> ExitCode {
        cli::complain(why);
        let mut findings = Findings::default();
        findings.add(Finding::error("config", why, "Name a configuration with -c FILE."));
        self.blocks.push(Block::about_all("", findings.sorted()));
        match self.options.json {
            true => self.end(None, ExitCode::from(EXIT_USAGE)),
            false => ExitCode::from(EXIT_USAGE),
        }
    }

    fn show(&mut self, block: Block) {
        if !self.options.json {
            let _ = cli::print_all(&block.text(text::colours()));
        }
        self.blocks.push(block);
    }

    /// The last words; the code is that of the findings unless they cannot be written.
    fn end(&self, tried: Option<(usize, Instant)>, code: ExitCode) -> ExitCode {
        let last = match (self.options.json, tried) {
            (true, _) => report::json(self.path, &self.blocks),
            (false, Some((count, begun))) => {
                let findings: Vec<Finding> =
                    self.blocks.iter().flat_map(|block| block.findings.clone()).collect();
                report::summary(count, &findings, begun.elapsed().as_millis() as u64)
            }
            (false, None) => return code,
        };
        match cli::print_all(&last) {
            Ok(_) => code,
            Err(failure) => {
                cli::complain(&failure.text);
                ExitCode::FAILURE
            }
        }
    }
}

/// What can be told of a server before it is started; says whether it can be.
fn check_before(
    server: &ServerConfig,
    daemon: Option<u32>,
    home: Option<&Path>,
    findings: &mut Findings,
) -> bool {
    command::variables(server).into_iter().for_each(|finding| findings.add(finding));
    let of_arguments = command::arguments(&server.spawn, &server.args_of_variables);
    of_arguments.into_iter().for_each(|finding| findings.add(finding));
    sockets::check(&server.socket, daemon, findings);
    match command::check(&server.spawn, home) {
        Some(finding) => {
            findings.add(finding);
            false
        }
        None => true,
    }
}

/// `mux.toml: 3 servers, each tried alone, within 2 min 13 s`.
fn title(path: &Path, settings: &Settings, patience: Duration) -> String {
    let count = settings.chosen().len();
    let bound = text::duration(runner::time_bound(count, patience).as_millis() as u64);
    let disabled = match settings.disabled() {
        names if names.is_empty() => String::new(),
        names => format!(" (not {}: disabled)", names.join(", ")),
    };
    format!(
        "{}: {}{disabled}, each tried alone, within {bound}",
        path.display(),
        text::counted(count, "server")
    )
}

//! The muxloop binary: understands the command line and hands over.

use muxloop::cli::{self, CheckOptions, EXIT_USAGE, Invocation, RunOptions};
use muxloop::config::Surroundings;
use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse(env::args_os(), |name| env::var_os(name)) {
        Ok(Invocation::Run(options)) => run_servers(options),
        Ok(Invocation::Proxy(options)) => proxy::run(options),
        Ok(Invocation::Check(options)) => check(&options),
        Ok(Invocation::DemoServer(args)) => demo::run(args),
        Ok(Invocation::Print(text)) => cli::print(&text),
        Err(error) => refuse(&error),
    }
}

fn run_servers(options: RunOptions) -> ExitCode {
    let loaded = match options.load(&Surroundings::from_env()) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error),
    };
    let levels = options.levels(env::var("RUST_LOG").ok(), &loaded.config);
    cli::log::init(&levels, options.format(&loaded.config), cli::log::Mode::Queued);
    for warning in &loaded.warnings {
        log::warn!(target: "muxloop", "{warning}");
    }
    let code = run::daemon(loaded.config, options);
    cli::log::flush_at_exit();
    code
}

fn check(options: &CheckOptions) -> ExitCode {
    match options.check(&Surroundings::from_env()) {
        Ok((summary, warnings)) => {
            warnings.iter().for_each(|warning| cli::complain(&warning.to_string()));
            cli::print(&summary)
        }
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &str) -> ExitCode {
    cli::complain(error);
    ExitCode::from(EXIT_USAGE)
}

/// The daemon.
mod run {
    use muxloop::cli::RunOptions;
    use muxloop::config::Config;
    use std::process::ExitCode;

    /// Runs the selected servers until a signal.
    pub fn daemon(config: Config, _options: RunOptions) -> ExitCode {
        super::cli::complain(&format!("{}: this build has no daemon yet", config.path.display()));
        ExitCode::FAILURE
    }
}

/// The stdio shim.
mod proxy {
    use muxloop::cli::ProxyOptions;
    use std::process::ExitCode;

    pub fn run(_options: ProxyOptions) -> ExitCode {
        super::cli::complain("proxy: this build has no proxy yet");
        ExitCode::FAILURE
    }
}

/// The embedded MCP server.
mod demo {
    use std::ffi::OsString;
    use std::process::ExitCode;

    pub fn run(_args: Vec<OsString>) -> ExitCode {
        super::cli::complain("demo-server: this build has no demo server yet");
        ExitCode::FAILURE
    }
}

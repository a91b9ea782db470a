//! The muxloop binary: understands the command line and hands over.

use muxloop::cli::{self, CheckOptions, EXIT_USAGE, Invocation, ProxyOptions, RunOptions};
#[cfg(feature = "http")]
use muxloop::config::LogFormat;
use muxloop::config::Surroundings;
use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A guard is this program under another name; it needs nothing of what follows.
    muxloop::reactor::guard::main_if_requested();
    // So is the supervisor of a shared server.
    #[cfg(feature = "shared")]
    muxloop::shared::main_if_requested();
    match cli::parse(env::args_os(), |name| env::var_os(name)) {
        #[cfg(feature = "tui")]
        Ok(Invocation::Run(options)) if options.tui => {
            muxloop::tui::run_beside(&options, Surroundings::from_env())
        }
        #[cfg(feature = "tui")]
        Ok(Invocation::Tui(target)) => muxloop::tui::run(target, Surroundings::from_env()),
        #[cfg(not(feature = "tui"))]
        Ok(Invocation::Tui(_) | Invocation::Run(RunOptions { tui: true, .. })) => {
            refuse("tui: not in this build of muxloop; build it with the feature `tui`")
        }
        #[cfg(not(feature = "inspect"))]
        Ok(Invocation::Replay(_) | Invocation::Run(RunOptions { record: Some(_), .. })) => {
            refuse("record, replay: not in this build of muxloop; build it with the feature `inspect`")
        }
        #[cfg(not(feature = "gateway"))]
        Ok(Invocation::Run(RunOptions { serve: Some(_), .. })) => {
            refuse("serve: not in this build of muxloop; build it with the feature `gateway`")
        }
        #[cfg(not(all(feature = "control", feature = "gateway")))]
        Ok(Invocation::Connect(_)) => refuse(
            "connect: not in this build of muxloop; build it with the features `control` and `gateway`",
        ),
        #[cfg(all(feature = "control", feature = "gateway"))]
        Ok(Invocation::Connect(options)) => muxloop::connect::run(&options, &Surroundings::from_env()),
        Ok(Invocation::Run(options)) => run_servers(options),
        #[cfg(feature = "inspect")]
        Ok(Invocation::Replay(file)) => muxloop::capture::replay_file(&file),
        Ok(Invocation::Proxy(options)) => proxy(options),
        #[cfg(feature = "http")]
        Ok(Invocation::Expose(options)) => {
            cli::log::init(&options.levels(), LogFormat::Text, cli::log::Mode::Queued);
            let code = muxloop::daemon::expose::expose(&options, &Surroundings::from_env());
            cli::log::flush_at_exit();
            code
        }
        #[cfg(not(feature = "http"))]
        Ok(Invocation::Expose(_)) => {
            refuse("proxy --stdio: not in this build of muxloop; build it with the feature `http`")
        }
        #[cfg(not(feature = "shared"))]
        Ok(Invocation::Daemon(_)) => {
            refuse("daemon: not in this build of muxloop; build it with the feature `shared`")
        }
        #[cfg(feature = "shared")]
        Ok(Invocation::Daemon(options)) => muxloop::shared::run(&options, &Surroundings::from_env()),
        Ok(Invocation::Check(options)) => check(&options),
        #[cfg(feature = "inspect")]
        Ok(Invocation::Doctor(options)) => muxloop::doctor::run(&options, &Surroundings::from_env()),
        #[cfg(not(feature = "inspect"))]
        Ok(Invocation::Doctor(_)) => {
            refuse("doctor: not in this build of muxloop; build it with the feature `inspect`")
        }
        #[cfg(not(feature = "control"))]
        Ok(Invocation::Client(_)) => {
            refuse("this build of muxloop has no control socket; build it with the feature `control`")
        }
        #[cfg(feature = "control")]
        Ok(Invocation::Client(command)) => muxloop::client::run(command, &Surroundings::from_env()),
        #[cfg(feature = "demo")]
        Ok(Invocation::DemoServer(args)) => muxloop::demo::run(args),
        #[cfg(not(feature = "demo"))]
        Ok(Invocation::DemoServer(_)) => {
            refuse("demo-server: not in this build of muxloop; build it with the feature `demo`")
        }
        Ok(Invocation::Print(text)) => cli::print(&text),
        Err(error) => refuse(&error),
    }
}

fn run_servers(
    #[cfg_attr(not(feature = "gateway"), expect(unused_mut))] mut options: RunOptions,
) -> ExitCode {
    let surroundings = Surroundings::from_env();
    #[cfg(feature = "gateway")]
    if let Some(serve) = &mut options.serve
        && let Err(error) = muxloop::daemon::serve::prepare(serve, options.config.as_deref(), &surroundings)
    {
        return refuse(&error);
    }
    let loaded = match options.load(&surroundings) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error),
    };
    #[cfg(feature = "gateway")]
    if let Some(Err(error)) = options.serve.as_ref().map(muxloop::daemon::serve::redirect_log) {
        return refuse(&error);
    }
    let levels = options.levels(env::var("RUST_LOG").ok(), &loaded.config);
    cli::log::init(&levels, options.format(&loaded.config), cli::log::Mode::Queued);
    for warning in &loaded.warnings {
        log::warn!(target: "muxloop", "{warning}");
    }
    let code = muxloop::daemon::run(&options, &surroundings, loaded.config);
    cli::log::flush_at_exit();
    code
}

fn proxy(options: ProxyOptions) -> ExitCode {
    let socket = match options.expanded(&Surroundings::from_env()) {
        Ok(socket) => socket,
        Err(error) => return refuse(&error),
    };
    let wait_ms = (options.wait_ms > 0).then_some(options.wait_ms);
    muxloop::proxy::run(muxloop::proxy::ProxyOptions { socket, wait_ms })
}

fn check(options: &CheckOptions) -> ExitCode {
    match options.check(&Surroundings::from_env()) {
        Ok(verdict) => {
            verdict.warnings.iter().for_each(|warning| cli::complain(&warning.to_string()));
            let code = cli::print(&verdict.summary);
            if verdict.is_good { code } else { ExitCode::from(EXIT_USAGE) }
        }
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &str) -> ExitCode {
    cli::complain(error);
    ExitCode::from(EXIT_USAGE)
}

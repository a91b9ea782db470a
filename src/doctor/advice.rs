//! What to do about a server that does not start, from the words it left on stderr.

use crate::config::ServerConfig;
use crate::engine::port::ExitStatus;
use std::path::Path;

/// A cure for a server that ended before it answered; `lines` are its last ones on stderr.
pub fn on_early_end(server: &ServerConfig, status: ExitStatus, lines: &[String]) -> String {
    let said = lines.join("\n").to_ascii_lowercase();
    let is_denied = DENIED.iter().any(|word| said.contains(word));
    if is_denied && server.spawn.sandbox.is_some() {
        return "Its `sandbox` may forbid what it needs: allow that there, or try it without.".to_owned();
    }
    let of_words = WORDS.iter().find(|(words, _)| words.iter().any(|word| said.contains(word)));
    match (of_words, status) {
        (Some((_, cure)), _) => (*cure).to_owned(),
        (None, ExitStatus::Code(126 | 127)) => {
            "A program that it starts in turn is not in its PATH: install it, or set `path` or env.PATH."
                .to_owned()
        }
        (None, ExitStatus::Signal(libc::SIGKILL)) => {
            "Something killed it; if that was the kernel, for want of memory, its log tells (dmesg)."
                .to_owned()
        }
        _ => format!(
            "Run '{}' with its `args` in a shell to see why; some servers need an argument such as 'stdio' or 'serve'.",
            server.spawn.program
        ),
    }
}

/// A cure for one that took too long, or never answered.
pub fn on_slowness(server: &ServerConfig) -> String {
    let raise = format!("raise startup_timeout_ms ({} now)", server.policy.startup_timeout_ms);
    match launcher(server) {
        Some(launcher) => format!(
            "{launcher} may be fetching the package each time: install it, and name its program in `cmd`; or {raise}."
        ),
        None => format!("See what it does before it reads stdin; or {raise}."),
    }
}

/// The program that fetches the server before it runs it, if one does.
pub fn launcher(server: &ServerConfig) -> Option<&'static str> {
    let program = Path::new(&server.spawn.program).file_name()?.to_str()?;
    FETCHERS.into_iter().find(|fetcher| *fetcher == program)
}

/// `with exit code 1`, `by signal 11 (SIGSEGV)`.
pub fn ending(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("with exit code {code}"),
        ExitStatus::Signal(signal) => match SIGNALS.iter().find(|(number, _)| *number == signal) {
            Some((_, name)) => format!("by signal {signal} ({name})"),
            None => format!("by signal {signal}"),
        },
    }
}

/// Words of the kernel about what may not be done.
const DENIED: [&str; 5] =
    ["eacces", "eperm", "permission denied", "operation not permitted", "address family not supported"];

const FETCHERS: [&str; 8] = ["npx", "uvx", "bunx", "pipx", "pnpm", "yarn", "docker", "podman"];

const SIGNALS: [(i32, &str); 9] = [
    (libc::SIGHUP, "SIGHUP"),
    (libc::SIGINT, "SIGINT"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGKILL, "SIGKILL"),
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGPIPE, "SIGPIPE"),
    (libc::SIGTERM, "SIGTERM"),
];

/// Words of launchers and runtimes, in lower case, and what they mean. The first that is found counts.
const WORDS: [(&[&str], &str); 9] = [
    (
        &[
            "npm error 404",
            "npm err! 404",
            "e404",
            "no matching distribution",
            "not found in the package registry",
        ],
        "The package does not exist under that name: correct it in `args`.",
    ),
    (
        &[
            "enotfound",
            "eai_again",
            "econnrefused",
            "etimedout",
            "could not resolve",
            "network is unreachable",
        ],
        "It could not reach the network: see to the connection or the proxy settings, or install what it fetches.",
    ),
    (
        &[
            "cannot find module",
            "modulenotfounderror",
            "no module named",
            "err_module_not_found",
            "importerror",
        ],
        "A part of it is missing: install the server again with its dependencies.",
    ),
    (
        &[
            "unsupported engine",
            "requires node",
            "ebadengine",
            "syntaxerror: unexpected token",
            "requires python",
        ],
        "Its runtime is of a version that it does not support: update Node.js or Python.",
    ),
    (
        &["api key", "api_key", "apikey", "token", "environment variable", "credential", "unauthorized"],
        "It seems to miss a key or a setting: give it in `env`.",
    ),
    (
        &["enoent", "no such file", "cannot access", "are accessible", "does not exist"],
        "A file or directory that it was told to use is not there: correct `args`, `env` or `cwd`.",
    ),
    (&DENIED, "It may not use a file or directory: correct its rights, or `args` and `cwd`."),
    (
        &["eaddrinuse", "address already in use"],
        "It opens a port that is taken: give it another one, or have it speak over stdio.",
    ),
    (
        &[
            "usage:",
            "unknown option",
            "unrecognized argument",
            "missing argument",
            "required argument",
            "invalid option",
        ],
        "It does not like its arguments: correct `args`.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn server(program: &str) -> ServerConfig {
        let text = format!("[servers.a]\ncmd='{program}'\nsocket='/a'\n");
        let loaded = crate::config::Config::parse("m", text.as_bytes(), &Default::default()).unwrap();
        loaded.config.servers.into_iter().next().unwrap()
    }

    #[test]
    fn words_on_stderr_tell_the_cure() {
        let cure = |line: &str, status| on_early_end(&server("x"), status, &[line.to_owned()]);
        let one = ExitStatus::Code(1);
        assert!(cure("npm error 404 Not Found - GET", one).contains("correct it in `args`"));
        assert!(cure("Error: Cannot find module 'x'", one).contains("install the server again"));
        assert!(cure("Error: API key is required", one).contains("`env`"));
        assert!(cure("", ExitStatus::Code(127)).contains("PATH"));
        assert!(cure("", ExitStatus::Signal(libc::SIGKILL)).contains("memory"));
        assert!(cure("Error: ENOENT, open '/data'", one).contains("is not there"));
        assert!(cure("boom", one).contains("Run 'x'"));
        let denied = ["EACCES: permission denied, open '/x'".to_owned()];
        assert!(on_early_end(&server("x"), one, &denied).contains("correct its rights"));
        let mut held = server("x");
        held.spawn.sandbox = Some(Box::default());
        assert!(on_early_end(&held, one, &denied).contains("`sandbox`"));
        assert!(on_slowness(&server("/usr/bin/npx")).starts_with("npx may be fetching"));
        assert!(on_slowness(&server("x")).contains("startup_timeout_ms (60000 now)"));
        assert_eq!(ending(ExitStatus::Signal(11)), "by signal 11 (SIGSEGV)");
    }
}

//! [`Secrets`]: what a finding must not show. Reports are pasted into issues.
//!
//! Two ways, because a server may print its key in any shape: the values of its environment wherever they
//! occur, and in JSON the members that are named like secrets ([`crate::control::redact`]).

use crate::config::ServerConfig;
use crate::control::redact;
use std::env;

/// Values that are not shown, longest first.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// All that the configuration puts into the server's environment but PATH, and what is named like a
    /// secret in its arguments and in muxloop's own environment.
    pub fn of(server: &ServerConfig) -> Secrets {
        let own = env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let own = own.filter(|(name, _)| is_secret_variable(name));
        let own = own.filter_map(|(_, value)| value.into_string().ok());
        let given = server.spawn.env.iter().filter(|(name, _)| name != "PATH");
        let mut values: Vec<String> = given.map(|(_, value)| value.clone()).chain(own).collect();
        values.extend(in_arguments(&server.spawn.args));
        values.retain(|value| value.len() >= LEN_MIN);
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Secrets(values)
    }

    /// The text without them.
    pub fn hide(&self, text: &str) -> String {
        let mut shown: Vec<String> = text.lines().map(hide_members).collect();
        for value in &self.0 {
            for line in &mut shown {
                if line.contains(value.as_str()) {
                    *line = line.replace(value.as_str(), "[redacted]");
                }
            }
        }
        shown.join("\n")
    }
}

/// Whether a variable of that name is likely to hold a secret.
pub fn is_secret_variable(name: &str) -> bool {
    let is_secret_part = |part: &str| WORDS.iter().any(|word| part.eq_ignore_ascii_case(word));
    redact::is_secret(name) || name.split('_').any(is_secret_part)
}

/// Values of `--api-key VALUE`, `--api-key=VALUE` and `Authorization: Bearer VALUE`.
fn in_arguments(args: &[String]) -> Vec<String> {
    let is_secret = |option: &str| option.starts_with('-') && is_secret_variable(&option.replace('-', "_"));
    let mut found = Vec::new();
    for (index, arg) in args.iter().enumerate() {
        if let Some((_, token)) = arg.split_once("Bearer ") {
            found.push(token.trim().to_owned());
        }
        match arg.split_once('=') {
            Some((option, value)) if is_secret(option) => found.push(value.to_owned()),
            None if is_secret(arg) => {
                found.extend(args.get(index + 1).filter(|next| !next.starts_with('-')).cloned());
            }
            _ => {}
        }
    }
    found
}

/// A JSON text without the members that are named like secrets. Only what parses, since that bounds its depth.
fn hide_members(line: &str) -> String {
    let is_json = line.trim_start().starts_with(['{', '['])
        && serde_json::from_str::<serde::de::IgnoredAny>(line).is_ok();
    match is_json {
        true => String::from_utf8_lossy(&redact::redacted(line.as_bytes())).into_owned(),
        false => line.to_owned(),
    }
}

/// Parts of names of variables, between underscores, that tell of secrets.
const WORDS: [&str; 8] = ["TOKEN", "KEY", "SECRET", "PASSWORD", "PASS", "PAT", "AUTH", "CREDENTIALS"];
/// A value of fewer bytes is no secret, and replacing it would garble what is shown.
const LEN_MIN: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_hidden_wherever_they_are() {
        let secrets = Secrets(vec!["hunter2-long".into(), "hunter2".into()]);
        assert_eq!(
            secrets.hide("a hunter2-long b\nhunter2\n{\"token\":\"x\",\"m\":1}\n{\"token\":\"x\""),
            "a [redacted] b\n[redacted]\n{\"token\":\"[redacted]\",\"m\":1}\n{\"token\":\"x\""
        );
        let deep = "[".repeat(1_000_000);
        assert_eq!(secrets.hide(&deep), deep);
    }

    #[test]
    fn arguments_may_be_secrets() {
        let args =
            ["-y", "--api-key=k1", "--token", "t1", "--header", "Authorization: Bearer b1", "--verbose"];
        let args = [&args[..], &["--name", "n1", "--token", "--last"]].concat();
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        assert_eq!(in_arguments(&args), ["k1", "t1", "b1"]);
    }

    #[test]
    fn names_tell_of_secrets() {
        for name in ["GITHUB_TOKEN", "API_KEY", "apiKey", "DB_PASSWORD", "MY_SECRET_2", "GH_PAT"] {
            assert!(is_secret_variable(name), "{name}");
        }
        for name in ["PATH", "HOME", "LOG_LEVEL", "KEYBOARD", "PATTERN", "TOKENIZER_MODE"] {
            assert!(!is_secret_variable(name), "{name}");
        }
    }
}

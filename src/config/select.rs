//! Which servers of a file run: those that are enabled, less what `--only` and `--except` say.

use super::Config;
use super::nearest::suggestion;

impl Config {
    /// Keeps the servers that shall run: first `only` (empty: all), then without `except`; those with
    /// `enabled = false` never.
    ///
    /// # Errors
    /// In words: a name that is not in the file (the known ones are listed), a disabled server asked
    /// for by name, or nothing left to run.
    pub fn select(&mut self, only: &[String], except: &[String]) -> Result<(), String> {
        self.refuse_unknown("--only", only)?;
        self.refuse_unknown("--except", except)?;
        let names = |list: &[String], name: &str| list.iter().any(|wanted| wanted == name);
        if let Some(server) = self.servers.iter().find(|s| !s.enabled && names(only, &s.policy.name)) {
            return Err(format!("--only: server '{}' has enabled = false", server.policy.name));
        }
        self.servers.retain(|server| {
            let name = &server.policy.name;
            server.enabled && (only.is_empty() || names(only, name)) && !names(except, name)
        });
        match self.servers.is_empty() {
            true => Err(format!("{}: no server is left to run", self.path.display())),
            false => Ok(()),
        }
    }

    fn refuse_unknown(&self, option: &str, names: &[String]) -> Result<(), String> {
        let known = || self.servers.iter().map(|server| server.policy.name.as_str());
        let Some(unknown) = names.iter().find(|name| !known().any(|known| known == name.as_str())) else {
            return Ok(());
        };
        let list = known().collect::<Vec<_>>().join(", ");
        let near = suggestion(unknown, known());
        Err(format!("{option}: no server '{unknown}', the file has: {list}{near}"))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Surroundings};

    fn select(only: &[&str], except: &[&str]) -> Result<Vec<String>, String> {
        let text = "[servers.a]\ncmd='x'\nsocket='/a'\n[servers.web]\ncmd='x'\nsocket='/b'\n\
                    [servers.off]\ncmd='x'\nsocket='/c'\nenabled=false\n";
        let mut config = Config::parse("mux.toml", text.as_bytes(), &Surroundings::default()).unwrap().config;
        config.path = "mux.toml".into();
        let owned = |list: &[&str]| list.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        config.select(&owned(only), &owned(except))?;
        Ok(config.servers.into_iter().map(|server| server.policy.name).collect())
    }

    #[test]
    fn keeps_what_was_asked_for() {
        assert_eq!(select(&[], &[]).unwrap(), ["a", "web"]);
        assert_eq!(select(&["web", "web"], &[]).unwrap(), ["web"]);
        assert_eq!(select(&[], &["web"]).unwrap(), ["a"]);
        assert_eq!(select(&["a", "web"], &["web", "off"]).unwrap(), ["a"]);
    }

    #[test]
    fn says_what_is_wrong() {
        let unknown = select(&["wbe"], &[]).unwrap_err();
        assert_eq!(unknown, "--only: no server 'wbe', the file has: a, web, off; did you mean 'web'?");
        assert_eq!(
            select(&[], &["zzz"]).unwrap_err(),
            "--except: no server 'zzz', the file has: a, web, off"
        );
        assert_eq!(select(&["off"], &[]).unwrap_err(), "--only: server 'off' has enabled = false");
        assert_eq!(select(&["a"], &["a"]).unwrap_err(), "mux.toml: no server is left to run");
    }
}

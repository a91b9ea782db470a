//! Before anything is started: can the program of a server be found and executed, from where it shall run?
//!
//! The kernel gives one number for a missing program, a missing interpreter and a missing directory, and none
//! says where the program is after all. Here each is looked at.

use super::finding::Finding;
use super::secrets::is_secret_variable;
use crate::config::ServerConfig;
use crate::config::nearest::nearest;
use crate::engine::port::SpawnSpec;
use crate::reactor::process::{candidates, first_line, search_path};
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What keeps the program from starting, if that can be told beforehand.
pub fn check(spec: &SpawnSpec, home: Option<&Path>) -> Option<Finding> {
    if let Some(finding) = spec.cwd.as_deref().and_then(directory) {
        return Some(finding);
    }
    let mut refused = None;
    for path in candidates(spec) {
        let Ok(found) = fs::metadata(&path) else { continue };
        let shown = path.display();
        if found.is_dir() {
            refused = refused.or(Some(Finding::error(
                "command-not-executable",
                format!("'{shown}' is a directory, not a program"),
                "Name the program itself in `cmd`.",
            )));
        } else if found.permissions().mode() & 0o111 == 0 {
            refused = refused.or(Some(Finding::error(
                "command-not-executable",
                format!("'{shown}' may not be executed"),
                format!("Make it executable: chmod +x {shown}"),
            )));
        } else {
            return interpreter(spec, &path);
        }
    }
    refused.or_else(|| Some(missing(spec, home)))
}

/// Variables of the server that are not what they seem to be.
pub fn variables(server: &ServerConfig) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, value) in &server.spawn.env {
        let trimmed = value.trim();
        // What came of a variable is the value itself, whatever it looks like.
        let is_reference = is_reference(trimmed) && !server.env_of_variables.contains(name);
        if trimmed.is_empty() {
            found.push(Finding::warning(
                "env-empty",
                format!("the variable {name} is empty"),
                format!("Give env.{name} a value, or remove it from the file."),
            ));
        } else if is_reference {
            found.push(Finding::warning(
                "env-reference",
                format!("the variable {name} refers to another one, and the server gets the text as it is"),
                format!(
                    "Write the value itself, or ${{NAME}}, which muxloop replaces; or remove {name}, and the server \
                     inherits muxloop's own variable."
                ),
            ));
        } else if is_secret_variable(name) && is_placeholder(trimmed) {
            found.push(Finding::warning(
                "env-placeholder",
                format!("the value of {name} looks like a placeholder"),
                format!("Put the real value into env.{name}."),
            ));
        }
    }
    found
}

/// Arguments that only a shell would make something else of, where there is none. What came of variables
/// (their places) is meant as it is, and not for other eyes.
pub fn arguments(spec: &SpawnSpec, of_variables: &[usize]) -> Option<Finding> {
    let program = Path::new(&spec.program).file_name()?.to_str()?;
    // A script for a shell is full of them.
    if SHELLS.contains(&program) {
        return None;
    }
    let is_meant_for_shell = |arg: &&String| arg.starts_with("~/") || is_reference(arg);
    let written = spec.args.iter().enumerate().filter(|(place, _)| !of_variables.contains(place));
    let found: Vec<&str> =
        written.map(|(_, arg)| arg).filter(is_meant_for_shell).map(String::as_str).collect();
    (!found.is_empty()).then(|| {
        let message = "some of its `args` are for a shell, and there is none: the server gets them as they are";
        let cure = "Write the full path or the value itself, or ${NAME}, which muxloop replaces; or start it by cmd = \"sh\", args = [\"-c\", \"exec …\"].";
        Finding::warning("args-reference", message, cure).seen(found.join("\n"))
    })
}

/// Whether a text is, or has in it, a variable that somebody would have to replace.
fn is_reference(text: &str) -> bool {
    let is_name = |rest: &str| {
        rest.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
            && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    let first = text.split('/').next().unwrap_or_default();
    text.contains("${") || text.starts_with("$env:") || first.strip_prefix('$').is_some_and(is_name)
}

/// What examples have where a key belongs.
fn is_placeholder(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let is_filler = lower.chars().all(|c| matches!(c, 'x' | '*' | '.' | '…' | '-'));
    let is_bracketed = lower.starts_with('<') && lower.ends_with('>');
    let words = ["your-", "your_", "changeme", "change-me", "replace-me", "insert-", "placeholder"];
    is_filler || is_bracketed || words.iter().any(|word| lower.starts_with(word))
}

fn directory(cwd: &Path) -> Option<Finding> {
    let shown = cwd.display();
    let what = match fs::metadata(cwd) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => "does not exist".to_owned(),
        Err(error) => format!("cannot be looked at: {error}"),
        Ok(found) if !found.is_dir() => "is not a directory".to_owned(),
        // `.` inside it needs the right to enter it.
        Ok(_) => match fs::metadata(cwd.join(".")) {
            Err(error) => format!("may not be entered: {error}"),
            Ok(_) => return None,
        },
    };
    Some(Finding::error(
        "cwd",
        format!("the working directory '{shown}' {what}"),
        format!("Create '{shown}', or correct `cwd`."),
    ))
}

/// Whether the interpreter of a script is there, also behind `/usr/bin/env`.
fn interpreter(spec: &SpawnSpec, script: &Path) -> Option<Finding> {
    let line = first_line(script)?;
    let shown = script.display();
    let error = |what: String, cure: String| {
        Some(Finding::error("command-interpreter", what, cure).seen(format!("{shown} begins with: #!{line}")))
    };
    if line.ends_with('\r') {
        return error(
            format!("'{shown}' has lines that end as on Windows, so its interpreter is not found"),
            format!("Convert it: sed -i 's/\\r$//' {shown}"),
        );
    }
    let mut words = line.split_whitespace();
    let interpreter = words.next()?;
    if !Path::new(interpreter).exists() {
        return error(
            format!("the interpreter '{interpreter}' of '{shown}' does not exist"),
            format!("Install '{interpreter}', or correct the first line of '{shown}'."),
        );
    }
    let is_env = Path::new(interpreter).file_name().is_some_and(|name| name == "env");
    let named = words.find(|word| !word.starts_with('-') && !word.contains('=')).filter(|_| is_env)?;
    let behind = SpawnSpec { program: named.to_owned(), ..spec.clone() };
    if candidates(&behind).iter().any(|path| is_program(path)) {
        return None;
    }
    error(
        format!("'{shown}' runs with '{named}', which is not in the server's PATH"),
        format!("{} {}", where_it_may_be(named, None), path_cure()),
    )
    .map(|finding| finding.seen(format!("{shown} begins with: #!{line}\n{}", searched(spec))))
}

fn missing(spec: &SpawnSpec, home: Option<&Path>) -> Finding {
    let program = &spec.program;
    if program.contains('/') {
        let path = spec.cwd.as_deref().unwrap_or(Path::new("")).join(program);
        let siblings = path.parent().map(names_in).unwrap_or_default();
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let near = nearest(&file, siblings.iter().map(String::as_str));
        let near = near.map_or(String::new(), |near| format!(" Did you mean '{near}', which is there?"));
        let from = match spec.cwd {
            Some(_) if path.is_relative() || !program.starts_with('/') => {
                " A relative `cmd` counts from `cwd`."
            }
            _ => "",
        };
        return Finding::error(
            "command-missing",
            format!("there is no file '{}'", path.display()),
            format!("Correct `cmd`, or install the program.{from}{near}"),
        );
    }
    let mut cure = where_it_may_be(program, home);
    let known: Vec<String> =
        env::split_paths(&search_path(spec)).flat_map(|directory| names_in(&directory)).collect();
    if let Some(near) = nearest(program, known.iter().map(String::as_str)) {
        cure = format!("Did you mean '{near}', which is in PATH? {cure}");
    }
    let others: Vec<String> =
        LAUNCHERS
            .iter()
            .map(|name| {
                if known.iter().any(|file| file == name) { (*name).to_owned() } else { format!("no {name}") }
            })
            .collect();
    Finding::error(
        "command-missing",
        format!("there is no command '{program}'"),
        format!("{cure} {}", path_cure()),
    )
    .seen(format!("{}\nin there: {}", searched(spec), others.join(", ")))
}

/// One sentence on how to get it, or where it is already.
fn where_it_may_be(program: &str, home: Option<&Path>) -> String {
    let mut places: Vec<PathBuf> = SYSTEM_PLACES.iter().map(PathBuf::from).collect();
    if let Some(home) = home {
        places.extend(HOME_PLACES.iter().map(|place| home.join(place)));
        for version in fs::read_dir(home.join(".nvm/versions/node")).into_iter().flatten().flatten() {
            places.push(version.path().join("bin"));
        }
    }
    if let Some(place) = places.iter().find(|place| is_program(&place.join(program))) {
        return format!("It is in {}: add that to PATH, or write the full path in `cmd`.", place.display());
    }
    match INSTALL.iter().find(|(names, _)| names.contains(&program)) {
        Some((_, how)) => format!("{how}."),
        None => format!("Install '{program}', or correct `cmd`."),
    }
}

/// The key that gives a server another PATH.
fn path_cure() -> &'static str {
    "(path = \"login\" gives the server the PATH of your login shell.)"
}

fn searched(spec: &SpawnSpec) -> String {
    format!("searched: {}", search_path(spec).to_string_lossy())
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).take(NAMES_MAX).collect()
}

/// Programs that read a script in which `~` and `$` mean something.
const SHELLS: [&str; 7] = ["sh", "bash", "zsh", "dash", "fish", "env", "ssh"];
/// What servers are usually started with.
const LAUNCHERS: [&str; 6] = ["npx", "node", "uvx", "python3", "docker", "bunx"];
/// Where installers put programs that a desktop's PATH does not have.
const SYSTEM_PLACES: [&str; 3] = ["/usr/local/bin", "/opt/homebrew/bin", "/snap/bin"];
const HOME_PLACES: [&str; 6] =
    [".local/bin", ".cargo/bin", ".bun/bin", ".volta/bin", ".deno/bin", ".local/share/mise/shims"];
/// How the usual ones are had.
const INSTALL: [(&[&str], &str); 5] = [
    (&["npx", "npm", "node"], "Install Node.js"),
    (&["uvx", "uv"], "Install uv (docs.astral.sh/uv)"),
    (&["python", "python3", "pip", "pipx"], "Install Python 3, or name 'python3' in `cmd`"),
    (&["docker"], "Install Docker, or name 'podman' in `cmd`"),
    (&["bun", "bunx"], "Install Bun"),
];
/// Most names that are looked through in one directory.
const NAMES_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own, gone at the end.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let path = env::temp_dir().join(format!("muxloop-doctor-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Dir(path)
        }

        fn file(&self, name: &str, mode: u32, text: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }

        fn spec(&self, program: &str) -> SpawnSpec {
            let path = ("PATH".to_owned(), self.0.join("bin").display().to_string());
            SpawnSpec { program: program.to_owned(), env: vec![path], ..Default::default() }
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn each_reason_is_told_from_the_others() {
        let dir = Dir::new("command");
        dir.file("bin/good", 0o755, "#!/bin/sh\n");
        dir.file("bin/plain", 0o644, "");
        dir.file("bin/lost", 0o755, "#!/no/such/thing -x\n");
        dir.file("bin/windows", 0o755, "#!/bin/sh\r\n");
        dir.file("bin/behind", 0o755, "#!/usr/bin/env no-such-language\n");
        dir.file(".cargo/bin/elsewhere", 0o755, "");
        let found = |program: &str| check(&dir.spec(program), Some(&dir.0));
        assert_eq!(found("good"), None);
        for (program, code, word) in [
            ("plain", "command-not-executable", "chmod +x"),
            ("lost", "command-interpreter", "/no/such/thing"),
            ("windows", "command-interpreter", "sed -i"),
            ("behind", "command-interpreter", "no-such-language"),
            ("goood", "command-missing", "Did you mean 'good'"),
            ("elsewhere", "command-missing", ".cargo/bin: add that to PATH"),
            ("npx", "command-missing", "Node.js"),
            ("/no/such/program", "command-missing", "Correct `cmd`"),
        ] {
            let finding = found(program).unwrap_or_else(|| panic!("{program}: nothing found"));
            assert_eq!(finding.code, code, "{finding:?}");
            assert!(finding.cure.contains(word), "{finding:?}");
        }
        let evidence = found("goood").unwrap().evidence;
        assert!(evidence.contains("searched: ") && evidence.contains("no uvx"), "{evidence}");
    }

    #[test]
    fn arguments_for_a_shell_are_found() {
        let found = |program: &str, args: &[&str]| {
            let args = args.iter().map(|arg| (*arg).to_owned()).collect();
            let spec = SpawnSpec { program: program.to_owned(), args, ..Default::default() };
            arguments(&spec, &[1]).map(|finding| finding.evidence)
        };
        assert_eq!(
            found("npx", &["-y", "~/of/variable", "~/notes", "$HOME/x", "--a=${B}"]).as_deref(),
            Some("~/notes\n$HOME/x\n--a=${B}")
        );
        assert_eq!(found("/bin/sh", &["-c", "exec x ${HOME}"]), None);
        assert_eq!(found("npx", &["a~/b", "$OF_VARIABLE", "$5", "US$", "s/$x/"]), None);
    }

    #[test]
    fn a_working_directory_must_be_one() {
        let dir = Dir::new("cwd");
        let file = dir.file("file", 0o644, "");
        for (cwd, word) in [(dir.0.join("none"), "does not exist"), (file, "is not a directory")] {
            let spec = SpawnSpec { cwd: Some(cwd), ..dir.spec("sh") };
            let finding = check(&spec, None).unwrap();
            assert_eq!(finding.code, "cwd");
            assert!(finding.message.contains(word), "{finding:?}");
        }
        dir.file("run.sh", 0o755, "#!/bin/sh\n");
        let spec = SpawnSpec { cwd: Some(dir.0.clone()), program: "./run.sh".into(), ..Default::default() };
        assert_eq!(check(&spec, None), None, "a relative program counts from there");
    }

    #[test]
    fn variables_that_say_nothing_are_found() {
        let mut server = crate::config::Config::parse(
            "mux.toml",
            b"[servers.a]\ncmd='x'\nsocket='/a'\n",
            &Default::default(),
        )
        .unwrap()
        .config
        .servers
        .remove(0);
        let pairs = [
            ("EMPTY", " "),
            ("REFERENCE", "${HOME}"),
            ("SHORT_REFERENCE", "$HOME"),
            ("API_KEY", "YOUR_API_KEY"),
            ("A_TOKEN", "<token>"),
            ("B_TOKEN", "xxxx"),
            ("REAL_TOKEN", "s3cr3t$HOME"),
            ("MODE", "xxx"),
            ("PRICE", "$5.00"),
        ];
        server.spawn.env = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let codes: Vec<&str> = variables(&server).iter().map(|finding| finding.code).collect();
        assert_eq!(
            codes,
            [
                "env-empty",
                "env-reference",
                "env-reference",
                "env-placeholder",
                "env-placeholder",
                "env-placeholder"
            ]
        );
    }
}

//! The table `sandbox` of a server: its keys, and what is checked of it.
//!
//! Paths must exist and be full, so that nobody relies on a rule about nothing; what this kernel cannot
//! honour is a problem here already. The meaning of each key is [`Sandbox`]'s.

use super::keys::{Key, Kind, key};
use super::path::Surroundings;
use super::read::{Reader, Scope, quoted, type_of};
use crate::engine::sandbox::Sandbox;
use std::path::PathBuf;
use toml::de::{DeArray, DeTable, DeValue};

/// Keys of `[servers.NAME.sandbox]`.
pub const SANDBOX: &[Key<Sandbox>] = &[
    Key {
        near: &["read", "readable", "fs_ro"],
        ..key(
            "fs_read",
            Kind::Paths(|sandbox, paths| sandbox.fs_read = Some(paths)),
            "",
            "[\"/usr/share\"]",
            "What it may read and run; files elsewhere are denied.",
        )
    },
    Key {
        near: &["write", "writable", "fs_rw"],
        ..key(
            "fs_write",
            Kind::Paths(|sandbox, paths| sandbox.fs_write = Some(paths)),
            "",
            "[\"/tmp\"]",
            "What it may read, run and change; files elsewhere are denied.",
        )
    },
    Key {
        near: &["network"],
        ..key("net", Kind::Flag(|sandbox, on| sandbox.net = on), "true", "false", "Use of the network.")
    },
    Key {
        near: &["memory_bytes", "mem", "max_memory"],
        ..key(
            "memory",
            Kind::Bytes { min: 1 << 20, max: 1 << 46, set: |sandbox, bytes| sandbox.memory = Some(bytes) },
            "",
            "\"1GiB\"",
            "Private writable memory of each process.",
        )
    },
    Key {
        near: &["nofile", "max_files", "descriptors"],
        ..key(
            "files",
            Kind::Integer { min: 16, max: 1 << 30, set: |sandbox, count| sandbox.files = Some(count) },
            "",
            "256",
            "Open descriptors of each process.",
        )
    },
    Key {
        near: &["nproc", "max_processes", "threads"],
        ..key(
            "processes",
            Kind::Integer { min: 1, max: 1 << 30, set: |sandbox, count| sandbox.processes = Some(count) },
            "",
            "512",
            "Processes and threads of the user, all together; not of root.",
        )
    },
    Key {
        near: &["cpu", "cpu_time"],
        ..key(
            "cpu_seconds",
            Kind::Integer { min: 1, max: 1 << 30, set: |sandbox, secs| sandbox.cpu_seconds = Some(secs) },
            "",
            "600",
            "Processor time of each process, which ends when it has had it.",
        )
    },
];

impl Reader<'_> {
    /// Reads the table at `at`.
    pub(super) fn sandbox(&mut self, table: &DeTable<'_>, at: usize, path: &str) -> Sandbox {
        let mut sandbox = Sandbox::default();
        let given = self.table(table, SANDBOX, Scope::Sandbox, path, &mut sandbox);
        for (key, why) in sandbox.unmet(&self.surroundings.abilities) {
            self.problem(given[key], &format!("{path}.{key}"), why);
        }
        if table.is_empty() {
            self.problem(at, path, "restricts nothing, expected at least one key");
        }
        sandbox
    }

    /// Full paths that exist.
    pub(super) fn paths(&mut self, array: &DeArray<'_>, path: &str) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for (i, item) in array.iter().enumerate() {
            let read = match item.get_ref() {
                DeValue::String(text) => existing(text, self.surroundings),
                other => Err(format!("expected a string, found {}", type_of(other))),
            };
            match read {
                Ok(found) => paths.push(found),
                Err(text) => self.problem(item.span().start, &format!("{path}[{i}]"), text),
            }
        }
        paths
    }
}

fn existing(text: &str, surroundings: &Surroundings) -> Result<PathBuf, String> {
    if text.contains('\0') {
        return Err("contains a NUL character".to_owned());
    }
    let path = surroundings.expand(text)?;
    let shown = quoted(text);
    if !path.is_absolute() {
        return Err(format!("is '{shown}', expected a full path or one that begins with '~/'"));
    }
    match path.metadata() {
        Ok(_) => Ok(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("'{shown}' does not exist, expected a file or directory"))
        }
        Err(error) => Err(format!("'{shown}': {error}")),
    }
}

/// A number of bytes as people write it: `"512 MiB"`, `"1GiB"`.
pub(super) fn bytes(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let number = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text[number.len()..].trim_start();
    let shift = match unit {
        "" | "B" => Some(0),
        "KiB" => Some(10),
        "MiB" => Some(20),
        "GiB" => Some(30),
        "TiB" => Some(40),
        _ => None,
    };
    let bytes = number.parse::<u64>().ok().zip(shift).and_then(|(n, shift)| n.checked_mul(1 << shift));
    bytes
        .filter(|bytes| (min..=max).contains(bytes))
        .ok_or_else(|| format!("is '{}', expected {}", quoted(text), expected_bytes(min, max)))
}

/// What a size is called in an error.
pub(super) fn expected_bytes(min: u64, max: u64) -> String {
    format!("bytes from {min} to {max}, as a number or as \"512MiB\", \"1GiB\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Problem};
    use crate::engine::sandbox::{Abilities, Landlock, NO_LANDLOCK};

    fn on(landlock: Landlock, is_root: bool) -> Surroundings {
        let abilities = Abilities { nothing: None, landlock, filters_sockets: true, is_root };
        Surroundings { home: Some("/usr".into()), abilities, ..Default::default() }
    }

    fn read(surroundings: &Surroundings, lines: &str) -> Result<Sandbox, Vec<String>> {
        let text = format!("[servers.a]\ncmd = \"x\"\n{lines}\n");
        let read = Config::parse("mux.toml", text.as_bytes(), surroundings);
        let problems = |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect();
        read.map(|mut loaded| *loaded.config.servers.remove(0).spawn.sandbox.unwrap()).map_err(problems)
    }

    fn new() -> Surroundings {
        on(Landlock::Abi(7), false)
    }

    #[test]
    fn a_table_in_a_line_and_one_of_its_own_are_the_same() {
        let line = "sandbox = { fs_read = [\"~/bin\", \"/etc\"], fs_write = [], net = false, memory = \"1GiB\", \
                    files = 256, processes = 64, cpu_seconds = 9 }";
        let table = "[servers.a.sandbox]\nfs_read = [\"~/bin\", \"/etc\"]\nfs_write = []\nnet = false\n\
                     memory = 1_073_741_824\nfiles = 256\nprocesses = 64\ncpu_seconds = 9";
        let expected = Sandbox {
            fs_read: Some(vec!["/usr/bin".into(), "/etc".into()]),
            fs_write: Some(Vec::new()),
            net: false,
            memory: Some(1 << 30),
            files: Some(256),
            processes: Some(64),
            cpu_seconds: Some(9),
        };
        assert_eq!(read(&new(), line).as_ref(), Ok(&expected));
        assert_eq!(read(&new(), table), Ok(expected));
    }

    #[test]
    fn what_the_kernel_cannot_do_is_refused_at_its_place() {
        let line = "sandbox = { fs_write = [\"/tmp\"], net = false, processes = 9 }";
        assert_eq!(
            read(&on(Landlock::Abi(3), true), line).unwrap_err(),
            [
                "mux.toml:3:40: servers.a.sandbox.net: needs Landlock ABI 4 (Linux 6.7), this kernel has ABI 3",
                "mux.toml:3:59: servers.a.sandbox.processes: does not bind root, whose processes Linux does \
                 not count; run muxloop as another user",
            ]
        );
        assert_eq!(
            read(&on(Landlock::Absent(NO_LANDLOCK), false), line).unwrap_err(),
            [
                "mux.toml:3:24: servers.a.sandbox.fs_write: needs Landlock ABI 3 (Linux 6.2), this kernel has \
                 no Landlock",
                "mux.toml:3:40: servers.a.sandbox.net: needs Landlock ABI 4 (Linux 6.7), this kernel has no \
                 Landlock",
            ]
        );
        let limits = "sandbox = { memory = \"64 MiB\", files = 16 }";
        assert!(read(&on(Landlock::Absent(NO_LANDLOCK), true), limits).is_ok());
    }

    #[test]
    fn paths_are_full_and_exist() {
        let lines = "sandbox.fs_read = [\"docs\", \"/etc\", \"~/no/such\", 7, \"~bob\"]";
        assert_eq!(
            read(&new(), lines).unwrap_err(),
            [
                "mux.toml:3:20: servers.a.sandbox.fs_read[0]: is 'docs', expected a full path or one that \
                 begins with '~/'",
                "mux.toml:3:36: servers.a.sandbox.fs_read[2]: '~/no/such' does not exist, expected a file or \
                 directory",
                "mux.toml:3:49: servers.a.sandbox.fs_read[3]: expected a string, found an integer",
                "mux.toml:3:52: servers.a.sandbox.fs_read[4]: starts with '~NAME', which is not supported; \
                 expected '~/…' or a full path",
            ]
        );
    }

    #[test]
    fn mistakes_are_told_like_everywhere() {
        let first = |lines: &str| read(&new(), lines).unwrap_err().remove(0);
        assert_eq!(
            first("sandbox = { network = false }"),
            "mux.toml:3:13: servers.a.sandbox.network: unknown key; did you mean 'net'?"
        );
        assert_eq!(
            first("sandbox = { args = [] }"),
            "mux.toml:3:13: servers.a.sandbox.args: unknown key here, it belongs in a [servers.NAME] table"
        );
        assert_eq!(
            first("sandbox = {}"),
            "mux.toml:3:11: servers.a.sandbox: restricts nothing, expected at least one key"
        );
        assert_eq!(
            first("sandbox = true"),
            "mux.toml:3:11: servers.a.sandbox: expected a table, found a boolean"
        );
        assert_eq!(
            first("sandbox = { memory = \"1GB\" }"),
            "mux.toml:3:22: servers.a.sandbox.memory: is '1GB', expected bytes from 1048576 to 70368744177664, \
             as a number or as \"512MiB\", \"1GiB\""
        );
    }

    #[test]
    fn the_keys_of_the_table_keep_the_promises_of_keys() {
        for key in SANDBOX {
            let with = |value: &str| read(&new(), &format!("sandbox = {{ {} = {value} }}", key.name));
            assert_ne!(with(key.example), Ok(Sandbox::default()), "{}", key.name);
            let expected = key.kind.expected();
            let refused = with("2026-11-21").unwrap_err();
            assert!(refused[0].ends_with(&format!("expected {expected}, found a date")), "{refused:?}");
        }
    }

    #[test]
    fn sizes_have_binary_units() {
        let of = |text| bytes(text, 0, u64::MAX).ok();
        assert_eq!(
            [of("7"), of("7B"), of("2 KiB"), of("3MiB")],
            [Some(7), Some(7), Some(2048), Some(3 << 20)]
        );
        assert_eq!([of("1GiB"), of("1TiB")], [Some(1 << 30), Some(1 << 40)]);
        for wrong in ["", "GiB", "-1", "1.5GiB", "1gib", "1 G", "99999999999GiB", "1GiB2", "é"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert!(bytes("9", 10, 20).is_err());
    }
}

//! The audit log (E10): one JSON line for each request of a client that has ended.
//!
//! Written after each turn with one write; a full disk is told once and never slows anybody down.

use crate::base::date::rfc3339;
use crate::config::Audit;
use crate::control::redact::redacted;
use crate::engine::Engine;
use crate::mux::status::Audited;
use serde::Serialize;
use serde_json::value::RawValue;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file, and what it may hold.
#[derive(Debug)]
pub(super) struct AuditLog {
    rules: Audit,
    path: PathBuf,
    file: Option<File>,
    size: u64,
    complained: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    ts: String,
    server: &'a str,
    client: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    outcome: &'a str,
    ms: u64,
    request_bytes: usize,
    answer_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<Box<RawValue>>,
}

impl AuditLog {
    /// Opens the file of the rules, if they name one.
    ///
    /// # Errors
    /// In words that name it.
    pub(super) fn open(rules: &Audit) -> Result<Option<AuditLog>, String> {
        let Some(path) = rules.path.clone() else { return Ok(None) };
        let mut log = AuditLog { rules: rules.clone(), path, file: None, size: 0, complained: false };
        log.reopen().map_err(|error| format!("audit file {}: {error}", log.path.display()))?;
        Ok(Some(log))
    }

    /// Whether the mux shall keep arguments.
    pub(super) fn wants_arguments(&self) -> bool {
        self.rules.arguments
    }

    /// Opens the file by its name again: somebody may have moved the old one away.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    /// Writes what has ended since the last time.
    pub(super) fn keep(&mut self, engine: &mut Engine, unix_ms_at_start: u64) {
        let (ended, lost) = engine.take_audited();
        if ended.is_empty() && lost == 0 {
            return;
        }
        let mut text = Vec::new();
        for audited in &ended {
            if serde_json::to_writer(&mut text, &line(audited, engine, unix_ms_at_start)).is_ok() {
                text.push(b'\n');
            }
            // A file ends with a whole line.
            if self.size + text.len() as u64 >= self.rules.max_bytes {
                self.write(&text);
                text.clear();
                self.rotate();
            }
        }
        if lost > 0 {
            let _ = writeln!(text, "{{\"lost\":{lost}}}");
        }
        self.write(&text);
    }

    fn write(&mut self, text: &[u8]) {
        let written = match &mut self.file {
            Some(file) if !text.is_empty() => file.write_all(text),
            _ => Ok(()),
        };
        self.size += text.len() as u64;
        self.tell(written);
    }

    /// FILE becomes FILE.1, that FILE.2, and so on; the last goes.
    fn rotate(&mut self) {
        for number in (1..self.rules.keep).rev() {
            let _ = fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1));
        }
        let moved = match self.rules.keep {
            0 => fs::remove_file(&self.path),
            _ => fs::rename(&self.path, numbered(&self.path, 1)),
        };
        let outcome = moved.and_then(|()| self.reopen());
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: io::Result<()>) {
        match outcome {
            Ok(()) => self.complained = false,
            Err(error) if !self.complained => {
                self.complained = true;
                log::error!(target: "muxloop", "audit file {}: {error}; lines are lost", self.path.display());
            }
            Err(_) => {}
        }
    }
}

fn line<'a>(audited: &'a Audited, engine: &'a Engine, unix_ms_at_start: u64) -> Line<'a> {
    let ended = &audited.ended;
    let shown = |arguments: &[u8]| String::from_utf8(redacted(arguments)).ok();
    let arguments =
        audited.arguments.as_deref().and_then(shown).and_then(|text| RawValue::from_string(text).ok());
    Line {
        ts: rfc3339(unix_ms_at_start + ended.at.0),
        server: engine.name_of(audited.server),
        client: ended.client,
        pid: audited.pid,
        method: ended.method,
        name: ended.name.as_ref().map(|name| String::from_utf8_lossy(name).into_owned()),
        outcome: ended.outcome.word(),
        ms: ended.ms,
        request_bytes: audited.request_bytes,
        answer_bytes: audited.answer_bytes,
        arguments,
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

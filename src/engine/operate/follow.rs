//! What followers at the control socket are told: reports, log lines, messages that pass.

use super::{Seen, report_value, steady};
use crate::base::date::rfc3339;
use crate::base::limits::{CONTROL_SEND_HIGH, TAP_TEXT_MAX};
use crate::base::{Key, Time};
use crate::codec::{Incoming, Kind};
use crate::control::redact::redacted;
use crate::engine::Engine;
use crate::engine::conn::Role;
use crate::engine::journal::LogLine;
use crate::engine::port::Platform;
use crate::mux::ServerId;
use serde_json::{Value, json};

impl Engine {
    /// A line of muxloop's own log.
    pub fn note_log(&mut self, now: Time, server: Option<ServerId>, text: String) {
        let line = LogLine { server, unix_ms: self.control.host.unix_ms + now.0, ours: true, text };
        self.log(line);
    }

    /// A line that a server wrote to stderr.
    pub(in crate::engine) fn log_stderr(&mut self, now: Time, server: ServerId, text: String) {
        let unix_ms = self.control.host.unix_ms + now.0;
        self.log(LogLine { server: Some(server), unix_ms, ours: false, text });
    }

    pub(super) fn log(&mut self, line: LogLine) {
        let server = line.server.map(|id| &self.setups[id].policy.name);
        let followers: Vec<Key> = self
            .control
            .keys
            .iter()
            .copied()
            .filter(|key| {
                let follows = self.control.sessions.get(*key).and_then(|session| session.logs.as_ref());
                follows.is_some_and(|wanted| wanted.is_none() || wanted.as_ref() == server)
            })
            .collect();
        let followers = self.able_to_hear(followers);
        if !followers.is_empty() {
            let params = self.line_value(&line);
            followers.into_iter().for_each(|key| self.notify(key, "log", params.clone()));
        }
        self.control.journal.push(line);
    }

    pub(super) fn tell_watcher(&mut self, now: Time, key: Key, platform: &dyn Platform) {
        let due =
            self.control.sessions.get(key).and_then(|session| session.watch.as_ref()).map(|watch| watch.due);
        if due.is_none_or(|due| now < due) {
            return;
        }
        if self.is_behind(key) {
            // The news will be newer when it reads again.
            return self.put_off_watch(now, key);
        }
        let report = self.report(now, platform);
        let value = report_value(&report);
        let report = steady(report);
        let Some(watch) = self.control.sessions.get_mut(key).and_then(|session| session.watch.as_mut())
        else {
            return;
        };
        watch.due = now + watch.interval_ms;
        if watch.last != report {
            watch.last = report;
            self.notify(key, "status", value);
        }
    }

    pub(super) fn put_off_watch(&mut self, now: Time, key: Key) {
        if let Some(watch) = self.control.sessions.get_mut(key).and_then(|session| session.watch.as_mut()) {
            watch.due = now + watch.interval_ms;
        }
    }

    /// Whether it does not read what it got.
    pub(super) fn is_behind(&self, key: Key) -> bool {
        self.conns.get(key).is_some_and(|conn| conn.send.len() > CONTROL_SEND_HIGH)
    }

    pub(super) fn show_taps(&mut self, now: Time) {
        for seen in std::mem::take(&mut self.control.taps.seen) {
            let Some((server, other)) = self.side_of(seen.link) else { continue };
            let name = &self.setups[server].policy.name;
            let watchers: Vec<Key> = self
                .control
                .keys
                .iter()
                .copied()
                .filter(|key| {
                    self.control.sessions.get(*key).is_some_and(|session| session.taps.contains(name))
                })
                .collect();
            let watchers = self.able_to_hear(watchers);
            if watchers.is_empty() {
                continue;
            }
            let params = self.tap_value(now, server, &other, &seen);
            watchers.into_iter().for_each(|key| self.notify(key, "tap", params.clone()));
        }
    }

    /// The server a link belongs to, and what the link's other side is called.
    pub(super) fn side_of(&self, link: Key) -> Option<(ServerId, String)> {
        let conn = self.conns.get(link)?;
        match conn.role {
            Role::Client | Role::Link => Some((conn.server, format!("client {}", conn.number))),
            Role::Child(instance) => Some((
                self.processes.get(instance).map_or(conn.server, |process| process.server),
                "server".into(),
            )),
            Role::Asker(_) => Some((conn.server, format!("client {} (merged endpoint)", conn.number))),
            Role::Merged => Some((conn.server, "server".into())),
            Role::Stderr(_) | Role::Control | Role::Http => None,
        }
    }

    pub(super) fn tap_value(&self, now: Time, server: ServerId, other: &str, seen: &Seen) -> Value {
        let (from, to) = if seen.received { (other, "muxloop") } else { ("muxloop", other) };
        let scanned = Incoming::scan(&seen.bytes).ok();
        let part = |span: Option<crate::codec::Span>| {
            span.and_then(|span| serde_json::from_slice::<Value>(span.of(&seen.bytes)).ok())
        };
        let kind = scanned.as_ref().map(|msg| match msg.envelope.kind {
            Kind::Request => "request",
            Kind::Notification => "notification",
            Kind::Response => "result",
            Kind::Error => "error",
        });
        let text = (!seen.bytes.is_empty()).then(|| {
            // What is not a message has no members to look for, and may hold anything.
            let shown = if scanned.is_some() { redacted(&seen.bytes) } else { b"(not a message)".to_vec() };
            let cut = &shown[..shown.len().min(TAP_TEXT_MAX)];
            String::from_utf8_lossy(cut).into_owned()
        });
        json!({
            "server": self.setups[server].policy.name,
            "ts": rfc3339(self.control.host.unix_ms + now.0),
            "from": from,
            "to": to,
            "kind": kind,
            "method": scanned.as_ref().and_then(|msg| part(msg.envelope.method)),
            "id": scanned.as_ref().and_then(|msg| part(msg.envelope.id)),
            "bytes": seen.len,
            "text": text,
        })
    }

    pub(super) fn line_value(&self, line: &LogLine) -> Value {
        let mut value = json!({
            "server": line.server.map(|id| self.setups[id].policy.name.as_str()),
            "ts": rfc3339(line.unix_ms),
            "text": line.text,
        });
        if line.ours {
            value["from"] = "muxloop".into();
        }
        value
    }

    /// Those of the followers that read what they get. The others miss one more line or tap.
    pub(super) fn able_to_hear(&mut self, followers: Vec<Key>) -> Vec<Key> {
        let (behind, able): (Vec<Key>, Vec<Key>) =
            followers.into_iter().partition(|key| self.is_behind(*key));
        for key in behind {
            self.session(key, |session| session.dropped += 1);
        }
        able
    }

    /// Something it follows.
    pub(super) fn notify(&mut self, key: Key, method: &str, mut params: Value) {
        let Some(session) = self.control.sessions.get_mut(key) else { return };
        if session.dropped > 0 && method != "status" {
            params["dropped"] = std::mem::take(&mut session.dropped).into();
        }
        self.say(key, format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#));
    }
}

//! The words of the keys that have words for values, with what each does.

use super::keys::{Choice, choice};
use super::{Config, LogFormat, ServerConfig};
use crate::mux::policy::{EraPolicy, Interactive, Share};
use log::LevelFilter;

pub(super) const LEVELS: &[Choice<Config>] = &[
    choice("off", "nothing", |top| top.log_level = Some(LevelFilter::Off)),
    choice("error", "what needs a person", |top| top.log_level = Some(LevelFilter::Error)),
    choice("warn", "and what went wrong", |top| top.log_level = Some(LevelFilter::Warn)),
    choice("info", "and what happens", |top| top.log_level = Some(LevelFilter::Info)),
    choice("debug", "and the servers' stderr", |top| top.log_level = Some(LevelFilter::Debug)),
    choice("trace", "and every message", |top| top.log_level = Some(LevelFilter::Trace)),
];

pub(super) const SERVER_LEVELS: &[Choice<ServerConfig>] = &[
    choice("off", "nothing", |server| server.log_level = Some(LevelFilter::Off)),
    choice("error", "what needs a person", |server| server.log_level = Some(LevelFilter::Error)),
    choice("warn", "and what went wrong", |server| server.log_level = Some(LevelFilter::Warn)),
    choice("info", "and what happens", |server| server.log_level = Some(LevelFilter::Info)),
    choice("debug", "and the server's stderr", |server| server.log_level = Some(LevelFilter::Debug)),
    choice("trace", "and every message", |server| server.log_level = Some(LevelFilter::Trace)),
];

pub(super) const LOG_FORMATS: &[Choice<Config>] = &[
    choice("text", "for people", |top| top.log_format = Some(LogFormat::Text)),
    choice("json", "one object per line", |top| top.log_format = Some(LogFormat::Json)),
];

pub(super) const SHARES: &[Choice<ServerConfig>] = &[
    choice("shared", "all clients", |server| server.policy.share = Share::Shared),
    choice("session", "nobody: a process per client", |server| server.policy.share = Share::Session),
    choice("request", "nobody: a process per request", |server| server.policy.share = Share::Request),
];

pub(super) const INTERACTIVES: &[Choice<ServerConfig>] = &[
    choice("off", "the server is told that nobody can be asked", |server| {
        server.policy.interactive = Interactive::Off;
    }),
    choice("serialize", "one client's requests at a time", |server| {
        server.policy.interactive = Interactive::Serialize;
    }),
    choice("per-client", "a process per client", |server| server.policy.interactive = Interactive::PerClient),
];

pub(super) const ERAS: &[Choice<ServerConfig>] = &[
    choice("auto", "modern where the server offers it, else legacy", |server| {
        server.policy.era = EraPolicy::Auto
    }),
    choice("legacy", "initialize, up to 2025-11-25", |server| server.policy.era = EraPolicy::Legacy),
    choice("modern", "stateless, 2026-07-28", |server| server.policy.era = EraPolicy::Modern),
];

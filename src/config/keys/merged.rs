//! Keys of the merged endpoint that stand at the top of the file and at a server; without the feature `gateway`
//! they are known and refused.

use super::Key;
#[cfg(not(feature = "gateway"))]
use super::later;
#[cfg(feature = "gateway")]
use super::{Kind, key};
use crate::config::{Config, ServerConfig};

#[cfg(feature = "gateway")]
pub(super) const GATEWAY: Key<Config> = key(
    "gateway",
    Kind::Own {
        expected: "a table",
        word: "table",
        read: |reader, value, path, top| reader.gateway(value, path, &mut top.gateway),
    },
    "",
    "{ names = \"plain\" }",
    "One endpoint for all servers; its keys are below.",
);
#[cfg(not(feature = "gateway"))]
pub(super) const GATEWAY: Key<Config> = later("gateway", "{ names = \"plain\" }", LACKING);

#[cfg(feature = "gateway")]
pub(super) const PROFILES: Key<Config> = Key {
    near: &["profile"],
    ..key(
        "profiles",
        Kind::Own {
            expected: "a table of tables",
            word: "table of tables",
            read: |reader, value, path, top| reader.profiles(value, path, &mut top.profiles),
        },
        "",
        "{ safe = { tools = { deny = [\"*__delete_*\"] } } }",
        "Parts of that endpoint by name; their keys are below.",
    )
};
#[cfg(not(feature = "gateway"))]
pub(super) const PROFILES: Key<Config> = later("profiles", "{ safe = { servers = [\"memory\"] } }", LACKING);

#[cfg(feature = "gateway")]
pub(super) const IS_MERGED: Key<ServerConfig> = Key {
    near: &["expose"],
    ..key(
        "gateway",
        Kind::Flag(|server, on| server.gateway = on),
        "true",
        "false",
        "false: the merged endpoint is without it.",
    )
};
#[cfg(not(feature = "gateway"))]
pub(super) const IS_MERGED: Key<ServerConfig> = later("gateway", "false", LACKING);

#[cfg(feature = "gateway")]
pub(super) const TOOLS: Key<ServerConfig> = key(
    "tools",
    Kind::Filter(|server| &mut server.offer.tools),
    "",
    "{ deny = [\"rm_*\"] }",
    "Which tools clients have.",
);
#[cfg(not(feature = "gateway"))]
pub(super) const TOOLS: Key<ServerConfig> = later("tools", "{ deny = [\"rm_*\"] }", LACKING);

#[cfg(feature = "gateway")]
pub(super) const PROMPTS: Key<ServerConfig> = key(
    "prompts",
    Kind::Filter(|server| &mut server.offer.prompts),
    "",
    "{ allow = [\"review\"] }",
    "Which prompts clients have.",
);
#[cfg(not(feature = "gateway"))]
pub(super) const PROMPTS: Key<ServerConfig> = later("prompts", "{ allow = [\"review\"] }", LACKING);

#[cfg(feature = "gateway")]
pub(super) const RESOURCES: Key<ServerConfig> = key(
    "resources",
    Kind::Filter(|server| &mut server.offer.resources),
    "",
    "{ deny = [\"file:///secret/*\"] }",
    "Which resources clients have, by URI.",
);
#[cfg(not(feature = "gateway"))]
pub(super) const RESOURCES: Key<ServerConfig> =
    later("resources", "{ deny = [\"file:///secret/*\"] }", LACKING);

#[cfg(feature = "gateway")]
pub(super) const TOOL: Key<ServerConfig> = key(
    "tool",
    Kind::Own {
        expected: "a table of tables",
        word: "table of tables",
        read: |reader, value, path, server| reader.changes(value, path, server),
    },
    "",
    "{ search = { hide = [\"limit\"] } }",
    "How the merged endpoint offers single tools; the keys are below.",
);
#[cfg(not(feature = "gateway"))]
pub(super) const TOOL: Key<ServerConfig> = later("tool", "{ search = { hide = [\"limit\"] } }", LACKING);

#[cfg(not(feature = "gateway"))]
const LACKING: &str = "it needs the feature `gateway` when muxloop is built";

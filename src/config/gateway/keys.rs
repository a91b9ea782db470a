//! The keys of the merged endpoint.

use super::{GatewayConfig, Profile, Tools};
use crate::config::keys::{Choice, Key, Kind, choice, key};
use crate::gateway::catalogue::{Change, Naming};
use crate::gateway::filter::Filter;

/// Keys of `[gateway]`.
pub const GATEWAY: &[Key<GatewayConfig>] = &[
    Key {
        near: &["naming", "name"],
        ..key("names", Kind::Choice(NAMES), "\"prefix\"", "\"plain\"", "Names of tools and prompts.")
    },
    key(
        "tools",
        Kind::Own {
            expected: "\"all\", \"lazy\" or a table with mode, allow and deny",
            word: "word or table",
            read: |reader, value, path, gateway| reader.gateway_tools(value, path, gateway),
        },
        "\"all\"",
        "{ mode = \"all\", deny = [\"*__delete_*\"] }",
        "How tools are offered, and which, by merged names.",
    ),
    key(
        "prompts",
        Kind::Filter(|gateway| &mut gateway.filters.prompts),
        "",
        "{ allow = [\"docs__*\"] }",
        "Which prompts.",
    ),
    key(
        "resources",
        Kind::Filter(|gateway| &mut gateway.filters.resources),
        "",
        "{ deny = [\"file:///secret/*\"] }",
        "Which resources, by URI.",
    ),
    Key {
        near: &["timeout", "list_timeout"],
        ..key(
            "list_timeout_ms",
            Kind::Integer { min: 1, max: 600_000, set: |gateway, ms| gateway.list_timeout_ms = ms },
            "5000",
            "2000",
            "How long a list waits for a server that is slow.",
        )
    },
    key(
        "servers",
        Kind::Own {
            expected: "an array of names of servers",
            word: "names",
            read: |reader, value, path, gateway| reader.server_names(value, path, &mut gateway.servers),
        },
        "",
        "[\"memory\"]",
        "Whose things, in this order; by default all, in the order of the file.",
    ),
];

/// Keys of `[profiles.NAME]`.
pub const PROFILE: &[Key<Profile>] = &[
    key(
        "servers",
        Kind::Own {
            expected: "an array of names of servers",
            word: "names",
            read: |reader, value, path, profile| reader.server_names(value, path, &mut profile.servers),
        },
        "",
        "[\"memory\"]",
        "Whose things, in this order; by default those of the gateway.",
    ),
    key(
        "tools",
        Kind::Filter(|profile| &mut profile.filters.tools),
        "",
        "{ allow = [\"*__read_*\"] }",
        "Which tools, by merged names.",
    ),
    key(
        "prompts",
        Kind::Filter(|profile| &mut profile.filters.prompts),
        "",
        "{ deny = [\"*\"] }",
        "Which prompts, by merged names.",
    ),
    key(
        "resources",
        Kind::Filter(|profile| &mut profile.filters.resources),
        "",
        "{ deny = [\"file:*\"] }",
        "Which resources, by URI.",
    ),
];

/// Keys of a filter.
pub const FILTER: &[Key<Filter>] = &[
    Key {
        near: &["include", "only"],
        ..key(
            "allow",
            Kind::Own {
                expected: PATTERNS,
                word: "patterns",
                read: |reader, value, path, filter| reader.patterns(value, path, &mut filter.allow),
            },
            "[]",
            "[\"read_*\", \"list\"]",
            "These only; * is any text, ? one character. Empty: all.",
        )
    },
    Key {
        near: &["exclude", "except", "block"],
        ..key(
            "deny",
            Kind::Own {
                expected: PATTERNS,
                word: "patterns",
                read: |reader, value, path, filter| reader.patterns(value, path, &mut filter.deny),
            },
            "[]",
            "[\"delete_*\"]",
            "Not these, whatever is allowed.",
        )
    },
];

const PATTERNS: &str = "an array of names or patterns";

/// Keys of `[servers.NAME.tool.TOOL]`.
pub const CHANGE: &[Key<Change>] = &[
    Key {
        near: &["rename"],
        ..key(
            "name",
            Kind::Text(|change, text| change.name = Some(text)),
            "",
            "\"search\"",
            "Its name, before any prefix.",
        )
    },
    key(
        "description",
        Kind::Text(|change, text| change.description = Some(text)),
        "",
        "\"Searches the wiki.\"",
        "What models read of it.",
    ),
    Key {
        near: &["hidden"],
        ..key(
            "hide",
            Kind::Texts(|change, names| {
                for name in names {
                    change.hidden.entry(name).or_default();
                }
            }),
            "[]",
            "[\"verbose\"]",
            "Parameters that clients neither see nor set.",
        )
    },
    Key {
        near: &["fixed", "values", "arguments"],
        ..key(
            "set",
            Kind::Own {
                expected: "a table of values",
                word: "table of values",
                read: |reader, value, path, change| reader.fixed(value, path, change),
            },
            "{}",
            "{ limit = 10, token = \"${WIKI_TOKEN}\" }",
            "Parameters with a fixed value, which are hidden too.",
        )
    },
];

const NAMES: &[Choice<GatewayConfig>] = &[
    choice("prefix", "SERVER__NAME: never two of one name", |gateway| gateway.naming = Naming::Prefix),
    choice("plain", "as the servers have them; two of one name are an error", |gateway| {
        gateway.naming = Naming::Plain;
    }),
];

/// Of `tools`, as a word or in a table.
const MODES: &[Choice<GatewayConfig>] = &[
    choice("all", "each in the list", |gateway| gateway.tools = Tools::All),
    choice("lazy", "found by tools that search for them", |gateway| gateway.tools = Tools::Lazy),
];

/// The table form of `tools`.
pub(super) const TOOLS: &[Key<GatewayConfig>] = &[
    key("mode", Kind::Choice(MODES), "\"all\"", "\"lazy\"", "How they are offered."),
    key(
        "allow",
        Kind::Own {
            expected: PATTERNS,
            word: "patterns",
            read: |reader, value, path, gateway| {
                reader.patterns(value, path, &mut gateway.filters.tools.allow)
            },
        },
        "[]",
        "[\"docs__*\"]",
        "These only.",
    ),
    key(
        "deny",
        Kind::Own {
            expected: PATTERNS,
            word: "patterns",
            read: |reader, value, path, gateway| {
                reader.patterns(value, path, &mut gateway.filters.tools.deny)
            },
        },
        "[]",
        "[\"*__delete_*\"]",
        "Not these.",
    ),
];

//! The contract (protocol.md §2, §4): what comes of each feature, for a client of each version at a child of
//! each kind. Written by hand; the tests compare it with what happens, the page is made from it.

use crate::cell::{Cell, Kind};
use crate::client::Version;
use crate::{asked, changes, plain};

/// One line of the tables.
pub struct Feature {
    pub name: &'static str,
    pub run: fn(&mut Cell) -> String,
    /// By version, oldest first.
    legacy: [&'static str; 5],
    modern: [&'static str; 5],
    /// Also under `per-client`: who is asked is decided another way there.
    pub interactive: bool,
    /// Under `per-client` at a legacy child, where it differs.
    owned: Option<[&'static str; 5]>,
}

impl Feature {
    pub fn expected(&self, kind: Kind, version: Version, owned: bool) -> &'static str {
        let row = match kind {
            Kind::Legacy if owned => self.owned.as_ref().unwrap_or(&self.legacy),
            Kind::Legacy => &self.legacy,
            Kind::Modern => &self.modern,
        };
        row[version as usize]
    }
}

const NONE: &str = "–";
const WORKS: &str = "works";
const GONE: &str = "refused -32601";
const WRONG: &str = "refused -32602";
const REQUEST: &str = "asked by request";
const RESULT: &str = "asked by `input_required`";
const OWN_ERROR: &str = "the server's own error";
const FAILED: &str = "refused -32603";
const INCAPABLE: &str = "refused -32021";

/// The same for all versions of an era.
const fn eras(old: &'static str, new: &'static str) -> [&'static str; 5] {
    [old, old, old, old, new]
}

/// The same for all clients.
const fn all(outcome: &'static str) -> [&'static str; 5] {
    eras(outcome, outcome)
}

/// What came with a revision: before it, with it.
const fn since_06(before: &'static str, with: &'static str, new: &'static str) -> [&'static str; 5] {
    [before, before, with, with, new]
}

const fn since_11(before: &'static str, with: &'static str, new: &'static str) -> [&'static str; 5] {
    [before, before, before, with, new]
}

const fn feature(
    name: &'static str,
    run: fn(&mut Cell) -> String,
    legacy: [&'static str; 5],
    modern: [&'static str; 5],
) -> Feature {
    Feature { name, run, legacy, modern, interactive: false, owned: None }
}

/// A feature in which the child asks the client.
const fn question(
    name: &'static str,
    run: fn(&mut Cell) -> String,
    legacy: [&'static str; 5],
    modern: [&'static str; 5],
) -> Feature {
    Feature { interactive: true, ..feature(name, run, legacy, modern) }
}

pub struct Group {
    pub name: &'static str,
    pub features: &'static [Feature],
}

pub static GROUPS: &[Group] = &[
    Group {
        name: "Opening",
        features: &[
            feature("`initialize`", plain::initialize, eras(WORKS, GONE), eras(WORKS, GONE)),
            feature(
                "`initialize` once more",
                plain::second_initialize,
                eras("refused -32600", NONE),
                eras("refused -32600", NONE),
            ),
            feature("`server/discover`", plain::discover, eras(GONE, WORKS), eras(GONE, WORKS)),
            feature("`ping`", plain::ping, eras(WORKS, GONE), eras(WORKS, GONE)),
            feature("the server knows the client", plain::identity, all("muxloop's own"), all(WORKS)),
        ],
    },
    Group {
        name: "Lists and calls",
        features: &[
            feature(
                "`tools/list`, `prompts/list`, `resources/list`, `resources/templates/list`",
                plain::lists,
                all(WORKS),
                all(WORKS),
            ),
            feature("lists in pages", plain::pages, all(WORKS), all(WORKS)),
            feature("`tools/call`", plain::call, all(WORKS), all(WORKS)),
            feature("`prompts/get`", plain::get_prompt, all(WORKS), all(WORKS)),
            feature("`resources/read`", plain::read_resource, all(WORKS), all(WORKS)),
            feature("`completion/complete`", plain::complete, all(WORKS), all(WORKS)),
            feature("methods of the server's own", plain::vendor_method, all(WORKS), all(WORKS)),
            feature("unknown method", plain::unknown_method, all(GONE), all(GONE)),
            feature("unknown tool", plain::unknown_tool, all(WRONG), all(WRONG)),
            feature("unknown resource", plain::unknown_resource, eras("refused -32002", WRONG), all(WRONG)),
            feature(
                "tasks of 2025-11-25",
                plain::tasks,
                since_11(NONE, WORKS, "not offered"),
                since_11(NONE, "not offered", "not offered"),
            ),
            feature(
                "arrays of messages",
                plain::batch,
                ["refused -32600", WORKS, "refused -32600", "refused -32600", "refused -32600"],
                ["refused -32600", WORKS, "refused -32600", "refused -32600", "refused -32600"],
            ),
        ],
    },
    Group {
        name: "Content",
        features: &[
            feature("text, images, embedded resources", plain::images, all(WORKS), all(WORKS)),
            feature(
                "audio",
                plain::audio,
                ["as text", WORKS, WORKS, WORKS, WORKS],
                ["as text", WORKS, WORKS, WORKS, WORKS],
            ),
            feature(
                "resource links",
                plain::links,
                since_06("as text", WORKS, WORKS),
                since_06("as text", WORKS, WORKS),
            ),
            feature(
                "structured content (no object at a modern server)",
                plain::structured,
                all(WORKS),
                eras("left out", WORKS),
            ),
        ],
    },
    Group {
        name: "While a request is under way",
        features: &[
            feature("progress", plain::progress, all(WORKS), all(WORKS)),
            feature("cancelling", plain::cancel, all(WORKS), all(WORKS)),
            feature("keys of `_meta` of others, as `traceparent`", plain::trace, all(WORKS), all(WORKS)),
        ],
    },
    Group {
        name: "What the server tells",
        features: &[
            feature("`logging/setLevel`", changes::set_level, eras(WORKS, GONE), eras(WORKS, GONE)),
            feature("log messages from a level on", changes::logs, all(WORKS), all(WORKS)),
            feature(
                "log messages without a level",
                changes::logs_unasked,
                eras(WORKS, "nothing"),
                eras("nothing", "nothing"),
            ),
            feature("`resources/subscribe`", changes::subscribe, eras(WORKS, GONE), eras(WORKS, GONE)),
            feature(
                "`list_changed` without a listen",
                changes::lists_unasked,
                eras(WORKS, "nothing"),
                eras(WORKS, "nothing"),
            ),
            feature("`subscriptions/listen`", changes::listen, eras(GONE, WORKS), eras(GONE, WORKS)),
        ],
    },
    Group {
        name: "What the server asks",
        features: &[
            question(
                "a form (`tools/call`)",
                asked::form,
                since_06(OWN_ERROR, REQUEST, RESULT),
                since_06(FAILED, REQUEST, RESULT),
            ),
            question(
                "a form (`prompts/get`)",
                asked::by_prompt,
                since_06(FAILED, REQUEST, RESULT),
                since_06(FAILED, REQUEST, RESULT),
            ),
            question(
                "a form (`resources/read`)",
                asked::by_resource,
                since_06(FAILED, REQUEST, RESULT),
                since_06(FAILED, REQUEST, RESULT),
            ),
            question(
                "a page (elicitation by URL)",
                asked::page,
                since_11(OWN_ERROR, REQUEST, RESULT),
                since_11(FAILED, REQUEST, RESULT),
            ),
            question(
                "a page, by the error -32042",
                asked::page_by_error,
                eras("refused -32042", RESULT),
                all(NONE),
            ),
            question("the page was seen", asked::page_seen, since_11(NONE, WORKS, "nothing"), all(NONE)),
            question("sampling", asked::sampling, eras(REQUEST, RESULT), eras(REQUEST, RESULT)),
            question("roots", asked::roots, eras(REQUEST, RESULT), eras(REQUEST, RESULT)),
            question(
                "several questions at once",
                asked::several,
                eras(REQUEST, RESULT),
                eras(REQUEST, RESULT),
            ),
            question(
                "questions after questions",
                asked::rounds,
                eras(REQUEST, RESULT),
                eras(REQUEST, RESULT),
            ),
            question("a result with nothing but state", asked::pause, all(NONE), eras(REQUEST, RESULT)),
            question(
                "the user declines",
                asked::declined,
                since_06(OWN_ERROR, REQUEST, RESULT),
                since_06(FAILED, REQUEST, RESULT),
            ),
            question(
                "the client answers a form with an error",
                asked::form_failed,
                eras(OWN_ERROR, NONE),
                since_06(FAILED, "taken as cancelled", NONE),
            ),
            question(
                "the client answers sampling with an error",
                asked::sampling_failed,
                eras(OWN_ERROR, NONE),
                eras(FAILED, NONE),
            ),
            question(
                "the client declared nothing",
                asked::undeclared,
                all(OWN_ERROR),
                eras(FAILED, INCAPABLE),
            ),
            question(
                "an answer is missing",
                asked::missing_answers,
                eras(NONE, "asked again"),
                eras(NONE, "asked again"),
            ),
            question("answers of a wrong shape", asked::wrong_answers, eras(NONE, WRONG), eras(NONE, WRONG)),
            question("progress of an answer", asked::progress, eras(WORKS, NONE), all(NONE)),
            question("cancelling while asked", asked::cancelled, eras(WORKS, NONE), eras(WORKS, NONE)),
            question("`interactive = \"off\"`", asked::not_allowed, all(OWN_ERROR), eras(REQUEST, RESULT)),
            Feature {
                owned: Some(eras(WORKS, NONE)),
                ..question(
                    "`notifications/roots/list_changed`",
                    changes::roots_changed,
                    eras("kept here", NONE),
                    eras("kept here", NONE),
                )
            },
        ],
    },
];

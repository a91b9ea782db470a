//! docs/eras.md, from the expectations that the matrix compares with what happens.

use std::fmt::Write;

use crate::cell::Kind;
use crate::client::{Front, Version};
use crate::expected::GROUPS;

const INTRODUCTION: &str = "\
<!-- Made from the table in tests/e2e_eras/expected.rs: `MUXLOOP_WRITE_DOCS=1 cargo test docs_` writes it. -->

# Eras

MCP has two eras. Up to 2025-11-25, client and server open with `initialize`, keep a session, and the server can send
requests to its client. Since 2026-07-28 each request stands for itself: nothing is opened, and a server that wants to
know something answers `input_required` and is asked again.

muxloop lets any client use any server. One process serves clients of both eras at the same time; what each of them says
is put into the words of the other. Within one era messages pass as they are.

The tables say what comes of each feature. They hold for every way to connect, and each cell is tried over each of them
(`tests/e2e_eras`):
";

const WORDS: &str = "
- *works*: as the client's version has it.
- *refused CODE*: with this JSON-RPC error; over HTTP, clients of 2026-07-28 get the status that goes with it.
- *asked by request*, *asked by `input_required`*: the question reaches the client in this form, and its answer the server.
- *the server's own error*: the server is told that this client cannot be asked, and says so in its result.
- *as text*, *left out*: what the version cannot read is named in a text, or dropped where a text says the same already.
- *–*: that version has no word for it.

Questions need a server with `interactive = \"serialize\"` or `\"per-client\"` if it is of the old era, as nothing in its
question says whom it means ([http.md](http.md#questions-of-older-servers)). A server of 2026-07-28 asks in its answer,
so there is nothing to mistake and `interactive` does not matter.
";

const LIMITS: &str = "
## What cannot be

- A call of a new client that an old server has a question about lives in muxloop until the client comes back: a restart
  of muxloop or of the server ends it, and the client gets an error for its `requestState`.
- Under `serialize` such a call has the old server for itself. Others wait until its client has come back, or for
  `answer_timeout_ms` if it never does.
- A question of an old server does not say to which call it belongs. Under `serialize` nobody has the server after a
  cancelled call before it has shown that it read the cancel. One that goes on with the call all the same, and asks
  later still, is taken to ask for the call that it has then. A process per client (`per-client`, or
  `share = \"session\"`) asks that client and nobody else.
- Log messages of a server of 2026-07-28 do not say which request they belong to. They are delivered if only one request
  under way wants their level, otherwise dropped.
- A client of 2026-07-28 has no session: no lists or tools of its own, no `tasks/list`, no streams that are resumed.
- What a server asks outside of any request (sampling on its own account) reaches nobody.
- Tasks of 2025-11-25 are not translated: tools that only run as tasks are hidden from clients of 2026-07-28.
";

fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    text.push_str("\n| connected by | versions |\n|---|---|\n");
    for front in Front::ALL {
        let versions: Vec<&str> =
            Version::ALL.into_iter().filter(|version| front.serves(*version)).map(Version::name).collect();
        let versions = match (versions.len(), versions.first(), versions.last()) {
            (5, ..) => "all".to_owned(),
            (_, Some(first), Some(last)) => format!("{first} to {last}"),
            _ => unreachable!("each front serves some"),
        };
        let _ = writeln!(text, "| {} | {versions} |", front.name());
    }
    text.push_str(WORDS);
    for kind in Kind::ALL {
        let title = match kind {
            Kind::Legacy => "A server of the old era (up to 2025-11-25)",
            Kind::Modern => "A server of 2026-07-28",
        };
        let _ = writeln!(text, "\n## {title}");
        for group in GROUPS {
            let versions = Version::ALL.map(Version::name).join(" | ");
            let _ = writeln!(text, "\n| {} | {versions} |\n|---|---|---|---|---|---|", group.name);
            for feature in group.features {
                let row = Version::ALL.map(|version| feature.expected(kind, version, false)).join(" | ");
                let _ = writeln!(text, "| {} | {row} |", feature.name);
            }
        }
    }
    text.push_str(LIMITS);
    text
}

#[test]
fn docs_are_in_step_with_the_matrix() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/eras.md");
    if std::env::var_os("MUXLOOP_WRITE_DOCS").is_some() {
        std::fs::write(path, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == markdown(), "docs/eras.md is stale: MUXLOOP_WRITE_DOCS=1 cargo test docs_");
}

//! Every feature in every cell of the table, a daemon for each front and kind of child.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::cell::{Cell, Kind, PER_CLIENT, SERIALIZE, station};
use crate::client::{Front, Version};
use crate::expected::GROUPS;

/// Runs all features for the versions that this front serves; fails with the list of all deviations.
fn run(front: Front, kind: Kind) {
    let station = station(kind);
    let mut deviations = Vec::new();
    for version in Version::ALL.into_iter().filter(|version| front.serves(*version)) {
        for server in [SERIALIZE, PER_CLIENT] {
            let owned = server == PER_CLIENT;
            if owned && !matches!(front, Front::Unix | Front::Http) {
                continue;
            }
            let mut cell = Cell::open(&station, kind, server, front, version);
            let features = GROUPS.iter().flat_map(|group| group.features);
            for feature in features.filter(|feature| !owned || feature.interactive) {
                let expected = feature.expected(kind, version, owned);
                let outcome = attempt(|| (feature.run)(&mut cell));
                if outcome != expected {
                    let (name, of) = (feature.name, version.name());
                    deviations.push(format!("{name}, {of}, {server}: {outcome}, not {expected}"));
                    cell = Cell::open(&station, kind, server, front, version);
                }
                cell.client.forget();
            }
            let violations = attempt(|| cell.whoami()["violations"].to_string());
            if violations != "[]" {
                deviations.push(format!("its protocol, {}, {server}: {violations}", version.name()));
            }
        }
    }
    let child = kind.name();
    assert!(
        deviations.is_empty(),
        "{} deviations, {} to a {child} child:\n{}",
        deviations.len(),
        front.name(),
        deviations.join("\n")
    );
}

/// The outcome in a word, be it a panic's.
fn attempt(run: impl FnOnce() -> String) -> String {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        format!("({})", text.unwrap_or_default())
    })
}

#[test]
fn stdio_to_a_legacy_child() {
    run(Front::Stdio, Kind::Legacy);
}

#[test]
fn stdio_to_a_modern_child() {
    run(Front::Stdio, Kind::Modern);
}

#[test]
fn unix_to_a_legacy_child() {
    run(Front::Unix, Kind::Legacy);
}

#[test]
fn unix_to_a_modern_child() {
    run(Front::Unix, Kind::Modern);
}

#[test]
fn http_to_a_legacy_child() {
    run(Front::Http, Kind::Legacy);
}

#[test]
fn http_to_a_modern_child() {
    run(Front::Http, Kind::Modern);
}

#[test]
fn sse_to_a_legacy_child() {
    run(Front::Sse, Kind::Legacy);
}

#[test]
fn sse_to_a_modern_child() {
    run(Front::Sse, Kind::Modern);
}

#[test]
fn websocket_to_a_legacy_child() {
    run(Front::WebSocket, Kind::Legacy);
}

#[test]
fn websocket_to_a_modern_child() {
    run(Front::WebSocket, Kind::Modern);
}

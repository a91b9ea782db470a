//! What the gateway asks on its own account: what a server can do, its lists, and when they change.

use super::lazy::words::cut;
use super::{Floor, Gateway, Timer, Use};
use crate::base::{Key, Time};
use crate::codec::List;
use crate::codec::{Incoming, Kind, Span, json};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// One server, as far as it is known.
#[derive(Debug)]
pub(super) struct Member {
    /// The mux's number of it.
    pub server: usize,
    pub key: String,
    pub hello: Hello,
    lists: [Freshness; 4],
    /// The link on which it tells that its lists changed.
    pub watch: Option<Key>,
    retrying: bool,
    /// Why it was not learnt what was asked for last.
    pub failure: Option<String>,
}

#[derive(Debug)]
pub(super) enum Hello {
    Unknown,
    Asked {
        since: Time,
    },
    Known(Ability),
    /// It could not be asked at this time.
    Failed,
}

/// What a server said that it can do.
#[derive(Debug, Default)]
pub(super) struct Ability {
    pub capabilities: Value,
    pub instructions: String,
}

#[derive(Debug)]
enum Freshness {
    Stale,
    /// To be asked for once the server has said what it can do.
    Wanted,
    Fetching(Box<Fetch>),
    /// Good until then, if nothing is heard before.
    Fresh(Time),
    Failed,
}

/// A list on its way, page by page.
#[derive(Debug)]
struct Fetch {
    since: Time,
    pages: Vec<Vec<u8>>,
    bytes: usize,
    cursors: BTreeSet<Vec<u8>>,
    /// Something changed since it was asked for.
    outdated: bool,
}

impl Member {
    pub(super) fn new(server: usize, key: String) -> Member {
        let lists = std::array::from_fn(|_| Freshness::Stale);
        Member { server, key, hello: Hello::Unknown, lists, watch: None, retrying: false, failure: None }
    }

    /// What is known stays known; what is under way is forgotten.
    pub(super) fn rest(&mut self) {
        if !matches!(self.hello, Hello::Known(_)) {
            self.hello = Hello::Unknown;
        }
        self.lists = std::array::from_fn(|_| Freshness::Stale);
        self.watch = None;
        self.retrying = false;
    }

    /// Everything is to be asked again.
    pub(super) fn forget(&mut self) {
        self.hello = Hello::Unknown;
        self.lists = std::array::from_fn(|_| Freshness::Stale);
        self.watch = None;
    }

    pub(super) fn ability(&self) -> Option<&Ability> {
        match &self.hello {
            Hello::Known(ability) => Some(ability),
            _ => None,
        }
    }

    pub(super) fn has(&self, list: List) -> bool {
        self.ability().is_none_or(|ability| ability.capabilities[list.capability()].is_object())
    }

    fn announces(&self, list: List) -> bool {
        self.ability().is_some_and(|ability| ability.capabilities[list.capability()]["listChanged"] == true)
    }

    /// Since when this is under way, if it is.
    pub(super) fn busy_since(&self, list: Option<List>) -> Option<Time> {
        if let Hello::Asked { since } = self.hello {
            return Some(since);
        }
        match list.map(|list| &self.lists[list as usize]) {
            Some(Freshness::Fetching(fetch)) => Some(fetch.since),
            _ => None,
        }
    }
}

impl Gateway {
    /// Asks for what is not known or may have changed.
    pub(super) fn want(&mut self, now: Time, member: usize, list: Option<List>, floor: &mut dyn Floor) {
        match self.members[member].hello {
            Hello::Unknown | Hello::Failed => {
                if let Some(list) = list {
                    self.members[member].lists[list as usize] = Freshness::Wanted;
                }
                self.ask_hello(now, member, floor);
            }
            Hello::Asked { .. } => {
                if let Some(list) = list {
                    self.members[member].lists[list as usize] = Freshness::Wanted;
                }
            }
            Hello::Known(_) => {
                let Some(list) = list else { return };
                let stale = match &self.members[member].lists[list as usize] {
                    Freshness::Fetching(_) => false,
                    Freshness::Fresh(until) => now >= *until,
                    Freshness::Stale | Freshness::Wanted | Freshness::Failed => true,
                };
                if stale {
                    self.fetch(now, member, list, floor);
                }
            }
        }
    }

    /// Until when it is worth waiting for this of a server; `None` if there is nothing to wait for, or too long
    /// already (H03).
    pub(super) fn worth_waiting(&self, now: Time, member: usize, list: Option<List>) -> Option<Time> {
        let until = self.members[member].busy_since(list)? + self.list_timeout_ms;
        (now < until).then_some(until)
    }

    fn ask_hello(&mut self, now: Time, member: usize, floor: &mut dyn Floor) {
        let Some(link) = floor.open(self.members[member].server, None) else {
            return self.on_hello_failed(now, member, FULL, floor);
        };
        self.links.insert(link, Use::Hello(member));
        self.members[member].hello = Hello::Asked { since: now };
        floor.ask(link, &own_request("server/discover", json!({})));
    }

    pub(super) fn on_hello(
        &mut self,
        now: Time,
        member: usize,
        link: Key,
        msg: &Incoming<'_>,
        floor: &mut dyn Floor,
    ) {
        self.drop_link(link, floor);
        let result = msg.envelope.result.map_or(&b"null"[..], |result| msg.text(result));
        let value: Value = serde_json::from_slice(result).unwrap_or_default();
        if msg.envelope.kind == Kind::Error || !value["capabilities"].is_object() {
            let why = said(msg).unwrap_or_else(|| "its answer to server/discover has no capabilities".into());
            return self.on_hello_failed(now, member, &why, floor);
        }
        let instructions = value["instructions"].as_str().unwrap_or_default().to_string();
        self.members[member].hello =
            Hello::Known(Ability { capabilities: value["capabilities"].clone(), instructions });
        self.renew_hello(floor);
        self.members[member].failure = None;
        self.watch(member, floor);
        if self.lazy.is_some() {
            self.announce(List::Tools, floor);
        }
        for list in List::ALL {
            if matches!(self.members[member].lists[list as usize], Freshness::Wanted) {
                self.fetch(now, member, list, floor);
            }
        }
        self.on_learnt(now, floor);
    }

    pub(super) fn on_hello_failed(&mut self, now: Time, member: usize, why: &str, floor: &mut dyn Floor) {
        self.members[member].hello = Hello::Failed;
        self.members[member].failure = Some(why.to_owned());
        for list in &mut self.members[member].lists {
            if matches!(list, Freshness::Wanted) {
                *list = Freshness::Failed;
            }
        }
        self.retry_later(now, member);
        self.on_learnt(now, floor);
    }

    fn fetch(&mut self, now: Time, member: usize, list: List, floor: &mut dyn Floor) {
        if !self.members[member].has(list) {
            self.members[member].lists[list as usize] = Freshness::Fresh(Time(u64::MAX));
            if self.catalogue.learn(member, list, &[]) {
                self.announce(list, floor);
            }
            return;
        }
        let fetch =
            Fetch { since: now, pages: Vec::new(), bytes: 0, cursors: BTreeSet::new(), outdated: false };
        self.members[member].lists[list as usize] = Freshness::Fetching(Box::new(fetch));
        let Some(link) = floor.open(self.members[member].server, None) else {
            return self.on_fetch_failed(now, member, list, FULL, floor);
        };
        self.links.insert(link, Use::Fetch(member, list));
        floor.ask(link, &own_request(list.method(), json!({})));
    }

    /// One page; the next one is asked for, or the list is known.
    pub(super) fn on_page(
        &mut self,
        now: Time,
        member: usize,
        list: List,
        link: Key,
        msg: &Incoming<'_>,
        floor: &mut dyn Floor,
    ) {
        let result = msg.envelope.result.filter(|_| msg.envelope.kind == Kind::Response);
        let has_items = |result: &Span| {
            let items = json::member(msg.bytes, *result, list.member());
            items.is_some_and(|items| msg.text(items).starts_with(b"["))
        };
        let Some(result) = result.filter(has_items) else {
            self.drop_link(link, floor);
            log::info!(target: "gateway", "server '{}' gave no list for {}: {}", self.members[member].key, list.method(), String::from_utf8_lossy(&msg.bytes[..msg.bytes.len().min(200)]));
            let why = said(msg).unwrap_or_else(|| format!("its answer to {} has no list", list.method()));
            return self.on_fetch_failed(now, member, list, &why, floor);
        };
        let Freshness::Fetching(fetch) = &mut self.members[member].lists[list as usize] else { return };
        let find = |name| json::member(msg.bytes, result, name);
        if let Some(items) = find(list.member()) {
            fetch.bytes += items.len();
            fetch.pages.push(msg.text(items).to_vec());
        }
        let ttl_ms = find("ttlMs").and_then(|ttl| std::str::from_utf8(msg.text(ttl)).ok()?.parse().ok());
        if let Some(cursor) =
            find("nextCursor").map(|cursor| msg.text(cursor)).filter(|c| c.starts_with(b"\""))
        {
            let fresh = fetch.cursors.insert(cursor.to_vec());
            if fresh && fetch.pages.len() < PAGES_MAX && fetch.bytes < BYTES_MAX {
                let cursor: Value = serde_json::from_slice(cursor).unwrap_or_default();
                return floor.ask(link, &own_request(list.method(), json!({ "cursor": cursor })));
            }
            let why = if fresh { "is too long: what came so far counts" } else { "goes in circles" };
            log::warn!(target: "gateway", "server '{}': {} {why}", self.members[member].key, list.method());
        }
        self.drop_link(link, floor);
        self.on_fetched(now, member, list, ttl_ms.unwrap_or(0), floor);
    }

    fn on_fetched(&mut self, now: Time, member: usize, list: List, ttl_ms: u64, floor: &mut dyn Floor) {
        let announces = self.members[member].announces(list) && self.members[member].watch.is_some();
        let place = &mut self.members[member].lists[list as usize];
        let Freshness::Fetching(fetch) = std::mem::replace(place, Freshness::Stale) else { return };
        *place = match (fetch.outdated, announces) {
            (true, _) => Freshness::Stale,
            (false, true) => Freshness::Fresh(Time(u64::MAX)),
            (false, false) => Freshness::Fresh(now + ttl_ms),
        };
        self.members[member].failure = None;
        let changed = self.catalogue.learn(member, list, &fetch.pages);
        if fetch.outdated {
            self.fetch(now, member, list, floor);
        }
        self.log_clashes();
        if changed {
            self.announce(list, floor);
        }
        self.on_learnt(now, floor);
    }

    /// Names of two are logged once, as long as they are.
    pub(super) fn log_clashes(&mut self) {
        let now: BTreeSet<_> =
            self.catalogue.clashes().map(|clash| (clash.list, clash.name.clone())).collect();
        let fresh = now.difference(&self.logged);
        for clash in fresh.take(CLASHES_LOGGED).filter_map(|(list, name)| self.catalogue.clash(*list, name)) {
            log::error!(target: "gateway", "{clash}");
        }
        self.logged = now;
    }

    pub(super) fn on_fetch_failed(
        &mut self,
        now: Time,
        member: usize,
        list: List,
        why: &str,
        floor: &mut dyn Floor,
    ) {
        self.members[member].failure = Some(why.to_owned());
        self.members[member].lists[list as usize] = Freshness::Failed;
        self.retry_later(now, member);
        self.on_learnt(now, floor);
    }

    /// Who listens is to hear when a server is back, without asking.
    pub(super) fn retry_later(&mut self, now: Time, member: usize) {
        if !std::mem::replace(&mut self.members[member].retrying, true) {
            let server = self.members[member].server;
            self.timers.schedule(now + RETRY_MS, Timer::Retry(server));
        }
    }

    pub(super) fn retry(&mut self, now: Time, member: usize, floor: &mut dyn Floor) {
        self.members[member].retrying = false;
        if self.listens.is_empty() {
            return;
        }
        self.ask_for_lost_resources(member, floor);
        for list in List::ALL {
            if matches!(self.members[member].lists[list as usize], Freshness::Failed) {
                self.want(now, member, Some(list), floor);
            }
        }
    }

    fn watch(&mut self, member: usize, floor: &mut dyn Floor) {
        let any = List::ALL.into_iter().any(|list| self.members[member].announces(list));
        if !any || self.members[member].watch.is_some() {
            return;
        }
        let Some(link) = floor.watch(self.members[member].server) else { return };
        self.links.insert(link, Use::Watch(member));
        self.members[member].watch = Some(link);
        let wanted =
            json!({ "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true });
        floor.ask(link, &own_request("subscriptions/listen", json!({ "notifications": wanted })));
    }

    /// A server says that a list changed, or that it will not say so any more.
    pub(super) fn on_watched(
        &mut self,
        now: Time,
        member: usize,
        link: Key,
        msg: &Incoming<'_>,
        floor: &mut dyn Floor,
    ) {
        let changed: &[List] = match msg.method() {
            b"notifications/tools/list_changed" => &[List::Tools],
            b"notifications/prompts/list_changed" => &[List::Prompts],
            b"notifications/resources/list_changed" => &[List::Resources, List::Templates],
            _ if matches!(msg.envelope.kind, Kind::Response | Kind::Error) => {
                self.drop_link(link, floor);
                self.members[member].watch = None;
                // Unheard changes are found by asking.
                &List::ALL
            }
            _ => return,
        };
        for list in changed {
            match &mut self.members[member].lists[*list as usize] {
                Freshness::Fetching(fetch) => fetch.outdated = true,
                place => {
                    *place = Freshness::Stale;
                    if !self.listens.is_empty() && self.members[member].watch.is_some() {
                        self.fetch(now, member, *list, floor);
                    }
                }
            }
        }
    }
}

/// What an error says.
fn said(msg: &Incoming<'_>) -> Option<String> {
    let text = json::member(msg.bytes, msg.envelope.error?, "message")?;
    Some(cut(&json::unescape(msg.text(text))?, SAID_MAX).to_owned())
}

/// A request of muxloop's own; a link has one at a time.
pub(super) fn own_request(method: &str, mut params: Value) -> Vec<u8> {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "muxloop", "version": env!("CARGO_PKG_VERSION") },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({ "jsonrpc": "2.0", "id": 0, "method": method, "params": params }).to_string().into_bytes()
}

/// Most pages, and bytes, of one list of one server.
const PAGES_MAX: usize = 200;
const BYTES_MAX: usize = 16 << 20;
/// Why a server was not asked.
const FULL: &str = "takes no more requests";
/// Most bytes of a server's words for why it failed.
const SAID_MAX: usize = 300;
/// Most clashes that one change of a list is worth in the log.
const CLASHES_LOGGED: usize = 10;
/// A server that failed is asked again after this, if somebody listens.
const RETRY_MS: u64 = 5_000;

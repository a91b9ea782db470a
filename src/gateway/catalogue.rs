//! What all servers offer, merged (protocol.md §5.1–§5.4): which names and URIs the merged endpoint has, in
//! which order, and where each leads.
//!
//! Each server's lists are kept as snapshots; the merged ones are built from them, so that a name is routed by
//! looking it up and never by taking it apart.

pub use super::change::Change;
use super::clash::{Clash, Owner};
use super::filter::{Filter, Filters};
use super::names::prefixed;
use super::sound;
use super::template;
use crate::codec::List;
use crate::codec::Span;
use crate::codec::edit::{self, Member, object, whole};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::rc::Rc;

/// How tools and prompts are named on the merged endpoint (H02).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Naming {
    /// `server__tool`.
    #[default]
    Prefix,
    /// As the server names them; two servers must not have the same.
    Plain,
}

/// What of a server is offered, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    pub tools: Filter,
    pub prompts: Filter,
    /// By URI (templates by their template).
    pub resources: Filter,
    /// Changes to single tools, by the server's own name (H08).
    pub changes: BTreeMap<String, Change>,
}

impl Offer {
    /// The filters.
    pub fn filters(&self) -> Filters {
        Filters {
            tools: self.tools.clone(),
            prompts: self.prompts.clone(),
            resources: self.resources.clone(),
        }
    }
}

/// One thing as its server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Name or URI at its server.
    pub own: Box<str>,
    /// JSON as the server wrote it, mended where it was wrong.
    pub text: Box<[u8]>,
}

/// A thing under its name here, unless an earlier server has that.
#[derive(Clone, Debug)]
struct Ready {
    public: Rc<str>,
    text: Rc<[u8]>,
}

/// One thing as it is offered.
#[derive(Clone, Debug)]
struct Offered {
    member: usize,
    own: Box<str>,
    text: Rc<[u8]>,
}

/// Where a name or URI of the merged endpoint leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Place of the server in the order of [`Catalogue::new`].
    pub member: usize,
    /// Its name or URI there.
    pub own: String,
}

/// See the module.
#[derive(Debug)]
pub struct Catalogue {
    naming: Naming,
    members: Vec<Lists>,
    filters: Vec<Filters>,
    merged: [Merged; 4],
}

#[derive(Debug)]
struct Lists {
    key: String,
    offer: Offer,
    items: [Option<Vec<Item>>; 4],
    /// What is offered of these, in their order, made once: merged lists are built anew whenever one server's
    /// changes, and only share it.
    ready: [Vec<Option<Ready>>; 4],
    /// URIs seen in results, which are in no list.
    seen: std::collections::BTreeSet<Box<str>>,
}

#[derive(Debug, Default)]
struct Merged {
    offered: Vec<Offered>,
    by_name: BTreeMap<Rc<str>, usize>,
    /// By name.
    clashes: BTreeMap<String, Clash>,
    /// Rises whenever the list changes: a cursor of an earlier one is not understood any more.
    generation: u64,
}

/// One thing as it is offered, see [`Catalogue::offering`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offering<'a> {
    /// As in [`Route`].
    pub member: usize,
    /// Its name without what tells its server.
    pub spoken: &'a str,
    /// JSON object as the merged list has it.
    pub text: &'a [u8],
}

/// Result of a page: its items as a JSON array, and where the next page begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    pub items: Vec<u8>,
    pub next: Option<String>,
}

impl Catalogue {
    /// A catalogue of servers in the order in which their things are listed, nothing known of them yet.
    pub fn new(naming: Naming, servers: impl IntoIterator<Item = (String, Offer)>) -> Catalogue {
        let members = servers.into_iter().map(|(key, offer)| Lists {
            key,
            offer,
            items: Default::default(),
            ready: Default::default(),
            seen: Default::default(),
        });
        let members = members.collect();
        Catalogue { naming, members, filters: Vec::new(), merged: Default::default() }
    }

    /// The same, of which only what passes all of these is offered: tools and prompts by their names here,
    /// resources by URI.
    pub fn filtered(self, filters: Vec<Filters>) -> Catalogue {
        Catalogue { filters, ..self }
    }

    /// Becomes another catalogue, with what is known of the servers that it has, too: `places` are theirs there,
    /// by those here. True if a merged list changed, by list.
    pub fn replace(&mut self, mut other: Catalogue, places: &[Option<usize>]) -> [bool; 4] {
        for (lists, place) in self.members.iter_mut().zip(places) {
            let Some(place) = place else { continue };
            let new = &mut other.members[*place];
            new.items = std::mem::take(&mut lists.items);
            new.seen = std::mem::take(&mut lists.seen);
            new.seen.retain(|uri| new.offer.resources.passes(uri));
        }
        let before: [Vec<usize>; 4] = List::ALL.map(|list| self.members_of(list));
        other.merged = std::mem::take(&mut self.merged);
        *self = other;
        // A list that has other texts is another; one whose things moved with their servers is not.
        for (list, owners) in List::ALL.into_iter().zip(before) {
            let moved = owners.into_iter().map(|member| places[member].unwrap_or(usize::MAX));
            for (offered, member) in self.merged[list as usize].offered.iter_mut().zip(moved) {
                offered.member = member;
            }
        }
        // Names, filters and changes may be others.
        for member in 0..self.members.len() {
            for list in List::ALL {
                self.make_ready(member, list);
            }
        }
        List::ALL.map(|list| self.rebuild(list))
    }

    fn members_of(&self, list: List) -> Vec<usize> {
        self.merged[list as usize].offered.iter().map(|offered| offered.member).collect()
    }

    /// Whether this list of a server is known.
    pub fn knows(&self, member: usize, list: List) -> bool {
        self.members[member].items[list as usize].is_some()
    }

    /// A server's list as its pages told: the arrays of items. True if the merged list changed.
    pub fn learn(&mut self, member: usize, list: List, pages: &[Vec<u8>]) -> bool {
        let (items, flaws) = sound::read(list, pages);
        let lists = &mut self.members[member];
        if lists.items[list as usize].as_ref() == Some(&items) {
            return false;
        }
        for flaw in flaws.iter().take(FLAWS_LOGGED) {
            log::warn!(target: "gateway", "server '{}': {}: {flaw}", lists.key, list.method());
        }
        if flaws.len() > FLAWS_LOGGED {
            let (key, more) = (&lists.key, flaws.len() - FLAWS_LOGGED);
            log::warn!(target: "gateway", "server '{key}': {}: and {more} more like this", list.method());
        }
        lists.items[list as usize] = Some(items);
        self.make_ready(member, list);
        self.rebuild(list)
    }

    fn make_ready(&mut self, member: usize, list: List) {
        let items = self.members[member].items[list as usize].iter().flatten();
        let ready = items.map(|item| self.ready(member, list, item)).collect();
        self.members[member].ready[list as usize] = ready;
    }

    /// A thing as it is offered; `None`: it is not.
    fn ready(&self, member: usize, list: List, item: &Item) -> Option<Ready> {
        let lists = &self.members[member];
        let public = lists.offers(list, &item.own).then(|| self.public_name(member, list, &item.own))?;
        let passes = self.passes(list, &item.own, &public);
        passes.then(|| Ready { text: lists.offered_text(list, item, &public).into(), public: public.into() })
    }

    /// A server is gone: nothing of it is offered. True if a merged list changed, by list.
    pub fn forget(&mut self, member: usize) -> [bool; 4] {
        self.members[member].items = Default::default();
        List::ALL.map(|list| self.rebuild(list))
    }

    fn rebuild(&mut self, list: List) -> bool {
        let mut merged = Merged::default();
        for (member, lists) in self.members.iter().enumerate() {
            let items = lists.items[list as usize].iter().flatten();
            for (item, ready) in items.zip(&lists.ready[list as usize]) {
                let Some(Ready { mut public, mut text }) = ready.clone() else { continue };
                if let Some(first) = merged.by_name.get(&public) {
                    if list.is_by_name() {
                        let first = &merged.offered[*first];
                        let owners = [(first.member, &*first.own), (member, &*item.own)];
                        merged.note_clash(Clash {
                            list,
                            name: public.to_string(),
                            owners: self.owners(owners),
                        });
                        continue;
                    }
                    // Both resources can be had: the second one under its server's name.
                    public = owned_uri(&lists.key, &item.own).into();
                    if merged.by_name.contains_key(&public) || !self.passes(list, &item.own, &public) {
                        continue;
                    }
                    text = lists.offered_text(list, item, &public).into();
                }
                merged.by_name.insert(public, merged.offered.len());
                merged.offered.push(Offered { member, own: item.own.clone(), text });
            }
        }
        merged.withdraw();
        let old = &mut self.merged[list as usize];
        let same = old.offered.len() == merged.offered.len()
            && old.offered.iter().zip(&merged.offered).all(|(a, b)| a.member == b.member && a.text == b.text);
        merged.generation = old.generation + u64::from(!same);
        *old = merged;
        !same
    }

    fn owners(&self, of: [(usize, &str); 2]) -> [Owner; 2] {
        of.map(|(member, own)| Owner { key: self.members[member].key.clone(), own: own.into() })
    }

    /// Whether the filters of the merged endpoint let a thing pass. A resource is the same under each of its
    /// URIs: denied under one, it is denied.
    fn passes(&self, list: List, own: &str, public: &str) -> bool {
        self.filters.iter().all(|filters| match list {
            List::Tools => filters.tools.passes(public),
            List::Prompts => filters.prompts.passes(public),
            List::Resources | List::Templates => {
                filters.resources.passes(own) && !filters.resources.denies(public)
            }
        })
    }

    fn public_name(&self, member: usize, list: List, own: &str) -> String {
        let lists = &self.members[member];
        if !list.is_by_name() {
            return own.to_string();
        }
        let name = lists.spoken_name(list, own);
        match self.naming {
            Naming::Prefix => prefixed(&lists.key, name),
            Naming::Plain => name.to_string(),
        }
    }

    /// What is offered under a name.
    pub fn offering(&self, list: List, name: &str) -> Option<Offering<'_>> {
        let merged = &self.merged[list as usize];
        let offered = &merged.offered[*merged.by_name.get(name)?];
        let spoken = self.members[offered.member].spoken_name(list, &offered.own);
        Some(Offering { member: offered.member, spoken, text: &offered.text })
    }

    /// Rises whenever a merged list changes.
    pub fn generation(&self, list: List) -> u64 {
        self.merged[list as usize].generation
    }

    /// Where a name of the merged endpoint leads.
    pub fn route(&self, list: List, name: &str) -> Option<Route> {
        let merged = &self.merged[list as usize];
        let offered = &merged.offered[*merged.by_name.get(name)?];
        Some(Route { member: offered.member, own: offered.own.to_string() })
    }

    /// What becomes of the arguments of a call of this tool, if anything does.
    pub fn hides(&self, route: &Route) -> Option<&Change> {
        let change = self.members[route.member].offer.changes.get(&route.own)?;
        (!change.hidden.is_empty()).then_some(change)
    }

    /// Where a URI is read: listed, of a template, or seen in a result, in this order (protocol.md §5.4).
    pub fn route_uri(&self, uri: &str) -> Option<Route> {
        self.owner_of_uri(uri).filter(|route| self.passes(List::Resources, &route.own, uri))
    }

    fn owner_of_uri(&self, uri: &str) -> Option<Route> {
        if let Some(route) = self.route(List::Resources, uri) {
            return Some(route);
        }
        if let Some(route) = self.by_key(uri) {
            return Some(route);
        }
        let of_template = self.merged[List::Templates as usize].offered.iter().find_map(|offered| {
            let lists = &self.members[offered.member];
            let may = lists.offer.resources.passes(uri) && template::matches(&offered.own, uri);
            may.then(|| Route { member: offered.member, own: uri.to_string() })
        });
        let seen = || {
            let member = self.members.iter().position(|lists| lists.seen.contains(uri))?;
            Some(Route { member, own: uri.to_string() })
        };
        of_template.or_else(seen)
    }

    /// A URI that carries its server's key.
    fn by_key(&self, uri: &str) -> Option<Route> {
        let rest = uri.strip_prefix(OWNED_SCHEME)?;
        let member = self
            .members
            .iter()
            .position(|lists| rest.strip_prefix(&*lists.key).is_some_and(|rest| rest.starts_with(':')))?;
        let own = &rest[self.members[member].key.len() + 1..];
        self.members[member].offer.resources.passes(own).then(|| Route { member, own: own.to_string() })
    }

    /// The URI under which a resource of a server is known here: its own, unless an earlier server has that.
    pub fn public_uri(&self, member: usize, own: &str) -> String {
        match self.route(List::Resources, own) {
            Some(route) if route.member != member => owned_uri(&self.members[member].key, own),
            _ => own.to_string(),
        }
    }

    /// A result of this server named a resource. Bounded: the first ones stay.
    pub fn note_seen(&mut self, member: usize, uri: &str) {
        let lists = &mut self.members[member];
        if lists.seen.len() < SEEN_MAX && lists.offer.resources.passes(uri) {
            lists.seen.insert(uri.into());
        }
    }

    /// Names of two, which are nobody's (see [`super::clash`]), by list.
    pub fn clashes(&self) -> impl Iterator<Item = &Clash> {
        self.merged.iter().flat_map(|merged| merged.clashes.values())
    }

    /// Why a name leads nowhere, if it is of two.
    pub fn clash(&self, list: List, name: &str) -> Option<&Clash> {
        self.merged[list as usize].clashes.get(name)
    }

    /// How many things of each server are offered, by list.
    pub fn counts(&self) -> Vec<[usize; 4]> {
        let mut counts = vec![[0; 4]; self.members.len()];
        for list in List::ALL {
            for offered in &self.merged[list as usize].offered {
                counts[offered.member][list as usize] += 1;
            }
        }
        counts
    }

    /// How many things are offered, and their bytes.
    pub fn offered_bytes(&self, list: List) -> (usize, usize) {
        let offered = &self.merged[list as usize].offered;
        (offered.len(), offered.iter().map(|offered| offered.text.len()).sum())
    }

    /// Whether names have no prefix.
    pub fn is_plain(&self) -> bool {
        self.naming == Naming::Plain
    }

    /// Names that are offered, in order.
    pub fn names(&self, list: List) -> impl Iterator<Item = &str> {
        let merged = &self.merged[list as usize];
        let mut names: Vec<(&str, usize)> = merged.by_name.iter().map(|(name, at)| (&**name, *at)).collect();
        names.sort_by_key(|(_, at)| *at);
        names.into_iter().map(|(name, _)| name)
    }

    /// A page of a merged list. `None`: the cursor is none of this list, or of one that has changed since.
    pub fn page(&self, list: List, cursor: Option<&str>) -> Option<Page> {
        let merged = &self.merged[list as usize];
        let start = match cursor {
            None => 0,
            Some(cursor) => {
                let (generation, offset) = cursor.strip_prefix('m')?.split_once('.')?;
                let offset: usize = offset.parse().ok()?;
                let is_of_this = generation.parse() == Ok(merged.generation) && offset < merged.offered.len();
                is_of_this.then_some(offset)?
            }
        };
        let mut items = b"[".to_vec();
        let mut at = start;
        while let Some(offered) = merged.offered.get(at) {
            if at > start && (at - start >= PAGE_ITEMS || items.len() + offered.text.len() > PAGE_BYTES) {
                break;
            }
            if at > start {
                items.push(b',');
            }
            items.extend_from_slice(&offered.text);
            at += 1;
        }
        items.push(b']');
        let next = (at < merged.offered.len()).then(|| format!("m{}.{at}", merged.generation));
        Some(Page { items, next })
    }
}

impl Merged {
    /// Of three and more, the first two are named.
    fn note_clash(&mut self, clash: Clash) {
        self.clashes.entry(clash.name.clone()).or_insert(clash);
    }

    /// What is of two is offered as nobody's.
    fn withdraw(&mut self) {
        if self.clashes.is_empty() {
            return;
        }
        let mut places: Vec<(Rc<str>, usize)> = std::mem::take(&mut self.by_name).into_iter().collect();
        places.retain(|(name, _)| !self.clashes.contains_key(&**name));
        places.sort_by_key(|(_, at)| *at);
        let mut offered: Vec<_> = std::mem::take(&mut self.offered).into_iter().map(Some).collect();
        for (name, at) in places {
            self.by_name.insert(name, self.offered.len());
            self.offered.extend(offered[at].take());
        }
    }
}

impl Lists {
    fn offers(&self, list: List, own: &str) -> bool {
        match list {
            List::Tools => self.offer.tools.passes(own),
            List::Prompts => self.offer.prompts.passes(own),
            List::Resources | List::Templates => self.offer.resources.passes(own),
        }
    }

    fn spoken_name<'a>(&'a self, list: List, own: &'a str) -> &'a str {
        let change = self.offer.changes.get(own).filter(|_| list == List::Tools);
        change.and_then(|change| change.name.as_deref()).unwrap_or(own)
    }

    fn offered_text(&self, list: List, item: &Item, public: &str) -> Box<[u8]> {
        let change = self.offer.changes.get(&*item.own).filter(|_| list == List::Tools);
        let description = change.and_then(|change| change.description.as_deref());
        let hides = change.filter(|change| !change.hidden.is_empty());
        if *public == *item.own && description.is_none() && hides.is_none() {
            return item.text.clone();
        }
        let description = description.map(edit::string);
        let added: Vec<(&str, &[u8])> =
            description.iter().map(|text| ("description", text.as_slice())).collect();
        let each = |name: &str, value: Span| match name {
            name if name == list.key() => Member::Put(edit::string(public)),
            "description" if description.is_some() => Member::Drop,
            "inputSchema" => {
                hides.map_or(Member::Keep, |change| Member::Put(change.schema(value.of(&item.text))))
            }
            _ => Member::Keep,
        };
        object(&item.text, whole(&item.text), each, &added).into()
    }
}

/// A URI that another server has already, under its server's key.
fn owned_uri(key: &str, own: &str) -> String {
    format!("{OWNED_SCHEME}{key}:{own}")
}

const OWNED_SCHEME: &str = "mux+";
/// Most flaws of one list that are worth a line each in the log.
const FLAWS_LOGGED: usize = 10;
/// Most URIs of one server remembered from results.
const SEEN_MAX: usize = 4_096;
/// Most items of a page: many clients read one page only, so it is large.
const PAGE_ITEMS: usize = 1_000;
/// Most bytes of a page, if it has more than one item.
const PAGE_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests;

//! Lazy tools (K02): instead of all tools, the merged endpoint lists three, by which a model finds the tools of
//! all servers, reads their schemas, and calls them.
//!
//! `tool_search` and `tool_schema` are answered here, from the catalogue, so what is not offered is found by
//! nobody. `tool_invoke` is no call of its own: it goes on as `tools/call` of the tool that it names, with
//! everything around its arguments as it is (progress, cancellation, questions, errors, results). Whoever knows
//! a tool's name may call it directly, too. Names of the three are taken first; a server's tool of the same
//! name (there can be one where names have no prefix) is called through `tool_invoke`.
//!
//! What is wrong with the arguments of the three is told as a result with `isError`, which the model reads,
//! with the nearest names.
//!
//! ```text
//! own        the three tools as they are listed        index         ranked search
//! arguments  what they are called with                 words, texts  of tools
//! ```

mod arguments;
pub mod index;
mod own;
mod texts;
pub mod words;

use super::Gateway;
use super::catalogue::Catalogue;
use super::serve::{Needs, Way, listed, no_such_cursor, own_meta};
use crate::base::nearest;
use crate::codec::List;
use crate::codec::{Incoming, json};
use arguments::{Arguments, Invocation};
use index::{Builder, Hit, Index};
pub(super) use own::{INSTRUCTIONS, Own};
use serde_json::json;
use words::cut;

/// What is kept for lazy tools.
#[derive(Debug, Default)]
pub(super) struct Lazy {
    /// Of the catalogue's list of tools with this generation; made by the first search that needs it.
    index: Option<(u64, Index)>,
    /// Names and servers (by place) of the tools in the index.
    cards: Vec<(Box<str>, usize)>,
    /// The three tools as they were listed last.
    told: Option<Vec<u8>>,
}

impl Lazy {
    /// The index is made again when somebody searches again.
    pub(super) fn rest(&mut self) {
        self.index = None;
        self.cards = Vec::new();
    }

    /// The index of what is offered now.
    fn index<'a>(
        &mut self,
        catalogue: &Catalogue,
        key: impl Fn(usize) -> &'a str,
    ) -> (&Index, &[(Box<str>, usize)]) {
        let generation = catalogue.generation(List::Tools);
        let known = self.index.take().filter(|(of, _)| *of == generation);
        let cards = &mut self.cards;
        let index = self.index.insert(known.unwrap_or_else(|| {
            cards.clear();
            let mut index = Builder::default();
            for name in catalogue.names(List::Tools) {
                if let Some(tool) = catalogue.offering(List::Tools, name) {
                    cards.push((name.into(), tool.member));
                    texts::read(tool.text, tool.spoken, key(tool.member), &mut index);
                }
            }
            (generation, index.finish())
        }));
        (&index.1, &self.cards)
    }
}

impl Gateway {
    /// Which of the three tools a request calls, if these are what is listed.
    pub(super) fn own_tool(&self, msg: &Incoming<'_>) -> Option<Own> {
        self.lazy.as_ref()?;
        let name = msg.envelope.name.filter(|_| msg.method() == b"tools/call")?;
        Own::by_name(&json::unescape(msg.text(name))?)
    }

    /// The list of tools: the three.
    pub(super) fn own_tools(&mut self, msg: &Incoming<'_>) -> Way {
        if msg.envelope.cursor.is_some() {
            return no_such_cursor();
        }
        let tools = self.own_listing();
        let result = listed(List::Tools, &tools, None);
        if let Some(lazy) = &mut self.lazy {
            lazy.told = Some(tools);
        }
        Way::Result(result)
    }

    pub(super) fn own_listing(&self) -> Vec<u8> {
        // A server that has no tools is of no use to who looks for one; one that is not known yet may have.
        let members = self.members.iter().filter(|member| member.has(List::Tools));
        own::listing(members.map(|member| {
            (&*member.key, member.ability().map_or("", |ability| ability.instructions.as_str()))
        }))
    }

    /// Whether the listed tools are others than those that clients know: the servers' tools, or the three, which
    /// change only in what they say about the servers.
    pub(super) fn listed_tools_changed(&mut self) -> bool {
        let now = self.lazy.is_some().then(|| self.own_listing());
        let (Some(lazy), Some(now)) = (&mut self.lazy, now) else { return true };
        match &mut lazy.told {
            Some(told) if *told != now => {
                *told = now;
                true
            }
            _ => false,
        }
    }

    /// The answer to a call that goes to no server.
    pub(super) fn answered_here(&mut self, msg: &Incoming<'_>) -> Option<Way> {
        let answer = match self.own_tool(msg)? {
            Own::Search => self.search_tools(msg),
            Own::Schema => self.tool_schemas(msg),
            Own::Invoke => return None,
        };
        Some(Way::Result(answer.unwrap_or_else(|text| wrong(&text))))
    }

    /// Where a call of `tool_invoke` goes.
    pub(super) fn invoked(&self, msg: &Incoming<'_>) -> Result<Way, Needs> {
        let invocation = match Invocation::of(msg) {
            Ok(invocation) => invocation,
            Err(text) => return Ok(Way::Result(wrong(&text))),
        };
        let route = self.catalogue.route(List::Tools, &invocation.name).ok_or(Needs::One(List::Tools))?;
        let arguments = Some((invocation.at, invocation.arguments));
        Ok(Way::Server { route, at: msg.envelope.name, by_uri: false, arguments })
    }

    /// The answer to a call of a tool that nobody has, if tools are lazy.
    pub(super) fn unknown_tool(&mut self, msg: &Incoming<'_>) -> Option<Way> {
        self.lazy.as_ref().filter(|_| msg.method() == b"tools/call")?;
        if self.own_tool(msg).is_some() {
            let text = self.no_such_tool(&Invocation::of(msg).ok()?.name);
            return Some(Way::Result(wrong(&text)));
        }
        let name = json::unescape(msg.text(msg.envelope.name?))?;
        Some(Way::Error(-32602, self.no_such_tool(&name)))
    }

    fn search_tools(&mut self, msg: &Incoming<'_>) -> Result<Vec<u8>, String> {
        let arguments = Arguments::of(msg, &["query", "server", "limit"])?;
        let query = arguments.text("query")?.ok_or("`query` is missing: say in a few words what to do")?;
        let limit = arguments.count("limit")?.unwrap_or(HITS).min(HITS_MAX);
        let server = match arguments.text("server")? {
            None => None,
            Some(key) => {
                Some(self.members.iter().position(|member| member.key == *key).ok_or_else(|| {
                    let keys: Vec<&str> = self.members.iter().map(|member| &*member.key).collect();
                    format!("there is no server '{}'; servers: {}", cut(&key, SHOWN_MAX), keys.join(", "))
                })?)
            }
        };
        let members = &self.members;
        let Some(lazy) = &mut self.lazy else { return Err(String::new()) };
        let (index, cards) = lazy.index(&self.catalogue, |member| &members[member].key);
        let may = |document: usize| server.is_none_or(|server| cards[document].1 == server);
        let hits = if query.trim().is_empty() {
            let all = (0..cards.len()).filter(|document| may(*document));
            all.map(|document| Hit { document, score: 0.0 }).collect()
        } else {
            index.search(&query, may, usize::MAX).0
        };
        let tools = hits.iter().take(limit).filter_map(|hit| {
            let (name, member) = &cards[hit.document];
            let tool = self.catalogue.offering(List::Tools, name)?;
            // More digits would say nothing.
            let score = (f64::from(hit.score) * 100.0).round() / 100.0;
            let description = own::one_line(&texts::description(tool.text), DESCRIPTION_MAX);
            Some(json!({ "name": name, "description": description, "server": members[*member].key,
                "score": score }))
        });
        let found = json!({ "tools": tools.collect::<Vec<_>>(), "found": hits.len() }).to_string();
        Ok(answer(&found, Some(&found)))
    }

    fn tool_schemas(&mut self, msg: &Incoming<'_>) -> Result<Vec<u8>, String> {
        let arguments = Arguments::of(msg, &["names", "name"])?;
        let mut names = arguments.texts("names")?;
        names.extend(arguments.texts("name")?);
        if names.is_empty() || names.len() > SCHEMAS_MAX {
            return Err(format!("`names` must be 1 to {SCHEMAS_MAX} names as tool_search gives them"));
        }
        let mut tools = Vec::new();
        let mut unknown = Vec::new();
        for name in &names {
            match self.catalogue.offering(List::Tools, name) {
                Some(tool) => tools.push(String::from_utf8_lossy(tool.text)),
                None => unknown.push(name),
            }
        }
        let tools = (!tools.is_empty()).then(|| tools.join(","));
        let unknown: Vec<String> = unknown.into_iter().map(|name| self.no_such_tool(name)).collect();
        let Some(tools) = tools else { return Err(unknown.join("\n")) };
        let unknown =
            if unknown.is_empty() { String::new() } else { format!(",\"unknown\":{}", json!(unknown)) };
        let found = format!("{{\"tools\":[{tools}]{unknown}}}");
        Ok(answer(&found, Some(&found)))
    }

    fn no_such_tool(&mut self, name: &str) -> String {
        if let Some(clash) = self.catalogue.clash(List::Tools, name) {
            return clash.to_string();
        }
        let near = self.nearest_tools(name);
        let shown = cut(name, SHOWN_MAX);
        if near.is_empty() {
            return format!("unknown tool: {shown}; no server has any at this time");
        }
        format!("unknown tool: {shown}; nearest: {}; find tools with {}", near.join(", "), Own::Search.name())
    }

    /// The names most like one that is none: typing errors, then what a search for its words finds (a name
    /// without its server, another verb), then whatever takes the fewest changes.
    fn nearest_tools(&mut self, wrong: &str) -> Vec<String> {
        let members = &self.members;
        let Some(lazy) = &mut self.lazy else { return Vec::new() };
        let (index, cards) = lazy.index(&self.catalogue, |member| &members[member].key);
        let names = cards.iter().take(COMPARED_MAX).map(|(name, _)| &**name);
        let (ranked, near) = nearest::ranked(wrong, names);
        let (typos, others) = ranked.split_at(near);
        let (hits, _) = index.search(wrong, |_| true, NEAREST);
        let found: Vec<&str> = hits.iter().map(|hit| &*cards[hit.document].0).collect();
        let mut nearest: Vec<String> = Vec::new();
        for name in typos.iter().chain(&found).chain(others) {
            if nearest.len() < NEAREST && !nearest.iter().any(|known| known == name) {
                nearest.push(name.to_string());
            }
        }
        nearest
    }
}

/// A result of one of the three tools: text for the model, and the same as JSON text for programs.
fn answer(text: &str, structured: Option<&str>) -> Vec<u8> {
    let mut result = format!("{{\"content\":[{}]", json!({ "type": "text", "text": text }));
    match structured {
        Some(structured) => result += &format!(",\"structuredContent\":{structured}"),
        None => result += ",\"isError\":true",
    }
    result += &format!(",\"resultType\":\"complete\",\"_meta\":{}}}", String::from_utf8_lossy(&own_meta()));
    result.into_bytes()
}

/// A result that says what was wrong with the arguments.
fn wrong(text: &str) -> Vec<u8> {
    answer(text, None)
}

/// Hits of a search that asks for no number, and most hits.
const HITS: usize = 10;
const HITS_MAX: usize = 50;
/// Most tools of one `tool_schema`.
const SCHEMAS_MAX: usize = 20;
/// Names that are told for one that is none.
const NEAREST: usize = 3;
/// Most names that a wrong one is compared with, letter by letter.
const COMPARED_MAX: usize = 2_000;
/// Most bytes of a description in a hit.
const DESCRIPTION_MAX: usize = 200;
/// Most bytes of a wrong name in the text that says so.
const SHOWN_MAX: usize = 128;

//! A client's requests: answered from the catalogue, or given to the server that they are for.

use super::catalogue::Route;
use super::{Floor, Gateway, Timer, Use, lazy};
use crate::base::{Key, Time};
use crate::codec::List;
use crate::codec::{Incoming, Message, Span, Value as Put, edit, json};
use serde_json::{Value, json};
use std::borrow::Cow;

/// A client's request that is not answered yet.
#[derive(Debug)]
pub(super) struct Job {
    /// As written by the mux.
    pub id: Box<[u8]>,
    pub state: State,
}

#[derive(Debug)]
pub(super) enum State {
    /// For lists or abilities of servers; asked again with its own bytes once they are there.
    Waiting { bytes: Box<[u8]>, needs: Needs },
    /// At a server.
    Called { link: Key, member: usize, uri: Option<Rewritten> },
}

/// A URI that the client knows by another name than the server.
#[derive(Clone, Debug)]
pub(super) struct Rewritten {
    pub own: String,
    pub public: String,
}

/// What a job has to know of all servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Hello,
    One(List),
    /// Resources and templates.
    Resources,
}

impl Needs {
    fn lists(self) -> &'static [Option<List>] {
        match self {
            Needs::Hello => &[None],
            Needs::One(List::Tools) => &[Some(List::Tools)],
            Needs::One(List::Prompts) => &[Some(List::Prompts)],
            Needs::One(List::Resources) => &[Some(List::Resources)],
            Needs::One(List::Templates) => &[Some(List::Templates)],
            Needs::Resources => &[Some(List::Resources), Some(List::Templates)],
        }
    }
}

/// Where arguments stand, and what comes in their place.
type Arguments<'a> = (Option<Span>, Cow<'a, [u8]>);

/// A request that can be answered: where it goes, or what is said.
pub(super) enum Way {
    Server {
        route: Route,
        at: Option<Span>,
        by_uri: bool,
        /// The arguments of a call, and those that its server gets instead (none, if there are none).
        arguments: Option<(Span, Option<Span>)>,
    },
    /// A result.
    Result(Vec<u8>),
    Error(i32, String),
    /// Nobody has the resource of this URI.
    NoResource(String),
}

impl Gateway {
    pub(super) fn serve(&mut self, now: Time, msg: &Incoming<'_>, floor: &mut dyn Floor) {
        let needs = match msg.method() {
            b"server/discover" => Needs::Hello,
            b"tools/list" if self.lazy.is_some() => Needs::Hello,
            b"tools/list" => Needs::One(List::Tools),
            b"prompts/list" => Needs::One(List::Prompts),
            b"resources/list" => Needs::One(List::Resources),
            b"resources/templates/list" => Needs::One(List::Templates),
            b"subscriptions/listen" => return self.listen(now, msg, floor),
            b"tools/call" if self.own_tool(msg).is_some_and(|own| own.is_answered_here()) => {
                Needs::One(List::Tools)
            }
            b"tools/call" | b"prompts/get" | b"resources/read" | b"completion/complete" => {
                return self.call(now, msg, floor);
            }
            method => {
                let text =
                    format!("method not found on the merged endpoint: {}", String::from_utf8_lossy(method));
                return refuse(msg, -32601, &text, floor);
            }
        };
        // All pages of a list are of one state of it.
        if let (Needs::One(list), Some(_)) = (needs, msg.envelope.cursor)
            && let Way::Result(page) = self.page(list, msg)
        {
            return self.go(Way::Result(page), msg, floor);
        }
        self.ask_all(now, needs, floor);
        self.answer_or_wait(now, needs, msg, floor);
    }

    /// A call goes where the catalogue says; if that does not know, all servers are asked first.
    fn call(&mut self, now: Time, msg: &Incoming<'_>, floor: &mut dyn Floor) {
        match self.way(msg) {
            Ok(way) => self.go(way, msg, floor),
            Err(needs) => {
                self.ask_all(now, needs, floor);
                self.answer_or_wait(now, needs, msg, floor);
            }
        }
    }

    pub(super) fn ask_all(&mut self, now: Time, needs: Needs, floor: &mut dyn Floor) {
        for member in 0..self.members.len() {
            for list in needs.lists() {
                self.want(now, member, *list, floor);
            }
        }
    }

    pub(super) fn answer_or_wait(
        &mut self,
        now: Time,
        needs: Needs,
        msg: &Incoming<'_>,
        floor: &mut dyn Floor,
    ) {
        let Some(until) = self.waits_until(now, needs) else {
            return self.answer_now(now, needs, msg, floor);
        };
        if self.jobs.is_full() {
            return refuse(msg, -32603, "too many requests at once; try again later", floor);
        }
        let id = msg.envelope.id.map_or(&b"null"[..], |id| msg.text(id)).into();
        let job = self.jobs.insert(Job { id, state: State::Waiting { bytes: msg.bytes.into(), needs } });
        self.timers.schedule(until, Timer::Job(job));
    }

    /// Until when this has to wait for servers; `None`: not at all.
    fn waits_until(&self, now: Time, needs: Needs) -> Option<Time> {
        let lists = needs.lists();
        let members = 0..self.members.len();
        members
            .flat_map(|member| lists.iter().filter_map(move |list| self.worth_waiting(now, member, *list)))
            .max()
    }

    /// Something was learnt of a server: whoever waited only for that is answered.
    pub(super) fn on_learnt(&mut self, now: Time, floor: &mut dyn Floor) {
        for key in self.jobs.keys() {
            let Some(State::Waiting { needs, .. }) = self.jobs.get(key).map(|job| &job.state) else {
                continue;
            };
            if self.waits_until(now, *needs).is_none() {
                self.finish_waiting(now, key, floor);
            }
        }
    }

    /// A job has waited long enough: it is answered with what is known.
    pub(super) fn finish_waiting(&mut self, now: Time, key: Key, floor: &mut dyn Floor) {
        let is_waiting = matches!(self.jobs.get(key).map(|job| &job.state), Some(State::Waiting { .. }));
        if !is_waiting {
            return;
        }
        let Some(State::Waiting { bytes, needs }) = self.jobs.remove(key).map(|job| job.state) else {
            return;
        };
        if let Ok(msg) = Incoming::scan(&bytes) {
            self.answer_now(now, needs, &msg, floor);
        }
    }

    fn answer_now(&mut self, now: Time, needs: Needs, msg: &Incoming<'_>, floor: &mut dyn Floor) {
        let way = match (needs, msg.method()) {
            (Needs::Hello, b"tools/list") => self.own_tools(msg),
            (Needs::Hello, _) => {
                let told = self.discovered();
                self.told_hello = Some(told.clone());
                Way::Result(told)
            }
            (_, b"subscriptions/listen") => return self.open_listen(now, msg, floor),
            // A server that has not said yet what it can do may have some (protocol.md §5.5).
            (Needs::One(list), method) if method == list.method().as_bytes() => {
                match self.members.is_empty() || self.members.iter().any(|member| member.has(list)) {
                    true => self.page(list, msg),
                    false => Way::Error(-32601, format!("no server here offers `{}`", list.method())),
                }
            }
            _ => match self.answered_here(msg).map_or_else(|| self.way(msg), Ok) {
                Ok(way) => way,
                Err(_) => {
                    let why = self.clashing(msg).or_else(|| self.unknown_tool(msg));
                    why.unwrap_or_else(|| unknown(msg))
                }
            },
        };
        self.go(way, msg, floor);
    }

    fn page(&self, list: List, msg: &Incoming<'_>) -> Way {
        let cursor = match msg.envelope.cursor.map(|cursor| json::unescape(msg.text(cursor))) {
            None => None,
            Some(Some(cursor)) => Some(cursor),
            Some(None) => return Way::Error(-32602, "`cursor` must be a string".into()),
        };
        let Some(page) = self.catalogue.page(list, cursor.as_deref()) else {
            return no_such_cursor();
        };
        Way::Result(listed(list, &page.items, page.next.as_deref()))
    }

    /// Where a call goes; what has to be known first, where it is for nobody known.
    fn way(&self, msg: &Incoming<'_>) -> Result<Way, Needs> {
        let params = |name| msg.envelope.params.and_then(|params| json::member(msg.bytes, params, name));
        let text = |at: Option<Span>| at.and_then(|at| json::unescape(msg.text(at)));
        let by_name = |list, at| match text(at) {
            None => Ok(Way::Error(-32602, "`name` must be a string".into())),
            Some(name) => match self.catalogue.route(list, &name) {
                Some(route) => Ok(Way::Server { route, at, by_uri: false, arguments: None }),
                None => Err(Needs::One(list)),
            },
        };
        let by_uri = |at| match text(at) {
            None => Ok(Way::Error(-32602, "`uri` must be a string".into())),
            Some(uri) => match self.catalogue.route_uri(&uri) {
                Some(route) => Ok(Way::Server { route, at, by_uri: true, arguments: None }),
                None => Err(Needs::Resources),
            },
        };
        match msg.method() {
            b"tools/call" if self.own_tool(msg).is_some() => self.invoked(msg),
            b"tools/call" => by_name(List::Tools, params("name")),
            b"prompts/get" => by_name(List::Prompts, params("name")),
            b"resources/read" => by_uri(params("uri")),
            _ if repeats(msg) => Ok(Way::Error(-32602, "`ref`, or a member of it, stands twice".into())),
            _ => {
                let of_ref = |name| json::member(msg.bytes, params("ref")?, name);
                match text(of_ref("type")).as_deref() {
                    Some("ref/prompt") => by_name(List::Prompts, of_ref("name")),
                    Some("ref/resource") => match text(of_ref("uri")) {
                        Some(uri) => match self.catalogue.route(List::Templates, &uri) {
                            Some(route) => {
                                Ok(Way::Server { route, at: of_ref("uri"), by_uri: false, arguments: None })
                            }
                            None => by_uri(of_ref("uri")),
                        },
                        None => Ok(Way::Error(-32602, "`ref.uri` must be a string".into())),
                    },
                    _ => Ok(Way::Error(-32602, "`ref` must be of type ref/prompt or ref/resource".into())),
                }
            }
        }
    }

    /// The answer to a call of what is of two servers.
    fn clashing(&self, msg: &Incoming<'_>) -> Option<Way> {
        let list = match msg.method() {
            b"tools/call" => List::Tools,
            b"prompts/get" => List::Prompts,
            _ => return None,
        };
        let name = json::unescape(msg.text(msg.envelope.name?))?;
        Some(Way::Error(-32602, self.catalogue.clash(list, &name)?.to_string()))
    }

    fn go(&mut self, way: Way, msg: &Incoming<'_>, floor: &mut dyn Floor) {
        let id = msg.envelope.id.map_or(&b"null"[..], |id| msg.text(id));
        let (route, at, by_uri, arguments) = match way {
            Way::Result(result) => return floor.tell(&response(id, &result)),
            Way::Error(code, text) => return refuse(msg, code, &text, floor),
            Way::NoResource(uri) => return floor.tell(&no_resource(id, &uri)),
            Way::Server { route, at, by_uri, arguments } => (route, at, by_uri, arguments),
        };
        let arguments = match self.arguments(&route, arguments, msg) {
            Ok(arguments) => arguments,
            Err(why) => return refuse(msg, -32602, &why, floor),
        };
        if self.jobs.is_full() {
            return refuse(msg, -32603, "too many requests at once; try again later", floor);
        }
        let Some(link) = floor.open(self.members[route.member].server, Some(id)) else {
            let text = format!("server '{}' takes no more requests", self.members[route.member].key);
            return refuse(msg, -32603, &text, floor);
        };
        let own = edit::string(&route.own);
        let mut message = Message::new(msg.bytes);
        let mut rewritten = None;
        if let Some(at) = at.filter(|at| msg.text(*at) != own) {
            message.replace(at, Put::Raw(&own));
            let public = json::unescape(msg.text(at)).unwrap_or_default().into_owned();
            rewritten = by_uri.then_some(Rewritten { own: route.own.clone(), public });
        }
        if let Some((at, text)) = &arguments {
            match at {
                Some(at) => message.replace(*at, Put::Raw(text)),
                // There are others before it: the name at least.
                None => message.insert(end_of_params(msg), Put::Raw(text)),
            }
        }
        let state = State::Called { link, member: route.member, uri: rewritten };
        let job = self.jobs.insert(Job { id: id.into(), state });
        self.links.insert(link, Use::Call(job));
        floor.ask(link, &message.to_vec());
    }

    /// The arguments of a call that are not to go as they are, since its tool has hidden parameters or since they
    /// stand in those of another call (`moved`, as in [`Way`]): in place of which, and JSON text.
    ///
    /// # Errors
    /// There are several, of which the server might take another than is rewritten here.
    fn arguments<'a>(
        &self,
        route: &Route,
        moved: Option<(Span, Option<Span>)>,
        msg: &Incoming<'a>,
    ) -> Result<Option<Arguments<'a>>, String> {
        let change = self.catalogue.hides(route).filter(|_| msg.method() == b"tools/call");
        let Some(params) = msg.envelope.params.filter(|_| change.is_some() || moved.is_some()) else {
            return Ok(None);
        };
        let mut all = json::object_members(msg.bytes, params).filter(|(name, _, _)| name == "arguments");
        let at = all.next().map(|(_, _, at)| at);
        if all.next().is_some() {
            return Err("`arguments` stands twice in `params`".into());
        }
        let given = moved.map_or(at, |(_, given)| given);
        let text = match change {
            Some(change) => change.arguments(msg.bytes, given).map(Cow::Owned),
            None => given.map(|given| Cow::Borrowed(msg.text(given))),
        };
        Ok(match (at, text) {
            (Some(_), None) if moved.is_some() => Some((at, Cow::Borrowed(&b"{}"[..]))),
            (None, Some(text)) => Some((at, [&b",\"arguments\":"[..], &text].concat().into())),
            (_, text) => text.map(|text| (at, text)),
        })
    }

    /// The client took a request back, or a listen.
    pub(super) fn cancel(&mut self, id: &[u8], floor: &mut dyn Floor) {
        self.cancel_listen(id, floor);
        let found = self.jobs.iter().find(|(_, job)| *job.id == *id).map(|(key, _)| key);
        let Some(job) = found.and_then(|key| self.jobs.remove(key)) else { return };
        if let State::Called { link, .. } = job.state {
            // A link that is closed cancels what was asked on it.
            self.drop_link(link, floor);
        }
    }

    /// What all servers together can do (protocol.md §5.5, §5.7).
    pub(super) fn discovered(&self) -> Vec<u8> {
        let known = || self.members.iter().filter_map(|member| Some((member, member.ability()?)));
        let mut capabilities = json!({});
        for (_, ability) in known() {
            let has = |name: &str| ability.capabilities[name].is_object();
            for name in ["tools", "prompts", "resources"] {
                if has(name) {
                    capabilities[name]["listChanged"] = true.into();
                }
            }
            if ability.capabilities["resources"]["subscribe"] == true {
                capabilities["resources"]["subscribe"] = true.into();
            }
            for name in ["completions", "logging"] {
                if has(name) {
                    capabilities[name] = json!({});
                }
            }
        }
        let mut instructions = String::new();
        if self.lazy.is_some() {
            capabilities["tools"]["listChanged"] = true.into();
            instructions.push_str(lazy::INSTRUCTIONS);
        }
        for (member, ability) in known().filter(|(_, ability)| !ability.instructions.trim().is_empty()) {
            let section = format!("## {}\n\n{}\n\n", member.key, ability.instructions.trim());
            if instructions.len() + section.len() <= INSTRUCTIONS_MAX {
                instructions.push_str(&section);
            }
        }
        let mut result = json!({
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": capabilities,
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": serde_json::from_slice::<Value>(&own_meta()).unwrap_or_default(),
        });
        if !instructions.is_empty() {
            result["instructions"] = instructions.trim_end().into();
        }
        result.to_string().into_bytes()
    }
}

/// Whether what a completion is for could be read in two ways: the scanner looks at no member of `ref`.
fn repeats(msg: &Incoming<'_>) -> bool {
    let Some(params) = msg.envelope.params else { return false };
    let is_twice = |at: Span, wanted: &str| {
        json::object_members(msg.bytes, at).filter(|(name, _, _)| *name == *wanted).nth(1).is_some()
    };
    let of = json::member(msg.bytes, params, "ref").filter(|at| edit::is_object(msg.bytes, *at));
    is_twice(params, "ref")
        || of.is_some_and(|of| ["type", "name", "uri"].iter().any(|name| is_twice(of, name)))
}

/// Where a member can be added behind the others of `params`.
fn end_of_params(msg: &Incoming<'_>) -> usize {
    msg.envelope.params.map_or(0, |params| params.end() - 1)
}

/// The result of a list: items as a JSON array, and where the next page begins.
pub(super) fn listed(list: List, items: &[u8], next: Option<&str>) -> Vec<u8> {
    let next = next.map(edit::string);
    let mut members: Vec<(&str, &[u8])> = vec![(list.member(), items)];
    if let Some(next) = &next {
        members.push(("nextCursor", next));
    }
    members.extend([("resultType", &b"\"complete\""[..]), ("ttlMs", b"0"), ("cacheScope", b"\"private\"")]);
    let meta = own_meta();
    members.push(("_meta", &meta));
    edit::object(b"{}", edit::whole(b"{}"), |_, _| edit::Member::Keep, &members)
}

pub(super) fn no_such_cursor() -> Way {
    let text = "this cursor is of no list, or of one that has changed since: begin without a cursor";
    Way::Error(-32602, text.into())
}

/// A name that no server has.
fn unknown(msg: &Incoming<'_>) -> Way {
    let what = match msg.method() {
        b"resources/read" => {
            let uri = msg.envelope.uri.and_then(|uri| json::unescape(msg.text(uri)));
            return Way::NoResource(uri.unwrap_or_default().into_owned());
        }
        b"tools/call" => "unknown tool",
        b"prompts/get" => "unknown prompt",
        _ => "nothing to complete: unknown reference",
    };
    let name =
        msg.envelope.name.or(msg.envelope.uri).map(|at| String::from_utf8_lossy(msg.text(at)).into_owned());
    Way::Error(-32602, format!("{what}: {}", lazy::words::cut(&name.unwrap_or_default(), NAME_SHOWN)))
}

/// The `_meta` of muxloop's own results: who answers.
pub(super) fn own_meta() -> Vec<u8> {
    format!("{{\"io.modelcontextprotocol/serverInfo\":{}}}", own_info()).into_bytes()
}

pub(super) fn own_info() -> String {
    format!("{{\"name\":\"muxloop\",\"version\":\"{}\"}}", env!("CARGO_PKG_VERSION"))
}

pub(super) fn response(id: &[u8], result: &[u8]) -> Vec<u8> {
    [b"{\"jsonrpc\":\"2.0\",\"id\":", id, b",\"result\":", result, b"}"].concat()
}

pub(super) fn refuse(msg: &Incoming<'_>, code: i32, text: &str, floor: &mut dyn Floor) {
    let id = msg.envelope.id.map_or(&b"null"[..], |id| msg.text(id));
    floor.tell(&failure(id, code, text));
}

pub(super) fn failure(id: &[u8], code: i32, text: &str) -> Vec<u8> {
    error(id, &json!({ "code": code, "message": text }))
}

/// As 2026-07-28 says it: with the URI for programs.
fn no_resource(id: &[u8], uri: &str) -> Vec<u8> {
    let text = format!("resource not found: {uri}");
    error(id, &json!({ "code": -32602, "message": text, "data": { "uri": uri } }))
}

fn error(id: &[u8], error: &Value) -> Vec<u8> {
    let error = error.to_string();
    [b"{\"jsonrpc\":\"2.0\",\"id\":", id, b",\"error\":", error.as_bytes(), b"}"].concat()
}

/// Most bytes of a name in the text that says that it is none.
const NAME_SHOWN: usize = 200;
/// Most bytes of all servers' instructions together.
const INSTRUCTIONS_MAX: usize = 64 << 10;

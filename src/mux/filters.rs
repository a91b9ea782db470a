//! Filters of a server (H07): what they deny is in no list that a client is given, and no request for it
//! reaches the server, whoever asks: at its socket, over HTTP, or for a merged endpoint.
//!
//! Lists are kept as the server gave them and filtered when they are given, so that other filters hold at once.

use crate::base::Key;
use crate::base::Time;
use crate::base::filter::Filters;
use crate::codec::List;
use crate::codec::edit::{self, Member, array, object};
use crate::codec::{Incoming, Message, Span, Value, json};
use crate::mux::method::{ListKind, Method};
use crate::mux::request::{Origin, Request};
use crate::mux::server::Era;
use crate::mux::sink::ServerId;
use crate::mux::{Mux, Sink, reply};

/// Longest name in the text that says that there is none such.
const NAME_SHOWN: usize = 200;
/// protocol.md §1.3: what the revisions before 2026-07-28 answer.
const RESOURCE_NOT_FOUND: i32 = -32002;

impl Mux {
    pub(super) fn filters_of(&self, peer: Key) -> Option<&Filters> {
        self.servers[self.peers.get(peer)?.server].policy.filters.as_deref()
    }

    /// Whether an answer may hold what its client is not to have.
    pub(super) fn is_filtered(&self, request: &Request) -> bool {
        let Method::List(_) = request.method else { return false };
        request.peer().is_some_and(|peer| self.filters_of(peer).is_some())
    }

    /// The answer to a request that names what is denied: the same as if the server did not have it.
    pub(super) fn denial(&self, peer: Key, method: Method, era: Era, msg: &Incoming<'_>) -> Option<Vec<u8>> {
        let filters = self.filters_of(peer)?;
        let (code, why) = refusal(filters, method, era, msg)?;
        let id = msg.envelope.id.map_or(&b"null"[..], |id| msg.text(id));
        Some(reply::error(id, code, &why))
    }

    /// An answer without what is denied; `None`: as it is.
    pub(super) fn without_denied(&self, request: &Request, text: &[u8]) -> Option<Vec<u8>> {
        let (Method::List(list), Origin::Peer { peer, .. }) = (request.method, &request.origin) else {
            return None;
        };
        let filters = self.filters_of(*peer)?;
        let msg = Incoming::scan(text).ok()?;
        let result = msg.envelope.result?;
        let kept = object(msg.bytes, result, |name, at| filtered(filters, list, name, at, msg.bytes), &[]);
        let mut message = Message::new(msg.bytes);
        message.replace(result, Value::Raw(&kept));
        Some(message.to_vec())
    }

    /// Other filters for a server that runs on; its clients are told which lists are others.
    pub fn change_filters(
        &mut self,
        now: Time,
        id: ServerId,
        filters: Option<Box<Filters>>,
        out: &mut dyn Sink,
    ) {
        let policy = &mut self.servers[id].policy;
        if policy.filters == filters {
            return;
        }
        let old = std::mem::replace(&mut policy.filters, filters.clone()).unwrap_or_default();
        let new = filters.unwrap_or_default();
        for key in self.instances_of(id) {
            let Some(instance) = self.instances.get(key).filter(|instance| instance.is_ready()) else {
                continue;
            };
            let Some(hello) = instance.hello.clone() else { continue };
            for (kind, is_same) in [
                (ListKind::Tools, old.tools == new.tools),
                (ListKind::Prompts, old.prompts == new.prompts),
                (ListKind::Resources, old.resources == new.resources),
            ] {
                if !is_same && hello.announces(kind) {
                    self.announce_change(now, key, kind, out);
                }
            }
        }
        self.check_invariants();
    }
}

/// A member of the result of a list.
fn filtered(filters: &Filters, list: List, name: &str, at: Span, bytes: &[u8]) -> Member {
    let (member, key, filter) = match list {
        List::Tools => ("tools", "name", &filters.tools),
        List::Prompts => ("prompts", "name", &filters.prompts),
        List::Resources => ("resources", "uri", &filters.resources),
        List::Templates => ("resourceTemplates", "uriTemplate", &filters.resources),
    };
    if name != member {
        return Member::Keep;
    }
    let each = |item: Span| {
        let name = json::member(bytes, item, key).and_then(|name| json::unescape(name.of(bytes)));
        match name {
            Some(name) if filter.passes(&name) => Member::Keep,
            _ => Member::Drop,
        }
    };
    Member::Put(array(bytes, at, each))
}

/// Code and text of the refusal of a request, if it is one.
fn refusal(filters: &Filters, method: Method, era: Era, msg: &Incoming<'_>) -> Option<(i32, String)> {
    let (filter, what, at) = match method {
        Method::ToolsCall => (&filters.tools, "unknown tool", msg.envelope.name),
        Method::PromptsGet => (&filters.prompts, "unknown prompt", msg.envelope.name),
        Method::ResourcesRead | Method::Subscribe => {
            (&filters.resources, "resource not found", msg.envelope.uri)
        }
        Method::Complete => return completion_refusal(filters, msg),
        _ => return None,
    };
    // A name that is none is the server's to refuse.
    let name = json::unescape(msg.text(at?))?;
    if filter.passes(&name) {
        return None;
    }
    let is_resource = matches!(method, Method::ResourcesRead | Method::Subscribe);
    let code = if is_resource && era == Era::Legacy { RESOURCE_NOT_FOUND } else { reply::INVALID_PARAMS };
    Some((code, told(what, &name)))
}

/// Of what `ref` names. The scanner has seen to it that what muxloop acts on elsewhere stands once; here that
/// is to be looked at, since a server might take the other one.
fn completion_refusal(filters: &Filters, msg: &Incoming<'_>) -> Option<(i32, String)> {
    let params = msg.envelope.params?;
    let once = |at: Span, wanted: &str| {
        let mut found = json::object_members(msg.bytes, at).filter(|(name, _, _)| *name == *wanted);
        let first = found.next().map(|(_, _, value)| value);
        if found.next().is_some() {
            Err((reply::INVALID_PARAMS, format!("`{wanted}` stands twice")))
        } else {
            Ok(first)
        }
    };
    let read = || {
        let Some(of) = once(params, "ref")?.filter(|at| edit::is_object(msg.bytes, *at)) else {
            return Ok(());
        };
        for (member, filter, what) in
            [("name", &filters.prompts, "unknown prompt"), ("uri", &filters.resources, "resource not found")]
        {
            let name = once(of, member)?.and_then(|at| json::unescape(msg.text(at)));
            if let Some(name) = name.filter(|name| !filter.passes(name)) {
                return Err((reply::INVALID_PARAMS, told(what, &name)));
            }
        }
        Ok(())
    };
    read().err()
}

/// As the merged endpoint says it.
fn told(what: &str, name: &str) -> String {
    let mut end = name.len().min(NAME_SHOWN);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{what}: {:?}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::filter::Filter;

    fn filters() -> Filters {
        let deny = |pattern| Filter::new([], [pattern]);
        Filters { tools: deny("rm*"), prompts: deny("p"), resources: deny("x:*") }
    }

    fn refused(method: Method, params: &str) -> Option<i32> {
        let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":{params}}}");
        // Some of what stands twice is refused before anything looks at it.
        let Ok(msg) = Incoming::scan(text.as_bytes()) else { return Some(-32600) };
        refusal(&filters(), method, Era::Legacy, &msg).map(|(code, _)| code)
    }

    #[test]
    fn requests_for_what_is_denied_are_refused() {
        for (method, params, code) in [
            (Method::ToolsCall, r#"{"name":"rm"}"#, Some(-32602)),
            (Method::ToolsCall, r#"{"name":"r\u006d_all"}"#, Some(-32602)),
            (Method::ToolsCall, r#"{"n\u0061me":"rm"}"#, Some(-32602)),
            (Method::ToolsCall, r#"{"name":"ls","arguments":{"name":"rm"}}"#, None),
            (Method::ToolsCall, r#"{"name":7}"#, None),
            (Method::ToolsCall, "{}", None),
            (Method::PromptsGet, r#"{"name":"p"}"#, Some(-32602)),
            (Method::PromptsGet, r#"{"name":"rm"}"#, None),
            (Method::ResourcesRead, r#"{"uri":"x:1"}"#, Some(-32002)),
            (Method::Subscribe, r#"{"uri":"x:1"}"#, Some(-32002)),
            (Method::Unsubscribe, r#"{"uri":"x:1"}"#, None),
            (Method::ResourcesRead, r#"{"uri":"y:1"}"#, None),
            (Method::Complete, r#"{"ref":{"type":"ref/prompt","name":"p"}}"#, Some(-32602)),
            (Method::Complete, r#"{"ref":{"type":"ref/prompt","name":"q"}}"#, None),
            (Method::Complete, r#"{"ref":{"type":"ref/resource","uri":"x:{id}"}}"#, Some(-32602)),
            (Method::Complete, r#"{"ref":{"name":"q","name":"p"}}"#, Some(-32602)),
            (Method::Complete, r#"{"ref":{"name":"q"},"r\u0065f":{"name":"p"}}"#, Some(-32600)),
            (Method::Complete, r#"{"ref":7}"#, None),
            (Method::Other, r#"{"name":"rm"}"#, None),
        ] {
            assert_eq!(refused(method, params), code, "{method:?} {params}");
        }
    }

    #[test]
    fn lists_are_without_what_is_denied() {
        let of = |list, text: &str| {
            let each = |name: &str, at| filtered(&filters(), list, name, at, text.as_bytes());
            String::from_utf8(object(text.as_bytes(), edit::whole(text.as_bytes()), each, &[])).unwrap()
        };
        assert_eq!(
            of(
                List::Tools,
                r#"{"nextCursor":"a","tools":[{"name":"ls"}, {"name":"rm"},7,{"name":"r\u006d2"}],"x":1.0}"#
            ),
            r#"{"nextCursor":"a","tools":[{"name":"ls"}],"x":1.0}"#
        );
        assert_eq!(
            of(List::Templates, r#"{"resourceTemplates":[{"uriTemplate":"x:{id}"}]}"#),
            r#"{"resourceTemplates":[]}"#
        );
        assert_eq!(of(List::Prompts, r#"{"prompts":7}"#), r#"{"prompts":7}"#);
    }
}

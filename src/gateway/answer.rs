//! What comes back from a server, as the client of the merged endpoint reads it: under muxloop's name, with
//! the URIs that the client knows, and with the server named where a person is asked something.

use super::serve::{Rewritten, State, failure, own_info};
use super::{Floor, Gateway};
use crate::base::Key;
use crate::codec::edit::{self, Member, array, object};
use crate::codec::{Incoming, Kind, Message, Span, Value as Put, json};

const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

impl Gateway {
    pub(super) fn on_call_message(&mut self, job: Key, link: Key, msg: &Incoming<'_>, floor: &mut dyn Floor) {
        match msg.envelope.kind {
            Kind::Notification => match msg.method() {
                b"notifications/progress" => floor.tell(msg.bytes),
                b"notifications/message" => {
                    if let Some(job) = self.jobs.get(job) {
                        floor.tell_log(&job.id, msg.bytes);
                    }
                }
                _ => {}
            },
            Kind::Request => {}
            Kind::Response | Kind::Error => {
                self.drop_link(link, floor);
                let Some(job) = self.jobs.remove(job) else { return };
                let State::Called { member, uri, .. } = job.state else { return };
                let text = match msg.envelope.result {
                    Some(result) => self.rewritten(member, uri.as_ref(), result, msg),
                    None => msg.bytes.to_vec(),
                };
                floor.tell(&text);
            }
        }
    }

    /// The link of a call is gone before its answer.
    pub(super) fn on_call_lost(&mut self, job: Key, floor: &mut dyn Floor) {
        let Some(State::Called { member, .. }) = self.jobs.get(job).map(|job| &job.state) else { return };
        let key = self.members[*member].key.clone();
        self.fail_call(job, &key, floor);
    }

    /// A call gets no answer from its server, which has this key.
    pub(super) fn fail_call(&mut self, job: Key, key: &str, floor: &mut dyn Floor) {
        if let Some(job) = self.jobs.remove(job) {
            let text = format!("server '{key}' is not there any more");
            floor.tell(&failure(&job.id, -32603, &text));
        }
    }

    fn rewritten(
        &mut self,
        member: usize,
        uri: Option<&Rewritten>,
        result: Span,
        msg: &Incoming<'_>,
    ) -> Vec<u8> {
        let is_question =
            msg.envelope.result_type.is_some_and(|kind| msg.text(kind) == b"\"input_required\"");
        let names_resources = memchr::memmem::find(msg.text(result), b"\"uri\"").is_some();
        if !is_question && !names_resources && uri.is_none() {
            return under_own_name(msg);
        }
        self.note_resources(member, result, msg.bytes);
        let each = |name: &str, value: Span| match name {
            "_meta" => Member::Put(own_meta(msg.bytes, value)),
            "inputRequests" if is_question => Member::Put(self.questions(member, msg.bytes, value)),
            "content" | "contents" | "messages" => Member::Put(self.blocks(member, uri, msg.bytes, value)),
            _ => Member::Keep,
        };
        let text = object(msg.bytes, result, each, &[]);
        let mut message = Message::new(msg.bytes);
        message.replace(result, Put::Raw(&text));
        message.to_vec()
    }

    /// Whoever is asked can tell by which server (protocol.md §5.11).
    fn questions(&self, member: usize, bytes: &[u8], requests: Span) -> Vec<u8> {
        let key = &self.members[member].key;
        let params = |value: Span| {
            let each = |name: &str, value: Span| match name {
                "message" => match json::unescape(value.of(bytes)) {
                    Some(text) => Member::Put(edit::string(&format!("[{key}] {text}"))),
                    None => Member::Keep,
                },
                _ => Member::Keep,
            };
            object(bytes, value, each, &[])
        };
        let request = |value: Span| {
            let is_elicitation = json::member(bytes, value, "method")
                .is_some_and(|method| method.of(bytes) == b"\"elicitation/create\"");
            let each = |name: &str, value: Span| match name {
                "params" if is_elicitation => Member::Put(params(value)),
                _ => Member::Keep,
            };
            object(bytes, value, each, &[])
        };
        object(bytes, requests, |_, value| Member::Put(request(value)), &[])
    }

    /// Content blocks, contents of a resource, or messages of a prompt: with the client's URIs.
    fn blocks(&self, member: usize, uri: Option<&Rewritten>, bytes: &[u8], list: Span) -> Vec<u8> {
        array(bytes, list, |block| Member::Put(self.block(member, uri, bytes, block)))
    }

    fn block(&self, member: usize, uri: Option<&Rewritten>, bytes: &[u8], block: Span) -> Vec<u8> {
        let each = |name: &str, value: Span| match name {
            "uri" => {
                let Some(own) = json::unescape(value.of(bytes)) else { return Member::Keep };
                let public = match uri.filter(|uri| uri.own == own) {
                    Some(uri) => uri.public.clone(),
                    None => self.catalogue.public_uri(member, &own),
                };
                if public == own { Member::Keep } else { Member::Put(edit::string(&public)) }
            }
            "resource" | "content" => Member::Put(self.block(member, uri, bytes, value)),
            _ => Member::Keep,
        };
        object(bytes, block, each, &[])
    }

    /// Resources that results name can be read, even if they are in no list (protocol.md §5.4).
    fn note_resources(&mut self, member: usize, result: Span, bytes: &[u8]) {
        for list in ["content", "contents", "messages"] {
            let Some(list) = json::member(bytes, result, list) else { continue };
            for block in json::array_elements(bytes, list) {
                let block = json::member(bytes, block, "content")
                    .filter(|at| edit::is_object(bytes, *at))
                    .unwrap_or(block);
                let resource = json::member(bytes, block, "resource").unwrap_or(block);
                let uri = json::member(bytes, resource, "uri").and_then(|uri| json::unescape(uri.of(bytes)));
                if let Some(uri) = uri {
                    self.catalogue.note_seen(member, &uri);
                }
            }
        }
    }
}

/// A result with muxloop's name where the server's is: on the merged endpoint it is muxloop that answers.
fn under_own_name(msg: &Incoming<'_>) -> Vec<u8> {
    let mut message = Message::new(msg.bytes);
    let meta = msg.envelope.meta.map(|meta| (meta, own_meta(msg.bytes, meta)));
    if let Some((at, text)) = &meta {
        message.replace(*at, Put::Raw(text));
    }
    message.to_vec()
}

fn own_meta(bytes: &[u8], meta: Span) -> Vec<u8> {
    let each = |name: &str, _| match name {
        SERVER_INFO => Member::Put(own_info().into_bytes()),
        _ => Member::Keep,
    };
    object(bytes, meta, each, &[])
}

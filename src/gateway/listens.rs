//! Change notifications on the merged endpoint: lists that changed for whatever reason, and resources, each
//! told by its server on a listen of its own.

use super::learn::own_request;
use super::serve::{Needs, refuse};
use super::{Floor, Gateway, Timer, Use};
use crate::base::{Key, Time};
use crate::codec::List;
use crate::codec::{Incoming, Kind, json};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An open `subscriptions/listen` of the clients (the mux merges theirs into one, or two for a moment).
#[derive(Debug)]
pub(super) struct Listen {
    /// Never used again.
    number: u64,
    /// Id of its request, as written: the tag of all that is sent on it.
    id: Box<[u8]>,
    tools: bool,
    prompts: bool,
    resources: bool,
    /// One for each server whose resources it names.
    parts: Vec<Part>,
    acknowledged: bool,
}

#[derive(Debug)]
struct Part {
    member: usize,
    /// `None` while its server is lost.
    link: Option<Key>,
    /// The server's URI → the client's.
    uris: BTreeMap<String, String>,
    /// Those that the server honours; `None` until it has said so.
    honoured: Option<Vec<String>>,
}

impl Gateway {
    /// `subscriptions/listen`: whose the resources are may have to be found out first.
    pub(super) fn listen(&mut self, now: Time, msg: &Incoming<'_>, floor: &mut dyn Floor) {
        let wanted = filter_of(msg);
        let unknown = uris_of(&wanted).any(|uri| self.catalogue.route_uri(uri).is_none());
        if unknown {
            self.ask_all(now, Needs::Resources, floor);
            return self.answer_or_wait(now, Needs::Resources, msg, floor);
        }
        self.open_listen(now, msg, floor);
    }

    /// Opens a listen with what is known.
    pub(super) fn open_listen(&mut self, now: Time, msg: &Incoming<'_>, floor: &mut dyn Floor) {
        let wanted = filter_of(msg);
        if self.listens.len() >= LISTENS_MAX {
            return refuse(msg, -32603, "too many listens at once", floor);
        }
        let number = self.listens_ever;
        self.listens_ever += 1;
        let is_on = |name: &str| wanted[name] == true;
        let mut parts: BTreeMap<usize, BTreeMap<String, String>> = BTreeMap::new();
        for uri in uris_of(&wanted) {
            if let Some(route) = self.catalogue.route_uri(uri) {
                parts.entry(route.member).or_default().insert(route.own, uri.to_string());
            }
        }
        self.listens.push(Listen {
            number,
            id: msg.envelope.id.map_or(&b"null"[..], |id| msg.text(id)).into(),
            tools: is_on("toolsListChanged"),
            prompts: is_on("promptsListChanged"),
            resources: is_on("resourcesListChanged"),
            parts: Vec::new(),
            acknowledged: false,
        });
        for (member, uris) in parts {
            let part = Part { member, link: None, uris, honoured: None };
            if let Some(listen) = self.listens.last_mut() {
                listen.parts.push(part);
            }
            self.ask_for_resources(number, member, floor);
        }
        self.timers.schedule(now + self.list_timeout_ms, Timer::Listen(number));
        self.acknowledge_if_known(number, floor);
        self.refresh(now, floor);
    }

    /// Whoever listens for changes wants to hear of those since the lists were last asked for.
    fn refresh(&mut self, now: Time, floor: &mut dyn Floor) {
        for member in 0..self.members.len() {
            for list in List::ALL {
                if self.catalogue.knows(member, list) {
                    self.want(now, member, Some(list), floor);
                }
            }
        }
    }

    fn ask_for_resources(&mut self, number: u64, member: usize, floor: &mut dyn Floor) {
        let link = floor.open(self.members[member].server, None);
        let Some(part) = self.part(number, member) else { return };
        part.link = link;
        let Some(link) = link else {
            part.honoured = Some(Vec::new());
            return;
        };
        let uris: Vec<&String> = part.uris.keys().collect();
        let text = own_request(
            "subscriptions/listen",
            json!({ "notifications": { "resourceSubscriptions": uris } }),
        );
        self.links.insert(link, Use::Resources(number, member));
        floor.ask(link, &text);
    }

    fn part(&mut self, number: u64, member: usize) -> Option<&mut Part> {
        let listen = self.listens.iter_mut().find(|listen| listen.number == number)?;
        listen.parts.iter_mut().find(|part| part.member == member)
    }

    /// What a server says on a listen for its resources.
    pub(super) fn on_resources(
        &mut self,
        now: Time,
        number: u64,
        member: usize,
        link: Key,
        msg: &Incoming<'_>,
        floor: &mut dyn Floor,
    ) {
        match (msg.envelope.kind, msg.method()) {
            (Kind::Notification, b"notifications/subscriptions/acknowledged") => {
                let honoured = uris_of(&filter_of(msg)).map(String::from).collect();
                if let Some(part) = self.part(number, member) {
                    part.honoured = Some(honoured);
                }
                self.acknowledge_if_known(number, floor);
            }
            (Kind::Notification, b"notifications/resources/updated") => {
                let uri = msg.envelope.uri.and_then(|uri| json::unescape(msg.text(uri)));
                if let Some(own) = uri {
                    self.tell_updated(number, member, &own, floor);
                }
            }
            (Kind::Response | Kind::Error, _) => {
                self.drop_link(link, floor);
                self.on_resources_lost(now, number, member, floor);
            }
            _ => {}
        }
    }

    fn tell_updated(&mut self, number: u64, member: usize, own: &str, floor: &mut dyn Floor) {
        let public = self.part(number, member).and_then(|part| part.uris.get(own).cloned());
        let public = public.unwrap_or_else(|| self.catalogue.public_uri(member, own));
        if let Some(listen) = self.listens.iter().find(|listen| listen.number == number) {
            floor.tell(&listen.tagged("notifications/resources/updated", json!({ "uri": public })));
        }
    }

    /// A server ends its part of a listen: asked again with the next retry.
    pub(super) fn on_resources_lost(&mut self, now: Time, number: u64, member: usize, floor: &mut dyn Floor) {
        let Some(part) = self.part(number, member) else { return };
        part.link = None;
        part.honoured.get_or_insert_default();
        self.retry_later(now, member);
        self.acknowledge_if_known(number, floor);
    }

    /// Servers that were lost are asked anew for the resources that clients listen for.
    pub(super) fn ask_for_lost_resources(&mut self, member: usize, floor: &mut dyn Floor) {
        let lost: Vec<u64> = self
            .listens
            .iter()
            .filter(|listen| listen.parts.iter().any(|part| part.member == member && part.link.is_none()))
            .map(|listen| listen.number)
            .collect();
        for number in lost {
            self.ask_for_resources(number, member, floor);
        }
    }

    /// Servers have other places, or are gone, and resources may be another's now, or nobody's: parts of which
    /// that is so are opened again.
    pub(super) fn reopen_parts(&mut self, places: &[Option<usize>], floor: &mut dyn Floor) {
        let mut asked = Vec::new();
        let mut unused = Vec::new();
        for listen in &mut self.listens {
            let mut wanted: BTreeMap<usize, BTreeMap<String, String>> = BTreeMap::new();
            for uri in listen.parts.iter().flat_map(|part| part.uris.values()) {
                if let Some(route) = self.catalogue.route_uri(uri) {
                    wanted.entry(route.member).or_default().insert(route.own, uri.clone());
                }
            }
            for mut part in std::mem::take(&mut listen.parts) {
                let place = places[part.member];
                match place.filter(|place| wanted.get(place) == Some(&part.uris)) {
                    Some(place) => {
                        wanted.remove(&place);
                        part.member = place;
                        listen.parts.push(part);
                    }
                    None => unused.extend(part.link),
                }
            }
            for (member, uris) in wanted {
                listen.parts.push(Part { member, link: None, uris, honoured: None });
                asked.push((listen.number, member));
            }
        }
        for link in unused {
            self.drop_link(link, floor);
        }
        for (number, member) in asked {
            self.ask_for_resources(number, member, floor);
        }
    }

    fn acknowledge_if_known(&mut self, number: u64, floor: &mut dyn Floor) {
        let listen = self.listens.iter().find(|listen| listen.number == number);
        if listen.is_some_and(|listen| listen.parts.iter().all(|part| part.honoured.is_some())) {
            self.acknowledge(number, floor);
        }
    }

    /// Says what is honoured, once: all lists, since any of them can change, and the resources that their
    /// servers have agreed to so far.
    pub(super) fn acknowledge(&mut self, number: u64, floor: &mut dyn Floor) {
        let Some(listen) = self.listens.iter_mut().find(|listen| listen.number == number) else { return };
        if std::mem::replace(&mut listen.acknowledged, true) {
            return;
        }
        let mut honoured = json!({});
        for (name, on) in [
            ("toolsListChanged", listen.tools),
            ("promptsListChanged", listen.prompts),
            ("resourcesListChanged", listen.resources),
        ] {
            if on {
                honoured[name] = true.into();
            }
        }
        let uris: Vec<&String> = listen
            .parts
            .iter()
            .flat_map(|part| part.honoured.iter().flatten().filter_map(|own| part.uris.get(own)))
            .collect();
        if !uris.is_empty() {
            honoured["resourceSubscriptions"] = json!(uris);
        }
        let params = json!({ "notifications": honoured });
        floor.tell(&listen.tagged("notifications/subscriptions/acknowledged", params));
    }

    /// A merged list changed: whoever listens for it hears so.
    pub(super) fn announce(&mut self, list: List, floor: &mut dyn Floor) {
        if list == List::Tools && !self.listed_tools_changed() {
            return;
        }
        self.tell_changed(list, floor);
    }

    pub(super) fn tell_changed(&mut self, list: List, floor: &mut dyn Floor) {
        for listen in self.listens.iter().filter(|listen| listen.acknowledged) {
            let (wanted, name) = match list {
                List::Tools => (listen.tools, "tools"),
                List::Prompts => (listen.prompts, "prompts"),
                List::Resources | List::Templates => (listen.resources, "resources"),
            };
            if wanted {
                floor.tell(&listen.tagged(&format!("notifications/{name}/list_changed"), json!({})));
            }
        }
    }

    /// The clients do not listen any more.
    pub(super) fn cancel_listen(&mut self, id: &[u8], floor: &mut dyn Floor) {
        let Some(at) = self.listens.iter().position(|listen| *listen.id == *id) else { return };
        let listen = self.listens.remove(at);
        for link in listen.parts.iter().filter_map(|part| part.link) {
            self.drop_link(link, floor);
        }
    }
}

impl Listen {
    /// The resources that clients hear of.
    #[cfg(test)]
    pub(super) fn uris(&self) -> impl Iterator<Item = &String> {
        self.parts.iter().flat_map(|part| part.uris.values())
    }

    /// A notification of this listen. The tag is its id as written.
    fn tagged(&self, method: &str, params: Value) -> Vec<u8> {
        let members = params.to_string();
        let members = &members.as_bytes()[1..members.len() - 1];
        let comma: &[u8] = if members.is_empty() { b"" } else { b"," };
        [
            b"{\"jsonrpc\":\"2.0\",\"method\":\"",
            method.as_bytes(),
            b"\",\"params\":{\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":",
            &self.id,
            b"}",
            comma,
            members,
            b"}}",
        ]
        .concat()
    }
}

fn filter_of(msg: &Incoming<'_>) -> Value {
    let text = msg.envelope.notifications.map_or(&b"{}"[..], |at| msg.text(at));
    serde_json::from_slice(text).unwrap_or_default()
}

fn uris_of(filter: &Value) -> impl Iterator<Item = &str> {
    filter["resourceSubscriptions"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Most listens at once: the mux opens one, and its successor before it ends that.
const LISTENS_MAX: usize = 16;

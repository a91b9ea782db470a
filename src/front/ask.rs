//! One request with its head and its body: refused, answered at once, or handed to what its path names.

use super::answer::{Answer, Manner};
use super::guard::Reach;
use super::{Below, Front, Target};
use crate::base::{Key, Time};
use crate::codec::http::{Method, Request};

impl Front {
    /// The head of a request: what can be refused without its body is refused now.
    pub(super) fn begin(&mut self, now: Time, conn: Key, request: Request, below: &mut dyn Below) {
        let stays = !self.stopping && below.readiness().is_ok();
        let Some(state) = self.conns.get_mut(conn) else { return };
        let reach = state.reach;
        let allowed =
            request.headers.get("origin").filter(|origin| self.settings.guard.allows(origin, reach));
        state.manner = Manner {
            keep_alive: request.keep_alive && stays,
            head_only: request.method == Method::Head,
            http10: request.version_minor == 0,
            origin: allowed.map(str::to_owned),
        };
        let answer = self.precheck(&request, reach);
        self.counts.requests += 1;
        self.counts.refused += u64::from(answer.is_some());
        let Some(state) = self.conns.get_mut(conn) else { return };
        let has_body = request.headers.get("transfer-encoding").is_some()
            || request.headers.get("content-length").is_some_and(|length| length.trim() != "0");
        match answer {
            // Whoever is refused is not read any more.
            Some(answer) if has_body => {
                state.manner.keep_alive = false;
                self.respond(now, conn, &answer, below);
            }
            _ => state.request = Some(request),
        }
    }

    /// What the head alone decides against, in the order of protocol.md §3.3.
    pub(super) fn precheck(&self, request: &Request, reach: Reach) -> Option<Answer> {
        let target = self.target_of(request);
        let public = matches!(target, Some(Target::Health | Target::Ready | Target::Page));
        if let Err(denial) = self.settings.guard.check(request, reach)
            && !(public && denial.status == 401)
        {
            let answer = Answer::error(denial.status, None, -32600, &denial.text);
            return Some(match denial.challenge {
                Some(challenge) => answer.with("WWW-Authenticate", challenge),
                None => answer,
            });
        }
        let Some(target) = target else {
            return Some(Answer::error(404, None, -32600, &self.settings.routes.hint(&request.target)));
        };
        if request.method == Method::Options {
            return None;
        }
        let methods = match target {
            Target::Mcp(server) if self.is_stateless(server) => "POST, OPTIONS",
            _ => methods(target),
        };
        if !methods.split(", ").any(|method| method == request.method.as_str()) {
            let text = format!("{} is not offered here, but {methods}", request.method.as_str());
            return Some(Answer::error(405, None, -32600, &text).with("Allow", methods));
        }
        if request.method == Method::Post {
            return self.precheck_post(request, target);
        }
        None
    }

    /// A whole request has come.
    pub(super) fn ask(&mut self, now: Time, conn: Key, body: Vec<u8>, below: &mut dyn Below) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        let Some(request) = state.request.take() else { return };
        let reach = state.reach;
        // Most is known to be fine from `begin`; refusals of requests without a body come here.
        if let Some(answer) = self.precheck(&request, reach) {
            return self.respond(now, conn, &answer, below);
        }
        let Some(target) = self.target_of(&request) else { return };
        if request.method == Method::Options {
            let answer = preflight(&request, target);
            return self.respond(now, conn, &answer, below);
        }
        match (target, &request.method) {
            (Target::Health, _) => {
                let answer = Answer::json(200, b"{\"status\":\"healthy\"}".to_vec());
                self.respond(now, conn, &answer, below);
            }
            (Target::Ready, _) => {
                let answer = match below.readiness() {
                    _ if self.stopping => not_ready("muxloop is stopping"),
                    Ok(()) => Answer::json(200, b"{\"status\":\"ready\"}".to_vec()),
                    Err(why) => not_ready(&why),
                };
                self.respond(now, conn, &answer, below);
            }
            (Target::Page, _) => self.respond(now, conn, &Front::page(), below),
            (Target::Figures, _) => self.open_dashboard(now, conn, below),
            (Target::Metrics, _) => {
                let answer = self.metrics(below);
                self.respond(now, conn, &answer, below);
            }
            (Target::Mcp(server), Method::Post) => self.post(now, conn, server, request, body, below),
            (Target::Mcp(server), Method::Delete) => self.delete(now, conn, server, &request, below),
            (Target::Mcp(server), _) => self.get(now, conn, server, &request, below),
            (Target::Socket(server), _) => self.open_socket(now, conn, server, &request, below),
            (Target::Events(server), _) => self.open_events(now, conn, server, &request, below),
            (Target::Message, _) => self.post_message(now, conn, request, body, below),
        }
    }

    pub(super) fn metrics(&self, below: &dyn Below) -> Answer {
        let mut text = below.metrics();
        for (name, kind, help, value) in [
            ("http_sessions", "gauge", "Sessions of HTTP clients.", self.sessions.len() as u64),
            ("http_requests_total", "counter", "HTTP requests with a whole head.", self.counts.requests),
            ("http_refused_total", "counter", "HTTP requests refused by their head.", self.counts.refused),
            ("http_rate_limited_total", "counter", "HTTP requests refused as too many.", self.counts.limited),
            (
                "http_lost_events_total",
                "counter",
                "Events dropped because nobody fetched them.",
                self.counts.lost,
            ),
            (
                "http_evicted_sessions_total",
                "counter",
                "Idle sessions ended for new ones to have their places.",
                self.counts.evicted,
            ),
        ] {
            text += &format!(
                "# HELP muxloop_{name} {help}\n# TYPE muxloop_{name} {kind}\nmuxloop_{name} {value}\n"
            );
        }
        Answer {
            status: 200,
            headers: vec![("Content-Type", "text/plain; version=0.0.4; charset=utf-8".into())],
            body: text.into_bytes(),
        }
    }
}

/// What may be asked of a target.
fn methods(target: Target) -> &'static str {
    match target {
        Target::Mcp(_) => "GET, POST, DELETE, OPTIONS",
        Target::Events(_) | Target::Socket(_) | Target::Figures => "GET, OPTIONS",
        Target::Message => "POST, OPTIONS",
        Target::Health | Target::Ready | Target::Metrics | Target::Page => "GET, HEAD, OPTIONS",
    }
}

/// The answer to a browser that asks whether it may ask.
fn preflight(request: &Request, target: Target) -> Answer {
    let answer = Answer::empty(204).with("Allow", methods(target));
    if request.headers.get("access-control-request-method").is_none() {
        return answer;
    }
    let asked = request.headers.get("access-control-request-headers");
    let headers =
        asked.unwrap_or("Authorization, Content-Type, Last-Event-ID, Mcp-Session-Id, MCP-Protocol-Version");
    answer
        .with("Access-Control-Allow-Methods", methods(target))
        .with("Access-Control-Allow-Headers", headers)
        .with("Access-Control-Max-Age", "600")
}

fn not_ready(why: &str) -> Answer {
    let body = serde_json::json!({ "status": "not ready", "why": why });
    Answer::json(503, body.to_string().into_bytes())
}

//! What a client asks and says.

use super::again::Call;
use super::{Client, LEVELS, Listen, MODERN, Phase, URIS};
use crate::mux::Era;
use crate::sim::kernel::{Kernel, Weather};
use crate::sim::ledger::{Ledger, Request};
#[cfg(feature = "http")]
use crate::sim::web::{Way, Web};

impl Client {
    /// An id as clients make them: all small numbers, or all alike.
    fn new_id(&mut self, kernel: &mut Kernel) -> String {
        self.count += 1;
        if self.transport.tells_apart() {
            return self.new_id_apart(kernel);
        }
        let id = match kernel.choice.below(8) {
            0 | 1 => "1".to_string(),
            2 => format!("\"{}\"", self.count % 3),
            3 => kernel.choice.pick(&ODD_IDS).to_string(),
            4 if !self.recent.is_empty() => {
                let at = kernel.choice.below(self.recent.len());
                self.recent[at].clone()
            }
            _ => self.count.to_string(),
        };
        self.recent.push_back(id.clone());
        if self.recent.len() > 6 {
            self.recent.pop_front();
        }
        id
    }

    /// An id that no other request has, or now and then one that is being answered.
    fn new_id_apart(&mut self, kernel: &mut Kernel) -> String {
        let count = self.count;
        #[cfg(feature = "http")]
        if kernel.choice.chance(3)
            && let Some(id) = self.transport.web().and_then(Web::an_open_id)
        {
            return id;
        }
        match kernel.choice.below(4) {
            0 => format!("\"{count}\""),
            1 => format!("\"\\u0041 {count}\""),
            2 => format!("-{count}"),
            _ => count.to_string(),
        }
    }

    /// A request with a nonce, under an id made for it.
    fn request_text(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, padding: usize) -> String {
        let id = self.new_id(kernel);
        let nonce = self.index as u64 * 1_000_000 + self.count;
        let token = kernel.choice.chance(50).then(|| match self.transport.tells_apart() {
            true => nonce.to_string(),
            false => kernel.choice.pick(&TOKENS).to_string(),
        });
        let (method, interactive) = kernel.choice.pick(&METHODS);
        self.transport.ask(nonce);
        ledger.ask(
            kernel.now,
            Request {
                nonce,
                client: self.index,
                server: self.server,
                id: &id,
                token: token.as_deref(),
                interactive,
                modern: self.era == Era::Modern,
            },
        );
        let mut meta: Vec<String> = Vec::new();
        meta.extend(token.as_ref().map(|token| format!(r#""progressToken":{token}"#)));
        if self.era == Era::Modern {
            meta.push(self.modern_meta());
            if kernel.choice.chance(30) {
                self.wants_logs = true;
                meta.push(r#""io.modelcontextprotocol/logLevel":"info""#.to_string());
            }
        }
        let meta =
            if meta.is_empty() { String::new() } else { format!(r#","_meta":{{{}}}"#, meta.join(",")) };
        let text = "x".repeat(padding);
        let params = format!(r#""name":"n","nonce":{nonce},"arguments":{{"text":"{text}"}}"#);
        let text =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}{meta}}}}}"#);
        if self.era == Era::Modern && interactive && padding == 0 {
            self.calls.insert(nonce, Call::new(method, params));
            if self.calls.len() > CALLS_MAX {
                self.calls.pop_first();
            }
        }
        text
    }

    pub(super) fn request(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        let text = self.request_text(kernel, ledger, 0);
        self.say(kernel, &text);
    }

    /// Large, and often too large.
    pub(super) fn large(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        let padding = kernel.choice.pick(&[3_000, 40_000, 90_000]);
        let text = self.request_text(kernel, ledger, padding);
        self.say(kernel, &text);
    }

    /// More than muxloop holds of one client, in number or in bytes.
    pub(super) fn flood(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        let Weather { delay_ms, stall, .. } = kernel.weather;
        // Over a slow line it would last longer than muxloop waits for those who are leaving.
        if self.phase != Phase::Ready || delay_ms > 0 || stall > 0 || !kernel.choice.chance(30) {
            return;
        }
        let (count, padding) = match self.transport.is_ordered() {
            true => kernel.choice.pick(&[(400, 0), (60, 30_000)]),
            false => (40, 0),
        };
        for _ in 0..count {
            let text = self.request_text(kernel, ledger, padding);
            self.say(kernel, &text);
        }
    }

    pub(super) fn batch(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        // Before the handshake no version is agreed on, so an array is nothing but garbage.
        if self.version != "2025-03-26" || self.phase != Phase::Ready {
            return;
        }
        let texts: Vec<String> = (0..3).map(|_| self.request_text(kernel, ledger, 0)).collect();
        self.say(kernel, &format!("[{}]", texts.join(",")));
    }

    pub(super) fn cancel(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        #[cfg(feature = "http")]
        if let Some(web) = self.transport.web_mut().filter(|web| web.way == Way::Stateless) {
            return web.cut(kernel);
        }
        let open: Vec<String> =
            self.listens.iter().filter(|(_, listen)| !listen.over).map(|(id, _)| id.clone()).collect();
        let id = if !open.is_empty() && kernel.choice.chance(30) {
            let id = open[kernel.choice.below(open.len())].clone();
            if let Some(listen) = self.listens.get_mut(&id) {
                listen.over = true;
            }
            id
        } else if self.recent.is_empty() {
            "77".to_string()
        } else {
            let at = kernel.choice.below(self.recent.len());
            self.recent[at].clone()
        };
        ledger.cancel(self.index, &id);
        self.say(
            kernel,
            &format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"why"}}}}"#),
        );
    }

    fn local(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, method: &str, params: &str) {
        let id = self.new_id(kernel);
        self.local_as(kernel, ledger, &id, method, params);
    }

    fn local_as(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, id: &str, method: &str, params: &str) {
        ledger.ask_local(self.index, id);
        let meta = match self.era {
            Era::Legacy => String::new(),
            Era::Modern => format!(
                r#","_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientCapabilities":{{}}}}"#
            ),
        };
        self.say(
            kernel,
            &format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}{meta}}}}}"#),
        );
    }

    pub(super) fn subscribe(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        let uri = kernel.choice.pick(&URIS);
        if self.era == Era::Modern {
            return self.listen(kernel);
        }
        let method = kernel.choice.pick(&["resources/subscribe", "resources/unsubscribe"]);
        if method == "resources/subscribe" {
            self.uris.insert(uri.to_string());
        }
        self.local(kernel, ledger, method, &format!(r#""uri":"{uri}""#));
    }

    fn listen(&mut self, kernel: &mut Kernel) {
        self.count += 1;
        let id = format!("\"listen {}\"", self.count);
        let filter = kernel.choice.pick(&FILTERS);
        self.listens.insert(id.clone(), Listen { filter, acknowledged: false, over: false, at: kernel.now });
        self.say(
            kernel,
            &format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"subscriptions/listen","params":{{"notifications":{{{filter}}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
            ),
        );
    }

    pub(super) fn set_level(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        let level = kernel.choice.below(LEVELS.len());
        self.count += 1;
        // Unlike any other, so that its answer says from when on it holds.
        let id = format!("\"level {}\"", self.count);
        let params = format!(r#""level":"{}""#, LEVELS[level]);
        self.local_as(kernel, ledger, &id, "logging/setLevel", &params);
        self.level_ids.insert(id, level);
        self.level = None;
    }

    pub(super) fn ping(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        let method = if self.era == Era::Modern { "server/discover" } else { "ping" };
        let meta = if self.era == Era::Modern { r#""x":1"# } else { r#""_meta":{}"# };
        self.local(kernel, ledger, method, meta);
    }

    pub(super) fn garbage(&mut self, kernel: &mut Kernel) {
        let text = kernel.choice.pick(&GARBAGE);
        self.say(kernel, text);
    }

    /// Answers nobody asked for, and notifications.
    pub(super) fn say_unasked(&mut self, kernel: &mut Kernel) {
        let number = kernel.choice.pick(&[0, 1, 65_536, 65_537, 131_072]);
        let text = match kernel.choice.below(4) {
            0 => format!(r#"{{"jsonrpc":"2.0","id":{number},"result":{{"by":{}}}}}"#, self.index),
            1 => r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#.to_string(),
            2 => format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{number},"progress":1}}}}"#
            ),
            _ => format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/custom","params":{{"by":{}}}}}"#,
                self.index
            ),
        };
        self.say(kernel, &text);
    }
}

/// So many of its calls a client may make again.
const CALLS_MAX: usize = 60;
const ODD_IDS: [&str; 7] = [
    "9007199254740993",
    "-5",
    "\"\"",
    "\"a \\u0041 \\\"b\\\"\"",
    "1.50",
    "123456789012345678901234567890",
    "65536",
];
const TOKENS: [&str; 6] = ["1", "\"1\"", "0", "\"tok\\u0065n\"", "9007199254740993", "65537"];
const METHODS: [(&str, bool); 6] = [
    ("tools/call", true),
    ("tools/call", true),
    ("prompts/get", true),
    ("resources/read", true),
    ("tools/list", false),
    ("x/custom", false),
];
const FILTERS: [&str; 5] = [
    r#""toolsListChanged":true"#,
    r#""promptsListChanged":true,"resourceSubscriptions":["sim://a"]"#,
    r#""resourceSubscriptions":["sim://a","sim://b"]"#,
    r#""toolsListChanged":true,"resourceSubscriptions":["sim://c"]"#,
    "",
];
/// None of it carries an id that could be answered under.
const GARBAGE: [&str; 10] = [
    "",
    "hello",
    "{",
    "[]",
    "null",
    "{\"jsonrpc\":\"2.0\"}",
    "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}",
    "{\"method\":\"notifications/x\",\"method\":\"ping\"}",
    "\u{0}\u{1}",
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":424242}}",
];

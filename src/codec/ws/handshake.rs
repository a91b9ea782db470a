//! The handshake (RFC 6455 §4), for the one subprotocol `mcp`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::codec::http::{self, Framing, HttpError, Method, Request, Response};

/// Joined to a key to show that the server knows what it accepts (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The subprotocol: one JSON-RPC message per text message.
const SUBPROTOCOL: &str = "mcp";
const VERSION: &str = "13";

/// What an answer of status 426 must say besides its reason.
pub const UPGRADE_HEADERS: [(&str, &str); 3] =
    [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION)];

/// An upgrade that may be agreed to, by [`write_upgrade`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeInfo {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: String,
}

/// The value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
pub fn accept_key(key: &str) -> String {
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(GUID.as_bytes());
    STANDARD.encode(sha1.digest().bytes())
}

/// The value of `Sec-WebSocket-Key` for 16 random bytes.
pub fn request_key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

/// Whether a request asks for a WebSocket as we speak it. Who may ask (Origin, Host, credentials) is
/// left to the guards.
///
/// Refused with 405 if it is not a GET; 426, with [`UPGRADE_HEADERS`], if it asks for no WebSocket or
/// another version of it; 400 if it is malformed or does not offer `mcp`. The next request may follow.
pub fn check_upgrade(request: &Request) -> Result<UpgradeInfo, HttpError> {
    let refuse = |status, reason: &str| Err(HttpError { status, reason: reason.into(), close: false });
    let headers = &request.headers;
    if request.method != Method::Get {
        return refuse(405, "a WebSocket is asked for by GET");
    }
    let upgrades = headers.list_has("connection", "upgrade") && headers.list_has("upgrade", "websocket");
    if request.version_minor == 0 || !upgrades {
        return refuse(426, "this path speaks WebSocket: Connection: Upgrade, Upgrade: websocket");
    }
    let has_body = headers.get("transfer-encoding").is_some()
        || headers.get("content-length").is_some_and(|length| length != "0");
    if has_body {
        return refuse(400, "a request for a WebSocket has no body");
    }
    if headers.is_duplicated("sec-websocket-version") || headers.is_duplicated("sec-websocket-key") {
        return refuse(400, "Sec-WebSocket-Version or Sec-WebSocket-Key twice");
    }
    if headers.get("sec-websocket-version") != Some(VERSION) {
        return refuse(426, "Sec-WebSocket-Version must be 13");
    }
    let key = headers.get("sec-websocket-key").unwrap_or_default();
    if STANDARD.decode(key).map(|bytes| bytes.len()) != Ok(16) {
        return refuse(400, "Sec-WebSocket-Key must be 16 bytes in base64");
    }
    if !headers.list("sec-websocket-protocol").any(|offer| offer == SUBPROTOCOL) {
        return refuse(400, "Sec-WebSocket-Protocol must offer mcp");
    }
    Ok(UpgradeInfo { accept: accept_key(key) })
}

/// Appends the answer that turns the connection into a WebSocket.
pub fn write_upgrade(out: &mut Vec<u8>, info: &UpgradeInfo) {
    let headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Accept", &info.accept),
        ("Sec-WebSocket-Protocol", SUBPROTOCOL),
    ];
    http::write_head(out, 101, &headers, Framing::None);
}

/// Appends a client's request for a WebSocket, with `more` headers; `key` is from [`request_key`].
pub fn write_upgrade_request(out: &mut Vec<u8>, target: &str, host: &str, key: &str, more: &[(&str, &str)]) {
    let mut headers = vec![
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", VERSION),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Protocol", SUBPROTOCOL),
    ];
    headers.extend_from_slice(more);
    http::write_request_head(out, "GET", target, host, &headers, Framing::None);
}

/// Whether a server's answer makes the connection a WebSocket; else why not. `key` is the request's.
pub fn check_accepted(response: &Response, key: &str) -> Result<(), &'static str> {
    let headers = &response.headers;
    if response.status != 101 {
        return Err("the server did not switch protocols");
    }
    if !headers.list_has("connection", "upgrade") || !headers.list_has("upgrade", "websocket") {
        return Err("the server switched to another protocol");
    }
    if headers.get("sec-websocket-accept") != Some(&accept_key(key)[..]) {
        return Err("Sec-WebSocket-Accept does not belong to our key");
    }
    if headers.get("sec-websocket-extensions").is_some() {
        return Err("the server uses an extension that was not offered");
    }
    match headers.get("sec-websocket-protocol") {
        Some(SUBPROTOCOL) if !headers.is_duplicated("sec-websocket-protocol") => Ok(()),
        _ => Err("the server does not speak the subprotocol mcp"),
    }
}

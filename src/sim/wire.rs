//! [`Wire`]: a line as the actors read it, with another parser than muxloop's own.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A JSON-RPC message; ids and tokens are kept as written.
#[derive(Debug, Deserialize)]
pub(super) struct Wire<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    pub method: Option<String>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<Fault<'a>>,
}

#[derive(Debug, Deserialize)]
struct Fault<'a> {
    message: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// What stands in the params, the result, or the data of the error.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    pub nonce: Option<u64>,
    /// The client that answered a question.
    pub by: Option<usize>,
    #[serde(borrow)]
    progress_token: Option<&'a RawValue>,
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
    pub uri: Option<String>,
    pub level: Option<String>,
    pub protocol_version: Option<String>,
    /// Which server a message of a child is from.
    pub server: Option<usize>,
    /// Which process it is from.
    pub process: Option<usize>,
    #[serde(borrow)]
    pub notifications: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "_meta")]
    pub meta: Option<Meta<'a>>,
    pub muxloop: Option<Own>,
    /// A question's own number, which its answer says again.
    pub secret: Option<u64>,
    /// A question of a modern child.
    pub round: Option<bool>,
    /// An answer that a child must never see.
    pub misshapen: Option<bool>,
    pub result_type: Option<String>,
    pub request_state: Option<String>,
    pub input_requests: Option<BTreeMap<String, Entry>>,
    #[serde(borrow)]
    input_responses: Option<BTreeMap<String, &'a RawValue>>,
}

/// A question of `inputRequests`.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    pub method: String,
    pub params: EntryParams,
}

#[derive(Debug, Deserialize)]
pub(super) struct EntryParams {
    pub nonce: u64,
    pub secret: u64,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Meta<'a> {
    #[serde(borrow, rename = "progressToken")]
    token: Option<&'a RawValue>,
    #[serde(rename = "io.modelcontextprotocol/protocolVersion")]
    pub version: Option<String>,
    #[serde(rename = "io.modelcontextprotocol/logLevel")]
    pub log_level: Option<String>,
    #[serde(borrow, rename = "io.modelcontextprotocol/subscriptionId")]
    subscription: Option<&'a RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/clientCapabilities")]
    capabilities: Option<&'a RawValue>,
}

/// `error.data.muxloop`.
#[derive(Debug, Deserialize)]
pub(super) struct Own {
    pub reason: String,
}

impl<'a> Wire<'a> {
    pub fn parse(line: &'a str) -> Result<Wire<'a>, String> {
        serde_json::from_str(line).map_err(|error| error.to_string())
    }

    pub fn id(&self) -> Option<&'a str> {
        self.id.map(RawValue::get)
    }

    pub fn is_result(&self) -> bool {
        self.result.is_some()
    }

    /// The words of an error.
    pub fn complaint(&self) -> Option<&str> {
        self.error.as_ref().map(|fault| fault.message.as_str())
    }

    pub fn body(&self) -> Body<'a> {
        let data = self.error.as_ref().and_then(|fault| fault.data);
        let text = self.params.or(self.result).or(data);
        text.and_then(|text| serde_json::from_str(text.get()).ok()).unwrap_or_default()
    }
}

impl<'a> Body<'a> {
    pub fn progress_token(&self) -> Option<&'a str> {
        self.progress_token.map(RawValue::get)
    }

    pub fn request_id(&self) -> Option<&'a str> {
        self.request_id.map(RawValue::get)
    }

    /// `_meta.progressToken`.
    pub fn token(&self) -> Option<&'a str> {
        self.meta.as_ref()?.token.map(RawValue::get)
    }

    pub fn subscription(&self) -> Option<&'a str> {
        self.meta.as_ref()?.subscription.map(RawValue::get)
    }

    /// `inputResponses`, each as its own body.
    pub fn responses(&self) -> Vec<(String, Body<'a>)> {
        let read = |text: &&'a RawValue| serde_json::from_str(text.get()).unwrap_or_default();
        let all = self.input_responses.iter().flatten();
        all.map(|(key, text)| (key.clone(), read(text))).collect()
    }

    /// Whether a request's client declares this.
    pub fn declares(&self, capability: &str) -> bool {
        let capabilities = self.meta.as_ref().and_then(|meta| meta.capabilities);
        capabilities.is_some_and(|text| text.get().contains(&format!("\"{capability}\"")))
    }

    pub fn is_modern(&self) -> bool {
        self.meta.as_ref().is_some_and(|meta| meta.version.is_some())
    }
}

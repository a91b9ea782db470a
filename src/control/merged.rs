//! What a report says of a merged endpoint.

use super::Json;
use serde::{Deserialize, Serialize};

/// A merged endpoint: what clients can have there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MergedReport {
    /// `prefix` or `plain`.
    pub names: String,
    /// Tools are searched for instead of listed.
    pub lazy: bool,
    pub tools: u64,
    pub prompts: u64,
    pub resources: u64,
    pub templates: u64,
    /// Names of two servers, which are offered of neither.
    pub collisions: u64,
    /// The first of them in words.
    pub collided: Vec<String>,
    pub servers: Vec<MemberReport>,
}

/// What is offered of one server there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberReport {
    pub name: String,
    /// `None`: its list was never heard.
    pub tools: Option<u64>,
    pub prompts: Option<u64>,
    pub resources: Option<u64>,
    pub templates: Option<u64>,
    /// Why something of it may be missing, or old.
    pub missing: Option<String>,
}

impl MergedReport {
    pub(super) fn read(json: Json<'_>) -> Option<MergedReport> {
        let mut merged = MergedReport::default();
        json.members(&mut |key, value| match key {
            "names" => merged.names = value.text(),
            "lazy" => merged.lazy = value.written() == "true",
            "tools" => merged.tools = value.number(),
            "prompts" => merged.prompts = value.number(),
            "resources" => merged.resources = value.number(),
            "templates" => merged.templates = value.number(),
            "collisions" => merged.collisions = value.number(),
            "collided" => merged.collided = value.texts(),
            "servers" => merged.servers = value.elements().into_iter().map(MemberReport::read).collect(),
            _ => {}
        });
        json.is_object().then_some(merged)
    }
}

impl MemberReport {
    fn read(json: Json<'_>) -> MemberReport {
        let mut member = MemberReport::default();
        json.members(&mut |key, value| match key {
            "name" => member.name = value.text(),
            "tools" => member.tools = value.maybe_number(),
            "prompts" => member.prompts = value.maybe_number(),
            "resources" => member.resources = value.maybe_number(),
            "templates" => member.templates = value.maybe_number(),
            "missing" => member.missing = value.maybe_text(),
            _ => {}
        });
        member
    }
}

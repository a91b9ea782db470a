//! What a server lists, read so that nothing odd in it reaches clients: official ones refuse a whole list for
//! one item of the wrong shape, and with it the tools of every other server.
//!
//! An item without a name, and a second one of the same name, are left out. A member of the wrong type is left
//! out if it may be, and put right if it must be there: a tool whose `inputSchema` is none takes any object,
//! and its server judges the arguments. Icons that are neither `https:` nor `data:` are left out (protocol.md
//! §5.8). All else is as the server wrote it.

use super::catalogue::Item;
use crate::codec::List;
use crate::codec::edit::{self, Member, object, whole};
use crate::codec::{Span, json};
use std::collections::BTreeSet;

/// The items in the arrays of a list's pages, and what was wrong with them, in words.
pub(super) fn read(list: List, pages: &[Vec<u8>]) -> (Vec<Item>, Vec<String>) {
    let mut items: Vec<Item> = Vec::new();
    let mut flaws = Vec::new();
    let mut names = BTreeSet::new();
    for page in pages {
        for at in json::array_elements(page, whole(page)) {
            let name = json::member(page, at, list.key());
            let Some(own) = name.and_then(|name| json::unescape(name.of(page))) else {
                flaws.push(format!("an item without `{}` was left out", list.key()));
                continue;
            };
            if !names.insert(own.to_string()) {
                flaws.push(format!("{own:?} is there twice: the first counts"));
                continue;
            }
            let wrong = wrong_members(list, page, at);
            let text = match wrong.is_empty() {
                true => at.of(page).into(),
                false => {
                    let names: Vec<&str> = wrong.iter().map(|wrong| wrong.name()).collect();
                    flaws.push(format!("{own:?} has no valid {}", names.join(", ")));
                    mended(page, at, &wrong, &own).into()
                }
            };
            items.push(Item { own: own.into(), text });
        }
    }
    (items, flaws)
}

/// What is wrong with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// Of the wrong type, and not needed.
    Optional(&'static str),
    /// A resource or template without a `name`: its URI is one.
    Name,
    /// It says no type, which can only be "object".
    Untyped,
    Schema,
    /// Icons that clients must not fetch (protocol.md §5.8).
    Icons,
}

impl Wrong {
    fn name(&self) -> &'static str {
        match self {
            Wrong::Optional(name) => name,
            Wrong::Name => "name",
            Wrong::Untyped | Wrong::Schema => "inputSchema",
            Wrong::Icons => "icons",
        }
    }
}

fn wrong_members(list: List, bytes: &[u8], item: Span) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let mut has_name = list.is_by_name();
    let mut schema = None;
    for (name, _, value) in json::object_members(bytes, item) {
        let first = value.of(bytes).first().copied().unwrap_or_default();
        match &*name {
            "inputSchema" if list == List::Tools => schema = Some(value),
            "name" if !list.is_by_name() && first == b'"' => has_name = true,
            "icons" if first == b'[' => {
                if json::array_elements(bytes, value).any(|icon| !may_be_fetched(bytes, icon)) {
                    wrong.push(Wrong::Icons);
                }
            }
            _ => {
                let member = MEMBERS.iter().find(|(known, _)| *known == name);
                if let Some((name, _)) = member.filter(|(_, open)| !open.contains(&first)) {
                    wrong.push(Wrong::Optional(name));
                }
            }
        }
    }
    if !has_name {
        wrong.push(Wrong::Name);
    }
    if list == List::Tools {
        wrong.extend(wrong_schema(bytes, schema));
    }
    wrong
}

/// Of the schema itself only what clients insist on: an object of type "object".
fn wrong_schema(bytes: &[u8], schema: Option<Span>) -> Option<Wrong> {
    let Some(schema) = schema.filter(|schema| edit::is_object(bytes, *schema)) else {
        return Some(Wrong::Schema);
    };
    let opens = |name, open| {
        json::member(bytes, schema, name).is_none_or(|value| value.of(bytes).first() == Some(&open))
    };
    if !opens("properties", b'{') || !opens("required", b'[') {
        return Some(Wrong::Schema);
    }
    match json::member(bytes, schema, "type").map(|kind| kind.of(bytes)) {
        Some(b"\"object\"") => None,
        Some(_) => Some(Wrong::Schema),
        None => Some(Wrong::Untyped),
    }
}

fn may_be_fetched(bytes: &[u8], icon: Span) -> bool {
    let src = json::member(bytes, icon, "src").and_then(|src| json::unescape(src.of(bytes)));
    let is_of = |src: &str, scheme: &str| {
        src.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    src.is_some_and(|src| is_of(&src, "https:") || is_of(&src, "data:"))
}

fn mended(bytes: &[u8], item: Span, wrong: &[Wrong], own: &str) -> Vec<u8> {
    let uri = edit::string(own);
    let mut added: Vec<(&str, &[u8])> = Vec::new();
    if wrong.contains(&Wrong::Name) {
        added.push(("name", &uri));
    }
    let typed = json::member(bytes, item, "inputSchema").filter(|_| wrong.contains(&Wrong::Untyped));
    let schema = match typed {
        Some(schema) => object(bytes, schema, |_, _| Member::Keep, &[("type", b"\"object\"")]),
        None => b"{\"type\":\"object\"}".to_vec(),
    };
    let has_bad_schema = typed.is_some() || wrong.contains(&Wrong::Schema);
    if has_bad_schema {
        added.push(("inputSchema", &schema));
    }
    let icon = |icon: Span| Member::drop_if(!may_be_fetched(bytes, icon));
    let each = |name: &str, value: Span| match wrong.iter().find(|wrong| wrong.name() == name) {
        Some(Wrong::Icons) => Member::Put(edit::array(bytes, value, icon)),
        Some(_) => Member::Drop,
        None => Member::Keep,
    };
    object(bytes, item, each, &added)
}

/// Members that may be missing, with how their values begin: strings, objects, arrays, numbers.
const MEMBERS: [(&str, &[u8]); 11] = [
    ("title", b"\""),
    ("description", b"\""),
    ("mimeType", b"\""),
    ("outputSchema", b"{"),
    ("annotations", b"{"),
    ("execution", b"{"),
    ("_meta", b"{"),
    ("icons", b"["),
    ("arguments", b"["),
    ("size", b"-0123456789"),
    ("inputSchema", b"{"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn items(list: List, text: &str) -> (Vec<Value>, Vec<String>) {
        let (items, flaws) = read(list, &[text.as_bytes().to_vec()]);
        (items.iter().map(|item| serde_json::from_slice(&item.text).unwrap()).collect(), flaws)
    }

    #[test]
    fn what_is_sound_stays_as_it_is_written() {
        let text = r#"{ "name":"a" ,"inputSchema":{"type" : "object","properties":{"x":true},"required":[]},
            "x":null,"title":"\u0041","annotations":{},"icons":[],"outputSchema":{"type":"array"},"_meta":{}}"#;
        let (items, flaws) = read(List::Tools, &[format!("[{text}]").into_bytes()]);
        assert_eq!((items.len(), flaws), (1, vec![]));
        assert_eq!(*items[0].text, *text.as_bytes());
        let (_, flaws) =
            self::items(List::Resources, r#"[{"uri":"x:1","name":"x","size":12,"mimeType":"a/b"}]"#);
        assert_eq!(flaws, Vec::<String>::new());
    }

    #[test]
    fn every_tool_takes_an_object() {
        let any = json!({ "type": "object" });
        for schema in [
            "7",
            "null",
            "[]",
            "\"object\"",
            r#"{"type":"string"}"#,
            r#"{"type":["object"]}"#,
            r#"{"type":"object","properties":[]}"#,
            r#"{"type":"object","required":"x"}"#,
        ] {
            let (tools, flaws) =
                items(List::Tools, &format!(r#"[{{"name":"a","inputSchema":{schema},"x":1}}]"#));
            assert_eq!(tools, [json!({ "name": "a", "x": 1, "inputSchema": any })], "{schema}");
            assert_eq!(flaws, ["\"a\" has no valid inputSchema"]);
        }
        let (tools, _) =
            items(List::Tools, r#"[{"name":"a"},{"name":"b","inputSchema":{"properties":{"x":{}}}}]"#);
        assert_eq!(tools[0]["inputSchema"], any);
        assert_eq!(tools[1]["inputSchema"], json!({ "type": "object", "properties": { "x": {} } }));
    }

    #[test]
    fn members_of_the_wrong_type_are_left_out() {
        let (prompts, flaws) = items(
            List::Prompts,
            r#"[{"name":"p","title":null,"description":7,"arguments":{},"icons":null,"_meta":[],"new":null}]"#,
        );
        assert_eq!(prompts, [json!({ "name": "p", "new": null })]);
        assert_eq!(flaws.len(), 1, "{flaws:?}");
        let (resources, _) =
            items(List::Resources, r#"[{"uri":"x:\"1","size":"big"},{"uri":"x:2","name":null}]"#);
        assert_eq!(
            resources,
            [json!({ "uri": "x:\"1", "name": "x:\"1" }), json!({ "uri": "x:2", "name": "x:2" })]
        );
    }

    #[test]
    fn icons_of_other_schemes_are_left_out() {
        let icons = r#"[{"src":"https://x/i.png"},{"src":"http://x/i.png"},{"src":"DATA:image/png;base64,AA"},
            {"src":"file:///etc/passwd"},{"src":"\u0068ttps:\/\/y"},{"src":"javascript:x"},{"src":7},{},7,{"src":"https"}]"#;
        let (tools, flaws) = items(List::Prompts, &format!(r#"[{{"name":"p","icons":{icons},"x":1}}]"#));
        let kept = [
            json!({ "src": "https://x/i.png" }),
            json!({ "src": "DATA:image/png;base64,AA" }),
            json!({ "src": "https://y" }),
        ];
        assert_eq!(tools, [json!({ "name": "p", "icons": kept, "x": 1 })]);
        assert_eq!(flaws, ["\"p\" has no valid icons"]);
    }

    #[test]
    fn what_has_no_name_or_a_known_one_is_left_out() {
        let (tools, flaws) = items(
            List::Tools,
            r#"[7,null,"x",{},{"name":7},{"name":"a","n":1,"inputSchema":{"type":"object"}},{"name":"\u0061","n":2}]"#,
        );
        assert_eq!((tools.len(), &tools[0]["n"]), (1, &json!(1)));
        assert_eq!(flaws.len(), 6, "{flaws:?}");
        for odd in ["{}", "7", "\"x\"", "null", "[]"] {
            assert_eq!(items(List::Tools, odd), (vec![], vec![]), "{odd}");
        }
    }
}

//! The key `roots` of a server: directories that muxloop itself offers.

use super::nearest::suggestion;
use super::read::{Reader, Value, in_order, join, quoted, type_of};
use crate::mux::policy::Root;
use toml::de::{DeArray, DeTable, DeValue};

impl Reader<'_> {
    pub(super) fn roots(&mut self, array: &DeArray<'_>, path: &str) -> Vec<Root> {
        array
            .iter()
            .enumerate()
            .filter_map(|(i, item)| {
                let path = format!("{path}[{i}]");
                match item.get_ref() {
                    DeValue::String(uri) => {
                        self.root_uri(item, uri, &path).map(|uri| Root { uri, name: None })
                    }
                    DeValue::Table(table) => self.root_table(item, table, &path),
                    other => {
                        let text =
                            format!("expected a file:// URI or {{ uri, name }}, found {}", type_of(other));
                        self.problem(item.span().start, &path, text);
                        None
                    }
                }
            })
            .collect()
    }

    fn root_table(&mut self, item: &Value<'_>, table: &DeTable<'_>, path: &str) -> Option<Root> {
        let (mut uri, mut name, mut failed) = (None, None, false);
        for (key, value) in in_order(table) {
            let word = key.get_ref().as_ref();
            let path = join(path, word);
            match (word, value.get_ref()) {
                ("uri", DeValue::String(text)) => {
                    uri = self.root_uri(value, text, &path);
                    failed |= uri.is_none();
                }
                ("name", DeValue::String(text)) => name = Some(text.to_string()),
                ("uri" | "name", other) => {
                    failed = true;
                    let text = format!("expected a string, found {}", type_of(other));
                    self.problem(value.span().start, &path, text);
                }
                _ => {
                    failed = true;
                    let text =
                        format!("unknown key, expected uri or name{}", suggestion(word, ["uri", "name"]));
                    self.problem(key.span().start, &path, text);
                }
            }
        }
        if uri.is_none() && !failed {
            self.problem(
                item.span().start,
                path,
                "has no 'uri', expected { uri = \"file:///…\", name = \"…\" }",
            );
        }
        uri.map(|uri| Root { uri, name })
    }

    fn root_uri(&mut self, value: &Value<'_>, uri: &str, path: &str) -> Option<String> {
        let odd = |c: char| c.is_control() || c == ' ';
        if uri.strip_prefix("file://").is_some_and(|rest| !rest.is_empty()) && !uri.contains(odd) {
            return Some(uri.to_owned());
        }
        let near = match uri.starts_with('/') && !uri.contains(odd) {
            true => format!("; did you mean 'file://{uri}'?"),
            false => String::new(),
        };
        let text = format!("'{}' is no file:// URI{near}", quoted(uri));
        self.problem(value.span().start, path, text);
        None
    }
}

//! [`Filter`]: what a listen asks for, and what of it is honoured.

use crate::base::SortedSet;
use crate::mux::method::ListKind;
use serde_json::json;
use std::collections::BTreeSet;

/// What a listen asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::mux) struct Filter {
    pub lists: SortedSet<ListKind>,
    pub uris: BTreeSet<String>,
    pub tasks: BTreeSet<String>,
}

impl Filter {
    /// Reads the `notifications` object. Unknown members are left out, as unsupported types are.
    pub(super) fn parse(text: &[u8]) -> Result<Filter, String> {
        let value: serde_json::Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if !value.is_object() {
            return Err("`notifications` must be an object".into());
        }
        let strings = |key: &str| -> Result<BTreeSet<String>, String> {
            let Some(list) = value.get(key) else { return Ok(BTreeSet::new()) };
            let list = list.as_array().ok_or_else(|| format!("`{key}` must be an array of strings"))?;
            // One by one: `collect` would sort them all first, and bring a sort for it.
            let mut strings = BTreeSet::new();
            for item in list {
                let text = item.as_str().ok_or_else(|| format!("`{key}` must be an array of strings"))?;
                strings.insert(text.to_owned());
            }
            Ok(strings)
        };
        let lists = ListKind::ALL.into_iter().filter(|kind| value[kind.listen_key()] == true).collect();
        Ok(Filter { lists, uris: strings("resourceSubscriptions")?, tasks: strings("taskIds")? })
    }

    pub(super) fn merge(&mut self, other: &Filter) {
        self.lists.extend(other.lists.iter().copied());
        self.uris.extend(other.uris.iter().cloned());
        self.tasks.extend(other.tasks.iter().cloned());
    }

    pub(super) fn intersection(&self, other: &Filter) -> Filter {
        Filter {
            lists: self.lists.iter().copied().filter(|kind| other.lists.contains(kind)).collect(),
            uris: in_both(&self.uris, &other.uris),
            tasks: in_both(&self.tasks, &other.tasks),
        }
    }

    pub(super) fn covers(&self, other: &Filter) -> bool {
        self.lists.is_superset(&other.lists)
            && self.uris.is_superset(&other.uris)
            && self.tasks.is_superset(&other.tasks)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.uris.is_empty() && self.tasks.is_empty()
    }

    pub(in crate::mux) fn to_json(&self) -> serde_json::Value {
        let mut value = json!({});
        for kind in &self.lists {
            value[kind.listen_key()] = true.into();
        }
        if !self.uris.is_empty() {
            value["resourceSubscriptions"] = self.uris.iter().cloned().collect();
        }
        if !self.tasks.is_empty() {
            value["taskIds"] = self.tasks.iter().cloned().collect();
        }
        value
    }

    /// Whether an update of `uri` belongs here: it, or a sub-resource of a subscribed one (P17).
    pub(in crate::mux) fn has_uri(&self, uri: &str) -> bool {
        self.uris.iter().any(|own| own == uri || is_sub_resource(own, uri))
    }
}

/// Without `collect` and `&` of sets, which sort what is in order.
fn in_both(a: &BTreeSet<String>, b: &BTreeSet<String>) -> BTreeSet<String> {
    let mut both = BTreeSet::new();
    both.extend(a.iter().filter(|text| b.contains(*text)).cloned());
    both
}

/// Whether `uri` lies below `parent` on a path boundary.
pub(in crate::mux) fn is_sub_resource(parent: &str, uri: &str) -> bool {
    uri.strip_prefix(parent).is_some_and(|rest| parent.ends_with('/') || rest.starts_with(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_reads_back_what_it_writes() {
        let text = r#"{"resourceSubscriptions":["a:b"],"taskIds":["t"],"toolsListChanged":true}"#;
        let filter = Filter::parse(text.as_bytes()).unwrap();
        assert_eq!(filter.to_json().to_string(), text);
        assert!(Filter::parse(b"{\"promptsListChanged\":false,\"other\":1}").unwrap().is_empty());
        for bad in ["[]", "{\"taskIds\":1}", "{\"resourceSubscriptions\":[1]}"] {
            assert!(Filter::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn sub_resources_end_on_a_path_boundary() {
        assert!(is_sub_resource("file:///a", "file:///a/b"));
        assert!(is_sub_resource("file:///a/", "file:///a/b"));
        assert!(is_sub_resource("x://a", "x://a#part"));
        assert!(!is_sub_resource("file:///a", "file:///ab"));
        assert!(!is_sub_resource("file:///a/b", "file:///a"));
    }
}

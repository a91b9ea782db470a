//! `${NAME}`, `${env:NAME}` and `${NAME:-default}` in the texts of a configuration (A06).
//!
//! Each is replaced by a variable of muxloop's environment before anything is read, so that it works in every
//! value. `$${` is a literal `${`; a dollar without a brace behind it is only that, as rmcp-mux files have them.
//! What a variable holds may be secret: problems show the text as it was written.

use super::ServerConfig;
use super::read::{Reader, join, quoted};
use crate::base::{SortedMap, SortedSet, sorted};
use std::ffi::OsString;
use std::fmt;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Variables by name; their values are not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Variables(SortedMap<String, OsString>);

impl Variables {
    /// Those of this process.
    pub fn from_env() -> Variables {
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect()
    }

    /// The value of a variable that is set.
    fn get(&self, name: &str) -> Result<Option<&str>, String> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        value.to_str().map(Some).ok_or_else(|| format!("variable '{name}' is not valid UTF-8"))
    }
}

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Variables {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(all: I) -> Variables {
        Variables(all.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Variables({})", self.0.len())
    }
}

/// A text with its variables.
#[derive(Debug, PartialEq, Eq)]
struct Expanded {
    text: String,
    /// The names and values that are in it.
    used: Vec<(String, String)>,
}

/// Replaces the variables of a text.
///
/// # Errors
/// What is wrong with one of them, in words that quote nothing but its name.
fn expand(text: &str, variables: &Variables) -> Result<Expanded, String> {
    let mut expanded = Expanded { text: String::with_capacity(text.len()), used: Vec::new() };
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$${") {
            expanded.text.push_str("${");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("${") {
            let inside = after.split('}').next().filter(|inside| inside.len() < after.len());
            let inside = inside.ok_or_else(|| format!("has '${{' without '}}'{LITERAL}"))?;
            rest = &after[inside.len() + 1..];
            let (name, value) = resolve(inside, variables)?;
            expanded.text.push_str(&value);
            expanded.used.push((name.to_owned(), value));
        } else {
            expanded.text.push('$');
            rest = &rest[1..];
        }
    }
    expanded.text.push_str(rest);
    Ok(expanded)
}

/// Name and value of what stands between the braces.
fn resolve<'t>(inside: &'t str, variables: &Variables) -> Result<(&'t str, String), String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let name = name.strip_prefix("env:").unwrap_or(name);
    if inside.starts_with("input:") {
        return Err("has an '${input:…}', which only its host can ask for; use ${env:NAME}".to_owned());
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err("has a variable in the default of another, expected some text".to_owned());
    }
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_name =
        name.bytes().next().is_some_and(is_first) && name.bytes().all(|b| is_first(b) || b.is_ascii_digit());
    if !is_name {
        return Err(format!(
            "has a '${{…}}' that is none of ${{NAME}}, ${{env:NAME}} and ${{NAME:-default}}{LITERAL}"
        ));
    }
    match (variables.get(name)?, default) {
        // As in a shell: `:-` also stands in for what is empty.
        (Some("") | None, Some(default)) => Ok((name, default.to_owned())),
        (Some(value), _) => Ok((name, value.to_owned())),
        (None, None) => {
            Err(format!("variable '{name}' is not set; set it, or give a default as in ${{{name}:-…}}"))
        }
    }
}

const LITERAL: &str = "; write '$${' for a literal '${'";

/// Which values of a file came of variables, to show them as they were written.
#[derive(Default)]
pub(super) struct Origins {
    /// By the place of the value: as problems would quote it, and as it is in the file.
    texts: SortedMap<usize, (String, String)>,
    values: Vec<(String, String)>,
    /// Places of values that could not be read as meant: what else is wrong with them is not known.
    failed: SortedSet<usize>,
}

impl Origins {
    pub(super) fn has_failed(&self, at: usize) -> bool {
        self.failed.contains(&at)
    }

    /// A problem's text without what variables hold.
    pub(super) fn hide(&self, at: usize, mut text: String) -> String {
        if let Some((shown, written)) = self.texts.get(&at) {
            text = text.replace(&format!("'{shown}'"), &format!("'{written}'"));
        }
        for (name, value) in self.values.iter().filter(|(_, value)| value.len() >= SECRET_BYTES_MIN) {
            text = text.replace(value, &format!("${{{name}}}"));
        }
        text
    }
}

/// Shorter values are no secrets, and words of every message.
const SECRET_BYTES_MIN: usize = 6;

impl Reader<'_> {
    /// Replaces the variables in all texts of a table.
    pub(super) fn expand(&mut self, table: &mut DeTable<'_>) {
        self.expand_table(table, "", 0);
        sorted::sort_by(&mut self.origins.values, |(_, a), (_, b)| b.len().cmp(&a.len()));
    }

    /// Which parts of a server's process came of variables.
    pub(super) fn note_variables(&self, table: &DeTable<'_>, server: &mut ServerConfig) {
        let is_of_variables =
            |value: &Spanned<DeValue<'_>>| self.origins.texts.contains_key(&value.span().start);
        if let Some(DeValue::Table(env)) = table.get("env").map(Spanned::get_ref) {
            let names = env.iter().filter(|(_, value)| is_of_variables(value));
            server.env_of_variables = names.map(|(name, _)| name.get_ref().to_string()).collect();
        }
        if let Some(DeValue::Array(args)) = table.get("args").map(Spanned::get_ref) {
            let places = args.iter().enumerate().filter(|(_, value)| is_of_variables(value));
            server.args_of_variables = places.map(|(place, _)| place).collect();
        }
    }

    fn expand_table(&mut self, table: &mut DeTable<'_>, prefix: &str, depth: usize) {
        let names: Vec<String> = table.keys().map(|key| key.get_ref().to_string()).collect();
        for name in names {
            let shown = if depth == 2 { self.spelling.key(&name) } else { &name };
            let path = join(prefix, if depth == 0 { self.spelling.section(&name) } else { shown });
            if let Some(value) = table.get_mut(name.as_str()) {
                self.expand_value(value, &path, depth);
            }
        }
    }

    fn expand_value(&mut self, value: &mut Spanned<DeValue<'_>>, path: &str, depth: usize) {
        let at = value.span().start;
        match value.get_mut() {
            DeValue::Table(table) => self.expand_table(table, path, depth + 1),
            DeValue::Array(array) => {
                for (i, item) in array.iter_mut().enumerate() {
                    self.expand_value(item, &format!("{path}[{i}]"), depth + 1);
                }
            }
            DeValue::String(text) if text.contains("${") => {
                match expand(text, &self.surroundings.variables) {
                    Ok(Expanded { text: new, used }) => {
                        self.origins.texts.insert(at, (quoted(&new), quoted(text)));
                        self.origins.values.extend(used);
                        *text = new.into();
                    }
                    Err(why) => {
                        self.problem(at, path, why);
                        self.origins.failed.insert(at);
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, String> {
        let mut variables: Variables = [("A", "1"), ("_b2", "${A}"), ("EMPTY", "")].into_iter().collect();
        variables.0.insert("ODD".into(), std::os::unix::ffi::OsStringExt::from_vec(vec![0xff]));
        expand(text, &variables).map(|expanded| expanded.text)
    }

    #[test]
    fn variables_are_replaced_once() {
        for (text, expanded) in [
            ("", ""),
            ("${A}", "1"),
            ("${env:A}", "1"),
            ("x${A}y${A}z", "x1y1z"),
            ("${_b2}", "${A}"),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("${NONE:-}", ""),
            ("${NONE:-a b:-c}", "a b:-c"),
            ("${env:NONE:-/etc}", "/etc"),
            ("${A:-x}", "1"),
            ("$A $$ $(x) 5$ $", "$A $$ $(x) 5$ $"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("$${${A}", "${1"),
            ("ü${A}ü", "ü1ü"),
        ] {
            assert_eq!(of(text).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_told() {
        for (text, part) in [
            ("${NONE}", "variable 'NONE' is not set; set it, or give a default as in ${NONE:-…}"),
            ("${env:NONE}", "variable 'NONE' is not set"),
            ("${ODD}", "variable 'ODD' is not valid UTF-8"),
            ("a ${A", "has '${' without '}'; write '$${' for a literal"),
            ("${}", "is none of ${NAME}"),
            ("${1}", "is none of"),
            ("${A B}", "is none of"),
            ("${A%x}", "is none of"),
            ("${NONE:=x}", "is none of"),
            ("${cfg:A}", "is none of"),
            ("${input:key}", "only its host can ask for"),
            ("${NONE:-${A}}", "in the default of another"),
        ] {
            let why = of(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }

    #[test]
    fn values_are_not_shown() {
        let variables: Variables = [("A", "hunter2")].into_iter().collect();
        assert_eq!(format!("{variables:?}"), "Variables(1)");
    }
}

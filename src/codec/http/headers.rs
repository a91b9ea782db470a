//! [`Headers`]: the header lines of one message, kept as one text.

use std::fmt;
use std::ops::Range;

/// Headers in the order of their coming. Values are visible ASCII, space and tab, without white space
/// around them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    text: String,
    fields: Vec<Field>,
}

/// One header as places in the text.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Range<usize>,
    pub(super) value: Range<usize>,
}

/// Headers whose values no log should show.
const SECRET: [&str; 5] = ["authorization", "cookie", "mcp-session-id", "proxy-authorization", "set-cookie"];

impl Headers {
    pub(super) fn new(text: String, fields: Vec<Field>) -> Headers {
        Headers { text, fields }
    }

    /// The value of the first header with this name, in whatever case either is written.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(this, _)| this.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The values of all headers with this name.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(this, _)| this.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether more than one header has this name.
    pub fn is_duplicated(&self, name: &str) -> bool {
        self.get_all(name).nth(1).is_some()
    }

    /// The members of all comma-separated lists under this name, without white space around them and
    /// without empty ones. Not for values with quoted strings.
    pub fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let members = self.get_all(name).flat_map(|value| value.split(','));
        members.map(str::trim_ascii).filter(|member| !member.is_empty())
    }

    /// Whether such a list has this member, in whatever case.
    pub fn list_has(&self, name: &str, member: &str) -> bool {
        self.list(name).any(|this| this.eq_ignore_ascii_case(member))
    }

    /// Names, as written, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|field| (&self.text[field.name.clone()], &self.text[field.value.clone()]))
    }

    /// Number of header lines.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(name, value)| {
            let secret = SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret));
            (name, if secret { "…" } else { value })
        });
        f.debug_map().entries(shown).finish()
    }
}

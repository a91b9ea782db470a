//! Reading the arguments of the three tools: what is wrong is said in words for the model.

use crate::codec::{Incoming, Span, edit, json};
use std::borrow::Cow;

/// The arguments of one call. An argument that is `null` is not given.
pub(super) struct Arguments<'a> {
    bytes: &'a [u8],
    /// The object, if there is one.
    at: Option<Span>,
}

impl<'a> Arguments<'a> {
    /// Those of a call of a tool that knows these arguments.
    pub fn of(msg: &Incoming<'a>, known: &[&str]) -> Result<Arguments<'a>, String> {
        let bytes = msg.bytes;
        let at = msg.envelope.params.and_then(|params| json::member(bytes, params, "arguments"));
        if at.is_some_and(|at| !edit::is_object(bytes, at)) {
            return Err("`arguments` must be an object".into());
        }
        let mut names =
            at.into_iter().flat_map(|at| json::object_members(bytes, at)).map(|(name, _, _)| name);
        if let Some(name) = names.find(|name| !known.contains(&&**name)) {
            let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            return Err(format!("unknown argument `{name}`; known: {}", known.join(", ")));
        }
        Ok(Arguments { bytes, at })
    }

    fn member(&self, name: &str) -> Option<Span> {
        json::member(self.bytes, self.at?, name).filter(|at| at.of(self.bytes) != b"null")
    }

    pub fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, String> {
        let Some(at) = self.member(name) else { return Ok(None) };
        json::unescape(at.of(self.bytes)).map(Some).ok_or_else(|| format!("`{name}` must be a string"))
    }

    /// One text, or a list of texts; each once.
    pub fn texts(&self, name: &str) -> Result<Vec<Cow<'a, str>>, String> {
        let Some(at) = self.member(name) else { return Ok(Vec::new()) };
        if at.of(self.bytes)[0] != b'[' {
            return Ok(self.text(name)?.into_iter().collect());
        }
        let mut texts = Vec::new();
        for at in json::array_elements(self.bytes, at) {
            let text = json::unescape(at.of(self.bytes))
                .ok_or_else(|| format!("`{name}` must be a list of strings"))?;
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        Ok(texts)
    }

    /// A whole number above 0.
    pub fn count(&self, name: &str) -> Result<Option<usize>, String> {
        let Some(at) = self.member(name) else { return Ok(None) };
        let count = std::str::from_utf8(at.of(self.bytes)).ok().and_then(|text| text.parse().ok());
        count
            .filter(|count| *count > 0)
            .map(Some)
            .ok_or_else(|| format!("`{name}` must be a whole number above 0"))
    }

    pub fn object(&self, name: &str) -> Result<Option<Span>, String> {
        match self.member(name) {
            Some(at) if !edit::is_object(self.bytes, at) => Err(format!(
                "`{name}` must be an object with the tool's arguments, not text or anything else"
            )),
            at => Ok(at),
        }
    }
}

/// A call of `tool_invoke`.
pub(super) struct Invocation<'a> {
    /// The tool, as the merged endpoint names it.
    pub name: Cow<'a, str>,
    /// Where its arguments go: those of `tool_invoke` itself.
    pub at: Span,
    /// Its arguments, if it gets any.
    pub arguments: Option<Span>,
}

impl<'a> Invocation<'a> {
    pub fn of(msg: &Incoming<'a>) -> Result<Invocation<'a>, String> {
        // Models forget the object around a tool's arguments.
        let given = Arguments::of(msg, &["name", "arguments"])
            .map_err(|text| format!("{text}; what is for the tool belongs into `arguments`"))?;
        let missing = "`name` is missing: the tool's name as tool_search gives it";
        let name = given.text("name")?.ok_or(missing)?;
        let at = given.at.ok_or(missing)?;
        Ok(Invocation { name, at, arguments: given.object("arguments")? })
    }
}

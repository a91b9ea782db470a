//! In which format a configuration is written, and what it calls things.

/// What a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Toml,
    /// With or without comments.
    Json,
}

impl Format {
    /// By how the text begins; where that could be either, by the file's name.
    pub(super) fn of(text: &str, file: &str) -> Format {
        let text = text.trim_start();
        let begins_table = |text: &str| text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        match text.chars().next() {
            Some('{' | '/') => Format::Json,
            Some('#') => Format::Toml,
            Some('[') if begins_table(&text[1..]) => Format::Toml,
            _ if begins_table(text) => Format::Toml,
            _ if file.ends_with(".json") || file.ends_with(".jsonc") => Format::Json,
            _ => Format::Toml,
        }
    }
}

/// What the file calls things that have another name in a `mux.toml`.
pub(super) struct Spelling {
    pub(super) servers: &'static str,
    pub(super) cmd: &'static str,
    pub(super) is_json: bool,
}

impl Default for Spelling {
    fn default() -> Self {
        Spelling { servers: "servers", cmd: "cmd", is_json: false }
    }
}

impl Spelling {
    /// A key at the top.
    pub(super) fn section<'w>(&self, word: &'w str) -> &'w str {
        if word == "servers" { self.servers } else { word }
    }

    /// A key of a server.
    pub(super) fn key<'w>(&self, word: &'w str) -> &'w str {
        if word == "cmd" { self.cmd } else { word }
    }

    /// A message in the words of the format.
    pub(super) fn words(&self, text: String) -> String {
        match self.is_json {
            true => text.replace("a table", "an object"),
            false => text,
        }
    }
}

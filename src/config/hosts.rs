//! Files as hosts have them: JSON or JSONC with an object of servers (A05). Read only, never written.
//!
//! What such a file says is put into the words of a `mux.toml`, with the places of the file, and read like one.
//! Hosts keep much else in their files, so what is not known is warned of and left out; the same goes for
//! servers that are no programs.

use super::keys::SERVER;
use super::nearest::nearest;
use super::read::{Reader, join, quoted};
use jsonc_parser::ast::{Object, ObjectProp, Value as Json};
use jsonc_parser::{CollectOptions, CommentCollectionStrategy, ParseOptions, parse_to_ast};
use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

type Value<'i> = Spanned<DeValue<'i>>;

/// What hosts call the object of servers: most of them, VS Code, Zed. The first that is there counts.
const SECTIONS: [&str; 3] = ["mcpServers", "servers", "context_servers"];

/// Keys of a server that mean something, as they are suggested.
const KEYS: [&str; 9] = ["command", "args", "env", "cwd", "url", "headers", "type", "enabled", "disabled"];
const URLS: [&str; 3] = ["url", "serverUrl", "httpUrl"];

impl Reader<'_> {
    /// The servers of a file of a host, as a `mux.toml` would say it: a table `servers`. `None` after a problem
    /// that leaves nothing to read.
    pub(super) fn host_file<'i>(&mut self, text: &'i str) -> Option<DeTable<'i>> {
        let options = ParseOptions {
            allow_comments: true,
            allow_trailing_commas: true,
            allow_loose_object_property_names: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        };
        let collect = CollectOptions { comments: CommentCollectionStrategy::Off, tokens: false };
        let top = match parse_to_ast(text, &collect, &options) {
            Ok(parsed) => parsed.value,
            Err(error) => {
                let why = format!("is no JSON: {}", lower(&error.kind().to_string()));
                self.problem(error.range().start, "", why);
                return None;
            }
        };
        match top {
            Some(Json::Object(top)) => self.section(top),
            Some(other) => {
                self.problem(start(&other), "", format!("expected an object, found {}", json_type(&other)));
                None
            }
            None => {
                self.problem(0, "", "is empty, expected an object with 'mcpServers'");
                None
            }
        }
    }

    fn section<'i>(&mut self, top: Object<'i>) -> Option<DeTable<'i>> {
        let found =
            SECTIONS.iter().find(|name| top.properties.iter().any(|prop| prop.name.as_str() == **name));
        let Some(section) = found.copied() else {
            let near = top.properties.iter().find_map(|prop| {
                let near = nearest(prop.name.as_str(), SECTIONS)?;
                Some((prop.range.start, join("", prop.name.as_str()), format!("; did you mean '{near}'?")))
            });
            let (at, key, near) = near.unwrap_or((top.range.start, String::new(), String::new()));
            let text = format!("has no servers, expected an object 'mcpServers' (or 'servers'){near}");
            self.problem(at, &key, text);
            return None;
        };
        self.spelling.servers = section;
        let mut servers = None;
        let mut others = Vec::new();
        for prop in top.properties {
            match (prop.name.as_str() == section, &servers) {
                (true, None) => servers = Some(prop),
                (true, Some(_)) => self.problem(prop.range.start, section, "stands twice in the file"),
                (false, _) => others.push((prop.range.start, prop.name.into_string())),
            }
        }
        self.warn_of_others(&others);
        let servers = servers?;
        let at = servers.range.start;
        let Json::Object(object) = servers.value else {
            let text = format!("expected an object of servers, found {}", json_type(&servers.value));
            self.problem(start(&servers.value), section, text);
            return None;
        };
        let span = object.range.start..object.range.end;
        let is_empty = object.properties.is_empty();
        let table = self.servers_of_host(object, section);
        if table.is_empty() && !is_empty {
            if self.is_fine() {
                self.problem(at, section, "has no server that muxloop can run");
            }
            return None;
        }
        let mut top = DeTable::new();
        top.insert(
            Spanned::new(at..at + section.len(), "servers".into()),
            Spanned::new(span, DeValue::Table(table)),
        );
        Some(top)
    }

    /// One line for all settings of the host: there may be hundreds.
    fn warn_of_others(&mut self, others: &[(usize, String)]) {
        let Some((at, first)) = others.iter().find(|(_, name)| name != "$schema") else { return };
        let more = match others.len() {
            1 => String::new(),
            count => format!(" (one of {count} such keys)"),
        };
        self.warn(*at, &join("", first), format!("is not known to muxloop, ignored{more}"));
    }

    fn servers_of_host<'i>(&mut self, object: Object<'i>, section: &str) -> DeTable<'i> {
        let mut table = DeTable::new();
        for prop in object.properties {
            let path = join(section, prop.name.as_str());
            let (name, value) = (key_of(&prop), prop.value);
            match value {
                Json::Object(server) => {
                    let span = server.range.start..server.range.end;
                    let at = name.span().start;
                    let Some(server) = self.host_server(server, at, &path) else { continue };
                    self.insert(&mut table, name, Spanned::new(span, DeValue::Table(server)), &path);
                }
                other => {
                    self.problem(
                        start(&other),
                        &path,
                        format!("expected an object, found {}", json_type(&other)),
                    );
                }
            }
        }
        table
    }

    /// One server in the words of a `mux.toml`; `None` if it is left out.
    fn host_server<'i>(&mut self, server: Object<'i>, at: usize, path: &str) -> Option<DeTable<'i>> {
        let mut table = DeTable::new();
        let (mut url, mut kind) = (None, None);
        let is_remote = is_remote(&server);
        for prop in server.properties {
            let word = prop.name.as_str().to_owned();
            let (key, path) = (key_of(&prop), join(path, &word));
            let at = key.span().start;
            if matches!(prop.value, Json::NullKeyword(_)) {
                continue;
            }
            match word.as_str() {
                _ if is_remote && word != "disabled" && word != "enabled" => {}
                "command" => self.command(&mut table, key, prop.value, &path),
                "args" => self.put(&mut table, "args", key, prop.value, &path),
                "env" => self.put(&mut table, "env", key, prop.value, &path),
                "cwd" => self.put(&mut table, "cwd", key, prop.value, &path),
                "enabled" => self.put(&mut table, "enabled", key, prop.value, &path),
                "disabled" => self.disabled(&mut table, key, &prop.value, &path),
                "type" | "transport" => kind = Some((prop.value, path)),
                "headers" => self.warn(at, &path, "is for remote servers, ignored".into()),
                _ if URLS.contains(&word.as_str()) => url = Some((at, path)),
                _ => self.warn_unknown(at, &path, &word),
            }
        }
        let is_off = table.get("enabled").is_some_and(|v| v.get_ref().as_bool() == Some(false));
        if is_remote {
            if !is_off {
                self.warn(at, path, "remote servers are not supported yet: it is left out".into());
            }
            return None;
        }
        if let Some((at, path)) = url {
            self.warn(at, &path, "is ignored, since the server has a command".into());
        }
        if let Some((kind, path)) = kind {
            self.check_kind(&kind, &path);
        }
        Some(table)
    }

    /// A program; or, as Zed wrote it, an object with everything that belongs to one.
    fn command<'i>(
        &mut self,
        table: &mut DeTable<'i>,
        key: Spanned<DeString<'i>>,
        value: Json<'i>,
        path: &str,
    ) {
        let Json::Object(command) = value else { return self.put(table, "cmd", key, value, path) };
        for prop in command.properties {
            let word = prop.name.as_str().to_owned();
            let (key, path) = (key_of(&prop), join(path, &word));
            match word.as_str() {
                "path" => self.put(table, "cmd", key, prop.value, &path),
                "args" => self.put(table, "args", key, prop.value, &path),
                "env" => self.put(table, "env", key, prop.value, &path),
                _ => self.warn_unknown(key.span().start, &path, &word),
            }
        }
    }

    /// The opposite of `enabled`.
    fn disabled<'i>(
        &mut self,
        table: &mut DeTable<'i>,
        key: Spanned<DeString<'i>>,
        value: &Json<'i>,
        path: &str,
    ) {
        let Json::BooleanLit(flag) = value else {
            let text = format!("expected true or false, found {}", json_type(value));
            return self.problem(start(value), path, text);
        };
        let span = flag.range.start..flag.range.end;
        let value = Spanned::new(span, DeValue::Boolean(!flag.value));
        self.insert(table, Spanned::new(key.span(), "enabled".into()), value, path);
    }

    /// `type` of a server that has a command.
    fn check_kind(&mut self, kind: &Json<'_>, path: &str) {
        match kind {
            Json::StringLit(word) if matches!(&*word.value, "stdio" | "local" | "") => {}
            Json::StringLit(word) => {
                let text =
                    format!("is '{}', expected \"stdio\" for a server with a command", quoted(&word.value));
                self.problem(word.range.start, path, text);
            }
            other => {
                self.problem(start(other), path, format!("expected a string, found {}", json_type(other)));
            }
        }
    }

    fn warn_unknown(&mut self, at: usize, path: &str, word: &str) {
        let text = match nearest(word, KEYS) {
            Some(near) if near != word => format!("is not known to muxloop, ignored; did you mean '{near}'?"),
            _ if SERVER.iter().any(|key| key.name == word) => "is a key of mux.toml, ignored here".to_owned(),
            _ => "is not known to muxloop, ignored".to_owned(),
        };
        self.warn(at, path, text);
    }

    /// A value under its name in a `mux.toml`.
    fn put<'i>(
        &mut self,
        table: &mut DeTable<'i>,
        name: &'static str,
        key: Spanned<DeString<'i>>,
        value: Json<'i>,
        path: &str,
    ) {
        let Some(mut value) = self.value_of(value, path) else { return };
        if let ("env", DeValue::Table(variables)) = (name, value.get_mut()) {
            let names: Vec<String> = variables.keys().map(|key| key.get_ref().to_string()).collect();
            for name in names {
                let Some(value) = variables.get_mut(name.as_str()) else { continue };
                let number = match value.get_ref() {
                    DeValue::Integer(number) => number.to_string(),
                    DeValue::Float(number) => number.to_string(),
                    _ => continue,
                };
                *value.get_mut() = DeValue::String(number.into());
            }
        }
        self.insert(table, Spanned::new(key.span(), name.into()), value, path);
    }

    fn insert<'i>(
        &mut self,
        table: &mut DeTable<'i>,
        key: Spanned<DeString<'i>>,
        value: Value<'i>,
        path: &str,
    ) {
        let at = key.span().start;
        if table.contains_key(key.get_ref().as_ref()) {
            return self.problem(at, path, "stands twice in the file, expected it once");
        }
        table.insert(key, value);
    }

    /// A value of JSON as one of TOML; `None` for null, which is as if nothing were there.
    fn value_of<'i>(&mut self, value: Json<'i>, path: &str) -> Option<Value<'i>> {
        let at = start(&value);
        Some(match value {
            Json::StringLit(text) => {
                Spanned::new(text.range.start..text.range.end, DeValue::String(text.value))
            }
            Json::BooleanLit(flag) => {
                Spanned::new(flag.range.start..flag.range.end, DeValue::Boolean(flag.value))
            }
            Json::NumberLit(number) => match DeValue::parse(number.value) {
                Ok(value) => Spanned::new(number.range.start..number.range.end, value.into_inner()),
                Err(_) => {
                    self.problem(at, path, "is no number");
                    return None;
                }
            },
            Json::Array(array) => {
                let span = array.range.start..array.range.end;
                let mut items = DeArray::new();
                for (i, item) in array.elements.into_iter().enumerate() {
                    let (at, path) = (start(&item), format!("{path}[{i}]"));
                    match self.value_of(item, &path) {
                        Some(item) => items.push(item),
                        None => self.problem(at, &path, "is null, expected a value"),
                    }
                }
                Spanned::new(span, DeValue::Array(items))
            }
            Json::Object(object) => {
                let span = object.range.start..object.range.end;
                let mut table = DeTable::new();
                for prop in object.properties {
                    let (key, path) = (key_of(&prop), join(path, prop.name.as_str()));
                    if let Some(value) = self.value_of(prop.value, &path) {
                        self.insert(&mut table, key, value, &path);
                    }
                }
                Spanned::new(span, DeValue::Table(table))
            }
            Json::NullKeyword(_) => return None,
        })
    }
}

/// Whether a server is at an address instead of being a program: no command, and a URL or a type that says so.
fn is_remote(server: &Object<'_>) -> bool {
    let find = |name: &str| {
        let prop = server.properties.iter().find(|prop| prop.name.as_str() == name);
        prop.map(|prop| &prop.value).filter(|value| !matches!(value, Json::NullKeyword(_)))
    };
    let says_so = |name: &str| match find(name) {
        Some(Json::StringLit(word)) => REMOTE_TYPES.iter().any(|kind| word.value.eq_ignore_ascii_case(kind)),
        _ => false,
    };
    find("command").is_none()
        && (URLS.iter().any(|name| find(name).is_some()) || says_so("type") || says_so("transport"))
}

const REMOTE_TYPES: [&str; 7] =
    ["http", "sse", "streamable-http", "streamable_http", "streamableHttp", "remote", "ws"];

fn key_of<'i>(prop: &ObjectProp<'i>) -> Spanned<DeString<'i>> {
    let name = prop.name.as_str().to_owned();
    Spanned::new(prop.range.start..prop.range.start + name.len(), name.into())
}

fn start(value: &Json<'_>) -> usize {
    match value {
        Json::StringLit(value) => value.range.start,
        Json::NumberLit(value) => value.range.start,
        Json::BooleanLit(value) => value.range.start,
        Json::Object(value) => value.range.start,
        Json::Array(value) => value.range.start,
        Json::NullKeyword(value) => value.range.start,
    }
}

fn json_type(value: &Json<'_>) -> &'static str {
    match value {
        Json::StringLit(_) => "a string",
        Json::NumberLit(_) => "a number",
        Json::BooleanLit(_) => "a boolean",
        Json::Object(_) => "an object",
        Json::Array(_) => "an array",
        Json::NullKeyword(_) => "null",
    }
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests;

//! From TOML text to values: walks the parsed tables along the table of keys and collects problems.
//!
//! Leaves to `finish.rs` what concerns several keys or several servers.

use super::finish::{self, Given};
use super::format::{Format, Spelling};
#[cfg(feature = "gateway")]
use super::gateway::Reference;
#[cfg(feature = "http")]
use super::http::SESSION;
use super::keys::{Choice, Key, Kind, SERVER, TOP};
use super::nearest::{nearest, suggestion};
use super::path::Surroundings;
use super::problem::{Lines, Problem};
use super::rate::RATE_LIMIT;
#[cfg(feature = "sandbox")]
use super::sandbox::{bytes, expected_bytes};
use super::variables::Origins;
use super::{Config, Loaded};
use crate::base::sorted;
use crate::mux::rate::Rate;
use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeString, DeTable, DeValue};

pub type Value<'i> = Spanned<DeValue<'i>>;
type Entry<'t, 'i> = (&'t Spanned<DeString<'i>>, &'t Value<'i>);

pub(super) fn parse(file: &str, bytes: &[u8], surroundings: &Surroundings) -> Result<Loaded, Vec<Problem>> {
    let (text, utf8_error) = match std::str::from_utf8(bytes) {
        Ok(text) => (text, false),
        Err(error) => (std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(), true),
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        file,
        lines: Lines::new(text),
        surroundings,
        spelling: Spelling::default(),
        origins: Origins::default(),
        #[cfg(feature = "gateway")]
        references: Vec::new(),
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    if utf8_error {
        reader.problem(text.len(), "", "is not valid UTF-8 from here on; a configuration is UTF-8 text");
        return Err(reader.problems);
    }
    let table = match Format::of(text, file) {
        Format::Toml => reader.toml(text),
        Format::Json => reader.json(text),
    };
    let Some(mut table) = table else { return Err(reader.into_problems()) };
    reader.expand(&mut table);
    let config = reader.config(&table);
    if reader.problems.is_empty() {
        Ok(Loaded { config, warnings: reader.warnings })
    } else {
        Err(reader.into_problems())
    }
}

/// Which table a key stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Top,
    Server,
    #[cfg(feature = "gateway")]
    Gateway,
    #[cfg(feature = "sandbox")]
    Sandbox,
    #[cfg(feature = "http")]
    Http,
}

/// What reading one text needs and finds.
pub struct Reader<'a> {
    file: &'a str,
    lines: Lines<'a>,
    pub(super) surroundings: &'a Surroundings,
    pub(super) spelling: Spelling,
    pub(super) origins: Origins,
    #[cfg(feature = "gateway")]
    pub(super) references: Vec<Reference>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// Problems told of one file at most: whoever has so many has another kind of problem.
const PROBLEMS_MAX: usize = 100;

impl Reader<'_> {
    fn toml<'i>(&mut self, text: &'i str) -> Option<DeTable<'i>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            // Only the parser's own words: its Display would quote the line, which may hold a secret.
            self.problem(error.span().map_or(0, |span| span.start), "", error.message());
        }
        errors.is_empty().then(|| table.into_inner())
    }

    #[cfg(feature = "cli")]
    fn json<'i>(&mut self, text: &'i str) -> Option<DeTable<'i>> {
        self.spelling = Spelling { servers: "mcpServers", cmd: "command", is_json: true };
        self.host_file(text)
    }

    #[cfg(not(feature = "cli"))]
    fn json<'i>(&mut self, _: &'i str) -> Option<DeTable<'i>> {
        self.problem(
            0,
            "",
            "looks like JSON; this build of muxloop reads TOML only (it lacks the feature `cli`)",
        );
        None
    }

    /// Notes a problem at a byte offset.
    pub(super) fn problem(&mut self, at: usize, key: &str, text: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX && !self.origins.has_failed(at) {
            let problem = self.at(at, key, text.into());
            self.problems.push(problem);
        }
    }

    /// Notes a warning at a byte offset.
    pub(super) fn warn(&mut self, at: usize, key: &str, text: String) {
        if self.warnings.len() < PROBLEMS_MAX {
            let warning = self.at(at, key, text);
            self.warnings.push(warning);
        }
    }

    /// Whether no problem was found so far.
    #[cfg(feature = "cli")]
    pub(super) fn is_fine(&self) -> bool {
        self.problems.is_empty()
    }

    fn at(&self, at: usize, key: &str, text: String) -> Problem {
        let text = self.origins.hide(at, self.spelling.words(text));
        Problem { file: self.file.to_owned(), place: Some(self.lines.place(at)), key: key.to_owned(), text }
    }

    /// In the order of the file, and one syntax error per line: the parser reports echoes of the first.
    fn into_problems(mut self) -> Vec<Problem> {
        sorted::sort_by_key(&mut self.problems, |problem| problem.place);
        let line = |problem: &Problem| problem.place.map(|place| place.line);
        self.problems.dedup_by(|b, a| a.key.is_empty() && b.key.is_empty() && line(a) == line(b));
        self.problems
    }

    fn config(&mut self, table: &DeTable<'_>) -> Config {
        let mut config = Config::default();
        let mut drafts = Vec::new();
        let mut rest = Vec::new();
        let mut servers = None;
        for entry in in_order(table) {
            match entry.0.get_ref().as_ref() {
                "servers" => servers = Some(entry),
                _ => rest.push(entry),
            }
        }
        let given = self.entries(rest, TOP, Scope::Top, "", &mut config);
        let surroundings = self.surroundings;
        if let Some(Err(text)) = config.search_path.as_mut().map(|path| path.expand(surroundings)) {
            self.problem(given["path"], "path", text);
        }
        match servers {
            None => self.problem(0, "servers", "is missing, expected at least one [servers.NAME] table"),
            Some((key, value)) => match value.get_ref() {
                DeValue::Table(table) if table.is_empty() => {
                    let text = match self.spelling.is_json {
                        true => "is empty, expected at least one server",
                        false => "is empty, expected at least one [servers.NAME] table",
                    };
                    self.problem(key.span().start, self.spelling.servers, text);
                }
                DeValue::Table(table) => {
                    drafts = in_order(table)
                        .into_iter()
                        .filter_map(|(key, value)| self.server(key, value))
                        .collect();
                }
                other => {
                    let text = format!("expected [servers.NAME] tables, found {}", type_of(other));
                    self.problem(value.span().start, "servers", text);
                }
            },
        }
        #[cfg(feature = "http")]
        if !config.http.listen.is_empty() {
            finish::url_names(self, &drafts);
        }
        #[cfg(feature = "gateway")]
        if config.has_merged_endpoint() {
            finish::merged_name(self, &drafts);
        }
        config.servers = finish::servers(self, drafts);
        #[cfg(feature = "gateway")]
        self.check_references(&config.servers);
        for server in &mut config.servers {
            server.search_path = server.search_path.take().or_else(|| config.search_path.clone());
        }
        config
    }

    fn server(&mut self, key: &Spanned<DeString<'_>>, value: &Value<'_>) -> Option<finish::Draft> {
        let name = key.get_ref().as_ref();
        let prefix = join(self.spelling.servers, name);
        let at = key.span().start;
        if name.is_empty() || name.contains('/') || name.chars().any(char::is_control) {
            self.problem(
                at,
                &prefix,
                "is no server name, expected some text without '/' and control characters",
            );
        }
        let DeValue::Table(table) = value.get_ref() else {
            let text = format!("expected a table, found {}", type_of(value.get_ref()));
            self.problem(value.span().start, &prefix, text);
            return None;
        };
        let mut server = finish::blank(name);
        let given = self.entries(in_order(table), SERVER, Scope::Server, &prefix, &mut server);
        self.note_variables(table, &mut server);
        Some(finish::Draft { server, given, prefix, at })
    }

    /// The same for all of a table.
    pub(super) fn table<T>(
        &mut self,
        table: &DeTable<'_>,
        keys: &'static [Key<T>],
        scope: Scope,
        prefix: &str,
        target: &mut T,
    ) -> Given {
        self.entries(in_order(table), keys, scope, prefix, target)
    }

    /// Reads the entries of one table into `target`; answers which keys were given, and where.
    fn entries<T>(
        &mut self,
        entries: Vec<Entry<'_, '_>>,
        keys: &'static [Key<T>],
        scope: Scope,
        prefix: &str,
        target: &mut T,
    ) -> Given {
        let mut given = Given::new();
        for (name, value) in entries {
            let word = name.get_ref().as_ref();
            let path = join(prefix, if scope == Scope::Server { self.spelling.key(word) } else { word });
            let Some(key) = keys.iter().find(|key| key.name == word) else {
                let text = unknown(word, keys, scope);
                self.problem(name.span().start, &path, text);
                continue;
            };
            given.insert(key.name, value.span().start);
            if let Kind::Later(doc) = key.kind {
                let text = format!("is not available in this version of muxloop ({doc}); remove it");
                self.problem(name.span().start, &path, text);
                continue;
            }
            self.value(key, value, &path, target);
            let is_default =
                matches!(value.get_ref(), DeValue::Boolean(flag) if flag.to_string() == key.default);
            if !key.inert.is_empty() && !is_default {
                self.warn(name.span().start, &path, format!("has no effect: {}", key.inert));
            }
        }
        given
    }

    pub(super) fn value<T>(&mut self, key: &Key<T>, value: &Value<'_>, path: &str, target: &mut T) {
        let at = value.span().start;
        match (&key.kind, value.get_ref()) {
            (Kind::Flag(set), DeValue::Boolean(flag)) => set(target, *flag),
            (Kind::Integer { min, max, set }, DeValue::Integer(integer)) => {
                match in_range(integer, *min, *max) {
                    Ok(number) => set(target, number),
                    Err(text) => self.problem(at, path, text),
                }
            }
            (Kind::Text(set), DeValue::String(text)) => match plain(text) {
                Ok(text) => set(target, text),
                Err(text) => self.problem(at, path, text),
            },
            (Kind::Path(set), DeValue::String(text)) => {
                match plain(text).and_then(|text| self.surroundings.expand(&text)) {
                    Ok(path) => set(target, path),
                    Err(text) => self.problem(at, path, text),
                }
            }
            (Kind::Texts(set), DeValue::Array(array)) => set(target, self.texts(array, path)),
            (Kind::Variables(set), DeValue::Table(table)) => set(target, self.variables(table, path)),
            (Kind::Choice(choices), DeValue::String(word)) => match choose(choices, word) {
                Ok(set) => set(target),
                Err(text) => self.problem(at, path, text),
            },
            (Kind::Roots(set), DeValue::Array(array)) => set(target, self.roots(array, path)),
            #[cfg(feature = "sandbox")]
            (Kind::Paths(set), DeValue::Array(array)) => set(target, self.paths(array, path)),
            #[cfg(feature = "sandbox")]
            (Kind::Bytes { min, max, set }, DeValue::Integer(integer)) => {
                match in_range(integer, *min, *max) {
                    Ok(number) => set(target, number),
                    Err(text) => self.problem(at, path, text),
                }
            }
            #[cfg(feature = "sandbox")]
            (Kind::Bytes { min, max, set }, DeValue::String(text)) => match bytes(text, *min, *max) {
                Ok(number) => set(target, number),
                Err(text) => self.problem(at, path, text),
            },
            #[cfg(feature = "sandbox")]
            (Kind::Sandbox(set), DeValue::Table(table)) => set(target, self.sandbox(table, at, path)),
            #[cfg(feature = "gateway")]
            (Kind::Filter(part), _) if self.filter(value, path, part(target)) => {}
            (Kind::Own { read, .. }, _) if read(self, value, path, target) => {}
            (Kind::Rate(set), DeValue::String(text)) => match Rate::parse(text) {
                Some(rate) => set(target, rate),
                None => self.problem(at, path, format!("is '{}', expected {RATE}", quoted(text))),
            },
            (Kind::RateLimit(part), DeValue::Table(table)) => {
                self.table(table, RATE_LIMIT, Scope::Server, path, part(target));
            }
            #[cfg(feature = "http")]
            (Kind::Addresses(set), value) => set(target, self.addresses(value, at, path)),
            #[cfg(feature = "http")]
            (Kind::Http(part), value) => self.http(value, at, path, part(target)),
            #[cfg(feature = "http")]
            (Kind::Session(part), DeValue::Table(table)) => {
                self.table(table, SESSION, Scope::Http, path, part(target));
            }
            (kind, other) => {
                let text = format!("expected {}, found {}", kind.expected(), type_of(other));
                self.problem(at, path, text);
            }
        }
    }

    fn texts(&mut self, array: &DeArray<'_>, path: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for (i, item) in array.iter().enumerate() {
            match item.get_ref() {
                DeValue::String(text) if !text.contains('\0') => texts.push(text.to_string()),
                DeValue::String(_) => {
                    self.problem(item.span().start, &format!("{path}[{i}]"), "contains a NUL character");
                }
                other => {
                    let text = format!("expected a string, found {}", type_of(other));
                    self.problem(item.span().start, &format!("{path}[{i}]"), text);
                }
            }
        }
        texts
    }

    fn variables(&mut self, table: &DeTable<'_>, path: &str) -> Vec<(String, String)> {
        let mut variables = Vec::new();
        for (name, value) in in_order(table) {
            let word = name.get_ref().as_ref();
            let path = join(path, word);
            if word.is_empty() || word.contains(['=', '\0']) {
                let text = "is no name of an environment variable, expected some text without '=' and NUL";
                self.problem(name.span().start, &path, text);
            }
            match value.get_ref() {
                DeValue::String(text) if !text.contains('\0') => {
                    variables.push((word.to_owned(), text.to_string()));
                }
                DeValue::String(_) => self.problem(value.span().start, &path, "contains a NUL character"),
                other => {
                    let text = format!("expected a string, found {}; put it in quotes", type_of(other));
                    self.problem(value.span().start, &path, text);
                }
            }
        }
        variables
    }
}

/// The entries of a table in the order of the file.
pub(super) fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<Entry<'t, 'i>> {
    let mut entries: Vec<_> = table.iter().collect();
    sorted::sort_by_key(&mut entries, |(key, _)| key.span().start);
    entries
}

fn unknown<T>(word: &str, keys: &'static [Key<T>], scope: Scope) -> String {
    let misplaced = match scope {
        Scope::Top => SERVER.iter().any(|key| key.name == word).then_some("in a [servers.NAME] table"),
        Scope::Server => TOP.iter().any(|key| key.name == word).then_some("at the top of the file"),
        #[cfg(feature = "gateway")]
        Scope::Gateway => None,
        #[cfg(feature = "http")]
        Scope::Http => TOP.iter().any(|key| key.name == word).then_some("at the top of the file"),
        #[cfg(feature = "sandbox")]
        Scope::Sandbox => SERVER.iter().any(|key| key.name == word).then_some("in a [servers.NAME] table"),
    };
    let servers = ["server", "mcpServers", "mcp_servers", "servers"];
    match (misplaced, scope) {
        (Some(place), _) => format!("unknown key here, it belongs {place}"),
        (None, Scope::Top) if nearest(word, servers).is_some() => {
            "unknown key; did you mean 'servers'?".to_owned()
        }
        _ => match meant(word, keys) {
            Some(near) => format!("unknown key; did you mean '{near}'?"),
            None => "unknown key, expected one that 'muxloop help config' lists".to_owned(),
        },
    }
}

/// The key that is nearest to a word by its name or by what others call it.
fn meant<T>(word: &str, keys: &'static [Key<T>]) -> Option<&'static str> {
    let released = || keys.iter().filter(|key| !matches!(key.kind, Kind::Later(_)));
    let spellings = released().flat_map(|key| std::iter::once(key.name).chain(key.near.iter().copied()));
    let near = nearest(word, spellings)?;
    released().find(|key| key.name == near || key.near.contains(&near)).map(|key| key.name)
}

/// The integer, if it is in range.
fn in_range(integer: &DeInteger<'_>, min: u64, max: u64) -> Result<u64, String> {
    let number = i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX);
    match u64::try_from(number) {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("is {}, expected an integer from {min} to {max}", quoted(&integer.to_string()))),
    }
}

/// A text that is not empty and has no NUL.
fn plain(text: &str) -> Result<String, String> {
    match text {
        "" => Err("is empty, expected some text".to_owned()),
        _ if text.contains('\0') => Err("contains a NUL character".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn choose<T>(choices: &'static [Choice<T>], word: &str) -> Result<fn(&mut T), String> {
    match choices.iter().find(|choice| choice.name == word) {
        Some(Choice { set: Some(set), .. }) => Ok(*set),
        Some(Choice { set: None, .. }) => {
            Err(format!("'{word}' is not available in this version of muxloop, expected {}", words(choices)))
        }
        None => {
            let near = suggestion(word, choices.iter().filter(|c| c.set.is_some()).map(|c| c.name));
            Err(format!("is '{}', expected {}{near}", quoted(word), words(choices)))
        }
    }
}

fn words<T>(choices: &[Choice<T>]) -> String {
    let words: Vec<String> = choices
        .iter()
        .filter(|choice| choice.set.is_some())
        .map(|choice| format!("\"{}\"", choice.name))
        .collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// What a rate is called in an error.
const RATE: &str = "a rate as \"10/s\", \"600/m\" or \"5000/h\"";

impl<T> Kind<T> {
    /// What a value of this type is called in an error, with its article.
    pub fn expected(&self) -> String {
        match self {
            Kind::Flag(_) => "true or false".to_owned(),
            Kind::Integer { min, max, .. } => format!("an integer from {min} to {max}"),
            Kind::Text(_) | Kind::Path(_) => "a string".to_owned(),
            Kind::Texts(_) => "an array of strings".to_owned(),
            Kind::Variables(_) => "a table of strings".to_owned(),
            Kind::Choice(choices) => words(choices),
            Kind::Roots(_) => "an array of file:// URIs or { uri, name } tables".to_owned(),
            #[cfg(feature = "sandbox")]
            Kind::Paths(_) => "an array of paths".to_owned(),
            #[cfg(feature = "sandbox")]
            Kind::Bytes { min, max, .. } => expected_bytes(*min, *max),
            #[cfg(feature = "sandbox")]
            Kind::Sandbox(_) => "a table".to_owned(),
            Kind::Rate(_) => RATE.to_owned(),
            Kind::RateLimit(_) => "a table".to_owned(),
            #[cfg(feature = "http")]
            Kind::Addresses(_) => "a port, an address, or an array of them".to_owned(),
            #[cfg(feature = "http")]
            Kind::Http(_) => "a port, an address, or a table".to_owned(),
            #[cfg(feature = "http")]
            Kind::Session(_) => "a table".to_owned(),
            #[cfg(feature = "gateway")]
            Kind::Filter(_) => "a table with allow and deny".to_owned(),
            Kind::Own { expected, .. } => (*expected).to_owned(),
            Kind::Later(_) => "nothing".to_owned(),
        }
    }
}

pub(super) fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

pub(super) fn join(prefix: &str, word: &str) -> String {
    match prefix {
        "" => shown(word),
        _ => format!("{prefix}.{}", shown(word)),
    }
}

/// A key as TOML writes it, bare where it can be; the beginning of a long one.
fn shown(word: &str) -> String {
    let short = (1..=QUOTE_CHARS_MAX).contains(&word.len());
    let bare = short && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { word.to_owned() } else { format!("\"{}\"", quoted(word)) }
}

/// The beginning of a text, without anything that could steer a terminal.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTE_CHARS_MAX).collect::<String>().escape_debug().to_string();
    if text.chars().nth(QUOTE_CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

/// Longest piece of the file that an error quotes.
const QUOTE_CHARS_MAX: usize = 60;

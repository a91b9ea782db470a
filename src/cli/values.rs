//! The values of one command line, from options and from the environment, on their way to final types.

use super::table::Opt;
use crate::base::SortedMap;
use crate::config::nearest::suggestion;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Values by the long name of their option.
#[derive(Default)]
pub(super) struct Values {
    options: SortedMap<&'static str, Given>,
    /// The word after the command.
    pub(super) operand: Option<OsString>,
    /// Further ones, where there may be some.
    pub(super) more: Vec<OsString>,
}

struct Given {
    opt: &'static Opt,
    /// `--config` or `$MUXLOOP_CONFIG`: what an error calls it.
    source: String,
    /// In the order of the command line; where one is wanted, the last counts.
    values: Vec<OsString>,
    on_command_line: bool,
}

impl Values {
    /// Adds what the command line says.
    pub(super) fn give(&mut self, opt: &'static Opt, source: String, value: OsString) {
        let given = self
            .options
            .get_or_insert(opt.long, Given { opt, source, values: Vec::new(), on_command_line: true });
        given.values.push(value);
    }

    /// Adds what a variable says, unless the command line says something. Empty is unset.
    pub(super) fn stand_in(&mut self, opt: &'static Opt, value: OsString) {
        if !value.is_empty() && !self.has(opt.long) {
            let source = format!("${}", opt.env);
            self.options.insert(opt.long, Given { opt, source, values: vec![value], on_command_line: false });
        }
    }

    pub(super) fn has(&self, long: &str) -> bool {
        self.options.contains_key(long)
    }

    /// Whether the command line itself says it.
    pub(super) fn is_given(&self, long: &str) -> bool {
        self.options.get(long).is_some_and(|given| given.on_command_line)
    }

    /// Whether an option without a value is on.
    pub(super) fn flag(&self, long: &str) -> Result<bool, String> {
        let Some((given, value)) = self.last(long) else { return Ok(false) };
        match value.to_str().map(str::to_ascii_lowercase).as_deref() {
            Some("" | "true" | "yes" | "on" | "1") => Ok(true),
            Some("false" | "no" | "off" | "0") => Ok(false),
            _ => Err(format!("{} is '{}', expected true or false", given.source, value.to_string_lossy())),
        }
    }

    /// How often an option without a value is given; a number stands for so many times.
    pub(super) fn count(&self, long: &str) -> Result<u64, String> {
        let Some(given) = self.options.get(long) else { return Ok(0) };
        let mut count = 0;
        for value in &given.values {
            count += match value.to_str() {
                Some("" | "true") => 1,
                Some("false" | "0") => 0,
                Some("1") => 1,
                Some("2") => 2,
                _ => {
                    let (source, value) = (&given.source, value.to_string_lossy());
                    return Err(format!("{source} is '{value}', expected true, false, or a number up to 2"));
                }
            };
        }
        Ok(count)
    }

    pub(super) fn path(&self, long: &str) -> Option<PathBuf> {
        self.options.get(long)?.values.last().map(PathBuf::from)
    }

    /// One of the option's words.
    pub(super) fn word(&self, long: &str) -> Result<Option<&'static str>, String> {
        let Some((given, value)) = self.last(long) else { return Ok(None) };
        let value = value.to_string_lossy();
        if let Some(word) = given.opt.words.iter().find(|word| word.eq_ignore_ascii_case(&value)) {
            return Ok(Some(word));
        }
        let near = suggestion(&value, given.opt.words.iter().copied());
        Err(format!("{} is '{value}', expected one of: {}{near}", given.source, given.opt.words.join(", ")))
    }

    /// Text for a person or a program.
    pub(super) fn text(&self, long: &str) -> Result<Option<String>, String> {
        let Some((given, value)) = self.last(long) else { return Ok(None) };
        match value.to_str() {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(format!("{} is not valid UTF-8", given.source)),
        }
    }

    /// A number of milliseconds, at most a year.
    pub(super) fn milliseconds(&self, long: &str) -> Result<Option<u64>, String> {
        self.integer(long, "milliseconds, ", 0..=MS_MAX)
    }

    /// A number of things.
    pub(super) fn number(&self, long: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, String> {
        self.integer(long, "", range)
    }

    fn integer(&self, long: &str, what: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, String> {
        let Some((given, value)) = self.last(long) else { return Ok(None) };
        match value.to_str().and_then(|text| text.parse().ok()) {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(format!(
                "{} is '{}', expected {what}an integer from {} to {}",
                given.source,
                value.to_string_lossy(),
                range.start(),
                range.end()
            )),
        }
    }

    /// Names from any number of comma lists.
    pub(super) fn names(&self, long: &str) -> Result<Vec<String>, String> {
        let Some(given) = self.options.get(long) else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for value in &given.values {
            let list = value.to_str().ok_or_else(|| format!("{} is not valid UTF-8", given.source))?;
            names.extend(list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
        }
        match names.is_empty() {
            true => Err(format!("{} names no server, expected some, with commas between them", given.source)),
            false => Ok(names),
        }
    }

    fn last(&self, long: &str) -> Option<(&Given, &OsString)> {
        let given = self.options.get(long)?;
        Some((given, given.values.last()?))
    }
}

const MS_MAX: u64 = 365 * 24 * 60 * 60 * 1000;

//! [`App`]: what the dashboard knows and what a key does to it.

use super::keys::Key;
use crate::control::{Report, ServerReport};
use std::collections::{BTreeMap, VecDeque};

/// The dashboard, without a terminal.
#[derive(Debug, Default)]
pub struct App {
    pub report: Option<Report>,
    /// Why there is no newer report; `None` while muxloop answers.
    pub gone: Option<String>,
    /// Name of the selected server: it stays selected whatever comes before it.
    pub selected: Option<String>,
    /// First row of the table that is shown.
    pub top: usize,
    pub filter: String,
    pub mode: Mode,
    /// What came of the last request, until it is old.
    pub notice: Option<Notice>,
    /// The daemon's log, if it runs beside.
    pub log: Option<VecDeque<String>>,
    pub colours: bool,
    /// Requests per second by server.
    rates: BTreeMap<String, Rate>,
    now_ms: u64,
    /// The time of the last tick that was shown.
    shown_s: u64,
    changed: bool,
}

/// What the keys mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Table,
    /// The filter is being typed.
    Filter,
    Help,
    Log,
}

/// One line about what the user did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub text: String,
    pub is_bad: bool,
    until_ms: u64,
}

/// What is asked of the daemon, or of the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Quit,
    Start(String),
    Stop(String),
    Restart(String),
}

#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    requests: u64,
    /// The daemon's clock.
    at_ms: u64,
    per_second: f64,
}

impl App {
    pub fn new(colours: bool) -> App {
        App { colours, changed: true, gone: Some("looking for muxloop".to_owned()), ..Default::default() }
    }

    /// The clock, in milliseconds from any point.
    pub fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        if self.notice.as_ref().is_some_and(|notice| notice.until_ms <= now_ms) {
            self.notice = None;
            self.touch();
        }
        let s = now_ms / 1_000;
        if s != self.shown_s {
            self.shown_s = s;
            self.touch();
        }
    }

    /// What is shown is no longer what is known.
    pub fn touch(&mut self) {
        self.changed = true;
    }

    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub fn on_report(&mut self, report: Report) {
        let mut rates = BTreeMap::new();
        for server in &report.servers {
            let rate = Rate { requests: server.requests, at_ms: report.uptime_ms, per_second: 0.0 };
            rates.insert(
                server.name.clone(),
                match self.rates.get(&server.name) {
                    Some(last) => rate.since(*last),
                    None => rate,
                },
            );
        }
        self.rates = rates;
        self.report = Some(report);
        self.gone = None;
        self.keep_selection();
        self.touch();
    }

    /// Muxloop does not answer (any more).
    pub fn on_gone(&mut self, why: &str) {
        if self.gone.as_deref() != Some(why) {
            self.gone = Some(why.to_owned());
            self.rates.clear();
            self.touch();
        }
    }

    pub fn say(&mut self, text: String, is_bad: bool) {
        let until_ms = self.now_ms + if is_bad { 10_000 } else { 4_000 };
        self.notice = Some(Notice { text, is_bad, until_ms });
        self.touch();
    }

    /// A line of the daemon beside.
    pub fn on_log(&mut self, line: String) {
        let log = self.log.get_or_insert_default();
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(line);
        self.touch();
    }

    /// The servers that pass the filter, in the configuration's order.
    pub fn shown(&self) -> Vec<&ServerReport> {
        let filter = self.filter.to_lowercase();
        let servers = self.report.iter().flat_map(|report| &report.servers);
        servers
            .filter(|server| {
                server.name.to_lowercase().contains(&filter) || server.state.word().starts_with(&filter)
            })
            .collect()
    }

    /// The selected server, and its row.
    pub fn selection(&self) -> Option<(usize, &ServerReport)> {
        let name = self.selected.as_deref()?;
        self.shown().into_iter().enumerate().find(|(_, server)| server.name == name)
    }

    /// Requests per second, once two reports tell.
    pub fn rate(&self, server: &str) -> f64 {
        self.rates.get(server).map_or(0.0, |rate| rate.per_second)
    }

    pub fn total_rate(&self) -> f64 {
        self.rates.values().map(|rate| rate.per_second).sum()
    }

    pub fn on_key(&mut self, key: Key) -> Option<Action> {
        self.touch();
        match (self.mode, key) {
            (_, Key::Control('c')) => return Some(Action::Quit),
            (_, Key::Control(_) | Key::Other) => {}
            (Mode::Filter, key) => self.on_filter_key(key),
            (Mode::Help | Mode::Log, Key::Char('q')) => return Some(Action::Quit),
            (Mode::Help | Mode::Log, _) => self.mode = Mode::Table,
            (Mode::Table, key) => return self.on_table_key(key),
        }
        None
    }

    fn on_table_key(&mut self, key: Key) -> Option<Action> {
        match key {
            Key::Char('q') => return Some(Action::Quit),
            // First what a filter hides comes back.
            Key::Escape if self.filter.is_empty() => return Some(Action::Quit),
            Key::Escape => self.filter.clear(),
            Key::Char('j') | Key::Down => self.go(1),
            Key::Char('k') | Key::Up => self.go(-1),
            Key::PageDown => self.go(PAGE),
            Key::PageUp => self.go(-PAGE),
            Key::Char('g') | Key::Home => self.go(isize::MIN),
            Key::Char('G') | Key::End => self.go(isize::MAX),
            Key::Char('/') => self.mode = Mode::Filter,
            Key::Char('?') => self.mode = Mode::Help,
            Key::Char('l') if self.log.is_some() => self.mode = Mode::Log,
            Key::Char('r') => return self.of_selected(Action::Restart),
            Key::Char('s') => return self.of_selected(Action::Start),
            Key::Char('S') => return self.of_selected(Action::Stop),
            _ => {}
        }
        None
    }

    fn on_filter_key(&mut self, key: Key) {
        match key {
            Key::Escape => {
                self.filter.clear();
                self.mode = Mode::Table;
            }
            Key::Enter => self.mode = Mode::Table,
            Key::Down => self.go(1),
            Key::Up => self.go(-1),
            Key::Backspace => {
                self.filter.pop();
            }
            Key::Char(c) if self.filter.len() < 64 => self.filter.push(c),
            _ => {}
        }
        self.keep_selection();
    }

    fn of_selected(&mut self, action: fn(String) -> Action) -> Option<Action> {
        if self.gone.is_some() {
            self.say("muxloop does not answer: nothing was done".to_owned(), true);
            return None;
        }
        self.selection().map(|(_, server)| action(server.name.clone()))
    }

    /// Moves the selection by so many rows, as far as there are any.
    fn go(&mut self, rows: isize) {
        let shown = self.shown();
        let Some(last) = shown.len().checked_sub(1) else { return };
        let row = self.selection().map_or(0, |(row, _)| row).saturating_add_signed(rows).min(last);
        self.selected = Some(shown[row].name.clone());
    }

    /// Something is selected if anything is shown.
    fn keep_selection(&mut self) {
        if self.selection().is_none() {
            let first = self.shown().first().map(|server| server.name.clone());
            // One that a filter hides comes back with it.
            if first.is_some() {
                self.selected = first;
            }
        }
    }
}

impl Rate {
    /// The rate between two reports; nothing if the daemon is another one.
    fn since(self, last: Rate) -> Rate {
        let per_second = match (self.at_ms.checked_sub(last.at_ms), self.requests.checked_sub(last.requests))
        {
            (Some(0), Some(_)) => last.per_second,
            (Some(ms), Some(requests)) => requests as f64 * 1_000.0 / ms as f64,
            _ => 0.0,
        };
        Rate { per_second, ..self }
    }
}

/// Rows of a page.
const PAGE: isize = 10;

/// Lines of the log that are kept.
const LOG_LINES: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::State;

    fn app(names: &[&str]) -> App {
        let mut app = App::new(false);
        app.on_report(report(names, 1_000, 0));
        app
    }

    fn report(names: &[&str], uptime_ms: u64, requests: u64) -> Report {
        let server = |name: &&str| ServerReport {
            name: (*name).to_owned(),
            state: State::Ready,
            requests,
            ..Default::default()
        };
        Report { uptime_ms, servers: names.iter().map(server).collect(), ..Default::default() }
    }

    fn press(app: &mut App, keys: &str) -> Option<Action> {
        keys.chars().fold(None, |_, key| {
            let code = match key {
                '\n' => Key::Enter,
                '\x1b' => Key::Escape,
                '\x08' => Key::Backspace,
                '↓' => Key::Down,
                '↑' => Key::Up,
                key => Key::Char(key),
            };
            app.on_key(code)
        })
    }

    #[test]
    fn keys_move_the_selection_and_stop_at_the_ends() {
        let mut app = app(&["a", "b", "c"]);
        let mut at = |keys: &str| {
            press(&mut app, keys);
            app.selected.clone().unwrap()
        };
        assert_eq!(
            ["", "j", "↓", "j", "k", "↑↑↑", "G", "g"].map(&mut at),
            ["a", "b", "c", "c", "b", "a", "c", "a"]
        );
    }

    #[test]
    fn the_selection_follows_its_server() {
        let mut app = app(&["a", "b"]);
        press(&mut app, "j");
        app.on_report(report(&["x", "a", "y", "b"], 2_000, 0));
        assert_eq!(app.selection().unwrap().0, 3);
        app.on_report(report(&["x", "a"], 3_000, 0));
        assert_eq!(app.selected.as_deref(), Some("x"), "its server is gone");
        app.on_report(report(&[], 4_000, 0));
        assert_eq!(press(&mut app, "jkGgr"), None);
        assert_eq!(app.selection(), None);
    }

    #[test]
    fn actions_are_about_the_selected_server() {
        let mut app = app(&["a", "b"]);
        assert_eq!(press(&mut app, "jr"), Some(Action::Restart("b".into())));
        assert_eq!(press(&mut app, "s"), Some(Action::Start("b".into())));
        assert_eq!(press(&mut app, "S"), Some(Action::Stop("b".into())));
        assert_eq!(press(&mut app, "q"), Some(Action::Quit));
        assert_eq!(app.on_key(Key::Control('c')), Some(Action::Quit));
        app.on_gone("killed");
        assert_eq!(press(&mut app, "r"), None);
        assert!(app.notice.unwrap().is_bad);
    }

    #[test]
    fn a_filter_hides_and_escape_brings_back_before_it_quits() {
        let mut app = app(&["alpha", "beta", "gamma"]);
        let names = |app: &App| app.shown().iter().map(|server| server.name.clone()).collect::<Vec<_>>();
        assert_eq!(press(&mut app, "/Mq"), None, "letters are letters");
        assert_eq!(names(&app), Vec::<String>::new());
        press(&mut app, "\x08");
        assert_eq!((names(&app), app.selected.as_deref()), (vec!["gamma".to_owned()], Some("gamma")));
        assert_eq!(press(&mut app, "\nr"), Some(Action::Restart("gamma".into())));
        assert_eq!((press(&mut app, "\x1b"), names(&app).len()), (None, 3));
        assert_eq!(press(&mut app, "\x1b"), Some(Action::Quit));
        press(&mut app, "/ready");
        assert_eq!(names(&app).len(), 3, "states are found as well");
        assert_eq!((press(&mut app, "\x1b"), app.filter.as_str(), app.mode), (None, "", Mode::Table));
    }

    #[test]
    fn rates_are_between_two_reports_of_one_daemon() {
        let mut app = app(&["a"]);
        assert_eq!(app.rate("a"), 0.0);
        app.on_report(report(&["a"], 3_000, 50));
        assert_eq!((app.rate("a"), app.total_rate()), (25.0, 25.0));
        app.on_report(report(&["a"], 3_000, 50));
        assert_eq!(app.rate("a"), 25.0, "the same report once more");
        app.on_report(report(&["a"], 4_000, 50));
        assert_eq!(app.rate("a"), 0.0);
        app.on_report(report(&["a"], 100, 7));
        assert_eq!(app.rate("a"), 0.0, "another daemon");
    }

    #[test]
    fn notices_grow_old_and_the_clock_alone_is_shown_once_a_second() {
        let mut app = app(&["a"]);
        app.tick(1_500);
        app.say("done".into(), false);
        assert!(app.take_changed() && !app.take_changed());
        app.tick(1_900);
        assert!(!app.take_changed(), "nothing to show");
        app.tick(2_000);
        assert!(app.take_changed());
        app.tick(5_500);
        assert_eq!((app.notice.clone(), app.take_changed()), (None, true));
        app.on_gone("why");
        assert!(app.take_changed());
        app.on_gone("why");
        assert!(!app.take_changed(), "nothing new");
    }

    #[test]
    fn help_and_log_close_with_any_key() {
        let mut app = app(&["a"]);
        press(&mut app, "?");
        assert_eq!(app.mode, Mode::Help);
        assert_eq!((press(&mut app, "x"), app.mode), (None, Mode::Table));
        press(&mut app, "l");
        assert_eq!(app.mode, Mode::Table, "there is no log");
        (0..LOG_LINES + 1).for_each(|line| app.on_log(line.to_string()));
        assert_eq!(
            app.log.as_ref().map(|log| (log.len(), log[0].clone())),
            Some((LOG_LINES, "1".to_owned()))
        );
        press(&mut app, "l");
        assert_eq!(app.mode, Mode::Log);
        assert_eq!((press(&mut app, "\x1b"), app.mode), (None, Mode::Table), "and not the end");
    }
}

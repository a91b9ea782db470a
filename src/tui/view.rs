//! What the dashboard looks like: [`App`] in, cells out.
//!
//! ```text
//!  muxloop 0.1.0  up 3 h 12 min …          what it is, or that it is gone
//!  SERVER  STATE  CLIENTS …                one row each, the selected one reversed, scrolled to be seen
//!  ── memory ─────────────────             about the selected one: facts, last requests, stderr;
//!                                          side by side from 120 columns on
//!  j/k move  r restart …                   keys, or what came of the last one, or the filter
//! ```

use super::app::{App, Mode};
use crate::client::status::{facts, latency, pending, recent, words};
use crate::client::text::{bytes, count, counted, cut, duration, plain, wrap};
use crate::control::{ServerReport, State};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

/// Draws everything into `area`.
pub fn draw(app: &mut App, area: Rect, buf: &mut Buffer) {
    if area.width < 20 || area.height < 6 {
        put(buf, area, 0, "muxloop: too small", Style::new());
        return;
    }
    let (head, rest) = split(area, 2);
    let (body, foot) = split(rest, rest.height - 1);
    header(app, head, buf);
    footer(app, foot, buf);
    match app.mode {
        Mode::Help => help(app, body, buf),
        Mode::Log => log(app, body, buf),
        Mode::Table | Mode::Filter if app.report.is_none() => nothing(app, body, buf),
        Mode::Table | Mode::Filter => main(app, body, buf),
    }
}

fn main(app: &mut App, body: Rect, buf: &mut Buffer) {
    let rows = app.shown().len() as u16;
    // Both halves have a right to room; the details get what the table does not need. How much they have to
    // say does not count: the border would jump with each key.
    let details_min = (body.height / 2).min(DETAILS_MIN);
    let table_height = (rows.max(1) + 1).min(body.height - details_min);
    let (table_area, below) = split(body, table_height);
    table(app, table_area, buf);
    if let Some((_, server)) = app.selection() {
        details(app, server, below, buf);
    }
}

fn header(app: &App, area: Rect, buf: &mut Buffer) {
    let Some(report) = &app.report else {
        put(buf, area, 0, concat!("muxloop ", env!("CARGO_PKG_VERSION")), bold());
        return;
    };
    let mut x = put(buf, area, 0, &format!("muxloop {}", plain(&report.version)), bold());
    if report.state != "up" {
        let style = app.paint(Color::Yellow).add_modifier(Modifier::BOLD);
        x = put_at(buf, area, x, 0, &format!("  {}", plain(&report.state)), style);
    }
    let text = format!(
        "  up {}  {}  {}  {} req/s",
        duration(report.uptime_ms),
        counted(report.servers.len(), "server"),
        counted(report.clients, "client"),
        per_second(app.total_rate()),
    );
    put_at(buf, area, x, 0, &text, Style::new());
    match &app.gone {
        Some(why) => put(buf, area, 1, &format!("GONE: {}", plain(why)), app.bad()),
        None => {
            let rss = report.rss_bytes.map(|rss| format!(", {}", bytes(rss))).unwrap_or_default();
            put(buf, area, 1, &format!("process {}{rss}, {}", report.pid, plain(&report.config)), dim())
        }
    };
}

fn footer(app: &App, area: Rect, buf: &mut Buffer) {
    let log = if app.log.is_some() { "  l log" } else { "" };
    match (&app.notice, app.mode) {
        (_, Mode::Filter) => {
            let x = put(buf, area, 0, &format!("/{}", plain(&app.filter)), bold());
            let x = put_at(buf, area, x, 0, " ", reversed());
            put_at(buf, area, x, 0, "  Enter keep  Esc all", dim())
        }
        (Some(notice), _) => {
            let style = if notice.is_bad { app.bad() } else { bold() };
            put(buf, area, 0, &plain(&notice.text), style)
        }
        (None, Mode::Help | Mode::Log) => put(buf, area, 0, "any key: back  q quit", dim()),
        (None, Mode::Table) if app.report.is_none() => put(buf, area, 0, "? help  q quit", dim()),
        (None, Mode::Table) if !app.filter.is_empty() => {
            let x = put(buf, area, 0, &format!("/{}", plain(&app.filter)), bold());
            put_at(buf, area, x, 0, "  Esc all  j/k move  r restart  s start  S stop  ? help", dim())
        }
        (None, Mode::Table) => {
            let keys = format!("j/k move  r restart  s start  S stop  / filter{log}  ? help  q quit");
            put(buf, area, 0, &keys, dim())
        }
    };
}

/// There never was a report.
fn nothing(app: &App, area: Rect, buf: &mut Buffer) {
    if app.log.is_some() {
        put(buf, area, 1, "muxloop is starting", bold());
        return;
    }
    let why = app.gone.as_deref().unwrap_or("no report yet");
    let mut y = 1;
    for line in wrap(&plain(why), area.width as usize - 1) {
        put(buf, area, y, &line, app.bad());
        y += 1;
    }
    let lines =
        ["It is looked for again and again. To start one:", "", "  muxloop -c mux.toml", "", "q quits."];
    for line in lines {
        y += 1;
        put(buf, area, y - 1, line, Style::new());
    }
}

/// A column: heading, width, whether numbers stand in it, and its text.
struct Column {
    heading: &'static str,
    width: usize,
    is_number: bool,
    text: fn(&App, &ServerReport) -> String,
}

const COLUMNS: &[Column] = &[
    Column { heading: "STATE", width: 8, is_number: false, text: |_, server| server.state.to_string() },
    Column {
        heading: "CLIENTS",
        width: 7,
        is_number: true,
        text: |_, server| {
            format!("{}/{}", count(server.clients as u64), count(server.max_active_clients as u64))
        },
    },
    Column { heading: "PENDING", width: 7, is_number: true, text: |_, server| pending(server) },
    Column {
        heading: "REQ/S",
        width: 5,
        is_number: true,
        text: |app, server| per_second(app.rate(&server.name)),
    },
    Column { heading: "P50/P99", width: 8, is_number: true, text: |_, server| latency(server) },
    Column { heading: "RESTARTS", width: 8, is_number: true, text: |_, server| count(server.restarts) },
];

/// What a wide terminal has room for.
const WIDE_COLUMNS: &[Column] = &[
    Column { heading: "REQUESTS", width: 8, is_number: true, text: |_, server| count(server.requests) },
    Column { heading: "ERRORS", width: 6, is_number: true, text: |_, server| count(server.errors) },
    Column {
        heading: "PID",
        width: 7,
        is_number: true,
        text: |_, server| server.pid.map_or("-".to_owned(), |pid| pid.to_string()),
    },
    Column {
        heading: "MEMORY",
        width: 7,
        is_number: true,
        text: |_, server| server.rss_bytes.map_or("-".to_owned(), bytes),
    },
    Column {
        heading: "PING",
        width: 8,
        is_number: true,
        text: |_, server| server.heartbeat_ms.map_or("-".to_owned(), duration),
    },
];

fn table(app: &mut App, area: Rect, buf: &mut Buffer) {
    let rows = area.height as usize - 1;
    let selected = app.selection().map_or(0, |(row, _)| row);
    let last_top = app.shown().len().saturating_sub(rows);
    // The window moves as little as it must.
    app.top = app.top.clamp((selected + 1).saturating_sub(rows), selected).min(last_top);
    let servers = app.shown();
    let name_max = if area.width >= WIDE { 40 } else { 16 };
    let longest = servers.iter().map(|server| server.name.chars().count()).max().unwrap_or(0);
    let name_width = longest.clamp("SERVER".len(), name_max);
    let wide = if area.width >= WIDE { WIDE_COLUMNS } else { &[] };
    let columns: Vec<&Column> = COLUMNS.iter().chain(wide).collect();
    let mut x = put(buf, area, 0, &format!(" {:name_width$}", "SERVER"), bold());
    for column in &columns {
        x = put_at(buf, area, x, 0, &cell(column, column.heading), bold());
    }
    put_at(buf, area, x, 0, " WHY", bold());
    for (row, server) in servers.iter().skip(app.top).take(rows).enumerate() {
        let y = row as u16 + 1;
        let base = if app.gone.is_some() { dim() } else { Style::new() };
        let name = cut(&plain(&server.name), name_width);
        let mut x = put(buf, area, y, &format!(" {name:name_width$}"), base);
        for column in &columns {
            let style = if column.heading == "STATE" { app.state(server.state).patch(base) } else { base };
            x = put_at(buf, area, x, y, &cell(column, &(column.text)(app, server)), style);
        }
        let why = words(server).or_else(|| server.last_failure.as_deref().map(plain)).unwrap_or_default();
        let style = if words(server).is_some() { base } else { dim() };
        let room = (area.right() - x).saturating_sub(1) as usize;
        put_at(buf, area, x, y, &format!(" {}", cut(&why, room)), style);
        if app.top + row == selected {
            buf.set_style(line_of(area, y), reversed());
        }
    }
    if servers.is_empty() {
        let text =
            if app.filter.is_empty() { " no servers" } else { " no server is called so, or in such a state" };
        put(buf, area, 1, text, dim());
    }
}

fn cell(column: &Column, text: &str) -> String {
    let width = column.width;
    match column.is_number {
        true => format!(" {text:>width$}"),
        false => format!(" {text:width$}"),
    }
}

fn details(app: &App, server: &ServerReport, area: Rect, buf: &mut Buffer) {
    if area.height < 2 {
        return;
    }
    let title = format!("── {} ", plain(&server.name));
    let x = put(buf, area, 0, &title, bold());
    put_at(buf, area, x, 0, &"─".repeat(area.width as usize), dim());
    let (_, mut below) = split(area, 1);
    if let Some(words) = words(server) {
        let style = app.state(server.state).add_modifier(Modifier::BOLD);
        let lines = wrap(&words, below.width as usize - 1);
        for (y, line) in lines.iter().take((below.height / 2).min(4) as usize).enumerate() {
            put(buf, below, y as u16, line, style);
        }
        below = split(below, (lines.len() as u16).min((below.height / 2).min(4))).1;
    }
    let (left, right) = match below.width >= SPLIT {
        true => {
            let half = below.width / 2;
            let right = Rect { x: below.x + half, width: below.width - half, ..below };
            (Rect { width: half - 1, ..below }, Some(right))
        }
        false => (below, None),
    };
    let facts: Vec<String> =
        facts(server).into_iter().map(|(label, value)| format!("{label:<10}{value}")).collect();
    let recents: Vec<String> = server.recent.iter().map(recent).collect();
    let stderr: Vec<String> = server.stderr.iter().map(|line| plain(line)).collect();
    match right {
        Some(right) => {
            let left = section(buf, left, "", &facts, left.height, false);
            section(buf, left, "last requests", &recents, left.height, false);
            section(buf, right, "stderr", &stderr, right.height, true);
        }
        None => {
            // What one doesn't need the other gets.
            let others = list_rows(&recents) + list_rows(&stderr);
            let height = (left.height / 2).max(left.height.saturating_sub(others));
            let rest = section(buf, left, "", &facts, height, false);
            let half = (rest.height / 2).max(rest.height.saturating_sub(list_rows(&stderr)));
            let rest = section(buf, rest, "last requests", &recents, half, false);
            section(buf, rest, "stderr", &stderr, rest.height, true);
        }
    }
}

/// Rows for all of a list, with its heading.
fn list_rows(lines: &[String]) -> u16 {
    if lines.is_empty() { 0 } else { lines.len() as u16 + 1 }
}

/// A heading and lines in at most `height` rows, the newest ones if the last are those. Returns what is left.
fn section(buf: &mut Buffer, area: Rect, heading: &str, lines: &[String], height: u16, last: bool) -> Rect {
    let heading_rows = u16::from(!heading.is_empty());
    if lines.is_empty() || height <= heading_rows {
        return area;
    }
    if heading_rows == 1 {
        put(buf, area, 0, heading, dim());
    }
    let fits = lines.len().min((height - heading_rows) as usize);
    let from = if last { lines.len() - fits } else { 0 };
    for (y, line) in lines[from..from + fits].iter().enumerate() {
        put(buf, area, y as u16 + heading_rows, &cut(line, area.width as usize), Style::new());
    }
    split(area, heading_rows + fits as u16).1
}

fn help(app: &App, area: Rect, buf: &mut Buffer) {
    let mut lines = vec![
        ("j k ↓ ↑", "select a server; g G first, last; PgDn PgUp"),
        ("r", "restart it; its clients stay, what is in flight ends with an error"),
        ("s", "start it, also out of a failure's rest"),
        ("S", "stop it; requests end with an error until it is started"),
        ("/", "show servers whose name has these letters, or whose state begins so"),
    ];
    if app.log.is_some() {
        lines.push(("l", "muxloop's own log"));
        lines.push(("q Esc", "stop muxloop and its servers"));
    } else {
        lines.push(("q Esc", "leave; muxloop goes on"));
    }
    for (y, (keys, text)) in lines.into_iter().enumerate() {
        let x = put(buf, area, y as u16 + 1, &format!(" {keys:<9}"), bold());
        put_at(buf, area, x, y as u16 + 1, text, Style::new());
    }
    let about = [
        "PENDING: requests at the server, +N waiting in muxloop.",
        "P50/P99: half of the answers, and 99 of 100, came within so long.",
        "RESTARTS: since the start; WHY: what is wrong, or was.",
    ];
    for (y, line) in about.into_iter().enumerate() {
        put(buf, area, y as u16 + 9, &format!(" {line}"), dim());
    }
}

fn log(app: &App, area: Rect, buf: &mut Buffer) {
    let lines: Vec<String> = app.log.iter().flatten().cloned().collect();
    if section(buf, area, "muxloop's log", &lines, area.height, true) == area {
        put(buf, area, 0, "muxloop has logged nothing yet", dim());
    }
}

impl App {
    /// The colour of a state.
    fn state(&self, state: State) -> Style {
        match state {
            State::Ready => self.paint(Color::Green),
            State::Starting | State::Stopping => self.paint(Color::Cyan),
            State::Backoff => self.paint(Color::Yellow),
            State::Failed => self.bad(),
            State::Lazy | State::Stopped | State::Unknown => dim(),
        }
    }

    fn bad(&self) -> Style {
        self.paint(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn paint(&self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn reversed() -> Style {
    Style::new().add_modifier(Modifier::REVERSED)
}

/// `0`, `3.2`, `140`, `12k`.
fn per_second(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        few if few < 9.95 => format!("{few:.1}"),
        many => count(many.round() as u64),
    }
}

/// The first `rows` of an area, and the rest of it.
fn split(area: Rect, rows: u16) -> (Rect, Rect) {
    let rows = rows.min(area.height);
    (Rect { height: rows, ..area }, Rect { y: area.y + rows, height: area.height - rows, ..area })
}

fn line_of(area: Rect, y: u16) -> Rect {
    Rect { y: area.y + y, height: 1, ..area }
}

/// Text at the beginning of a row; what does not fit is left out. Returns the column after it.
fn put(buf: &mut Buffer, area: Rect, y: u16, text: &str, style: Style) -> u16 {
    put_at(buf, area, area.x, y, text, style)
}

/// Text from column `x` of the screen on, in row `y` of `area`.
fn put_at(buf: &mut Buffer, area: Rect, x: u16, y: u16, text: &str, style: Style) -> u16 {
    if y >= area.height || x >= area.right() {
        return x;
    }
    buf.set_stringn(x, area.y + y, text, (area.right() - x) as usize, style).0
}

/// Columns from which on the table shows all it can.
const WIDE: u16 = 120;
/// Columns from which on the details stand side by side.
const SPLIT: u16 = 120;
/// Rows that the details have a right to, if that is not more than half.
const DETAILS_MIN: u16 = 11;

#[cfg(test)]
mod tests;

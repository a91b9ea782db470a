//! The dashboard (row E12): one page, and the figures of `muxloop status` as events, one a second.
//!
//! The page itself holds no figures, so it is given without a token; its script asks for one where the
//! events need it.

use super::answer::Answer;
use super::{Below, Busy, Due, Front};
use crate::base::{Key, Time};
use crate::codec::sse;

const PAGE: &str = include_str!("dashboard.html");

impl Front {
    /// The page.
    pub(super) fn page() -> Answer {
        Answer {
            status: 200,
            headers: vec![
                ("Content-Type", "text/html; charset=utf-8".into()),
                ("Content-Security-Policy", POLICY.into()),
                ("X-Content-Type-Options", "nosniff".into()),
                ("Referrer-Policy", "no-referrer".into()),
                ("Cache-Control", "no-cache".into()),
            ],
            body: PAGE.as_bytes().to_vec(),
        }
    }

    /// GET of the figures.
    pub(super) fn open_dashboard(&mut self, now: Time, conn: Key, below: &mut dyn Below) {
        if let Some(state) = self.conns.get_mut(conn) {
            state.busy = Busy::Dashboard;
        }
        self.start_stream(now, conn, &[], below);
        if !std::mem::replace(&mut self.figures_timed, true) {
            self.timers.schedule(now + PERIOD_MS, Due::Dashboard);
        }
        self.watchers.push(conn);
        self.figures_due = true;
    }

    /// Whether somebody waits for figures, to be given by [`Front::show`].
    pub fn wants_figures(&mut self) -> bool {
        std::mem::take(&mut self.figures_due)
    }

    /// Shows figures, one line of JSON, to all who watch; whoever has not read the last ones is left out.
    pub fn show(&mut self, figures: &[u8], below: &mut dyn Below) {
        let mut event = Vec::with_capacity(figures.len() + 16);
        sse::write_event(&mut event, None, None, None, figures);
        for conn in self.watchers.clone() {
            if below.unwritten(conn) == 0 {
                self.write_stream(conn, &event, below);
            }
        }
    }

    pub(super) fn dashboard_due(&mut self, now: Time) {
        self.figures_timed = !self.watchers.is_empty();
        if self.figures_timed {
            self.figures_due = true;
            self.timers.schedule(now + PERIOD_MS, Due::Dashboard);
        }
    }
}

/// Between figures.
const PERIOD_MS: u64 = 1_000;
/// The page loads nothing and is framed by nobody; what servers say is only ever text in it.
const POLICY: &str = "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; \
                      script-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

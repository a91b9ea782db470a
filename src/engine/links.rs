//! Peers and children of the mux that have no stream: what is sent to them is for the front or the gateway.

use super::Engine;
#[cfg(any(feature = "gateway", feature = "http"))]
use super::conn::Role;
use super::port::Platform;
use crate::base::{Key, Time};

impl Engine {
    /// Hands over what was sent to links, and what was sent because of that, until nothing is left.
    pub(super) fn serve_links(&mut self, now: Time, platform: &mut dyn Platform) {
        for _ in 0..ROUNDS {
            let heard = self.conns.take_heard();
            if heard.is_empty() {
                return;
            }
            for link in heard {
                self.hear(now, link, platform);
            }
            self.act(now, platform);
            self.conns.flush();
        }
    }

    #[cfg_attr(not(any(feature = "gateway", feature = "http")), expect(unused_variables))]
    fn hear(&mut self, now: Time, link: Key, platform: &mut dyn Platform) {
        let Some(conn) = self.conns.get(link) else { return };
        let role = conn.role;
        #[cfg_attr(not(feature = "gateway"), expect(unused_variables))]
        let server = conn.server;
        let sent = self.conns.take_sent(link);
        match role {
            #[cfg(feature = "http")]
            Role::Link => self.hear_link(now, link, sent.pending(), platform),
            #[cfg(feature = "gateway")]
            Role::Merged => self.hear_merged(now, (link, server), true, sent.pending(), platform),
            #[cfg(feature = "gateway")]
            Role::Asker(server) => self.hear_merged(now, (link, server), false, sent.pending(), platform),
            _ => {}
        }
        self.conns.put_sent(sent);
    }
}

/// Most times per turn that answers are looked for; the rest is for the next turn.
const ROUNDS: usize = 8;

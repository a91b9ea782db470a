//! Finding out which era a server speaks (protocol.md §3.6, P50), without leaving its clients unserved.
//!
//! ```text
//!   server/discover ──▶ a DiscoverResult, or -32022 that names a modern version: modern
//!      │ error, nonsense            │ silence                      │ exit
//!      ▼                            ▼                              │
//!   `initialize` to this process,  the same; the answers to both   │
//!      │ refused, silence, exit     decide: modern only, legacy,   │
//!      │                            │ or both                      │
//!      ▼                            ▼                              ▼
//!   another process, greeted in one era only: its word is final
//! ```
//!
//! A child of one's own is greeted as its client speaks. One that ends on `initialize` is down like any other, but
//! the next process begins with `server/discover`.
//!
//! Most legacy servers refuse `server/discover` at once, so that it costs them a round trip and no second
//! start. None of this is a failure of the server: nothing is counted, and nobody waits longer than for a
//! start and another one. An explicit `era` is not tried out.

use crate::base::{Key, Time};
use crate::mux::policy::{EraPolicy, Found};
use crate::mux::server::{Era, Hello, Phase, Then};
use crate::mux::{Mux, Sink, Timer};

/// How far finding out the era of one process got.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// When the process has taken too long, however it is greeted.
    pub until: Time,
    /// `server/discover`, unanswered, with `initialize` sent after it.
    pub probe: Option<Key>,
    /// Its answer to that, while the one to `initialize` is out.
    discovered: Option<Box<Hello>>,
    /// The process was asked `server/discover` and then `initialize`: it may be confused.
    both: bool,
    /// It is the second process, started for its era: no further one follows.
    last: bool,
    /// A process refused `initialize`, or came to nothing with it.
    no_legacy: bool,
    /// The process was greeted with `initialize` first, and has not welcomed that.
    pub unheard: bool,
}

/// Why a handshake is no success.
#[derive(Debug)]
pub(super) struct Refusal {
    pub why: String,
    /// It is -32022 with a modern version among those that it offers.
    pub names_modern: bool,
}

impl Mux {
    /// The era to start in: the operator's word, a fresh finding, or a guess; `None` if the only client has not
    /// said yet.
    pub(super) fn choose_era(&self, now: Time, key: Key) -> Option<Era> {
        let instance = self.instances.get(key).filter(|instance| !instance.spare)?;
        match self.servers[instance.server].policy.era {
            EraPolicy::Legacy => return Some(Era::Legacy),
            EraPolicy::Modern => return Some(Era::Modern),
            EraPolicy::Auto => {}
        }
        let found = self.fresh_verdict(now, instance.server);
        // One that is shared is best shared in the modern era, where it always says whom it means; whether it
        // knows that era is found out by asking.
        let Some(owner) = instance.owner else { return Some(found.map_or(Era::Modern, |found| found.era)) };
        // A child of one's own is spoken to as its client speaks, if it can be.
        let sole = found.filter(|found| found.is_sole).map(|found| found.era);
        sole.or_else(|| {
            let peer = self.peers.get(owner)?;
            match (&peer.legacy, peer.modern) {
                // The process before ended on `initialize`, or kept silent: it may know nothing but the other.
                (Some(_), _) if instance.search.unheard => Some(Era::Modern),
                (Some(_), _) => Some(Era::Legacy),
                (None, true) => Some(Era::Modern),
                (None, false) => None,
            }
        })
    }

    /// A process is to be greeted in this era, if that is known yet. After a pause both are open again: that the
    /// other one failed before need not be its fault.
    pub(super) fn search_anew(&mut self, key: Key, era: Option<Era>) {
        let (Some(instance), Some(era)) = (self.instances.get_mut(key), era) else { return };
        let no_legacy = instance.search.unheard && era == Era::Modern;
        instance.search = Search { no_legacy, ..Search::default() };
    }

    /// What was found out about a server, while that is believed.
    pub(super) fn fresh_verdict(&self, now: Time, server: usize) -> Option<&Found> {
        self.servers[server].verdict.as_ref().filter(|found| now < found.until)
    }

    /// How long a greeting may stay unanswered. A child that knows no `server/discover` may ignore it: where
    /// that is a guess, there is no waiting as for a slow start.
    pub(super) fn patience_of(&self, now: Time, key: Key, era: Era) -> u64 {
        let Some(instance) = self.instances.get(key) else { return 0 };
        let policy = &self.servers[instance.server].policy;
        let is_known = self.fresh_verdict(now, instance.server).is_some_and(|found| found.era == era);
        match era == Era::Modern && !is_known && self.may_search(key) {
            true => PROBE_MS.min(policy.startup_timeout_ms / 2),
            false => policy.startup_timeout_ms,
        }
    }

    /// Whether another way to greet the server is left.
    fn may_search(&self, key: Key) -> bool {
        let is_open = self.policy_of(key).is_some_and(|policy| policy.era == EraPolicy::Auto);
        is_open && self.instances.get(key).is_some_and(|instance| !instance.search.last)
    }

    /// Where the process is in a handshake in which it was asked `server/discover`, and another one may be
    /// started if it fails: for which era.
    pub(super) fn next_era(&self, key: Key) -> Option<Era> {
        let instance = self.instances.get(key)?;
        let Search { probe, both, discovered, .. } = &instance.search;
        let is_greeted = instance.handshake.is_some() || probe.is_some();
        let is_asked = instance.era == Some(Era::Modern) || *both;
        let next = if discovered.is_some() { Era::Modern } else { Era::Legacy };
        (is_greeted && is_asked && self.may_search(key)).then_some(next)
    }

    /// A greeting was answered by something else than a welcome.
    pub(super) fn on_refusal(
        &mut self,
        now: Time,
        key: Key,
        era: Era,
        refusal: &Refusal,
        out: &mut dyn Sink,
    ) {
        let why = &refusal.why;
        let may_search = self.may_search(key);
        let Some(instance) = self.instances.get_mut(key) else { return };
        instance.search.no_legacy |= era == Era::Legacy;
        if let Some(hello) = instance.search.discovered.take() {
            return self.on_modern_only(now, key, *hello, out);
        }
        if instance.search.probe.is_some() && !refusal.names_modern {
            return self.await_other(now, key);
        }
        let both = instance.search.both;
        if !may_search || (era == Era::Modern && refusal.names_modern) {
            return self.handshake_failed(now, key, why, out);
        }
        if era == Era::Modern {
            log::info!(target: &self.target_of(key), "{why}: trying `initialize`");
            return self.greet_as_legacy(now, key, out);
        }
        let next = if both && !refusal.names_modern { Era::Legacy } else { Era::Modern };
        log::info!(target: &self.target_of(key), "{why}: trying {} in another process", next.describe());
        self.stop(now, key, Then::Respawn(next), out);
    }

    /// One of the two greetings was answered: the answer to the other may come, but not late any more.
    fn await_other(&mut self, now: Time, key: Key) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        let Phase::Starting { timer } = &mut instance.phase else { return };
        instance.search.until = instance.search.until.min(now + PROBE_MS);
        let next = self.timers.schedule(instance.search.until, Timer::Handshake(key));
        if let Some(old) = timer.replace(next) {
            self.timers.cancel(old);
        }
    }

    /// Nothing was heard for as long as a greeting may take. Says whether something else is tried.
    pub(super) fn on_silence(&mut self, now: Time, key: Key, out: &mut dyn Sink) -> bool {
        let (Some(next), Some(instance)) = (self.next_era(key), self.instances.get(key)) else {
            return false;
        };
        if now < instance.search.until {
            log::info!(target: &self.target_of(key), "no answer to `server/discover`: trying `initialize`");
            self.greet_as_legacy(now, key, out);
        } else {
            log::info!(target: &self.target_of(key), "no answer: trying {} in another process", next.describe());
            self.stop(now, key, Then::Respawn(next), out);
        }
        true
    }

    /// Sends `initialize` to a process that was asked `server/discover`, which it may still answer.
    fn greet_as_legacy(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        self.forget_verdict(key, out);
        let Some(instance) = self.instances.get_mut(key) else { return };
        let Some(link) = instance.link else { return };
        if let Phase::Starting { timer: Some(timer) } = instance.phase {
            self.timers.cancel(timer);
        }
        instance.era = Some(Era::Legacy);
        instance.search.probe = instance.handshake.take();
        instance.search.both = true;
        let until = instance.search.until;
        self.send_greeting(now, key, link, Era::Legacy, until, out);
    }

    /// `server/discover` was answered after `initialize` had been sent as well.
    pub(super) fn on_late_probe(
        &mut self,
        now: Time,
        key: Key,
        answer: Result<Hello, Refusal>,
        out: &mut dyn Sink,
    ) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        instance.search.probe = None;
        let was_refused = instance.handshake.is_none();
        match answer {
            Ok(hello) if was_refused => self.on_modern_only(now, key, hello, out),
            Ok(hello) => {
                // Whether it settles for the era of `initialize` is seen by the answer to that.
                instance.search.discovered = Some(Box::new(hello));
                self.await_other(now, key);
            }
            Err(refusal) if refusal.names_modern => self.handshake_failed(now, key, &refusal.why, out),
            Err(refusal) if was_refused => {
                let why = refusal.why;
                log::info!(target: &self.target_of(key), "{why}: trying `initialize` in another process");
                self.stop(now, key, Then::Respawn(Era::Legacy), out);
            }
            Err(_) => {}
        }
    }

    /// It welcomed `server/discover` and refused `initialize`, which it was sent as well: nothing came of that.
    fn on_modern_only(&mut self, now: Time, key: Key, hello: Hello, out: &mut dyn Sink) {
        if let Some(instance) = self.instances.get_mut(key) {
            instance.era = Some(Era::Modern);
        }
        self.on_ready(now, key, hello, out);
    }

    /// A process was welcomed by `initialize`. Says whether it is to be used: one that welcomes both is started
    /// anew, in the era that is better shared, because one message may pin its era for its life.
    pub(super) fn is_final(&mut self, now: Time, key: Key, out: &mut dyn Sink) -> bool {
        if self.instances.get(key).is_none_or(|instance| instance.search.discovered.is_none()) {
            return true;
        }
        log::info!(target: &self.target_of(key), "it speaks both eras: starting it anew for {}", Era::Modern.describe());
        self.stop(now, key, Then::Respawn(Era::Modern), out);
        false
    }

    /// Starts again at once in this era; its process is gone.
    pub(super) fn respawn(&mut self, now: Time, key: Key, era: Era, out: &mut dyn Sink) {
        self.forget_verdict(key, out);
        self.clear_handshake(key);
        if let Some(instance) = self.instances.get_mut(key) {
            instance.search =
                Search { last: true, no_legacy: instance.search.no_legacy, ..Search::default() };
            instance.phase = Phase::Stopped;
        }
        self.start_in(now, key, Some(era), out);
    }

    /// A server was greeted: what that says of its era is believed for a while.
    pub(super) fn note_verdict(&mut self, now: Time, key: Key, hello: &Hello, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get(key) else { return };
        let server = instance.server;
        if self.servers[server].policy.era != EraPolicy::Auto {
            return;
        }
        let Search { both, last, no_legacy, .. } = instance.search;
        let words = identity(&hello.server_info);
        let old = self.fresh_verdict(now, server);
        if let Some(old) = old.filter(|old| old.era == hello.era) {
            // A legacy finding never fails by itself: it is neither prolonged nor held against a new version.
            let is_same = old.server == words;
            let is_young = hello.era == Era::Legacy || old.until.since(now) >= MODERN_MS / 2;
            if is_same && is_young {
                return;
            }
            if hello.era == Era::Legacy {
                return self.forget_verdict(key, out);
            }
        }
        let is_sole = match hello.era {
            // That one's own child was welcomed by what its client speaks says nothing of the other era.
            Era::Legacy if !both && !last => return,
            Era::Legacy => true,
            Era::Modern => no_legacy,
        };
        let for_ms = if hello.era == Era::Modern { MODERN_MS } else { LEGACY_MS };
        let found = Found { era: hello.era, is_sole, until: now + for_ms, server: words };
        out.found(server, Some(&found));
        self.servers[server].verdict = Some(found);
    }

    /// The same if a process is going down during its handshake.
    pub(super) fn forget_if_unready(&mut self, key: Key, out: &mut dyn Sink) {
        if self.instances.get(key).is_some_and(|instance| instance.handshake.is_some()) {
            self.forget_verdict(key, out);
        }
    }

    /// What was believed of a server's era did not lead to a handshake.
    pub(super) fn forget_verdict(&mut self, key: Key, out: &mut dyn Sink) {
        let Some(server) = self.instances.get(key).map(|instance| instance.server) else { return };
        if self.servers[server].verdict.take().is_some() {
            out.found(server, None);
        }
    }
}

/// Name and version from a `serverInfo`, as much of it as is worth keeping.
fn identity(server_info: &[u8]) -> String {
    let info: serde_json::Value = serde_json::from_slice(server_info).unwrap_or_default();
    let words = [&info["name"], &info["version"]].map(|word| word.as_str().unwrap_or("?"));
    words.join(" ").chars().take(IDENTITY_MAX).collect()
}

/// Characters of that.
const IDENTITY_MAX: usize = 200;
/// How long `server/discover` may stay unanswered until `initialize` is sent as well, in milliseconds: longer
/// than most servers take to start, shorter than people take for a hang.
pub(super) const PROBE_MS: u64 = 4_000;
/// How long findings are believed, in milliseconds: a server may be updated (protocol.md §3.6).
const LEGACY_MS: u64 = 24 * 3_600_000;
const MODERN_MS: u64 = 7 * LEGACY_MS;

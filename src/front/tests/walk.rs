//! Long random walks of many clients at once: whatever happens in whatever order, answers and progress reach
//! only who asked, everybody who stays is answered, and in the end nothing is left.

use super::*;

/// A small generator, so that a seed says everything (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }
}

/// What a connection asked for.
struct Asker {
    conn: Key,
    /// Ids of its requests.
    asked: Vec<u32>,
    /// Requests with an answer each.
    requests: usize,
    answers: usize,
    /// The session whose stream it was given by GET: there it may hear of what others of it asked.
    stream_of: Option<usize>,
    resumes: bool,
}

struct Walk {
    bench: Bench,
    dice: Dice,
    sessions: Vec<Opened>,
    /// Which session asked, by id; requests without a session are nobody's.
    owner: BTreeMap<u32, usize>,
    askers: Vec<Asker>,
    /// What waits for an answer: link and id.
    pending: Vec<(Key, u32)>,
    next_id: u32,
}

impl Walk {
    fn new(seed: u64) -> Walk {
        let dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let (sessions, askers) = (Vec::new(), Vec::new());
        Walk {
            bench: Bench::new(),
            dice,
            sessions,
            owner: BTreeMap::new(),
            askers,
            pending: Vec::new(),
            next_id: 1,
        }
    }

    /// A connection that may be asked on, old or new.
    fn asker(&mut self) -> usize {
        let free: Vec<usize> = (0..self.askers.len())
            .filter(|at| self.askers[*at].stream_of.is_none() && !self.bench.is_closed(self.askers[*at].conn))
            .collect();
        if !free.is_empty() && self.dice.roll(3) > 0 {
            return free[self.dice.roll(free.len())];
        }
        let conn = self.bench.conn();
        self.askers.push(Asker {
            conn,
            asked: Vec::new(),
            requests: 0,
            answers: 0,
            stream_of: None,
            resumes: false,
        });
        self.askers.len() - 1
    }

    fn ask(&mut self, at: usize, bytes: &str) {
        let (first, second) = bytes.split_at(self.dice.roll(bytes.len()));
        let conn = self.askers[at].conn;
        self.askers[at].requests += 1;
        self.bench.send(conn, first);
        if !self.bench.is_closed(conn) {
            self.bench.send(conn, second);
        }
    }

    fn step(&mut self) {
        let session = (!self.sessions.is_empty()).then(|| self.dice.roll(self.sessions.len()));
        match (self.dice.roll(16), session) {
            (0, _) if self.bench.front.sessions() < 6 => {
                let version = ["2025-11-25", "2025-03-26"][self.dice.roll(2)];
                let opened = self.bench.session(version);
                self.sessions.push(opened);
            }
            (1..=4, Some(session)) => {
                let (at, id) = (self.asker(), self.next_id);
                self.next_id += 1;
                self.owner.insert(id, session);
                self.askers[at].asked.push(id);
                let bytes = self.sessions[session].post(&call(id, &format!("t{id}")));
                self.ask(at, &bytes);
            }
            (5, _) => {
                let (at, id) = (self.asker(), self.next_id);
                self.next_id += 1;
                self.askers[at].asked.push(id);
                self.ask(at, &modern(id, "tools/list"));
            }
            (6, Some(session)) => {
                let place = format!("Last-Event-ID: {}-{}\r\n", self.dice.roll(9), self.dice.roll(4));
                let resumes = self.dice.roll(2) == 0;
                let conn = self.bench.conn();
                let (asked, stream_of) = (Vec::new(), Some(session));
                self.askers.push(Asker { conn, asked, requests: 1, answers: 0, stream_of, resumes });
                let bytes = self.sessions[session].get(if resumes { &place } else { "" });
                self.bench.send(conn, &bytes);
            }
            (7, Some(session)) if self.dice.roll(4) == 0 => {
                let at = self.asker();
                let bytes = self.sessions[session].get("").replacen("GET", "DELETE", 1);
                self.ask(at, &bytes);
            }
            (8..=9, _) => self.answer(),
            (10..=11, _) if !self.pending.is_empty() => {
                let (link, id) = self.pending[self.dice.roll(self.pending.len())];
                self.bench.hear(link, &progress(&format!("t{id}"), 1));
            }
            (12, Some(session)) => {
                let link = self.sessions[session].link;
                self.bench.hear(link, &changed());
            }
            (13, _) if !self.askers.is_empty() => {
                let at = self.dice.roll(self.askers.len());
                let gone = self.askers.swap_remove(at);
                self.bench.vanish(gone.conn);
            }
            (14, _) => {
                let ms = [10, 1_000, COMMIT_MS, KEEP_ALIVE_MS][self.dice.roll(4)];
                self.bench.pass(ms);
            }
            (15, Some(session)) => {
                let link = self.sessions[session].link.as_u64();
                if !self.bench.floor.paused.remove(&link) {
                    self.bench.floor.paused.insert(link);
                }
                self.retry();
            }
            _ => {}
        }
        self.look();
    }

    fn retry(&mut self) {
        self.bench.front.retry_held(self.bench.now, &mut self.bench.floor);
        self.bench.settle();
    }

    /// Answers something that was asked.
    fn answer(&mut self) {
        if !self.pending.is_empty() {
            let at = self.dice.roll(self.pending.len());
            let (link, id) = self.pending.swap_remove(at);
            self.bench.hear(link, &result(id, &format!("r{id}.")));
        }
    }

    /// Looks at all that was delivered and written since.
    fn look(&mut self) {
        let links: Vec<u64> = self.bench.floor.links.keys().copied().collect();
        for link in links.into_iter().map(|link| Key::from_u64(link).unwrap()) {
            for message in self.bench.delivered(link) {
                let message: Value = serde_json::from_str(&message).unwrap();
                let id = message["id"].as_u64().expect("only requests were sent") as u32;
                self.pending.push((link, id));
            }
        }
        for at in 0..self.askers.len() {
            let written = self.bench.take(self.askers[at].conn);
            let asker = &mut self.askers[at];
            asker.answers += written.matches("HTTP/1.1 ").count();
            assert!(asker.answers <= asker.requests, "more answers than requests: {written}");
            for (mark, end) in [("\"result\":\"r", "."), ("\"progressToken\":\"t", "\"")] {
                for found in written.split(mark).skip(1) {
                    let id: u32 = found.split(end).next().unwrap().parse().unwrap();
                    let by_session =
                        asker.stream_of.is_some() && self.owner.get(&id).copied() == asker.stream_of;
                    let resumed = by_session && (asker.resumes || mark.contains("progress"));
                    assert!(asker.asked.contains(&id) || resumed, "{id} is not for this one: {written}");
                }
            }
        }
        // The engine closes what is to be closed.
        for at in (0..self.askers.len()).rev() {
            if self.bench.is_closed(self.askers[at].conn) {
                let gone = self.askers.swap_remove(at);
                self.bench.vanish(gone.conn);
            }
        }
    }

    /// Everything that was asked is answered; then everybody goes.
    fn finish(mut self) {
        self.bench.floor.paused.clear();
        for _ in 0..10_000 {
            self.retry();
            self.look();
            if self.pending.is_empty() {
                break;
            }
            self.answer();
        }
        assert!(self.pending.is_empty(), "{:?}", self.pending);
        self.look();
        for asker in &self.askers {
            assert_eq!(asker.answers, asker.requests, "somebody is not answered: {:?}", asker.asked);
        }
        for asker in std::mem::take(&mut self.askers) {
            self.bench.vanish(asker.conn);
        }
        let left: Vec<Key> = self.bench.front.conns.iter().map(|(key, _)| key).collect();
        left.into_iter().for_each(|conn| self.bench.vanish(conn));
        self.bench.pass(2 * SESSION_MS);
        let front = &self.bench.front;
        assert_eq!(
            (front.sessions.len(), front.by_id.len(), front.links.len(), front.conns.len()),
            (0, 0, 0, 0)
        );
        assert_eq!((front.deadline(), front.held.len()), (None, 0));
        assert!(self.bench.floor.links.is_empty(), "links are left");
    }
}

#[test]
fn answers_reach_only_who_asked_and_everybody_is_answered() {
    for seed in 0..40 {
        let mut walk = Walk::new(seed);
        for _ in 0..400 {
            walk.step();
        }
        walk.finish();
    }
}

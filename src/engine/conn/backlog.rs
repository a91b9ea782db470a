//! What HTTP clients have not read yet, over all connections: bounded, at the cost of the slowest reader.
//!
//! One connection has its own bound ([`crate::base::limits::CLIENT_SEND_MAX`]), but anybody can open many.

use super::{Conns, Role};
use crate::base::limits::HTTP_SEND_MAX;
use crate::base::{Key, Time};
use crate::mux::CloseReason;

/// Unwritten bytes of all HTTP connections.
#[derive(Debug)]
pub(in crate::engine) struct Backlog {
    bytes: usize,
    limit: usize,
    /// When this turn began.
    pub now: Time,
}

impl Default for Backlog {
    fn default() -> Backlog {
        Backlog { bytes: 0, limit: HTTP_SEND_MAX, now: Time(0) }
    }
}

impl Conns {
    /// A connection has something else to be written than `before`, in bytes.
    pub(super) fn count_backlog(&mut self, key: Key, before: usize) {
        let Some(conn) = self.table.get_mut(key).filter(|conn| conn.role == Role::Http) else { return };
        let after = conn.send.len();
        if before == 0 || after < before {
            conn.stuck_since = self.backlog.now;
        }
        self.backlog.bytes = self.backlog.bytes + after - before;
        while self.backlog.bytes > self.backlog.limit && self.shed() {}
    }

    /// Gives up the connection that was not read from for longest among those that hold more than an equal
    /// share. False: there is none.
    fn shed(&mut self) -> bool {
        let waiting =
            || self.table.iter().filter(|(_, conn)| conn.role == Role::Http && !conn.send.is_empty());
        let share = self.backlog.bytes / waiting().count().max(1);
        let slowest = waiting()
            .filter(|(_, conn)| conn.send.len() >= share)
            .min_by_key(|(_, conn)| (conn.stuck_since, std::cmp::Reverse(conn.send.len())));
        let Some((key, _)) = slowest else { return false };
        self.drop_backlog(key);
        self.fail(key, CloseReason::SlowReader);
        true
    }

    /// Nothing more will be written to a connection.
    pub(super) fn drop_backlog(&mut self, key: Key) {
        let Some(conn) = self.table.get_mut(key) else { return };
        let dropped = std::mem::take(&mut conn.send);
        if conn.role == Role::Http {
            self.backlog.bytes -= dropped.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Narrow;
    use super::*;
    use std::{cell::Cell, rc::Rc};

    /// What may be written to a connection, and the connection.
    type Reader = (Rc<Cell<usize>>, Key);

    fn open(conns: &mut Conns, role: Role) -> Reader {
        let room = Rc::new(Cell::new(0));
        (room.clone(), conns.insert(Box::new(Narrow(room)), role, 0))
    }

    /// Time passes, then this much is written to it.
    fn write(conns: &mut Conns, reader: &Reader, bytes: usize) {
        conns.backlog.now = conns.backlog.now + 1;
        conns.write(reader.1, &vec![b'x'; bytes]);
        conns.flush();
    }

    /// Time passes, then this much is read by it.
    fn read(conns: &mut Conns, reader: &Reader, bytes: usize) {
        conns.backlog.now = conns.backlog.now + 1;
        reader.0.set(bytes);
        conns.get_mut(reader.1).unwrap().writable = true;
        conns.touch(reader.1);
        conns.flush();
    }

    fn is_given_up(conns: &Conns, reader: &Reader) -> bool {
        conns.get(reader.1).unwrap().broken == Some(CloseReason::SlowReader)
    }

    #[test]
    fn the_slowest_reader_beyond_its_share_is_given_up() {
        let mut conns = Conns::default();
        conns.backlog.limit = 1_000;
        let [small, stuck, reads] = [(); 3].map(|()| open(&mut conns, Role::Http));
        write(&mut conns, &small, 10);
        write(&mut conns, &reads, 600);
        write(&mut conns, &stuck, 390);
        assert_eq!(conns.backlog.bytes, 1_000);
        read(&mut conns, &reads, 100);
        assert_eq!(conns.backlog.bytes, 900);
        // The smallest has waited for longest, but is not who fills the memory; the largest is being read.
        write(&mut conns, &reads, 200);
        assert!(is_given_up(&conns, &stuck) && !is_given_up(&conns, &small) && !is_given_up(&conns, &reads));
        assert_eq!((conns.backlog.bytes, conns.unwritten()), (710, 710));
        assert_eq!(conns.take_doomed(), [stuck.1]);
        write(&mut conns, &stuck, 5_000);
        assert_eq!(conns.backlog.bytes, 710, "nothing more is kept for it");
        // Whoever fills it alone is given up alone.
        write(&mut conns, &reads, 300);
        assert!(is_given_up(&conns, &reads) && !is_given_up(&conns, &small));
        read(&mut conns, &small, 10);
        assert_eq!(conns.backlog.bytes, 0);
    }

    #[test]
    fn only_http_counts() {
        let mut conns = Conns::default();
        conns.backlog.limit = 1_000;
        let (client, http) = (open(&mut conns, Role::Client), open(&mut conns, Role::Http));
        write(&mut conns, &client, 5_000);
        write(&mut conns, &http, 1_000);
        assert!(!is_given_up(&conns, &client) && !is_given_up(&conns, &http));
        assert_eq!(conns.backlog.bytes, 1_000);
        conns.drop_backlog(http.1);
        conns.drop_backlog(client.1);
        assert_eq!((conns.backlog.bytes, conns.unwritten()), (0, 0));
    }
}

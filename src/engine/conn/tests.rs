use super::*;
use std::{cell::Cell, rc::Rc};

/// Takes as many bytes as there is room for.
pub(super) struct Narrow(pub Rc<Cell<usize>>);

impl Io for Narrow {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
    fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let n = pieces.iter().map(|piece| piece.len()).sum::<usize>().min(self.0.take());
        if n == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
    }
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn descriptors(&self) -> [i32; 2] {
        [-1; 2]
    }
}

/// Last answers are not cut off while they are being read, within a minute.
#[test]
fn a_closing_connection_stays_while_it_is_read() {
    let (mut conns, room) = (Conns::default(), Rc::new(Cell::new(0)));
    let key = conns.insert(Box::new(Narrow(room.clone())), Role::Client, 100);
    conns.send(key, &Message::new(&[b'x'; 1_000]));
    conns.close(Time(0), key);
    for turn in 1..20 {
        let now = Time(turn * LINGER_MS);
        room.set(10);
        conns.get_mut(key).unwrap().writable = true;
        conns.flush_one(key);
        assert_eq!(conns.linger.pop_expired(now), Some(key));
        assert_eq!(conns.extend(now, key), turn <= u64::from(LINGER_EXTENSIONS), "turn {turn}");
        if turn > u64::from(LINGER_EXTENSIONS) {
            return;
        }
    }
}

#[test]
fn a_closing_connection_that_nobody_reads_does_not_stay() {
    let mut conns = Conns::default();
    let key = conns.insert(Box::new(Narrow(Rc::default())), Role::Client, 100);
    conns.send(key, &Message::new(b"bye"));
    conns.flush_one(key);
    conns.close(Time(0), key);
    assert_eq!(conns.linger.pop_expired(Time(LINGER_MS)), Some(key));
    assert!(!conns.extend(Time(LINGER_MS), key));
}

//! What becomes of a connection when what it carried ends, and how many one address gets.

use super::*;

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn delete(bench: &mut Bench, session: &Opened) {
    let conn = bench.ask(&session.get("").replacen("GET", "DELETE", 1));
    assert_eq!(status(&bench.take(conn)), "200");
}

#[test]
fn a_stream_that_ends_with_its_session_leaves_the_connection_as_it_was_promised() {
    let mut bench = Bench::new();
    let session = bench.session("2025-06-18");
    let own = bench.ask(&session.get(""));
    assert!(!bench.take(own).contains("Connection: close"));
    delete(&mut bench, &session);
    assert_eq!(bench.take(own), "0\r\n\r\n");
    assert!(!bench.is_closed(own), "its client sends the next request there");
    bench.send(own, HEALTH);
    assert_eq!(status(&bench.take(own)), "200");
}

#[test]
fn a_connection_that_nobody_reads_ends_with_its_session() {
    let mut bench = Bench::new();
    let session = bench.session("2025-06-18");
    let own = bench.ask(&session.get(""));
    bench.floor.unwritten.insert(own.as_u64(), 1);
    delete(&mut bench, &session);
    assert!(bench.is_closed(own));
}

#[test]
fn a_connection_whose_stream_goes_on_elsewhere_is_closed() {
    let mut bench = Bench::new();
    let session = bench.session("2025-06-18");
    let first = bench.ask(&session.get(""));
    let second = bench.ask(&session.get(""));
    assert!(bench.is_closed(first) && !bench.is_closed(second));
}

/// One address cannot take all places; a connection that ends gives its back.
#[test]
fn connections_of_one_address_are_bounded() {
    let mut bench = Bench::new();
    let open = |bench: &mut Bench, address: &str| {
        let conn = bench.floor.keys.insert(());
        bench.front.open(bench.now, conn, false, address.parse().ok(), &mut bench.floor);
        (conn, !bench.is_closed(conn))
    };
    let (crowd, other) = ("203.0.113.7", "203.0.113.8");
    let all: Vec<_> = (0..CONNECTIONS_PER_ADDRESS).map(|_| open(&mut bench, crowd)).collect();
    assert!(all.iter().all(|(_, is_open)| *is_open));
    let (refused, is_open) = open(&mut bench, crowd);
    assert!(!is_open);
    assert_eq!(status(&bench.take(refused)), "503");
    bench.vanish(refused);
    assert!(open(&mut bench, other).1);
    bench.vanish(all[0].0);
    assert!(open(&mut bench, crowd).1);
    assert!(!open(&mut bench, crowd).1);
    assert!((0..1_000).all(|_| open(&mut bench, "127.0.0.1").1), "this machine has no such limit");
}

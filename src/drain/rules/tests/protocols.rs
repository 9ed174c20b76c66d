//! What a port speaks: it may hide requests, and its heartbeats are none.

use super::*;

fn judged(protocol: Protocol, silence: Duration, c: &Connection) -> Option<Why> {
    let patience = Patience {
        quiet: None,
        longest: ms(30_000),
    };
    let wait = || {
        assert!(!protocol.multiplexes(), "the threads say nothing there");
        Wait::Unknown
    };
    judge(c, protocol, silence, patience, wait)
}

#[test]
fn a_tls_handshake_ends_with_what_looks_like_an_answer() {
    // Measured: the session tickets went out behind the first request, in its jiffy or a moment later.
    let first = |age, sent_after, acknowledged, sent| {
        let mut c = tie(acknowledged, 3, sent, 2);
        let info = c.info.as_mut().unwrap();
        (info.last_data_sent, info.last_ack_recv) = (age, age - acknowledged);
        info.last_data_recv = age + sent_after;
        judged(Protocol::Tls, Duration::ZERO, &c)
    };
    for (sent_after, acknowledged) in [(0, 0), (0, 40), (4, 40)] {
        let busy = Some(Why::Quiet(ms(8_000)));
        assert_eq!(first(2_000, sent_after, acknowledged, 2), busy);
        // A connection that has been silent for long does not hold up the drain.
        assert_eq!(first(30_000, sent_after, acknowledged, 2), None);
    }
    // What went out much later was no ticket, and after some answers the rules are those of HTTP.
    assert_eq!(first(2_000, 1_001, 40, 2), None);
    assert_eq!(first(2_000, 0, 40, 7), None);
    assert_eq!(first(999, 0, 40, 7), Some(Why::Quiet(ms(1))));
    assert_eq!(first(2_000, 0, 0, 7), Some(Why::Undecided));
    let owed = info(|i| (i.last_data_recv, i.last_data_sent) = (50_000, 60_000));
    assert_eq!(
        judged(Protocol::Tls, Duration::ZERO, &owed),
        Some(Why::Owed)
    );
}

#[test]
fn where_answers_hide_each_other_only_silence_tells() {
    // The last data went in, or out, long ago or now: it is the same.
    for (recv, sent) in [(0, 5_000), (5_000, 0), (60_000, 60_000)] {
        let c = info(|i| (i.last_data_recv, i.last_data_sent) = (recv, sent));
        for protocol in [Protocol::H2, Protocol::Ws, Protocol::Opaque] {
            let busy = Some(Why::Quiet(ms(1)));
            assert_eq!(judged(protocol, ms(9_999), &c), busy, "{protocol:?}");
            assert_eq!(judged(protocol, ms(10_000), &c), None, "{protocol:?}");
        }
    }
}

#[test]
fn an_opaque_server_may_speak_first_or_never() {
    let used = |received, sent| {
        let c = info(|i| (i.bytes_received, i.bytes_sent) = (received, sent));
        [Protocol::H2, Protocol::Ws, Protocol::Opaque].map(|p| judged(p, ms(9_000), &c).is_some())
    };
    assert_eq!(used(0, 0), [false, false, false]);
    assert_eq!(used(0, 50), [false, false, true]);
    let mut c = info(|i| i.bytes_sent = 0);
    assert_eq!(judged(Protocol::H2, ms(60_000), &c), Some(Why::Unanswered));
    assert_eq!(judged(Protocol::Opaque, ms(60_000), &c), None);
    c.recv_queue = 1;
    assert_eq!(judged(Protocol::Opaque, ms(60_000), &c), Some(Why::Unread));
}

#[test]
fn each_port_is_judged_by_what_it_speaks() {
    let ports = [(80, Protocol::Http), (443, Protocol::H2)];
    let patience = Patience {
        quiet: None,
        longest: ms(30_000),
    };
    let mut tracker = Tracker::new(patience, Protocols::new(&ports));
    let mut view = Stub::new(Wait::Unknown);
    let mut other = connection();
    other.local.set_port(443);
    let look = tracker.look(ms(0), &[connection(), other], &mut view);
    assert_eq!((look.in_flight, look.idle), (1, 1));
    assert_eq!(look.quiet_left, Some(ms(5_000)));
}

#[test]
fn heartbeats_do_not_hold_up_the_drain() {
    let heartbeat = |protocol: Protocol, bytes_in: u64, bytes_out: u64| {
        let mut tracker = Tracker::new(patience(QUIET), Protocols::new(&[(80, protocol)]));
        let mut view = Stub::new(Wait::Unknown);
        let mut look = |at, age, times| {
            let c = info(|i| {
                i.bytes_received += bytes_in * times;
                i.bytes_sent += bytes_out * times;
                (i.last_data_sent, i.last_data_recv) = (age, age);
            });
            tracker.look(ms(at), &[c], &mut view).in_flight
        };
        // The last message, three heartbeats 300 ms from each other, and nothing after them.
        let seen = [(0, 0, 0), (350, 50, 1), (650, 50, 2), (950, 50, 3)]
            .map(|(at, age, times)| look(at, age, times));
        assert_eq!(seen, [1; 4]);
        look(1_000, 100, 3)
    };
    for (protocol, bytes_in, bytes_out, held) in [
        (Protocol::H2, 17, 17, 0),
        (Protocol::H2, 2 * 39, 2 * 39, 0),
        (Protocol::H2, 40, 40, 1),
        (Protocol::H2, 17, 34, 1),
        (Protocol::Ws, 10, 6, 0),
        (Protocol::Ws, 6, 10, 0),
        (Protocol::Ws, 30, 18, 0),
        (Protocol::Ws, 10, 10, 1),
        (Protocol::Ws, 1_004, 1_000, 1),
        (Protocol::Opaque, 17, 17, 1),
    ] {
        let seen = heartbeat(protocol, bytes_in, bytes_out);
        assert_eq!(seen, held, "{protocol:?} {bytes_in} {bytes_out}");
    }
}

//! Every rule by which a connection counts as in flight has a test that names it.

use super::*;
use crate::plan::drain::Protocol;

const QUIET: Duration = Duration::from_secs(1);

fn patience(quiet: Duration) -> Patience {
    Patience {
        quiet: Some(quiet),
        longest: ms(30_000),
    }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn judge_http(c: &Connection, patience: Patience, wait: impl FnOnce() -> Wait) -> Option<Why> {
    judge(c, Protocol::Http, Duration::ZERO, patience, wait)
}

/// A keep-alive connection whose last answer went out long ago.
fn connection() -> Connection {
    Connection {
        cookie: 1,
        local: "127.0.0.1:80".parse().unwrap(),
        remote: "127.0.0.1:40000".parse().unwrap(),
        state: State::Established,
        recv_queue: 0,
        send_queue: 0,
        inode: 7,
        info: Some(TcpInfo {
            last_data_sent: 5000,
            last_data_recv: 5100,
            bytes_received: 100,
            bytes_sent: 200,
            ..TcpInfo::default()
        }),
    }
}

fn info(change: impl FnOnce(&mut TcpInfo)) -> Connection {
    let mut c = connection();
    change(c.info.as_mut().unwrap());
    c
}

fn asked(_: &Connection) -> Wait {
    panic!("the threads were asked for although rules 1 to 5 had decided");
}

fn without_threads(c: &Connection) -> Option<Why> {
    judge_http(c, patience(QUIET), || asked(c))
}

struct Stub {
    wait: Wait,
    foreign: Vec<u32>,
    asked_for_owner: usize,
}

impl Stub {
    fn new(wait: Wait) -> Self {
        Self {
            wait,
            foreign: Vec::new(),
            asked_for_owner: 0,
        }
    }
}

impl View for Stub {
    fn wait(&mut self, _: &Connection) -> Wait {
        self.wait
    }
    fn ours(&mut self, c: &Connection) -> bool {
        self.asked_for_owner += 1;
        !self.foreign.contains(&c.inode)
    }
}

#[test]
fn rule_1_only_three_states_can_hold_a_request() {
    for number in 0..=13 {
        let Some(state) = State::from_number(number) else {
            assert!(matches!(number, 0 | 13), "{number}");
            continue;
        };
        let mut c = connection();
        c.state = state;
        // A request that nobody has read: busy wherever the state is looked at at all.
        c.recv_queue = 50;
        let expected = match state {
            State::Established | State::CloseWait => Some(Why::Unread),
            State::SynRecv => Some(Why::Handshake),
            _ => None,
        };
        assert_eq!(without_threads(&c), expected, "{state:?}");
    }
}

#[test]
fn rule_1_a_half_closed_client_is_still_owed_its_answer() {
    let mut c = info(|i| (i.bytes_received, i.bytes_sent) = (101, 0));
    c.state = State::CloseWait;
    assert_eq!(without_threads(&c), Some(Why::Unanswered));
    let mut c = info(|i| (i.last_data_recv, i.last_data_sent) = (10, 900));
    c.state = State::CloseWait;
    assert_eq!(without_threads(&c), Some(Why::Owed));
}

#[test]
fn rule_1_without_tcp_info_a_connection_counts() {
    let mut c = connection();
    c.info = None;
    assert_eq!(without_threads(&c), Some(Why::Connected));
}

#[test]
fn rule_1_a_handshake_counts_for_a_few_seconds_only() {
    let mut c = connection();
    (c.state, c.inode, c.info) = (State::SynRecv, 0, None);
    let mut another = c;
    another.remote.set_port(40001);
    let mut tracker = Tracker::new(patience(QUIET), Protocols::default());
    let mut view = Stub::new(Wait::Unknown);
    assert_eq!(tracker.look(ms(0), &[c], &mut view).in_flight, 1);
    assert_eq!(
        tracker.look(ms(2000), &[c, another], &mut view).in_flight,
        2
    );
    assert_eq!(
        tracker.look(ms(3000), &[c, another], &mut view).in_flight,
        1
    );
    assert_eq!(
        tracker.look(ms(5000), &[c, another], &mut view).in_flight,
        0
    );
    // A new one from the same address starts anew once the old one is gone.
    assert!(tracker.look(ms(5100), &[another], &mut view).drained);
    assert_eq!(tracker.look(ms(5200), &[c], &mut view).in_flight, 1);
}

#[test]
fn rule_2_unread_bytes_are_a_request() {
    let mut c = connection();
    c.recv_queue = 1;
    assert_eq!(without_threads(&c), Some(Why::Unread));
}

#[test]
fn rule_2_holds_in_the_accept_queue() {
    let mut c = info(|i| i.bytes_sent = 0);
    (c.inode, c.recv_queue) = (0, 100);
    assert_eq!(without_threads(&c), Some(Why::Unread));
}

#[test]
fn rule_2_an_unread_fin_is_no_request() {
    let mut c = connection();
    (c.state, c.recv_queue) = (State::CloseWait, 1);
    assert_eq!(judge_http(&c, patience(QUIET), || Wait::Unknown), None);
    c.recv_queue = 2;
    assert_eq!(
        judge_http(&c, patience(QUIET), || Wait::Unknown),
        Some(Why::Unread)
    );
}

#[test]
fn rule_3_bytes_not_acknowledged_are_an_answer_under_way() {
    for state in [State::Established, State::CloseWait] {
        let mut c = connection();
        (c.state, c.send_queue) = (state, 1);
        assert_eq!(without_threads(&c), Some(Why::Unsent));
    }
}

#[test]
fn rule_4_nothing_received_is_idle_even_if_young() {
    let opened = |i: &mut TcpInfo| {
        *i = TcpInfo::default();
    };
    assert_eq!(without_threads(&info(opened)), None);
    // A server that greets first has sent, and is owed nothing either.
    assert_eq!(
        without_threads(&info(|i| (i.bytes_received, i.last_data_sent) = (0, 0))),
        None
    );
}

#[test]
fn rule_4_a_fin_alone_is_nothing_received() {
    let mut c = info(|i| (i.bytes_received, i.bytes_sent) = (1, 0));
    c.state = State::CloseWait;
    assert_eq!(without_threads(&c), None);
}

#[test]
fn rule_4_received_and_never_answered_is_busy_however_long() {
    // Both ages are equal when connection and request fall into one jiffy.
    for age in [0, 1_000, u32::MAX] {
        let c = info(|i| (i.bytes_sent, i.last_data_sent, i.last_data_recv) = (0, age, age));
        assert_eq!(without_threads(&c), Some(Why::Unanswered));
    }
}

#[test]
fn rule_5_data_in_after_data_out_is_owed_an_answer_however_long() {
    for (recv, sent) in [(0, 4), (60_000, 60_004), (3_600_000, 7_200_000)] {
        let c = info(|i| (i.last_data_recv, i.last_data_sent) = (recv, sent));
        assert_eq!(without_threads(&c), Some(Why::Owed));
    }
}

#[test]
fn rule_6_an_answer_is_finished_after_the_quiet_time() {
    for (age, expected) in [
        (0, Some(Why::Quiet(QUIET))),
        (600, Some(Why::Quiet(ms(400)))),
        (999, Some(Why::Quiet(ms(1)))),
        (1000, None),
        (u32::MAX, None),
    ] {
        let c = info(|i| (i.last_data_sent, i.last_data_recv) = (age, u32::MAX));
        assert_eq!(
            judge_http(&c, patience(QUIET), || Wait::Unknown),
            expected,
            "{age}"
        );
    }
}

/// A connection on which the last data went both ways within one jiffy, two seconds ago; `acknowledged` so
/// many milliseconds later, after so many segments with data each way and so many without sent.
fn tie(acknowledged: u32, received: u32, sent: u32, bare: u32) -> Connection {
    info(|i| {
        (i.last_data_sent, i.last_data_recv) = (2_000, 2_000);
        i.last_ack_recv = 2_000 - acknowledged;
        i.segments = Some(Segments {
            received,
            sent,
            bare,
        });
    })
}

fn without_readers(c: &Connection) -> Option<Why> {
    judge_http(c, patience(QUIET), || Wait::Unknown)
}

#[test]
fn rule_6_what_happened_last_in_one_jiffy() {
    let undecided = Some(Why::Undecided);
    // Measured: loopback and Ethernet, a server with an event loop.
    for (what, c, expected) in [
        ("quick answers, then idle", tie(40, 10, 10, 1), None),
        ("a slow answer before them", tie(40, 11, 11, 2), None),
        ("the next request", tie(0, 11, 10, 2), undecided),
        ("one quick answer, then idle", tie(0, 1, 1, 1), None),
        ("a request in two parts, then idle", tie(0, 2, 1, 1), None),
        ("a long one, then idle", tie(0, 1, 14, 1), None),
        ("one, then a request", tie(0, 2, 1, 2), undecided),
        ("long answers, then idle", tie(0, 10, 30, 1), None),
        // One answer of two segments and a request, or two quick answers.
        ("either", tie(0, 2, 2, 2), undecided),
        // Ten long answers and a request, or eleven of which one was slow.
        ("either", tie(0, 11, 30, 2), undecided),
        ("TLS 1.2, a request", tie(0, 4, 3, 2), undecided),
        ("TLS 1.2, then idle", tie(40, 3, 3, 1), None),
        ("TLS 1.3, then idle", tie(40, 5, 4, 2), None),
        ("TLS 1.3, a request", tie(0, 4, 4, 3), undecided),
        // The server's kernel probes a silent client: the acknowledgment comes late and tells nothing.
        ("a probe, a request", tie(1_500, 11, 10, 3), undecided),
        ("a probe, then idle", tie(1_500, 10, 10, 3), None),
    ] {
        assert_eq!(without_readers(&c), expected, "{what}: {c:?}");
    }
}

#[test]
fn rule_6_a_kernel_that_does_not_count_segments_tells_by_the_acknowledgment_alone() {
    let mut uncounted = tie(0, 3, 3, 1);
    assert_eq!(without_readers(&uncounted), None);
    uncounted.info.as_mut().unwrap().segments = None;
    assert_eq!(without_readers(&uncounted), Some(Why::Undecided));
    uncounted.info.as_mut().unwrap().last_ack_recv = 1_960;
    assert_eq!(without_readers(&uncounted), None);
}

#[test]
fn rule_6_an_acknowledgment_is_late_after_half_a_second_and_two_round_trips() {
    let mut c = tie(700, 11, 10, 2);
    assert_eq!(without_readers(&c), Some(Why::Undecided));
    c.info.as_mut().unwrap().round_trip = 100_000;
    assert_eq!(without_readers(&c), None);
}

#[test]
fn rule_6_that_no_request_was_acknowledged_alone_is_known_after_a_while() {
    let aged = |age| {
        let mut c = tie(0, 2, 6, 1);
        let info = c.info.as_mut().unwrap();
        (info.last_data_sent, info.last_data_recv, info.last_ack_recv) = (age, age, age);
        judge_http(&c, patience(Duration::ZERO), || Wait::Unknown)
    };
    assert_eq!(aged(299), Some(Why::Undecided));
    assert_eq!(aged(300), None);
}

#[test]
fn rule_6_undecided_is_owed_for_ten_seconds() {
    let judged = |age, quiet, longest| {
        let patience = Patience {
            quiet: Some(quiet),
            longest,
        };
        let c = info(|i| (i.last_data_sent, i.last_data_recv, i.last_ack_recv) = (age, age, age));
        judge_http(&c, patience, || Wait::Unknown)
    };
    assert_eq!(judged(999, QUIET, QUIET * 30), Some(Why::Quiet(ms(1))));
    assert_eq!(judged(9_999, QUIET, QUIET * 30), Some(Why::Undecided));
    assert_eq!(judged(10_000, QUIET, QUIET * 30), None);
    // A short quiet time shortens that not, a long one and the end of the drain do what they say.
    assert_eq!(judged(9_999, ms(1), QUIET * 30), Some(Why::Undecided));
    assert_eq!(
        judged(15_000, QUIET * 20, QUIET * 30),
        Some(Why::Quiet(QUIET * 5))
    );
    assert_eq!(judged(3_000, QUIET, QUIET * 3), None);
}

#[test]
fn rule_7_a_reader_means_idle_now() {
    let c = info(|i| (i.last_data_sent, i.last_data_recv) = (0, 0));
    assert_eq!(judge_http(&c, patience(QUIET), || Wait::Reader), None);
}

#[test]
fn rule_7_no_reader_means_busy_however_long_the_pause() {
    let c = info(|i| (i.last_data_sent, i.last_data_recv) = (u32::MAX, u32::MAX));
    assert_eq!(
        judge_http(&c, patience(QUIET), || Wait::NoReader),
        Some(Why::NoReader)
    );
}

#[test]
fn rule_8_one_idle_look_is_not_enough() {
    let mut tracker = Tracker::new(patience(QUIET), Protocols::default());
    let mut view = Stub::new(Wait::Unknown);
    let busy = info(|i| i.last_data_recv = 0);
    let idle = connection();

    let look = tracker.look(ms(0), &[idle, busy], &mut view);
    assert_eq!((look.in_flight, look.idle, look.drained), (1, 1, false));
    assert_eq!(look.held[0].why, Why::Owed);
    let look = tracker.look(ms(100), &[idle, idle], &mut view);
    assert_eq!((look.in_flight, look.idle, look.drained), (0, 2, false));
    // A request between them starts the count again.
    assert!(!tracker.look(ms(200), &[busy], &mut view).drained);
    assert!(!tracker.look(ms(300), &[idle], &mut view).drained);
    assert!(tracker.look(ms(400), &[idle], &mut view).drained);
    assert!(tracker.look(ms(500), &[], &mut view).drained);
}

#[test]
fn rule_8_two_looks_in_one_jiffy_count_as_one() {
    let mut tracker = Tracker::new(patience(QUIET), Protocols::default());
    let mut view = Stub::new(Wait::Unknown);
    assert!(!tracker.look(ms(100), &[], &mut view).drained);
    assert!(!tracker.look(ms(110), &[], &mut view).drained);
    assert!(tracker.look(ms(120), &[], &mut view).drained);
}

#[test]
fn rule_8_a_missed_look_starts_over() {
    let mut tracker = Tracker::new(patience(QUIET), Protocols::default());
    let mut view = Stub::new(Wait::Unknown);
    assert!(!tracker.look(ms(0), &[], &mut view).drained);
    tracker.missed();
    assert!(!tracker.look(ms(100), &[], &mut view).drained);
    assert!(tracker.look(ms(200), &[], &mut view).drained);
}

#[test]
fn only_sockets_of_the_tree_count_and_only_busy_ones_are_asked_about() {
    let mut tracker = Tracker::new(patience(QUIET), Protocols::default());
    let mut view = Stub::new(Wait::Unknown);
    view.foreign = vec![9];
    let mut foreign = info(|i| i.last_data_recv = 0);
    foreign.inode = 9;
    let look = tracker.look(ms(0), &[connection(), foreign, connection()], &mut view);
    assert_eq!((look.in_flight, look.idle), (0, 2));
    assert_eq!(view.asked_for_owner, 1);
}

#[test]
fn what_holds_up_the_drain_longest_is_named_within_bounds() {
    let mut tracker = Tracker::new(patience(QUIET), Protocols::default());
    let busy: Vec<Connection> = (0..50u32)
        .map(|number| {
            let mut c = info(|i| {
                i.last_data_recv = number * 7 % 50;
                i.last_data_sent = 90;
            });
            c.remote.set_port(40_000 + number as u16);
            c
        })
        .collect();
    let look = tracker.look(ms(0), &busy, &mut Stub::new(Wait::Unknown));
    let waited: Vec<_> = look.held.iter().map(|held| held.waited).collect();
    assert_eq!(
        (look.in_flight, waited),
        (50, [49, 48, 47, 46].map(ms).into())
    );
    let oldest = look.held.first().unwrap();
    assert_eq!((oldest.peer.port(), oldest.port), (40_007, 80));
    assert_eq!(oldest.why.name(), "owed");
}

#[test]
fn the_quiet_time_left_is_told_when_nothing_else_is_waited_for() {
    let pause = |age| info(|i| (i.last_data_sent, i.last_data_recv) = (age, 9999));
    let busy = info(|i| i.last_data_recv = 0);
    let mut tracker = Tracker::new(patience(QUIET), Protocols::default());
    let mut view = Stub::new(Wait::Unknown);
    let look = tracker.look(ms(0), &[pause(700), pause(200), pause(1500)], &mut view);
    assert_eq!((look.in_flight, look.quiet_left), (2, Some(ms(800))));
    let look = tracker.look(ms(100), &[pause(700), busy], &mut view);
    assert_eq!((look.in_flight, look.quiet_left), (2, None));
    assert_eq!(tracker.look(ms(200), &[], &mut view).quiet_left, None);
}

#[test]
fn pace_spends_less_than_a_percent_and_keeps_the_stop_short() {
    let look = |in_flight, quiet_left| Look {
        in_flight,
        idle: 0,
        drained: false,
        quiet_left,
        held: Vec::new(),
    };
    // Cheap looks come often, dear ones seldom, but never too late for the stop's bound.
    assert_eq!(pace(&look(1, None), ms(0), QUIET), ms(100));
    assert_eq!(pace(&look(1, None), ms(2), QUIET), ms(300));
    assert_eq!(pace(&look(1, None), ms(60), QUIET), ms(500));
    assert_eq!(pace(&look(1, None), ms(60), Duration::ZERO), ms(200));
    // The second of two idle looks.
    assert_eq!(pace(&look(0, None), ms(60), QUIET), ms(50));
    // After it the delay may go on for long.
    let drained = Look {
        drained: true,
        ..look(0, None)
    };
    assert_eq!(pace(&drained, ms(2), QUIET), ms(300));
    // Quiet time alone: one look at its end, not many before.
    assert_eq!(pace(&look(1, Some(ms(300))), ms(0), QUIET), ms(310));
    assert_eq!(pace(&look(1, Some(ms(990))), ms(0), QUIET), ms(500));
    assert_eq!(pace(&look(1, Some(ms(1))), ms(60), QUIET), ms(20));
    for quiet in [0, 250, 1000, 10_000] {
        for cost in [0, 1, 5, 30] {
            let next = pace(&look(1, None), ms(cost), ms(quiet));
            assert!(next + CONFIRM <= ms(quiet + 300), "{quiet} {cost}");
        }
    }
}

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

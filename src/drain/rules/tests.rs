//! Every rule by which a connection counts as in flight has a test that names it.

use super::*;
use crate::plan::drain::Protocol;

mod looks;
mod protocols;
mod quiet;

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
        state: TcpState::Established,
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
        let Some(state) = TcpState::from_number(number) else {
            assert!(matches!(number, 0 | 13), "{number}");
            continue;
        };
        let mut c = connection();
        c.state = state;
        // A request that nobody has read: busy wherever the state is looked at at all.
        c.recv_queue = 50;
        let expected = match state {
            TcpState::Established | TcpState::CloseWait => Some(Why::Unread),
            TcpState::SynRecv => Some(Why::Handshake),
            _ => None,
        };
        assert_eq!(without_threads(&c), expected, "{state:?}");
    }
}

#[test]
fn rule_1_a_half_closed_client_is_still_owed_its_answer() {
    let mut c = info(|i| (i.bytes_received, i.bytes_sent) = (101, 0));
    c.state = TcpState::CloseWait;
    assert_eq!(without_threads(&c), Some(Why::Unanswered));
    let mut c = info(|i| (i.last_data_recv, i.last_data_sent) = (10, 900));
    c.state = TcpState::CloseWait;
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
    (c.state, c.inode, c.info) = (TcpState::SynRecv, 0, None);
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
    (c.state, c.recv_queue) = (TcpState::CloseWait, 1);
    assert_eq!(judge_http(&c, patience(QUIET), || Wait::Unknown), None);
    c.recv_queue = 2;
    assert_eq!(
        judge_http(&c, patience(QUIET), || Wait::Unknown),
        Some(Why::Unread)
    );
}

#[test]
fn rule_3_bytes_not_acknowledged_are_an_answer_under_way() {
    for state in [TcpState::Established, TcpState::CloseWait] {
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
    c.state = TcpState::CloseWait;
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

//! Rule 6: whether the last answer is finished or pauses.

use super::*;

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

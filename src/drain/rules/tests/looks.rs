//! One look after another: rule 8, what a look tells, and when the next one is due.

use super::*;

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
    let look = |in_flight, quiet_left| LookResult {
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
    let drained = LookResult {
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

//! One story for each rule of a restart.

use super::*;
use crate::record::StartFailure;

#[test]
fn a_failure_is_followed_by_the_next_generation() {
    Story::new(on_failure(), &[(1000, 3)]).at(5000, TERM).tells(
        "0 started, pid 2
         1000 child exited with 3 after 1.0 s
         1000 generation 1 exited with 3: restarted in 500 ms (--restart)
         1500 generation 2 begins
         1500 started, pid 2
         5000 stopping: TERM from outside the container
         5000 step 1 of 2: TERM to the child, waiting up to 30.0 s
         5010 child exited with 0 on step 1 after 10 ms
         5010 stopped in 10 ms, exit status 0
         -> exit 0",
    );
}

#[test]
fn who_never_lives_is_given_up_with_its_own_status() {
    let mut supervision = on_failure();
    supervision.longest_delay = secs(3);
    Story::new(supervision, &[(0, 7); 9]).tells(
        "0 started, pid 2
         0 child exited with 7 after 0 s
         0 generation 1 exited with 7: restarted in 500 ms (--restart)
         500 generation 2 begins
         500 started, pid 2
         500 child exited with 7 after 0 s
         500 generation 2 exited with 7: restarted in 1.0 s (--restart)
         1500 generation 3 begins
         1500 started, pid 2
         1500 child exited with 7 after 0 s
         1500 generation 3 exited with 7: restarted in 2.0 s (--restart)
         3500 generation 4 begins
         3500 started, pid 2
         3500 child exited with 7 after 0 s
         3500 generation 4 exited with 7: restarted in 3.0 s (--restart)
         6500 generation 5 begins
         6500 started, pid 2
         6500 child exited with 7 after 0 s
         6500 generation 5 exited with 7: restarted in 3.0 s (--restart)
         9500 generation 6 begins
         9500 started, pid 2
         9500 child exited with 7 after 0 s
         9500 not restarted again: 5 restarts within 60.0 s (--restart-limit)
         9500 exit status 7
         -> exit 7",
    );
}

#[test]
fn what_is_long_ago_does_not_count_and_a_minute_of_health_makes_the_delay_short_again() {
    let mut supervision = on_failure();
    supervision.limit = Some(Limit {
        times: 2,
        within: Some(secs(60)),
    });
    let lives = [(0, 1), (0, 1), (61_000, 1), (0, 1), (0, 1)];
    let told = Story::new(supervision, &lives).told();
    let restarts: Vec<&str> = told
        .lines()
        .filter(|line| line.contains("restart"))
        .collect();
    assert_eq!(
        restarts,
        [
            "0 generation 1 exited with 1: restarted in 500 ms (--restart)",
            "500 generation 2 exited with 1: restarted in 1.0 s (--restart)",
            "62500 generation 3 exited with 1: restarted in 500 ms (--restart)",
            "63000 generation 4 exited with 1: restarted in 1.0 s (--restart)",
            "64000 not restarted again: 2 restarts within 60.0 s (--restart-limit)",
        ]
    );
}

#[test]
fn a_success_is_final_unless_it_is_restarted_always() {
    let ended = "0 started, pid 2
         1000 child exited with 0 after 1.0 s
         1000 exit status 0
         -> exit 0";
    Story::new(on_failure(), &[(1000, 0)]).tells(ended);
    let told = Story::new(on_failure(), &[(1000, 3)])
        .with("success-exit", "3")
        .told();
    assert!(told.ends_with("-> exit 0"), "{told}");
    let mut always = on_failure();
    always.restart = Restart::Always;
    let told = Story::new(always, &[(1000, 0)]).at(9000, TERM).told();
    assert!(
        told.contains("1000 generation 1 exited with 0: restarted in 500 ms"),
        "{told}"
    );
}

#[test]
fn listed_codes_and_signals_are_final() {
    let mut supervision = on_failure();
    supervision.never_on.codes.push(78);
    supervision.never_on.signals.insert(named("ABRT"));
    let told = Story::new(supervision.clone(), &[(0, 78)]).told();
    assert!(told.ends_with("-> exit 78"), "{told}");
    let mut aborted = Story::new(supervision, &[]);
    let status = ExitStatus::Killed {
        signal: named("ABRT"),
        core: true,
    };
    aborted
        .script
        .lives
        .push_back(Life::Ends(Duration::ZERO, status));
    let told = aborted.told();
    assert!(told.ends_with("-> exit 134"), "{told}");
}

#[test]
fn the_status_of_a_signal_stands_for_it_as_for_success() {
    let mut supervision = on_failure();
    supervision.never_on.codes.push(137);
    let mut killed = Story::new(supervision, &[]);
    let status = ExitStatus::Killed {
        signal: Signal::KILL,
        core: false,
    };
    killed
        .script
        .lives
        .push_back(Life::Ends(Duration::ZERO, status));
    let told = killed.told();
    assert!(told.ends_with("-> exit 137"), "{told}");
    assert!(!told.contains("restarted"), "{told}");
}

#[test]
fn a_command_that_cannot_be_started_is_final_unless_asked_otherwise() {
    let fails = |start_failures| {
        let mut supervision = on_failure();
        supervision.start_failures = start_failures;
        let mut story = Story::new(supervision, &[]);
        story.script.start_fails = Some(StartFailure {
            code: 127,
            message: "no such file".to_owned(),
        });
        story.told()
    };
    assert_eq!(fails(false).matches("no such file").count(), 1);
    let told = fails(true);
    assert_eq!(told.matches("no such file").count(), 6, "{told}");
    assert!(told.ends_with("-> exit 127"), "{told}");
}

#[test]
fn a_stop_between_two_generations_ends_the_run_at_once_with_the_last_status() {
    Story::new(on_failure(), &[(1000, 3)]).at(1200, TERM).tells(
        "0 started, pid 2
         1000 child exited with 3 after 1.0 s
         1000 generation 1 exited with 3: restarted in 500 ms (--restart)
         1200 stopping: TERM from outside the container
         1200 stopped in 0 s, exit status 3
         -> exit 3",
    );
}

#[test]
fn a_stop_while_the_last_generation_is_swept_is_no_less_a_stop() {
    let mut story = Story::new(on_failure(), &[(1000, 3)])
        .with("post-stop", "p")
        .at(1500, TERM);
    story.script.hooks_take = Some(secs(1));
    story.tells(
        "0 started, pid 2
         1000 child exited with 3 after 1.0 s
         1000 post-stop hook \"p\" started
         1500 stopping: TERM from outside the container
         1500 TERM not forwarded: the child has ended
         2000 post-stop hook \"p\" done (1.0 s)
         2000 exit status 3
         -> exit 3",
    );
}

#[test]
fn a_stop_of_one_that_ends_is_told_where_another_one_was_to_follow() {
    // Which request, and how often it is told.
    for (restart, signals, times) in [
        (Restart::OnFailure, vec![TERM], 1),
        (Restart::OnFailure, vec![TERM, TERM], 1),
        (Restart::OnFailure, vec![received(Signal::HUP)], 0),
        (Restart::No, vec![TERM], 0),
    ] {
        let mut supervision = on_failure();
        supervision.restart = restart;
        let mut story = Story::new(supervision, &[])
            .with("max-runtime", "1s")
            .with("pre-stop", "p")
            .with("restart-limit", "1");
        for signal in signals {
            story = story.at(1500, signal);
        }
        if times == 0 {
            story = story.at(9000, TERM);
        }
        story.script.hooks_take = Some(secs(1));
        let told = story.told();
        let stopping = told.matches("1500 stopping: TERM from").count();
        assert_eq!(stopping, times, "{told}");
        let goes_on = told.contains("generation 2 begins");
        assert_eq!(goes_on, restart != Restart::No && times == 0, "{told}");
    }
}

#[test]
fn a_signal_asks_for_the_whole_stop_sequence_and_the_next_start() {
    let mut supervision = on_failure();
    supervision.restart = Restart::No;
    supervision.restart_on.insert(Signal::HUP);
    let mut story = Story::new(supervision, &[])
        .with("pre-stop", "p")
        .at(1000, received(Signal::HUP))
        // Nothing comes of a second one.
        .at(1100, received(Signal::HUP))
        .at(5000, TERM);
    story.script.hooks_take = Some(ms(200));
    story.tells(
        "0 started, pid 2
         1000 restarting: HUP from outside the container
         1000 pre-stop hook \"p\" started
         1100 HUP (--restart-on) not obeyed: a restart is under way
         1200 pre-stop hook \"p\" done (200 ms)
         1200 step 1 of 2: TERM to the child, waiting up to 30.0 s
         1210 child exited with 0 on step 1 after 210 ms
         1210 generation 1 exited with 0: restarted, as asked
         1210 generation 2 begins
         1210 started, pid 2
         5000 stopping: TERM from outside the container
         5000 pre-stop hook \"p\" started
         5200 pre-stop hook \"p\" done (200 ms)
         5200 step 1 of 2: TERM to the child, waiting up to 30.0 s
         5210 child exited with 0 on step 1 after 210 ms
         5210 stopped in 210 ms, exit status 0
         -> exit 0",
    );
}

#[test]
fn a_stop_during_a_restart_ends_the_run() {
    let mut supervision = on_failure();
    supervision.restart_on.insert(Signal::HUP);
    let mut story = Story::new(supervision, &[])
        .with("pre-stop", "p")
        .at(1000, received(Signal::HUP))
        .at(1100, TERM)
        .at(1150, received(Signal::HUP));
    story.script.hooks_take = Some(ms(200));
    let told = story.told();
    assert!(!told.contains("generation"), "{told}");
    let refused = "1150 HUP (--restart-on) not obeyed: a stop is under way";
    assert!(told.contains(refused), "{told}");
    assert!(told.ends_with("-> exit 0"), "{told}");
}

#[test]
fn a_request_to_restart_skips_the_delay_and_counts_for_no_limit() {
    let mut supervision = on_failure();
    supervision.restart_on.insert(Signal::HUP);
    supervision.limit = Some(Limit {
        times: 1,
        within: None,
    });
    let told = Story::new(supervision, &[(1000, 3)])
        .at(1200, received(Signal::HUP))
        .at(2000, received(Signal::HUP))
        .at(3000, TERM)
        .told();
    assert!(told.contains("1200 generation 2 begins"), "{told}");
    assert!(told.contains("2010 generation 3 begins"), "{told}");
}

#[test]
fn max_runtime_is_a_failure_of_one_generation() {
    let told = Story::new(on_failure(), &[])
        .with("max-runtime", "2s")
        .at(3000, TERM)
        .told();
    assert!(
        told.contains("2010 generation 1 ended by --max-runtime: restarted in 500 ms"),
        "{told}"
    );
    assert!(told.ends_with("-> exit 0"), "{told}");
}

#[test]
fn other_signals_have_nobody_to_go_to_between_two_generations() {
    let told = Story::new(on_failure(), &[(1000, 3)])
        .at(1200, received(named("USR1")))
        .at(2000, TERM)
        .told();
    let line = "1200 USR1 not forwarded: the child has ended, and the next one is not started yet";
    assert!(told.contains(line), "{told}");
}

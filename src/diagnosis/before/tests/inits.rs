//! Inits, and the times of a stop.

use super::*;

#[test]
fn an_init_tells_its_child_its_group_or_all() {
    let tini = |target, sweeps| with(pid1("tini"), |seen| seen.init = Some(init(target, sweeps)));
    let family = |target, sweeps| {
        vec![
            tini(target, sweeps),
            process(8, 7, "sh"),
            handles(process(9, 8, "server")),
            with(handles(process(10, 7, "daemon")), |seen| {
                (seen.look.session, seen.look.group) = (99, 99);
            }),
        ]
    };
    broken(
        family(Target::Child, false),
        &["!9 left-alone", "!10 own-session"],
    );
    broken(family(Target::Group, false), &["!10 own-session"]);
    clean(family(Target::Tree, false));
    // stepdown asks what is left, and waits for it.
    clean(family(Target::Child, true));
}

#[test]
fn a_trap_runs_once_a_child_has_ended_that_gets_the_signal_as_well() {
    let family = |target, change: &dyn Fn(&mut Seen)| {
        let stepdown = with(pid1("stepdown"), |seen| {
            seen.init = Some(init(target, true))
        });
        let program = with(process(9, 8, "server"), change);
        vec![stepdown, handles(process(8, 7, "sh")), program]
    };
    let plain: &dyn Fn(&mut Seen) = &|_| {};
    broken(family(Target::Child, plain), &["!8 trap-waits"]);
    for target in [Target::Group, Target::Tree] {
        clean(family(target, plain));
        clean(family(target, &|seen| seen.look.caught = TERM));
        // What the child does is to be mended, not who is told.
        let told = broken(
            family(target, &|seen| seen.look.ignored = TERM),
            &["!8 trap-waits", "!9 ignored"],
        );
        let way_out = told.findings[0].finding.way_out();
        assert!(
            way_out.ends_with("or let 9 server end on TERM, which it gets as well"),
            "{way_out}"
        );
    }
    let elsewhere: &dyn Fn(&mut Seen) = &|seen| seen.look.group = 9;
    clean(family(Target::Tree, elsewhere));
    let group = judge(&snapshot(family(Target::Group, elsewhere)));
    assert_eq!(kinds(&group)[0], "?8 trap-waits");
}

#[test]
fn two_inits_in_a_row_are_one_too_many() {
    let init = || Some(init(Target::Child, true));
    let outer = || with(pid1("docker-init"), |seen| seen.init = init());
    let inner = with(process(8, 7, "stepdown"), |seen| seen.init = init());
    let server = |parent| process(9, parent, "server");
    finds(
        vec![outer(), inner, server(8)],
        Verdict::Stops,
        &["8 two-inits"],
    );
    clean(vec![outer(), server(7)]);
}

#[test]
fn the_ladder_goes_on_until_a_step_works() {
    let ignores = || with(process(8, 7, "server"), |seen| seen.look.ignored = TERM);
    let stepdown = |signals: &[Signal]| {
        with(pid1("stepdown"), |seen| {
            let mut init = init(Target::Child, true);
            init.steps = signals
                .iter()
                .map(|signal| InitStep {
                    signal: Some(*signal),
                    target: Target::Child,
                    text: signal.to_string(),
                })
                .collect();
            seen.init = Some(init);
        })
    };
    broken(vec![stepdown(&[Signal::TERM]), ignores()], &["!8 ignored"]);
    clean(vec![stepdown(&[Signal::TERM, Signal::INT]), ignores()]);
    broken(
        vec![stepdown(&[]), process(8, 7, "server")],
        &["!7 drops-signal"],
    );
}

#[test]
fn the_plan_is_measured_against_the_platform() {
    let seconds = Duration::from_secs;
    let told = |times: InitTimes, grace: Option<u64>| {
        let mut init = init(Target::Child, true);
        init.times = Some(times);
        let stepdown = with(pid1("stepdown"), |seen| seen.init = Some(init.clone()));
        let snapshot = Snapshot {
            grace: grace.map(|grace| Grace {
                time: seconds(grace),
                by: "docker".to_owned(),
            }),
            ..snapshot(vec![stepdown, process(8, 7, "server")])
        };
        kinds(&judge(&snapshot))
    };
    let times = |worst: Option<u64>, least, has_post_stop| InitTimes {
        worst: worst.map(|worst| (seconds(worst), "all hangs")),
        before: Duration::ZERO,
        least: seconds(least),
        has_post_stop,
    };
    assert_eq!(
        told(times(Some(12), 0, true), Some(10)),
        ["7 may-take-longer"]
    );
    assert_eq!(told(times(Some(12), 11, true), Some(10)), ["!7 too-long"]);
    assert_eq!(told(times(None, 0, true), Some(10)), ["7 no-time-left"]);
    let late = InitTimes {
        before: seconds(11),
        ..times(None, 0, true)
    };
    assert_eq!(told(late, Some(10)), ["7 may-take-longer"]);
    // Whatever it would do, it has no time for it.
    assert_eq!(told(times(Some(12), 0, true), Some(0)), ["7 no-grace"]);
    assert_eq!(
        told(times(Some(12), 11, true), Some(0)),
        ["!7 too-long", "7 no-grace"]
    );
    for (times, grace) in [
        (times(Some(9), 0, true), Some(10)),
        (times(None, 0, false), Some(10)),
        // Nobody has told how long it is.
        (times(Some(12), 11, true), None),
    ] {
        assert_eq!(told(times, grace), [""; 0]);
    }
}

#[test]
fn a_signal_on_which_another_child_follows_is_no_stop() {
    for how in [Next::Restarted, Next::Replaced] {
        let stepdown = with(pid1("stepdown"), |seen| {
            let mut init = init(Target::Child, true);
            init.goes_on = Some(GoesOn {
                how,
                stop_on: "TERM".to_owned(),
            });
            seen.init = Some(init);
        });
        let told = broken(vec![stepdown, process(8, 7, "server")], &["!7 goes-on"]);
        assert_eq!(fate(&told, 8), Fate::Left);
        let way_out = told.findings[0].finding.way_out();
        assert!(
            way_out.contains("choose TERM as the stop signal"),
            "{way_out}"
        );
        assert!(way_out.contains(how.option()), "{way_out}");
    }
}

#[test]
fn a_server_with_more_patience_than_the_platform_is_named() {
    let told = |command: &str, signal, grace: Option<u64>| {
        let server = with(pid1("gunicorn"), |seen| {
            seen.look.argv = command.split(' ').map(str::to_owned).collect();
            seen.look.caught = TERM | INT;
        });
        // Its workers have its command line, and are its own to stop.
        let worker = with(handles(process(8, 7, "gunicorn")), |seen| {
            seen.look.argv = command.split(' ').map(str::to_owned).collect();
        });
        let snapshot = Snapshot {
            signal,
            grace: grace.map(|grace| Grace {
                time: Duration::from_secs(grace),
                by: "docker".to_owned(),
            }),
            ..snapshot(vec![server, worker])
        };
        kinds(&judge(&snapshot))
    };
    let slow = "python3 /usr/bin/gunicorn --graceful-timeout 60 a:b";
    assert_eq!(told(slow, Signal::TERM, Some(10)), ["7 outlasts-grace"]);
    for (signal, grace) in [
        (Signal::TERM, Some(60)),
        (Signal::TERM, None),
        // It does not wait then.
        (Signal::INT, Some(10)),
    ] {
        assert_eq!(told(slow, signal, grace), [""; 0]);
    }
}

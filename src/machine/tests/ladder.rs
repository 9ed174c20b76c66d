//! The ladder: its steps, their targets, and the commands that stop.

use super::*;

#[test]
fn a_child_that_obeys_term_is_down_at_once() {
    Story::of("")
        .asked(Signal::TERM)
        .exits_on(Cue::Signal(Signal::TERM), 300)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 2: TERM to the child, waiting up to 30.0 s
            0 -> cont to the child
            300 child exited with 0 on step 1 after 300 ms
            300 stopped in 300 ms, exit status 0
            300 -> exit 0
            "#,
        );
}

#[test]
fn a_child_that_ignores_the_stop_signal_is_killed_after_the_grace() {
    Story::of("--grace 2s").asked(Signal::TERM).tells(
        r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 2: TERM to the child, waiting up to 2.0 s
            0 -> cont to the child
            2000 -> kill to the tree
            2000 step 2 of 2: KILL to the tree
            2000 child died of KILL on step 2 after 2.0 s
            2000 stopped by KILL in 2.0 s, exit status 137
            2000 -> exit 137
            "#,
    );
}

#[test]
fn pid_1_waits_as_long_as_the_platform_lets_it() {
    Story::of("--ladder SAME:2s,QUIT")
        .in_place_of_init()
        .asked(Signal::TERM)
        .at(86_400_000, Event::ChildExited(ExitStatus::Exited(0)))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 3: TERM:2s to the child, waiting up to 2.0 s
            0 -> cont to the child
            2000 -> quit to the child
            2000 step 2 of 3: QUIT to the child, waiting until it has ended
            2000 -> cont to the child
            8000 -> lookwhoisthere { signal: some(quit), target: child }
            86400000 child exited with 0 on step 2 after 1day
            86400000 stopped in 1day, exit status 0
            86400000 -> exit 0
            "#,
        );
}

#[test]
fn who_is_still_there_is_told_once_where_nobody_has_said_how_long_it_may_take() {
    let waited = || {
        let why = Some("ignores TERM".to_owned());
        let (pid, command) = (2, "server".to_owned());
        Event::StillThere(vec![Waited { pid, command, why }])
    };
    Story::of("--pre-stop a --ladder TERM:5s,HUP:5s")
        .hook(HookPhase::PreStop, 0, 1_000, done())
        .asked(Signal::TERM)
        .at(9_001, waited())
        .at(11_001, waited())
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> run the pre-stop hook "a"
            1000 -> term to the child
            1000 pre-stop hook "a" done (1.0 s)
            1000 step 1 of 3: TERM:5s to the child, waiting up to 5.0 s
            1000 -> cont to the child
            6000 -> hup to the child
            6000 step 2 of 3: HUP:5s to the child, waiting up to 5.0 s
            6000 -> cont to the child
            9000 -> lookwhoisthere { signal: some(hup), target: child }
            9001 still there after 8.0 s: 2 server (ignores TERM)
            11000 -> kill to the tree
            11000 step 3 of 3: KILL to the tree
            11000 child died of KILL on step 3 after 11.0 s
            11000 stopped by KILL in 11.0 s, exit status 137
            11000 -> exit 137
            "#,
        );
    for options in ["--grace 20s", "--ladder TERM:8s"] {
        let told = Story::of(options).asked(Signal::TERM).told();
        assert!(!told.contains("still there"), "{told}");
        assert!(!told.contains("lookwhoisthere"), "{told}");
    }
}

#[test]
fn pid_1_has_a_grace_of_its_own_where_no_platform_asks() {
    Story::of("--max-runtime 1s").in_place_of_init().tells(
        r#"
            0 -> start
            0 started, pid 2
            1000 -> notready
            1000 -> term to the child
            1000 stopping: --max-runtime is over
            1000 step 1 of 2: TERM to the child, waiting up to 30.0 s
            1000 -> cont to the child
            9000 -> lookwhoisthere { signal: some(term), target: child }
            31000 -> kill to the tree
            31000 step 2 of 2: KILL to the tree
            31000 child died of KILL on step 2 after 30.0 s
            31000 stopped by KILL in 30.0 s, exit status 124
            31000 -> exit 124
            "#,
    );
}

#[test]
fn same_is_the_signal_that_asked() {
    Story::of("--stop-on TERM,QUIT")
        .asked(Signal::QUIT)
        .exits_on(Cue::Signal(Signal::QUIT), 0)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> quit to the child
            0 stopping: QUIT from outside the container
            0 step 1 of 2: QUIT to the child, waiting up to 30.0 s
            0 -> cont to the child
            0 child exited with 0 on step 1 after 0 s
            0 stopped in 0 s, exit status 0
            0 -> exit 0
            "#,
        );
}

#[test]
fn every_step_has_its_target_and_its_wait() {
    Story::of("--ladder INT:1s,TERM@group:500ms,HUP@tree,QUIT:0,KILL@child --grace 3s")
        .asked(Signal::TERM)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> int to the child
            0 stopping: TERM from outside the container
            0 step 1 of 5: INT:1s to the child, waiting up to 1.0 s
            0 -> cont to the child
            1000 -> term to the group
            1000 step 2 of 5: TERM@group:500ms to the group, waiting up to 500 ms
            1000 -> cont to the group
            1500 -> hup to the tree
            1500 step 3 of 5: HUP@tree to the tree, waiting up to 3.0 s
            1500 -> cont to the tree
            4500 -> quit to the child
            4500 step 4 of 5: QUIT:0 to the child, waiting up to 0 s
            4500 -> cont to the child
            4500 -> kill to the child
            4500 step 5 of 5: KILL@child to the child
            4500 child died of KILL on step 5 after 4.5 s
            4500 stopped by KILL in 4.5 s, exit status 137
            4500 -> exit 137
            "#,
        );
}

#[test]
fn the_step_that_works_ends_the_ladder() {
    Story::of("--ladder INT:1s,QUIT:1s,TERM:1s")
        .asked(Signal::TERM)
        .exits_on(Cue::Signal(Signal::QUIT), 400)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> int to the child
            0 stopping: TERM from outside the container
            0 step 1 of 4: INT:1s to the child, waiting up to 1.0 s
            0 -> cont to the child
            1000 -> quit to the child
            1000 step 2 of 4: QUIT:1s to the child, waiting up to 1.0 s
            1000 -> cont to the child
            1400 child exited with 0 on step 2 after 1.4 s
            1400 stopped in 1.4 s, exit status 0
            1400 -> exit 0
            "#,
        );
}

#[test]
fn a_signal_that_stops_is_not_undone() {
    Story::of("--ladder TSTP:1s").asked(Signal::TERM).tells(
        r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> tstp to the child
            0 stopping: TERM from outside the container
            0 step 1 of 2: TSTP:1s to the child, waiting up to 1.0 s
            1000 -> kill to the tree
            1000 step 2 of 2: KILL to the tree
            1000 child died of KILL on step 2 after 1.0 s
            1000 stopped by KILL in 1.0 s, exit status 137
            1000 -> exit 137
            "#,
    );
}

#[test]
fn a_console_program_obeys_its_standard_input() {
    Story::of("--ladder 'stdin=save,stdin=stop:5s,eof'")
        .asked(Signal::TERM)
        .at(60_000, signal(Signal::INT))
        .at(61_000, signal(Signal::INT))
        .at(62_000, signal(Signal::INT))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 step 1 of 4: stdin=save, waiting up to 30.0 s
            0 -> write step 1
            8000 -> lookwhoisthere { signal: none, target: child }
            30000 step 2 of 4: stdin=stop:5s, waiting up to 5.0 s
            30000 -> write step 2
            35000 step 3 of 4: eof, waiting up to 30.0 s
            35000 -> closestdin
            60000 -> int to the child
            60000 -> cont to the child
            60000 INT from pid 9: passed on to the child
            61000 -> int to the child
            61000 -> cont to the child
            61000 INT from pid 9: passed on to the child; another INT takes the next step
            62000 -> kill to the tree
            62000 INT from pid 9: not waiting any longer
            62000 step 4 of 4: KILL to the tree
            62000 child died of KILL on step 4 after 62.0 s
            62000 stopped by KILL in 62.0 s, exit status 137
            62000 -> exit 137
            "#,
        );
}

#[test]
fn eof_ends_a_filter() {
    Story::of("--ladder eof:1s")
        .asked(Signal::TERM)
        .exits_on(Cue::Eof, 10)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 step 1 of 2: eof:1s, waiting up to 1.0 s
            0 -> closestdin
            10 child exited with 0 on step 1 after 10 ms
            10 stopped in 10 ms, exit status 0
            10 -> exit 0
            "#,
        );
}

#[test]
fn a_stop_command_stops_the_child() {
    Story::of("--ladder 'exec=ctl stop:5s'")
        .asked(Signal::TERM)
        .exits_on(Cue::Exec, 100)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 step 1 of 2: exec=ctl stop:5s, waiting up to 5.0 s
            0 -> run step 1
            0 stop command done
            100 child exited with 0 on step 1 after 100 ms
            100 stopped in 100 ms, exit status 0
            100 -> exit 0
            "#,
        );
}

#[test]
fn a_stop_command_that_outlives_the_child_may_end_by_itself() {
    let mut story = Story::of("--ladder 'exec=ctl stop:5s'")
        .asked(Signal::TERM)
        .exits_on(Cue::Exec, 100);
    story.script.hooks_take = Some(ms(700));
    story.tells(
        r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 step 1 of 2: exec=ctl stop:5s, waiting up to 5.0 s
            0 -> run step 1
            100 child exited with 0 on step 1 after 100 ms
            700 stop command done
            700 stopped in 700 ms, exit status 0
            700 -> exit 0
            "#,
    );
}

#[test]
fn a_stop_command_that_outlives_the_child_has_the_sweeps_grace() {
    Story::of("--ladder 'exec=ctl stop:9s'")
        .asked(Signal::TERM)
        .exits_on(Cue::Exec, 100)
        .hooks_hang()
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 step 1 of 2: exec=ctl stop:9s, waiting up to 9.0 s
            0 -> run step 1
            100 child exited with 0 on step 1 after 100 ms
            2100 -> kill the command of step 1
            2100 stop command killed: going on without it
            2100 stopped in 2.1 s, exit status 0
            2100 -> exit 0
            "#,
        );
}

#[test]
fn a_stop_command_that_hangs_is_killed_with_its_step() {
    Story::of("--ladder 'exec=ctl stop:1s,exec=ctl abort:1s,TERM:1s'")
        .asked(Signal::TERM)
        .hooks_hang()
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 step 1 of 4: exec=ctl stop:1s, waiting up to 1.0 s
            0 -> run step 1
            1000 -> kill the command of step 1
            1000 stop command killed: going on without it
            1000 step 2 of 4: exec=ctl abort:1s, waiting up to 1.0 s
            1000 -> run step 2
            2000 -> kill the command of step 2
            2000 -> term to the child
            2000 stop command killed: going on without it
            2000 step 3 of 4: TERM:1s to the child, waiting up to 1.0 s
            2000 -> cont to the child
            3000 -> kill to the tree
            3000 step 4 of 4: KILL to the tree
            3000 child died of KILL on step 4 after 3.0 s
            3000 stopped by KILL in 3.0 s, exit status 137
            3000 -> exit 137
            "#,
        );
}

#[test]
fn the_late_end_of_one_stop_command_is_not_the_end_of_the_next() {
    let late = Event::StopCommandEnded {
        step: 0,
        result: failed(),
    };
    Story::of("--ladder 'exec=ctl stop:1s,exec=ctl abort:1s'")
        .asked(Signal::TERM)
        .hooks_hang()
        .at(1_500, late)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 step 1 of 3: exec=ctl stop:1s, waiting up to 1.0 s
            0 -> run step 1
            1000 -> kill the command of step 1
            1000 stop command killed: going on without it
            1000 step 2 of 3: exec=ctl abort:1s, waiting up to 1.0 s
            1000 -> run step 2
            2000 -> kill the command of step 2
            2000 -> kill to the tree
            2000 stop command killed: going on without it
            2000 step 3 of 3: KILL to the tree
            2000 child died of KILL on step 3 after 2.0 s
            2000 stopped by KILL in 2.0 s, exit status 137
            2000 -> exit 137
            "#,
        );
}

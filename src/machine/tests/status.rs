//! The exit status, and what hooks are told at the end.

use super::*;

/// What the exit status becomes when TERM asks for the stop and the child ends so.
fn status(options: &str, end: ExitStatus) -> u8 {
    let story = Story::of(options)
        .asked(Signal::TERM)
        .at(100, Event::ChildExited(end));
    story.told().rsplit(' ').next().unwrap().parse().unwrap()
}

fn by(name: &str) -> ExitStatus {
    ExitStatus::Killed {
        signal: named(name),
        core: false,
    }
}

#[test]
fn clean_stop_forgives_the_ladders_signals_but_kill() {
    let exited = ExitStatus::Exited;
    assert_eq!(status("", by("TERM")), 143);
    assert_eq!(status("--clean-stop", by("TERM")), 0);
    assert_eq!(status("--clean-stop", exited(143)), 0);
    assert_eq!(status("--clean-stop", exited(1)), 1);
    // Not a signal of the ladder, or not one that was sent yet.
    assert_eq!(status("--clean-stop", by("SEGV")), 139);
    assert_eq!(
        status("--clean-stop --ladder TERM:9s,INT:9s", by("INT")),
        130
    );
    assert_eq!(
        status("--clean-stop --ladder TERM:10ms,INT:9s", by("INT")),
        0
    );
    assert_eq!(
        status("--clean-stop --ladder TERM:10ms,KILL", by("KILL")),
        137
    );
    assert_eq!(status("--clean-stop --rewrite TERM:INT", by("INT")), 0);
}

/// It may have ended the child before the first step, while a hook or the drain held up the ladder.
#[test]
fn a_clean_stop_may_come_from_the_terminal() {
    let status = |options: &str, end| {
        let story = Story::of(&format!("--pre-stop a {options}"))
            .hook(HookPhase::PreStop, 0, 500, done())
            .at(100, typed(Signal::INT))
            .at(200, Event::ChildExited(end));
        let told = story.told();
        told.rsplit(' ').next().unwrap().parse::<u8>().unwrap()
    };
    assert_eq!(status("--clean-stop", by("INT")), 0);
    assert_eq!(status("--clean-stop", ExitStatus::Exited(130)), 0);
    assert_eq!(status("", by("INT")), 130);
    assert_eq!(status("--clean-stop", by("TERM")), 143);
    // The ladder would not have sent it.
    assert_eq!(status("--clean-stop --stop-signal QUIT", by("INT")), 130);
}

#[test]
fn success_exit_maps_codes_and_signals() {
    let exited = ExitStatus::Exited;
    assert_eq!(status("--success-exit 3,143", exited(3)), 0);
    assert_eq!(status("--success-exit 3,143", exited(143)), 0);
    assert_eq!(status("--success-exit 3,143", by("TERM")), 0);
    assert_eq!(status("--success-exit TERM", by("TERM")), 0);
    assert_eq!(status("--success-exit TERM", exited(143)), 143);
    assert_eq!(status("--success-exit 3", exited(4)), 4);
}

#[test]
fn a_clean_stop_before_the_start_is_0() {
    for (options, code) in [
        ("", 143),
        ("--clean-stop", 0),
        ("--success-exit TERM", 0),
        ("--success-exit 143", 0),
        ("--success-exit INT,130", 143),
    ] {
        let options = format!("--pre-start a {options}");
        let story = Story::of(&options)
            .hook(HookPhase::PreStart, 0, 500, done())
            .at(100, signal(Signal::TERM));
        let told = story.told();
        assert!(told.ends_with(&format!("exit {code}")), "{told}");
        let options = options.replace("--pre-start a", "--wait-for file:/nowhere");
        let mut machine = Machine::new(Rc::new(plan(&options)));
        machine.handle(ms(100), signal(Signal::TERM));
        assert_eq!(machine.outcome(ms(100)).code, code, "{options}");
    }
}

/// `SERVICE_RESULT` as the first post-stop hook is told it.
fn service_result(story: Story) -> String {
    let told = story.with_facts().told();
    let (_, rest) = told.split_once("\"p\"").unwrap();
    let (_, result) = rest.lines().next().unwrap().split_once("result ").unwrap();
    result.to_owned()
}

#[test]
fn service_result_is_systemds_word() {
    let exits =
        |code| Story::of("--post-stop p").at(5, Event::ChildExited(ExitStatus::Exited(code)));
    let dies = |name| Story::of("--post-stop p").at(5, Event::ChildExited(by(name)));
    let core = ExitStatus::Killed {
        signal: Signal::ABRT,
        core: true,
    };
    let told = [
        service_result(exits(0)),
        service_result(exits(3)),
        service_result(dies("SEGV")),
        service_result(dies("TERM")),
        service_result(Story::of("--post-stop p").at(5, Event::ChildExited(core))),
        service_result(Story::of("--post-stop p --grace 1s").asked(Signal::TERM)),
        service_result(
            Story::of("--post-stop p --max-runtime 1s").exits_on(Cue::Signal(Signal::TERM), 0),
        ),
        service_result(Story::of("--post-stop p").start_fails(127)),
        service_result(
            Story::of("--post-stop p --success-exit 3")
                .at(5, Event::ChildExited(ExitStatus::Exited(3))),
        ),
    ];
    assert_eq!(
        told.join(" "),
        "Some(\"success\")] Some(\"exit-code\")] Some(\"signal\")] Some(\"success\")] \
         Some(\"core-dump\")] Some(\"timeout\")] Some(\"timeout\")] Some(\"resources\")] \
         Some(\"success\")]"
    );
}

#[test]
fn hooks_are_told_who_asked_and_what_is_left_of_the_time() {
    Story::of("--pre-stop a --post-stop p --deadline 10s --ladder 'exec=c:1s'")
        .at(500, signal(Signal::TERM))
        .hook(HookPhase::PreStop, 0, 100, done())
        .exits_on(Cue::Exec, 100)
        .with_facts()
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            500 -> notready
            500 stopping: TERM from pid 9
            500 -> run the pre-stop hook "a" [Some("signal") Some(TERM) Some(Pid(9)) child Some(2) None escalated false left Some(9750) result None]
            600 pre-stop hook "a" done (100 ms)
            600 step 1 of 2: exec=c:1s, waiting up to 1.0 s
            600 -> run step 1 [Some("signal") Some(TERM) Some(Pid(9)) child Some(2) None escalated false left Some(9650) result None]
            600 stop command done
            700 child exited with 0 on step 1 after 200 ms
            700 -> run the post-stop hook "p" [Some("signal") Some(TERM) Some(Pid(9)) child Some(2) Some("exited with 0") escalated false left Some(9550) result Some("success")]
            700 post-stop hook "p" done (0 s)
            700 stopped in 200 ms, exit status 0
            700 -> exit 0
            "#,
        );
}

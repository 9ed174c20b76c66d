//! `stepdown check` and the options of `run`: those that mean something there do it, the others are refused.

use std::path::Path;

use crate::support::ended::Ended;
use crate::support::net::free_port;
use crate::support::stepdown::can_be_pid1;
use crate::support::{Stepdown, binary, need, wait_until};

fn check(options: &[&str]) -> Stepdown {
    Stepdown::new().args(["check"]).args(options)
}

/// A check of a shell that does this, says `ready`, and is asked to stop.
fn shell(options: &[&str], script: &str) -> Ended {
    check(&["--ready-line=ready"])
        .args(options)
        .shell(script)
        .run()
}

#[test]
fn what_means_nothing_to_a_check_is_refused_before_anything_is_started() {
    for (option, way_out) in [
        ("--reload-on=HUP", "leave it out"),
        ("--no-kill", "leave it out"),
        ("--restart=always", "a run is one life of the command"),
        ("--restart-delay=1s", "a run is one life of the command"),
        ("--restart-on=HUP", "a run is one life of the command"),
        ("--replace-on=HUP", "a run is one life of the command"),
        ("--max-runtime=1s", "--after"),
        ("--stop-on=TERM", "--signal"),
        ("--escalate-on=INT", "--ladder"),
        ("--parent-death-signal=TERM", "leave it out"),
        ("-p", "leave it out"),
        ("--success-exit=143", "--expect-exit"),
        ("-e", "--expect-exit"),
        ("--clean-stop", "--expect-exit"),
        ("--log-level=warn,reaped", "use --log-level debug, or -v"),
        ("--log-format=json", "--json"),
        ("--log-reaped", "use -v"),
        ("--trace=debug", "without check"),
        ("-w", "use -v"),
        ("--report=run.json", "--json"),
        ("--state-file=state.json", "--json"),
        ("--metrics-file=stepdown.prom", "--json"),
        ("-g", "--target group"),
        ("-c", "--target child"),
        ("-s", "write --subreaper"),
        ("-l", "see --help"),
    ] {
        let ended = check(&[option]).shell("echo started").run();
        ended.code(125).never_said("started");
        assert!(ended.stderr.contains(way_out), "{option}: {}", ended.told());
    }
    let help = check(&["--help"]).run();
    for option in [
        "--reload-on",
        "--report ",
        "--max-runtime",
        "--no-kill",
        "-g ",
    ] {
        assert!(!help.stdout.contains(option), "{option}: {}", help.stdout);
    }
    // What it is about comes first.
    let first = |text: &str| help.stdout.find(text).expect("a section");
    assert!(first("--within") < first("--ladder"), "{}", help.stdout);
}

/// A CI job may set variables for the program that it builds, and test it with the file of production.
#[test]
fn variables_and_a_file_may_say_what_means_nothing_here() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str| dir.path().join(name);
    let text = format!(
        "reload-on = \"HUP\"\nmax-runtime = \"1ms\"\nreport = \"{0}/report\"\nladder = [\"INT\", \"KILL\"]\n",
        dir.path().display()
    );
    std::fs::write(file("service.toml"), text).expect("a directory of our own");
    let ended = check(&["--ready-line=ready", "--expect-exit=5"])
        .args([format!("--config={}", file("service.toml").display())])
        .env("STEPDOWN_STATE_FILE", file("state"))
        .env("STEPDOWN_METRICS_FILE", "not-even-a-name-for-it")
        .env("STEPDOWN_LOG_LEVEL", "debug")
        .env("STEPDOWN_STOP_ON", "HUP")
        .shell("trap 'exit 5' INT; echo ready; while :; do sleep 0.02; done")
        .run();
    // The ladder of the file is tried.
    ended.code(0).said("All promises held.").nothing_left();
    for name in ["report", "state"] {
        assert!(!file(name).exists(), "{name}");
    }
    let ended = check(&[])
        .env("STEPDOWN_GRAECE", "1s")
        .shell("echo started")
        .run();
    ended
        .code(125)
        .never_said("started")
        .logged(&["STEPDOWN_GRACE?"]);
}

/// A variable that is set for a check must not be passed over in silence.
#[test]
fn the_options_of_check_are_no_variables() {
    let ended = check(&[])
        .env("STEPDOWN_WITHIN", "1s")
        .shell("echo started")
        .run();
    ended.code(125).never_said("started");
    ended.logged(&["STEPDOWN_WITHIN", "write --within"]);
}

/// The variables are those of the stepdown that is tested: it would find its port taken otherwise.
#[test]
fn a_stepdown_under_test_has_its_variables_for_itself() {
    let port = free_port();
    let ended = check(&["--ready-line=ready", "--expect-exit=6", "-v"])
        .env("STEPDOWN_HEALTH_LISTEN", format!("127.0.0.1:{port}"))
        .env("STEPDOWN_STOP_SIGNAL", "INT")
        .child([binary::under_test().as_os_str()])
        .args(["sh", "-c"])
        .args(["trap 'exit 6' INT; echo ready; while :; do sleep 0.02; done"])
        .run();
    ended.code(0).nothing_left();
    assert!(
        ended.stdout.contains("TERM to the child"),
        "{}",
        ended.told()
    );
}

/// The end by the signal that the ladder sends is no surprise, whichever that is.
#[test]
fn the_stop_s_own_signals_are_expected() {
    for options in [
        &["--stop-signal=QUIT"][..],
        &["--rewrite=TERM:QUIT"],
        &["--ladder=eof:100ms,HUP:100ms,QUIT"],
        &["--target=group", "--signal=QUIT"],
    ] {
        let ended = shell(
            options,
            "trap '' HUP; ulimit -c 0; echo ready; exec sleep 1000",
        );
        ended.code(0).said("All promises held.").nothing_left();
    }
    let ended = shell(
        &["--ladder=HUP:100ms,INT:100ms"],
        "trap '' HUP INT; echo ready; while :; do sleep 0.02; done",
    );
    ended
        .code(1)
        .said("  promised: HUP, then INT are enough, KILL is not needed");
    let ended = shell(&["--rewrite=TERM:0"], "echo ready; exec sleep 1000");
    ended
        .code(125)
        .logged(&["TERM is dropped, and the stop never begins"]);
}

#[test]
fn the_ladder_of_a_console_is_tried() {
    let script = "echo ready; read -r line; [ \"$line\" = stop ]";
    let ladder = ["--ladder=stdin=stop:60s,KILL", "--expect-exit=0"];
    shell(&ladder, script).code(0).nothing_left();
}

#[test]
fn hooks_and_drain_are_told_apart_from_the_program() {
    // What is blamed is what took longest: long enough for nothing else to take longer by chance.
    let options = ["--pre-stop=sleep 3", "--within=200ms", "--grace=60s"];
    let ended = shell(&options, "echo ready; exec sleep 1000");
    ended.code(1).said("within: broken").nothing_left();
    for told in [
        "hooks and drain took ",
        "(- hooks and drain, = until",
        " |---",
    ] {
        assert!(ended.stdout.contains(told), "{told}: {}", ended.told());
    }
    // Nor are hooks after its end what it left.
    let hooks = ["--post-stop=true", "--post-stop=sleep 2", "--within=1s"];
    let ended = shell(&hooks, "echo ready; exec sleep 1000");
    ended.code(1).said("within: broken").nothing_left();
    for told in [
        ", the post-stop hooks after ",
        "  probably: the post-stop hook \"sleep 2\" took ",
        "  way out:  let it do less, give it less time (--hook-timeout)",
        "+ post-stop hooks",
    ] {
        assert!(ended.stdout.contains(told), "{told}: {}", ended.told());
    }
    let json = [&hooks[..], &["--json=-"]].concat();
    let json = shell(&json, "echo ready; exec sleep 1000");
    let told = r#""way_out":"let it do less, give it less time (--hook-timeout)"#;
    assert!(json.stdout.contains(told), "{}", json.told());
    // Nor is what it left its own way down.
    let stubborn = "trap 'sleep 0.2; exit 0' TERM; \
                    setsid sh -c 'trap \"\" TERM; echo ready; while :; do sleep 0.02; done' & \
                    while :; do sleep 0.02; done";
    let ended = shell(
        &["--within=100ms", "--grace=5s", "--sweep-grace=4s"],
        stubborn,
    );
    ended.code(1).said("within: broken").nothing_left();
    let told = "  probably: processes that it left took ";
    assert!(ended.stdout.contains(told), "{}", ended.told());
}

/// What it leaves has the rest of the grace period, which is as long as what is promised.
#[test]
fn what_may_be_left_needs_a_shorter_grace_to_be_gone_in_time() {
    let script = "(trap '' TERM; echo ready; while :; do sleep 0.02; done) & exec sleep 1000";
    let options = ["--allow-left", "--within=4s", "--sweep-grace=1s"];
    let ended = shell(&options, script);
    ended.code(1).said("within: broken").nothing_left();
    let way_out = "give them less time (--grace and --sweep-grace)";
    assert!(ended.stdout.contains(way_out), "{}", ended.told());
    let shorter = [&options[..], &["--grace=1s"]].concat();
    let ended = shell(&shorter, script);
    ended.code(0).said("All promises held.").nothing_left();
}

#[test]
fn what_is_set_already_is_no_way_out() {
    let script =
        "trap 'exit 0' TERM; (trap '' TERM; echo ready; while :; do sleep 0.02; done); true";
    for (target, way_out) in [
        (["--target", "child"], "stepdown --target group -- COMMAND"),
        (["--target", "group"], " end on TERM, which it gets as well"),
        (["--target", "tree"], " end on TERM, which it gets as well"),
        (
            ["--ladder", "TERM@group:300ms,KILL"],
            " end on TERM, which it gets as well",
        ),
    ] {
        let grace: &[&str] = match target {
            ["--ladder", _] => &[],
            _ => &["--grace=300ms"],
        };
        let ended = shell(&[&target, grace].concat(), script);
        ended.code(1).said("no-kill: broken").nothing_left();
        let is_set = way_out.contains("as well");
        assert!(ended.stdout.contains(way_out), "{}", ended.told());
        let names_group = ended.stdout.contains("--target group --");
        assert_ne!(names_group, is_set, "{}", ended.told());
    }
    // Nor is it where something is left that had the signal.
    let left = "trap '' TERM; (while :; do sleep 0.02; done) & trap - TERM; echo ready; wait";
    for target in ["group", "tree"] {
        let ended = shell(
            &["--target", target, "--grace=300ms", "--sweep-grace=0"],
            left,
        );
        ended.code(1).said("nothing-left: broken").nothing_left();
        assert!(
            !ended.stdout.contains("never gets") && !ended.stdout.contains("--target"),
            "{}",
            ended.told()
        );
    }
}

#[test]
fn times_that_no_clock_reaches_are_taken() {
    const LONGEST: &str = "18446744073709551615s";
    let program = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done";
    for option in [
        "--within",
        "--grace",
        "--deadline",
        "--ready-timeout",
        "--pre-stop=true --hook-timeout",
    ] {
        let words = format!("{option}={LONGEST}");
        let words: Vec<&str> = words.split(' ').collect();
        shell(&words, program).code(0).nothing_left();
    }
    // The moment never comes, and the end of the command does.
    for option in [
        format!("--after={LONGEST}"),
        format!("--offsets={LONGEST}..{LONGEST}/1s"),
    ] {
        let ended = check(&[&option]).shell("exit 3").run();
        ended.code(1).said("runs: broken").nothing_left();
    }
}

/// A balancer asks while the check runs, as it does in production.
#[test]
fn the_health_endpoint_says_that_the_stop_has_begun() {
    let port = free_port();
    let listen = format!("--health-listen=127.0.0.1:{port}");
    let options = [
        "--ready-line=ready",
        "--drain-checks=1",
        "--drain-checks-timeout=20s",
    ];
    let run = check(&options)
        .args([listen.as_str(), "--within=60s"])
        .shell("echo ready; exec sleep 1000")
        .start();
    let answer = || -> String {
        use std::io::{Read as _, Write as _};
        let mut text = String::new();
        if let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) {
            let _ =
                stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let _ = stream.read_to_string(&mut text);
        }
        text
    };
    wait_until("it is not ready any more", || {
        answer().starts_with("HTTP/1.1 503")
    });
    run.wait().code(0).nothing_left();
}

#[test]
fn quiet_it_tells_what_was_broken_only() {
    let script = "echo ready; exec sleep 1000";
    for quiet in ["-q", "--quiet"] {
        let ended = shell(&[quiet, "--runs=2"], script);
        assert_eq!(ended.code(0).stdout, "");
    }
    let ended = shell(&["-q", "--expect-exit=0"], script);
    ended
        .code(1)
        .said("expect-exit: broken")
        .said("A promise was broken.");
    assert!(!ended.stdout.contains("BROKEN"), "{}", ended.told());
}

#[test]
fn verbose_it_tells_the_records_as_they_come() {
    let ended = shell(&["--log-level=debug"], "echo ready; exec sleep 1000");
    ended.code(0);
    for record in ["started, pid ", "stopping: TERM from pid ", "step 1 of 2: "] {
        assert!(ended.stdout.contains(record), "{record}: {}", ended.told());
    }
}

#[test]
fn alone_it_is_without_all_that_stepdown_does() {
    need!(can_be_pid1());
    let dir = tempfile::tempdir().expect("a directory");
    let hook = format!(
        "--pre-stop=touch {}/$STEPDOWN_CHILD_PID",
        dir.path().display()
    );
    let hook = hook
        .replace("touch ", "sh -c 'echo . >> ")
        .replace("/$STEPDOWN_CHILD_PID", "/hook'");
    let ended = check(&["--compare", "--ready-line=ready", "--within=60s", &hook])
        .child([binary::gallery().as_os_str()])
        .args(["hanging-handler", "clean"])
        .run();
    ended
        .code(0)
        .said("All promises held in 2 runs.")
        .nothing_left();
    let ran = std::fs::read_to_string(dir.path().join("hook")).expect("the hook has run");
    assert_eq!(ran.lines().count(), 1, "with stepdown only");
    // A stop command stops both.
    let stop = "--stop-command=sh -c 'kill -TERM $STEPDOWN_CHILD_PID'";
    let ended = check(&["--compare", "--ready-line=ready", "--within=60s", stop])
        .child([binary::gallery().as_os_str()])
        .args(["hanging-handler", "clean"])
        .run();
    ended
        .code(0)
        .said("All promises held in 2 runs.")
        .nothing_left();
}

#[test]
fn the_child_is_started_as_it_was_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = [
        format!("--workdir={}", dir.path().display()),
        "--env=WORD=said".to_owned(),
        "--expect-exit=0".to_owned(),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let script = "trap 'echo $WORD > here; exit 0' TERM; echo ready; while :; do sleep 0.02; done";
    shell(&options, script).code(0).nothing_left();
    let said = std::fs::read_to_string(dir.path().join("here")).expect("its own words");
    assert_eq!(said, "said\n");
}

#[test]
fn the_options_of_a_run_are_taken() {
    let script = "echo ready; exec sleep 1000";
    for options in [
        &["--deadline=50s", "--sweep-grace=20s", "--stdin=relay"][..],
        &[
            "--no-new-privs",
            "--pre-start=true",
            "--post-stop=true",
            "--hook-timeout=20s",
        ],
        &[
            "--drain-port=auto",
            "--drain-quiet=100ms",
            "--drain-timeout=20s",
            "--health-listen=127.0.0.1:0",
            "--not-ready-status=404",
        ],
        &["--subreaper=off", "--left=wait"],
    ] {
        let ended = shell(options, script);
        ended.code(0).said("All promises held.").nothing_left();
    }
    let orphan = "sleep 1000 & echo ready; exec sleep 1000";
    for options in [&["--left=leave"][..], &["--subreaper=off"]] {
        let ended = shell(options, orphan);
        ended.code(1).said("nothing-left: broken").nothing_left();
    }
    // The deadline is what bounds the stop.
    let deaf = "trap '' TERM; echo ready; while :; do sleep 0.02; done";
    let ended = shell(&["--deadline=500ms", "--within=30s"], deaf);
    ended.code(1).said("no-kill: broken").nothing_left();
    let ended = shell(&["--pre-start=false"], script);
    ended
        .code(125)
        .said("check: could not be checked")
        .nothing_left();
}

#[test]
fn where_reports_cannot_go_is_told_before_anything_is_started() {
    let dir = tempfile::tempdir().expect("a directory");
    let here = dir.path().display();
    for (options, why) in [
        (
            vec!["--html=/does/not/exist/page".to_owned()],
            "No such file or directory",
        ),
        (vec![format!("--junit={here}")], "Is a directory"),
        (vec!["--json=".to_owned()], "the file has no name"),
        (
            vec!["--json=-".to_owned(), "--junit=-".to_owned()],
            "--json goes to standard output already",
        ),
        (
            vec![format!("--json={here}/a"), format!("--html={here}/./a")],
            "--json goes to ",
        ),
        (
            vec![format!("--json={here}/a"), format!("--html={here}/a")],
            "/a already",
        ),
    ] {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let ended = check(&options).shell("echo started").run();
        ended.code(125).never_said("started");
        assert!(ended.stderr.contains(why), "{options:?}: {}", ended.told());
    }
}

/// One report that cannot be written costs none of the others.
#[test]
fn a_full_disk_costs_one_report_and_the_status() {
    need!(binary::installed("/dev/full"));
    let dir = tempfile::tempdir().expect("a directory");
    let junit = dir.path().join("junit.xml");
    let junit_option = format!("--junit={}", junit.display());
    let ended = shell(
        &["--json=/dev/full", &junit_option],
        "echo ready; exec sleep 1000",
    );
    ended
        .code(125)
        .logged(&["--json /dev/full: No space left on device"]);
    assert!(Path::new(&junit).exists());
}

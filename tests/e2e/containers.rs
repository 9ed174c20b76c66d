//! The static binary as PID 1 of real containers that hold nothing else but the child.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::support::docker::{Image, available, container, scratch};
use crate::support::{binary, need, proc, wait_until};

// Stopping.

#[test]
fn docker_stop_reaches_the_child_and_its_code_comes_back() {
    need!(available());
    let mut container = container(scratch())
        .command(["/actor", "print-signals", "7"])
        .start();
    container.says("ready").stop(&[]);
    assert_eq!(container.inspect("{{.State.ExitCode}}"), "7");
    // Docker's own KILL would be 137.
    container.wait().code(7).said("got 15").logged(&["TERM"]);
}

#[test]
fn the_stop_signal_of_the_image_is_passed_on_as_it_is() {
    need!(available());
    let command = ["/actor", "print-signals", "0"];
    let mut container = container(scratch())
        .options(["--stop-signal", "INT"])
        .command(command)
        .start();
    container.says("ready").stop(&[]);
    container
        .wait()
        .code(0)
        .said("got 2")
        .never_said("got 15")
        .logged(&["INT"]);
}

#[test]
fn any_signal_can_be_the_stop_signal_of_the_image() {
    need!(available());
    let mut container = container(scratch())
        .options(["--stop-signal", "RTMIN+3"])
        .stepdown(["--stop-on", "RTMIN+3", "--stop-signal", "INT", "--"])
        .command(["/actor", "print-signals", "0"])
        .start();
    container.says("ready").stop(&[]);
    container.wait().code(0).said("got 2").never_said("got 37");
}

#[test]
fn a_stop_signal_of_ours_replaces_dockers() {
    need!(available());
    let mut container = container(scratch())
        .stepdown(["--stop-signal", "INT", "--"])
        .command(["/actor", "print-signals", "0"])
        .start();
    container.says("ready").stop(&[]);
    container.wait().code(0).said("got 2").never_said("got 15");
}

#[test]
fn a_deaf_child_is_killed_by_the_ladder_before_docker_kills_everything() {
    need!(available());
    let mut container = container(scratch())
        .stepdown([
            "--grace",
            "300ms",
            "--post-stop",
            "/actor say goodbye",
            "--",
        ])
        .command(["/actor", "ignore-signals"])
        .start();
    container.says("ready").stop(&["-t", "30"]);
    // Docker's own KILL would take PID 1 first, and nobody would be left to say goodbye.
    container.wait().code(137).said("goodbye").logged(&["KILL"]);
}

#[test]
fn docker_decides_how_long_a_stop_may_take() {
    need!(available());
    let mut container = container(scratch())
        .command(["/actor", "ignore-signals"])
        .start();
    container.says("ready").stop(&["-t", "9"]);
    // The KILL is Docker's, and before it came it was told who is there.
    container
        .wait()
        .code(137)
        .never_logged("KILL")
        .logged(&["still there after 8.", "actor (ignores TERM)"])
        .stopped_no_sooner_than(Duration::from_secs(9));
}

#[test]
fn root_that_may_only_become_another_user_stops_its_processes() {
    need!(available());
    let start = |command: [&str; 3]| {
        container(scratch())
            .options(["--cap-drop=ALL", "--cap-add=SETUID", "--cap-add=SETGID"])
            .stepdown(["--user=54321:54321", "--grace=1s", "--"])
            .command(command)
            .start()
    };
    let mut handles = start(["/actor", "print-signals", "7"]);
    handles.says("ready").stop(&["-t", "30"]);
    handles.wait().code(7).said("got 15");
    let mut ignores = start(["/actor", "ignore-signals", ""]);
    ignores.says("ready").stop(&["-t", "30"]);
    let ended = ignores.wait();
    ended.code(137).logged(&["stopped by KILL in 1."]);
}

#[test]
fn a_deadline_fits_a_shorter_docker_stop() {
    need!(available());
    let mut container = container(scratch())
        .stepdown([
            "--deadline",
            "4s",
            "--grace",
            "100s",
            "--post-stop",
            "/actor say goodbye",
            "--",
        ])
        .command(["/actor", "ignore-signals"])
        .start();
    // Shorter than the grace period, and long enough for one that is held up.
    container.says("ready").stop(&["-t", "20"]);
    container.wait().code(137).said("goodbye");
}

#[test]
fn options_come_from_the_environment_of_the_container() {
    need!(available());
    let mut container = container(scratch())
        .options(["-e", "STEPDOWN_GRACE=50s", "-e", "STEPDOWN_STOP_SIGNAL=INT"])
        .command(["/actor", "print-signals", "5"])
        .start();
    container.says("ready").stop(&[]);
    container
        .wait()
        .code(5)
        .said("got 2")
        .never_said("got 15")
        .logged(&["waiting up to 50.0 s"]);
}

#[test]
fn a_stop_right_after_the_start_is_not_lost() {
    need!(available());
    for _ in 0..3 {
        let mut container = container(scratch()).command(["/actor", "wait"]).start();
        container.runs();
        // Docker calls it running before its runtime has become stepdown, and TERM is no stop for the runtime. The
        // child is there before it has become its program, and may not have got that far.
        let init = container.pid();
        wait_until("stepdown has its child", || {
            proc::program(init).is_some_and(|program| program.ends_with("stepdown"))
                && !proc::children(init).is_empty()
        });
        container.kill("TERM");
        container.wait().code(143);
    }
}

#[test]
fn a_container_with_a_terminal_stops_as_well() {
    need!(available());
    let mut container = container(scratch())
        .options(["-t"])
        .command(["/actor", "print-signals", "6"])
        .start();
    container.says("ready").stop(&[]);
    container.wait().code(6).said("got 15");
}

#[test]
fn a_console_program_is_stopped_through_its_standard_input() {
    need!(available());
    let mut container = container(scratch())
        .options(["-i"])
        .stepdown(["--ladder", "stdin=stop:60s,TERM:2s,KILL", "--"])
        .command(["/actor", "console"])
        .start();
    container.says("ready").type_line("status");
    container.says("unknown: status").stop(&[]);
    container
        .wait()
        .code(0)
        .said("saved")
        .never_said("input is closed");
}

#[test]
fn a_console_program_is_stopped_without_any_standard_input_of_ours() {
    need!(available());
    let mut container = container(scratch())
        .stepdown(["--ladder", "stdin=stop:60s,TERM:2s,KILL", "--"])
        .command(["/actor", "console"])
        .start();
    container.says("ready").stop(&[]);
    container.wait().code(0).said("saved");
}

// Other signals.

#[test]
fn docker_kill_forwards_every_signal_one_by_one() {
    need!(available());
    let mut container = container(scratch())
        .command(["/actor", "print-signals", "0"])
        .start();
    container.says("ready");
    let rtmin3 = proc::rtmin(3);
    for (name, number) in [
        ("USR1", 10),
        ("HUP", 1),
        ("RTMIN+3", rtmin3),
        ("WINCH", 28),
        ("USR1", 10),
        ("SEGV", 11),
    ] {
        container.kill(name);
        container.says(&format!("got {number}"));
    }
    container.stop(&[]);
    let ended = container.wait();
    ended.code(0);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let rtmin3 = format!("got {rtmin3}");
    let sent = [
        "ready", "got 10", "got 1", &rtmin3, "got 28", "got 10", "got 11", "got 15",
    ];
    assert_eq!(lines, sent);
}

// Exit codes of `docker run`.

#[test]
fn docker_run_returns_the_childs_code() {
    need!(available());
    for code in ["0", "7", "255"] {
        let ended = container(scratch()).command(["/actor", "exit", code]).run();
        ended.code(code.parse().expect("a number")).was_silent();
    }
}

#[test]
fn docker_run_returns_128_and_the_signal_of_the_childs_death() {
    need!(available());
    for signal in [6, 9, 11, 15] {
        let ended = container(scratch())
            .command(["/actor", "raise", &signal.to_string()])
            .run();
        ended.code(128 + signal);
    }
}

#[test]
fn a_stop_that_killed_by_its_own_signal_returns_143_or_what_was_asked_for() {
    need!(available());
    for (options, code) in [
        (vec!["--"], 143),
        (vec!["--clean-stop", "--"], 0),
        (vec!["-e", "143", "--"], 0),
    ] {
        let mut container = container(scratch())
            .stepdown(options)
            .command(["/actor", "wait"])
            .start();
        container.says("ready").stop(&[]);
        container.wait().code(code);
    }
}

#[test]
fn what_is_not_there_is_127() {
    need!(available());
    container(scratch())
        .command(["/missing"])
        .run()
        .code(127)
        .logged(&["stepdown", "/missing"]);
    // Without PATH in the environment too.
    container(scratch())
        .command(["missing"])
        .run()
        .code(127)
        .logged(&["stepdown", "missing"]);
}

#[test]
fn what_cannot_be_executed_is_126() {
    need!(available());
    for command in ["/text", "/"] {
        container(scratch())
            .command([command])
            .run()
            .code(126)
            .logged(&["stepdown", command]);
    }
}

#[test]
fn what_was_typed_wrong_is_125_and_starts_nothing() {
    need!(available());
    for (option, value, named) in [
        ("--grace", "10parsecs", "--grace"),
        ("--stop-signal", "TREM", "TERM"),
    ] {
        let ended = container(scratch())
            .stepdown([option, value, "--", "/actor", "say", "started"])
            .run();
        ended.code(125).never_said("started").logged(&[value]);
        assert!(ended.stderr.contains(named), "{}", ended.told());
    }
    container(scratch())
        .stepdown(["--no-such-option"])
        .run()
        .code(125);
    container(scratch()).stepdown(["--"]).run().code(125);
}

// Without luxuries.

#[test]
fn no_privilege_and_a_read_only_root_are_enough() {
    need!(available());
    let mut container = container(scratch())
        .options(["--read-only", "--cap-drop", "ALL", "--user", "12345:12345"])
        .options(["--security-opt", "no-new-privileges"])
        .stepdown(["--post-stop", "/actor say goodbye", "--"])
        .command(["/actor", "describe", "4"])
        .start();
    container
        .says("uid 12345")
        .says("gid 12345")
        .says("root is read-only")
        .says("ready");
    container.stop(&[]);
    container.wait().code(4).said("got 15").said("goodbye");
}

#[test]
fn the_default_seccomp_profile_forbids_nothing_we_need() {
    need!(available());
    let mut container = container(scratch())
        .stepdown([
            "--ladder=USR1@group:60s,USR2@tree:60s,KILL",
            "--escalate-on=WINCH",
            "--",
        ])
        .command(["/actor", "describe", "0"])
        .start();
    // 2: a filter is on (prctl(2), PR_GET_SECCOMP).
    container
        .says("seccomp 2")
        .says("ready")
        .kill("HUP")
        .says("got 1")
        .stop_meanwhile(&["-t", "60"])
        .says("got 10");
    // The first is forwarded; in each step the next one is told to the child, and one more takes the next step.
    container.kill("WINCH").kill("WINCH").kill("WINCH");
    container.says("got 12").kill("WINCH").kill("WINCH");
    container.wait().code(137).logged(&["KILL"]);
}

#[test]
fn sixteen_descriptors_are_enough() {
    need!(available());
    let mut container = container(scratch())
        .options(["--ulimit", "nofile=16"])
        .stepdown([
            "--pre-stop",
            "/actor say wait-for-me",
            "--post-stop",
            "/actor say goodbye",
        ])
        .command(["--", "/actor", "describe", "0"])
        .start();
    container.says("nofile 16").says("ready").stop(&[]);
    container.wait().code(0).said("wait-for-me").said("goodbye");
}

#[test]
fn proc_is_not_needed() {
    need!(available());
    // Docker insists on /proc, so the first program of the container takes it away.
    let mut container = container(scratch())
        .options([
            "--cap-add",
            "SYS_ADMIN",
            "--security-opt",
            "apparmor=unconfined",
        ])
        .options(["--entrypoint", "/actor"])
        .command([
            "without-proc",
            "/stepdown",
            "--post-stop",
            "/actor say goodbye",
            "--",
        ])
        .command(["/actor", "describe", "3"])
        .start();
    container
        .says("no proc")
        .says("ready")
        .kill("USR1")
        .says("got 10")
        .stop(&[]);
    container.wait().code(3).said("got 15").said("goodbye");
}

#[test]
fn the_child_inherits_no_descriptor_and_leads_its_own_group() {
    need!(available());
    let ended = container(scratch()).command(["/actor", "describe"]).run();
    ended
        .code(0)
        .said("leader of its group 1")
        .said("proc is there");
    assert!(!ended.stdout.contains("leaked"), "{}", ended.told());
}

// Orphans.

#[test]
fn no_zombie_stays_in_the_container() {
    need!(available());
    let mut container = container(scratch())
        .command(["/actor", "orphans", "500"])
        .start();
    container.says("ready");
    let init = container.pid();
    let mut children = Vec::new();
    wait_until("PID 1 has no child but the main one", || {
        children = proc::children(init);
        children.len() == 1
    });
    assert_ne!(children[0].state, 'Z', "{children:?}");
    container.stop(&[]);
    container.wait().code(143);
}

#[test]
fn beside_the_hosts_processes_it_adopts_orphans_too() {
    need!(available());
    let mut container = container(scratch())
        .options(["--pid=host"])
        .stepdown(["--sweep-grace=60s", "--"])
        .command(["/actor", "keep-an-orphan"])
        .start();
    container.says("ready");
    // PID 1 of the machine or Docker's shim would get it otherwise.
    let stepdown = container.pid();
    let mut children = Vec::new();
    wait_until("stepdown has the main child and the orphan", || {
        children = proc::children(stepdown);
        children.len() == 2
    });
    container.stop(&[]);
    container.wait().code(143).never_logged("KILL");
    wait_until("both are gone", || {
        children.iter().all(|child| !proc::is_alive(child.pid))
    });
}

#[test]
fn the_container_ends_with_its_main_child_even_if_an_orphan_holds_its_output() {
    need!(available());
    let ended = container(scratch())
        .stepdown(["--sweep-grace", "300ms", "--"])
        .command(["/actor", "leave-a-holder"])
        .run();
    ended.code(0).said("leaving");
}

// Several lives.

/// The kernel lets new connections be steered under Docker's own seccomp profile, without a capability and to whoever
/// the user is.
#[test]
fn docker_kill_restarts_and_replaces_the_child_of_an_unprivileged_user() {
    need!(available());
    let image = Image::from_scratch("listener")
        .file("/stepdown", binary::under_test_static())
        .file("/listener", binary::listener())
        .build();
    let nobody = "65534:65534";
    let whole = ["--user", nobody, "--cap-drop=ALL"];
    for (options, child) in [(&whole[..], "--env=A=1"), (&[], "--user=65534")] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let readable = Permissions::from_mode(0o755);
        fs::set_permissions(dir.path(), readable).expect("a directory of ours");
        let ready = |generation: u32| dir.path().join(format!("ready{generation}"));
        for generation in 1..4 {
            fs::write(ready(generation), "").expect("a directory of ours");
        }
        let mut container = container(&image)
            .options(options.iter().copied())
            .options(["-v", &*format!("{}:/work:ro", dir.path().display())])
            .options(["-w", "/work"])
            .stepdown(["--listen=web=127.0.0.1:8080", "--restart-on=HUP"])
            .command(["--replace-on=USR2", "--ready-when=http://127.0.0.1:8080/"])
            .command(["--pre-stop=/stepdown health http://127.0.0.1:8080/"])
            .command([child, "-v", "--", "/listener", "quick"])
            .start();
        container.logs("ready after").kill("HUP");
        container.logs("generation 2 begins");
        // The first one was ready, too.
        container.wait_for("the second one is ready", |container| {
            container.times_logged("ready after") == 2
        });
        // From now on the answer tells which one has given it.
        fs::remove_file(ready(2)).expect("it is there");
        container.kill("USR2").logs("generation 3 serves");
        container
            .logs("generation 2: pre-stop hook \"/stepdown health http://127.0.0.1:8080/\" done");
        container.logs("generation 2: stopped in");
        container.stop(&[]);
        container.wait().code(0).never_logged("--replace-on: ");
    }
}

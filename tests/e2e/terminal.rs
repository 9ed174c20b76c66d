//! A real terminal with a person in front of it: what they press and see is as it would be without stepdown.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::pty::{CTRL_BACKSLASH, CTRL_C, CTRL_D, CTRL_Z, Pty, prompt};
use crate::support::skipped::skip_part;
use crate::support::{binary, need, proc, wait_until};

/// A command line of the shell that runs stepdown.
fn stepdown(options_and_command: &str) -> String {
    format!("{} {options_and_command}", binary::under_test().display())
}

/// The child that says what reached it.
fn witness() -> String {
    binary::witness().display().to_string()
}

/// The child that uses the terminal.
fn child() -> String {
    binary::terminal().display().to_string()
}

const INNER_SHELL: &str = r"env PS1='[inner $?]\n' bash --norc --noprofile --noediting -i";

// A shell as the child.

/// What a person expects of a shell, and what it says about itself.
pub(crate) fn has_job_control(pty: &mut Pty, witness: &str) {
    pty.shows("[inner 0]");
    pty.enters("cat").types("a line\n").shows("a line");
    pty.types(CTRL_Z).shows("Stopped").shows("[inner 148]");
    pty.enters("fg")
        .types("another line\n")
        .shows("another line");
    pty.types(CTRL_C).shows("[inner 130]");
    pty.enters(&format!("{witness} listen 3:5")).shows("ready");
    pty.types(CTRL_C).shows("got 2");
    pty.types(CTRL_BACKSLASH).shows("[inner 5]");
    pty.showed_times("got 2", 1);
    pty.never_showed("job control")
        .never_showed("process group");
    pty.never_showed("stepdown: ");
    pty.enters("exit 7");
}

#[test]
fn a_shell_as_the_child_has_job_control() {
    // Without any init, and with one that people know: then we know what to compare with.
    let known = "/usr/bin/tini";
    for init in ["", &format!("{known} -s --"), &stepdown("--")] {
        if let (true, Err(why)) = (init.starts_with(known), binary::installed(known)) {
            skip_part(format!("the comparison with tini: {why}"));
            continue;
        }
        let mut pty = Pty::shell();
        pty.enters(&format!("{init} {INNER_SHELL}"));
        has_job_control(&mut pty, &witness());
        pty.shows(&prompt(7));
        assert_eq!(pty.foreground(), pty.leader(), "the calling shell's own");
    }
}

#[test]
fn a_shell_that_suspends_itself_comes_back_with_fg() {
    let mut pty = Pty::shell();
    pty.enters(&stepdown(&format!("-- {INNER_SHELL}")))
        .shows("[inner 0]");
    pty.enters("suspend").shows("Stopped").shows(&prompt(147));
    pty.enters("fg").enters("echo in''side").shows("inside");
    pty.enters("cat").enters("a line").shows("a line");
    pty.types(CTRL_C).shows("[inner 130]");
    pty.enters("exit 7").shows(&prompt(7));
}

// Ctrl-C.

// Nobody waits for lines of stepdown while a child writes: rather than wait for its turn it drops them. And it
// is quiet where lines are counted, because two who write may tear each other's apart.

#[test]
fn ctrl_c_stops_a_server_with_its_hooks_and_reaches_it_once() {
    let mut pty = Pty::shell();
    let options =
        "-q --pre-stop 'echo before' --post-stop 'echo after' --ladder SAME:50ms,TERM:20s,KILL";
    let command = format!("{options} -- {} listen 15:7", witness());
    pty.enters(&stepdown(&command)).shows("ready").types(CTRL_C);
    pty.shows("before")
        .shows("got 15")
        .shows("after")
        .shows(&prompt(7));
    pty.showed_times("got 2", 1);
}

/// It is in the background there, where it would be stopped, and nobody would continue it.
#[test]
fn a_hook_may_change_the_terminal_and_cannot_read_from_it() {
    let mut pty = Pty::shell();
    let changes = "sh -c 'stty tostop </dev/tty && echo changed'";
    let reads = "sh -c 'read line </dev/tty || echo refused'";
    let command = format!("--pre-start \"{changes}\" --pre-start \"{reads}\" -- echo started");
    pty.enters(&stepdown(&command));
    pty.shows("changed").shows("refused").shows("started");
    pty.shows(&prompt(0));
}

#[test]
fn ctrl_c_reaches_each_process_of_the_target_once() {
    for (target, outside) in [("group", 0), ("tree", 1)] {
        let mut pty = Pty::shell();
        // Who is left may take its time to say what has reached it.
        let options = format!("-q --sweep-grace 1h --ladder INT@{target}:50ms,TERM@tree:20s,KILL");
        let command = format!("{options} -- {} family 15:7", witness());
        pty.enters(&stepdown(&command))
            .shows("ready")
            .types(CTRL_C)
            .shows(&prompt(7));
        for (who, times) in [
            ("main", 1),
            ("member", 1),
            ("outsider", outside),
            ("orphan", outside),
        ] {
            pty.showed_times(&format!("{who} got 2"), times);
        }
    }
}

#[test]
fn each_ctrl_c_reaches_the_child_once_and_what_comes_from_elsewhere_as_well() {
    let mut pty = Pty::shell();
    pty.enters(&stepdown(&format!("-q -- {} listen 15:7", witness())));
    pty.shows("ready").types(CTRL_C).shows("got 2");
    pty.types(CTRL_C).shows("got 2");
    let stepdown = pty.waits_for_state("stepdown", 'S');
    proc::kill(stepdown, Signal::SIGTERM as i32).expect("it is there");
    pty.shows("got 15").shows(&prompt(7));
    pty.showed_times("got 2", 2);
}

#[test]
fn the_third_ctrl_c_ends_by_kill() {
    let mut pty = Pty::shell();
    let child = "sh -c \"trap '' INT; echo ready; exec sleep 1000\"";
    let command = format!("--post-stop 'echo after' -- {child}");
    pty.enters(&stepdown(&command)).shows("ready");
    pty.types(CTRL_C).shows("step 1 of 2: INT");
    pty.types(CTRL_C).shows("takes the next step");
    pty.types(CTRL_C).shows("after").shows(&prompt(137));
}

#[test]
fn ctrl_c_ends_the_loop_or_script_of_a_shell() {
    // bash looks at how the program ended: one that exits has dealt with the INT, and all goes on.
    let command = "sh -c \"echo ready; exec sleep 1000\"";
    let once = stepdown("-q --");
    for init in [String::new(), once.clone(), format!("{once} {once}")] {
        let mut pty = Pty::shell();
        pty.enters(&format!("for i in 1 2; do {init} {command}; echo on; done"));
        pty.shows("ready").types(CTRL_C).shows(&prompt(130));
        pty.enters(&format!("bash -c '{init} {command}; echo on'"));
        pty.shows("ready").types(CTRL_C).shows(&prompt(130));
        pty.showed_times("on", 0);
    }
}

/// While something else is waited for, too.
#[test]
fn ctrl_c_before_the_start_ends_the_loop_of_a_shell() {
    for (option, waits) in [
        ("--wait-for=file:/no/such/file", "waiting up to"),
        ("--pre-start='sh -c \"echo hook; sleep 0.3\"'", "hook"),
    ] {
        let mut pty = Pty::shell();
        let command = stepdown(&format!("{option} -- true"));
        pty.enters(&format!("for i in 1 2; do {command}; echo on; done"));
        pty.shows(waits).types(CTRL_C).shows(&prompt(130));
        pty.showed_times("on", 0);
    }
}

#[test]
fn ctrl_c_that_comes_before_the_child_is_not_lost() {
    // Typed while a program that blocks INT runs in the same process before stepdown does.
    let mut pty = Pty::shell();
    let deeds = format!("{} block 2 say blocked", binary::deeds().display());
    let command = stepdown(&format!("--grace 1h -- {} listen 2:7", witness()));
    pty.enters(&format!("exec {deeds} await-pending 2 exec {command}"));
    pty.shows("blocked").types(CTRL_C).shows("got 2");
    assert_eq!(pty.ends().code(), Some(7));
}

#[test]
fn an_alarm_set_before_the_start_reaches_the_child() {
    // No terminal sends it, so the child has not got it yet.
    let mut pty = Pty::shell();
    // Blocked, so that it ends nobody who is not up yet: the child inherits that, too.
    let deeds = format!("{} block 14 alarm 300 exec", binary::deeds().display());
    let command = stepdown(&format!("-- {} listen 14:7", witness()));
    pty.enters(&format!("{deeds} {command}"))
        .shows("got 14")
        .shows(&prompt(7));
}

// Ctrl-Z.

#[test]
fn ctrl_z_suspends_child_and_stepdown_and_fg_resumes_both() {
    let mut pty = Pty::shell();
    pty.enters(&stepdown(&format!("-- {} reader", child())))
        .shows("ready");
    for line in ["one", "two"] {
        pty.types(CTRL_Z).shows("Stopped").shows(&prompt(148));
        pty.waits_for_state("stepdown", 'T');
        pty.waits_for_state("terminal", 'T');
        pty.enters("fg").enters(line).shows(&format!("read {line}"));
    }
    pty.types(CTRL_D).shows("end of input").shows(&prompt(0));
}

#[test]
fn that_it_stops_is_said_before_it_stops() {
    let mut pty = Pty::shell();
    let options = "--log-level debug --grace 1h";
    pty.enters(&stepdown(&format!("{options} -- {} reader", child())))
        .shows("ready");
    pty.types(CTRL_Z)
        .shows("stopped on the terminal, together with the child")
        .shows(&prompt(148));
    pty.enters("fg").enters("one").shows("read one");
    pty.types(CTRL_D).shows("end of input").shows(&prompt(0));
}

#[test]
fn an_editor_that_suspends_itself_is_resumed_once() {
    for stop in [Signal::SIGTSTP, Signal::SIGSTOP] {
        let mut pty = Pty::shell();
        let stop = stop as i32;
        pty.enters(&stepdown(&format!("-- {} editor {stop}", child())))
            .shows("ready");
        pty.types(CTRL_Z)
            .shows("suspending")
            .shows(&prompt(128 + stop));
        pty.enters("fg").shows("resumed").shows("continued");
        pty.types(CTRL_Z)
            .shows("suspending")
            .shows(&prompt(128 + stop));
        pty.enters("fg").shows("resumed").shows("continued");
        pty.types(CTRL_C).shows(&prompt(9));
        pty.showed_times("suspending", 2)
            .showed_times("continued", 2);
    }
}

#[test]
fn ctrl_z_suspends_the_whole_pipeline_of_a_child_that_left_it() {
    let mut pty = Pty::shell();
    pty.enters(&stepdown(&format!("-- {} reader-apart | cat", child())));
    pty.shows("ready").enters("one").shows("read one");
    // The shell waits for all of its job, and `cat` is no longer in the foreground.
    pty.types(CTRL_Z).shows("Stopped").shows(&prompt(148));
    pty.waits_for_state("cat", 'T');
    pty.enters("fg").enters("two").shows("read two");
    pty.types(CTRL_D).shows("end of input").shows(&prompt(0));
}

#[test]
fn who_continues_stepdown_alone_continues_the_child() {
    let mut pty = Pty::shell();
    pty.enters(&stepdown(&format!("-- {} editor", child())))
        .shows("ready");
    pty.types(CTRL_Z).shows(&prompt(148));
    let stepdown = pty.waits_for_state("stepdown", 'T');
    proc::kill(stepdown, Signal::SIGCONT as i32).expect("it is there");
    pty.shows("resumed");
}

#[test]
fn ctrl_z_does_not_hold_up_a_stop() {
    let mut pty = Pty::shell();
    let script = "trap 'echo stopping; sleep 1; read line; exit 7' INT; echo ready; while :; do sleep 0.05; done";
    // Only once stepdown has taken the INT as well is a stop under way.
    let command = format!("-q --pre-stop 'echo asked' --ladder INT:1h,KILL -- sh -c \"{script}\"");
    pty.enters(&stepdown(&command)).shows("ready");
    pty.types(CTRL_C).shows_all(&["stopping", "asked"]);
    pty.types(CTRL_Z);
    pty.types("\n").shows(&prompt(7));
}

#[test]
fn peers_lose_ctrl_z_or_job_control() {
    // What the README's table says about them, seen from the same shell.
    for peer in ["tini", "dumb-init", "catatonit"] {
        need!(binary::installed(&format!("/usr/bin/{peer}")));
    }
    let mut pty = Pty::shell();
    pty.enters(&format!("tini -s -- {} reader", child()))
        .shows("ready");
    pty.types(CTRL_Z);
    pty.waits_for_state("terminal", 'T');
    pty.waits_for_state("tini", 'S');
    pty.showed_times(&prompt(0), 1);

    let mut pty = Pty::shell();
    pty.enters(&format!("dumb-init -- {INNER_SHELL}"));
    pty.shows("no job control in this shell").shows("[inner 0]");

    let mut pty = Pty::shell();
    pty.enters(&format!("catatonit -- {} reader", child()))
        .shows("ready");
    pty.types(CTRL_Z).enters("a line").shows("read a line");
}

// The window.

#[test]
fn a_new_window_size_is_told_once() {
    let mut pty = Pty::shell();
    pty.enters(&stepdown(&format!(
        "--stop-on TERM -- {} listen 2:7",
        witness()
    )))
    .shows("ready");
    pty.resizes(50).shows("got 28");
    pty.resizes(51).shows("got 28");
    pty.types(CTRL_C)
        .shows(&prompt(7))
        .showed_times("got 28", 2);
}

#[test]
fn a_hangup_ends_what_a_shell_has_started() {
    let dir = tempfile::tempdir().expect("a directory");
    let told = dir.path().join("told");
    let hook = format!("sh -c 'echo $STEPDOWN_EXIT_SIGNAL > {}'", told.display());
    let mut pty = Pty::shell();
    pty.enters(&stepdown(&format!(
        "--post-stop \"{}\" -- sh -c 'echo ready; exec sleep 1000'",
        hook.replace('$', r"\$")
    )));
    pty.shows("ready").closes();
    pty.wait_until_empty();
    assert_eq!(
        std::fs::read_to_string(&told).expect("the hook ran"),
        "HUP\n"
    );
}

#[test]
fn a_hangup_is_passed_on_by_the_leader_of_the_session() {
    // The kernel tells the leader alone, and without us the child would be it.
    let dir = tempfile::tempdir().expect("a directory");
    let told = dir.path().join("told");
    let script = format!(
        "echo ready; exec {} listen 1:0 > {}",
        witness(),
        told.display()
    );
    let mut stepdown = Command::new(binary::under_test());
    let mut pty = Pty::running(stepdown.args(["--", "sh", "-c", &script]));
    pty.shows("ready");
    let said = || std::fs::read_to_string(&told).unwrap_or_default();
    wait_until("the witness listens", || said() == "ready\n");
    pty.closes();
    assert_eq!(pty.ends().code(), Some(0));
    assert_eq!(said(), "ready\ngot 1\n");
}

// The background.

#[test]
fn in_the_background_nothing_is_stolen_and_nothing_stops() {
    let mut pty = Pty::shell();
    // With this who writes in the background is stopped, if that is not prevented.
    pty.enters("stty tostop").shows(&prompt(0));
    let settings = pty.settings();
    pty.enters(&stepdown(&format!("-v -- {} listen 15:7 &", witness())));
    pty.shows_all(&[&prompt(0), "ready"]);
    assert_eq!(pty.foreground(), pty.leader());
    pty.enters("echo still''here").shows("stillhere");
    pty.waits_for_state("stepdown", 'S');
    pty.enters("kill %1; wait %1")
        .shows("got 15")
        .shows("stopped")
        .shows(&prompt(7));
    assert_eq!(pty.foreground(), pty.leader());
    assert_eq!(pty.settings(), settings);
}

#[test]
fn in_the_background_a_reader_stops_until_it_is_in_the_foreground() {
    let mut pty = Pty::shell();
    pty.enters(&stepdown(&format!("-- {} reader &", child())))
        .shows("ready");
    pty.waits_for_state("stepdown", 'T');
    // Its parent learns of it a moment after it has stopped.
    wait_until("the shell knows", || {
        pty.enters("jobs").shows_one_of(&["Stopped", "Running"]) == "Stopped"
    });
    pty.enters("fg").enters("a line").shows("read a line");
    pty.types(CTRL_D).shows(&prompt(0));
}

#[test]
fn what_is_typed_for_others_does_not_end_the_input_of_a_relay() {
    let mut pty = Pty::shell();
    let options = "--ladder 'stdin=stop:5s,KILL'";
    pty.enters(&stepdown(&format!("{options} -- {} reader &", child())));
    pty.shows_all(&["ready", &prompt(0)]);
    // Nobody takes this line from the terminal at once, so stepdown sees that it is there.
    pty.enters("echo sleeping; sleep 0.2").shows("sleeping");
    pty.enters("echo for''others").shows("forothers");
    pty.enters("fg")
        .shows("reader")
        .enters("mine")
        .shows("read mine");
    pty.types(CTRL_D).shows("end of input").shows(&prompt(0));
    pty.never_showed("read echo");
}

#[test]
fn what_is_typed_ahead_of_fg_is_read_by_the_relay() {
    let mut pty = Pty::shell();
    pty.enters(&stepdown("--stdin relay -- sed -u -e 's/^/got /' &"));
    for _ in 0..20 {
        // It waits for input, and hears of what is typed for the shell.
        pty.waits_for_state("stepdown", 'S');
        pty.types("fg\na line\n").shows("got a line");
        pty.types(CTRL_Z).shows(&prompt(148));
        pty.enters("bg").shows(&prompt(0));
    }
    pty.enters("fg").types(CTRL_D).shows(&prompt(0));
}

#[test]
fn what_stops_itself_goes_on_where_only_a_script_waits() {
    let script = format!(
        "{}; echo over",
        stepdown("-- sh -c 'kill -STOP $$; echo resumed'")
    );
    // It is the leader of the session and has no job control: nobody would continue us.
    let mut pty = Pty::running(Command::new("sh").args(["-c", &script]));
    pty.shows("resumed").shows("over");
    pty.ends();
}

#[test]
fn the_end_in_the_background_leaves_the_foreground_alone() {
    let mut pty = Pty::shell();
    pty.enters(&stepdown(&format!("-- {} editor", child())))
        .shows("ready");
    pty.types(CTRL_Z).shows(&prompt(148));
    pty.enters("bg").shows_all(&["resumed", &prompt(0)]);
    pty.enters("stty -icanon").shows(&prompt(0));
    let settings = pty.settings();
    let child = pty.waits_for_state("terminal", 'S');
    proc::kill(child, Signal::SIGINT as i32).expect("it is there");
    wait_until("stepdown is gone", || pty.named("stepdown").is_empty());
    assert_eq!(pty.foreground(), pty.leader());
    assert_eq!(pty.settings(), settings);
    pty.enters("wait %1").shows(&prompt(9));
}

// How the terminal is left.

#[test]
fn each_life_of_the_command_finds_the_terminal_as_the_first_one() {
    let mut pty = Pty::shell();
    let options = "--restart on-failure --restart-delay 50ms";
    pty.enters(&stepdown(&format!("{options} -- {INNER_SHELL}")))
        .shows("[inner 0]");
    // It has the foreground for itself, and gives nothing back.
    pty.enters("stty raw -echo; kill -KILL $$")
        .shows("restarted in")
        .shows("[inner 0]");
    pty.enters("cat").enters("a line").shows("a line");
    pty.types(CTRL_C).shows("[inner 130]");
    pty.never_showed("job control");
    pty.enters("exit 0").shows(&prompt(0));
}

#[test]
fn the_settings_are_put_back_after_kill() {
    let mut pty = Pty::plain_shell();
    let settings = pty.settings();
    pty.enters(&stepdown(&format!("--ladder KILL -- {} raw", child())))
        .shows("ready");
    assert_ne!(pty.settings(), settings);
    let stepdown = pty.waits_for_state("stepdown", 'S');
    proc::kill(stepdown, Signal::SIGTERM as i32).expect("it is there");
    pty.shows(&prompt(137));
    assert_eq!(pty.settings(), settings);
}

#[test]
fn the_foreground_is_given_back_after_kill() {
    // A script has no job control: it would not take the foreground back by itself.
    let script = format!(
        "{}; echo over; read line; echo \"read $line\"",
        stepdown(&format!("--ladder KILL -- {INNER_SHELL}"))
    );
    let mut pty = Pty::running(Command::new("sh").args(["-c", &script]));
    pty.shows("[inner 0]");
    assert_ne!(pty.foreground(), pty.leader());
    let stepdown = pty.waits_for_state("stepdown", 'S');
    proc::kill(stepdown, Signal::SIGTERM as i32).expect("it is there");
    pty.shows("over").enters("a line").shows("read a line");
    pty.ends();
}

#[test]
fn a_child_that_leaves_the_group_is_lent_the_foreground() {
    let script = format!(
        "{}; echo over; read line; echo \"read $line\"",
        stepdown(&format!("-- {} reader-apart", child()))
    );
    let mut pty = Pty::running(Command::new("sh").args(["-c", &script]));
    pty.shows("ready").enters("mine").shows("read mine");
    assert_ne!(pty.foreground(), pty.leader());
    pty.types(CTRL_D).shows("end of input");
    pty.shows("over").enters("yours").shows("read yours");
    pty.ends();
}

#[test]
fn ctrl_c_at_the_start_of_a_replacement_reaches_the_child_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let script = dir.path().join("script");
    let text = "trap 'echo got INT in $STEPDOWN_GENERATION' INT; while :; do sleep 0.05; done";
    std::fs::write(&script, text).expect("a directory of ours");
    let mut pty = Pty::shell();
    let options =
        "--listen 127.0.0.1:0 --ready-when exec:true --replace-on HUP --ladder INT:1s,KILL";
    // A shell without job control does not see that stepdown stops.
    let command = stepdown(&format!("{options} -- sh {}", script.display()));
    pty.enters(&format!("sh -c '{command}; exit $?'"))
        .shows("ready after");
    let stepdown = pty.waits_for_state("stepdown", 'S');
    proc::kill(stepdown, Signal::SIGSTOP as i32).expect("it is there");
    pty.waits_for_state("stepdown", 'T');
    pty.types(CTRL_C).shows("got INT in 1");
    proc::kill(stepdown, Signal::SIGHUP as i32).expect("it is there");
    proc::kill(stepdown, Signal::SIGCONT as i32).expect("it is there");
    pty.shows("generation 2 begins").shows("exit status 137");
    pty.showed_times("got INT in 1", 1);
}

// Ctrl-Z where there is no child.

#[test]
fn ctrl_z_suspends_a_wait_for_something_else() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("file");
    let mut pty = Pty::shell();
    let options = format!("--wait-for file:{} -- echo st''arted", file.display());
    pty.enters(&stepdown(&options)).shows("waiting up to");
    for _ in 0..2 {
        pty.types(CTRL_Z).shows("Stopped").shows(&prompt(148));
        pty.waits_for_state("stepdown", 'T');
        pty.enters("fg").waits_for_state("stepdown", 'S');
    }
    std::fs::write(&file, "").expect("a directory of ours");
    pty.shows("started").shows(&prompt(0));
}

#[test]
fn ctrl_z_suspends_the_pause_before_a_restart_and_the_wait_for_what_is_left() {
    for options in [
        "--restart always --restart-delay 1h -- sh -c 'echo en''ded'",
        "--left wait -v -- sh -c 'sleep 1000 & exit 0'",
    ] {
        let mut pty = Pty::shell();
        pty.enters(&stepdown(options));
        pty.shows_one_of(&["restarted in", "child exited"]);
        pty.types(CTRL_Z).shows("Stopped").shows(&prompt(148));
        pty.enters("fg").waits_for_state("stepdown", 'S');
        pty.types(CTRL_C).shows(&prompt(0));
    }
}

#[test]
fn what_is_suspended_does_not_use_up_the_time_to_be_ready() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("file");
    let mut pty = Pty::shell();
    let options = format!("--ready-when file:{} --ready-timeout 3s", file.display());
    pty.enters(&stepdown(&format!("{options} -- {} reader", child())))
        .shows("ready");
    pty.types(CTRL_Z).shows(&prompt(148));
    pty.enters("sleep 3").shows(&prompt(0));
    pty.enters("fg").enters("one").shows("read one");
    std::fs::write(&file, "").expect("a directory of ours");
    pty.types(CTRL_D).shows("end of input").shows(&prompt(0));
}

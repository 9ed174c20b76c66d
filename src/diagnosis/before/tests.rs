//! Snapshots, and the verdicts that they get: each defect beside its clean twin.

use std::time::Duration;

use super::*;
use crate::diagnosis::snapshot::{GoesOn, Grace, InitTimes, Next};
use crate::plan::Target;

mod inits;

const TERM: u64 = 1 << 14;
const INT: u64 = 1 << 1;

/// A process in the session and group of PID 7, the root.
fn process(pid: i32, parent: i32, command: &str) -> Seen {
    Seen {
        look: ProcessLook {
            pid,
            parent,
            group: 7,
            session: 7,
            command: command.to_owned(),
            argv: vec![command.to_owned()],
            state: "S".to_owned(),
            threads: 1,
            ..ProcessLook::default()
        },
        own_pid: pid - 6,
        started: u64::try_from(pid).unwrap(),
        signalfds: Some(0),
        sigwaits: Some(0),
        input: Some("pipe:[1] 1 0 9".to_owned()),
        ..Seen::default()
    }
}

fn root(command: &str) -> Seen {
    process(7, 1, command)
}

fn pid1(command: &str) -> Seen {
    let mut seen = root(command);
    seen.look.is_init = true;
    seen
}

fn with(mut seen: Seen, change: impl Fn(&mut Seen)) -> Seen {
    change(&mut seen);
    seen
}

fn handles(seen: Seen) -> Seen {
    with(seen, |seen| seen.look.caught = TERM)
}

fn snapshot(processes: Vec<Seen>) -> Snapshot {
    Snapshot {
        root: 7,
        signal: Signal::TERM,
        contained: processes[0].look.is_init,
        by_root: false,
        grace: None,
        processes,
    }
}

/// The kinds of what is found, the gravest first; an error with !, what is unclear with ?.
fn kinds(diagnosis: &Diagnosis) -> Vec<String> {
    let kinds = diagnosis.findings.iter().map(|found| {
        let mark = match found.level {
            Level::Error => "!",
            Level::Unclear => "?",
            Level::Warning => "",
        };
        format!("{mark}{} {}", found.process.pid, found.finding.kind())
    });
    kinds.collect()
}

#[track_caller]
fn finds(processes: Vec<Seen>, verdict: Verdict, expected: &[&str]) -> Diagnosis {
    let diagnosis = judge(&snapshot(processes));
    assert_eq!(kinds(&diagnosis), expected, "{diagnosis:#?}");
    assert_eq!(diagnosis.verdict, verdict);
    for found in &diagnosis.findings {
        assert!(!found.finding.way_out().is_empty());
    }
    diagnosis
}

#[track_caller]
fn clean(processes: Vec<Seen>) -> Diagnosis {
    finds(processes, Verdict::Stops, &[])
}

#[track_caller]
fn broken(processes: Vec<Seen>, expected: &[&str]) -> Diagnosis {
    finds(processes, Verdict::StopsNot, expected)
}

fn fate(diagnosis: &Diagnosis, pid: i32) -> Fate {
    let found = diagnosis.processes.iter().find(|judged| judged.pid == pid);
    found.expect("it is judged").fate
}

fn init(target: Target, sweeps: bool) -> Init {
    Init {
        name: "tini".to_owned(),
        steps: vec![InitStep {
            signal: Some(Signal::TERM),
            target,
            text: "TERM".to_owned(),
        }],
        sweeps,
        not_begun: None,
        goes_on: None,
        times: None,
    }
}

#[test]
fn pid_1_needs_a_handler_and_others_do_not() {
    let server = || with(pid1("server"), |seen| seen.look.caught = INT);
    let told = broken(vec![server()], &["!7 dropped"]);
    let found = &told.findings[0].finding;
    assert_eq!(
        found.to_string(),
        "is PID 1 and has no handler for TERM: the kernel discards TERM"
    );
    assert!(
        found
            .way_out()
            .contains("stop it with INT, which it handles")
    );
    clean(vec![handles(pid1("server"))]);
    clean(vec![root("server")]);
}

#[test]
fn a_shell_as_pid_1_tells_its_child_nothing() {
    let child = || handles(process(8, 7, "server"));
    let told = broken(vec![pid1("sh"), child()], &["!7 shell-as-pid1"]);
    assert_eq!(fate(&told, 8), Fate::Untold);
    // A script has its own name.
    let script = with(pid1("start.sh"), |seen| {
        seen.look.argv = vec!["/bin/sh".to_owned(), "/start.sh".to_owned()];
    });
    broken(vec![script, child()], &["!7 shell-as-pid1"]);
    let httpd = with(pid1("busybox"), |seen| {
        seen.look.argv = vec!["busybox".to_owned(), "httpd".to_owned()];
    });
    broken(vec![httpd, child()], &["!7 dropped"]);
    // exec: the program is in its place.
    clean(vec![handles(pid1("server"))]);
}

#[test]
fn a_trap_runs_once_what_is_in_the_foreground_has_ended() {
    let shell = |name: &str| handles(pid1(name));
    let child = || process(8, 7, "server");
    broken(vec![shell("sh"), child()], &["!7 trap-waits"]);
    // With & it has INT ignored, and /dev/null as its input.
    clean(vec![
        shell("sh"),
        with(child(), |seen| seen.look.ignored = INT),
    ]);
    let node = |input: Option<&str>| {
        with(child(), |seen| {
            seen.look.caught = INT;
            seen.input = input.map(str::to_owned);
        })
    };
    clean(vec![shell("bash"), node(Some("/dev/null 3 100000 9"))]);
    broken(
        vec![shell("bash"), node(Some("pipe:[1] 1 0 9"))],
        &["!7 trap-waits"],
    );
    // Neither shows; nor where its input was redirected.
    for input in ["/etc/hostname 4 100000 9", "pipe:[2] 2 0 9"] {
        let redirected = node(Some(input));
        finds(
            vec![shell("bash"), redirected],
            Verdict::Unclear,
            &["?7 trap-waits"],
        );
    }
    let unclear = finds(
        vec![shell("bash"), node(None)],
        Verdict::Unclear,
        &["?7 trap-waits"],
    );
    assert_eq!(fate(&unclear, 7), Fate::Unclear);
    let waits = with(shell("dash"), |seen| {
        seen.look.waits_in = "do_rt_sigsuspend".to_owned()
    });
    clean(vec![waits, child()]);
    // A loop around a short sleep comes to its trap by itself.
    let sleep = with(process(8, 7, "sleep"), |seen| {
        seen.look.argv.push("1".to_owned())
    });
    clean(vec![shell("sh"), sleep]);
    let long = with(process(8, 7, "sleep"), |seen| {
        seen.look.argv.push("infinity".to_owned())
    });
    broken(vec![shell("sh"), long], &["!7 trap-waits"]);
}

#[test]
fn a_pipe_tells_what_a_shell_waits_for() {
    let shell = || {
        with(handles(pid1("bash")), |seen| {
            seen.input = Some("/dev/null 3 2 9".to_owned())
        })
    };
    let reads = |pid, pipe: u64| {
        with(process(pid, 7, "server"), |seen| {
            seen.look.caught = INT;
            seen.input = Some(format!("pipe:[{pipe}] {pipe} 0 9"));
        })
    };
    let writes = |seen: Seen, pipe| with(seen, |seen| seen.writes = vec![pipe]);
    // exec > >(server): the shell keeps the end that it writes to.
    clean(vec![writes(shell(), 2), reads(8, 2)]);
    // while read line; do true; done < <(server)
    let from = |pipe| {
        with(shell(), |seen| {
            seen.input = Some(format!("pipe:[{pipe}] {pipe} 0 9"))
        })
    };
    clean(vec![from(3), writes(process(8, 7, "server"), 3)]);
    // The body of such a loop is in the foreground, and reads from the same pipe.
    let body = writes(process(8, 7, "server"), 3);
    broken(vec![from(3), body, reads(9, 3)], &["!7 trap-waits"]);
    // server | server: both in the background, or neither.
    let first = || writes(process(8, 7, "server"), 4);
    broken(vec![shell(), first(), reads(9, 4)], &["!7 trap-waits"]);
    let first = with(first(), |seen| seen.look.ignored = INT);
    clean(vec![shell(), first, reads(9, 4)]);
}

#[test]
fn a_shell_that_dies_leaves_its_child_alone() {
    let shell = || root("sh");
    let child = || process(8, 7, "server");
    // On a machine it goes on running.
    let told = broken(vec![shell(), child()], &["!8 left-alone"]);
    assert!(
        told.findings[0]
            .finding
            .to_string()
            .ends_with("it goes on running")
    );
    // In a container it is killed, which costs nothing where nothing would have been done.
    let tini = || {
        with(pid1("tini"), |seen| {
            seen.init = Some(init(Target::Child, false))
        })
    };
    let below = |child: Seen| {
        vec![
            tini(),
            process(8, 7, "sh"),
            with(child, |seen| seen.look.parent = 8),
        ]
    };
    finds(
        below(process(9, 8, "sleep")),
        Verdict::Stops,
        &["9 left-alone"],
    );
    broken(below(handles(process(9, 8, "server"))), &["!9 left-alone"]);
    broken(
        below(with(process(9, 8, "server"), |seen| {
            seen.listens = vec![80]
        })),
        &["!9 left-alone"],
    );
}

#[test]
fn package_managers_pass_signals_on_to_a_shell() {
    for (command, argv) in [
        ("npm run start", vec!["npm run start"]),
        ("node", vec!["node", "/usr/bin/npm", "start"]),
        ("node", vec!["/usr/bin/node", "/opt/yarn.js", "start"]),
    ] {
        let npm = || {
            let mut seen = handles(pid1(command));
            seen.look.argv = argv.iter().map(|word| (*word).to_owned()).collect();
            seen
        };
        let server = |parent| handles(process(9, parent, "node"));
        let told = broken(
            vec![npm(), process(8, 7, "sh"), server(8)],
            &["!9 left-alone"],
        );
        assert_eq!(fate(&told, 8), Fate::Stops);
        // The shell has become the program (exec).
        clean(vec![npm(), server(7)]);
    }
}

#[test]
fn node_as_pid_1_does_not_show_its_handler() {
    let node = |is_init: bool| {
        let mut seen = handles(root("node"));
        seen.look.is_init = is_init;
        seen
    };
    finds(vec![node(true)], Verdict::Unclear, &["?7 node-as-pid1"]);
    clean(vec![node(false)]);
    // Go and Java end on TERM as PID 1 as well: their own handler ends them.
    for program in ["java", "server"] {
        clean(vec![handles(pid1(program))]);
    }
}

#[test]
fn a_blocked_signal_needs_somebody_who_waits_for_it() {
    let blocks = || with(root("server"), |seen| seen.look.blocked = TERM);
    broken(vec![blocks()], &["!7 blocked"]);
    clean(vec![with(blocks(), |seen| seen.signalfds = Some(TERM))]);
    // While a thread waits for it the kernel does not show it as blocked.
    clean(vec![with(pid1("server"), |seen| {
        seen.sigwaits = Some(TERM)
    })]);
    broken(
        vec![with(pid1("server"), |seen| seen.sigwaits = Some(INT))],
        &["!7 dropped"],
    );
    finds(
        vec![with(pid1("server"), |seen| seen.sigwaits = None)],
        Verdict::Unclear,
        &["?7 taker-unseen"],
    );
    broken(
        vec![with(blocks(), |seen| seen.signalfds = Some(INT))],
        &["!7 blocked"],
    );
    finds(
        vec![with(blocks(), |seen| seen.signalfds = None)],
        Verdict::Unclear,
        &["?7 taker-unseen"],
    );
    broken(
        vec![with(blocks(), |seen| seen.look.pending = TERM)],
        &["!7 not-taken"],
    );
}

#[test]
fn an_ignored_signal_is_inherited() {
    let ignores = |seen: Seen| with(seen, |seen| seen.look.ignored = TERM);
    broken(vec![ignores(root("server"))], &["!7 ignored"]);
    clean(vec![root("server")]);
    let tini = with(ignores(pid1("tini")), |seen| {
        seen.init = Some(init(Target::Child, false))
    });
    let told = broken(
        vec![tini, ignores(process(8, 7, "server"))],
        &["!8 ignored"],
    );
    let why = told.findings[0].finding.to_string();
    assert_eq!(why, "ignores TERM, as 7 tini does, which started it");
}

#[test]
fn a_signal_that_does_nothing_by_default_needs_a_handler() {
    const WINCH: u64 = 1 << 27;
    let winch = |seen: Seen| Snapshot {
        signal: Signal::WINCH,
        ..snapshot(vec![seen])
    };
    for seen in [root("sleep"), pid1("sleep")] {
        let told = judge(&winch(seen));
        assert_eq!(kinds(&told), ["!7 no-action"]);
        let way_out = told.findings[0].finding.way_out();
        assert!(!way_out.contains("trap"), "{way_out}");
    }
    let ignores = with(root("server"), |seen| seen.look.ignored = WINCH);
    assert_eq!(kinds(&judge(&winch(ignores))), ["!7 ignored"]);
    let handles = with(pid1("httpd"), |seen| seen.look.caught = WINCH);
    assert_eq!(judge(&winch(handles)).verdict, Verdict::Stops);
}

#[test]
fn kill_is_no_order() {
    let family = |first: Seen| Snapshot {
        signal: Signal::KILL,
        ..snapshot(vec![first, handles(process(8, 7, "server"))])
    };
    let init = with(pid1("stepdown"), |seen| {
        seen.init = Some(init(Target::Child, true))
    });
    for (first, why) in [
        (pid1("server"), "is killed with PID 1"),
        (init, "is killed with PID 1"),
        (root("server"), "never gets KILL"),
    ] {
        let told = judge(&family(first));
        assert_eq!(kinds(&told), ["!7 killed"]);
        assert_eq!(told.verdict, Verdict::StopsNot);
        assert_eq!(told.processes[1].why, why);
    }
}

#[test]
fn what_is_held_does_not_act() {
    for (state, kind) in [("D", "in-kernel"), ("T", "stopped"), ("t", "traced")] {
        let held = |seen: Seen| with(seen, |seen| seen.look.state = state.to_owned());
        broken(
            vec![held(handles(root("server")))],
            &[&format!("!7 {kind}")],
        );
        // Its master may still end.
        let told = finds(
            vec![handles(root("master")), held(process(8, 7, "worker"))],
            Verdict::Stops,
            &[&format!("8 {kind}")],
        );
        assert_eq!(fate(&told, 8), Fate::StopsNot);
    }
    let frozen = with(handles(root("server")), |seen| {
        seen.look.waits_in = "do_freezer_trap".to_owned();
    });
    broken(vec![frozen], &["!7 frozen"]);
    let by = Named {
        pid: 30,
        command: "strace".to_owned(),
    };
    let watched = with(root("server"), |seen| seen.traced_by = Some(by.clone()));
    finds(vec![watched], Verdict::Stops, &["7 watched"]);
}

#[test]
fn a_daemon_in_a_session_of_its_own_is_known_to_nobody() {
    let daemon = |seen: Seen| with(seen, |seen| seen.look.session = 99);
    // Its session leader has ended, and PID 1 has not started it.
    let server = || handles(pid1("server"));
    broken(
        vec![server(), daemon(handles(process(8, 7, "daemon")))],
        &["!8 own-session"],
    );
    finds(
        vec![server(), daemon(process(8, 7, "daemon"))],
        Verdict::Stops,
        &["8 own-session"],
    );
    // One that leads its session was started by its parent, as PostgreSQL does it.
    let leader = with(handles(process(8, 7, "backend")), |seen| {
        seen.look.session = 8
    });
    clean(vec![server(), leader.clone()]);
    // A shell does not pass anything on to it by its group.
    broken(vec![root("sh"), leader], &["!8 own-session"]);
}

#[test]
fn zombies_are_told_to_their_parent() {
    let zombie = |pid| {
        with(process(pid, 7, "sh"), |seen| {
            seen.look.state = "Z".to_owned()
        })
    };
    let told = finds(
        vec![handles(pid1("server")), zombie(8), zombie(9)],
        Verdict::Stops,
        &["7 unreaped"],
    );
    assert_eq!(
        told.findings[0].finding.to_string(),
        "does not reap its children: 2 zombies (8 sh, 9 sh)"
    );
    assert_eq!(fate(&told, 8), Fate::Zombie);
    // Only its first thread has ended.
    let threads = with(zombie(8), |seen| seen.look.threads = 2);
    clean(vec![handles(pid1("server")), threads]);
}

#[test]
fn who_came_from_outside_is_not_judged() {
    let outside = with(process(20, 0, "sh"), |seen| seen.from_outside = true);
    let below = with(process(21, 20, "vi"), |seen| seen.from_outside = true);
    let told = clean(vec![handles(pid1("server")), outside, below]);
    assert_eq!(
        (fate(&told, 20), fate(&told, 21)),
        (Fate::Outside, Fate::Outside)
    );
    assert_eq!(told.processes.len(), 3);
}

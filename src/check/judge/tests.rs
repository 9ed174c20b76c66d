//! Stories and the verdicts that they get.

use std::time::Duration;

use super::*;
use crate::check::history::RequestTotals;
use crate::diagnosis::ProcessLook;
use crate::plan::Target;

const MS: u64 = 1_000;

pub(super) fn promise() -> Promise {
    Promise {
        signal: Signal::TERM,
        steps: vec!["TERM".to_owned()],
        signals: vec![Signal::TERM],
        target: Target::Child,
        within: Duration::from_secs(1),
        expect: None,
        allow_kill: false,
        allow_left: false,
        ports: vec![8080],
        in_flight: None,
        replace: false,
        as_pid1: false,
    }
}

pub(super) fn fact(at: u64, what: What) -> Fact {
    Fact {
        at: at * MS,
        what,
        text: "told".to_owned(),
    }
}

/// Started at 1 ms, asked at 10 ms, then as given.
pub(super) fn history(facts: Vec<Fact>) -> History {
    let start = [
        fact(1, What::Started { pid: 7 }),
        fact(10, What::StopAsked),
        fact(10, What::Step { kill: false }),
    ];
    History {
        facts: start.into_iter().chain(facts).collect(),
        sent: Some(Duration::from_millis(10)),
        ..History::default()
    }
}

fn exited(code: u8) -> What {
    What::Exited { code, signal: None }
}

fn held(history: &History, promise: &Promise, name: &str) -> Option<Held> {
    let verdict = judge(history, promise);
    let mut findings = verdict.findings.iter();
    findings
        .find(|finding| finding.promise == name)
        .map(|finding| finding.held)
}

#[test]
fn a_clean_stop_keeps_every_promise() {
    let history = history(vec![fact(20, exited(0)), fact(21, What::Ended)]);
    let verdict = judge(&history, &promise());
    assert_eq!(verdict.held(), Held::Yes, "{verdict:?}");
    assert_eq!(verdict.fate, Fate::Fine);
    assert_eq!(history.took(), Some(Duration::from_millis(11)));
}

#[test]
fn what_was_not_there_before_proves_nothing() {
    let mut history = history(vec![fact(20, exited(0)), fact(21, What::Ended)]);
    history.idle_ports = vec![8080];
    assert_eq!(
        held(&history, &promise(), "port-free"),
        Some(Held::NotJudged)
    );
    history.absent = vec!["web".to_owned()];
    assert_eq!(judge(&history, &promise()).held(), Held::Unknown);
    history.facts.push(fact(21, What::PortTaken(8080)));
    assert_eq!(held(&history, &promise(), "port-free"), Some(Held::No));
}

#[test]
fn a_stop_that_somebody_else_asked_for_proves_nothing() {
    let mut history = history(vec![fact(20, exited(0)), fact(21, What::Ended)]);
    history.sent = None;
    let verdict = judge(&history, &promise());
    assert_eq!(verdict.held(), Held::Unknown);
    assert_eq!(verdict.fate, Fate::Impossible);
    // One that is never ready is stopped by check, too.
    history.never_ready = Some((Duration::from_millis(9), "told".to_owned()));
    assert_eq!(judge(&history, &promise()).held(), Held::No);
}

#[test]
fn kill_breaks_one_promise_and_the_others_are_not_judged() {
    let history = history(vec![
        fact(1010, What::Step { kill: true }),
        fact(1011, exited(137)),
        fact(1012, What::Ended),
    ]);
    let verdict = judge(&history, &promise());
    assert_eq!(verdict.fate, Fate::Lost);
    assert_eq!(verdict.broken().count(), 1);
    assert_eq!(held(&history, &promise(), "no-kill"), Some(Held::No));
    assert_eq!(held(&history, &promise(), "within"), Some(Held::NotJudged));
    let allowed = Promise {
        allow_kill: true,
        within: Duration::from_secs(2),
        ..promise()
    };
    assert_eq!(judge(&history, &allowed).held(), Held::Yes);
}

#[test]
fn too_late_is_slow() {
    let history = history(vec![fact(1500, exited(0)), fact(1501, What::Ended)]);
    assert_eq!(judge(&history, &promise()).fate, Fate::Slow);
}

#[test]
fn what_follows_the_end_of_the_command_is_named() {
    let hook = |name: &str| What::PostStop {
        hook: name.to_owned(),
    };
    let left = What::Left {
        kill: false,
        processes: Vec::new(),
    };
    let cases = [
        (vec![], "all after", "a client that does not take"),
        (
            vec![fact(1400, What::StopCommandCut)],
            "all after",
            "was waited for, and ended by KILL",
        ),
        (
            vec![fact(20, left.clone())],
            "what it left after",
            "processes that it left",
        ),
        (
            vec![fact(20, left), fact(30, hook("a")), fact(40, hook("b"))],
            "the post-stop hooks after",
            "the post-stop hook \"b\" took 1.",
        ),
    ];
    for (facts, happened, why) in cases {
        let all = [fact(20, exited(0))].into_iter().chain(facts);
        let history = history(all.chain([fact(1500, What::Ended)]).collect());
        let verdict = judge(&history, &promise());
        let finding = verdict.broken().next().expect("a broken promise");
        assert!(finding.happened.contains(happened), "{finding:?}");
        let reason = finding.reason.as_ref().expect("a reason");
        assert!(reason.why.contains(why), "{finding:?}");
    }
}

#[test]
fn what_is_left_breaks_a_promise_unless_allowed() {
    let left = What::Left {
        kill: false,
        processes: vec![LeftProcess {
            pid: 9,
            command: "worker".to_owned(),
        }],
    };
    let history = history(vec![
        fact(20, exited(0)),
        fact(20, left.clone()),
        fact(25, left),
        fact(30, What::Ended),
    ]);
    let verdict = judge(&history, &promise());
    let finding = verdict.broken().next().expect("a broken promise");
    assert_eq!(finding.promise, "nothing-left");
    assert_eq!(finding.happened, "1 left behind: 9 worker");
    let allowed = Promise {
        allow_left: true,
        ..promise()
    };
    assert_eq!(judge(&history, &allowed).held(), Held::Yes);
}

#[test]
fn a_port_that_is_taken_breaks_a_promise() {
    let history = history(vec![
        fact(20, What::PortTaken(8080)),
        fact(20, exited(0)),
        fact(30, What::Ended),
    ]);
    assert_eq!(held(&history, &promise(), "port-free"), Some(Held::No));
}

#[test]
fn the_exit_status_is_one_of_those_expected() {
    for (code, expected, kept) in [
        (0, None, true),
        (143, None, true),
        (1, None, false),
        (143, Some(vec![0]), false),
        (3, Some(vec![0, 3]), true),
    ] {
        let history = history(vec![fact(20, exited(code)), fact(21, What::Ended)]);
        let expect = expected.map(|codes| Expected {
            codes,
            text: String::new(),
        });
        let promise = Promise {
            expect,
            ..promise()
        };
        let wanted = if kept { Held::Yes } else { Held::No };
        assert_eq!(
            held(&history, &promise, "expect-exit"),
            Some(wanted),
            "{code}"
        );
    }
}

#[test]
fn an_end_before_the_signal_breaks_a_promise_and_only_that() {
    let history = History {
        facts: vec![
            fact(1, What::Started { pid: 7 }),
            fact(5, exited(0)),
            fact(6, What::StopAsked),
            fact(7, What::Ended),
        ],
        ..History::default()
    };
    let verdict = judge(&history, &promise());
    assert_eq!(verdict.findings.len(), 1);
    assert_eq!(held(&history, &promise(), "runs"), Some(Held::No));
}

#[test]
fn what_never_became_ready_breaks_a_promise() {
    let mut history = history(vec![fact(20, exited(0)), fact(21, What::Ended)]);
    history.never_ready = Some((Duration::from_secs(30), "nothing".to_owned()));
    assert_eq!(held(&history, &promise(), "ready"), Some(Held::No));
}

#[test]
fn what_was_never_started_cannot_be_judged() {
    let history = History {
        facts: vec![
            fact(1, What::StartFailed { code: 127 }),
            fact(2, What::Ended),
        ],
        ..History::default()
    };
    let verdict = judge(&history, &promise());
    assert_eq!(
        (verdict.held(), verdict.summary.as_str()),
        (Held::Unknown, "told")
    );
    let cut = History {
        facts: vec![fact(1, What::Started { pid: 7 })],
        ..History::default()
    };
    assert_eq!(judge(&cut, &promise()).held(), Held::Unknown);
}

#[test]
fn requests_are_judged_only_when_all_were_open() {
    let promise = Promise {
        in_flight: Some(InFlight {
            count: 4,
            min_complete: 75.0,
        }),
        ..promise()
    };
    for (open, complete, unclear, wanted) in [
        (4, 4, 0, Held::Yes),
        (4, 3, 0, Held::Yes),
        (4, 2, 0, Held::No),
        (3, 3, 0, Held::Unknown),
        (4, 3, 1, Held::Yes),
        (4, 2, 1, Held::Unknown),
        (4, 1, 1, Held::No),
    ] {
        let mut history = history(vec![fact(20, exited(0)), fact(21, What::Ended)]);
        history.requests = Some(RequestTotals {
            open,
            complete,
            unclear,
            ..RequestTotals::default()
        });
        assert_eq!(
            held(&history, &promise, "in-flight"),
            Some(wanted),
            "{open} {complete} {unclear}"
        );
    }
}

#[test]
fn requests_that_kill_cut_off_are_no_fault_of_the_end() {
    let wanted = Some(InFlight {
        count: 2,
        min_complete: 100.0,
    });
    let promise = Promise {
        in_flight: wanted,
        ..promise()
    };
    let kill = fact(15, What::Step { kill: true });
    for (kill, why) in [(Some(kill), "KILL came while"), (None, "it ends on TERM")] {
        let end = [fact(20, exited(0)), fact(21, What::Ended)];
        let mut history = history(kill.into_iter().chain(end).collect());
        history.requests = Some(RequestTotals {
            open: 2,
            ..RequestTotals::default()
        });
        let verdict = judge(&history, &promise);
        let finding = verdict.findings.last().unwrap();
        let reason = finding.reason.as_ref().unwrap();
        assert!(reason.why.starts_with(why), "{reason:?}");
    }
}

/// What is said about a command that had to be killed, seen as this just before.
fn why(change: impl Fn(&mut ProcessLook), as_pid1: bool) -> String {
    let term = 1 << 14;
    let mut main = ProcessLook {
        pid: 7,
        parent: 1,
        session: 7,
        command: "server".to_owned(),
        state: "S".to_owned(),
        threads: 1,
        caught: term,
        ..ProcessLook::default()
    };
    change(&mut main);
    let child = ProcessLook {
        pid: 8,
        parent: 7,
        session: 7,
        command: "sleep".to_owned(),
        ..ProcessLook::default()
    };
    let looks = What::Looked(vec![main, child]);
    let history = history(vec![
        fact(1010, looks),
        fact(1010, What::Step { kill: true }),
        fact(1011, exited(137)),
        fact(1012, What::Ended),
    ]);
    let promise = Promise {
        as_pid1,
        ..promise()
    };
    let verdict = judge(&history, &promise);
    let reason = verdict
        .broken()
        .next()
        .and_then(|finding| finding.reason.clone());
    reason.expect("a reason").why
}

#[test]
fn the_reason_is_seen_in_the_process() {
    let term = 1 << 14;
    let ignores = why(|look| (look.ignored, look.caught) = (term, 0), false);
    assert_eq!(ignores, "server ignores TERM");
    let shell = why(|look| look.command = "sh".to_owned(), false);
    assert_eq!(
        shell,
        "sh is a shell, whose trap for TERM runs only once 8 sleep has ended"
    );
    let pid1 = why(|look| (look.caught, look.is_init) = (0, true), true);
    assert!(
        pid1.contains("is PID 1 and has no handler for TERM"),
        "{pid1}"
    );
    // What PID 1 blocks the kernel keeps for it.
    for is_init in [false, true] {
        let pending = |look: &mut ProcessLook| {
            (look.blocked, look.pending, look.caught) = (term, term, 0);
            look.is_init = is_init;
        };
        let blocks = why(pending, is_init);
        assert_eq!(blocks, "server blocks TERM and has not taken it");
        let taken = why(
            |look| (look.blocked, look.caught, look.is_init) = (term, 0, is_init),
            is_init,
        );
        assert!(taken.contains("has taken TERM, by sigwait"), "{taken}");
    }
    let hangs = why(
        |look| (look.threads, look.waits_in) = (3, "futex_wait_queue".to_owned()),
        false,
    );
    assert!(
        hangs.ends_with("3 threads, in futex_wait_queue: waits for a lock or a thread"),
        "{hangs}"
    );
}

/// `docker stop` has a KILL of its own: nobody else is to be blamed for it.
#[test]
fn the_kill_of_an_engine_is_told_as_such() {
    let killed = |command: &str, within: u64| {
        let history = history(vec![fact(1011, exited(137)), fact(1012, What::Ended)]);
        let promise = Promise {
            steps: vec![format!("`{command}`")],
            signals: Vec::new(),
            within: Duration::from_millis(within),
            ports: Vec::new(),
            ..promise()
        };
        let verdict = judge(&history, &promise);
        let reasons = verdict
            .broken()
            .filter_map(|finding| finding.reason.clone());
        reasons
            .map(|reason| format!("{}: {}", reason.why, reason.way_out))
            .collect::<Vec<_>>()
            .join("\n")
    };
    for command in [
        "docker stop web",
        "docker stop -t 3 web",
        "/usr/bin/podman --remote stop web",
        "docker container stop web",
        "docker compose -f a.yml down",
        "docker-compose stop",
    ] {
        // In time with the wrong status; and late.
        for within in [5000, 500] {
            let told = killed(command, within);
            for part in [
                &format!("`{command}` sends KILL after 10 s unless it is told otherwise"),
                "a shell as PID 1 ignores TERM",
                "start the program without the shell",
                "exec PROGRAM at the end of the script",
                "ENTRYPOINT [\"stepdown\", \"--\"]",
            ] {
                assert!(told.contains(part), "{part:?} in {told}");
            }
            assert!(!told.contains("memory killer"), "{told}");
        }
    }
    for command in ["./stop web", "docker exec web quit", "systemctl stop web"] {
        let told = killed(command, 5000);
        assert!(told.contains("memory killer"), "{told}");
    }
}

//! A slice of `scripts/chaos`: real processes are stopped at random moments, and what is not kept is noticed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::geteuid;

use crate::support::{binary, need, script};

/// An init that gives a status of its own, leaves all that it has started, and writes no report.
const BAD_INIT: &str = "#!/bin/sh
while [ \"$1\" != -- ]; do shift; done
shift
trap 'exit 99' TERM
setsid \"$@\" &
wait
";

/// An init that says something a moment after its end.
const LATE_INIT: &str = "#!/bin/sh
trap \"env -i sh -c 'sleep 0.1; echo late >&2' & exit 3\" TERM
while :; do sleep 0.02; done
";

/// A stop as it should be, and with one thing that is not: what the judge says of each.
const JUDGED: &str = r#"
import copy, json, signal, sys, tempfile
from pathlib import Path
from types import SimpleNamespace
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from judge import judge

hook = lambda event, phase, **more: {"event": event, "phase": phase, "name": "sh hooks", **more}
ran = lambda phase: [hook("hook-started", phase), hook("hook-ended", phase, result={"ended": {"exited": 0}})]
records = [{"event": "started", "pid": 7}, {"event": "forwarded", "signal": "USR1", "received": "USR1"}]
records += [{"event": "stop-asked", "signal": "TERM"}, *ran("pre-stop"), {"event": "step", "step": 1}]
records += [{"event": "child-exited"}, *ran("post-stop"), *ran("post-stop"), {"event": "ended"}]
right = SimpleNamespace(
    status=3, program="notes", short=None, faulty=False, deadline=None, took=0.1, broken=[], is_up=True,
    hands_over=False, replaces=False, reloads=False, restarts=False, sent=[signal.SIGUSR1, signal.SIGTERM],
    hooks={"pre-start": 0, "pre-stop": 1, "post-stop": 2}, hooked="pre-stop-0- post-stop-1- post-stop-0-",
    got="up USR1 TERM", metrics="stepdown_runs_total 1\nstepdown_generation 1\n", code=3, records=records,
    said=[("running", 1, None, 7, 0), ("ladder", 1, 1, 7, 0), ("post-stop", 1, 1, None, 0)],
)
without = lambda event: [one for one in records if one["event"] != event]
for wrong in [
    {},
    {"code": 4},
    {"hooked": "pre-stop-0- post-stop-0- post-stop-1-"},
    {"hooked": "pre-stop-0- pre-stop-0- post-stop-1- post-stop-0-"},
    {"hooked": "post-stop-1- post-stop-0-"},
    {"records": without("hook-started"), "said": []},
    {"records": [*ran("pre-stop"), *records]},
    {"got": "up WINCH USR1 TERM"},
    {"got": "up TERM"},
    {"records": without("forwarded")},
    {"said": [("ladder", 1, 1, 7, 0), ("running", 1, None, 7, 0)]},
    {"said": [("running", 1, None, 8, 0)]},
    {"metrics": "stepdown_runs_total 1\nstepdown_generation 2\n"},
    {"records": records[:-1]},
]:
    stop = copy.deepcopy(right)
    vars(stop).update(wrong)
    with tempfile.TemporaryDirectory() as directory:
        stop.directory = Path(directory)
        report = {"outcome": {"code": stop.code}, "records": stop.records, "records_omitted": 0, "generations": [1]}
        texts = {"log": "", "hooks": stop.hooked, "got": stop.got, "metrics": stop.metrics, "report": json.dumps(report)}
        for name, text in texts.items():
            (stop.directory / name).write_text(text)
        stop.metrics, stop.report = stop.directory / "metrics", stop.directory / "report"
        judge(stop)
    print("; ".join(stop.broken))
"#;

/// Plays so many stops: whether every promise was kept, and what the script has told.
#[track_caller]
fn played(stepdown: &Path, stops: u32) -> (bool, String) {
    let script::Told { code, text, error } = script::told(
        script::command("chaos")
            .args(["--seed=1", "--jobs=4", &format!("--stops={stops}")])
            .arg("--stepdown")
            .arg(stepdown),
    );
    let judged = code.is_some_and(|code| code < 2);
    assert!(error.is_empty() && judged, "{error}{text}");
    (code == Some(0), text)
}

/// What the script tells of this init, which keeps no promise.
#[track_caller]
fn broken_by(init: &str, stops: u32) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let bad = directory.path().join("bad-init");
    fs::write(&bad, init).expect("it is ours");
    fs::set_permissions(&bad, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let (kept, told) = played(&bad, stops);
    assert!(!kept, "{told}");
    told
}

/// As root the script makes namespaces and mounts.
fn can_play() -> Result<(), String> {
    binary::installed("/usr/bin/python3")?;
    let tried = ["-fpm", "sh", "-c", "mount -t proc proc /proc"];
    if geteuid().is_root() {
        binary::runs("unshare", &tried, "no PID and mount namespaces here")?;
    }
    Ok(())
}

#[test]
fn every_promise_is_kept_at_random_stops() {
    need!(can_play());
    let (kept, told) = played(&binary::under_test(), 60);
    assert!(kept && told.contains("60 stops"), "{told}");
    for some in ["replaces ", "hands-over "] {
        assert!(told.contains(some), "{told}");
    }
}

#[test]
fn an_init_that_keeps_no_promise_is_noticed() {
    need!(can_play());
    let told = broken_by(BAD_INIT, 12);
    for noticed in [
        "exit status 99, and due is one of",
        "there is no report",
        " left",
    ] {
        assert!(told.contains(noticed), "{noticed}: {told}");
    }
}

#[test]
fn what_is_told_is_held_against_what_was_done() {
    need!(binary::installed("/usr/bin/python3"));
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/chaos.d");
    let mut judge = script::python(JUDGED);
    let script::Told { text, error, .. } = script::told(judge.arg(modules));
    assert_eq!(error, "");
    let expected = [
        "",
        "the report says 4, and the exit status is 3",
        "not in their order: pre-stop-0- post-stop-0- post-stop-1-",
        "more than once: pre-stop-0-; 2 × pre-stop noted, 1 begun and 1 done by the report",
        "0 × pre-stop noted, 1 begun and 1 done by the report",
        "1 × pre-stop noted, 0 begun and 1 done by the report; \
         2 × post-stop noted, 0 begun and 2 done by the report; the post-stop hook has not run",
        "1 × pre-stop noted, 2 begun and 2 done by the report; \
         a pre-stop hook was begun before a stop was asked for",
        "the program got ['WINCH'], and ['TERM', 'USR1'] was sent",
        "forwarded, and the program did not get it: ['USR1']",
        "sent before the stop, and no record says what became of it: ['USR1']",
        "/status says ('running', 1, None, 7, 0), and the records do not, after [('ladder', 1, 1, 7, 0)]",
        "/status says ('running', 1, None, 8, 0), and the records do not, after []",
        "the metrics are not what the report lists: {'generation': (2.0, 1)}",
        "the last record is hook-ended",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_written_after_the_end_is_noticed() {
    need!(can_play());
    let told = broken_by(LATE_INIT, 20);
    let noticed = "something was written after the end";
    assert!(told.contains(noticed), "{told}");
}

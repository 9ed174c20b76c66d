//! Deaths for lack of memory are told as what they are, from the counters of both versions of cgroups.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::support::docker::{available, container, scratch};
use crate::support::ended::Ended;
use crate::support::stepdown::can_be_pid1;

use crate::support::{Stepdown, binary, need};

/// So much and no swap.
const LIMIT: [&str; 2] = ["--memory=32m", "--memory-swap=32m"];

const OUT_OF_MEMORY: &str =
    "out of memory: the kernel has killed 1 process of this cgroup, whose limit is 32 MiB";

#[test]
fn a_container_that_runs_out_of_memory_says_so() {
    need!(available());
    let ended = container(scratch())
        .options(LIMIT)
        .command(["/actor", "hoard"])
        .run();
    ended.code(137).logged(&[OUT_OF_MEMORY]);
    // The reason first.
    let at = |part: &str| ended.stderr.find(part).expect("it was logged");
    assert!(
        at(OUT_OF_MEMORY) < at("child died of KILL"),
        "{}",
        ended.told()
    );
}

#[test]
fn a_death_by_kill_that_was_nobodys_lack_of_memory_is_not_called_so() {
    need!(available());
    let ended = container(scratch())
        .options(LIMIT)
        .command(["/actor", "raise", "9"])
        .run();
    ended.code(137).never_logged("memory");
}

#[test]
fn a_child_that_fails_because_of_a_worker_is_told_of_without_any_option() {
    need!(available());
    let ended = container(scratch())
        .options(LIMIT)
        .command(["/actor", "let-a-worker-hoard"])
        .run();
    ended.code(3).logged(&[OUT_OF_MEMORY]);
    let ended = container(scratch())
        .options(LIMIT)
        .command(["/actor", "exit", "3"])
        .run();
    ended.code(3).was_silent();
}

#[test]
fn everybody_is_told_of_a_worker_that_the_kernel_killed() {
    need!(available());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let volume = format!("{}:/out", dir.path().display());
    let tell = |variable: &str| format!("/actor tell {variable}");
    let ended = container(scratch())
        .options(LIMIT)
        .options(["--volume", &volume])
        .stepdown(["--report=/out/run.json", "--metrics-file=/out/m.prom"])
        .stepdown(["--pre-start", &tell("STEPDOWN_OOM_KILLS")])
        .stepdown(["--post-stop", &tell("STEPDOWN_OOM_KILLS")])
        .stepdown(["--post-stop", &tell("SERVICE_RESULT")])
        .command(["--", "/actor", "let-a-worker-hoard"])
        .run();
    ended
        .code(3)
        .said("worker died of 9")
        .logged(&[OUT_OF_MEMORY]);
    ended
        .said("STEPDOWN_OOM_KILLS=0")
        .said("STEPDOWN_OOM_KILLS=1");
    ended.said("SERVICE_RESULT=exit-code");
    assert_eq!(
        ended.stderr.matches("out of memory").count(),
        1,
        "{}",
        ended.told()
    );
    let report = fs::read_to_string(dir.path().join("run.json")).expect("it was written");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let records = report["records"].as_array().expect("a list");
    let record = records
        .iter()
        .find(|record| record["event"] == "oom-killed");
    let record = record.unwrap_or_else(|| panic!("{report}"));
    assert_eq!(record["kills"], 1);
    assert_eq!(record["counted_from"], "start");
    assert_eq!(record["limit_bytes"], 32 << 20);
    let metrics = fs::read_to_string(dir.path().join("m.prom")).expect("it was written");
    assert!(
        metrics.contains("\nstepdown_oom_kills_total 1\n"),
        "{metrics}"
    );
}

#[test]
fn each_life_that_the_kernel_kills_is_told_of() {
    need!(available());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let volume = format!("{}:/out", dir.path().display());
    let ended = container(scratch())
        .options(LIMIT)
        .options(["--volume", &volume])
        .stepdown(["--restart=on-failure", "--restart-delay=1ms"])
        .stepdown(["--restart-limit=2/1h", "--metrics-file=/out/m.prom"])
        .stepdown(["--post-stop", "/actor tell STEPDOWN_OOM_KILLS"])
        .stepdown(["--post-stop", "/actor tell SERVICE_RESULT"])
        .command(["--", "/actor", "hoard"])
        .run();
    ended.code(137).logged(&["not restarted again: 2 restarts"]);
    for kills in 1..=3 {
        ended.said(&format!("STEPDOWN_OOM_KILLS={kills}"));
    }
    // The line of each life has its own.
    for (said, text) in [
        ("SERVICE_RESULT=oom-kill", &ended.stdout),
        (OUT_OF_MEMORY, &ended.stderr),
    ] {
        assert_eq!(text.matches(said).count(), 3, "{}", ended.told());
    }
    let metrics = fs::read_to_string(dir.path().join("m.prom")).expect("it was written");
    assert!(
        metrics.contains("\nstepdown_oom_kills_total 3\n"),
        "{metrics}"
    );
}

#[test]
fn a_hook_is_told_as_systemd_tells_it() {
    need!(available());
    let ended = container(scratch())
        .options(LIMIT)
        .stepdown(["--post-stop", "/actor tell SERVICE_RESULT"])
        .command(["--", "/actor", "hoard"])
        .run();
    ended.code(137).said("SERVICE_RESULT=oom-kill");
}

/// A run that finds itself in a cgroup of version 2 whose files are ours to write.
fn in_a_cgroup(dir: &Path, options: &[&str], script: &str) -> Ended {
    in_a_cgroup_with(
        "low 0\nhigh 0\nmax 9\noom 4\noom_kill 4\n",
        dir,
        options,
        script,
    )
}

fn in_a_cgroup_with(events: &str, dir: &Path, options: &[&str], script: &str) -> Ended {
    let write = |name: &str, text: &str| fs::write(dir.join(name), text).expect("our directory");
    let place = dir.display();
    write("cgroup", "0::/\n");
    write(
        "mountinfo",
        &format!("31 24 0:27 / {place} rw - cgroup2 cgroup rw\n"),
    );
    write("memory.events", events);
    write("memory.max", "67108864\n");
    let prepare = "cd \"$0\" && mount --bind cgroup /proc/$$/cgroup && \
                   mount --bind mountinfo /proc/$$/mountinfo && exec \"$@\"";
    Stepdown::new()
        .program("/usr/bin/unshare")
        .args(["--mount", "--", "sh", "-c", prepare])
        .args([dir.as_os_str(), binary::under_test().as_os_str()])
        .args(options)
        .args(["--", "sh", "-c", script])
        .run()
}

/// The kernel counts, then kills.
const KILLED: &str = "echo oom_kill 5 >memory.events; kill -KILL $$";

#[test]
fn the_counter_of_version_2_may_be_older_than_a_run_that_did_not_read_it_before() {
    need!(can_be_pid1());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ended = in_a_cgroup(dir.path(), &[], KILLED);
    ended.code(137).logged(&[
        "out of memory, perhaps: the kernel has killed 5 processes of this \
         cgroup since it was made, whose limit is 64 MiB",
    ]);
    // A shell in front that tells of its child's death.
    let ended = in_a_cgroup(dir.path(), &[], "exit 137");
    ended
        .code(137)
        .logged(&["out of memory, perhaps: the kernel has killed 4 processes"]);
    // Of the next life it is known.
    let ended = in_a_cgroup(
        dir.path(),
        &[
            "--restart=on-failure",
            "--restart-delay=1ms",
            "--restart-limit=1/1h",
        ],
        "kills=$(sed -n 's/^oom_kill //p' memory.events); \
         echo oom_kill $((kills + 1)) >memory.events; kill -KILL $$",
    );
    ended
        .code(137)
        .logged(&["killed 5 processes of this cgroup since it was made, whose"])
        .logged(&["out of memory, perhaps: the kernel has killed 1 process of this cgroup, whose"]);
    // Any other end is none of its business.
    in_a_cgroup(dir.path(), &[], "exit 3").code(3).was_silent();
}

/// Our KILL was for the check alone.
#[test]
fn after_a_check_that_was_given_up_the_child_is_still_told_why() {
    need!(can_be_pid1());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = TcpListener::bind("127.0.0.1:0").expect("a port of loopback");
    let port = server.local_addr().expect("it is bound").port();
    let asked = dir.path().join("asked");
    let keeps = std::thread::spawn(move || {
        // It is never answered.
        let client = server.accept();
        fs::write(asked, "").expect("our directory");
        client
    });
    let check = format!("--live-when=http://127.0.0.1:{port}/");
    let stop = "until [ -e asked ]; do sleep 0.01; done; kill -TERM $PPID";
    let ended = in_a_cgroup(
        dir.path(),
        &[&check, "--live-every=50ms", "--live-timeout=60s"],
        &format!("trap '{KILLED}' TERM; {stop}; while :; do sleep 0.01; done"),
    );
    drop(keeps);
    ended
        .code(137)
        .logged(&["out of memory, perhaps: the kernel has killed 5 processes"])
        .never_logged("killed 4 processes");
}

#[test]
fn the_counter_of_version_2_is_compared_with_what_it_was() {
    need!(can_be_pid1());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let hook = "sh -c 'echo $STEPDOWN_PHASE $STEPDOWN_OOM_KILLS $SERVICE_RESULT'";
    let hooks = ["--pre-start", hook, "--post-stop", hook];
    let ended = in_a_cgroup(dir.path(), &hooks, KILLED);
    ended.code(137).logged(&[
        "out of memory: the kernel has killed 1 process of this cgroup, \
         whose limit is 64 MiB",
    ]);
    assert_eq!(ended.stdout, "pre-start 0\npost-stop 1 oom-kill\n");
    // Killed by somebody, and not for that.
    let ended = in_a_cgroup(dir.path(), &hooks, "kill -KILL $$");
    ended.code(137).never_logged("memory");
    assert_eq!(ended.stdout, "pre-start 0\npost-stop 0 signal\n");
    // Our own KILL needs no explanation.
    let script = "trap '' TERM; echo ready; kill -TERM $PPID; while :; do sleep 0.01; done";
    let ended = in_a_cgroup(dir.path(), &["--grace", "100ms"], script);
    ended.code(137).never_logged("memory");
}

/// The next one is killed before it is ready (`--replace-on`).
#[test]
fn of_two_the_one_that_is_killed_is_told_why() {
    need!(can_be_pid1());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let hook = "sh -c 'echo $STEPDOWN_GENERATION $SERVICE_RESULT; touch over$STEPDOWN_GENERATION'";
    let options = [
        "--listen=127.0.0.1:0",
        "--replace-on=USR2",
        "--ready-when=exec:sh -c 'test $STEPDOWN_GENERATION = 1'",
        "--post-stop",
        hook,
    ];
    let script = format!(
        "test $STEPDOWN_GENERATION = 1 || {{ {KILLED}; }}
         until test -e over2; do kill -USR2 $PPID; sleep 0.1; done"
    );
    let ended = in_a_cgroup(dir.path(), &options, &script);
    ended.code(0).said("2 oom-kill").said("1 success");
    let place = |text: &str| ended.stderr.find(text);
    let (why, death) = (
        place("out of memory: "),
        place("generation 2: child died of KILL"),
    );
    assert!(why.is_some() && why < death, "{}", ended.told());
}

#[test]
fn where_the_kernel_does_not_count_nothing_is_claimed() {
    need!(can_be_pid1());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let hook = "sh -c 'echo kills ${STEPDOWN_OOM_KILLS-not set}.'";
    // Linux before 4.13.
    let events = "low 0\nhigh 0\nmax 9\noom 4\n";
    // A hook before the start, so that the counter is looked for before the child makes one.
    let hooks = ["--pre-start", "true", "--post-stop", hook];
    let ended = in_a_cgroup_with(events, dir.path(), &hooks, KILLED);
    ended.code(137).said("kills .").never_logged("memory");
}

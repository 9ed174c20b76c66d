//! `stepdown check --replace`: a replacement under load is judged.

use std::fs::File;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::ended::Ended;
use crate::support::net::free_port;
use crate::support::{BOUND, Stepdown, binary};

/// A directory in which these generations of `listener` are ready.
fn ready(generations: &[u32]) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for generation in generations {
        let file = dir.path().join(format!("ready{generation}"));
        File::create(file).expect("a directory of ours");
    }
    dir
}

/// Checks a replacement of `listener` at a port that is asked whether it is ready.
fn replaces(dir: &TempDir, options: &[&str], how: &str) -> Ended {
    let port = free_port();
    Stepdown::new()
        .dir(dir.path())
        .args(["check", "--replace"])
        .args([format!("--listen=127.0.0.1:{port}")])
        .args([format!("--ready-when=http://127.0.0.1:{port}/")])
        .args(options)
        .child([binary::listener().as_os_str(), how.as_ref()])
        .start()
        .wait_within(BOUND * 3)
}

fn promise<'a>(run: &'a Value, name: &str) -> &'a Value {
    let promises = run["promises"].as_array().expect("promises");
    let found = promises.iter().find(|promise| promise["promise"] == name);
    found.unwrap_or_else(|| panic!("{name} in {promises:#?}"))
}

#[test]
fn a_server_without_a_gap_keeps_every_promise() {
    let dir = ready(&[1, 2]);
    let reports = ["--json=run.json", "--junit=run.xml", "--html=run.html"];
    let options = [&["--runs=2"], &reports[..]].concat();
    let ended = replaces(&dir, &options, "quick");
    ended
        .code(0)
        .said("All promises held in 2 runs.")
        .nothing_left();
    for told in ["replaced in ", " requests (99 % within ", " meanwhile); "] {
        assert!(ended.stdout.contains(told), "{told}: {}", ended.told());
    }
    let written = |name: &str| {
        let text = std::fs::read_to_string(dir.path().join(name));
        text.expect("a report")
    };
    let document: Value = serde_json::from_str(&written("run.json")).expect("a document");
    let runs = document["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 2);
    for run in runs {
        for name in ["replace", "replace-requests", "replace-gone"] {
            assert_eq!(promise(run, name)["held"], "yes", "{run:#}");
        }
        let load = &run["load"];
        let keys = load.as_object().expect("an object").keys();
        assert_eq!(
            keys.cloned().collect::<Vec<_>>().join(" "),
            "failed_before lost p99_before_us p99_during_us refused requests why"
        );
        assert!(load["requests"].as_u64() > Some(20), "{load}");
        let failed = ["lost", "refused", "failed_before"].map(|name| &load[name]);
        assert!(failed.iter().all(|number| **number == 0), "{load}");
        for name in ["p99_before_us", "p99_during_us"] {
            assert!(load[name].as_u64() > Some(0), "{load}");
        }
        assert!(run["phases_us"]["replace"].is_number(), "{run:#}");
    }
    assert!(written("run.xml").contains("run 2: replace-requests"));
    assert!(written("run.html").contains("no request is lost or refused while it is replaced"));
}

#[test]
fn the_signal_and_the_url_can_be_others() {
    let dir = ready(&[1, 2]);
    let port = free_port();
    let replaced = |url: &str| {
        Stepdown::new()
            .dir(dir.path())
            .args(["check", "--replace", "--replace-on=HUP", "-v"])
            .args([format!("--listen=127.0.0.1:{port}"), url.to_owned()])
            .args(["--ready-when=exec:test -e ready1"])
            .child([binary::listener().as_os_str(), "quick".as_ref()])
            .start()
            .wait_within(BOUND * 3)
    };
    let url = format!("--replace-url=http://localhost:{port}/other");
    let ended = replaced(&url);
    ended.code(0).nothing_left();
    let told = "replacing: HUP";
    assert!(ended.stdout.contains(told), "{}", ended.told());
    // Where nobody answers before, the replacement is not to blame.
    let url = format!("--replace-url=http://127.0.0.1:{}/", free_port());
    let ended = replaced(&url);
    ended
        .code(125)
        .said("replace-requests: could not be checked");
    let told = "failed before it was asked for";
    assert!(ended.stdout.contains(told), "{}", ended.told());
}

#[test]
fn one_that_is_never_ready_breaks_a_promise_and_loses_no_request() {
    let dir = ready(&[1]);
    let options = ["--ready-timeout=1s", "--json=run.json"];
    let ended = replaces(&dir, &options, "quick");
    ended.code(1).said("replace: broken").nothing_left();
    ended.said("  promised: the next one becomes ready beside it, and serves");
    assert!(ended.stdout.contains("  way out:  ask the next one itself"));
    let text = std::fs::read_to_string(dir.path().join("run.json")).expect("a report");
    let document: Value = serde_json::from_str(&text).expect("a document");
    let run = &document["runs"][0];
    assert_eq!(promise(run, "replace-requests")["held"], "yes", "{run:#}");
    assert_eq!(
        promise(run, "replace-gone")["held"],
        "not-judged",
        "{run:#}"
    );
    assert_eq!(promise(run, "no-kill")["held"], "yes", "{run:#}");
}

#[test]
fn one_that_cannot_be_there_twice_breaks_a_promise() {
    let dir = ready(&[1, 2]);
    let port = free_port();
    let ended = Stepdown::new()
        .dir(dir.path())
        .args(["check", "--replace"])
        .args([format!("--listen=127.0.0.1:{port}")])
        .args(["--ready-when=file:lock"])
        .child(["sh", "-c", "mkdir lock || exit 9; exec \"$@\"", "sh"])
        .args([binary::listener().as_os_str(), "quick".as_ref()])
        .start()
        .wait_within(BOUND * 3);
    ended.code(1).said("replace: broken").nothing_left();
    assert!(
        ended.stdout.contains("was not ready (exit status 9)"),
        "{}",
        ended.told()
    );
}

/// Connections that nobody has accepted are lost with the socket.
#[test]
fn one_that_accepts_no_more_before_the_next_one_serves_loses_requests() {
    let dir = ready(&[1, 2]);
    let port = free_port();
    // The next one is not ready for a while.
    let slow = "test $STEPDOWN_GENERATION = 1 || touch next; \
        test $STEPDOWN_GENERATION = 1 || sleep 1; exec \"$@\"";
    let ended = Stepdown::new()
        .dir(dir.path())
        .args(["check", "--replace", "--drain-timeout=1s"])
        .args([format!("--listen=127.0.0.1:{port}")])
        .args([format!("--ready-when=http://127.0.0.1:{port}/")])
        .child(["sh", "-c", slow, "sh"])
        .args([binary::listener().as_os_str(), "hasty".as_ref()])
        .start()
        .wait_within(BOUND * 3);
    ended
        .code(1)
        .said("replace-requests: broken")
        .nothing_left();
    assert!(ended.stdout.contains(" lost, "), "{}", ended.told());
    assert!(ended.stdout.contains("  way out:  "), "{}", ended.told());
}

#[test]
fn what_it_needs_is_asked_for_before_anything_is_started() {
    let ready = "--ready-when=notify";
    for (options, way_out) in [
        (&["--replace"][..], "add --listen ADDR:PORT"),
        (&["--replace", "--listen=:0"], "add --ready-when notify"),
        (
            &["--replace", "--listen=127.0.0.1:0", ready],
            "write one, as --listen :8080",
        ),
        (
            &["--replace", "--listen=unix:/tmp/s", ready],
            "name the URL that is asked (--replace-url URL)",
        ),
        (
            &["--replace", "--listen=:80", ready, "--compare"],
            "leave out --compare",
        ),
        (
            &["--replace", "--listen=:80", ready, "--as-pid1"],
            "leave out --as-pid1",
        ),
        (
            &["--replace", "--listen=:80", ready, "--signal=USR2"],
            "another one for --replace-on",
        ),
        (&["--replace-on=USR2"], "add --replace"),
        (&["--replace-url=http://localhost/"], "add --replace"),
        (
            &[
                "--replace",
                "--listen=:80",
                ready,
                "--replace-url=https://a/",
            ],
            "use http://",
        ),
    ] {
        let ended = Stepdown::new()
            .args(["check"])
            .args(options)
            .shell("echo started")
            .run();
        ended.code(125).never_said("started").logged(&[way_out]);
    }
}

//! Diagnostics: what `-vv` and `--trace` tell besides the records, and that nothing of it is there without them.

use std::io::Read;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;

use crate::logs::fill;
use crate::support::drainee::{Drainee, THREADED};
use crate::support::{Mode, Stepdown, binary, both, need, wait_until};

/// A request that was not answered, before and after the server has read it.
const HELD: [&str; 2] = ["unread", "unanswered"];

/// A drain that one request holds up until it is answered; what was told.
fn drained(mode: Mode, options: &[&str]) -> (String, String) {
    let options = [&["--drain-port=PORT"], options].concat();
    let mut server = Drainee::start(mode, &options, THREADED);
    let mut client = server.connect();
    client.say("slow");
    let peer = client.0.get_ref().local_addr().expect("a bound socket");
    let is_json = options.contains(&"--log-format=json");
    server.stop().logs(if is_json {
        "\"requests\":1"
    } else {
        "drain: 1 in flight"
    });
    server.release();
    client.hears("done");
    let ended = server.run.wait();
    ended.code(143).nothing_left();
    (ended.stderr.clone(), peer.to_string())
}

#[test]
fn twice_verbose_it_tells_why_a_connection_is_held_and_which_way_proc_was_read() {
    both(|mode| {
        let (told, peer) = drained(mode, &["-vv"]);
        let is_held = |line: &str| {
            line.starts_with("stepdown: debug drain::rules: connection Established, ")
                && line.contains(&format!("peer={peer} "))
                && HELD
                    .iter()
                    .any(|why| line.ends_with(&format!("verdict={why}")))
        };
        assert!(told.lines().any(is_held), "{told}");
        // It was held before it was idle.
        let idle = told.lines().position(|line| {
            line.contains(&format!("peer={peer} ")) && line.contains("verdict=idle")
        });
        let held = told.lines().position(is_held);
        assert!(idle.is_none_or(|idle| Some(idle) > held), "{told}");
        let has = |part: &str| told.lines().any(|line| line.contains(part));
        assert!(
            has("stepdown: debug drain::look: sockets are read"),
            "{told}"
        );
        assert!(has("stepdown: debug sys::tree::proc: "), "{told}");
        // Records are as with -v.
        assert!(has("stepdown: started, pid "), "{told}");
    });
}

#[test]
fn a_number_in_the_file_counts_as_so_many_flags() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("stepdown.toml");
    for (text, is_told) in [("verbose = 1", false), ("verbose = 2", true)] {
        std::fs::write(&file, text).expect("it is ours");
        let run = Stepdown::new().args(["--config".as_ref(), file.as_os_str()]);
        let ended = run.args(["--pre-start=true"]).shell("exit 3").run();
        ended.code(3).logged(&["stepdown: started, pid "]);
        assert_eq!(ended.stderr.contains("stepdown: debug "), is_told, "{text}");
    }
}

#[test]
fn lines_are_in_the_order_of_what_happened() {
    let ended = Stepdown::new()
        .args(["-vv", "--pre-start=true"])
        .shell("exit 3")
        .run();
    ended.code(3);
    let at = |part: &str| {
        let found = ended.stderr.lines().position(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("{part} in {}", ended.told()))
    };
    assert!(
        at("kernel::jobs: pre-start hook 1: ") < at("started, pid"),
        "{}",
        ended.told()
    );
    assert!(at("hook \"true\"") < at("started, pid"), "{}", ended.told());
}

#[test]
fn a_filter_chooses_parts_and_levels() {
    let is_of = |line: &str, part: &str| {
        let diagnostics = line.strip_prefix("stepdown: ");
        let target = diagnostics
            .and_then(|line| line.split_once(' '))
            .map(|(_, rest)| rest);
        target
            .is_some_and(|target| target.starts_with(part) && target[part.len()..].starts_with(':'))
    };
    let parts = ["drain", "kernel", "sys", "tell"];
    let seen = |told: &str| parts.map(|part| told.lines().any(|line| is_of(line, part)));
    let hook = ["--pre-stop=true"];
    let with = |option: &'static str| drained(Mode::Ordinary, &[hook[0], option]).0;
    let told = with("--trace=drain=debug,kernel=trace");
    assert_eq!(seen(&told), [true, true, false, false], "{told}");
    // No record more than without.
    assert!(!told.contains("started, pid"), "{told}");
    let told = with("--trace=debug,drain=off");
    assert_eq!(seen(&told)[..3], [false, true, true], "{told}");
    // Each look only at that level.
    let looks = |told: &str| told.matches("looked for").count();
    assert_eq!(looks(&told), 0, "{told}");
    let told = with("--trace=drain::look");
    assert!(looks(&told) > 0 && !told.contains("drain::rules"), "{told}");
    let ended = Stepdown::new()
        .env("STEPDOWN_TRACE", "kernel=debug")
        .args(hook)
        .shell("kill -TERM $PPID; sleep 1000")
        .run();
    ended.code(143).logged(&["stepdown: debug kernel::jobs: "]);
    assert!(!ended.stderr.contains("debug sys"), "{}", ended.told());
}

#[test]
fn a_notification_is_shown_as_it_came() {
    need!(binary::installed("/usr/bin/systemd-notify"));
    let mut run = Stepdown::new()
        .args(["--trace=kernel=debug", "--ready-when=notify"])
        .shell("systemd-notify --ready X_UNKNOWN=7; exec sleep 1000")
        .start();
    run.logs(r#" said "READY=1\nX_UNKNOWN=7""#);
    run.signal(Signal::SIGTERM);
    run.wait().code(143);
}

#[test]
fn without_being_asked_for_there_is_none() {
    for options in [&[][..], &["-v"], &["--log-level=debug"], &["--trace=off"]] {
        let (told, _) = drained(Mode::Ordinary, options);
        for level in ["error", "warn", "info", "debug", "trace"] {
            let begin = format!("stepdown: {level} ");
            assert!(!told.lines().any(|line| line.starts_with(&begin)), "{told}");
        }
    }
}

#[test]
fn as_json_each_line_has_its_part_and_its_time() {
    let (told, peer) = drained(Mode::Ordinary, &["-vv", "--log-format=json"]);
    let lines: Vec<serde_json::Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let held = lines
        .iter()
        .find(|line| HELD.iter().any(|why| line["fields"]["verdict"] == *why));
    let held = held.unwrap_or_else(|| panic!("{told}"));
    assert_eq!(held["event"], "trace", "{held}");
    assert_eq!(
        (&held["level"], &held["target"]),
        (&"debug".into(), &"drain::rules".into()),
        "{held}"
    );
    assert_eq!(held["fields"]["peer"], peer, "{held}");
    assert!(
        held["fields"]["port"].is_u64()
            && held["time_ms"].is_u64()
            && held["timestamp"].is_string(),
        "{held}"
    );
    assert!(
        held["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("connection")),
        "{held}"
    );
    // The records are among them.
    assert!(
        lines.iter().any(|line| line["event"] == "drain-ended"),
        "{told}"
    );
}

#[test]
fn what_was_refused_and_survived_is_told() {
    // The mode of a file cannot be kept by who does not own the file system's.
    let directory = tempfile::tempdir().expect("a directory");
    let report = directory.path().join("run.json");
    // A directory where the file beside it would be: it can be neither made nor removed.
    let ended = Stepdown::new()
        .args(["--trace=sys=warn"])
        .args(["--report".as_ref(), report.as_os_str()])
        .shell(&format!(
            "mkdir -p {0}/.run.json.$PPID.new/x; echo > {0}/run.json",
            directory.path().display()
        ))
        .run();
    ended.logged(&["stepdown: warn sys::file: ", "not replaced by"]);
}

#[test]
fn nobody_is_waited_for_and_what_is_lost_is_counted() {
    both(|mode| {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("open");
        fill(&writer);
        let mut run = Stepdown::in_mode(mode)
            .args(["-vv", "--pre-start=true", "--pre-start=true"])
            .stderr_to(writer.try_clone().expect("a descriptor"))
            .witness(["listen", "15:7"])
            .start();
        run.says("ready");
        let mut seen = String::new();
        let mut collect = || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
            seen.replace('.', "")
        };
        collect();
        run.signal(Signal::SIGWINCH);
        wait_until("a line is there", || collect().contains("WINCH"));
        let text = collect();
        let lost = text.lines().find_map(|line| {
            let count = line.strip_prefix("stepdown: ")?;
            let count = count.strip_suffix(" lines before this one could not be written")?;
            count.parse::<usize>().ok()
        });
        // Of each hook a diagnostic when it begins, one when it ends, and its record; and that it was started.
        assert!(lost.is_some_and(|lost| lost >= 7), "{text}");
        run.signal(Signal::SIGTERM);
        run.wait().code(7);
    });
}

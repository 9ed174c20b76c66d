//! A report, state or metrics file whose name is a link, a mount or an open file: what the name stands for
//! is written, and the name stays.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::files::{directory, json, names, run_in};
use crate::identity::is_root;
use crate::support::binary::{self, installed};
use crate::support::{Stepdown, both, need};

#[test]
fn a_new_report_replaces_the_old_one_and_keeps_link_and_mode() {
    let dir = directory();
    let (real, link) = (dir.path().join("real.json"), dir.path().join("link.json"));
    fs::write(&real, "old").expect("our own file");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).expect("our own file");
    symlink("real.json", &link).expect("our own directory");
    let old = fs::metadata(&real).expect("our own file");
    run_in(&dir, &["--report", "link.json"], "exit 0")
        .code(0)
        .was_silent();
    let new = fs::metadata(&real).expect("our own file");
    assert_ne!(old.ino(), new.ino(), "it was written in place");
    assert_eq!(new.mode() & 0o777, 0o600);
    assert!(link.is_symlink());
    assert_eq!(json(&real)["outcome"]["code"], 0);
    assert_eq!(names(&dir), ["link.json", "real.json"]);
}

#[test]
fn a_link_whose_target_is_not_there_yet_is_followed() {
    let dir = directory();
    let volume = dir.path().join("volume");
    fs::create_dir(&volume).expect("our own directory");
    // As an image prepares them for a volume that is mounted later; one by two links, one by its whole path.
    symlink("volume/report", dir.path().join("report")).expect("our own directory");
    symlink("volume/hop", dir.path().join("state.json")).expect("our own directory");
    symlink("state", volume.join("hop")).expect("our own directory");
    symlink(volume.join("m.prom"), dir.path().join("m.prom")).expect("our own directory");
    let files = ["--report=report", "--state-file=state.json"];
    run_in(
        &dir,
        &[&files[..], &["--metrics-file=m.prom"]].concat(),
        "exit 3",
    )
    .code(3)
    .was_silent();
    assert_eq!(json(&volume.join("report"))["outcome"]["code"], 3);
    assert_eq!(json(&volume.join("state"))["totals"]["runs"]["exit"], 1);
    let metrics = fs::read_to_string(volume.join("m.prom")).expect("it was written");
    assert!(metrics.contains("stepdown_runs_total"), "{metrics}");
    assert_eq!(names(&dir), ["m.prom", "report", "state.json", "volume"]);
    for link in ["report", "state.json", "m.prom", "volume/hop"] {
        assert!(dir.path().join(link).is_symlink(), "{link}");
    }
}

#[test]
fn a_link_that_leads_nowhere_is_told_and_kept() {
    let dir = directory();
    symlink("loop", dir.path().join("loop")).expect("our own directory");
    symlink("no/such/directory", dir.path().join("far")).expect("our own directory");
    for (link, why) in [
        ("loop", "Too many levels of symbolic links"),
        ("far", "No such file or directory"),
    ] {
        let ended = run_in(&dir, &["--report", link], "exit 3");
        ended.code(3).logged(&["--report: ", link, why]);
        assert!(dir.path().join(link).is_symlink(), "{link}");
    }
    assert_eq!(names(&dir), ["far", "loop"]);
}

#[test]
fn a_single_file_that_is_mounted_is_written_in_place() {
    let dir = directory();
    let (file, mounted) = (dir.path().join("file"), dir.path().join("mounted"));
    fs::write(&file, "something longer than nothing").expect("our own file");
    fs::write(&mounted, "").expect("our own file");
    let mount = |rest: &[&str]| {
        let mut words = vec!["-m", "--propagation", "private", "--", "sh", "-c"];
        words.extend(rest);
        std::process::Command::new("unshare").args(words).output()
    };
    let script = "mount --bind file mounted";
    let tried = mount(&[&format!("cd {} && {script}", dir.path().display())]);
    need!(match tried {
        Ok(tried) if tried.status.success() => Ok(()),
        Ok(tried) => Err(String::from_utf8_lossy(&tried.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    });
    let stepdown = binary::under_test();
    let run = |option: &str| {
        Stepdown::new()
            .program("unshare")
            .dir(dir.path())
            .args(["-m", "--propagation", "private", "--", "sh", "-c"])
            .args([format!(
                "{script} && exec {} {option} mounted -- sh -c 'exit 3'",
                stepdown.display()
            )])
            .run()
    };
    run("--report").code(3).was_silent();
    assert_eq!(json(&file)["outcome"]["code"], 3);
    assert_eq!(names(&dir), ["file", "mounted"]);
    // It cannot be renamed, but copied.
    fs::write(&file, "[").expect("our own file");
    run("--state-file").code(3).logged(&["mounted.corrupt"]);
    assert_eq!(json(&file)["totals"]["runs"]["exit"], 1);
    assert_eq!(names(&dir), ["file", "mounted", "mounted.corrupt"]);
}

#[test]
fn a_new_file_has_the_mode_that_the_umask_leaves() {
    let dir = directory();
    let stepdown = binary::under_test();
    for (umask, mode) in [("077", 0o600), ("0", 0o644)] {
        let name = format!("run-{umask}.json");
        Stepdown::new()
            .program("sh")
            .dir(dir.path())
            .args(["-c".to_owned()])
            .args([format!(
                "umask {umask} && exec {} --report {name} -- true",
                stepdown.display()
            )])
            .run()
            .code(0);
        let made = fs::metadata(dir.path().join(name)).expect("a report");
        assert_eq!(made.mode() & 0o777, mode, "umask {umask}");
    }
}

#[test]
fn a_corrupt_state_file_behind_a_link_is_put_aside_where_it_lies() {
    let dir = directory();
    let volume = dir.path().join("volume");
    fs::create_dir(&volume).expect("our own directory");
    fs::write(volume.join("state"), "[").expect("our own file");
    symlink("volume/state", dir.path().join("state.json")).expect("our own directory");
    run_in(&dir, &["--state-file", "state.json"], "exit 3")
        .code(3)
        .logged(&["volume/state.corrupt, starting afresh"]);
    assert!(dir.path().join("state.json").is_symlink());
    assert_eq!(json(&volume.join("state"))["totals"]["runs"]["exit"], 1);
    assert!(volume.join("state.corrupt").is_file());
}

/// The outermost braces of what was printed between other lines.
#[track_caller]
fn report_in(text: &str) -> serde_json::Value {
    let braces = text.find('{').zip(text.rfind('}'));
    let (begin, end) = braces.unwrap_or_else(|| panic!("no report in {text}"));
    serde_json::from_str(&text[begin..=end]).unwrap_or_else(|error| panic!("{error} in {text}"))
}

#[test]
fn a_report_on_standard_output_is_printed_there() {
    let dir = directory();
    // By all the names that it has, and by one of our own.
    symlink("/dev/stdout", dir.path().join("link")).expect("our own directory");
    let link = dir.path().join("link").display().to_string();
    for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", &link] {
        both(|mode| {
            let run = Stepdown::in_mode(mode).args(["--report", name]);
            let ended = run.shell("echo said; exit 3").run();
            ended.code(3).said("said").was_silent();
            assert_eq!(report_in(&ended.stdout)["outcome"]["code"], 3);
        });
    }
}

/// Runs as nobody, with root's pipe or a socket as standard output; what came out of it.
fn reported_by_nobody(output: std::os::fd::OwnedFd, mut from: impl std::io::Read) -> String {
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    // Where the build lies others may have no access to.
    let program = binary::for_everybody();
    command.arg(program).args(["--report", "/dev/stdout", "--"]);
    command.args(["sh", "-c", "echo said; exit 3"]);
    let ended = command.stdout(output).status().expect("setpriv is there");
    assert_eq!(ended.code(), Some(3));
    drop(command);
    let mut text = String::new();
    from.read_to_string(&mut text).expect("UTF-8");
    text
}

#[test]
fn a_report_goes_to_a_standard_output_that_may_not_be_opened() {
    need!(is_root());
    need!(installed("/usr/bin/setpriv"));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let text = reported_by_nobody(writer.into(), reader);
    assert_eq!(report_in(&text)["outcome"]["code"], 3, "{text}");
    // Nobody at all can open a socket by its name.
    let (reader, writer) = std::os::unix::net::UnixStream::pair().expect("sockets");
    let text = reported_by_nobody(writer.into(), reader);
    assert_eq!(report_in(&text)["outcome"]["code"], 3, "{text}");
}

#[test]
fn a_report_on_standard_output_takes_no_files_place() {
    let dir = directory();
    let path = dir.path().join("output");
    fs::write(&path, "before\n").expect("our own file");
    let output = fs::File::options().append(true).open(&path);
    let ended = Stepdown::new()
        .args(["--report", "/dev/stdout"])
        .stdout_to(output.expect("our own file"))
        .shell("echo said; exit 3")
        .run();
    ended.code(3).was_silent();
    let text = fs::read_to_string(&path).expect("our own file");
    assert!(text.starts_with("before\nsaid\n{"), "{text}");
    assert_eq!(report_in(&text)["outcome"]["code"], 3);
    assert_eq!(names(&dir), ["output"]);
}

#[test]
fn what_is_written_to_a_file_that_is_a_stream_stands_between_its_lines() {
    let dir = directory();
    let path = dir.path().join("output");
    let output = fs::File::create(&path).expect("our own file");
    let mut log = output.try_clone().expect("a descriptor");
    let ended = Stepdown::new()
        .args([
            "-v",
            "--termination-log=/dev/stderr",
            "--report=/dev/stdout",
        ])
        .stdout_to(output.try_clone().expect("a descriptor"))
        .stderr_to(output)
        .shell("kill -TERM $PPID; exec sleep 60")
        .run();
    ended.code(143);
    // Who has called it goes on writing.
    log.write_all(b"after\n").expect("our own file");
    let text = fs::read_to_string(&path).expect("our own file");
    assert_eq!(text.matches("; not ended yet.\n").count(), 3, "{text}");
    for line in [
        "stepdown: started, pid",
        "stepdown: stopped in",
        "\nstopped in",
        "\nafter\n",
    ] {
        assert_eq!(text.matches(line).count(), 1, "{line} in {text}");
    }
    assert_eq!(report_in(&text)["outcome"]["code"], 143);
}

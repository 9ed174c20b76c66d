//! `stepdown lint` reads a unit together with its drop-ins, as systemd does.

use std::fs;
use std::path::Path;

use crate::support::Stepdown;
use crate::support::ended::Ended;

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("a directory")).expect("ours");
    fs::write(path, text).expect("ours");
}

fn lint(directory: &Path, files: &[&str]) -> Ended {
    let words = ["lint"].iter().chain(files).copied();
    Stepdown::new().dir(directory).args(words).run()
}

/// The place and the rule of each finding.
fn found(directory: &Path, files: &[&str]) -> Vec<String> {
    let ended = lint(directory, files);
    assert_eq!(ended.stderr, "", "{files:?}");
    let lines = ended.stdout.lines().filter(|line| line.ends_with(']'));
    let place = |line: &str| {
        let place = line.split(' ').next().expect("a place");
        let rule = line.rsplit(' ').next().expect("a rule");
        format!("{place} {rule}")
    };
    lines.map(place).collect()
}

const UNIT: &str = "[Service]\nExecStart=/usr/bin/stepdown --deadline 2min -- server\n";

#[test]
fn a_drop_in_beside_a_unit_counts_as_it_does_for_systemd() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    write(directory, "web.service", UNIT);
    let alone = [
        "web.service:2:11: [grace-too-short]",
        "web.service:2:11: [kill-mode]",
    ];
    assert_eq!(found(directory, &["web.service"]), alone);
    let mixed = "[Service]\nKillMode=mixed\nTimeoutStopSec=150\n";
    write(directory, "web.service.d/10-stop.conf", mixed);
    assert_eq!(found(directory, &["web.service"]), [""; 0]);
    // The last one by its name counts, and has the place.
    let shorter = "[Service]\nTimeoutStopSec=20\n";
    write(directory, "web.service.d/20-shorter.conf", shorter);
    let there = ["web.service.d/20-shorter.conf:2:16: [grace-too-short]"];
    assert_eq!(found(directory, &["web.service"]), there);
    // That it was named as well changes nothing, and alone it is half a unit.
    for named in [
        "web.service.d/10-stop.conf",
        "web.service.d/20-shorter.conf",
    ] {
        assert_eq!(found(directory, &["web.service", named]), there);
        assert_eq!(found(directory, &[named]), [""; 0]);
    }
    // Another command, where the one before is taken back.
    let other = "[Service]\nExecStart=\nExecStart=server\n";
    write(directory, "web.service.d/30-other.conf", other);
    assert_eq!(found(directory, &["web.service"]), [""; 0]);
    // Others that lie there are no drop-ins, and one that cannot be read is told.
    fs::remove_file(directory.join("web.service.d/30-other.conf")).expect("ours");
    write(directory, "web.service.d/30.conf.orig", other);
    assert_eq!(found(directory, &["web.service"]), there);
    let path = directory.join("web.service.d/40.conf");
    fs::write(path, b"[Service]\nExecStart=\xff\n").expect("ours");
    let ended = lint(directory, &["web.service"]);
    ended
        .code(125)
        .logged(&["web.service.d/40.conf: it cannot be read"]);
    assert!(
        ended.stdout.contains("[grace-too-short]"),
        "{}",
        ended.told()
    );
}

#[test]
fn a_drop_in_that_is_named_counts_for_the_unit_of_its_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    write(directory, "units/web.service", UNIT);
    let mixed = "[Service]\nKillMode=mixed\nTimeoutStopSec=150\n";
    write(directory, "etc/web.service.d/stop.conf", mixed);
    let files = ["etc/web.service.d/stop.conf", "units/web.service"];
    assert_eq!(found(directory, &files), [""; 0]);
    // That of another unit.
    write(directory, "etc/other.service.d/stop.conf", mixed);
    let files = ["units/web.service", "etc/other.service.d/stop.conf"];
    assert_eq!(found(directory, &files).len(), 2);
    // Of two units of this name it is that beside it.
    write(directory, "etc/web.service", UNIT);
    let files = [
        "etc/web.service",
        "etc/web.service.d/stop.conf",
        "units/web.service",
    ];
    let left = [
        "units/web.service:2:11: [grace-too-short]",
        "units/web.service:2:11: [kill-mode]",
    ];
    assert_eq!(found(directory, &files), left);
}

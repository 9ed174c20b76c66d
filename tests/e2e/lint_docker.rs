//! `stepdown lint` takes a Dockerfile as Docker does.

use std::fs;

use crate::support::Stepdown;
use crate::support::ended::Ended;

fn lint(dockerfile: &str) -> Ended {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("Dockerfile"), dockerfile).expect("ours");
    let words = ["lint", "Dockerfile"];
    Stepdown::new().dir(directory.path()).args(words).run()
}

/// The place and the rule of each finding.
fn found(dockerfile: &str) -> Vec<String> {
    let ended = lint(dockerfile);
    assert_eq!(ended.stderr, "", "{dockerfile}");
    let lines = ended.stdout.lines().filter(|line| line.ends_with(']'));
    let place = |line: &str| {
        let place = line.split(' ').next().expect("a place");
        let rule = line.rsplit(' ').next().expect("a rule");
        let place = place.trim_start_matches("Dockerfile:");
        format!("{place} {rule}")
    };
    lines.map(place).collect()
}

#[test]
fn a_script_in_the_dockerfile_has_the_lines_of_the_file() {
    for begin in [
        "COPY <<EOF /a.sh",
        "COPY <<-'EOF' /a.sh",
        "ADD <<\"EOF\" /a.sh",
    ] {
        let text = format!("FROM debian\n{begin}\n#!/bin/sh\nnode a.js\nEOF\nCMD [\"/a.sh\"]\n");
        assert_eq!(found(&text), ["4:1: [script-without-exec]"], "{begin}");
    }
    let ignored = "FROM debian\nCOPY <<EOF /a.sh\n#!/bin/sh\n# stepdown: ignore script-without-exec\nnode a.js\nEOF\n\
                   CMD [\"/a.sh\"]\n";
    assert_eq!(found(ignored), [""; 0]);
}

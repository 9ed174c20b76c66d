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

#[test]
fn an_exec_form_is_read_as_docker_reads_it() {
    let runner = ["2:5: [runner-in-front]"];
    assert_eq!(
        found("FROM node\nCMD [\"npm\", \"start\"] # of package.json\n"),
        runner
    );
    let begins =
        "FROM node\nENTRYPOINT [\"stepdown\", \"--drain-timeout\", \"5s\", \"--\"] # the init\n";
    assert_eq!(found(begins), ["2:12: [stepdown-options]"]);
    // What takes back the ENTRYPOINT of the image before.
    for nothing in ["[]", "[ ]", "[]  ", "[] # none"] {
        let text = format!(
            "FROM node\nENTRYPOINT [\"tini\", \"--\"]\nENTRYPOINT {nothing}\nCMD [\"npm\", \"start\"]\n"
        );
        assert_eq!(found(&text), ["4:7: [runner-in-front]"], "{nothing}");
    }
    // Docker gives these to a shell, which finds no such command.
    for broken in [
        "[node, a.js]",
        "[node]",
        "[node, a.js] # c",
        "['node', 'a.js']",
    ] {
        let text = format!("FROM node\nCMD {broken}\n");
        assert_eq!(found(&text), ["2:5: [exec-form-broken]"], "{broken}");
    }
    for test in [
        "[ -d /srv ] && exec node a.js",
        "[[ -d /srv ]] && exec node a.js",
    ] {
        assert_eq!(
            found(&format!("FROM node\nCMD {test}\n")),
            [""; 0],
            "{test}"
        );
    }
}

#[test]
fn stages_are_as_docker_has_them() {
    let base = "FROM node AS Base\nCMD [\"npm\", \"start\"]\n";
    assert_eq!(
        found(&format!("{base}FROM base\n")),
        ["2:7: [runner-in-front]"]
    );
    // An ENTRYPOINT takes back the CMD of the stage before, and not that of its own.
    let tini = "ENTRYPOINT [\"tini\", \"--\"]\n";
    assert_eq!(found(&format!("{base}FROM base\n{tini}")), [""; 0]);
    let own = "CMD [\"yarn\", \"start\"]\n";
    assert_eq!(
        found(&format!("{base}FROM base\n{own}{tini}")),
        ["4:7: [runner-in-front]"]
    );
}

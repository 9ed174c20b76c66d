//! `stepdown lint` takes Dockerfiles and compose files as Docker does.

use std::fs;

use crate::support::Stepdown;

/// The place and the rule of each finding in the first of these files.
fn found_in(files: &[(&str, &str)]) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("ours");
        fs::write(path, text).expect("ours");
    }
    let name = files.first().expect("a file").0;
    let words = ["lint", name];
    let ended = Stepdown::new().dir(directory.path()).args(words).run();
    assert_eq!(ended.stderr, "", "{files:?}");
    let lines = ended.stdout.lines().filter(|line| line.ends_with(']'));
    let place = |line: &str| {
        let place = line.split(' ').next().expect("a place");
        let rule = line.rsplit(' ').next().expect("a rule");
        let place = place.trim_start_matches(name).trim_start_matches(':');
        format!("{place} {rule}")
    };
    lines.map(place).collect()
}

fn found(dockerfile: &str) -> Vec<String> {
    found_in(&[("Dockerfile", dockerfile)])
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
    let begins = "FROM node\nENTRYPOINT [\"stepdown\", \"--drain-timeout\", \"5s\", \"--\"] # the init\n\
                  CMD [\"server\"]\n";
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
    assert_eq!(
        found(&format!("{base}FROM base\n{tini}")),
        ["4:14: [no-command]"]
    );
    let own = "CMD [\"yarn\", \"start\"]\n";
    assert_eq!(
        found(&format!("{base}FROM base\n{own}{tini}")),
        ["4:7: [runner-in-front]"]
    );
}

#[test]
fn files_of_variables_are_read_as_compose_reads_them() {
    let file = "services:\n  a:\n    image: web\n    entrypoint: [stepdown, --]\n    command: [server]\n    \
                env_file: w.env\n    stop_grace_period: 20s\n";
    let longer = ["7:24: [grace-too-short]"];
    for (text, expected) in [
        ("STEPDOWN_DEADLINE=40s # long\n", &longer[..]),
        ("STEPDOWN_DEADLINE=\"40s\"\t# long\n", &longer),
        ("export STEPDOWN_DEADLINE='40s' # \"long\"\n", &longer),
        ("TIME=40\nSTEPDOWN_DEADLINE=\"${TIME}s\"\n", &longer),
        ("STEPDOWN_DEADLINE=15s # short\n", &[]),
        // Not a comment, and not known.
        ("STEPDOWN_DEADLINE=40s#\n", &["6:15: [stepdown-options]"]),
        ("STEPDOWN_DEADLINE=$ELSEWHERE # long\n", &[]),
    ] {
        let files = [("compose.yaml", file), ("w.env", text)];
        assert_eq!(found_in(&files), expected, "{text}");
    }
    let file = "services:\n  a:\n    image: web\n    entrypoint: [stepdown, --]\n    command: [server]\n    \
                environment:\n      STEPDOWN_DEADLINE: $TIME\n    stop_grace_period: 20s\n";
    for (text, expected) in [
        ("TIME=40s # long\n", &["8:24: [grace-too-short]"][..]),
        ("TIME='15s' # short\n", &[]),
        ("TIME=$ELSEWHERE\n", &[]),
    ] {
        let files = [("compose.yaml", file), (".env", text)];
        assert_eq!(found_in(&files), expected, "{text}");
    }
}

#[test]
fn a_dockerfile_beside_is_not_that_in_the_compose_file() {
    let file = "services:\n  a:\n    build:\n      dockerfile_inline: |\n        FROM node\n        CMD [\"node\", \"a.js\"]\n";
    let beside = ("Dockerfile", "FROM node\nCMD npm start\n");
    assert_eq!(found_in(&[("compose.yaml", file), beside]), [""; 0]);
}

#[test]
fn a_service_that_is_extended_names_the_files_beside_it() {
    let file = "services:\n  a:\n    extends: { file: sub/base.yaml, service: base }\n    stop_grace_period: 20s\n";
    let base = "services:\n  base:\n    image: web\n    entrypoint: [stepdown, --]\n    command: [server]\n    \
                env_file: w.env\n";
    let files = [
        ("compose.yaml", file),
        ("sub/base.yaml", base),
        ("sub/w.env", "STEPDOWN_DEADLINE=40s\n"),
        ("w.env", "STEPDOWN_DEADLINE=5s\n"),
    ];
    assert_eq!(found_in(&files), ["4:24: [grace-too-short]"]);
    // So does one that it extends in turn, and the Dockerfile is there, too.
    let files = [
        ("compose.yaml", file),
        (
            "sub/base.yaml",
            "services:\n  base: { extends: { file: ../other/c.yaml, service: c } }\n",
        ),
        ("other/c.yaml", "services:\n  c: { build: . }\n"),
        (
            "other/Dockerfile",
            "FROM node\nENTRYPOINT [\"stepdown\", \"--grace=30s\", \"--\"]\nCMD [\"server\"]\n",
        ),
        ("Dockerfile", "FROM node\nCMD npm start\n"),
    ];
    assert_eq!(found_in(&files), ["4:24: [grace-too-short]"]);
}

#[test]
fn a_file_that_is_named_twice_is_judged_once() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(
        directory.path().join("Dockerfile"),
        "FROM node\nCMD exec npm start\n",
    )
    .expect("ours");
    let words = ["lint", "Dockerfile", "./Dockerfile"];
    let ended = Stepdown::new().dir(directory.path()).args(words).run();
    ended.code(1);
    let found = ended.stdout.matches("[runner-in-front]").count();
    assert_eq!(found, 1, "{}", ended.told());
}

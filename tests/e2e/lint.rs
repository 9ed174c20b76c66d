//! `stepdown lint`: every rule finds what it is for, at its place, and nothing else; and how that is told.
//!
//! `tests/lint/RULE/bad` has files in which the rule finds something, with all findings in `expected`;
//! `tests/lint/RULE/good` is the same without the fault, and nothing is found there. With `UPDATE_GOLDEN` set
//! `expected` is written anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::ended::Ended;
use crate::support::{Stepdown, binary, need};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn lint<'a>(directory: &Path, words: impl IntoIterator<Item = &'a str>) -> Ended {
    let words = ["lint"].into_iter().chain(words);
    Stepdown::new().dir(directory).args(words).run()
}

/// The names of `--rules`, and their levels.
fn rules() -> Vec<(String, String)> {
    let listed = Stepdown::new().args(["lint", "--rules"]).run();
    listed.code(0).was_silent();
    let rule = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        (
            words.next().expect("a name"),
            words.next().expect("a level"),
        )
    };
    listed.stdout.lines().map(rule).collect()
}

/// The files of a directory that lint reads by itself, by their paths in it.
fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next)
            .expect("ours")
            .map(|entry| entry.expect("ours"))
        {
            let path: PathBuf = entry.path();
            let shown = path.strip_prefix(directory).expect("below it");
            let shown = shown.to_string_lossy().into_owned();
            if path.is_dir() {
                left.push(path);
            } else if !shown.ends_with(".sh") {
                found.push(shown);
            }
        }
    }
    found.sort();
    found
}

/// `FILE:LINE:COLUMN RULE` of each finding.
fn found(directory: &Path) -> String {
    let files = files(directory);
    let files = files.iter().map(String::as_str);
    let told = lint(directory, ["--format", "json"].into_iter().chain(files));
    told.was_silent();
    let told: Value = serde_json::from_str(&told.stdout).expect("JSON");
    assert_eq!(told["schema"], "stepdown-lint/1");
    let line = |finding: &Value| {
        let text = |key: &str| finding[key].as_str().expect("text").to_owned();
        assert!(!text("message").is_empty() && !text("why").is_empty());
        let (file, rule) = (text("file"), text("rule"));
        format!("{file}:{}:{} {rule}\n", finding["line"], finding["column"])
    };
    told["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(line)
        .collect()
}

#[test]
fn every_rule_finds_its_fault_and_nothing_without_it() {
    for (rule, level) in rules() {
        let directory = root().join("tests/lint").join(&rule);
        let (bad, good) = (directory.join("bad"), directory.join("good"));
        let found_here = found(&bad);
        let golden = directory.join("expected");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &found_here).expect("ours");
        }
        let expected = fs::read_to_string(&golden).expect("it is there");
        assert_eq!(found_here, expected, "{rule}");
        assert!(
            expected.contains(&format!(" {rule}\n")),
            "{rule}: {expected}"
        );
        let all = files(&bad);
        let ended = lint(&bad, all.iter().map(String::as_str));
        ended.code(i32::from(level != "note"));
        let all = files(&good);
        let ended = lint(&good, all.iter().map(String::as_str));
        assert_eq!(ended.stdout, "", "{rule}");
        ended.code(0).was_silent();
    }
}

#[test]
fn the_page_has_every_rule() {
    let page = fs::read_to_string(root().join("docs/lint.md")).expect("ours");
    for (rule, level) in rules() {
        let row = format!("| `{rule}` | {level} |");
        assert!(page.contains(&row), "no {row}");
    }
}

#[test]
fn nothing_is_found_in_our_own_examples() {
    let examples = [
        "Dockerfile.example",
        "scripts/examples/compose/compose.yaml",
        "scripts/examples/kubernetes.yaml",
        "scripts/examples/web.service",
    ];
    let ended = lint(root(), examples);
    assert_eq!(ended.stdout, "");
    ended.code(0).was_silent();
    for example in examples {
        lint(root(), [example]).code(0).was_silent();
    }
}

#[test]
fn a_finding_has_its_place_its_reason_and_the_way_out() {
    let directory = root().join("tests/lint/no-handler/bad");
    let ended = lint(&directory, ["Dockerfile"]);
    ended
        .code(1)
        .was_silent()
        .said("Dockerfile:2:7: warning: the image: sleep is PID 1 and has no handler for TERM [no-handler]")
        .said("  way out: put an init in front (ENTRYPOINT [\"stepdown\", \"--\"], docker run --init, init: true in compose)");
}

#[test]
fn a_finding_says_what_stepdown_does_with_the_signal() {
    const TOLD: &str = "\
signal-not-taken Dockerfile.stepdown: stepdown sends TERM, and uWSGI does not stop on it
signal-not-taken Dockerfile.steps: stepdown sends HUP, then USR1, and nginx does not stop on them
signal-not-taken Dockerfile.forwards: stepdown forwards HUP, and nginx does not stop on it
signal-not-taken Dockerfile.drops: --rewrite of stepdown drops TERM, so nothing is stopped
signal-not-taken Dockerfile: the stop signal of the image that this one is built on is QUIT, and
signal-not-taken used.yaml: the stop signal of the image is QUIT, and --stop-on of stepdown
grace-too-short two.yaml: the plan of stepdown in container slow of Pod two takes up to";
    for line in TOLD.lines() {
        let (place, told) = line.split_once(": ").expect("a place");
        let (rule, file) = place.split_once(' ').expect("a rule");
        let ended = lint(&root().join("tests/lint").join(rule).join("bad"), [file]);
        ended.code(1);
        assert!(ended.stdout.contains(told), "{}", ended.told());
    }
}

#[test]
fn a_comment_takes_a_rule_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        fs::write(directory.path().join(name), text).expect("ours");
    };
    write(
        "Dockerfile",
        "FROM node:20\n# stepdown: ignore shell-form, runner-in-front\nCMD npm start\n",
    );
    write(
        "compose.yaml",
        "services:\n  a:\n    image: debian\n    command: sleep 99 # stepdown: ignore no-handler\n",
    );
    write(
        "a.service",
        "[Service]\nExecStart=a\n; stepdown: ignore kill-mode\nKillMode=none\n",
    );
    let ended = lint(
        directory.path(),
        ["Dockerfile", "compose.yaml", "a.service"],
    );
    assert_eq!(ended.stdout, "");
    ended.code(0).was_silent();
    // Another rule does not count.
    write(
        "Dockerfile",
        "FROM node:20\n# stepdown: ignore no-handler\nCMD npm start\n",
    );
    lint(directory.path(), ["Dockerfile"]).code(1);
}

#[test]
fn an_override_counts_as_it_does_for_compose() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        fs::write(directory.path().join(name), text).expect("ours");
    };
    let found = |file: &str| {
        let ended = lint(directory.path(), [file]);
        let places = ended.stdout.lines().filter(|line| line.ends_with(']'));
        let place = |line: &str| line.split(' ').next().expect("a place").to_owned();
        (ended.status.code(), places.map(place).collect::<Vec<_>>())
    };
    let base = "services:\n  a:\n    image: debian\n    command: sleep 99\n    \
                labels: { traefik.http.routers.a.rule: x }\n";
    write("compose.yaml", base);
    let alone = (Some(1), vec!["compose.yaml:4:14:".to_owned()]);
    assert_eq!(found("compose.yaml"), alone);
    // What stands in the override is told with its place there, whichever of both was named.
    let text = "services:\n  a: { command: [sleep, '88'] }\n";
    write("compose.override.yml", text);
    let there = (Some(1), vec!["compose.override.yml:2:18:".to_owned()]);
    assert_eq!(found("compose.yaml"), there);
    assert_eq!(found("compose.override.yml"), there);
    // `null` changes nothing, `!reset` does, and lists of variables are merged.
    write("compose.override.yml", "services:\n  a: { command: }\n");
    assert_eq!(found("compose.yaml"), alone);
    let text = "services:\n  a: { command: !reset null, entrypoint: [server] }\n";
    write("compose.override.yml", text);
    assert_eq!(found("compose.yaml"), (Some(0), vec![]));
    write("compose.override.yml", "services:\n  a: { init: true }\n");
    assert_eq!(found("compose.yaml"), (Some(0), vec![]));
    // Another name is a file for itself, and so is one that the first of the default names hides.
    write("compose.prod.yaml", base);
    let place = "compose.prod.yaml:4:14:".to_owned();
    assert_eq!(found("compose.prod.yaml"), (Some(1), vec![place]));
    write("docker-compose.yml", base);
    let place = "docker-compose.yml:4:14:".to_owned();
    assert_eq!(found("docker-compose.yml"), (Some(1), vec![place]));
    // One that cannot be parsed is told, and the other is judged without it.
    write("compose.override.yml", "services: [\n");
    let ended = lint(directory.path(), ["compose.yaml", "compose.override.yml"]);
    ended.code(125);
    assert!(
        ended.stdout.contains("compose.yaml:4:14:"),
        "{}",
        ended.told()
    );
    let told = ended.stderr.matches("compose.override.yml:").count();
    assert_eq!(told, 1, "{}", ended.told());
}

/// What is found in a file and its override is what is found in the one file that compose makes of them.
#[test]
fn an_override_is_read_as_compose_reads_it() {
    const COMPOSE: &str = "/usr/bin/docker-compose";
    need!(binary::installed(COMPOSE));
    let stepdown = "image: a, entrypoint: [stepdown, --drain-port, '80', --], command: [server]";
    let shell = "build: { context: ., target: shell }";
    for (base, stronger, expected) in [
        (
            "image: debian, command: sleep 99",
            "command: [server]",
            &[][..],
        ),
        (
            "image: debian, command: [server]",
            "command: sleep 99",
            &["no-handler"],
        ),
        ("image: debian, command: sleep 99", "init: true", &[]),
        (
            &format!("{stepdown}, environment: [STEPDOWN_GRACE=5s]"),
            "environment: { STEPDOWN_GRACE: 30s }",
            &["grace-too-short"],
        ),
        (
            &format!("{stepdown}, environment: {{ STEPDOWN_GRACE: 30s }}"),
            "stop_grace_period: 2m, environment: [OTHER=x]",
            &[],
        ),
        (
            &format!("{stepdown}, labels: [traefik.http.routers.a.rule=x]"),
            "labels: { other: x }",
            &["drain-without-delay"],
        ),
        (
            &format!("{stepdown}, labels: [traefik.http.routers.a.rule=x]"),
            "labels: { traefik.http.routers.a.rule: 'false' }",
            &[],
        ),
        (shell, "build: { target: plain }", &[]),
        (
            "build: { context: ., target: plain }",
            shell,
            &["shell-form"],
        ),
        ("build: .", shell, &["shell-form"]),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            fs::write(directory.path().join(name), text).expect("ours");
        };
        let dockerfile =
            "FROM node:20 AS shell\nCMD node a.js\nFROM node:20 AS plain\nCMD exec node a.js\n";
        write("Dockerfile", dockerfile);
        let file = |service: &str| format!("version: '3.8'\nservices:\n  a: {{ {service} }}\n");
        write("docker-compose.yml", &file(base));
        write("docker-compose.override.yml", &file(stronger));
        let merged = Command::new(COMPOSE)
            .arg("config")
            .current_dir(directory.path())
            .output()
            .expect("compose");
        assert!(merged.status.success(), "{merged:?}");
        let merged = String::from_utf8(merged.stdout).expect("text");
        write("merged.yml", &merged);
        let rules = |file: &str| {
            let told = lint(directory.path(), ["--format", "json", file]);
            let told: Value = serde_json::from_str(&told.stdout).expect("JSON");
            let findings = told["findings"].as_array().expect("a list");
            let rules = findings.iter().map(|finding| finding["rule"].to_string());
            rules
                .map(|rule| rule.trim_matches('"').to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(rules("docker-compose.yml"), expected, "{base}; {stronger}");
        assert_eq!(
            rules("merged.yml"),
            expected,
            "{base}; {stronger}: {merged}"
        );
    }
}

#[test]
fn what_cannot_be_judged_is_told_and_the_rest_is_judged() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        fs::write(directory.path().join(name), text).expect("ours");
    };
    write("a.yaml", "a: [1\n");
    write("chart.yaml", "kind: {{ .Values.kind }}\n");
    write("list.yaml", "- a\n");
    write("notes.txt", "notes\n");
    write("other.toml", "[package]\nname = \"a\"\n");
    write("Dockerfile", "FORM debian\n");
    write("Dockerfile.web", "FROM debian\nCMD [\"sleep\", \"99\"]\n");
    fs::create_dir(directory.path().join("sub")).expect("ours");
    for (file, told) in [
        ("a.yaml", "stepdown lint: a.yaml:2:1:"),
        ("chart.yaml", "helm template CHART | stepdown lint -"),
        ("list.yaml", "those are what lint reads"),
        ("notes.txt", "those are what lint reads"),
        ("other.toml", "no key of it is an option of stepdown"),
        (
            "Dockerfile",
            "stepdown lint: Dockerfile:1:1: unknown instruction",
        ),
        (
            "missing.yaml",
            "missing.yaml: No such file or directory: the directory has Dockerfile, Dockerfile.web",
        ),
        (
            "lost.yaml",
            "No such file or directory: did you mean list.yaml?",
        ),
        (
            "nowhere/a.yaml",
            "the directory nowhere is not there either",
        ),
        ("sub", "it is a directory"),
    ] {
        let ended = lint(directory.path(), [file, "Dockerfile.web"]);
        ended.code(125).logged(&[told]);
        assert!(ended.stdout.contains("[no-handler]"), "{}", ended.told());
    }
    let empty = tempfile::tempdir().expect("a directory");
    lint(empty.path(), ["a.yaml"]).code(125).logged(&[
        "stepdown lint: a.yaml: No such file or directory: name a Dockerfile, compose file, Kubernetes manifest",
    ]);
    let ended = lint(directory.path(), []);
    ended
        .code(125)
        .logged(&["usage: no file to judge", "stepdown lint"]);
    let ended = lint(directory.path(), ["--format", "srif", "Dockerfile.web"]);
    ended.code(125).logged(&["--format", "did you mean sarif?"]);
}

#[test]
fn standard_input_is_a_file_too() {
    let path = root().join("tests/lint/no-grace/bad/pod.yaml");
    let file = fs::File::open(path).expect("ours");
    let ended = Stepdown::new().args(["lint", "-"]).stdin_from(file).run();
    ended.code(1).was_silent();
    assert!(
        ended.stdout.starts_with("-:12:38: warning: "),
        "{}",
        ended.told()
    );
}

#[test]
fn annotations_are_as_github_takes_them() {
    let directory = root().join("tests/lint/two-inits/bad");
    let ended = lint(&directory, ["--format", "github", "compose.yaml"]);
    ended.code(1).was_silent();
    let begins = "::warning file=compose.yaml,line=4,col=11,title=stepdown lint%3A two-inits::stepdown runs behind";
    assert!(
        ended.stdout.lines().any(|line| line.starts_with(begins)),
        "{}",
        ended.told()
    );
    let notes = root().join("tests/lint/deadline-cuts/bad");
    let ended = lint(&notes, ["--format", "github", "Dockerfile"]);
    ended.code(0);
    assert!(
        ended.stdout.starts_with("::notice file="),
        "{}",
        ended.told()
    );
}

/// The schema is that of OASIS; what checks it is Python's jsonschema.
#[test]
fn sarif_is_valid() {
    let directory = root().join("tests/lint");
    let bad = |rule: &str, file: &str| format!("{rule}/bad/{file}");
    let files = [
        bad("grace-too-short", "compose.yaml"),
        bad("deadline-cuts", "Dockerfile"),
        "missing file".to_owned(),
    ];
    let words = files.iter().map(String::as_str);
    let told = lint(&directory, ["--format", "sarif"].into_iter().chain(words));
    told.code(125);
    let log: Value = serde_json::from_str(&told.stdout).expect("JSON");
    let run = &log["runs"][0];
    let result = &run["results"][0];
    let index = result["ruleIndex"].as_u64().expect("a number");
    let index = usize::try_from(index).expect("small");
    assert_eq!(result["ruleId"], "grace-too-short");
    assert_eq!(
        run["tool"]["driver"]["rules"][index]["id"],
        "grace-too-short"
    );
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(
        place["artifactLocation"]["uri"],
        "grace-too-short/bad/compose.yaml"
    );
    assert_eq!(place["region"]["startLine"], 12);
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    need!(binary::installed("/usr/bin/python3"));
    let has_module = Command::new("/usr/bin/python3")
        .args(["-c", "import jsonschema"])
        .output();
    let has_module = has_module.is_ok_and(|ran| ran.status.success());
    need!(
        has_module
            .then_some(())
            .ok_or_else(|| "no python3-jsonschema".to_owned())
    );
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), &told.stdout).expect("ours");
    let check = "import json, sys, jsonschema; load = lambda path: json.load(open(path)); \
                 jsonschema.Draft7Validator(load(sys.argv[1])).validate(load(sys.argv[2]))";
    let checked = Command::new("/usr/bin/python3")
        .args(["-c", check])
        .arg(root().join("tests/e2e/children/sarif-2.1.0.json"))
        .arg(file.path())
        .output()
        .expect("python3");
    let why = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{why}");
}

#[test]
fn a_fifo_that_a_file_names_is_not_waited_for() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let fifo = place.path().join("start.sh");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).expect("a FIFO");
    let lines = "FROM debian\nCOPY start.sh /start.sh\nENTRYPOINT [\"/start.sh\"]\n";
    fs::write(place.path().join("Dockerfile"), lines).expect("a file of ours");
    lint(place.path(), ["Dockerfile"]).code(0);
}

//! `scripts/timeline` draws a stop that it has played: a well-formed picture, whose rows are those of the report.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::pages::root;
use crate::support::{binary, need};

/// What the report says was done, as the rows name it.
fn told(report: &Value) -> Vec<String> {
    let records = report["records"].as_array().expect("records");
    let mut rows = Vec::new();
    for record in records {
        let text = |key: &str| record[key].as_str().expect("a text").to_owned();
        match record["event"].as_str().expect("an event") {
            "hook-ended" => rows.push(format!("{} hook", text("phase"))),
            "drain-ended" => rows.push("drain".to_owned()),
            "step" => rows.push(format!(
                "step {} of {}: {}",
                record["step"],
                record["of"],
                text("signal")
            )),
            "sweep-ended" => rows.push("sweep".to_owned()),
            _ => {}
        }
    }
    rows
}

/// The first text of each row.
fn drawn(picture: &str) -> Vec<String> {
    let rows = picture.split("<g id=\"row-").skip(1);
    let name = |row: &str| {
        let (_, text) = row.split_once("<text").expect("a text");
        let (_, text) = text.split_once('>').expect("a tag");
        text.split('<').next().expect("a name").to_owned()
    };
    rows.map(name).collect()
}

#[test]
fn the_picture_shows_the_steps_of_the_report() {
    need!(binary::installed("/usr/bin/python3"));
    need!(binary::installed("/usr/bin/xmllint"));
    let directory = tempfile::tempdir().expect("a directory");
    let picture = directory.path().join("timeline.svg");
    let report = directory.path().join("report.json");
    let ran = Command::new(root().join("scripts/timeline"))
        .arg("--out")
        .arg(&picture)
        .arg("--report")
        .arg(&report)
        .env("STEPDOWN_BIN", binary::under_test())
        .output()
        .expect("a script of ours");
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{error}");

    let checked = Command::new("xmllint")
        .arg("--noout")
        .arg(&picture)
        .output()
        .expect("xmllint");
    let error = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{error}");

    let report = fs::read_to_string(report).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let picture = fs::read_to_string(picture).expect("a picture");
    // What clients saw comes first.
    let mut rows = vec!["a request".to_owned(), "/readyz answers 503".to_owned()];
    rows.extend(told(&report));
    assert_eq!(drawn(&picture), rows);
    for kept in [
        "<title",
        "<desc",
        "prefers-color-scheme: dark",
        "TERM, then KILL",
        "answered whole",
        "exit status 0",
    ] {
        assert!(picture.contains(kept), "{kept}\n{picture}");
    }
}

/// The one that the pages show is drawn like that, too.
#[test]
fn the_pages_show_all_phases() {
    let rows = drawn(&fs::read_to_string(root().join("docs/timeline.svg")).expect("our own file"));
    let expected = [
        "a request",
        "/readyz answers 503",
        "pre-stop hook",
        "drain",
        "step 1 of 2: TERM",
        "sweep",
        "post-stop hook",
    ];
    assert_eq!(rows, expected);
}

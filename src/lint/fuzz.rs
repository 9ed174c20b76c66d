//! All of `lint` over one file of each kind: each finding has a place in it, and each format is what it says.

use std::ffi::OsString;
use std::path::Path;
use std::sync::OnceLock;

use super::*;
use crate::cli::{self, Invocation};

/// What is found in a file, with others beside it.
fn judged(name: &str, beside: Option<(&str, &[u8])>, bytes: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    if let Some((name, bytes)) = beside {
        std::fs::write(directory.path().join(name), bytes).unwrap();
    }
    judge_one(&path);
}

/// Reads lines as the program does. Made once: the parser of command lines takes longer than all the rest.
fn lint() -> &'static Lint {
    static LINT: OnceLock<Lint> = OnceLock::new();
    LINT.get_or_init(|| {
        let line = ["stepdown", "lint", "a"].map(OsString::from);
        let Ok(Invocation::Lint(lint)) = cli::parse(line.into()) else {
            panic!("it is a line of lint");
        };
        lint
    })
}

fn judge_one(path: &Path) {
    let lint = lint();
    let mut sources = Sources::default();
    let mut errors: Vec<String> = sources.name(path).err().into_iter().collect();
    let mut findings = Findings::default();
    lint.judge_all(&mut sources, &mut findings, &mut errors);
    sources.judge_ignores(&mut findings);
    let findings = findings.sorted(|finding| sources.is_ignored(finding));
    assert!(errors.iter().all(|error| !error.is_empty()));
    for finding in &findings {
        let source = sources.get(finding.at.file).unwrap();
        let lines: Vec<&str> = source.text.split('\n').collect();
        let (line, column) = (finding.at.line, finding.at.column);
        assert!((1..=lines.len()).contains(&line), "{finding:?}");
        let width = lines[line - 1].len();
        assert!((1..=width + 1).contains(&column), "{finding:?}");
    }
    for (_, format) in Format::ALL {
        let text = tell::told(format, &findings, &sources, &errors).unwrap();
        if [Format::Json, Format::Sarif].contains(&format) {
            let _: serde_json::Value = serde_json::from_str(&text).unwrap();
        }
    }
}

pub(crate) fn dockerfile(bytes: &[u8]) {
    judged(
        "Dockerfile",
        Some(("run.sh", b"#!/bin/sh\nexec app\n")),
        bytes,
    );
}

/// Compose files and Kubernetes manifests.
pub(crate) fn yaml(bytes: &[u8]) {
    judged(
        "a.yaml",
        Some(("Dockerfile", b"FROM a AS b\nCMD c\n")),
        bytes,
    );
}

pub(crate) fn unit(bytes: &[u8]) {
    judged("a.service", None, bytes);
}

pub(crate) fn toml(bytes: &[u8]) {
    judged("a.toml", None, bytes);
}

/// A script that an image starts.
pub(crate) fn script(bytes: &[u8]) {
    let image = b"FROM alpine\nCOPY run.sh /run.sh\nENTRYPOINT [\"/run.sh\"]\nCMD [\"nginx\"]\n";
    judged("Dockerfile", Some(("run.sh", bytes)), image);
}

/// What is recognized by its content alone.
pub(crate) fn unnamed(bytes: &[u8]) {
    judged("a", None, bytes);
}

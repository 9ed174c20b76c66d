//! The report as one JSON document, whose layout is that of `docs/doctor.schema.json` and has a version.

use serde::Serialize;

use super::Examined;
use super::target::Kind;
use super::text::command_line;
use crate::diagnosis::verdict::{Fate, Level, Verdict};

/// Raised with every change that a program that reads it could fail on; new fields do not count.
const SCHEMA: &str = "stepdown-doctor/1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    stepdown: &'static str,
    verdict: Verdict,
    targets: Vec<TargetLine<'a>>,
    /// What could not be looked at at all.
    failed: Vec<FailedLine<'a>>,
}

#[derive(Serialize)]
struct FailedLine<'a> {
    name: &'a str,
    why: &'a str,
}

#[derive(Serialize)]
struct TargetLine<'a> {
    name: &'a str,
    kind: Kind,
    verdict: Verdict,
    /// The process that gets the signal.
    root: i32,
    signal: String,
    /// Who says so; `null` is nobody.
    signal_by: Option<&'a str>,
    /// When the platform sends KILL.
    grace_ms: Option<u64>,
    grace_by: Option<&'a str>,
    /// The root is PID 1 of its namespace: its end is that of all others.
    contained: bool,
    processes: Vec<ProcessLine<'a>>,
    findings: Vec<FindingLine<'a>>,
    unseen: &'a [String],
}

#[derive(Serialize)]
struct ProcessLine<'a> {
    pid: i32,
    /// In its own namespace.
    own_pid: i32,
    parent: i32,
    group: i32,
    session: i32,
    state: &'a str,
    threads: u32,
    command: &'a str,
    command_line: String,
    listens: &'a [u16],
    fate: Fate,
    why: &'a str,
}

#[derive(Serialize)]
struct FindingLine<'a> {
    pid: i32,
    command: &'a str,
    kind: &'static str,
    level: Level,
    why: String,
    way_out: String,
}

pub(super) fn document(
    examined: &[Examined],
    failed: &[(String, String)],
    verdict: Verdict,
) -> String {
    let document = Document {
        schema: SCHEMA,
        stepdown: env!("CARGO_PKG_VERSION"),
        verdict,
        targets: examined.iter().map(target).collect(),
        failed: failed
            .iter()
            .map(|(name, why)| FailedLine { name, why })
            .collect(),
    };
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

fn target(one: &Examined) -> TargetLine<'_> {
    let seen = |pid: i32| {
        one.snapshot
            .processes
            .iter()
            .find(move |seen| seen.pid() == pid)
    };
    let processes = one.diagnosis.processes.iter().filter_map(|judged| {
        let seen = seen(judged.pid)?;
        let look = &seen.look;
        Some(ProcessLine {
            pid: look.pid,
            own_pid: seen.own_pid,
            parent: look.parent,
            group: look.group,
            session: look.session,
            state: &look.state,
            threads: look.threads,
            command: &look.command,
            command_line: command_line(seen),
            listens: &seen.listens,
            fate: judged.fate,
            why: &judged.why,
        })
    });
    let findings = one.diagnosis.findings.iter().map(|found| FindingLine {
        pid: found.process.pid,
        command: &found.process.command,
        kind: found.finding.kind(),
        level: found.level,
        why: found.finding.to_string(),
        way_out: found.finding.way_out(),
    });
    let target = &one.target;
    let grace = target.grace.as_ref();
    TargetLine {
        name: &target.title,
        kind: target.kind,
        verdict: one.diagnosis.verdict,
        root: one.snapshot.root,
        signal: one.snapshot.signal.to_string(),
        signal_by: target.signal.as_ref().map(|(_, by)| by.as_str()),
        grace_ms: grace.map(|(time, ..)| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        grace_by: grace.map(|(_, _, by)| by.as_str()),
        contained: one.snapshot.contained,
        processes: processes.collect(),
        findings: findings.collect(),
        unseen: &one.unseen,
    }
}

//! The findings as text, JSON, SARIF and annotations of GitHub.

mod sarif;

use std::fmt::Write as _;

use serde::Serialize;

use super::finding::Finding;
use super::source::Sources;

/// How the findings are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Text,
    Json,
    Sarif,
    Github,
}

/// The default is the first.
impl Format {
    pub(crate) const ALL: [(&'static str, Self); 4] = [
        ("text", Self::Text),
        ("json", Self::Json),
        ("sarif", Self::Sarif),
        ("github", Self::Github),
    ];
}

/// Raised with every change that a program that reads it could fail on; new fields do not count.
const SCHEMA: &str = "stepdown-lint/1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    stepdown: &'static str,
    findings: Vec<FindingLine<'a>>,
    /// Files that could not be read or parsed.
    errors: &'a [String],
}

#[derive(Serialize)]
struct FindingLine<'a> {
    rule: &'static str,
    level: &'static str,
    file: &'a str,
    line: usize,
    column: usize,
    message: &'a str,
    why: &'static str,
    way_out: &'static str,
}

/// All of them; the errors are told on standard error, too.
///
/// # Errors
/// It cannot be written as JSON.
pub(crate) fn told(
    format: Format,
    findings: &[Finding],
    sources: &Sources,
    errors: &[String],
) -> Result<String, String> {
    match format {
        Format::Text => Ok(text(findings, sources)),
        Format::Github => Ok(github(findings, sources)),
        Format::Json => json(&Document {
            schema: SCHEMA,
            stepdown: env!("CARGO_PKG_VERSION"),
            findings: lines(findings, sources),
            errors,
        }),
        Format::Sarif => json(&sarif::log(findings, sources, errors)),
    }
}

fn json(document: &impl Serialize) -> Result<String, String> {
    let text = serde_json::to_string_pretty(document);
    text.map(|text| text + "\n")
        .map_err(|error| format!("lint: {error}"))
}

fn shown(sources: &Sources, finding: &Finding) -> String {
    let source = sources.get(finding.at.file);
    source
        .map(|source| source.shown.clone())
        .unwrap_or_default()
}

fn lines<'a>(findings: &'a [Finding], sources: &'a Sources) -> Vec<FindingLine<'a>> {
    let line = |finding: &'a Finding| FindingLine {
        rule: finding.rule.name,
        level: finding.rule.level.name(),
        file: sources
            .get(finding.at.file)
            .map_or("", |source| &source.shown),
        line: finding.at.line,
        column: finding.at.column,
        message: &finding.message,
        why: finding.rule.why,
        way_out: finding.rule.way_out,
    };
    findings.iter().map(line).collect()
}

fn text(findings: &[Finding], sources: &Sources) -> String {
    let mut text = String::new();
    for finding in findings {
        let rule = finding.rule;
        let _ = writeln!(
            text,
            "{}:{}:{}: {}: {} [{}]\n  why:     {}\n  way out: {}",
            shown(sources, finding),
            finding.at.line,
            finding.at.column,
            rule.level.name(),
            finding.message,
            rule.name,
            rule.why,
            rule.way_out
        );
    }
    text
}

fn github(findings: &[Finding], sources: &Sources) -> String {
    // As the runner takes them apart (actions/toolkit, command.ts).
    let data = |text: &str| {
        text.replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A")
    };
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let mut text = String::new();
    for finding in findings {
        let rule = finding.rule;
        let level = match rule.level.name() {
            "note" => "notice",
            other => other,
        };
        let message = format!(
            "{}\nwhy: {}\nway out: {}",
            finding.message, rule.why, rule.way_out
        );
        let _ = writeln!(
            text,
            "::{level} file={},line={},col={},title={}::{}",
            property(&shown(sources, finding)),
            finding.at.line,
            finding.at.column,
            property(&format!("stepdown lint: {}", rule.name)),
            data(&message)
        );
    }
    text
}

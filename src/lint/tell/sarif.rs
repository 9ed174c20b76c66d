//! SARIF 2.1.0 (OASIS), as code scanning takes it.

use serde_json::{Value, json};

use crate::lint::finding::Finding;
use crate::lint::rules::RULES;
use crate::lint::source::Sources;

/// One log with one run.
pub(super) fn log(findings: &[Finding], sources: &Sources, errors: &[String]) -> Value {
    let rules = RULES.iter().map(|rule| {
        json!({
            "id": rule.name,
            "shortDescription": { "text": rule.title },
            "fullDescription": { "text": rule.why },
            "help": { "text": rule.way_out },
            "defaultConfiguration": { "level": rule.level.name() },
        })
    });
    let rules: Vec<Value> = rules.collect();
    let results = findings.iter().map(|finding| {
        let rule = finding.rule;
        let index = RULES.iter().position(|known| known.name == rule.name);
        let file = sources
            .get(finding.at.file)
            .map_or("", |source| &source.shown);
        json!({
            "ruleId": rule.name,
            "ruleIndex": index,
            "level": rule.level.name(),
            "message": { "text": format!("{}. Way out: {}", finding.message, rule.way_out) },
            "locations": [{
                "physicalLocation": {
                    "artifactLocation": { "uri": uri(file) },
                    "region": { "startLine": finding.at.line, "startColumn": finding.at.column },
                },
            }],
        })
    });
    let results: Vec<Value> = results.collect();
    let notices = errors
        .iter()
        .map(|error| json!({ "level": "error", "message": { "text": error } }));
    let notices: Vec<Value> = notices.collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": "stepdown lint",
                    "version": env!("CARGO_PKG_VERSION"),
                    "rules": rules,
                },
            },
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": errors.is_empty(),
                "toolExecutionNotifications": notices,
            }],
            "results": results,
        }],
    })
}

/// A path as a URI reference (RFC 3986).
fn uri(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let mut uri = String::new();
    let path = path.strip_prefix("./").unwrap_or(path);
    for byte in path.bytes() {
        if is_plain(byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    if path.starts_with('/') {
        format!("file://{uri}")
    } else {
        uri
    }
}

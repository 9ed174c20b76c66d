//! What was found: a rule, a place, and what is the matter there.

use super::place::Spot;
use super::rules::{Level, Rule};

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) rule: &'static Rule,
    pub(crate) at: Spot,
    pub(crate) message: String,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    all: Vec<Finding>,
}

impl Findings {
    pub(crate) fn add(&mut self, rule: &'static Rule, at: Spot, message: impl Into<String>) {
        let message = message.into();
        self.all.push(Finding { rule, at, message });
    }

    /// In the order of the files, each of them once: an image may be used by many services.
    pub(crate) fn sorted(mut self, is_ignored: impl Fn(&Finding) -> bool) -> Vec<Finding> {
        self.all.retain(|finding| !is_ignored(finding));
        self.all
            .sort_by_key(|finding| (finding.at, finding.rule.name));
        let same = |a: &Finding, b: &Finding| a.at == b.at && a.rule.name == b.rule.name;
        self.all.dedup_by(|a, b| same(a, b));
        self.all
    }
}

/// Whether one of them makes it fail.
pub(crate) fn fails(findings: &[Finding]) -> bool {
    findings.iter().any(|found| found.rule.level > Level::Note)
}

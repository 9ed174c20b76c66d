//! A JUnit report, as CI servers read it: a test case for each promise of each run.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::check::judge::Held;
use crate::check::{Result, Run};
use crate::words::duration::Shown;

/// The report.
///
/// # Errors
/// It cannot be written as XML.
pub(crate) fn document(result: &Result) -> std::result::Result<String, String> {
    let mut report = Report::new("stepdown check");
    for (index, variant) in result.check.variants.iter().enumerate() {
        let name = match variant.name {
            "" => "shutdown".to_owned(),
            name => format!("shutdown {name}"),
        };
        let mut suite = TestSuite::new(name);
        let mut sum = Duration::ZERO;
        for run in result.runs.iter().filter(|run| run.variant == index) {
            let took = run.story.took().unwrap_or_default();
            sum = sum.saturating_add(took);
            for finding in &run.verdict.findings {
                let mut case = TestCase::new(title(run, finding.promise), status(finding));
                case.set_classname("stepdown.check");
                case.set_time(took);
                if finding.held == Held::No {
                    case.set_system_out(run.story.output.join("\n"));
                }
                suite.add_test_case(case);
            }
        }
        suite.set_time(sum);
        report.add_test_suite(suite);
    }
    report.to_string().map_err(|error| error.to_string())
}

fn title(run: &Run, promise: &str) -> String {
    match run.offset {
        None => format!("run {}: {promise}", run.number),
        Some(offset) => format!("run {} at {}: {promise}", run.number, Shown(offset)),
    }
}

fn status(finding: &crate::check::judge::Finding) -> TestCaseStatus {
    let kind = match finding.held {
        Held::Yes => return TestCaseStatus::success(),
        Held::NotJudged => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message(finding.happened.clone());
            return skipped;
        }
        Held::Unknown => NonSuccessKind::Error,
        Held::No => NonSuccessKind::Failure,
    };
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(finding.promise);
    status.set_message(format!(
        "{}; promised: {}",
        finding.happened, finding.promised
    ));
    if let Some(reason) = &finding.reason {
        status.set_description(format!(
            "probably: {}\nway out: {}",
            reason.why, reason.way_out
        ));
    }
    status
}

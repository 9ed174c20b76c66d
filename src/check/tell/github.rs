//! Annotations for GitHub's workflow log: written when `GITHUB_ACTIONS` is set.

use std::fmt::Write as _;

use crate::check::CheckResult;
use crate::check::judge::Held;

/// A workflow command for each broken promise; `None` outside of GitHub Actions.
pub(crate) fn annotations(result: &CheckResult) -> Option<String> {
    (std::env::var_os("GITHUB_ACTIONS")? == "true").then(|| lines(result))
}

fn lines(result: &CheckResult) -> String {
    let mut text = String::new();
    let mut told: Vec<String> = Vec::new();
    for run in &result.runs {
        for finding in run.verdict.broken() {
            let level = match finding.held {
                Held::Unknown => "warning",
                _ => "error",
            };
            let variant = result.check.variants.get(run.variant);
            let variant = variant.map_or("", |variant| variant.name);
            let title = format!("stepdown check: {} {variant}", finding.promise);
            if told.contains(&title) {
                continue;
            }
            let mut message = format!(
                "promised: {}\nhappened: {}",
                finding.promised, finding.happened
            );
            if let Some(reason) = &finding.reason {
                let _ = write!(
                    message,
                    "\nprobably: {}\nway out: {}",
                    reason.why, reason.way_out
                );
            }
            let _ = writeln!(
                text,
                "::{level} title={}::{}",
                property(title.trim_end()),
                data(&message)
            );
            told.push(title);
        }
    }
    for window in &result.windows {
        let _ = writeln!(
            text,
            "::error title=stepdown check: sweep::{}",
            data(&window.text)
        );
    }
    text
}

/// Escaped as the runner unescapes it (actions/toolkit, command.ts).
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_and_separators_are_escaped() {
        assert_eq!(data("a%\nb"), "a%25%0Ab");
        assert_eq!(property("a: b, c"), "a%3A b%2C c");
    }
}

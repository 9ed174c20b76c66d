//! A JUnit report, as CI servers read it: a test case for each promise of each run.

use std::io;
use std::time::Duration;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use crate::check::judge::{Finding, Held};
use crate::check::{CheckResult, JudgedRun};
use crate::words::duration::Shown;

type Xml = Writer<Vec<u8>>;

/// The report.
///
/// # Errors
/// It cannot be written as XML.
pub(crate) fn document(result: &CheckResult) -> Result<String, String> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 4);
    report(&mut xml, result).map_err(|error| error.to_string())?;
    let text = String::from_utf8(xml.into_inner()).map_err(|error| error.to_string())?;
    Ok(text.chars().filter(is_character).collect::<String>() + "\n")
}

/// What a document may hold, escaped or not (XML 1.0, 2.2 "Characters").
fn is_character(c: &char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

fn report(xml: &mut Xml, result: &CheckResult) -> io::Result<()> {
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let suites = xml.create_element("testsuites");
    let suites = suites.with_attribute(("name", "stepdown check"));
    let suites = Counts::of(&result.runs.iter().collect::<Vec<_>>()).put(suites);
    suites.write_inner_content(|xml| {
        for (index, variant) in result.check.variants.iter().enumerate() {
            let name = match variant.name {
                "" => "shutdown".to_owned(),
                name => format!("shutdown {name}"),
            };
            let runs = result.runs.iter().filter(|run| run.variant == index);
            suite(xml, &name, &runs.collect::<Vec<_>>())?;
        }
        Ok(())
    })?;
    Ok(())
}

fn suite(xml: &mut Xml, name: &str, runs: &[&JudgedRun]) -> io::Result<()> {
    let sum = runs.iter().map(|run| took(run));
    let sum = sum.fold(Duration::ZERO, Duration::saturating_add);
    let element = xml.create_element("testsuite");
    let element = Counts::of(runs).put(element.with_attribute(("name", name)));
    let element = element.with_attributes([("disabled", "0"), ("time", &*seconds(sum))]);
    element.write_inner_content(|xml| {
        for run in runs {
            for finding in &run.verdict.findings {
                case(xml, run, finding)?;
            }
        }
        Ok(())
    })?;
    Ok(())
}

fn case(xml: &mut Xml, run: &JudgedRun, finding: &Finding) -> io::Result<()> {
    let name = title(run, finding.promise);
    let time = seconds(took(run));
    let element = xml.create_element("testcase").with_attributes([
        ("name", &*name),
        ("classname", "stepdown.check"),
        ("time", &*time),
    ]);
    let message = format!("{}; promised: {}", finding.happened, finding.promised);
    let kind = match finding.held {
        Held::Yes => return element.write_empty().map(drop),
        Held::NotJudged => "skipped",
        Held::Unknown => "error",
        Held::No => "failure",
    };
    element.write_inner_content(|xml| {
        let element = xml.create_element(kind);
        if finding.held == Held::NotJudged {
            let element = element.with_attribute(("message", &*finding.happened));
            return element.write_empty().map(drop);
        }
        let element = element.with_attributes([("message", &*message), ("type", finding.promise)]);
        match &finding.reason {
            Some(reason) => {
                let text = format!("probably: {}\nway out: {}", reason.why, reason.way_out);
                element.write_text_content(BytesText::new(&text))?;
            }
            None => drop(element.write_empty()?),
        }
        if finding.held == Held::No {
            let output = run.history.output.join("\n");
            let element = xml.create_element("system-out");
            element.write_text_content(BytesText::new(&output))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// How many promises there were, and how many of them were broken or could not be judged.
struct Counts {
    tests: String,
    failures: String,
    errors: String,
}

impl Counts {
    fn of(runs: &[&JudgedRun]) -> Self {
        let findings = || runs.iter().flat_map(|run| &run.verdict.findings);
        let count = |held| findings().filter(|f| f.held == held).count().to_string();
        Self {
            tests: findings().count().to_string(),
            failures: count(Held::No),
            errors: count(Held::Unknown),
        }
    }

    fn put<'a>(
        &self,
        element: quick_xml::writer::ElementWriter<'a, Vec<u8>>,
    ) -> quick_xml::writer::ElementWriter<'a, Vec<u8>> {
        element.with_attributes([
            ("tests", &*self.tests),
            ("failures", &*self.failures),
            ("errors", &*self.errors),
        ])
    }
}

fn took(run: &JudgedRun) -> Duration {
    run.history.took().unwrap_or_default()
}

/// In whole milliseconds.
fn seconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

fn title(run: &JudgedRun, promise: &str) -> String {
    match run.offset {
        None => format!("run {}: {promise}", run.number),
        Some(offset) => format!("run {} at {}: {promise}", run.number, Shown(offset)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_holds_no_character_that_xml_has_not() {
        let text = "a\u{1b}\u{0}\u{ffff}\t\u{e4}\u{1f600}\n";
        let kept: String = text.chars().filter(is_character).collect();
        assert_eq!(kept, "a\t\u{e4}\u{1f600}\n");
    }
}

//! The report as text: a line for each run as it ends, then what was broken and why, times and timelines.
//!
//! It goes to standard output, or to standard error if a report goes to standard output. The progress
//! bar goes to standard error, if that is a terminal.

mod bar;
mod layout;

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use super::compare;
use crate::check::fact::{Fact, What};
use crate::check::history::Part;
use crate::check::judge::statistics::PhaseTimes;
use crate::check::judge::{Fate, Finding, Held, Verdict};
use crate::check::options::Check;
use crate::check::{CheckResult, JudgedRun};
use crate::sys;
use crate::words::duration::Shown;
use bar::Bar;
use layout::Layout;

pub(crate) struct TextReport {
    bar: Option<Bar>,
    to_stderr: bool,
    layout: Layout,
    closed: Cell<bool>,
    verbose: bool,
    quiet: bool,
    /// Digits of the last run's number.
    width: usize,
    planned: usize,
}

impl TextReport {
    pub(crate) fn new(check: &Check, planned: usize) -> Self {
        let outputs = [&check.json, &check.junit, &check.html];
        let wanted = planned > 1 && !check.quiet;
        let bar = (wanted && std::io::stderr().is_terminal()).then(|| Bar::new(planned));
        let to_stderr = outputs.into_iter().any(|output| *output == Some(None));
        Self {
            bar,
            to_stderr,
            layout: Layout::of(to_stderr),
            closed: Cell::new(false),
            verbose: check.verbose,
            quiet: check.quiet,
            width: planned.to_string().len(),
            planned,
        }
    }

    pub(crate) fn print(&self, text: &str) {
        let print = || {
            if self.to_stderr {
                for line in text.split_inclusive('\n') {
                    sys::stderr::write(line.as_bytes());
                }
            } else if !self.closed.get() {
                // The error is reported once; a reader that has gone gets nothing more.
                self.closed.set(sys::stdout::print(text) != 0);
            }
        };
        match &self.bar {
            Some(bar) => bar.aside(print),
            None => print(),
        }
    }

    pub(crate) fn variant(&self, name: &str) {
        if !name.is_empty() && !self.quiet {
            self.print(&format!("{name}:\n"));
        }
    }

    pub(crate) fn begins(&self, number: usize) {
        if let Some(bar) = &self.bar {
            let done = number - 1;
            // The average of the runs so far; unknown before the first.
            let each = bar
                .began()
                .elapsed()
                .checked_div(u32::try_from(done).unwrap_or(0));
            let left = u32::try_from(self.planned - done).unwrap_or(u32::MAX);
            let left = each.map(|each| each.saturating_mul(left).as_secs() + 1);
            let left = left.map(|left| format!(", {} left", Shown(Duration::from_secs(left))));
            bar.say(format!("run {number}{}", left.unwrap_or_default()));
        }
    }

    pub(crate) fn fact(&self, fact: &Fact) {
        // After Ctrl-C the user sees that it was noticed, because the program may need time to
        // stop.
        let is_urgent = fact.what == What::Interrupted && !self.quiet;
        if (self.verbose || is_urgent) && !fact.text.is_empty() {
            self.print(&format!(
                "{:>10}  {}\n",
                Shown(fact.at()).to_string(),
                fact.text
            ));
        }
    }

    pub(crate) fn run(&self, run: &JudgedRun) {
        let mut line = String::new();
        if self.planned > 1 {
            let _ = write!(line, "run {:>1$}", run.number, self.width);
        } else {
            line.push_str("run");
        }
        if let Some(offset) = run.offset {
            let _ = write!(line, " at {:>7}", Shown(offset).to_string());
        }
        let word = format!("{:<7}", word(&run.verdict));
        let word = self.layout.painted(&word, run.verdict.held());
        let _ = writeln!(line, "  {word} {}", run.verdict.summary);
        // With --quiet, what was broken is shown at the end.
        if !self.quiet {
            self.print(&line);
        }
        if let Some(bar) = &self.bar {
            bar.one_more();
        }
    }

    pub(crate) fn end(&mut self, result: &CheckResult) {
        if let Some(bar) = self.bar.take() {
            bar.clear();
        }
        if !self.quiet || !matches!(result.held(), Held::Yes | Held::NotJudged) {
            self.print(&told(result, self.layout));
        }
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict.held() {
        Held::Yes | Held::NotJudged => "ok",
        Held::Unknown => "unknown",
        Held::No => match verdict.fate {
            Fate::Lost => "LOST",
            Fate::Slow => "SLOW",
            _ => "BROKEN",
        },
    }
}

/// Everything after the lines of the runs.
fn told(result: &CheckResult, layout: Layout) -> String {
    let mut text = String::new();
    for (index, variant) in result.check.variants.iter().enumerate() {
        let runs: Vec<&JudgedRun> = result
            .runs
            .iter()
            .filter(|run| run.variant == index)
            .collect();
        broken(&mut text, variant.name, &runs, layout);
    }
    if matches!(result.held(), Held::Yes | Held::NotJudged) {
        not_judged(&mut text, result, layout);
    }
    side_by_side(&mut text, result);
    if !result.windows.is_empty() {
        text.push('\n');
        for window in &result.windows {
            if !window.variant.is_empty() {
                let _ = write!(text, "{}: ", window.variant);
            }
            layout.write(&mut text, "", &window.text);
        }
    }
    table(&mut text, &result.rows, layout);
    timelines(&mut text, result, layout);
    let _ = writeln!(
        text,
        "\n{}",
        layout.painted(&sentence(result), result.held())
    );
    text
}

/// Each broken promise, as the first run shows it.
fn broken(text: &mut String, variant: &str, runs: &[&JudgedRun], layout: Layout) {
    let mut told: Vec<(&str, &str)> = Vec::new();
    for run in runs {
        let before = told.len();
        for finding in run.verdict.broken() {
            let key = (finding.promise, finding.promised.as_str());
            if told.contains(&key) {
                continue;
            }
            told.push(key);
            let times = runs.iter().filter(|run| {
                let mut broken = run.verdict.broken();
                broken.any(|other| (other.promise, other.promised.as_str()) == key)
            });
            let headline = headline(finding, variant, times.count(), runs.len());
            let _ = writeln!(text, "\n{}", layout.painted(&headline, finding.held));
            layout.write(text, "  promised: ", &finding.promised);
            layout.write(text, "  happened: ", &finding.happened);
            if let Some(reason) = &finding.reason {
                layout.write(text, "  probably: ", &reason.why);
                layout.write(text, "  way out:  ", &reason.way_out);
            }
        }
        // Once for each run: its promises have them in common.
        if told.len() > before {
            last_lines(text, run);
        }
    }
}

/// Where all promises held: those that were judged in no run of a variant, each once.
fn not_judged(text: &mut String, result: &CheckResult, layout: Layout) {
    let mut told = Vec::new();
    for run in &result.runs {
        for finding in &run.verdict.findings {
            if finding.held != Held::NotJudged || is_kept(result, run.variant, finding) {
                continue;
            }
            let line = format!("{}: not judged: {}", finding.promise, finding.happened);
            if !told.contains(&line) {
                let before = if told.is_empty() { "\n" } else { "" };
                text.push_str(before);
                layout.write(text, "", &line);
                told.push(line);
            }
        }
    }
}

/// Whether another run of the variant has kept what this one could not show.
fn is_kept(result: &CheckResult, variant: usize, wanted: &Finding) -> bool {
    let runs = result.runs.iter().filter(|run| run.variant == variant);
    let mut others = runs.flat_map(|run| &run.verdict.findings);
    let name = (wanted.promise, &wanted.promised);
    others.any(|other| other.held == Held::Yes && (other.promise, &other.promised) == name)
}

fn headline(finding: &Finding, variant: &str, times: usize, runs: usize) -> String {
    let what = match finding.held {
        Held::Unknown => "could not be checked",
        _ => "broken",
    };
    let name = match variant {
        "" => String::new(),
        name => format!(" {name}"),
    };
    let times = if runs > 1 {
        format!(" in {times} of {runs} runs")
    } else {
        String::new()
    };
    format!("{}: {what}{name}{times}", finding.promise)
}

fn last_lines(text: &mut String, run: &JudgedRun) {
    const SHOWN: usize = 8;
    let output = &run.history.output;
    if output.is_empty() {
        let _ = writeln!(text, "  it has written nothing");
        return;
    }
    let _ = writeln!(text, "  the last lines that it wrote:");
    for line in output.iter().skip(output.len().saturating_sub(SHOWN)) {
        let _ = writeln!(text, "    {}", printable(line));
    }
}

/// Control characters in the command's output must not reach the reader's terminal.
fn printable(line: &str) -> String {
    let shown = |c: char| {
        if c.is_control() && c != '\t' {
            '\u{fffd}'
        } else {
            c
        }
    };
    line.chars().map(shown).collect()
}

fn side_by_side(text: &mut String, result: &CheckResult) {
    let lines = compare::lines(result);
    if lines.is_empty() {
        return;
    }
    let names: Vec<&str> = result.check.variants.iter().map(|v| v.name).collect();
    let _ = write!(text, "\n{:<14}", "");
    for name in &names {
        let _ = write!(text, "  {name:>17}");
    }
    text.push('\n');
    for line in lines {
        let _ = write!(text, "{:<14}", line.about);
        for cell in line.cells {
            let _ = write!(text, "  {:>17}", cell.text);
        }
        text.push('\n');
    }
}

fn table(text: &mut String, rows: &[PhaseTimes], layout: Layout) {
    if rows.iter().all(|row| row.runs < 2) {
        return;
    }
    let heads = ["min", "p50", "p95", "max"];
    let named = rows.iter().any(|row| !row.variant.is_empty());
    let name = |row: &PhaseTimes| match named {
        true => format!("{} {}", row.phase, row.variant),
        false => row.phase.to_owned(),
    };
    let width = rows.iter().map(|row| name(row).len()).max().unwrap_or(0);
    // Closer together on a narrow terminal.
    let fits = |column: usize| {
        let whole = width + heads.len() * column + "  12345".len();
        layout.columns.is_none_or(|columns| whole <= columns)
    };
    let column = if fits(10) { 10 } else { 8 };
    let _ = write!(text, "\n{:width$}", "");
    for head in heads {
        let _ = write!(text, "{head:>column$}");
    }
    let _ = writeln!(text, "  {:>5}", "runs");
    for row in rows {
        let _ = write!(text, "{:width$}", name(row));
        for micros in [row.min_us, row.p50_us, row.p95_us, row.max_us] {
            let shown = Shown(Duration::from_micros(micros)).to_string();
            let _ = write!(text, "{shown:>column$}");
        }
        let _ = writeln!(text, "  {:>5}", row.runs);
    }
}

/// Runs whose timelines are drawn: those that broke a promise, and the slowest.
const DRAWN: usize = 12;

fn timelines(text: &mut String, result: &CheckResult, layout: Layout) {
    let width = layout.timeline();
    let mut drawn: Vec<&JudgedRun> = result
        .runs
        .iter()
        .filter(|run| run.history.took().is_some())
        .collect();
    if drawn.len() > DRAWN {
        drawn.sort_by_key(|run| {
            let broken = run.verdict.held() == Held::No;
            std::cmp::Reverse((broken, run.history.took()))
        });
        drawn.truncate(DRAWN);
        drawn.sort_by_key(|run| run.number);
    }
    let longest = drawn.iter().filter_map(|run| run.history.took()).max();
    let Some(longest) = longest.filter(|longest| !longest.is_zero()) else {
        return;
    };
    let lines: Vec<String> = drawn
        .iter()
        .map(|run| timeline(run, longest, width))
        .collect();
    // Only the signs that are used.
    let signs = [
        ('-', "- hooks and drain"),
        ('=', "= until the command had ended"),
        ('!', "! after KILL"),
        ('~', "~ what it left"),
        ('+', "+ post-stop hooks"),
    ];
    let seen = signs
        .into_iter()
        .filter(|(sign, _)| lines.iter().any(|line| line.contains(*sign)));
    let legend: Vec<&str> = seen.map(|(_, about)| about).collect();
    let legend = format!("from the signal on ({}):", legend.join(", "));
    text.push('\n');
    layout.write(text, "", &legend);
    for (run, line) in drawn.iter().zip(&lines) {
        let took = Shown(run.history.took().unwrap_or_default());
        let _ = writeln!(text, "{:>5} |{line} {took}", run.number);
    }
    let shown = drawn.len();
    if shown < result.runs.len() {
        let _ = writeln!(
            text,
            "      (the {shown} that broke a promise or took longest)"
        );
    }
    let scale = Shown(longest).to_string();
    let _ = writeln!(text, "      0{scale:>width$}");
}

/// One run as a line of characters, in which `longest` takes the whole width.
fn timeline(run: &JudgedRun, longest: Duration, width: usize) -> String {
    let mut line = String::new();
    let mut until = Duration::ZERO;
    for (part, took) in run.history.parts() {
        until = until.saturating_add(took);
        let share = until.as_secs_f64() / longest.as_secs_f64();
        let end = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
        let sign = match part {
            Part::Before => '-',
            Part::Ladder | Part::Vain => '=',
            Part::Kill => '!',
            Part::Left => '~',
            Part::After => '+',
        };
        // Each part is visible, however short it was.
        let length = end.saturating_sub(line.len()).max(1);
        line.extend(std::iter::repeat_n(sign, length));
    }
    line
}

/// The verdict in one sentence.
pub(crate) fn sentence(result: &CheckResult) -> String {
    let runs = result.runs.len();
    let broken = |run: &&JudgedRun| run.verdict.held() == Held::No;
    let broken = result.runs.iter().filter(broken).count();
    let of = match runs {
        1 => "the run".to_owned(),
        runs => format!("{runs} runs"),
    };
    match result.held() {
        Held::Yes | Held::NotJudged if runs == 1 => "All promises held.".to_owned(),
        Held::Yes | Held::NotJudged => format!("All promises held in {of}."),
        Held::No if runs == 1 => "A promise was broken.".to_owned(),
        Held::No => format!("A promise was broken in {broken} of {of}."),
        Held::Unknown if runs < result.planned => {
            format!("Cut short after {runs} of {} runs.", result.planned)
        }
        Held::Unknown => "It could not be checked.".to_owned(),
    }
}

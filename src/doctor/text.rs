//! The report for people: a tree with one verdict a process, then what was found, with the way out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal as _;

use super::Examined;
use super::target::Kind;
use crate::diagnosis::snapshot::Seen;
use crate::diagnosis::verdict::{Fate, Found, Judged, Level, Verdict};
use crate::words::duration::Shown;

/// Words of a command line that are shown, in characters.
const COMMAND: usize = 40;
/// Brothers that are alike and are shown one by one.
const ALIKE: usize = 3;

/// The colours of a terminal, where standard output is one that has them.
#[derive(Clone, Copy)]
struct Paint(bool);

#[derive(Clone, Copy)]
enum Colour {
    Good = 32,
    Doubtful = 33,
    Bad = 31,
}

impl Paint {
    fn of_stdout() -> Self {
        let says = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        // https://no-color.org
        let plain = says("NO_COLOR").is_some() || says("TERM").is_none_or(|term| term == "dumb");
        Self(std::io::stdout().is_terminal() && !plain)
    }

    fn paint(self, text: &str, colour: Colour) -> String {
        match self.0 {
            true => format!("\u{1b}[1;{}m{text}\u{1b}[0m", colour as u8),
            false => text.to_owned(),
        }
    }
}

/// All targets, one after the other.
pub(super) fn report(examined: &[Examined]) -> String {
    let paint = Paint::of_stdout();
    let reports = examined.iter().map(|one| {
        let mut text = String::new();
        head(&mut text, one, paint);
        Tree::of(one, paint).write(&mut text);
        for found in &one.diagnosis.findings {
            finding(&mut text, found, paint);
        }
        for unseen in &one.unseen {
            let _ = writeln!(text, "\nnot seen: {}", harmless(unseen));
        }
        text
    });
    reports.collect::<Vec<_>>().join("\n")
}

fn head(text: &mut String, one: &Examined, paint: Paint) {
    let verdict = match one.diagnosis.verdict {
        Verdict::Stops => paint.paint("will stop", Colour::Good),
        Verdict::StopsNot => paint.paint("will not stop cleanly", Colour::Bad),
        Verdict::Unclear => paint.paint("cannot say whether it will stop", Colour::Doubtful),
    };
    let snapshot = &one.snapshot;
    let signal = snapshot.signal;
    let from = match &one.target.signal {
        Some((_, from)) => format!(" from {from}"),
        None => String::new(),
    };
    let to = match one.target.kind {
        Kind::Process => format!("on {signal}{from}"),
        Kind::Container if !snapshot.contained => {
            // In the PID namespace of the machine, or of another container (docker run --pid).
            format!("{signal}{from} goes to process {}", snapshot.root)
        }
        Kind::Namespace | Kind::Container => format!("{signal}{from} goes to PID 1"),
    };
    let grace = match (&snapshot.grace, one.target.waits) {
        (Some(grace), _) => format!("; {} sends KILL after {}", grace.by, Shown(grace.time)),
        (None, Some(engine)) => format!("; {engine} waits without end"),
        (None, None) => String::new(),
    };
    let _ = writeln!(
        text,
        "{}: {verdict} ({to}{grace})\n",
        harmless(&one.target.title)
    );
}

fn finding(text: &mut String, found: &Found, paint: Paint) {
    let head = match found.level {
        Level::Error => paint.paint("error", Colour::Bad),
        Level::Unclear => paint.paint("unclear", Colour::Doubtful),
        Level::Warning => paint.paint("warning", Colour::Doubtful),
    };
    let _ = writeln!(text, "\n{head}: {} {}", found.process, found.finding);
    let ways = found.finding.way_out();
    for (index, way) in ways.split("; or ").enumerate() {
        let head = if index == 0 { "way out:" } else { "     or:" };
        let _ = writeln!(text, "  {head} {way}");
    }
}

/// A line of the tree: what stands on the left, and the verdict.
struct Row {
    left: String,
    right: String,
}

struct Tree<'a> {
    paint: Paint,
    one: &'a Examined,
    children: BTreeMap<i32, Vec<&'a Seen>>,
    judged: BTreeMap<i32, &'a Judged>,
    rows: Vec<Row>,
}

impl<'a> Tree<'a> {
    fn of(one: &'a Examined, paint: Paint) -> Self {
        let processes = &one.snapshot.processes;
        let mut children: BTreeMap<i32, Vec<&Seen>> = BTreeMap::new();
        for seen in processes {
            children.entry(seen.look.parent).or_default().push(seen);
        }
        let judged = one.diagnosis.processes.iter();
        let mut tree = Self {
            paint,
            one,
            judged: judged.map(|judged| (judged.pid, judged)).collect(),
            children,
            rows: Vec::new(),
        };
        let has_parent = |seen: &Seen| processes.iter().any(|p| p.pid() == seen.look.parent);
        let root = processes.iter().filter(|p| p.pid() == one.snapshot.root);
        let outside = processes
            .iter()
            .filter(|p| p.from_outside && !has_parent(p));
        for seen in root.chain(outside) {
            tree.line("  ", seen, 1);
            tree.below(seen, "  ");
        }
        tree
    }

    fn write(&self, text: &mut String) {
        let widths = self.rows.iter().map(|row| row.left.chars().count());
        let width = widths.max().unwrap_or(0);
        for Row { left, right } in &self.rows {
            let _ = writeln!(text, "{left:width$}  {right}");
        }
    }

    fn below(&mut self, parent: &Seen, indent: &str) {
        let mut groups: Vec<Vec<&Seen>> = Vec::new();
        let mut children = self
            .children
            .get(&parent.pid())
            .cloned()
            .unwrap_or_default();
        children.retain(|child| child.from_outside == parent.from_outside);
        for child in children {
            match groups.last_mut().filter(|group| self.alike(group, child)) {
                Some(group) => group.push(child),
                None => groups.push(vec![child]),
            }
        }
        // More than a few that are alike are one line.
        let lines: Vec<(&Seen, usize)> = groups
            .into_iter()
            .flat_map(|group| {
                let (shown, each) = match group.len() {
                    many if many > ALIKE => (1, many),
                    few => (few, 1),
                };
                group.into_iter().take(shown).map(move |seen| (seen, each))
            })
            .collect();
        let last = lines.len();
        for (index, (child, number)) in lines.into_iter().enumerate() {
            let (branch, more) = match index + 1 == last {
                true => ("└─ ", "   "),
                false => ("├─ ", "│  "),
            };
            self.line(&format!("{indent}{branch}"), child, number);
            self.below(child, &format!("{indent}{more}"));
        }
    }

    /// Whether this one has nothing of its own that would have to be shown.
    fn alike(&self, group: &[&Seen], other: &Seen) -> bool {
        let of = |seen: &Seen| {
            let judged = self.judged.get(&seen.pid());
            (
                seen.look.command.clone(),
                judged.map(|j| (j.fate, j.why.clone())),
            )
        };
        let is_plain = |seen: &Seen| {
            !self.children.contains_key(&seen.pid()) && !self.is_explained(seen.pid())
        };
        let first = group.first().copied();
        first.is_some_and(|first| is_plain(first) && is_plain(other) && of(first) == of(other))
    }

    /// A finding says more.
    fn is_explained(&self, pid: i32) -> bool {
        let mut found = self.one.diagnosis.findings.iter();
        found.any(|found| found.process.pid == pid)
    }

    fn line(&mut self, indent: &str, seen: &Seen, number: usize) {
        let Some(judged) = self.judged.get(&seen.pid()) else {
            return;
        };
        let (word, colour) = match judged.fate {
            Fate::Stops => ("stops", Colour::Good),
            Fate::Left => ("left to its parent", Colour::Good),
            Fate::StopsNot => ("does not stop", Colour::Bad),
            Fate::Untold => (&*judged.why, Colour::Bad),
            Fate::Unclear => ("unclear", Colour::Doubtful),
            Fate::Zombie => ("zombie", Colour::Doubtful),
            Fate::Outside => ("from outside", Colour::Good),
        };
        let mut right = self.paint.paint(word, colour);
        let is_said = match judged.fate {
            Fate::Stops | Fate::Left => true,
            Fate::StopsNot | Fate::Unclear => !self.is_explained(seen.pid()),
            Fate::Untold | Fate::Zombie | Fate::Outside => false,
        };
        if is_said {
            let _ = write!(right, ": {}", harmless(&judged.why));
        }
        if number > 1 {
            let _ = write!(right, " ({number} such)");
        }
        let left = format!("{indent}{}", label(seen));
        self.rows.push(Row { left, right });
    }
}

/// Pid, command line without the directory of the program, and the ports that it listens on.
fn label(seen: &Seen) -> String {
    let line = command_line(seen);
    let first = line.split(' ').next().unwrap_or_default();
    let directory = first.rfind('/').map_or(0, |slash| slash + 1);
    let line = line.get(directory..).unwrap_or_default();
    let mut line = match line.char_indices().nth(COMMAND) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
        None => line.to_owned(),
    };
    for port in seen.listens.iter().take(3) {
        let _ = write!(line, " :{port}");
    }
    let as_init = match seen.own_pid == 1 && seen.pid() != 1 {
        true => " (PID 1)",
        false => "",
    };
    format!("{}{as_init} {line}", seen.pid())
}

/// The words it was started with; what would harm a terminal is escaped.
pub(super) fn command_line(seen: &Seen) -> String {
    let line = match seen.look.argv.is_empty() {
        true => format!("[{}]", seen.look.command),
        false => seen.look.argv.join(" "),
    };
    harmless(&line)
}

/// Without what would harm a terminal.
fn harmless(text: &str) -> String {
    let characters = text.chars().map(|c| match c {
        '"' | '\'' => c.to_string(),
        _ => c.escape_debug().to_string(),
    });
    characters.collect()
}

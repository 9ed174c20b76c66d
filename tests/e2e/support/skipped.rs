//! Which stories were not told because the machine lacks something, and why: the last that a run says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// How much of a story is skipped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Whole,
    Part,
}

/// Reasons, and the stories that gave them.
static SKIPPED: Mutex<BTreeMap<String, BTreeSet<(String, What)>>> = Mutex::new(BTreeMap::new());

/// The story that runs in this thread is not told.
pub(crate) fn skip(why: impl Into<String>) {
    note(why.into(), What::Whole);
}

/// A part of the story that runs in this thread is not told.
pub(crate) fn skip_part(why: impl Into<String>) {
    note(why.into(), What::Part);
}

fn note(why: String, what: What) {
    println!("skipped: {why}");
    // libtest names the thread after the test.
    let story = std::thread::current().name().unwrap_or("?").to_owned();
    let mut skipped = SKIPPED.lock().unwrap_or_else(PoisonError::into_inner);
    skipped.entry(why).or_default().insert((story, what));
}

/// Says what was skipped; returns how many stories, those that were told in part included.
pub(super) fn told() -> usize {
    let skipped = SKIPPED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut reasons: Vec<_> = skipped.iter().collect();
    reasons.sort_by_key(|(_, stories)| std::cmp::Reverse(stories.len()));
    for (why, stories) in reasons {
        let first = why.lines().next().unwrap_or_default();
        println!("  {:3} because: {first}", stories.len());
    }
    let all: BTreeSet<&(String, What)> = skipped.values().flatten().collect();
    let with = |wanted: What| -> BTreeSet<&str> {
        let those = all.iter().filter(|(_, what)| *what == wanted);
        those.map(|(story, _)| story.as_str()).collect()
    };
    let whole = with(What::Whole);
    let part = with(What::Part).difference(&whole).count();
    println!("stories skipped: {}, and {part} in part", whole.len());
    whole.len() + part
}

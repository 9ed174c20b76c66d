//! Makes a story that breaks a promise as short as it can be while it breaks the same one.

use super::bugs::Bug;
use super::plan::Options;
use super::promises::Promise;
use super::story::Story;

/// Tries no more than so many others.
const TRIES: u32 = 6_000;

struct Shrinking {
    story: Story,
    promise: Promise,
    bug: Option<Bug>,
    tries: u32,
}

/// The shortest that was found.
pub(super) fn shrink(story: Story, promise: Promise, bug: Option<Bug>) -> Story {
    let mut shrinking = Shrinking {
        story,
        promise,
        bug,
        tries: 0,
    };
    // Each makes room for the other.
    loop {
        let before = shrinking.story.clone();
        shrinking.options();
        shrinking.choices();
        if shrinking.story == before || shrinking.tries >= TRIES {
            return shrinking.story;
        }
    }
}

impl Shrinking {
    /// Takes the other story in place of this one, where it breaks the same promise.
    fn takes(&mut self, other: Story) -> bool {
        if self.tries >= TRIES || other == self.story {
            return false;
        }
        self.tries += 1;
        let played = other.play(self.bug, false);
        let broken = played.and_then(|played| {
            let promise = played.broken?.promise;
            // What was not asked for any more is cut off.
            Some((promise, played.choices))
        });
        match broken {
            Some((promise, choices)) if promise == self.promise => {
                self.story = Story { choices, ..other };
                true
            }
            _ => false,
        }
    }

    fn options(&mut self) {
        let plain = |options: &Options| Options {
            as_pid1: false,
            ..options.clone()
        };
        let short = |options: &Options| Options {
            long: false,
            ..options.clone()
        };
        for simpler in [plain(&self.story.options), short(&self.story.options)] {
            self.takes(Story {
                options: simpler,
                ..self.story.clone()
            });
        }
        for later in [true, false] {
            let mut index = 0;
            loop {
                let mut other = self.story.clone();
                let list = if later {
                    &mut other.options.later
                } else {
                    &mut other.options.written
                };
                if index >= list.len() {
                    break;
                }
                list.remove(index);
                if self.takes(other) {
                    continue;
                }
                self.simplify(index, later);
                index += 1;
            }
        }
    }

    /// Takes single parts out of a value: a step of the ladder, a signal, the table of a hook.
    fn simplify(&mut self, index: usize, later: bool) {
        let list = |story: &Story| {
            let options = &story.options;
            if later {
                options.later.clone()
            } else {
                options.written.clone()
            }
        };
        let with = |story: &Story, text: Option<String>| {
            let mut other = story.clone();
            let list = if later {
                &mut other.options.later
            } else {
                &mut other.options.written
            };
            match text {
                Some(text) => list[index].text = text,
                None => list[index].table = None,
            }
            other
        };
        if list(&self.story)[index].table.is_some() {
            let other = with(&self.story, None);
            self.takes(other);
        }
        let mut part = 0;
        loop {
            let text = list(&self.story)[index].text.clone();
            let mut parts: Vec<&str> = text.split(',').collect();
            if parts.len() < 2 || part >= parts.len() {
                break;
            }
            parts.remove(part);
            let other = with(&self.story, Some(parts.join(",")));
            if !self.takes(other) {
                part += 1;
            }
        }
    }

    fn choices(&mut self) {
        for list in 0..4 {
            for size in [64, 16, 4, 2, 1] {
                self.delete(list, size);
            }
            self.lower(list);
        }
    }

    /// Takes out so many in a row, wherever that is possible; from the end, as that changes least.
    fn delete(&mut self, list: usize, size: usize) {
        let mut end = self.story.choices[list].len();
        while end > 0 {
            let start = end.saturating_sub(size);
            let mut other = self.story.clone();
            let choices = &mut other.choices[list];
            choices.drain(start..end.min(choices.len()));
            self.takes(other);
            end = start.min(self.story.choices[list].len());
        }
    }

    /// Chooses what is simpler: nothing, or less.
    fn lower(&mut self, list: usize) {
        let mut index = 0;
        while index < self.story.choices[list].len() {
            let choice = self.story.choices[list][index];
            for lower in [0, choice / 2, choice.saturating_sub(1)] {
                if lower >= choice {
                    continue;
                }
                let mut other = self.story.clone();
                other.choices[list][index] = lower;
                if self.takes(other) {
                    break;
                }
            }
            index += 1;
        }
    }
}

//! What an option is: one value that holds all that there is to know about it.
//!
//! The files beside this one define the options, a file for each section of `--help`. Whatever needs to
//! know about options (the parser, variables, the file, `explain`, `check`, completions) reads it there.

use std::fmt;
use std::time::Duration;

use super::settings::{Given, Settings};
use crate::plan::Plan;
use crate::words::fault::Error;
use crate::words::signal::Signal;

/// How an option takes its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Takes a value; the last one wins.
    One(&'static str),
    /// Takes a value each time it is given; all count, in order.
    Many(&'static str),
    /// Is on where it is given; `=on` or `=off` says it in words.
    Switch,
    /// Counts how often it is given.
    Count,
}

/// What counts where an option is not written, as the help says it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Preset {
    Time(Duration),
    Number(u32),
    Switch(bool),
    Signals(&'static [Signal]),
    Word(&'static str),
    /// No value, but what decides about it.
    Said(&'static str),
}

/// One option of `run` or of `check`.
pub(crate) struct Opt {
    /// The long name; it is also that of the key in the file, and the variable is made of it.
    pub(crate) name: &'static str,
    pub(crate) letter: Option<char>,
    /// What it was called before: still taken, and shown nowhere.
    pub(crate) former: &'static [&'static str],
    /// A letter that stands for a value of another option, and that value. The name is a former one: still
    /// taken, and shown nowhere.
    pub(crate) short_for: Option<(&'static Self, &'static str)>,
    /// What other tools call it: not taken, but whoever writes it is told the name here.
    pub(crate) elsewhere: &'static [&'static str],
    pub(crate) kind: Kind,
    /// The heading in the help.
    pub(crate) section: &'static str,
    /// The help, without the default.
    pub(crate) help: &'static str,
    pub(crate) default: Option<Preset>,
    /// What else decides where it is not written; stands behind the default.
    pub(crate) default_depends: &'static str,
    /// The values, where these are all that there are; a switch has its own.
    pub(crate) words: &'static [&'static str],
    /// A switch whose `on` or `off` was once the next word: that is still taken, and shown nowhere.
    pub(crate) took_next_word: bool,
    /// The value is a list with commas, and in the file an array, too.
    pub(crate) is_list: bool,
    /// It is about the stop sequence.
    pub(crate) shapes_stop: bool,
    /// For options of `run` that `check` has no use for: what to do there instead.
    pub(crate) not_in_check: Option<&'static str>,
    /// Puts what is written into the plan. Where several options make up one part of it, each puts all of
    /// that part.
    pub(crate) put: fn(&Given<'_>, &mut Plan) -> Result<(), Error>,
    /// The value that the plan has, as it would be typed; `None` where it has none.
    pub(crate) shown: fn(&Plan) -> Option<String>,
    /// Takes its part over from a plan that was read again, or says why the run that is under way cannot;
    /// `None` where only a restart changes anything.
    pub(crate) reload: Option<TakeOver>,
    /// When it changes nothing.
    pub(crate) idle: Option<Idle>,
}

/// Takes a part over into the plan of the run that is under way.
pub(crate) type TakeOver = fn(&mut Plan, &Plan) -> Result<(), &'static str>;

/// When an option changes nothing, and what is said then.
#[derive(Clone, Copy)]
pub(crate) struct Idle {
    pub(crate) when: fn(&Settings, &Plan) -> bool,
    pub(crate) why: &'static str,
    pub(crate) because: Because,
    /// Something that was asked for will not happen; the others only measure what nobody has asked for.
    pub(crate) is_missed: bool,
}

/// Why an option has no effect.
#[derive(Clone, Copy)]
pub(crate) enum Because {
    /// None of these is there.
    Missing(&'static [&'static Opt]),
    /// This one leaves nothing to it; and the way out.
    Beside(&'static Opt, &'static str),
}

impl Opt {
    /// What a definition does not say.
    pub(super) const BASE: Self = Self {
        name: "",
        letter: None,
        former: &[],
        short_for: None,
        elsewhere: &[],
        kind: Kind::Switch,
        section: "",
        help: "",
        default: None,
        default_depends: "",
        words: &[],
        took_next_word: false,
        is_list: false,
        shapes_stop: false,
        not_in_check: None,
        put: |_, _| Ok(()),
        shown: |_| None,
        reload: None,
        idle: None,
    };

    /// Whether who sets it wants the stop sequence, under the name of a tool that has none, too. What only measures what
    /// another option asks for, a time for hooks for example, may be set for all containers alike.
    pub(crate) fn wants_stop_sequence(&self) -> bool {
        let only_measures =
            |idle: Idle| !idle.is_missed && matches!(idle.because, Because::Missing(_));
        self.shapes_stop && !self.idle.is_some_and(only_measures)
    }

    /// `STEPDOWN_<OPTION>`.
    pub(crate) fn variable(&self) -> String {
        variable(self.name)
    }

    /// Its name, and what it was called before.
    pub(crate) fn spellings(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        std::iter::once(self.name).chain(self.former.iter().copied())
    }

    /// The long name that it has, or the option that it is short for.
    pub(crate) fn shown_name(&self) -> &'static str {
        self.short_for.map_or(self.name, |(other, _)| other.name)
    }

    /// As it is typed by this name of it; a letter that has no other name by itself.
    pub(crate) fn flag(&self, name: &str) -> String {
        match self.letter {
            Some(letter) if self.short_for.is_some() => format!("-{letter}"),
            _ => format!("--{name}"),
        }
    }

    /// Whether it takes the next word of a command line.
    pub(crate) fn takes_value(&self) -> bool {
        matches!(self.kind, Kind::One(_) | Kind::Many(_))
    }

    /// The default as the help says it; none for a switch that is off, and where nothing is the default.
    pub(crate) fn default(&self) -> Option<String> {
        let default = self.default?.to_string();
        Some(default + self.default_depends)
    }

    /// The help as it is printed.
    pub(crate) fn full_help(&self) -> String {
        let repeatable = match self.kind {
            Kind::Many(_) => " [repeatable]",
            _ => "",
        };
        let default = self.default();
        let default = default.map_or_else(String::new, |text| format!(" [default: {text}]"));
        format!("{}{repeatable}{default}", self.help)
    }
}

/// `STEPDOWN_<OPTION>`.
pub(super) fn variable(name: &str) -> String {
    let name = name.replace('-', "_").to_ascii_uppercase();
    format!("{}{name}", super::PREFIX)
}

/// There is one of each.
impl PartialEq for Opt {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Opt {}

impl fmt::Debug for Opt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(Duration::ZERO) => f.write_str("0"),
            Self::Time(time) => f.write_str(&written(*time)),
            Self::Number(number) => write!(f, "{number}"),
            Self::Switch(is_on) => f.write_str(on_or_off(*is_on)),
            Self::Signals(signals) => {
                let names: Vec<String> = signals.iter().map(Signal::to_string).collect();
                f.write_str(&names.join(","))
            }
            Self::Word(word) | Self::Said(word) => f.write_str(word),
        }
    }
}

/// A duration as it would be typed.
pub(crate) fn written(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

pub(super) fn on_or_off(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

/// The words of a choice.
pub(super) const fn words<T: Copy, const N: usize>(
    all: &[(&'static str, T); N],
) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = all[at].0;
        at += 1;
    }
    words
}

/// The word for a choice.
pub(super) fn word<T: PartialEq>(all: &[(&'static str, T)], wanted: &T) -> Option<String> {
    let found = all.iter().find(|(_, choice)| choice == wanted);
    found.map(|(word, _)| (*word).to_owned())
}

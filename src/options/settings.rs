//! What was typed, by option: every value keeps the place it came from, and the strongest place wins.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::config::CONFIG;
use super::definition::{Opt, variable};
use super::parse::{
    divided, no_name, parse_choice, parse_duration, parse_received, parse_signal, parse_switch,
};
use super::{OPTIONS, toml_file};
use crate::plan::call::Body;
use crate::plan::{FailureCodes, OnFailure};
use crate::words::fault::{Error, Fault};
use crate::words::list::list;
use crate::words::signal::{Signal, SignalSet};

/// Where a value came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    Flag,
    Environment,
    File(Place),
}

impl Source {
    /// Lower numbers win.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Flag => 0,
            Self::Environment => 1,
            Self::File(_) => 2,
        }
    }
}

/// A place in a configuration file; lines and columns are counted from one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) path: Rc<str>,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path, self.line, self.column)
    }
}

/// What only a hook table says about a hook.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct HookTable {
    pub(crate) name: Option<String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) priority: i64,
    pub(crate) on_failure: Option<OnFailure>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) body: Option<Body>,
}

/// A value as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Value {
    pub(crate) text: OsString,
    pub(crate) source: Source,
    pub(crate) hook: Option<Box<HookTable>>,
    /// The name by which the option was called, where that is known.
    pub(super) spelling: Option<&'static str>,
    /// The entries of an array, which are divided by commas in the text.
    entries: Vec<ArrayEntry>,
}

/// An entry of an array: its bytes in the text, and where it stands in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
struct ArrayEntry {
    start: usize,
    end: usize,
    place: Place,
}

impl Value {
    pub(crate) fn new(text: impl Into<OsString>, source: Source) -> Self {
        Self {
            text: text.into(),
            source,
            hook: None,
            spelling: None,
            entries: Vec::new(),
        }
    }

    /// With the name by which the option was called.
    pub(super) fn spelled(self, name: &'static str) -> Self {
        Self {
            spelling: Some(name),
            ..self
        }
    }

    /// An array, which begins at this place.
    pub(super) fn array(words: Vec<(String, Place)>, place: Place) -> Self {
        let mut text = String::new();
        let mut entries = Vec::new();
        for (word, place) in words {
            if !entries.is_empty() {
                text.push(',');
            }
            let start = text.len();
            text.push_str(&word);
            let end = text.len();
            entries.push(ArrayEntry { start, end, place });
        }
        Self {
            entries,
            ..Self::new(text, Source::File(place))
        }
    }

    /// Where each entry of an array stands in the text; `None` for anything else.
    pub(super) fn ranges(&self) -> Option<impl Iterator<Item = (usize, usize)>> {
        let entries = Some(&self.entries).filter(|entries| !entries.is_empty());
        entries.map(|entries| entries.iter().map(|entry| (entry.start, entry.end)))
    }
}

/// Where the files are that another process names: the pids of processes with its root and with the directory of
/// its start, which stepdown itself leaves to its child.
#[cfg(feature = "doctor")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Elsewhere {
    pub(crate) root: i32,
    pub(crate) directory: i32,
}

/// A file, and the option, variable or key that names it; shown as both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NamedFile {
    place: String,
    pub(crate) path: PathBuf,
}

impl fmt::Display for NamedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.path.display())
    }
}

/// All values that were written, by option; the strongest source of each option only.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Settings {
    values: Vec<(&'static Opt, Value)>,
    /// Those of stepdown, or of the tool whose place it takes.
    pub(crate) failure_codes: FailureCodes,
    /// The plan is one for PID 1.
    pub(crate) as_pid1: bool,
    /// They are those of another process.
    #[cfg(feature = "doctor")]
    pub(crate) elsewhere: Option<Elsewhere>,
}

impl Settings {
    pub(crate) fn add(&mut self, option: &'static Opt, text: impl Into<OsString>, source: Source) {
        self.add_value(option, Value::new(text, source));
    }

    pub(super) fn add_value(&mut self, option: &'static Opt, value: Value) {
        self.values.push((option, value));
    }

    /// As it would be typed.
    #[cfg(test)]
    pub(crate) fn set(&mut self, name: &str, text: &str) {
        let of_check = || {
            super::check::CHECK
                .iter()
                .find(|option| option.name == name)
        };
        let option = super::find(name).or_else(|| of_check().copied());
        self.add(option.expect("an option"), text, Source::Flag);
    }

    /// As a table of the file would say it.
    #[cfg(test)]
    pub(crate) fn set_hook(&mut self, name: &str, text: &str, table: HookTable) {
        let mut value = Value::new(text, Source::Flag);
        value.hook = Some(Box::new(table));
        self.add_value(super::find(name).expect("an option"), value);
    }

    /// Nothing was written at all.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether a flag or a variable has named this option.
    pub(crate) fn is_set_above_file(&self, option: &'static Opt) -> bool {
        let above = |value: &Value| !matches!(value.source, Source::File(_));
        self.values(option).any(above)
    }

    /// Adds a value that is weaker than those that are there already; of options that are repeated
    /// it comes first.
    pub(crate) fn add_default(&mut self, option: &'static Opt, text: &'static str) {
        let value = Value::new(text, Source::Flag);
        self.values.insert(0, (option, value));
    }

    /// The options that have a value.
    pub(crate) fn options(&self) -> impl Iterator<Item = &'static Opt> {
        self.values.iter().map(|(option, _)| *option)
    }

    pub(crate) fn remove(&mut self, option: &Opt) {
        self.values.retain(|(known, _)| *known != option);
    }

    /// Forgets what a variable or the file says about it.
    pub(crate) fn remove_untyped(&mut self, option: &Opt) {
        let is_kept = |value: &Value| value.source == Source::Flag;
        self.values
            .retain(|(known, value)| *known != option || is_kept(value));
    }

    /// The options of `run` that were typed, as they would be typed again.
    pub(crate) fn typed(&self) -> Vec<OsString> {
        let typed = self.values.iter().filter_map(|(option, value)| {
            let is_it = value.source == Source::Flag && OPTIONS.contains(option);
            is_it.then(|| {
                let mut text = OsString::from(format!("--{}", option.name));
                if option.short_for.is_none() {
                    text.push("=");
                    text.push(&value.text);
                }
                text
            })
        });
        typed.collect()
    }

    pub(crate) fn has(&self, option: &'static Opt) -> bool {
        self.last(option).is_some()
    }

    /// The same without what the file has said.
    pub(crate) fn without_file(&self) -> Self {
        let mut settings = self.clone();
        let of_file = |value: &Value| matches!(value.source, Source::File(_));
        settings.values.retain(|(_, value)| !of_file(value));
        settings
    }

    /// Whether an option is written the same way in both, wherever.
    pub(crate) fn says_the_same(&self, other: &Self, option: &'static Opt) -> bool {
        let written = |settings: &Self| -> Vec<(OsString, Option<Box<HookTable>>)> {
            settings
                .values(option)
                .map(|value| (value.text.clone(), value.hook.clone()))
                .collect()
        };
        written(self) == written(other)
    }

    /// The file that an option names, with an absolute path: the directory of the start is left later.
    pub(crate) fn file(&self, option: &'static Opt) -> Option<NamedFile> {
        let value = self.last(option)?;
        let path = Path::new(&value.text);
        // Without a current directory it stays what it is.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let place = value.place(option);
        Some(NamedFile { place, path })
    }

    #[cfg(feature = "doctor")]
    fn at_its_place(&self, path: &Path) -> PathBuf {
        match (self.elsewhere, path.strip_prefix("/")) {
            (None, _) => path.to_owned(),
            (Some(Elsewhere { root, .. }), Ok(absolute)) => {
                Path::new(&format!("/proc/{root}/root")).join(absolute)
            }
            (Some(Elsewhere { directory, .. }), Err(_)) => {
                Path::new(&format!("/proc/{directory}/cwd")).join(path)
            }
        }
    }

    #[cfg(not(feature = "doctor"))]
    fn at_its_place(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }

    pub(super) fn add_file(&mut self) -> Result<(), Error> {
        let path = self.last(&CONFIG).map(|value| value.text.clone());
        match path {
            Some(path) if path.is_empty() => Err(self.error(&CONFIG, no_name())),
            Some(path) => toml_file::add(self, &self.at_its_place(Path::new(&path))),
            None => Ok(()),
        }
    }

    /// What was written for an option, the weaker first.
    pub(crate) fn values(&self, option: &'static Opt) -> impl DoubleEndedIterator<Item = &Value> {
        let all = self.values.iter();
        all.filter(move |(known, _)| *known == option)
            .map(|(_, value)| value)
    }

    /// What counts of an option that has one value.
    pub(super) fn last(&self, option: &'static Opt) -> Option<&Value> {
        self.values(option).next_back()
    }

    /// What counts for an option, or for a letter that is short for a value of it; and which of them it is.
    pub(crate) fn what_counts(&self, option: &'static Opt) -> Option<(&'static Opt, &Value)> {
        let is_it = |other: &Opt| {
            let short_for = other.short_for.map(|(other, _)| other);
            other == option || short_for == Some(option)
        };
        let written = self.values.iter().filter(|(other, _)| is_it(other));
        // A letter wins over the word in the same place.
        let strongest = written.min_by_key(|(other, value)| {
            let is_word = other.short_for.is_none();
            (value.source.rank(), is_word)
        });
        let (option, _) = strongest?;
        self.last(option).map(|value| (*option, value))
    }

    /// What was written for an option, where anything was.
    pub(super) fn given(&self, option: &'static Opt) -> Option<Given<'_>> {
        let last = self.last(option)?;
        Some(Given {
            settings: self,
            option,
            last,
        })
    }

    /// Whether one option was written in a place that wins over that of the other.
    pub(super) fn is_stronger(&self, option: &'static Opt, than: &'static Opt) -> bool {
        let rank = |option| self.last(option).map(|value| value.source.rank());
        rank(option)
            .zip(rank(than))
            .is_some_and(|(ours, theirs)| ours < theirs)
    }

    pub(crate) fn one<T>(
        &self,
        option: &'static Opt,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<Option<T>, Error> {
        let value = self.last(option);
        value.map(|value| value.parse(option, parse)).transpose()
    }

    pub(crate) fn many<T>(
        &self,
        option: &'static Opt,
        mut parse: impl FnMut(&str) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Error> {
        self.values(option)
            .map(|value| value.parse(option, &mut parse))
            .collect()
    }

    pub(crate) fn duration(&self, option: &'static Opt) -> Result<Option<Duration>, Error> {
        self.one(option, parse_duration)
    }

    pub(crate) fn signal(&self, option: &'static Opt) -> Result<Option<Signal>, Error> {
        self.one(option, parse_signal)
    }

    pub(super) fn signals(&self, option: &'static Opt) -> Result<Option<SignalSet>, Error> {
        self.one(option, parse_signals)
    }

    pub(crate) fn switch(&self, option: &'static Opt) -> Result<bool, Error> {
        Ok(self.one(option, parse_switch)?.unwrap_or(false))
    }

    pub(crate) fn error(&self, option: &'static Opt, fault: Fault) -> Error {
        match self.last(option) {
            Some(value) => value.fault(option, fault),
            None => Error::new(format!("--{}", option.name), fault),
        }
    }
}

/// An option that was written.
pub(crate) struct Given<'a> {
    pub(super) settings: &'a Settings,
    option: &'static Opt,
    /// What counts where it has one value.
    pub(super) last: &'a Value,
}

impl Given<'_> {
    pub(super) fn one<T>(&self, parse: impl FnOnce(&str) -> Result<T, Fault>) -> Result<T, Error> {
        self.last.parse(self.option, parse)
    }

    /// All values, the weaker first.
    pub(super) fn each<T>(
        &self,
        parse: impl FnMut(&str) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Error> {
        self.settings.many(self.option, parse)
    }

    pub(super) fn duration(&self) -> Result<Duration, Error> {
        self.one(parse_duration)
    }

    pub(super) fn signals(&self) -> Result<SignalSet, Error> {
        self.one(parse_signals)
    }

    pub(super) fn switch(&self) -> Result<bool, Error> {
        self.one(parse_switch)
    }

    pub(super) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Result<T, Error> {
        self.one(|text| parse_choice(text, choices))
    }

    pub(super) fn error(&self, fault: Fault) -> Error {
        self.last.fault(self.option, fault)
    }
}

fn parse_signals(text: &str) -> Result<SignalSet, Fault> {
    list(text)
        .map(|(start, word)| {
            let fault = |fault: Fault| match divided(word) {
                Some(way_out) => {
                    Fault::new(format!("signals are divided by commas, not as in {word:?}"))
                        .way_out(way_out)
                }
                None => fault,
            };
            parse_received(word).map_err(|f| fault(f).at(text, start, start + word.len()))
        })
        .collect()
}

impl Value {
    pub(super) fn parse<T>(
        &self,
        option: &'static Opt,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let text = self
            .text
            .to_str()
            .ok_or_else(|| Fault::new("the value is not UTF-8"));
        text.and_then(parse)
            .map_err(|fault| self.fault(option, fault))
    }

    pub(super) fn fault(&self, option: &'static Opt, fault: Fault) -> Error {
        let entry = fault.start().and_then(|start| {
            let mut before = self.entries.iter().rev();
            before.find(|entry| entry.start <= start)
        });
        match entry {
            Some(entry) => Error::new(
                format!("{}: {}", entry.place, self.name(option)),
                fault.within(entry.start, entry.end),
            ),
            None => Error::new(self.place(option), fault),
        }
    }

    /// The name by which the option was called.
    fn name(&self, option: &'static Opt) -> &'static str {
        self.spelling.unwrap_or(option.name)
    }

    fn place(&self, option: &'static Opt) -> String {
        let name = self.name(option);
        match &self.source {
            Source::Flag => option.flag(name),
            Source::Environment => variable(name),
            Source::File(place) => format!("{place}: {name}"),
        }
    }

    /// The flag, the variable, or file and line.
    pub(crate) fn short_place(&self, option: &'static Opt) -> String {
        match &self.source {
            Source::Flag | Source::Environment => self.place(option),
            Source::File(place) => format!("{}:{}", place.path, place.line),
        }
    }
}

//! What was typed, by option: every value keeps the place it came from, and the strongest place wins.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::config;
use super::parse::{divided, parse_choice, parse_received, parse_signal, parse_switch};
use super::table::Kind;
use super::{check_table, table};
use crate::plan::voice::{Format, Level, Voice};
use crate::plan::{FailureCodes, OnFailure};
use crate::words::duration;
use crate::words::fault::{Error, Fault};
use crate::words::list::list;
use crate::words::signal::{Signal, SignalSet};
use crate::words::suggest;

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
}

/// A value as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Value {
    pub(crate) text: OsString,
    pub(crate) source: Source,
    pub(crate) hook: Option<Box<HookTable>>,
    /// The entries of an array, which are divided by commas in the text.
    entries: Vec<Entry>,
}

/// An entry of an array: its bytes in the text, and where it stands in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
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
            entries: Vec::new(),
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
            entries.push(Entry { start, end, place });
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
    values: Vec<(&'static str, Value)>,
    /// Those of stepdown, or of the tool whose place it takes.
    pub(crate) failure_codes: FailureCodes,
    /// The plan is one for PID 1.
    pub(crate) as_pid1: bool,
}

impl Settings {
    pub(crate) fn add(&mut self, name: &'static str, text: impl Into<OsString>, source: Source) {
        self.add_value(name, Value::new(text, source));
    }

    pub(crate) fn add_value(&mut self, name: &'static str, value: Value) {
        self.values.push((name, value));
    }

    /// Whether a flag or a variable has named this option.
    pub(crate) fn is_set_above_file(&self, name: &str) -> bool {
        let above = |value: &Value| !matches!(value.source, Source::File(_));
        self.values
            .iter()
            .any(|(known, value)| *known == name && above(value))
    }

    /// Adds a value that is weaker than those that are there already; of options that are repeated
    /// it comes first.
    pub(crate) fn add_default(&mut self, name: &'static str, text: &'static str) {
        let value = Value::new(text, Source::Flag);
        self.values.insert(0, (name, value));
    }

    /// The options that have a value.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.values.iter().map(|(name, _)| *name)
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.values.retain(|(known, _)| *known != name);
    }

    /// The options of `table` that were typed, as they would be typed again.
    pub(crate) fn typed(&self, table: &[table::Opt]) -> Vec<OsString> {
        let typed = self.values.iter().filter_map(|(name, value)| {
            let option = table.iter().find(|option| option.name == *name)?;
            (value.source == Source::Flag).then_some(())?;
            let mut text = OsString::from(format!("--{name}"));
            if !matches!(option.kind, Kind::Switch | Kind::Count) {
                text.push("=");
                text.push(&value.text);
            }
            Some(text)
        });
        typed.collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.iter().any(|(known, _)| *known == name)
    }

    /// Adds what the environment says about options that no flag named, then what the file says that
    /// one of them names.
    ///
    /// # Errors
    /// The file cannot be understood.
    /// A variable is almost the name of an option.
    pub(crate) fn add_environment(
        &mut self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(), Error> {
        // Almost always none: nothing is allocated then.
        let variables: Vec<_> = environment.into_iter().collect();
        let is_hook = variables.iter().any(|(key, _)| key == "STEPDOWN_PHASE");
        for (key, text) in variables {
            let Some(key) = key.to_str().filter(|key| key.starts_with(table::PREFIX)) else {
                continue;
            };
            if is_service_link(key, &text) {
                continue;
            }
            let name = key[table::PREFIX.len()..]
                .replace('_', "-")
                .to_ascii_lowercase();
            let Some(option) = table::find(&name).filter(|option| option.variable() == key) else {
                // Hooks are told `STEPDOWN_SIGNAL`, and much else; who sets it alone means an option.
                let told = table::TOLD.contains(&key) && (is_hook || key != "STEPDOWN_SIGNAL");
                if !told && !key.starts_with("STEPDOWN_LAST_") {
                    refuse_almost_an_option(key, &name)?;
                }
                continue;
            };
            // An image's variable can be emptied (`docker run -e STEPDOWN_GRACE=`), but not unset.
            if text.is_empty() || self.has(option.name) {
                continue;
            }
            match option.kind {
                // Several values stand on a line each.
                Kind::Many(_) => {
                    for line in text
                        .as_bytes()
                        .split(|b| *b == b'\n')
                        .filter(|l| !l.is_empty())
                    {
                        self.add(option.name, OsStr::from_bytes(line), Source::Environment);
                    }
                }
                Kind::One(_) | Kind::Switch | Kind::Count => {
                    self.add(option.name, text, Source::Environment);
                }
            }
        }
        self.add_file()
    }

    /// The same without what the file has said.
    pub(crate) fn without_file(&self) -> Self {
        let mut settings = self.clone();
        let of_file = |value: &Value| matches!(value.source, Source::File(_));
        settings.values.retain(|(_, value)| !of_file(value));
        settings
    }

    /// Whether an option is written the same way in both, wherever.
    pub(crate) fn says_the_same(&self, other: &Self, name: &str) -> bool {
        let written = |settings: &Self| -> Vec<(OsString, Option<Box<HookTable>>)> {
            let named = settings.values.iter().filter(|(known, _)| *known == name);
            named
                .map(|(_, value)| (value.text.clone(), value.hook.clone()))
                .collect()
        };
        written(self) == written(other)
    }

    /// The file that an option names, with an absolute path: the directory of the start is left later.
    pub(crate) fn file(&self, name: &'static str) -> Option<NamedFile> {
        let value = self.all(name).next_back()?;
        let path = Path::new(&value.text);
        // Without a current directory it stays what it is.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let place = value.place(name);
        Some(NamedFile { place, path })
    }

    fn add_file(&mut self) -> Result<(), Error> {
        let path = self
            .all("config")
            .next_back()
            .map(|value| value.text.clone());
        match path.filter(|path| !path.is_empty()) {
            Some(path) => config::add(self, Path::new(&path)),
            None => Ok(()),
        }
    }

    /// What was written for an option, the weaker first.
    pub(crate) fn values(&self, name: &'static str) -> impl Iterator<Item = &Value> {
        self.all(name)
    }

    pub(crate) fn all(&self, name: &'static str) -> impl DoubleEndedIterator<Item = &Value> {
        let known = table::find(name).or_else(|| check_table::find(name));
        debug_assert!(
            known.is_some() || name.starts_with("ready-"),
            "{name} is no option"
        );
        self.values
            .iter()
            .filter(move |(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    pub(crate) fn one<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<Option<T>, Error> {
        let value = self.all(name).next_back();
        value.map(|value| value.parse(name, parse)).transpose()
    }

    pub(crate) fn many<T>(
        &self,
        name: &'static str,
        mut parse: impl FnMut(&str) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Error> {
        self.all(name)
            .map(|value| value.parse(name, &mut parse))
            .collect()
    }

    pub(crate) fn duration(&self, name: &'static str) -> Result<Option<Duration>, Error> {
        self.one(name, |text| {
            duration::parse(text).map_err(|bad| Fault::new(bad.to_string()).way_out(bad.way_out()))
        })
    }

    pub(crate) fn signal(&self, name: &'static str) -> Result<Option<Signal>, Error> {
        self.one(name, parse_signal)
    }

    pub(super) fn signals(&self, name: &'static str) -> Result<Option<SignalSet>, Error> {
        self.one(name, |text| {
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
                .collect::<Result<SignalSet, Fault>>()
        })
    }

    pub(crate) fn switch(&self, name: &'static str) -> Result<bool, Error> {
        Ok(self.one(name, parse_switch)?.unwrap_or(false))
    }

    pub(super) fn choice<T: Copy>(
        &self,
        name: &'static str,
        choices: &[(&'static str, T)],
    ) -> Result<Option<T>, Error> {
        self.one(name, |text| parse_choice(text, choices))
    }

    /// How to tell, from `--log-level`, `--log-format`, `-v` and `-q`.
    pub(crate) fn voice(&self) -> Result<Voice, Error> {
        let levels = [
            ("error", Level::Error),
            ("warn", Level::Warn),
            ("info", Level::Info),
            ("debug", Level::Debug),
        ];
        let level = self.choice("log-level", &levels)?.unwrap_or(Level::Info);
        let (quiet, verbose) = (self.switch("quiet")?, self.switch("verbose")?);
        // Three options for one thing: a flag wins over a file that says the same in another word.
        let rank = |name| self.all(name).next_back().map(|value| value.source.rank());
        let names = ["log-level", "quiet", "verbose"];
        let strongest = names.into_iter().filter_map(rank).min();
        let level = match () {
            () if verbose && rank("verbose") == strongest => Level::Debug,
            () if quiet && rank("quiet") == strongest => Level::Error,
            () => level,
        };
        let formats = [("text", Format::Text), ("json", Format::Json)];
        let format = self.choice("log-format", &formats)?.unwrap_or(Format::Text);
        let reaped = self.switch("log-reaped")?;
        Ok(Voice {
            level,
            format,
            reaped,
        })
    }

    pub(crate) fn error(&self, name: &'static str, fault: Fault) -> Error {
        match self.all(name).next_back() {
            Some(value) => value.fault(name, fault),
            None => Error::new(format!("--{name}"), fault),
        }
    }
}

impl Value {
    pub(super) fn parse<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let text = self
            .text
            .to_str()
            .ok_or_else(|| Fault::new("the value is not UTF-8"));
        text.and_then(parse)
            .map_err(|fault| self.fault(name, fault))
    }

    pub(super) fn fault(&self, name: &'static str, fault: Fault) -> Error {
        let entry = fault.start().and_then(|start| {
            let mut before = self.entries.iter().rev();
            before.find(|entry| entry.start <= start)
        });
        match entry {
            Some(entry) => Error::new(
                format!("{}: {name}", entry.place),
                fault.within(entry.start, entry.end),
            ),
            None => Error::new(self.place(name), fault),
        }
    }

    pub(super) fn place(&self, name: &'static str) -> String {
        match &self.source {
            Source::Flag => format!("--{name}"),
            Source::Environment => {
                table::find(name).map_or_else(|| name.to_owned(), table::Opt::variable)
            }
            Source::File(place) => format!("{place}: {name}"),
        }
    }
}

/// A variable that Kubernetes makes for a service named stepdown, or whose name begins so (Service,
/// "Environment variables").
fn is_service_link(key: &str, text: &OsStr) -> bool {
    // stepdown-drain is a name that a service can have, and its address no port to be drained.
    let is_address = || text.as_bytes().windows(3).any(|part| part == b"://");
    key.strip_prefix(table::PREFIX).is_some_and(|rest| {
        let is_port = rest.ends_with("_PORT") && is_address();
        let rest = rest.strip_prefix("SERVICE_").unwrap_or(rest);
        rest == "HOST" || rest == "PORT" || rest.starts_with("PORT_") || is_port
    })
}

/// A typing error would pass unseen otherwise, and so would the name of another tool's option. Others that
/// begin alike are not ours.
fn refuse_almost_an_option(key: &str, name: &str) -> Result<(), Error> {
    let names = || table::OPTIONS.iter().map(|option| option.name);
    let variable = |name: &str| table::find(name).map_or_else(String::new, table::Opt::variable);
    let theirs = suggest::elsewhere(name, names());
    let all: Vec<String> = names().map(variable).collect();
    let near = suggest::nearest(key, all.iter().map(String::as_str));
    let question =
        suggest::question(&theirs, variable).or_else(|| suggest::question(&[near?], str::to_owned));
    question.map_or(Ok(()), |question| {
        let fault = Fault::new("no option has this name");
        Err(Error::new(key, fault.way_out(question)))
    })
}

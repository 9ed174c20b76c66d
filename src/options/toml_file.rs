//! Reads a configuration file into settings: TOML with the options as keys, each value with its place.

use std::ffi::OsString;
use std::path::Path;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::child::ENV;
use super::config::CONFIG;
use super::definition::{Kind, Opt};
use super::parse::parse_limit;
use super::settings::{HookTable, Place, Settings, Source, Value};
use super::{OPTIONS, find, names, parse_choice};
use crate::plan::OnFailure;
use crate::plan::call::{self, Body};
use crate::plan::mdns;
use crate::sys::file;
use crate::words::fault::{Error, Fault};
use crate::words::suggest;

/// The keys of a hook table.
const KEYS: [&str; 10] = [
    "name",
    "run",
    "http",
    "udp",
    "mdns",
    "timeout",
    "priority",
    "on-failure",
    "env",
    "body",
];

/// What they are called elsewhere.
const KEYS_ELSEWHERE: [(&str, &str); 8] = [
    ("exec", "run"),
    ("command", "run"),
    ("cmd", "run"),
    ("script", "run"),
    ("shell", "run"),
    ("url", "http"),
    ("httpGet", "http"),
    ("environment", "env"),
];

/// Adds what a file says about options that neither a flag nor a variable named.
///
/// # Errors
/// The file cannot be read, is no TOML, or says something that no option can mean; with line, column
/// and key.
pub(crate) fn add(settings: &mut Settings, path: &Path) -> Result<(), Error> {
    let shown: Rc<str> = path.to_string_lossy().into();
    let text = file::read(path).map_err(|error| {
        let fault = Fault::new(format!("{shown}: {}", file::reason(&error)));
        settings.error(&CONFIG, fault.way_out("name a TOML file that can be read"))
    })?;
    // Editors of another system put a mark before the text (TOML 1.0, "Spec").
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let reader = Reader { path: shown, text };
    for (option, value) in reader.values()? {
        if !settings.is_set_above_file(option) {
            settings.add_value(option, value);
        }
    }
    Ok(())
}

pub(super) struct Reader<'a> {
    pub(super) path: Rc<str>,
    pub(super) text: &'a str,
}

type Pair = (&'static Opt, Value);

impl Reader<'_> {
    pub(super) fn values(&self) -> Result<Vec<Pair>, Error> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            let place = self.place(span.start);
            // What is there twice has a name.
            let key = self.text.get(span).map(str::trim).unwrap_or_default();
            let place = match error.message() {
                "duplicate key" if !key.is_empty() => format!("{place}: {key}"),
                _ => place.to_string(),
            };
            Error::new(place, Fault::new(error.message()))
        })?;
        // In the order of the file, so that the first error is the first one in it.
        let mut values: Vec<Pair> = Vec::new();
        for (key, value) in placed_in_order(table.get_ref()) {
            let name: &str = key.get_ref();
            let Some(option) = find(name).filter(|option| *option != &CONFIG) else {
                // A table is what others call a group of options.
                let inner = value.get_ref().as_table().into_iter().flatten();
                let meant = inner
                    .filter_map(|(inner, _)| find(&format!("{name}-{}", inner.get_ref())))
                    .next();
                return Err(self.unknown_key(key.span().start, name, meant));
            };
            let before = values.len();
            self.add(option, value, &mut values)?;
            let spelling = option.spellings().find(|spelling| *spelling == name);
            for (_, value) in values.iter_mut().skip(before) {
                value.spelling = spelling;
            }
        }
        Ok(values)
    }

    fn add(
        &self,
        option: &'static Opt,
        value: &Spanned<DeValue<'_>>,
        values: &mut Vec<Pair>,
    ) -> Result<(), Error> {
        let at = value.span().start;
        let plain = |text: String, at: usize| {
            let source = Source::File(self.place(at));
            (option, Value::new(text, source))
        };
        match (option.kind, value.get_ref()) {
            (Kind::Switch, DeValue::Integer(_)) => {
                let text = self.scalar(option.name, value)?;
                let word = if text == "0" { "off" } else { "on" };
                values.push(plain(word.to_owned(), at));
            }
            (Kind::Many(_), DeValue::Table(table)) if option == &ENV => {
                for (key, value) in in_order(table) {
                    let text = self.variable("env", key, value)?;
                    values.push(plain(format!("{key}={text}"), value.span().start));
                }
            }
            (Kind::Many(_), DeValue::Array(array)) => {
                for entry in array {
                    // An array in an array is no value of any option.
                    match entry.get_ref() {
                        DeValue::Table(table) if is_hook(option) => {
                            values.push((option, self.hook(option, entry.span().start, table)?));
                        }
                        _ => {
                            values.push(plain(self.scalar(option.name, entry)?, entry.span().start))
                        }
                    }
                }
            }
            (Kind::Many(_), DeValue::Table(table)) if is_hook(option) => {
                values.push((option, self.hook(option, at, table)?));
            }
            (Kind::One(_), DeValue::Array(array)) if option.is_list => {
                let words: Result<Vec<_>, Error> = array
                    .iter()
                    .map(|entry| {
                        let place = self.place(entry.span().start);
                        Ok((self.scalar(option.name, entry)?, place))
                    })
                    .collect();
                values.push((option, Value::array(words?, self.place(at))));
            }
            _ => values.push(plain(self.scalar(option.name, value)?, at)),
        }
        Ok(())
    }

    fn hook(&self, option: &Opt, at: usize, table: &DeTable<'_>) -> Result<Value, Error> {
        let mut hook = HookTable::default();
        let mut does: Option<(&str, String, usize)> = None;
        let mut body: Option<(Body, usize)> = None;
        for (name, value) in in_order(table) {
            let key = format!("{}.{name}", option.name);
            let at = value.span().start;
            let fault = |fault: Fault| self.error(at, &key, fault);
            match name {
                "run" | "http" | "udp" | "mdns" => {
                    if let Some((first, ..)) = does {
                        let message = format!("the hook has a {first:?} already");
                        let way_out = "give each hook one of run, http, udp and mdns";
                        return Err(fault(Fault::new(message).way_out(way_out)));
                    }
                    let text = self.task(name, &key, value)?;
                    does = Some((name, text, at));
                }
                "name" => hook.name = Some(self.scalar(&key, value)?),
                "timeout" => {
                    let text = self.scalar(&key, value)?;
                    hook.timeout = Some(parse_limit(&text).map_err(fault)?);
                }
                "priority" => {
                    let text = self.scalar(&key, value)?;
                    hook.priority = text.parse().map_err(|_| {
                        let message = format!("{text:?} is no whole number");
                        fault(Fault::new(message).way_out("higher numbers run first"))
                    })?;
                }
                "on-failure" => {
                    let words = [("ignore", OnFailure::Ignore), ("fail", OnFailure::Fail)];
                    let text = self.scalar(&key, value)?;
                    let choice = parse_choice(&text, &words).map_err(fault)?;
                    hook.on_failure = Some(choice);
                }
                "body" => {
                    let text = self.scalar(&key, value)?;
                    body = Some((call::body(&text).map_err(fault)?, at));
                }
                "env" => hook.env = self.environment(&key, value)?,
                _ => {
                    let start = table
                        .keys()
                        .find(|key| key.get_ref() == name)
                        .map_or(at, |key| key.span().start);
                    return Err(self.unknown_in_hook(start, &key, name));
                }
            }
        }
        let Some((kind, mut text, at)) = does else {
            let fault = Fault::new("the hook does nothing").way_out("add run, http, udp or mdns");
            return Err(self.error(at, option.name, fault));
        };
        if let Some((body, at)) = body {
            let key = format!("{}.body", option.name);
            let fault = |message: &str, way_out: &str| {
                Err(self.error(at, &key, Fault::new(message).way_out(way_out)))
            };
            if kind != "http" {
                return fault(
                    "only a request has a body",
                    "write http = \"http://HOST/PATH\"",
                );
            }
            let method = text.trim().split_once(' ').map(|(method, _)| method);
            match method {
                Some("GET" | "HEAD") => {
                    return fault("GET and HEAD have no body", "write POST or PUT");
                }
                Some(_) => {}
                // What carries something is sent by POST unless it says otherwise.
                None => text = format!("POST {}", text.trim()),
            }
            hook.body = Some(body);
        }
        let mut value = Value::new(text, Source::File(self.place(at)));
        value.hook = Some(Box::new(hook));
        Ok(value)
    }

    /// What a hook does, as it would stand on the command line.
    fn task(&self, kind: &str, key: &str, value: &Spanned<DeValue<'_>>) -> Result<String, Error> {
        let fault = |fault: Fault| self.error(value.span().start, key, fault);
        if let (DeValue::Array(words), "run") = (value.get_ref(), kind) {
            let words: Result<Vec<String>, Error> =
                words.iter().map(|word| self.scalar(key, word)).collect();
            let words = words?;
            return shlex::try_join(words.iter().map(String::as_str))
                .map_err(|error| fault(Fault::new(error.to_string())));
        }
        let text = self.scalar(key, value)?;
        match kind {
            "http" => call::http(&text).map(|_| text).map_err(fault),
            // The key says it already.
            "udp" if !has_scheme(&text) => Ok(format!("udp://{text}")),
            "udp" => call::udp(&text).map(|_| text).map_err(fault),
            "mdns" if !has_scheme(&text) => {
                let text = format!("mdns://{text}");
                mdns::parse(&text).map(|_| text).map_err(fault)
            }
            "mdns" => mdns::parse(&text).map(|_| text).map_err(fault),
            _ => Ok(text),
        }
    }

    fn environment(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Vec<(OsString, OsString)>, Error> {
        let DeValue::Table(table) = value.get_ref() else {
            let fault = Fault::new("this is no table").way_out("write env = { NAME = \"VALUE\" }");
            return Err(self.error(value.span().start, key, fault));
        };
        in_order(table)
            .into_iter()
            .map(|(name, value)| {
                let text = self.variable(key, name, value)?;
                Ok((name.into(), text.into()))
            })
            .collect()
    }

    /// The value of a variable whose name can be one (environ(7)).
    fn variable(
        &self,
        table: &str,
        name: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<String, Error> {
        let key = format!("{table}.{name}");
        if name.is_empty() || name.contains(['=', '\0']) {
            let fault = Fault::new(format!("{name:?} is no name of a variable"));
            let fault = fault.way_out("write NAME = \"VALUE\"");
            return Err(self.error(value.span().start, table, fault));
        }
        self.scalar(&key, value)
    }

    /// A value as it would stand on the command line.
    fn scalar(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<String, Error> {
        let fault = |fault: Fault| self.error(value.span().start, key, fault);
        let wrong = |what: &str| {
            let message = format!("{what} cannot stand here");
            fault(Fault::new(message).way_out("write a string, a number, true or false"))
        };
        match value.get_ref() {
            DeValue::String(text) if text.contains('\0') => {
                Err(fault(Fault::new("the value holds a NUL byte")))
            }
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Boolean(value) => Ok(value.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map(|number| number.to_string())
                .map_err(|_| {
                    fault(Fault::new("the number is too large").way_out("write a smaller one"))
                }),
            DeValue::Float(number) => Ok(number
                .as_str()
                .parse::<f64>()
                .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string())),
            DeValue::Datetime(_) => Err(wrong("a date")),
            DeValue::Array(_) => Err(wrong("an array")),
            DeValue::Table(_) => Err(wrong("a table")),
        }
    }

    fn unknown_key(&self, at: usize, name: &str, meant: Option<&'static Opt>) -> Error {
        if name == CONFIG.name {
            let fault = Fault::new("a file cannot name another one");
            let way_out = "keys are named as the options are, see --help";
            return self.error(at, name, fault.way_out(way_out));
        }
        let known = OPTIONS.iter().copied().filter(|option| *option != &CONFIG);
        let meant = match meant {
            Some(option) => vec![option.name],
            None => names::meant(&name.to_ascii_lowercase(), known),
        };
        let way_out = suggest::question(&meant, str::to_owned);
        let way_out =
            way_out.unwrap_or_else(|| "keys are named as the options are, see --help".to_owned());
        self.error(at, name, Fault::new("unknown key").way_out(way_out))
    }

    fn unknown_in_hook(&self, at: usize, key: &str, name: &str) -> Error {
        let elsewhere = KEYS_ELSEWHERE.iter().find(|(theirs, _)| *theirs == name);
        let ours = elsewhere.map(|(_, ours)| *ours);
        let near = || suggest::nearest(&name.to_ascii_lowercase(), KEYS);
        let way_out = match ours.or_else(near) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("a hook has {}", KEYS.join(", ")),
        };
        self.error(at, key, Fault::new("unknown key").way_out(way_out))
    }

    fn error(&self, at: usize, key: &str, fault: Fault) -> Error {
        Error::new(format!("{}: {key}", self.place(at)), fault)
    }

    fn place(&self, at: usize) -> Place {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Place {
            path: Rc::clone(&self.path),
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
        }
    }
}

/// Whether a value of it may be a table.
fn is_hook(option: &Opt) -> bool {
    option.kind == Kind::Many("HOOK")
}

/// Whether it begins as a URL does: what is to be sent may hold one.
fn has_scheme(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// The entries of a table in the order of the file.
fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t str, &'t Spanned<DeValue<'i>>)> {
    placed_in_order(table)
        .into_iter()
        .map(|(key, value)| (key.get_ref().as_ref(), value))
        .collect()
}

/// As [`in_order`], with the places of the keys.
fn placed_in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<PlacedEntry<'t, 'i>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

type PlacedEntry<'t, 'i> = (&'t Spanned<DeString<'i>>, &'t Spanned<DeValue<'i>>);

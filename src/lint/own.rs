//! stepdown in a command: its options are read by the parser that reads them in a run, and its plan is played as
//! `explain` plays it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::place::Spot;
use super::run::{Environment, Word};
use crate::explain::worst_case::worst;
use crate::options::config::CONFIG;
use crate::options::drain::{CHECKS_TIMEOUT, TIMEOUT};
use crate::options::{PREFIX, Settings, Source, find};
use crate::plan::Plan;

/// A command line of stepdown, read.
pub(crate) enum Line {
    /// The options that were typed, and how many words the COMMAND has.
    Run(Box<Settings>, usize),
    /// `--help`, a subcommand: nothing is run.
    Other,
    Wrong(String),
}

/// Reads a command line, the program's name first.
pub(crate) type ReadLine = fn(Vec<OsString>) -> Line;

/// stepdown, as it would start.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) at: Spot,
    /// `None` where not all that decides about it is known, or it would not start.
    pub(crate) plan: Option<Rc<Plan>>,
    /// The longest stop; `None` where that is not known, or without end.
    pub(crate) worst: Option<Duration>,
    /// Why it would not start.
    pub(crate) fault: Option<(Spot, String)>,
    /// What has no effect.
    pub(crate) idle: Vec<(Spot, String)>,
    /// It is known by its variables only: flags of the image may say something else.
    pub(crate) is_by_variables: bool,
    settings: Settings,
}

/// What it is read with.
pub(crate) struct Reading<'a> {
    pub(crate) read_line: ReadLine,
    pub(crate) environment: &'a Environment,
    /// The TOML file of this path in the image, and its index among all files.
    pub(crate) find_config: &'a dyn Fn(&str) -> Option<(PathBuf, usize)>,
    pub(crate) is_pid1: bool,
}

impl Own {
    /// From `stepdown` on; `None` where it runs nothing.
    pub(crate) fn of(words: &[Word], reading: &Reading<'_>) -> Option<Self> {
        let at = words.first()?.at;
        let texts = words.iter().map(|word| OsString::from(&word.text));
        let (settings, command) = match (reading.read_line)(texts.collect()) {
            Line::Run(settings, command) => (*settings, command),
            Line::Other => return None,
            Line::Wrong(message) => {
                let is_known = words.iter().all(|word| word.is_known);
                let place = place_of(&message, words).unwrap_or(at);
                let mut own = Self::new(at);
                own.fault = is_known.then(|| (place, first_line(&message)));
                return Some(own);
            }
        };
        let options = words.len().saturating_sub(command);
        let is_known = words.iter().take(options).all(|word| word.is_known);
        let mut own = Self::new(at);
        if is_known {
            own.settings = settings;
            own.plan_of(words, reading);
        }
        Some(own)
    }

    /// Its variables show that it is there, whatever the image's ENTRYPOINT is.
    pub(crate) fn by_variables(reading: &Reading<'_>) -> Option<Self> {
        let known = reading.environment.variables.iter();
        let first = known
            .clone()
            .find(|variable| option_of(&variable.name).is_some())?;
        let mut own = Self::new(first.at);
        own.is_by_variables = true;
        own.plan_of(&[], reading);
        Some(own)
    }

    /// A file of `--config` alone.
    pub(crate) fn by_file(path: &Path, file: usize, is_pid1: bool) -> Self {
        let at = Spot {
            file,
            line: 1,
            column: 1,
        };
        let mut own = Self::new(at);
        own.settings.add(&CONFIG, path, Source::Flag);
        own.settings.as_pid1 = is_pid1;
        own.read(Vec::new(), &|message| in_file(message, path, file));
        own
    }

    fn new(at: Spot) -> Self {
        Self {
            at,
            plan: None,
            worst: None,
            fault: None,
            idle: Vec::new(),
            is_by_variables: false,
            settings: Settings::default(),
        }
    }

    fn plan_of(&mut self, words: &[Word], reading: &Reading<'_>) {
        let ours = reading.environment.variables.iter();
        let ours = ours.filter(|variable| variable.name.starts_with(PREFIX));
        let mut environment = Vec::new();
        let mut named = None;
        let typed = self.settings.file(&CONFIG).map(|file| file.path);
        for variable in ours.clone() {
            let Some(value) = &variable.value else { return };
            if variable.name == CONFIG.variable() {
                named = Some(PathBuf::from(value));
            } else {
                environment.push((OsString::from(&variable.name), OsString::from(value)));
            }
        }
        let named = typed.or(named).filter(|path| !path.as_os_str().is_empty());
        self.settings.remove(&CONFIG);
        let mut config = None;
        if let Some(path) = named {
            let Some((path, file)) = (reading.find_config)(&path.to_string_lossy()) else {
                return;
            };
            self.settings.add(&CONFIG, &path, Source::Flag);
            config = Some((path, file));
        }
        if reading.environment.has_others {
            return;
        }
        self.settings.as_pid1 = reading.is_pid1;
        let place = |message: &str| {
            let (path, file) = config.as_ref()?;
            in_file(message, path, *file)
        };
        let variables: Vec<(String, Spot)> = ours.map(|v| (v.name.clone(), v.at)).collect();
        self.read(environment, &|message: &str| {
            let by_name = variables.iter().find(|(name, _)| is_named(message, name));
            place(message)
                .or(by_name.map(|(_, at)| *at))
                .or_else(|| place_of(message, words))
        });
    }

    fn read(
        &mut self,
        environment: Vec<(OsString, OsString)>,
        place: &dyn Fn(&str) -> Option<Spot>,
    ) {
        let settings = &mut self.settings;
        let added = settings.add_environment(environment);
        let plan = added.and_then(|()| settings.plan());
        let plan = plan.and_then(|plan| settings.refuse_idle(&plan).map(|()| plan));
        let at = self.at;
        match plan {
            Err(error) => {
                let message = error.to_string();
                let at = place(&message).unwrap_or(at);
                self.fault = Some((at, without_place(&first_line(&message), place)));
            }
            Ok(plan) => {
                let idle = settings.without_effect(&plan);
                let idle = idle.map(|(_, message)| {
                    let at = place(&message).unwrap_or(at);
                    (at, without_place(&first_line(&message), place))
                });
                self.idle = idle.collect();
                let plan = Rc::new(plan);
                self.worst = worst(&plan).map(|worst| worst.took);
                self.plan = Some(plan);
            }
        }
    }

    /// How long the phases that were asked for take, where they say it themselves. Of a drain only what was said counts, and
    /// that counts alone where the ladder says no time.
    pub(crate) fn asked_for(&self) -> Option<Duration> {
        let plan = self.plan.as_ref()?;
        plan.deadline?;
        let mut without = Plan::clone(plan);
        without.deadline = None;
        if let Some(drain) = &mut without.drain {
            if !self.settings.has(&TIMEOUT) {
                drain.timeout = Duration::ZERO;
            }
            if !self.settings.has(&CHECKS_TIMEOUT) {
                drain.checks = None;
            }
        }
        let says = plan
            .ladder
            .iter()
            .all(|step| step.is_kill() || step.wait.is_some());
        if !says {
            return without.drain.map(|drain| drain.longest());
        }
        // They are phases of the start.
        without.pre_start.clear();
        worst(&Rc::new(without)).map(|worst| worst.took)
    }
}

fn option_of(variable: &str) -> Option<&'static crate::options::Opt> {
    let name = variable.strip_prefix(PREFIX)?.replace('_', "-");
    find(&name.to_ascii_lowercase())
}

/// The word that a message begins with.
fn place_of(message: &str, words: &[Word]) -> Option<Spot> {
    let name = message.split(':').next()?;
    let is_it = |word: &&Word| {
        let option = word.text.split('=').next().unwrap_or_default();
        word.text == name || option == name
    };
    words.iter().find(is_it).map(|word| word.at)
}

fn is_named(message: &str, name: &str) -> bool {
    message
        .strip_prefix(name)
        .is_some_and(|rest| rest.starts_with(':'))
}

/// The place in a file of a message that begins with `PATH:LINE:COLUMN:`.
fn in_file(message: &str, path: &Path, file: usize) -> Option<Spot> {
    let rest = message.strip_prefix(&*path.to_string_lossy())?;
    let mut parts = rest.strip_prefix(':')?.split(':');
    let line = parts.next()?.parse().ok()?;
    let column = parts.next()?.parse().ok()?;
    Some(Spot { file, line, column })
}

/// The place is shown in front of a finding already.
fn without_place(message: &str, place: &dyn Fn(&str) -> Option<Spot>) -> String {
    let is_place = |part: &str| part.trim_start_matches(char::is_numeric).is_empty();
    let mut parts = message.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(line), Some(column), Some(rest))
            if is_place(line) && is_place(column) && place(message).is_some() =>
        {
            rest.trim_start().to_owned()
        }
        _ => message.to_owned(),
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

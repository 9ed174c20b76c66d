//! Reads the configuration file again: a new plan for the run that is under way, or why the old one stays.

use std::path::{Path, PathBuf};

use crate::options::Settings;
use crate::options::config;
use crate::options::table::OPTIONS;
use crate::plan::Plan;
use crate::plan::reload::Reload;

/// Options that can change while the child runs: everything about the stop, and nothing about the
/// child, the listeners and what stepdown tells. `Plan::reloaded` takes over the same.
const RELOADED: [&str; 17] = [
    "ladder",
    "stop-signal",
    "grace",
    "deadline",
    "no-kill",
    "max-runtime",
    "stop-on",
    "escalate-on",
    "rewrite",
    "target",
    "pre-stop",
    "post-stop",
    "hook-timeout",
    "stragglers",
    "sweep-grace",
    "success-exit",
    "clean-stop",
];

pub(super) fn is_reloaded(option: &str) -> bool {
    RELOADED.contains(&option) || option.starts_with("drain-")
}

/// Knows what the run was started with.
#[derive(Clone, Debug)]
pub(crate) struct Reloader {
    settings: Settings,
    path: PathBuf,
    /// What was read last, until the machine has taken it.
    read: Option<Settings>,
}

impl Reloader {
    /// `None` where no file was named. To be called before the directory is left.
    pub(crate) fn new(settings: &Settings) -> Option<Self> {
        let path = settings.file("config")?.path;
        Some(Self {
            settings: settings.clone(),
            path,
            read: None,
        })
    }

    /// Reads the file again.
    ///
    /// # Errors
    /// Why the plan stays as it is.
    pub(crate) fn read(&mut self, running: &Plan) -> Result<Reload, String> {
        let fresh = self.settings_of(&self.path).map_err(first_line)?;
        let plan = fresh
            .plan()
            .map_err(|error| first_line(error.to_string()))?;
        let differs = |name: &&str| !self.settings.says_the_same(&fresh, name);
        if let Some((_, why)) = fresh.missed(&plan).find(|(name, _)| differs(name)) {
            return Err(why);
        }
        let plan = running.reloaded(plan).map_err(str::to_owned)?;
        let names = || OPTIONS.iter().map(|option| option.name).filter(differs);
        let reload = Reload {
            plan,
            changed: names().filter(|name| is_reloaded(name)).collect(),
            needs_restart: names().filter(|name| !is_reloaded(name)).collect(),
        };
        self.read = Some(fresh);
        Ok(reload)
    }

    fn settings_of(&self, path: &Path) -> Result<Settings, String> {
        let mut settings = self.settings.without_file();
        config::add(&mut settings, path).map_err(|error| error.to_string())?;
        Ok(settings)
    }

    /// What was read last counts now.
    pub(crate) fn adopt(&mut self) {
        if let Some(read) = self.read.take() {
            self.settings = read;
        }
    }
}

/// A log is read by the line: the text that the first one points into is in the file.
fn first_line(message: String) -> String {
    message.lines().next().map(str::to_owned).unwrap_or(message)
}

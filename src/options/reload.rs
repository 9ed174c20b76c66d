//! Reads the configuration file again: a new plan for the run that is under way, or why the old one stays.

use std::path::{Path, PathBuf};

use super::config::CONFIG;
use super::settings::Settings;
use super::{OPTIONS, toml_file};
use crate::plan::Plan;
use crate::plan::reload::Reload;

/// Knows what the run was started with.
#[derive(Clone, Debug)]
pub(crate) struct Reloader {
    /// What only a restart changes still is as it was then.
    started: Settings,
    settings: Settings,
    path: PathBuf,
    /// What was read last, until the machine has taken it.
    read: Option<Settings>,
}

impl Reloader {
    /// `None` where no file was named. To be called before the directory is left.
    pub(crate) fn new(settings: &Settings) -> Option<Self> {
        let path = settings.file(&CONFIG)?.path;
        Some(Self {
            started: settings.clone(),
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
        let changed = OPTIONS
            .iter()
            .filter(|option| !self.settings.says_the_same(&fresh, option));
        let changed: Vec<_> = changed.copied().collect();
        if let Some((_, why)) = fresh
            .missed(&plan)
            .find(|(option, _)| changed.contains(option))
        {
            return Err(why);
        }
        let (reloaded_now, others): (Vec<_>, Vec<_>) = changed
            .into_iter()
            .partition(|option| option.reload.is_some());
        let needs_restart = others
            .into_iter()
            .filter(|option| !self.started.says_the_same(&fresh, option));
        let reload = Reload {
            plan: reloaded(running, &plan)?,
            changed: reloaded_now.iter().map(|option| option.name).collect(),
            needs_restart: needs_restart.map(|option| option.name).collect(),
        };
        self.read = Some(fresh);
        Ok(reload)
    }

    fn settings_of(&self, path: &Path) -> Result<Settings, String> {
        let mut settings = self.settings.without_file();
        toml_file::add(&mut settings, path).map_err(|error| error.to_string())?;
        Ok(settings)
    }

    /// What was read last counts now.
    pub(crate) fn adopt(&mut self) {
        if let Some(read) = self.read.take() {
            self.settings = read;
        }
    }
}

/// The plan of the run that is under way, with all that can change taken from another one.
///
/// # Errors
/// The child that runs was not started for such a stop.
pub(crate) fn reloaded(running: &Plan, fresh: &Plan) -> Result<Plan, &'static str> {
    let mut plan = running.clone();
    for take_over in OPTIONS.iter().filter_map(|option| option.reload) {
        take_over(&mut plan, fresh)?;
    }
    Ok(plan)
}

/// A log is read by the line: the text that the first one points into is in the file.
fn first_line(message: String) -> String {
    message.lines().next().map(str::to_owned).unwrap_or(message)
}

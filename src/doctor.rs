//! `stepdown doctor`: says of running processes, before anybody stops them, whether they will stop, and why not.
//!
//! It reads /proc and asks container engines; it sends no signal and changes nothing.

mod engine;
#[cfg(test)]
pub(crate) mod fuzz;
mod gather;
mod init;
mod json;
mod target;
mod text;

use std::ffi::OsString;
use std::time::Duration;

use crate::diagnosis::before;
use crate::diagnosis::snapshot::Snapshot;
use crate::diagnosis::verdict::{Diagnosis, Verdict};
use crate::options::{Elsewhere, Settings, parse_duration, parse_signal};
use crate::sys;
use crate::words::fault::{Error, Fault};
use crate::words::signal::Signal;
use target::Target;

/// Reads the command line and the environment of another stepdown, tini, dumb-init or catatonit; `None` where it
/// runs no command.
pub(crate) type ReadLine =
    fn(Vec<OsString>, Vec<(OsString, OsString)>, Elsewhere) -> Result<Option<Settings>, String>;

/// What `stepdown doctor` is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Examination {
    names: Vec<String>,
    signal: Option<Signal>,
    grace: Option<Duration>,
    json: bool,
}

/// One target with what is found about it.
struct Examined {
    target: Target,
    snapshot: Snapshot,
    diagnosis: Diagnosis,
    /// What did not show, and what would show it.
    unseen: Vec<String>,
}

/// The signal where nobody says another one.
const USUAL: Signal = Signal::TERM;

impl Examination {
    /// # Errors
    /// A signal or a duration is not valid, or nothing says what to look at.
    pub(crate) fn parse(
        names: Vec<String>,
        signal: Option<&str>,
        grace: Option<&str>,
        json: bool,
    ) -> Result<Self, Error> {
        let signal = signal.map(|text| ending(parse_signal(text)?)).transpose();
        let grace = grace.map(parse_duration).transpose();
        let names_all = names.is_empty() && !target::is_in_container();
        if names_all {
            let fault = Fault::new("nothing to look at: this is no container");
            let way_out =
                "name a process, its pid, or a container: stepdown doctor web (see --help)";
            return Err(Error::new("doctor", fault.way_out(way_out)));
        }
        if names.iter().any(String::is_empty) {
            let fault = Fault::new("an empty name");
            return Err(Error::new(
                "doctor",
                fault.way_out("name a pid, a container or a program"),
            ));
        }
        Ok(Self {
            names,
            signal: signal.map_err(|fault| Error::new("--signal", fault))?,
            grace: grace.map_err(|fault| Error::new("--grace", fault))?,
            json,
        })
    }

    /// Looks and tells. The exit code is 0 where all will stop, 1 where one will not, 125 where one cannot be seen.
    ///
    /// # Errors
    /// /proc does not show the processes of our namespace.
    pub(crate) fn examine(&self, read: ReadLine) -> Result<u8, String> {
        sys::descriptors::occupy_closed_streams();
        gather::has_proc()?;
        let mut targets = Vec::new();
        let mut failed: Vec<(String, String)> = Vec::new();
        if self.names.is_empty() {
            targets.push(Target::own_namespace());
        }
        for name in &self.names {
            match target::find(name) {
                Ok(found) => targets.extend(found),
                Err(why) => failed.push((name.clone(), why)),
            }
        }
        let mut examined: Vec<Examined> = Vec::new();
        for target in targets {
            // Named twice, by its pid and by its name.
            if examined
                .iter()
                .any(|other| other.target.root == target.root)
            {
                continue;
            }
            match self.look(target, read) {
                Ok(one) => examined.push(one),
                Err((name, why)) => failed.push((name, why)),
            }
        }
        let text = if self.json {
            json::document(&examined, &failed, verdict(&examined, &failed))
        } else {
            text::report(&examined)
        };
        let printed = if text.is_empty() {
            0
        } else {
            sys::stdout::print(&text)
        };
        if !self.json {
            for (name, why) in &failed {
                let line = format!("stepdown doctor: {}: {why}\n", name.escape_debug());
                sys::stderr::write(line.as_bytes());
            }
        }
        Ok(match verdict(&examined, &failed) {
            _ if printed != 0 => printed,
            Verdict::Stops => 0,
            Verdict::StopsNot => 1,
            Verdict::Unclear => 125,
        })
    }

    fn look(&self, mut target: Target, read: ReadLine) -> Result<Examined, (String, String)> {
        if let Some(signal) = self.signal {
            target.signal = Some((signal, "--signal".to_owned()));
        }
        if let Some(grace) = self.grace {
            target.grace = Some((grace, "the platform".to_owned(), "--grace".to_owned()));
        }
        let (snapshot, unseen) =
            gather::snapshot(&target, read).map_err(|why| (target.title.clone(), why))?;
        let diagnosis = before::judge(&snapshot);
        Ok(Examined {
            target,
            snapshot,
            diagnosis,
            unseen,
        })
    }
}

/// A signal that a stop can begin with.
fn ending(signal: Signal) -> Result<Signal, Fault> {
    let why = if signal.stops_a_process() {
        format!("{signal} does not end a process, it only stops it")
    } else if signal == Signal::KILL {
        "KILL reaches no program, so nothing is stopped in order".to_owned()
    } else {
        return Ok(signal);
    };
    Err(Fault::new(why).way_out("name the signal that asks for the end, for example TERM"))
}

/// The worst of all of them.
fn verdict(examined: &[Examined], failed: &[(String, String)]) -> Verdict {
    let is = |verdict| examined.iter().any(|one| one.diagnosis.verdict == verdict);
    if is(Verdict::StopsNot) {
        Verdict::StopsNot
    } else if is(Verdict::Unclear) || !failed.is_empty() {
        Verdict::Unclear
    } else {
        Verdict::Stops
    }
}

//! A replacement under load: requests come steadily, the signal that asks for it is sent, and once the one before has
//! ended and the last request is answered the run goes on to its stop.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::conductor::{Conductor, Lines, later};
use super::load::{self, PATIENCE};
use super::{CLOSING, Progress, RunInProgress};
use crate::check::fact::{FIRST, What};
use crate::check::history::LoadRequest;
use crate::check::options::Replace;
use crate::sys::{descriptors, error_text, fork, signals};
use crate::words::signal::Signal;

/// How long the load comes before the replacement is asked for, to compare with, and after it is over.
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_millis(500);

/// The process that makes the requests.
pub(super) struct Load {
    pub(super) pid: i32,
    pub(super) lines: Lines,
    /// Closed to end it.
    over: Option<OwnedFd>,
    requests: Vec<LoadRequest>,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Step {
    /// Until then nothing else happens.
    Before(Instant),
    /// It was asked for; by then it is over or is given up.
    Asked(Instant),
    /// Until then requests still come.
    After(Instant),
    /// No more come; by then the last one has ended.
    Closing(Instant),
}

impl Step {
    pub(super) fn due(self) -> Instant {
        match self {
            Self::Before(at) | Self::Asked(at) | Self::After(at) | Self::Closing(at) => at,
        }
    }
}

impl RunInProgress<'_> {
    pub(super) fn open_load(&mut self, conductor: &Conductor, replace: &Replace) {
        match self.load(conductor, replace) {
            Ok(load) => {
                self.load = Some(load);
                self.progress = Progress::Replacing(Step::Before(Instant::now() + BEFORE));
            }
            Err(errno) => {
                let why = format!("no process for the requests: {}", error_text(errno));
                self.history.impossible.get_or_insert(why);
                self.progress = Progress::Sent;
                self.ask();
            }
        }
    }

    fn load(&self, conductor: &Conductor, replace: &Replace) -> Result<Load, i32> {
        let pipe = || descriptors::pipe().map_err(|errno| errno as i32);
        let (from, to) = pipe()?;
        let (ends, over) = pipe()?;
        let lines = Lines::new(from, conductor);
        let lines = lines.map_err(|error| error.raw_os_error().unwrap_or(0))?;
        let conductor = nix::unistd::getpid();
        let (request, began) = (&replace.request, self.began);
        let mut over = Some(over);
        let pid = fork::copy(|| {
            // Only the other one's counts.
            drop(over.take());
            let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
            if nix::unistd::getppid() != conductor {
                return 0;
            }
            load::client(request, began, ends, &to)
        })?;
        Ok(Load {
            pid,
            lines,
            over,
            requests: Vec::new(),
        })
    }

    /// Goes on where it is time to.
    pub(super) fn go_on_replacing(&mut self, step: Step, now: Instant) {
        let load = self.load.as_ref();
        let is_over = load.is_none_or(|load| load.lines.from.is_none());
        let next = match step {
            Step::Closing(at) if is_over || now >= at => {
                self.progress = Progress::Due(now);
                return;
            }
            Step::Before(at) if now >= at => {
                self.history.replace_asked = Some(self.began.elapsed());
                if let Some(replace) = &self.check.replace {
                    let _ = signals::send(self.stage, replace.signal);
                }
                Step::Asked(later(
                    later(now, self.check.moment.patience),
                    self.check.limit,
                ))
            }
            Step::Asked(at) if now >= at => Step::After(now),
            Step::After(at) if now >= at => {
                if let Some(load) = &mut self.load {
                    load.over = None;
                }
                Step::Closing(now + PATIENCE + CLOSING)
            }
            step => step,
        };
        self.progress = Progress::Replacing(next);
    }

    /// What a fact means to the replacement.
    pub(super) fn take_fact_of_replacement(&mut self, what: &What, text: &str) {
        let Progress::Replacing(Step::Asked(_)) = self.progress else {
            return;
        };
        let is_over = match what {
            What::Of { generation, what } => *generation == FIRST && **what == What::Ended,
            What::ReplaceFailed => true,
            _ => false,
        };
        if is_over {
            self.progress = Progress::Replacing(Step::After(Instant::now() + AFTER));
        }
        if *what == What::Restarted {
            let told = self.history.facts.iter().rev();
            let mut told = told.map(|fact| fact.text.as_str());
            let why = told.find(|text| text.starts_with("--replace-on: "));
            let why = why.unwrap_or(text).to_owned();
            self.history.impossible.get_or_insert(why);
            self.progress = Progress::Sent;
            self.ask();
        }
    }

    pub(super) fn read_load(&mut self) {
        if let Some(load) = &mut self.load {
            let requests = &mut load.requests;
            load.lines
                .read(|line| requests.extend(serde_json::from_slice::<LoadRequest>(line)));
        }
    }

    /// Ends the load, and keeps what it has told.
    pub(super) fn end_load(&mut self) {
        self.read_load();
        if let Some(load) = &mut self.load {
            let _ = signals::send(load.pid, Signal::KILL);
            self.history.load = Some(std::mem::take(&mut load.requests));
        }
    }
}

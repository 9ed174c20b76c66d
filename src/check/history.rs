//! All that is known about one run, and what can be read from it. No clock, no syscall.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::check::fact::{Fact, LeftProcess, What};

/// How the requests ended that were open when the signal was sent.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct RequestTotals {
    pub(crate) open: u32,
    pub(crate) complete: u32,
    /// Those whose answer ended with the connection, and may have been cut off.
    pub(crate) unclear: u32,
    /// Why the others were not completed.
    pub(crate) broken: Vec<String>,
    /// Why fewer could be opened.
    pub(crate) refused: Option<String>,
}

/// A request of the load under which it was replaced.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct LoadRequest {
    /// Since the run began, in microseconds.
    pub(crate) began: u64,
    pub(crate) took: u64,
    pub(crate) failed: Option<Failed>,
    /// It was answered, and the answer ended with the connection: it may have been cut off.
    pub(crate) unclear: bool,
}

/// How a request has failed, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Failed {
    /// There was no connection.
    Refused(String),
    /// There was one, and no answer on it.
    Lost(String),
}

/// What a stop consists of, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// Hooks and drain: before anything was sent to the command.
    Before,
    /// Until the command had ended.
    Ladder,
    /// The same if it did not end: until KILL.
    Vain,
    /// From KILL to the end of the command.
    Kill,
    /// What it left.
    Left,
    /// The post-stop hooks.
    After,
}

/// All that is known about one run.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct History {
    pub(crate) facts: Vec<Fact>,
    /// When the signal was sent, since the run began.
    pub(crate) sent: Option<Duration>,
    pub(crate) requests: Option<RequestTotals>,
    /// When the replacement was asked for, since the run began.
    pub(crate) replace_asked: Option<Duration>,
    pub(crate) load: Option<Vec<LoadRequest>>,
    /// The last lines of the command's output.
    pub(crate) output: Vec<String>,
    /// How long it was waited for the command to be ready, and for what, if it never was.
    pub(crate) never_ready: Option<(Duration, String)>,
    /// Processes that were still there when the machine had ended, and were killed.
    pub(crate) remained: Vec<LeftProcess>,
    /// Ports that are to be free at the end, and that nobody listened on before the stop.
    pub(crate) idle_ports: Vec<u16>,
    /// Containers that are to be gone at the end, and that did not run before the stop.
    pub(crate) absent: Vec<String>,
    /// Why nothing can be said about the run.
    pub(crate) impossible: Option<String>,
    pub(crate) interrupted: bool,
}

impl History {
    /// The first fact of this kind, and when it was.
    pub(crate) fn find<T>(&self, wanted: impl Fn(&What) -> Option<T>) -> Option<(Duration, T)> {
        let find = |fact: &Fact| wanted(&fact.what).map(|found| (fact.at(), found));
        self.facts.iter().find_map(find)
    }

    pub(crate) fn time_of(&self, wanted: &What) -> Option<Duration> {
        self.find(|what| (what == wanted).then_some(()))
            .map(|(at, ())| at)
    }

    pub(crate) fn started(&self) -> Option<(Duration, i32)> {
        self.find(|what| match what {
            What::Started { pid } => Some(*pid),
            _ => None,
        })
    }

    /// The process that the stop was for.
    pub(crate) fn main_pid(&self) -> i32 {
        let replaced = self.find(|what| match what {
            What::Replaced { pid, .. } => *pid,
            _ => None,
        });
        replaced
            .or_else(|| self.started())
            .map_or(0, |(_, pid)| pid)
    }

    /// When the child ended, with which code, and of which signal.
    pub(crate) fn exited(&self) -> Option<(Duration, (u8, Option<i32>))> {
        self.find(|what| match what {
            What::Exited { code, signal } => Some((*code, *signal)),
            _ => None,
        })
    }

    /// When the stop was asked for; a request that came after the child's end stopped nothing.
    pub(crate) fn asked(&self) -> Option<Duration> {
        let asked = self.time_of(&What::StopAsked)?;
        let exited = self.exited().map(|(at, _)| at);
        exited.is_none_or(|exited| asked <= exited).then_some(asked)
    }

    /// When KILL was needed for the child.
    pub(crate) fn killed(&self) -> Option<Duration> {
        self.time_of(&What::Step { kill: true })
    }

    pub(crate) fn ended(&self) -> Option<Duration> {
        self.time_of(&What::Ended)
    }

    /// Where the time of the stop has gone.
    pub(crate) fn parts(&self) -> Vec<(Part, Duration)> {
        let Some((asked, ended)) = self.asked().zip(self.ended()) else {
            return Vec::new();
        };
        let exited = self.exited().map_or(ended, |(at, _)| at);
        let first_step = self.first_step().unwrap_or(asked).min(exited);
        let killed = self.killed().map(|at| at.min(exited));
        let swept = self.swept().map(|(from, to)| to.saturating_sub(from));
        let mut parts = vec![(Part::Before, first_step.saturating_sub(asked))];
        match killed {
            None => parts.push((Part::Ladder, exited.saturating_sub(first_step))),
            Some(killed) => parts.extend([
                (Part::Vain, killed.saturating_sub(first_step)),
                (Part::Kill, exited.saturating_sub(killed)),
            ]),
        }
        parts.extend(swept.map(|swept| (Part::Left, swept)));
        let hooks = self.post_stop_began();
        parts.extend(hooks.map(|began| (Part::After, ended.saturating_sub(began))));
        // The moment between two records is not a phase.
        parts.retain(|(part, took)| *part != Part::Before || *took >= Duration::from_millis(1));
        parts
    }

    /// When the first step of the ladder was taken: hooks and drain were over.
    fn first_step(&self) -> Option<Duration> {
        let step = |what: &What| matches!(what, What::Step { .. }).then_some(());
        self.find(step).map(|(at, ())| at)
    }

    /// From the end of the child to the end of what it left, if it left anything: then the post-stop hooks begin.
    pub(crate) fn swept(&self) -> Option<(Duration, Duration)> {
        let (exited, _) = self.exited()?;
        let mut after = self.facts.iter().filter(|fact| fact.at() >= exited);
        after.find(|fact| matches!(fact.what, What::Left { .. }))?;
        Some((exited, self.post_stop_began().or_else(|| self.ended())?))
    }

    fn post_stop_began(&self) -> Option<Duration> {
        let hook = |what: &What| matches!(what, What::PostStop { .. }).then_some(());
        self.find(hook).map(|(at, ())| at)
    }

    /// The post-stop hook that took longest: until the next one began, or all was over.
    pub(crate) fn longest_post_stop(&self) -> Option<(&str, Duration)> {
        let mut until = self.ended()?;
        let mut hooks = Vec::new();
        for fact in self.facts.iter().rev() {
            if let What::PostStop { hook } = &fact.what {
                hooks.push((hook.as_str(), until.saturating_sub(fact.at())));
                until = fact.at();
            }
        }
        hooks.into_iter().max_by_key(|(_, took)| *took)
    }

    /// From the request to stop to the end of everything.
    pub(crate) fn took(&self) -> Option<Duration> {
        Some(self.ended()?.saturating_sub(self.asked()?))
    }

    /// From the request to stop until the child had ended.
    pub(crate) fn exit_took(&self) -> Option<Duration> {
        Some(self.exited()?.0.saturating_sub(self.asked()?))
    }

    /// Which processes were left when the child had ended, each once.
    pub(crate) fn left(&self) -> Vec<LeftProcess> {
        let exited = self.exited().map(|(at, _)| at);
        let mut all: Vec<LeftProcess> = Vec::new();
        for fact in &self.facts {
            if let What::Left { processes, .. } = &fact.what
                && exited.is_some_and(|exited| fact.at() >= exited)
            {
                all.extend(processes.iter().cloned());
            }
        }
        all.extend(self.remained.iter().cloned());
        let mut seen = Vec::new();
        all.retain(|left| {
            // Containers have no pid here.
            let fresh = left.pid == 0 || !seen.contains(&left.pid);
            seen.push(left.pid);
            fresh
        });
        all
    }
}

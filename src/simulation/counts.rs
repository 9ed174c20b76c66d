//! What was really reached: without it nobody knows how much a run of the simulation is worth.

use std::fmt;
use std::time::Duration;

use super::world::Seen;
use crate::machine::{Action, Event};
use crate::plan::{Left, Plan, Step};
use crate::record::{DrainEnd, HookResult, Reason, Record, RestartReason};

macro_rules! features {
    ($($name:ident: $words:literal,)*) => {
        /// In how many runs something happened.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub(super) struct Features {
            $(pub(super) $name: u64,)*
        }

        impl Features {
            fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$(($words, self.$name),)*]
            }

            /// At most once for each run.
            fn add(&mut self, other: &Self) {
                $(self.$name += other.$name.min(1);)*
            }
        }
    };
}

features! {
    pid1: "as PID 1",
    deadlines: "with --deadline",
    stops: "a stop was asked for",
    by_itself: "the command ended by itself",
    start_failed: "the command could not be started",
    waits: "something was waited for before the start",
    not_ready_in_time: "the command was not ready in time",
    hooks: "hooks ran",
    hooks_failed: "a hook failed",
    hooks_timed_out: "a hook used up its time",
    hooks_not_started: "a hook could not be started",
    drains: "requests were drained",
    drains_timed_out: "a drain used up its time",
    steps: "the ladder was begun",
    later_steps: "the second step or a later one was taken",
    stop_commands: "a stop command ran",
    kills: "KILL was a step that was taken",
    escalated: "a further request took the next step",
    asked_again: "a further request came",
    forwarded: "a signal was forwarded",
    stopped: "the command was stopped on a terminal",
    sweeps: "something was left and was asked to end",
    sweeps_killed: "something was left and got KILL",
    left: "not even KILL ended something",
    leaves: "--left leave left something",
    long: "a long history",
    restarts: "the command was restarted",
    lives: "the command lived five times or more",
    gave_up: "--restart-limit was reached",
    restarts_asked: "a signal asked for a restart",
    replaced: "a replacement took over",
    replacements_failed: "a replacement failed",
    handed_over: "the command handed over (--main-pid)",
    heir_awaited: "the next main process was waited for",
    unhealthy: "the command hung (--live-when)",
    aborted: "a watchdog was missed",
    max_runtime: "--max-runtime was over",
    parent_died: "the parent died",
    reloaded: "the file was read again",
    reload_refused: "the file could not be read again, or came too late",
    extended: "the command asked for more time",
    out_of_memory: "the kernel killed for lack of memory",
    jumps: "the clock jumped",
    bursts: "several signals came at once",
    stuck: "a process hung in the kernel",
    no_kill: "with --no-kill",
    escaped: "a process escaped (--subreaper=off)",
}

/// See the module's first sentence.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) runs: u64,
    pub(super) events: u64,
    pub(super) actions: u64,
    pub(super) records: u64,
    /// Runs that were ended because they would have gone on for ever.
    pub(super) unfinished: u64,
    pub(super) time: Duration,
    pub(super) features: Features,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.events += other.events;
        self.actions += other.actions;
        self.records += other.records;
        self.unfinished += other.unfinished;
        self.time = self.time.saturating_add(other.time);
        self.features.add(&other.features);
    }

    pub(super) fn event(&mut self, event: &Event) {
        self.events += 1;
        let features = &mut self.features;
        match event.itself() {
            Event::ParentDied => features.parent_died += 1,
            Event::ChildStopped { .. } => features.stopped += 1,
            _ => {}
        }
    }

    pub(super) fn action(&mut self, action: &Action) {
        match action {
            Action::Record(_) => self.records += 1,
            _ => self.actions += 1,
        }
        match action {
            Action::WaitFor { .. } => self.features.waits += 1,
            Action::RunStopCommand { .. } => self.features.stop_commands += 1,
            _ => {}
        }
    }

    pub(super) fn record(&mut self, record: &Record) {
        let features = &mut self.features;
        match record.addressed().1 {
            Record::StopAsked { reason, .. } => match reason {
                Reason::MaxRuntime => features.max_runtime += 1,
                Reason::Unhealthy => features.unhealthy += 1,
                Reason::Restart => features.restarts_asked += 1,
                Reason::StartFailed => features.not_ready_in_time += 1,
                _ => features.stops += 1,
            },
            Record::StartFailed(_) => features.start_failed += 1,
            Record::ChildExited { step: None, .. } => features.by_itself += 1,
            Record::HookEnded { result, .. } => {
                features.hooks += 1;
                features.hooks_failed += u64::from(!result.is_success());
                match result {
                    HookResult::TimedOut => features.hooks_timed_out += 1,
                    HookResult::Failed(_) => features.hooks_not_started += 1,
                    _ => {}
                }
            }
            Record::DrainEnded { end, .. } => {
                features.drains += 1;
                features.drains_timed_out +=
                    u64::from(matches!(end, DrainEnd::TimedOut | DrainEnd::Deadline));
            }
            Record::Step { step, signal, .. } => {
                features.steps += 1;
                features.later_steps += u64::from(*step > 1);
                let is_kill = *signal == Some(crate::words::signal::Signal::KILL);
                features.kills += u64::from(is_kill);
            }
            Record::Escalated { .. } => features.escalated += 1,
            Record::AskedAgain { .. } => features.asked_again += 1,
            Record::Forwarded { .. } => features.forwarded += 1,
            Record::Swept { signal, .. } => {
                let is_kill = *signal == crate::words::signal::Signal::KILL;
                features.sweeps += u64::from(!is_kill);
                features.sweeps_killed += u64::from(is_kill);
            }
            Record::ChildLeft { .. } | Record::SweepEnded { left: true, .. } => features.left += 1,
            Record::GenerationEnded { restart, .. } => {
                features.restarts += u64::from(*restart != RestartReason::Asked);
            }
            Record::GenerationBegan { generation } | Record::ReplaceBegan { generation, .. } => {
                features.lives += u64::from(*generation >= 5);
            }
            Record::GaveUp { .. } => features.gave_up += 1,
            Record::Replaced { .. } => features.replaced += 1,
            Record::ReplaceFailed { .. } | Record::ReplaceRefused { .. } => {
                features.replacements_failed += 1;
            }
            Record::HandedOver { .. } => features.handed_over += 1,
            Record::HeirAwaited { .. } => features.heir_awaited += 1,
            Record::Aborted { .. } => features.aborted += 1,
            Record::Reloaded { .. } => features.reloaded += 1,
            Record::ReloadRefused { .. } => features.reload_refused += 1,
            Record::Extended { .. } => features.extended += 1,
            Record::OomKilled { .. } => features.out_of_memory += 1,
            _ => {}
        }
    }

    /// The run is over.
    pub(super) fn ends(&mut self, plan: &Plan, at: Duration, seen: Seen, escaped: bool) {
        self.runs = 1;
        self.time = at;
        let features = &mut self.features;
        features.pid1 = u64::from(plan.as_pid1);
        features.deadlines = u64::from(plan.deadline.is_some());
        features.leaves = u64::from(plan.left == Left::Leave);
        features.no_kill = u64::from(!plan.ladder.last().is_some_and(Step::is_kill));
        features.jumps = u64::from(seen.jumps);
        features.bursts = u64::from(seen.bursts);
        features.stuck = u64::from(seen.stuck);
        features.long = u64::from(seen.long);
        features.escaped = u64::from(escaped);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.time.as_secs() / 86_400;
        writeln!(
            f,
            "{} runs, {} events, {} records, {} actions, {days} days of made-up time",
            self.runs, self.events, self.records, self.actions
        )?;
        for (words, runs) in self.features.all() {
            let share = runs as f64 * 100.0 / self.runs.max(1) as f64;
            writeln!(f, "{share:>8.2} %  {words}")?;
        }
        Ok(())
    }
}

//! Runs the hooks of each phase in order, each within its timeout, with the facts in their
//! environment.

use std::time::Duration;

use super::{Action, Facts, HookId, Life, Machine, Phase};
use crate::plan::budget::total;
use crate::plan::{Hook, HookPhase, Left, OnFailure};
use crate::record::{ExitStatus, HookResult, Reason, Record, StartFailure};
use crate::words::signal::Signal;

impl Machine {
    pub(super) fn enter_pre_stop(&mut self, now: Duration, hook: usize) {
        if hook < self.plan.pre_stop.len() {
            self.run_hook(
                now,
                HookPhase::PreStop,
                hook,
                self.stop.limits.map(|l| l.ladder_by),
            );
        } else {
            self.enter_drain(now);
        }
    }

    pub(super) fn enter_post_stop(&mut self, now: Duration, hook: usize) {
        // With --no-kill the child that is still there would be hit by the sweep.
        let spared = matches!(self.child.life, Life::Left(_)) && !self.may_kill();
        if hook < self.plan.post_stop.len() {
            let share = self.post_stop_share(now, hook);
            self.run_hook(now, HookPhase::PostStop, hook, share);
        } else if self.none_left || spared || self.plan.left == Left::Leave {
            self.enter_flush(now);
        } else {
            self.enter(now, Phase::LastSweep(None), Some(now));
        }
    }

    /// When a post-stop hook must have ended: where time is too short for all, each gets its share, so
    /// that one that hangs does not take the others' time.
    fn post_stop_share(&self, now: Duration, hook: usize) -> Option<Duration> {
        let gone_by = self.stop.limits?.gone_by;
        let left = gone_by.saturating_sub(now);
        let mut timeouts = self.plan.post_stop.iter().map(|hook| hook.timeout);
        let own = timeouts.nth(hook).unwrap_or_default();
        let all = own.saturating_add(total(timeouts));
        if all <= left {
            return Some(gone_by);
        }
        let share = left.as_secs_f64() * (own.as_secs_f64() / all.as_secs_f64());
        let share = Duration::try_from_secs_f64(share).unwrap_or(left);
        Some(now.saturating_add(share.min(left)))
    }

    pub(super) fn current_hook(&self) -> Option<HookId> {
        let (phase, index) = match self.phase {
            Phase::PreStart { hook, .. } => (HookPhase::PreStart, hook),
            Phase::PreStop { hook } => (HookPhase::PreStop, hook),
            Phase::PostStop { hook } => (HookPhase::PostStop, hook),
            _ => return None,
        };
        Some(HookId { phase, index })
    }

    fn hook(&self, id: HookId) -> Option<&Hook> {
        self.plan.hooks(id.phase).get(id.index)
    }

    fn hook_name(&self, id: HookId) -> String {
        self.hook(id)
            .map(|hook| hook.name.clone())
            .unwrap_or_default()
    }

    pub(super) fn run_hook(
        &mut self,
        now: Duration,
        phase: HookPhase,
        index: usize,
        limit: Option<Duration>,
    ) {
        let id = HookId { phase, index };
        let timeout = self.hook(id).map_or(Duration::ZERO, |hook| hook.timeout);
        let until = now.saturating_add(timeout);
        let until = limit.map_or(until, |limit| limit.min(until));
        let at = match phase {
            HookPhase::PreStart => Phase::PreStart {
                hook: index,
                kept: self.take_kept(),
            },
            HookPhase::PreStop => Phase::PreStop { hook: index },
            HookPhase::PostStop => Phase::PostStop { hook: index },
        };
        self.enter(now, at, Some(until));
        if limit.is_some_and(|limit| now >= limit) && phase != HookPhase::PostStop {
            return self.hook_ended(now, HookResult::Skipped);
        }
        self.none_left = false;
        let name = self.hook_name(id);
        self.tell(Record::HookStarted { phase, name });
        let facts = self.facts(now, phase.name());
        self.act(Action::RunHook { hook: id, facts });
    }

    pub(super) fn end_hook(&mut self, now: Duration, result: HookResult) {
        if let Some(hook) = self.current_hook() {
            self.act(Action::EndHook(hook));
        }
        self.hook_ended(now, result);
    }

    pub(super) fn record_hook(&mut self, now: Duration, result: HookResult) {
        let Some(id) = self.current_hook() else {
            return;
        };
        let name = self.hook_name(id);
        let took = now.saturating_sub(self.since);
        self.tell(Record::HookEnded {
            phase: id.phase,
            name,
            result,
            took,
        });
    }

    pub(super) fn hook_ended(&mut self, now: Duration, result: HookResult) {
        let Some(id) = self.current_hook() else {
            return;
        };
        let failed = !result.is_success();
        let fails = self
            .hook(id)
            .is_some_and(|hook| hook.on_failure == OnFailure::Fail);
        self.record_hook(now, result);
        match id.phase {
            HookPhase::PreStart if self.stop.begun.is_some() => self.enter_sweep(now),
            HookPhase::PreStart if failed && fails => {
                let name = self.hook_name(id);
                let message = format!("not started: the pre-start hook {name:?} failed");
                self.start_failed(now, StartFailure { code: 125, message });
            }
            HookPhase::PreStart => self.enter_pre_start(now, id.index + 1),
            HookPhase::PreStop => self.enter_pre_stop(now, id.index + 1),
            HookPhase::PostStop => self.enter_post_stop(now, id.index + 1),
        }
    }

    pub(super) fn facts(&self, now: Duration, phase: &'static str) -> Facts {
        let ended = phase == HookPhase::PostStop.name();
        let begun = self.stop.begun;
        let received = begun.and_then(|begun| begun.received);
        Facts {
            phase,
            reason: begun.map(|begun| begun.reason),
            signal: received.map(|received| received.signal),
            sender: received.map(|received| received.sender),
            child: self.child.pid(),
            status: self.child.status(),
            escalated: self.needed_kill(),
            remaining: self
                .stop
                .limits
                .map(|limits| limits.gone_by.saturating_sub(now)),
            result: ended.then(|| self.service_result(now)),
            generation: self.generation,
        }
    }

    /// systemd.exec(5), "Environment Variables Set on Process Invocation".
    fn service_result(&self, now: Duration) -> &'static str {
        if self.child.failure.is_some() {
            return match self.child.life {
                Life::NotStarted => "resources",
                // It was started, and was not ready in time.
                _ => "timeout",
            };
        }
        let begun = self.stop.begun;
        if begun.is_some_and(|begun| begun.reason == Reason::Unhealthy) {
            return "watchdog";
        }
        let timed_out = begun.is_some_and(|begun| begun.reason == Reason::MaxRuntime);
        if timed_out || self.needed_kill() {
            return "timeout";
        }
        match self.child.life {
            _ if self.outcome(now).code == 0 => "success",
            Life::Ended(_, ExitStatus::Exited(_)) => "exit-code",
            Life::Ended(_, ExitStatus::Killed { core: true, .. }) => "core-dump",
            // systemd.service(5): HUP, INT, TERM and PIPE are a clean death.
            Life::Ended(_, ExitStatus::Killed { signal, .. })
                if [Signal::HUP, Signal::INT, Signal::TERM, Signal::PIPE].contains(&signal) =>
            {
                "success"
            }
            Life::Ended(_, ExitStatus::Killed { signal, .. })
                if signal == Signal::KILL && self.child.out_of_memory =>
            {
                "oom-kill"
            }
            Life::Ended(..) => "signal",
            Life::NotStarted => "success",
            Life::Alive(_) | Life::Left(_) => "timeout",
        }
    }
}

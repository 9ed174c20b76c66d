//! Hands over: the main process has ended, and a descendant that was named is the child from now on.
//!
//! Whenever the main process ends, the world is asked who takes over. It answers at once, and again when that
//! changes. Until then what comes for the child is kept; a stop that is asked for meanwhile goes on as far as it can
//! without the child.

use std::time::Duration;

use super::{Action, Event, Life, Machine, Phase};
use crate::plan::Target;
use crate::record::{ExitStatus, Process, Reason, Record};
use crate::words::signal::SignalSet;

/// A main process that has handed over well exits with 0, and then the heir may still have to write its file: it has
/// so long, where `--ready-timeout` does not say it.
const PATIENCE: Duration = Duration::from_secs(10);

/// So long the ladder waits for its child: a stop is under way, and all that is left has to be told of it.
const PATIENCE_IN_STOP: Duration = Duration::from_secs(2);

/// The search for the heir.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Search {
    /// Until when it is waited for; none before the first answer.
    by: Option<Duration>,
    /// Why there is none yet.
    why: String,
    /// The signals that are meant for it.
    pub(super) kept: Vec<Event>,
}

impl Machine {
    /// Whether the heir of a main process that ends now takes its place. What survives KILL is swept.
    fn hands_over(&self) -> bool {
        let goes_on = match &self.phase {
            Phase::Running(_) | Phase::PreStop { .. } | Phase::Drain(_) | Phase::Abort => true,
            Phase::Ladder(ladder) => !self.is_kill(ladder.step),
            _ => false,
        };
        goes_on && self.plan.main_pid.is_some()
    }

    /// Its time is longer by so much.
    pub(super) fn put_off_heir(&mut self, after: Duration) {
        let search = self.child.search.as_mut();
        if let Some(by) = search.and_then(|search| search.by.as_mut()) {
            *by = by.saturating_add(after);
        }
    }

    /// The main process has ended; true where an heir is looked for.
    pub(super) fn looks_for_heir(&mut self) -> bool {
        if !self.hands_over() {
            return false;
        }
        self.child.search = Some(Search::default());
        self.act(Action::FindHeir);
        true
    }

    /// Until when the heir is waited for.
    pub(super) fn heir_by(&self) -> Option<Duration> {
        self.child.search.as_ref().and_then(|search| search.by)
    }

    pub(super) fn heir_found(&mut self, now: Duration, heir: Process, had: SignalSet) {
        let Life::Ended(from, status) = self.child.life else {
            return;
        };
        let Some(search) = self.child.search.take() else {
            return;
        };
        self.child.life = Life::Alive(heir.pid);
        self.forget_what_it_had(had);
        // What that one was sent has not ended this one.
        self.child.forwarded = None;
        self.tell(Record::HandedOver {
            from,
            status,
            pid: heir.pid,
            command: heir.command,
        });
        if matches!(self.phase, Phase::Running(_)) {
            self.look_at_heir(now);
        }
        for event in search.kept {
            self.handle(now, event);
        }
        match self.phase {
            Phase::AwaitHeir | Phase::Abort => self.take_step(now, 0),
            Phase::Ladder(_) => self.tell_heir(had),
            _ => {}
        }
    }

    /// What the one before was sent has not reached this one, unless it was for others as well.
    fn forget_what_it_had(&mut self, had: SignalSet) {
        let sent = self.stop.sent;
        self.stop.sent = match self.phase {
            // It may have had others as well, which were forwarded.
            Phase::Ladder(_) => sent.iter().filter(|signal| had.contains(*signal)).collect(),
            _ => SignalSet::default(),
        };
        if let Some(begun) = &mut self.stop.begun
            && let Some(received) = &mut begun.received
        {
            received.reached_child &= had.contains(received.signal);
        }
    }

    /// Who looks whether the child is ready or alive is told of the heir.
    fn look_at_heir(&mut self, now: Duration) {
        let Phase::Running(readiness) = &self.phase else {
            return;
        };
        let (ready, live) = (readiness.was_ready(), readiness.live.is_some());
        let awaits = !ready && self.plan.readiness.is_some();
        let live = live
            && self
                .plan
                .liveness
                .as_ref()
                .is_some_and(|l| l.watchdog().is_none());
        if awaits || live {
            self.act(Action::StopLooking);
        }
        if awaits {
            let facts = self.facts(now, "ready");
            self.act(Action::AwaitReady(facts));
        }
        if live {
            let facts = self.facts(now, "live");
            self.act(Action::Watch(facts));
        }
    }

    /// The step has ended the process before it: the heir gets its signal, too, and those that were passed on besides,
    /// unless it was among those that got them. The time of the step goes on, so that the stop is as long as the plan.
    fn tell_heir(&mut self, had: SignalSet) {
        let Phase::Ladder(ladder) = &self.phase else {
            return;
        };
        let Some(step) = self.plan.ladder.get(ladder.step) else {
            return;
        };
        let was_told = ladder.step >= self.told_in();
        let signals: SignalSet = self
            .signal_of(step)
            .into_iter()
            .chain(self.stop.requests.passed_on.iter())
            .collect();
        for signal in signals.iter().filter(|signal| !had.contains(*signal)) {
            self.send_to_stop(Target::Child, signal);
        }
        if was_told {
            self.pass_on_what_is_owed();
        }
    }

    /// There is no heir yet, and why.
    pub(super) fn no_heir(&mut self, now: Duration, why: String) {
        let Life::Ended(pid, status) = self.child.life else {
            return;
        };
        let Some(search) = &mut self.child.search else {
            return;
        };
        search.why.clone_from(&why);
        if search.by.is_some() {
            return;
        }
        let until_ready = match &self.phase {
            Phase::Running(readiness) => readiness.by,
            Phase::PreStop { .. } | Phase::Drain(_) => None,
            // It was told to end, and so it did.
            _ => return self.no_heir_comes(now),
        };
        // Who has failed has handed nothing over.
        if status != ExitStatus::Exited(0) {
            return self.no_heir_comes(now);
        }
        let by = until_ready.unwrap_or(now.saturating_add(PATIENCE));
        search.by = Some(by);
        let left = by.saturating_sub(now);
        self.tell(Record::HeirAwaited { pid, why, left });
    }

    /// The main process was the last one.
    pub(super) fn no_heir_comes(&mut self, now: Duration) {
        let Life::Ended(_, status) = self.child.life else {
            return;
        };
        let Some(search) = self.child.search.take() else {
            return;
        };
        self.act(Action::EndSearch);
        for event in &search.kept {
            if let Event::Signal(received) = event {
                let (signal, why) = (received.signal, "the child has ended");
                self.tell(Record::Dropped { signal, why });
            }
        }
        if search.by.is_some() || matches!(self.phase, Phase::AwaitHeir) {
            let main_pid = self.plan.main_pid.as_ref();
            let option = main_pid.map_or_else(String::new, |main| main.text.clone());
            let why = search.why;
            let message = format!("nobody has taken over (--main-pid {option}): {why}");
            self.tell(Record::Trouble { message });
        }
        self.child_has_ended(now, status);
    }

    /// A child that has exited with 0 and has left a server may be the parent of a daemon: once it is told what would
    /// make that the child. Under the name of a tool that does less nothing is said.
    pub(super) fn look_who_listens(&mut self) {
        let by_itself = self
            .stop
            .begun
            .is_some_and(|begun| begun.reason == Reason::Exit);
        let well = self.child.status() == Some(ExitStatus::Exited(0));
        let is_first = self.generation.is_none_or(|one| one.number == 1);
        let may_be_told = !self.plan.stop_on.is_empty() && self.plan.main_pid.is_none();
        if by_itself && well && is_first && may_be_told {
            self.act(Action::LookWhoListens);
        }
    }

    /// The ladder is to begin, and there is no child: its heir may be there in a moment.
    pub(super) fn without_child(&mut self, now: Duration) {
        let Some(search) = &self.child.search else {
            return self.enter_sweep(now);
        };
        // Of a ladder that has begun no step is taken twice.
        if matches!(self.phase, Phase::AwaitHeir | Phase::Ladder(_)) {
            return self.no_heir_comes(now);
        }
        let patience = now.saturating_add(PATIENCE_IN_STOP);
        let by = search.by.map_or(patience, |by| by.min(patience));
        let until = self.before(Some(by), |limits| limits.ladder_by);
        self.enter(now, Phase::AwaitHeir, until);
    }
}

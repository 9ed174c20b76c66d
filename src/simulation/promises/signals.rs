//! What became of a signal: all that is done and told until the machine waits again.

use super::life::Life;
use super::{Judge, Promise};
use crate::machine::Event;
use crate::plan::Plan;
use crate::record::{Again, Record};
use crate::words::signal::Signal;

/// What follows one event.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    received: Option<Signal>,
    /// Passed on by the world itself.
    passed_on: Option<Signal>,
    sent: Vec<Signal>,
    beyond: Vec<Signal>,
    /// What was sent beyond the group last, until that is told.
    untold: Option<Signal>,
    /// What is told as forwarded, and what else has the machine send a signal.
    forwarded: Vec<Signal>,
    named: Vec<Signal>,
    answers: u32,
    escalated: bool,
    handed_over: bool,
    started: bool,
    /// The child is not there yet, or not any more, and signals are kept for it.
    keeps: bool,
    over: bool,
}

impl Batch {
    pub(super) fn receives(&mut self, event: &Event, serving: &Life, beside: Option<&Life>) {
        match event.itself() {
            Event::Signal(received) => self.received = Some(received.signal),
            Event::PassedOn(signal) => self.passed_on = Some(*signal),
            Event::HeirFound { .. } => self.handed_over = true,
            Event::Started { .. } => self.started = true,
            _ => {}
        }
        let before =
            serving.child.is_none() && serving.status.is_none() && !serving.is_coming_down();
        self.keeps = before || serving.searching || beside.is_some_and(|beside| beside.searching);
    }

    pub(super) fn is_signal(&self) -> bool {
        self.received.is_some()
    }

    pub(super) fn by_hand(&self) -> bool {
        self.escalated
    }

    pub(super) fn answered(&mut self) {
        self.answers += 1;
    }

    pub(super) fn sends(&mut self, signal: Signal) {
        self.sent.push(signal);
    }

    pub(super) fn sends_beyond(&mut self, signal: Signal) {
        self.beyond.push(signal);
        self.untold = Some(signal);
    }

    /// Whether KILL is what `--rewrite` makes of a signal that was kept, or has come now.
    pub(super) fn forwards_kill(&self, plan: &Plan) -> bool {
        let rewrites = plan.rewrite.iter().any(|(_, to)| *to == Some(Signal::KILL));
        let by_parent = plan.parent_death_signal == Some(Signal::KILL);
        rewrites || by_parent
    }

    pub(super) fn tells(&mut self, record: &Record) {
        match record {
            Record::Forwarded { signal, .. } => {
                self.forwarded.push(*signal);
                self.untold = None;
                self.answers += 1;
            }
            Record::Step {
                signal: Some(signal),
                by_terminal: false,
                passed_on: false,
                ..
            } => self.named.push(*signal),
            Record::AskedAgain { again, sent_as, .. } => {
                // Whom the terminal does not reach gets it from us.
                let beyond = self.untold.take() == Some(*sent_as);
                match again {
                    Again::PassedOn | Again::Hurried => self.named.push(*sent_as),
                    Again::ByTerminal | Again::Noted if beyond => self.named.push(*sent_as),
                    _ => {}
                }
                self.answers += 1;
            }
            Record::NotSuspended { .. } => {
                self.named.push(Signal::CONT);
                self.answers += 1;
            }
            Record::Aborted { .. } => self.named.push(Signal::ABRT),
            Record::Escalated { .. } => {
                self.escalated = true;
                self.answers += 1;
            }
            Record::Dropped { .. }
            | Record::NotObeyed { .. }
            | Record::ReloadPutOff { .. }
            | Record::StopAsked { .. }
            | Record::ReplaceBegan { .. }
            | Record::ReplaceRefused { .. }
            | Record::GenerationBegan { .. } => self.answers += 1,
            Record::Ended(_) => self.over = true,
            _ => {}
        }
    }
}

fn count(all: &[Signal], signal: Signal) -> usize {
    all.iter().filter(|one| **one == signal).count()
}

impl Judge {
    /// What has become of the event, now that all is done.
    pub(super) fn check_signals(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if batch.over {
            return;
        }
        for signal in &batch.forwarded {
            let sent = count(&batch.sent, *signal) + count(&batch.beyond, *signal);
            let sent = sent + usize::from(batch.passed_on == Some(*signal));
            let told = count(&batch.forwarded, *signal) + count(&batch.named, *signal);
            let once =
                sent == told || batch.handed_over && sent >= count(&batch.forwarded, *signal);
            self.holds(Promise::ForwardedOnce, once, || {
                format!("{signal}: told {told} times, sent {sent} times: {batch:?}")
            });
        }
        for signal in &batch.sent {
            let asked = count(&batch.forwarded, *signal) + count(&batch.named, *signal);
            let is_asked = count(&batch.sent, *signal) <= asked || batch.handed_over;
            self.holds(Promise::NoSignalUnasked, is_asked, || {
                format!("{signal}: {batch:?}")
            });
        }
        if let Some(signal) = batch.received {
            let is_lost = batch.answers == 0 && !batch.keeps;
            self.holds(Promise::NoSignalIsLost, !is_lost, || {
                format!("{signal}: {batch:?}")
            });
            if batch.answers == 0 && batch.keeps {
                self.serving.kept += 1;
            }
        }
        if batch.started || batch.handed_over {
            let kept = std::mem::take(&mut self.serving.kept);
            let is_lost = batch.answers < kept && self.serving.child.is_some();
            self.holds(Promise::NoSignalIsLost, !is_lost, || {
                format!("{kept} kept: {batch:?}")
            });
        }
    }
}

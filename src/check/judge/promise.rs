//! What a command promises, as it was asked for.

use std::time::Duration;

use crate::plan::Target;
use crate::words::signal::Signal;

/// What the command promises.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Promise {
    /// The signal that asks for the stop.
    pub(crate) signal: Signal,
    /// The steps before KILL, as they are shown: signals, commands, lines for standard input.
    pub(crate) steps: Vec<String>,
    /// The signals among them: ending by one of them is expected.
    pub(crate) signals: Vec<Signal>,
    /// Whom the first of them is sent to.
    pub(crate) target: Target,
    pub(crate) within: Duration,
    /// `None`: 0, or the end by the signal that was sent.
    pub(crate) expect: Option<Expected>,
    pub(crate) allow_kill: bool,
    pub(crate) allow_left: bool,
    pub(crate) ports: Vec<u16>,
    pub(crate) in_flight: Option<InFlight>,
    /// It is replaced under load before.
    pub(crate) replace: bool,
    /// The command is PID 1 of its namespace itself.
    pub(crate) as_pid1: bool,
}

impl Promise {
    /// The signal or the steps that are to end it.
    pub(crate) fn asks(&self) -> String {
        match self.steps.as_slice() {
            [] => self.signal.to_string(),
            steps => steps.join(", then "),
        }
    }

    /// The first signal that the command gets; if it gets none, the one that asks for the stop.
    pub(crate) fn first_signal(&self) -> Signal {
        self.signals.first().copied().unwrap_or(self.signal)
    }

    /// Whether the first step is a stop command.
    pub(crate) fn by_command(&self) -> bool {
        self.steps.first().is_some_and(|step| step.starts_with('`'))
    }

    /// The expected exit codes, and how they are shown.
    pub(super) fn expected(&self) -> (Vec<u8>, String) {
        if let Some(expected) = &self.expect {
            return (expected.codes.clone(), expected.text.clone());
        }
        let (mut codes, mut told) = (vec![0], vec!["0".to_owned()]);
        let asked = [self.signal];
        let signals = match self.signals.as_slice() {
            [] => &asked[..],
            signals => signals,
        };
        for signal in signals {
            let code = u8::try_from(128 + signal.number()).unwrap_or(u8::MAX);
            if !codes.contains(&code) {
                codes.push(code);
                told.push(format!("{code} ({signal})"));
            }
        }
        let last = told.pop().unwrap_or_default();
        (codes, format!("{} or {last}", told.join(", ")))
    }
}

/// `--expect-exit`.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) codes: Vec<u8>,
    pub(crate) text: String,
}

/// `--in-flight-count` and `--min-complete`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct InFlight {
    pub(crate) count: u32,
    /// Percent of the requests that were open.
    pub(crate) min_complete: f64,
}

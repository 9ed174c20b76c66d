//! `--drain-until`: asks the program, and says what its answer means.
//!
//! The program itself knows best which requests it has in flight. An error or a missing series means
//! "not known" and never "drained": a wait that is too long is ended by the timeout, but a request
//! that is cut off is lost.

use std::time::Duration;

use crate::call::{self, Listener};
use crate::machine::Answer;
use crate::plan::until::UntilWhen;
use crate::record::ExitStatus;

/// A question that takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The largest metrics page that is read.
const LARGEST_PAGE: usize = 32 << 20;

/// Exit codes of a process that asks by HTTP.
const NOT_YET: u8 = 1;
const NOT_KNOWN: u8 = 2;

/// What the end of a process that has asked means, and what it has said.
pub(crate) fn of_ending(when: &UntilWhen, status: ExitStatus, said: Option<String>) -> Answer {
    let said_or = |other: String| said.clone().unwrap_or(other);
    match (when, status) {
        (_, ExitStatus::Exited(0)) => Answer::Holds,
        // A command that was not found or was killed, as a shell reports it, has not answered "no".
        (UntilWhen::Exec(_), ExitStatus::Exited(code)) if code != 126 && code != 127 => {
            Answer::NotYet {
                in_flight: None,
                why: format!("it {status}"),
            }
        }
        (UntilWhen::Http(_), ExitStatus::Exited(NOT_YET)) => Answer::NotYet {
            in_flight: None,
            why: said_or(format!("it {status}")),
        },
        (UntilWhen::Metric(..), ExitStatus::Exited(NOT_YET)) => {
            let why = said_or(format!("it {status}"));
            let number = why.parse::<f64>().ok().map(|value| value.ceil() as u32);
            Answer::NotYet {
                in_flight: number,
                why: format!("it is {why}"),
            }
        }
        _ => Answer::NotKnown(said_or(format!("it {status}"))),
    }
}

/// Asks by HTTP, in a process of its own; the exit code, and what there is to say.
pub(crate) fn ask(when: &UntilWhen, which: Listener) -> (u8, String) {
    let told = match when {
        UntilWhen::Http(request) => call::answer(request, PATIENCE, 0, which).map(|answer| {
            let is_success = answer.status.is_success();
            (is_success, format!("the answer is {}", answer.status))
        }),
        UntilWhen::Metric(request, selector) => {
            call::answer(request, PATIENCE, LARGEST_PAGE, which)
                .and_then(|answer| match answer.status {
                    status if status.is_success() => {
                        selector.sum(&String::from_utf8_lossy(&answer.body))
                    }
                    status => Err(format!("the answer is {status}")),
                })
                .map(|sum| (sum == 0.0, sum.to_string()))
        }
        UntilWhen::Exec(_) | UntilWhen::Notify => Err("it is not asked by HTTP".to_owned()),
    };
    match told {
        Ok((true, why)) => (0, why),
        Ok((false, why)) => (NOT_YET, why),
        Err(why) => (NOT_KNOWN, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::until::parse;

    #[test]
    fn an_end_is_an_answer() {
        let exec = parse("exec:a").unwrap().when;
        let of = |when: &UntilWhen, status, said: &str| {
            of_ending(
                when,
                status,
                Some(said.to_owned()).filter(|s| !s.is_empty()),
            )
        };
        let exited = ExitStatus::Exited;
        assert_eq!(of(&exec, exited(0), ""), Answer::Holds);
        assert!(matches!(of(&exec, exited(1), ""), Answer::NotYet { .. }));
        assert!(matches!(of(&exec, exited(127), ""), Answer::NotKnown(_)));
        let killed = ExitStatus::Killed {
            signal: crate::words::signal::Signal::TERM,
            core: false,
        };
        assert!(matches!(of(&exec, killed, ""), Answer::NotKnown(_)));
        let metric = parse("metric:http://a/#b").unwrap().when;
        let not_yet = Answer::NotYet {
            in_flight: Some(3),
            why: "it is 2.5".to_owned(),
        };
        assert_eq!(of(&metric, exited(NOT_YET), "2.5"), not_yet);
        let refused = Answer::NotKnown("refused".to_owned());
        assert_eq!(of(&metric, exited(NOT_KNOWN), "refused"), refused);
    }
}

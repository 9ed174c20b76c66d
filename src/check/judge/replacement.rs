//! Judges a replacement: the next one serves, no request is lost meanwhile, and nothing is left of the one before.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{Finding, Held, Judge, cause, names, status_text};
use crate::check::fact::{FIRST, LeftProcess, What};
use crate::check::history::{Failed, History, LoadRequest};
use crate::words::duration::Shown;

const NEXT: u32 = FIRST + 1;

/// The requests that came while it was replaced, and shortly before and after.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct LoadTotals {
    pub(crate) requests: usize,
    pub(crate) lost: usize,
    pub(crate) refused: usize,
    /// Failed before the replacement was asked for.
    pub(crate) failed_before: usize,
    /// Answered since then, and possibly cut off.
    #[serde(skip)]
    pub(crate) unclear: usize,
    /// Why, each reason once.
    pub(crate) why: Vec<String>,
    /// 99 % were answered within this time, before it was asked for.
    pub(crate) p99_before_us: Option<u64>,
    /// The same of those that were under way until the one before had ended.
    pub(crate) p99_during_us: Option<u64>,
}

impl History {
    /// When the replacement was over, whatever came of it.
    fn replacement_over(&self) -> Option<Duration> {
        let failed = self.time_of(&What::ReplaceFailed);
        failed.or_else(|| self.time_of(&of(FIRST, What::Ended)))
    }

    /// When the next one served, and whether it was ready.
    fn served(&self) -> Option<(Duration, bool)> {
        self.find(|what| match what {
            What::Replaced { ready, .. } => Some(*ready),
            _ => None,
        })
    }

    /// From the request to replace to the end of the one before.
    pub(crate) fn replaced_in(&self) -> Option<Duration> {
        self.served()?;
        let ended = self.time_of(&of(FIRST, What::Ended))?;
        Some(ended.saturating_sub(self.replace_asked?))
    }

    pub(crate) fn load_totals(&self) -> Option<LoadTotals> {
        let load = self.load.as_ref().filter(|load| !load.is_empty())?;
        let asked = self.replace_asked.map_or(u64::MAX, micros);
        let over = self.replacement_over().map_or(u64::MAX, micros);
        let is_before = |request: &&LoadRequest| request.began.saturating_add(request.took) < asked;
        let (before, since): (Vec<_>, Vec<_>) = load.iter().partition(is_before);
        let mut why: Vec<String> = Vec::new();
        for request in load {
            if let Some(Failed::Lost(text) | Failed::Refused(text)) = &request.failed
                && !why.contains(text)
            {
                why.push(text.clone());
            }
        }
        let failed = |requests: &[&LoadRequest]| {
            let failed = requests.iter().filter(|request| request.failed.is_some());
            failed.count()
        };
        let is_lost = |request: &&&LoadRequest| matches!(request.failed, Some(Failed::Lost(_)));
        let lost = since.iter().filter(is_lost).count();
        let during = since.iter().filter(|request| request.began <= over);
        Some(LoadTotals {
            requests: load.len(),
            lost,
            refused: failed(&since) - lost,
            failed_before: failed(&before),
            unclear: since.iter().filter(|request| request.unclear).count(),
            why,
            p99_before_us: p99(before.iter().copied()),
            p99_during_us: p99(during.copied()),
        })
    }

    /// The processes that the one before has left, each once.
    fn left_by_first(&self) -> Vec<LeftProcess> {
        let mut all: Vec<LeftProcess> = Vec::new();
        for fact in &self.facts {
            if let What::Of { generation, what } = &fact.what
                && *generation == FIRST
                && let What::Left { processes, .. } = &**what
            {
                for left in processes {
                    if all.iter().all(|known| known.pid != left.pid) {
                        all.push(left.clone());
                    }
                }
            }
        }
        all
    }
}

/// How the replacement went, in a few words.
pub(super) fn summary(history: &History) -> Option<String> {
    let mut text = format!("replaced in {}", Shown(history.replaced_in()?));
    if let Some(totals) = history.load_totals() {
        let _ = write!(text, " under {} requests", totals.requests);
        if let Some((before, during)) = totals.p99() {
            let _ = write!(text, " (99 % within {before}, {during} meanwhile)");
        }
    }
    text.push_str("; ");
    Some(text)
}

impl LoadTotals {
    /// Before, and meanwhile.
    fn p99(&self) -> Option<(Shown, Shown)> {
        let shown = |micros| Shown(Duration::from_micros(micros));
        Some((shown(self.p99_before_us?), shown(self.p99_during_us?)))
    }
}

fn of(generation: u32, what: What) -> What {
    let what = Box::new(what);
    What::Of { generation, what }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Of those that were answered.
fn p99<'a>(requests: impl Iterator<Item = &'a LoadRequest>) -> Option<u64> {
    let mut histogram = Histogram::<u64>::new(3).ok()?;
    for request in requests.filter(|request| request.failed.is_none()) {
        let _ = histogram.record(request.took);
    }
    (!histogram.is_empty()).then(|| histogram.value_at_quantile(0.99).min(histogram.max()))
}

impl Judge<'_> {
    pub(super) fn replacement(&mut self) {
        if self.promise.replace {
            self.next_serves();
            self.no_request_lost();
            self.first_is_gone();
        }
    }

    fn next_serves(&mut self) {
        let promised = "the next one becomes ready beside it, and serves".to_owned();
        let asked = self.history.replace_asked.unwrap_or_default();
        if let Some((at, ready)) = self.history.served() {
            let happened = if ready {
                format!("it serves after {}", Shown(at.saturating_sub(asked)))
            } else {
                "the one that served ended before the next one was ready".to_owned()
            };
            self.find("replace", ready, promised, happened);
            return self.because(Some(cause::ended_while_replaced()));
        }
        let over = self.history.time_of(&What::ReplaceFailed);
        let by_itself = self.history.time_of(&of(NEXT, What::StopAsked)).is_none();
        let status = self.history.find(|what| match what {
            What::Of { generation, what } if *generation == NEXT => match **what {
                What::Exited { code, signal } => Some((code, signal)),
                _ => None,
            },
            _ => None,
        });
        let happened = match (over, status) {
            (None, _) => "it was not replaced".to_owned(),
            (Some(over), status) => {
                let took = Shown(over.saturating_sub(asked));
                match status {
                    Some((_, status)) if by_itself => format!(
                        "the next one ended after {took} and was not ready ({})",
                        status_text(status)
                    ),
                    _ if by_itself => format!("the next one could not be started ({took})"),
                    _ => format!("the next one was not ready after {took}, and was stopped"),
                }
            }
        };
        self.find("replace", false, promised, happened);
        self.because(Some(cause::not_replaced(by_itself && over.is_some())));
    }

    fn no_request_lost(&mut self) {
        let promised = "no request is lost or refused while it is replaced".to_owned();
        let unknown = |promised: String, happened: String| Finding {
            promise: "replace-requests",
            held: Held::Unknown,
            promised,
            happened,
            reason: None,
        };
        let Some(totals) = self.history.load_totals() else {
            let happened = "no request was sent".to_owned();
            return self.findings.push(unknown(promised, happened));
        };
        let why = totals.why.join(", ");
        let mut happened = format!("{} requests", totals.requests);
        if totals.failed_before > 0 {
            let _ = write!(
                happened,
                ", {} of which failed before it was asked for ({why}): see whether the server answers them, or name \
                 another URL (--replace-url)",
                totals.failed_before,
            );
            return self.findings.push(unknown(promised, happened));
        }
        let held = totals.lost + totals.refused == 0;
        if held && totals.unclear > 0 {
            let _ = write!(
                happened,
                ", {} of which ended with their connection, as one does that is cut off",
                totals.unclear
            );
            return self.findings.push(Finding {
                reason: Some(cause::unclear_answers()),
                ..unknown(promised, happened)
            });
        }
        let _ = if held {
            write!(happened, ", none lost or refused")
        } else {
            let LoadTotals { lost, refused, .. } = totals;
            write!(happened, ", {lost} lost, {refused} refused ({why})")
        };
        if let Some((before, during)) = totals.p99() {
            let _ = write!(
                happened,
                "; 99 % answered within {before} before, {during} meanwhile"
            );
        }
        self.find("replace-requests", held, promised, happened);
        self.because(Some(cause::lost_requests(totals.refused > 0)));
    }

    fn first_is_gone(&mut self) {
        let promised = "the one before it ends without KILL, and leaves nothing".to_owned();
        if self.history.served().is_none() {
            return self.not_judged("replace-gone", promised, "it was not replaced");
        }
        let killed = self.history.time_of(&of(FIRST, What::Step { kill: true }));
        if killed.is_some() && self.promise.allow_kill {
            let happened = "KILL was needed, and is allowed";
            return self.not_judged("replace-gone", promised, happened);
        }
        let Some(took) = self.history.replaced_in().filter(|_| killed.is_none()) else {
            let happened = match killed {
                Some(_) => "KILL ended it",
                None => "it has not ended",
            };
            self.find("replace-gone", false, promised, happened.to_owned());
            return self.because(Some(cause::not_gone_when_replaced(self.promise)));
        };
        let left = self.history.left_by_first();
        if left.is_empty() {
            let happened = format!("it was gone after {}", Shown(took));
            return self.find("replace-gone", true, promised, happened);
        }
        let happened = format!("{} left behind: {}", left.len(), names(&left));
        if self.promise.allow_left {
            return self.not_judged("replace-gone", promised, &format!("{happened}; allowed"));
        }
        self.find("replace-gone", false, promised, happened);
        self.because(Some(cause::left(self.history, &left, self.promise)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{fact, history, promise};
    use super::super::{Promise, judge};
    use super::*;
    use crate::check::fact::Fact;

    /// Asked for at 4 ms, the next one serves at 6 ms, the one before has ended at 8 ms.
    fn replaced() -> Vec<Fact> {
        let replaced = What::Replaced {
            pid: Some(9),
            ready: true,
        };
        vec![fact(6, replaced), fact(8, of(FIRST, What::Ended))]
    }

    fn requests(failed: &[(u64, Option<Failed>)]) -> Vec<LoadRequest> {
        let request = |(at, failed): &(u64, Option<Failed>)| LoadRequest {
            began: at * 1000,
            took: 500,
            failed: failed.clone(),
            unclear: false,
        };
        failed.iter().map(request).collect()
    }

    #[test]
    fn answers_that_may_have_been_cut_off_prove_nothing() {
        for (which, held) in [(0, Held::Yes), (1, Held::Unknown)] {
            let mut load = requests(&[(1, None), (7, None)]);
            load[which].unclear = true;
            judged(
                replaced(),
                load,
                &[("replace-requests", held, "2 requests")],
            );
        }
    }

    #[track_caller]
    fn judged(facts: Vec<Fact>, load: Vec<LoadRequest>, expected: &[(&str, Held, &str)]) {
        let exited = What::Exited {
            code: 0,
            signal: None,
        };
        let ends = [fact(20, exited), fact(21, What::Ended)];
        let history = History {
            replace_asked: Some(Duration::from_millis(4)),
            load: Some(load),
            ..history(facts.into_iter().chain(ends).collect())
        };
        let promise = Promise {
            replace: true,
            ..promise()
        };
        let findings = judge(&history, &promise).findings;
        for (name, held, happened) in expected {
            let found = findings.iter().find(|finding| finding.promise == *name);
            let found = found.unwrap();
            assert_eq!(found.held, *held, "{found:?}");
            assert!(found.happened.contains(happened), "{found:?}");
            // What is unknown may have one as well.
            if *held != Held::Unknown {
                assert_eq!(found.reason.is_some(), *held == Held::No, "{found:?}");
            }
        }
    }

    #[test]
    fn one_without_a_gap_keeps_every_promise() {
        judged(
            replaced(),
            requests(&[(1, None), (5, None), (9, None)]),
            &[
                ("replace", Held::Yes, "it serves after 2 ms"),
                (
                    "replace-requests",
                    Held::Yes,
                    "3 requests, none lost or refused; 99 %",
                ),
                ("replace-gone", Held::Yes, "gone after 4 ms"),
            ],
        );
    }

    #[test]
    fn what_is_lost_or_refused_since_it_was_asked_for_breaks_the_promise() {
        let lost = Some(Failed::Lost("reset".to_owned()));
        let refused = Some(Failed::Refused("no".to_owned()));
        let name = "replace-requests";
        let happened = "3 requests, 1 lost, 1 refused (reset, no)";
        judged(
            replaced(),
            requests(&[(1, None), (5, lost.clone()), (9, refused)]),
            &[(name, Held::No, happened)],
        );
        // That has another cause.
        judged(
            replaced(),
            requests(&[(1, lost), (5, None)]),
            &[(name, Held::Unknown, "1 of which failed before")],
        );
        judged(
            replaced(),
            Vec::new(),
            &[(name, Held::Unknown, "no request")],
        );
    }

    #[test]
    fn a_next_one_that_is_never_ready_breaks_one_promise_alone() {
        let exited = What::Exited {
            code: 3,
            signal: None,
        };
        let by_itself = [fact(5, of(NEXT, exited)), fact(6, What::ReplaceFailed)];
        let others = |happened| {
            [
                ("replace", Held::No, happened),
                ("replace-requests", Held::Yes, "none lost"),
                ("replace-gone", Held::NotJudged, "it was not replaced"),
            ]
        };
        let load = || requests(&[(1, None), (5, None)]);
        let expected = "the next one ended after 2 ms and was not ready (exit status 3)";
        judged(by_itself.to_vec(), load(), &others(expected));
        let asked = fact(5, of(NEXT, What::StopAsked));
        let late = [&[asked], &by_itself[..]].concat();
        let expected = "was not ready after 2 ms, and was stopped";
        judged(late, load(), &others(expected));
    }

    #[test]
    fn what_the_one_before_leaves_and_kill_break_a_promise() {
        let with = |what| [&[fact(7, of(FIRST, what))], &replaced()[..]].concat();
        let processes = vec![LeftProcess {
            pid: 8,
            command: "worker".to_owned(),
        }];
        let left = What::Left {
            kill: false,
            processes,
        };
        let load = || requests(&[(1, None)]);
        let expected = [("replace-gone", Held::No, "1 left behind: 8 worker")];
        judged(with(left), load(), &expected);
        let expected = [("replace-gone", Held::No, "KILL")];
        judged(with(What::Step { kill: true }), load(), &expected);
    }
}

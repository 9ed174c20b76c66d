//! Judges the requests that were open when the signal was sent: enough of them are answered, and to the end.

use std::fmt::Write as _;

use super::{Finding, Held, InFlight, Judge, cause};

impl Judge<'_> {
    pub(super) fn in_flight(&mut self) {
        let Some(wanted) = self.promise.in_flight else {
            return;
        };
        let InFlight {
            count,
            min_complete,
        } = wanted;
        let promised = format!("of {count} requests in flight at least {min_complete}% complete");
        let Some(requests) = &self.history.requests else {
            return self.not_judged("in-flight", promised, "no request was opened");
        };
        if requests.open < count {
            let why = requests.refused.clone().unwrap_or_else(|| {
                "the others were answered before: take a URL that is answered more slowly"
                    .to_owned()
            });
            self.findings.push(Finding {
                promise: "in-flight",
                held: Held::Unknown,
                promised,
                happened: format!(
                    "only {} of {count} requests were open when the stop was asked for: {why}",
                    requests.open
                ),
                reason: None,
            });
            return;
        }
        let percent = |count: u32| f64::from(count) * 100.0 / f64::from(requests.open.max(1));
        let held = percent(requests.complete) >= min_complete;
        let mut happened = format!("{} of {} completed", requests.complete, requests.open);
        if let Some(why) = requests.broken.first() {
            let _ = write!(happened, " ({why})");
        }
        if !held && percent(requests.complete + requests.unclear) >= min_complete {
            let _ = write!(
                happened,
                "; {} answers ended with their connection, as one does that is cut off",
                requests.unclear
            );
            self.findings.push(Finding {
                promise: "in-flight",
                held: Held::Unknown,
                promised,
                happened,
                reason: Some(cause::unclear_answers()),
            });
            return;
        }
        self.find("in-flight", held, promised, happened);
        self.because(Some(cause::interrupted_requests(
            self.history,
            self.promise,
        )));
    }
}

//! Carries out an HTTP request, within a time.

use std::time::Duration;

use http::StatusCode;

use super::brief;
use crate::plan::call::{Payload, Request};

/// Sends an HTTP request; success is any 2xx.
///
/// # Errors
/// As for [`super::carry_out`].
pub(crate) fn ask(request: &Request, patience: Duration) -> Result<(), String> {
    ask_one_of(request, patience, Listener::Serving)
}

/// Which of those that listen on an address is asked, where there are two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Listener {
    Serving,
    /// That of the generation beside the one that serves (`sys::steering`).
    Beside,
}

/// As [`ask`].
///
/// # Errors
/// As for [`super::carry_out`].
pub(crate) fn ask_one_of(
    request: &Request,
    patience: Duration,
    which: Listener,
) -> Result<(), String> {
    success(answer(request, patience, 0, which)?.status)
}

/// As [`ask`], with a body.
///
/// # Errors
/// As for [`super::carry_out`].
pub(super) fn send(
    request: &Request,
    payload: &Payload,
    patience: Duration,
    which: Listener,
) -> Result<(), String> {
    let (question, is_head) = (
        brief::text(request, Some(payload)),
        request.method == "HEAD",
    );
    let question = brief::Question {
        text: question,
        is_head,
        most: 0,
    };
    success(brief::ask(&question, &request.addresses()?, patience, which)?.status)
}

fn success(status: StatusCode) -> Result<(), String> {
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("the answer is {status}"))
    }
}

/// What a server has answered.
pub(crate) struct HttpResponse {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

/// Sends an HTTP request, and reads the answer with up to so many bytes of its body; with 0 no body
/// is read.
///
/// # Errors
/// There is no answer in time, or it cannot be read.
pub(crate) fn answer(
    request: &Request,
    patience: Duration,
    most: usize,
    which: Listener,
) -> Result<HttpResponse, String> {
    let (text, is_head) = (brief::text(request, None), request.method == "HEAD");
    let question = brief::Question {
        text,
        is_head,
        most,
    };
    brief::ask(&question, &request.addresses()?, patience, which)
}

/// Names us to servers; our own health endpoint does not count such a client as a balancer.
pub(crate) const AGENT: &str = concat!("stepdown/", env!("CARGO_PKG_VERSION"));

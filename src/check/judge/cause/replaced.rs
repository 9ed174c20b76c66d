//! Why a replacement has most probably broken its promises, and a way out.

use super::{Cause, cause};
use crate::check::judge::Promise;
use crate::diagnosis::finding::add_handler;

/// The next one did not become ready.
pub(crate) fn not_replaced(ended_by_itself: bool) -> Cause {
    if ended_by_itself {
        return cause(
            "it cannot run beside the one that serves: it wants what there is once, as a port that it binds itself, a \
             lock or a pid file",
            "let it take the sockets that it is given (LISTEN_FDS), and keep its files apart (STEPDOWN_GENERATION)",
        );
    }
    cause(
        "what --ready-when asks for does not hold for the next one: it waits for what the one that serves has, or the \
         look meets that one",
        "ask the next one itself (notify, or http: at a port of --listen); look at the last lines of its output; allow \
         more time (--ready-timeout)",
    )
}

/// The one that served ended while the next one came.
pub(crate) fn ended_while_replaced() -> Cause {
    cause(
        "it does not bear another one beside it: the next one takes something away from it, or sends it a signal",
        "look at the last lines of its output; let a start leave alone what another one uses",
    )
}

/// Requests were lost or refused while it was replaced.
pub(crate) fn lost_requests(refused: bool) -> Cause {
    if refused {
        return cause(
            "a listening socket was closed, or nobody accepted from it, while connections still came to it: stepdown \
             steers them away once the next one is ready, and not before",
            "keep the socket that was passed on (LISTEN_FDS) open until TERM, and let --ready-when hold only once the \
             next one accepts",
        );
    }
    cause(
        "connections were closed with a request on them: by one that accepts no more before the next one serves, by a \
         next one that was not ready yet, or when the drain had used up its time",
        "accept until TERM, and answer what was begun before a connection is closed; let --ready-when hold only once requests are answered; \
         give the drain the time that they take (--drain-timeout, --drain-quiet)",
    )
}

/// The one before did not end by the steps of the plan.
pub(crate) fn not_gone_when_replaced(promise: &Promise) -> Cause {
    cause(
        format!("it does not act on {}", promise.asks()),
        format!(
            "{}, or give it more time (--grace)",
            add_handler(promise.first_signal())
        ),
    )
}

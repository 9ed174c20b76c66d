//! What a Go program does with a signal: its runtime has a handler for all of them, whether or not the program asks.
//!
//! The runtime's table is `src/runtime/sigtab_linux_generic.go`, and what it does with it `signal_unix.go`.

use super::process::ProcessLook;
use super::snapshot::Seen;
use crate::words::signal::Signal;

/// The signals of which Go's runtime has a handler in each program (the first 31; HUP and INT may be inherited as
/// ignored).
const CAUGHT: u64 = 0x7fc1_fefc;
/// The real-time signals, without those that C libraries keep for themselves (32 to 34).
const REAL_TIME: u64 = 0xffff_fffc_0000_0000;
/// Sent by the kernel for a fault of the program: a thread that blocks it blocks all for a moment.
const FAULT: Signal = Signal::SEGV;
/// Those that end a program which has not asked for them.
const ENDS: [Signal; 5] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::ABRT,
];

/// What becomes of the signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum GoAction {
    /// The runtime ends the program at once.
    Ends,
    /// So it does, unless the program has asked for this signal, which does not show.
    EndsUnlessAsked,
    /// The program has asked for it.
    Handles,
    /// The runtime takes it, and nothing follows.
    Nothing,
}

/// Whether the handlers of a process are those of Go's runtime.
pub(crate) fn is_go(look: &ProcessLook) -> bool {
    let all = CAUGHT | REAL_TIME;
    look.caught & all == all
}

/// `None` where it is no Go program, or the signal is ignored or blocked as in any other.
pub(super) fn action(seen: &Seen, signal: Signal) -> Option<GoAction> {
    if !is_go(&seen.look) || !ProcessLook::has(seen.look.caught, signal) {
        return None;
    }
    let ends = ENDS.contains(&signal);
    if seen.thread_blocks.is_empty() {
        return Some(GoAction::EndsUnlessAsked).filter(|_| ends);
    }
    // os/signal has a thread that lets only those signals through that were asked for, and those that end a program.
    let asks = |blocked: &&u64| **blocked & REAL_TIME != 0 && !ProcessLook::has(**blocked, FAULT);
    let asked = seen.thread_blocks.iter().find(asks);
    Some(match asked {
        None if ends => GoAction::Ends,
        None => GoAction::Nothing,
        Some(_) if ends => GoAction::EndsUnlessAsked,
        Some(blocked) if ProcessLook::has(*blocked, signal) => GoAction::Nothing,
        Some(_) => GoAction::Handles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Go 1.19 shows them: without os/signal, and with it, asked for TERM.
    const PLAIN: u64 = 0;
    const OS_SIGNAL: u64 = 0xffff_fffc_3bba_3a00;

    fn go(thread_blocks: &[u64]) -> Seen {
        let mut seen = Seen::default();
        seen.look.caught = 0xffff_fffd_7fc1_feff;
        seen.thread_blocks = thread_blocks.to_vec();
        seen
    }

    #[test]
    fn what_the_threads_show() {
        let usr1 = Signal::parse("USR1").unwrap();
        let of = |blocks: &[u64], signal| action(&go(blocks), signal);
        assert_eq!(of(&[PLAIN; 3], Signal::TERM), Some(GoAction::Ends));
        assert_eq!(of(&[PLAIN; 3], usr1), Some(GoAction::Nothing));
        let asks = [OS_SIGNAL, PLAIN, PLAIN];
        assert_eq!(of(&asks, Signal::TERM), Some(GoAction::EndsUnlessAsked));
        assert_eq!(of(&asks, usr1), Some(GoAction::Nothing));
        let asks = [OS_SIGNAL & !(1 << 9), PLAIN];
        assert_eq!(of(&asks, usr1), Some(GoAction::Handles));
        // A thread that is being made blocks all of them.
        assert_eq!(of(&[u64::MAX, PLAIN], usr1), Some(GoAction::Nothing));
        assert_eq!(of(&[], Signal::TERM), Some(GoAction::EndsUnlessAsked));
        assert_eq!(of(&[], usr1), None);
    }

    #[test]
    fn others_are_none() {
        let mut seen = go(&[PLAIN]);
        seen.look.caught = 1 << 14;
        assert_eq!(action(&seen, Signal::TERM), None);
    }
}

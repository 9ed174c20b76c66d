//! The plans of all short stories, how their worlds behave, and what may happen in them.

use std::fmt;

use Happening::*;

use super::family::{Relative, WRAPPER_AND_MASTER};

/// The plan of a set of stories, and how its world behaves.
pub(super) struct Setup {
    pub(super) options: &'static str,
    /// Not even KILL ends the child, or what it leaves behind.
    pub(super) immortal: bool,
    /// The confirmation of exec is an event like others; otherwise it comes at once.
    pub(super) starts_late: bool,
    /// Processes besides the child; where there are none, that somebody is left is an event.
    pub(super) relatives: &'static [Relative],
    pub(super) length: usize,
    pub(super) happenings: &'static [Happening],
    pub(super) gaps: &'static [Gap],
}

/// What may happen, where it can happen at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Happening {
    Term,
    Int,
    /// INT from the terminal, which everybody in the child's group has got as well.
    CtrlC,
    Usr1,
    ParentDied,
    Started,
    StartFailed,
    ChildExits,
    HookEnds,
    StopCommandEnds,
    MasterEnds,
    NobodyIsLeft,
    SomebodyIsSwept,
    /// One of those that got KILL has forked before.
    SomebodyIsBorn,
    Extend,
    InFlight,
    Settled,
    HeldUp,
    HeldUpNoMore,
    Flushed,
    Holds,
    HoldsNot,
    NotKnown,
    /// What is waited for before the start.
    WaitHolds,
    WaitHoldsNot,
    /// What a child that is ready is checked for, or says.
    IsAlive,
    IsNotAlive,
    KeepsAlive,
    /// Who takes the place of the child, which has ended.
    HeirIsThere,
    NoHeirYet,
}

/// How long after what happened before. Timers that fall due meanwhile go off when they are due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gap {
    None,
    Some(u64),
    /// Just when the next timer goes off, and before it.
    Timer,
}

const USUAL: &[Happening] = &[Term, Int, ChildExits, HookEnds, NobodyIsLeft];
const GAPS: &[Gap] = &[Gap::None, Gap::Some(700), Gap::Timer];

const BASE: Setup = Setup {
    options: "",
    immortal: false,
    starts_late: false,
    relatives: &[],
    length: 5,
    happenings: USUAL,
    gaps: GAPS,
};

/// Between them they have every phase, every timer, and every way to cut them short.
pub(super) const SETUPS: &[Setup] = &[
    Setup {
        options: "--grace 2s",
        length: 6,
        happenings: &[Term, Int, ChildExits, NobodyIsLeft],
        gaps: &[Gap::Some(700), Gap::Timer],
        ..BASE
    },
    Setup {
        options: "--ladder TERM:1s,INT:1s,QUIT:1s --sweep-grace 1s --post-stop p",
        gaps: &[Gap::None, Gap::Some(1_500), Gap::Timer],
        happenings: &[Term, Int, ChildExits, NobodyIsLeft],
        ..BASE
    },
    Setup {
        options: "--pre-stop a --pre-stop b --post-stop p --post-stop q --hook-timeout 1s --grace 1s",
        gaps: &[Gap::Some(700), Gap::Timer],
        ..BASE
    },
    Setup {
        options: "--pre-stop a --post-stop p --post-stop q --hook-timeout 3s --deadline 4s",
        ..BASE
    },
    Setup {
        options: "--pre-stop a --post-stop p --ladder TERM:1s,INT:3s --deadline 3s --sweep-grace 9s",
        immortal: true,
        happenings: &[Term, Int, ChildExits, NobodyIsLeft, SomebodyIsSwept],
        gaps: &[Gap::None, Gap::Some(700)],
        ..BASE
    },
    Setup {
        options: "--post-stop p --grace 1s --deadline 8s --drain-port auto --drain-delay 500ms \
                  --drain-timeout 2s",
        happenings: &[
            Int,
            ChildExits,
            NobodyIsLeft,
            InFlight,
            Settled,
            Term,
            Flushed,
        ],
        gaps: &[Gap::None, Gap::Some(700)],
        ..BASE
    },
    Setup {
        options: "--grace 1s --drain-port auto --drain-timeout 4s",
        happenings: &[Int, InFlight, Settled, HeldUp, HeldUpNoMore],
        gaps: &[Gap::None, Gap::Some(700)],
        ..BASE
    },
    Setup {
        options: "--grace 1s --drain-port auto --drain-until exec:a --drain-delay 1s --drain-timeout 4s",
        happenings: &[
            Int, ChildExits, Settled, InFlight, Holds, HoldsNot, NotKnown,
        ],
        gaps: &[Gap::None, Gap::Some(700)],
        ..BASE
    },
    Setup {
        options: "--no-kill --ladder TERM:1s,INT:1s --post-stop p",
        happenings: &[Term, Int, ChildExits, NobodyIsLeft],
        ..BASE
    },
    Setup {
        options: "--no-kill --ladder TERM:1s --post-stop p --deadline 3s",
        happenings: &[Term, Int, ChildExits, NobodyIsLeft, Extend],
        gaps: &[Gap::None, Gap::Timer],
        ..BASE
    },
    Setup {
        options: "--pre-start a --post-stop p --hook-timeout 1s --grace 1s --parent-death-signal HUP",
        starts_late: true,
        happenings: &[
            Term,
            Int,
            ParentDied,
            Started,
            StartFailed,
            ChildExits,
            HookEnds,
            NobodyIsLeft,
        ],
        ..BASE
    },
    Setup {
        options: "--live-when exec:a --live-failures 2 --pre-stop a --post-stop p --hook-timeout 1s --grace 1s",
        length: 6,
        happenings: &[Term, Int, IsAlive, IsNotAlive, ChildExits, NobodyIsLeft],
        gaps: &[Gap::None, Gap::Timer],
        ..BASE
    },
    Setup {
        options: "--live-when watchdog:2s --grace 1s --post-stop p --hook-timeout 1s",
        happenings: &[Term, Int, KeepsAlive, ChildExits, NobodyIsLeft],
        ..BASE
    },
    Setup {
        options: "--live-when watchdog:2s --deadline 3s",
        happenings: &[Term, Int, KeepsAlive, ChildExits, NobodyIsLeft],
        ..BASE
    },
    Setup {
        options: "--wait-for file:/a --wait-for file:/b --wait-timeout 2s --pre-start p --post-stop q \
                  --hook-timeout 1s --grace 1s --parent-death-signal HUP",
        happenings: &[
            Term,
            Int,
            Usr1,
            ParentDied,
            WaitHolds,
            WaitHoldsNot,
            HookEnds,
            NobodyIsLeft,
        ],
        gaps: &[Gap::None, Gap::Timer],
        ..BASE
    },
    Setup {
        options: "--main-pid notify --grace 1s --post-stop p",
        happenings: &[
            Term,
            Int,
            Usr1,
            ChildExits,
            HeirIsThere,
            NoHeirYet,
            NobodyIsLeft,
        ],
        gaps: &[Gap::None, Gap::Timer],
        ..BASE
    },
    Setup {
        options: "--main-pid notify --pre-stop a --hook-timeout 1s --ladder TERM:1s,INT:1s --deadline 5s",
        happenings: &[
            Term,
            Int,
            ChildExits,
            HeirIsThere,
            NoHeirYet,
            HookEnds,
            NobodyIsLeft,
        ],
        gaps: &[Gap::None, Gap::Timer],
        ..BASE
    },
    Setup {
        options: "--main-pid notify --live-when watchdog:2s --grace 1s --drain-port auto --drain-timeout 1s",
        happenings: &[
            Term,
            KeepsAlive,
            ChildExits,
            HeirIsThere,
            NoHeirYet,
            Settled,
        ],
        gaps: &[Gap::None, Gap::Some(700), Gap::Timer],
        ..BASE
    },
    Setup {
        options: "--pre-start a --pre-start b --post-stop p --hook-timeout 3s --deadline 2s",
        happenings: &[Term, Int, ChildExits, HookEnds, NobodyIsLeft],
        length: 4,
        ..BASE
    },
    Setup {
        options: "--ladder 'exec=a:1s,exec=b:1s,KILL@child:1s' --max-runtime 3s",
        immortal: true,
        happenings: &[Term, Int, ChildExits, StopCommandEnds, NobodyIsLeft],
        ..BASE
    },
    Setup {
        options: "--left wait --post-stop p --parent-death-signal HUP --grace 1s",
        happenings: &[Term, ParentDied, ChildExits, NobodyIsLeft],
        ..BASE
    },
    Setup {
        options: "--left leave --post-stop p --grace 1s --deadline 2s",
        happenings: &[Term, Int, Usr1, ChildExits, NobodyIsLeft],
        gaps: &[Gap::None, Gap::Some(700)],
        ..BASE
    },
    Setup {
        options: "--grace 0 --sweep-grace 0 --hook-timeout 1ns --pre-stop a --post-stop p --deadline 0 \
                  --drain-port 80",
        gaps: &[Gap::None, Gap::Timer],
        immortal: true,
        ..BASE
    },
    Setup {
        options: "--target group --grace 3s --sweep-grace 1s",
        relatives: WRAPPER_AND_MASTER,
        length: 6,
        happenings: &[Term, CtrlC, ChildExits, MasterEnds],
        gaps: &[Gap::Some(700), Gap::Timer],
        ..BASE
    },
    Setup {
        options: "--target tree --pre-stop a --hook-timeout 1s --grace 1s",
        relatives: WRAPPER_AND_MASTER,
        length: 6,
        happenings: &[Term, CtrlC, ChildExits, HookEnds],
        gaps: &[Gap::Some(700), Gap::Timer],
        ..BASE
    },
    Setup {
        options: "--ladder INT@group:1s,TERM:2s --sweep-grace 2s --post-stop p",
        relatives: WRAPPER_AND_MASTER,
        happenings: &[Term, Int, CtrlC, ChildExits, MasterEnds],
        gaps: &[Gap::Some(300), Gap::Timer],
        ..BASE
    },
    Setup {
        options: "--grace 1s --sweep-grace 500ms --post-stop p",
        relatives: WRAPPER_AND_MASTER,
        happenings: &[Int, ChildExits, MasterEnds, SomebodyIsBorn, NobodyIsLeft],
        gaps: &[Gap::None, Gap::Some(300), Gap::Timer],
        ..BASE
    },
    Setup {
        options: "--grace 1s --sweep-grace 500ms",
        immortal: true,
        relatives: WRAPPER_AND_MASTER,
        length: 4,
        happenings: &[Int, ChildExits, MasterEnds, SomebodyIsBorn],
        ..BASE
    },
];

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stepdown {}", self.options)
    }
}

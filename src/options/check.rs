//! `check --help`: every option that only `check` has. What they ask for is made of them in `check::options`.

use std::time::Duration;

use super::definition::{Kind, Opt, Preset};
use crate::words::signal::Signal;

const MOMENT: Opt = Opt {
    section: "Check: when to stop it",
    ..Opt::BASE
};
const PROMISES: Opt = Opt {
    section: "Check: what is promised",
    ..Opt::BASE
};
const RUNS_SECTION: Opt = Opt {
    section: "Check: runs",
    ..Opt::BASE
};
const OUTPUT: Opt = Opt {
    section: "Check: output",
    ..Opt::BASE
};

pub(crate) const DEFAULT_SIGNAL: Signal = Signal::TERM;
pub(crate) const DEFAULT_AFTER: Duration = Duration::from_secs(1);
/// Docker's own patience (docker stop).
pub(crate) const DEFAULT_WITHIN: Duration = Duration::from_secs(10);
pub(crate) const DEFAULT_IN_FLIGHT_COUNT: u32 = 10;
pub(crate) const DEFAULT_MIN_COMPLETE: u32 = 100;
pub(crate) const DEFAULT_RUNS: u32 = 1;

/// The options of `check`, in the order of the help.
pub(crate) static CHECK: &[&Opt] = &[
    &SIGNAL,
    &AFTER,
    &READY_LINE,
    &STOP_COMMAND,
    &WITHIN,
    &EXPECT_EXIT,
    &ALLOW_KILL,
    &ALLOW_LEFT,
    &PORT_FREE,
    &IN_FLIGHT,
    &IN_FLIGHT_COUNT,
    &MIN_COMPLETE,
    &REPLACE,
    &REPLACE_URL,
    &RUNS,
    &OFFSETS,
    &AS_PID1,
    &COMPARE,
    &CONTAINER,
    &JSON,
    &JUNIT,
    &HTML,
];

pub(crate) static SIGNAL: Opt = Opt {
    name: "signal",
    kind: Kind::One("SIGNAL"),
    help: "The signal that asks for the stop",
    default: Some(Preset::Signals(&[DEFAULT_SIGNAL])),
    ..MOMENT
};

pub(crate) static AFTER: Opt = Opt {
    name: "after",
    kind: Kind::One("DUR"),
    help: "Send it this long after the start, or after it is ready",
    default: Some(Preset::Time(DEFAULT_AFTER)),
    default_depends: " after the start, or at once when ready",
    ..MOMENT
};

pub(crate) static READY_LINE: Opt = Opt {
    name: "ready-line",
    kind: Kind::One("TEXT"),
    help: "Ready when a line of its output holds TEXT; see --ready-when for other conditions",
    ..MOMENT
};

pub(crate) static STOP_COMMAND: Opt = Opt {
    name: "stop-command",
    kind: Kind::One("COMMAND"),
    help: "Stop it by a command in place of the signal, as docker stop NAME",
    ..MOMENT
};

pub(crate) static WITHIN: Opt = Opt {
    name: "within",
    elsewhere: &["timeout"],
    kind: Kind::One("DUR"),
    help: "From the signal until all of it is gone; then KILL comes, unless --grace says otherwise",
    default: Some(Preset::Time(DEFAULT_WITHIN)),
    ..PROMISES
};

pub(crate) static EXPECT_EXIT: Opt = Opt {
    name: "expect-exit",
    kind: Kind::One("LIST"),
    help: "Exit codes, or signals for 128+n, one of which it ends with",
    default: Some(Preset::Said("0, or by the signal that was sent")),
    ..PROMISES
};

pub(crate) static ALLOW_KILL: Opt = Opt {
    name: "allow-kill",
    kind: Kind::Switch,
    help: "KILL may be needed; it comes when three quarters of --within are over, unless --grace says otherwise",
    ..PROMISES
};

pub(crate) static ALLOW_LEFT: Opt = Opt {
    name: "allow-left",
    kind: Kind::Switch,
    help: "Processes may be left when the command has ended",
    ..PROMISES
};

pub(crate) static PORT_FREE: Opt = Opt {
    name: "port-free",
    kind: Kind::Many("PORT[,PORT]"),
    help: "Nobody listens on this TCP port once the command has ended",
    ..PROMISES
};

pub(crate) static IN_FLIGHT: Opt = Opt {
    name: "in-flight",
    kind: Kind::One("URL"),
    help: "Requests to this URL are open when the signal is sent, and are answered",
    ..PROMISES
};

pub(crate) static IN_FLIGHT_COUNT: Opt = Opt {
    name: "in-flight-count",
    kind: Kind::One("N"),
    help: "How many requests",
    default: Some(Preset::Number(DEFAULT_IN_FLIGHT_COUNT)),
    ..PROMISES
};

pub(crate) static MIN_COMPLETE: Opt = Opt {
    name: "min-complete",
    kind: Kind::One("PCT"),
    help: "How many percent of them are answered at least",
    default: Some(Preset::Number(DEFAULT_MIN_COMPLETE)),
    ..PROMISES
};

pub(crate) static REPLACE: Opt = Opt {
    name: "replace",
    kind: Kind::Switch,
    help: "Replace it under load before it is stopped, without losing a request (--listen, --ready-when)",
    ..PROMISES
};

pub(crate) static REPLACE_URL: Opt = Opt {
    name: "replace-url",
    kind: Kind::One("URL"),
    help: "What is asked under load",
    default: Some(Preset::Said("/ at the first port of --listen")),
    ..PROMISES
};

/// Asks for the replacement where `--replace-on` does not say another one.
pub(crate) const DEFAULT_REPLACE_ON: &str = "USR2";

pub(crate) static RUNS: Opt = Opt {
    name: "runs",
    kind: Kind::One("N"),
    help: "How often",
    default: Some(Preset::Number(DEFAULT_RUNS)),
    ..RUNS_SECTION
};

pub(crate) static OFFSETS: Opt = Opt {
    name: "offsets",
    former: &["sweep"],
    kind: Kind::One("FROM..TO/STEP"),
    help: "A run for each of these times from the start to the signal, as in 0ms..2s/50ms",
    ..RUNS_SECTION
};

pub(crate) static AS_PID1: Opt = Opt {
    name: "as-pid1",
    kind: Kind::Switch,
    help: "Run the command as PID 1 of its own namespaces, as a container does",
    ..RUNS_SECTION
};

pub(crate) static COMPARE: Opt = Opt {
    name: "compare",
    kind: Kind::Switch,
    help: "Run it as PID 1 both without and with stepdown in front; both must hold",
    ..RUNS_SECTION
};

pub(crate) static CONTAINER: Opt = Opt {
    name: "container",
    kind: Kind::One("NAME[,NAME]"),
    help: "Containers that must be gone; those of docker run and compose up are known",
    ..RUNS_SECTION
};

pub(crate) static JSON: Opt = Opt {
    name: "json",
    kind: Kind::One("FILE"),
    help: "Write everything as JSON; - is standard output",
    ..OUTPUT
};

pub(crate) static JUNIT: Opt = Opt {
    name: "junit",
    kind: Kind::One("FILE"),
    help: "Write a JUnit report for CI servers; - is standard output",
    ..OUTPUT
};

pub(crate) static HTML: Opt = Opt {
    name: "html",
    kind: Kind::One("FILE"),
    help: "Write one page with the timelines of all runs; - is standard output",
    ..OUTPUT
};

//! Every option that only `check` has, once.

use crate::options::table::{Opt, formerly, many, one, switch};

const MOMENT: &str = "Check: when to stop it";
const PROMISES: &str = "Check: what is promised";
const RUNS: &str = "Check: runs";
const OUTPUT: &str = "Check: output";

/// The options of `check`, in the order of the help.
pub(crate) const CHECK: &[Opt] = &[
    one(
        "signal",
        "SIGNAL",
        MOMENT,
        "The signal that asks for the stop [default: TERM]",
    ),
    one(
        "after",
        "DUR",
        MOMENT,
        "Send it this long after the start, or after it is ready [default: 1s after the start, or at \
         once when ready]",
    ),
    one(
        "ready-line",
        "TEXT",
        MOMENT,
        "Ready when a line of its output holds TEXT; see --ready-when for other conditions",
    ),
    one(
        "stop-command",
        "COMMAND",
        MOMENT,
        "Stop it by a command in place of the signal, as docker stop NAME",
    ),
    one(
        "within",
        "DUR",
        PROMISES,
        "From the signal until all of it is gone; KILL comes then unless --grace says otherwise \
         [default: 10s]",
    ),
    one(
        "expect-exit",
        "LIST",
        PROMISES,
        "Exit codes, or signals for 128+n, one of which it ends with [default: 0, or by the signal \
         that was sent]",
    ),
    switch("allow-kill", PROMISES, "KILL may be needed"),
    switch(
        "allow-left",
        PROMISES,
        "Processes may be left when the command has ended",
    ),
    many(
        "port-free",
        "PORT[,PORT]",
        PROMISES,
        "Nobody listens on this TCP port once the command has ended [repeatable]",
    ),
    one(
        "in-flight",
        "URL",
        PROMISES,
        "Requests to this URL are open when the signal is sent, and complete",
    ),
    one(
        "in-flight-count",
        "N",
        PROMISES,
        "How many requests [default: 10]",
    ),
    one(
        "min-complete",
        "PCT",
        PROMISES,
        "How many percent of them complete at least [default: 100]",
    ),
    one("runs", "N", RUNS, "How often [default: 1]"),
    formerly(
        "sweep",
        one(
            "offsets",
            "FROM..TO/STEP",
            RUNS,
            "A run for each offset of the signal from the start, as 0ms..2s/50ms: finds the windows in \
             which the signal is lost",
        ),
    ),
    switch(
        "as-pid1",
        RUNS,
        "Run the command as PID 1 of its own namespaces, as a container does",
    ),
    switch(
        "compare",
        RUNS,
        "Run it as PID 1 both without and with stepdown in front; both must hold",
    ),
    one(
        "container",
        "NAME[,NAME]",
        RUNS,
        "Containers that must not be left, by name; those of docker run and compose up are known. What \
         is left counts as a process that is left, and is removed",
    ),
    one(
        "json",
        "FILE",
        OUTPUT,
        "Write everything as JSON; - is standard output",
    ),
    one(
        "junit",
        "FILE",
        OUTPUT,
        "Write a JUnit report for CI servers; - is standard output",
    ),
    one(
        "html",
        "FILE",
        OUTPUT,
        "Write one page with the timelines of all runs; - is standard output",
    ),
];

pub(crate) fn find(name: &str) -> Option<&'static Opt> {
    CHECK.iter().find(|option| option.name == name)
}

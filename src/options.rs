//! Every option, once; from text (flags, variables, the file) to a `Plan`, or an error that shows the way out.
//!
//! An option is one value, an `Opt`, in the file of its section of `--help`. To add one: define it there,
//! and name it in `OPTIONS`.

pub(crate) mod check;
pub(crate) mod child;
pub(crate) mod config;
pub(crate) mod definition;
pub(crate) mod drain;
mod effect;
#[cfg(test)]
pub(crate) mod fuzz;
pub(crate) mod hooks;
pub(crate) mod identity;
mod ladder;
pub(crate) mod left;
pub(crate) mod liveness;
pub(crate) mod main_pid;
pub(crate) mod names;
mod parse;
pub(crate) mod readiness;
pub(crate) mod reload;
pub(crate) mod restart;
mod settings;
pub(crate) mod signals;
pub(crate) mod sockets;
pub(crate) mod status;
pub(crate) mod stop;
mod to_plan;
pub(crate) mod told;
mod toml_file;
pub(crate) mod trace;
mod variables;
pub(crate) mod wait;

pub(crate) use definition::{Kind, Opt};
pub(crate) use parse::{parse_choice, parse_duration, parse_limit, parse_signal, parse_switch};
#[cfg(feature = "doctor")]
pub(crate) use settings::Elsewhere;
#[cfg(test)]
pub(crate) use settings::HookTable;
pub(crate) use settings::{NamedFile, Settings, Source, Value};

/// The options of `run`, in the order of the help.
pub(crate) static OPTIONS: &[&Opt] = &[
    &config::CONFIG,
    &config::RELOAD_ON,
    &stop::LADDER,
    &stop::STOP_SIGNAL,
    &stop::GRACE,
    &stop::DEADLINE,
    &stop::NO_KILL,
    &stop::MAX_RUNTIME,
    &signals::STOP_ON,
    &signals::ESCALATE_ON,
    &signals::REWRITE,
    &signals::TARGET,
    &signals::PARENT_DEATH_SIGNAL,
    &drain::PORT,
    &drain::DELAY,
    &drain::CHECKS,
    &drain::CHECKS_TIMEOUT,
    &drain::UNTIL,
    &drain::DRAIN_QUIET,
    &drain::TIMEOUT,
    &wait::WAIT_FOR,
    &wait::WAIT_TIMEOUT,
    &hooks::PRE_START,
    &hooks::PRE_STOP,
    &hooks::POST_STOP,
    &hooks::HOOK_TIMEOUT,
    &readiness::READY_WHEN,
    &readiness::READY_TIMEOUT,
    &readiness::HEALTH_LISTEN,
    &readiness::NOT_READY_STATUS,
    &liveness::LIVE_WHEN,
    &liveness::LIVE_EVERY,
    &liveness::LIVE_TIMEOUT,
    &liveness::LIVE_FAILURES,
    &restart::RESTART,
    &restart::RESTART_DELAY,
    &restart::RESTART_MAX_DELAY,
    &restart::RESTART_LIMIT,
    &restart::RESTART_NEVER_ON,
    &restart::RESTART_START_FAILURES,
    &restart::RESTART_ON,
    &restart::REPLACE_ON,
    &main_pid::MAIN_PID,
    &sockets::LISTEN,
    &sockets::FD_STORE_MAX,
    &child::USER,
    &child::GROUP,
    &child::WORKDIR,
    &child::ENV,
    &child::NO_NEW_PRIVS,
    &child::STDIN,
    &left::SUBREAPER,
    &left::CGROUP,
    &left::LEFT,
    &left::SWEEP_GRACE,
    &status::SUCCESS_EXIT,
    &status::CLEAN_STOP,
    &told::LOG_LEVEL,
    &told::QUIET,
    &told::VERBOSE,
    &told::LOG_REAPED,
    &told::LOG_FORMAT,
    &told::TRACE,
    &told::REPORT,
    &told::TERMINATION_LOG,
    &told::STATE_FILE,
    &told::METRICS_FILE,
];

/// The option of this name, or that was called so before.
pub(crate) fn find(name: &str) -> Option<&'static Opt> {
    let is_it = |option: &&&Opt| option.spellings().any(|spelling| spelling == name);
    OPTIONS.iter().find(is_it).copied()
}

/// The words that name no COMMAND where they stand first.
pub(crate) const SUBCOMMANDS: [&str; 7] = [
    "explain",
    "check",
    "health",
    "lint",
    "doctor",
    "completions",
    "man",
];

/// What the environment variables of all options begin with.
pub(crate) const PREFIX: &str = "STEPDOWN_";

/// Variables with the prefix that are no options: hooks and the child are told things in them.
pub(crate) const TOLD: [&str; 12] = [
    "STEPDOWN_PHASE",
    "STEPDOWN_REASON",
    "STEPDOWN_SIGNAL",
    "STEPDOWN_SENDER_PID",
    "STEPDOWN_CHILD_PID",
    "STEPDOWN_EXIT_CODE",
    "STEPDOWN_EXIT_SIGNAL",
    "STEPDOWN_ESCALATED",
    "STEPDOWN_REMAINING_MS",
    "STEPDOWN_OOM_KILLS",
    "STEPDOWN_GENERATION",
    "STEPDOWN_RESTARTS",
];

#[cfg(test)]
mod tests;

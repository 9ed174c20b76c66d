//! Every option of `run`, once: its name, its help, and with them its flag, its environment variable
//! and its key in the file.

/// How an option takes its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Takes a value; the last one wins.
    One(&'static str),
    /// Takes a value each time it is given; all count, in order.
    Many(&'static str),
    /// Takes no value on the command line, `1` or `0` in the environment.
    Switch,
    /// A switch that counts how often it is given.
    Count,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opt {
    pub(crate) name: &'static str,
    pub(crate) short: Option<char>,
    /// What it was called before; still taken, and shown nowhere.
    pub(crate) former: Option<&'static str>,
    pub(crate) kind: Kind,
    pub(crate) section: &'static str,
    pub(crate) help: &'static str,
}

impl Opt {
    /// `STEPDOWN_<OPTION>`.
    pub(crate) fn variable(&self) -> String {
        format!(
            "{PREFIX}{}",
            self.name.replace('-', "_").to_ascii_uppercase()
        )
    }
}

impl Opt {
    /// The default, as the help says it; none for a switch, and where nothing is the default.
    pub(crate) fn default(&self) -> Option<&'static str> {
        let (_, rest) = self.help.rsplit_once("[default: ")?;
        rest.split_once(']').map(|(default, _)| default)
    }
}

/// The words that name no COMMAND where they stand first.
pub(crate) const SUBCOMMANDS: [&str; 5] = ["explain", "check", "health", "completions", "man"];

/// What the environment variables of all options begin with.
pub(crate) const PREFIX: &str = "STEPDOWN_";

/// Variables with the prefix that are no options: hooks and the child are told things in them.
pub(crate) const TOLD: [&str; 10] = [
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
];

pub(crate) fn find(name: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| option.name == name)
}

pub(crate) const FILE: &str = "Configuration";
const STOP: &str = "Stop";
pub(crate) const SIGNALS: &str = "Signals";
const DRAIN: &str = "Drain";
const HOOKS: &str = "Hooks";
pub(crate) const READINESS: &str = "Readiness";
pub(crate) const CHILD: &str = "Child";
pub(crate) const LEFT: &str = "What is left";
pub(crate) const STATUS: &str = "Exit status";
pub(crate) const TOLD_SECTION: &str = "What it tells";

pub(crate) const fn one(
    name: &'static str,
    value: &'static str,
    section: &'static str,
    help: &'static str,
) -> Opt {
    Opt {
        name,
        short: None,
        former: None,
        kind: Kind::One(value),
        section,
        help,
    }
}

pub(crate) const fn many(
    name: &'static str,
    value: &'static str,
    section: &'static str,
    help: &'static str,
) -> Opt {
    Opt {
        name,
        short: None,
        former: None,
        kind: Kind::Many(value),
        section,
        help,
    }
}

pub(crate) const fn switch(name: &'static str, section: &'static str, help: &'static str) -> Opt {
    Opt {
        name,
        short: None,
        former: None,
        kind: Kind::Switch,
        section,
        help,
    }
}

pub(crate) const fn formerly(former: &'static str, option: Opt) -> Opt {
    Opt {
        former: Some(former),
        ..option
    }
}

const fn short(letter: char, option: Opt) -> Opt {
    Opt {
        short: Some(letter),
        ..option
    }
}

const fn counted(option: Opt) -> Opt {
    Opt {
        kind: Kind::Count,
        ..option
    }
}

/// The options of `run`, in the order of the help.
pub(crate) const OPTIONS: &[Opt] = &[
    one(
        "config",
        "FILE",
        FILE,
        "Read options from a TOML file: the same names as keys; flags and variables win over it",
    ),
    one(
        "reload-on",
        "SIGNALS",
        FILE,
        "On these signals read the file again, instead of forwarding them: all about the stop changes, \
         nothing about the child",
    ),
    one(
        "ladder",
        "STEPS",
        STOP,
        "Steps of the stop, ACTION[@TARGET][:WAIT] each: a signal, SAME (the signal that asked for \
         the stop), stdin=TEXT, eof, exec=COMMAND [default: SAME,KILL]",
    ),
    one(
        "stop-signal",
        "SIGNAL",
        STOP,
        "Stop with this signal in place of SAME",
    ),
    one(
        "grace",
        "DUR",
        STOP,
        "How long a step waits that does not say it itself [default: 30s; as PID 1, as long as the platform \
         lets it; with --deadline, what is left of that]",
    ),
    one(
        "deadline",
        "DUR",
        STOP,
        "From the request to stop until stepdown is gone, all included",
    ),
    switch("no-kill", STOP, "Do not end the ladder with KILL"),
    one(
        "max-runtime",
        "DUR",
        STOP,
        "Stop after this time, with exit status 124",
    ),
    one(
        "stop-on",
        "SIGNALS",
        SIGNALS,
        "Received signals that start the stop; all others are forwarded [default: TERM,INT]",
    ),
    one(
        "escalate-on",
        "SIGNALS",
        SIGNALS,
        "While stopping, each of these that comes again is faster: it ends what is waited for; on the \
         ladder the child gets it, and once more takes the next step [default: INT]",
    ),
    short(
        'r',
        many(
            "rewrite",
            "FROM:TO",
            SIGNALS,
            "Forward FROM as TO; drop FROM when TO is 0 [repeatable]",
        ),
    ),
    one(
        "target",
        "TARGET",
        SIGNALS,
        "Whom signals go to: child, group or tree [default: child]",
    ),
    short(
        'p',
        one(
            "parent-death-signal",
            "SIGNAL",
            SIGNALS,
            "Stop with this signal when the parent of stepdown dies",
        ),
    ),
    one(
        "drain-port",
        "PORTS",
        DRAIN,
        "Before the ladder, wait until no request is in flight on these TCP ports; auto: all that the \
         tree listens on; PORT/PROTOCOL says what it speaks: http (default), tls, h2, ws, opaque",
    ),
    one(
        "drain-delay",
        "DUR",
        DRAIN,
        "Drain at least this long: load balancers do not know yet [default: 0]",
    ),
    one(
        "drain-checks",
        "N",
        DRAIN,
        "Drain until each checker was told \"not ready\" N times",
    ),
    one(
        "drain-checks-timeout",
        "DUR",
        DRAIN,
        "Wait at most this long for the checks that --drain-checks counts [default: 10s]",
    ),
    many(
        "drain-until",
        "CONDITION",
        DRAIN,
        "Drain until the program says that nothing is in flight: http:URL answers 2xx, \
         metric:URL#NAME[{LABEL=\"VALUE\"}] is 0 (Prometheus), exec:COMMAND exits with 0, or with notify it \
         says X_STEPDOWN_IN_FLIGHT=0 (NOTIFY_SOCKET) [repeatable, all must hold]",
    ),
    one(
        "drain-quiet",
        "DUR",
        DRAIN,
        "How long a connection is quiet after an answer to count as idle; without it 10s for h2, ws, opaque and \
         the first requests of tls [default: 1s]",
    ),
    one(
        "drain-timeout",
        "DUR",
        DRAIN,
        "Drain at most this long [default: 30s]",
    ),
    many(
        "pre-start",
        "HOOK",
        HOOKS,
        "Run before the start; a failure prevents it: a command, [METHOD ]http://HOST/PATH (any 2xx is \
         success), or udp://HOST:PORT/TEXT (one datagram; %00 is a byte); the last two are tried again \
         until --hook-timeout [repeatable]",
    ),
    many(
        "pre-stop",
        "HOOK",
        HOOKS,
        "Run when a stop was asked for, before the ladder [repeatable]",
    ),
    many(
        "post-stop",
        "HOOK",
        HOOKS,
        "Run at the end, however it came [repeatable]",
    ),
    one(
        "hook-timeout",
        "DUR",
        HOOKS,
        "How long each hook may take [default: 5s]",
    ),
    one(
        "ready-when",
        "CONDITION",
        READINESS,
        "Ready when tcp:PORT[,PORT] is listened on, http:URL answers 2xx, exec:COMMAND exits with 0, \
         file:PATH is made or changed, or with notify when the child says so (NOTIFY_SOCKET); \
         without it from the start, or with --health-listen once the --drain-port is listened on",
    ),
    one(
        "ready-timeout",
        "DUR",
        READINESS,
        "A child that is not ready by then is stopped, with exit status 125; without it, it has all the time",
    ),
    one(
        "health-listen",
        "ADDR:PORT",
        READINESS,
        "Serve /livez, /readyz, /status and /metrics there; :PORT is all addresses",
    ),
    one(
        "not-ready-status",
        "CODE",
        READINESS,
        "HTTP status of /readyz while starting and stopping [default: 503]",
    ),
    one(
        "user",
        "USER[:GROUP]",
        CHILD,
        "Run the child as this user: a name from /etc/passwd, or a number",
    ),
    one(
        "group",
        "GROUP",
        CHILD,
        "Run the child with this group: a name from /etc/group, or a number",
    ),
    one("workdir", "DIR", CHILD, "Run the child in this directory"),
    many(
        "env",
        "KEY=VALUE",
        CHILD,
        "Set a variable for the child; KEY= empties it [repeatable]",
    ),
    switch(
        "no-new-privs",
        CHILD,
        "Keep the child from gaining privileges by exec (PR_SET_NO_NEW_PRIVS)",
    ),
    one(
        "stdin",
        "MODE",
        CHILD,
        "inherit, or relay: through a pipe that steps can write to [default: relay where the ladder has \
         stdin= or eof]",
    ),
    one(
        "subreaper",
        "on|off",
        LEFT,
        "Adopt orphaned descendants when not PID 1 (PR_SET_CHILD_SUBREAPER) [default: on]",
    ),
    one(
        "cgroup",
        "on|off",
        LEFT,
        "Start the child in a cgroup of its own below stepdown's, so that KILL for all that is left is one \
         write to cgroup.kill (cgroup v2, writable) [default: off]",
    ),
    one(
        "stragglers",
        "MODE",
        LEFT,
        "What the child leaves behind: stop, wait or leave [default: stop]",
    ),
    one(
        "sweep-grace",
        "DUR",
        LEFT,
        "Between TERM and KILL for what is left, or the rest of --grace if that is longer [default: 2s]",
    ),
    short(
        'e',
        many(
            "success-exit",
            "LIST",
            STATUS,
            "Exit codes and signals of the child that become 0, as 143,TERM [repeatable]",
        ),
    ),
    switch(
        "clean-stop",
        STATUS,
        "Exit 0 when a stop was asked for and the child ended by a signal of the ladder other than KILL",
    ),
    one(
        "log-level",
        "LEVEL",
        TOLD_SECTION,
        "error, warn, info or debug [default: info]",
    ),
    one(
        "log-format",
        "FORMAT",
        TOLD_SECTION,
        "text or json [default: text]",
    ),
    short(
        'v',
        counted(switch(
            "verbose",
            TOLD_SECTION,
            "Tell more: forwarded signals, reaped orphans",
        )),
    ),
    one(
        "report",
        "FILE",
        TOLD_SECTION,
        "Write one JSON document of the whole run at the end",
    ),
    one(
        "state-file",
        "FILE",
        TOLD_SECTION,
        "Keep there what the last runs were: told to the child and hooks as STEPDOWN_LAST_*, and where \
         metrics begin",
    ),
    one(
        "metrics-file",
        "FILE",
        TOLD_SECTION,
        "Keep metrics there for the textfile collector of node_exporter, whose directory it is to be in, \
         named *.prom",
    ),
    short('q', switch("quiet", TOLD_SECTION, "Tell errors only")),
    short(
        'w',
        switch(
            "log-reaped",
            TOLD_SECTION,
            "Tell about each orphan that was reaped, at any level",
        ),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_letters_are_unique() {
        for (index, option) in OPTIONS.iter().enumerate() {
            for other in &OPTIONS[index + 1..] {
                assert_ne!(option.name, other.name);
                assert!(
                    option.short.is_none() || option.short != other.short,
                    "{}",
                    option.name
                );
            }
            assert!(!TOLD.contains(&option.variable().as_str()));
        }
        for flag in crate::dropin::FLAGS {
            assert!(
                OPTIONS
                    .iter()
                    .all(|option| option.short != Some(flag.letter))
            );
            assert!(flag.long.is_none_or(|long| find(long).is_none()));
            assert!(find(flag.option).is_some());
        }
    }
}

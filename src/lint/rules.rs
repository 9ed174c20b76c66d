//! The rules, once: name, level, what it is, why it matters, and the way out. Text, `--rules`, SARIF and the
//! docs/lint.md have them from here.

use serde::Serialize;

/// How bad it is. A note fails nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Note,
    Warning,
    Error,
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    pub(crate) level: Level,
    /// What is found, as a title.
    pub(crate) title: &'static str,
    pub(crate) why: &'static str,
    pub(crate) way_out: &'static str,
}

macro_rules! rules {
    ($($name:ident $text:literal $level:ident: $title:literal, $why:literal, $way_out:literal;)*) => {
        $(pub(crate) static $name: Rule = Rule {
            name: $text,
            level: Level::$level,
            title: $title,
            why: $why,
            way_out: $way_out,
        };)*
        /// All of them, in the order of `--rules`.
        pub(crate) static RULES: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    SHELL_FORM "shell-form" Warning:
        "a shell stands in front of the program",
        "the stop signal goes to the shell, which does not pass it on: dash (sh on Debian and Ubuntu) waits for the \
         program instead of becoming it. As PID 1 it does not end on TERM either, so the program is killed when \
         the grace period is over; behind an init it ends, and the program is killed at once",
        "write the exec form, [\"PROGRAM\", \"ARGUMENT\"], or exec before the program";
    SHELL_STAYS "shell-stays" Error:
        "a shell waits for something else than one program, and has no trap",
        "the stop signal goes to the shell, which does not pass it on; as PID 1 without a trap it does not end on \
         TERM either, so everything is killed when the grace period is over; behind an init it ends, and everything is \
         killed at once",
        "start one program with exec, or put stepdown in front, which signals all of them: stepdown --target group --";
    SCRIPT_WITHOUT_EXEC "script-without-exec" Error:
        "the entrypoint script starts the program without exec",
        "the stop signal goes to the shell of the script, which waits for the program and does not pass the signal \
         on, so the program is killed: as PID 1 when the grace period is over, behind an init at once",
        "write exec before that command: exec PROGRAM";
    EXEC_FORM_BROKEN "exec-form-broken" Error:
        "an exec form is not valid JSON, so a shell runs it",
        "Docker takes whatever is not a JSON array for the shell form, so sh gets the brackets and quotes as they are",
        "use double quotes, and a comma between the words";
    CMD_IGNORED "cmd-ignored" Warning:
        "CMD has no effect beside the shell form of ENTRYPOINT",
        "the shell form is run as sh -c LINE, and what follows is no argument of the program",
        "write the exec form of ENTRYPOINT, or leave out CMD";
    NO_COMMAND "no-command" Warning:
        "there is no command behind an init",
        "where ENTRYPOINT is written (entrypoint in compose, command in Kubernetes), the CMD of the image below does not \
         count any more, so the init has nothing to start, and the container ends at once",
        "write the command as well (CMD, command in compose, args in Kubernetes): docker image inspect shows that of the \
         image below";
    RUNNER_IN_FRONT "runner-in-front" Warning:
        "npm, yarn or pnpm stands in front of the program",
        "it starts the program through a shell, which does not pass TERM on; both end before the program, which is \
         then killed, so requests are cut off",
        "start the program itself, as in [\"node\", \"server.js\"], or put stepdown in front with --drain-port";
    NO_HANDLER "no-handler" Warning:
        "PID 1 is a program without a handler for the stop signal",
        "the kernel discards a signal for which PID 1 has no handler, so each stop lasts the whole grace period and \
         ends with KILL",
        "put an init in front (ENTRYPOINT [\"stepdown\", \"--\"], docker run --init, init: true in compose)";
    SIGNAL_UNKNOWN "signal-unknown" Error:
        "no program can act on the stop signal",
        "the platform refuses a name that it does not know; KILL and STOP reach no program, only the kernel acts on \
         them",
        "name a signal that the program handles, for example SIGTERM";
    SIGNAL_NOT_TAKEN "signal-not-taken" Error:
        "the program does not stop on this signal",
        "the program goes on running, and is killed when the grace period is over; where stepdown only forwards the signal, \
         hooks and drain are left out",
        "name a signal on which the program stops (STOPSIGNAL, stop_signal, --stop-signal of stepdown); for a shell, remove \
         the trap; for stepdown, add the signal to --stop-on, and take it out of --rewrite";
    SIGNAL_CUTS "signal-cuts" Note:
        "the stop signal makes the server cut off requests",
        "the server ends at once on this signal; on another one it first finishes its open requests",
        "name the other signal in STOPSIGNAL, stop_signal or KillSignal=, or in stepdown --stop-signal";
    GRACE_TOO_SHORT "grace-too-short" Error:
        "the grace period is shorter than the plan of stepdown",
        "the platform sends KILL in the middle of the stop, and what comes last in the plan (post-stop hooks, files) \
         is lost",
        "raise the grace period, or lower --deadline; stepdown explain shows what takes how long";
    PROBE_GRACE_TOO_SHORT "probe-grace-too-short" Error:
        "the grace period of a probe is shorter than the plan of stepdown",
        "a stop that this probe asks for has its own grace period, which replaces that of the Pod",
        "raise the grace period of the probe, or leave it out: then that of the Pod counts";
    PRE_STOP_EATS_GRACE "pre-stop-eats-grace" Error:
        "preStop leaves too little of the grace period",
        "the grace period begins when preStop begins, and the program gets TERM only when preStop has ended",
        "raise terminationGracePeriodSeconds by the time of preStop, or shorten preStop";
    NO_GRACE "no-grace" Warning:
        "there is no grace period at all",
        "the platform sends KILL at once, and the program can finish nothing",
        "leave it out (then it is 10 s in compose, 30 s in Kubernetes), or write how long the program needs";
    SERVER_OUTLASTS_GRACE "server-outlasts-grace" Warning:
        "the server waits for its requests longer than the grace period",
        "the platform sends KILL while the server still waits for its requests, which are cut off",
        "raise the grace period above that time, or lower that time";
    DRAIN_WITHOUT_DELAY "drain-without-delay" Warning:
        "the drain has no delay, and a load balancer is in front",
        "the balancer goes on sending requests until it knows of the stop: an idle replica has ended by then",
        "add --drain-delay 5s, or --drain-checks where the balancer asks /readyz";
    READINESS_TOO_SLOW "readiness-too-slow" Warning:
        "the balancer finds out later than the drain delay that it is not ready",
        "until its checks have failed it sends requests to a replica that is stopping",
        "raise --drain-delay above interval x failures, or check more often";
    TWO_INITS "two-inits" Warning:
        "two inits in a row",
        "the second one is not PID 1: a process that loses its parent goes to the first one, which does not stop it",
        "leave one of them out";
    INIT_NOT_PID1 "init-not-pid1" Error:
        "an init that has to be PID 1 is not PID 1",
        "s6-overlay refuses to start where another init is PID 1, so the container never runs",
        "leave out the other init";
    RESTART_TWICE "restart-twice" Warning:
        "the platform restarts it, and so does stepdown",
        "after --restart-limit stepdown gives up, so that somebody notices; but the platform starts the container \
         again at once",
        "leave the restart to one of them";
    KILL_MODE "kill-mode" Error:
        "KillMode= bypasses stepdown, or stops nothing",
        "with process systemd signals only the first process, and with none nobody; with control-group, the default, it \
         signals stepdown, where that is the first process, and its program at the same time, so the program is ending \
         before hooks and drain are done",
        "write KillMode=mixed";
    STEPDOWN_OPTIONS "stepdown-options" Error:
        "stepdown does not take its options",
        "stepdown exits with 125 before it starts anything",
        "correct the option; stepdown explain shows what was understood";
    WITHOUT_EFFECT "without-effect" Note:
        "an option of stepdown changes nothing",
        "a variable or a key of the file has no effect in this plan",
        "add what it needs, or leave it out";
    DEADLINE_CUTS "deadline-cuts" Note:
        "the deadline is shorter than the phases that were asked for",
        "if all phases need their full time, the last ones are cut short",
        "raise --deadline, or shorten a phase";
    LOST_AFTER_KILL "lost-after-kill" Warning:
        "what comes after the ladder depends on the platform's KILL",
        "without --grace or --deadline PID 1 waits until the platform sends KILL: if the program does not end, the \
         platform kills stepdown as well, before post-stop hooks and files",
        "add --deadline, shorter than the grace period";
    ENTRYPOINT_REPLACED "entrypoint-replaced" Warning:
        "the init of the image is replaced",
        "the ENTRYPOINT of the image begins with an init, and another command runs instead of it, without the init",
        "give the command as arguments (command: in compose, args: in Kubernetes), or begin it with the init";
    UNKNOWN_RULE "unknown-rule" Warning:
        "an ignore names no rule",
        "it ignores nothing",
        "write a name of stepdown lint --rules";
}

/// The rule of this name.
pub(crate) fn find(name: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.name == name)
}

/// The text of `--rules`.
pub(crate) fn listing() -> String {
    let wide = RULES.iter().map(|rule| rule.name.len()).max().unwrap_or(0);
    let lines = RULES.iter().map(|rule| {
        let level = rule.level.name();
        format!("{:wide$}  {level:7}  {}\n", rule.name, rule.title)
    });
    lines.collect()
}

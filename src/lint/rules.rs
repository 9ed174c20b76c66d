//! The rules, once: name, level, what it is, why it matters, and the way out. Text, `--rules`, SARIF and the
//! README have them from here.

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
        "the platform signals the shell, which passes nothing on: dash, the sh of Debian and Ubuntu, stays for any \
         command of -c, and as PID 1 it does not even end itself, so the program is killed when the grace period is over",
        "write the exec form, [\"PROGRAM\", \"ARGUMENT\"], or exec before the program";
    SHELL_STAYS "shell-stays" Error:
        "a shell waits for something else than one program, and has no trap",
        "no shell replaces itself by a pipeline, a loop or a job in the background; it passes no signal on, and as PID 1 \
         without a trap it never ends by TERM, so everything is killed when the grace period is over",
        "start one program with exec, or put an init in front that signals all: stepdown --target group --";
    SCRIPT_WITHOUT_EXEC "script-without-exec" Error:
        "the entrypoint script starts the program without exec",
        "the shell of the script stays, waits for the program and passes no signal on, so the program is killed when \
         the grace period is over",
        "write exec before the last command";
    EXEC_FORM_BROKEN "exec-form-broken" Error:
        "an exec form is no JSON, and so is run by a shell",
        "Docker takes what is no JSON array for the shell form: sh gets the brackets and quotes as they are",
        "use double quotes, and a comma between the words";
    CMD_IGNORED "cmd-ignored" Warning:
        "CMD has no effect beside the shell form of ENTRYPOINT",
        "the shell form is run as sh -c LINE, and what follows is no argument of the program",
        "write the exec form of ENTRYPOINT, or leave out CMD";
    RUNNER_IN_FRONT "runner-in-front" Warning:
        "npm, yarn or pnpm stands in front of the program",
        "it starts the program through a shell and ends at TERM before the program has, so requests are cut off",
        "start the program itself, as in [\"node\", \"server.js\"], or put stepdown in front with --drain-port";
    NO_HANDLER "no-handler" Warning:
        "PID 1 is a program without a handler for the stop signal",
        "the kernel keeps signals from PID 1 that it has no handler for, so each stop lasts the whole grace period and \
         ends with KILL",
        "put an init in front: stepdown --, or init: true";
    SIGNAL_UNKNOWN "signal-unknown" Error:
        "the stop signal is none that a program can act on",
        "the platform refuses a name that it does not know; KILL and STOP reach no program, only the kernel acts on them",
        "name a signal that the program handles, as SIGTERM";
    SIGNAL_NOT_TAKEN "signal-not-taken" Error:
        "the program does not stop by this signal",
        "what the program does not stop by is lost, and when the grace period is over it is killed",
        "name the signal that the program takes; for stepdown, add it to --stop-on";
    SIGNAL_CUTS "signal-cuts" Note:
        "the stop signal makes the server cut off requests",
        "the server has another signal by which it finishes what it has begun",
        "name that signal by STOPSIGNAL, stop_signal or KillSignal=, or stepdown --stop-signal";
    GRACE_TOO_SHORT "grace-too-short" Error:
        "the grace period is shorter than the plan of stepdown",
        "the platform sends KILL in the middle of the stop: what comes last (KILL by the plan, post-stop hooks, files) is lost",
        "raise the grace period, or lower --deadline; stepdown explain shows what takes how long";
    PROBE_GRACE_TOO_SHORT "probe-grace-too-short" Error:
        "the grace period of a probe is shorter than the plan of stepdown",
        "a stop that this probe asks for has its own grace period, which replaces that of the Pod",
        "raise it, or leave it out";
    PRE_STOP_EATS_GRACE "pre-stop-eats-grace" Error:
        "preStop leaves too little of the grace period",
        "the grace period counts from the beginning of preStop; the program gets TERM only after it",
        "raise terminationGracePeriodSeconds by the time of preStop, or shorten preStop";
    NO_GRACE "no-grace" Warning:
        "there is no grace period at all",
        "the platform sends KILL at once; no program can finish what it has begun",
        "leave it out, or write how long the program needs";
    SERVER_OUTLASTS_GRACE "server-outlasts-grace" Warning:
        "the server waits for its requests longer than the grace period",
        "the platform sends KILL while the server still does as it was told",
        "raise the grace period above the time of the server";
    DRAIN_WITHOUT_DELAY "drain-without-delay" Warning:
        "the drain has no delay, and a load balancer is in front",
        "the balancer goes on sending until it knows of the stop: an idle replica has drained and gone by then",
        "add --drain-delay 5s, or --drain-checks where the balancer asks /readyz";
    READINESS_TOO_SLOW "readiness-too-slow" Warning:
        "the balancer finds out later than the drain delay that it is not ready",
        "until its checks have failed it sends requests to a replica that is stopping",
        "raise --drain-delay above interval x failures, or check more often";
    TWO_INITS "two-inits" Warning:
        "two inits in a row",
        "the second one is not PID 1: what is left over is adopted by the first, which knows nothing of the plan",
        "leave one of them out";
    INIT_NOT_PID1 "init-not-pid1" Error:
        "an init that has to be PID 1 is not",
        "s6-overlay refuses to start where another init is PID 1, so the container never runs",
        "leave out the other init";
    RESTART_TWICE "restart-twice" Warning:
        "the platform restarts it, and so does stepdown",
        "after --restart-limit stepdown gives up so that somebody sees it, and the platform starts all again at once",
        "leave the restart to one of them";
    KILL_MODE "kill-mode" Error:
        "KillMode= bypasses stepdown, or stops nothing",
        "with control-group, the default, systemd signals all processes at once: hooks, drain and ladder find a program \
         that is ending already; with none it signals nothing at all",
        "write KillMode=mixed";
    STEPDOWN_OPTIONS "stepdown-options" Error:
        "stepdown does not take its options",
        "it says so and exits with 125 before anything is started",
        "correct the option; stepdown explain shows what was understood";
    WITHOUT_EFFECT "without-effect" Note:
        "an option of stepdown changes nothing",
        "a variable or the file says something that has no effect in this plan",
        "add what it needs, or leave it out";
    DEADLINE_CUTS "deadline-cuts" Note:
        "the deadline is shorter than the phases that were asked for",
        "where all of them use up their time, the later ones are cut short",
        "raise --deadline, or shorten a phase";
    LOST_AFTER_KILL "lost-after-kill" Warning:
        "what comes after the ladder depends on the platform's KILL",
        "without --grace or --deadline PID 1 waits as long as the platform lets it: if the program does not end, KILL \
         takes stepdown, too, and post-stop hooks and files never come",
        "add --deadline, shorter than the grace period";
    ENTRYPOINT_REPLACED "entrypoint-replaced" Warning:
        "the init of the image is replaced",
        "the ENTRYPOINT of the image begins with an init, and this runs another command in its place",
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

//! The command lines of the subcommands: `explain`, `check`, `health`, `doctor`, `completions` and `man`.

use std::env;
use std::ffi::{OsStr, OsString};

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};

#[cfg(feature = "manual")]
use super::manual;
use super::misread::Known;
use super::{
    Invocation, add_environment, all, environment, parsed, refused, take, take_table, with_command,
    with_options, with_table,
};
#[cfg(feature = "check")]
use crate::check::options::{self as check_options, foreign};
#[cfg(feature = "doctor")]
use crate::doctor::Examination;
#[cfg(feature = "explain")]
use crate::explain as explaining;
#[cfg(feature = "explain")]
use crate::explain::fits::Fits;
#[cfg(feature = "explain")]
use crate::explain::platform::PLATFORMS;
#[cfg(feature = "health")]
use crate::health::{PATIENCE, Question};
use crate::options::Settings;
#[cfg(feature = "check")]
use crate::options::check::CHECK;
use crate::options::definition::written;
use crate::words::fault::{Error, Fault};

#[cfg(not(feature = "check"))]
pub(super) use absent as check;
#[cfg(not(feature = "doctor"))]
pub(super) use absent as doctor;
#[cfg(not(feature = "explain"))]
pub(super) use absent as explain;
#[cfg(not(feature = "health"))]
pub(super) use absent as health;
#[cfg(not(feature = "manual"))]
pub(super) use {absent as completions, absent as man};

/// For a subcommand that this build leaves out; the first of the arguments is its name.
#[cfg_attr(
    all(
        feature = "check",
        feature = "doctor",
        feature = "explain",
        feature = "health",
        feature = "lint",
        feature = "manual"
    ),
    expect(dead_code, reason = "in the full build none is left out")
)]
pub(super) fn absent(arguments: Vec<OsString>) -> Result<Invocation, String> {
    let name = arguments.first().map(|name| name.to_string_lossy());
    let fault = Fault::new("this build is for images and does not have it");
    let way_out = "use the full one, of scripts/build-static or cargo build; a program of that name is run by \
                   stepdown -- NAME";
    Err(Error::new(name.unwrap_or_default(), fault.way_out(way_out)).to_string())
}

#[cfg(feature = "explain")]
pub(super) fn explain_command() -> Command {
    with_options(Command::new("explain"))
        .about("Print the stop plan as a timeline, with its worst case; change nothing")
        .override_usage("stepdown explain [OPTIONS] [-- COMMAND...]")
        .arg(
            Arg::new("assume")
                .long("assume")
                .value_name("CUE[:DUR]")
                .action(ArgAction::Append)
                .help_heading("Explain")
                .help(
                    "What happens, as in TERM:3s, start:3s, fail=7:3s, hang:30s or replace:5s [repeatable] \
                     [default: only KILL ends the child]",
                ),
        )
        .arg(
            Arg::new("as")
                .long("as")
                .value_name("PLACE")
                .help_heading("Explain")
                .help(
                    "How stepdown runs: pid1, as in a container, or process, as anywhere else [default: pid1]",
                ),
        )
        .arg(
            Arg::new("fits")
                .long("fits")
                .value_name("DUR")
                .allow_negative_numbers(true)
                .help_heading("Explain")
                .help("Exit with 1 if the worst case of the stop takes longer than this"),
        )
        .arg(
            Arg::new("platform")
                .long("platform")
                .value_name("NAME")
                .help_heading("Explain")
                .help(format!(
                    "The same for the default grace period and the signal of a platform: {}",
                    PLATFORMS.map(|platform| platform.name).join(", ")
                )),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help_heading("Explain")
                .help("Print the timeline as JSON lines, and the worst case as the last one"),
        )
        .after_help(
            "Exit status: 0; 1 the worst case does not fit (--fits, --platform); 125 the plan could not be started.",
        )
}

#[cfg(feature = "explain")]
pub(super) fn explain(arguments: Vec<OsString>) -> Result<Invocation, String> {
    let matches = match parsed(explain_command(), Known::of_run(), &arguments) {
        Ok(matches) => matches,
        Err(other) => return other,
    };
    let mut settings = Settings::default();
    take(&matches, &mut settings);
    add_environment(&mut settings)?;
    let place = matches.get_one::<String>("as");
    let raw = |id| {
        matches
            .get_raw(id)
            .into_iter()
            .flatten()
            .map(OsStr::to_owned)
            .collect()
    };
    let text = |id| matches.get_one::<String>(id).map(String::as_str);
    let fits = Fits::parse(text("platform"), text("fits")).map_err(|error| error.to_string())?;
    let in_container = fits.platform.is_none_or(|platform| platform.in_container);
    settings.as_pid1 = place.map_or(Ok(in_container), |place| {
        explaining::is_pid1(place).map_err(|e| e.to_string())
    })?;
    Ok(Invocation::Explain {
        settings,
        assume: raw("assume"),
        fits,
        json: matches.get_flag("json"),
    })
}

#[cfg(feature = "check")]
pub(super) fn check_command() -> Command {
    // Its own options first: whoever asks for this help is looking for them.
    let command = with_table(with_command(Command::new("check")), all(CHECK));
    with_table(command, foreign::shared())
        .about("Test how COMMAND shuts down; exit 0 when all promises held, 1 when one was broken")
        .override_usage("stepdown check [OPTIONS] -- COMMAND [ARGS]...")
        .after_help(
            "Exit status: 0 all promises held; 1 one was broken; 125 it could not be checked.\n\n\
             stepdown check --ready-when tcp:8080 --within 5s --port-free 8080 -- ./server\n\
             stepdown check --offsets 0ms..2s/50ms --as-pid1 -- ./server\n\
             stepdown check --compare --junit report.xml --html report.html -- ./server\n\
             stepdown check --stop-command 'docker stop web' --container web -- docker run --rm --name web image",
        )
}

#[cfg(feature = "check")]
pub(super) fn check(arguments: Vec<OsString>) -> Result<Invocation, String> {
    let matches = match parsed(check_command(), Known::of_check(), &arguments) {
        Ok(matches) => matches,
        Err(other) => return other,
    };
    let mut settings = Settings::default();
    take_table(&matches, &mut settings, all(CHECK));
    take_table(&matches, &mut settings, foreign::shared());
    let words: Vec<OsString> = matches
        .get_raw("command")
        .into_iter()
        .flatten()
        .map(OsStr::to_owned)
        .collect();
    if words.is_empty() {
        let fault = Fault::new("no command to check");
        let way_out = "stepdown check [OPTIONS] -- COMMAND [ARGS]... (see --help)";
        return Err(Error::new("usage", fault.way_out(way_out)).to_string());
    }
    // The variables are for the stepdown under test, not for this one.
    let own = environment().filter(|_| !foreign::is_stepdown(&words));
    let own: Vec<_> = own.collect();
    if let Some(error) = foreign::misplaced(own.iter().map(|(name, _)| name)) {
        return Err(error.to_string());
    }
    settings
        .add_environment(own)
        .map_err(|error| error.to_string())?;
    check_options::parse(settings, words)
        .map(|check| Invocation::Check(Box::new(check)))
        .map_err(|error| error.to_string())
}

#[cfg(feature = "health")]
pub(super) fn health_command() -> Command {
    Command::new("health")
        .about("Ask a health endpoint; exit 0 for an answer of 2xx, 1 for any other or none")
        .override_usage("stepdown health [--timeout DUR] [--wait DUR] [URL]")
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("DUR")
                .allow_negative_numbers(true)
                .help(format!(
                    "How long an answer may take [default: {}]",
                    written(PATIENCE)
                )),
        )
        .arg(
            Arg::new("wait")
                .long("wait")
                .value_name("DUR")
                .allow_negative_numbers(true)
                .help("Ask again until the answer is 2xx, for this long [default: 0, ask once]"),
        )
        .arg(Arg::new("url").value_name("URL").help(
            "http://HOST[:PORT]/PATH, or a /PATH of the endpoint that STEPDOWN_HEALTH_LISTEN names \
             [default: /readyz]",
        ))
}

#[cfg(feature = "health")]
pub(super) fn health(arguments: Vec<OsString>) -> Result<Invocation, String> {
    let matches = match health_command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return refused(&error, &arguments),
    };
    let listen = env::var_os("STEPDOWN_HEALTH_LISTEN");
    let listen = listen.as_ref().filter(|listen| !listen.is_empty());
    let listen = listen.map(|listen| listen.to_string_lossy());
    let text = |id| matches.get_one::<String>(id).map(String::as_str);
    let question = Question::parse(
        text("url"),
        text("timeout"),
        text("wait"),
        listen.as_deref(),
    );
    question
        .map(Invocation::Health)
        .map_err(|error| error.to_string())
}

#[cfg(feature = "doctor")]
pub(super) fn doctor_command() -> Command {
    Command::new("doctor")
        .about("Say of running processes whether they will stop, and why not; send and change nothing")
        .override_usage("stepdown doctor [OPTIONS] [PID | CONTAINER | NAME]...")
        .arg(
            Arg::new("signal")
                .long("signal")
                .value_name("SIGNAL")
                .help("The signal of the stop that is asked about [default: that of the container, or TERM]"),
        )
        .arg(
            Arg::new("grace")
                .long("grace")
                .value_name("DUR")
                .allow_negative_numbers(true)
                .help("How long the platform waits before it sends KILL [default: what the container is set to]"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print one JSON document (docs/doctor.schema.json)"),
        )
        .arg(
            Arg::new("target")
                .value_name("PID | CONTAINER | NAME")
                .action(ArgAction::Append)
                .num_args(0..)
                .help("A process, a container of Docker or Podman, or all processes of this program [default: in a container all of its processes]"),
        )
        .term_width(0)
        .after_help(
            "Exit status: 0 all will stop; 1 one will not, or not in order; 125 it cannot be seen.\n\n\
             docker exec web stepdown doctor\n\
             stepdown doctor web\n\
             stepdown doctor --signal QUIT nginx",
        )
}

#[cfg(feature = "doctor")]
pub(super) fn doctor(arguments: Vec<OsString>) -> Result<Invocation, String> {
    let matches = match doctor_command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return refused(&error, &arguments),
    };
    let text = |id| matches.get_one::<String>(id).map(String::as_str);
    let targets = matches.get_many::<String>("target");
    let targets = targets.into_iter().flatten().cloned().collect();
    Examination::parse(
        targets,
        text("signal"),
        text("grace"),
        matches.get_flag("json"),
    )
    .map(Invocation::Doctor)
    .map_err(|error| error.to_string())
}

#[cfg(feature = "manual")]
pub(super) fn completions_command() -> Command {
    Command::new("completions")
        .about("Print the completion script for a shell")
        .override_usage("stepdown completions SHELL")
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .help("bash, zsh or fish"),
        )
        .after_help("bash: source <(stepdown completions bash)")
}

#[cfg(feature = "manual")]
pub(super) fn completions(arguments: Vec<OsString>) -> Result<Invocation, String> {
    let matches = match completions_command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return refused(&error, &arguments),
    };
    let shell = matches.get_one::<String>("shell").map(String::as_str);
    manual::completions(shell)
        .map(Invocation::Print)
        .map_err(|error| error.to_string())
}

#[cfg(feature = "manual")]
pub(super) fn man_command() -> Command {
    Command::new("man")
        .about("Print the manual page")
        .override_usage("stepdown man")
        .after_help("stepdown man | man -l -")
}

#[cfg(feature = "manual")]
pub(super) fn man(arguments: Vec<OsString>) -> Result<Invocation, String> {
    match man_command().try_get_matches_from(&arguments) {
        Ok(_) => manual::page().map(Invocation::Print),
        Err(error) if error.kind() == ErrorKind::UnknownArgument => {
            let fault = Fault::new("it takes no arguments");
            let way_out = "the program man is run by stepdown -- man ...";
            Err(Error::new("man", fault.way_out(way_out)).to_string())
        }
        Err(error) => refused(&error, &arguments),
    }
}

//! The command line: what was typed, with nothing resolved yet.

mod manual;
mod misread;

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::check::options::{self as check_options, Check, foreign};
use crate::dropin::{self, Meaning, Tool};
use crate::explain as explaining;
use crate::health::{PATIENCE, Question};
use crate::options::check::CHECK;
use crate::options::definition::written;
use crate::options::{Kind, OPTIONS, Opt, PREFIX, Settings, Source};
use crate::sys;
use crate::words::fault::{Error, Fault};
use misread::Known;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Invocation {
    Run {
        settings: Settings,
        command: Vec<OsString>,
    },
    Explain {
        settings: Settings,
        assume: Vec<OsString>,
        json: bool,
    },
    Check(Box<Check>),
    Health(Question),
    /// Text for standard output: help, version, license.
    Print(String),
    /// Called by the name of another tool.
    Dropin(Meaning),
}

/// Reads the arguments, the program's name first, and the environment.
///
/// # Errors
/// What could not be understood, as a message for the user.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Invocation, String> {
    if let Some(tool) = Tool::named(arguments.first()) {
        let theirs = theirs().collect();
        return dropin::parse(tool, arguments, environment(), theirs).map(Invocation::Dropin);
    }
    let named = arguments.get(1).and_then(|first| first.to_str());
    // A subcommand is the first word or none: after an option or `--` a word is the COMMAND.
    match named {
        Some("explain") => return explain(arguments.into_iter().skip(1).collect()),
        Some("check") => return check(arguments.into_iter().skip(1).collect()),
        Some("health") => return health(arguments.into_iter().skip(1).collect()),
        Some("completions") => return completions(arguments.into_iter().skip(1).collect()),
        Some("man") => return man(arguments.into_iter().skip(1).collect()),
        _ => {}
    }
    // Nothing but a command: no need to build the parser, which costs more than all the rest of the
    // start. What it would say about such a line is exactly this.
    let plain = match arguments.get(1).map(|first| first.as_bytes()) {
        Some(b"--") => 2,
        Some(word) if !word.starts_with(b"-") => 1,
        _ => 0,
    };
    let mut settings = Settings::default();
    if plain > 0 && arguments.len() > plain {
        add_environment(&mut settings)?;
        let command = arguments.into_iter().skip(plain).collect();
        return Ok(Invocation::Run { settings, command });
    }
    let matches = match parsed(run_command(), Known::of_run(), &arguments) {
        Ok(matches) => matches,
        Err(other) => return other,
    };
    if matches.get_flag("license") {
        return Ok(Invocation::Print(dropin::LICENSE.to_owned()));
    }
    take(&matches, &mut settings);
    add_environment(&mut settings)?;
    let command: Vec<OsString> = matches
        .get_raw("command")
        .into_iter()
        .flatten()
        .map(OsStr::to_owned)
        .collect();
    if command.is_empty() {
        // An option may have taken the command as its value.
        let plan = settings.plan();
        return Err(plan.map_or_else(|error| error.to_string(), |_| no_command()));
    }
    Ok(Invocation::Run { settings, command })
}

/// Reads a command line with COMMAND; the error is what to do or print instead.
fn parsed(
    command: Command,
    known: Known,
    arguments: &[OsString],
) -> Result<ArgMatches, Result<Invocation, String>> {
    if let Some(error) = known.misread(arguments) {
        return Err(Err(error.to_string()));
    }
    let joined = known.with_joined_values(arguments);
    command.try_get_matches_from(joined).map_err(|error| {
        let unknown = known.unknown(&error, arguments);
        unknown.map_or_else(|| refused(&error), |error| Err(error.to_string()))
    })
}

fn add_environment(settings: &mut Settings) -> Result<(), String> {
    settings
        .add_environment(environment())
        .map_err(|error| error.to_string())?;
    dropin::add_environment(settings, theirs());
    Ok(())
}

fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    sys::environment::beginning_with(PREFIX)
}

/// The variables of the tools that stepdown can replace.
fn theirs() -> impl Iterator<Item = (OsString, OsString)> {
    let names = dropin::VARIABLES.into_iter();
    names.filter_map(|name| Some((name.into(), env::var_os(name)?)))
}

fn no_command() -> String {
    let fault = Fault::new("no command to run");
    Error::new(
        "usage",
        fault.way_out("stepdown [OPTIONS] [--] COMMAND [ARGS]... (see --help)"),
    )
    .to_string()
}

/// Help and version are texts to print, everything else is an error.
fn refused(error: &clap::Error) -> Result<Invocation, String> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            Ok(Invocation::Print(error.to_string()))
        }
        kind => Err(usage_error(kind, error)),
    }
}

/// One line, as every error of ours: the argument, what is wrong with it, the way out.
fn usage_error(kind: ErrorKind, error: &clap::Error) -> String {
    let said = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    if let (ErrorKind::UnknownArgument, Some(argument)) = (kind, said(ContextKind::InvalidArg)) {
        let fault = Fault::new("unknown option");
        let fault = match said(ContextKind::SuggestedArg) {
            Some(near) => fault.way_out(format!("did you mean {near}?")),
            None => fault.way_out("see --help; a command that begins so stands after --"),
        };
        return Error::new(argument, fault).to_string();
    }
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    format!(
        "{} (see --help)",
        line.strip_prefix("error: ").unwrap_or(line)
    )
}

fn explain_command() -> Command {
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
                    "Assume a child that exits DUR after CUE: a signal, stdin, eof, exec, or its own start; \
                     fail[=CODE]:DUR is a life before, which fails DUR after its start [repeatable] [default: it \
                     ends by KILL only]",
                ),
        )
        .arg(
            Arg::new("as")
                .long("as")
                .value_name("PLACE")
                .help_heading("Explain")
                .help(
                    "How stepdown runs: pid1, as in a container, or process, as anywhere else; without --grace it \
                     decides how long a step waits [default: pid1]",
                ),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help_heading("Explain")
                .help("Print the records as JSON lines, as --log-format json -v would log them"),
        )
}

fn explain(arguments: Vec<OsString>) -> Result<Invocation, String> {
    let matches = match parsed(explain_command(), Known::of_run(), &arguments) {
        Ok(matches) => matches,
        Err(other) => return other,
    };
    let mut settings = Settings::default();
    take(&matches, &mut settings);
    add_environment(&mut settings)?;
    let place = matches.get_one::<String>("as");
    settings.as_pid1 = place.map_or(Ok(true), |place| {
        explaining::is_pid1(place).map_err(|e| e.to_string())
    })?;
    let raw = |id| {
        matches
            .get_raw(id)
            .into_iter()
            .flatten()
            .map(OsStr::to_owned)
            .collect()
    };
    Ok(Invocation::Explain {
        settings,
        assume: raw("assume"),
        json: matches.get_flag("json"),
    })
}

fn check_command() -> Command {
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

fn check(arguments: Vec<OsString>) -> Result<Invocation, String> {
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

fn health_command() -> Command {
    Command::new("health")
        .about("Ask a health endpoint; exit 0 for an answer of 2xx, 1 for any other or none")
        .override_usage("stepdown health [--timeout DUR] [--wait DUR] [URL]")
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("DUR")
                .help(format!(
                    "How long an answer may take [default: {}]",
                    written(PATIENCE)
                )),
        )
        .arg(
            Arg::new("wait")
                .long("wait")
                .value_name("DUR")
                .help("Ask again until the answer is 2xx, for this long [default: 0, ask once]"),
        )
        .arg(Arg::new("url").value_name("URL").help(
            "http://HOST[:PORT]/PATH, or a /PATH of the endpoint that STEPDOWN_HEALTH_LISTEN names \
             [default: /readyz]",
        ))
}

fn health(arguments: Vec<OsString>) -> Result<Invocation, String> {
    let matches = match health_command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return refused(&error),
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

fn completions_command() -> Command {
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

fn completions(arguments: Vec<OsString>) -> Result<Invocation, String> {
    let matches = match completions_command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return refused(&error),
    };
    let shell = matches.get_one::<String>("shell").map(String::as_str);
    manual::completions(shell)
        .map(Invocation::Print)
        .map_err(|error| error.to_string())
}

fn man_command() -> Command {
    Command::new("man")
        .about("Print the manual page")
        .override_usage("stepdown man")
        .after_help("stepdown man | man -l -")
}

fn man(arguments: Vec<OsString>) -> Result<Invocation, String> {
    match man_command().try_get_matches_from(arguments) {
        Ok(_) => manual::page().map(Invocation::Print),
        Err(error) if error.kind() == ErrorKind::UnknownArgument => {
            let fault = Fault::new("it takes no arguments");
            let way_out = "the program man is run by stepdown -- man ...";
            Err(Error::new("man", fault.way_out(way_out)).to_string())
        }
        Err(error) => refused(&error),
    }
}

/// All subcommands, in the order of the help.
pub(crate) fn subcommands() -> [Command; 5] {
    [
        explain_command(),
        check_command(),
        health_command(),
        completions_command(),
        man_command(),
    ]
}

/// The parser of `run`, and of the help that shows the other subcommands.
pub(crate) fn run_command() -> Command {
    with_options(Command::new("stepdown"))
        .about("Run COMMAND, bring it down one step at a time, return its status")
        .version(env!("CARGO_PKG_VERSION"))
        .override_usage(
            "stepdown [OPTIONS] [--] COMMAND [ARGS]...\n       \
             stepdown explain [OPTIONS] [-- COMMAND...]\n       \
             stepdown check [OPTIONS] -- COMMAND [ARGS]...\n       \
             stepdown health [OPTIONS] [URL]\n       \
             stepdown completions SHELL | man",
        )
        .after_help(
            "Every option is also a variable, STEPDOWN_<OPTION>; flags win over the environment.\n\
             Durations: 1500ms, 10s, 1m30s; a bare number is seconds. Signals: TERM, SIGTERM, 15, RTMIN+3.\n\
             Exit status: the child's; 128+n if it died of signal n; 124 --max-runtime; 125 own failure;\n\
             126 cannot be executed; 127 not found.",
        )
}

fn with_command(command: Command) -> Command {
    // One form for all sections, whatever their longest name is.
    let command = command.disable_help_subcommand(true).term_width(0);
    command.arg(
        Arg::new("command")
            .value_name("COMMAND")
            .action(ArgAction::Append)
            .num_args(0..)
            .trailing_var_arg(true)
            .value_parser(clap::value_parser!(OsString))
            .help("The command to run, and its arguments"),
    )
}

fn with_options(command: Command) -> Command {
    let mut command = with_table(with_command(command), all(OPTIONS));
    for flag in &dropin::FLAGS {
        // Of flags for the same option the last one counts.
        let others = dropin::FLAGS
            .iter()
            .filter(|other| other.option == flag.option);
        let mut arg = Arg::new(flag.id)
            .short(flag.letter)
            .help(flag.help)
            .help_heading("As other tools have it")
            .action(ArgAction::SetTrue)
            .overrides_with_all(others.map(|other| other.id));
        if let Some(long) = flag.long {
            arg = arg.long(long);
        }
        command = command.arg(arg);
    }
    command.arg(
        Arg::new("license")
            .short('l')
            .long("license")
            .help("Print the license")
            .action(ArgAction::SetTrue),
    )
}

fn all(options: &'static [&'static Opt]) -> impl Iterator<Item = &'static Opt> {
    options.iter().copied()
}

fn with_table(mut command: Command, table: impl IntoIterator<Item = &'static Opt>) -> Command {
    for option in table {
        let mut arg = Arg::new(option.name)
            .help(option.full_help())
            .help_heading(option.section);
        arg = match option.kind {
            Kind::One(value) | Kind::Many(value) => arg
                .value_name(value)
                .action(ArgAction::Append)
                // No option of ours has such a value; the code that reads the value says so and
                // names the way out.
                .allow_negative_numbers(true)
                .value_parser(clap::value_parser!(OsString)),
            Kind::Switch if option.short_for.is_some() => {
                arg.action(ArgAction::SetTrue).overrides_with(option.name)
            }
            Kind::Switch => arg
                .value_name("on|off")
                .action(ArgAction::Append)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("on")
                .value_parser(clap::value_parser!(OsString)),
            Kind::Count => arg.action(ArgAction::Count),
        };
        if let Some(letter) = option.letter {
            arg = arg.short(letter);
        }
        arg = match option.short_for {
            Some(_) => arg.alias(option.name),
            None => arg.long(option.name).aliases(option.former),
        };
        // Any other value that begins with a hyphen is refused with clap's own hint.
        command = command.arg(arg);
    }
    command
}

/// Adds what was typed to the settings, option by option.
fn take(matches: &ArgMatches, settings: &mut Settings) {
    take_table(matches, settings, all(OPTIONS));
    for flag in &dropin::FLAGS {
        if matches.get_flag(flag.id) && !settings.has(flag.option) {
            settings.add(flag.option, flag.value, Source::Flag);
        }
    }
}

fn take_table(
    matches: &ArgMatches,
    settings: &mut Settings,
    table: impl IntoIterator<Item = &'static Opt>,
) {
    for option in table {
        match option.kind {
            Kind::Switch if option.short_for.is_some() => {
                if matches.get_flag(option.name) {
                    settings.add(option, "on", Source::Flag);
                }
            }
            Kind::One(_) | Kind::Many(_) | Kind::Switch => {
                for value in matches.get_raw(option.name).into_iter().flatten() {
                    settings.add(option, value, Source::Flag);
                }
            }
            Kind::Count => {
                for _ in 0..matches.get_count(option.name) {
                    settings.add(option, "on", Source::Flag);
                }
            }
        }
    }
}

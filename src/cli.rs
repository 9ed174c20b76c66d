//! The command line: what was typed, with nothing resolved yet.

#[cfg(feature = "lint")]
mod lint;
#[cfg(feature = "manual")]
mod manual;
mod misread;
mod subcommands;

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

#[cfg(feature = "check")]
use crate::check::options::Check;
#[cfg(feature = "doctor")]
use crate::doctor::Examination;
use crate::dropin::{self, Meaning, Tool};
#[cfg(feature = "explain")]
use crate::explain::fits::Fits;
#[cfg(feature = "health")]
use crate::health::Question;
#[cfg(feature = "doctor")]
use crate::options::Elsewhere;
use crate::options::{Kind, OPTIONS, Opt, PREFIX, Settings, Source};
use crate::sys;
use crate::words::fault::{Error, Fault};
use misread::Known;
use subcommands::{check, completions, doctor, explain, health, man};

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Invocation {
    Run {
        settings: Settings,
        command: Vec<OsString>,
    },
    #[cfg(feature = "explain")]
    Explain {
        settings: Settings,
        assume: Vec<OsString>,
        fits: Fits,
        json: bool,
    },
    #[cfg(feature = "check")]
    Check(Box<Check>),
    #[cfg(feature = "health")]
    Health(Question),
    #[cfg(feature = "lint")]
    Lint(crate::lint::Lint),
    #[cfg(feature = "doctor")]
    Doctor(Examination),
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
        Some("doctor") => return doctor(arguments.into_iter().skip(1).collect()),
        Some("health") => return health(arguments.into_iter().skip(1).collect()),
        #[cfg(feature = "lint")]
        Some("lint") => return lint::parse(arguments.into_iter().skip(1).collect()),
        #[cfg(not(feature = "lint"))]
        Some("lint") => return subcommands::absent(arguments.into_iter().skip(1).collect()),
        Some("completions") => return completions(arguments.into_iter().skip(1).collect()),
        Some("man") => return man(arguments.into_iter().skip(1).collect()),
        _ => {}
    }
    run(Settings::default(), arguments, environment(), theirs)
}

/// Reads the arguments of a run, and the variables of our own and of other tools.
fn run<T: Iterator<Item = (OsString, OsString)>>(
    mut settings: Settings,
    arguments: Vec<OsString>,
    ours: impl Iterator<Item = (OsString, OsString)>,
    theirs: impl FnOnce() -> T,
) -> Result<Invocation, String> {
    let add_environment = |settings: &mut Settings| {
        settings
            .add_environment(ours)
            .map_err(|error| error.to_string())?;
        dropin::add_environment(settings, theirs());
        Ok::<(), String>(())
    };
    // Nothing but a command: no need to build the parser, which costs more than all the rest of the
    // start. What it would say about such a line is exactly this.
    let plain = match arguments.get(1).map(|first| first.as_bytes()) {
        Some(b"--") => 2,
        Some(word) if !word.starts_with(b"-") => 1,
        _ => 0,
    };
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

/// The command line of another process that is stepdown or a tool whose place it takes, and its environment; `None`
/// where it runs no command.
///
/// # Errors
/// It would be refused.
#[cfg(feature = "doctor")]
pub(crate) fn read_line(
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    elsewhere: Elsewhere,
) -> Result<Option<Settings>, String> {
    let mut settings = Settings::default();
    settings.elsewhere = Some(elsewhere);
    let is_ours = |(key, _): &(OsString, OsString)| key.as_bytes().starts_with(PREFIX.as_bytes());
    let (ours, others): (Vec<_>, Vec<_>) = environment.into_iter().partition(is_ours);
    let is_theirs =
        |(key, _): &(OsString, OsString)| dropin::VARIABLES.iter().any(|name| key == name);
    let theirs: Vec<_> = others.into_iter().filter(is_theirs).collect();
    let subcommands = subcommands();
    let first = arguments.get(1).and_then(|first| first.to_str());
    let invocation = match Tool::named(arguments.first()) {
        Some(tool) => {
            dropin::parse(tool, arguments, ours.into_iter(), theirs).map(Invocation::Dropin)
        }
        None if subcommands
            .iter()
            .any(|command| Some(command.get_name()) == first) =>
        {
            return Ok(None);
        }
        None => run(settings, arguments, ours.into_iter(), || theirs.into_iter()),
    };
    Ok(match invocation? {
        Invocation::Run { settings, .. } | Invocation::Dropin(Meaning::Run { settings, .. }) => {
            Some(settings)
        }
        _ => None,
    })
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
        unknown.map_or_else(
            || refused(&error, arguments),
            |error| Err(error.to_string()),
        )
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
    let way_out = if std::process::id() == 1 {
        "write CMD again where ENTRYPOINT is written, which drops that of the image below: \
         stepdown [OPTIONS] [--] COMMAND [ARGS]... (see --help)"
    } else {
        "stepdown [OPTIONS] [--] COMMAND [ARGS]... (see --help)"
    };
    Error::new("usage", fault.way_out(way_out)).to_string()
}

/// Help and version are texts to print, everything else is an error.
fn refused(error: &clap::Error, arguments: &[OsString]) -> Result<Invocation, String> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            Ok(Invocation::Print(error.to_string()))
        }
        ErrorKind::InvalidUtf8 => Err(not_utf8(arguments).to_string()),
        kind => Err(usage_error(kind, error)),
    }
}

/// The parser does not say which word it is.
fn not_utf8(arguments: &[OsString]) -> Error {
    let text = |word: &OsString| word.to_str().map(str::to_owned);
    let at = arguments.iter().position(|word| text(word).is_none());
    let word = at
        .and_then(|at| arguments.get(at))
        .map(|word| word.to_string_lossy());
    let word = word.unwrap_or_default();
    let before = at
        .and_then(|at| arguments.get(at.checked_sub(1)?))
        .and_then(text);
    let name = match (word.split_once('='), before) {
        (Some((name, _)), _) if name.starts_with("--") => name.to_owned(),
        (_, Some(name)) if name.starts_with("--") => name,
        _ => word.clone().into_owned(),
    };
    Error::new(name, Fault::new("the value is not UTF-8"))
}

/// One line, as every error of ours: the argument, what is wrong with it, the way out.
fn usage_error(kind: ErrorKind, error: &clap::Error) -> String {
    let said = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    if let (ErrorKind::UnknownArgument, Some(argument)) = (kind, said(ContextKind::InvalidArg)) {
        if !argument.starts_with('-') {
            let fault = Fault::new("one word too many").way_out("see --help");
            return Error::new(argument, fault).to_string();
        }
        let fault = Fault::new("unknown option");
        let fault = match said(ContextKind::SuggestedArg) {
            Some(near) => fault.way_out(format!("did you mean {near}?")),
            None => fault.way_out("see --help; write -- before a command that begins with -"),
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

/// All subcommands, in the order of the help.
#[cfg(any(feature = "doctor", feature = "lint", feature = "manual"))]
pub(crate) fn subcommands() -> Vec<Command> {
    vec![
        #[cfg(feature = "explain")]
        subcommands::explain_command(),
        #[cfg(feature = "check")]
        subcommands::check_command(),
        #[cfg(feature = "health")]
        subcommands::health_command(),
        #[cfg(feature = "lint")]
        lint::command(),
        #[cfg(feature = "doctor")]
        subcommands::doctor_command(),
        #[cfg(feature = "manual")]
        subcommands::completions_command(),
        #[cfg(feature = "manual")]
        subcommands::man_command(),
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
             stepdown lint [OPTIONS] FILE...\n       \
             stepdown doctor [OPTIONS] [PID | CONTAINER | NAME]...\n       \
             stepdown completions SHELL | man",
        )
        .after_help(
            "Every option is also a variable, STEPDOWN_<OPTION>, and a key of the file. Flags win over variables, and\n\
             variables over the file. What conditions, hooks and steps can be: stepdown man.\n\
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

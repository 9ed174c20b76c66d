//! Reads the command lines and variables of tini, dumb-init and catatonit, so that stepdown can take their place.
//!
//! There are two ways in. Under its own name stepdown knows those flags of theirs that do not collide
//! with its own (`FLAGS`, `add_environment`). Invoked through a link that has the name of one of them
//! it reads the whole command line by that tool's grammar (`parse`), and its defaults are that tool's.
//!
//! A drop-in must not surprise: those tools forward every signal at once, never escalate and say
//! nothing, so under their names that is the default. The options of stepdown are still there as
//! variables, and as soon as one of them shapes the stop, the stop sequence is stepdown's own. What
//! differs in any case is what those tools leave undone: no stop is lost early, and what the child
//! leaves behind is swept.

use std::ffi::OsString;
use std::path::Path;

use crate::options::left::SUBREAPER;
use crate::options::signals::{PARENT_DEATH_SIGNAL, REWRITE, STOP_ON, TARGET};
use crate::options::status::SUCCESS_EXIT;
use crate::options::told::{LOG_LEVEL, LOG_REAPED, QUIET, VERBOSE};
use crate::options::{Opt, Settings, Source};
use crate::plan::FailureCodes;
use crate::words::signal::Signal;

mod getopt;

use getopt::{Grammar, read};

/// The license of stepdown, for `-l` and `-L`.
pub(crate) const LICENSE: &str = include_str!("../LICENSE");

/// The variables of other tools that are looked at.
pub(crate) const VARIABLES: [&str; 8] = [
    "TINI_SUBREAPER",
    "TINI_KILL_PROCESS_GROUP",
    "TINI_VERBOSITY",
    "DUMB_INIT_DEBUG",
    "DUMB_INIT_SETSID",
    "CATATONIT_DEBUG",
    "CATATONIT_LOG",
    "POSIXLY_CORRECT",
];

/// A flag of another tool that stands for a value of one of our options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    pub(crate) id: &'static str,
    pub(crate) letter: char,
    pub(crate) long: Option<&'static str>,
    pub(crate) option: &'static Opt,
    pub(crate) value: &'static str,
    pub(crate) help: &'static str,
}

/// Flags that are taken under our own name, too. The others (`-e`, `-p`, `-r`, `-v`, `-w`) are letters
/// of our own options, with the same meaning.
pub(crate) static FLAGS: [Flag; 3] = [
    Flag {
        id: "flag-g",
        letter: 'g',
        long: None,
        option: &TARGET,
        value: "group",
        help: "The same as --target group, as tini has it",
    },
    Flag {
        id: "flag-c",
        letter: 'c',
        long: Some("single-child"),
        option: &TARGET,
        value: "child",
        help: "The same as --target child, as dumb-init has it",
    },
    Flag {
        id: "flag-s",
        letter: 's',
        long: None,
        option: &SUBREAPER,
        value: "on",
        help: "The same as --subreaper, as tini has it",
    },
];

/// A tool whose place stepdown takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tool {
    Tini,
    DumbInit,
    Catatonit,
}

impl Tool {
    /// The tool that `argv[0]` names.
    pub(crate) fn named(program: Option<&OsString>) -> Option<Self> {
        match Path::new(program?).file_name()?.to_str()? {
            "tini" | "tini-static" | "docker-init" => Some(Self::Tini),
            "dumb-init" => Some(Self::DumbInit),
            "catatonit" => Some(Self::Catatonit),
            _ => None,
        }
    }

    /// What the tool exits with when it cannot start the child.
    pub(crate) fn codes(self) -> FailureCodes {
        match self {
            Self::Tini => FailureCodes {
                own: 1,
                not_found: 127,
                not_permitted: 126,
                not_executable: 1,
                can_be_success: true,
            },
            Self::DumbInit => FailureCodes {
                own: 1,
                not_found: 2,
                not_permitted: 2,
                not_executable: 2,
                can_be_success: false,
            },
            Self::Catatonit => FailureCodes {
                own: 1,
                not_found: 1,
                not_permitted: 1,
                not_executable: 1,
                can_be_success: false,
            },
        }
    }

    fn grammar(self) -> Grammar {
        match self {
            Self::Tini => Grammar {
                letters: "p:hvwgle:s",
                words: &[],
                permutes: true,
            },
            Self::DumbInit => Grammar {
                letters: "hvVcr:",
                words: &[
                    ("help", 'h'),
                    ("single-child", 'c'),
                    ("rewrite", 'r'),
                    ("verbose", 'v'),
                    ("version", 'V'),
                ],
                permutes: false,
            },
            Self::Catatonit => Grammar {
                letters: "ghLPV",
                words: &[("version", 'V')],
                permutes: true,
            },
        }
    }

    /// The line by which Docker recognizes an init: it runs `--version` and looks for `tini version`,
    /// which is why catatonit prints that name, too.
    fn version(self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        match self {
            Self::Tini | Self::Catatonit => format!("tini version {version}_stepdown\n"),
            Self::DumbInit => format!("dumb-init v{version}_stepdown\n"),
        }
    }

    fn help(self) -> String {
        let options = match self {
            Self::Tini => {
                "  --version  print the version (as the only argument)\n  \
                 -h         print this help\n  \
                 -s         adopt orphans when not PID 1 (always on here)\n  \
                 -p SIGNAL  stop with SIGNAL when the parent dies\n  \
                 -v         tell more; up to three times\n  \
                 -w         tell about each orphan that was reaped\n  \
                 -g         signal the child's process group\n  \
                 -e CODE    exit with 0 in place of CODE (repeatable)\n  \
                 -l         print the license\n\
                 Variables: TINI_SUBREAPER, TINI_KILL_PROCESS_GROUP, TINI_VERBOSITY\n"
            }
            Self::DumbInit => {
                "  -c, --single-child  signal the child alone, not its process group\n  \
                 -r, --rewrite S:R   forward signal number S as R; drop it when R is 0 (repeatable)\n  \
                 -v, --verbose       tell more\n  \
                 -h, --help          print this help\n  \
                 -V, --version       print the version\n\
                 Variables: DUMB_INIT_DEBUG=1, DUMB_INIT_SETSID=0\n"
            }
            Self::Catatonit => {
                "  -g             signal the child's process group\n  \
                 -h             print this help\n  \
                 -L             print the license\n  \
                 -P             run no command: reap until INT or TERM\n  \
                 -V, --version  print the version\n\
                 Variables: CATATONIT_DEBUG\n"
            }
        };
        let version = self.version();
        format!(
            "{version}Usage: [OPTIONS] [--] COMMAND [ARGS]...\n{options}\
             This is stepdown {} under another name; all its options are variables,\n\
             STEPDOWN_<OPTION> (see stepdown --help).\n",
            env!("CARGO_PKG_VERSION")
        )
    }

    /// Signals that the tool does not pass on as they are.
    fn rewrites(self, single_child: bool) -> &'static str {
        match self {
            // Signals of a fault (SEGV and the like) are not forwarded.
            Self::Tini => "TTIN:0,TTOU:0,FPE:0,ILL:0,SEGV:0,BUS:0,ABRT:0,TRAP:0,SYS:0",
            Self::Catatonit => "TSTP:0,TTIN:0,TTOU:0,FPE:0,ILL:0,SEGV:0,BUS:0,ABRT:0,TRAP:0,SYS:0",
            // In a session of its own the child cannot be stopped by TSTP and its like (setsid(2)
            // makes an orphaned process group), so dumb-init sends STOP.
            Self::DumbInit if !single_child => "TSTP:STOP,TTIN:STOP,TTOU:STOP",
            Self::DumbInit => "",
        }
    }
}

/// The options that say how much is logged.
static TELLING: [&Opt; 3] = [&LOG_LEVEL, &VERBOSE, &QUIET];

/// Reads the arguments, the tool's name first, as the tool would.
///
/// # Errors
/// What the tool would refuse.
pub(crate) fn parse(
    tool: Tool,
    mut arguments: Vec<OsString>,
    ours: impl Iterator<Item = (OsString, OsString)>,
    theirs: Vec<(OsString, OsString)>,
) -> Result<Meaning, String> {
    if tool == Tool::Tini && arguments.len() == 2 && arguments.ends_with(&["--version".into()]) {
        return Ok(Meaning::Print(tool.version()));
    }
    let set = |name: &str| {
        let found = theirs.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    if tool == Tool::Catatonit && set("CATATONIT_LOG").is_some() {
        return Err("CATATONIT_LOG is reserved for future use".to_owned());
    }
    if !arguments.is_empty() {
        arguments.remove(0);
    }
    let read = read(tool, arguments, set("POSIXLY_CORRECT").is_some());
    let mut line = ForeignLine::default();
    for (letter, value) in read.options {
        if let Some(answer) = line.take(tool, letter, value.unwrap_or_default())? {
            return Ok(answer);
        }
    }
    if let Some(refused) = read.refused {
        return Err(format!("{refused}\n{}", tool.help().trim_end()));
    }
    if line.pause {
        return Ok(Meaning::Pause);
    }
    if read.rest.is_empty() {
        return Err(format!("no command to run\n{}", tool.help().trim_end()));
    }
    let settings = line.settings(tool, ours, set)?;
    Ok(Meaning::Run {
        settings,
        command: read.rest,
    })
}

/// What a foreign command line means.
#[derive(Debug)]
pub(crate) enum Meaning {
    Run {
        settings: Settings,
        command: Vec<OsString>,
    },
    /// Text for standard output: help, version, license.
    Print(String),
    /// The same for standard error, where some tools print it.
    PrintError(String),
    /// No command: reap until INT or TERM (catatonit's pause mode).
    Pause,
}

/// The options of a foreign command line that were read so far.
#[derive(Default)]
struct ForeignLine {
    settings: Settings,
    verbosity: i32,
    single_child: bool,
    pause: bool,
}

impl ForeignLine {
    /// Takes one option; some, like --help, end the reading with a text.
    fn take(
        &mut self,
        tool: Tool,
        letter: char,
        value: OsString,
    ) -> Result<Option<Meaning>, String> {
        let text = value.to_string_lossy().into_owned();
        let mut set = |option, text: &str| self.settings.add(option, text, Source::Flag);
        match (tool, letter) {
            (Tool::Tini, 'h') => return Ok(Some(Meaning::Print(tool.help()))),
            (_, 'h') => return Ok(Some(Meaning::PrintError(tool.help()))),
            (Tool::DumbInit, 'V') => return Ok(Some(Meaning::PrintError(tool.version()))),
            (_, 'V') => return Ok(Some(Meaning::Print(tool.version()))),
            (_, 'l' | 'L') => return Ok(Some(Meaning::Print(LICENSE.to_owned()))),
            (_, 'v') => self.verbosity += 1,
            (_, 'P') => self.pause = true,
            (_, 'g') => set(&TARGET, "group"),
            (_, 's') => set(&SUBREAPER, "on"),
            (_, 'w') => set(&LOG_REAPED, "on"),
            (_, 'c') => self.single_child = true,
            (_, 'e') => match number(&text).filter(|code| (0..=255).contains(code)) {
                Some(code) => set(&SUCCESS_EXIT, &code.to_string()),
                None => return Err(format!("-e {text}: not an exit code from 0 to 255")),
            },
            // A name with SIG in front, and none of the real-time signals.
            (_, 'p') => match Signal::parse(&text).ok().filter(|s| s.number() < 32) {
                Some(_) if text.starts_with("SIG") => set(&PARENT_DEATH_SIGNAL, &text),
                _ => return Err(format!("-p {text}: not a signal, write it as SIGTERM")),
            },
            (_, 'r') => match rewrite(&text) {
                Some((from, to)) => set(&REWRITE, &format!("{from}:{to}")),
                None => {
                    return Err(format!(
                        "-r {text}: not FROM:TO with signal numbers from 1 to 31"
                    ));
                }
            },
            _ => {}
        }
        Ok(None)
    }

    /// All settings, in order of precedence: the tool's flags, our variables, the tool's variables,
    /// the tool's defaults.
    fn settings(
        mut self,
        tool: Tool,
        ours: impl Iterator<Item = (OsString, OsString)>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Settings, String> {
        let is = |name, wanted| variable(name).is_some_and(|value| value == wanted);
        if tool == Tool::DumbInit && is("DUMB_INIT_SETSID", "0") {
            self.single_child = true;
        }
        if self.single_child {
            self.settings.add(&TARGET, "child", Source::Flag);
        }
        let (verbosity, source) = match tool {
            // The variable sets the level and overrides the flags.
            Tool::Tini => variable("TINI_VERBOSITY")
                .map(|value| leading_number(&value.to_string_lossy()))
                .map_or((1 + self.verbosity, Source::Flag), |level| {
                    (level, Source::Environment)
                }),
            Tool::DumbInit if self.verbosity > 0 => (3, Source::Flag),
            Tool::DumbInit if is("DUMB_INIT_DEBUG", "1") => (3, Source::Environment),
            Tool::Catatonit if variable("CATATONIT_DEBUG").is_some() => (3, Source::Environment),
            Tool::DumbInit | Tool::Catatonit => (1, Source::Flag),
        };
        if source == Source::Flag && verbosity != 1 {
            self.settings
                .add(&LOG_LEVEL, level(verbosity), Source::Flag);
        }
        let mut settings = self.settings;
        settings
            .add_environment(ours)
            .map_err(|error| error.to_string())?;
        if tool == Tool::Tini
            && variable("TINI_KILL_PROCESS_GROUP").is_some()
            && !settings.is_set_above_file(&TARGET)
        {
            settings.add(&TARGET, "group", Source::Environment);
        }
        if tool == Tool::DumbInit {
            settings.add_default(&TARGET, "group");
        }
        if source == Source::Environment
            && !TELLING
                .iter()
                .any(|option| settings.is_set_above_file(option))
        {
            settings.add(&LOG_LEVEL, level(verbosity), source);
        }
        if !TELLING.iter().any(|option| settings.has(option)) {
            settings.add_default(&LOG_LEVEL, "warn");
        }
        // Before the user's own rules, which take precedence.
        settings.add_default(&REWRITE, tool.rewrites(self.single_child));
        if !settings.options().any(Opt::wants_stop_sequence) {
            settings.add_default(&STOP_ON, "");
        }
        settings.failure_codes = tool.codes();
        Ok(settings)
    }
}

/// Adds what the variables of tini and dumb-init say, where neither a flag nor a variable of ours does.
/// They are read as those tools read them: a variable of tini's only has to be set.
pub(crate) fn add_environment(
    settings: &mut Settings,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) {
    for (key, value) in environment {
        let Some(key) = key.to_str() else { continue };
        let (option, text) = match key {
            "TINI_SUBREAPER" => (&SUBREAPER, "on"),
            "TINI_KILL_PROCESS_GROUP" => (&TARGET, "group"),
            "TINI_VERBOSITY" => (&LOG_LEVEL, level(leading_number(&value.to_string_lossy()))),
            "DUMB_INIT_DEBUG" if value == "1" => (&LOG_LEVEL, "debug"),
            "DUMB_INIT_SETSID" if value == "0" => (&TARGET, "child"),
            _ => continue,
        };
        let is_set = if option == &LOG_LEVEL {
            TELLING
                .iter()
                .any(|option| settings.is_set_above_file(option))
        } else {
            settings.is_set_above_file(option)
        };
        if !is_set {
            settings.add(option, text, Source::Environment);
        }
    }
}

/// tini's verbosity: 1, the default, is warnings.
fn level(verbosity: i32) -> &'static str {
    match verbosity {
        ..=0 => "error",
        1 => "warn",
        2 => "info",
        3.. => "debug",
    }
}

/// A whole number, blanks before it allowed; nothing at all is 0 (strtol(3)).
fn number(text: &str) -> Option<i32> {
    match text.trim_ascii_start() {
        "" => Some(0),
        digits => digits.parse().ok(),
    }
}

/// The number that the text begins with, or 0 (atoi(3)).
fn leading_number(text: &str) -> i32 {
    first_number(text).map_or(0, |(number, _)| number)
}

fn first_number(text: &str) -> Option<(i32, &str)> {
    let text = text.trim_ascii_start();
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text.bytes().skip(sign).take_while(u8::is_ascii_digit);
    let (number, rest) = text.split_at_checked(sign + digits.count())?;
    Some((number.parse().ok()?, rest))
}

/// `FROM:TO`; what follows it is not looked at (scanf(3)).
fn rewrite(text: &str) -> Option<(i32, i32)> {
    let (from, rest) = first_number(text)?;
    let (to, _) = first_number(rest.strip_prefix(':')?)?;
    ((1..=31).contains(&from) && (0..=31).contains(&to)).then_some((from, to))
}

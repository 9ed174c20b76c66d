//! The command line of `lint`, and how it reads those of stepdown that it finds in files.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

use super::{Invocation, refused};
use crate::words::fault::{Error, Fault};

const ABOUT: &str = "Say what will go wrong at a stop, from Dockerfiles, compose files, Kubernetes manifests, systemd units \
                     and files of --config";

pub(super) fn command() -> Command {
    Command::new("lint")
        .about(ABOUT)
        .override_usage("stepdown lint [--format FORMAT] FILE...\n       stepdown lint --rules")
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .help("text, json, sarif or github (annotations) [default: text]"),
        )
        .arg(
            Arg::new("rules")
                .long("rules")
                .action(ArgAction::SetTrue)
                .help("Print the rules with their levels"),
        )
        .arg(
            Arg::new("files")
                .value_name("FILE")
                .action(ArgAction::Append)
                .value_parser(clap::value_parser!(OsString))
                .help("Files that are judged together; - is standard input"),
        )
        .after_help(
            "Exit status: 0 nothing was found, or notes only; 1 a warning or an error was; 125 a file cannot be read or\n\
             parsed. A comment in the line, or above it, takes a rule out: # stepdown: ignore RULE[, RULE]\n\n\
             stepdown lint Dockerfile compose.yaml\n\
             helm template chart | stepdown lint -",
        )
}

pub(super) fn parse(arguments: Vec<OsString>) -> Result<Invocation, String> {
    let matches = match command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return refused(&error, &arguments),
    };
    let files: Vec<OsString> = matches
        .get_many::<OsString>("files")
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    let rules = matches.get_flag("rules");
    if files.is_empty() && !rules {
        let fault = Fault::new("no file to judge");
        let way_out = "stepdown lint [--format FORMAT] FILE... (see --help)";
        return Err(Error::new("usage", fault.way_out(way_out)).to_string());
    }
    let format = matches.get_one::<String>("format");
    invocation(files, format.map(String::as_str), rules).map_err(|error| error.to_string())
}

use full::invocation;

mod full {
    use std::ffi::OsString;

    use super::super::misread::Known;
    use super::super::{Invocation, run_command, subcommands, take};
    use crate::lint::own::Line;
    use crate::lint::{Format, Lint, rules};
    use crate::options::{Settings, parse_choice};
    use crate::words::fault::Error;

    pub(super) fn invocation(
        files: Vec<OsString>,
        format: Option<&str>,
        rules: bool,
    ) -> Result<Invocation, Error> {
        if rules {
            return Ok(Invocation::Print(rules::listing()));
        }
        let format = format.map(|word| parse_choice(word, &Format::ALL));
        let format = format
            .transpose()
            .map_err(|fault| Error::new("--format", fault))?;
        Ok(Invocation::Lint(Lint {
            files: files.into_iter().map(Into::into).collect(),
            format: format.unwrap_or(Format::ALL[0].1),
            read_line,
        }))
    }

    /// Reads a command line as a run would; its variables and its file are added by who has found it.
    fn read_line(arguments: Vec<OsString>) -> Line {
        let first = arguments.get(1).and_then(|word| word.to_str());
        let is_subcommand = |word| subcommands().iter().any(|known| known.get_name() == word);
        if first.is_some_and(is_subcommand) {
            return Line::Other;
        }
        let matches = match super::super::parsed(run_command(), Known::of_run(), &arguments) {
            Ok(matches) => matches,
            Err(Ok(_)) => return Line::Other,
            Err(Err(message)) => return Line::Wrong(message),
        };
        if matches.get_flag("license") {
            return Line::Other;
        }
        let mut settings = Settings::default();
        take(&matches, &mut settings);
        let words = matches.get_raw("command").into_iter().flatten().count();
        Line::Run(Box::new(settings), words)
    }
}

//! Completion scripts and the manual page, from the same command line that is parsed.

mod values;

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, ValueHint};
use clap_complete::Generator;
use clap_complete::shells::{Bash, Fish, Zsh};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use crate::cli;
use crate::options::{self, Kind};
use crate::words::fault::{Error, Fault};
use values::{ASSUME, EXIT_STATUS, PHASES, Rows, VALUES};

/// The shells that there are scripts for.
pub(crate) const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// The completion script for a shell.
///
/// # Errors
/// There is no script for this shell.
pub(crate) fn completions(shell: Option<&str>) -> Result<String, Error> {
    let generator: &dyn Generator = match shell {
        Some("bash") => &Bash,
        Some("zsh") => &Zsh,
        Some("fish") => &Fish,
        other => {
            let fault = match other {
                Some(other) => Fault::new(format!("there is no script for {other:?}")),
                None => Fault::new("no shell is named"),
            };
            let way_out = format!("write one of {}", SHELLS.join(", "));
            return Err(Error::new("completions", fault.way_out(way_out)));
        }
    };
    let mut command = hinted(cli::run_command());
    for subcommand in cli::subcommands() {
        command = command.subcommand(hinted(subcommand));
    }
    command.set_bin_name("stepdown");
    command.build();
    let mut text = Vec::new();
    generator
        .try_generate(&command, &mut text)
        .map_err(|error| Error::new("completions", Fault::new(error.to_string())))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Adds what a shell can complete of values; the parser itself does not need it.
fn hinted(command: Command) -> Command {
    command.mut_args(|arg| {
        let words = match options::find(arg.get_id().as_str()) {
            Some(option) if option.kind == Kind::Switch => &["on", "off"],
            Some(option) => option.words,
            None => &[],
        };
        if !words.is_empty() {
            return arg.value_parser(PossibleValuesParser::new(words));
        }
        let value = arg.get_value_names().and_then(<[_]>::first);
        match value.map_or("", |value| value.as_str()) {
            "FILE" => arg.value_hint(ValueHint::FilePath),
            "DIR" => arg.value_hint(ValueHint::DirPath),
            "HOOK" => arg.value_hint(ValueHint::CommandString),
            "COMMAND" if arg.is_positional() => arg.value_hint(ValueHint::CommandWithArguments),
            "COMMAND" => arg.value_hint(ValueHint::CommandString),
            _ => arg,
        }
    })
}

/// The manual page, in roff.
///
/// # Errors
/// It cannot be written.
pub(crate) fn page() -> Result<String, String> {
    let mut text = Vec::new();
    write_page(&mut text).map_err(|error| format!("man: {error}"))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn write_page(text: &mut Vec<u8>) -> std::io::Result<()> {
    let run = cli::run_command();
    let notes = after_help(&run);
    let man = Man::new(run);
    man.render_title(text)?;
    man.render_name_section(text)?;
    man.render_synopsis_section(text)?;
    let mut roff = Roff::new();
    roff.control("SH", ["DESCRIPTION"]);
    for paragraph in DESCRIPTION {
        roff.control("PP", []);
        roff.text([roman(*paragraph)]);
    }
    roff.to_writer(text)?;
    rows("THE STOP", PHASES).to_writer(text)?;
    man.render_options_section(text)?;
    all_values().to_writer(text)?;
    rows("EXIT STATUS", EXIT_STATUS).to_writer(text)?;
    lines(text, "NOTES", &notes)?;
    for subcommand in cli::subcommands() {
        let mut roff = Roff::new();
        let name = format!("stepdown {}", subcommand.get_name());
        roff.control("SH", [name.to_uppercase().as_str()]);
        let about = subcommand.get_about().map(ToString::to_string);
        roff.text([bold(name), roman(": "), roman(about.unwrap_or_default())]);
        roff.to_writer(text)?;
        let notes = after_help(&subcommand);
        Man::new(own_options(&subcommand)).render_options_section(text)?;
        if subcommand.get_name() == "explain" {
            let mut roff = Roff::new();
            roff.control("PP", []);
            roff.text([roman("What "), bold("--assume"), roman(" takes:")]);
            terms(&mut roff, ASSUME);
            roff.to_writer(text)?;
        }
        lines(text, "", &notes)?;
    }
    Ok(())
}

/// The parts that are too long for the help.
const DESCRIPTION: &[&str] = &[
    "stepdown is an init for containers. It runs COMMAND as PID 1, or anywhere else, forwards signals to it, \
     reaps orphans and returns its exit status.",
    "When it is asked to stop, it goes through the phases below, in this order. Each ends as soon as its condition \
     holds, and --deadline bounds them all together.",
    "Options end at COMMAND. After -- a COMMAND that is named like a subcommand is a command. explain and check \
     take the options of the stop, too.",
];

/// Terms under a heading.
fn rows(heading: &str, rows: Rows) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    terms(&mut roff, rows);
    roff
}

fn terms(roff: &mut Roff, rows: Rows) {
    for (term, meaning) in rows {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*meaning)]);
    }
}

/// What the help of an option has no room for.
fn all_values() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["VALUES"]);
    for values in VALUES {
        let names: Vec<String> = values
            .options
            .iter()
            .map(|opt| opt.flag(opt.name))
            .collect();
        roff.control("SS", [names.join(", ").as_str()]);
        roff.text([roman(values.more)]);
        if !values.forms.is_empty() {
            roff.control("PP", []);
            roff.text([italic(values.heading), roman(":")]);
        }
        terms(&mut roff, values.forms);
    }
    roff
}

fn after_help(command: &Command) -> String {
    command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// Lines that are not filled.
fn lines(text: &mut Vec<u8>, heading: &str, lines: &str) -> std::io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut roff = Roff::new();
    match heading {
        "" => roff.control("PP", []),
        heading => roff.control("SH", [heading]),
    };
    roff.control("nf", []);
    for line in lines.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.to_writer(text)
}

/// The options that `run` does not have.
fn own_options(subcommand: &Command) -> Command {
    let run = cli::run_command();
    let text = |arg: &Arg| arg.get_help().map(ToString::to_string);
    let is_own = |arg: &&Arg| {
        run.get_arguments()
            .all(|other| other.get_id() != arg.get_id() || text(other) != text(arg))
    };
    let own: Vec<Arg> = subcommand.get_arguments().filter(is_own).cloned().collect();
    Command::new("own").disable_help_flag(true).args(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_no_fault_with_the_tree() {
        for shell in SHELLS {
            assert!(completions(Some(shell)).unwrap().contains("grace"));
        }
    }
}

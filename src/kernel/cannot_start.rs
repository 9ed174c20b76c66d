//! Why a command cannot be executed, and the way out: found out once exec has failed, never before.

mod file;

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};

use crate::options::{self, OPTIONS, Opt};
use crate::sys::error_text;
use crate::words::signal::Signal;
use crate::words::suggest;
use file::{File, HEAD, machine_name, own_machine};

/// What was to be executed, and how it was looked for.
#[derive(Clone, Copy)]
pub(crate) struct FailedExec<'a> {
    pub(crate) command: &'a [OsString],
    pub(crate) errno: i32,
    /// Its PATH.
    pub(crate) path: Option<&'a OsStr>,
    /// Where it was to work, if not where we do.
    pub(crate) directory: Option<&'a Path>,
    /// It is the COMMAND of our own command line.
    pub(crate) typed: Option<Typed>,
}

/// What a command line has before its COMMAND.
#[derive(Clone, Copy)]
pub(crate) struct Typed {
    /// A hook, a step or a condition that is a single word: the others may have stayed unquoted.
    pub(crate) single_word: bool,
}

impl FailedExec<'_> {
    /// The failure as it is told: the program, what is wrong with it, the way out.
    pub(crate) fn told(&self) -> String {
        let program = self.program();
        let shown = shown(&program);
        if self.errno != libc::ENOENT {
            return format!("{shown}: cannot be executed: {}", self.refused());
        }
        match self.find(|found| fs::symlink_metadata(found).is_ok()) {
            Some(found) => format!("{shown}: {}", self.incomplete(&found)),
            None => format!(
                "{shown}: not found{}",
                self.hint(&program).unwrap_or_default()
            ),
        }
    }

    /// What may be behind it when nothing has this name.
    fn hint(&self, program: &str) -> Option<String> {
        if program.is_empty() {
            return Some(": the word is empty, as where a variable is not set".to_owned());
        }
        let of_any = || blank(program).or_else(|| shell_word(program));
        let Some(typed) = self.typed else {
            return of_any();
        };
        let unquoted = || {
            let divided = self.command.iter().skip(1).any(|word| word == "--");
            (divided && typed.single_word).then(|| {
                ": the command begins at the first word that is neither an option nor its value; quote a value \
                 that holds blanks, as --ladder 'exec=nginx -s quit'"
                    .to_owned()
            })
        };
        option(program, self.command)
            .or_else(of_any)
            .or_else(unquoted)
            .or_else(|| self.nearby(program))
            .or_else(|| signal_name(program))
            .or_else(|| subcommand(program))
    }

    fn program(&self) -> String {
        let program = self.command.first().cloned().unwrap_or_default();
        program.to_string_lossy().into_owned()
    }

    /// The first candidate along PATH for which this holds.
    fn find(&self, holds: impl Fn(&Path) -> bool) -> Option<PathBuf> {
        let program = self.command.first().filter(|program| !program.is_empty())?;
        let here = self.directory.unwrap_or(Path::new(""));
        if program.as_bytes().contains(&b'/') {
            return Some(here.join(program)).filter(|found| holds(found));
        }
        let directories = std::env::split_paths(self.path.unwrap_or(OsStr::new("/bin:/usr/bin")));
        let mut places = directories.map(|directory| here.join(directory).join(program));
        places.find(|found| holds(found))
    }

    /// It is in the directory of the start, where only a name with a slash is looked for.
    fn nearby(&self, program: &str) -> Option<String> {
        let here = self.directory.unwrap_or(Path::new(""));
        let is_here = || fs::metadata(here.join(program)).is_ok_and(|found| found.is_file());
        (!program.contains('/') && is_here())
            .then(|| format!(": it is in the working directory: write ./{program}"))
    }

    /// Something that it needs is missing.
    fn incomplete(&self, found: &Path) -> String {
        if fs::metadata(found).is_err() {
            let to = fs::read_link(found).unwrap_or_default();
            return format!(
                "not found: it is a link to {}, which is not there",
                to.display()
            );
        }
        match File::of(&head(found)) {
            File::Script { interpreter } => match interpreter.strip_suffix('\r') {
                Some(_) => format!(
                    "its interpreter {interpreter:?} is not found: the lines of the script end with CR LF; \
                     save it with LF (sed -i 's/\\r$//' {})",
                    found.display()
                ),
                None => format!(
                    "its interpreter {interpreter} is not found: install it, or name another one in the \
                     first line of the script"
                ),
            },
            File::Elf {
                loader: Some(loader),
                ..
            } => format!(
                "its loader {loader} is not found: take a base image that has this C library, or link the \
                 program statically"
            ),
            File::Elf { loader: None, .. } | File::Other => {
                "not found (its interpreter or loader is missing)".to_owned()
            }
        }
    }

    /// It is there, and may not or cannot be executed.
    fn refused(&self) -> String {
        let program = self.program();
        let why = error_text(self.errno);
        let Some(found) = self.find(|found| fs::metadata(found).is_ok()) else {
            return why;
        };
        // Found along PATH it has a longer name than the one that was written.
        let it = match found.to_str() {
            Some(path) if path != program => path,
            _ => "it",
        };
        let reason = match self.errno {
            libc::EACCES => not_permitted(&found, it),
            libc::ENOEXEC => not_executable(&found, it),
            libc::ETXTBSY => Some(format!("somebody still writes to {}", found.display())),
            _ => None,
        };
        reason.unwrap_or(why)
    }
}

fn shown(program: &str) -> String {
    if program.is_empty() || program.contains(char::is_whitespace) {
        format!("{program:?}")
    } else {
        program.to_owned()
    }
}

fn head(path: &Path) -> Vec<u8> {
    let mut head = Vec::new();
    let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
    // It may have become a FIFO by now, whose other side is not waited for.
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(libc::O_NONBLOCK);
    if let (true, Ok(file)) = (is_file, options.open(path)) {
        let _ = file.take(HEAD).read_to_end(&mut head);
    }
    head
}

fn not_permitted(found: &Path, it: &str) -> Option<String> {
    let metadata = fs::metadata(found).ok()?;
    if metadata.is_dir() {
        return Some(format!("{it} is a directory: name a program"));
    }
    if !metadata.is_file() {
        return Some(format!("{it} is no regular file: name a program"));
    }
    if let Some(why) = no_mode(&metadata, it) {
        let path = found.display();
        return Some(format!(
            "{why}: chmod +x {path} (in a Dockerfile: COPY --chmod=755)"
        ));
    }
    if let File::Script { interpreter } = File::of(&head(found)) {
        let there = fs::metadata(&interpreter).ok();
        let why = match &there {
            Some(there) if there.is_dir() => Some("is a directory".to_owned()),
            Some(there) => no_mode(there, "").map(|_| "is not executable".to_owned()),
            None => None,
        };
        if let Some(why) = why {
            return Some(format!(
                "the interpreter {interpreter} {why}: name another one in the first line of the script"
            ));
        }
    }
    let flags = statvfs(found).ok()?.flags();
    if flags.contains(FsFlags::ST_NOEXEC) {
        return Some(format!(
            "{it} is on a file system that is mounted with noexec: move it, or mount that without noexec"
        ));
    }
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    let group = metadata.gid();
    Some(format!(
        "{}: {it} has mode {mode:o} and belongs to {owner}:{group}, and the directories above it count, too",
        error_text(libc::EACCES)
    ))
}

/// Not even root may execute a file of this mode.
fn no_mode(metadata: &Metadata, it: &str) -> Option<String> {
    (metadata.mode() & 0o111 == 0).then(|| format!("{it} is not executable"))
}

fn not_executable(found: &Path, it: &str) -> Option<String> {
    let own = own_machine();
    let for_machine = |it: &str, head: &[u8]| match File::of(head) {
        File::Elf { machine, .. } => match machine_name(machine) {
            Some(name) if name == own => Some(format!("{it} is damaged, or not complete")),
            name => {
                let other = name.map_or_else(|| format!("machine {machine}"), str::to_owned);
                Some(format!(
                    "{it} is a program for {other}, and this machine is {own}: take the image or the build \
                     for this one (--platform linux/{own})"
                ))
            }
        },
        _ => None,
    };
    let head = head(found);
    if let File::Script { interpreter } = File::of(&head) {
        let why = for_machine("the interpreter", &self::head(Path::new(&interpreter)));
        return why.map(|why| format!("{interpreter}: {why}"));
    }
    let binary = || format!("{it} is neither a program nor a script that this machine can run");
    for_machine(it, &head).or_else(|| Some(binary()))
}

/// Options that stand behind `--`, or in place of the command of an image.
fn option(program: &str, command: &[OsString]) -> Option<String> {
    let word = program.strip_prefix('-')?;
    let name = word.trim_start_matches('-');
    let (name, value) = match name.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (name, None),
    };
    let by_letter = |letter: char| {
        let of = |option: &&Opt| option.letter == Some(letter);
        OPTIONS.iter().copied().find(of)
    };
    let mut letters = name.chars();
    let known = match (program.starts_with("--"), letters.next(), letters.next()) {
        (false, Some(letter), None) => by_letter(letter),
        _ => options::find(name),
    };
    let before = "options of stepdown stand before --";
    let Some(known) = known else {
        return Some(format!(
            ": {before}, and a command follows (where an image's ENTRYPOINT ends with --, docker run has only \
             the command to give, and --entrypoint replaces it)"
        ));
    };
    if let Some((other, value)) = known.short_for {
        return Some(format!(
            ": {before}; where an image's ENTRYPOINT ends with --, set the variable {}={value}",
            other.variable()
        ));
    }
    let takes = known.takes_value();
    let following = || {
        let word = command.get(1).filter(|_| takes)?;
        Some(word.to_string_lossy().into_owned())
    };
    let value = value
        .or_else(following)
        .unwrap_or_else(|| if takes { "VALUE" } else { "1" }.to_owned());
    Some(format!(
        ": {before}; where an image's ENTRYPOINT ends with --, set the variable {}={value}",
        known.variable()
    ))
}

/// A command line that was quoted as a whole.
fn blank(program: &str) -> Option<String> {
    let words = program.trim();
    program.contains(char::is_whitespace).then_some(())?;
    let in_shell = shlex::try_quote(words).unwrap_or(words.into());
    Some(if words.contains(['|', '&', ';', '<', '>', '$']) {
        format!(": it was quoted as one word; write sh -c {in_shell}")
    } else {
        format!(": it was quoted as one word; write -- {words}, or sh -c {in_shell}")
    })
}

/// What only a shell can do.
fn shell_word(program: &str) -> Option<String> {
    const BUILTINS: [&str; 14] = [
        "alias", "cd", "eval", "exec", "export", "for", "if", "set", "source", "trap", "ulimit",
        "umask", "unset", "while",
    ];
    if BUILTINS.contains(&program) {
        return Some(format!(
            ": it is a word of the shell: write sh -c '{program} ...'"
        ));
    }
    let (name, _) = program.split_once('=')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (!name.is_empty() && name.bytes().all(is_name))
        .then(|| format!(": only a shell sets variables so: write env {program} COMMAND"))
}

/// A signal behind `-s`, which is tini's subreaper and takes no value.
fn signal_name(program: &str) -> Option<String> {
    let is_name = program.starts_with(|first: char| first.is_ascii_uppercase());
    (is_name && Signal::parse(program).is_ok())
        .then(|| format!(": it is a signal: write --stop-signal {program}"))
}

fn subcommand(program: &str) -> Option<String> {
    if program == "help" {
        return Some(" (for help: stepdown --help)".to_owned());
    }
    let near = suggest::nearest(program, options::SUBCOMMANDS)?;
    let place = if near == program {
        ", as the first word"
    } else {
        ""
    };
    Some(format!(" (for the subcommand: stepdown {near}{place})"))
}

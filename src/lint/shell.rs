//! What a shell does with a line or a script, as far as it decides who gets the signal: read, never run.
//!
//! Whatever is not understood makes the whole text unknown, and nothing is said about it.

mod names;
mod reader;
mod tokens;

use names::{CLOSING, IDLE, NEVER_FAILS, SHORT, WAITING, is_well_known};
use reader::Reader;
use tokens::{tokens, without_substitutions};

/// A text for a shell, divided into the commands at its top.
#[derive(Debug, Default)]
pub(crate) struct Text {
    pieces: Vec<Piece>,
    functions: Vec<String>,
    /// A file is read in (`source`), a text run (`eval`) or an alias given: a name may be a function or an alias then.
    defines_names: bool,
    /// How often there is an `exec PROGRAM` by which the shell itself is replaced, in a branch or a function, too.
    execs: usize,
    /// How many words have arguments of the script or their number in them.
    arguments: usize,
    has_trap: bool,
    /// A trap in a branch or a function.
    has_inner_trap: bool,
}

/// A command at the top.
#[derive(Debug, Default)]
struct Piece {
    words: Vec<Word>,
    kind: Kind,
    /// Part of a pipeline, or not alone otherwise (`!`, a redirection of a group).
    is_piped: bool,
    is_background: bool,
    /// What follows is no sign that this was over soon: on the same line (`;`, `||`, `&& exit`), or it takes the exit
    /// status (`$?`).
    is_followed: bool,
    /// It depends on the command before: `&&` or `||` stands in front of it.
    is_conditional: bool,
    /// What follows belongs to the same list or pipeline.
    is_joined: bool,
    /// The script may be over by it: it has `exit`, `exec` or what is not known in it.
    may_end: bool,
}

impl Piece {
    /// The words of its program.
    fn program(&self) -> &[Word] {
        match self.words.first() {
            Some(first) if first.text == "exec" => program_of_exec(&self.words),
            _ => &self.words,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Kind {
    #[default]
    Simple,
    Function,
    /// `while true` and its like.
    Endless,
    Compound,
}

/// A word and the byte at which it begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) start: usize,
}

/// What a shell does at the end of such a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate<'a> {
    /// It replaces itself by a program (`exec`); these are its words, where it is the last command.
    Execs(Option<&'a [Word]>),
    /// The last command is this program: whether the shell replaces itself depends on the shell.
    Last(&'a [Word]),
    /// No shell replaces itself by that; and the byte at which it begins.
    Stays(&'static str, usize),
    /// As `Stays`, before this program: something follows it, as `true` or `exit`.
    InFront(&'a [Word]),
    /// The last command is one that does nothing (`tail -f /dev/null`), and this program is in the background: no signal
    /// comes to it, whether or not the shell replaces itself.
    Behind(&'a [Word]),
    /// It ignores TERM, and so does what it starts, unless that has a handler of its own; and the byte at which the
    /// trap begins.
    Ignores(usize),
    Unknown,
}

/// What a shell waits for at `wait` and `fg`.
const JOBS: &str = "jobs in the background";

impl Text {
    /// Reads a line or a script; `None` where it is not understood.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let tokens = tokens(text)?;
        let mut reader = Reader::default();
        for (index, token) in tokens.iter().enumerate() {
            reader.take(token, tokens.get(index + 1))?;
        }
        reader.end()
    }

    /// The arguments of each `sleep` at the top that is waited for in any case: none that depends on another command
    /// (`a && sleep 5`), and none behind a command that may end the script.
    pub(crate) fn sleeps(&self) -> Vec<&str> {
        let mut sleeps = Vec::new();
        let mut stops_on_failure = false;
        for (index, piece) in self.pieces.iter().enumerate() {
            let mut words = piece.words.iter().map(|word| word.text.as_str());
            let name = words.next().unwrap_or_default();
            let is_sleep = name.rsplit('/').next() == Some("sleep");
            let is_certain = !piece.is_conditional && !piece.is_piped;
            if let [_, time] = piece.words.as_slice()
                && is_sleep
                && is_certain
                && !self.is_in_background(index)
            {
                sleeps.push(&*time.text);
            }
            stops_on_failure |= name == "set" && words.any(is_errexit);
            let may_fail =
                piece.kind != Kind::Function && !is_sleep && !NEVER_FAILS.contains(&name);
            let may_end = piece.kind != Kind::Function && piece.may_end;
            if may_end || stops_on_failure && may_fail {
                break;
            }
        }
        sleeps
    }

    /// Whether the list of which this piece is a part ends with `&`.
    fn is_in_background(&self, index: usize) -> bool {
        let mut list = self.pieces.iter().skip(index);
        let end = list.find(|piece| !piece.is_joined);
        end.is_some_and(|piece| piece.is_background)
    }

    /// Where the last trap for TERM begins, if that is `trap '' TERM`.
    fn ignores_term(&self) -> Option<usize> {
        let of_term = |piece: &&Piece| {
            let names = ["TERM", "SIGTERM", "15"];
            let mut words = piece.words.iter().map(|word| word.text.as_str());
            words.next() == Some("trap") && words.skip(1).any(|word| names.contains(&word))
        };
        let trap = self.pieces.iter().rfind(of_term)?;
        let is_plain = !trap.is_piped && !trap.is_background;
        let ignores = trap.words.get(1).is_some_and(|word| word.text.is_empty());
        (ignores && is_plain).then(|| trap.words.first().map_or(0, |word| word.start))
    }

    /// Whether this is a program of its own that may run for long.
    fn is_program(&self, piece: &Piece) -> bool {
        let name = piece.program().first().map_or("", |word| &word.text);
        let is_simple = piece.kind == Kind::Simple && !piece.is_piped;
        is_simple
            && !name.is_empty()
            && !WAITING.contains(&name)
            && !SHORT.contains(&name)
            && !self.may_be_function(name)
            && is_program_name(name)
    }

    /// Whether a name may be that of a function or an alias. Those of files that are read in are not known.
    fn may_be_function(&self, name: &str) -> bool {
        let is_bare = !name.contains(['/', '$', '`']);
        let is_defined = self.functions.iter().any(|function| function == name);
        is_defined || self.defines_names && is_bare && !is_well_known(name)
    }

    /// What is waited for before what closes the line or the script: a program, or jobs.
    fn before_the_end(&self) -> Fate<'_> {
        let closes = |piece: &&Piece| {
            let name = piece.words.first().map_or("", |word| word.text.as_str());
            piece.kind == Kind::Simple && CLOSING.contains(&name)
        };
        let mut pieces = self.pieces.iter().rev();
        let before = pieces.find(|piece| !closes(piece));
        let Some(before) = before.filter(|before| !before.is_background) else {
            return Fate::Unknown;
        };
        if let [first, ..] = before.words.as_slice()
            && WAITING.contains(&&*first.text)
            && !before.is_piped
        {
            // One that is over soon is no server: `cp a b & wait; exit`.
            let is_job = |piece: &Piece| {
                piece.is_background && (piece.kind != Kind::Simple || self.is_program(piece))
            };
            return if self.pieces.iter().any(is_job) {
                Fate::Stays(JOBS, first.start)
            } else {
                Fate::Unknown
            };
        }
        if before.is_followed && self.is_program(before) {
            return Fate::InFront(&before.words);
        }
        Fate::Unknown
    }

    /// Whether it replaces itself by its arguments at the end.
    pub(crate) fn runs_arguments(&self) -> bool {
        matches!(self.fate(), Fate::Execs(Some([first, ..])) if first.text == "$@")
    }

    /// Whether it starts nothing else: it has no other `exec`, and does not look at its arguments before.
    pub(crate) fn only_runs_arguments(&self) -> bool {
        self.runs_arguments() && self.execs == 1 && self.arguments == 1
    }

    /// What happens at the end.
    pub(crate) fn fate(&self) -> Fate<'_> {
        let Some(last) = self.pieces.last() else {
            return Fate::Unknown;
        };
        let name = last.words.first().map_or("", |word| word.text.as_str());
        let start = last.words.first().map_or(0, |word| word.start);
        let is_plain = last.kind == Kind::Simple && !last.is_piped && !last.is_background;
        if is_plain && name == "exec" {
            return Fate::Execs(Some(program_of_exec(&last.words)));
        }
        // One that stands before is in a branch, or only redirects: what comes last may still be reached.
        if self.execs > 0 && !(is_plain && self.is_program(last)) {
            return Fate::Execs(None);
        }
        if self.has_trap {
            let ignores = self.ignores_term().filter(|_| !self.has_inner_trap);
            return ignores.map_or(Fate::Unknown, Fate::Ignores);
        }
        let in_background = self.pieces.iter().any(|piece| piece.is_background);
        match last.kind {
            _ if last.is_background => Fate::Unknown,
            Kind::Endless => Fate::Stays("a loop without end", start),
            Kind::Simple if last.is_piped => {
                if self.functions.iter().any(|function| function == name) || SHORT.contains(&name) {
                    return Fate::Unknown;
                }
                Fate::Stays("a pipeline", start)
            }
            Kind::Simple if WAITING.contains(&name) && in_background => Fate::Stays(JOBS, start),
            Kind::Simple if name.is_empty() || WAITING.contains(&name) => Fate::Unknown,
            Kind::Simple if CLOSING.contains(&name) => self.before_the_end(),
            Kind::Simple if !self.is_program(last) => Fate::Unknown,
            Kind::Simple if IDLE.contains(&name) => {
                let mut pieces = self.pieces.iter();
                let behind = pieces.find(|piece| piece.is_background && self.is_program(piece));
                behind.map_or(Fate::Last(&last.words), |piece| {
                    Fate::Behind(piece.program())
                })
            }
            Kind::Simple => Fate::Last(&last.words),
            Kind::Function | Kind::Compound => Fate::Unknown,
        }
    }
}

/// Whether a first word is that of a program. What the shell puts in may be `exec`, or words before the program; the
/// arguments of the script are a program, and so is what has a path.
fn is_program_name(name: &str) -> bool {
    let is_arguments = ["$@", "$*", "${@}", "${*}"].contains(&name);
    let is_plain = !name.contains(['$', '`']);
    is_plain || is_arguments || without_substitutions(name).contains('/')
}

/// Whether this argument of `set` makes a command that fails the last one: `-e`, `-eu`, `-o errexit`.
fn is_errexit(word: &str) -> bool {
    let letters = word.strip_prefix('-').unwrap_or_default();
    word == "errexit" || !letters.starts_with('-') && letters.contains('e')
}

/// The words behind `exec` and its options.
fn program_of_exec(words: &[Word]) -> &[Word] {
    let mut rest = words.get(1..).unwrap_or_default();
    while let Some(first) = rest.first().filter(|word| word.text.starts_with('-')) {
        let takes_one = first.text == "-a";
        rest = rest.get(1 + usize::from(takes_one)..).unwrap_or_default();
    }
    rest
}

#[cfg(test)]
mod tests;

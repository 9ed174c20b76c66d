//! A command line from the first process on: inits, stepdown, tools that replace themselves, shells, the program.

use super::programs::base_name;
use super::run::{Run, Word};
use super::shell::Text;

/// What the words of a command are.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// tini and its like, by the index of the word.
    pub(crate) inits: Vec<usize>,
    /// Where `stepdown` stands.
    pub(crate) stepdown: Option<usize>,
    pub(crate) shell: Option<ShellLine>,
    /// The script at the end, by the index of its word.
    pub(crate) script: Option<usize>,
    /// Where the program begins.
    pub(crate) program: Option<usize>,
    /// What starts the words behind it, where there are none.
    pub(crate) without_command: Option<usize>,
}

/// A shell with `-c`.
#[derive(Debug)]
pub(crate) struct ShellLine {
    pub(crate) name: usize,
    pub(crate) line: usize,
}

pub(crate) const SHELLS: [&str; 6] = ["sh", "bash", "ash", "dash", "ksh", "zsh"];

/// The inits that only pass signals on, and their options that take a value.
const INITS: [(&str, &[&str]); 6] = [
    ("tini", &["-p", "-e"]),
    ("tini-static", &["-p", "-e"]),
    ("docker-init", &["-p", "-e"]),
    ("dumb-init", &["-r", "--rewrite"]),
    ("catatonit", &[]),
    ("pid1", &[]),
];

/// Scripts of official images that end with `exec "$@"`.
const RUNS_COMMAND: [&str; 3] = [
    "docker-entrypoint.sh",
    "docker-php-entrypoint",
    "httpd-foreground-entrypoint",
];

/// Whether it is an init by its name, stepdown among them.
pub(crate) fn is_init(word: &Word) -> bool {
    is_name_of_init(base_name(&word.text))
}

fn is_name_of_init(name: &str) -> bool {
    name == "stepdown" || INITS.iter().any(|(init, _)| *init == name)
}

/// Whether an init, whose words these are, signals the group of its child, or all that is left after it.
pub(crate) fn tells_group(words: Option<&[Word]>) -> bool {
    let mut words = words.unwrap_or_default().iter();
    let name = words.next().map_or("", |word| base_name(&word.text));
    if ["dumb-init", "pid1"].contains(&name) {
        return true;
    }
    while let Some(letters) = words.next().and_then(|word| word.text.strip_prefix('-')) {
        if letters.starts_with('-') {
            return false;
        }
        let value = letters.find(['p', 'e']);
        if letters[..value.unwrap_or(letters.len())].contains('g') {
            return true;
        }
        // The value is the next word.
        if value.is_some_and(|at| at + 1 == letters.len()) {
            words.next();
        }
    }
    false
}

/// Whether a script may put an init before its arguments.
fn adds_init(text: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut words = text.split(|c| !is_name(c));
    text.contains("set -- ") && words.any(is_name_of_init)
}

impl Chain {
    /// `command_of` tells how many of the words that begin with `stepdown` are its COMMAND.
    pub(crate) fn of(
        run: &Run,
        words: &[Word],
        command_of: impl Fn(&[Word]) -> Option<usize>,
    ) -> Self {
        let mut chain = Self::default();
        let mut last = None;
        let mut at = 0;
        while let Some(word) = words.get(at).filter(|word| word.is_known) {
            let name = base_name(&word.text);
            let rest = words.get(at + 1..).unwrap_or_default();
            if let Some((_, values)) = INITS.iter().find(|(init, _)| *init == name) {
                chain.inits.push(at);
                last = Some(at);
                at += 1 + options(rest, values);
                continue;
            }
            let is_shell = SHELLS.contains(&name);
            let line = line_of(rest).filter(|_| is_shell);
            let behind = match line {
                None if is_shell => at + 1 + options(rest, &["-o", "+o"]),
                _ => at,
            };
            let path = words.get(behind).filter(|word| word.is_known);
            let path = path.map(|word| &word.text);
            let script = run.scripts.iter().find(|script| Some(&script.path) == path);
            if let Some(script) = script {
                // One that replaces itself by its arguments is no end, unless it may put an init before them.
                let text = script.commands.as_ref();
                let is_end = !text.is_some_and(Text::runs_arguments);
                if is_end || adds_init(&script.text) {
                    chain.script = Some(behind);
                    return chain;
                }
                last = Some(behind).filter(|_| text.is_some_and(Text::only_runs_arguments));
                at = behind + 1;
                continue;
            }
            match name {
                "stepdown" => {
                    chain.stepdown = Some(at);
                    last = Some(at);
                    let own = words.get(at..).unwrap_or_default();
                    match command_of(own) {
                        Some(length) => at = words.len() - length,
                        None => return chain,
                    }
                }
                "gosu" | "su-exec" => at += 2,
                "env" => at += 1 + assignments(rest),
                "nice" => at += 1 + options(rest, &["-n", "--adjustment"]),
                "exec" | "nohup" => at += 1,
                "stdbuf" => at += 1 + options(rest, &["-i", "-o", "-e"]),
                _ if is_shell => {
                    let line = line.map(|line| at + 1 + line);
                    chain.shell = line.map(|line| ShellLine { name: at, line });
                    return chain;
                }
                _ if RUNS_COMMAND.contains(&name)
                    && run.known.is_some_and(|known| known.runs_command) =>
                {
                    last = Some(at).filter(|_| run.known.is_some_and(|known| !known.has_default));
                    at += 1;
                }
                _ => {
                    chain.program = Some(at);
                    return chain;
                }
            }
        }
        chain.without_command = last.filter(|_| at >= words.len());
        chain
    }
}

/// How many of the words are options, `--` included.
fn options(words: &[Word], with_value: &[&str]) -> usize {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if word.text == "--" {
            return at + 1;
        }
        if !word.text.starts_with(['-', '+']) || word.text.len() < 2 {
            return at;
        }
        at += 1 + usize::from(with_value.contains(&&*word.text));
    }
    at
}

fn assignments(words: &[Word]) -> usize {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        match &*word.text {
            "--" => return at + 1,
            "-u" | "--unset" | "-C" | "--chdir" => at += 2,
            "-S" => return words.len(),
            text if text.starts_with('-') || text.contains('=') => at += 1,
            _ => return at,
        }
    }
    at
}

/// The word behind a group of letters with `c`.
fn line_of(words: &[Word]) -> Option<usize> {
    let mut at = 0;
    loop {
        let text = &*words.get(at)?.text;
        let letters = text.strip_prefix('-')?;
        if letters.starts_with('-') || letters.is_empty() {
            return None;
        }
        at += 1 + usize::from(letters.ends_with('o'));
        if letters.contains('c') {
            return words.get(at).map(|_| at);
        }
    }
}

/// The words of a program without what stands for it: `bundle exec`, `python -m`.
pub(crate) fn of_server<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let names: Vec<&str> = words.iter().map(|word| base_name(word)).collect();
    let skipped = match names.as_slice() {
        ["bundle", "exec", _, ..] => 2,
        [python, "-m", module, ..] if python.starts_with("python") && *module != "http.server" => 2,
        ["poetry" | "pipenv" | "uv" | "pdm", "run", _, ..] => 2,
        _ => 0,
    };
    words.get(skipped..).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inits_that_signal_a_group() {
        for (line, signals) in [
            ("tini -- sh", false),
            ("tini sh -g", false),
            ("tini -g sh", true),
            ("/sbin/tini -s -vg -- sh", true),
            ("tini -e 143 -g -- sh", true),
            ("tini -p SIGKILL -- sh", false),
            ("tini -eg -- sh", false),
            ("catatonit -- sh", false),
            ("dumb-init sh", true),
            ("pid1 sh", true),
        ] {
            let word = |text: &str| Word {
                text: text.to_owned(),
                is_known: true,
                at: crate::lint::place::Spot::default(),
            };
            let words: Vec<Word> = line.split(' ').map(word).collect();
            assert_eq!(tells_group(Some(&words)), signals, "{line}");
        }
    }
}

//! The scripts that an image starts with: found among what is copied, and behind the init that their first line names.

use std::rc::Rc;

use super::Stage;
use crate::lint::command::{SHELLS, is_init};
use crate::lint::copies::Found;
use crate::lint::place::Spot;
use crate::lint::programs::base_name;
use crate::lint::run::{Run, Script, Word};
use crate::lint::shell;
use crate::lint::source::Sources;

impl Stage {
    /// Reads the scripts of the command, and puts the init of a `#!` line in front of its script, as the kernel does.
    pub(crate) fn read_scripts(&self, run: &mut Run, sources: &mut Sources) {
        run.scripts = self.scripts(&run.command(), sources);
        let scripts = &run.scripts;
        for words in &mut run.words {
            let words = &mut words.words;
            for at in 0..words.len() {
                let Some(word) = words.get(at).filter(|word| word.is_known) else {
                    return;
                };
                // A shell that is given the script takes the line for a comment.
                if SHELLS.contains(&base_name(&word.text)) {
                    return;
                }
                let script = scripts.iter().find(|script| script.path == word.text);
                let interpreter = script.map(|script| interpreter(script)).unwrap_or_default();
                if interpreter.first().is_some_and(is_init) {
                    words.splice(at..at, interpreter);
                    return;
                }
            }
        }
    }

    /// The scripts among the first words, where they are here and are for a shell.
    fn scripts(&self, words: &[Word], sources: &mut Sources) -> Vec<Rc<Script>> {
        let mut scripts = Vec::new();
        let mut is_behind_shell = false;
        for word in words.iter().take(6) {
            let path = word.text.as_str();
            if path.starts_with('-') || path.contains(' ') || path.is_empty() {
                continue;
            }
            let was_behind_shell = is_behind_shell;
            is_behind_shell = SHELLS.contains(&base_name(path));
            let find = |path: &str| self.copies.find(path, &self.workdir);
            // A shell looks for its script in the working directory before it looks in PATH.
            let here = (was_behind_shell && !path.contains('/')).then(|| format!("./{path}"));
            let Some(found) = here.and_then(|here| find(&here)).or_else(|| find(path)) else {
                continue;
            };
            let (text, at) = match found {
                // The place is that of its first line, below the COPY.
                Found::Text(text, at) => (text, at),
                Found::File(file) => {
                    let Some(file) = sources.beside(&file) else {
                        continue;
                    };
                    let text = sources.get(file).map(|source| source.text.clone());
                    let at = Spot {
                        file,
                        line: 1,
                        column: 1,
                    };
                    (text.unwrap_or_default(), at)
                }
            };
            if is_for_a_shell(&text, path) {
                scripts.push(Rc::new(Script {
                    path: path.to_owned(),
                    commands: shell::Text::read(&text),
                    text,
                    at,
                }));
            }
        }
        scripts
    }
}

/// The words of its `#!` line, those of `env` left out.
fn interpreter(script: &Script) -> Vec<Word> {
    let first = script.text.lines().next().unwrap_or_default();
    let line = first.strip_prefix("#!").unwrap_or_default();
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if words.first().is_some_and(|word| base_name(word) == "env") {
        let options = words
            .iter()
            .skip(1)
            .take_while(|word| word.starts_with('-'));
        words.drain(..=options.count());
    }
    let word = |text: &str| Word {
        text: text.to_owned(),
        is_known: true,
        at: script.at,
    };
    words.into_iter().map(word).collect()
}

fn is_for_a_shell(text: &str, path: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let Some(program) = first.strip_prefix("#!") else {
        return path.ends_with(".sh");
    };
    let shells = SHELLS;
    let mut words = program
        .split([' ', '/', '\t'])
        .filter(|word| !word.is_empty());
    words.any(|word| shells.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_script_names_its_interpreter() {
        for (line, expected) in [
            ("#!/usr/bin/dumb-init /bin/sh", "/usr/bin/dumb-init /bin/sh"),
            ("#! /bin/sh -e", "/bin/sh -e"),
            ("#!/usr/bin/env -S tini -- sh", "tini -- sh"),
            ("#!/usr/bin/env bash", "bash"),
            ("#!/usr/bin/env", ""),
            ("# tini", ""),
            ("", ""),
        ] {
            let at = Spot {
                file: 0,
                line: 1,
                column: 1,
            };
            let script = Script {
                path: "/a".to_owned(),
                commands: None,
                text: format!("{line}\nexec a\n"),
                at,
            };
            let words = interpreter(&script);
            let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
            assert_eq!(words.join(" "), expected, "{line}");
        }
    }
}

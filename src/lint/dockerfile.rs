//! A Dockerfile: what each of its stages starts, with which signal it is stopped, and what is copied into it.

mod scripts;

use std::path::Path;
use std::rc::Rc;

use parse_dockerfile::{Command, Flag, Instruction, Source as CopySource, UnescapedString};

use super::copies::{CopiedFile, Copies, From, absolute};
use super::interpolate::{Lookup, interpolate};
use super::place::{Lines, Placed, Spot};
use super::programs::Known;
use super::run::{Environment, Platform, Run, Variable, Word, Words};

/// A stage, with all that it has from the stages before it.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) name: Option<String>,
    at: Spot,
    /// The image at the bottom of it.
    known: Known,
    pub(crate) entrypoint: Option<Words>,
    pub(crate) cmd: Option<Words>,
    /// CMD stands in this stage, not in one before it.
    has_own_cmd: bool,
    /// An exec form that is none.
    pub(crate) broken: Vec<(&'static str, Spot)>,
    environment: Environment,
    pub(crate) stop_signal: Option<Placed<String>>,
    is_inherited_signal: bool,
    copies: Copies,
    workdir: String,
    shell: Vec<String>,
    arguments: Vec<(String, Option<String>)>,
}

/// The stages of a Dockerfile, the last of which is the image.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) file: usize,
    pub(crate) stages: Vec<Stage>,
}

impl Image {
    /// Reads it; what is copied is looked for in the context.
    ///
    /// # Errors
    /// It is no Dockerfile: where, and why.
    pub(crate) fn read(text: &str, file: usize, context: &Path) -> Result<Self, Placed<String>> {
        let text = &with_empty_entrypoints(text);
        let lines = Lines::new(text, file);
        let parsed = parse_dockerfile::parse(text).map_err(|error| {
            let at = Spot {
                file,
                line: error.line().max(1),
                column: error.column().max(1),
            };
            // Without the place, which stands in front of it.
            Placed::new(format!("{error:#}"), at)
        })?;
        let escape = parsed.parser_directives.escape.as_ref();
        let escape = escape.map_or('\\', |directive| directive.value.value);
        let mut global: Vec<(String, Option<String>)> = Vec::new();
        let mut stages: Vec<Stage> = Vec::new();
        for instruction in &parsed.instructions {
            match instruction {
                Instruction::From(from) => {
                    let lookup = |name: &str| of_arguments(&global, name);
                    let (image, is_known) = interpolate(&from.image.value, &lookup);
                    let at = lines.spot(from.from.span.start);
                    let name = from.as_.as_ref().map(|(_, name)| name.value.to_string());
                    let mut stage = match stages.iter().rfind(|stage| stage.is_named(&image)) {
                        Some(before) => before.clone(),
                        None => Stage::on(if is_known { &image } else { "$" }, at, context),
                    };
                    stage.name = name;
                    stage.at = at;
                    stage.has_own_cmd = false;
                    stage.arguments.clear();
                    stages.push(stage);
                }
                Instruction::Arg(arg) => {
                    let declared = declared(&arg.arguments.value);
                    match stages.last_mut() {
                        None => global.extend(declared),
                        Some(stage) => {
                            let outer = |(name, value): (String, Option<String>)| {
                                let of_file = global.iter().rfind(|(known, _)| *known == name);
                                let of_file = of_file.and_then(|(_, value)| value.clone());
                                (name, value.or(of_file))
                            };
                            stage.arguments.extend(declared.into_iter().map(outer));
                        }
                    }
                }
                other => {
                    if let Some(stage) = stages.last_mut() {
                        stage.take(other, &lines, escape);
                    }
                }
            }
        }
        Ok(Self { file, stages })
    }

    /// The stage of this name, or the last one.
    pub(crate) fn stage(&self, target: Option<&str>) -> Option<&Stage> {
        match target {
            Some(target) => self.stages.iter().rfind(|stage| stage.is_named(target)),
            None => self.stages.last(),
        }
    }
}

impl Stage {
    /// One that begins with an image of another place.
    fn on(image: &str, at: Spot, context: &Path) -> Self {
        let known = Known::of(image);
        let signal = known.stop_signal;
        Self {
            name: None,
            at,
            known,
            entrypoint: None,
            cmd: None,
            has_own_cmd: false,
            broken: Vec::new(),
            environment: Environment::default(),
            stop_signal: signal.map(|signal| Placed::new(signal.to_owned(), at)),
            is_inherited_signal: true,
            copies: Copies {
                context: context.to_owned(),
                all: Vec::new(),
            },
            workdir: "/".to_owned(),
            shell: vec!["/bin/sh".to_owned(), "-c".to_owned()],
            arguments: Vec::new(),
        }
    }

    /// Docker does not tell capitals in the name of a stage.
    fn is_named(&self, name: &str) -> bool {
        let own = self.name.as_deref();
        own.is_some_and(|own| own.eq_ignore_ascii_case(name))
    }

    fn take(&mut self, instruction: &Instruction<'_>, lines: &Lines<'_>, escape: char) {
        match instruction {
            Instruction::Entrypoint(entrypoint) => {
                let at = lines.spot(entrypoint.entrypoint.span.start);
                let command = &entrypoint.arguments;
                self.entrypoint = Some(self.words(command, "ENTRYPOINT", at, lines, escape));
                // One from another image, which was written for another ENTRYPOINT, is left out by Docker.
                self.cmd.take_if(|_| !self.has_own_cmd);
            }
            Instruction::Cmd(cmd) => {
                let at = lines.spot(cmd.cmd.span.start);
                let words = self.words(&cmd.arguments, "CMD", at, lines, escape);
                // `CMD []` takes back what the image before has.
                self.cmd = Some(words).filter(|words| !words.words.is_empty());
                self.has_own_cmd = true;
            }
            Instruction::Stopsignal(signal) => {
                let (text, is_known) = self.put_in(&signal.arguments.value);
                let at = lines.spot(signal.arguments.span.start);
                self.stop_signal = is_known.then(|| Placed::new(text, at));
                self.is_inherited_signal = false;
            }
            Instruction::Env(env) => {
                let at = lines.spot(env.env.span.start);
                for (name, value) in declared_in_env(&env.arguments.value) {
                    let (value, is_known) = self.put_in(&value);
                    let value = is_known.then_some(value);
                    self.environment.set(Variable { name, value, at });
                }
            }
            Instruction::Workdir(workdir) => {
                let (path, _) = self.put_in(&workdir.arguments.value);
                self.workdir = absolute(&path, &self.workdir);
            }
            Instruction::Shell(shell) => {
                let words = shell.arguments.iter().map(|word| word.value.to_string());
                self.shell = words.collect();
            }
            Instruction::Copy(copy) => self.copy(&copy.options, &copy.src, &copy.dest, lines),
            Instruction::Add(add) => self.copy(&add.options, &add.src, &add.dest, lines),
            _ => {}
        }
    }

    fn copy(
        &mut self,
        flags: &[Flag<'_>],
        sources: &[CopySource<'_>],
        to: &UnescapedString<'_>,
        lines: &Lines<'_>,
    ) {
        let is_from = flags.iter().any(|flag| flag.name.value == "from");
        let (to, is_known) = self.put_in(&to.value);
        if !is_known {
            return;
        }
        let is_into = to.ends_with('/') || to.ends_with('.') || sources.len() > 1;
        let to = absolute(&to, &self.workdir);
        for source in sources {
            let from = match source {
                CopySource::Path(path) => {
                    let (path, is_known) = self.put_in(&path.value);
                    let is_here = is_known && !path.contains(['?', '[']) && !path.contains("://");
                    if is_here && !is_from {
                        From::Path(path)
                    } else {
                        From::Elsewhere(path)
                    }
                }
                CopySource::HereDoc(text) => {
                    From::Text(text.value.to_string(), lines.spot(text.span.start))
                }
                _ => continue,
            };
            self.copies.all.push(CopiedFile {
                from,
                to: to.clone(),
                is_into,
            });
        }
    }

    fn put_in(&self, text: &str) -> (String, bool) {
        let lookup = |name: &str| {
            let variables = &self.environment.variables;
            match variables.iter().find(|variable| variable.name == name) {
                Some(variable) => variable
                    .value
                    .clone()
                    .map_or(Lookup::Unknown, Lookup::Value),
                None => of_arguments(&self.arguments, name),
            }
        };
        interpolate(text, &lookup)
    }

    fn words(
        &mut self,
        command: &Command<'_>,
        key: &'static str,
        at: Spot,
        lines: &Lines<'_>,
        escape: char,
    ) -> Words {
        self.broken.retain(|(other, _)| *other != key);
        let word = |text: String, at| Word {
            text,
            is_known: true,
            at,
        };
        let (words, is_shell_form) = match command {
            Command::Exec(words) => {
                let words = words.value.iter();
                let words = words.map(|w| word(w.value.to_string(), lines.spot(w.span.start)));
                (words.collect(), false)
            }
            Command::Shell(line) => {
                let at = lines.spot(line.span.start);
                if let Some(words) = exec_form(&joined(line.value, escape)) {
                    let words = words.into_iter().map(|text| word(text, at)).collect();
                    return Words {
                        words,
                        at,
                        key,
                        is_shell_form: false,
                    };
                }
                if is_broken(line.value) {
                    self.broken.push((key, at));
                }
                let shell = self.shell.iter().map(|text| word(text.clone(), at));
                let line = word(joined(line.value, escape), at);
                (shell.chain([line]).collect(), true)
            }
            _ => (Vec::new(), false),
        };
        Words {
            words,
            at,
            key,
            is_shell_form,
        }
    }

    /// What the image alone would run.
    pub(crate) fn run(&self, platform: Platform, name: String, at: Spot) -> Run {
        let mut run = Run::new(platform, name, at);
        run.words.extend(self.entrypoint.clone());
        // The words of a shell's line are over before those of CMD.
        let is_line = self
            .entrypoint
            .as_ref()
            .is_some_and(|words| words.is_shell_form);
        run.words.extend(self.cmd.clone().filter(|_| !is_line));
        run.is_whole = self.entrypoint.is_some() || self.known.runs_command;
        run.known = Some(self.known);
        run.environment = self.environment.clone();
        run.stop_signal.clone_from(&self.stop_signal);
        run.is_inherited_signal = self.is_inherited_signal;
        run.copies = Some(Rc::new(self.copies.clone()));
        run.dockerfile = Some(self.at.file);
        run
    }

    /// The place of its FROM.
    pub(crate) fn at(&self) -> Spot {
        self.at
    }
}

fn of_arguments(arguments: &[(String, Option<String>)], name: &str) -> Lookup {
    match arguments.iter().rfind(|(known, _)| known == name) {
        Some((_, Some(value))) => Lookup::Value(value.clone()),
        // What is not declared may come from the image on which this one is built.
        _ => Lookup::Unknown,
    }
}

/// `NAME[=VALUE]...` of an ARG.
fn declared(text: &str) -> Vec<(String, Option<String>)> {
    let words = shlex::split(text).unwrap_or_default();
    let divided = |word: String| match word.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (word, None),
    };
    words.into_iter().map(divided).collect()
}

/// `NAME=VALUE...` or `NAME VALUE`.
fn declared_in_env(text: &str) -> Vec<(String, String)> {
    let text = text.trim();
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let (name, value) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        return vec![(name.to_owned(), value.trim().to_owned())];
    }
    let all = declared(text).into_iter();
    all.map(|(name, value)| (name, value.unwrap_or_default()))
        .collect()
}

/// The words of an exec form. Docker ignores what stands behind it on the line, a comment for example; the parser does
/// not, and takes the line for one of a shell.
fn exec_form(line: &str) -> Option<Vec<String>> {
    let words = serde_json::Deserializer::from_str(line);
    words.into_iter().next()?.ok()
}

/// Docker takes `ENTRYPOINT []`, and the parser refuses it unless something stands behind.
fn with_empty_entrypoints(text: &str) -> String {
    let mut whole = String::new();
    for line in text.split_inclusive('\n') {
        let (line, end) = line.split_at(line.trim_end().len());
        let mut words = line.split_whitespace();
        let is_it = words
            .next()
            .is_some_and(|first| first.eq_ignore_ascii_case("ENTRYPOINT"));
        whole.push_str(line);
        if is_it && words.collect::<String>() == "[]" {
            whole.push_str(" #");
        }
        whole.push_str(end);
    }
    whole
}

/// Brackets and quotes around it all, as an exec form has, and no JSON; or a bracket that no shell takes for a test.
pub(crate) fn is_broken(line: &str) -> bool {
    let Some(inner) = line.trim().strip_prefix('[') else {
        return false;
    };
    let is_quoted = inner.ends_with(']') && inner.trim_start().starts_with(['\'', '"']);
    is_quoted || !inner.starts_with([' ', '\t', '[', '\\'])
}

/// A line that goes on over several, without the comments in between.
fn joined(text: &str, escape: char) -> String {
    let mut whole = String::new();
    for (index, line) in text.lines().enumerate() {
        if index > 0 && line.trim_start().starts_with('#') {
            continue;
        }
        match line.trim_end().strip_suffix(escape) {
            Some(line) => whole.push_str(line),
            None => {
                whole.push_str(line);
                whole.push('\n');
            }
        }
    }
    whole.trim_end().to_owned()
}

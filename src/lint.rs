//! Reads Dockerfiles, compose files, Kubernetes manifests, systemd units and the file of `--config`, together, and
//! says what will go wrong at a stop. It runs nothing, and what it does not know it leaves alone.

mod command;
mod compose;
mod copies;
mod dockerfile;
mod dropins;
mod finding;
#[cfg(test)]
pub(crate) mod fuzz;
mod interpolate;
mod judge;
mod kubernetes;
mod overrides;
pub(crate) mod own;
mod place;
mod programs;
pub(crate) mod rules;
mod run;
mod runners;
mod shell;
mod source;
mod tell;
mod unit;
mod yaml;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use crate::options;
use crate::sys;
use dockerfile::{Image, Stage};
use finding::{Findings, fails};
use kubernetes::Container;
use overrides::Together;
use own::{Own, ReadLine};
use run::{Platform, Run};
use source::{Kind, Sources};
pub(crate) use tell::Format;

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Lint {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) format: Format,
    pub(crate) read_line: ReadLine,
}

impl Lint {
    /// Judges the files: 0 where nothing is found, or notes only; 1 where something is; 125 where a file cannot
    /// be read or parsed.
    ///
    /// # Errors
    /// The findings cannot be written.
    pub(crate) fn judge(&self) -> Result<u8, String> {
        let mut sources = Sources::default();
        let mut errors = Vec::new();
        for path in &self.files {
            if let Err(error) = sources.name(path) {
                errors.push(error);
            }
        }
        let mut findings = Findings::default();
        self.judge_all(&mut sources, &mut findings, &mut errors);
        sources.judge_ignores(&mut findings);
        let findings = findings.sorted(|finding| sources.is_ignored(finding));
        for error in &errors {
            sys::stderr::write(format!("stepdown lint: {error}\n").as_bytes());
        }
        let text = tell::told(self.format, &findings, &sources, &errors)?;
        match sys::stdout::print(&text) {
            0 if !errors.is_empty() => Ok(125),
            0 => Ok(u8::from(fails(&findings))),
            failed => Ok(failed),
        }
    }

    fn judge_all(&self, sources: &mut Sources, findings: &mut Findings, errors: &mut Vec<String>) {
        let named: Vec<(usize, PathBuf, Kind)> = sources
            .all
            .iter()
            .enumerate()
            .map(|(file, source)| (file, source.path.clone(), source.kind.clone()))
            .collect();
        let mut images: Vec<Image> = Vec::new();
        for (file, path, kind) in &named {
            if let (Kind::Dockerfile, Some(source)) = (kind, sources.get(*file)) {
                let context = path.parent().unwrap_or(Path::new(""));
                match Image::read(&source.text, *file, context) {
                    Ok(image) => images.push(image),
                    Err(error) => {
                        let (at, shown) = (error.at, &source.shown);
                        errors.push(format!(
                            "{shown}:{}:{}: {}",
                            at.line, at.column, error.value
                        ));
                    }
                }
            }
        }
        let mut objects = Vec::new();
        for (_, _, kind) in &named {
            if let Kind::Kubernetes(documents) = kind {
                objects.extend(kubernetes::objects(documents));
            }
        }
        let mut runs: Vec<Run> = Vec::new();
        let containers = kubernetes::containers(&objects, &objects);
        let is_one = images.len() == 1 && containers.iter().filter(|c| is_own(c)).count() == 1;
        for container in containers {
            let stage = stage_of(&container, &images, sources, is_one);
            runs.push(match stage {
                Some(stage) => with_image(container, stage, sources),
                None => container.run,
            });
        }
        let mut composed = Vec::new();
        for (file, path, kind) in &named {
            match kind {
                Kind::Compose(root) => {
                    let together = overrides::together(sources, *file, root);
                    let together = together.unwrap_or_else(|error| {
                        // The other file may have been named, too.
                        if !errors.contains(&error) {
                            errors.push(error);
                        }
                        Together::alone(*file, root)
                    });
                    if !composed.contains(&together.file) {
                        composed.push(together.file);
                        runs.extend(compose::runs(sources, &together));
                    }
                }
                Kind::Unit => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    let files = dropins::with(sources, *file, errors).into_iter();
                    let texts = files.filter_map(|file| Some((file, &*sources.get(file)?.text)));
                    runs.extend(unit::run(texts, &name));
                }
                Kind::Config => {
                    if is_of_another(sources, *file) {
                        errors.push(format!(
                            "{}: no key of it is an option of stepdown, so it is no file of --config",
                            path.display()
                        ));
                    } else if let Some((at, message)) = Own::by_file(path, *file, false).fault {
                        findings.add(&rules::STEPDOWN_OPTIONS, at, message);
                    }
                }
                _ => {}
            }
        }
        for image in &images {
            let is_used = runs.iter().any(|run| run.dockerfile == Some(image.file));
            if let Some(stage) = image.stage(None) {
                judge_stage(stage, findings);
                if !is_used {
                    let mut run = stage.run(Platform::Image, "the image".to_owned(), stage.at());
                    stage.read_scripts(&mut run, sources);
                    if !run.known.is_some_and(|known| known.is_windows) {
                        runs.push(run);
                    }
                }
            }
        }
        let shared = RefCell::new(std::mem::take(sources));
        for run in &runs {
            judge::judge(run, self.read_line, &shared, findings);
        }
        *sources = shared.into_inner();
    }
}

/// What a Dockerfile says wrongly whoever runs it.
fn judge_stage(stage: &Stage, findings: &mut Findings) {
    for (key, at) in &stage.broken {
        let message = format!("{key} looks like an exec form and is not valid JSON");
        findings.add(&rules::EXEC_FORM_BROKEN, *at, message);
    }
    let is_line = |words: &&run::Words| words.is_shell_form;
    let is_broken = stage.broken.iter().any(|(key, _)| *key == "ENTRYPOINT");
    if let (Some(_), Some(cmd), false) = (
        stage.entrypoint.as_ref().filter(is_line),
        &stage.cmd,
        is_broken,
    ) {
        let message = "ENTRYPOINT is in the shell form";
        findings.add(&rules::CMD_IGNORED, cmd.at, message);
    }
}

/// Whether the image of a container is none that is known.
fn is_own(container: &Container) -> bool {
    let image = container.image.as_deref().unwrap_or_default();
    let known = container.run.known.is_some_and(|known| known.runs_command);
    !image.is_empty() && !known
}

/// The Dockerfile of a container's image: its directory, a stage or its own name is that of the image, or there is
/// one of each.
fn stage_of<'a>(
    container: &Container,
    images: &'a [Image],
    sources: &Sources,
    is_one: bool,
) -> Option<&'a Stage> {
    let image = container.image.as_deref().filter(|_| is_own(container))?;
    let name = programs::base_name(programs::divided(image).0);
    let by_name = images.iter().find_map(|image| {
        let path = std::path::absolute(&sources.get(image.file)?.path).ok()?;
        let directory = path.parent()?.file_name()?.to_str()?;
        let file = path.file_name()?.to_str()?;
        let is_file = file == format!("Dockerfile.{name}") || file == format!("{name}.Dockerfile");
        if let Some(stage) = image.stage(Some(name)) {
            return Some(stage);
        }
        image.stage(None).filter(|_| directory == name || is_file)
    });
    by_name.or_else(|| images.first()?.stage(None).filter(|_| is_one))
}

/// A container with what its image says.
fn with_image(container: Container, stage: &Stage, sources: &mut Sources) -> Run {
    let Container {
        mut run,
        has_command,
        has_args,
        ..
    } = container;
    let image = stage.run(Platform::Kubernetes, run.name.clone(), run.at);
    let (entrypoint, rest): (Vec<_>, Vec<_>) = image
        .words
        .into_iter()
        .partition(|words| words.key == "ENTRYPOINT");
    if has_command {
        run.replaced = entrypoint.into_iter().next().map(|words| (words, run.at));
        if let (Some((_, at)), Some(words)) = (&mut run.replaced, run.words.first()) {
            *at = words.at;
        }
    } else {
        let own = std::mem::take(&mut run.words);
        run.words = entrypoint;
        run.words.extend(if has_args { own } else { rest });
        run.is_whole = image.is_whole;
    }
    if run.is_inherited_signal || run.stop_signal.is_none() {
        run.stop_signal = image.stop_signal;
        run.is_inherited_signal = image.is_inherited_signal;
    }
    let mut environment = image.environment;
    environment.has_others |= run.environment.has_others;
    for variable in std::mem::take(&mut run.environment.variables) {
        environment.set(variable);
    }
    run.environment = environment;
    run.known = image.known;
    run.copies = image.copies;
    run.dockerfile = image.dockerfile;
    stage.read_scripts(&mut run, sources);
    run
}

/// Whether a TOML file has keys, and none that is an option.
fn is_of_another(sources: &Sources, file: usize) -> bool {
    let Some(source) = sources.get(file) else {
        return false;
    };
    let Ok(table) = toml::de::DeTable::parse(&source.text) else {
        return false;
    };
    let mut keys = table.get_ref().keys().peekable();
    keys.peek().is_some() && keys.all(|key| options::find(key.get_ref()).is_none())
}

#[cfg(test)]
mod tests;

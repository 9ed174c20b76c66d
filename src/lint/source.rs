//! The files: read, recognized by name and content, with the comments that ignore rules.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::dropins;
use super::finding::{Finding, Findings};
use super::place::{Placed, Spot};
use super::rules;
use super::yaml::{self, Node};
use crate::sys::file;
use crate::words::suggest;

/// Nothing that is written by hand is ever near this size, and little of what is not.
const LIMIT: u64 = 16 << 20;
/// So many files are named in the place of one that is not there.
const NAMED: usize = 4;

/// What a file is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Dockerfile,
    Compose(Rc<Node>),
    Kubernetes(Vec<Rc<Node>>),
    Unit,
    /// It is judged with its unit, if that is named.
    DropIn,
    Config,
    /// Read along with another one: a script, `.env`.
    Other,
}

/// A file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) shown: String,
    /// The same file by another path is the same one.
    identity: PathBuf,
    pub(crate) text: String,
    pub(crate) kind: Kind,
    /// By line: the rules that are ignored there.
    ignored: BTreeMap<usize, Vec<String>>,
}

/// All files that were read, by their index.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) all: Vec<Source>,
}

impl Sources {
    pub(crate) fn get(&self, file: usize) -> Option<&Source> {
        self.all.get(file)
    }

    /// Reads a file that was named; `-` is standard input.
    ///
    /// # Errors
    /// It cannot be read or parsed, or is nothing that can be judged: a message with the place.
    pub(crate) fn name(&mut self, path: &Path) -> Result<usize, String> {
        let index = self.all.len();
        let shown = path.to_string_lossy().into_owned();
        let is_stdin = path == Path::new("-");
        let identity = identity(path);
        let named = self.all.iter().position(|file| file.identity == identity);
        if let Some(named) = named.filter(|_| !is_stdin) {
            return Ok(named);
        }
        let text = read(path).map_err(|why| format!("{shown}: {why}{}", instead(path)))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
        let kind = recognized(path, &text, index).map_err(|error| {
            let at = error.at;
            match at.line {
                0 => format!("{shown}: {}", error.value),
                line => format!("{shown}:{line}:{}: {}", at.column, error.value),
            }
        })?;
        Ok(self.add(path, text, kind))
    }

    /// A file beside one that was named; the same one only once.
    pub(crate) fn beside(&mut self, path: &Path) -> Option<usize> {
        let identity = identity(path);
        let known = self
            .all
            .iter()
            .position(|source| source.identity == identity);
        known.or_else(|| {
            // Nobody has named it: a FIFO, or the standard input by its name in /dev, would be waited for.
            let text = path.is_file().then(|| read(path).ok())??;
            Some(self.add(path, text, Kind::Other))
        })
    }

    fn add(&mut self, path: &Path, text: String, kind: Kind) -> usize {
        self.all.push(Source {
            path: path.to_owned(),
            shown: path.to_string_lossy().into_owned(),
            identity: identity(path),
            ignored: ignored(&text),
            text,
            kind,
        });
        self.all.len() - 1
    }

    pub(crate) fn is_ignored(&self, finding: &Finding) -> bool {
        let lines = self.get(finding.at.file).map(|source| &source.ignored);
        let names = lines.and_then(|lines| lines.get(&finding.at.line));
        names.is_some_and(|names| names.iter().any(|name| name == finding.rule.name))
    }

    /// Ignores that name no rule.
    pub(crate) fn judge_ignores(&self, findings: &mut Findings) {
        for (file, source) in self.all.iter().enumerate() {
            for (line, text) in source.text.lines().enumerate() {
                let Some((column, names)) = ignore_of(text) else {
                    continue;
                };
                let at = Spot {
                    file,
                    line: line + 1,
                    column,
                };
                let unknown = names.iter().find(|name| rules::find(name).is_none());
                match unknown {
                    Some(name) => {
                        let all = rules::RULES.iter().map(|rule| rule.name);
                        let near = suggest::nearest(name, all);
                        let near = near.map(|near| format!(": did you mean {near}?"));
                        let near = near.unwrap_or_default();
                        findings.add(
                            &rules::UNKNOWN_RULE,
                            at,
                            format!("there is no rule {name:?}{near}"),
                        );
                    }
                    None if names.is_empty() => {
                        findings.add(&rules::UNKNOWN_RULE, at, "it names no rule");
                    }
                    None => {}
                }
            }
        }
    }
}

fn identity(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let failed = |error| file::reason(&error);
    if path == Path::new("-") {
        let stdin = std::io::stdin().lock();
        stdin
            .take(LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
    } else {
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err("it is a directory: name the files in it".to_owned());
        }
        file.take(LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
    }
    if bytes.len() as u64 > LIMIT {
        return Err("it is larger than 16 MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// What to do about a file that cannot be opened.
fn instead(path: &Path) -> String {
    match File::open(path).map_err(|error| error.kind()) {
        Err(ErrorKind::PermissionDenied) => format!(
            ": run lint as a user who may read it, or give it on standard input: sudo cat {} | stepdown lint -",
            path.display()
        ),
        Err(ErrorKind::NotFound) => not_there(path),
        _ => String::new(),
    }
}

/// What is there instead of a file that is not.
fn not_there(path: &Path) -> String {
    let directory = path.parent().filter(|parent| *parent != Path::new(""));
    let place = directory.unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(place) else {
        return format!(
            ": the directory {} is not there either; correct the path",
            place.display()
        );
    };
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    let shown = |name: &str| {
        directory
            .map_or(name.into(), |place| place.join(name))
            .display()
            .to_string()
    };
    let wanted = path.file_name().unwrap_or_default().to_string_lossy();
    let near = suggest::nearest(&wanted, names.iter().map(String::as_str));
    if let Some(near) = near {
        return format!(": did you mean {}?", shown(near));
    }
    names.retain(|name| {
        let name = name.to_ascii_lowercase();
        let begins = ["dockerfile", "containerfile", "compose.", "docker-compose."];
        begins.iter().any(|begin| name.starts_with(begin)) || name.ends_with(".service")
    });
    names.truncate(NAMED);
    match names.iter().map(|name| shown(name)).collect::<Vec<_>>() {
        names if names.is_empty() => {
            ": name a Dockerfile, compose file, Kubernetes manifest, systemd service or TOML \
                                      file of --config that is there"
                .to_owned()
        }
        names => format!(": the directory has {}", names.join(", ")),
    }
}

/// What the file is; in an error, line 0 is none.
fn recognized(path: &Path, text: &str, file: usize) -> Result<Kind, Placed<String>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_ascii_lowercase();
    let ends = |end: &str| name.ends_with(end);
    let begins = |word: &str| name == word || name.starts_with(&format!("{word}."));
    let of_docker = ["dockerfile", "containerfile"];
    if ends(".toml") {
        return Ok(Kind::Config);
    }
    if of_docker
        .iter()
        .any(|word| begins(word) || ends(&format!(".{word}")))
    {
        return Ok(Kind::Dockerfile);
    }
    if ends(".service") {
        return Ok(Kind::Unit);
    }
    if dropins::unit_of(path).is_some() {
        return Ok(Kind::DropIn);
    }
    let is_yaml = [".yaml", ".yml", ".json"].into_iter().any(ends);
    if !is_yaml {
        match first_words(text).to_ascii_uppercase().as_str() {
            "[UNIT]" | "[SERVICE]" | "[INSTALL]" => return Ok(Kind::Unit),
            "FROM" | "ARG" => return Ok(Kind::Dockerfile),
            _ => {}
        }
    }
    let hint = if text.contains("{{") {
        "; a template is judged as what it becomes: helm template CHART | stepdown lint -"
    } else {
        ""
    };
    let unknown = || {
        let message = format!(
            "it is no Dockerfile, compose file, Kubernetes manifest, systemd service or TOML file of --config: \
             those are what lint reads{hint}"
        );
        Placed::new(message, Spot::default())
    };
    let documents = match yaml::documents(text, file) {
        Ok(documents) => documents,
        Err(error) if is_yaml => {
            return Err(Placed::new(format!("{}{hint}", error.value), error.at));
        }
        Err(_) => return Err(unknown()),
    };
    let is_object =
        |node: &Rc<Node>| node.get("apiVersion").is_some() && node.get("kind").is_some();
    if documents.iter().any(is_object) {
        return Ok(Kind::Kubernetes(documents));
    }
    match documents
        .into_iter()
        .find(|node| node.get("services").is_some_and(|all| all.is_map()))
    {
        Some(root) => Ok(Kind::Compose(root)),
        None => Err(unknown()),
    }
}

/// The first word of the first line that is no comment.
fn first_words(text: &str) -> &str {
    let is_text = |line: &&str| !line.is_empty() && !line.starts_with(['#', ';']);
    let line = text.lines().map(str::trim).find(is_text);
    line.unwrap_or_default()
        .split_whitespace()
        .next()
        .unwrap_or_default()
}

/// By line, what `# stepdown: ignore RULE` says there, or in the comment above it.
fn ignored(text: &str) -> BTreeMap<usize, Vec<String>> {
    let mut all: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut above = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let found = ignore_of(line).map(|(_, names)| names).unwrap_or_default();
        let trimmed = line.trim_start();
        if trimmed.starts_with(['#', ';']) {
            above.extend(found);
        } else if !trimmed.is_empty() {
            let names: Vec<String> = above.drain(..).chain(found).collect();
            if !names.is_empty() {
                all.insert(index + 1, names);
            }
        }
    }
    all
}

/// The rules that a line ignores, and the column of the comment.
fn ignore_of(line: &str) -> Option<(usize, Vec<String>)> {
    let at = line.find("stepdown: ignore")?;
    let before = line.get(..at)?.trim_end();
    let sign = before.strip_suffix(['#', ';'])?;
    if !sign.is_empty() && !sign.ends_with([' ', '\t', '#', ';']) {
        return None;
    }
    let names = line.get(at + "stepdown: ignore".len()..)?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let names = names
        .split([' ', '\t', ','])
        .filter(|name| !name.is_empty());
    let names = names.take_while(|name| name.chars().all(is_name) && !name.starts_with('-'));
    let column = sign.chars().count() + 1;
    Some((column, names.map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_comment_ignores() {
        let lines = |text: &str| -> Vec<(usize, String)> {
            let all = ignored(text).into_iter();
            all.map(|(line, names)| (line, names.join(" "))).collect()
        };
        assert_eq!(
            lines("# stepdown: ignore a, b -- because\n# more\n\nX\nY # stepdown: ignore c\n"),
            [(4, "a b".to_owned()), (5, "c".to_owned())]
        );
        assert_eq!(
            lines("X# stepdown: ignore a\necho stepdown: ignore b\n"),
            []
        );
        assert_eq!(lines("; stepdown: ignore a\nX"), [(2, "a".to_owned())]);
    }
}

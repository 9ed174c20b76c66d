//! Which compose files compose reads together where nobody names them with `-f`: the first of the default names, and
//! the override beside it.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::source::Sources;
use super::yaml::{self, Node};

/// In the order in which compose looks for them.
const NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// Files that are one for compose.
pub(crate) struct Together {
    /// The file that is overridden.
    pub(crate) file: usize,
    /// The stronger first.
    pub(crate) roots: Vec<Rc<Node>>,
}

impl Together {
    pub(crate) fn alone(file: usize, root: &Rc<Node>) -> Self {
        let roots = vec![Rc::clone(root)];
        Self { file, roots }
    }
}

/// The compose file with what compose reads with it.
///
/// # Errors
/// The other file cannot be read or parsed: a message with the place.
pub(crate) fn together(
    sources: &mut Sources,
    file: usize,
    root: &Rc<Node>,
) -> Result<Together, String> {
    let path = sources.get(file).map(|source| source.path.clone());
    let Some((base, stronger)) = path.as_deref().and_then(pair) else {
        return Ok(Together::alone(file, root));
    };
    let (file, base) = read(sources, &base)?;
    let (_, stronger) = read(sources, &stronger)?;
    let roots = stronger.into_iter().chain(base).collect();
    Ok(Together { file, roots })
}

/// The file that is overridden and the one that overrides it, where the path is one of them and both are there.
fn pair(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let directory = path.parent()?;
    let first = |names: [&str; 4]| {
        let mut paths = names.iter().map(|name| directory.join(name));
        paths.find(|path| path.is_file())
    };
    let pair = (first(NAMES)?, first(OVERRIDES)?);
    (path == pair.0 || path == pair.1).then_some(pair)
}

/// The first document, where there is one.
fn read(sources: &mut Sources, path: &Path) -> Result<(usize, Option<Rc<Node>>), String> {
    let file = sources.beside(path);
    let Some((file, source)) = file.and_then(|file| Some((file, sources.get(file)?))) else {
        return Err(format!("{}: it cannot be read", path.display()));
    };
    let documents = yaml::documents(&source.text, file).map_err(|error| {
        let (at, shown) = (error.at, &source.shown);
        format!("{shown}:{}:{}: {}", at.line, at.column, error.value)
    })?;
    Ok((file, documents.into_iter().next()))
}

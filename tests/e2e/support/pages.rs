//! What readers are told: README.md and every page below `docs`.

use std::fs;
use std::path::{Path, PathBuf};

/// A page, and where it is.
pub(crate) struct Page {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md first, then the pages by name.
pub(crate) fn all() -> Vec<Page> {
    let mut paths = below(&root().join("docs"));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    paths.insert(0, root().join("README.md"));
    let read = |path: PathBuf| Page {
        text: fs::read_to_string(&path).expect("our own file"),
        path,
    };
    paths.into_iter().map(read).collect()
}

pub(crate) fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).expect("our own file")
}

/// The blocks of one text with this word behind the fence.
pub(crate) fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == format!("```{language}") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(block.join("\n"));
        } else if line.starts_with("```") {
            lines.by_ref().find(|line| *line == "```");
        }
    }
    blocks
}

fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("our own directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

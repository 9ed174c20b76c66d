//! Which drop-ins systemd reads with a unit: the files of `UNIT.d`, in the order of their names.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::source::{Kind, Sources};

/// The unit that a file is a drop-in of, by the name of its directory.
pub(crate) fn unit_of(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let directory = path.parent()?.to_str()?;
    let unit = directory
        .strip_suffix(".d")
        .filter(|unit| unit.ends_with(".service"));
    unit.filter(|_| has_name(&path)).map(PathBuf::from)
}

fn has_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".conf") && !name.starts_with('.')
}

/// The unit with its drop-ins, the later ones stronger: those beside it, and those that were named and lie in a directory
/// of that name beside no unit. One that cannot be read is told among the errors.
pub(crate) fn with(sources: &mut Sources, unit: usize, errors: &mut Vec<String>) -> Vec<usize> {
    let Some(path) = sources.get(unit).map(|source| source.path.clone()) else {
        return vec![unit];
    };
    let mut directory = path.clone().into_os_string();
    directory.push(".d");
    let mut found: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    let mut add = |path: PathBuf| {
        if let Some(name) = path.file_name() {
            found.insert(name.to_owned(), path);
        }
    };
    let entries = std::fs::read_dir(&directory).into_iter().flatten();
    let beside = entries.flatten().map(|entry| entry.path());
    beside
        .filter(|path| has_name(path) && path.is_file())
        .for_each(&mut add);
    for source in &sources.all {
        let theirs = unit_of(&source.path).filter(|_| matches!(source.kind, Kind::DropIn));
        let is_ours =
            |theirs: &PathBuf| theirs.file_name() == path.file_name() && !theirs.is_file();
        if theirs.as_ref().is_some_and(is_ours) {
            add(source.path.clone());
        }
    }
    let mut files = vec![unit];
    for path in found.into_values() {
        match sources.beside(&path) {
            Some(file) => files.push(file),
            None => errors.push(format!("{}: it cannot be read", path.display())),
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_in_is_known_by_its_directory() {
        let unit = |path: &str| unit_of(Path::new(path)).map(|unit| unit.display().to_string());
        assert_eq!(unit("/a/b.service.d/c.conf"), Some("/a/b.service".into()));
        assert_eq!(unit("/b.service.d/.c.conf"), None);
        assert_eq!(unit("/b.service.d/c.conf~"), None);
        assert_eq!(unit("/b.timer.d/c.conf"), None);
        assert_eq!(unit("/c.conf"), None);
    }
}

//! What a Dockerfile copies into the image: from the path in the image to the file here, if it is here.

use std::path::{Component, Path, PathBuf};

use super::place::Spot;

/// All `COPY` and `ADD` of an image.
#[derive(Clone, Debug, Default)]
pub(crate) struct Copies {
    pub(crate) context: PathBuf,
    pub(crate) all: Vec<CopiedFile>,
}

#[derive(Clone, Debug)]
pub(crate) struct CopiedFile {
    pub(crate) from: From,
    /// Absolute, in the image.
    pub(crate) to: String,
    /// It names a directory.
    pub(crate) is_into: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum From {
    Path(String),
    /// A here-document.
    Text(String, Spot),
    /// Something of another stage, of an image or of the network, by its path there.
    Elsewhere(String),
}

/// A file that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    File(PathBuf),
    Text(String, Spot),
}

/// What a copy has at a path.
enum There {
    Found(Found),
    /// A file that is not here, in place of one from before.
    Unknown,
    Nothing,
}

impl Copies {
    /// What is at this path of the image; `None` also where the last copy to it is of a file that is not known.
    pub(crate) fn find(&self, path: &str, workdir: &str) -> Option<Found> {
        let has_directory = path.contains('/');
        let path = absolute(path, workdir);
        let copies = self.all.iter().rev();
        let mut there = copies.map(|copy| self.there(copy, &path, has_directory));
        match there.find(|there| !matches!(there, There::Nothing))? {
            There::Found(found) => Some(found),
            There::Unknown | There::Nothing => None,
        }
    }

    fn there(&self, copy: &CopiedFile, path: &str, has_directory: bool) -> There {
        let tail = if has_directory {
            tail(path, &copy.to)
        } else {
            // It is looked for in PATH.
            let name = path.rsplit('/').next();
            let in_path = name.zip(parent_in_path(copy));
            in_path.and_then(|(name, parent)| tail(&format!("{parent}/{name}"), &copy.to))
        };
        let Some(tail) = tail else {
            return There::Nothing;
        };
        let found = match &copy.from {
            From::Text(text, at) if tail.is_empty() => Some(Found::Text(text.clone(), *at)),
            From::Path(from) => self.file(from, &tail, copy.is_into),
            From::Text(..) | From::Elsewhere(_) => None,
        };
        let is_this = match &copy.from {
            From::Path(from) | From::Elsewhere(from) => is_this(from, &tail, copy.is_into),
            From::Text(..) => false,
        };
        match found {
            Some(found) => There::Found(found),
            None if is_this => There::Unknown,
            None => There::Nothing,
        }
    }

    fn file(&self, from: &str, tail: &str, is_into: bool) -> Option<Found> {
        let from = Path::new(from.trim_start_matches('/'));
        let climbs = from.components().any(|part| part == Component::ParentDir);
        if climbs || tail.split('/').any(|part| part == "..") {
            return None;
        }
        // Without a `.` in the middle, which those who read the place do not expect.
        let parts = from.components();
        let parts = parts.filter(|part| *part != Component::CurDir);
        let from: PathBuf = parts.collect();
        let here = self.context.join(&from);
        // None where all of the directory is copied.
        let name = from.file_name().map_or(Some(""), |name| name.to_str())?;
        let file = if name.contains('*') {
            is_one_of(name, tail).then(|| here.with_file_name(tail))?
        } else if here.is_dir() {
            here.join(tail)
        } else if tail.is_empty() || is_into && name == tail {
            here
        } else {
            return None;
        };
        file.is_file().then_some(Found::File(file))
    }
}

/// Whether the file that is copied has this name, as far as its own name says. What a directory has in it is not known,
/// and it counts as having no file of the name: most directories of another stage have the same files as here.
fn is_this(from: &str, tail: &str, is_into: bool) -> bool {
    let name = from.trim_end_matches('/').rsplit('/').next();
    let name = name.unwrap_or_default();
    match tail {
        "" => !is_into,
        // The target may be a directory that is there, without a `/` at its end.
        _ => name == tail || is_one_of(name, tail),
    }
}

/// Whether a file has a name as this pattern with a single `*`.
fn is_one_of(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return false;
    };
    let rest = name.strip_prefix(before);
    !name.contains('/') && rest.is_some_and(|rest| rest.ends_with(after))
}

/// The directory that the file is copied into, where that is one of PATH.
fn parent_in_path(copy: &CopiedFile) -> Option<&str> {
    let directory = match copy.to.trim_end_matches('/') {
        to if copy.is_into => to,
        to => {
            let parent = to.rsplit_once('/')?.0;
            if ["/bin", "/sbin"].iter().any(|end| to.ends_with(end)) {
                to
            } else {
                parent
            }
        }
    };
    let ends = ["/bin", "/sbin"];
    ends.iter()
        .any(|end| directory.ends_with(end))
        .then_some(directory)
}

/// What is left of a path below another one.
fn tail(path: &str, below: &str) -> Option<String> {
    let below = below.trim_end_matches('/');
    let rest = path.strip_prefix(below)?;
    if rest.is_empty() {
        return Some(String::new());
    }
    rest.strip_prefix('/').map(str::to_owned)
}

/// A path of the image without `.` and `..`.
pub(crate) fn absolute(path: &str, workdir: &str) -> String {
    let whole = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{workdir}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_the_image_leads_to_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("run.sh");
        std::fs::create_dir(directory.path().join("scripts")).unwrap();
        std::fs::write(&file, "").unwrap();
        std::fs::write(directory.path().join("scripts/go"), "").unwrap();
        let find = |from: &str, to: &str, is_into, path: &str| {
            let copies = Copies {
                context: directory.path().to_owned(),
                all: vec![CopiedFile {
                    from: From::Path(from.to_owned()),
                    to: to.to_owned(),
                    is_into,
                }],
            };
            copies.find(path, "/app").is_some()
        };
        assert!(find("run.sh", "/entry", false, "/entry"));
        assert!(find("run.sh", "/usr/bin/", true, "run.sh"));
        assert!(find("run.sh", "/usr/bin/entry", false, "entry"));
        assert!(find(".", "/app", true, "./run.sh"));
        assert!(find(".", "/app", true, "/app/scripts/go"));
        assert!(find("scripts", "/x", false, "/x/go"));
        assert!(find("*.sh", "/", true, "/run.sh"));
        assert!(find("./r*.sh", "/usr/local/bin/", true, "run.sh"));
        assert!(find("scripts/*", "/x", false, "/x/go"));
        assert!(!find("*.py", "/", true, "/run.sh"));
        assert!(!find("*", "/", true, "/scripts/go"));
        assert!(!find("../run.sh", "/entry", false, "/entry"));
        assert!(!find(".", "/app", true, "/app/../../run.sh"));
        assert!(!find("run.sh", "/app/", true, "run.sh"));
    }

    #[test]
    fn the_last_copy_to_a_path_counts() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("run.sh"), "").unwrap();
        let copy = |from: From, to: &str, is_into| CopiedFile {
            from,
            to: to.to_owned(),
            is_into,
        };
        let own = copy(From::Path("run.sh".to_owned()), "/app/run.sh", false);
        let finds = |from: From, to: &str, is_into| {
            let copies = Copies {
                context: directory.path().to_owned(),
                all: vec![own.clone(), copy(from, to, is_into)],
            };
            copies.find("/app/run.sh", "/").is_some()
        };
        let there = |path: &str| From::Elsewhere(path.to_owned());
        assert!(!finds(there("/out/fixed.sh"), "/app/run.sh", false));
        assert!(!finds(there("/out/run.sh"), "/app/", true));
        assert!(!finds(there("/out/run.sh"), "/app", false));
        assert!(!finds(there("/out/*.sh"), "/app/", true));
        assert!(finds(there("/out/other.sh"), "/app/", true));
        assert!(finds(there("/out"), "/app", false));
        assert!(finds(there("/out/run.sh"), "/elsewhere", false));
        let gone = From::Path("made/run.sh".to_owned());
        assert!(!finds(gone, "/app/run.sh", false));
    }
}

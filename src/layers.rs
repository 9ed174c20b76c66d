//! Which module may use which: the arrows between them run one way.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::options::trace::PARTS;

/// From the bottom up: a module uses those above it in this table, and none below.
const LAYERS: [(&str, &str); 27] = [
    (
        "words",
        "signals, durations, lists, faults: import nothing of ours",
    ),
    ("plan", "everything that was asked for, as data"),
    ("record", "what happened, as data"),
    ("machine", "decides; no clock, no syscall, no printing"),
    ("diagnosis", "why a process does not stop; pure"),
    ("drive", "the one loop"),
    (
        "supervisor",
        "whether the command lives once more; pure, too",
    ),
    ("sim", "the simulated world"),
    ("sys", "syscalls, and all of unsafe"),
    ("call", "HTTP requests and UDP datagrams"),
    ("options", "from text to a plan"),
    (
        "reactor",
        "the event loop of what is no signal and no child",
    ),
    ("look", "how a process looks in /proc"),
    ("drain", "which connections have a request in flight"),
    ("kernel", "the real world"),
    (
        "tell",
        "log, metrics, files, endpoint: folds over the records",
    ),
    ("trace", "writes the diagnostics of those that have any"),
    ("interrupts", "requests to end `check` and `health`"),
    ("health", "asks a health endpoint"),
    ("explain", "the timeline of a plan"),
    ("dropin", "the command lines of other tools"),
    ("check", "plays a command again and again, and judges"),
    ("lint", "what will go wrong at a stop, from files alone"),
    ("doctor", "whether running processes will stop"),
    (
        "simulation",
        "random plans in random worlds, for tests alone",
    ),
    ("cli", "what was typed"),
    ("main", "the entry, and who is told"),
];

/// The files of the product, without tests.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if name != "tests" && name != "fuzz" {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|e| e == "rs")
            && name != "tests.rs"
            && name != "fuzz.rs"
            && name != "layers.rs"
        {
            found.push(path);
        }
    }
}

/// The top-level modules that a text names: in `use` declarations, one by one or in braces, and in paths.
fn used(text: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let code = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    let code = code.collect::<Vec<_>>().join("\n");
    // The tests are the last in a file, and use what they like.
    let code = code.split("\nmod tests {").next().unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (at, path) in code.match_indices("crate::") {
        let rest = &code[at + path.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            used.insert(rest.chars().take_while(|c| is_name(*c)).collect());
            continue;
        };
        let (mut depth, mut begins) = (1, true);
        let mut name = String::new();
        for character in list.chars() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 1 && begins && is_name(character) {
                name.push(character);
            } else if !name.is_empty() {
                used.insert(std::mem::take(&mut name));
                begins = false;
            }
            if depth == 1 && character == ',' {
                begins = true;
            }
            if depth == 0 {
                break;
            }
        }
    }
    used
}

#[test]
fn uses_of_modules_are_found() {
    let of = |text| used(text).into_iter().collect::<Vec<_>>();
    assert_eq!(of("use crate::a::b::{C, D};\nuse crate::e;"), ["a", "e"]);
    assert_eq!(of("use crate::{a, b::{c, d}, e::F};"), ["a", "b", "e"]);
    assert_eq!(of("fn f() { crate::a::b() } // crate::c"), ["a"]);
    assert_eq!(
        of("use crate::a;\n#[cfg(test)]\nmod tests { use crate::b; }"),
        ["a"]
    );
}

#[test]
fn the_parts_with_diagnostics_are_those_that_can_be_asked_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut parts = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let macros = ["trace", "debug", "info", "warn", "error"];
        let has_some = |name| text.contains(&format!("tracing::{name}!("));
        if macros.into_iter().any(has_some) {
            let within = file.strip_prefix(&root).unwrap().with_extension("");
            // The child's side of it shares our memory: see the file's second paragraph.
            assert_ne!(within, Path::new("sys/spawn"));
            parts.insert(within.iter().next().unwrap().to_str().unwrap().to_owned());
        }
    }
    assert_eq!(parts.into_iter().collect::<Vec<_>>(), PARTS);
}

#[test]
fn no_module_uses_one_of_a_higher_layer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let rank = |name: &str| LAYERS.iter().position(|(module, _)| *module == name);
    let mut back = Vec::new();
    for file in files {
        let within = file.strip_prefix(&root).unwrap().with_extension("");
        let own = within.iter().next().unwrap().to_str().unwrap();
        let Some(own_rank) = rank(own) else {
            panic!("{own} has no layer");
        };
        for module in used(&fs::read_to_string(&file).unwrap()) {
            match rank(&module) {
                Some(other) if other <= own_rank => {}
                Some(_) => back.push(format!("{} uses {module}", within.display())),
                None => back.push(format!(
                    "{} uses {module}, which has no layer",
                    within.display()
                )),
            }
        }
    }
    assert!(back.is_empty(), "{back:#?}");
}

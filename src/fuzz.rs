//! Everything that reads what comes from outside, with any bytes: the corpus in each test run, and more with `scripts/fuzz`.

mod calls;
#[cfg(fuzzing)]
mod driver;
mod lines;
mod words;

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use crate::words::fault::Fault;
use crate::{call, doctor, drain, kernel, lint, options, sys, tell};

/// Takes any bytes, and panics where a promise is broken.
type Target = fn(&[u8]);

/// Each has a directory of its name in tests/fuzz.
const TARGETS: &[(&str, Target)] = &[
    ("cgroup", sys::fuzz::cgroup),
    ("command", words::command_line),
    ("command-line", lines::command_line),
    ("duration", words::duration),
    ("engine", doctor::fuzz::engine),
    ("environment", lines::environment),
    ("explain", lines::explain),
    ("foreign-line", lines::foreign),
    ("http-answer", call::fuzz::answer),
    ("http-request", tell::fuzz::request),
    ("identity", options::fuzz::identity),
    ("ladder", options::fuzz::ladder),
    ("lint-dockerfile", lint::fuzz::dockerfile),
    ("lint-script", lint::fuzz::script),
    ("lint-toml", lint::fuzz::toml),
    ("lint-unit", lint::fuzz::unit),
    ("lint-unnamed", lint::fuzz::unnamed),
    ("lint-yaml", lint::fuzz::yaml),
    ("listen-names", kernel::fuzz::listen_names),
    ("metrics", calls::metrics),
    ("mounts", doctor::fuzz::mounts),
    ("notification", kernel::fuzz::notification),
    ("pid-file", kernel::fuzz::pid_file),
    ("plan", lines::plan),
    ("proc-net", drain::fuzz::proc_net),
    ("process", sys::fuzz::process),
    ("signal", words::signal),
    ("sock-diag", drain::fuzz::sock_diag),
    ("state-file", tell::fuzz::state),
    ("syscall", drain::fuzz::syscall),
    ("toml", options::fuzz::toml),
    ("url", calls::url),
];

/// What an option or a file is given: text, as a terminal or an editor writes it.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// What is wrong can be shown: its place lies within the text and between two characters.
pub(crate) fn show(fault: &Fault) {
    assert!(!fault.to_string().is_empty());
}

/// Several files in one input, with a line of two hyphens between them.
pub(crate) fn parts<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    const BETWEEN: &[u8] = b"\n--\n";
    let mut rest = bytes;
    std::array::from_fn(|_| {
        let end = rest.windows(BETWEEN.len()).position(|here| here == BETWEEN);
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after.get(BETWEEN.len()..).unwrap_or_default();
        part
    })
}

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz")
        .join(target)
}

#[test]
fn the_corpus_of_each_target_holds_its_promises() {
    for (name, target) in TARGETS {
        let inputs = fs::read_dir(corpus(name)).map(|all| all.map(|entry| entry.unwrap().path()));
        let inputs: Vec<PathBuf> = inputs
            .unwrap_or_else(|why| panic!("{name}: {why}"))
            .collect();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            // Printed with a failure only.
            #[allow(clippy::print_stdout, reason = "the test's own report")]
            {
                println!("{}", input.display());
            }
            target(&fs::read(input).unwrap());
        }
    }
}

#[test]
fn each_corpus_has_a_target() {
    for entry in fs::read_dir(corpus("")).unwrap() {
        let name = entry.unwrap().file_name();
        let is_known = TARGETS.iter().any(|(known, _)| name == *known);
        assert!(is_known, "{}", name.display());
    }
}

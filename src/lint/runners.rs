//! What runs a program through a shell, by a script of package.json: npm, pnpm, yarn.

use super::programs::base_name;

/// One of them.
struct Runner {
    name: &'static str,
    /// What runs a script.
    verbs: &'static [&'static str],
    /// The options that take the next word.
    with_value: &'static [&'static str],
}

const RUNNERS: [Runner; 3] = [
    Runner {
        name: "npm",
        verbs: &["start", "run", "run-script"],
        with_value: &[
            "--prefix",
            "-C",
            "--workspace",
            "-w",
            "--userconfig",
            "--globalconfig",
            "--cache",
            "--loglevel",
            "--registry",
            "--script-shell",
            "--node-options",
        ],
    },
    Runner {
        name: "pnpm",
        verbs: &["start", "run"],
        with_value: &[
            "--filter",
            "-F",
            "--filter-prod",
            "--dir",
            "-C",
            "--prefix",
            "--reporter",
            "--loglevel",
            "--workspace-concurrency",
            "--script-shell",
        ],
    },
    Runner {
        name: "yarn",
        verbs: &["start", "run", "dev", "serve"],
        with_value: &["--cwd"],
    },
];

/// The name of the runner that these words start a program with.
pub(crate) fn runner(words: &[&str]) -> Option<&'static str> {
    let (first, rest) = words.split_first()?;
    let found = RUNNERS
        .iter()
        .find(|runner| runner.name == base_name(first))?;
    let mut rest = rest.iter();
    let verb = loop {
        let word = rest.next()?;
        if found.with_value.contains(word) {
            rest.next();
        } else if !word.starts_with('-') {
            break word;
        }
    };
    found.verbs.contains(verb).then_some(found.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_before_what_is_run() {
        for (line, name) in [
            ("npm start", Some("npm")),
            ("/usr/bin/npm --silent run x", Some("npm")),
            ("npm --prefix /app start", Some("npm")),
            ("npm --prefix=/app start", Some("npm")),
            ("npm -w web run start", Some("npm")),
            ("npm install", None),
            ("npm --prefix start ci", None),
            ("npm --prefix", None),
            ("npm", None),
            ("pnpm --filter web start", Some("pnpm")),
            ("pnpm -w start", Some("pnpm")),
            ("pnpm --filter start exec node x", None),
            ("yarn --cwd /app dev", Some("yarn")),
            ("node start", None),
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(runner(&words), name, "{line}");
        }
    }
}

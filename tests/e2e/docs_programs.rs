//! What docs/programs.md says to write is taken as it stands, has an effect, and was seen.

use std::collections::BTreeSet;
use std::process::Command;

use crate::support::{binary, pages};

/// The rows of the tables whose heading begins so, cell by cell.
fn rows<'a>(page: &'a str, heading: &str) -> Vec<Vec<Vec<&'a str>>> {
    let lines: Vec<&str> = page.lines().collect();
    let starts = (0..lines.len()).filter(|at| lines[*at].starts_with(heading));
    let table = |at: usize| {
        let rows = lines[at + 2..].iter();
        let rows = rows.take_while(|line| line.starts_with("| "));
        rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect())
            .collect()
    };
    starts.map(table).collect()
}

fn names(table: &[Vec<&str>]) -> BTreeSet<String> {
    table.iter().map(|row| row[0].to_owned()).collect()
}

/// It is read as a shell would, and explained: an error, or an option without effect, would be told.
#[test]
fn each_line_is_taken_and_has_an_effect() {
    let page = pages::page("docs/programs.md");
    let tables = rows(&page, "| program | what to write | why |");
    let [table] = &tables[..] else {
        panic!("{} tables", tables.len());
    };
    assert!(table.len() >= 25, "only {} programs", table.len());
    for row in table {
        let [name, line, why] = row[..] else {
            panic!("{row:?}");
        };
        let line = line.trim_matches('`');
        let words = shlex::split(line).unwrap_or_else(|| panic!("{name}: {line}"));
        assert_eq!(words[0], "stepdown", "{name}");
        assert!(words.iter().any(|word| word == "--"), "{name}: {line}");
        assert!(!why.is_empty(), "{name}");
        let explained = Command::new(binary::under_test())
            .arg("explain")
            .args(&words[1..])
            .output()
            .expect("our own binary");
        let told = String::from_utf8_lossy(&explained.stdout);
        let error = String::from_utf8_lossy(&explained.stderr);
        assert!(explained.status.success(), "{name}: {line}\n{error}");
        assert!(error.is_empty(), "{name}: {line}\n{error}");
        assert!(!told.contains("no effect"), "{name}: {line}\n{told}");
    }
}

/// Stop signal, second signal and daemon of each program, and what was seen of it in each situation.
#[test]
fn each_program_has_its_facts_and_was_seen() {
    let page = pages::page("docs/programs.md");
    let programs = names(&rows(&page, "| program | what to write | why |")[0]);
    let facts = &rows(&page, "| program | stops by |")[0];
    assert_eq!(names(facts), programs);
    for row in facts {
        assert!(
            row.len() == 4 && row.iter().all(|cell| !cell.is_empty()),
            "{row:?}"
        );
    }
    let run: BTreeSet<String> = programs
        .into_iter()
        .filter(|name| !name.ends_with("(not run here)"))
        .collect();
    let seen = rows(&page, "| program | tini | stepdown |");
    assert_eq!(seen.len(), 3);
    for table in &seen {
        assert_eq!(names(table), run);
    }
}

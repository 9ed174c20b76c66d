//! The README's first example: both of its columns are what `scripts/npm-start` shows.

use std::process::Command;

use crate::support::pages::{self, root};
use crate::support::stepdown::can_be_pid1;
use crate::support::{binary, need};

fn programs() -> Result<(), String> {
    can_be_pid1()?;
    let programs = ["node", "npm", "curl", "tini"];
    programs.into_iter().try_for_each(|name| {
        let places = ["/usr/bin", "/usr/local/bin"];
        let found = places
            .into_iter()
            .find_map(|place| binary::installed(&format!("{place}/{name}")).ok());
        found.ok_or_else(|| format!("{name} is not installed"))
    })
}

/// Times and pids differ from run to run.
fn without_numbers(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let bare = word.trim_matches(['(', ')', ',']);
        let is_number = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        match bare {
            "s" | "ms" => word.replace(bare, "TIME"),
            _ if is_number => word.replace(bare, "N"),
            _ => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What the script says for this init.
fn played(words: &[&str]) -> Vec<String> {
    let ran = Command::new(root().join("scripts/npm-start"))
        .args(words)
        .output()
        .expect("a script of ours");
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{error}");
    let told = String::from_utf8_lossy(&ran.stdout);
    told.lines().map(str::to_owned).collect()
}

#[test]
fn both_columns_are_what_the_script_shows() {
    need!(programs());
    let page = pages::page("README.md");
    let blocks = pages::blocks(&page, "text");
    let column = |words: &str| {
        let found = blocks.iter().find(|block| block.contains(words));
        found.expect("a column").clone()
    };
    let binary = binary::under_test().display().to_string();
    let inits: [(&[&str], String); 2] = [
        (&["tini"], column("Empty reply from server")),
        (
            &[&binary, "--drain-port", "auto"],
            column("stopping: TERM from outside"),
        ),
    ];
    for (words, column) in inits {
        let expected: Vec<String> = column.lines().map(without_numbers).collect();
        let status = column.lines().last().expect("a status");
        let mut all = Vec::new();
        // On a busy machine npm may still be there when node gets its TERM, and a line names it, too.
        let is_so = (0..5).any(|_| {
            let lines = played(words);
            assert_eq!(lines.last().map(String::as_str), Some(status), "{lines:#?}");
            let so: Vec<String> = lines.iter().map(|line| without_numbers(line)).collect();
            all.push(lines);
            so == expected
        });
        assert!(is_so, "{expected:#?}\n{all:#?}");
    }
}

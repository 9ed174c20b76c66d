//! Command lines of hooks, steps and conditions: what only a shell understands is refused, not passed on as text.

use crate::errors::refused;
use crate::support::{Stepdown, both};

/// What is written, and what of it needs a shell.
const FOR_A_SHELL: [(&str, &str); 9] = [
    ("echo a && touch hook", "&&"),
    ("false || touch hook", "||"),
    ("echo a | cat", "|"),
    ("sync; touch hook", ";"),
    ("echo a > hook", ">"),
    ("cat < hook", "<"),
    ("sleep 5 &", "&"),
    ("kill $STEPDOWN_CHILD_PID", "$STEPDOWN_CHILD_PID"),
    ("touch $(hostname)", "$("),
];

#[test]
fn an_operator_without_a_shell_is_told() {
    for (line, what) in FOR_A_SHELL {
        let told = format!("only a shell understands {what} at column");
        let way_out = format!("write sh -c '{line}', or quote {what} if it is meant as text");
        let parts = [told.as_str(), way_out.as_str()];
        for option in ["pre-start", "pre-stop", "post-stop"] {
            let flag = || Stepdown::new().args([format!("--{option}"), line.to_owned()]);
            refused(flag, &format!("--{option}"), &parts);
        }
        let variable = || Stepdown::new().env("STEPDOWN_POST_STOP", line);
        refused(variable, "STEPDOWN_POST_STOP", &parts);
        for step in [
            format!("exec={line}:1s"),
            format!("TERM:1s,exec='{line}':1s"),
        ] {
            let flag = || Stepdown::new().args(["--ladder", &step]);
            refused(flag, "--ladder", &parts);
        }
        let flag = || Stepdown::new().args([format!("--ready-when=exec:{line}")]);
        refused(flag, "--ready-when", &parts);
        let check = || Stepdown::new().args(["check", "--stop-command", line]);
        refused(check, "--stop-command", &parts);
    }
}

#[test]
fn the_place_is_pointed_at() {
    let start = || Stepdown::new().args(["--pre-stop", "sync && touch hook"]);
    let shown = "at column 6: write sh -c 'sync && touch hook', or quote && if it is meant as text\n  \
                 sync && touch hook\n       ^^\n";
    refused(start, "--pre-stop", &[shown]);
}

#[test]
fn an_operator_in_the_file_is_told_with_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("c.toml");
    let text = "[[pre-stop]]\nname = \"notify\"\nrun = \"echo a && touch hook\"\n";
    std::fs::write(&file, text).expect("written");
    let file = file.display().to_string();
    let start = || Stepdown::new().args(["--config", &file]);
    let place = format!("{file}:3:7: pre-stop");
    refused(start, &place, &["only a shell understands && at column 8"]);
}

/// Quoted, escaped, given as an array or to a shell it is what it always was; and a URL is no shell's.
#[test]
fn what_is_meant_as_text_stays_text() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("c.toml");
    let text = "[[pre-start]]\nrun = [\"echo\", \"5:\", \"&&\", \"a;b\"]\n";
    std::fs::write(&file, text).expect("written");
    both(|mode| {
        let ended = Stepdown::in_mode(mode)
            .args([format!("--config={}", file.display())])
            .shell("echo started")
            .run();
        ended.code(0).said("5: && a;b").said("started");
        let ended = Stepdown::in_mode(mode)
            .args(["--pre-start", "sh -c 'echo 1: a | cat; echo 2: b && true'"])
            .args(["--pre-start", "echo 3: '&&' \\; \"a > b\""])
            .args(["--pre-start", "echo 4: http://a/?b=1&c=2;d"])
            .shell("echo started")
            .run();
        ended.code(0).said("1: a").said("2: b").said("started");
        ended.said("3: && ; a > b").said("4: http://a/?b=1&c=2;d");
    });
}

//! `stepdown completions` and `stepdown man`: shells and pagers understand them, and no option is missing.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::options::of_help;
use crate::support::{Stepdown, binary, need};

fn printed(words: &[&str]) -> String {
    let ended = Stepdown::new().args(words).run();
    ended.code(0).was_silent();
    ended.stdout.clone()
}

/// What bash proposes for the last of these words.
fn proposed(words: &[&str]) -> Vec<String> {
    let script = "source <(\"$0\" completions bash); COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                  _stepdown stepdown \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"; \
                  printf '%s\\n' \"${COMPREPLY[@]}\"";
    let ran = Command::new("bash")
        .args(["--norc", "-uc", script])
        .arg(binary::under_test())
        .args(words)
        .output()
        .expect("bash");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && told.is_empty(), "{words:?}: {told}");
    let text = String::from_utf8_lossy(&ran.stdout);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_options_subcommands_and_words() {
    assert_eq!(proposed(&["stepdown", "--gra"]), ["--grace"]);
    assert_eq!(proposed(&["stepdown", "che"]), ["check"]);
    assert_eq!(proposed(&["stepdown", "check", "--with"]), ["--within"]);
    assert_eq!(proposed(&["stepdown", "explain", "--assu"]), ["--assume"]);
    assert_eq!(
        proposed(&["stepdown", "--log-format", ""]),
        ["text", "json"]
    );
    let mut missing = of_help();
    let all = proposed(&["stepdown", "--"]);
    missing.retain(|name| !all.contains(&format!("--{name}")));
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn zsh_and_fish_get_every_option_too() {
    let zsh = printed(&["completions", "zsh"]);
    let fish = printed(&["completions", "fish"]);
    assert!(zsh.starts_with("#compdef stepdown\n"), "{zsh}");
    for name in of_help() {
        assert!(zsh.contains(&format!("--{name}")), "{name}");
        assert!(fish.contains(&format!("-l {name} ")), "{name}");
    }
}

#[test]
fn an_unknown_shell_is_told() {
    for words in [&["completions"][..], &["completions", "tcsh"]] {
        let ended = Stepdown::new().args(words).run();
        ended
            .code(125)
            .logged(&["write one of bash, zsh, fish"])
            .never_said("grace");
    }
}

/// Who wants the program `man` is shown the way.
#[test]
fn man_takes_no_page() {
    let ended = Stepdown::new().args(["man", "ls"]).run();
    ended
        .code(125)
        .logged(&["stepdown: man: it takes no arguments", "stepdown -- man"]);
}

#[test]
fn a_command_named_like_a_subcommand_is_a_command() {
    let dir = tempfile::tempdir().expect("a directory");
    for name in [
        "explain",
        "check",
        "health",
        "lint",
        "doctor",
        "completions",
        "man",
    ] {
        std::os::unix::fs::symlink("/bin/echo", dir.path().join(name)).expect("a link");
        let ended = Stepdown::new()
            .env("PATH", dir.path())
            .args(["--", name, "bash"])
            .run();
        ended.code(0).said("bash").was_silent();
    }
}

#[test]
fn the_manual_page_has_every_option() {
    let page = printed(&["man"]);
    assert!(page.contains(".TH stepdown 1"), "{page}");
    // A name that the run has as well may mean another thing to a subcommand.
    let (_, doctor) = page.split_once("STEPDOWN DOCTOR").expect("a section");
    let (doctor, _) = doctor.split_once("STEPDOWN ").expect("another section");
    assert!(doctor.contains("grace"), "{doctor}");
    need!(binary::installed("/usr/bin/groff"));
    let mut groff = Command::new("groff")
        .args(["-man", "-Tascii", "-P-cbou", "-ww", "-rLL=200n"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("groff");
    let mut stdin = groff.stdin.take().expect("a pipe");
    stdin.write_all(page.as_bytes()).expect("a reader");
    drop(stdin);
    let rendered = groff.wait_with_output().expect("groff");
    let told = String::from_utf8_lossy(&rendered.stderr);
    assert!(rendered.status.success() && told.is_empty(), "{told}");
    let text = String::from_utf8_lossy(&rendered.stdout);
    let has = |name: &str| {
        let flag = format!("--{name}");
        text.lines().any(|line| {
            let words = line.trim_start().split([' ', ',', '[']);
            line.trim_start().starts_with('-') && words.into_iter().any(|word| word == flag)
        })
    };
    let check = ["within", "offsets", "as-pid1", "junit", "assume", "timeout"];
    let names = of_help().into_iter().chain(check.map(str::to_owned));
    let missing: Vec<String> = names.filter(|name| !has(name)).collect();
    assert!(missing.is_empty(), "{missing:?} in\n{text}");
    // What the help has no room for.
    for part in [
        "THE STOP",
        "VALUES",
        "--pre-start, --pre-stop, --post-stop",
        "metric:URL#NAME",
        "watchdog:DUR",
        "[METHOD ]http://HOST",
        "fail[=CODE]:DUR",
        "EXIT STATUS",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

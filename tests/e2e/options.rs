//! The options as `--help` has them: each appears in a story, and each is a variable, too.

use std::fs;
use std::path::Path;

use crate::support::Stepdown;

/// The long names in the help, in its order.
pub(crate) fn of_help() -> Vec<String> {
    let ended = Stepdown::new().args(["--help"]).run();
    ended.code(0);
    let name = |line: &str| {
        let line = line.trim_start();
        let long = match line.split_once(", --") {
            Some((short, long)) if short.len() == 2 => long,
            _ => line.strip_prefix("--")?,
        };
        let end = long.find(|c: char| !c.is_ascii_lowercase() && c != '-');
        Some(long[..end.unwrap_or(long.len())].to_owned())
    };
    let names: Vec<String> = ended.stdout.lines().filter_map(name).collect();
    assert!(names.len() > 25, "{}", ended.told());
    names
}

/// The stories, without the two files that list all options in any case.
fn stories() -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e");
    let entries = fs::read_dir(directory).expect("it is where we are");
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .filter(|path| !path.ends_with("options.rs") && !path.ends_with("errors.rs"))
        .map(|path| fs::read_to_string(path).expect("text"))
        .collect()
}

#[test]
fn each_appears_in_a_story() {
    let stories = stories();
    let told = |name: &String| {
        let flag = format!("--{name}");
        let variable = format!("STEPDOWN_{}", name.replace('-', "_").to_ascii_uppercase());
        let ends = |at: usize, word: &str| {
            let after = stories[at + word.len()..].chars().next();
            after.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
        };
        [flag, variable].iter().any(|word| {
            stories
                .match_indices(word.as_str())
                .any(|(at, _)| ends(at, word))
        })
    };
    let missing: Vec<String> = of_help().into_iter().filter(|name| !told(name)).collect();
    assert!(missing.is_empty(), "in no story: {missing:?}");
}

#[test]
fn each_is_a_variable_and_a_flag_wins_over_it() {
    let run = |start: Stepdown| start.witness(["exit", "3"]).run();
    run(Stepdown::new().env("STEPDOWN_SUCCESS_EXIT", "3")).code(0);
    run(Stepdown::new()
        .env("STEPDOWN_SUCCESS_EXIT", "3")
        .args(["-e", "4"]))
    .code(3);
    // Even where the variable could not be understood.
    run(Stepdown::new()
        .env("STEPDOWN_GRACE", "nonsense")
        .args(["--grace=1s"]))
    .code(3);
}

#[test]
fn options_end_at_the_command() {
    for words in [
        &["--", "echo", "--grace", "-v"][..],
        &["echo", "--grace", "-v"],
    ] {
        let ended = Stepdown::new().args(words).run();
        ended.code(0).said("--grace -v").was_silent();
    }
    for words in [
        &["-q", "echo", "--", "-v"][..],
        &["-q", "--", "echo", "--", "-v"],
    ] {
        Stepdown::new().args(words).run().code(0).said("-- -v");
    }
    // A subcommand's name after -- is a command.
    for name in [
        "explain",
        "check",
        "health",
        "lint",
        "doctor",
        "completions",
        "man",
    ] {
        let ended = Stepdown::new()
            .env("PATH", "/nowhere")
            .args(["--", name])
            .run();
        let told =
            format!("{name}: not found (for the subcommand: stepdown {name}, as the first word)");
        ended.code(127).logged(&[&told]);
        // Behind an option it is one, too.
        let ended = Stepdown::new()
            .env("PATH", "/nowhere")
            .args(["--grace=3s", name])
            .run();
        ended.code(127).logged(&[&told]);
    }
}

#[test]
fn a_mistyped_subcommand_is_told_from_a_missing_command() {
    for (word, hint) in [
        (
            "explian",
            "explian: not found (for the subcommand: stepdown explain)",
        ),
        ("chekc", "(for the subcommand: stepdown check)"),
        ("help", "help: not found (for help: stepdown --help)"),
    ] {
        let ended = Stepdown::new().env("PATH", "/nowhere").args([word]).run();
        ended.code(127).logged(&[hint]);
    }
}

#[test]
fn short_options_stand_for_long_ones() {
    let mut run = Stepdown::new()
        .args(["-v", "-rHUP:USR1", "-e", "7", "-p", "USR2"])
        .witness(["listen", "10:7"])
        .start();
    run.says("ready").signal(nix::sys::signal::Signal::SIGHUP);
    run.wait().code(0).logged(&["started"]);
}

/// The row of an option in what `explain` prints: its value, and where that came from.
#[track_caller]
fn explained(start: Stepdown, name: &str) -> [String; 2] {
    let explained = start.run();
    explained.code(0);
    let is_it = |line: &&str| line.split_whitespace().next() == Some(name);
    let row = explained.stdout.lines().find(is_it);
    let mut words = row.unwrap_or_default().split_whitespace().skip(1);
    [0, 1].map(|_| words.next().unwrap_or_default().to_owned())
}

#[test]
fn every_switch_is_written_the_same_way() {
    let explain = |words: &[&str]| Stepdown::new().args(["explain"]).args(words);
    for name in [
        "no-kill",
        "clean-stop",
        "no-new-privs",
        "subreaper",
        "cgroup",
    ] {
        for (text, value) in [
            ("", "on"),
            ("=on", "on"),
            ("=yes", "on"),
            ("=1", "on"),
            ("=off", "off"),
            ("=No", "off"),
            ("=0", "off"),
        ] {
            let flag = format!("--{name}{text}");
            let row = explained(explain(&[&flag]), name);
            assert_eq!(row, [value.to_owned(), format!("--{name}")], "{flag}");
        }
        let variable = format!("STEPDOWN_{}", name.replace('-', "_").to_ascii_uppercase());
        let row = explained(explain(&[]).env(&variable, "on"), name);
        assert_eq!(row, ["on".to_owned(), variable.clone()]);
        // A flag takes back what an image has set.
        let off = format!("--{name}=off");
        let row = explained(explain(&[&off]).env(&variable, "on"), name);
        assert_eq!(row, ["off".to_owned(), format!("--{name}")]);
    }
    let run = |words: &[&str]| Stepdown::new().args(words).witness(["exit", "3"]).run();
    run(&["--clean-stop", "--success-exit=3"]).code(0);
    // The last word counts.
    let row = explained(explain(&["--cgroup", "--cgroup=off"]), "cgroup");
    assert_eq!(row, ["off", "--cgroup"]);
}

/// `--subreaper` and `--cgroup` once took the next word.
#[test]
fn on_or_off_may_be_the_next_word_where_it_always_was() {
    for name in ["subreaper", "cgroup"] {
        for (word, value) in [("on", "on"), ("off", "off"), ("No", "off"), ("1", "on")] {
            let words = ["explain", &format!("--{name}"), word];
            let row = explained(Stepdown::new().args(words), name);
            assert_eq!(row, [value.to_owned(), format!("--{name}")], "{words:?}");
        }
        let flag = format!("--{name}");
        let ended = Stepdown::new().args([&flag, "off", "echo", "ran"]).run();
        ended.code(0).said("ran");
        // Any other word is the command.
        let ended = Stepdown::new().args([&flag, "echo", "ran"]).run();
        ended.code(0).said("ran");
    }
    // The others never did.
    let ended = Stepdown::new().args(["--no-kill", "echo", "off"]).run();
    ended.code(0).said("off");
}

/// `-q`, `-v` and `-w` are short for a `--log-level`, and so were options of their own, whose names are taken.
#[test]
fn how_much_is_told_is_one_option() {
    let explain = |words: &[&str]| Stepdown::new().args(["explain"]).args(words);
    let dir = tempfile::tempdir().expect("a directory");
    let config = |text: &str| {
        let path = dir.path().join("c.toml");
        fs::write(&path, text).expect("written");
        format!("--config={}", path.display())
    };
    for (words, value, place) in [
        (&["-v"][..], "debug", "-v"),
        (&["-q"], "error", "-q"),
        (&["-w"], "info,reaped", "-w"),
        (&["--log-level=warn,reaped"], "warn,reaped", "--log-level"),
        (&["--log-level=reaped"], "info,reaped", "--log-level"),
        (&["--log-level", "WARN"], "warn", "--log-level"),
        (&["--verbose"], "debug", "-v"),
        (&["--quiet"], "error", "-q"),
        (&["--log-reaped"], "info,reaped", "-w"),
    ] {
        let row = explained(explain(words), "log-level");
        assert_eq!(row, [value, place], "{words:?}");
    }
    for (variable, value) in [
        ("STEPDOWN_VERBOSE", "debug"),
        ("STEPDOWN_QUIET", "error"),
        ("STEPDOWN_LOG_REAPED", "info,reaped"),
    ] {
        let row = explained(explain(&[]).env(variable, "1"), "log-level");
        assert_eq!(row, [value, variable]);
        let key = variable["STEPDOWN_".len()..].to_ascii_lowercase();
        let file = config(&format!("{} = true", key.replace('_', "-")));
        let [shown, place] = explained(explain(&[&file]), "log-level");
        assert_eq!(shown, value);
        assert!(place.ends_with("c.toml:1"), "{place}");
        // A flag takes it back.
        let start = explain(&["--log-level=warn"]).env(variable, "1");
        let [shown, _] = explained(start, "log-level");
        assert!(shown.starts_with("warn"), "{variable}: {shown}");
    }
    let file = config("log-level = ['warn', 'reaped']");
    let [shown, _] = explained(explain(&[&file]), "log-level");
    assert_eq!(shown, "warn,reaped");
    let help = Stepdown::new().args(["--help"]).run();
    for former in ["--verbose", "--quiet", "--log-reaped"] {
        help.never_said(former);
    }
    let behind = Stepdown::new().args(["--", "-v", "true"]).run();
    behind
        .code(127)
        .logged(&["set the variable STEPDOWN_LOG_LEVEL=debug"]);
}

/// `--left` was `--stragglers`; the old name is taken wherever it was, and errors call it as it was written.
#[test]
fn a_former_name_is_taken_as_a_flag_a_variable_and_a_key() {
    let explain = |words: &[&str]| Stepdown::new().args(["explain"]).args(words);
    let row = explained(explain(&["--stragglers=wait"]), "left");
    assert_eq!(row, ["wait", "--left"]);
    let row = explained(explain(&[]).env("STEPDOWN_STRAGGLERS", "leave"), "left");
    assert_eq!(row, ["leave", "STEPDOWN_STRAGGLERS"]);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("c.toml");
    fs::write(&path, "stragglers = 'wait'").expect("written");
    let config = format!("--config={}", path.display());
    let row = explained(explain(&[&config]), "left");
    assert_eq!(row, ["wait".to_owned(), format!("{}:1", path.display())]);
    let wrong = explain(&[]).env("STEPDOWN_STRAGGLERS", "stpo").run();
    wrong.code(125);
    wrong.logged(&["stepdown: STEPDOWN_STRAGGLERS: ", "did you mean stop?"]);
    fs::write(&path, "stragglers = 'stpo'").expect("written");
    let wrong = explain(&[&config]).run();
    wrong.code(125).logged(&[":1:14: stragglers: "]);
    // A slip in the old name leads to the new one, and no help shows the old one.
    let slip = Stepdown::new().args(["--straglers=wait", "true"]).run();
    slip.code(125)
        .logged(&["--straglers: ", "did you mean --left?"]);
    let slip = explain(&[]).env("STEPDOWN_STRAGLERS", "wait").run();
    slip.code(125).logged(&["did you mean STEPDOWN_LEFT?"]);
    let slip = explain(&[]).env("STEPDOWN_left", "wait").run();
    slip.code(125).logged(&["did you mean STEPDOWN_LEFT?"]);
    let slip = Stepdown::new()
        .args(["check", "--swep=0..1/1", "--", "true"])
        .run();
    slip.code(125)
        .logged(&["--swep: ", "did you mean --offsets?"]);
    let printed = [
        &["--help"][..],
        &["check", "--help"],
        &["man"],
        &["completions", "fish"],
        &["explain"],
    ];
    for words in printed {
        let told = Stepdown::new().args(words).run();
        told.code(0).never_said("straggler").never_said("--sweep=");
    }
}

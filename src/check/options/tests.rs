//! From what was typed to a check.

use super::*;
use crate::options::check::CHECK;

fn settings(options: &[(&'static str, &str)]) -> Settings {
    let mut settings = Settings::default();
    for (name, text) in options {
        settings.set(name, text);
    }
    settings
}

fn refused(options: &[(&'static str, &str)]) -> String {
    parse(settings(options), vec!["true".into()])
        .unwrap_err()
        .to_string()
}

#[test]
fn names_are_not_those_of_run() {
    for option in CHECK {
        assert!(
            crate::options::find(option.name).is_none(),
            "{}",
            option.name
        );
    }
}

#[test]
fn a_sweep_is_a_list_of_offsets() {
    let offsets = parse_offsets("10ms..40ms/15ms").unwrap();
    assert_eq!(offsets, [10, 25, 40].map(Duration::from_millis));
    let offsets = parse_offsets("0..0/1").unwrap();
    assert_eq!(offsets, [Duration::ZERO]);
}

#[test]
fn a_mistake_shows_the_way_out() {
    for (name, text, way_out) in [
        ("offsets", "1s", "write FROM..TO/STEP"),
        ("offsets", "2s..1s/1ms", "write FROM..TO/STEP"),
        ("offsets", "0..1/0", "write FROM..TO/STEP"),
        ("offsets", "0..1h/1ms", "take a longer step"),
        ("offsets", "0..x/1ms", "at column 4"),
        ("expect-exit", "0,256", "codes go from 0 to 255"),
        ("expect-exit", "0,TREM", "did you mean TERM?"),
        ("expect-exit", "", "write codes or signals"),
        ("port-free", "80,0", "ports go from 1"),
        ("runs", "0", "write one from 1"),
        ("signal", "KILL", "use TERM"),
        ("in-flight", "https://a/", "use http://"),
        ("in-flight-count", "3", "add --in-flight"),
        ("json", "", "write a path"),
    ] {
        let message = refused(&[(name, text)]);
        assert!(message.contains(way_out), "{name} {text}: {message}");
        assert!(message.contains(&format!("--{name}")), "{message}");
    }
    let message = refused(&[("offsets", "0..1/1"), ("after", "1s")]);
    assert!(message.contains("leave out --after"), "{message}");
}

#[test]
fn kill_comes_when_the_promise_is_broken() {
    let check = parse(settings(&[("within", "3s")]), vec!["true".into()]).unwrap();
    let steps = &check.variants[0].plan.ladder;
    assert_eq!(steps[0].wait, Some(Duration::from_secs(3)));
    assert!(check.variants[0].plan.ladder.last().unwrap().is_kill());
}

#[test]
fn a_stop_command_is_a_step() {
    for stop in ["docker stop web", "sh -c 'echo a, b; kill $1'"] {
        let check = parse(settings(&[("stop-command", stop)]), vec!["true".into()]).unwrap();
        let StepAction::Exec(words) = &check.variants[0].plan.ladder[0].action else {
            panic!("{stop}");
        };
        let expected: Vec<OsString> = shlex::split(stop)
            .unwrap()
            .into_iter()
            .map(Into::into)
            .collect();
        assert_eq!(words, &expected);
    }
}

//! Each row of the table says what the plan has: typed as it stands there, it changes nothing.

use super::*;
use crate::options::drain::DRAIN_QUIET;
use crate::options::stop::STOP_SIGNAL;
use crate::plan::OWN_GRACE;
use crate::words::signal::SignalSet;

fn settings(options: &[&'static str]) -> Settings {
    let mut settings = Settings::default();
    for option in options {
        let (name, value) = option.split_once('=').expect("an option with a value");
        settings.set(name, value);
    }
    settings
}

/// Starts that differ in what the rows depend on.
const STARTS: &[&[&str]] = &[
    &[],
    &["deadline=20s"],
    &["ladder=TERM:1s,INT@tree", "stop-on=USR1"],
    &["ladder=eof:1s", "no-kill=on"],
    &["stop-signal=QUIT", "target=group"],
    &["drain-port=80"],
    &["drain-port=80/h2,81/ws", "drain-timeout=5s"],
    &["drain-port=80,443/tls", "drain-delay=2s"],
    &["drain-port=auto", "health-listen=:9000", "drain-checks=2"],
    &["drain-until=exec:true"],
    &["drain-delay=3s"],
    &["pre-stop=true", "health-listen=:9000", "drain-port=80"],
    &["left=leave"],
    &["left=wait"],
    &["restart=always", "restart-never-on=7,ABRT"],
    &["restart-on=HUP"],
    &["listen=:80", "ready-when=notify", "replace-on=USR2"],
    &["wait-for=file:/a"],
    &["live-when=exec:true"],
    &["main-pid=notify"],
    &["stop-signal=KILL"],
    &["stop-signal=KILL", "grace=3s"],
    &["stop-signal=KILL", "ladder=TERM:1s,SAME:2s,KILL"],
];

/// Values that say in words what no text of the option can.
fn is_prose(value: &str) -> bool {
    value.starts_with("what is left") || value.starts_with("as long as") || value.contains(" for ")
}

fn rows_of(settings: &Settings) -> Vec<Row> {
    rows(settings, &settings.plan().expect("it can be understood"))
}

/// What the plan has, without who has said it.
fn plan(settings: &Settings) -> Plan {
    let mut plan = settings.plan().expect("it can be understood");
    plan.says_grace = false;
    for step in &mut plan.ladder {
        step.says_wait = false;
        // The grace of an ordinary process.
        step.wait = step.wait.or((!step.is_kill()).then_some(OWN_GRACE));
    }
    plan
}

/// Whether the plan has the same, and drains in the same time.
fn is_same(one: &Plan, other: &Plan) -> bool {
    let quiet = DRAIN_QUIET.shown;
    let rest = |plan: &Plan| {
        let mut plan = plan.clone();
        plan.drain.iter_mut().for_each(|drain| drain.quiet = None);
        // Whether it was written is not part of what is shown.
        let readiness = plan.readiness.iter_mut();
        readiness.for_each(|readiness| readiness.of_drain_ports = false);
        plan.named = SignalSet::default();
        plan
    };
    quiet(one) == quiet(other) && rest(one) == rest(other)
}

#[test]
fn each_row_typed_as_it_stands_changes_nothing() {
    for start in STARTS {
        each_row_changes_nothing(&settings(start));
    }
}

/// Types each value of the table as it stands there.
pub(crate) fn each_row_changes_nothing(settings: &Settings) {
    let before = plan(settings);
    let shown = rows_of(settings);
    for option in OPTIONS {
        let rows: Vec<&Row> = shown.iter().filter(|row| row.name == option.name).collect();
        if rows.is_empty() || rows.iter().any(|row| is_prose(&row.value)) {
            continue;
        }
        let mut typed = settings.clone();
        typed.remove(option);
        if option.name == "ladder" {
            // It has the signal that stands in place of SAME.
            typed.remove(&STOP_SIGNAL);
        }
        for row in &rows {
            typed.add(option, row.value.clone(), Source::Flag);
        }
        let mut after = plan(&typed);
        after.stop_signal = before.stop_signal;
        assert!(
            is_same(&before, &after),
            "{settings:?}: {rows:?}\n{before:?}\n{after:?}"
        );
    }
}

/// A default that is told although nothing has it, or that nothing tells, would be found here.
#[test]
fn each_default_of_the_help_is_what_some_plan_has() {
    for option in OPTIONS {
        let Some(default) = option.default() else {
            continue;
        };
        let tells = |start: &&[&'static str]| {
            let rows = rows_of(&settings(start));
            rows.iter().any(|row| {
                let is_it = row.name == option.name && row.source == "default";
                let first = default.split(';').next().unwrap_or(&default);
                is_it && same(&row.value, first)
            })
        };
        // Its help says where which mode is the default.
        let is_said_in_words = option.name == "stdin";
        assert!(
            is_said_in_words || STARTS.iter().any(tells),
            "{} {default}",
            option.name
        );
    }
}

/// Whether two values are the same in another order, or in another spelling.
fn same(one: &str, other: &str) -> bool {
    let words = |text: &str| {
        let mut words: Vec<String> = text.split(',').map(str::to_owned).collect();
        words.sort();
        words
    };
    let duration = |text: &str| crate::words::duration::parse(text).ok();
    words(one) == words(other) || duration(one).is_some_and(|d| Some(d) == duration(other))
}

#[test]
fn what_means_nothing_has_no_row() {
    for (start, names) in [
        (
            &[][..],
            &[
                "drain-delay",
                "drain-quiet",
                "drain-timeout",
                "hook-timeout",
                "not-ready-status",
            ][..],
        ),
        (
            &["drain-delay=1s"],
            &["drain-quiet", "drain-timeout", "drain-checks-timeout"],
        ),
        (&["drain-until=exec:true"], &["drain-quiet"]),
        (&["left=leave"], &["sweep-grace"]),
    ] {
        let rows = rows_of(&settings(start));
        for name in names {
            assert!(rows.iter().all(|row| row.name != *name), "{start:?} {name}");
        }
    }
}

#[test]
fn the_quiet_time_is_that_of_each_protocol() {
    for (ports, value) in [
        ("drain-port=80", "1s"),
        ("drain-port=auto", "1s"),
        ("drain-port=80/h2,81/ws", "10s"),
        ("drain-port=80,81/h2", "1s, 10s for 81/h2"),
        (
            "drain-port=443/tls",
            "1s, 10s for first requests of 443/tls",
        ),
    ] {
        let rows = rows_of(&settings(&[ports]));
        let row = rows.iter().find(|row| row.name == "drain-quiet");
        assert_eq!(row.expect("it counts").value, value);
    }
}

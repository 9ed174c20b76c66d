//! What the types of the definitions cannot keep.

use super::check::CHECK;
use super::reload::reloaded;
use super::*;
use crate::plan::Plan;

fn all() -> impl Iterator<Item = &'static Opt> + Clone {
    OPTIONS.iter().chain(CHECK).copied()
}

#[test]
fn names_and_letters_are_unique() {
    for (index, option) in all().enumerate() {
        for other in all().skip(index + 1) {
            let is_taken = |spelling| option.spellings().any(|known| known == spelling);
            assert!(!other.spellings().any(is_taken), "{other:?}");
            let has_other = option.letter.is_none() || option.letter != other.letter;
            assert!(has_other, "{other:?}");
        }
    }
    for option in OPTIONS {
        assert!(!TOLD.contains(&option.variable().as_str()), "{option:?}");
    }
}

/// An option, a value other than its default, and what else must be there for it to count.
type Sample = (&'static Opt, &'static str, &'static str);

#[rustfmt::skip]
static SAMPLES: &[Sample] = &[
    (&config::RELOAD_ON, "HUP", "config=/none"),
    (&stop::LADDER, "TERM:1s,INT", ""),
    (&stop::STOP_SIGNAL, "QUIT", ""),
    (&stop::GRACE, "7s", ""),
    (&stop::DEADLINE, "7s", ""),
    (&stop::NO_KILL, "on", ""),
    (&stop::MAX_RUNTIME, "7s", ""),
    (&signals::STOP_ON, "QUIT", ""),
    (&signals::ESCALATE_ON, "QUIT", ""),
    (&signals::REWRITE, "HUP:USR1", ""),
    (&signals::TARGET, "tree", ""),
    (&signals::PARENT_DEATH_SIGNAL, "HUP", ""),
    (&drain::PORT, "80,81/h2", ""),
    (&drain::DELAY, "7s", ""),
    (&drain::CHECKS, "7", "health-listen=:9000"),
    (&drain::CHECKS_TIMEOUT, "7s", "health-listen=:9000 drain-checks=1"),
    (&drain::UNTIL, "exec:true", ""),
    (&drain::DRAIN_QUIET, "7s", "drain-port=80"),
    (&drain::TIMEOUT, "7s", "drain-port=80"),
    (&wait::WAIT_FOR, "tcp:db:5432", ""),
    (&wait::WAIT_TIMEOUT, "7s", "wait-for=tcp:db:5432"),
    (&hooks::PRE_START, "true", ""),
    (&hooks::PRE_STOP, "true", ""),
    (&hooks::POST_STOP, "true", ""),
    (&hooks::HOOK_TIMEOUT, "7s", "post-stop=true"),
    (&readiness::READY_WHEN, "tcp:80", ""),
    (&readiness::READY_TIMEOUT, "7s", "ready-when=tcp:80"),
    (&readiness::HEALTH_LISTEN, ":9000", ""),
    (&readiness::NOT_READY_STATUS, "404", "health-listen=:9000"),
    (&liveness::LIVE_WHEN, "exec:true", ""),
    (&liveness::LIVE_EVERY, "7s", "live-when=exec:true"),
    (&liveness::LIVE_TIMEOUT, "7s", "live-when=exec:true"),
    (&liveness::LIVE_FAILURES, "7", "live-when=exec:true"),
    (&restart::RESTART, "always", ""),
    (&restart::RESTART_DELAY, "7s", "restart=always"),
    (&restart::RESTART_MAX_DELAY, "7s", "restart=always"),
    (&restart::RESTART_LIMIT, "7/2m", "restart=always"),
    (&restart::RESTART_NEVER_ON, "7,ABRT", "restart=always"),
    (&restart::RESTART_START_FAILURES, "on", "restart=always"),
    (&restart::RESTART_ON, "HUP", ""),
    (&restart::REPLACE_ON, "USR2", "listen=:80 ready-when=notify drain-port=auto"),
    (&main_pid::MAIN_PID, "file:/a", ""),
    (&sockets::LISTEN, "web=:80", ""),
    (&sockets::FD_STORE_MAX, "7", "restart=always"),
    (&child::USER, "0", ""),
    (&child::GROUP, "0", ""),
    (&child::WORKDIR, "/", ""),
    (&child::ENV, "A=B", ""),
    (&child::NO_NEW_PRIVS, "on", ""),
    (&child::STDIN, "relay", ""),
    (&left::SUBREAPER, "off", ""),
    (&left::CGROUP, "on", ""),
    (&left::LEFT, "wait", ""),
    (&left::SWEEP_GRACE, "7s", ""),
    (&status::SUCCESS_EXIT, "7", ""),
    (&status::CLEAN_STOP, "on", ""),
    (&told::LOG_LEVEL, "warn,reaped", ""),
    (&told::LOG_FORMAT, "json", ""),
    (&told::VERBOSE, "on", ""),
    (&told::TRACE, "drain=debug", ""),
    (&told::REPORT, "run.json", ""),
    (&told::TERMINATION_LOG, "message", ""),
    (&told::STATE_FILE, "state.json", ""),
    (&told::METRICS_FILE, "m.prom", ""),
    (&told::QUIET, "on", ""),
    (&told::LOG_REAPED, "on", ""),
];

/// The plans without the option and with it.
fn plans((option, value, others): &Sample) -> (Plan, Plan) {
    let mut settings = Settings::default();
    for (name, value) in others.split_whitespace().filter_map(|o| o.split_once('=')) {
        settings.set(name, value);
    }
    let without = settings.plan().unwrap();
    settings.set(option.name, value);
    (without, settings.plan().unwrap())
}

#[test]
fn each_option_puts_its_value_into_the_plan_and_shows_it() {
    for option in OPTIONS.iter().filter(|option| **option != &config::CONFIG) {
        let sample = SAMPLES.iter().find(|(sampled, ..)| sampled == option);
        let sample = sample.unwrap_or_else(|| panic!("{option:?} has no sample"));
        let (without, with) = plans(sample);
        assert_ne!(without, with, "{option:?}");
        // The ladder has KILL, too.
        let shown = (option.shown)(&with);
        assert!(
            shown.as_ref().is_none_or(|text| text.starts_with(sample.1)),
            "{option:?}: {shown:?}"
        );
    }
}

/// What an option has changed in the plan is what it changes in a run that is under way, or nothing.
#[test]
fn each_option_takes_over_all_that_it_puts() {
    for sample in SAMPLES {
        let (running, fresh) = plans(sample);
        let after = reloaded(&running, &fresh).unwrap();
        let expected = if sample.0.reload.is_some() {
            fresh
        } else {
            running
        };
        assert_eq!(after, expected, "{:?}", sample.0);
    }
}

/// The next child is ready when it listens on the ports that are drained by then.
#[test]
fn the_ports_of_a_file_that_is_read_again_say_when_the_next_child_is_ready() {
    let plan = |ready_when: &str, port: &str| {
        let mut settings = Settings::default();
        for (name, value) in [("ready-when", ready_when), ("drain-port", port)] {
            if !value.is_empty() {
                settings.set(name, value);
            }
        }
        settings.plan().unwrap()
    };
    for (ready_when, before, after, expected) in [
        ("", "80", "81", "tcp:81"),
        ("", "", "81", "tcp:81"),
        ("", "80", "auto", "tcp:80"),
        ("", "80", "", "tcp:80"),
        ("tcp:90", "80", "81", "tcp:90"),
    ] {
        let read_again = reloaded(&plan(ready_when, before), &plan(ready_when, after)).unwrap();
        let text = read_again.readiness.map(|readiness| readiness.text);
        assert_eq!(text.as_deref(), Some(expected), "{before:?} to {after:?}");
    }
}

#[test]
fn what_takes_fixed_words_says_them() {
    for option in all().filter(|option| !option.words.is_empty()) {
        let told = format!("{:?} {}", option.kind, option.full_help());
        for word in option.words {
            assert!(told.contains(word), "{word} of {option:?}: {told}");
        }
    }
}

//! The stop plan as a timeline: the same machine, played against an imaginary child.

pub(crate) mod values;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use crate::drive::drive;
use crate::machine::{Event, KILL_PATIENCE, Machine, TELLING_AFTER};
use crate::options::parse_choice;
use crate::plan::budget::Budget;
use crate::plan::voice::{Format, Level, Voice};
use crate::plan::{OWN_GRACE, Plan, Stdin, Step};
use crate::record::{ExitStatus, Record};
use crate::sim::{Cue, Leftover, Script, Sim};
use crate::tell::log;
use crate::tell::log::Log;
use crate::words::duration;
use crate::words::duration::Shown;
use crate::words::fault::{Error, Fault};
use crate::words::signal::Signal;
use crate::words::suggest;

/// Reads the values of `--assume`.
///
/// # Errors
/// A cue or a duration that is none.
pub(crate) fn script(values: &[OsString]) -> Result<Script, Error> {
    let mut script = Script {
        hooks_take: (!values.is_empty()).then_some(Duration::ZERO),
        requests_end: !values.is_empty(),
        ..Script::default()
    };
    for value in values {
        let text = value.to_string_lossy();
        let (cue, after) = text.split_once(':').unwrap_or((&text, "0"));
        let error = |fault| Error::new("--assume", fault);
        let after = duration::parse(after)
            .map_err(|bad| error(Fault::new(bad.to_string()).way_out(bad.way_out())))?;
        script
            .exits_on
            .push((parse_cue(cue).map_err(error)?, after));
    }
    Ok(script)
}

/// Reads the value of `--as`.
///
/// # Errors
/// The place is none.
pub(crate) fn is_pid1(place: &str) -> Result<bool, Error> {
    let places = [("pid1", true), ("process", false)];
    parse_choice(place, &places).map_err(|fault| Error::new("--as", fault))
}

fn parse_cue(text: &str) -> Result<Cue, Fault> {
    const WORDS: [(&str, Cue); 4] = [
        ("start", Cue::Start),
        ("stdin", Cue::Stdin),
        ("eof", Cue::Eof),
        ("exec", Cue::Exec),
    ];
    let lower = text.to_ascii_lowercase();
    if let Some((_, cue)) = WORDS.iter().find(|(word, _)| *word == lower) {
        return Ok(*cue);
    }
    Signal::parse(text).map(Cue::Signal).map_err(|unknown| {
        let words = WORDS.iter().map(|(word, _)| *word);
        let fault = Fault::new(unknown.to_string());
        match suggest::nearest(&lower, words).or(unknown.nearest()) {
            Some(near) => fault.way_out(format!("did you mean {near}?")),
            None => fault.way_out("write a signal, stdin, eof, exec or start, as TERM:2s"),
        }
    })
}

/// What a run in the simulated world came to.
struct Played {
    records: Vec<(Duration, Record)>,
    /// When the stop was asked for, or the child ended without that.
    t0: Duration,
    /// When KILL was sent by the ladder.
    killed_at: Option<Duration>,
    end: Duration,
    /// Nothing would have ended the child.
    endless: bool,
}

impl Played {
    fn took(&self) -> Duration {
        self.end.saturating_sub(self.t0)
    }
}

fn play(plan: &Rc<Plan>, script: Script, ends_at: Option<Duration>) -> Played {
    let mut world = Sim::new(script);
    if let Some(at) = ends_at {
        world.happens(at, Event::ChildExited(ExitStatus::Exited(0)));
    }
    let mut played = Played {
        records: Vec::new(),
        t0: Duration::ZERO,
        killed_at: None,
        end: Duration::ZERO,
        endless: false,
    };
    let mut t0 = None;
    drive(
        &mut Machine::new(Rc::clone(plan)),
        &mut world,
        &mut |at: Duration, record: &Record| {
            match record {
                Record::StopAsked { .. } | Record::ChildExited { .. } | Record::StartFailed(_) => {
                    t0.get_or_insert(at);
                }
                Record::Step {
                    signal: Some(Signal::KILL),
                    ..
                } => played.killed_at = Some(at),
                _ => {}
            }
            played.end = at;
            played.records.push((at, record.clone()));
        },
    );
    played.t0 = t0.unwrap_or_default();
    played.endless = world.endless;
    played
}

/// The stop that TERM asks for, or another signal of `--stop-on`; none where the child is to end by
/// itself.
fn asked(plan: &Plan, script: &Script) -> Option<Signal> {
    let by_itself = script.exits_on.iter().any(|(cue, _)| *cue == Cue::Start);
    if by_itself {
        None
    } else if plan.stop_on.contains(Signal::TERM) {
        Some(Signal::TERM)
    } else {
        plan.stop_on.iter().next()
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// What may go wrong, and how long the stop takes then.
struct Worst {
    took: Duration,
    when: &'static str,
}

/// The longest stop there can be; `None` is one without end.
fn worst(plan: &Rc<Plan>) -> Option<Worst> {
    let stubborn = Script {
        asked: asked(plan, &Script::default()),
        leftover: Leftover::Kill,
        clients_hang: true,
        ..Script::default()
    };
    let ignores = play(plan, stubborn.clone(), None);
    if ignores.endless {
        return None;
    }
    let mut cases = vec![Worst {
        took: ignores.took(),
        when: "nothing but KILL ends the child and what it leaves behind, and hooks use up their time",
    }];
    // Had KILL hit the whole tree, nobody would be left to be asked and waited for.
    if let Some(at) = ignores.killed_at {
        cases.push(Worst {
            took: play(plan, stubborn.clone(), Some(at)).took(),
            when: "the child ends just before KILL, and what it leaves behind ignores TERM",
        });
    }
    if plan.deadline.is_some() {
        let hangs = Script {
            immortal: true,
            leftover: Leftover::Nothing,
            ..stubborn
        };
        cases.push(Worst {
            took: play(plan, hangs, None).took(),
            when: "not even KILL ends the child",
        });
    }
    // The first of equal ones: the likelier.
    cases.into_iter().reduce(
        |worst, case| {
            if case.took > worst.took { case } else { worst }
        },
    )
}

/// The timeline and its worst case, for people or as the JSON lines that `run` would write.
pub(crate) fn explain(plan: Plan, script: Script, json: bool) -> String {
    let plan = Rc::new(plan);
    let asked = asked(&plan, &script);
    let assumed = !script.exits_on.is_empty();
    let script = Script { asked, ..script };
    let played = play(&plan, script, None);
    let mut text = String::new();
    if json {
        let mut log = Log::new(Voice {
            level: Level::Debug,
            format: Format::Json,
            reaped: false,
        });
        for (at, record) in &played.records {
            let line = log.line(*at, record).unwrap_or_default();
            let _ = writeln!(text, "{line}");
        }
        return text;
    }
    let _ = writeln!(text, "{}\n", heading(&plan, asked, assumed));
    timeline(&mut text, &plan, &played);
    budget(&mut text, &plan);
    totals(&mut text, &plan);
    text
}

fn heading(plan: &Plan, asked: Option<Signal>, assumed: bool) -> String {
    let event = match (asked, plan.max_runtime) {
        (Some(signal), _) => format!("A stop by {signal}"),
        (None, Some(_)) if !assumed => "A stop by --max-runtime".to_owned(),
        (None, _) => "The end of the child without a stop".to_owned(),
    };
    let children = if assumed {
        "with a child as assumed, and hooks and requests that end at once"
    } else if plan.drain.is_some() {
        "with a child that ends by KILL only, and hooks and requests that use up their time"
    } else if !(plan.pre_stop.is_empty() && plan.post_stop.is_empty()) {
        "with a child that ends by KILL only, and hooks that use up their time"
    } else {
        "with a child that ends by KILL only"
    };
    format!("{event}, {children}:")
}

fn timeline(text: &mut String, plan: &Plan, played: &Played) {
    let mut last = None;
    for (at, record) in played.records.iter().filter(|(at, _)| *at >= played.t0) {
        // What the world added so that the story ends is no part of it.
        let ends = matches!(record, Record::ChildExited { .. });
        if played.endless && ends {
            let how_long = if plan.waits_for_platform() {
                "as long as the platform lets it"
            } else {
                "without end"
            };
            let _ = writeln!(text, "{:>12}  the child is waited for {how_long}", "...");
            return;
        }
        if matches!(record, Record::Started { .. } | Record::HookStarted { .. }) {
            continue;
        }
        let after = at.saturating_sub(played.t0);
        // A column in which equal times stand once shows at a glance where time passes.
        let time = if last == Some(after) {
            String::new()
        } else {
            Shown(after).to_string()
        };
        last = Some(after);
        let _ = writeln!(text, "{time:>12}  {}", told(record));
    }
}

/// The record as people read it; who will send the signal is not known yet.
fn told(record: &Record) -> String {
    match *record {
        Record::StopAsked { reason, signal, .. } => log::text(&Record::StopAsked {
            reason,
            signal,
            sender: None,
        }),
        _ => log::text(record),
    }
}

fn budget(text: &mut String, plan: &Plan) {
    let (Some(budget), Some(deadline)) = (plan.budget(), plan.deadline) else {
        return;
    };
    let Budget {
        ladder_by,
        kill_by,
        give_up_by,
        gone_by,
    } = budget;
    let _ = writeln!(
        text,
        "\nThe deadline of {} bounds every phase:\n",
        Shown(deadline)
    );
    let mut line = |at: Duration, what: &str| {
        let _ = writeln!(text, "{:>12}  {what}", Shown(at).to_string());
    };
    match (plan.pre_stop.is_empty(), plan.drain.is_some()) {
        (true, false) => {}
        (true, true) => line(ladder_by, "the drain has ended, the ladder begins"),
        (false, false) => line(
            ladder_by,
            "the pre-stop hooks have ended, the ladder begins",
        ),
        (false, true) => line(
            ladder_by,
            "pre-stop hooks and drain have ended, the ladder begins",
        ),
    }
    if plan.ladder.last().is_some_and(Step::is_kill) {
        line(kill_by, "KILL is sent");
        line(give_up_by, "what not even KILL has ended is left alone");
    } else {
        line(kill_by, "the child is left alone (--no-kill)");
    }
    if !plan.post_stop.is_empty() {
        line(gone_by, "the post-stop hooks have ended");
    }
    line(deadline, "stepdown is gone");
}

fn totals(text: &mut String, plan: &Rc<Plan>) {
    let Some(Worst { took, when }) = worst(plan) else {
        return without_end(text, plan);
    };
    let _ = writeln!(
        text,
        "\nWorst case: {} from the request to stop:\n{when}.",
        Shown(took)
    );
    let may_hang = plan.deadline.is_none() && plan.ladder.last().is_some_and(Step::is_kill);
    if may_hang {
        let _ = writeln!(
            text,
            "A process that hangs in the kernel, so that not even KILL ends it, is left after {} more.",
            Shown(KILL_PATIENCE)
        );
    }
    // The deadline is kept with a margin. Without one a second is put on top: whoever counts began to
    // count a moment before us.
    let needed = plan.deadline.unwrap_or(took.saturating_add(SECOND));
    let seconds = needed
        .as_secs()
        .saturating_add(u64::from(needed.subsec_nanos() > 0));
    let _ = writeln!(
        text,
        "Give the container at least {seconds} s: docker stop -t {seconds}, \
         stop_grace_period: {seconds}s,\nterminationGracePeriodSeconds: {seconds}, \
         TimeoutStopSec={seconds}."
    );
    if plan.deadline.is_none() && plan.first_without_wait().is_some() {
        let _ = writeln!(
            text,
            "Without --grace an ordinary process waits {} in a step; PID 1 waits as long as the platform lets\n\
             it (--as pid1). After {} the log tells who is still there, and why.",
            Shown(OWN_GRACE),
            Shown(TELLING_AFTER)
        );
    }
    relay(text, plan);
}

/// What is to be known where nothing of ours ends the wait.
fn without_end(text: &mut String, plan: &Plan) {
    text.push('\n');
    if !plan.waits_for_platform() {
        text.push_str(
            "Worst case: without end. The ladder has no KILL, and there is no --deadline.\n",
        );
        return relay(text, plan);
    }
    text.push_str(
        "Worst case: as long as the platform lets it. Without --grace and --deadline PID 1 leaves KILL to whoever\n\
         asks for the stop: docker stop -t, stop_grace_period, terminationGracePeriodSeconds, TimeoutStopSec.\n",
    );
    let _ = writeln!(
        text,
        "After {} the log tells who is still there, and why.",
        Shown(TELLING_AFTER)
    );
    let first = plan.first_without_wait().unwrap_or_default();
    let is_missed = |step: &Step| !step.is_kill();
    if let Some(step) = plan.ladder.get(first)
        && plan.ladder.iter().skip(first + 1).any(is_missed)
    {
        let _ = writeln!(
            text,
            "Step {} has no wait, so the steps after it are not taken: give it one, as {}:10s.",
            first + 1,
            step.text
        );
    }
    let mut lost = Vec::new();
    if !plan.post_stop.is_empty() {
        lost.push("the post-stop hooks do not run");
    }
    if plan.keeps_files {
        lost.push("report, state and metrics files do not tell of this stop");
    }
    if !lost.is_empty() {
        let _ = writeln!(
            text,
            "When that KILL comes, {}.\nA --grace or --deadline that is shorter than the platform's prevents that.",
            lost.join(",\nand ")
        );
    }
    let _ = writeln!(
        text,
        "An ordinary process waits {} in a step without a wait, then sends KILL (--as process).",
        Shown(OWN_GRACE)
    );
    relay(text, plan);
}

fn relay(text: &mut String, plan: &Plan) {
    if plan.stdin == Stdin::Relay {
        text.push_str("Standard input is relayed to the child.\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Settings, Source};

    fn plan(options: &[(&'static str, &str)]) -> Rc<Plan> {
        let mut settings = Settings::default();
        for (name, text) in options {
            settings.add(name, *text, Source::Flag);
        }
        Rc::new(settings.plan().unwrap())
    }

    fn seconds(options: &[(&'static str, &str)]) -> Option<f64> {
        worst(&plan(options)).map(|worst| worst.took.as_secs_f64())
    }

    /// Each figure is added up by hand from the waits of the plan.
    #[test]
    fn the_worst_case_is_the_sum_of_all_waits() {
        // The grace, then the sweep's.
        assert_eq!(seconds(&[]), Some(30.0 + 2.0));
        assert_eq!(seconds(&[("sweep-grace", "0")]), Some(30.0));
        assert_eq!(seconds(&[("stragglers", "leave")]), Some(30.0));
        assert_eq!(
            seconds(&[
                ("ladder", "TERM:1s,INT:2s,QUIT:3s"),
                ("sweep-grace", "500ms")
            ]),
            Some(1.0 + 2.0 + 3.0 + 0.5)
        );
        // After KILL to the child alone the others still have their grace.
        assert_eq!(
            seconds(&[("ladder", "TERM:1s,KILL@child")]),
            Some(1.0 + 2.0)
        );
        let hooks = [
            ("pre-stop", "a"),
            ("pre-stop", "b"),
            ("post-stop", "c"),
            ("hook-timeout", "3s"),
            ("grace", "1s"),
        ];
        assert_eq!(seconds(&hooks), Some(3.0 + 3.0 + 1.0 + 2.0 + 3.0));
        // The drain, and two seconds for what a client does not take.
        let drain = [
            ("drain-port", "80"),
            ("drain-timeout", "20s"),
            ("grace", "1s"),
        ];
        assert_eq!(seconds(&drain), Some(20.0 + 1.0 + 2.0 + 2.0));
        assert_eq!(
            seconds(&[("max-runtime", "9s"), ("grace", "1s")]),
            Some(1.0 + 2.0)
        );
    }

    #[test]
    fn without_kill_and_deadline_there_is_no_worst_case() {
        assert_eq!(seconds(&[("no-kill", "on")]), None);
        assert!(seconds(&[("no-kill", "on"), ("deadline", "5s")]).is_some());
    }

    #[test]
    fn pid_1_leaves_kill_to_the_platform_unless_somebody_says_a_time() {
        let seconds = |options: &[(&'static str, &str)]| {
            let mut plan = Plan::clone(&plan(options));
            plan.as_pid1 = true;
            worst(&Rc::new(plan)).map(|worst| worst.took.as_secs_f64())
        };
        assert_eq!(seconds(&[]), None);
        assert_eq!(seconds(&[("ladder", "TERM:1s,INT")]), None);
        assert_eq!(seconds(&[("grace", "9s")]), Some(9.0 + 2.0));
        assert_eq!(seconds(&[("ladder", "TERM:1s,KILL")]), Some(1.0 + 2.0));
        assert!(seconds(&[("deadline", "9s")]).is_some());
        // Nobody but us would send KILL.
        let by_itself = [("max-runtime", "9s"), ("stop-on", "")];
        assert_eq!(seconds(&by_itself), Some(30.0 + 2.0));
    }

    #[test]
    fn the_worst_case_is_within_the_deadline() {
        let options = [
            ("pre-stop", "a"),
            ("post-stop", "b"),
            ("drain-port", "80"),
            ("sweep-grace", "60s"),
        ];
        for deadline in ["0", "100ms", "1s", "10s", "1h"] {
            let mut options = options.to_vec();
            options.push(("deadline", deadline));
            let worst = seconds(&options).unwrap();
            let deadline = duration::parse(deadline).unwrap();
            assert!(worst <= deadline.as_secs_f64(), "{worst} {deadline:?}");
            assert!(
                worst >= deadline.as_secs_f64() * 0.85,
                "{worst} {deadline:?}"
            );
        }
    }

    #[test]
    fn assumptions_that_are_none_are_refused_with_a_way_out() {
        let refused = |text: &str| script(&[text.into()]).unwrap_err().to_string();
        assert!(refused("TREM").contains("did you mean TERM?"));
        assert!(refused("stdn:1s").contains("did you mean stdin?"));
        assert!(refused("TERM:soon").contains("write it as 1500ms"));
    }
}

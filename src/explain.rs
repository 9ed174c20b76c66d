//! The stop plan as a timeline: the same machine, played against an imaginary child.

pub(crate) mod fits;
pub(crate) mod platform;
mod replacements;
mod restarts;
#[cfg(feature = "doctor")]
pub(crate) mod times;
mod totals;
pub(crate) mod values;
pub(crate) mod worst_case;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use crate::drive::{Decider, drive};
use crate::machine::{Event, Machine};
use crate::options::parse_choice;
use crate::plan::Plan;
use crate::plan::liveness::LiveWhen;
use crate::plan::supervision::Restart;
use crate::plan::voice::{Format, Level, Voice};
use crate::record::{ExitStatus, Record};
use crate::sim::{Cue, Life, Script, Sim};
use crate::supervisor::Supervisor;
use crate::tell::log;
use crate::tell::log::Log;
use crate::words::duration;
use crate::words::duration::Shown;
use crate::words::fault::{Error, Fault};
use crate::words::signal::Signal;
use crate::words::suggest;
use fits::{Fits, Verdict};

/// Reads the values of `--assume`.
///
/// # Errors
/// A cue or a duration is not valid, or nothing asks for what it assumes.
pub(crate) fn script(values: &[OsString], plan: &Plan) -> Result<Script, Error> {
    let mut script = Script {
        hooks_take: (!values.is_empty()).then_some(Duration::ZERO),
        requests_end: !values.is_empty(),
        ..Script::default()
    };
    let mut replacements = Vec::new();
    for value in values {
        let text = value.to_string_lossy();
        let (cue, after) = text.split_once(':').unwrap_or((&text, "0"));
        let error = |fault| Error::new("--assume", fault);
        let after = duration::parse(after)
            .map_err(|bad| error(Fault::new(bad.to_string()).way_out(bad.way_out())))?;
        if cue.eq_ignore_ascii_case(HANG) {
            script.lives.push_back(Life::Hangs(after));
            continue;
        }
        if cue.eq_ignore_ascii_case(REPLACE) {
            if !plan.replaces() {
                let fault = Fault::new("no signal asks for a replacement");
                return Err(error(fault.way_out("add --replace-on SIGNALS")));
            }
            replacements.push(after);
            continue;
        }
        match parse_failure(cue).map_err(error)? {
            Some(code) => {
                let status = ExitStatus::Exited(code);
                script.lives.push_back(Life::Ends(after, status));
            }
            None => {
                let cue = parse_cue(cue).map_err(error)?;
                script.exits_on.push((cue, after));
            }
        }
    }
    replacements::assume(&mut script, plan, &replacements);
    Ok(script)
}

/// The word for a life that hangs.
const HANG: &str = "hang";

/// Refuses a hang that nobody would notice, and lives without end; gives the simulated world what it needs to notice one.
///
/// # Errors
/// Nobody looks whether the child is alive, or not in a way that tells a child that hangs from another one; or there would
/// be no last life.
pub(crate) fn prepare(script: &mut Script, plan: &Plan) -> Result<(), Error> {
    let hangs = |life: &Life| matches!(life, Life::Hangs(_));
    let why = match plan.liveness.as_ref().map(|liveness| &liveness.when) {
        None => "nobody checks whether the child is alive",
        Some(LiveWhen::Tcp(_)) => "a child that hangs still listens, so tcp does not notice it",
        Some(_) => "",
    };
    if !why.is_empty() && script.lives.iter().any(hangs) {
        let fault = Fault::new(format!("{HANG}: {why}"));
        let way_out = "ask it: add --live-when http:URL, exec:COMMAND, file:PATH or watchdog:DUR";
        return Err(Error::new("--assume", fault.way_out(way_out)));
    }
    let by_itself = script.exits_on.iter().any(|(cue, _)| *cue == Cue::Start);
    let restart = plan
        .supervision
        .as_ref()
        .map(|supervision| supervision.restart);
    if by_itself && restart == Some(Restart::Always) {
        let fault =
            Fault::new("start: with --restart always one life would follow the other without end");
        let way_out = "leave it out: the last life is the one that is stopped";
        return Err(Error::new("--assume", fault.way_out(way_out)));
    }
    script.liveness.clone_from(&plan.liveness);
    Ok(())
}

/// The cue of `--assume` that is a request to replace.
const REPLACE: &str = "replace";

/// Reads the value of `--as`.
///
/// # Errors
/// It is neither `pid1` nor `process`.
pub(crate) fn is_pid1(place: &str) -> Result<bool, Error> {
    let places = [("pid1", true), ("process", false)];
    parse_choice(place, &places).map_err(|fault| Error::new("--as", fault))
}

/// The exit code of `fail` or `fail=CODE`; `None` where it is neither.
fn parse_failure(text: &str) -> Result<Option<u8>, Fault> {
    let (word, code) = text.split_once('=').unwrap_or((text, "1"));
    if !word.eq_ignore_ascii_case("fail") {
        return Ok(None);
    }
    let way_out = "write a number up to 255, as fail=78:3s";
    let code = code
        .parse()
        .map_err(|_| Fault::new(format!("{code:?} is no exit code")).way_out(way_out))?;
    Ok(Some(code))
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
        let words = words.chain(["fail", HANG]);
        let fault = Fault::new(unknown.to_string());
        match suggest::nearest(&lower, words).or(unknown.nearest()) {
            Some(near) => fault.way_out(format!("did you mean {near}?")),
            None => {
                let words =
                    "write a signal, stdin, eof, exec, start, fail, hang or replace, as TERM:2s";
                fault.way_out(words)
            }
        }
    })
}

/// The result of a run in the simulated world.
struct Played {
    records: Vec<(Duration, Record)>,
    /// When the stop was asked for, or the child ended by itself.
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

fn play(plan: &Rc<Plan>, script: Script, happens: Option<(Duration, Event)>) -> Played {
    let mut world = Sim::new(script);
    if let Some((at, event)) = happens {
        world.happens(at, event);
    }
    play_in(world, &mut Machine::new(Rc::clone(plan)))
}

/// Plays the plan, and what follows an end where the command lives more than once.
fn play_lives(plan: &Rc<Plan>, world: Sim) -> Played {
    match plan.supervision.clone() {
        Some(supervision) => play_in(world, &mut Supervisor::steady(Rc::clone(plan), supervision)),
        None => play_in(world, &mut Machine::new(Rc::clone(plan))),
    }
}

fn play_in(mut world: Sim, decider: &mut impl Decider) -> Played {
    let mut played = Played {
        records: Vec::new(),
        t0: Duration::ZERO,
        killed_at: None,
        end: Duration::ZERO,
        endless: false,
    };
    let mut t0 = None;
    drive(decider, &mut world, &mut |at: Duration, record: &Record| {
        match record {
            Record::StopAsked { .. }
            | Record::ChildExited { .. }
            | Record::StartFailed(_)
            | Record::ReplaceBegan { .. } => {
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
    });
    played.t0 = t0.unwrap_or_default();
    played.endless = world.endless;
    played
}

/// The stop that the platform's signal asks for, or TERM, or another signal of `--stop-on`; none where the child
/// is to end by itself.
fn asked(plan: &Plan, script: &Script, first: Option<Signal>) -> Option<Signal> {
    let by_itself = script.exits_on.iter().any(|(cue, _)| *cue == Cue::Start);
    let first = first.filter(|signal| plan.begins_stop(*signal));
    if by_itself {
        None
    } else {
        first.or_else(|| stop_signal(plan))
    }
}

/// The signal that asks for the stop; none where no signal does.
fn stop_signal(plan: &Plan) -> Option<Signal> {
    let begins = |signal: &Signal| plan.begins_stop(*signal);
    let term = Some(Signal::TERM).filter(begins);
    term.or_else(|| plan.stop_on.iter().find(begins))
}

/// The timeline, its worst case and whether that fits, as text or as the JSON lines that a run would write and a
/// last one with the worst case.
pub(crate) fn explain(plan: Plan, mut script: Script, fits: Fits, json: bool) -> Verdict {
    let plan = Rc::new(plan);
    let verdict = fits::judge(&plan, fits, json);
    let asked = asked(
        &plan,
        &script,
        fits.platform.map(|platform| platform.signal),
    );
    let first = script.lives.front().copied();
    let is_replaced = !script.asked.is_empty();
    let lives = first.is_some() || is_replaced;
    let assumed = lives || !script.exits_on.is_empty();
    let hooks_take = script.hooks_take;
    if !is_replaced {
        script.asked = asked.into_iter().collect();
    }
    // Otherwise the lives of the command would follow each other for ever.
    let can_be_stopped = plan.can_be_asked_to_stop();
    let mut played = if lives && can_be_stopped {
        play_lives(&plan, Sim::new(script))
    } else {
        play(&plan, script, None)
    };
    if let Some(Life::Hangs(after)) = first {
        played.t0 = played.t0.min(after);
    }
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
        text.push_str(&verdict.text);
        return Verdict { text, ..verdict };
    }
    let event = match first {
        Some(Life::Ends(..)) => "A failure of the command".to_owned(),
        Some(Life::Hangs(_)) => "A command that hangs from 0 s on".to_owned(),
        None if is_replaced => "A replacement of the command".to_owned(),
        None => event(&plan, asked, assumed),
    };
    let _ = writeln!(text, "{event}{}:\n", children(&plan, assumed));
    timeline(&mut text, &plan, &played);
    if !assumed && can_be_stopped {
        restarts::timelines(&mut text, &plan, hooks_take);
        replacements::timeline(&mut text, &plan, hooks_take);
    }
    totals::budget(&mut text, &plan);
    totals::totals(&mut text, &plan);
    totals::wait(&mut text, &plan);
    totals::liveness(&mut text, &plan);
    text.push_str(&verdict.text);
    Verdict { text, ..verdict }
}

/// What the timeline begins with.
fn event(plan: &Plan, asked: Option<Signal>, assumed: bool) -> String {
    match (asked, plan.max_runtime) {
        (Some(signal), _) => format!("A stop by {signal}"),
        (None, Some(_)) if !assumed => "A stop by --max-runtime".to_owned(),
        (None, _) => "The end of the child without a stop".to_owned(),
    }
}

fn children(plan: &Plan, assumed: bool) -> &'static str {
    if assumed {
        ", as assumed, with hooks and requests that end at once"
    } else if plan.drain.is_some() {
        ", where only KILL ends the child, and hooks and requests take all of their time"
    } else if !(plan.pre_stop.is_empty() && plan.post_stop.is_empty()) {
        ", where only KILL ends the child, and hooks take all of their time"
    } else {
        ", where only KILL ends the child"
    }
}

fn timeline(text: &mut String, plan: &Plan, played: &Played) {
    let mut last = None;
    let is_end = |(_, record): &_| matches!(record, Record::ChildExited { .. });
    let last_end = played.records.iter().rposition(is_end);
    let rows = played.records.iter().enumerate();
    for (index, (at, record)) in rows.filter(|(_, (at, _))| *at >= played.t0) {
        // The simulated world ended the last child only so that the run ends.
        if played.endless && last_end == Some(index) {
            let how_long = if plan.waits_for_platform() {
                "until the platform sends KILL"
            } else {
                "without end"
            };
            let _ = writeln!(text, "{:>12}  the child is waited for {how_long}", "...");
            return;
        }
        if !is_shown(record) {
            continue;
        }
        row(text, &mut last, at.saturating_sub(played.t0), &told(record));
    }
}

/// Whether a timeline has it: what another line says, too, makes it no clearer.
fn is_shown(record: &Record) -> bool {
    match record {
        // Here it decides.
        Record::OfGeneration { record, .. } => {
            matches!(**record, Record::Ready { .. }) || is_shown(record)
        }
        Record::Started { .. }
        | Record::HookStarted { .. }
        | Record::Ready { .. }
        | Record::NotReady { .. } => false,
        _ => true,
    }
}

/// A line of a timeline. A column in which equal times stand once shows at a glance where time passes.
fn row(text: &mut String, last: &mut Option<Duration>, after: Duration, what: &str) {
    let time = if *last == Some(after) {
        String::new()
    } else {
        Shown(after).to_string()
    };
    *last = Some(after);
    let _ = writeln!(text, "{time:>12}  {what}");
}

/// The record as text; who will send the signal is not known yet.
fn told(record: &Record) -> String {
    match *record {
        Record::StopAsked {
            reason,
            signal,
            deadline,
            ..
        } => log::text(&Record::StopAsked {
            reason,
            signal,
            sender: None,
            deadline,
        }),
        Record::ReplaceBegan {
            generation, signal, ..
        } => log::text(&Record::ReplaceBegan {
            generation,
            signal,
            sender: None,
        }),
        _ => log::text(record),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assumptions_that_are_none_are_refused_with_a_way_out() {
        let plan = crate::options::Settings::default().plan().unwrap();
        let refused = |text: &str| script(&[text.into()], &plan).unwrap_err().to_string();
        assert!(refused("TREM").contains("did you mean TERM?"));
        assert!(refused("stdn:1s").contains("did you mean stdin?"));
        assert!(refused("TERM:soon").contains("write it as 1500ms"));
        assert!(refused("fail=256:1s").contains("a number up to 255"));
        assert!(refused("replace:1s").contains("add --replace-on"));
    }
}

//! How a replacement goes on, from the request to the stop of the one that serves then, as a timeline.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use super::{play_lives, stop_signal, timeline as lines};
use crate::plan::Plan;
use crate::sim::{Script, Sim};
use crate::words::signal::Signal;

/// How long after its start the next one is ready where nothing is assumed.
const READY_AFTER: Duration = Duration::from_secs(1);

fn signal(plan: &Plan) -> Option<Signal> {
    plan.supervision.as_ref()?.replace_on.iter().next()
}

/// Replacements, each when the one before it is over and followed by a stop; the next one is ready after that long.
pub(super) fn assume(script: &mut Script, plan: &Plan, ready_after: &[Duration]) {
    if ready_after.is_empty() {
        return;
    }
    // Those that fail first are never ready.
    script.ready = script.lives.iter().map(|_| None).collect();
    script.ready.push_back(Some(Duration::ZERO));
    script.ready.extend(ready_after.iter().copied().map(Some));
    let requests = ready_after.iter().filter_map(|_| signal(plan));
    script.asked = requests.chain(stop_signal(plan)).collect();
}

pub(super) fn timeline(text: &mut String, plan: &Rc<Plan>, hooks_take: Option<Duration>) {
    let Some(signal) = signal(plan) else {
        return;
    };
    let mut script = Script {
        hooks_take,
        ..Script::default()
    };
    assume(&mut script, plan, &[READY_AFTER]);
    let _ = writeln!(
        text,
        "\nA replacement by {signal} (--replace-on), whose next one is ready after 1 s, and then a stop:\n"
    );
    lines(text, plan, &play_lives(plan, Sim::new(script)));
}

#[cfg(test)]
mod tests {
    use super::super::worst_case::worst;
    use super::*;
    use crate::machine::Event;
    use crate::options::Settings;
    use crate::record::Record;
    use crate::sim::{Leftover, outside};

    /// Whatever is being drained, stopped or swept at that moment.
    #[test]
    fn a_stop_during_a_replacement_takes_no_longer_than_the_worst_case() {
        let options: [&[(&str, &str)]; 4] = [
            &[("grace", "5s")],
            &[
                ("grace", "5s"),
                ("drain-delay", "3s"),
                ("drain-timeout", "9s"),
            ],
            &[("deadline", "12s"), ("pre-stop", "a"), ("post-stop", "b")],
            &[
                ("ladder", "TERM:2s,KILL@child"),
                ("post-stop", "b"),
                ("hook-timeout", "4s"),
            ],
        ];
        for options in options {
            let mut settings = Settings::default();
            let replaces = [
                ("listen", ":80"),
                ("ready-when", "notify"),
                ("replace-on", "USR2"),
            ];
            for (name, value) in replaces.iter().chain(options) {
                settings.set(name, value);
            }
            let plan = Rc::new(settings.plan().unwrap());
            let longest = worst(&plan).unwrap().took;
            for tenths in 0..400 {
                let mut script = Script {
                    leftover: Leftover::Kill,
                    clients_hang: true,
                    ..Script::default()
                };
                assume(&mut script, &plan, &[READY_AFTER]);
                // Asked for by ourselves, whether or not the replacement is over by then.
                script.asked.truncate(1);
                let mut world = Sim::new(script);
                let at = Duration::from_millis(50 + tenths * 100);
                world.happens(at, Event::Signal(outside(Signal::TERM)));
                let played = play_lives(&plan, world);
                let told = played.records.iter();
                let asked = told
                    .filter(|(_, record)| matches!(record, Record::StopAsked { .. }))
                    .map(|(at, _)| *at);
                assert_eq!(asked.collect::<Vec<_>>(), [at], "{options:?}");
                let took = played.end.saturating_sub(at);
                assert!(took <= longest, "{options:?} {at:?} {took:?} {longest:?}");
            }
        }
    }
}

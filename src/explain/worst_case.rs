//! How long the stop of a plan can take at most, played in the simulated world.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::{asked, play};
use crate::machine::{Event, HookId};
use crate::plan::drain::DrainPorts;
use crate::plan::{HookPhase, Plan};
use crate::record::{ExitStatus, HookResult, Record};
use crate::sim::{Leftover, Script, outside};

/// What may go wrong, and how long the stop takes then.
pub(crate) struct Worst {
    pub(crate) took: Duration,
    pub(crate) when: &'static str,
}

/// Nothing ends before it has to.
pub(super) fn stubborn(plan: &Plan) -> Script {
    Script {
        asked: asked(plan, &Script::default(), None).into_iter().collect(),
        leftover: Leftover::Kill,
        clients_hang: true,
        ..Script::default()
    }
}

/// The longest stop that is possible; `None` if it may last without end.
pub(crate) fn worst(plan: &Rc<Plan>) -> Option<Worst> {
    let stubborn = stubborn(plan);
    let mut cases = while_it_runs(plan, &stubborn)?;
    cases.extend(with_abort(plan, &stubborn));
    cases.extend(in_pre_start(plan, &stubborn));
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
    // Of equal ones the first, which is more likely.
    cases.into_iter().reduce(
        |worst, case| {
            if case.took > worst.took { case } else { worst }
        },
    )
}

/// What may go wrong once the command runs; `None` if a stop may last without end.
fn while_it_runs(plan: &Rc<Plan>, stubborn: &Script) -> Option<Vec<Worst>> {
    let ignores = play(plan, stubborn.clone(), None);
    if ignores.endless {
        return None;
    }
    let mut cases = vec![Worst {
        took: ignores.took(),
        when: "nothing but KILL ends the child and what it leaves behind, and hooks use up their time",
    }];
    let counts_requests = matches!(&plan.drain, Some(drain) if drain.ports != DrainPorts::None);
    // If KILL goes to the whole tree, no process is left to be asked and waited for.
    if let Some(at) = ignores.killed_at {
        cases.push(Worst {
            took: ends_before(plan, stubborn, at, ignores.t0),
            when: if counts_requests {
                "the child ends just before KILL, what it leaves behind ignores TERM, and a client does not take its answer"
            } else {
                "the child ends just before KILL, and what it leaves behind ignores TERM"
            },
        });
    }
    if plan.main_pid.is_some() {
        cases.push(Worst {
            took: comes_late(plan, stubborn),
            when: "the process that takes over (--main-pid) comes at the last moment and ends just before KILL, \
                and what it leaves behind ignores TERM",
        });
    }
    Some(cases)
}

fn ends() -> Event {
    Event::ChildExited(ExitStatus::Exited(0))
}

/// The child ends a moment before the ladder sends KILL; that may be at once.
fn ends_before(plan: &Rc<Plan>, stubborn: &Script, kill: Duration, t0: Duration) -> Duration {
    if kill > t0 {
        return play(plan, stubborn.clone(), Some((kill, ends()))).took();
    }
    let at_once = Script {
        ends_first: true,
        ..stubborn.clone()
    };
    play(plan, at_once, None).took()
}

/// The child has handed over before the request, and the ladder has to wait for the process that takes over.
fn comes_late(plan: &Rc<Plan>, stubborn: &Script) -> Duration {
    let heir_at = |at| Script {
        ends_first: true,
        heir_at: at,
        ..stubborn.clone()
    };
    let never = play(plan, heir_at(None), None);
    let given_up = never.records.iter().find_map(|(at, record)| {
        let is_end = matches!(record, Record::ChildExited { .. });
        is_end.then_some(*at)
    });
    let last_moment = heir_at(given_up);
    let ignores = play(plan, last_moment.clone(), None);
    let ended = ignores.killed_at.map(|at| (at, ends()));
    let ended = play(plan, last_moment, ended);
    ignores.took().max(ended.took()).max(never.took())
}

/// A stop that is asked for just after the child has missed its watchdog: one is under way then, which begins the ladder
/// with ABRT.
fn with_abort(plan: &Rc<Plan>, stubborn: &Script) -> Option<Worst> {
    plan.liveness.as_ref()?.watchdog()?;
    let ready = plan.readiness.iter().map(|_| Some(Duration::ZERO));
    let missed = Script {
        misses_watchdog: true,
        ready: ready.collect(),
        ..stubborn.clone()
    };
    let cases = while_it_runs(plan, &missed)?;
    let took = cases.iter().map(|case| case.took).max()?;
    Some(Worst {
        took,
        when: "the child has just missed its watchdog and gets ABRT first, and all that follows takes its longest",
    })
}

/// A stop that is asked for while the longest pre-start hook is running, which may finish: before the start, where nothing
/// else is there to be stopped, or in a replacement, where all else is as in a stop without it.
fn in_pre_start(plan: &Rc<Plan>, stubborn: &Script) -> Option<Worst> {
    let hooks = plan.pre_start.iter().enumerate();
    let (index, _) = hooks.max_by_key(|(_, hook)| hook.timeout)?;
    let hook = HookId {
        phase: HookPhase::PreStart,
        index,
    };
    let script = Script {
        hooks: vec![(hook, None, HookResult::TimedOut)],
        asked: VecDeque::new(),
        ..stubborn.clone()
    };
    // Once those before it have ended, at time 0.
    const BEGUN: Duration = Duration::from_nanos(1);
    let asks = Event::Signal(outside(asked(plan, &Script::default(), None)?));
    let played = play(plan, script, Some((BEGUN, asks)));
    Some(Worst {
        took: played.took().saturating_add(BEGUN),
        when: "a pre-start hook is running, hooks use up their time, and what they leave behind ignores TERM",
    })
}

/// The least grace that is safe for a worst case, in whole seconds.
///
/// The deadline is kept with a margin. Without a deadline a second is added, because the platform
/// began to count a moment before us.
pub(super) fn needed_seconds(plan: &Plan, took: Duration) -> u64 {
    const SECOND: Duration = Duration::from_secs(1);
    let needed = plan.deadline.unwrap_or(took.saturating_add(SECOND));
    let begun = u64::from(needed.subsec_nanos() > 0);
    // With 0 a platform sends KILL at once.
    needed.as_secs().saturating_add(begun).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Settings;
    use crate::words::duration;

    fn plan(options: &[(&'static str, &str)]) -> Rc<Plan> {
        let mut settings = Settings::default();
        for (name, text) in options {
            settings.set(name, text);
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
        assert_eq!(seconds(&[("left", "leave")]), Some(30.0));
        // KILL at once ends all; but the child may have ended a moment before, and then the others have their time.
        assert_eq!(seconds(&[("grace", "0")]), Some(2.0));
        assert_eq!(seconds(&[("grace", "0"), ("left", "wait")]), Some(2.0));
        assert_eq!(seconds(&[("grace", "0"), ("sweep-grace", "0")]), Some(0.0));
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
        // A pre-start hook of the next one has its time, what the longest leaves behind its grace, and a client two seconds.
        let replaces = [
            ("replace-on", "USR2"),
            ("listen", ":8080"),
            ("ready-when", "notify"),
            ("grace", "1s"),
            ("pre-start", "a"),
            ("pre-start", "b"),
            ("hook-timeout", "50s"),
        ];
        assert_eq!(seconds(&replaces), Some(50.0 + 2.0 + 2.0));
        // So has one before the start; the command does not follow.
        assert_eq!(seconds(&replaces[1..]), Some(50.0 + 2.0));
        let short = [("pre-start", "a"), ("grace", "9s")];
        assert_eq!(seconds(&short), Some(9.0 + 2.0));
        let bounded = [&replaces[1..], &[("deadline", "9s")]].concat();
        assert!(seconds(&bounded).is_some_and(|worst| worst <= 9.0));
        assert_eq!(
            seconds(&[("max-runtime", "9s"), ("grace", "1s")]),
            Some(1.0 + 2.0)
        );
    }

    #[test]
    fn the_one_that_takes_over_may_come_two_seconds_late() {
        let main_pid = ("main-pid", "file:/run/pid");
        let grace = ("grace", "1s");
        assert_eq!(seconds(&[main_pid, grace]), Some(2.0 + 1.0 + 2.0));
        // Hooks and drain go on meanwhile.
        let hook = [("pre-stop", "a"), ("hook-timeout", "3s"), grace, main_pid];
        assert_eq!(seconds(&hook), Some(3.0 + 2.0 + 1.0 + 2.0));
        // It had become ready long before.
        let ready = [
            ("ready-when", "tcp:80"),
            ("ready-timeout", "100ms"),
            grace,
            main_pid,
        ];
        assert_eq!(seconds(&ready), Some(2.0 + 1.0 + 2.0));
        let deadline = [("deadline", "10s"), main_pid];
        assert!(seconds(&deadline).is_some_and(|worst| worst <= 10.0));
    }

    /// It has the time of the first step for its core.
    #[test]
    fn abrt_comes_before_the_ladder_where_a_watchdog_was_missed_just_then() {
        let watchdog = ("live-when", "watchdog:500ms");
        let grace = ("grace", "4s");
        assert_eq!(seconds(&[watchdog, grace]), Some(4.0 + 4.0 + 2.0));
        let ready = [watchdog, grace, ("ready-when", "exec:true")];
        assert_eq!(seconds(&ready), Some(4.0 + 4.0 + 2.0));
        let steps = [watchdog, ("ladder", "TERM:3s,QUIT:1s,KILL")];
        assert_eq!(seconds(&steps), Some(3.0 + 3.0 + 1.0 + 2.0));
        // The one that takes over gets it as well.
        let heir = [watchdog, grace, ("main-pid", "file:/run/pid")];
        assert_eq!(seconds(&heir), Some(2.0 + 4.0 + 4.0 + 2.0));
        let looks = [("live-when", "file:/run/alive"), grace];
        assert_eq!(seconds(&looks), Some(4.0 + 2.0));
        let deadline = [watchdog, grace, ("deadline", "5s")];
        assert!(seconds(&deadline).is_some_and(|worst| worst <= 5.0));
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
}

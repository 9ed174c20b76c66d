//! Options that mean nothing without another one, or beside it: refused, with the way out, where they are
//! typed; passed over where a variable or the file says them, because there they are meant for many commands.

use super::reload::is_reloaded;
use super::{Settings, Source};
use crate::plan::drain::DrainPorts;
use crate::plan::{Plan, Step, StepAction, Stragglers};
use crate::words::fault::{Error, Fault};

/// Why an option has no effect.
enum Because {
    /// None of these is there.
    Missing(&'static [&'static str]),
    /// This one leaves nothing to it.
    Beside(&'static str),
}

/// An option that has no effect in a plan.
struct Idle {
    name: &'static str,
    because: Because,
    /// Something that was asked for will not happen; the others only measure what nobody has asked for.
    is_missed: bool,
    fault: Fault,
}

impl Settings {
    /// # Errors
    /// What was typed and has no effect. What a variable or the file says fails no start.
    pub(crate) fn refuse_idle(&self, plan: &Plan) -> Result<(), Error> {
        let is_typed = |name| {
            let value = self.all(name).next_back();
            value.is_some_and(|value| value.source == Source::Flag)
        };
        let is_refused = |idle: &Idle| match idle.because {
            // The next version of the file may have it.
            Because::Missing(others) => {
                plan.reload_on.is_empty() || !others.iter().any(|name| is_reloaded(name))
            }
            Because::Beside(other) => idle.is_missed || is_typed(other),
        };
        let mut idle = self.idle(plan);
        match idle.find(|idle| is_typed(idle.name) && is_refused(idle)) {
            Some(idle) => Err(self.error(idle.name, idle.fault)),
            None => Ok(()),
        }
    }

    /// What a variable or the file asks for and will not happen: worth a line, but no reason not to start.
    pub(crate) fn missed(&self, plan: &Plan) -> impl Iterator<Item = (&'static str, String)> {
        let missed = self.idle(plan).filter(|idle| idle.is_missed);
        missed.map(|idle| (idle.name, self.error(idle.name, idle.fault).to_string()))
    }

    /// All that changes nothing, and why.
    pub(crate) fn without_effect(
        &self,
        plan: &Plan,
    ) -> impl Iterator<Item = (&'static str, String)> {
        self.idle(plan)
            .map(|idle| (idle.name, self.error(idle.name, idle.fault).to_string()))
    }

    fn idle(&self, plan: &Plan) -> impl Iterator<Item = Idle> {
        all(self, plan).into_iter()
    }
}

/// All that is said and has no effect in this plan. What is not said costs no words.
fn all(settings: &Settings, plan: &Plan) -> Vec<Idle> {
    let mut all = Vec::new();
    let mut missing = |name, others: &'static [&'static str], is_missed, why: &str| {
        if settings.has(name) {
            all.push(Idle {
                name,
                because: Because::Missing(others),
                is_missed,
                fault: Fault::new(why).way_out(add(others)),
            });
        }
    };
    let drain = plan.drain.as_ref();
    let has_ports = drain.is_some_and(|drain| drain.ports != DrainPorts::None);
    let asks = drain.is_some_and(|drain| !drain.until.is_empty());
    if !has_ports && !asks {
        let others = &["drain-port", "drain-until"];
        missing("drain-timeout", others, false, "no request is waited for");
    }
    if !has_ports {
        let why = "no connection is looked at";
        missing("drain-quiet", &["drain-port"], false, why);
    }
    if plan.health.is_none() {
        let others = &["health-listen"];
        missing("not-ready-status", others, false, "there is no endpoint");
        let why = "nobody answers the checks that are to be counted";
        missing("drain-checks", others, true, why);
    }
    if !settings.has("drain-checks") {
        let others = &["drain-checks"];
        missing(
            "drain-checks-timeout",
            others,
            false,
            "no checks are counted",
        );
    }
    if plan.pre_start.is_empty() && plan.pre_stop.is_empty() && plan.post_stop.is_empty() {
        let others = &["pre-start", "pre-stop", "post-stop"];
        missing("hook-timeout", others, false, "there are no hooks");
    }
    if plan.readiness.is_none() {
        let why = "there is nothing to wait for";
        missing("ready-timeout", &["ready-when"], true, why);
    }
    if !settings.has("config") {
        let why = "there is no file to read again";
        missing("reload-on", &["config"], true, why);
    }
    let mut beside = |name, other, is_missed, why: &str, way_out: String| {
        if settings.has(name) {
            all.push(Idle {
                name,
                because: Because::Beside(other),
                is_missed,
                fault: Fault::new(why).way_out(way_out),
            });
        }
    };
    let leave_out = |what: &str| format!("leave it out, or {what}");
    if plan.stragglers == Stragglers::Leave {
        let why = "nothing that the child leaves behind is stopped";
        let way_out = leave_out("leave out --stragglers leave");
        beside("sweep-grace", "stragglers", false, why, way_out);
    }
    let mut steps = plan.ladder.iter().filter(|step| !step.is_kill());
    if steps.all(|step| step.says_wait) {
        let why = "each step of the ladder says itself how long it waits";
        let way_out = leave_out("leave out the wait of a step");
        beside("grace", "ladder", false, why, way_out);
    }
    if settings.switch("no-kill") == Ok(true) && plan.ladder.last().is_some_and(Step::is_kill) {
        let why = "the ladder ends with KILL";
        beside(
            "no-kill",
            "ladder",
            false,
            why,
            leave_out("leave out that step"),
        );
    }
    if let (Ok(Some(signal)), Ok(ladder)) = (settings.signal("stop-signal"), settings.ladder())
        && !ladder.iter().any(|step| step.action == StepAction::Same)
    {
        let why = "the ladder has no SAME, which it would stand in for";
        let way_out = format!("name {signal} in --ladder, or leave out one of the two");
        beside("stop-signal", "ladder", true, why, way_out);
    }
    all
}

/// `add --a, --b or --c`
fn add(others: &[&str]) -> String {
    let flags: Vec<String> = others.iter().map(|name| format!("--{name}")).collect();
    match flags.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("add {} or {last}", rest.join(", ")),
        _ => format!("add {}", flags.concat()),
    }
}

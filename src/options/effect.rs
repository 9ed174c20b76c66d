//! Options that mean nothing without another one, or beside it: refused, with the way out, where they are
//! typed; passed over where a variable or the file says them, because there they are meant for many commands.

use super::OPTIONS;
use super::definition::{Because, Idle, Opt};
use super::settings::{Settings, Source};
use crate::plan::Plan;
use crate::words::fault::{Error, Fault};

impl Settings {
    /// # Errors
    /// What was typed and has no effect. What a variable or the file says fails no start.
    pub(crate) fn refuse_idle(&self, plan: &Plan) -> Result<(), Error> {
        let is_typed = |option| {
            let value = self.last(option);
            value.is_some_and(|value| value.source == Source::Flag)
        };
        let is_refused = |idle: &Idle| match idle.because {
            // The next version of the file may have it.
            Because::Missing(others) => {
                plan.reload_on.is_empty() || !others.iter().any(|other| other.reload.is_some())
            }
            Because::Beside(other, _) => idle.is_missed || is_typed(other),
        };
        let mut idle = self.idle(plan);
        match idle.find(|(option, idle)| is_typed(option) && is_refused(idle)) {
            Some((option, idle)) => Err(self.error(option, self.fault(&idle))),
            None => Ok(()),
        }
    }

    /// What a variable or the file asks for and will not happen: worth a line, but no reason not to start.
    pub(crate) fn missed(&self, plan: &Plan) -> impl Iterator<Item = (&'static Opt, String)> {
        let missed = self.idle(plan).filter(|(_, idle)| idle.is_missed);
        missed.map(|(option, idle)| (option, self.error(option, self.fault(&idle)).to_string()))
    }

    /// All that changes nothing, and why.
    pub(crate) fn without_effect(
        &self,
        plan: &Plan,
    ) -> impl Iterator<Item = (&'static Opt, String)> {
        self.idle(plan)
            .map(|(option, idle)| (option, self.error(option, self.fault(&idle)).to_string()))
    }

    /// All that is written and has no effect in this plan.
    fn idle(&self, plan: &Plan) -> impl Iterator<Item = (&'static Opt, Idle)> {
        // Almost always nothing is written.
        let options = if self.is_empty() { &[] } else { OPTIONS };
        options.iter().filter_map(|option| {
            let idle = option.idle.filter(|_| self.has(option))?;
            (idle.when)(self, plan).then_some((*option, idle))
        })
    }

    fn fault(&self, idle: &Idle) -> Fault {
        let way_out = match idle.because {
            // It is there, in a form to which this means nothing.
            Because::Missing(others) if others.iter().any(|other| self.has(other)) => {
                "leave it out".to_owned()
            }
            Because::Missing(others) => add(others),
            Because::Beside(_, way_out) => way_out.to_owned(),
        };
        Fault::new(idle.why).way_out(way_out)
    }
}

/// `add --a, --b or --c`
fn add(others: &[&Opt]) -> String {
    let flags: Vec<String> = others
        .iter()
        .map(|option| format!("--{}", option.name))
        .collect();
    match flags.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("add {} or {last}", rest.join(", ")),
        _ => format!("add {}", flags.concat()),
    }
}

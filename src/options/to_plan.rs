//! From all that is written to the one `Plan`.

use super::settings::Settings;
use super::{OPTIONS, child, hooks, left, signals, stop, told};
use crate::plan::voice::Voice;
use crate::plan::{ChildSettings, Plan, Stdin, SuccessExit};
use crate::words::fault::Error;
use crate::words::signal::SignalSet;

impl Settings {
    /// The plan, every option parsed.
    ///
    /// # Errors
    /// The first value that cannot be what was meant, with its option, its place and the way out.
    pub(crate) fn plan(&self) -> Result<Plan, Error> {
        let mut plan = self.plan_of_no_options();
        // Almost always nothing is written, and the definitions stay where they are on the disk.
        if self.is_empty() {
            return Ok(plan);
        }
        for option in OPTIONS {
            if let Some(given) = self.given(option) {
                (option.put)(&given, &mut plan)?;
            }
        }
        Ok(plan)
    }

    /// What is done where nothing is written.
    fn plan_of_no_options(&self) -> Plan {
        Plan {
            ladder: stop::default_ladder(),
            stop_signal: None,
            stop_on: signals::default_stop_on(),
            escalate_on: signals::default_escalate_on(),
            named: SignalSet::default(),
            reload_on: SignalSet::default(),
            rewrite: Vec::new(),
            target: signals::DEFAULT_TARGET,
            deadline: None,
            max_runtime: None,
            wait: None,
            pre_start: Vec::new(),
            pre_stop: Vec::new(),
            post_stop: Vec::new(),
            hook_timeout: hooks::DEFAULT_TIMEOUT,
            readiness: None,
            liveness: None,
            main_pid: None,
            health: None,
            drain: None,
            sweep_grace: left::DEFAULT_SWEEP_GRACE,
            left: left::DEFAULT_LEFT,
            success_exit: SuccessExit::default(),
            clean_stop: false,
            stdin: Stdin::Inherit,
            subreaper: left::DEFAULT_SUBREAPER,
            cgroup: left::DEFAULT_CGROUP,
            parent_death_signal: None,
            child: ChildSettings::default(),
            sockets: Vec::new(),
            fd_store_max: 0,
            supervision: None,
            voice: Voice {
                level: told::DEFAULT_LEVEL.1,
                format: told::DEFAULT_FORMAT.1,
                reaped: false,
            },
            diagnostics: None,
            failure_codes: self.failure_codes,
            says_grace: false,
            keeps_files: false,
            as_pid1: self.as_pid1,
        }
    }

    /// Whether the plan can be carried out here, as far as that can be known before anything starts.
    ///
    /// # Errors
    /// What is not permitted, or not there, with its option.
    pub(crate) fn check(&self, plan: &mut Plan) -> Result<(), Error> {
        told::check(self)?;
        child::check(self, plan)
    }
}

//! Runs hooks, stop commands, looks and questions to the program as processes, each in a group of its own.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use super::Kernel;
use super::apart;
use super::cannot_start::FailedExec;
use crate::call::Listener;
use crate::kernel::hooks;
use crate::machine::{Event, Facts, HookId};
use crate::plan::call::Call;
use crate::plan::{HookKind, HookPhase, StepAction};
use crate::record::HookResult;
use crate::sys::fork::Said;
use crate::sys::spawn::{Directory, Null, SetupStep};
use crate::sys::{error_text, fork, signals, spawn};
use crate::words::signal::Signal;

/// A process of ours that is not the main child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Job {
    Hook(HookId),
    StopCommand {
        step: usize,
    },
    /// A look at a `--wait-for`.
    Wait {
        condition: usize,
        look: u32,
    },
    /// A look whether the child is ready.
    Probe {
        look: u32,
    },
    /// A look whether the child is alive.
    Watch {
        look: u32,
    },
    /// A question about one of `Asking::asks`.
    Ask {
        index: usize,
        look: u32,
    },
    /// A look that was waited for in vain.
    Late,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hook(hook) => write!(f, "{} hook {}", hook.phase.name(), hook.index + 1),
            Self::StopCommand { step } => write!(f, "command of step {}", step + 1),
            Self::Wait { condition, look } => {
                write!(f, "look {look} at condition {} of the wait", condition + 1)
            }
            Self::Probe { look } => write!(f, "look {look} at readiness"),
            Self::Watch { look } => write!(f, "look {look} at liveness"),
            Self::Ask { index, look } => write!(f, "question {look} of condition {}", index + 1),
            Self::Late => f.write_str("late look"),
        }
    }
}

impl Kernel {
    pub(super) fn run_hook(&mut self, hook: HookId, facts: &Facts) {
        let plan = Rc::clone(&self.plan);
        let Some(wanted) = plan.hooks(hook.phase).get(hook.index) else {
            return;
        };
        // What one that was given up has said is not of this one.
        self.life.hook_said = None;
        let started = match &wanted.kind {
            HookKind::Command(argv) => {
                let environment =
                    hooks::environment(facts, &[&self.told()[..], &wanted.env].concat());
                self.run_job(Job::Hook(hook), argv, &environment)
            }
            HookKind::Call(call) => {
                let bodies = self.bodies.clone();
                // Only a generation that is alive can be meant: at the other times it would be asked in vain.
                let which = match hook.phase {
                    HookPhase::PreStop => self.listener(),
                    HookPhase::PreStart | HookPhase::PostStop => Listener::Serving,
                };
                let teller = self.teller.clone();
                let generation = facts.generation.map(|generation| generation.number);
                let said = self.ask_forked(Job::Hook(hook), &|| {
                    // Put together in the copy: it costs PID 1 nothing.
                    let body = match call {
                        Call::Http(request) => request.body.as_ref(),
                        Call::Udp(_) | Call::Goodbye(_) => None,
                    };
                    let filled = body.zip(bodies.as_ref());
                    let payload = filled.map(|(body, bodies)| bodies(body, generation));
                    hooks::call(
                        wanted,
                        call,
                        payload.as_ref(),
                        hook.phase,
                        which,
                        teller.as_ref(),
                    )
                });
                said.map(|said| self.life.hook_said = said)
            }
        };
        if let Err(why) = started {
            let result = HookResult::Failed(why);
            self.queue.push_back(Event::HookEnded { hook, result });
        }
    }

    /// A hook that we carry out ourselves is not tried again when it fails; a program has no such habit.
    pub(super) fn try_no_more(&mut self, hook: HookId) {
        let wanted = self.plan.hooks(hook.phase).get(hook.index);
        if !wanted.is_some_and(|hook| matches!(hook.kind, HookKind::Call(_))) {
            return;
        }
        if let Some(pid) = self.life.jobs.find(|job| *job == Job::Hook(hook)) {
            signals::send_if_there(pid, Signal::TERM);
        }
    }

    pub(super) fn run_stop_command(&mut self, step: usize, facts: &Facts) {
        let plan = Rc::clone(&self.plan);
        let Some(StepAction::Exec(argv)) = plan.ladder.get(step).map(|step| &step.action) else {
            return;
        };
        let environment = hooks::environment(facts, &self.told());
        if let Err(why) = self.run_job(Job::StopCommand { step }, argv, &environment) {
            let result = HookResult::Failed(why);
            self.queue
                .push_back(Event::StopCommandEnded { step, result });
        }
    }

    pub(super) fn run_job(
        &mut self,
        job: Job,
        command: &[OsString],
        environment: &[CString],
    ) -> Result<(), String> {
        // Whatever the attempt has left, a zombie included: the machine will ask for the processes
        // that are left.
        self.life.told_none = false;
        self.reaping.is_due = true;
        let argv = spawn::words(command).map_err(|_| "an argument holds a NUL byte".to_owned())?;
        let directory = self.start.directory.as_ref();
        let options = spawn::Options {
            environment: Some(environment),
            own_group: true,
            close_above_stderr: true,
            null: match job {
                // The output of a check is of no use, and there are many checks.
                Job::Wait { .. }
                | Job::Probe { .. }
                | Job::Watch { .. }
                | Job::Ask { .. }
                | Job::Late => Null::All,
                // Our input is the child's.
                Job::Hook(_) | Job::StopCommand { .. } => Null::Input,
            },
            directory: directory.map_or(Directory::Inherited, |fd| {
                Directory::Descriptor(fd.as_raw_fd())
            }),
            patience: Some(apart::PATIENCE),
            ..spawn::Options::default()
        };
        let path = path_of(Some(environment));
        let mut inherited = self.start.inherited;
        if self.terminal.is_some() {
            inherited = inherited.in_background();
        }
        match spawn::spawn(&argv, path.as_deref(), &inherited, &options) {
            Ok(pid) => {
                tracing::debug!("{job}: pid {pid} runs {command:?}");
                self.life.jobs.begin(pid, job);
                Ok(())
            }
            Err(failure) if failure.stage == SetupStep::Exec => Err(FailedExec {
                command,
                errno: failure.errno,
                path: path.as_deref(),
                directory: None,
                typed: None,
            }
            .told()),
            Err(failure) => Err(error_text(failure.errno)),
        }
    }

    /// Runs it in a copy of this process, which may have something to say besides its exit code.
    pub(super) fn ask_forked(
        &mut self,
        job: Job,
        work: &dyn Fn() -> (u8, String),
    ) -> Result<Option<Said>, String> {
        // As in `run_job`.
        self.life.told_none = false;
        self.reaping.is_due = true;
        let (pid, said) = fork::ask(work).map_err(error_text)?;
        tracing::debug!("{job}: pid {pid} is a copy of stepdown");
        self.life.jobs.begin(pid, job);
        Ok(said)
    }

    pub(super) fn end_job(&mut self, job: Job) {
        self.end_jobs(|known| *known == job);
    }

    /// Kills them with their whole groups.
    pub(super) fn end_jobs(&mut self, chosen: impl Fn(&Job) -> bool) {
        for pid in self.life.jobs.give_up(chosen) {
            // The leader is not reaped yet, so its group is still its own.
            signals::send_if_there(-pid, Signal::KILL);
            self.life.child.killed_job = true;
        }
    }
}

/// The PATH of an environment, ours where there is none of its own.
pub(super) fn path_of(environment: Option<&[CString]>) -> Option<OsString> {
    match environment {
        None => std::env::var_os("PATH"),
        Some(entries) => entries.iter().find_map(|entry| {
            let path = entry.as_bytes().strip_prefix(b"PATH=")?;
            Some(OsStr::from_bytes(path).to_owned())
        }),
    }
}

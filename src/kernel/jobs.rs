//! Runs hooks, stop commands, looks and questions to the program as processes, each in a group of its own.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use super::Kernel;
use super::cannot_start::FailedExec;
use crate::kernel::hooks;
use crate::machine::{Event, Facts, HookId};
use crate::plan::call::Call;
use crate::plan::{HookKind, StepAction};
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
        }
    }
}

/// The processes of ours that are not the main child.
#[derive(Default)]
pub(super) struct Jobs {
    /// Each is the leader of its own process group.
    pub(super) running: Vec<(i32, Job)>,
    /// The process groups of those that got KILL: what is left of them is dying.
    pub(super) given_up: Vec<i32>,
}

impl Jobs {
    /// Whether it is the process group of one that was not given up.
    pub(super) fn has_group(&self, group: i32) -> bool {
        self.running.iter().any(|(job, _)| *job == group)
    }

    /// Takes the one with this pid, which has ended.
    pub(super) fn take(&mut self, pid: i32) -> Option<Job> {
        let index = self.running.iter().position(|(job, _)| *job == pid)?;
        Some(self.running.swap_remove(index).1)
    }

    /// What the next life of the command has to do with them. One that got KILL may hang in the kernel; when it ends
    /// at last, that is not the end of the hook of the same number in the life that it is then.
    pub(super) fn of_next_life(mut self) -> Self {
        self.running.retain(|(pid, _)| !self.given_up.contains(pid));
        self
    }
}

impl Kernel {
    pub(super) fn run_hook(&mut self, hook: HookId, facts: &Facts) {
        let plan = Rc::clone(&self.plan);
        let Some(wanted) = plan.hooks(hook.phase).get(hook.index) else {
            return;
        };
        let started = match &wanted.kind {
            HookKind::Command(argv) => {
                let environment =
                    hooks::environment(facts, &[&self.told()[..], &wanted.env].concat());
                self.run_job(Job::Hook(hook), argv, &environment)
            }
            HookKind::Call(call) => {
                let bodies = self.bodies.clone();
                self.run_forked(Job::Hook(hook), || {
                    // Put together in the copy: it costs PID 1 nothing.
                    let body = match call {
                        Call::Http(request) => request.body.as_ref(),
                        Call::Udp(_) | Call::Goodbye(_) => None,
                    };
                    let payload = body.zip(bodies).map(|(body, bodies)| bodies(body));
                    hooks::call(wanted, call, payload.as_ref(), hook.phase)
                })
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
        let is_its = |(_, job): &&(i32, Job)| *job == Job::Hook(hook);
        if let Some((pid, _)) = self.life.jobs.running.iter().find(is_its) {
            signals::send_if_there(*pid, Signal::TERM);
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
                Job::Wait { .. } | Job::Probe { .. } | Job::Watch { .. } | Job::Ask { .. } => {
                    Null::All
                }
                // Our input is the child's.
                Job::Hook(_) | Job::StopCommand { .. } => Null::Input,
            },
            directory: directory.map_or(Directory::Inherited, |fd| {
                Directory::Descriptor(fd.as_raw_fd())
            }),
            ..spawn::Options::default()
        };
        let path = path_of(Some(environment));
        match spawn::spawn(&argv, path.as_deref(), &self.start.inherited, &options) {
            Ok(pid) => {
                tracing::debug!("{job}: pid {pid} runs {command:?}");
                self.life.jobs.running.push((pid, job));
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

    pub(super) fn run_forked(&mut self, job: Job, work: impl FnOnce() -> u8) -> Result<(), String> {
        self.forked(job, || Ok((fork::run(work)?, ())))
    }

    /// As `run_forked`, for what has something to say besides its exit code.
    pub(super) fn ask_forked(
        &mut self,
        job: Job,
        work: impl FnOnce() -> (u8, String),
    ) -> Result<Option<Said>, String> {
        self.forked(job, || fork::ask(work))
    }

    fn forked<T>(
        &mut self,
        job: Job,
        fork: impl FnOnce() -> Result<(i32, T), i32>,
    ) -> Result<T, String> {
        // As in `run_job`.
        self.life.told_none = false;
        self.reaping.is_due = true;
        let (pid, said) = fork().map_err(error_text)?;
        tracing::debug!("{job}: pid {pid} is a copy of stepdown");
        self.life.jobs.running.push((pid, job));
        Ok(said)
    }

    pub(super) fn end_job(&mut self, job: Job) {
        self.end_jobs(|known| *known == job);
    }

    /// Kills them with their whole groups. What is left of those has been dealt with: it is nothing that
    /// the child has left behind.
    pub(super) fn end_jobs(&mut self, chosen: impl Fn(&Job) -> bool) {
        for (pid, _) in self.life.jobs.running.iter().filter(|(_, job)| chosen(job)) {
            // The leader is not reaped yet, so its group is still its own.
            signals::send_if_there(-pid, Signal::KILL);
            self.life.child.sent_kill = true;
            self.life.jobs.given_up.push(*pid);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::HookPhase;

    #[test]
    fn a_hook_that_was_given_up_is_none_of_the_next_life() {
        let (phase, index) = (HookPhase::PreStart, 0);
        let job = Job::Hook(HookId { phase, index });
        let jobs = Jobs {
            running: vec![(7, job), (8, Job::Probe { look: 1 })],
            given_up: vec![7],
        };
        let mut jobs = jobs.of_next_life();
        assert_eq!(jobs.take(7), None);
        assert_eq!(jobs.take(8), Some(Job::Probe { look: 1 }));
        assert_eq!(jobs.given_up, [7], "what is left of it is no leftover");
    }
}

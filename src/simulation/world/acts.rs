//! Carries out the actions of the machine, as `kernel` does.

use std::mem;
use std::rc::Rc;
use std::time::Duration;

use super::life::{Connections, Life, Look, LookAt, Purpose};
use super::processes::{KILLED, Stuck, US};
use super::{Coming, Job, World};
use crate::machine::{Action, Event, HookId, Unopened};
use crate::options::reload::reloaded;
use crate::options::{OPTIONS, Opt};
use crate::plan::HookKind;
use crate::plan::call::Call;
use crate::plan::drain::DrainPorts;
use crate::plan::readiness::ReadyWhen;
use crate::plan::reload::Reload;
use crate::record::{ExitStatus, HookResult, StartFailure};
use crate::words::signal::Signal;

const STATUSES: [ExitStatus; 10] = [
    ExitStatus::Exited(0),
    ExitStatus::Exited(0),
    ExitStatus::Exited(0),
    ExitStatus::Exited(1),
    ExitStatus::Exited(3),
    ExitStatus::Exited(78),
    ExitStatus::Exited(143),
    ExitStatus::Killed {
        signal: Signal::ABRT,
        core: true,
    },
    ExitStatus::Killed {
        signal: Signal::TERM,
        core: false,
    },
    KILLED,
];

impl World {
    pub(super) fn carry_out(&mut self, action: Action) {
        let now = self.now;
        match action {
            Action::WaitFor { condition, .. } => {
                let look = Look::new(LookAt::Wait(condition), now, now);
                self.life.looks.push(look);
            }
            Action::EndWait => {
                self.stop_looks(|at| matches!(at, LookAt::Wait(_)));
                self.life.told_none = false;
                self.reaping = true;
            }
            Action::RunHook { hook, .. } => self.run_hook(hook),
            Action::TryNoMore(hook) => self.try_no_more(hook),
            Action::EndHook(hook) => self.end_jobs(|job| *job == Job::Hook(hook)),
            Action::Start => self.start(),
            Action::Send { target, signal } => self.send(target, signal),
            Action::Continue(target) => self.continue_stopped(target),
            Action::WriteStdin { .. } => self.write(false),
            Action::CloseStdin => self.write(true),
            Action::RunStopCommand { step, .. } => {
                if self.answers.one_in(8) {
                    let result = HookResult::Failed("not found".to_owned());
                    self.life.told_none = false;
                    self.reaping = true;
                    return self
                        .queue
                        .push_back(Event::StopCommandEnded { step, result });
                }
                let job = self.start_job(Job::StopCommand { step });
                self.works(job);
            }
            Action::EndStopCommand { step } => {
                self.end_jobs(|job| *job == Job::StopCommand { step });
            }
            Action::AwaitReady(_) => self.await_ready(),
            Action::Watch(_) => {
                let live = self.plan.liveness.as_ref();
                let every = live.map_or(Duration::ZERO, |live| live.every);
                self.life.looks.retain(|look| look.at != LookAt::Live);
                self.life
                    .looks
                    .push(Look::new(LookAt::Live, now, now + every));
            }
            Action::Ready => self.told_ready = true,
            Action::NotReady | Action::StopLooking => {
                self.stop_looks(|at| matches!(at, LookAt::Ready | LookAt::Live));
            }
            Action::StartDrain => self.start_drain(),
            Action::AskProgram { .. } => self.ask_program(),
            Action::LookAgain => {
                self.life.connections.told = None;
                self.life.connections.next = Duration::ZERO;
                self.ask_again();
            }
            Action::EndDrain => {
                self.life.connections.purpose = Purpose::None;
                if self
                    .life
                    .looks
                    .iter()
                    .any(|look| matches!(look.at, LookAt::Ask(_)))
                {
                    self.stop_looks(|at| matches!(at, LookAt::Ask(_)));
                }
            }
            Action::Flush => self.flush(),
            Action::Sweep(signal) => {
                let processes = self.signal_all(signal);
                self.life.sent_kill |= signal == Signal::KILL;
                self.reaping = true;
                self.queue.push_back(Event::Swept { signal, processes });
            }
            Action::LookWhoIsThere { .. } => self.look_who_is_there(),
            Action::TellLeft(whom) => self.tell_left(whom),
            Action::Reload => self.reload(),
            Action::Adopt(plan) => {
                if !self.is_aside {
                    self.passed_on = plan.passed_on();
                }
                self.plan = plan;
            }
            Action::SendBeyondGroup(signal) => {
                let pids = self.pids(|one| one.group != US && self.is_of_this(one));
                self.deliver_to(&pids, signal);
            }
            Action::Suspend(_) => self.suspend(),
            Action::FindHeir => self.find_heir(),
            Action::EndSearch => self.life.heir.search = None,
            Action::LookWhoListens => {
                if self.answers.one_in(4) {
                    self.queue.push_back(Event::LeftListening(8080));
                }
            }
            Action::NextGeneration { number } => self.next_generation(number),
            Action::OpenBeside { generation } => self.open_beside(generation),
            Action::Beside(action) => {
                self.for_beside(|world| world.carry_out(*action));
            }
            Action::Switch => {
                let generation = self.life.number;
                let told = mem::take(&mut self.queue);
                self.queue = told.into_iter().map(|event| event.of(generation)).collect();
                self.swap();
                self.passed_on = self.plan.passed_on();
            }
            Action::CloseBeside => {
                if let Some(beside) = self.beside.take() {
                    self.life.jobs.outlive(beside.jobs);
                }
            }
            Action::RestoreTerminal | Action::CloseSockets => {}
            Action::Record(_) | Action::Finish(_) => {}
        }
    }

    fn run_hook(&mut self, hook: HookId) {
        self.life.told_none = false;
        self.reaping = true;
        if self.answers.one_in(10) {
            let result = HookResult::Failed("Resource temporarily unavailable".to_owned());
            return self.queue.push_back(Event::HookEnded { hook, result });
        }
        let job = self.start_job(Job::Hook(hook));
        self.works(job);
    }

    /// A hook or a stop command takes its time, hangs, leaves somebody behind.
    fn works(&mut self, job: i32) {
        let now = self.now;
        match self.answers.below(8) {
            0..=2 => self.comes(now, Coming::Ends(job, ExitStatus::Exited(0))),
            3 | 4 => {
                let at = now + self.answers.time();
                self.comes(at, Coming::Ends(job, ExitStatus::Exited(0)));
            }
            5 => {
                let at = now + self.answers.short_time();
                self.comes(at, Coming::Ends(job, ExitStatus::Exited(1)));
            }
            6 => {
                let group = if self.answers.one_in(2) {
                    Some(job)
                } else {
                    None
                };
                self.spawn(job, group);
                let at = now + self.answers.short_time();
                self.comes(at, Coming::Ends(job, ExitStatus::Exited(0)));
            }
            _ => {}
        }
    }

    /// A call that we make ourselves is not tried again.
    fn try_no_more(&mut self, hook: HookId) {
        let wanted = self.plan.hooks(hook.phase).get(hook.index);
        let is_call = wanted.is_some_and(|hook| match &hook.kind {
            HookKind::Call(Call::Http(_) | Call::Udp(_) | Call::Goodbye(_)) => true,
            HookKind::Command(_) => false,
        });
        let its = self.life.jobs.find(|job| *job == Job::Hook(hook));
        if let (true, Some(pid)) = (is_call, its) {
            self.ends(pid, ExitStatus::Exited(1));
        }
    }

    fn start(&mut self) {
        self.life.told_none = false;
        self.reaping = true;
        self.life.heir.named = None;
        if self.children.one_in(24) {
            let code = self.children.of(&[127, 126, 125]);
            let message = "it cannot be started".to_owned();
            let failure = StartFailure { code, message };
            return self.queue.push_back(Event::StartFailed(failure));
        }
        let group = self.terminal.then_some(US);
        let pid = self.spawn(US, group);
        let ignores = self.ignores;
        if let Some(one) = self.process(pid) {
            one.ignores = ignores;
        }
        self.life.child = Some(pid);
        self.life.relay = true;
        self.queue.push_back(Event::Started { pid });
        self.child_lives(pid);
    }

    /// What the child does by itself.
    fn child_lives(&mut self, pid: i32) {
        let (now, number) = (self.now, self.life.number);
        let names = self.plan.main_pid.is_some() && !self.children.one_in(4);
        match self.children.below(8) {
            6 => {
                let (at, status) = (
                    now + self.children.short_time(),
                    self.children.of(&STATUSES),
                );
                self.comes(at, Coming::Ends(pid, status));
            }
            7 => {
                let (at, status) = (now + self.children.time(), self.children.of(&STATUSES));
                self.comes(at, Coming::Ends(pid, status));
            }
            _ if names && self.children.one_in(2) => {
                let at = now + self.children.short_time();
                self.comes(at, Coming::Ends(pid, ExitStatus::Exited(0)));
            }
            _ => {}
        }
        for _ in 0..self.children.below(3) {
            self.forks(pid);
        }
        if self.children.one_in(24) {
            self.hangs(pid);
        }
        if self.children.one_in(6) {
            let at = now + self.children.time();
            self.comes(at, Coming::Forks(pid));
        }
        if names {
            let at = now + self.children.short_time();
            self.comes(at, Coming::Names(number));
        }
        if self.life.hears {
            if !self.children.one_in(8) {
                let at = now + self.children.short_time();
                self.comes(at, Coming::SaysReady(number));
            }
            let live = self.plan.liveness.as_ref();
            if let Some(within) = live.and_then(|live| live.watchdog()) {
                self.comes(now + within / 2, Coming::Beats(number));
            }
            if self.children.one_in(3) {
                let at = now + self.children.time();
                self.comes(at, Coming::Says(number));
            }
        }
    }

    /// It hangs in the kernel from now on, for a while or for ever.
    pub(super) fn hangs(&mut self, pid: i32) {
        let now = self.now;
        let until = now + self.children.time();
        let for_ever = self.children.one_in(3);
        let Some(one) = self.living(pid) else {
            return;
        };
        one.stuck = if for_ever {
            Stuck::ForEver
        } else {
            Stuck::Until(until)
        };
        self.seen.stuck += 1;
        if !for_ever {
            self.comes(until, Coming::Unsticks(pid));
        }
    }

    /// It starts another process: a worker, one in a session of its own, or one whose parent has gone.
    pub(super) fn forks(&mut self, pid: i32) {
        let Some(parent) = self.living(pid) else {
            return;
        };
        if parent.stopped || parent.hangs() {
            return;
        }
        let (group, generation) = (parent.group, parent.generation);
        if self.beside.is_some() && self.life.number != generation {
            self.for_beside(|world| world.forks_now(pid, group));
        } else {
            self.forks_now(pid, group);
        }
    }

    fn forks_now(&mut self, pid: i32, group: i32) {
        let own_session = self.children.one_in(3);
        let is_orphan = self.children.one_in(4);
        if is_orphan && !(self.plan.as_pid1 || self.plan.subreaper) {
            self.escaped = true;
            return;
        }
        let parent = if is_orphan { US } else { pid };
        let new = self.spawn(parent, Some(group).filter(|_| !own_session));
        match self.children.below(12) {
            8 => self.hangs(new),
            9 | 10 => {
                let (at, status) = (self.now + self.children.time(), self.children.of(&STATUSES));
                self.comes(at, Coming::Ends(new, status));
            }
            11 => {
                if let Some(one) = self.process(new) {
                    one.ignores.insert(Signal::INT);
                    one.ignores.insert(Signal::TERM);
                }
            }
            _ => {}
        }
    }

    /// A line for the child, or the end of its input.
    fn write(&mut self, closes: bool) {
        if !self.life.relay {
            let why = "the child's standard input is closed already".to_owned();
            return self.queue.push_back(Event::Trouble(why));
        }
        self.life.relay = !closes;
        let after = self.reactions.time();
        if let (true, Some(child)) = (self.reactions.one_in(2), self.life.child) {
            self.comes(self.now + after, Coming::Ends(child, ExitStatus::Exited(0)));
        }
    }

    fn await_ready(&mut self) {
        let when = self
            .plan
            .readiness
            .as_ref()
            .map(|readiness| &readiness.when);
        if matches!(when, None | Some(ReadyWhen::Notify)) {
            let why = "the child has not said READY=1".to_owned();
            return self.queue.push_back(Event::NotYetReady(why));
        }
        let look = Look::new(LookAt::Ready, self.now, self.now);
        self.life.looks.push(look);
    }

    fn start_drain(&mut self) {
        let drain = self.plan.drain.as_ref();
        if drain.is_none_or(|drain| drain.ports == DrainPorts::None) {
            return;
        }
        let requests = self.answers.below(4);
        self.life.connections = Connections {
            purpose: Purpose::Drain,
            requests,
            ..Connections::default()
        };
    }

    fn flush(&mut self) {
        let ends_with_us = self.plan.as_pid1 && self.beside.is_none();
        let looks = if ends_with_us {
            self.answers.below(6)
        } else {
            0
        };
        let connections = &mut self.life.connections;
        connections.next = Duration::ZERO;
        connections.purpose = match looks {
            // A client that takes nothing.
            5 => Purpose::None,
            looks => Purpose::Flush(looks),
        };
    }

    fn reload(&mut self) {
        if self.answers.one_in(4) {
            let why = "stepdown.toml:1:1: it cannot be read".to_owned();
            return self.queue.push_back(Event::ReloadRefused(why));
        }
        let (before, fresh) = (self.options.settings(), self.options.settings_later());
        let plan = fresh.plan().map_err(|error| error.to_string());
        let plan = plan.and_then(|plan| reloaded(&self.plan, &plan).map_err(str::to_owned));
        let differs = |option: &&'static Opt| !before.says_the_same(&fresh, option);
        let changed = OPTIONS.iter().copied().filter(differs);
        let (changed, needs_restart): (Vec<&Opt>, Vec<&Opt>) =
            changed.partition(|option| option.reload.is_some());
        self.queue.push_back(match plan {
            Ok(plan) => Event::Reloaded(Box::new(Reload {
                plan,
                changed: changed.iter().map(|option| option.name).collect(),
                needs_restart: needs_restart.iter().map(|option| option.name).collect(),
            })),
            Err(why) => Event::ReloadRefused(why),
        });
    }

    /// We stop, and are continued with the child.
    fn suspend(&mut self) {
        let slept = self.answers.time();
        self.loses(slept);
        if let Some(child) = self.life.child {
            let group = self.process(child).map_or(child, |one| one.group);
            for pid in self.pids(|one| one.group == group) {
                self.deliver(pid, Signal::CONT);
            }
        }
        self.queue.push_back(Event::Resumed(slept));
    }

    /// Time goes by in which stepdown does nothing.
    pub(super) fn loses(&mut self, time: Duration) {
        self.now += time;
        self.lost += time;
        self.lost_at = self.now;
    }

    fn next_generation(&mut self, number: u32) {
        let last = mem::take(&mut self.life);
        self.life = Life {
            number,
            hears: last.hears,
            jobs: last.jobs.of_next_life(),
            told_none: last.told_none,
            ..Life::default()
        };
        self.passed_on = self.plan.passed_on();
        let beside = self.beside.as_ref().map(|beside| beside.number);
        self.queue.append(&mut self.words);
        self.queue.retain(|event| event.is_for_next(beside));
    }

    fn open_beside(&mut self, generation: u32) {
        let refused = if self.answers.one_in(16) {
            Some(Unopened::Never("no BPF for SO_REUSEPORT".to_owned()))
        } else if self.answers.one_in(16) {
            Some(Unopened::NotNow("no descriptor is left".to_owned()))
        } else {
            None
        };
        if let Some(why) = refused {
            return self.queue.push_back(Event::CannotOpenBeside(why));
        }
        self.beside = Some(Box::new(Life {
            number: generation,
            plan: Some(Rc::clone(&self.plan)),
            hears: self.life.hears,
            told_none: true,
            ..Life::default()
        }));
        self.queue.push_back(Event::OpenedBeside);
    }
}

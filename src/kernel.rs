//! The real world: carries out the machine's actions with syscalls, and reports events to it.
//!
//! One thread, and no descriptor, timer or runtime that was not asked for. While nothing but signals
//! and children can happen, waiting is one `rt_sigtimedwait`; where input has to be relayed the reactor
//! waits instead, for the same signals.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::unistd::getppid;

use crate::drive::World;
use crate::kernel::notify::{Events, Hearing};
use crate::kernel::upward::Upward;
use crate::machine::{Action, Event};
use crate::options::reload::Reloader;
use crate::plan::call::{Body, Payload};
use crate::plan::liveness::Liveness;
use crate::plan::{Plan, StepAction};
use crate::reactor::{Reactor, Wake};
use crate::record::Record;
use crate::sys::signals::{self, Inherited};
use crate::sys::steering::Steering;
use crate::sys::terminal::Terminal;
use crate::sys::{clock, descriptors, error_text};
use crate::words::signal::{Signal, SignalSet};
use child::Start;
use jobs::Job;
use life::Life;
use reaping::Reaping;
use relay::Order;

mod apart;
mod asking;
mod beside;
mod cannot_start;
mod cgroup;
mod child;
mod fd_store;
#[cfg(test)]
pub(crate) mod fuzz;
mod heir;
pub(crate) mod hooks;
mod job_control;
mod jobs;
mod life;
mod looks;
mod memory;
pub(crate) mod notify;
pub(crate) mod probe;
mod readiness;
mod reaping;
mod receiving;
mod relay;
mod reload;
mod sending;
mod sockets;
mod telling;
mod upward;
mod waiting;
mod watching;

/// See the module's first sentence.
pub(crate) struct Kernel {
    plan: Rc<Plan>,
    began: Instant,
    /// Our parent at the start; another parent later means that it has ended.
    parent: i32,
    own_pid: i32,
    start: Start,
    /// The generation that serves.
    life: Life,
    /// The other one, while two are alive.
    beside: Option<Box<Life>>,
    /// The two have changed places: it is the turn of the one beside.
    is_aside: bool,
    reaping: Reaping,
    /// How new connections are to be steered, and when that is tried again.
    unsteered: Option<(Steering, Duration)>,
    /// What was taken since something has been due.
    overdue: u32,
    /// The last wait was much longer than it was to be.
    was_held_up: bool,
    queue: VecDeque<Event>,
    /// `Plan::passed_on`.
    passed_on: SignalSet,
    terminal: Option<Terminal>,
    reactor: Option<Reactor>,
    /// The service manager that started us.
    upward: Upward,
    /// When it is told again what it has not taken.
    unsaid_until: Option<Duration>,
    told_no_proc: bool,
    memory: memory::OomKills,
    /// There only with `--reload-on`.
    reloader: Option<Reloader>,
    /// There only where a hook may have a body.
    bodies: Option<Bodies>,
    teller: Option<Teller>,
}

/// After so many children the others get their turn: orphans may come faster than they can be reaped.
const IN_A_ROW: u32 = 256;

/// Tells a record at once, in a copy of this process.
pub(crate) type Teller = Rc<dyn Fn(Record)>;

/// Puts together what a hook of this generation sends.
pub(crate) type Bodies = Rc<dyn Fn(&Body, Option<u32>) -> Payload>;

impl Kernel {
    pub(crate) fn new(plan: Rc<Plan>, command: Vec<OsString>, mut inherited: Inherited) -> Self {
        inherited.make_children_waitable();
        let own_pid = i32::try_from(std::process::id()).unwrap_or(0);
        // Without it orphans escape to another reaper; nothing else depends on it.
        let subreaper = if own_pid != 1 && plan.subreaper {
            nix::sys::prctl::set_child_subreaper(true)
        } else {
            Ok(())
        };
        let parent = getppid().as_raw();
        let start = Start {
            command,
            inherited,
            descriptors: plan
                .opens_before_start()
                .then(descriptors::InheritedDescriptors::find),
            last: Vec::new(),
            directory: if plan.runs_commands() {
                descriptors::hold_directory()
            } else {
                None
            },
            sockets: sockets::Sockets::default(),
            input: relay::Input::default(),
        };
        let mut kernel = Self {
            began: Instant::now(),
            parent,
            own_pid,
            start,
            life: Life {
                number: 1,
                ..Life::default()
            },
            beside: None,
            is_aside: false,
            reaping: Reaping::default(),
            unsteered: None,
            overdue: 0,
            was_held_up: false,
            queue: VecDeque::new(),
            passed_on: plan.passed_on(),
            terminal: Terminal::open(),
            reactor: None,
            // Where another tool's place is taken, which has no stop sequence, the service manager hears
            // what it would hear from that tool: nothing.
            upward: if plan.stop_on.is_empty() && plan.readiness.is_none() {
                Upward::default()
            } else {
                Upward::from_environment()
            },
            unsaid_until: None,
            told_no_proc: false,
            memory: memory::OomKills::default(),
            reloader: None,
            bodies: None,
            teller: None,
            plan,
        };
        if let Err(errno) = subreaper {
            let why = error_text(errno as i32);
            kernel.trouble(format!(
                "no subreaper: {why}: processes that lose their parent escape the stop"
            ));
        }
        kernel.watch_parent();
        if kernel.plan.runs_commands() || kernel.plan.health.is_some() {
            kernel.watch_memory();
        }
        kernel
    }

    /// Variables for the child, the hooks and the stop commands.
    pub(crate) fn tell_last(&mut self, last: Vec<(OsString, OsString)>) {
        self.start.last = last;
    }

    /// What fills the bodies of HTTP hooks; it is called in a copy of this process.
    pub(crate) fn fill_bodies(&mut self, bodies: Bodies) {
        self.bodies = Some(bodies);
    }

    /// What tells what happens in a copy of this process.
    pub(crate) fn tell_in_copies(&mut self, teller: Teller) {
        self.teller = Some(teller);
    }

    /// Closes nothing after the start: the tests in this process have open descriptors, too.
    pub(crate) fn keep_descriptors(&mut self) {
        self.start.descriptors = Some(descriptors::InheritedDescriptors::default());
    }

    /// Opens what must be there before anything is started: the sockets of `--listen`, the child's notification
    /// socket, and the event loop where there is something to wait for from the beginning.
    ///
    /// # Errors
    /// What could not be opened, as it is to be told.
    pub(crate) fn open(&mut self) -> Result<(), String> {
        self.open_sockets()?;
        let plan = Rc::clone(&self.plan);
        if !plan.opens_before_start() {
            return Ok(());
        }
        let reactor = Reactor::new().map_err(|error| format!("no event loop: {error}"))?;
        self.reactor = Some(reactor);
        if plan.awaits_notification() {
            self.open_notify_socket()?;
        }
        Ok(())
    }

    /// The event loop, once it is open.
    pub(crate) fn open_reactor(&self) -> Option<&Reactor> {
        self.reactor.as_ref()
    }

    /// The zero of all times.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Gives back what outlives us: the terminal, the child's cgroup, the files of sockets.
    pub(crate) fn leave(&mut self) {
        self.start.sockets.remove_files();
        self.restore_terminal();
        self.life.child.cgroup.remove();
    }

    fn restore_terminal(&self) {
        if let Some(terminal) = &self.terminal {
            terminal.restore();
        }
    }

    pub(crate) fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Another life of the command begins: nothing that is known of the last one holds for it.
    fn next_generation(&mut self, number: u32) {
        self.life.child.cgroup.remove();
        let last = std::mem::take(&mut self.life);
        self.life.number = number;
        self.life.listeners = last.listeners;
        self.life.jobs = last.jobs.of_next_life();
        self.life.told_none = last.told_none;
        self.life.oom_kills_before = self.memory.told;
        self.life.began = clock::ticks_since_boot(Instant::now());
        self.passed_on = self.plan.passed_on();
        // What the last one has said is not meant for the next one.
        let beside = self.beside.as_ref().map(|beside| beside.number);
        if let Some(reactor) = &mut self.reactor {
            self.queue.extend(reactor.take_events());
        }
        self.queue.retain(|event| event.is_for_next(beside));
        if let Some(last) = &last.notify_socket {
            self.reopen_notify_socket(last);
        }
    }

    /// # Errors
    /// Why the child cannot be listened to, as it is to be told.
    fn open_notify_socket(&mut self) -> Result<(), String> {
        if let Some(reactor) = &self.reactor {
            let socket = notify::open(reactor, self.hearing(reactor))?;
            self.life.notify_socket = Some(socket);
        }
        Ok(())
    }

    /// A new socket, on which nothing that is left of the last life is heard. Where none can be had, the last one is
    /// better than none: without it the command cannot become ready, and the watchdog would end it.
    fn reopen_notify_socket(&mut self, last: &notify::Socket) {
        if let Err(why) = self.open_notify_socket()
            && let Some(reactor) = &self.reactor
        {
            self.life.notify_socket = Some(last.again(reactor, self.hearing(reactor)));
            let next = format!("generation {} has that of the last one", self.life.number);
            self.trouble(format!("{why}: {next}"));
        }
    }

    fn hearing(&self, reactor: &Reactor) -> Hearing {
        let watchdog = self.plan.liveness.as_ref().and_then(Liveness::watchdog);
        let store = || self.start.sockets.store().clone();
        Hearing {
            events: Events {
                sender: reactor.sender(),
                generation: Some(self.life.number).filter(|_| self.plan.replaces()),
            },
            upward: self.upward.clone(),
            awaits_ready: self.plan.takes_ready_from_child(),
            awaits_watchdog: watchdog.is_some(),
            child_user: self.plan.child.user.as_ref().map(|user| user.uid),
            store: self.plan.keeps_descriptors().then(store),
        }
    }

    /// Takes what was said by those who have ended before they are reaped: afterwards nobody knows who they were, and
    /// what they have handed over is meant for the next life of the command.
    fn hear_last_words(&mut self) {
        if (self.plan.keeps_descriptors() || self.plan.hears_main_pid())
            && let (Some(reactor), Some(socket)) = (&self.reactor, &self.life.notify_socket)
        {
            socket.hear(reactor);
        }
    }

    fn trouble(&mut self, message: String) {
        self.queue.push_back(Event::Trouble(message));
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Wake {
        match &mut self.reactor {
            None => signals::take(timeout).map_or(Wake::TimeOut, Wake::Signal),
            Some(reactor) => reactor.wait(timeout),
        }
    }

    fn reactor(&mut self) -> Option<&Reactor> {
        if self.reactor.is_none() {
            match Reactor::new() {
                Ok(reactor) => self.reactor = Some(reactor),
                Err(error) => self.trouble(format!("input cannot be watched: {error}")),
            }
        }
        self.reactor.as_ref()
    }
}

impl World for Kernel {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn pending(&mut self) -> Option<Event> {
        if let Some(event) = self.queue.pop_front() {
            return Some(event);
        }
        if self.reaping.is_due {
            self.hear_last_words();
        }
        while self.reaping.is_due && self.reaping.in_a_row < IN_A_ROW {
            self.reaping.in_a_row += 1;
            if let Some(event) = self.reap_one() {
                return Some(event);
            }
        }
        None
    }

    fn next(&mut self, deadline: Option<Duration>) -> Event {
        loop {
            if let Some(event) = self.pending() {
                return event;
            }
            self.reaping.in_a_row = 0;
            let now = self.now();
            self.look_at_connections(now);
            if self.beside.is_some() {
                self.for_beside(|kernel| kernel.look_at_connections(now));
            }
            if let Some(event) = self.queue.pop_front() {
                return event;
            }
            let steer_at = self.steer_at();
            let until = [
                deadline,
                self.next_look(),
                self.next_look_beside(),
                steer_at,
                self.say_at(now),
            ];
            let until = until.into_iter().flatten().min();
            let mut timeout = until.map(|until| until.saturating_sub(now));
            if self.reaping.is_due {
                // More have ended. The kernel would name CHLD before any signal with a higher number.
                signals::drop_pending(Signal::CHLD);
                timeout = Some(Duration::ZERO);
            }
            // If we were held up, what came meanwhile counts before what is due: that is done only once nothing waits.
            // What comes without end does not hold it up.
            let only_looks = timeout == Some(Duration::ZERO);
            self.overdue = if only_looks { self.overdue + 1 } else { 0 };
            let wake = if self.overdue > IN_A_ROW {
                Wake::TimeOut
            } else {
                self.wait(timeout)
            };
            self.notice_halt(now, until);
            match wake {
                Wake::Signal(taken) => {
                    if self.pass_on(taken) {
                        return Event::PassedOn(taken.signal);
                    }
                    if self.stops_no_child(taken) {
                        return Event::StopTyped;
                    }
                    if let Some(event) = self.received(taken) {
                        return event;
                    }
                }
                Wake::Event(event) => return event,
                Wake::TimeOut if only_looks => {
                    self.overdue = 0;
                    let now = self.now();
                    if deadline.is_some_and(|deadline| deadline <= now) {
                        return Event::Deadline;
                    }
                    self.steer_again(now);
                    self.say_again(now);
                    let _ = self.look(now) || self.look_beside(now);
                }
                Wake::TimeOut => {}
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::WaitFor { condition, facts } => self.wait_for(condition, &facts),
            Action::EndWait => self.end_wait(),
            Action::RunHook { hook, facts } => self.run_hook(hook, &facts),
            Action::TryNoMore(hook) => self.try_no_more(hook),
            Action::EndHook(hook) => self.end_job(Job::Hook(hook)),
            Action::Start => self.start(),
            Action::Send { target, signal } => self.send(target, signal),
            Action::Continue(target) => self.continue_stopped(target),
            Action::WriteStdin { step } => {
                let plan = Rc::clone(&self.plan);
                if let Some(StepAction::Stdin(text)) = plan.ladder.get(step).map(|s| &s.action) {
                    self.order(Order::Line(text.as_bytes().to_vec()));
                }
            }
            Action::CloseStdin => self.order(Order::Close),
            Action::RunStopCommand { step, facts } => self.run_stop_command(step, &facts),
            Action::EndStopCommand { step } => self.end_job(Job::StopCommand { step }),
            Action::Sweep(signal) => self.sweep(signal),
            Action::LookWhoIsThere { signal, target } => self.look_who_is_there(signal, target),
            Action::TellLeft(whom) => self.tell_left(whom),
            Action::Reload => self.reload(),
            Action::Adopt(plan) => self.adopt(plan),
            Action::Suspend(signal) => self.suspend(signal),
            Action::SendBeyondGroup(signal) => self.send_beyond_group(signal),
            Action::AwaitReady(facts) => self.await_ready(&facts),
            Action::Watch(facts) => self.watch(&facts),
            // In a plain run there is nothing to tell it to.
            Action::Ready if self.upward.is_somebody() => self.ready(),
            Action::Ready => {}
            Action::NotReady => self.not_ready(),
            Action::StopLooking => self.stop_looking(),
            Action::StartDrain => {
                let listeners = sockets::inodes(&self.life.listeners);
                // New connections come to the one that serves, however many there are.
                let is_steered = self.is_aside;
                self.life
                    .connections
                    .start(&self.plan, listeners, is_steered);
            }
            Action::AskProgram { facts, .. } => self.ask_program(&facts),
            Action::LookAgain => {
                self.life.connections.look_again();
                self.ask_again();
            }
            Action::EndDrain => {
                self.life.connections.end();
                self.stop_asking();
            }
            Action::Flush => {
                let ends_with_us = self.own_pid == 1 && self.beside.is_none();
                self.life.connections.flush(&self.plan, ends_with_us);
            }
            Action::FindHeir => self.find_heir(),
            Action::EndSearch => self.end_search(),
            Action::LookWhoListens => self.look_who_listens(),
            Action::RestoreTerminal => self.restore_terminal(),
            Action::NextGeneration { number } => self.next_generation(number),
            Action::OpenBeside { generation } => self.open_beside(generation),
            Action::Beside(action) => self.act_beside(*action),
            Action::Switch => self.switch(),
            Action::CloseBeside => self.close_beside(),
            Action::CloseSockets => self.close_sockets(),
            // The loop itself takes these.
            Action::Record(_) | Action::Finish(_) => {}
        }
    }
}

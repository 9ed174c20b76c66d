//! The generation beside the one that serves (`--replace-on`): its sockets, whose turn it is, and which process belongs
//! to which of the two.

use std::mem;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::Kernel;
use super::child::GENERATION;
use super::life::Life;
use super::relay::Order;
use super::sockets::steer_all;
use crate::call::Listener;
use crate::drive::World;
use crate::look;
use crate::machine::{Action, Event, Unopened};
use crate::plan::Left;
use crate::sys::descriptors::with_room;
use crate::sys::reap::Reaped;
use crate::sys::steering::Steering;
use crate::sys::tree::{self, Member};
use crate::sys::{clock, error_text, last_resort};

/// Between two attempts to steer connections.
const PAUSE: Duration = Duration::from_millis(25);

impl Kernel {
    pub(super) fn open_beside(&mut self, generation: u32) {
        let opened = self.try_to_open_beside(generation);
        self.queue.push_back(match opened {
            Ok(()) => Event::OpenedBeside,
            Err(why) => Event::CannotOpenBeside(why),
        });
    }

    fn try_to_open_beside(&mut self, generation: u32) -> Result<(), Unopened> {
        if tree::descendants().is_none() {
            let cannot = "processes of two generations cannot be told apart";
            let why = format!("{}: {cannot}", tree::why_none());
            return Err(if tree::has_proc() {
                Unopened::NotNow(why)
            } else {
                Unopened::Never(why)
            });
        }
        let sockets = &self.plan.sockets;
        let opened = self.start.sockets.beside(sockets, &self.life.listeners);
        let listeners = opened.inspect_err(|_| self.steer(Steering::First))?;
        self.beside = Some(Box::new(Life {
            number: generation,
            plan: Some(Rc::clone(&self.plan)),
            began: clock::ticks_since_boot(Instant::now()),
            oom_kills_before: self.memory.told,
            listeners,
            told_none: true,
            ..Life::default()
        }));
        if self.life.notify_socket.is_some() {
            let opened = self.for_beside(Self::open_notify_socket);
            // A restart in place would be without one as well.
            return opened
                .unwrap_or(Ok(()))
                .map_err(Unopened::NotNow)
                .inspect_err(|_| self.close_beside());
        }
        Ok(())
    }

    /// Takes the turn of the one beside; whatever is to be told meanwhile is addressed to it.
    pub(super) fn for_beside<R>(&mut self, act: impl FnOnce(&mut Self) -> R) -> Option<R> {
        self.swap()?;
        self.is_aside = true;
        let earlier = mem::take(&mut self.queue);
        let result = act(self);
        let told = mem::replace(&mut self.queue, earlier);
        let generation = self.life.number;
        self.queue
            .extend(told.into_iter().map(|event| event.of(generation)));
        self.is_aside = false;
        self.swap();
        Some(result)
    }

    /// Which listener belongs to the generation whose turn it is.
    pub(super) fn listener(&self) -> Listener {
        if self.is_aside {
            Listener::Beside
        } else {
            Listener::Serving
        }
    }

    pub(super) fn swap(&mut self) -> Option<()> {
        let other = self.beside.as_deref_mut()?;
        mem::swap(&mut self.life, other);
        // What one of them has read again does not change the stop of the other one.
        if let Some(plan) = self.life.plan.take() {
            other.plan = Some(mem::replace(&mut self.plan, plan));
        }
        Some(())
    }

    pub(super) fn act_beside(&mut self, action: Action) {
        self.for_beside(|kernel| kernel.act(action));
    }

    /// New connections go to the one that was beside until now, and so does our input.
    pub(super) fn switch(&mut self) {
        if let Some(relay) = &self.life.child.relay {
            relay.order(Order::LetGo);
        }
        self.steer(Steering::SecondUnlessMarked);
        // What was said of the other one until now was not addressed.
        let generation = self.life.number;
        let told = mem::take(&mut self.queue);
        self.queue = told.into_iter().map(|event| event.of(generation)).collect();
        self.swap();
        self.passed_on = self.plan.passed_on();
        if let Some(pid) = self.life.child.pid {
            last_resort::prepare(pid);
        }
    }

    /// What is left of the one beside is closed.
    pub(super) fn close_beside(&mut self) {
        let Some(mut beside) = self.beside.take() else {
            return;
        };
        beside.child.cgroup.remove();
        self.life.jobs.outlive(beside.jobs);
        // Somebody who was left may have it, too; then it would still be one of the group.
        for listener in beside.listeners.drain(..) {
            crate::sys::listening::end(&listener);
        }
        self.steer(Steering::First);
    }

    /// The kernel has taken such programs for these sockets before. Where it has no memory for one now, it is asked
    /// again: until then the one that does not serve any more gets the connections.
    fn steer(&mut self, steering: Steering) {
        let steered = steer_all(&self.plan.sockets, &self.life.listeners, steering);
        let was_refused = self.unsteered.take().is_some();
        if let Err(errno) = steered {
            self.unsteered = Some((steering, self.now().saturating_add(PAUSE)));
            if !was_refused {
                let why = error_text(errno as i32);
                self.trouble(format!(
                    "--replace-on: new connections are not passed to the one that serves: {why}: trying again"
                ));
            }
        }
    }

    /// When to call `steer_again` at the latest.
    pub(super) fn steer_at(&self) -> Option<Duration> {
        self.unsteered.map(|(_, at)| at)
    }

    pub(super) fn steer_again(&mut self, now: Duration) {
        if let Some((steering, at)) = self.unsteered
            && at <= now
        {
            self.steer(steering);
        }
    }

    /// Whether this process is the child of the one beside, or works for it.
    pub(super) fn is_beside(&self, pid: i32) -> bool {
        let beside = self.beside.as_deref();
        beside.is_some_and(|beside| beside.child.pid == Some(pid) || beside.jobs.has(pid))
    }

    pub(super) fn reaped_beside(&mut self, reaped: Reaped) -> Option<Event> {
        // What belongs to it was queued before.
        self.for_beside(|kernel| {
            if let Some(event) = kernel.reaped(reaped) {
                kernel.queue.push_front(event);
            }
        });
        self.queue.pop_front()
    }

    /// The kernel says that there is no child at all; with two generations one of them may have none before.
    pub(super) fn tell_who_has_none(&mut self) {
        if self.beside.is_none() {
            return;
        }
        let waits = |life: &Life| !life.told_none && life.child.pid.is_none();
        let beside_waits = self.beside.as_deref().is_some_and(waits);
        if !waits(&self.life) && !beside_waits {
            return;
        }
        let Some(members) = tree::descendants() else {
            return;
        };
        let has_some = |kernel: &Self| {
            let runs = kernel.life.jobs.has_some();
            runs || members
                .iter()
                .any(|member| kernel.is_of_this(member, &members))
        };
        let tell = |kernel: &mut Self| {
            if waits(&kernel.life) && !has_some(kernel) {
                kernel.life.told_none = true;
                kernel.queue.push_back(Event::NoneLeft);
            }
        };
        // Not addressed it would be a matter of both.
        let generation = self.life.number;
        let earlier = mem::take(&mut self.queue);
        tell(self);
        let told = mem::replace(&mut self.queue, earlier);
        self.queue
            .extend(told.into_iter().map(|event| event.of(generation)));
        self.for_beside(tell);
    }

    /// The processes of this generation, as far as they can be seen.
    pub(super) fn pids_of_tree(&self) -> Vec<Pid> {
        let members = tree::descendants().unwrap_or_default();
        let of_this = members
            .iter()
            .filter(|member| self.is_of_this(member, &members));
        of_this.map(|member| Pid::from_raw(member.pid)).collect()
    }

    /// Whether the process belongs to the generation whose turn it is; `members` are all that there are.
    pub(super) fn is_of_this(&self, member: &Member, members: &[Member]) -> bool {
        let Some(other) = &self.beside else {
            return !self.was_left_before(member, members);
        };
        let root = self.root_of(member, members);
        let is_of = |life: &Life| life.child.pid == Some(root.pid) || life.jobs.has(root.pid);
        if is_of(&self.life) || is_of(other) {
            return is_of(&self.life);
        }
        self.owner_of_orphan(root) == Some(self.life.number)
    }

    /// Whether what an earlier generation was told to leave (`--left leave`) may still be there.
    pub(super) fn leaves_some(&self) -> bool {
        self.plan.left == Left::Leave && self.life.number > 1
    }

    /// Whether it is one of those. With the environment that it was started with a program tells its generation; one
    /// that has overwritten that was there before this generation, or was not.
    fn was_left_before(&self, member: &Member, members: &[Member]) -> bool {
        if !self.leaves_some() {
            return false;
        }
        let root = self.root_of(member, members);
        if self.life.child.pid == Some(root.pid) || self.life.jobs.has(root.pid) {
            return false;
        }
        match generation_of(root.pid) {
            Some(number) => number < self.life.number,
            None => root.started < self.life.began,
        }
    }

    /// The ancestor that is our own child.
    fn root_of<'a>(&self, member: &'a Member, members: &'a [Member]) -> &'a Member {
        let mut root = member;
        // A chain of parents has no loop, but it may have changed while it was read.
        for _ in 0..members.len() {
            match members.iter().find(|other| other.pid == root.parent) {
                Some(parent) if root.parent != self.own_pid => root = parent,
                _ => break,
            }
        }
        root
    }

    /// To which generation a process belongs that has lost its parents; `None` where it belongs to an earlier one.
    ///
    /// Its cgroup tells, or the variable that it was started with. A program can overwrite both. Then a process that
    /// was there before the newer generation can only be one of the older one; any other is left to the newer one,
    /// so that nothing is ended that may still serve.
    fn owner_of_orphan(&self, orphan: &Member) -> Option<u32> {
        let beside = self.beside.as_deref()?;
        let (older, newer) = if self.life.number < beside.number {
            (&self.life, beside)
        } else {
            (beside, &self.life)
        };
        for life in [older, newer] {
            if life.child.cgroup.holds(orphan.pid) {
                return Some(life.number);
            }
        }
        match generation_of(orphan.pid) {
            Some(number) if number == older.number || number == newer.number => Some(number),
            Some(number) if number < older.number => None,
            _ if orphan.started < newer.began => Some(older.number),
            _ => Some(newer.number),
        }
    }

    /// The next look that is due for the one beside.
    pub(super) fn next_look_beside(&mut self) -> Option<Duration> {
        self.beside.as_ref()?;
        self.for_beside(|kernel| kernel.next_look()).flatten()
    }

    pub(super) fn look_beside(&mut self, now: Duration) -> bool {
        self.beside.is_some() && self.for_beside(|kernel| kernel.look(now)).unwrap_or(false)
    }
}

/// What the process was told when it was started (proc_pid_environ(5)). It is not asked where a thread hangs: the
/// kernel reads the memory of the process, and might wait as long.
fn generation_of(pid: i32) -> Option<u32> {
    if look::hangs(pid) {
        return None;
    }
    let environment = with_room(|| std::fs::read(format!("/proc/{pid}/environ"))).ok()?;
    let mut entries = environment.split(|byte| *byte == 0);
    entries.find_map(|entry| {
        let text = std::str::from_utf8(entry).ok()?;
        text.strip_prefix(GENERATION)?
            .strip_prefix('=')?
            .parse()
            .ok()
    })
}

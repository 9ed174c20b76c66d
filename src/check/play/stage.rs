//! The process of one run: the same machine and the same kernel as `stepdown COMMAND`, which sends its
//! records through a pipe.
//!
//! A process of its own, because a run makes itself subreaper, closes what it inherited and leaves its
//! directory; and because it outlives `check`: if `check` is killed, the stage kills all that was
//! started here.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use super::containers::{self, Containers, Engine};
use super::kill_all::{kill_all, stop_all};
use super::ports;
use crate::check::fact;
use crate::check::fact::{Fact, What};
use crate::drive::{World, drive};
use crate::kernel::Kernel;
use crate::look;
use crate::machine::{Action, Event, Machine};
use crate::plan::Plan;
use crate::record::Record;
use crate::supervisor::Supervisor;
use crate::sys::signals::Inherited;
use crate::sys::{self, namespaces};
use crate::tell::endpoint::Endpoint;
use crate::words::signal::Signal;

/// After so long a process that was in state D is looked at again.
const MOMENT: Duration = Duration::from_millis(20);

/// What one run needs.
pub(crate) struct Stage<'a> {
    pub(crate) plan: Plan,
    pub(crate) command: Vec<OsString>,
    pub(crate) inherited: Inherited,
    /// Ports that must be free once the child has ended.
    pub(crate) ports: &'a [u16],
    /// The start of the run's clock.
    pub(crate) began: Instant,
    pub(crate) containers: &'a Containers,
    pub(crate) id_file: Option<&'a Path>,
    /// The process that started this one.
    pub(crate) conductor: i32,
}

/// Its standard input and output, and where its facts go.
pub(crate) struct Ends {
    pub(crate) input: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) facts: OwnedFd,
}

impl Stage<'_> {
    /// Carries out the run to its end; called in a forked copy of `check`.
    pub(crate) fn play(mut self, ends: &Ends) -> u8 {
        // The handlers of `check`. From here on this is an init like any other, which has none.
        self.inherited.remove_handlers();
        // No terminal: the child starts as it does in a container, and Ctrl-C is for `check` alone.
        let _ = nix::unistd::setsid();
        let wired = nix::unistd::dup2_stdin(&ends.input)
            .and_then(|()| nix::unistd::dup2_stdout(&ends.output))
            .and_then(|()| nix::unistd::dup2_stderr(&ends.output));
        if let Err(errno) = wired {
            return self.impossible(ends, &format!("no output for the command: {errno}"));
        }
        if self.plan.child.own_namespaces
            && let Err(errno) = namespaces::prepare()
        {
            let why = sys::error_text(errno);
            let message = format!(
                "--as-pid1: no PID namespace can be made here ({why}): run check on the host, or in a \
                 container with --privileged, or check `docker run` as the command"
            );
            return self.impossible(ends, &message);
        }
        // When `check` dies we get this signal, and the kernel of the run knows what it means.
        self.plan.parent_death_signal = Some(Signal::TERM);
        let plan = Rc::new(self.plan.clone());
        let offset = self.began.elapsed();
        let mut kernel = Kernel::new(Rc::clone(&plan), self.command.clone(), self.inherited);
        kernel.keep_descriptors();
        let opened = kernel
            .open()
            .and_then(|()| Endpoint::open(kernel.open_reactor(), &plan, kernel.began(), None));
        let endpoint = match opened {
            Ok(endpoint) => endpoint,
            Err(why) => return self.impossible(ends, &why),
        };
        if nix::unistd::getppid().as_raw() != self.conductor {
            return 0;
        }
        let mut world = Guarded {
            kernel,
            stage: &self,
            ends,
            offset,
            main: None,
            beside: None,
        };
        let mut was_killed = false;
        let mut audience = |at: Duration, record: &Record| {
            if let Some(endpoint) = &endpoint {
                endpoint.tell(at, record);
            }
            let at = at.saturating_add(offset);
            let is_exit = matches!(record, Record::ChildExited { .. });
            was_killed |= matches!(
                record,
                Record::Step {
                    signal: Some(Signal::KILL),
                    ..
                }
            );
            // KILL goes to the whole tree, and the others that have the socket may still be dying.
            if is_exit && !was_killed || matches!(record, Record::Ended(_)) && was_killed {
                self.look_at_ports(ends, at);
            }
            // Before what is left gets TERM: afterwards there is no process to look at.
            if is_exit {
                tell(ends, at, What::Looked(look::descendants()));
            }
            send(ends, &fact::fact(at, record));
        };
        match plan.supervision.clone() {
            Some(supervision) => drive(
                &mut Supervisor::steady(plan, supervision),
                &mut world,
                &mut audience,
            ),
            None => drive(&mut Machine::new(plan), &mut world, &mut audience),
        };
        world.kernel.leave();
        0
    }

    /// Tells which of the ports that must be free are not.
    fn look_at_ports(&self, ends: &Ends, at: Duration) {
        match ports::taken(self.ports) {
            Ok(taken) => {
                for port in taken {
                    tell(ends, at, What::PortTaken(port));
                }
            }
            Err(why) => send(ends, &Fact::new(at, What::Impossible, why)),
        }
    }

    fn impossible(&self, ends: &Ends, text: &str) -> u8 {
        let fact = Fact {
            at: 0,
            what: What::Impossible,
            text: text.to_owned(),
        };
        send(ends, &fact);
        crate::check::CANNOT_CHECK
    }
}

fn tell(ends: &Ends, at: Duration, what: What) {
    let at = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
    let text = String::new();
    send(ends, &Fact { at, what, text });
}

/// Writes one line. It may block, but its reader does nothing but read.
fn send(ends: &Ends, fact: &Fact) {
    let mut line = serde_json::to_vec(fact).unwrap_or_default();
    line.push(b'\n');
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        match nix::unistd::write(ends.facts.as_fd(), rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(nix::errno::Errno::EINTR) => {}
            // Nobody reads any more.
            Err(_) => return,
        }
    }
}

/// The real world. Processes are looked at before they are signalled, and all are killed when `check` has
/// ended.
struct Guarded<'a> {
    kernel: Kernel,
    stage: &'a Stage<'a>,
    ends: &'a Ends,
    /// From the conductor's zero to the kernel's.
    offset: Duration,
    main: Option<i32>,
    /// The child of the generation beside the one that serves.
    beside: Option<i32>,
}

impl Guarded<'_> {
    /// What the child does with the signal that is about to come, and who is there that KILL is about to end.
    /// Signals overtake the records about them, so that a record would be too late.
    fn look_before(&self, action: &Action) {
        let mut looks = match action {
            Action::Beside(action) => return self.look_before(action),
            Action::NotReady => match self.main.and_then(look::at) {
                Some(look) => vec![look],
                None => return,
            },
            Action::Send { signal, .. } if *signal == Signal::KILL => look::descendants(),
            _ => return,
        };
        let at = self.now().saturating_add(self.offset);
        // A process that reads from a disk is in state D as well, but not for long.
        if looks.iter().any(|look| look.state == "D") {
            thread::sleep(MOMENT);
            for look in looks.iter_mut().filter(|look| look.state == "D") {
                *look = look::again(look).unwrap_or_else(|| look.clone());
            }
        }
        tell(self.ends, at, What::Looked(looks));
    }
}

impl World for Guarded<'_> {
    fn now(&self) -> Duration {
        self.kernel.now()
    }

    fn next(&mut self, deadline: Option<Duration>) -> Event {
        match self.kernel.next(deadline) {
            Event::ParentDied => {
                stop_all();
                self.kernel.act(Action::Sweep(Signal::KILL));
                kill_all();
                let Stage {
                    containers,
                    id_file,
                    inherited,
                    ..
                } = self.stage;
                let mut read = containers::read_undisturbed;
                let _ = containers.remove(*id_file, &mut Engine::new(*inherited, &mut read));
                self.kernel.leave();
                sys::exit(crate::check::CANNOT_CHECK)
            }
            event => {
                match &event {
                    Event::Started { pid } => self.main = Some(*pid),
                    Event::HeirFound { heir, .. } => self.main = Some(heir.pid),
                    Event::Of { event, .. } => match **event {
                        Event::Started { pid } => self.beside = Some(pid),
                        Event::HeirFound { ref heir, .. } => self.beside = Some(heir.pid),
                        _ => {}
                    },
                    _ => {}
                }
                event
            }
        }
    }

    fn act(&mut self, action: Action) {
        self.look_before(&action);
        if action == Action::Switch {
            std::mem::swap(&mut self.main, &mut self.beside);
        }
        self.kernel.act(action);
    }
}

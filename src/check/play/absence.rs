//! Looks for what is promised to be gone at the end: before the start, where it would be somebody else's;
//! before the stop, as the absence of what never was there proves nothing; and at the end, when what is left is
//! removed.

use std::time::{Duration, Instant};

use crate::check::fact::{Fact, LeftProcess, What};
use crate::check::options::{Check, Variant};
use crate::check::play::conductor::Conductor;
use crate::check::play::containers::{Engine, Unread};
use crate::check::play::{RunInProgress, ports};
use crate::drain::look::listening;

/// How long an engine may take to call a container running after the program in it has begun, and how often it is asked
/// meanwhile.
const NOTED_IN: Duration = Duration::from_secs(2);
const AGAIN_AFTER: Duration = Duration::from_millis(100);

impl Conductor {
    /// Sees that nothing is there yet of what is promised to be gone at the end, and nobody that would answer the
    /// requests in place of the command.
    ///
    /// # Errors
    /// Something is there, or it cannot be found out. If `check` is asked to end meanwhile, there is nothing to stop
    /// yet.
    pub(super) fn look_before_start(
        &mut self,
        check: &Check,
        variant: &Variant,
    ) -> Result<(), String> {
        let wanted = [&variant.promise.ports[..], &asked_ports(check, variant)].concat();
        if let Some(port) = ports::taken(&wanted)?.first() {
            return Err(format!(
                "port {port} is taken before the start: whose it is cannot be told apart"
            ));
        }
        let inherited = self.inherited;
        let mut read = |from, until| self.read_all(from, until, &mut |interrupted| interrupted > 0);
        let running = check
            .containers
            .running(&mut Engine::new(inherited, &mut read))?;
        if running.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = running.into_iter().map(|left| left.command).collect();
        Err(format!(
            "before the start there is {}: whose it is cannot be told apart",
            names.join(", ")
        ))
    }
}

/// The ports of this machine that the requests go to, except those that stepdown itself opens for the command: whoever
/// has one of these already keeps the run from its start.
fn asked_ports(check: &Check, variant: &Variant) -> Vec<u16> {
    let load = check.replace.as_ref().map(|replace| &replace.request);
    let servers = check.request.iter().chain(load).map(|asked| &asked.server);
    let local = servers.filter(|server| server.is_loopback());
    let is_opened = |port: &u16| {
        let mut sockets = variant.plan.sockets.iter();
        sockets.any(|socket| socket.port() == Some(*port))
    };
    let ports = local.map(|server| server.port);
    ports.filter(|port| !is_opened(port)).collect()
}

impl RunInProgress<'_> {
    /// Notes the ports that nobody listens on, and the containers that do not run; no containers in a sweep, whose first
    /// signals come before there are any.
    pub(super) fn look_before(&mut self, conductor: &mut Conductor, told: &mut dyn FnMut(&Fact)) {
        if let Some(listened) = listening("/proc/self/net") {
            let ports = self.variant.promise.ports.iter();
            let idle = ports.filter(|port| !listened.values().any(|other| other == *port));
            self.history.idle_ports = idle.copied().collect();
        }
        if self.offset.is_some() {
            return;
        }
        let until = Instant::now() + NOTED_IN;
        while self.is_absent(conductor, told)
            && Instant::now() < until
            // Such a run is not judged.
            && !self.history.interrupted
            && conductor.interrupted == self.interrupted
        {
            conductor.wait([None; 3], Some(Instant::now() + AGAIN_AFTER));
        }
    }

    /// Notes which of the named containers do not run, and says whether there are any.
    fn is_absent(&mut self, conductor: &mut Conductor, told: &mut dyn FnMut(&Fact)) -> bool {
        let containers = &self.check.containers;
        let absent = self.asked(conductor, told, |engine| containers.absent(engine));
        match absent {
            Ok(absent) => self.history.absent = absent,
            Err(why) => {
                self.leaves_containers = self.history.interrupted;
                self.history.impossible.get_or_insert(why);
                return false;
            }
        }
        !self.history.absent.is_empty()
    }

    /// Removes the containers that are left, unless a signal has asked to leave them.
    pub(super) fn remove_containers(
        &mut self,
        conductor: &mut Conductor,
        told: &mut dyn FnMut(&Fact),
    ) -> Result<Vec<LeftProcess>, String> {
        let (containers, id_file) = (&self.check.containers, self.id_file.clone());
        self.asked(conductor, told, |engine| {
            containers.remove(id_file.as_deref(), engine)
        })
    }

    /// Asks the engine. A first signal that asks `check` to end is answered with a message that this is still to be done; a
    /// second one ends it without.
    fn asked<T>(
        &mut self,
        conductor: &mut Conductor,
        told: &mut dyn FnMut(&Fact),
        ask: impl FnOnce(&mut Engine) -> Result<T, String>,
    ) -> Result<T, String> {
        let inherited = conductor.inherited;
        let is_left = self.leaves_containers;
        let (history, began, known) = (&mut self.history, self.began, &mut self.interrupted);
        let mut leave = |interrupted: u32| {
            let mut leaves = false;
            while *known < interrupted {
                *known += 1;
                leaves |= std::mem::replace(&mut history.interrupted, true);
                if !leaves {
                    let text =
                        "interrupted: containers are still looked for; another signal leaves them";
                    let fact = Fact::new(began.elapsed(), What::Interrupted, text);
                    told(&fact);
                    history.facts.push(fact);
                }
            }
            leaves
        };
        let mut read = |from, until| {
            if is_left {
                return Err(Unread::Interrupted);
            }
            conductor.read_all(from, until, &mut leave)
        };
        ask(&mut Engine::new(inherited, &mut read))
    }
}

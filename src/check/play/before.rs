//! What is promised to be gone at the end is looked for before the stop is asked for: where it never was,
//! its absence proves nothing.

use crate::check::play::RunInProgress;
use crate::check::play::conductor::Conductor;
use crate::check::play::containers::Engine;
use crate::drain::look::listening;

impl RunInProgress<'_> {
    /// Not in a sweep: the first signals come before there is anything.
    pub(super) fn look_before(&mut self, conductor: &mut Conductor) {
        if self.offset.is_some() {
            return;
        }
        if let Some(listened) = listening("/proc/self/net") {
            let ports = self.variant.promise.ports.iter();
            let idle = ports.filter(|port| !listened.values().any(|other| other == *port));
            self.history.idle_ports = idle.copied().collect();
        }
        // A first request to end is obeyed when this is known, and a second one gives it up.
        let (inherited, enough) = (conductor.inherited, self.interrupted + 2);
        let mut read = |from, until| conductor.read_all(from, until, &mut |asked| asked >= enough);
        match self
            .check
            .containers
            .absent(&mut Engine::new(inherited, &mut read))
        {
            Ok(absent) => self.history.absent = absent,
            Err(why) => {
                self.history.impossible.get_or_insert(why);
            }
        }
    }
}

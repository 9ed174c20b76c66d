//! What a word on the command line means: a pid, a container, or the processes of a program.

use std::fs;
use std::time::Duration;

use super::engine::{self, Container};
use super::gather;
use crate::look;
use crate::words::signal::Signal;

/// What is looked at: all that a stop of this process is to end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    /// As it is called in the report.
    pub(super) title: String,
    pub(super) kind: Kind,
    pub(super) root: i32,
    /// The stop signal, and who says so.
    pub(super) signal: Option<(Signal, String)>,
    /// How long until KILL, who sends it, and who says so.
    pub(super) grace: Option<(Duration, String, String)>,
    /// Who waits without end, and never sends KILL.
    pub(super) waits: Option<&'static str>,
    /// The engine has paused it.
    pub(super) paused: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// All processes of our own PID namespace.
    Namespace,
    Container,
    Process,
}

impl Target {
    pub(super) fn own_namespace() -> Self {
        Self::process(1, "this container".to_owned(), Kind::Namespace)
    }

    fn process(root: i32, title: String, kind: Kind) -> Self {
        Self {
            title,
            kind,
            root,
            signal: None,
            grace: None,
            waits: None,
            paused: false,
        }
    }

    fn container(container: Container) -> Self {
        let engine = container.engine;
        Self {
            title: container.name,
            kind: Kind::Container,
            root: container.pid,
            signal: container
                .signal
                .map(|signal| (signal, "its image or options".to_owned())),
            grace: container
                .grace
                .map(|grace| (grace, engine.to_owned(), engine.to_owned())),
            waits: Some(engine).filter(|_| container.waits),
            paused: container.paused,
        }
    }
}

/// The PID namespace that a machine begins with (include/linux/proc_ns.h, PROC_PID_INIT_INO).
const INITIAL: &str = "pid:[4026531836]";

/// Whether our PID namespace is another one than the machine's first.
pub(super) fn is_in_container() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() != INITIAL)
}

/// What this word means.
///
/// # Errors
/// Nothing is called so, or it does not show.
pub(super) fn find(word: &str) -> Result<Vec<Target>, String> {
    if let Ok(pid) = word.parse::<i32>()
        && pid > 0
    {
        return match look::at(pid) {
            Some(look) if look.is_zombie() => {
                Err("it has ended, and waits to be reaped".to_owned())
            }
            Some(look) => {
                let title = format!("{pid} {}", look.command.escape_debug());
                Ok(vec![Target::process(pid, title, Kind::Process)])
            }
            None => Err(format!("no such process{}", gather::hidden())),
        };
    }
    let asked = engine::find(word);
    if let Some(container) = asked.found {
        return container.map(|container| vec![Target::container(container)]);
    }
    let named = gather::named(word);
    if named.is_empty() {
        let mut why = format!(
            "no container and no process of this name{}",
            gather::hidden()
        );
        for trouble in asked.troubles {
            why.push_str("; ");
            why.push_str(&trouble);
        }
        return Err(why);
    }
    let several = named.len() > 1;
    let targets = named.into_iter().map(|pid| {
        let title = if several {
            format!("{word} ({pid})")
        } else {
            word.to_owned()
        };
        Target::process(pid, title, Kind::Process)
    });
    Ok(targets.collect())
}

//! What `doctor` has seen of the processes that one stop is to end, as data.

use std::fmt;
use std::time::Duration;

use super::finding::Named;
use super::process::ProcessLook;
use crate::plan::Target;
use crate::words::signal::Signal;

/// One process, seen closely. What could not be seen is `None`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) look: ProcessLook,
    /// Its pid in its own namespace.
    pub(crate) own_pid: i32,
    /// When it was started, in hundredths of a second since boot.
    pub(crate) started: u64,
    /// The signals that its signalfds take.
    pub(crate) signalfds: Option<u64>,
    /// The signals that its threads wait for in sigwait(3). As long as they do, the kernel does not show them as
    /// blocked.
    pub(crate) sigwaits: Option<u64>,
    /// What each of its threads blocks, where Go's runtime has installed its handlers.
    pub(crate) thread_blocks: Vec<u64>,
    /// What its standard input is: the file, how it was opened, and in which mount.
    pub(crate) input: Option<String>,
    /// The pipes that it can write to, by their inode.
    pub(crate) writes: Vec<u64>,
    /// The TCP ports that it listens on.
    pub(crate) listens: Vec<u16>,
    /// The init that it is.
    pub(crate) init: Option<Init>,
    /// It is an init, and why it does not show what it will do.
    pub(crate) init_unseen: Option<String>,
    /// Who traces it, whether or not it is held.
    pub(crate) traced_by: Option<Named>,
    /// It was put into the namespace from outside.
    pub(crate) from_outside: bool,
}

impl Seen {
    pub(crate) fn pid(&self) -> i32 {
        self.look.pid
    }

    pub(crate) fn named(&self) -> Named {
        Named::of(&self.look)
    }

    /// The pipe that its standard input is.
    pub(crate) fn input_pipe(&self) -> Option<u64> {
        pipe(self.input.as_deref()?)
    }

    /// The name of its program: that of its file where the words show it.
    fn program(&self) -> &str {
        let first = self.look.argv.first().map_or("", String::as_str);
        // A title that was written over the words is one text.
        let first = first.split(' ').next().unwrap_or_default();
        match first.rsplit('/').next() {
            Some(name) if !name.is_empty() => name,
            _ => &self.look.command,
        }
    }

    fn is_node(&self) -> bool {
        matches!(self.program(), "node" | "nodejs")
    }

    /// A package manager that runs a script of a package as its child, and passes signals on to that alone.
    pub(crate) fn is_script_runner(&self) -> bool {
        const RUNNERS: [&str; 10] = [
            "npm",
            "npm-cli.js",
            "npx",
            "npx-cli.js",
            "yarn",
            "yarn.js",
            "yarnpkg",
            "pnpm",
            "pnpm.cjs",
            "bunx",
        ];
        let script = self.look.argv.get(1).filter(|_| self.is_node());
        let script = script.and_then(|script| script.rsplit('/').next());
        RUNNERS.contains(&script.unwrap_or_else(|| self.program()))
    }

    /// Node.js itself catches TERM and INT, only to die of them by the default action, which PID 1 does not have.
    pub(crate) fn is_node_as_init(&self, signal: Signal) -> bool {
        let own = [Signal::TERM, Signal::INT].contains(&signal);
        own && self.look.is_init && self.is_node() && !self.is_script_runner()
    }

    /// Something that ends by itself within this time.
    pub(crate) fn is_short_sleep(&self) -> bool {
        const SHORT: f64 = 10.0;
        let argv = &self.look.argv;
        let time = argv.get(1).and_then(|time| time.parse::<f64>().ok());
        self.program() == "sleep" && argv.len() == 2 && time.is_some_and(|time| time <= SHORT)
    }
}

/// The inode of a pipe, as the link of a descriptor begins with it.
pub(crate) fn pipe(link: &str) -> Option<u64> {
    let (inode, _) = link.strip_prefix("pipe:[")?.split_once(']')?;
    inode.parse().ok()
}

/// What an init does with the signal that is sent to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Init {
    /// As it is called: stepdown, tini.
    pub(crate) name: String,
    /// The steps that it takes, KILL excepted.
    pub(crate) steps: Vec<InitStep>,
    /// What its main child leaves behind gets TERM from it.
    pub(crate) sweeps: bool,
    /// It has a stop sequence, which this signal does not begin; and those that would.
    pub(crate) not_begun: Option<String>,
    /// The signal is no request to stop: another child follows.
    pub(crate) goes_on: Option<GoesOn>,
    pub(crate) times: Option<InitTimes>,
}

/// A signal on which stepdown starts the next child in place of this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GoesOn {
    pub(crate) how: Next,
    /// The signals that do stop it.
    pub(crate) stop_on: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Once this child has stopped (`--restart-on`).
    Restarted,
    /// Beside this child, which stops then (`--replace-on`).
    Replaced,
}

impl Next {
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Restarted => "--restart-on",
            Self::Replaced => "--replace-on",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct InitStep {
    /// `None` where it stops the child by its standard input or a command.
    pub(crate) signal: Option<Signal>,
    pub(crate) target: Target,
    /// As the user would write it.
    pub(crate) text: String,
}

impl fmt::Display for InitStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = match (self.signal, self.target) {
            (None, _) => return write!(f, "stops its child by {}", self.text),
            (_, Target::Child) => "its child",
            (_, Target::Group) => "its child's group",
            (_, Target::Tree) => "all below it",
        };
        write!(f, "sends {} to {to}", self.text)
    }
}

/// How long the stop of a plan takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct InitTimes {
    /// At most, and when; `None` if it may last until the platform sends KILL.
    pub(crate) worst: Option<(Duration, &'static str)>,
    /// What hooks and the drain may take of it, before the child is asked to end.
    pub(crate) before: Duration,
    /// With a child, hooks and requests that end at once.
    pub(crate) least: Duration,
    /// Something follows the end of the child.
    pub(crate) has_post_stop: bool,
}

/// How long the platform lets a stop take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Grace {
    pub(crate) time: Duration,
    /// Who sends KILL then.
    pub(crate) by: String,
}

/// The processes below one root, and how they are stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Snapshot {
    /// The one that gets the signal.
    pub(crate) root: i32,
    pub(crate) signal: Signal,
    /// The root is PID 1 of its namespace: its end is that of all others.
    pub(crate) contained: bool,
    /// It was root that looked.
    pub(crate) by_root: bool,
    pub(crate) grace: Option<Grace>,
    pub(crate) processes: Vec<Seen>,
}

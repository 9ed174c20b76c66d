//! One container or service as its platform would run it: what the files say, put together.

use std::rc::Rc;
use std::time::Duration;

use super::copies::Copies;
use super::place::{Placed, Spot};
use super::programs::Known;
use super::shell;

/// A word of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Word {
    pub(crate) text: String,
    /// False where a variable in it has a value that is not known.
    pub(crate) is_known: bool,
    pub(crate) at: Spot,
}

/// A command, or a part of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Words {
    pub(crate) words: Vec<Word>,
    pub(crate) at: Spot,
    /// Who wrote it: `ENTRYPOINT`, `command`, `ExecStart`.
    pub(crate) key: &'static str,
    /// Docker has put a shell in front of it.
    pub(crate) is_shell_form: bool,
}

/// A variable that the program finds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    /// `None` where it is not known.
    pub(crate) value: Option<String>,
    pub(crate) at: Spot,
}

/// All variables; later ones win.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Environment {
    pub(crate) variables: Vec<Variable>,
    /// Others may come from where nobody looks (a secret, a file that is not here).
    pub(crate) has_others: bool,
}

impl Environment {
    pub(crate) fn set(&mut self, variable: Variable) {
        self.variables.retain(|known| known.name != variable.name);
        self.variables.push(variable);
    }
}

/// Who runs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Platform {
    /// A Dockerfile alone: how it is run is not known.
    Image,
    Compose,
    Kubernetes,
    Systemd,
}

/// How long the platform waits before KILL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Grace {
    /// `None` is without end.
    pub(crate) time: Option<Duration>,
    pub(crate) at: Spot,
    pub(crate) key: &'static str,
    /// Nobody wrote it.
    pub(crate) is_default: bool,
}

/// A time that is written somewhere, and the key.
pub(crate) type Timed = (&'static str, Placed<Duration>);

/// A script that the image starts with.
#[derive(Debug)]
pub(crate) struct Script {
    /// The path in the image.
    pub(crate) path: String,
    pub(crate) commands: Option<shell::Text>,
    pub(crate) text: String,
    /// Where it begins.
    pub(crate) at: Spot,
}

/// One container or service.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) platform: Platform,
    /// `service web`, `container web of Deployment web`.
    pub(crate) name: String,
    pub(crate) at: Spot,
    /// From the first known word on.
    pub(crate) words: Vec<Words>,
    /// The first of these words is the first process.
    pub(crate) is_whole: bool,
    /// That process is PID 1 of its namespace.
    pub(crate) is_pid1: bool,
    /// What is known of the image that it is built on.
    pub(crate) known: Option<Known>,
    pub(crate) environment: Environment,
    pub(crate) stop_signal: Option<Placed<String>>,
    /// It was not written here, but came with the image on which this one is built.
    pub(crate) is_inherited_signal: bool,
    pub(crate) grace: Option<Grace>,
    /// `init: true`.
    pub(crate) init: Option<Spot>,
    /// `init:` has a value that is not known.
    pub(crate) may_have_init: bool,
    /// The platform starts it again, and somebody wrote so.
    pub(crate) restart: Option<Placed<String>>,
    /// It goes on until it is stopped.
    pub(crate) is_service: bool,
    pub(crate) scripts: Vec<Rc<Script>>,
    pub(crate) copies: Option<Rc<Copies>>,
    /// The Dockerfile of its image, whether or not it runs what that starts.
    pub(crate) dockerfile: Option<usize>,
    /// How long preStop sleeps at least.
    pub(crate) pre_stop: Option<Placed<Duration>>,
    /// Something runs before the stop signal, and may take time.
    pub(crate) may_wait: bool,
    pub(crate) probe_graces: Vec<Timed>,
    /// How long the balancer needs to find out that it is not ready.
    pub(crate) finds_out: Option<Timed>,
    /// What stands in front of it, and how that is known.
    pub(crate) balancer: Option<String>,
    pub(crate) kill_mode: Option<Placed<String>>,
    /// A command stops it (`ExecStop=`), and the stop signal is for what that leaves.
    pub(crate) has_stop_command: bool,
    /// The ENTRYPOINT that this one runs in place of.
    pub(crate) replaced: Option<(Words, Spot)>,
}

impl Run {
    pub(crate) fn new(platform: Platform, name: String, at: Spot) -> Self {
        Self {
            platform,
            name,
            at,
            words: Vec::new(),
            is_whole: false,
            is_pid1: true,
            known: None,
            environment: Environment::default(),
            stop_signal: None,
            is_inherited_signal: false,
            grace: None,
            init: None,
            may_have_init: false,
            restart: None,
            is_service: true,
            scripts: Vec::new(),
            copies: None,
            dockerfile: None,
            pre_stop: None,
            may_wait: false,
            probe_graces: Vec::new(),
            finds_out: None,
            balancer: None,
            kill_mode: None,
            has_stop_command: false,
            replaced: None,
        }
    }

    /// All words in a row.
    pub(crate) fn command(&self) -> Vec<Word> {
        let words = self.words.iter().flat_map(|words| &words.words);
        words.cloned().collect()
    }
}

//! Random plans, as the options that a user would write: what cannot be written is not tried.

use std::rc::Rc;

use super::choices::Choices;
use crate::options::{HookTable, Settings, parse_duration};
use crate::plan::{OnFailure, Plan};

/// One option as it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Written {
    pub(super) name: &'static str,
    pub(super) text: String,
    /// What only a table of the file can say of a hook: its timeout, and whether its failure matters.
    pub(super) table: Option<(Option<&'static str>, Option<bool>)>,
}

/// All that is written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Options {
    pub(super) as_pid1: bool,
    /// The history is to be long: one life follows the other, and much happens before a stop is asked for.
    pub(super) long: bool,
    pub(super) written: Vec<Written>,
    /// What the file has besides, once it is read again.
    pub(super) later: Vec<Written>,
}

const TIMES: [&str; 14] = [
    "0", "1ms", "20ms", "100ms", "500ms", "1s", "2s", "3s", "5s", "8s", "10s", "20s", "30s", "1m",
];

const SOME_TIME: [&str; 10] = [
    "1ms", "100ms", "500ms", "1s", "2s", "3s", "5s", "10s", "30s", "1m",
];

impl Written {
    pub(super) fn new(name: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            name,
            text,
            table: None,
        }
    }

    fn put(&self, settings: &mut Settings) {
        let Some((timeout, fails)) = self.table else {
            return settings.set(self.name, &self.text);
        };
        let fails = fails.map(|fails| {
            if fails {
                OnFailure::Fail
            } else {
                OnFailure::Ignore
            }
        });
        let table = HookTable {
            timeout: timeout.and_then(|text| parse_duration(text).ok()),
            on_failure: fails,
            ..HookTable::default()
        };
        settings.set_hook(self.name, &self.text, table);
    }

    /// As it is typed.
    pub(super) fn typed(&self) -> String {
        let flag = format!("--{} {}", self.name, quoted(&self.text));
        let Some((timeout, fails)) = self.table else {
            return flag;
        };
        let timeout = timeout.map(|text| format!("timeout = \"{text}\""));
        let fails = fails.map(|fails| {
            let word = if fails { "fail" } else { "ignore" };
            format!("on-failure = \"{word}\"")
        });
        let keys: Vec<String> = timeout.into_iter().chain(fails).collect();
        format!("{flag} (with {})", keys.join(", "))
    }
}

fn quoted(text: &str) -> String {
    let text = shlex::try_quote(text);
    text.map_or_else(|_| String::new(), std::borrow::Cow::into_owned)
}

impl Options {
    /// Some that make a plan.
    pub(super) fn random(choices: &mut Choices) -> (Self, Rc<Plan>) {
        let mut options = Self {
            as_pid1: choices.one_in(2),
            long: choices.one_in(8),
            ..Self::default()
        };
        options.random_stop(choices);
        options.random_signals(choices);
        options.random_drain(choices);
        options.random_hooks(choices);
        options.random_start(choices);
        options.random_restart(choices);
        options.random_end(choices);
        if options.long {
            options.random_lives(choices);
        }
        if options.written.iter().any(|one| one.name == "reload-on") {
            options.random_file(choices);
        }
        loop {
            match options.plan() {
                Some(plan) => return (options, plan),
                // Two that exclude each other, most often.
                None => options
                    .written
                    .remove(choices.below(options.count()) as usize),
            };
        }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.written.len()).unwrap_or(1)
    }

    fn add(&mut self, name: &'static str, text: impl Into<String>) {
        self.written.push(Written::new(name, text));
    }

    /// In one of so many cases, one of these.
    fn perhaps(&mut self, choices: &mut Choices, cases: u32, name: &'static str, texts: &[&str]) {
        if choices.one_in(cases) {
            self.add(name, choices.of(texts));
        }
    }

    fn random_stop(&mut self, choices: &mut Choices) {
        if choices.one_in(2) {
            self.add("ladder", ladder(choices));
        }
        self.perhaps(choices, 10, "stop-signal", &["QUIT", "HUP", "RTMIN+3"]);
        self.perhaps(choices, 2, "grace", &TIMES);
        self.perhaps(choices, 3, "deadline", &TIMES);
        self.perhaps(choices, 10, "no-kill", &["on"]);
        self.perhaps(choices, 10, "max-runtime", &SOME_TIME);
    }

    fn random_signals(&mut self, choices: &mut Choices) {
        let stop_on = [
            "TERM",
            "QUIT",
            "TERM,INT,QUIT",
            "HUP,TERM",
            "WINCH,USR2,TERM",
        ];
        self.perhaps(choices, 8, "stop-on", &stop_on);
        let escalate_on = ["TERM", "TERM,INT", "QUIT", "USR1"];
        self.perhaps(choices, 8, "escalate-on", &escalate_on);
        let rewrite = [
            "TERM:QUIT",
            "HUP:0",
            "USR1:USR2",
            "INT:TERM",
            "QUIT:0",
            "USR2:KILL",
        ];
        self.perhaps(choices, 8, "rewrite", &rewrite);
        self.perhaps(choices, 16, "rewrite", &rewrite);
        self.perhaps(choices, 3, "target", &["child", "group", "tree"]);
        let parent_death = ["TERM", "HUP", "KILL", "INT"];
        self.perhaps(choices, 8, "parent-death-signal", &parent_death);
    }

    fn random_drain(&mut self, choices: &mut Choices) {
        if !choices.one_in(4) {
            return;
        }
        self.perhaps(choices, 2, "drain-port", &["auto", "8080", "80,443/tls"]);
        self.perhaps(choices, 2, "drain-delay", &TIMES);
        self.perhaps(choices, 4, "drain-checks", &["1", "2"]);
        self.perhaps(choices, 8, "drain-checks-timeout", &TIMES);
        let until = ["exec:idle", "notify", "http://127.0.0.1:9/idle"];
        self.perhaps(choices, 3, "drain-until", &until);
        self.perhaps(choices, 6, "drain-until", &until);
        self.perhaps(choices, 2, "drain-timeout", &TIMES);
    }

    fn random_hooks(&mut self, choices: &mut Choices) {
        const HOOKS: [&str; 5] = [
            "a",
            "b",
            "c x",
            "udp://127.0.0.1:9/x",
            "http://127.0.0.1:9/x",
        ];
        for name in ["pre-start", "pre-stop", "post-stop"] {
            if !choices.one_in(3) {
                continue;
            }
            for _ in 0..=choices.below(3) {
                let mut hook = Written::new(name, choices.of(&HOOKS));
                if choices.one_in(4) {
                    let timeout = choices.one_in(2).then(|| choices.of(&TIMES));
                    let fails = choices.one_in(2).then(|| choices.one_in(2));
                    hook.table = Some((timeout, fails));
                }
                self.written.push(hook);
            }
        }
        self.perhaps(choices, 4, "hook-timeout", &TIMES);
    }

    fn random_start(&mut self, choices: &mut Choices) {
        if choices.one_in(8) {
            for _ in 0..=choices.below(2) {
                let texts = ["file:/run/a", "exec:there", "tcp:db:5432"];
                self.add("wait-for", choices.of(&texts));
            }
            self.perhaps(choices, 2, "wait-timeout", &SOME_TIME);
        }
        if choices.one_in(3) {
            let when = ["notify", "exec:ready", "file:/run/ready", "tcp:8080"];
            self.add("ready-when", choices.of(&when));
            self.perhaps(choices, 3, "ready-timeout", &SOME_TIME);
        }
        self.perhaps(choices, 8, "health-listen", &["127.0.0.1:9000"]);
        if choices.one_in(6) {
            let when = [
                "exec:alive",
                "watchdog:2s",
                "watchdog:10s",
                "file:/run/beat",
                "tcp:8080",
            ];
            self.add("live-when", choices.of(&when));
            self.perhaps(choices, 2, "live-every", &["500ms", "1s", "5s"]);
            self.perhaps(choices, 4, "live-timeout", &["100ms", "1s", "5s"]);
            self.perhaps(choices, 2, "live-failures", &["1", "2", "5"]);
        }
        self.perhaps(choices, 8, "main-pid", &["notify", "file:/run/pid"]);
    }

    fn random_restart(&mut self, choices: &mut Choices) {
        if choices.one_in(3) {
            self.add("restart", choices.of(&["on-failure", "always"]));
            self.perhaps(choices, 2, "restart-delay", &TIMES);
            self.perhaps(choices, 4, "restart-max-delay", &["10s", "30s", "1m"]);
            let limits = ["1", "3", "none", "2/10s", "1/1s", "20/1m"];
            self.perhaps(choices, 2, "restart-limit", &limits);
            self.perhaps(choices, 6, "restart-never-on", &["3", "78,ABRT", "KILL"]);
            self.perhaps(choices, 4, "restart-start-failures", &["on"]);
        }
        self.perhaps(choices, 8, "restart-on", &["HUP", "USR1", "USR1,HUP"]);
        if choices.one_in(6) {
            self.random_replacement(choices);
        }
    }

    fn random_replacement(&mut self, choices: &mut Choices) {
        self.add("listen", "127.0.0.1:8443");
        self.add("replace-on", choices.of(&["USR2", "USR2,WINCH"]));
        if !self.written.iter().any(|one| one.name == "ready-when") {
            let when = ["notify", "exec:ready", "file:/run/ready"];
            self.add("ready-when", choices.of(&when));
        }
    }

    fn random_reload(&mut self, choices: &mut Choices) {
        self.add("config", "stepdown.toml");
        self.add("reload-on", choices.of(&["HUP", "USR1", "WINCH"]));
    }

    /// What one life after the other needs, in place of what would end that.
    fn random_lives(&mut self, choices: &mut Choices) {
        self.written
            .retain(|one| !one.name.starts_with("restart") || one.name == "restart-on");
        self.add("restart", "always");
        self.add("restart-limit", "none");
        self.add("restart-start-failures", "on");
        self.add("restart-delay", choices.of(&["0", "1ms", "500ms", "2s"]));
        self.add("restart-max-delay", choices.of(&["2s", "10s"]));
        let has = |options: &Self, name| options.written.iter().any(|one| one.name == name);
        if !has(self, "replace-on") && choices.one_in(2) {
            self.random_replacement(choices);
        }
        if !has(self, "reload-on") && choices.one_in(2) {
            self.random_reload(choices);
        }
    }

    fn random_end(&mut self, choices: &mut Choices) {
        self.perhaps(choices, 4, "left", &["stop", "wait", "leave"]);
        self.perhaps(choices, 3, "sweep-grace", &TIMES);
        self.perhaps(choices, 20, "subreaper", &["off"]);
        self.perhaps(choices, 8, "stdin", &["relay"]);
        let success = ["143", "TERM", "3,KILL", "137", "QUIT,130"];
        self.perhaps(choices, 6, "success-exit", &success);
        self.perhaps(choices, 6, "clean-stop", &["on"]);
        if choices.one_in(8) {
            self.random_reload(choices);
        }
    }

    /// What the file says when it is read again.
    fn random_file(&mut self, choices: &mut Choices) {
        let mut file = Self::default();
        file.random_stop(choices);
        file.random_signals(choices);
        file.random_hooks(choices);
        file.random_drain(choices);
        file.random_end(choices);
        file.written.retain(|one| {
            let is_typed = self.written.iter().any(|typed| typed.name == one.name);
            !is_typed && !["config", "reload-on"].contains(&one.name)
        });
        self.later = file.written;
    }

    pub(super) fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        settings.as_pid1 = self.as_pid1;
        self.written.iter().for_each(|one| one.put(&mut settings));
        settings
    }

    /// With what the file has then.
    pub(super) fn settings_later(&self) -> Settings {
        let mut settings = self.settings();
        self.later.iter().for_each(|one| one.put(&mut settings));
        settings
    }

    /// `None` where they are refused.
    pub(super) fn plan(&self) -> Option<Rc<Plan>> {
        let settings = self.settings();
        let plan = settings.plan().ok()?;
        settings.refuse_idle(&plan).ok()?;
        Some(Rc::new(plan))
    }
}

fn ladder(choices: &mut Choices) -> String {
    const ACTIONS: [&str; 15] = [
        "SAME",
        "SAME",
        "TERM",
        "TERM",
        "INT",
        "QUIT",
        "HUP",
        "USR1",
        "ABRT",
        "RTMIN+3",
        "stdin=stop",
        "eof",
        "exec=stop-it",
        "exec=stop-it now",
        "KILL",
    ];
    let steps = (0..=choices.below(5)).map(|_| {
        let action = choices.of(&ACTIONS);
        let takes_target = !action.contains('=') && action != "eof";
        let target = if takes_target && choices.one_in(4) {
            choices.of(&["@child", "@group", "@tree"])
        } else {
            ""
        };
        let wait = if choices.one_in(2) {
            format!(":{}", choices.of(&TIMES))
        } else {
            String::new()
        };
        format!("{action}{target}{wait}")
    });
    steps.collect::<Vec<_>>().join(",")
}

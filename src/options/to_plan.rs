//! From all values to the one `Plan`: defaults, and what options mean to each other.

use std::cmp::Reverse;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use super::parse::{
    parse_checks, parse_hook, parse_ports, parse_rewrite, parse_success, parse_switch,
};
use super::{Settings, Value};
use crate::options::identity;
use crate::options::ladder;
use crate::plan;
use crate::plan::drain::{Checks, Drain, DrainPorts};
use crate::plan::listen::Listen;
use crate::plan::readiness::{Readiness, ReadyWhen};
use crate::plan::{
    ChildSettings, Health, Hook, OnFailure, Plan, Stdin, Step, StepAction, Stragglers, SuccessExit,
    Target,
};
use crate::sys::credentials::Credentials;
use crate::sys::error_text;
use crate::words::fault::{Error, Fault};
use crate::words::signal::{Signal, SignalSet};

const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_CHECKS_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const DEFAULT_HOOK_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_SWEEP_GRACE: Duration = Duration::from_secs(2);

/// The options that name a file to be written, and what such a file may be called.
const FILES: [(&str, &str); 3] = [
    ("report", "run.json"),
    ("state-file", "state.json"),
    ("metrics-file", "stepdown.prom"),
];

impl Settings {
    fn hooks(
        &self,
        name: &'static str,
        timeout: Duration,
        on_failure: OnFailure,
    ) -> Result<Vec<Ranked>, Error> {
        self.all(name)
            .map(|value| {
                let kind = parse_hook(&value.text).map_err(|fault| value.fault(name, fault))?;
                let table = value.hook.as_deref().cloned().unwrap_or_default();
                let hook = Hook {
                    name: table
                        .name
                        .unwrap_or_else(|| value.text.to_string_lossy().into_owned()),
                    kind,
                    timeout: table.timeout.unwrap_or(timeout),
                    on_failure: table.on_failure.unwrap_or(on_failure),
                    env: table.env,
                };
                Ok((Reverse(table.priority), hook))
            })
            .collect()
    }

    /// The plan, every option parsed.
    ///
    /// # Errors
    /// The first value that cannot be what was meant, with its option, its place and the way out.
    pub(crate) fn plan(&self) -> Result<Plan, Error> {
        let deadline = self.duration("deadline")?;
        let mut ladder = self.ladder()?;
        let is_same = |step: &Step| step.action == StepAction::Same;
        let stop_signal = self.signal("stop-signal")?;
        let stop_signal = stop_signal.filter(|_| ladder.iter().any(is_same));
        if let Some(signal) = stop_signal {
            for step in ladder.iter_mut().filter(|step| is_same(step)) {
                step.action = StepAction::Signal(signal);
                // The word is the first of the step, however it is written.
                let rest = step.text.get("SAME".len()..).unwrap_or_default();
                step.text = format!("{signal}{rest}").into();
            }
        }
        let writes = |action: &StepAction| matches!(action, StepAction::Stdin(_) | StepAction::Eof);
        let step_writes = ladder.iter().any(|step| writes(&step.action));
        let modes = [("inherit", Stdin::Inherit), ("relay", Stdin::Relay)];
        let stdin = match self.choice("stdin", &modes)? {
            Some(Stdin::Inherit) if step_writes && self.is_stronger("ladder", "stdin") => {
                Stdin::Relay
            }
            Some(Stdin::Inherit) if step_writes => {
                let fault =
                    Fault::new("the ladder has a stdin= or eof step, which needs the relay");
                return Err(self.error("stdin", fault.way_out("use --stdin relay")));
            }
            Some(mode) => mode,
            None if step_writes => Stdin::Relay,
            None => Stdin::Inherit,
        };
        let timeout = self
            .duration("hook-timeout")?
            .unwrap_or(DEFAULT_HOOK_TIMEOUT);
        let mut post_stop = self.hooks("post-stop", timeout, OnFailure::Ignore)?;
        // What was set up last is taken down first.
        post_stop.reverse();
        let stragglers = [
            ("stop", Stragglers::Stop),
            ("wait", Stragglers::Wait),
            ("leave", Stragglers::Leave),
        ];
        let mut success_exit = SuccessExit::default();
        for value in self.all("success-exit") {
            value.parse("success-exit", |text| {
                parse_success(text, &mut success_exit)
            })?;
        }
        let mut rewrite = Vec::new();
        for rules in self.many("rewrite", parse_rewrite)? {
            rewrite.extend(rules);
        }
        self.check_names_of_files()?;
        Ok(Plan {
            ladder,
            stop_signal,
            stop_on: self.signals("stop-on")?.unwrap_or_else(default_stop_on),
            escalate_on: self
                .signals("escalate-on")?
                .unwrap_or_else(|| [Signal::INT].into_iter().collect()),
            reload_on: self.reload_on()?,
            rewrite,
            target: self.target()?,
            deadline,
            max_runtime: self.max_runtime()?,
            pre_start: by_priority(self.hooks("pre-start", timeout, OnFailure::Fail)?),
            pre_stop: by_priority(self.hooks("pre-stop", timeout, OnFailure::Ignore)?),
            post_stop: by_priority(post_stop),
            readiness: self.readiness()?,
            health: self.health()?,
            drain: self.drain()?,
            sweep_grace: self.duration("sweep-grace")?.unwrap_or(DEFAULT_SWEEP_GRACE),
            stragglers: self
                .choice("stragglers", &stragglers)?
                .unwrap_or(Stragglers::Stop),
            success_exit,
            clean_stop: self.switch("clean-stop")?,
            stdin,
            subreaper: self.one("subreaper", parse_switch)?.unwrap_or(true),
            cgroup: self.one("cgroup", parse_switch)?.unwrap_or(false),
            parent_death_signal: self.signal("parent-death-signal")?,
            child: self.child()?,
            failure_codes: self.failure_codes,
            says_grace: self.has("grace"),
            keeps_files: FILES.iter().any(|(name, _)| self.has(name)),
            as_pid1: self.as_pid1,
        })
    }

    fn target(&self) -> Result<Target, Error> {
        let target = self.one("target", ladder::parse_target)?;
        Ok(target.unwrap_or(Target::Child))
    }

    /// The steps, with SAME where it was written.
    pub(super) fn ladder(&self) -> Result<Vec<Step>, Error> {
        let no_kill = self.switch("no-kill")?;
        let defaults = ladder::Defaults {
            target: self.target()?,
            grace: self.duration("grace")?,
            kill: !no_kill,
        };
        let Some(value) = self.all("ladder").next_back() else {
            return ladder::parse("SAME", defaults).map_err(|f| Error::new("--ladder", f));
        };
        let mut steps = value.parse("ladder", |text| match value.ranges() {
            Some(ranges) => ladder::parse_steps(text, ranges, defaults),
            None => ladder::parse(text, defaults),
        })?;
        // Whose word counts more decides; said in the same place they contradict each other.
        let ends_with_kill = steps.last().is_some_and(Step::is_kill);
        if no_kill && ends_with_kill && !self.is_stronger("ladder", "no-kill") {
            if steps.len() == 1 || !self.is_stronger("no-kill", "ladder") {
                let fault = Fault::new("the ladder ends with KILL, but --no-kill was given");
                return Err(self.error("ladder", fault.way_out("drop one of the two")));
            }
            steps.pop();
        }
        Ok(steps)
    }

    /// Whether one option was written in a place that wins over that of the other.
    fn is_stronger(&self, name: &'static str, than: &'static str) -> bool {
        let rank = |name| self.all(name).next_back().map(|value| value.source.rank());
        rank(name)
            .zip(rank(than))
            .is_some_and(|(ours, theirs)| ours < theirs)
    }

    /// timeout(1) takes 0 for no limit; whoever writes it may mean that, or an end at once.
    fn max_runtime(&self) -> Result<Option<Duration>, Error> {
        let limit = self.duration("max-runtime")?;
        if limit == Some(Duration::ZERO) {
            let fault = Fault::new("0 would stop at once");
            return Err(self.error("max-runtime", fault.way_out("leave it out for no limit")));
        }
        Ok(limit)
    }

    /// What the name of a file says by itself.
    fn check_names_of_files(&self) -> Result<(), Error> {
        for (name, _) in FILES {
            let is_empty = |value: &Value| value.text.is_empty();
            if self.all(name).next_back().is_some_and(is_empty) {
                let fault = Fault::new("the name is empty");
                return Err(self.error(name, fault.way_out("name a file, or leave it out")));
            }
        }
        let is_read = |value: &Value| value.text.as_bytes().ends_with(b".prom");
        let metrics = self.all("metrics-file").next_back();
        if let Some(value) = metrics.filter(|value| !is_read(value)) {
            let shown = value.text.to_string_lossy();
            let fault = Fault::new(format!("{shown}: node_exporter reads *.prom only"));
            let way_out = "name a file so, as DIRECTORY/stepdown.prom";
            return Err(value.fault("metrics-file", fault.way_out(way_out)));
        }
        Ok(())
    }

    fn drain(&self) -> Result<Option<Drain>, Error> {
        let ports = self
            .one("drain-port", parse_ports)?
            .unwrap_or(DrainPorts::None);
        let delay = self.duration("drain-delay")?;
        let checks = self.one("drain-checks", parse_checks)?;
        // See `effect` for what is said about checks that nobody answers.
        let checks = checks.filter(|_| self.has("health-listen"));
        let checks_timeout = self.duration("drain-checks-timeout")?;
        let quiet = self.duration("drain-quiet")?;
        let timeout = self
            .duration("drain-timeout")?
            .unwrap_or(DEFAULT_DRAIN_TIMEOUT);
        let until = self.many("drain-until", plan::until::parse)?;
        if ports == DrainPorts::None && delay.is_none() && checks.is_none() && until.is_empty() {
            return Ok(None);
        }
        Ok(Some(Drain {
            delay: delay.unwrap_or_default(),
            timeout,
            ports,
            quiet,
            checks: checks.map(|times| Checks {
                times,
                timeout: checks_timeout.unwrap_or(DEFAULT_CHECKS_TIMEOUT),
            }),
            until,
        }))
    }

    fn reload_on(&self) -> Result<SignalSet, Error> {
        let signals = self.signals("reload-on")?.unwrap_or_default();
        if !self.has("config") {
            return Ok(SignalSet::default());
        }
        let stop_on = self.signals("stop-on")?.unwrap_or_else(default_stop_on);
        if let Some(signal) = signals.iter().find(|signal| stop_on.contains(*signal)) {
            let fault = Fault::new(format!("{signal} asks for the stop already"));
            let way_out = "use another signal, or take it out of --stop-on";
            return Err(self.error("reload-on", fault.way_out(way_out)));
        }
        Ok(signals)
    }

    fn readiness(&self) -> Result<Option<Readiness>, Error> {
        let timeout = self.duration("ready-timeout")?;
        let when = self.one("ready-when", |text| {
            Ok((plan::readiness::parse(text)?, text.to_owned()))
        })?;
        let is_asked = timeout.is_some() || self.has("health-listen");
        let condition = match (when, self.one("drain-port", parse_ports)?) {
            (Some(condition), _) => Some(condition),
            // A server that is going to be drained is ready when it listens on its ports.
            (None, Some(DrainPorts::List(ports))) if is_asked => {
                let ports: Vec<u16> = ports.into_iter().map(|(port, _)| port).collect();
                let names: Vec<String> = ports.iter().map(u16::to_string).collect();
                Some((ReadyWhen::Tcp(ports), format!("tcp:{}", names.join(","))))
            }
            (None, _) => None,
        };
        Ok(condition.map(|(when, text)| Readiness {
            when,
            timeout,
            text,
        }))
    }

    fn health(&self) -> Result<Option<Health>, Error> {
        let listen = self.one("health-listen", Listen::parse)?;
        let status = self.one("not-ready-status", |text| {
            let status = text.trim().parse().ok().filter(|s| (400..600).contains(s));
            status.ok_or_else(|| {
                Fault::new(format!("{text:?} is no HTTP status that says no"))
                    .way_out("write one from 400 to 599, as 503 or 404")
            })
        })?;
        Ok(listen.map(|listen| Health {
            listen,
            not_ready_status: status.unwrap_or(503),
        }))
    }

    fn child(&self) -> Result<ChildSettings, Error> {
        let user = self.one("user", identity::user)?;
        let group = self.one("group", identity::group)?;
        let mut env = Vec::new();
        for value in self.all("env") {
            let bytes = value.text.as_bytes();
            match bytes.iter().position(|b| *b == b'=') {
                Some(split) if split > 0 => env.push((
                    OsString::from_vec(bytes[..split].to_vec()),
                    OsString::from_vec(bytes[split + 1..].to_vec()),
                )),
                _ => {
                    let fault = Fault::new(format!("{:?} is not KEY=VALUE", value.text));
                    return Err(value.fault("env", fault.way_out("write --env NAME=VALUE")));
                }
            }
        }
        Ok(ChildSettings {
            user: identity::merge(user, group).map_err(|fault| self.error("group", fault))?,
            workdir: self
                .all("workdir")
                .next_back()
                .map(|value| value.text.clone()),
            env,
            no_new_privs: self.switch("no-new-privs")?,
            own_namespaces: false,
        })
    }

    /// Whether the plan can be carried out here, as far as that can be known before anything starts.
    ///
    /// # Errors
    /// What is not permitted, or not there, with its option.
    pub(crate) fn check(&self, plan: &mut Plan) -> Result<(), Error> {
        if let Some(wanted) = &mut plan.child.user {
            identity::permit(wanted, &Credentials::own()).map_err(|refused| {
                let option = if refused.user { "user" } else { "group" };
                self.error(option, refused.fault)
            })?;
        }
        for (name, example) in FILES {
            let Some(file) = self.file(name) else {
                continue;
            };
            // One that is missing may be made by then; a directory will not become a file.
            let bytes = file.path.as_os_str().as_bytes();
            if bytes.ends_with(b"/") || file.path.is_dir() {
                let shown = file.path.display();
                let fault = Fault::new(format!("{shown}: {}", error_text(libc::EISDIR)));
                let inside = file.path.join(example);
                let way_out = format!("name a file in it, as {}", inside.display());
                return Err(self.error(name, fault.way_out(way_out)));
            }
        }
        // A pre-start hook may be what makes the directory.
        if let Some(directory) = plan
            .child
            .workdir
            .as_ref()
            .filter(|_| plan.pre_start.is_empty())
        {
            let why = match std::fs::metadata(directory) {
                Ok(found) if found.is_dir() => return Ok(()),
                Ok(_) => error_text(libc::ENOTDIR),
                // The child's user may be the one who has access; the start will tell.
                Err(error)
                    if error.raw_os_error() == Some(libc::EACCES) && plan.child.user.is_some() =>
                {
                    return Ok(());
                }
                Err(error) => error_text(error.raw_os_error().unwrap_or(0)),
            };
            let fault = Fault::new(format!("{}: {why}", directory.to_string_lossy()));
            return Err(self.error("workdir", fault.way_out("name a directory that is there")));
        }
        Ok(())
    }
}

/// A hook and where it stands among the others.
type Ranked = (Reverse<i64>, Hook);

/// Higher ones first, equal ones as they stand.
fn by_priority(mut hooks: Vec<Ranked>) -> Vec<Hook> {
    hooks.sort_by_key(|(priority, _)| *priority);
    hooks.into_iter().map(|(_, hook)| hook).collect()
}

fn default_stop_on() -> SignalSet {
    [Signal::TERM, Signal::INT].into_iter().collect()
}

//! `--help`, "Hooks": what is run before the start, before the ladder and at the end.

use std::cmp::Reverse;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::definition::{Because, Idle, Kind, Opt, Preset, written};
use super::parse::parse_limit;
use super::settings::{Given, Settings};
use crate::plan::call::{self, Call};
use crate::plan::{Hook, HookKind, OnFailure, Plan};
use crate::words::command_line;
use crate::words::fault::{Error, Fault};

const SECTION: Opt = Opt {
    section: "Hooks",
    shapes_stop: true,
    put,
    ..Opt::BASE
};

pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) static PRE_START: Opt = Opt {
    name: "pre-start",
    elsewhere: &["on-start", "before-start", "exec-start-pre"],
    kind: Kind::Many("HOOK"),
    help: "Run before the start, which a failure prevents: a command, http://HOST/PATH, udp://HOST:PORT/TEXT or mdns://NAME",
    ..SECTION
};

pub(crate) static PRE_STOP: Opt = Opt {
    name: "pre-stop",
    elsewhere: &["on-stop", "before-stop"],
    kind: Kind::Many("HOOK"),
    help: "Run when a stop was asked for, before the drain and the ladder",
    reload: Some(|plan, fresh| {
        plan.pre_stop.clone_from(&fresh.pre_stop);
        Ok(())
    }),
    ..SECTION
};

pub(crate) static POST_STOP: Opt = Opt {
    name: "post-stop",
    elsewhere: &["on-exit", "after-stop", "exec-stop-post"],
    kind: Kind::Many("HOOK"),
    help: "Run at the end, however it came; the last one first",
    reload: Some(|plan, fresh| {
        plan.post_stop.clone_from(&fresh.post_stop);
        Ok(())
    }),
    ..SECTION
};

pub(crate) static HOOK_TIMEOUT: Opt = Opt {
    name: "hook-timeout",
    kind: Kind::One("DUR"),
    help: "How long each hook may take",
    default: Some(Preset::Time(DEFAULT_TIMEOUT)),
    shown: |plan| has_hooks(plan).then(|| written(plan.hook_timeout)),
    reload: Some(|plan, fresh| {
        plan.hook_timeout = fresh.hook_timeout;
        plan.pre_stop.clone_from(&fresh.pre_stop);
        plan.post_stop.clone_from(&fresh.post_stop);
        Ok(())
    }),
    idle: Some(Idle {
        when: |_, plan| !has_hooks(plan),
        why: "there are no hooks",
        because: Because::Missing(&[&PRE_START, &PRE_STOP, &POST_STOP]),
        is_missed: false,
    }),
    ..SECTION
};

fn has_hooks(plan: &Plan) -> bool {
    let hooks = [&plan.pre_start, &plan.pre_stop, &plan.post_stop];
    hooks.into_iter().any(|hooks| !hooks.is_empty())
}

fn put(given: &Given<'_>, plan: &mut Plan) -> Result<(), Error> {
    let timeout = given.settings.one(&HOOK_TIMEOUT, parse_limit)?;
    let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
    plan.hook_timeout = timeout;
    let hooks = |option, on_failure| hooks(given.settings, option, timeout, on_failure);
    plan.pre_start = by_priority(hooks(&PRE_START, OnFailure::Fail)?);
    plan.pre_stop = by_priority(hooks(&PRE_STOP, OnFailure::Ignore)?);
    let mut post_stop = hooks(&POST_STOP, OnFailure::Ignore)?;
    // What was set up last is taken down first.
    post_stop.reverse();
    plan.post_stop = by_priority(post_stop);
    Ok(())
}

/// A hook and where it stands among the others.
type Ranked = (Reverse<i64>, Hook);

fn hooks(
    settings: &Settings,
    option: &'static Opt,
    timeout: Duration,
    on_failure: OnFailure,
) -> Result<Vec<Ranked>, Error> {
    let hook = |value: &super::Value| {
        let mut kind = parse_hook(&value.text).map_err(|fault| value.fault(option, fault))?;
        let table = value.hook.as_deref().cloned().unwrap_or_default();
        if let HookKind::Call(Call::Http(request)) = &mut kind {
            request.body.clone_from(&table.body);
        }
        let text = || value.text.to_string_lossy().into_owned();
        let hook = Hook {
            name: table.name.unwrap_or_else(text),
            kind,
            timeout: table.timeout.unwrap_or(timeout),
            on_failure: table.on_failure.unwrap_or(on_failure),
            env: table.env,
        };
        Ok((Reverse(table.priority), hook))
    };
    settings.values(option).map(hook).collect()
}

/// Higher ones first, equal ones as they stand.
fn by_priority(mut hooks: Vec<Ranked>) -> Vec<Hook> {
    hooks.sort_by_key(|(priority, _)| *priority);
    hooks.into_iter().map(|(_, hook)| hook).collect()
}

/// A call, or a command line that is split as a shell would.
fn parse_hook(text: &OsStr) -> Result<HookKind, Fault> {
    if let Some(call) = text.to_str().and_then(call::parse) {
        return call.map(HookKind::Call);
    }
    command_line::words(text.as_bytes()).map(HookKind::Command)
}

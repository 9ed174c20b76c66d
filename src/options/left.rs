//! `--help`, "What is left": what becomes of processes that outlive the child.

use std::time::Duration;

use super::definition::{Because, Idle, Kind, Opt, Preset, on_or_off, word, words, written};
use crate::plan::Left;

const SECTION: Opt = Opt {
    section: "What is left",
    ..Opt::BASE
};

pub(super) const DEFAULT_SUBREAPER: bool = true;
pub(super) const DEFAULT_CGROUP: bool = false;
pub(super) const DEFAULT_LEFT: Left = Left::ALL[0].1;
pub(super) const DEFAULT_SWEEP_GRACE: Duration = Duration::from_secs(2);

pub(crate) static SUBREAPER: Opt = Opt {
    name: "subreaper",
    kind: Kind::Switch,
    took_next_word: true,
    help: "Adopt orphaned descendants when not PID 1 (PR_SET_CHILD_SUBREAPER)",
    default: Some(Preset::Switch(DEFAULT_SUBREAPER)),
    put: |given, plan| {
        plan.subreaper = given.switch()?;
        Ok(())
    },
    shown: |plan| Some(on_or_off(plan.subreaper).to_owned()),
    ..SECTION
};

pub(crate) static CGROUP: Opt = Opt {
    name: "cgroup",
    kind: Kind::Switch,
    took_next_word: true,
    help: "Start the child in a cgroup of its own, so that the last KILL is one write to cgroup.kill",
    default: Some(Preset::Switch(DEFAULT_CGROUP)),
    put: |given, plan| {
        plan.cgroup = given.switch()?;
        Ok(())
    },
    shown: |plan| Some(on_or_off(plan.cgroup).to_owned()),
    ..SECTION
};

pub(crate) static LEFT: Opt = Opt {
    name: "left",
    former: &["stragglers"],
    kind: Kind::One("MODE"),
    help: "What happens to processes that the child leaves behind: stop, wait or leave",
    default: Some(Preset::Word(Left::ALL[0].0)),
    words: &words(&Left::ALL),
    put: |given, plan| {
        plan.left = given.choice(&Left::ALL)?;
        Ok(())
    },
    shown: |plan| word(&Left::ALL, &plan.left),
    reload: Some(|plan, fresh| {
        plan.left = fresh.left;
        Ok(())
    }),
    ..SECTION
};

pub(crate) static SWEEP_GRACE: Opt = Opt {
    name: "sweep-grace",
    kind: Kind::One("DUR"),
    help: "Between TERM and KILL for what is left; the rest of --grace if that is longer",
    default: Some(Preset::Time(DEFAULT_SWEEP_GRACE)),
    put: |given, plan| {
        plan.sweep_grace = given.duration()?;
        Ok(())
    },
    shown: |plan| {
        let counts = plan.left != Left::Leave;
        counts.then(|| written(plan.sweep_grace))
    },
    reload: Some(|plan, fresh| {
        plan.sweep_grace = fresh.sweep_grace;
        Ok(())
    }),
    idle: Some(Idle {
        when: |_, plan| plan.left == Left::Leave,
        why: "nothing that the child leaves behind is stopped",
        because: Because::Beside(&LEFT, "leave it out, or leave out --left leave"),
        is_missed: false,
    }),
    ..SECTION
};

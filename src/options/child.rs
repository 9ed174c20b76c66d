//! `--help`, "Child": whom and how the child is started as.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::definition::{Kind, Opt, Preset, on_or_off, word, words};
use super::identity;
use super::settings::{Given, Settings};
use super::stop::{self, LADDER};
use crate::plan::{Plan, Stdin};
use crate::sys::credentials::Credentials;
use crate::sys::error_text;
use crate::words::fault::{Error, Fault};

const SECTION: Opt = Opt {
    section: "Child",
    ..Opt::BASE
};

pub(crate) static USER: Opt = Opt {
    name: "user",
    elsewhere: &["uid"],
    kind: Kind::One("USER[:GROUP]"),
    help: "Run the child as this user: a name from /etc/passwd, or a number",
    put: put_identity,
    ..SECTION
};

pub(crate) static GROUP: Opt = Opt {
    name: "group",
    elsewhere: &["gid"],
    kind: Kind::One("GROUP"),
    help: "Run the child with this group: a name from /etc/group, or a number",
    put: put_identity,
    ..SECTION
};

pub(crate) static WORKDIR: Opt = Opt {
    name: "workdir",
    elsewhere: &["directory", "working-directory", "chdir", "cwd"],
    kind: Kind::One("DIR"),
    help: "Run the child in this directory",
    put: |given, plan| {
        plan.child.workdir = Some(given.last.text.clone());
        Ok(())
    },
    shown: |plan| Some(plan.child.workdir.as_ref()?.to_string_lossy().into_owned()),
    ..SECTION
};

pub(crate) static ENV: Opt = Opt {
    name: "env",
    elsewhere: &["environment", "setenv"],
    kind: Kind::Many("KEY=VALUE"),
    help: "Set a variable for the child; KEY= empties it",
    put: put_env,
    ..SECTION
};

pub(crate) static NO_NEW_PRIVS: Opt = Opt {
    name: "no-new-privs",
    kind: Kind::Switch,
    help: "Keep the child from gaining privileges by exec (PR_SET_NO_NEW_PRIVS)",
    put: |given, plan| {
        plan.child.no_new_privs = given.switch()?;
        Ok(())
    },
    shown: |plan| Some(on_or_off(plan.child.no_new_privs).to_owned()),
    ..SECTION
};

pub(crate) static STDIN: Opt = Opt {
    name: "stdin",
    kind: Kind::One("MODE"),
    help: "inherit, or relay: a pipe that steps of the ladder can write to",
    default: Some(Preset::Said("relay where the ladder has stdin= or eof")),
    words: &words(&Stdin::ALL),
    put: put_stdin,
    shown: |plan| word(&Stdin::ALL, &plan.stdin),
    ..SECTION
};

fn put_identity(given: &Given<'_>, plan: &mut Plan) -> Result<(), Error> {
    let user = given.settings.one(&USER, identity::user)?;
    let group = given.settings.one(&GROUP, identity::group)?;
    let merged = identity::merge(user, group);
    plan.child.user = merged.map_err(|fault| given.settings.error(&GROUP, fault))?;
    Ok(())
}

fn put_env(given: &Given<'_>, plan: &mut Plan) -> Result<(), Error> {
    for value in given.settings.values(&ENV) {
        let bytes = value.text.as_bytes();
        match bytes.iter().position(|b| *b == b'=') {
            Some(split) if split > 0 => plan.child.env.push((
                OsString::from_vec(bytes[..split].to_vec()),
                OsString::from_vec(bytes[split + 1..].to_vec()),
            )),
            _ => {
                let fault = Fault::new(format!("{:?} is not KEY=VALUE", value.text));
                return Err(value.fault(&ENV, fault.way_out("write --env NAME=VALUE")));
            }
        }
    }
    Ok(())
}

/// Has the last word about what the ladder has asked for.
fn put_stdin(given: &Given<'_>, plan: &mut Plan) -> Result<(), Error> {
    let mode = given.choice(&Stdin::ALL)?;
    if mode == Stdin::Inherit && plan.ladder.iter().any(stop::writes) {
        if given.settings.is_stronger(&LADDER, &STDIN) {
            return Ok(());
        }
        let fault = Fault::new("the ladder has a stdin= or eof step, which needs the relay");
        return Err(given.error(fault.way_out("use --stdin relay")));
    }
    plan.stdin = mode;
    Ok(())
}

/// Whether the child can be started so here, as far as that can be known before anything starts.
///
/// # Errors
/// What is not permitted, or not there, with its option.
pub(super) fn check(settings: &Settings, plan: &mut Plan) -> Result<(), Error> {
    if let Some(wanted) = &mut plan.child.user {
        identity::permit(wanted, &Credentials::own()).map_err(|refused| {
            let option = if refused.user { &USER } else { &GROUP };
            settings.error(option, refused.fault)
        })?;
    }
    // A pre-start hook may be what makes the directory.
    let Some(directory) = plan
        .child
        .workdir
        .as_ref()
        .filter(|_| plan.pre_start.is_empty())
    else {
        return Ok(());
    };
    let why = match std::fs::metadata(directory) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => error_text(libc::ENOTDIR),
        // The child's user may be the one who has access; the start will tell.
        Err(error) if error.raw_os_error() == Some(libc::EACCES) && plan.child.user.is_some() => {
            return Ok(());
        }
        Err(error) => error_text(error.raw_os_error().unwrap_or(0)),
    };
    let fault = Fault::new(format!("{}: {why}", directory.to_string_lossy()));
    Err(settings.error(&WORKDIR, fault.way_out("name a directory that is there")))
}

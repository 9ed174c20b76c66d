//! `--help`, "Sockets": what is listened on before the command is started.

use super::definition::{Because, Idle, Kind, Opt, Preset};
use super::restart::{REPLACE_ON, RESTART, RESTART_ON};
use super::settings::Settings;
use crate::plan::sockets::{self, Socket};
use crate::words::fault::{Error, Fault};

const SECTION: Opt = Opt {
    section: "Sockets",
    ..Opt::BASE
};

pub(crate) static LISTEN: Opt = Opt {
    name: "listen",
    elsewhere: &["listen-stream", "socket", "bind"],
    kind: Kind::Many("[NAME=]ADDR:PORT"),
    help: "Listen there, or on unix:PATH, before the start, and pass the socket on (LISTEN_FDS)",
    put: |given, plan| {
        plan.sockets = given.each(sockets::parse)?;
        let values = given.settings.values(&LISTEN);
        for (index, (value, other)) in values.zip(&plan.sockets).enumerate() {
            let mut before = plan.sockets.iter().take(index);
            if let Some(socket) = before.find(|socket| other.overlaps(socket)) {
                let fault = Fault::new(format!(
                    "{} is listened on by --listen {} already",
                    other.text, socket.text
                ));
                let fault = fault.way_out("leave one of them out, or take another port");
                return Err(value.fault(&LISTEN, fault));
            }
        }
        Ok(())
    },
    ..SECTION
};

pub(crate) static FD_STORE_MAX: Opt = Opt {
    name: "fd-store-max",
    elsewhere: &["file-descriptor-store-max", "fdstore"],
    kind: Kind::One("N"),
    help: "Keep so many descriptors for the next start that the child hands over (FDSTORE=1)",
    default: Some(Preset::Number(0)),
    not_in_check: Some("leave it out: a run is one life of the command"),
    put: |given, plan| {
        plan.fd_store_max = given.one(parse_count)?;
        Ok(())
    },
    shown: |plan| Some(plan.fd_store_max.to_string()),
    idle: Some(Idle {
        when: |_, plan| plan.supervision.is_none(),
        why: "there is no next start",
        because: Because::Missing(&[&RESTART, &RESTART_ON, &REPLACE_ON]),
        is_missed: true,
    }),
    ..SECTION
};

/// Of more than these a process could not have as many again for itself (RLIMIT_NOFILE).
const MOST: usize = 512;

fn parse_count(text: &str) -> Result<usize, Fault> {
    let count = text.trim().parse().ok().filter(|count| *count <= MOST);
    count.ok_or_else(|| {
        Fault::new(format!("{text:?} is no number of descriptors"))
            .way_out(format!("write a whole number up to {MOST}"))
    })
}

/// The sockets on which we listen ourselves for the command.
pub(super) fn all(settings: &Settings) -> Result<Vec<Socket>, Error> {
    settings.many(&LISTEN, sockets::parse)
}

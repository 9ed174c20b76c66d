//! `--help`, "Sockets": what is listened on before the command is started.

use super::definition::{Kind, Opt};
use super::settings::Settings;
use crate::plan::sockets::{self, Socket};
use crate::words::fault::Error;

const SECTION: Opt = Opt {
    section: "Sockets",
    ..Opt::BASE
};

pub(crate) static LISTEN: Opt = Opt {
    name: "listen",
    elsewhere: &["listen-stream", "socket", "bind"],
    kind: Kind::Many("[NAME=]ADDR:PORT"),
    help: "Listen there before anything is started, or on [NAME=]unix:PATH, and pass the socket on as \
           sd_listen_fds(3) says (LISTEN_FDS); it stays open from one start to the next, so no connection is \
           refused in between",
    put: |given, plan| {
        plan.sockets = given.each(sockets::parse)?;
        Ok(())
    },
    ..SECTION
};

/// TCP ports on which we listen ourselves.
pub(super) fn ports(settings: &Settings) -> Result<Vec<u16>, Error> {
    let sockets = settings.many(&LISTEN, sockets::parse)?;
    Ok(sockets.iter().filter_map(Socket::port).collect())
}

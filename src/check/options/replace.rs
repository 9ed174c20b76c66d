//! `--replace`: what it needs besides, how it is asked for, and what is asked under load.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::check::options::Replace;
use crate::options::check::{
    AS_PID1, COMPARE, DEFAULT_REPLACE_ON, OFFSETS, REPLACE, REPLACE_URL, SIGNAL,
};
use crate::options::readiness::{READY_TIMEOUT, READY_WHEN};
use crate::options::restart::REPLACE_ON;
use crate::options::sockets::LISTEN;
use crate::options::{Opt, Settings, Source};
use crate::plan::Plan;
use crate::plan::call::{self, Request};
use crate::plan::sockets::Address;
use crate::words::fault::{Error, Fault};
use crate::words::signal::Signal;

/// How long the next one has, as long as the first one.
const READY: &str = "30s";

/// Whether it is asked for; the settings are completed then, and without it a run is one life of the command.
///
/// # Errors
/// Something that it needs is missing, or does not go together with it.
pub(super) fn prepare(settings: &mut Settings) -> Result<bool, Error> {
    if !settings.switch(&REPLACE)? {
        if settings.has(&REPLACE_URL) {
            let fault = Fault::new("nothing is replaced");
            return Err(settings.error(&REPLACE_URL, fault.way_out("add --replace")));
        }
        settings.remove_untyped(&REPLACE_ON);
        if settings.has(&REPLACE_ON) {
            let fault = Fault::new("a run is one life of the command");
            let way_out = "add --replace, which replaces it once under load, or leave it out";
            return Err(settings.error(&REPLACE_ON, fault.way_out(way_out)));
        }
        return Ok(false);
    }
    let refused = |fault: &str, way_out: &str| {
        let fault = Fault::new(fault.to_owned()).way_out(way_out.to_owned());
        Err(settings.error(&REPLACE, fault))
    };
    let missing = [
        (
            &LISTEN,
            "the child has no socket that the next one could take over",
            "add --listen ADDR:PORT",
        ),
        (
            &READY_WHEN,
            "nothing tells when the next one can serve",
            "add --ready-when notify, http:URL, file:PATH or exec:COMMAND",
        ),
    ];
    for (option, fault, way_out) in missing {
        if !settings.has(option) {
            return refused(fault, way_out);
        }
    }
    let others: [(&'static Opt, &str); 3] = [
        (
            &OFFSETS,
            "a server that is ready is replaced, and --offsets does not wait for it",
        ),
        (
            &AS_PID1,
            "the namespaces of --as-pid1 end with the first one",
        ),
        (&COMPARE, "without stepdown nothing replaces it"),
    ];
    for (option, fault) in others {
        if settings.has(option) {
            return refused(fault, &format!("leave out --{}", option.name));
        }
    }
    if !settings.has(&REPLACE_ON) {
        settings.add(&REPLACE_ON, DEFAULT_REPLACE_ON, Source::Flag);
    }
    if !settings.has(&READY_TIMEOUT) {
        settings.add(&READY_TIMEOUT, READY, Source::Flag);
    }
    Ok(true)
}

/// # Errors
/// The signal that stops it would replace it, or it is not known what to ask.
pub(super) fn of(settings: &Settings, plan: &Plan, stop: Signal) -> Result<Option<Replace>, Error> {
    let signals = plan.supervision.as_ref().map(|wanted| wanted.replace_on);
    let Some(signals) = signals.filter(|signals| !signals.is_empty()) else {
        return Ok(None);
    };
    if signals.contains(stop) {
        let fault = Fault::new(format!("{stop} asks for a replacement already"));
        let way_out = "use another signal, or another one for --replace-on";
        return Err(settings.error(&SIGNAL, fault.way_out(way_out)));
    }
    let addresses = plan
        .sockets
        .iter()
        .filter_map(|socket| match &socket.address {
            Address::Tcp(addresses) => addresses.first().copied(),
            Address::Unix(_) => None,
        });
    let mut known = addresses.filter(|address| address.port() != 0);
    let request = match (settings.one(&REPLACE_URL, call::http)?, known.next()) {
        (Some(request), _) => request,
        (None, Some(mut address)) => {
            if address.ip().is_unspecified() {
                address.set_ip(match address.ip() {
                    IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                });
            }
            Request::get(address, "/")
        }
        (None, None) => {
            let fault = Fault::new("no port of --listen is known before the start");
            let way_out =
                "write one, as --listen :8080, or name the URL that is asked (--replace-url URL)";
            return Err(settings.error(&REPLACE, fault.way_out(way_out)));
        }
    };
    let signal = signals.iter().next();
    Ok(signal.map(|signal| Replace { signal, request }))
}

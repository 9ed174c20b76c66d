//! `--help`, "Drain": what is waited for before the ladder, and how long.

use std::time::Duration;

use super::definition::{Because, Idle, Kind, Opt, Preset, TakeOver, written};
use super::parse::parse_choice;
use super::readiness::{self, HEALTH_LISTEN};
use super::restart::REPLACE_ON;
use super::settings::{Given, Settings};
use crate::plan::Plan;
use crate::plan::drain::{Checks, Drain, DrainPorts, Protocol, QUIET, QUIET_UNSEEN};
use crate::plan::until::{self, UntilWhen};
use crate::words::fault::{Error, Fault};
use crate::words::list::list;

const SECTION: Opt = Opt {
    section: "Drain",
    shapes_stop: true,
    put,
    reload: Some(RELOAD),
    ..Opt::BASE
};

const DEFAULT_DELAY: Duration = Duration::ZERO;
const DEFAULT_CHECKS_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) static PORT: Opt = Opt {
    name: "drain-port",
    elsewhere: &["port"],
    kind: Kind::One("PORTS"),
    help: "Before the ladder wait until no request is in flight on these TCP ports, as in \
           8080,8443/tls; auto is all ports of the tree",
    is_list: true,
    shown: |plan| {
        let ports = &plan.drain.as_ref()?.ports;
        match ports {
            DrainPorts::None => None,
            DrainPorts::Auto => Some("auto".to_owned()),
            DrainPorts::List(ports) => {
                let texts: Vec<String> = ports.iter().map(shown_port).collect();
                Some(texts.join(","))
            }
        }
    },
    // A server that is going to be drained is ready when it listens on its ports.
    put: |given, plan| {
        readiness::put(given, plan)?;
        put(given, plan)
    },
    ..SECTION
};

pub(crate) static DELAY: Opt = Opt {
    name: "drain-delay",
    kind: Kind::One("DUR"),
    help: "Drain for at least this long, until load balancers know of the stop",
    default: Some(Preset::Time(DEFAULT_DELAY)),
    shown: |plan| Some(written(plan.drain.as_ref()?.delay)),
    ..SECTION
};

pub(crate) static CHECKS: Opt = Opt {
    name: "drain-checks",
    kind: Kind::One("N"),
    help: "Drain until each client of /readyz was told \"not ready\" N times",
    shown: |plan| Some(plan.drain.as_ref()?.checks?.times.to_string()),
    idle: Some(Idle {
        when: |_, plan| plan.health.is_none(),
        why: "nobody answers the checks that are to be counted",
        because: Because::Missing(&[&HEALTH_LISTEN]),
        is_missed: true,
    }),
    ..SECTION
};

pub(crate) static CHECKS_TIMEOUT: Opt = Opt {
    name: "drain-checks-timeout",
    kind: Kind::One("DUR"),
    help: "How long to wait for these checks at most",
    default: Some(Preset::Time(DEFAULT_CHECKS_TIMEOUT)),
    shown: |plan| Some(written(plan.drain.as_ref()?.checks?.timeout)),
    idle: Some(Idle {
        when: |settings, _| !settings.has(&CHECKS),
        why: "no checks are counted",
        because: Because::Missing(&[&CHECKS]),
        is_missed: false,
    }),
    ..SECTION
};

pub(crate) static UNTIL: Opt = Opt {
    name: "drain-until",
    kind: Kind::Many("CONDITION"),
    help: "Drain until this holds: http:URL, metric:URL#NAME, exec:COMMAND or notify",
    ..SECTION
};

pub(crate) static DRAIN_QUIET: Opt = Opt {
    name: "drain-quiet",
    kind: Kind::One("DUR"),
    help: "How long a connection must be quiet after an answer to count as idle",
    default: Some(Preset::Time(QUIET)),
    default_depends: "; 10s for h2, ws, opaque and the first answers of tls",
    shown: |plan| {
        let drain = plan.drain.as_ref()?;
        match (&drain.ports, drain.quiet) {
            (DrainPorts::None, _) => None,
            (_, Some(quiet)) => Some(written(quiet)),
            (ports, None) => shown_quiet(ports),
        }
    },
    idle: Some(Idle {
        when: |_, plan| !has_ports(plan),
        why: "no connection is looked at",
        because: Because::Missing(&[&PORT]),
        is_missed: false,
    }),
    ..SECTION
};

pub(crate) static TIMEOUT: Opt = Opt {
    name: "drain-timeout",
    kind: Kind::One("DUR"),
    help: "How long to drain at most",
    default: Some(Preset::Time(DEFAULT_TIMEOUT)),
    shown: |plan| {
        Some(written(
            plan.drain
                .as_ref()
                .filter(|_| waits_for_requests(plan))?
                .timeout,
        ))
    },
    idle: Some(Idle {
        when: |_, plan| !waits_for_requests(plan),
        why: "no request is waited for",
        because: Because::Missing(&[&PORT, &UNTIL]),
        is_missed: false,
    }),
    ..SECTION
};

fn has_ports(plan: &Plan) -> bool {
    let drain = plan.drain.as_ref();
    drain.is_some_and(|drain| drain.ports != DrainPorts::None)
}

fn waits_for_requests(plan: &Plan) -> bool {
    let asks = plan
        .drain
        .as_ref()
        .is_some_and(|drain| !drain.until.is_empty());
    has_ports(plan) || asks
}

pub(super) fn put(given: &Given<'_>, plan: &mut Plan) -> Result<(), Error> {
    let settings = given.settings;
    let unsaid = if settings.has(&REPLACE_ON) {
        DrainPorts::Auto
    } else {
        DrainPorts::None
    };
    let ports = ports(settings)?.unwrap_or(unsaid);
    let delay = settings.duration(&DELAY)?;
    let checks = settings.one(&CHECKS, parse_checks)?;
    // See `CHECKS.idle` for what is said about checks that nobody answers.
    let checks = checks.filter(|_| settings.has(&HEALTH_LISTEN));
    let checks_timeout = settings.duration(&CHECKS_TIMEOUT)?;
    let quiet = settings.duration(&DRAIN_QUIET)?;
    let timeout = settings.duration(&TIMEOUT)?;
    let until = settings.many(&UNTIL, until::parse)?;
    let is_asked =
        ports != DrainPorts::None || delay.is_some() || checks.is_some() || !until.is_empty();
    plan.drain = is_asked.then(|| Drain {
        delay: delay.unwrap_or(DEFAULT_DELAY),
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        ports,
        quiet,
        checks: checks.map(|times| Checks {
            times,
            timeout: checks_timeout.unwrap_or(DEFAULT_CHECKS_TIMEOUT),
        }),
        until,
    });
    Ok(())
}

const RELOAD: TakeOver = |plan, fresh| {
    let drain = fresh.drain.as_ref();
    if plan.health.is_none() && drain.is_some_and(|drain| drain.checks.is_some()) {
        return Err(
            "drain-checks: nobody answers the checks, and only a restart of stepdown sets up the endpoint",
        );
    }
    if !plan.awaits_notification() && fresh.drains_until(|when| *when == UntilWhen::Notify) {
        return Err(
            "drain-until: notify needs a socket for the child, which only a restart of stepdown sets up",
        );
    }
    plan.drain.clone_from(&fresh.drain);
    readiness::take_over_ports(plan, fresh);
    Ok(())
};

/// The ports that are drained, where some are named.
pub(super) fn ports(settings: &Settings) -> Result<Option<DrainPorts>, Error> {
    settings.one(&PORT, parse_ports)
}

fn parse_ports(text: &str) -> Result<DrainPorts, Fault> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(DrainPorts::Auto);
    }
    let mut ports: Vec<(u16, Protocol)> = Vec::new();
    for (start, word) in list(text) {
        let place = |fault: Fault| fault.at(text, start, start + word.len());
        let (number, protocol) = match word.split_once('/') {
            None => (word, Protocol::Http),
            Some((number, name)) => {
                let at = start + number.len() + 1;
                let protocol = parse_protocol(name);
                (
                    number,
                    protocol.map_err(|f| f.at(text, at, at + name.len()))?,
                )
            }
        };
        if number.eq_ignore_ascii_case("auto") {
            let fault = place(Fault::new(
                "auto takes every port as http, and no other beside it",
            ));
            return Err(fault.way_out("name the ports, as 8080,8443/tls"));
        }
        let Some(port) = number.parse().ok().filter(|port| *port != 0) else {
            return Err(place(Fault::new(format!("{number:?} is no port")))
                .way_out("write numbers from 1 to 65535, as 8080,8443/tls, or auto"));
        };
        match ports.iter().find(|(known, _)| *known == port) {
            Some((_, known)) if *known != protocol => {
                return Err(
                    place(Fault::new(format!("port {port} speaks one protocol only")))
                        .way_out("name it once; opaque takes whatever comes"),
                );
            }
            Some(_) => {}
            None => ports.push((port, protocol)),
        }
    }
    if ports.is_empty() {
        return Err(Fault::new("no port").way_out("write 8080, or auto"));
    }
    Ok(DrainPorts::List(ports))
}

fn parse_protocol(name: &str) -> Result<Protocol, Fault> {
    let lower = name.trim().to_ascii_lowercase();
    let means = match lower.as_str() {
        "https" | "ssl" => Some("tls"),
        "http2" | "h2c" | "grpc" | "grpcs" => Some("h2"),
        "websocket" | "websockets" | "wss" => Some("ws"),
        "tcp" | "raw" => Some("opaque"),
        _ => None,
    };
    match means {
        Some(means) => {
            Err(Fault::new(format!("unknown value {name:?}"))
                .way_out(format!("did you mean {means}?")))
        }
        None => parse_choice(&lower, &Protocol::ALL),
    }
}

fn parse_checks(text: &str) -> Result<u32, Fault> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| {
        Fault::new(format!("{text:?} is no number of checks"))
            .way_out(format!("write a whole number from 1 to {}", u32::MAX))
    })
}

fn shown_port((port, protocol): &(u16, Protocol)) -> String {
    match Protocol::ALL.iter().find(|(_, known)| known == protocol) {
        Some((name, Protocol::Tls | Protocol::H2 | Protocol::Ws | Protocol::Opaque)) => {
            format!("{port}/{name}")
        }
        _ => port.to_string(),
    }
}

/// Each protocol has its own.
fn shown_quiet(ports: &DrainPorts) -> Option<String> {
    let ports = match ports {
        DrainPorts::None => return None,
        DrainPorts::Auto => return Some(written(QUIET)),
        DrainPorts::List(ports) => ports,
    };
    let mut others = Vec::new();
    for port in ports {
        match port.1 {
            Protocol::Http => {}
            Protocol::Tls => others.push(format!("first requests of {}", shown_port(port))),
            Protocol::H2 | Protocol::Ws | Protocol::Opaque => others.push(shown_port(port)),
        }
    }
    let (short, long) = (written(QUIET), written(QUIET_UNSEEN));
    let has_short =
        |(_, protocol): &(u16, Protocol)| matches!(protocol, Protocol::Http | Protocol::Tls);
    Some(match (others.is_empty(), ports.iter().any(has_short)) {
        (true, _) => short,
        (false, false) => long,
        (false, true) => format!("{short}, {long} for {}", others.join(", ")),
    })
}

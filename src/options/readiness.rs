//! `--help`, "Readiness": when the child is ready, and who is told.

use super::definition::{Because, Idle, Kind, Opt, Preset, written};
use super::parse::parse_limit;
use super::restart::REPLACE_ON;
use super::settings::Given;
use super::{drain, sockets};
use crate::plan::drain::DrainPorts;
use crate::plan::listen::Listen;
use crate::plan::readiness::{self, Readiness, ReadyWhen};
use crate::plan::sockets::Socket;
use crate::plan::{Health, Plan};
use crate::words::fault::{Error, Fault};

const SECTION: Opt = Opt {
    section: "Readiness",
    shapes_stop: true,
    put,
    ..Opt::BASE
};

const DEFAULT_NOT_READY_STATUS: u16 = 503;

pub(crate) static READY_WHEN: Opt = Opt {
    name: "ready-when",
    kind: Kind::One("CONDITION"),
    help: "When the child is ready: tcp:PORT, http:URL, exec:COMMAND, file:PATH or notify",
    shown: |plan| Some(plan.readiness.as_ref()?.text.clone()),
    ..SECTION
};

pub(crate) static READY_TIMEOUT: Opt = Opt {
    name: "ready-timeout",
    kind: Kind::One("DUR"),
    help: "Stop a child that is not ready by then, with exit status 125",
    shown: |plan| plan.readiness.as_ref()?.timeout.map(written),
    idle: Some(Idle {
        when: |_, plan| plan.readiness.is_none(),
        why: "there is nothing to wait for",
        because: Because::Missing(&[&READY_WHEN]),
        is_missed: true,
    }),
    ..SECTION
};

pub(crate) static HEALTH_LISTEN: Opt = Opt {
    name: "health-listen",
    elsewhere: &[
        "port",
        "healthcheck",
        "health",
        "health-port",
        "health-addr",
    ],
    kind: Kind::One("ADDR:PORT"),
    help: "Serve /livez, /readyz, /status and /metrics there; :PORT is all addresses",
    shown: |plan| Some(plan.health.as_ref()?.listen.text.clone()),
    ..SECTION
};

pub(crate) static NOT_READY_STATUS: Opt = Opt {
    name: "not-ready-status",
    kind: Kind::One("CODE"),
    help: "What /readyz answers while the child is not ready",
    default: Some(Preset::Number(DEFAULT_NOT_READY_STATUS as u32)),
    shown: |plan| Some(plan.health.as_ref()?.not_ready_status.to_string()),
    idle: Some(Idle {
        when: |_, plan| plan.health.is_none(),
        why: "there is no endpoint",
        because: Because::Missing(&[&HEALTH_LISTEN]),
        is_missed: false,
    }),
    ..SECTION
};

pub(super) fn put(given: &Given<'_>, plan: &mut Plan) -> Result<(), Error> {
    let settings = given.settings;
    let timeout = settings.one(&READY_TIMEOUT, parse_limit)?;
    let when = settings.one(&READY_WHEN, |text| {
        Ok((readiness::parse(text)?, text.to_owned()))
    })?;
    let listen = settings.one(&HEALTH_LISTEN, Listen::parse)?;
    // They are listened on before the child is there, and say nothing about it.
    let sockets = sockets::all(settings)?;
    let ours: Vec<u16> = sockets.iter().filter_map(Socket::port).collect();
    if let Some((ReadyWhen::Tcp(ports), _)) = &when
        && let Some(port) = ports.iter().find(|port| ours.contains(port))
    {
        let fault = Fault::new(format!(
            "--listen listens on port {port} before the child is started"
        ));
        let way_out = "use http:URL, or notify; without a condition connections wait until the child takes them";
        return Err(settings.error(&READY_WHEN, fault.way_out(way_out)));
    }
    if settings.has(&REPLACE_ON)
        && let Some((ReadyWhen::Http(request), _)) = &when
        && request.server.is_loopback()
        && !ours.contains(&request.server.port)
    {
        let fault = Fault::new(format!(
            "no --listen has port {}, so with --replace-on the one that serves would answer for the next one",
            request.server.port
        ));
        let way_out = "ask a port of --listen, or use notify";
        return Err(settings.error(&READY_WHEN, fault.way_out(way_out)));
    }
    if let Some(listen) = &listen
        && let Some(socket) = sockets.iter().find(|socket| socket.listens_at(listen))
    {
        let fault = Fault::new(format!(
            "{} is listened on by --listen {} already",
            listen.text, socket.text
        ));
        let way_out = "take another port for the endpoint";
        return Err(settings.error(&HEALTH_LISTEN, fault.way_out(way_out)));
    }
    let of_drain_ports = when.is_none();
    let condition = match (when, drain::ports(settings)?) {
        (Some(condition), _) => Some(condition),
        // See `drain::PORT`.
        (None, Some(DrainPorts::List(ports))) => {
            let ports = ports.into_iter().map(|(port, _)| port);
            let ports: Vec<u16> = ports.filter(|port| !ours.contains(port)).collect();
            let names: Vec<String> = ports.iter().map(u16::to_string).collect();
            (!ports.is_empty()).then(|| (ReadyWhen::Tcp(ports), format!("tcp:{}", names.join(","))))
        }
        (None, _) => None,
    };
    plan.readiness = condition.map(|(when, text)| Readiness {
        when,
        timeout,
        text,
        of_drain_ports,
    });
    let status = settings.one(&NOT_READY_STATUS, parse_status)?;
    plan.health = listen.map(|listen| Health {
        listen,
        not_ready_status: status.unwrap_or(DEFAULT_NOT_READY_STATUS),
    });
    Ok(())
}

/// Takes over the ports of `--drain-port`, where they say when the child is ready. Where the file has none any more, those
/// before still count: a child may be waiting for them.
pub(super) fn take_over_ports(plan: &mut Plan, fresh: &Plan) {
    let is_written = |readiness: &Readiness| !readiness.of_drain_ports;
    if let Some(next) = fresh.readiness.clone()
        && !is_written(&next)
        && !plan.readiness.as_ref().is_some_and(is_written)
    {
        let timeout = plan.readiness.as_ref().and_then(|now| now.timeout);
        plan.readiness = Some(Readiness { timeout, ..next });
    }
}

fn parse_status(text: &str) -> Result<u16, Fault> {
    let status = text.trim().parse().ok();
    status.filter(|s| (400..600).contains(s)).ok_or_else(|| {
        Fault::new(format!("{text:?} is no HTTP status that says no"))
            .way_out("write one from 400 to 599, as 503 or 404")
    })
}

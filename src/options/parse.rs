//! One value of one option: from text to what it means.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::plan::call;
use crate::plan::drain::DrainPorts;
use crate::plan::drain::Protocol;
use crate::plan::{HookKind, SuccessExit};
use crate::words::command_line;
use crate::words::fault::Fault;
use crate::words::list::list;
use crate::words::signal::Signal;
use crate::words::suggest;

/// How a list that was divided by other signs is to be written.
pub(super) fn divided(text: &str) -> Option<String> {
    let is_sign = |c: char| c.is_whitespace() || [';', '|', '>', '/'].contains(&c);
    let parts: Vec<&str> = text
        .split(is_sign)
        .filter(|part| !part.is_empty())
        .collect();
    let is_list = parts.len() > 1 && parts.iter().all(|part| Signal::parse(part).is_ok());
    is_list.then(|| format!("write {}", parts.join(",")))
}

pub(crate) fn parse_signal(text: &str) -> Result<Signal, Fault> {
    Signal::parse(text.trim()).map_err(|unknown| {
        let fault = Fault::new(unknown.to_string());
        match unknown.nearest() {
            Some(near) => fault.way_out(format!("did you mean {near}?")),
            None => fault.way_out("write a name as TERM or RTMIN+3, or a number from 1 to 64"),
        }
    })
}

/// A signal that can reach us and is not ours alone.
pub(super) fn parse_received(text: &str) -> Result<Signal, Fault> {
    let signal = parse_signal(text)?;
    let fault = match signal {
        Signal::KILL | Signal::STOP => {
            format!("{signal} reaches no program, only the kernel acts on it")
        }
        Signal::CHLD => "CHLD only tells stepdown that a child has ended".to_owned(),
        _ => return Ok(signal),
    };
    Err(Fault::new(fault).way_out("use another signal, as HUP or USR1"))
}

pub(crate) fn parse_switch(text: &str) -> Result<bool, Fault> {
    // A count, as tini's variables and the file have it.
    if let Ok(count) = text.parse::<u32>() {
        return Ok(count > 0);
    }
    let words = ["", "true", "yes", "on", "false", "no", "off"];
    match words
        .iter()
        .position(|word| text.eq_ignore_ascii_case(word))
    {
        Some(index) => Ok(index <= 3),
        None => Err(Fault::new(format!("{text:?} is neither on nor off")).way_out("use on or off")),
    }
}

pub(crate) fn parse_choice<T: Copy>(text: &str, choices: &[(&'static str, T)]) -> Result<T, Fault> {
    let lower = text.to_ascii_lowercase();
    if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == lower) {
        return Ok(*choice);
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let fault = Fault::new(format!("unknown value {text:?}"));
    Err(match suggest::nearest(&lower, names.iter().copied()) {
        Some(near) => fault.way_out(format!("did you mean {near}?")),
        None => fault.way_out(format!("use one of {}", names.join(", "))),
    })
}

/// A call, or a command line that is split as a shell would.
pub(super) fn parse_hook(text: &OsStr) -> Result<HookKind, Fault> {
    if let Some(call) = text.to_str().and_then(call::parse) {
        return call.map(HookKind::Call);
    }
    command_line::words(text.as_bytes()).map(HookKind::Command)
}

pub(super) fn parse_ports(text: &str) -> Result<DrainPorts, Fault> {
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

pub(super) fn parse_checks(text: &str) -> Result<u32, Fault> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| {
        Fault::new(format!("{text:?} is no number of checks"))
            .way_out(format!("write a whole number from 1 to {}", u32::MAX))
    })
}

pub(super) fn parse_rewrite(text: &str) -> Result<Vec<(Signal, Option<Signal>)>, Fault> {
    list(text)
        .map(|(start, rule)| {
            let Some((from, to)) = rule.split_once(':') else {
                return Err(Fault::new("a rule is FROM:TO")
                    .at(text, start, start + rule.len())
                    .way_out("write TERM:QUIT, or TERM:0 to drop TERM"));
            };
            let place = |fault: Fault, from: usize, len: usize| fault.at(text, from, from + len);
            let to_start = start + from.len() + 1;
            let parsed = parse_signal(from).map_err(|f| place(f, start, from.len()))?;
            let to = match to.trim() {
                "0" => None,
                name => Some(parse_signal(name).map_err(|f| place(f, to_start, to.len()))?),
            };
            Ok((parsed, to))
        })
        .collect()
}

pub(super) fn parse_success(text: &str, into: &mut SuccessExit) -> Result<(), Fault> {
    for (start, word) in list(text) {
        if word.bytes().all(|b| b.is_ascii_digit()) {
            let code = word.parse::<u8>().map_err(|_| {
                Fault::new(format!("{word} is no exit code"))
                    .at(text, start, start + word.len())
                    .way_out("codes go from 0 to 255")
            })?;
            into.codes.push(code);
        } else {
            into.signals
                .insert(parse_signal(word).map_err(|f| f.at(text, start, start + word.len()))?);
        }
    }
    Ok(())
}

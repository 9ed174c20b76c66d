//! One value of one option: from text to what it means.

use std::time::Duration;

use crate::words::duration;
use crate::words::fault::Fault;
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

pub(crate) fn parse_duration(text: &str) -> Result<Duration, Fault> {
    duration::parse(text).map_err(|bad| Fault::new(bad.to_string()).way_out(bad.way_out()))
}

/// How long something may run. A wait of 0 does not wait; what has no time to run at all has no use.
pub(crate) fn parse_limit(text: &str) -> Result<Duration, Fault> {
    match parse_duration(text)? {
        Duration::ZERO => {
            let fault = Fault::new("0 leaves it no time at all");
            Err(fault.way_out("write a longer one, or leave it out"))
        }
        limit => Ok(limit),
    }
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

/// What is wrong with a file whose name is empty.
pub(super) fn no_name() -> Fault {
    Fault::new("the name is empty").way_out("name a file, or leave it out")
}

//! stepdown runs one command and brings it down one step at a time.
//!
//! # Architecture
//! A pure machine walks down the plan; it is played in the real world or in a simulated one; everything
//! the user sees is a fold over its records.
//!
//! | file | its promise |
//! | --- | --- |
//! | `cli` | what was typed, also for tini, dumb-init or catatonit; completion scripts and the manual page |
//! | `settings` | every option, once; from text (flags, variables, the file) to a `Plan`, or an error that shows the way out |
//! | `plan` | everything that was asked for, as data |
//! | `machine` | decides: (phase, event) to actions and records |
//! | `drive` | the one loop |
//! | `kernel` | the real world; its parts wait for input and output, and relay them |
//! | `drain` | which connections have a request in flight: the rules, and the looks that feed them |
//! | `ready`, `notify` | when the child is ready; sd_notify(3) in both directions |
//! | `phase` | the phase that a run is in, by one name for all who tell it |
//! | `health`, `metrics` | the endpoint, and the numbers that it and the metrics file tell |
//! | `call` | HTTP requests and UDP datagrams, for hooks and for `stepdown health` |
//! | `explain` | the simulated world, the timeline that is told from it, and where each value came from |
//! | `look` | how a process looks in /proc, and what it does with a signal |
//! | `interrupts` | requests to end `check` or `health`, which are no init, awaited on tokio |
//! | `check` | plays a command again and again, and judges the records |
//! | `record`, `report`, `hooks` | what happened; as lines for people or machines; as variables for hooks |
//! | `files` | what outlives the run: the report, the last runs, the metrics file |
//! | `signal`, `duration` | the words that all of them use |
//! | `sys` | every syscall and all `unsafe` |
//!
//! # A signal on its way from the kernel to the child
//! 1. The kernel queues it: `sys::entry` blocked all before the C runtime had even started.
//! 2. `Kernel::next` takes it from the queue and finds out who sent it.
//! 3. `Machine::handle` decides: forward it, rewrite it, drop it, or begin the stop.
//! 4. `drive` hands the action to `Kernel::act`, and the record to `report`.
//! 5. kill(2) sends it to the child.
#![cfg_attr(not(test), no_main)]

mod call;
mod check;
mod cli;
mod drain;
mod drive;
mod duration;
mod explain;
mod files;
mod health;
mod hooks;
mod interrupts;
mod kernel;
mod look;
mod machine;
mod metrics;
mod notify;
mod phase;
mod plan;
mod ready;
mod record;
mod report;
mod settings;
mod signal;
mod sys;

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cli::Invocation;
use cli::dropin::Tool;
use drive::Audience;
use files::Files;
use health::Endpoint;
use kernel::Kernel;
use machine::Machine;
use plan::FailureCodes;
use record::{Record, StartFailure};
use report::{Log, Voice};
use settings::Settings;
use settings::reload::Reloader;
use signal::Signal;
use sys::signals::Inherited;

/// The entry, in place of the one that Rust's runtime would make: that one ignores SIGPIPE and opens
/// /dev/null over closed standard streams before any code of ours runs, and the child would inherit
/// both.
///
/// # Safety
/// Called once, by the C runtime.
#[allow(unsafe_code, reason = "the C entry point")]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    let inherited = sys::signals::inherited();
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: the C runtime passes `count` pointers to C strings that live as long as the process.
    let arguments = (0..count).map(|index| unsafe { CStr::from_ptr(*arguments.add(index)) });
    let arguments = arguments
        .map(|argument| OsStr::from_bytes(argument.to_bytes()).to_owned())
        .collect();
    c_int::from(invoke(arguments, inherited))
}

fn invoke(arguments: Vec<OsString>, inherited: Inherited) -> u8 {
    let codes = Tool::named(arguments.first()).map_or_else(FailureCodes::default, Tool::codes);
    let result = match cli::parse(arguments) {
        Ok(Invocation::Run { settings, command }) => run(settings, command, inherited),
        Ok(Invocation::Explain {
            settings,
            assume,
            json,
        }) => explain(&settings, &assume, json),
        Ok(Invocation::Check(check)) => check::check(*check, inherited),
        Ok(Invocation::Health(question)) => question.ask(inherited).or_else(|why| {
            sys::stderr::write(format!("stepdown health: {why}\n").as_bytes());
            Ok(1)
        }),
        Ok(Invocation::Print(text)) => Ok(sys::stdout::print(&text)),
        Ok(Invocation::PrintError(text)) => {
            sys::stderr::write(text.as_bytes());
            Ok(0)
        }
        Ok(Invocation::Pause) => {
            sys::pause();
            Ok(0)
        }
        Err(message) => Err(message),
    };
    result.unwrap_or_else(|message| {
        sys::stderr::write(format!("stepdown: {message}\n").as_bytes());
        codes.own
    })
}

fn run(mut settings: Settings, command: Vec<OsString>, inherited: Inherited) -> Result<u8, String> {
    settings.as_pid1 = std::process::id() == 1;
    let settings = &settings;
    let mut plan = settings.plan().map_err(|error| error.to_string())?;
    settings
        .check(&mut plan)
        .map_err(|error| error.to_string())?;
    let plan = Rc::new(plan);
    let voice: Voice = settings.voice().map_err(|error| error.to_string())?;
    let mut log = Log::new(voice);
    let reloader = (!plan.reload_on.is_empty()).then(|| Reloader::new(settings));
    let files = Files::open(settings, &plan, &command);
    for message in files.iter().flat_map(|(_, troubles)| troubles.clone()) {
        log.tell(Duration::ZERO, &Record::Trouble { message });
    }
    log.flush();
    let files = files.map(|(files, _)| files);
    let mut kernel = Kernel::new(Rc::clone(&plan), command, inherited);
    kernel.reload_with(reloader.flatten());
    if let Some(files) = &files {
        kernel.tell_last(files.variables());
        kernel.watch_memory();
    }
    let totals = files.as_ref().map(|files| files.totals().clone());
    let (endpoint, mut machine) = match kernel.open(totals) {
        Ok(endpoint) => (endpoint, Machine::new(plan)),
        // From here on a refusal is an end like any other: with its report, its hooks and its place among
        // the last runs.
        Err(message) => {
            let code = plan.failure_codes.own;
            (None, Machine::refused(plan, StartFailure { code, message }))
        }
    };
    let mut everybody = Everybody {
        untold: Vec::with_capacity(8),
        log,
        endpoint,
        files,
    };
    let outcome = drive::drive(&mut machine, &mut kernel, &mut everybody);
    kernel.leave();
    // A shell's loop or script ends with Ctrl-C only if what it waits for died of INT: a program that
    // exits has dealt with it. In `$?` both are 130.
    if kernel.has_terminal() && outcome.died_of(Signal::INT) {
        sys::signals::die_of(Signal::INT);
    }
    sys::exit(outcome.code)
}

/// All who are told what happens in a run. Words and files are for when there is time: the signal that a
/// record is about does not wait for them. The endpoint hears all at once, as actions change its state, too.
struct Everybody {
    untold: Vec<(Duration, Record)>,
    log: Log,
    endpoint: Option<Arc<Endpoint>>,
    files: Option<Files>,
}

impl Audience for Everybody {
    fn tell(&mut self, at: Duration, record: Record) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.tell(at, &record);
        }
        self.untold.push((at, record));
    }

    fn pause(&mut self) {
        let mut untold = mem::take(&mut self.untold);
        for (at, record) in untold.drain(..) {
            self.hear(at, &record);
        }
        self.untold = untold;
        self.log.flush();
    }
}

impl Everybody {
    fn hear(&mut self, at: Duration, record: &Record) {
        self.log.tell(at, record);
        let Some(files) = &mut self.files else {
            return;
        };
        for message in files.tell(at, record) {
            self.log.tell(at, &Record::Trouble { message });
        }
    }
}

fn explain(settings: &Settings, assume: &[OsString], json: bool) -> Result<u8, String> {
    let plan = settings.plan().map_err(|error| error.to_string())?;
    let script = explain::script(assume).map_err(|error| error.to_string())?;
    let mut text = if json {
        explain::values::json(settings, &plan)
    } else {
        explain::values::table(settings, &plan)
    };
    text.push_str(&explain::explain(plan, script, json));
    Ok(sys::stdout::print(&text))
}

//! stepdown runs one command and brings it down one step at a time.
//!
//! # Architecture
//! A pure machine walks down the plan; it runs in the real world or in a simulated one; everything the
//! user sees is a fold over its records.
//!
//! | module | its promise |
//! | --- | --- |
//! | `words` | the words that all of stepdown uses: signals, durations, lists, and what is wrong with a value |
//! | `plan` | everything that was asked for, as data |
//! | `record` | what happened, as data |
//! | `machine` | decides: (phase, event) to actions and records |
//! | `diagnosis` | why a process does not stop: a judgement over what /proc has shown of it |
//! | `drive` | the one loop, in the real world (`kernel`) or in the simulated one (`sim`) |
//! | `supervisor` | decides whether the command lives once more: a series of machines, seen from outside as one |
//! | `sys` | every syscall and all `unsafe` |
//! | `call` | HTTP requests and UDP datagrams, for hooks and for `stepdown health` |
//! | `options` | every option, once; from text (flags, variables, the file) to a `Plan`, or an error that shows the way out |
//! | `reactor` | the event loop, for whatever else than signals and children is waited for |
//! | `look` | how a process looks in /proc |
//! | `drain` | which connections have a request in flight: the rules, and the looks that feed them |
//! | `kernel` | the real world; its parts wait for input and output, and relay them |
//! | `tell` | who is told what happens: the log, `/status`, metrics, files; nothing but the records |
//! | `trace` | diagnostics of the world, for who asks |
//! | `interrupts` | requests to end `check` or `health`, which are no init, awaited on tokio |
//! | `health` | asks a health endpoint |
//! | `explain` | the timeline that the simulated world tells, and where each value came from |
//! | `dropin` | the command lines of tini, dumb-init and catatonit |
//! | `check` | plays a command again and again, and judges the records |
//! | `lint` | says what will go wrong at a stop, from Dockerfiles, compose files, manifests, units and the file of `--config` |
//! | `doctor` | whether running processes will stop, asked before they are |
//! | `simulation` | tests only: random plans in random worlds, held to what is promised |
//! | `cli` | what was typed; completion scripts and the manual page |
//!
//! A module uses those above it in this table, and none below: a test (`layers`) reads the `use` lines.
//!
//! # A signal on its way from the kernel to the child
//! 1. The kernel queues it: `sys::entry` blocked all before the C runtime had even started.
//! 2. `Kernel::next` takes it from the queue and finds out who sent it.
//! 3. `Machine::handle` decides: forward it, rewrite it, drop it, or begin the stop.
//! 4. `drive` hands the action to `Kernel::act`, and the record to `tell`.
//! 5. kill(2) sends it to the child.
//!
//! # Why it starts fast
//! - `sys::entry` is the first instruction, before the C runtime. It blocks all signals, so a stop that comes
//!   while the C runtime starts is kept. Rust's own runtime is left out (`no_main`).
//! - `scripts/build-static` links without shared libraries and without relocations: nothing is searched, mapped
//!   or patched between exec and `main`.
//! - `scripts/layout`, its linker, puts together what a plain run uses, as seen in one; most of the file
//!   is never mapped. No order is kept by hand: what is renamed or moved is found again.
//! - `scripts/no-unwind.ld` leaves out the tables for unwinding, a tenth of the file. A panic never unwinds
//!   (`panic = "abort"`, `sys::last_resort`).
//!
//! The runtime of tokio, the HTTP code, clap and the parsers are linked in, and start only when an option asks for
//! them. `scripts/bench` measures all of this beside other inits; tests/e2e/idle.rs keeps memory and size.
#![cfg_attr(not(test), no_main)]
// What only a subcommand needs that is left out stays in the source; the linker drops it.
#![cfg_attr(
    not(all(
        feature = "check",
        feature = "explain",
        feature = "health",
        feature = "manual"
    )),
    allow(dead_code, unused_imports, unused_macros)
)]

mod call;
#[cfg(feature = "check")]
mod check;
mod cli;
mod diagnosis;
#[cfg(feature = "doctor")]
mod doctor;
mod drain;
mod drive;
mod dropin;
#[cfg(feature = "explain")]
mod explain;
#[cfg(test)]
mod fuzz;
#[cfg(feature = "health")]
mod health;
#[cfg(feature = "interrupts")]
mod interrupts;
mod kernel;
#[cfg(test)]
mod layers;
#[cfg(feature = "lint")]
mod lint;
mod look;
mod machine;
mod options;
mod plan;
mod reactor;
mod record;
#[cfg(any(test, feature = "explain"))]
mod sim;
#[cfg(test)]
mod simulation;
mod supervisor;
mod sys;
mod tell;
mod trace;
mod words;

use std::cell::RefCell;
use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cli::Invocation;
use drive::Audience;
use dropin::{Meaning, Tool};
#[cfg(feature = "explain")]
use explain::fits::Fits;
use kernel::Kernel;
use machine::Machine;
use options::Settings;
use options::reload::Reloader;
use plan::FailureCodes;
use record::{Record, StartFailure};
use supervisor::Supervisor;
use sys::signals::Inherited;
use tell::endpoint::Endpoint;
use tell::files::Files;
use tell::log::Log;
use words::signal::Signal;

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
        Ok(
            Invocation::Run { settings, command }
            | Invocation::Dropin(Meaning::Run { settings, command }),
        ) => run(settings, command, inherited),
        #[cfg(feature = "explain")]
        Ok(Invocation::Explain {
            settings,
            assume,
            fits,
            json,
        }) => explain(&settings, &assume, fits, json),
        #[cfg(feature = "check")]
        Ok(Invocation::Check(check)) => check::check(*check, inherited),
        #[cfg(feature = "lint")]
        Ok(Invocation::Lint(lint)) => lint.judge(),
        #[cfg(feature = "doctor")]
        Ok(Invocation::Doctor(examination)) => {
            inherited.restore();
            examination.examine(cli::read_line)
        }
        #[cfg(feature = "health")]
        Ok(Invocation::Health(question)) => question.ask(inherited).or_else(|why| {
            sys::stderr::write(format!("stepdown health: {why}\n").as_bytes());
            Ok(1)
        }),
        Ok(Invocation::Print(text) | Invocation::Dropin(Meaning::Print(text))) => {
            Ok(sys::stdout::print(&text))
        }
        Ok(Invocation::Dropin(Meaning::PrintError(text))) => {
            sys::stderr::write(text.as_bytes());
            Ok(0)
        }
        Ok(Invocation::Dropin(Meaning::Pause)) => {
            sys::pause();
            Ok(0)
        }
        Err(message) => Err(message),
    };
    result.unwrap_or_else(|message| {
        // The way out stands at the end.
        sys::stderr::write_text(format!("stepdown: {message}\n").as_bytes());
        codes.own
    })
}

fn run(mut settings: Settings, command: Vec<OsString>, inherited: Inherited) -> Result<u8, String> {
    settings.as_pid1 = std::process::id() == 1;
    let settings = &settings;
    let mut plan = settings.plan().map_err(|error| error.to_string())?;
    settings
        .refuse_idle(&plan)
        .and_then(|()| settings.check(&mut plan))
        .map_err(|error| error.to_string())?;
    let plan = Rc::new(plan);
    if let Some(wanted) = &plan.diagnostics {
        trace::begin(wanted, plan.voice.format);
    }
    let in_order = plan.diagnostics.is_some();
    let log = Log::new(plan.voice);
    let reloader = (!plan.reload_on.is_empty()).then(|| Reloader::new(settings));
    let missed = settings.missed(&plan);
    let mut troubles: Vec<String> = missed
        .map(|(_, why)| format!("without effect: {why}"))
        .collect();
    let files = Files::open(settings, &plan, &command, &mut troubles);
    let mut kernel = Kernel::new(Rc::clone(&plan), command, inherited);
    kernel.reload_with(reloader.flatten());
    if let Some(files) = &files {
        kernel.tell_last(files.variables());
        kernel.watch_memory();
    }
    let (voice, began) = (plan.voice, kernel.began());
    kernel.tell_in_copies(Rc::new(move |record| {
        let mut log = Log::new(voice);
        log.tell(began.elapsed(), &record);
        log.flush();
    }));
    let totals = files.as_ref().map(|files| files.totals().clone());
    let files = files.map(|files| Rc::new(RefCell::new(files)));
    if let Some(files) = &files {
        let (files, began) = (Rc::clone(files), kernel.began());
        // Never in the middle of telling: hooks are started between two records.
        kernel.fill_bodies(Rc::new(move |body, generation| {
            files.borrow().body(body, generation, began.elapsed())
        }));
    }
    let opened = kernel
        .open()
        .and_then(|()| Endpoint::open(kernel.open_reactor(), &plan, kernel.began(), totals));
    let (endpoint, refused) = match opened {
        Ok(endpoint) => (endpoint, None),
        // From here on a refusal is an end like any other: with its report, its hooks and its place among
        // the last runs.
        Err(message) => {
            let code = plan.failure_codes.own;
            (None, Some(StartFailure { code, message }))
        }
    };
    let mut outputs = Outputs {
        in_order,
        log,
        endpoint,
        files,
    };
    let troubles = troubles
        .into_iter()
        .map(|message| Record::Trouble { message });
    let endpoints = outputs.endpoint.as_deref().map(Endpoint::listening);
    for record in troubles.chain(kernel.listening()).chain(endpoints) {
        outputs.tell(Duration::ZERO, record);
    }
    let (mut machine, mut supervisor);
    let outcome = match (refused, plan.supervision.clone()) {
        (Some(failure), _) => {
            machine = Machine::refused(plan, failure);
            drive::drive(&mut machine, &mut kernel, &mut outputs)
        }
        (None, None) => {
            machine = Machine::new(plan);
            drive::drive(&mut machine, &mut kernel, &mut outputs)
        }
        (None, Some(supervision)) => {
            supervisor = Supervisor::new(plan, supervision, sys::clock::seed());
            drive::drive(&mut supervisor, &mut kernel, &mut outputs)
        }
    };
    kernel.leave();
    // A shell's loop or script ends with Ctrl-C only if what it waits for died of INT: a program that
    // exits has dealt with it. In `$?` both are 130.
    if kernel.has_terminal() && outcome.died_of(Signal::INT) {
        sys::signals::die_of(Signal::INT);
    }
    sys::exit(outcome.code)
}

/// Where the records of a run go.
struct Outputs {
    /// Diagnostics are written, too, and at once: what was told before one of them is to stand before it.
    in_order: bool,
    log: Log,
    endpoint: Option<Arc<Endpoint>>,
    files: Option<Rc<RefCell<Files>>>,
}

impl Audience for Outputs {
    fn tell(&mut self, at: Duration, record: Record) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.tell(at, &record);
        }
        self.log.tell(at, &record);
        if let Some(files) = &self.files {
            for message in files.borrow_mut().tell(at, &record) {
                self.log.tell(at, &Record::Trouble { message });
            }
        }
        if self.in_order {
            self.log.flush();
        }
    }

    fn flush(&mut self) {
        self.log.flush();
    }
}

#[cfg(feature = "explain")]
fn explain(settings: &Settings, assume: &[OsString], fits: Fits, json: bool) -> Result<u8, String> {
    let plan = settings.plan().map_err(|error| error.to_string())?;
    settings.refuse_idle(&plan).map_err(|e| e.to_string())?;
    let mut script = explain::script(assume, &plan).map_err(|error| error.to_string())?;
    explain::prepare(&mut script, &plan).map_err(|error| error.to_string())?;
    let mut text = if json {
        explain::values::json(settings, &plan)
    } else {
        explain::values::table(settings, &plan)
    };
    let verdict = explain::explain(plan, script, fits, json);
    text.push_str(&verdict.text);
    // A reader that has gone is no verdict.
    match sys::stdout::print(&text) {
        0 => Ok(u8::from(!verdict.fits)),
        code => Ok(code),
    }
}

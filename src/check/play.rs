//! One run: starts the stage, waits until the command is ready, sends the signal, reads the records
//! until the end, and leaves no process.

mod absence;
pub(crate) mod conductor;
pub(crate) mod containers;
pub(crate) mod in_flight;
mod kill_all;
mod load;
mod ports;
mod replacing;
mod request;
pub(crate) mod stage;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::fact::{Fact, LeftProcess, What};
use super::history::History;
use super::options::{Check, Variant};
use crate::check::play::conductor::{Conductor, Lines, later};
use crate::check::play::in_flight::{ClientEvent, Tally};
use crate::check::play::replacing::{Load, Step};
use crate::check::play::stage::{Ends, Stage};
use crate::look;
use crate::sys::{descriptors, error_text, fork, reap, signals, tree};
use crate::words::signal::Signal;

/// How many lines of the command's output are kept.
const LINES: usize = 20;
const LINE_LENGTH: usize = 500;
/// How long requests may take to be opened, and to end after the command has.
const OPENING: Duration = Duration::from_secs(10);
const CLOSING: Duration = Duration::from_secs(5);

impl Conductor {
    /// Plays one run; `offset` is that of a sweep, `told` gets each fact as it comes.
    pub(crate) fn play(
        &mut self,
        check: &Check,
        variant: &Variant,
        offset: Option<Duration>,
        told: &mut dyn FnMut(&Fact),
    ) -> History {
        if let Err(why) = self.look_before_start(check, variant) {
            if self.interrupted == 0 {
                return impossible(why);
            }
            return History {
                interrupted: true,
                ..History::default()
            };
        }
        let id_file = match check.containers.id_file() {
            Ok(id_file) => id_file,
            Err(why) => return impossible(why),
        };
        let mut run = match RunInProgress::start(self, check, variant, offset, id_file) {
            Ok(run) => run,
            Err(errno) => {
                return impossible(format!("no process for the run: {}", error_text(errno)));
            }
        };
        run.listen(self, told);
        run.finish(self, told)
    }
}

fn impossible(why: String) -> History {
    History {
        impossible: Some(why),
        ..History::default()
    }
}

/// A line of the command's output without colours and other control characters.
fn plain(line: &str) -> String {
    strip_ansi_escapes::strip_str(line.replace('\t', "    "))
}

/// The same, cut where it is too long.
fn readable(line: &str) -> String {
    plain(line).chars().take(LINE_LENGTH).collect()
}

/// Whether a line holds this text, as it was written or as it is shown.
fn holds(line: &str, wanted: Option<&str>) -> bool {
    wanted.is_some_and(|wanted| line.contains(wanted) || plain(line).contains(wanted))
}

/// How far the run is.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Progress {
    Starting,
    /// Ready is waited for until then.
    Readying(Instant),
    /// At that time the requests are opened or the signal is sent.
    Due(Instant),
    Opening(Instant),
    /// It is replaced under load before.
    Replacing(Step),
    Sent,
}

struct RunInProgress<'a> {
    check: &'a Check,
    variant: &'a Variant,
    offset: Option<Duration>,
    began: Instant,
    stage: i32,
    facts: Lines,
    output: Lines,
    client: Option<(i32, Lines)>,
    load: Option<Load>,
    tally: Tally,
    progress: Progress,
    /// When the run is given up.
    limit: Option<Instant>,
    /// How many requests to end it has answered.
    interrupted: u32,
    /// It was asked not to wait for the engine any longer.
    leaves_containers: bool,
    started: Option<Instant>,
    ready: bool,
    history: History,
    last_lines: VecDeque<String>,
    id_file: Option<PathBuf>,
}

impl<'a> RunInProgress<'a> {
    fn start(
        conductor: &Conductor,
        check: &'a Check,
        variant: &'a Variant,
        offset: Option<Duration>,
        id_file: Option<PathBuf>,
    ) -> Result<Self, i32> {
        let number = |errno: Errno| errno as i32;
        let began = Instant::now();
        let (facts, facts_to) = descriptors::pipe().map_err(number)?;
        let (output, output_to) = descriptors::pipe().map_err(number)?;
        let lines = |from| {
            let lines = Lines::new(from, conductor);
            lines.map_err(|error| error.raw_os_error().unwrap_or(0))
        };
        let (facts, output) = (lines(facts)?, lines(output)?);
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let null = open(c"/dev/null", flags, Mode::empty()).map_err(number)?;
        let ends = Ends {
            input: descriptors::above_stderr(null).map_err(number)?,
            output: output_to,
            facts: facts_to,
        };
        let stage = Stage {
            plan: variant.plan.clone(),
            command: check.containers.told(
                variant.command.clone(),
                check.command.len(),
                id_file.as_deref(),
            ),
            containers: &check.containers,
            id_file: id_file.as_deref(),
            inherited: conductor.inherited,
            ports: &variant.promise.ports,
            began,
            conductor: nix::unistd::getpid().as_raw(),
        };
        let stage = fork::copy(|| stage.play(&ends))?;
        Ok(Self {
            check,
            variant,
            offset,
            began,
            stage,
            facts,
            output,
            client: None,
            load: None,
            tally: Tally::new(variant.promise.in_flight.map_or(0, |wanted| wanted.count)),
            progress: Progress::Starting,
            limit: None,
            interrupted: conductor.interrupted,
            leaves_containers: false,
            started: None,
            ready: false,
            history: History::default(),
            last_lines: VecDeque::new(),
            id_file,
        })
    }

    /// Listens until the stage has ended.
    fn listen(&mut self, conductor: &mut Conductor, told: &mut dyn FnMut(&Fact)) {
        while self.facts.from.is_some() {
            self.wait(conductor);
            let mut facts = Vec::new();
            self.facts
                .read(|line| facts.extend(serde_json::from_slice::<Fact>(line)));
            let known = self.history.facts.len();
            for fact in facts {
                self.take_fact(fact);
            }
            self.read_output();
            self.read_client();
            self.read_load();
            self.answer(conductor.interrupted);
            self.history.facts.iter().skip(known).for_each(&mut *told);
            self.act(conductor, told);
        }
    }

    fn wait(&self, conductor: &mut Conductor) {
        let due = match self.progress {
            Progress::Starting | Progress::Sent => None,
            Progress::Readying(at) | Progress::Due(at) | Progress::Opening(at) => Some(at),
            Progress::Replacing(step) => Some(step.due()),
        };
        let until = due.into_iter().chain(self.limit).min();
        let load = self.load.as_ref().map(|load| &load.lines);
        // The load is over before other requests are opened.
        let client = self.client.as_ref().map(|(_, lines)| lines).or(load);
        let client = client.and_then(|lines| lines.from.as_ref());
        let pipes = [self.facts.from.as_ref(), self.output.from.as_ref(), client];
        conductor.wait(pipes, until);
    }

    fn take_fact(&mut self, fact: Fact) {
        let now = Instant::now();
        match &fact.what {
            What::Started { .. } => {
                let started = self.began + fact.at();
                self.started = Some(started);
                self.progress = match self.offset {
                    Some(offset) => Progress::Due(later(started, offset)),
                    None if self.check.moment.ready => {
                        // If the machine has a limit of its own, it gives up first.
                        let until = later(started, self.check.moment.patience);
                        Progress::Readying(until + CLOSING)
                    }
                    None => Progress::Due(later(started, self.check.moment.after)),
                };
                if self.check.moment.line.is_some() {
                    self.progress = Progress::Readying(later(started, self.check.moment.patience));
                }
            }
            What::Ready => self.is_ready(now),
            What::StopAsked => {
                self.progress = Progress::Sent;
                self.limit.get_or_insert(later(now, self.check.limit));
            }
            What::Exited { .. } => {
                self.progress = Progress::Sent;
                self.limit.get_or_insert(later(now, self.check.limit));
            }
            What::Impossible => self.history.impossible = Some(fact.text.clone()),
            _ => {}
        }
        self.take_fact_of_replacement(&fact.what, &fact.text);
        let is_start = matches!(fact.what, What::Started { .. });
        self.history.facts.push(fact);
        if is_start && self.ready {
            self.note_ready();
        }
    }

    fn is_ready(&mut self, now: Instant) {
        self.ready = true;
        if matches!(self.progress, Progress::Readying(_)) {
            self.progress = Progress::Due(later(now, self.check.moment.after));
        }
    }

    fn read_output(&mut self) {
        let wanted = self.check.moment.line.as_deref().filter(|_| !self.ready);
        let mut seen = false;
        let lines = &mut self.last_lines;
        self.output.read(|line| {
            let text = String::from_utf8_lossy(line);
            seen |= holds(&text, wanted);
            if lines.len() == LINES {
                lines.pop_front();
            }
            lines.push_back(readable(&text));
        });
        // A prompt has no end of line.
        seen |= holds(&String::from_utf8_lossy(&self.output.rest), wanted);
        if seen {
            self.ready = true;
            self.note_ready();
        }
    }

    /// The line that was waited for has come; the record of the start comes through another pipe,
    /// possibly later.
    fn note_ready(&mut self) {
        let Some(started) = self.started else { return };
        let now = Instant::now();
        let since_began = now.saturating_duration_since(self.began);
        let took = crate::words::duration::Shown(now.saturating_duration_since(started));
        let text = format!("ready after {took}");
        self.history
            .facts
            .push(Fact::new(since_began, What::Ready, text));
        self.is_ready(now);
    }

    fn read_client(&mut self) {
        let sent = self.history.sent.is_some();
        if let Some((_, lines)) = &mut self.client {
            let tally = &mut self.tally;
            lines.read(|line| {
                if let Ok(told) = serde_json::from_slice::<ClientEvent>(line) {
                    tally.add(told, sent);
                }
            });
        }
    }

    /// Acts on the signals that asked `check` to end, of which so many have come by now.
    fn answer(&mut self, interrupted: u32) {
        while self.interrupted < interrupted {
            self.interrupted += 1;
            if !std::mem::replace(&mut self.history.interrupted, true) {
                // The program is stopped as it would have been.
                self.progress = Progress::Sent;
                let text =
                    "interrupted: the program is being stopped; another signal makes it faster";
                let fact = Fact::new(self.began.elapsed(), What::Interrupted, text);
                self.history.facts.push(fact);
                self.ask();
            } else {
                // The second request: the next step of the ladder at once.
                let _ = signals::send(self.stage, Signal::INT);
            }
        }
    }

    fn act(&mut self, conductor: &mut Conductor, told: &mut dyn FnMut(&Fact)) {
        let now = Instant::now();
        match self.progress {
            Progress::Readying(until) if now >= until => {
                let what = match &self.check.moment.line {
                    Some(line) => format!("no line of its output holds {line:?}"),
                    None => "--ready-when does not hold".to_owned(),
                };
                self.history.never_ready = Some((self.check.moment.patience, what));
                self.progress = Progress::Sent;
                self.ask();
            }
            Progress::Due(at) if now >= at => match (&self.check.replace, &self.check.request) {
                (Some(replace), _) if self.load.is_none() => self.open_load(conductor, replace),
                (_, request) => {
                    self.look_before(conductor, told);
                    // Who wants it to end does not wait for requests.
                    if request.is_some() && self.client.is_none() && !self.history.interrupted {
                        self.open_requests(conductor);
                    } else {
                        self.send();
                    }
                }
            },
            Progress::Replacing(step) => self.go_on_replacing(step, now),
            Progress::Opening(until) if self.tally.is_open() || now >= until => self.send(),
            _ => {}
        }
        if self.limit.is_some_and(|limit| now >= limit) {
            let why = "it was not over long after its time, and was killed".to_owned();
            self.history.impossible.get_or_insert(why);
            self.limit = None;
            let _ = signals::send(self.stage, Signal::KILL);
        }
    }

    fn open_requests(&mut self, conductor: &Conductor) {
        self.progress = Progress::Opening(Instant::now() + OPENING);
        let (Some(request), Some(wanted)) = (&self.check.request, self.variant.promise.in_flight)
        else {
            return;
        };
        let Ok((from, to)) = descriptors::pipe() else {
            return;
        };
        let Ok(lines) = Lines::new(from, conductor) else {
            return;
        };
        let conductor = nix::unistd::getpid();
        let client = fork::copy(|| {
            let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
            if nix::unistd::getppid() != conductor {
                return 0;
            }
            in_flight::client(request, wanted.count, &to)
        });
        if let Ok(pid) = client {
            self.client = Some((pid, lines));
        }
    }

    /// Sends the signal as a platform does: to the process that is the command's init.
    fn send(&mut self) {
        self.progress = Progress::Sent;
        self.read_client();
        self.history.sent = Some(self.began.elapsed());
        self.ask();
    }

    fn ask(&mut self) {
        self.limit
            .get_or_insert(later(Instant::now(), self.check.limit));
        // It may have ended meanwhile: then its facts say so.
        let _ = signals::send(self.stage, self.variant.promise.signal);
    }

    /// Reads what is still to come, kills what is left, and returns the history.
    fn finish(mut self, conductor: &mut Conductor, told: &mut dyn FnMut(&Fact)) -> History {
        let closing = Instant::now() + CLOSING;
        while let Some((_, lines)) = &self.client
            && lines.from.is_some()
            && Instant::now() < closing
        {
            self.progress = Progress::Due(closing);
            self.limit = None;
            self.wait(conductor);
            self.answer(conductor.interrupted);
            self.read_client();
        }
        self.end_load();
        let load = self.load.as_ref().map(|load| load.pid);
        let client = self.client.as_ref().map(|(pid, _)| *pid);
        if let Some(client) = client {
            let _ = signals::send(client, Signal::KILL);
        }
        reap::wait_for_end(self.stage);
        let ours = |pid: i32| pid == self.stage || [client, load].contains(&Some(pid));
        // No process should be left: only a stage that was killed leaves any.
        let left = tree::descendants().unwrap_or_default();
        for member in left.iter().filter(|member| !ours(member.pid)) {
            if let Some(look) = look::at(member.pid) {
                self.history.remained.push(LeftProcess {
                    pid: look.pid,
                    command: look.command,
                });
            }
        }
        kill_all::kill_all();
        match self.remove_containers(conductor, told) {
            Ok(left) => self.history.remained.extend(left),
            Err(why) => {
                self.history.impossible.get_or_insert(why);
            }
        }
        self.read_output();
        if !self.output.rest.is_empty() {
            let rest = String::from_utf8_lossy(&self.output.rest);
            self.last_lines.push_back(readable(&rest));
        }
        if self.client.is_some() {
            self.history.requests = Some(self.tally.requests());
        }
        self.history.output = self.last_lines.into();
        self.history
    }
}

//! What belongs to one life of the command on the kernel's side: the child, and whoever looks at it.

use std::rc::Rc;
use std::time::Duration;

use super::processes::{KILLED, US};
use super::{Coming, Job, World};
use crate::machine::jobs::Jobs;
use crate::machine::{Answer, Event};
use crate::plan::Plan;
use crate::plan::liveness::LiveWhen;
use crate::plan::readiness::ReadyWhen;
use crate::plan::until::UntilWhen;
use crate::plan::wait::WaitWhen;
use crate::record::ExitStatus;
use crate::record::held::{HeldConnection, Why};

/// What is looked at, again and again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::simulation) enum LookAt {
    Wait(usize),
    Ready,
    Live,
    /// Whether the program has anything in flight.
    Ask(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) at: LookAt,
    since: Duration,
    began: Duration,
    pub(super) due: Duration,
    number: u32,
    running: bool,
    /// The answer that is waited for will come too late to count.
    pub(super) outdated: bool,
}

impl Look {
    pub(super) fn new(at: LookAt, now: Duration, due: Duration) -> Self {
        Self {
            at,
            since: now,
            began: now,
            due,
            number: 0,
            running: false,
            outdated: false,
        }
    }

    /// As `kernel::probe` has it.
    fn again(&mut self, now: Duration) {
        let (shortest, longest) = if self.running {
            (100, 1_000)
        } else {
            (25, 250)
        };
        self.running = false;
        let pause = now.saturating_sub(self.since) / 8;
        let pause = pause.clamp(
            Duration::from_millis(shortest),
            Duration::from_millis(longest),
        );
        self.due = now + pause;
    }
}

/// The looks at the connections of the drained ports.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections {
    pub(super) purpose: Purpose,
    pub(super) next: Duration,
    pub(super) requests: u32,
    pub(super) quiet: bool,
    pub(super) told: Option<(u32, bool)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Purpose {
    #[default]
    None,
    Drain,
    /// So many more looks find bytes that are left to be sent.
    Flush(u32),
}

/// The search for who takes the place of the child.
#[derive(Clone, Debug, Default)]
pub(super) struct Heir {
    pub(super) ended: Option<i32>,
    pub(super) search: Option<(Duration, Duration)>,
    why: Option<String>,
    pub(super) orphans: Vec<(i32, ExitStatus)>,
    /// Who was named last.
    pub(super) named: Option<i32>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    pub(super) number: u32,
    /// As in `kernel::life`.
    pub(super) plan: Option<Rc<Plan>>,
    pub(super) child: Option<i32>,
    pub(super) jobs: Jobs<Job>,
    pub(super) looks: Vec<Look>,
    pub(super) connections: Connections,
    pub(super) heir: Heir,
    pub(super) sent_kill: bool,
    pub(super) terminal_came: bool,
    /// Its standard input can still be written to.
    pub(super) relay: bool,
    pub(super) hears: bool,
    pub(super) in_flight: Option<u32>,
    pub(super) told_none: bool,
}

const ENOUGH: Duration = Duration::from_secs(5);

impl World {
    pub(super) fn next_look(&self) -> Option<Duration> {
        let looks = self.life.looks.iter().map(|look| look.due);
        let connections = &self.life.connections;
        let next = (connections.purpose != Purpose::None).then_some(connections.next);
        let search = self.life.heir.search.map(|(_, next)| next);
        looks.chain(next).chain(search).min()
    }

    /// Does the next one that is due; whether there was one.
    pub(super) fn look(&mut self) -> bool {
        let now = self.now;
        if let Some(index) = self.life.looks.iter().position(|look| look.due <= now) {
            self.look_now(index);
        } else if self.life.heir.search.is_some_and(|(_, next)| next <= now) {
            self.look_for_heir();
        } else {
            return false;
        }
        true
    }

    /// Whether a look takes a process, and how long that may take.
    fn takes_process(&self, at: LookAt) -> Option<Duration> {
        let plan = &self.plan;
        match at {
            LookAt::Wait(condition) => {
                let wait = plan.wait.as_ref()?;
                let condition = wait.conditions.get(condition)?;
                let is_command = matches!(condition.when, WaitWhen::Exec(_));
                Some(if is_command {
                    Duration::from_secs(15)
                } else {
                    ENOUGH
                })
            }
            LookAt::Ready => match plan.readiness.as_ref()?.when {
                ReadyWhen::Http(_) | ReadyWhen::Exec(_) => Some(ENOUGH),
                _ => None,
            },
            LookAt::Live => {
                let live = plan.liveness.as_ref()?;
                (!matches!(live.when, LiveWhen::Tcp(_))).then_some(live.timeout)
            }
            LookAt::Ask(_) => Some(ENOUGH),
        }
    }

    fn look_now(&mut self, index: usize) {
        let now = self.now;
        let look = &mut self.life.looks[index];
        let at = look.at;
        if look.running {
            let number = look.number;
            self.end_jobs(|job| *job == Job::Look { at, number });
            return self.looked(at, Err("no end of it in time".to_owned()));
        }
        look.began = now;
        let Some(patience) = self.takes_process(at) else {
            let holds = self.outcome_of_look();
            return self.looked(at, holds);
        };
        if self.answers.one_in(24) {
            let why = "Resource temporarily unavailable (EAGAIN)".to_owned();
            return self.looked(at, Err(why));
        }
        let look = &mut self.life.looks[index];
        look.number += 1;
        look.running = true;
        look.due = now + patience;
        let number = look.number;
        let pid = self.start_job(Job::Look { at, number });
        let status = if self.outcome_of_look().is_ok() { 0 } else { 1 };
        // One in eight hangs.
        if !self.answers.one_in(8) {
            let after = self.answers.short_time();
            self.comes(now + after, Coming::Ends(pid, ExitStatus::Exited(status)));
        }
    }

    fn outcome_of_look(&mut self) -> Result<(), String> {
        match self.answers.below(4) {
            0 | 1 => Ok(()),
            2 => Err("refused".to_owned()),
            _ => Err("it exited with 1".to_owned()),
        }
    }

    /// A look that took a process is over.
    pub(super) fn look_ended(&mut self, at: LookAt, number: u32, status: ExitStatus) {
        let is_it = |look: &Look| look.at == at && look.running && look.number == number;
        if self.life.looks.iter().any(is_it) {
            self.looked(
                at,
                match status {
                    ExitStatus::Exited(0) => Ok(()),
                    status => Err(format!("it {status}")),
                },
            );
        }
    }

    fn looked(&mut self, at: LookAt, holds: Result<(), String>) {
        let now = self.now;
        let every = self.plan.liveness.as_ref().map(|live| live.every);
        let Some(index) = self.life.looks.iter().position(|look| look.at == at) else {
            return;
        };
        let look = &mut self.life.looks[index];
        match at {
            LookAt::Live => {
                look.running = false;
                look.due = now.max(look.began + every.unwrap_or_default());
            }
            _ => look.again(now),
        }
        if std::mem::take(&mut look.outdated) {
            *look = Look::new(at, now, now);
            return;
        }
        if holds.is_ok() && matches!(at, LookAt::Wait(_) | LookAt::Ready) {
            self.life.looks.remove(index);
        }
        let event = match (at, holds) {
            (LookAt::Wait(condition), Ok(())) => Event::Holds(condition),
            (LookAt::Wait(condition), Err(why)) => Event::HoldsNot { condition, why },
            (LookAt::Ready, Ok(())) => Event::Ready,
            (LookAt::Ready, Err(why)) => Event::NotYetReady(why),
            (LookAt::Live, Ok(())) => Event::Alive,
            (LookAt::Live, Err(why)) => Event::NotAlive(why),
            (LookAt::Ask(condition), Ok(())) => Event::Answered {
                condition,
                answer: Answer::Holds,
            },
            (LookAt::Ask(condition), Err(why)) => {
                let answer = match self.answers.below(3) {
                    0 => Answer::NotYet {
                        in_flight: None,
                        why,
                    },
                    1 => Answer::of_number(1 + self.answers.below(3)),
                    _ => Answer::NotKnown(why),
                };
                Event::Answered { condition, answer }
            }
        };
        self.queue.push_back(event);
    }

    pub(super) fn ask_program(&mut self) {
        let now = self.now;
        let until = self.plan.drain.iter().flat_map(|drain| &drain.until);
        let asked = until
            .enumerate()
            .filter(|(_, until)| until.when != UntilWhen::Notify)
            .map(|(condition, _)| Look::new(LookAt::Ask(condition), now, now));
        let asked: Vec<Look> = asked.collect();
        self.life.looks.extend(asked);
    }

    /// Asks anew: what was answered until now does not count.
    pub(super) fn ask_again(&mut self) {
        let now = self.now;
        self.queue
            .retain(|event| !matches!(event, Event::Answered { .. }));
        for look in &mut self.life.looks {
            if matches!(look.at, LookAt::Ask(_)) {
                if look.running {
                    look.outdated = true;
                } else {
                    *look = Look::new(look.at, now, now);
                }
            }
        }
    }

    /// Nobody looks any longer at these.
    pub(super) fn stop_looks(&mut self, chosen: impl Fn(LookAt) -> bool) {
        self.life.looks.retain(|look| !chosen(look.at));
        self.end_jobs(|job| matches!(job, Job::Look { at, .. } if chosen(*at)));
    }

    pub(super) fn look_at_connections(&mut self) {
        let now = self.now;
        let connections = &mut self.life.connections;
        if connections.next > now {
            return;
        }
        match connections.purpose {
            Purpose::None => {}
            Purpose::Flush(0) => {
                connections.purpose = Purpose::None;
                self.queue.push_back(Event::Flushed);
            }
            Purpose::Flush(looks) => {
                connections.purpose = Purpose::Flush(looks - 1);
                connections.next = now + Duration::from_millis(5);
                self.queue.push_back(Event::Flushing);
            }
            Purpose::Drain => self.look_at_requests(),
        }
    }

    fn look_at_requests(&mut self) {
        let connections = &mut self.life.connections;
        let before = connections.requests;
        connections.next = self.now + Duration::from_millis(250);
        connections.requests = match self.answers.below(12) {
            0 => 0,
            1..=3 => before.saturating_sub(1),
            4 => before + 1,
            _ => before,
        };
        let requests = connections.requests;
        let settled = requests == 0 && std::mem::replace(&mut connections.quiet, requests == 0);
        connections.quiet = requests == 0;
        let news = (requests, settled);
        if connections.told.replace(news) != Some(news) {
            self.queue.push_back(Event::InFlight { requests, settled });
        }
        if requests != before {
            let held = (requests > 0).then(|| HeldConnection {
                peer: ([192, 0, 2, 1], 40_000).into(),
                port: 8080,
                why: Why::Owed,
                waited: Duration::from_millis(250),
            });
            self.queue.push_back(Event::HeldUp {
                connections: requests,
                oldest: held.into_iter().collect(),
            });
        }
    }

    pub(super) fn find_heir(&mut self) {
        let now = self.now;
        self.life.heir.search = Some((now, now));
        self.life.heir.why = None;
        if let Ok((heir, status)) = self.heir() {
            self.found_heir(heir, status);
        }
    }

    fn look_for_heir(&mut self) {
        match self.heir() {
            Ok((heir, status)) => self.found_heir(heir, status),
            Err(why) => {
                let now = self.now;
                if let Some((since, next)) = &mut self.life.heir.search {
                    let pause = now.saturating_sub(*since) / 8;
                    let bounds = (Duration::from_millis(25), Duration::from_millis(250));
                    *next = now + pause.clamp(bounds.0, bounds.1);
                }
                if self.life.heir.why.as_ref() != Some(&why) {
                    self.life.heir.why = Some(why.clone());
                    self.queue.push_back(Event::NoHeir(why));
                }
            }
        }
    }

    /// As `kernel::heir` finds it: a child of ours, or an orphan that has ended and was taken note of.
    fn heir(&self) -> Result<(i32, Option<ExitStatus>), String> {
        let known = &self.life.heir;
        let pid = known.named.ok_or("nobody has said MAINPID=")?;
        if known.ended == Some(pid) {
            return Err(format!("pid {pid} is the one that has ended"));
        }
        let found = self.processes.iter().find(|one| one.pid == pid);
        match found {
            Some(one) if one.parent == US => {
                let is_job = self.life.jobs.has(one.group);
                let is_other = self.beside.is_some() && !self.is_of_this(one);
                if is_job || is_other {
                    Err(format!("pid {pid} was not started by the child"))
                } else {
                    Ok((pid, None))
                }
            }
            Some(one) => Err(format!("pid {pid} is a child of pid {}", one.parent)),
            None => {
                let mut orphans = known.orphans.iter();
                let orphan = orphans.find(|(orphan, _)| *orphan == pid);
                let why = || format!("there is no process with pid {pid}");
                orphan
                    .map(|(_, status)| (pid, Some(*status)))
                    .ok_or_else(why)
            }
        }
    }

    fn found_heir(&mut self, pid: i32, status: Option<ExitStatus>) {
        self.life.heir.search = None;
        let told = self.process(pid).map(|one| one.told);
        let heir = crate::record::Process::new(pid, "heir");
        let had = told.unwrap_or_default();
        self.queue.push_back(Event::HeirFound { heir, had });
        match status {
            None => {
                self.life.child = Some(pid);
                self.reaping = true;
            }
            Some(status) => {
                self.life.heir.ended = Some(pid);
                self.queue.push_back(Event::ChildExited(status));
            }
        }
    }

    /// Kills them with their whole groups.
    pub(super) fn end_jobs(&mut self, chosen: impl Fn(&Job) -> bool) {
        for group in self.life.jobs.give_up(chosen) {
            for pid in self.pids(|one| one.group == group) {
                if let Some(one) = self.process(pid) {
                    one.killed = true;
                }
                self.ends(pid, KILLED);
            }
            self.life.sent_kill = true;
        }
    }

    pub(super) fn start_job(&mut self, job: Job) -> i32 {
        self.life.told_none = false;
        self.reaping = true;
        let pid = self.spawn(US, None);
        if let Some(one) = self.process(pid) {
            one.works = true;
        }
        self.life.jobs.begin(pid, job);
        pid
    }
}

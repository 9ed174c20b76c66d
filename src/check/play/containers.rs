//! Containers that a run leaves behind: those that were named, and those that the command itself starts
//! with docker, podman or compose. They are listed and removed with the client of their engine.

mod prefix;

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::kill_all::kill_all;
use crate::check::fact::LeftProcess;
use crate::record::ExitStatus;
use crate::sys::reap::{self, Reaped};
use crate::sys::signals::{self, Inherited};
use crate::sys::{descriptors, error_text, spawn};
use crate::words::signal::Signal;

/// How long the engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// So often the removal of a container is tried: it may come to its end meanwhile, or its engine be too busy.
const REMOVALS: u32 = 3;

/// Options of the clients, before their subcommand, that take a value as a word of its own.
const WITH_VALUE: [&str; 12] = [
    "--config",
    "--connection",
    "--context",
    "--host",
    "--identity",
    "--log-level",
    "--root",
    "--runroot",
    "--url",
    "-H",
    "-c",
    "-l",
];

/// What the command starts.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Starts {
    Nothing,
    /// One container; words of its options begin here.
    One {
        options_at: usize,
    },
    /// Those of a compose project, which this command lists.
    Project {
        list: Vec<OsString>,
    },
}

/// Which containers must not be left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Containers {
    /// The client and its own options.
    client: Vec<OsString>,
    names: Vec<String>,
    starts: Starts,
}

impl Containers {
    /// From `--container`, and from what the command is.
    pub(crate) fn of(command: &[OsString], names: Vec<String>) -> Self {
        let (client, starts) =
            started(command).unwrap_or_else(|| (vec!["docker".into()], Starts::Nothing));
        Self {
            client,
            names,
            starts,
        }
    }

    /// Where a run's container is to write its id: in a directory that is ours alone.
    ///
    /// # Errors
    /// No such directory can be made.
    pub(crate) fn id_file(&self) -> Result<Option<PathBuf>, String> {
        if !matches!(self.starts, Starts::One { .. }) {
            return Ok(None);
        }
        let template = std::env::temp_dir().join("stepdown-check-XXXXXX");
        match nix::unistd::mkdtemp(&template) {
            Ok(directory) => Ok(Some(directory.join("id"))),
            Err(errno) => Err(format!(
                "no place for the id of the container in {}: {}",
                std::env::temp_dir().display(),
                error_text(errno as i32)
            )),
        }
    }

    /// The command of one run, which writes the id of its container into `id_file`; the last `own` words
    /// are those that were asked for.
    pub(crate) fn told(
        &self,
        mut command: Vec<OsString>,
        own: usize,
        id_file: Option<&Path>,
    ) -> Vec<OsString> {
        if let (Starts::One { options_at }, Some(id_file)) = (&self.starts, id_file) {
            let mut option = OsString::from("--cidfile=");
            option.push(id_file);
            let before = command.len().saturating_sub(own);
            command.insert((before + options_at).min(command.len()), option);
        }
        command
    }

    /// Those that run before the start.
    ///
    /// # Errors
    /// The engine does not answer.
    pub(crate) fn running(&self, engine: &mut Engine) -> Result<Vec<LeftProcess>, String> {
        // The container of a single run does not exist yet.
        if self.names.is_empty() && !matches!(self.starts, Starts::Project { .. }) {
            return Ok(Vec::new());
        }
        let found = self.find(None, engine)?;
        Ok(found.into_iter().map(|(_, left)| left).collect())
    }

    /// Those with a name of which none runs.
    ///
    /// # Errors
    /// The engine does not answer.
    pub(crate) fn absent(&self, engine: &mut Engine) -> Result<Vec<String>, String> {
        if self.names.is_empty() {
            return Ok(Vec::new());
        }
        let running = self.listed(&[], engine)?;
        let runs = |name: &&String| !chosen(&running, |_, names| has(names, name)).is_empty();
        let absent = self.names.iter().filter(|name| !runs(name));
        Ok(absent.cloned().collect())
    }

    /// Removes those that still run, and says which they were. What only this run can have made is removed
    /// before its start, too: its client may have ended meanwhile.
    ///
    /// # Errors
    /// The engine does not answer.
    pub(crate) fn remove(
        &self,
        id_file: Option<&Path>,
        engine: &mut Engine,
    ) -> Result<Vec<LeftProcess>, String> {
        let id = id_file.and_then(|file| std::fs::read_to_string(file).ok());
        if let Some(file) = id_file {
            let _ = std::fs::remove_file(file);
            let _ = file.parent().map(std::fs::remove_dir);
        }
        if self.names.is_empty() && self.starts == Starts::Nothing {
            return Ok(Vec::new());
        }
        let id = id.as_deref().map(str::trim);
        // First: one that is started now is in the second list. A program may write before its engine calls
        // it running.
        let created = self.created(id, engine)?;
        let found = self.find(id, engine)?;
        let mut still_there = [found.clone(), created].concat();
        for tried in 1..=REMOVALS {
            let mut failed = None;
            for (id, _) in &still_there {
                let remove = ["rm", "--force", id].map(OsString::from);
                let words = self.client.iter().cloned().chain(remove);
                failed = failed.or(engine.output(&words.collect::<Vec<_>>()).err());
            }
            let Some(why) = failed else {
                break;
            };
            still_there = self.find(id, engine)?;
            if tried == REMOVALS && !still_there.is_empty() {
                return Err(why);
            }
        }
        Ok(found.into_iter().map(|(_, left)| left).collect())
    }

    /// Ids and names of those that run.
    fn find(
        &self,
        id: Option<&str>,
        engine: &mut Engine,
    ) -> Result<Vec<(String, LeftProcess)>, String> {
        let project = self.project(engine)?;
        let text = self.listed(&[], engine)?;
        Ok(chosen(&text, |found, names| {
            is_of(found, id, &project) || self.names.iter().any(|name| has(names, name))
        }))
    }

    /// Ids and names of those that were made and not started yet. Who has made one that is only named is not
    /// known.
    fn created(
        &self,
        id: Option<&str>,
        engine: &mut Engine,
    ) -> Result<Vec<(String, LeftProcess)>, String> {
        if self.starts == Starts::Nothing {
            return Ok(Vec::new());
        }
        let project = self.project(engine)?;
        let text = self.listed(&["--all", "--filter", "status=created"], engine)?;
        Ok(chosen(&text, |found, _| is_of(found, id, &project)))
    }

    /// The ids of a project, one a line.
    fn project(&self, engine: &mut Engine) -> Result<String, String> {
        match &self.starts {
            Starts::Project { list } => engine.output(list),
            _ => Ok(String::new()),
        }
    }

    /// Ids and names of all that run, or as the options of `ps` say.
    fn listed(&self, options: &[&str], engine: &mut Engine) -> Result<String, String> {
        let list = ["ps", "--no-trunc", "--format", "{{.ID}} {{.Names}}"];
        let words = list.iter().chain(options).map(OsString::from);
        let words = self.client.iter().cloned().chain(words);
        engine.output(&words.collect::<Vec<_>>())
    }
}

/// Whether this container has that id, or one of these.
fn is_of(found: &str, id: Option<&str>, project: &str) -> bool {
    let mut of_project = project.split_whitespace();
    id == Some(found) || of_project.any(|of| found.starts_with(of))
}

/// Whether one of the names of a container is this one.
fn has(names: &str, wanted: &str) -> bool {
    names.split(',').any(|name| name == wanted)
}

/// The lines of `ps` about the containers that are meant: id and name.
fn chosen(text: &str, is_meant: impl Fn(&str, &str) -> bool) -> Vec<(String, LeftProcess)> {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .filter(|(id, names)| is_meant(id, names))
        .map(|(id, names)| {
            let left = LeftProcess {
                pid: 0,
                command: format!("container {names}"),
            };
            (id.to_owned(), left)
        })
        .collect()
}

/// What a command starts, and with which client; `None` when it is no client of an engine.
fn started(command: &[OsString]) -> Option<(Vec<OsString>, Starts)> {
    let (in_front, kept) = prefix::in_front(command);
    let (client, mut starts) = started_by_client(command.get(in_front..)?)?;
    match &mut starts {
        Starts::Nothing => {}
        Starts::One { options_at } => *options_at += in_front,
        Starts::Project { list } => *list = [&kept[..], list].concat(),
    }
    Some(([kept, client].concat(), starts))
}

/// The same without anything in front.
fn started_by_client(command: &[OsString]) -> Option<(Vec<OsString>, Starts)> {
    let word = |at: usize| command.get(at).and_then(|word| word.to_str()).unwrap_or("");
    let program = Path::new(command.first()?)
        .file_name()
        .and_then(OsStr::to_str)?;
    let project = |from: usize, client: &[OsString]| {
        let up = (from..command.len()).find(|at| word(*at) == "up")?;
        let mut list = command.get(..up)?.to_vec();
        list.extend(["ps".into(), "-q".into()]);
        Some((client.to_vec(), Starts::Project { list }))
    };
    match program {
        "docker-compose" => return project(1, &["docker".into()]),
        "docker" | "podman" => {}
        _ => return None,
    }
    let mut at = 1;
    while word(at).starts_with('-') {
        at += if WITH_VALUE.contains(&word(at)) { 2 } else { 1 };
    }
    let client = command.get(..at)?;
    let options_at = match (word(at), word(at + 1)) {
        ("run", _) => at + 1,
        ("container", "run") => at + 2,
        ("compose", _) => return project(at + 1, client),
        _ => return None,
    };
    let is_told = command
        .iter()
        .any(|word| word.as_encoded_bytes().starts_with(b"--cidfile"));
    let one = Starts::One { options_at };
    (!is_told).then(|| (client.to_vec(), one))
}

/// The client of an engine, and the means to wait for its answers.
pub(crate) struct Engine<'a> {
    inherited: Inherited,
    read: &'a mut dyn FnMut(OwnedFd, Instant) -> Result<String, Unread>,
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unread {
    Late,
    /// A signal has asked us to end.
    Interrupted,
}

impl<'a> Engine<'a> {
    /// `read` reads a pipe to its end, or until this time.
    pub(crate) fn new(
        inherited: Inherited,
        read: &'a mut dyn FnMut(OwnedFd, Instant) -> Result<String, Unread>,
    ) -> Self {
        Self { inherited, read }
    }

    /// What a command prints. If it does not end, all our children are killed with it.
    fn output(&mut self, words: &[OsString]) -> Result<String, String> {
        let name = words
            .first()
            .map(|word| word.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let failed = |why: String| format!("containers cannot be looked at: {name}: {why}");
        let argv =
            spawn::words(words).map_err(|_| failed("a word holds a zero byte".to_owned()))?;
        let (from, to) = descriptors::pipe().map_err(|errno| failed(error_text(errno as i32)))?;
        let options = spawn::Options {
            own_group: true,
            stdout: Some(to.as_raw_fd()),
            ..spawn::Options::default()
        };
        let path = std::env::var_os("PATH");
        let pid = {
            let _blocked = signals::Blocked::all();
            spawn::spawn(&argv, path.as_deref(), &self.inherited, &options)
                .map_err(|failure| failed(error_text(failure.errno)))?
        };
        drop(to);
        let text = match (self.read)(from, Instant::now() + PATIENCE) {
            Ok(text) => text,
            Err(unread) => {
                // A client may be a script, or have a plugin at work: the whole group, and whoever has left it.
                let _ = signals::send(-pid, Signal::KILL);
                kill_all();
                return Err(failed(match unread {
                    Unread::Late => format!("no answer in {} s", PATIENCE.as_secs()),
                    Unread::Interrupted => "its answer was not waited for".to_owned(),
                }));
            }
        };
        reap::wait_for_end(pid);
        let status = loop {
            match reap::next(false) {
                Reaped::Ended { pid: ended, status } if ended == pid => break status,
                Reaped::NoChild => return Err(failed("its end is unknown".to_owned())),
                _ => {}
            }
        };
        match status {
            ExitStatus::Exited(0) => Ok(text),
            status => Err(failed(format!("exit status {}", status.code()))),
        }
    }
}

/// Reads to the end; no signal is looked at.
pub(crate) fn read_undisturbed(from: OwnedFd, until: Instant) -> Result<String, Unread> {
    let text = descriptors::read_within(&from, until);
    let whole = text.is_whole.then_some(text.bytes).ok_or(Unread::Late)?;
    Ok(String::from_utf8_lossy(&whole).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    fn told(text: &str) -> String {
        let command = words(text);
        let containers = Containers::of(&command, Vec::new());
        let own = command.len();
        let command = containers.told(command, own, Some(Path::new("/id")));
        command.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn the_container_of_run_is_asked_for_its_id() {
        for (command, expected) in [
            ("docker run --rm web", "docker run --cidfile=/id --rm web"),
            (
                "/usr/bin/docker --context far run web",
                "/usr/bin/docker --context far run --cidfile=/id web",
            ),
            (
                "podman container run web",
                "podman container run --cidfile=/id web",
            ),
            (
                "env -u A B=c docker run web",
                "env -u A B=c docker run --cidfile=/id web",
            ),
            (
                "nohup setsid -w timeout -k 1 60 nice -n 5 docker run web",
                "nohup setsid -w timeout -k 1 60 nice -n 5 docker run --cidfile=/id web",
            ),
        ] {
            assert_eq!(told(command), expected);
        }
        for alone in [
            "docker ps",
            "docker start -a run",
            "docker run --cidfile=/other web",
            "./run docker run",
            "docker compose up",
            "env",
            "timeout docker run",
        ] {
            assert_eq!(told(alone), alone);
        }
        let command = words("docker run web");
        let containers = Containers::of(&command, Vec::new());
        let in_front = words("stepdown -- docker run web");
        let told = containers.told(in_front, command.len(), Some(Path::new("/id")));
        assert_eq!(told[4], "--cidfile=/id");
    }

    #[test]
    fn a_project_is_listed_as_it_is_started() {
        for (command, client, list) in [
            (
                "docker-compose -p web up --build",
                "docker",
                "docker-compose -p web ps -q",
            ),
            (
                "timeout 60 sudo -n -u web docker compose up",
                "sudo -n -u web docker",
                "sudo -n -u web docker compose ps -q",
            ),
            (
                "docker -H tcp://far compose -f a.yml up",
                "docker -H tcp://far",
                "docker -H tcp://far compose -f a.yml ps -q",
            ),
        ] {
            let containers = Containers::of(&words(command), Vec::new());
            assert_eq!(containers.client, words(client));
            let list = words(list);
            assert_eq!(containers.starts, Starts::Project { list });
        }
    }

    #[test]
    fn only_those_that_are_meant_are_chosen() {
        let text = "aaa web\nbbb web-2\nccc other,alias\n";
        let names = |wanted: &str| -> Vec<String> {
            let found = chosen(text, |id, names| id == wanted || names == wanted);
            found.into_iter().map(|(_, left)| left.command).collect()
        };
        assert_eq!(names("web"), ["container web"]);
        assert_eq!(names("ccc"), ["container other,alias"]);
    }
}

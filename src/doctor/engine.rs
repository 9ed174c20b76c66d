//! What Docker and Podman say of a container, over their sockets.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::gather;
use crate::call::unix;
use crate::sys::stat::Stat;
use crate::words::signal::Signal;

/// What an engine says of a running container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) engine: &'static str,
    /// Of its PID 1, in our namespace.
    pub(super) pid: i32,
    pub(super) signal: Option<Signal>,
    pub(super) grace: Option<Duration>,
    /// It was told to wait without end (`docker run --stop-timeout -1`).
    pub(super) waits: bool,
    pub(super) paused: bool,
}

/// What all engines have answered.
pub(super) struct Asked {
    /// The container, or why it does not show.
    pub(super) found: Option<Result<Container, String>>,
    /// Engines that are there and did not answer.
    pub(super) troubles: Vec<String>,
}

/// How long an engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A description of a container is some 10 kB.
const MOST: usize = 4 << 20;
/// Both give so much time where nobody says another one.
const GRACE: Duration = Duration::from_secs(10);

/// The sockets of the engines, where they are by default or where their clients would look.
fn sockets() -> Vec<(&'static str, PathBuf)> {
    let told = |engine, name| {
        let value: Option<OsString> = env::var_os(name);
        let path = value.and_then(|value| Some(value.to_str()?.strip_prefix("unix://")?.into()));
        path.map(|path: PathBuf| (engine, path))
    };
    let of_user = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let of_user = |engine, name: &str| of_user.as_ref().map(|dir| (engine, dir.join(name)));
    let all = [
        told("docker", "DOCKER_HOST"),
        told("podman", "CONTAINER_HOST"),
        Some(("docker", "/var/run/docker.sock".into())),
        of_user("docker", "docker.sock"),
        Some(("podman", "/run/podman/podman.sock".into())),
        of_user("podman", "podman/podman.sock"),
    ];
    let mut sockets: Vec<(&str, PathBuf)> = all.into_iter().flatten().collect();
    // /var/run is a link to /run on most machines.
    let mut seen = Vec::new();
    sockets.retain(|(_, path)| {
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let is_new = !seen.contains(&real);
        seen.push(real);
        is_new && path.exists()
    });
    sockets
}

/// Asks each engine for a container of this name, or whose id begins so.
pub(super) fn find(name: &str) -> Asked {
    let mut troubles = Vec::new();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !name.chars().all(is_name) {
        return Asked {
            found: None,
            troubles,
        };
    }
    for (engine, socket) in sockets() {
        let target = format!("/containers/{name}/json");
        match unix::get(&socket, &target, PATIENCE, MOST) {
            Ok((200, body)) => {
                let found = Some(container(engine, &body));
                return Asked { found, troubles };
            }
            Ok((404, _)) => {}
            Ok((status, _)) => {
                troubles.push(format!("{engine} answers {status} ({})", socket.display()));
            }
            Err(why) => troubles.push(format!(
                "{engine} cannot be asked ({}: {why})",
                socket.display()
            )),
        }
    }
    // Without an engine that answers, the cgroup of its processes has its id.
    let is_id = name.len() >= 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pid = is_id.then(|| gather::init_in_cgroup(name)).flatten();
    let found = pid.map(|pid| {
        Ok(Container {
            name: name.to_owned(),
            engine: "the engine",
            pid,
            signal: None,
            grace: None,
            waits: false,
            paused: false,
        })
    });
    Asked { found, troubles }
}

pub(super) fn container(engine: &'static str, body: &[u8]) -> Result<Container, String> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| format!("{engine} answers no JSON: {error}"))?;
    let text = |at: &str| value.pointer(at).and_then(Value::as_str).unwrap_or("");
    let name = text("/Name").trim_start_matches('/').to_owned();
    let pid = value
        .pointer("/State/Pid")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let status = text("/State/Status");
    let pid = match i32::try_from(pid) {
        Ok(pid) if pid > 0 => pid,
        _ => {
            return Err(format!(
                "the container does not run: {engine} says {status:?}"
            ));
        }
    };
    if !is_there(pid, text("/Id")) {
        return Err(format!(
            "its processes do not show from here: {engine} says that its PID 1 is {pid} on the machine of the engine; \
             run it there, or inside: {engine} exec {name} stepdown doctor"
        ));
    }
    let signal = match value.pointer("/Config/StopSignal") {
        Some(Value::String(signal)) => Signal::parse(signal).ok(),
        Some(Value::Number(number)) => Signal::parse(&number.to_string()).ok(),
        _ => None,
    };
    let seconds = value.pointer("/Config/StopTimeout").and_then(Value::as_i64);
    let grace = match seconds {
        None => Some(GRACE),
        Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
    };
    Ok(Container {
        name,
        engine,
        pid,
        signal,
        grace,
        waits: grace.is_none(),
        paused: value.pointer("/State/Paused").and_then(Value::as_bool) == Some(true),
    })
}

/// Whether this pid is the container's in our namespace, and not that of another machine.
fn is_there(pid: i32, id: &str) -> bool {
    let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let is_init = crate::look::at(pid).is_some_and(|look| look.is_init);
    Stat::parse(&stat).is_some() && (is_init || !id.is_empty() && cgroup.contains(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pid: u32, config: &str) -> Result<Container, String> {
        let text = format!(
            r#"{{"Id":"","Name":"/web","State":{{"Pid":{pid},"Status":"exited"}},"Config":{{{config}}}}}"#
        );
        container("docker", text.as_bytes())
    }

    #[test]
    fn a_container_that_does_not_run_is_told() {
        assert_eq!(
            of(0, "").unwrap_err(),
            "the container does not run: docker says \"exited\""
        );
    }

    #[test]
    fn the_time_until_kill_is_that_of_the_container() {
        // Every cgroup has a slash in its path, and so ours is that of the container.
        let grace = |config: &str| {
            let pid = std::process::id();
            let text = format!(
                r#"{{"Id":"/","Name":"/web","State":{{"Pid":{pid}}},"Config":{{{config}}}}}"#
            );
            let container = container("docker", text.as_bytes()).unwrap();
            (container.grace, container.waits)
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(grace(""), (seconds(10), false));
        assert_eq!(grace(r#""StopTimeout":77"#), (seconds(77), false));
        assert_eq!(grace(r#""StopTimeout":0"#), (seconds(0), false));
        assert_eq!(grace(r#""StopTimeout":-1"#), (None, true));
    }

    #[test]
    fn a_container_of_another_machine_is_told() {
        // Above the highest pid that there is.
        let why = of(0x7fff_ffff, "").unwrap_err();
        assert!(why.contains("do not show from here"), "{why}");
        assert!(why.contains("docker exec web stepdown doctor"), "{why}");
    }
}

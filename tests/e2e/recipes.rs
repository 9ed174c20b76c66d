//! The recipes of `docs`: each is the file in `scripts/examples`, and each is run or checked by what reads it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::docker::{self, Image};
use crate::support::drainee::{THREADED, words};
use crate::support::mark::Mark;
use crate::support::net::{self, free_port};
use crate::support::pages;
use crate::support::{BOUND, Stepdown, binary, holds_within, need, uninterrupted, wait_until};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/examples")
}

fn example(name: &str) -> String {
    fs::read_to_string(examples().join(name)).expect("our own file")
}

#[test]
fn the_pages_show_the_files() {
    for (page, name, language) in [
        ("compose", "compose/compose.yaml", "yaml"),
        ("compose", "compose/haproxy.cfg", "haproxy"),
        ("compose", "compose/rolling-restart", "bash"),
        ("kubernetes", "kubernetes.yaml", "yaml"),
        ("ci", "ci/github.yml", "yaml"),
        ("ci", "ci/gitlab.yml", "yaml"),
        ("systemd", "web.service", "ini"),
    ] {
        let text = pages::page(&format!("docs/{page}.md"));
        let block = format!("```{language}\n{}```\n", example(name));
        assert!(text.contains(&block), "{page}: not as it is in {name}");
        let link = format!("(../scripts/examples/{name})");
        assert!(text.contains(&link), "{page}: no {link}");
    }
}

/// What `explain` says of these options: how long the platform must wait at least.
#[track_caller]
fn grace_for(options: &[String], variables: &[(String, String)]) -> u64 {
    let mut explain = Command::new(binary::under_test());
    explain.arg("explain").args(options);
    for (name, value) in variables {
        explain.env(name, value);
    }
    let explained = explain.output().expect("our own binary");
    let told = String::from_utf8_lossy(&explained.stdout);
    let error = String::from_utf8_lossy(&explained.stderr);
    assert!(explained.status.success(), "{error}");
    let (_, grace) = told
        .split_once("terminationGracePeriodSeconds: ")
        .expect("a worst case");
    let digits: String = grace.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("seconds")
}

/// A YAML file, each of its documents.
#[track_caller]
fn documents(name: &str) -> Vec<Value> {
    let read =
        "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let read = Command::new("/usr/bin/python3")
        .args(["-c", read])
        .arg(examples().join(name))
        .output()
        .expect("python3");
    let error = String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success(), "{error}");
    serde_json::from_slice(&read.stdout).expect("JSON")
}

/// The same of a file with one document.
#[track_caller]
pub(crate) fn document(name: &str) -> Value {
    let mut documents = documents(name);
    assert_eq!(documents.len(), 1, "{name}");
    documents.remove(0)
}

pub(crate) fn yaml_can_be_read() -> Result<(), String> {
    let import = ["-c", "import yaml"];
    match Command::new("/usr/bin/python3").args(import).output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("python3-yaml is not installed".to_owned()),
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

// Kubernetes.

#[test]
fn the_grace_period_and_the_probes_of_kubernetes_fit() {
    need!(yaml_can_be_read());
    let documents = documents("kubernetes.yaml");
    let pod = &documents[0]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert!(container["lifecycle"].is_null(), "no preStop is needed");
    let variables: Vec<(String, String)> = container["env"]
        .as_array()
        .expect("options")
        .iter()
        .map(|entry| (text(&entry["name"]), text(&entry["value"])))
        .collect();
    let option = |name: &str| {
        let found = variables.iter().find(|(key, _)| key == name);
        found.expect("an option").1.clone()
    };

    let grace = pod["terminationGracePeriodSeconds"].as_u64();
    let needed = grace_for(&[], &variables);
    assert!(needed < grace.expect("seconds"), "{needed} s are needed");

    let port = |name: &str| {
        let ports = container["ports"].as_array().expect("ports");
        let found = ports.iter().find(|port| port["name"] == name);
        found.expect("a port of that name")["containerPort"].to_string()
    };
    let health = option("STEPDOWN_HEALTH_LISTEN");
    assert_eq!(health, format!(":{}", port("stepdown")));
    assert_eq!(option("STEPDOWN_DRAIN_PORT"), port("http"));
    for (probe, path) in [
        ("startupProbe", "/readyz"),
        ("readinessProbe", "/readyz"),
        ("livenessProbe", "/livez"),
    ] {
        let asked = &container[probe]["httpGet"];
        assert_eq!(asked["path"], path);
        assert_eq!(asked["port"], "stepdown");
    }
    let service = &documents[1]["spec"];
    assert_eq!(service["ports"][0]["targetPort"], "http");
    let labels = &documents[0]["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&service["selector"], labels);
}

// systemd.

/// The words of the unit's command after stepdown itself, and up to the server's.
fn options_of_unit() -> Vec<String> {
    let unit = example("web.service").replace("\\\n", "");
    let (_, command) = unit.split_once("ExecStart=").expect("a command");
    let line = command.lines().next().expect("a line");
    let words = line.split_whitespace().skip(1).map(str::to_owned);
    words.take_while(|word| word != "--").collect()
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    need!(binary::installed("/usr/bin/systemd-analyze"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("web.service");
    let program = binary::under_test().display().to_string();
    let unit = example("web.service").replace("/usr/local/bin/stepdown", &program);
    fs::write(&path, unit).expect("a directory of ours");
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&path)
        .output()
        .expect("systemd-analyze");
    let told = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success(), "{told}");
    // Of an unknown key it only warns.
    assert!(!told.contains("web.service"), "{told}");
}

#[test]
fn the_timeout_of_the_unit_fits() {
    let unit = example("web.service");
    let (_, timeout) = unit.split_once("TimeoutStopSec=").expect("a timeout");
    let timeout = timeout.lines().next().and_then(|line| line.parse().ok());
    let needed = grace_for(&options_of_unit(), &[]);
    assert!(needed < timeout.expect("seconds"), "{needed} s are needed");
    // TERM to all of them at once would end the server before the drain.
    assert!(unit.contains("\nKillMode=mixed\n"));
}

#[test]
fn the_command_of_the_unit_tells_systemd_when_it_is_ready_and_when_it_stops() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a directory of ours");
    manager
        .set_read_timeout(Some(BOUND))
        .expect("a bound above zero");
    let told = || {
        let mut buffer = [0; 4096];
        let count = uninterrupted(|| manager.recv(&mut buffer)).expect("a message");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    let (port, health) = (free_port(), free_port());
    let here = |option: String| {
        let option = option.replace("8080", &port.to_string());
        option.replace("9000", &health.to_string())
    };
    let mut run = Stepdown::new()
        .args(options_of_unit().into_iter().map(here))
        .env("NOTIFY_SOCKET", &path)
        .child(words(THREADED.listen, port, THREADED.wait))
        .start();
    assert!(told().contains("READY=1"));
    run.signal(Signal::SIGTERM);
    assert!(told().contains("STOPPING=1"));
    // A balancer that has asked nothing is not waited for longer than an INT that comes again allows.
    run.logs("drain");
    run.asks_again().asks_again();
    // The server dies of TERM, which was asked for.
    run.wait().code(0);
}

// Compose.

#[test]
fn the_grace_period_of_compose_fits() {
    need!(yaml_can_be_read());
    let compose = document("compose/compose.yaml");
    let services = compose["services"].as_object().expect("services");
    let replicas = services.iter().filter(|(name, _)| name.starts_with("web"));
    let mut count = 0;
    for (_, replica) in replicas {
        count += 1;
        let variables: Vec<(String, String)> = replica["environment"]
            .as_object()
            .expect("options")
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect();
        let grace = text(&replica["stop_grace_period"]);
        let grace = grace.strip_suffix('s').and_then(|grace| grace.parse().ok());
        let needed = grace_for(&[], &variables);
        assert!(needed < grace.expect("seconds"), "{needed} s are needed");
        let fall = format!(
            "fall {} ",
            text(&replica["environment"]["STEPDOWN_DRAIN_CHECKS"])
        );
        assert!(example("compose/haproxy.cfg").contains(&fall));
    }
    assert_eq!(count, 3);
}

/// The recipe in a directory of its own, with the images, ports and tools of this machine.
struct Compose {
    directory: tempfile::TempDir,
    project: String,
    port: u16,
}

impl Compose {
    #[track_caller]
    fn up() -> Self {
        let (port, up) = (free_port(), free_port());
        let compose = Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            project: format!("stepdown-test-{}", Mark::new().as_str()),
            port,
        };
        compose.write("haproxy.cfg", |text| text);
        compose.write("compose.yaml", |text| {
            let image = format!("image: {}\n  volumes: ['/usr:/usr:ro']\n  #", web());
            text.replace("image: web ", &image)
                .replace("image: haproxy:lts", &format!("image: {}", haproxy()))
                .replace("8080:8080", &format!("127.0.0.1:{port}:8080"))
                .replace("8404:8404", &format!("{up}:8404"))
        });
        compose.write("rolling-restart", |text| {
            let tool = format!("docker-compose --project-name {}", compose.project);
            text.replace("docker compose", &tool)
                .replace(":8404", &format!(":{up}"))
        });
        compose.done(&["up", "--detach"]);
        for web in ["web1", "web2", "web3"] {
            wait_until(web, || status(up, &format!("/{web}")) == Some(200));
        }
        compose
    }

    /// A file of the recipe, as this machine can use it.
    fn write(&self, name: &str, change: impl FnOnce(String) -> String) {
        let to = self.directory.path().join(name);
        let from = examples().join("compose").join(name);
        let mode = fs::metadata(from).expect("our own file").permissions();
        fs::write(&to, change(example(&format!("compose/{name}")))).expect("a directory of ours");
        fs::set_permissions(&to, fs::Permissions::from_mode(mode.mode())).expect("a file of ours");
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new("docker-compose")
            .args(["--project-name", &self.project])
            .args(words)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .output()
            .expect("docker-compose")
    }

    #[track_caller]
    fn done(&self, words: &[&str]) -> String {
        let done = self.run(words);
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{words:?}: {error}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    fn containers(&self) -> Vec<String> {
        let ids = self.done(&["ps", "--quiet", "web1", "web2", "web3"]);
        ids.lines().map(str::to_owned).collect()
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        self.run(&["down", "--volumes", "--timeout", "0"]);
    }
}

/// A server without shutdown code under stepdown; `/usr` of this machine has its Python.
fn web() -> String {
    Image::from_scratch("recipe-web")
        .link("/bin", "usr/bin")
        .link("/lib", "usr/lib")
        .link("/lib64", "usr/lib64")
        .file("/opt/stepdown", binary::under_test_static())
        .file("/server.py", examples().join("../rolling.d/server.py"))
        .line("ENV PATH=/opt:/usr/bin")
        .line(r#"ENTRYPOINT ["stepdown", "--"]"#)
        .line(r#"CMD ["python3", "/server.py", "0.0.0.0", "8080"]"#)
        .build()
}

/// The HAProxy of this machine with its libraries, called as the official image calls it.
fn haproxy() -> String {
    let program = "/usr/sbin/haproxy";
    let listed = Command::new("ldd").arg(program).output().expect("ldd");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let libraries = listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(|path| &*path.to_owned().leak());
    let image = Image::from_scratch("recipe-haproxy").file(program, program);
    libraries
        .fold(image, |image, path| image.file(path, path))
        .line(
            r#"CMD ["/usr/sbin/haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]"#,
        )
        .build()
}

/// The status and the text of an answer, whole.
fn answer(port: u16, path: &str) -> Result<(u16, String), String> {
    let mut stream =
        std::net::TcpStream::connect(net::address(port)).map_err(|error| error.to_string())?;
    stream
        .set_read_timeout(Some(BOUND))
        .map_err(|error| error.to_string())?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    let read = stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.read_to_string(&mut answer));
    read.map_err(|error| error.to_string())?;
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.ok_or("no status")?, answer))
}

fn status(port: u16, path: &str) -> Option<u16> {
    answer(port, path).ok().map(|(status, _)| status)
}

/// Requests by several clients at a time, until it is told to end.
#[derive(Default)]
struct Load {
    ended: AtomicBool,
    answered: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl Load {
    fn client(&self, port: u16, path: &str) {
        while !self.ended.load(Ordering::Relaxed) {
            let failure = match answer(port, path) {
                // The last chunk, or the last byte of the counted ones.
                Ok((200, text)) if text.ends_with("end") || text.ends_with("end\r\n0\r\n\r\n") => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Ok((_, text)) => text,
                Err(error) => error,
            };
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.push(format!("{path}: {failure}"));
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn compose_is_available() -> Result<(), String> {
    docker::available()?;
    binary::installed("/usr/bin/docker-compose")?;
    binary::installed("/usr/bin/python3")?;
    binary::installed("/usr/sbin/haproxy")?;
    binary::installed("/usr/bin/curl")
}

#[test]
fn compose_restarts_replica_after_replica_and_no_request_is_lost() {
    need!(compose_is_available());
    // A balancer that the machine holds up for longer than the drain's quiet time sends to a replica that is gone:
    // what holds once could not hold at all under this load if requests were lost by the recipe.
    let failures: Vec<String> = (0..3).map_while(|_| failures_while_restarted()).collect();
    assert!(failures.len() < 3, "{failures:#?}");
}

/// Restarts all under load: what was lost, if anything.
#[track_caller]
fn failures_while_restarted() -> Option<String> {
    let compose = Compose::up();
    let before = compose.containers();
    assert_eq!(before.len(), 3, "{before:?}");
    let load = Load::default();
    let paths = [
        "/work/50",
        "/work/120",
        "/work/250",
        "/work/400",
        "/stream/2/600",
    ];
    let restarted = thread::scope(|scope| {
        for path in paths {
            scope.spawn(|| load.client(compose.port, path));
        }
        let script = compose.directory.path().join("rolling-restart");
        let mut script = Command::new(script)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a script of ours");
        // A few seconds a replica, and more when the engine is busy with other stories.
        let ended = holds_within(BOUND * 10, || {
            script.try_wait().expect("our own child").is_some()
        });
        load.ended.store(true, Ordering::Relaxed);
        if !ended {
            let _ = script.kill();
        }
        script.wait().expect("our own child").success()
    });
    assert!(restarted, "the script failed");
    let after = compose.containers();
    assert_eq!(after.len(), 3, "{after:?}");
    assert!(
        after.iter().all(|id| !before.contains(id)),
        "{before:?} {after:?}"
    );
    let failures = load
        .failures
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let answered = load.answered.into_inner();
    // Each client has been answered again and again.
    assert!(answered > 3 * paths.len(), "{answered}, {failures:#?}");
    let lost = !failures.is_empty();
    lost.then(|| format!("{answered} answered, {failures:#?}"))
}

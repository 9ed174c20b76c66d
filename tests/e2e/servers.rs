//! Real servers and ordinary programs, each stopped the way it wants to be stopped.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::unistd::User;

use crate::support::docker::{self, Container, container, userland, with_host_userland};
use crate::support::ended::Ended;
use crate::support::net::{address, ask, connect, free_port, is_listening};
use crate::support::running::Running;
use crate::support::skipped::{skip, skip_part};
use crate::support::stepdown::can_be_pid1;
use crate::support::{Mode, Stepdown, binary, need, wait_until};

/// Longer than a story may take: whoever needs the next step of the ladder fails.
const PATIENT: &str = "--grace=60s";

/// Where a server runs under stepdown.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Process(Mode),
    Container,
}

/// Tells a story about an installed program as a process, as PID 1 and in a container.
fn everywhere(program: &str, story: impl Fn(Place)) {
    need!(binary::installed(program));
    let places = [
        (Place::Process(Mode::Ordinary), Ok(())),
        (Place::Process(Mode::Pid1), can_be_pid1()),
        (Place::Container, docker::available()),
    ];
    for (place, possible) in places {
        match possible {
            Ok(()) => {
                println!("{place:?}");
                story(place);
            }
            Err(why) => skip_part(format!("{place:?}: {why}")),
        }
    }
}

/// A command line for stepdown that is being prepared.
struct Server<'a> {
    place: Place,
    options: &'a [&'a str],
    command: Vec<OsString>,
    /// Shared with the container under the same path.
    dir: &'a Path,
    /// Who the command runs as.
    user: Option<&'a User>,
}

impl<'a> Server<'a> {
    fn new(place: Place, options: &'a [&'a str], dir: &'a Path) -> Self {
        Server {
            place,
            options,
            command: Vec::new(),
            dir,
            user: None,
        }
    }

    fn user(mut self, user: &'a User) -> Self {
        self.user = Some(user);
        self
    }

    fn command<A: Into<OsString>>(mut self, command: impl IntoIterator<Item = A>) -> Self {
        self.command.extend(command.into_iter().map(Into::into));
        self
    }

    fn start(self) -> Started {
        match self.place {
            Place::Process(mode) => {
                let stepdown = Stepdown::in_mode(mode).args(self.options).args(["--"]);
                // stepdown stays root, as it is in most containers; the server does not.
                let switch = self.user.map(|user| {
                    let (uid, gid) = (user.uid, user.gid);
                    let (uid, gid) = (format!("--reuid={uid}"), format!("--regid={gid}"));
                    [
                        "setpriv".to_owned(),
                        uid,
                        gid,
                        "--clear-groups".to_owned(),
                        "--".to_owned(),
                    ]
                });
                let stepdown = stepdown
                    .args(switch.into_iter().flatten())
                    .args(self.command);
                Started::Process(stepdown.env("LC_ALL", "C").with_stdin().start())
            }
            Place::Container => {
                let mut volume = self.dir.as_os_str().to_owned();
                volume.push(":");
                volume.push(self.dir);
                let mut run = container(userland())
                    .options(with_host_userland())
                    .options(["-i", "--network=host", "-e", "LC_ALL=C", "-v"])
                    .options([volume]);
                if let Some(user) = self.user {
                    run = run.options(["--user".to_owned(), format!("{}:{}", user.uid, user.gid)]);
                }
                let stepdown = run
                    .stepdown(self.options)
                    .command(["--"])
                    .command(self.command);
                Started::Container(stepdown.start())
            }
        }
    }
}

/// A server that runs under stepdown.
enum Started {
    Process(Running),
    Container(Container),
}

impl Started {
    /// Waits for a line with `part` on standard output.
    #[track_caller]
    fn says(&mut self, part: &str) {
        match self {
            Self::Process(run) => drop(run.says_about(part)),
            Self::Container(container) => drop(container.says_about(part)),
        }
    }

    /// Waits for a line with `part` on standard error.
    #[track_caller]
    fn logs(&mut self, part: &str) {
        match self {
            Self::Process(run) => drop(run.logs(part)),
            Self::Container(container) => drop(container.logs(part)),
        }
    }

    #[track_caller]
    fn type_line(&mut self, line: &str) {
        match self {
            Self::Process(run) => drop(run.type_line(line)),
            Self::Container(container) => drop(container.type_line(line)),
        }
    }

    /// Asks for the stop as whoever runs it would: TERM for a process, `docker stop` for a
    /// container, which does not return before the end and so runs beside the story.
    #[track_caller]
    fn ask_to_stop(&mut self) {
        match self {
            Self::Process(run) => drop(run.signal(Signal::SIGTERM)),
            Self::Container(container) => drop(container.stop_meanwhile(&["-t", "60"])),
        }
    }

    #[track_caller]
    fn signal(&mut self, signal: Signal) {
        match self {
            Self::Process(run) => drop(run.signal(signal)),
            Self::Container(container) => drop(container.kill(signal.as_str())),
        }
    }

    /// Waits for the end, after which nothing of it may be left.
    #[track_caller]
    fn wait(self) -> Ended {
        let ended = match self {
            Self::Process(run) => run.wait(),
            Self::Container(container) => container.wait(),
        };
        ended.nothing_left();
        ended
    }
}

#[test]
fn nginx_finishes_the_response_that_is_in_flight() {
    everywhere("/usr/sbin/nginx", |place| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let upstream = TcpListener::bind(address(0)).expect("loopback");
        let behind = upstream.local_addr().expect("a bound socket").port();
        let port = free_port();
        let conf = dir.path().join("nginx.conf");
        std::fs::write(&conf, nginx_conf(dir.path(), port, behind)).expect("a directory of ours");

        let mut nginx = Server::new(place, &["--stop-signal", "QUIT", PATIENT], dir.path())
            .command(["nginx", "-e", "stderr", "-c"])
            .command([conf])
            .start();
        let mut client = connect(port);
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .expect("nginx reads");
        // The response is in the hands of the story: nginx waits for it as for a slow application.
        let (mut application, _) = upstream.accept().expect("nginx asks");
        let mut request = [0; 1024];
        assert_ne!(application.read(&mut request).expect("nginx asks"), 0);

        nginx.ask_to_stop();
        wait_until("nginx accepts no more", || !is_listening(port));
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nfinished";
        application.write_all(response).expect("nginx waits for it");
        drop(application);

        let mut answer = String::new();
        client
            .read_to_string(&mut answer)
            .expect("nginx finishes, then closes");
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.ends_with("finished"), "{answer}");
        nginx.wait().code(0).logged(&["QUIT"]);
    });
}

fn nginx_conf(dir: &Path, port: u16, behind: u16) -> String {
    let dir = dir.display();
    format!(
        "daemon off;
        user root;
        worker_processes 2;
        pid {dir}/pid;
        error_log stderr warn;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {dir}/body;
            proxy_temp_path {dir}/proxy;
            fastcgi_temp_path {dir}/fastcgi;
            uwsgi_temp_path {dir}/uwsgi;
            scgi_temp_path {dir}/scgi;
            server {{
                listen 127.0.0.1:{port};
                location / {{ proxy_pass http://127.0.0.1:{behind}; }}
            }}
        }}"
    )
}

#[test]
fn redis_saves_before_it_goes_and_has_the_data_when_it_is_back() {
    everywhere("/usr/bin/redis-server", |place| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let start = || {
            let mut redis = Server::new(place, &[PATIENT], dir.path())
                .command(["redis-server", "--bind", "127.0.0.1", "--appendonly", "no"])
                .command(["--save", "3600 1", "--port", &port.to_string(), "--dir"])
                .command([dir.path()])
                .start();
            redis.says("Ready to accept connections");
            redis
        };
        let complete = |answer: &[u8]| answer.ends_with(b"\r\n");

        let mut redis = start();
        let stored = ask(&mut connect(port), b"SET story told\r\n", complete);
        assert_eq!(stored, b"+OK\r\n");
        assert!(
            !dir.path().join("dump.rdb").exists(),
            "nothing has been saved yet"
        );
        redis.ask_to_stop();
        let ended = redis.wait();
        ended.code(0);
        assert!(
            ended.stdout.contains("DB saved on disk"),
            "{}",
            ended.told()
        );

        let mut redis = start();
        let found = ask(&mut connect(port), b"GET story\r\n", |answer| {
            answer.ends_with(b"told\r\n")
        });
        assert_eq!(found, b"$4\r\ntold\r\n");
        redis.ask_to_stop();
        redis.wait().code(0);
    });
}

#[test]
fn postgresql_shuts_down_fast_although_a_session_is_open() {
    let Some(programs) = postgresql_programs() else {
        skip("postgresql is not installed");
        return;
    };
    if !nix::unistd::geteuid().is_root() {
        skip("only root can become the user postgres");
        return;
    }
    // initdb and postgres refuse to run as root.
    let Ok(Some(user)) = User::from_name("postgres") else {
        skip("there is no user postgres");
        return;
    };
    everywhere("/usr/bin/setpriv", |place| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        chown(dir.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("as root");
        let data = dir.path().join("data");
        let made = Command::new("setpriv")
            .args([
                format!("--reuid={}", user.uid),
                format!("--regid={}", user.gid),
            ])
            .args(["--clear-groups", "--"])
            .arg(programs.join("initdb"))
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=postgres",
                "--pgdata",
            ])
            .arg(&data)
            .env("LC_ALL", "C")
            .current_dir(dir.path())
            .output()
            .expect("initdb, which is installed");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );

        let port = free_port();
        let mut postgres = Server::new(place, &["--stop-signal", "INT", PATIENT], dir.path())
            .user(&user)
            .command([programs.join("postgres")])
            .command([
                "-c",
                "fsync=off",
                "-c",
                "shared_buffers=1MB",
                "-c",
                "log_destination=stderr",
            ])
            .command([
                "-c",
                "listen_addresses=127.0.0.1",
                "-p",
                &port.to_string(),
                "-k",
            ])
            .command([dir.path()])
            .command(["-D".as_ref(), data.as_os_str()])
            .start();
        postgres.logs("database system is ready to accept connections");
        let mut session = connect(port);
        // Version 3.0 of the protocol; `Z` says that the session is ready for a query.
        let startup = b"\0\0\0\x29\0\x03\0\0user\0postgres\0database\0postgres\0\0";
        ask(&mut session, startup, |answer| {
            answer.ends_with(b"Z\0\0\0\x05I")
        });

        // TERM would be a smart shutdown, which waits for the session for ever.
        postgres.ask_to_stop();
        let ended = postgres.wait();
        ended.code(0).logged(&["received fast shutdown request"]);
        ended
            .logged(&["database system is shut down"])
            .never_logged("smart shutdown");
        drop(session);

        let state = Command::new(programs.join("pg_controldata"))
            .arg(&data)
            .env("LC_ALL", "C")
            .output()
            .expect("pg_controldata, which comes with initdb");
        let state = String::from_utf8_lossy(&state.stdout).into_owned();
        let state = state
            .lines()
            .find(|line| line.starts_with("Database cluster state"));
        assert!(
            state.is_some_and(|line| line.ends_with("shut down")),
            "{state:?}"
        );
    });
}

/// Debian keeps the programs of each version in a directory of its own.
fn postgresql_programs() -> Option<std::path::PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .find(|programs| programs.join("initdb").exists())
}

#[test]
fn a_shell_without_traps_goes_at_once_and_so_does_its_foreground_child() {
    everywhere("/bin/sh", |place| {
        let script = binary::child("foreground-child.sh");
        let dir = script.parent().expect("a file");
        let mut shell = Server::new(place, &[PATIENT, "--sweep-grace=60s"], dir)
            .command(["sh"])
            .command([&script])
            .start();
        shell.says("ready");
        shell.ask_to_stop();
        // TERM kills the shell, the sweep finds its child.
        shell
            .wait()
            .code(143)
            .never_said("the shell went on")
            .never_logged("KILL");
    });
}

#[test]
fn a_python_server_that_ignores_term_is_killed_when_its_grace_is_over() {
    everywhere(PYTHON, |place| {
        let (mut server, port) = start_python(place, "--grace=300ms");
        server.ask_to_stop();
        server.wait().code(137).logged(&["KILL"]);
        assert!(!is_listening(port));
    });
}

#[test]
fn a_python_server_that_ignores_term_works_until_someone_insists() {
    everywhere(PYTHON, |place| {
        let (mut server, port) = start_python(place, PATIENT);
        server.signal(Signal::SIGTERM);
        server.logs("TERM");
        let request = b"GET / HTTP/1.0\r\n\r\n";
        ask(&mut connect(port), request, |answer| {
            answer.ends_with(b"still here\n")
        });
        // The first INT is passed on, and this one it obeys.
        server.signal(Signal::SIGINT);
        server
            .wait()
            .code(130)
            .logged(&["INT from", "passed on to the child"])
            .never_logged("KILL");
        assert!(!is_listening(port));
    });
}

/// Debian's, because the container sees /usr only.
const PYTHON: &str = "/usr/bin/python3";

fn start_python(place: Place, grace: &str) -> (Started, u16) {
    let port = free_port();
    let script = binary::child("server-ignores-term.py");
    let dir = script.parent().expect("a file");
    let mut server = Server::new(place, &[grace], dir)
        .command([PYTHON])
        .command([&script])
        .command([port.to_string()])
        .start();
    server.says("ready");
    (server, port)
}

#[test]
fn a_console_program_is_stopped_by_what_is_typed_for_it() {
    everywhere("/bin/sh", |place| {
        let script = binary::child("console-obeys-stop.sh");
        let dir = script.parent().expect("a file");
        let mut console = Server::new(place, &["--ladder", "stdin=stop:60s,TERM:2s,KILL"], dir)
            .command(["sh"])
            .command([&script])
            .start();
        console.says("ready");
        // What people type goes through the same pipe.
        console.type_line("status");
        console.says("unknown: status");
        console.ask_to_stop();
        console
            .wait()
            .code(0)
            .said("saved")
            .never_said("input is closed")
            .never_logged("KILL");
    });
}

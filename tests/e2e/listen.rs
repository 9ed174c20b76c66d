//! `--listen`: the sockets are there before the child, stay from one generation to the next, and end with the run.

use std::fs;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use nix::libc;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::activation::{activated, with_socket};
use crate::identity::is_root;
use crate::support::binary;
use crate::support::net::{free_port, ipv6};
use crate::support::running::Running;
use crate::support::{BOUND, Stepdown, both, need, seccomp, wait_until};

/// A run of `listener` that listens on a port of 127.0.0.1, in a directory of its own.
pub(crate) struct Server {
    pub(crate) run: Running,
    pub(crate) dir: TempDir,
    pub(crate) address: SocketAddr,
}

fn dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// What is told of a port that the kernel has chosen.
#[track_caller]
fn chosen(run: &mut Running, name: &str) -> SocketAddr {
    let line = run.logs(&format!("({name})"));
    let mut words = line.split_ascii_whitespace();
    let address = words.find_map(|word| word.parse().ok());
    address.unwrap_or_else(|| panic!("{line}"))
}

impl Server {
    #[track_caller]
    pub(crate) fn start(stepdown: Stepdown, options: &[&str], words: &[&str]) -> Self {
        let dir = dir();
        let mut run = stepdown
            .dir(dir.path())
            .args(["--listen", "web=127.0.0.1:0"])
            .args(options)
            .child([binary::listener()])
            .args(words)
            .start();
        let address = chosen(&mut run, "web");
        run.says("ready");
        Self { run, dir, address }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("somebody listens");
        let bounded = stream.set_read_timeout(Some(BOUND));
        bounded.expect("a bound above zero");
        stream
    }

    pub(crate) fn make(&self, name: &str) {
        File::create(self.dir.path().join(name)).expect("a directory of ours");
    }

    pub(crate) fn crashes(&self) {
        self.connect().write_all(b"crash\n").expect("it reads");
    }
}

#[track_caller]
pub(crate) fn hears(stream: impl Read, expected: &str) {
    let mut line = String::new();
    let heard = BufReader::new(stream).read_line(&mut line);
    heard.expect("an answer");
    assert_eq!(line.trim_end(), expected);
}

#[track_caller]
pub(crate) fn answers(mut stream: impl Read + Write, name: &str) {
    stream.write_all(b"hello\n").expect("somebody reads");
    hears(stream, &format!("{name} hello"));
}

pub(crate) fn unix(path: &std::path::Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("somebody listens");
    let bounded = stream.set_read_timeout(Some(BOUND));
    bounded.expect("a bound above zero");
    stream
}

/// Keeps the second generation from starting until there is a file `next`.
const HOLDS_THE_SECOND: &str =
    "sh -c 'test $STEPDOWN_GENERATION = 1 || while ! test -e next; do sleep 0.01; done'";

#[test]
fn each_socket_is_passed_on_with_its_name() {
    both(|mode| {
        let path = dir();
        let path = path.path().join("admin.sock");
        let unix_option = format!("admin=unix:{}", path.display());
        let abstract_name = format!("@stepdown-{}", free_port());
        let options = [
            "--listen",
            "127.0.0.1:0",
            "--listen",
            &unix_option,
            "--listen",
            &format!("unix:{abstract_name}"),
        ];
        fs::create_dir_all(path.parent().expect("not the root")).expect("ours");
        let mut server = Server::start(Stepdown::in_mode(mode), &options, &["quick"]);
        for line in ["web tcp", "unknown tcp", "admin unix", "unknown unix"] {
            server.run.says(line);
        }
        answers(server.connect(), "web");
        answers(unix(&path), "admin");
        server.run.signal(Signal::SIGTERM);
        let ended = server.run.wait();
        ended.code(0).nothing_left();
        assert!(!path.exists(), "the file is removed");
        let others = ended.stdout.lines().filter(|line| line.contains(' '));
        assert_eq!(
            others.collect::<Vec<_>>(),
            ["web tcp", "unknown tcp", "admin unix", "unknown unix"]
        );
    });
}

#[test]
fn it_is_what_systemd_passes_on() {
    const PEER: &str = "/usr/bin/systemd-socket-activate";
    need!(binary::installed(PEER));
    let port = free_port();
    let mut run = Stepdown::new()
        .program(PEER)
        .args([&format!("--listen=127.0.0.1:{port}"), "--fdname=web"])
        .args([binary::listener().as_os_str(), "quick".as_ref()])
        .start();
    run.logs("Listening on");
    // It starts what it has when somebody comes.
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    answers(stream, "web");
    run.says("ready").signal(Signal::SIGTERM);
    let theirs = run.wait().stdout.clone();
    let mut server = Server::start(Stepdown::new(), &[], &["quick"]);
    server.run.signal(Signal::SIGTERM);
    assert_eq!(server.run.wait().stdout, theirs);
}

#[test]
fn who_connects_between_two_generations_is_answered_by_the_next_one() {
    both(|mode| {
        let sockets = dir();
        let path = sockets.path().join("s");
        let unix_option = format!("--listen=unix:{}", path.display());
        let mut server = Server::start(
            Stepdown::in_mode(mode),
            &[
                "--restart=on-failure",
                "--restart-delay=1ms",
                "--pre-start",
                HOLDS_THE_SECOND,
                &unix_option,
            ],
            &["quick"],
        );
        server.crashes();
        server.run.logs("generation 1 exited with 7");
        let (mut tcp, mut local) = (server.connect(), unix(&path));
        tcp.write_all(b"early\n").expect("the backlog takes it");
        local.write_all(b"early\n").expect("the backlog takes it");
        server.make("next");
        hears(tcp, "web early");
        hears(local, "unknown early");
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0).nothing_left();
    });
}

#[test]
fn a_restart_that_is_asked_for_refuses_nobody() {
    both(|mode| {
        let mut server = Server::start(Stepdown::in_mode(mode), &["--restart-on=HUP"], &[]);
        server.run.signal(Signal::SIGHUP).says("closed");
        // It has closed its own, and is still there.
        let mut client = server.connect();
        client.write_all(b"early\n").expect("the backlog takes it");
        server.make("go");
        hears(client, "web early");
        server.run.says_times("ready", 2).signal(Signal::SIGTERM);
        server
            .run
            .wait()
            .code(0)
            .logged(&["restarted, as asked"])
            .nothing_left();
    });
}

#[test]
fn from_the_stop_on_nobody_waits_in_vain() {
    // Whether or not there are restarts; and a stop that comes after a restart was asked for is one, too.
    let signals = [
        (&[][..], &[Signal::SIGTERM][..]),
        (&["--restart-on=HUP"], &[Signal::SIGTERM]),
        (&["--restart=always"], &[Signal::SIGTERM]),
        (&["--restart-on=HUP"], &[Signal::SIGHUP, Signal::SIGTERM]),
    ];
    both(|mode| {
        for (options, signals) in signals {
            let mut server = Server::start(Stepdown::in_mode(mode), options, &[]);
            for signal in signals {
                server.run.signal(*signal).says("closed");
            }
            wait_until("connections are refused", || {
                TcpStream::connect(server.address).is_err()
            });
            assert!(server.run.is_running());
            server.make("go");
            server.run.wait().code(0).nothing_left();
        }
    });
}

#[test]
fn from_the_last_end_on_nobody_waits_in_vain() {
    // Where another generation follows, who connects meanwhile waits for it.
    let cases = [
        (&["--restart=no", "--restart-on=HUP"][..], 0, false),
        (&["--restart=on-failure", "--restart-never-on=7"], 0, false),
        (&["--restart=on-failure", "--restart-limit=1/1h"], 1, false),
        (&["--restart=on-failure", "--restart-limit=2/1h"], 1, true),
    ];
    both(|mode| {
        for (options, before, follows) in cases {
            let hook = "sh -c 'echo hook; while ! test -e next; do sleep 0.01; done; rm next'";
            let hook = ["--post-stop", hook, "--hook-timeout=1h"];
            let stepdown = Stepdown::in_mode(mode);
            // Passed over where there is no restart.
            let stepdown = stepdown.env("STEPDOWN_RESTART_DELAY", "1ms");
            let options = [options, &hook].concat();
            let mut server = Server::start(stepdown, &options, &["quick"]);
            for crash in 1..=before {
                server.crashes();
                server.run.says_times("hook", crash);
                server.make("next");
                server.run.says_times("ready", crash + 1);
            }
            server.crashes();
            server.run.says_times("hook", before + 1);
            assert_eq!(TcpStream::connect(server.address).is_ok(), follows);
            server.make("next");
            if follows {
                server.run.says_times("ready", before + 2);
                server.make("next");
                server.run.signal(Signal::SIGTERM);
            }
            let ended = server.run.wait();
            ended.code(if follows { 0 } else { 7 }).nothing_left();
        }
    });
}

#[test]
fn a_child_that_is_drained_for_a_restart_finishes_what_it_has() {
    both(|mode| {
        let options = ["--restart-on=HUP", "--drain-port=auto"];
        let mut server = Server::start(Stepdown::in_mode(mode), &options, &["quick"]);
        drains_for_a_restart(&mut server);
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0);
    });
}

#[track_caller]
fn drains_for_a_restart(server: &mut Server) {
    let mut client = server.connect();
    client.write_all(b"wait\n").expect("it reads");
    server.run.signal(Signal::SIGHUP);
    server.run.logs("drain: 1 in flight");
    server.make("go");
    hears(client, "web wait");
    server.run.says_times("ready", 2).logs("drained in");
}

/// Root without CAP_SYS_PTRACE, as in a container, may not look at the descriptors of another user: that user may.
#[test]
fn a_drain_knows_the_sockets_of_another_user() {
    need!(is_root());
    need!(binary::installed("/usr/bin/setpriv"));
    let stepdown = Stepdown::new()
        .program("/usr/bin/setpriv")
        .args(["--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"])
        .args([binary::for_everybody().as_os_str(), "--user=65534".as_ref()]);
    // What others listen on here, which nobody would be seen to hold, does not count.
    let port = free_port();
    let listen = format!("--listen=web=127.0.0.1:{port}");
    let options = ["--restart-on=HUP", &*listen, "--drain-port=auto"];
    let mut server = Server::start(stepdown, &options, &["quick"]);
    server.address.set_port(port);
    drains_for_a_restart(&mut server);
    server.run.signal(Signal::SIGTERM);
    server.run.wait().code(0);
}

#[test]
fn a_user_without_privileges_serves_a_privileged_port() {
    need!(is_root());
    both(|mode| {
        // Hardly anybody else listens there.
        let port = free_port().to_be_bytes();
        let address = format!("127.7.{}.{}:80", port[0], port[1]);
        let mut run = Stepdown::in_mode(mode)
            .args(["--listen", &format!("web={address}"), "--user=65534"])
            .child([binary::listener().as_os_str(), "quick".as_ref()])
            .start();
        run.says("web tcp").says("ready");
        answers(TcpStream::connect(&address).expect("it listens"), "web");
        run.signal(Signal::SIGTERM);
        run.wait().code(0);
    });
}

#[test]
fn all_addresses_are_those_of_both_protocols() {
    need!(ipv6());
    for address in [":0", "*:0", "[::]:0"] {
        let mut run = Stepdown::new()
            .args(["--listen", &format!("all={address}")])
            .child([binary::listener().as_os_str(), "quick".as_ref()])
            .start();
        let port = chosen(&mut run, "all").port();
        run.says("ready");
        for ip in ["127.0.0.1", "::1"] {
            answers(TcpStream::connect((ip, port)).expect("it listens"), "all");
        }
        run.signal(Signal::SIGTERM);
        run.wait().code(0);
    }
}

#[test]
fn what_stepdown_itself_listens_on_is_refused_a_second_time() {
    let port = free_port();
    let (all, own) = (format!(":{port}"), format!("127.0.0.1:{port}"));
    let (v6, other) = (format!("[::1]:{port}"), format!("127.0.0.2:{port}"));
    let run = |options: &[&str]| {
        let run = Stepdown::new().args(options.iter().copied());
        run.shell("echo child").run()
    };
    for (first, second) in [(&all, &all), (&own, &own), (&all, &own), (&v6, &all)] {
        for option in ["--listen", "--health-listen"] {
            let ended = run(&["--listen", first, option, second]);
            ended.code(125).never_said("child");
            let told = format!("{second} is listened on by --listen {first} already: ");
            ended.logged(&[option, &told, "another port"]);
        }
    }
    let ended = run(&["--listen=unix:@h1-twice", "--listen=a=unix:@h1-twice"]);
    ended.code(125).never_said("child");
    ended.logged(&["unix:@h1-twice is listened on by --listen unix:@h1-twice already"]);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("stepdown.toml");
    let text = format!("listen = [\n'{own}',\n'{own}',\n'{other}']");
    fs::write(&file, text).expect("it is ours");
    let config = format!("--config={}", file.display());
    let ended = run(&[&config]);
    ended.code(125).logged(&["stepdown.toml:3:1: listen: "]);
    for (first, second) in [(&own, &other), (&":0".to_owned(), &":0".to_owned())] {
        for option in ["--listen", "--health-listen"] {
            run(&["--listen", first, option, second])
                .code(0)
                .said("child");
        }
    }
}

#[test]
fn what_cannot_be_listened_on_fails_before_anything_is_started() {
    let dir = dir();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port of loopback");
    let taken = taken.local_addr().map(|at| (at.to_string(), taken));
    let (taken, _listener) = taken.expect("it is bound");
    let live = dir.path().join("live.sock");
    let _live = UnixListener::bind(&live).expect("a directory of ours");
    let file = dir.path().join("file");
    fs::write(&file, "mine").expect("a directory of ours");
    let missing = dir.path().join("none/web.sock");
    let unix = |path: &PathBuf| format!("unix:{}", path.display());
    both(|mode| {
        for (address, why) in [
            (&taken, "in use: `ss -ltnp` shows who listens there"),
            (&unix(&live), "in use"),
            (&unix(&file), "in use"),
            (&unix(&missing), "No such file or directory"),
            (
                &"192.0.2.1:80".to_owned(),
                "Cannot assign requested address: this machine has no such address",
            ),
        ] {
            let ended = Stepdown::in_mode(mode)
                .args(["--listen=127.0.0.1:0", "--listen", address])
                .args(["--pre-start", "echo hook"])
                .shell("echo child")
                .run();
            ended.code(125).never_said("hook").never_said("child");
            ended.logged(&[&format!("--listen {address}: cannot listen: "), why]);
        }
    });
    assert_eq!(fs::read_to_string(&file).expect("still there"), "mine");
    UnixStream::connect(&live).expect("it still listens");
}

#[test]
fn who_may_not_listen_on_a_port_is_told_which_capability_is_missing() {
    for option in ["--listen", "--health-listen"] {
        let ended = Stepdown::new()
            .prepared(|| seccomp::refuse(libc::SYS_bind, None, libc::EACCES))
            .args([option, "127.0.0.1:80"])
            .shell("echo child")
            .run();
        ended.code(125).never_said("child").logged(&[
            &format!("{option} 127.0.0.1:80: cannot listen: Permission denied"),
            "the capability NET_BIND_SERVICE",
        ]);
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let cases: [(&[&str], &str); 7] = [
        (&["--listen", "web"], "write ADDR:PORT"),
        (&["--listen", "localhost:80"], "write ADDR:PORT"),
        (&["--listen", "a:b=:80"], "write ADDR:PORT"),
        (&["--listen", "=:80"], "as web=:8080"),
        (&["--listen", "/run/web.sock"], "write unix:/run/web.sock"),
        (&["--listen", "unix:"], "write unix:/run/web.sock"),
        (
            &["--listen=127.0.0.1:8080", "--ready-when=tcp:8080"],
            "use http:URL, or notify",
        ),
    ];
    for (options, way_out) in cases {
        let ended = Stepdown::new().args(options).child(["true"]).run();
        ended.code(125).logged(&[way_out]);
    }
}

#[test]
fn a_port_of_ours_says_nothing_about_the_child() {
    // Drained ports are what readiness waits for where nothing else is said; this one tells nothing.
    let port = free_port();
    let mut run = Stepdown::new()
        .args(["--listen", &format!("web=127.0.0.1:{port}")])
        .args(["--drain-port", &port.to_string()])
        .args(["--health-listen", &format!("127.0.0.1:{}", free_port())])
        .args(["-v"])
        .child([binary::listener().as_os_str(), "quick".as_ref()])
        .start();
    run.says("ready");
    run.logs("started, pid");
    run.signal(Signal::SIGTERM);
    run.wait().code(0).never_logged("ready after");
}

#[test]
fn what_a_dead_server_has_left_is_removed_and_what_is_not_ours_stays() {
    both(|mode| {
        let dir = dir();
        let path = dir.path().join("web.sock");
        drop(UnixListener::bind(&path).expect("a directory of ours"));
        assert!(path.exists(), "a server that ends leaves its file");
        let start = || {
            let mut run = Stepdown::in_mode(mode)
                .dir(dir.path())
                .args(["--listen", "web=unix:web.sock"])
                .child([binary::listener().as_os_str(), "quick".as_ref()])
                .start();
            run.says("ready");
            run
        };
        let mut run = start();
        answers(unix(&path), "web");
        run.signal(Signal::SIGTERM);
        run.wait().code(0);
        assert!(!path.exists());
        let mut run = start();
        fs::remove_file(&path).expect("a directory of ours");
        let _another = UnixListener::bind(&path).expect("a directory of ours");
        run.signal(Signal::SIGTERM);
        run.wait().code(0);
        UnixStream::connect(&path).expect("another server's file stays");
    });
}

#[test]
fn hooks_get_no_sockets() {
    both(|mode| {
        let hook = "sh -c 'echo hook ${LISTEN_FDS-none} ${LISTEN_PID-none}; \
                    test ! -e /proc/self/fd/3 || echo open'";
        let ended = Stepdown::in_mode(mode)
            .args(["--listen=127.0.0.1:0", "--restart=on-failure"])
            .args(["--restart-limit=1", "--restart-delay=1ms"])
            .args(["--pre-start", hook, "--post-stop", hook])
            .shell("test -S /proc/self/fd/3 && echo child has it; exit 1")
            .run();
        ended.code(1).said("child has it").said("hook none none");
        ended.never_said("open");
    });
}

#[test]
fn sockets_of_our_own_start_come_first() {
    both(|mode| {
        let dir = dir();
        let theirs = TcpListener::bind("127.0.0.1:0").expect("a port of loopback");
        let address = theirs.local_addr().expect("it is bound");
        let stepdown = activated(mode, "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_PIDFDID=7")
            .dir(dir.path())
            .args(["--listen=web=127.0.0.1:0", "--restart=on-failure"])
            .args(["--restart-delay=1ms", "--restart-limit=1"])
            .child([binary::listener()]);
        let mut run = with_socket(stepdown, theirs).start();
        let ours = chosen(&mut run, "web");
        run.says("unknown tcp").says("web tcp");
        for generation in 1..3 {
            run.says_times("ready", generation);
            let connect = |address| TcpStream::connect(address).expect("it listens");
            answers(connect(address), "unknown");
            answers(connect(ours), "web");
            connect(ours).write_all(b"crash\n").expect("it reads");
        }
        run.wait().code(7);
    });
}

#[test]
fn an_inherited_descriptor_that_gives_way_is_told() {
    let file = File::open("/dev/null").expect("a file");
    let stepdown = Stepdown::new()
        .args(["--listen=127.0.0.1:0"])
        .shell("test -S /proc/self/fd/3 && echo socket");
    let ended = with_socket(stepdown, file).run();
    ended
        .code(0)
        .said("socket")
        .logged(&["descriptor 3 was inherited"]);
}

#[test]
fn closed_standard_streams_stay_closed() {
    let mut run = Stepdown::new()
        .closing(0)
        .args(["--listen", "web=127.0.0.1:0"])
        .shell("test -S /proc/self/fd/0 && echo socket; test -S /proc/self/fd/3 && echo passed")
        .start();
    run.says("passed");
    run.wait().code(0).never_said("socket");
}

#[test]
fn what_is_not_chosen_is_told_to_who_asks() {
    let port = free_port();
    let listen = format!("web=127.0.0.1:{port}");
    let told = format!("listening on 127.0.0.1:{port} (web)");
    let run = |options: &[&str]| {
        let stepdown = Stepdown::new().args(["--listen", &listen]).args(options);
        stepdown.child(["true"]).run()
    };
    run(&[]).code(0).was_silent();
    run(&["-v"]).code(0).logged(&[&told]);
    run(&["-v", "--log-format=json"]).code(0).logged(&[&format!(
        "\"event\":\"listening\",\"name\":\"web\",\"address\":\"127.0.0.1:{port}\""
    )]);
}

#[test]
fn check_plays_a_server_with_its_sockets() {
    let port = free_port();
    let dir = dir();
    let ended = Stepdown::new()
        .dir(dir.path())
        .args(["check", "--runs=2", "--expect-exit=0"])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--port-free", &port.to_string()])
        .child([binary::listener().as_os_str(), "quick".as_ref()])
        .run();
    ended.code(0);
}

//! sd_notify(3) in both directions: from the child to stepdown, from stepdown to the service manager.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode as Permissions;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use crate::identity::is_root;
use crate::support::running::Running;
use crate::support::stepdown::can_be_pid1;
use crate::support::{
    BOUND, Mode, Stepdown, binary, both, holds_within, need, net, proc, uninterrupted, wait_until,
};

/// The service manager above and the pipe to the child below.
struct Stage {
    dir: TempDir,
    manager: UnixDatagram,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let manager = UnixDatagram::bind(dir.path().join("manager")).expect("a directory of ours");
        manager
            .set_read_timeout(Some(BOUND))
            .expect("a bound above zero");
        mkfifo(&dir.path().join("orders"), Permissions::S_IRWXU).expect("a directory of ours");
        Self { dir, manager }
    }

    /// With the manager above and the notifier below.
    fn start(&self, stepdown: Stepdown) -> (Running, File) {
        let orders = self.dir.path().join("orders");
        let mut run = stepdown
            .env("NOTIFY_SOCKET", self.dir.path().join("manager"))
            .child([binary::notifier().as_os_str(), orders.as_os_str()])
            .start();
        run.says("ready");
        let orders = OpenOptions::new().write(true).open(orders);
        (run, orders.expect("the child reads it"))
    }

    /// What the manager is told next.
    #[track_caller]
    fn told(&self) -> String {
        let mut buffer = [0; 4096];
        let count = uninterrupted(|| self.manager.recv(&mut buffer)).expect("a message");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    /// Nothing waits to be read.
    #[track_caller]
    fn told_nothing(&self) {
        self.manager
            .set_nonblocking(true)
            .expect("a socket of ours");
        let mut buffer = [0; 4096];
        if let Ok(count) = self.manager.recv(&mut buffer) {
            panic!("told {:?}", String::from_utf8_lossy(&buffer[..count]));
        }
        self.manager
            .set_nonblocking(false)
            .expect("a socket of ours");
    }
}

fn order(run: &mut Running, orders: &mut File, line: &str) {
    writeln!(orders, "{line}").expect("the child reads");
    let verb = line.split(' ').next().expect("a verb");
    run.says(&format!("done {verb}"));
}

#[test]
fn what_the_child_says_is_taken_and_passed_on() {
    both(|mode| {
        let stage = Stage::new();
        let notify = Stepdown::in_mode(mode).args(["--ready-when", "notify", "-v"]);
        let (mut run, mut orders) = stage.start(notify.env("WATCHDOG_PID", "1"));
        order(&mut run, &mut orders, "env WATCHDOG_PID");
        run.says("WATCHDOG_PID is not set");
        order(&mut run, &mut orders, r"say STATUS=loading\nWATCHDOG=1");
        assert_eq!(stage.told(), "STATUS=loading\nWATCHDOG=1");
        order(&mut run, &mut orders, "say READY=0");
        stage.told_nothing();
        // The main process of the unit is stepdown, whatever the child thinks.
        order(
            &mut run,
            &mut orders,
            r"say READY=1\nMAINPID=7\nSTATUS=serving",
        );
        assert_eq!(stage.told(), "STATUS=serving");
        assert_eq!(stage.told(), "READY=1");
        run.logs("ready after");
        // A reload ends with a second READY=1.
        order(&mut run, &mut orders, r"say RELOADING=1\nMONOTONIC_USEC=5");
        assert_eq!(stage.told(), "RELOADING=1\nMONOTONIC_USEC=5");
        order(&mut run, &mut orders, "say READY=1");
        assert_eq!(stage.told(), "READY=1");
        stage.told_nothing();
        run.signal(Signal::SIGTERM);
        assert_eq!(stage.told(), "STOPPING=1");
        run.wait().code(3).nothing_left();
        stage.told_nothing();
    });
}

#[test]
fn a_reload_of_the_command_ends_whatever_makes_it_ready() {
    both(|mode| {
        let stage = Stage::new();
        let ready = stage.dir.path().join("ready");
        let stepdown = Stepdown::in_mode(mode)
            .args(["--live-when", "watchdog:60s", "--ready-when"])
            .args([format!("file:{}", ready.display())]);
        let (mut run, mut orders) = stage.start(stepdown);
        // Not ready yet: its own word for it does not count.
        order(&mut run, &mut orders, "say READY=1");
        stage.told_nothing();
        File::create(&ready).expect("a directory of ours");
        assert_eq!(stage.told(), "READY=1");
        order(&mut run, &mut orders, r"say RELOADING=1\nSTATUS=again");
        assert_eq!(stage.told(), "RELOADING=1\nSTATUS=again");
        order(&mut run, &mut orders, r"say READY=1\nSTATUS=up");
        assert_eq!(stage.told(), "STATUS=up\nREADY=1");
        order(&mut run, &mut orders, "say READY=1");
        stage.told_nothing();
        run.signal(Signal::SIGTERM);
        assert_eq!(stage.told(), "STOPPING=1");
        run.wait().code(3).nothing_left();
    });
}

#[test]
fn the_manager_hears_that_the_file_is_read_again() {
    both(|mode| {
        let stage = Stage::new();
        let file = stage.dir.path().join("stepdown.toml");
        std::fs::write(&file, "grace = \"20s\"\n").expect("a directory of ours");
        let stepdown = Stepdown::in_mode(mode)
            .args(["--reload-on=HUP", "--config"])
            .args([&file]);
        let (mut run, _orders) = stage.start(stepdown);
        assert_eq!(stage.told(), "READY=1");
        for text in ["grace = \"30s\"\n", "gracious = 1\n"] {
            std::fs::write(&file, text).expect("a directory of ours");
            run.signal(Signal::SIGHUP);
            let told = stage.told();
            let since = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
            assert!(since.is_some_and(|at| at.parse::<u64>().is_ok()), "{told}");
            assert_eq!(stage.told(), "READY=1");
        }
        run.signal(Signal::SIGTERM);
        assert_eq!(stage.told(), "STOPPING=1");
        run.wait().code(3).nothing_left();
    });
}

#[test]
fn a_server_that_is_to_be_drained_is_ready_once_it_listens() {
    need!(binary::installed("/usr/bin/python3"));
    both(|mode| {
        let stage = Stage::new();
        let gate = stage.dir.path().join("orders");
        let port = net::free_port();
        let server = format!(
            "import signal, socket\n\
             print('waits', flush=True)\n\
             open({gate:?}).read()\n\
             listening = socket.create_server(('127.0.0.1', {port}))\n\
             signal.pause()"
        );
        let mut run = Stepdown::in_mode(mode)
            .args([format!("--drain-port={port}")])
            .env("NOTIFY_SOCKET", stage.dir.path().join("manager"))
            .child(["/usr/bin/python3", "-c", &server])
            .start();
        run.says("waits");
        stage.told_nothing();
        drop(OpenOptions::new().write(true).open(&gate));
        assert_eq!(stage.told(), "READY=1");
        run.signal(Signal::SIGTERM);
        assert_eq!(stage.told(), "STOPPING=1");
        run.wait().code(143).nothing_left();
    });
}

#[test]
fn a_child_says_itself_that_it_is_ready_whatever_its_drain_ports() {
    both(|mode| {
        let stage = Stage::new();
        // It never listens there.
        let port = format!("--drain-port={}", net::free_port());
        let stepdown = Stepdown::in_mode(mode).args(["--live-when=watchdog:1h", &port]);
        let (mut run, mut orders) = stage.start(stepdown);
        order(&mut run, &mut orders, "say READY=1");
        assert_eq!(stage.told(), "READY=1");
        run.logs("ready after");
        order(&mut run, &mut orders, "say STOPPING=1");
        assert_eq!(stage.told(), "STOPPING=1");
        order(&mut run, &mut orders, "say READY=1");
        assert_eq!(stage.told(), "READY=1");
        run.logs("ready again");
        run.signal(Signal::SIGTERM);
        assert_eq!(stage.told(), "STOPPING=1");
        run.wait().code(3).nothing_left();
    });
}

#[test]
fn a_manager_that_is_gone_costs_one_line() {
    let mut stage = Stage::new();
    let port = net::free_port();
    let listen = format!("127.0.0.1:{port}");
    let notify = Stepdown::new().args(["--ready-when", "notify", "--health-listen", &listen]);
    let (mut run, mut orders) = stage.start(notify);
    let at = stage.dir.path().join("manager");
    std::fs::remove_file(&at).expect("a socket of ours");
    for number in 0..5 {
        order(&mut run, &mut orders, &format!("say STATUS={number}"));
    }
    // All of it has been taken.
    wait_until("the last status counts", || {
        let mut stream = net::connect(port);
        let asked = b"GET /status HTTP/1.0\r\n\r\n";
        let answer = net::ask(&mut stream, asked, |a| a.ends_with(b"\n"));
        String::from_utf8_lossy(&answer).contains(r#""status":"4""#)
    });
    run.logs("NOTIFY_SOCKET");
    stage.manager = UnixDatagram::bind(&at).expect("a directory of ours");
    stage
        .manager
        .set_read_timeout(Some(BOUND))
        .expect("a bound above zero");
    order(&mut run, &mut orders, "say STATUS=there");
    assert_eq!(stage.told(), "STATUS=there");
    run.signal(Signal::SIGTERM);
    let ended = run.wait();
    ended.code(3);
    assert_eq!(ended.stderr.matches("NOTIFY_SOCKET").count(), 1);
}

#[test]
fn the_manager_is_told_without_a_free_descriptor_too() {
    let stage = Stage::new();
    let (mut run, mut orders) = stage.start(Stepdown::new().args(["--ready-when", "notify"]));
    proc::limit_descriptors(run.pid(), 3);
    order(&mut run, &mut orders, "say READY=1");
    assert_eq!(stage.told(), "READY=1");
    run.signal(Signal::SIGTERM);
    assert_eq!(stage.told(), "STOPPING=1");
    run.wait().code(3).never_logged("NOTIFY_SOCKET");
}

#[test]
fn a_manager_that_takes_nothing_for_now_hears_all_of_it_later() {
    let stage = Stage::new();
    let other = UnixDatagram::unbound().expect("a socket");
    other.set_nonblocking(true).expect("a socket");
    let at = stage.dir.path().join("manager");
    while other.send_to(b"FULL", &at).is_ok() {}
    let mut run = Stepdown::new()
        .env("NOTIFY_SOCKET", &at)
        .witness(["listen", "15:0"])
        .start();
    run.says("ready")
        .logs("Resource temporarily unavailable: trying again");
    let mut told = std::iter::repeat_with(|| stage.told());
    let told = told.find(|told| told != "FULL");
    assert_eq!(told.as_deref(), Some("READY=1"));
    run.signal(Signal::SIGTERM);
    assert_eq!(stage.told(), "STOPPING=1");
    run.wait().code(0);
}

#[test]
fn a_descendant_speaks_for_the_child_and_nobody_else_does() {
    both(|mode| {
        let stage = Stage::new();
        let notify = Stepdown::in_mode(mode).args(["--ready-when", "notify"]);
        let (mut run, mut orders) = stage.start(notify);
        order(&mut run, &mut orders, "env NOTIFY_SOCKET");
        let line = run.says_about("NOTIFY_SOCKET ");
        let name = line.split(' ').nth(1).expect("a name").to_owned();
        // From outside: a process of the same user that knows the name.
        let mut stranger = Command::new(binary::notifier())
            .args(["once", "READY=1"])
            .env("NOTIFY_SOCKET", &name)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a program that was just compiled");
        run.logs("notification refused");
        stranger.kill().expect("our own child");
        stranger.wait().expect("our own child");
        stage.told_nothing();
        order(&mut run, &mut orders, "child-says READY=1");
        assert_eq!(stage.told(), "READY=1");
        run.signal(Signal::SIGTERM);
        run.wait().code(3).nothing_left();
    });
}

#[test]
fn a_message_with_descriptors_is_taken_and_they_are_closed() {
    both(|mode| {
        let stage = Stage::new();
        let notify = Stepdown::in_mode(mode).args(["--ready-when", "notify"]);
        let (mut run, mut orders) = stage.start(notify);
        let pid = run.pid();
        order(&mut run, &mut orders, "say-with-descriptor READY=1");
        assert_eq!(stage.told(), "READY=1");
        let open = proc::descriptors(pid).len();
        for _ in 0..20 {
            order(&mut run, &mut orders, "say-with-descriptor STATUS=x");
            assert_eq!(stage.told(), "STATUS=x");
        }
        // Our own messages upward need one for a moment.
        wait_until("they are closed", || proc::descriptors(pid).len() <= open);
        run.signal(Signal::SIGTERM);
        run.wait().code(3).never_logged("refused").nothing_left();
    });
}

#[test]
fn a_barrier_is_kept_until_all_before_it_counts() {
    both(|mode| {
        let stage = Stage::new();
        let port = net::free_port();
        let listen = format!("127.0.0.1:{port}");
        let notify =
            Stepdown::in_mode(mode).args(["--ready-when=notify", "--health-listen", &listen]);
        let (mut run, mut orders) = stage.start(notify);
        for round in 0..40 {
            let (said, status) = match round % 2 {
                0 => ("STATUS=up\\nEXTEND_TIMEOUT_USEC=1\\nREADY=1", "200"),
                _ => ("STATUS=down\\nEXTEND_TIMEOUT_USEC=1\\nSTOPPING=1", "503"),
            };
            writeln!(orders, "say-and-wait {said}").expect("the child reads");
            run.says_times("done say-and-wait", round + 1);
            assert_eq!(crate::health::ready(port), status, "round {round}");
        }
        run.signal(Signal::SIGTERM);
        run.wait().code(3).never_logged("refused").nothing_left();
    });
}

#[test]
fn what_was_said_in_time_counts_though_it_is_heard_late() {
    both(|mode| {
        let stage = Stage::new();
        let limit = Duration::from_secs(2);
        let notify = Stepdown::in_mode(mode).args(["--ready-when=notify", "--ready-timeout=2s"]);
        let (mut run, mut orders) = stage.start(notify);
        let pid = run.pid();
        proc::kill(pid, libc::SIGSTOP).expect("our own child");
        let stopped = Instant::now();
        order(&mut run, &mut orders, "say READY=1");
        wait_until("the time to be over", || stopped.elapsed() > limit);
        proc::kill(pid, libc::SIGCONT).expect("our own child");
        assert_eq!(stage.told(), "READY=1");
        run.signal(Signal::SIGTERM);
        run.wait().code(3).never_logged("not ready after");
    });
}

#[test]
fn who_has_ended_meanwhile_is_believed_if_it_could_have_been_one_of_the_tree() {
    both(|mode| {
        let stage = Stage::new();
        let notify = Stepdown::in_mode(mode).args(["--ready-when", "notify"]);
        let (mut run, mut orders) = stage.start(notify);
        order(&mut run, &mut orders, "env NOTIFY_SOCKET");
        let line = run.says_about("NOTIFY_SOCKET ");
        let name = line.split(' ').nth(1).expect("a name").to_owned();
        let pid = run.pid();
        // Nobody reads it before the sender was reaped.
        proc::kill(pid, libc::SIGSTOP).expect("our own child");
        order(&mut run, &mut orders, "gone-says READY=1");
        proc::kill(pid, libc::SIGCONT).expect("our own child");
        assert_eq!(stage.told(), "READY=1");

        if nix::unistd::geteuid().is_root() && mode == Mode::Ordinary {
            // Another user, who has nothing to say here.
            proc::kill(pid, libc::SIGSTOP).expect("our own child");
            let mut stranger = Command::new(binary::notifier());
            stranger
                .args(["once", "STATUS=false"])
                .env("NOTIFY_SOCKET", &name)
                .stdin(Stdio::null());
            let stranger = std::os::unix::process::CommandExt::uid(&mut stranger, 65_534).status();
            assert!(stranger.expect("it can be executed").success());
            proc::kill(pid, libc::SIGCONT).expect("our own child");
            run.logs("of user 65534, which has ended");
        }
        order(&mut run, &mut orders, "gone-says STATUS=true");
        assert_eq!(stage.told(), "STATUS=true");
        run.signal(Signal::SIGTERM);
        run.wait().code(3).nothing_left();
    });
}

/// Without a descriptor nobody can be looked up in /proc.
#[test]
fn where_descriptors_are_short_the_command_is_heard_whoever_its_user_is() {
    need!(is_root());
    both(|mode| {
        let to_another = ["setpriv", "--reuid=65534", "--clear-groups"];
        let ways: [(&[&str], &[&str], &str); 2] = [
            (&["--user=65534"], &[], "child-says READY=1"),
            (&[], &to_another, "say READY=1"),
        ];
        for (options, becomes, line) in ways {
            let stage = Stage::new();
            let at = stage.dir.path().join("orders");
            let everybody = |rights| std::os::unix::fs::PermissionsExt::from_mode(rights);
            std::fs::set_permissions(stage.dir.path(), everybody(0o755)).expect("ours");
            std::fs::set_permissions(&at, everybody(0o666)).expect("ours");
            let mut command: Vec<&OsStr> = becomes.iter().map(OsStr::new).collect();
            command.extend([binary::notifier().as_os_str(), at.as_os_str()]);
            let mut run = Stepdown::in_mode(mode)
                .program(binary::for_everybody())
                .args(["--ready-when=notify", "-v"])
                .args(options)
                .child(command)
                .start();
            run.says("ready");
            let orders = OpenOptions::new().write(true).open(&at);
            let mut orders = orders.expect("the child reads it");
            run.logs("started, pid");
            proc::leave_no_descriptor(run.pid());
            order(&mut run, &mut orders, line);
            run.logs("ready after");
            order(&mut run, &mut orders, "child-says STATUS=x");
            run.signal(Signal::SIGTERM);
            let ended = run.wait();
            ended
                .code(3)
                .never_logged("notification refused")
                .nothing_left();
        }
    });
}

/// The watchdog would end one that cannot say that it is alive.
#[test]
fn where_descriptors_are_short_the_next_life_of_the_command_is_heard() {
    both(|mode| {
        let stage = Stage::new();
        let at = stage.dir.path().join("orders");
        let mut run = Stepdown::in_mode(mode)
            .args(["--restart=always", "--restart-delay=1ms", "-v"])
            .args(["--ready-when=notify", "--live-when=watchdog:60s"])
            .child([binary::notifier().as_os_str(), at.as_os_str()])
            .start();
        run.says("ready");
        let orders = OpenOptions::new().write(true).open(&at);
        let mut orders = orders.expect("the child reads it");
        let mut lives = |run: &mut Running, life, end: &str| {
            run.says_times("ready", life);
            order(run, &mut orders, "env NOTIFY_SOCKET");
            order(run, &mut orders, "say READY=1");
            run.logs_times("ready after", life);
            writeln!(orders, "{end}").expect("the child reads");
        };
        let pid = run.pid();
        lives(&mut run, 1, "env WATCHDOG_USEC");
        let allowed = proc::leave_no_descriptor(pid);
        lives(&mut run, 1, "exit 1");
        lives(&mut run, 2, "exit 1");
        proc::limit_descriptors(pid, allowed);
        lives(&mut run, 3, "env WATCHDOG_USEC");
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(3).nothing_left();
        let names = ended.stdout.lines();
        let names: Vec<_> = names.filter(|line| line.starts_with("NOTIFY")).collect();
        let is_alike = |one: usize, other: usize| names[one] == names[other];
        assert!(is_alike(1, 2) && !is_alike(2, 3), "{names:?}");
        assert_eq!(ended.stderr.matches("no socket").count(), 1);
    });
}

#[test]
fn systemd_notify_from_a_shell_is_heard() {
    need!(binary::installed("/usr/bin/systemd-notify"));
    both(|mode| {
        for _ in 0..20 {
            let stage = Stage::new();
            let mut run = Stepdown::in_mode(mode)
                .args(["--ready-when=notify", "--ready-timeout=20s"])
                .env("NOTIFY_SOCKET", stage.dir.path().join("manager"))
                .shell("systemd-notify --ready --status=up && echo said; exec sleep 1000")
                .start();
            run.says("said");
            assert_eq!(stage.told(), "STATUS=up");
            assert_eq!(stage.told(), "READY=1");
            run.signal(Signal::SIGTERM);
            run.wait().code(143).never_logged("refused").nothing_left();
        }
    });
}

#[test]
fn a_child_that_stops_on_its_own_account_is_not_ready_any_more() {
    let stage = Stage::new();
    let port = net::free_port();
    let listen = format!("127.0.0.1:{port}");
    let notify = Stepdown::new().args(["--ready-when", "notify", "--health-listen", &listen]);
    let (mut run, mut orders) = stage.start(notify);
    let check = |path: &str| {
        let mut stream = net::connect(port);
        let asked = format!("GET {path} HTTP/1.0\r\n\r\n");
        let answer = net::ask(&mut stream, asked.as_bytes(), |a| a.ends_with(b"\n"));
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert!(check("/readyz").starts_with("HTTP/1.0 503"));
    order(&mut run, &mut orders, r"say READY=1\nSTATUS=at work");
    wait_until("ready", || check("/readyz").starts_with("HTTP/1.0 200"));
    assert!(check("/status").contains(r#""status":"at work""#));
    order(&mut run, &mut orders, "say STOPPING=1");
    wait_until("not ready", || check("/readyz").starts_with("HTTP/1.0 503"));
    assert_eq!(stage.told(), "STATUS=at work");
    assert_eq!(stage.told(), "READY=1");
    assert_eq!(stage.told(), "STOPPING=1");
    writeln!(orders, "exit 0").expect("the child reads");
    run.wait().code(0);
}

#[test]
fn what_the_child_says_has_one_name_in_the_log_in_the_report_and_in_the_status() {
    both(|mode| {
        let stage = Stage::new();
        let port = net::free_port();
        let report = stage.dir.path().join("report.json");
        let notify = Stepdown::in_mode(mode)
            .args(["--ready-when=notify", "-v", "--log-format=json"])
            .args(["--ladder=TERM:10s,KILL", "--deadline=100s"])
            .args(["--health-listen", &format!("127.0.0.1:{port}")])
            .args(["--report".as_ref(), report.as_os_str()]);
        let (mut run, mut orders) = stage.start(notify);
        run.logs(r#""event":"not-yet-ready","why":"the child has not said READY=1""#);
        let status = || crate::health::json(port);
        assert_eq!(status()["not_ready"], "the child has not said READY=1");
        order(&mut run, &mut orders, r"say READY=1\nSTATUS=at work");
        run.logs(r#""event":"child-says","status":"at work""#);
        assert_eq!(status()["status"], "at work");
        wait_until("it is ready", || status()["ready"] == true);
        assert!(status()["not_ready"].is_null());
        order(&mut run, &mut orders, "say STOPPING=1");
        run.logs(r#""level":"info","event":"not-ready","why":"child-stopping""#);
        let why = "the child says that it is stopping";
        assert_eq!(status()["not_ready"], why);
        order(&mut run, &mut orders, r"say READY=1\nSTATUS=");
        run.logs(r#""level":"info","event":"ready-again","after_ms":"#);
        wait_until("nothing is said any more", || status()["status"].is_null());
        order(&mut run, &mut orders, "deaf");
        run.signal(Signal::SIGTERM);
        run.logs(r#""level":"debug","event":"not-ready","why":"stop-asked""#);
        assert_eq!(status()["not_ready"], "a stop was asked for");
        order(&mut run, &mut orders, "say EXTEND_TIMEOUT_USEC=20000000");
        run.logs(r#""event":"extended","by_ms":20000,"left_ms":20000"#);
        writeln!(orders, "exit 3").expect("the child reads");
        run.wait().code(3);
        let report = std::fs::read_to_string(report).expect("it was written");
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        let names = report["records"].as_array().expect("a list").iter();
        let names: Vec<&str> = names
            .filter_map(|record| record["event"].as_str())
            .collect();
        let of_readiness = [
            "not-yet-ready",
            "ready",
            "child-says",
            "not-ready",
            "ready-again",
            "extended",
        ];
        let told: Vec<&str> = names
            .into_iter()
            .filter(|name| of_readiness.contains(name))
            .collect();
        let expected = [
            "not-yet-ready",
            "child-says",
            "ready",
            "not-ready",
            "child-says",
            "ready-again",
            "not-ready",
            "extended",
        ];
        assert_eq!(told, expected);
    });
}

#[test]
fn balancers_that_were_told_of_a_stop_that_did_not_come_are_told_again() {
    let stage = Stage::new();
    let port = net::free_port();
    let listen = format!("127.0.0.1:{port}");
    let notify = Stepdown::new()
        .args(["--ready-when", "notify", "--health-listen", &listen])
        .args(["--drain-checks=2", "--drain-checks-timeout=2s"]);
    let (mut run, mut orders) = stage.start(notify);
    let status = || {
        let mut stream = net::connect(port);
        let asked = b"GET /readyz HTTP/1.0\r\n\r\n";
        let answer = net::ask(&mut stream, asked, |a| a.ends_with(b"\n"));
        String::from_utf8_lossy(&answer)[9..12].to_owned()
    };
    order(&mut run, &mut orders, "say READY=1");
    wait_until("ready", || status() == "200");
    order(&mut run, &mut orders, "say STOPPING=1");
    wait_until("not ready", || status() == "503");
    for _ in 0..3 {
        assert_eq!(status(), "503");
    }
    order(&mut run, &mut orders, "say READY=1");
    wait_until("ready again", || status() == "200");
    run.signal(Signal::SIGTERM);
    let ended = run.wait();
    ended.code(3).logged(&["drained in"]);
    ended.stopped_no_sooner_than(Duration::from_secs(2));
}

#[test]
fn more_time_is_granted_but_not_past_the_deadline() {
    both(|mode| {
        let stage = Stage::new();
        let notify = Stepdown::in_mode(mode)
            .args(["--ready-when", "notify"])
            .args(["--ladder", "TERM:3s,KILL", "--deadline", "11s"])
            // The time of a hook leaves some for the kernel to end the child in.
            .args(["--post-stop", "true", "--hook-timeout", "5s"]);
        let (mut run, mut orders) = stage.start(notify);
        order(&mut run, &mut orders, "say READY=1");
        order(&mut run, &mut orders, "deaf");
        run.signal(Signal::SIGTERM).logs("step 1");
        order(&mut run, &mut orders, "say EXTEND_TIMEOUT_USEC=60000000");
        let ended = run.wait();
        ended.code(137).logged(&["step 2", "KILL"]);
        // Longer than the step itself was given, and not the minute that was asked for.
        ended.stopped_no_sooner_than(Duration::from_secs(5));
    });
}

#[test]
fn more_time_for_the_start_is_granted() {
    let stage = Stage::new();
    let notify = Stepdown::new().args(["--ready-when", "notify", "--ready-timeout", "5s"]);
    let (mut run, mut orders) = stage.start(notify);
    order(&mut run, &mut orders, "say EXTEND_TIMEOUT_USEC=60000000");
    assert_eq!(stage.told(), "EXTEND_TIMEOUT_USEC=60000000");
    let gone = holds_within(Duration::from_millis(5_500), || !run.is_running());
    assert!(!gone, "stopped although it asked for more time");
    order(&mut run, &mut orders, "say READY=1");
    assert_eq!(stage.told(), "READY=1");
    run.signal(Signal::SIGTERM);
    run.wait().code(3);
}

#[test]
fn a_child_that_never_says_it_is_stopped_after_the_timeout() {
    both(|mode| {
        let stage = Stage::new();
        let run = Stepdown::in_mode(mode)
            .args(["--ready-when", "notify", "--ready-timeout", "700ms"])
            .env("NOTIFY_SOCKET", stage.dir.path().join("manager"))
            .shell("exec sleep 1000")
            .start();
        let ended = run.wait();
        ended.code(125).nothing_left();
        ended.logged(&["not ready after", "--ready-when notify", "READY=1"]);
        ended.logged(&["stopping", "start has failed"]);
        assert_eq!(stage.told(), "STOPPING=1");
        stage.told_nothing();
    });
}

#[test]
fn with_another_condition_stepdown_says_it_and_the_child_keeps_its_manager() {
    let stage = Stage::new();
    let gate = stage.dir.path().join("gate");
    let file = Stepdown::new().args(["--ready-when", &format!("file:{}", gate.display())]);
    let (mut run, mut orders) = stage.start(file);
    // Its messages go where they went without stepdown.
    order(&mut run, &mut orders, "say WATCHDOG=1");
    assert_eq!(stage.told(), "WATCHDOG=1");
    std::fs::write(&gate, "").expect("a directory of ours");
    assert_eq!(stage.told(), "READY=1");
    run.signal(Signal::SIGTERM);
    assert_eq!(stage.told(), "STOPPING=1");
    run.wait().code(3);
}

#[test]
fn without_a_condition_it_is_ready_from_its_start_and_the_child_keeps_its_manager() {
    let stage = Stage::new();
    let (mut run, mut orders) = stage.start(Stepdown::new());
    assert_eq!(stage.told(), "READY=1");
    order(&mut run, &mut orders, "env NOTIFY_SOCKET");
    let manager = stage.dir.path().join("manager");
    run.says(&format!("NOTIFY_SOCKET {}", manager.display()));
    order(&mut run, &mut orders, "say READY=1");
    assert_eq!(stage.told(), "READY=1");
    let pid = run.pid();
    wait_until("nothing is open above 2", || {
        proc::descriptors(pid).iter().all(|fd| *fd <= 2)
    });
    run.signal(Signal::SIGTERM);
    assert_eq!(stage.told(), "STOPPING=1");
    run.wait().code(3);
}

#[test]
fn in_the_place_of_another_tool_nothing_is_said_that_it_would_not_say() {
    let stage = Stage::new();
    let link = stage.dir.path().join("tini");
    std::os::unix::fs::symlink(binary::under_test(), &link).expect("a directory of ours");
    let (mut run, mut orders) = stage.start(Stepdown::new().program(&link));
    order(&mut run, &mut orders, "say STATUS=x");
    assert_eq!(stage.told(), "STATUS=x");
    run.signal(Signal::SIGTERM);
    run.wait().code(3);
    stage.told_nothing();
}

#[test]
fn the_service_manager_hears_of_a_plain_run() {
    both(|mode| {
        let stage = Stage::new();
        let mut run = Stepdown::in_mode(mode)
            .env("NOTIFY_SOCKET", stage.dir.path().join("manager"))
            .shell("echo ready; exec sleep 1000")
            .start();
        run.says("ready");
        assert_eq!(stage.told(), "READY=1");
        run.signal(Signal::SIGTERM);
        assert_eq!(stage.told(), "STOPPING=1");
        run.wait().code(143).nothing_left();
        stage.told_nothing();
    });
    // What could not be started is not ready.
    let stage = Stage::new();
    Stepdown::new()
        .env("NOTIFY_SOCKET", stage.dir.path().join("manager"))
        .child(["/no/such/program"])
        .run()
        .code(127);
    stage.told_nothing();
}

#[test]
fn a_flood_of_messages_delays_no_stop() {
    need!(can_be_pid1());
    let mut run = Stepdown::in_mode(Mode::Pid1)
        .args(["--ready-when", "notify"])
        .child([binary::notifier().as_os_str(), "flood".as_ref()])
        .start();
    run.says("ready");
    run.signal(Signal::SIGTERM);
    // Whoever reads on until there is nothing more never comes to the signal.
    run.wait().code(143).nothing_left();
}

// What the child says of its work (`--drain-until notify`).

#[test]
fn the_drain_lasts_until_the_child_says_that_nothing_is_in_flight() {
    both(|mode| {
        let stage = Stage::new();
        let notify = Stepdown::in_mode(mode)
            .args(["--drain-until=notify", "--drain-timeout=1h"])
            .args(["--ready-when=exec:true"]);
        let (mut run, mut orders) = stage.start(notify);
        // Something else is asked whether it is ready, and what is said to us goes no further.
        assert_eq!(stage.told(), "READY=1");
        order(
            &mut run,
            &mut orders,
            r"say READY=1\nX_STEPDOWN_IN_FLIGHT=0",
        );
        order(
            &mut run,
            &mut orders,
            r"say-and-wait STATUS=at work\nX_STEPDOWN_IN_FLIGHT=3",
        );
        assert_eq!(stage.told(), "STATUS=at work");
        run.signal(Signal::SIGTERM);
        assert_eq!(stage.told(), "STOPPING=1");
        run.logs("drain: waiting until notify holds");
        run.logs("drain: 3 in flight, ");
        order(&mut run, &mut orders, "say X_STEPDOWN_IN_FLIGHT=1");
        run.logs("drain: 1 in flight, ");
        order(&mut run, &mut orders, "say X_STEPDOWN_IN_FLIGHT=none");
        assert!(!run.stderr_has("step 1"));
        writeln!(orders, "say X_STEPDOWN_IN_FLIGHT=0").expect("the child reads");
        let ended = run.wait();
        ended.code(3).logged(&["drained in"]);
        ended.never_logged("does not hold").nothing_left();
        stage.told_nothing();
    });
}

#[test]
fn a_child_that_never_says_it_is_stopped_in_the_end() {
    both(|mode| {
        for said in [None, Some("2")] {
            let stage = Stage::new();
            let notify =
                Stepdown::in_mode(mode).args(["--drain-until=notify", "--drain-timeout=700ms"]);
            let (mut run, mut orders) = stage.start(notify);
            if let Some(number) = said {
                let line = format!("say X_STEPDOWN_IN_FLIGHT={number}");
                order(&mut run, &mut orders, &line);
            }
            run.signal(Signal::SIGTERM);
            let ended = run.wait();
            ended.code(3).nothing_left();
            let why = match said {
                None => "the child has not said X_STEPDOWN_IN_FLIGHT",
                Some(_) => "2 in flight",
            };
            ended.logged(&["--drain-until notify does not hold: ", why]);
            ended.logged(&["drain ended by its timeout after"]);
        }
    });
}

#[test]
fn ready_is_passed_on_where_only_the_drain_listens() {
    let stage = Stage::new();
    let notify = Stepdown::new().args(["--drain-until=notify"]);
    let (mut run, mut orders) = stage.start(notify);
    order(
        &mut run,
        &mut orders,
        r"say READY=1\nX_STEPDOWN_IN_FLIGHT=0",
    );
    assert_eq!(stage.told(), "READY=1");
    run.signal(Signal::SIGTERM);
    run.wait().code(3).logged(&["drained in"]);
}

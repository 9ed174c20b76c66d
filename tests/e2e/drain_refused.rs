//! The drain where the kernel refuses to tell, and what is still in the kernel when the child is gone.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket, sockopt,
};

use crate::support::docker::{self, container, userland, with_host_userland};
use crate::support::drainee::{Drainee, Kind, THREADED, threads_can_be_read};
use crate::support::stepdown::can_be_pid1;
use crate::support::{BOUND, Mode, Stepdown, binary, both, need, proc, seccomp};

/// stepdown as nobody, without any capability.
fn unprivileged() -> Stepdown {
    Stepdown::new()
        .program("/usr/bin/setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["--inh-caps=-all", "--bounding-set=-all"])
        .args(["--no-new-privs"])
        .args([binary::for_everybody()])
}

/// Only root can become another user.
fn can_give_up_rights() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root can become another user".to_owned());
    }
    binary::installed("/usr/bin/setpriv")
}

#[test]
fn an_unprivileged_user_without_capabilities_drains_as_well() {
    need!(can_give_up_rights());
    need!(threads_can_be_read());
    // Rule 7 holds for it, too: its child is its own.
    let options = ["--drain-port=PORT", "--drain-quiet=1h"];
    let mut server = Drainee::prepared(unprivileged(), &options, THREADED);
    let pid = server.run.pid();
    assert_eq!(
        proc::status(pid, "CapEff").as_deref(),
        Some("0000000000000000")
    );
    let mut idle = server.connect();
    idle.say("fast").hears("done");
    let mut client = server.connect();
    client.say("slow");
    server.stop().logs("drain: 1 in flight");
    server.release();
    client.hears("done");
    let ended = server.run.wait();
    ended
        .code(143)
        .logged(&["drained in"])
        .never_logged("counts as in flight");
}

#[test]
fn where_the_threads_cannot_be_read_the_quiet_time_tells_idle_from_busy() {
    need!(can_give_up_rights());
    let hidden = Kind {
        wait: "hidden",
        ..THREADED
    };
    for (quiet, drains) in [("1h", false), ("300ms", true)] {
        let options = ["--drain-port=PORT", "--drain-quiet", quiet];
        let mut server = Drainee::prepared(unprivileged(), &options, hidden);
        let mut client = server.connect();
        client.say("fast").hears("done").say("slow");
        server.stop().logs("drain: 1 in flight");
        server.release();
        client.hears("done");
        if !drains {
            // It may go on with its answer, for all that can be seen.
            std::thread::sleep(Duration::from_millis(500));
            assert!(server.run.is_running());
            server.run.asks_again().asks_again();
            server.logs("drain cut short");
        }
        let ended = server.run.wait();
        ended.code(143);
        if drains {
            ended.logged(&["drained in"]);
        }
    }
}

#[test]
fn without_proc_every_connection_of_the_port_may_be_ours_and_the_quiet_time_decides() {
    let mount = "mount -t tmpfs none /proc";
    let tried = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", mount])
        .output();
    need!(match tried {
        Ok(tried) if tried.status.success() => Ok(()),
        _ => Err("no mount namespace can be made".to_owned()),
    });
    let without_proc = Stepdown::new()
        .program("unshare")
        .args(["--mount", "--", "sh", "-c"])
        .args([&format!("{mount} && exec \"$@\""), "sh"])
        .args([binary::under_test()]);
    let options = ["--drain-port=PORT", "--drain-quiet=300ms"];
    let mut server = Drainee::prepared(without_proc, &options, THREADED);
    let mut idle = server.connect();
    idle.say("fast").hears("done");
    let mut client = server.connect();
    client.say("slow");
    server.stop().logs("drain: 1 in flight");
    // Looks enough to have found that nobody holds the connection, if that were how it is told.
    std::thread::sleep(Duration::from_secs(1));
    assert!(server.run.is_running());
    server.release();
    client.hears("done");
    server.run.wait().code(143).logged(&["drained in"]);
}

#[test]
fn requests_in_flight_are_seen_without_a_free_descriptor_too() {
    both(|mode| {
        let options = ["--drain-port=PORT", "--drain-quiet=300ms"];
        let mut server = Drainee::prepared(Stepdown::in_mode(mode), &options, THREADED);
        let mut idle = server.connect();
        idle.say("fast").hears("done");
        let mut client = server.connect();
        client.say("slow");
        proc::limit_descriptors(server.run.pid(), 3);
        server.stop().logs("drain: 1 in flight");
        server.release();
        client.hears("done");
        let ended = server.run.wait();
        ended
            .code(143)
            .logged(&["drained in"])
            .never_logged("Too many open files");
    });
}

/// Between fork and exec: netlink sockets are refused from now on, as a strict seccomp profile does.
fn refuse_netlink() -> io::Result<()> {
    let family = libc::AF_NETLINK.cast_unsigned();
    seccomp::refuse(libc::SYS_socket, Some(family), libc::EPERM)
}

#[test]
fn where_sock_diag_is_refused_open_connections_are_waited_for_and_one_line_says_so() {
    both(|mode| {
        let refused = || Stepdown::in_mode(mode).prepared(refuse_netlink);
        let options = ["--drain-port=PORT", "--drain-timeout=1h"];
        let mut server = Drainee::prepared(refused(), &options, THREADED);
        let mut client = server.connect();
        client.say("fast").hears("done");
        server
            .stop()
            .logs("every open connection counts as in flight");
        server.logs("drain: 1 in flight");
        assert!(server.run.is_running());
        drop(client);
        let ended = server.run.wait();
        ended.code(143).logged(&["drained in"]);
        let lines = ended
            .stderr
            .lines()
            .filter(|line| line.contains("every open connection"));
        assert_eq!(lines.count(), 1, "{}", ended.told());

        // The timeout ends it there, too.
        let options = ["--drain-port=PORT", "--drain-timeout=400ms"];
        let mut server = Drainee::prepared(refused(), &options, THREADED);
        // Answered once, and so the server's.
        let mut client = server.connect();
        client.say("fast").hears("done");
        server.stop();
        let ended = server.run.wait();
        ended
            .code(143)
            .logged(&["ended by its timeout", "1 request interrupted"]);
    });
}

#[test]
fn a_shortage_at_the_first_look_does_not_make_idle_connections_count() {
    need!(binary::installed("/usr/bin/strace"));
    // As a grandchild (-D), so that signals are for stepdown.
    let once = Stepdown::new()
        .program("/usr/bin/strace")
        .args(["-D", "-o", "/dev/null", "-e", "trace=socket"])
        .args(["-e", "inject=socket:error=ENOBUFS:when=1"])
        .args([binary::under_test()]);
    let options = ["--drain-port=PORT", "--drain-timeout=1h"];
    let mut server = Drainee::prepared(once, &options, THREADED);
    let mut idle = server.connect();
    idle.say("fast").hears("done");
    server.stop();
    let ended = server.run.wait();
    ended
        .code(143)
        .logged(&["drained in"])
        .never_logged("counts as in flight");
}

// What is still in the kernel when the child is gone.

/// Few enough for the server to hand all of them to the kernel.
const MANY_BYTES: usize = 150_000;

struct BigAnswer {
    run: docker::Container,
    client: TcpStream,
    asked: Instant,
    _network: docker::Network,
}

/// A server in a container whose network goes with it, and a client that has asked it for many bytes
/// and takes few at a time. The server ends itself while the kernel still holds most of them.
#[track_caller]
fn big_answer(ports: &str) -> BigAnswer {
    let mut volume = OsString::from(binary::drainee());
    volume.push(":/drainee:ro");
    let network = docker::Network::new();
    let mut run = container(userland())
        .options(with_host_userland())
        .options([network.option().into(), "-v".into(), volume])
        .stepdown(["--drain-port", ports, "--"])
        .command(["/drainee", "0.0.0.0", "8000", "recv"])
        .start();
    run.says("ready");
    let ip: Ipv4Addr = run
        .inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
        .parse()
        .expect("an address");
    let cloexec = SockFlag::SOCK_CLOEXEC;
    let client = socket(AddressFamily::Inet, SockType::Stream, cloexec, None).expect("a socket");
    // The window follows from the buffer at the time of the connection.
    setsockopt(&client, sockopt::RcvBuf, &8192).expect("a socket of ours");
    let to = SockaddrIn::from(SocketAddrV4::new(ip, 8000));
    connect(client.as_raw_fd(), &to).expect("a server that is ready");
    let mut client = TcpStream::from(client);
    client
        .set_read_timeout(Some(BOUND))
        .expect("a bound above zero");
    let request = format!("big {MANY_BYTES}\n");
    let asked = Instant::now();
    client.write_all(request.as_bytes()).expect("it reads");
    BigAnswer {
        run,
        client,
        asked,
        _network: network,
    }
}

#[test]
fn a_large_answer_reaches_its_slow_client_although_the_network_namespace_goes_with_us() {
    need!(docker::available());
    // A client that the machine holds up for two seconds takes nothing, and is not waited for: what holds once could
    // not hold at all if slow ones were not.
    for ports in ["8000", "auto"] {
        let mut counts = Vec::new();
        let is_whole = (0..5).any(|_| {
            let mut answer = big_answer(ports);
            let patience = Some(Duration::from_secs(5));
            answer
                .client
                .set_read_timeout(patience)
                .expect("above zero");
            let mut received = 0;
            let mut chunk = vec![0; 8 * 1024];
            // The network of a client that was not waited for is gone: it hears nothing more, no end either.
            while let Ok(count @ 1..) = answer.client.read(&mut chunk) {
                received += count;
                std::thread::sleep(Duration::from_millis(20));
            }
            answer.run.wait().code(7);
            counts.push(received);
            received == MANY_BYTES
        });
        assert!(is_whole, "{ports}: {counts:?} of {MANY_BYTES}");
    }
}

/// The kernel may still have something: it is asked again, for two seconds.
#[test]
fn who_cannot_see_what_is_left_in_the_kernel_does_not_take_it_for_nothing() {
    need!(can_be_pid1());
    let mut server = Drainee::start(Mode::Pid1, &["--drain-port=PORT"], THREADED);
    let mut client = server.connect();
    // The soft limit would be raised for the look.
    proc::limit_descriptors_hard(server.run.pid(), 3);
    let asked = Instant::now();
    client.say("big 100");
    server.run.wait().code(7);
    let took = asked.elapsed();
    assert!(took >= Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_client_that_takes_nothing_keeps_the_container_for_two_seconds_only() {
    need!(docker::available());
    let answer = big_answer("8000");
    answer.run.wait().code(7);
    let took = answer.asked.elapsed();
    assert!(took >= Duration::from_millis(1900), "{took:?}");
    drop(answer.client);
}

//! Hooks without a shell: HTTP requests and UDP datagrams against real servers, in scratch images too.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::server::Server;
use crate::support::stepdown::can_be_pid1;
use crate::support::{
    BOUND, Stepdown, binary, both, docker, need, net, once_within, uninterrupted, wait_until,
};

/// A UDP socket of loopback whose reads give up after the bound.
fn listener() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    socket
        .set_read_timeout(Some(BOUND))
        .expect("a bound above zero");
    let port = socket.local_addr().expect("a bound socket").port();
    (socket, port)
}

fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let count = uninterrupted(|| socket.recv(&mut buffer)).expect("a datagram");
    buffer[..count].to_vec()
}

#[test]
fn a_service_registers_before_the_start_and_deregisters_after_the_end() {
    both(|mode| {
        let mut registry = Server::registry();
        let url = format!("http://127.0.0.1:{}/services/web-1", registry.port());
        let mut run = Stepdown::in_mode(mode)
            .args(["--hook-timeout", "60s"])
            .args(["--pre-start", &format!("PUT {url}")])
            .args(["--pre-stop", &format!("GET {url}?draining=1")])
            .args(["--post-stop", &format!("DELETE {url}")])
            .shell("echo ready; exec sleep 1000")
            .start();
        run.says("ready");
        let host = format!("Host:127.0.0.1:{}", registry.port());
        let put = registry.says("PUT /services/web-1 ");
        assert!(
            put.contains(&host) && put.ends_with("Content-Length:0"),
            "{put}"
        );
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(143).nothing_left();
        ended.logged(&["pre-stop hook", "done"]);
        ended.logged(&["post-stop hook", "done"]);
        registry.says("GET /services/web-1?draining=1 ");
        // It answers 204 only where the service was registered.
        registry.says("DELETE /services/web-1 ");
    });
}

#[test]
fn an_answer_that_is_no_success_is_told_and_stops_nothing() {
    let registry = Server::registry();
    let base = format!("http://127.0.0.1:{}", registry.port());
    let ended = Stepdown::new()
        .args(["--hook-timeout", "60s"])
        .args(["--post-stop", &format!("POST {base}/status/503")])
        .args(["--post-stop", &format!("{base}/redirect")])
        .args([
            "--post-stop",
            &format!("http://127.0.0.1:{}/", net::free_port()),
        ])
        .args(["--post-stop", &format!("{base}/status/204")])
        .shell("exit 3")
        .run();
    ended.code(3);
    ended.logged(&["hook", "/status/503", "503 Service Unavailable"]);
    ended.logged(&["hook", "/redirect", "302"]);
    ended.logged(&["hook", "onnection refused"]);
    let failed = |line: &&str| line.contains("failed: ") && !line.contains("exited with");
    assert_eq!(
        ended.stderr.lines().filter(failed).count(),
        3,
        "{}",
        ended.told()
    );
    ended.logged(&["/status/204", "done"]);
}

#[test]
fn what_is_not_there_yet_is_asked_again_before_the_start() {
    both(|mode| {
        let port = net::free_port();
        let mut run = Stepdown::in_mode(mode)
            .args(["--hook-timeout", "60s"])
            .args(["--pre-start", &format!("http://127.0.0.1:{port}/")])
            .shell("echo ready; exec sleep 1000")
            .start();
        let told = run.logs("asked again");
        assert!(told.contains("onnection refused"), "{told}");
        // It is started, but not ready for the first two that ask.
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        for status in [
            "503 Service Unavailable",
            "503 Service Unavailable",
            "204 No Content",
        ] {
            let (mut asked, _) = uninterrupted(|| server.accept()).expect("it asks again");
            let head = |request: &[u8]| request.ends_with(b"\r\n\r\n");
            let mut request = Vec::new();
            while !head(&request) {
                let mut byte = [0];
                std::io::Read::read_exact(&mut asked, &mut byte).expect("a request");
                request.extend(byte);
            }
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            std::io::Write::write_all(&mut asked, answer.as_bytes()).expect("it waits");
        }
        run.says("ready").signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(143).nothing_left();
        // Each reason once.
        assert_eq!(
            ended.stderr.matches("asked again").count(),
            2,
            "{}",
            ended.told()
        );
        ended.logged(&["hook", "503", "asked again"]);
    });
}

#[test]
fn a_stop_ends_what_is_asked_again_and_again() {
    both(|mode| {
        let url = format!("http://127.0.0.1:{}/", net::free_port());
        let mut run = Stepdown::in_mode(mode)
            .args(["--hook-timeout", "1000s", "--pre-start", &url])
            .shell("echo started")
            .start();
        run.logs("asked again");
        run.signal(Signal::SIGTERM);
        run.wait().code(143).never_said("started").nothing_left();
    });
}

#[test]
fn a_stop_cuts_no_request_that_is_under_way_before_the_start() {
    both(|mode| {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port of loopback");
        server.set_nonblocking(true).expect("a socket of our own");
        let url = format!("POST http://{}/", server.local_addr().expect("it is bound"));
        let mut run = Stepdown::in_mode(mode)
            .args(["--hook-timeout", "1000s", "--pre-start", &url])
            .shell("echo started")
            .start();
        let mut asked = None;
        wait_until("the hook asks", || {
            asked = server.accept().ok();
            asked.is_some()
        });
        let (mut connection, _) = asked.expect("just waited for");
        run.signal(Signal::SIGTERM).logs("nothing will be started");
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        connection.write_all(answer).expect("the hook waits for it");
        let ended = run.wait();
        ended
            .code(143)
            .logged(&["pre-start hook", "done"])
            .never_said("started");
    });
}

#[test]
fn what_never_comes_prevents_the_start_and_the_reason_is_told() {
    let url = format!("http://127.0.0.1:{}/", net::free_port());
    let ended = Stepdown::new()
        .args(["--hook-timeout", "1s", "--pre-start", &url])
        .shell("echo started")
        .run();
    ended.code(125).never_said("started");
    ended.logged(&["hook", "onnection refused", "asked again for"]);
    ended
        .logged(&["pre-start hook", "failed: "])
        .never_logged("exited with 1");
    assert!(ended.ran >= Duration::from_millis(900), "{:?}", ended.ran);
}

#[test]
fn a_name_that_is_not_known_yet_is_asked_for_again_before_the_start() {
    need!(binary::installed("/etc/hosts"));
    need!(can_be_pid1());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let stepdown = binary::under_test();
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, "").expect("a directory of ours");
    let (socket, port) = listener();
    // Its file of hosts is what stands for a name server that comes up later.
    let mut run = Stepdown::new()
        .program("/usr/bin/unshare")
        .args(["--mount", "--", "sh", "-c"])
        .args([
            "mount --bind \"$1\" /etc/hosts && echo nameserver 127.0.0.1 >\"$2\" && \
                mount --bind \"$2\" /etc/resolv.conf && shift 2 && exec \"$@\"",
            "sh",
        ])
        .args([
            hosts.as_os_str(),
            dir.path().join("resolv.conf").as_os_str(),
        ])
        .args([
            stepdown.as_os_str(),
            "--hook-timeout=60s".as_ref(),
            "--pre-start".as_ref(),
        ])
        .args([format!("udp://late.test:{port}/hello")])
        .args(["--", "sh", "-c", "echo started; exit 3"])
        .start();
    run.logs("asked again");
    std::fs::write(&hosts, "127.0.0.1 late.test\n").expect("a directory of ours");
    assert_eq!(received(&socket), b"hello");
    run.wait().code(3).said("started");
}

#[test]
fn a_failing_request_before_the_start_prevents_it() {
    let registry = Server::registry();
    let url = format!("PUT http://127.0.0.1:{}/status/500", registry.port());
    let ended = Stepdown::new()
        .args(["--pre-start", &url, "--hook-timeout", "1s"])
        .shell("echo started")
        .run();
    ended.code(125).never_said("started");
    ended.logged(&["not started", "pre-start", "/status/500"]);
}

#[test]
fn a_server_that_never_answers_costs_the_timeout_and_no_more() {
    let registry = Server::registry();
    let url = format!("http://127.0.0.1:{}/silent", registry.port());
    let stopped = |mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--pre-stop", &url, "--hook-timeout", "300ms"])
            .shell("echo ready; exec sleep 1000")
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(143).nothing_left();
        ended.stopped_no_sooner_than(Duration::from_millis(290));
        ended.stop_took()
    };
    // Hooks have five seconds where nothing is said about it.
    both(|mode| once_within(Duration::from_secs(5), || stopped(mode)));
}

#[test]
fn a_second_request_to_stop_ends_a_call_at_once_and_orphans_are_reaped_meanwhile() {
    need!(can_be_pid1());
    let mut registry = Server::registry();
    let url = format!("http://127.0.0.1:{}/silent", registry.port());
    let mut run = Stepdown::as_pid1()
        .args(["-v", "--pre-stop", &url, "--hook-timeout", "1000s"])
        .shell("trap '' TERM INT; (sleep 0.3 & exec sleep 0.1) & echo ready; wait; exec sleep 1000")
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    registry.says("GET /silent ");
    run.logs("orphan");
    run.asks_again();
    assert!(!run.stderr_has("going on without it"));
    run.asks_again().logs("going on without it");
    run.asks_again().asks_again();
    run.wait().code(137).nothing_left();
}

/// A command in a network of its own, whose name server is the command's business.
fn in_a_network(dir: &Path, command: &[&str]) -> Stepdown {
    let resolver = dir.join("resolv.conf");
    std::fs::write(&resolver, "nameserver 127.0.0.1\n").expect("a directory of ours");
    let prepare = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    Stepdown::new()
        .program("/usr/bin/unshare")
        .args(["--net", "--mount", "--", "sh", "-c", prepare])
        .args([resolver.as_path(), binary::deeds()])
        .args(["loopback", "exec"])
        .args(command)
}

#[test]
fn a_name_that_cannot_be_resolved_is_told_and_stops_nothing() {
    need!(can_be_pid1());
    let dir = tempfile::tempdir().expect("a temporary directory");
    // There is no name server, which is known at once, whatever the network of this machine is like.
    let stepdown = binary::under_test();
    let ended = in_a_network(dir.path(), &[stepdown.to_str().expect("a path in UTF-8")])
        .args(["--hook-timeout", "60s"])
        .args(["--post-stop", "http://no-such-host.invalid/"])
        .args(["--", "sh", "-c", "exit 3"])
        .run();
    ended.code(3);
    ended.logged(&["post-stop hook \"http://no-such-host.invalid/\" failed: "]);
    ended.never_logged("exited with 1");
}

#[test]
fn a_name_that_nobody_resolves_costs_the_timeout_and_no_more() {
    need!(can_be_pid1());
    let dir = tempfile::tempdir().expect("a temporary directory");
    // The only name server says nothing, which the resolver takes for an answer after ten seconds.
    let inside = |command: &[&str]| in_a_network(dir.path(), command);
    let stepdown = binary::under_test();
    let stepdown = stepdown.to_str().expect("a path in UTF-8");
    let mut run = inside(&[stepdown, "--hook-timeout", "300ms"])
        .args(["--pre-stop", "http://name.test/"])
        .args(["--pre-stop", "udp://name.test:9/x"])
        .args(["--"].iter().chain(&silent()))
        .args(["sleep", "1000"])
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    let ended = run.wait();
    ended.code(143).nothing_left();
    ended.logged(&["hook \"http://name.test/\"", "its time was over"]);
    ended.logged(&["hook \"udp://name.test:9/x\"", "its time was over"]);
    ended.stopped_within(Duration::from_secs(9));

    let began = Instant::now();
    let ended = inside(&silent())
        .args([
            stepdown,
            "health",
            "--timeout",
            "300ms",
            "http://name.test/readyz",
        ])
        .run();
    ended
        .code(1)
        .logged(&["stepdown health: http://name.test/readyz: no answer in time"]);
    assert!(began.elapsed() < Duration::from_secs(9));
}

#[test]
fn an_answer_whose_body_never_ends_is_in_time() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port of loopback");
    let url = format!("http://{}/", server.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut client in server.incoming().flatten() {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
            let _ = client.read(&mut [0; 1024]).and(client.write_all(head));
            kept.push(client);
        }
    });
    let asks = || {
        let question = ["health", "--timeout=150ms", &url];
        let began = Instant::now();
        Stepdown::new().args(question).run().status.code() == Some(0)
            && began.elapsed() < Duration::from_millis(125)
    };
    // The machine may be too busy to answer so soon, but not always.
    assert!((0..50).any(|_| asks()));
}

/// A name server that takes every question and answers none; then what follows is executed.
fn silent() -> [&'static str; 7] {
    let deeds = binary::deeds().to_str().expect("a path in UTF-8");
    [deeds, "udp", "127.0.0.1", "53", "say", "ready", "exec"]
}

#[test]
fn a_datagram_goes_to_an_ipv6_address_and_to_the_one_of_a_name_that_takes_it() {
    need!(binary::installed("/etc/hosts"));
    need!(can_be_pid1());
    need!(net::ipv6());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let hosts = dir.path().join("hosts");
    // As Docker and Kubernetes write it.
    std::fs::write(&hosts, "127.0.0.1 localhost\n::1 localhost\n").expect("a directory of ours");
    let six = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("IPv6 on loopback");
    six.set_read_timeout(Some(BOUND))
        .expect("a bound above zero");
    let (four, port) = listener();
    let ended = Stepdown::new()
        .program("/usr/bin/unshare")
        .args(["--mount", "--", "sh", "-c"])
        .args([
            "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"",
            "sh",
        ])
        .args([hosts.as_os_str(), binary::under_test().as_os_str()])
        .args(["--pre-start", &format!("udp://localhost:{port}/four")])
        .args([
            "--pre-start",
            &format!("udp://{}/six", six.local_addr().expect("bound")),
        ])
        // Nobody listens there, and nobody is asked to confirm.
        .args([
            "--pre-start",
            &format!("udp://127.0.0.1:{}/x", net::free_port()),
        ])
        .args(["--", "true"])
        .run();
    ended.code(0);
    assert_eq!(received(&four), b"four");
    assert_eq!(received(&six), b"six");
}

#[test]
fn an_mdns_goodbye_is_one_datagram() {
    both(|mode| {
        let (socket, port) = listener();
        // RFC 6762, section 10.1: the record that was announced, with a TTL of 0. Header, then
        // web._http._tcp.local PTR, class IN, TTL 0, and where it pointed.
        let name = "%05_http%04_tcp%05local%00";
        let goodbye = format!(
            "%00%00%84%00%00%00%00%01%00%00%00%00{name}%00%0C%00%01%00%00%00%00%00%06%03web%C0%0C"
        );
        let mut run = Stepdown::in_mode(mode)
            .args(["--pre-stop", &format!("udp://127.0.0.1:{port}/{goodbye}")])
            .shell("echo ready; exec sleep 1000")
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        let packet = received(&socket);
        run.wait().code(143).logged(&["pre-stop hook", "done"]);

        assert_eq!(&packet[2..4], [0x84, 0], "an authoritative response");
        assert_eq!(&packet[6..8], [0, 1], "of one answer");
        let question = b"\x05_http\x04_tcp\x05local\0";
        assert_eq!(&packet[12..12 + question.len()], question);
        let fixed = &packet[12 + question.len()..];
        assert_eq!(&fixed[..4], [0, 12, 0, 1], "PTR, IN");
        assert_eq!(&fixed[4..8], [0; 4], "its time to live is over");
        assert_eq!(&fixed[8..], b"\0\x06\x03web\xc0\x0c");
    });
}

/// Real responders ignore what does not come from their port, or came through a router.
#[test]
fn an_mdns_goodbye_comes_from_the_port_of_mdns() {
    need!(can_be_pid1());
    let hook = "udp://224.0.0.251:5353/%00%00%84%00goodbye";
    // A network of its own, in which the child is the responder that has the port.
    let mut run = Stepdown::new()
        .program("/usr/bin/unshare")
        .args(["--net", "--"])
        .args([binary::deeds()])
        .args(["loopback", "exec"])
        .args([binary::under_test()])
        .args(["--pre-stop", hook, "--"])
        .args([binary::deeds()])
        // TERM follows the goodbye at once, and must not end it before it has told of it.
        .args(["block", "15", "mdns", "unblock", "15", "pause"])
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    run.says(r"from 5353, TTL 255: \x00\x00\x84\x00goodbye");
    let ended = run.wait();
    ended.code(143).logged(&["pre-stop hook", "done"]);
}

#[test]
fn a_scratch_image_needs_nothing_else() {
    need!(docker::available());
    let mut registry = Server::registry();
    let (socket, port) = listener();
    let base = format!("http://registry.test:{}", registry.port());
    let mut run = docker::container(docker::scratch())
        .options(["--network=host", "--add-host=registry.test:127.0.0.1"])
        // Whatever the network of this machine is like: nobody answers, which is known at once.
        .options(["--dns=127.0.0.1"])
        .stepdown([
            "--hook-timeout",
            "60s",
            "--pre-start",
            &format!("PUT {base}/services/scratch"),
            "--pre-stop",
            &format!("udp://registry.test:{port}/goodbye%00"),
            "--post-stop",
            &format!("DELETE {base}/services/scratch"),
            "--post-stop",
            "http://nowhere.invalid/",
            "--",
            "/actor",
            "print-signals",
            "7",
        ])
        .start();
    run.says("ready");
    registry.says("PUT /services/scratch ");
    run.stop(&[]);
    let ended = run.wait();
    ended.code(7);
    ended.logged(&["pre-stop hook", "done"]);
    ended.logged(&["post-stop hook", "DELETE", "done"]);
    ended.logged(&["post-stop hook", "nowhere.invalid", "failed: "]);
    ended.never_logged("exited with 1");
    assert_eq!(received(&socket), b"goodbye\0");
    registry.says("DELETE /services/scratch ");
}

#[test]
fn a_mistake_in_a_call_is_found_before_anything_is_started() {
    let ended = Stepdown::new()
        .args(["--pre-stop", "https://127.0.0.1/bye"])
        .shell("echo started")
        .run();
    ended.code(125).never_said("started");
    ended.logged(&["--pre-stop", "https is not supported here", "use http://"]);
}

#[test]
fn a_time_that_no_clock_can_measure_is_time_enough() {
    Stepdown::new()
        .args(["--hook-timeout", "500000000000y"])
        .args([
            "--pre-start",
            &format!("udp://127.0.0.1:{}/x", net::free_port()),
        ])
        .child(["true"])
        .run()
        .code(0)
        .never_logged("a bug");
}

//! The log: what it says at which level, and that writing it holds up or fails nothing.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::support::{Stepdown, both, pty, seccomp, wait_until};

/// Makes the writing end of a stream full; the stream itself stays blocking.
pub(crate) fn fill(writer: &impl AsFd) {
    let old = fcntl(writer.as_fd(), FcntlArg::F_GETFL).expect("open");
    let non_blocking = OFlag::from_bits_truncate(old) | OFlag::O_NONBLOCK;
    fcntl(writer.as_fd(), FcntlArg::F_SETFL(non_blocking)).expect("open");
    for size in [4096, 64, 1] {
        while nix::unistd::write(writer.as_fd(), &vec![b'.'; size]).is_ok() {}
    }
    fcntl(
        writer.as_fd(),
        FcntlArg::F_SETFL(OFlag::from_bits_truncate(old)),
    )
    .expect("open");
}

/// Forwards signals, which are told each, then stops: a write that waits would never end.
#[track_caller]
fn goes_on(stepdown: Stepdown) {
    let mut run = stepdown.args(["-v"]).witness(["listen", "15:7"]).start();
    run.says("ready");
    for number in [1, 10, 12, 1, 10, 12] {
        run.signal_number(number).says(&format!("got {number}"));
    }
    run.signal(Signal::SIGTERM);
    run.wait().code(7).never_said("got 13").nothing_left();
}

#[test]
fn a_pipe_that_nobody_reads_holds_up_nothing() {
    both(|mode| {
        let (_reader, writer) = std::io::pipe().expect("a pipe");
        fill(&writer);
        goes_on(Stepdown::in_mode(mode).stderr_to(writer));
    });
}

#[test]
fn a_socket_that_nobody_reads_holds_up_nothing() {
    both(|mode| {
        let (_reader, writer) = UnixStream::pair().expect("sockets");
        fill(&writer);
        goes_on(Stepdown::in_mode(mode).stderr_to(writer));
        let (_reader, writer) = UnixDatagram::pair().expect("sockets");
        fill(&writer);
        goes_on(Stepdown::in_mode(mode).stderr_to(writer));
    });
}

#[test]
fn a_terminal_that_nobody_reads_holds_up_nothing() {
    both(|mode| {
        let (_master, slave) = pty::pair();
        fill(&slave);
        goes_on(Stepdown::in_mode(mode).stderr_to(slave));
        // One with some room, but for less and less of each line.
        let (master, slave) = pty::pair();
        fill(&slave);
        let mut some = [0; 64];
        let mut writable = [PollFd::new(slave.as_fd(), PollFlags::POLLOUT)];
        while poll(&mut writable, PollTimeout::ZERO).expect("open") == 0 {
            nix::unistd::read(&master, &mut some).expect("it is full");
        }
        let long = format!("true {}", "x".repeat(3_000));
        let many = (0..40).flat_map(|_| ["--pre-stop", &*long]);
        goes_on(Stepdown::in_mode(mode).args(many).stderr_to(slave));
    });
}

#[test]
fn a_reader_that_is_gone_fails_nothing() {
    both(|mode| {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        goes_on(Stepdown::in_mode(mode).stderr_to(writer));
        let (reader, writer) = UnixStream::pair().expect("sockets");
        drop(reader);
        goes_on(Stepdown::in_mode(mode).stderr_to(writer));
        let (master, slave) = pty::pair();
        drop(master);
        goes_on(Stepdown::in_mode(mode).stderr_to(slave));
    });
}

#[test]
fn a_full_disk_fails_nothing() {
    both(|mode| {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("a device");
        goes_on(Stepdown::in_mode(mode).stderr_to(full));
    });
}

#[test]
fn a_file_that_may_not_grow_fails_nothing() {
    both(|mode| {
        let file = tempfile::tempfile().expect("a file");
        let start = Stepdown::in_mode(mode).stderr_to(file).prepared(|| {
            let none = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            // SAFETY: the limit lives through the call.
            match unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const none) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
        // The signal for it, XFSZ, is as little the child's business as PIPE.
        goes_on(start);
    });
}

#[test]
fn a_closed_stream_fails_nothing() {
    goes_on(Stepdown::new().closing(2));
    both(|mode| {
        let read_only = fs::File::open("/dev/null").expect("a device");
        goes_on(Stepdown::in_mode(mode).stderr_to(read_only));
    });
}

#[test]
fn a_socket_and_a_file_get_the_lines() {
    both(|mode| {
        let (mut reader, writer) = UnixStream::pair().expect("sockets");
        goes_on(Stepdown::in_mode(mode).stderr_to(writer));
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        assert!(text.contains("stepdown: stopping: TERM"), "{text}");
        let file = tempfile::NamedTempFile::new().expect("a file");
        let appending = fs::OpenOptions::new()
            .append(true)
            .open(file.path())
            .expect("our own");
        goes_on(Stepdown::in_mode(mode).stderr_to(appending));
        let text = fs::read_to_string(file.path()).expect("text");
        assert!(text.contains("stepdown: stopping: TERM"), "{text}");
    });
}

#[test]
fn a_file_whose_file_system_would_have_to_wait_gets_the_lines() {
    both(|mode| {
        // XFS and btrfs say EAGAIN to nearly every write that may not wait.
        let refuse = || seccomp::refuse(libc::SYS_pwritev2, None, libc::EAGAIN);
        let file = tempfile::NamedTempFile::new().expect("a file");
        let appending = fs::OpenOptions::new()
            .append(true)
            .open(file.path())
            .expect("our own");
        let start = Stepdown::in_mode(mode).stderr_to(appending);
        goes_on(start.prepared(refuse));
        let text = fs::read_to_string(file.path()).expect("text");
        for line in ["HUP forwarded", "stopping: TERM", "exit status 7"] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(!text.contains("could not be written"), "{text}");
    });
}

#[test]
fn lines_that_were_lost_are_counted_and_told_later() {
    both(|mode| {
        for format in ["text", "json"] {
            let (mut reader, writer) = std::io::pipe().expect("a pipe");
            fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("open");
            let mut seen = String::new();
            let mut collect = || {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = reader.read(&mut bytes) {
                    seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
                }
                seen.replace('.', "")
            };
            let mut run = Stepdown::in_mode(mode)
                .args(["-v", "--log-format", format])
                .stderr_to(writer.try_clone().expect("a descriptor"))
                .witness(["listen", "15:7"])
                .start();
            run.says("ready").signal(Signal::SIGWINCH);
            wait_until("the first line is there", || collect().contains("WINCH"));
            fill(&writer);
            // A line follows its signal, and comes before the next: so three are over with the fourth.
            for (number, times) in [(1, 1), (10, 1), (12, 1), (1, 2)] {
                run.signal_number(number)
                    .says_times(&format!("got {number}"), times);
            }
            collect();
            run.signal(Signal::SIGALRM);
            wait_until("the last line is there", || collect().contains("ALRM"));
            let text = collect();
            // Each was told or counted. The fourth may have been told after the pipe was read.
            let (before, after) = match format {
                "text" => ("stepdown: ", " lines before this one could not be written"),
                _ => ("\"level\":\"warn\",\"event\":\"lost\",\"lines\":", "}"),
            };
            let of_losses = |line: &str| {
                let count = line.split_once(before)?.1.strip_suffix(after)?;
                count.parse::<usize>().ok()
            };
            let losses = text.lines().filter(|line| line.contains("\"lost\""));
            for line in losses.filter(|_| format == "json") {
                assert!(line.starts_with("{\"time_ms\":"), "{line}");
            }
            let lost: usize = text.lines().filter_map(of_losses).sum();
            let told = text
                .lines()
                .filter(|line| line.contains("forwarded"))
                .count();
            // WINCH, the four and ALRM.
            assert_eq!(lost + told, 6, "{text}");
            assert!(lost >= 3, "{text}");
            run.signal(Signal::SIGTERM);
            run.wait().code(7);
        }
    });
}

#[test]
fn nothing_is_said_while_nothing_happens() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode).witness(["listen", "10:0"]).start();
        run.says("ready").signal(Signal::SIGHUP).says("got 1");
        run.signal(Signal::SIGUSR1);
        run.wait().code(0).was_silent();
    });
}

#[test]
fn levels_choose_what_is_said() {
    both(|mode| {
        let said = |options: &[&str]| {
            let mut run = Stepdown::in_mode(mode)
                .args(options)
                .args(["--pre-stop", "false"])
                .witness(["listen", "15:7"])
                .start();
            run.says("ready").signal(Signal::SIGHUP).says("got 1");
            run.signal(Signal::SIGTERM);
            let ended = run.wait();
            ended.code(7);
            let has = |part: &str| ended.stderr.contains(part);
            (
                has("HUP forwarded"),
                has("stopping: TERM"),
                has("failed: exited with 1"),
            )
        };
        assert_eq!(said(&[]), (false, true, true));
        assert_eq!(said(&["-v"]), (true, true, true));
        // What it was called before.
        assert_eq!(said(&["--verbose"]), (true, true, true));
        assert_eq!(said(&["-q", "--log-level=info"]), (false, false, false));
        assert_eq!(said(&["--log-level", "debug"]), (true, true, true));
        assert_eq!(said(&["--log-level=info"]), (false, true, true));
        assert_eq!(said(&["--log-level", "warn"]), (false, false, true));
        assert_eq!(said(&["--log-level", "error"]), (false, false, false));
        assert_eq!(said(&["-q"]), (false, false, false));
        assert_eq!(said(&["--quiet"]), (false, false, false));
    });
    // What prevents the start is told even so.
    Stepdown::new()
        .args(["-q"])
        .child(["/no/such/command"])
        .run()
        .code(127)
        .logged(&["not found"]);
    Stepdown::new()
        .env("STEPDOWN_VERBOSE", "1")
        .shell("true")
        .run()
        .logged(&["started, pid"]);
    Stepdown::new()
        .env("STEPDOWN_QUIET", "yes")
        .witness(["die", "11"])
        .run()
        .was_silent();
}

#[test]
fn every_line_is_json_when_that_was_asked_for() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--log-format", "json", "-v", "--deadline=100s"])
            .args([
                "--pre-start",
                "true",
                "--pre-stop",
                "sh -c 'exit 3' \"quoted\n\"",
            ])
            .args([
                "--post-stop",
                "/no/such/hook",
                "--post-stop",
                "http://127.0.0.1:1/",
                "-r",
                "USR1:USR2",
                "-r",
                "12:0",
            ])
            .args([
                "--ladder",
                "stdin=stop:10ms,exec=false:10ms,HUP@tree:10ms,TERM:1h",
            ])
            .witness(["family", "15:7"])
            .start();
        run.says("ready")
            .signal(Signal::SIGUSR1)
            .says("main got 12");
        run.signal(Signal::SIGUSR2).logs("dropped");
        run.signal(Signal::SIGINT);
        let ended = run.wait();
        ended.code(7);
        let lines: Vec<serde_json::Value> = ended
            .stderr
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect();
        let events: Vec<&str> = lines
            .iter()
            .filter_map(|line| line["event"].as_str())
            .collect();
        assert_eq!(events.len(), lines.len(), "{}", ended.told());
        for event in [
            "started",
            "forwarded",
            "dropped",
            "stop-asked",
            "hook-ended",
            "step",
            "ended",
        ] {
            assert!(events.contains(&event), "{event} in {events:?}");
        }
        for line in &lines {
            assert!(
                line["time_ms"].is_u64() && line["level"].is_string(),
                "{line}"
            );
            let written = line["timestamp"].as_str().expect("a time of day");
            let written = humantime::parse_rfc3339(written).expect("RFC 3339");
            assert!(
                written.elapsed().is_ok_and(|ago| ago.as_secs() < 600),
                "{line}"
            );
        }
        let asked = &lines[events
            .iter()
            .position(|event| *event == "stop-asked")
            .expect("there")];
        assert_eq!(
            (asked["signal"].as_str(), asked["reason"].as_str()),
            (Some("INT"), Some("signal"))
        );
        // Why a request has failed is no line of its own.
        let why = |line: &serde_json::Value| line["result"]["failed"].as_str().map(str::to_owned);
        let whys: Vec<String> = lines.iter().filter_map(why).collect();
        assert!(
            whys.iter().any(|why| why.contains("onnection refused")),
            "{whys:?}"
        );
    });
}

#[test]
fn long_lines_are_json_too() {
    both(|mode| {
        let long = format!("true {}", "x".repeat(20_000));
        let ended = Stepdown::in_mode(mode)
            .args(["--log-format=json", "--post-stop", &long])
            .shell("for i in $(seq 400); do sleep 1000 & done; exit 3")
            .run();
        ended.code(3);
        for line in ended.stderr.lines() {
            let parsed = serde_json::from_str::<serde_json::Value>(line);
            assert!(parsed.is_ok_and(|line| line["event"].is_string()), "{line}");
        }
        ended.logged(&["\"swept\""]).logged(&["\"hook-ended\""]);
    });
}

#[test]
fn a_record_is_one_line_whatever_it_holds() {
    both(|mode| {
        let ended = Stepdown::in_mode(mode)
            .args(["--ladder", "stdin='a\nstepdown: forged':10ms,TERM:1h"])
            .args(["--pre-stop", "true '\nstepdown: forged'"])
            .shell("trap 'exit 7' TERM; kill -TERM $PPID; while :; do sleep 0.02; done")
            .run();
        ended.code(7);
        for line in ended.stderr.lines() {
            assert!(!line.starts_with("stepdown: forged"), "{}", ended.told());
        }
    });
}

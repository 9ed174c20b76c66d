//! Socket activation: the sockets that were meant for stepdown reach the child, with its pid.

use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;

use crate::support::binary::{self, under_test};
use crate::support::{Mode, Stepdown, both, wait_until};

/// stepdown as a service manager starts it: `LISTEN_PID` is its own pid, which only it can know, so
/// a shell that becomes stepdown sets it.
pub(crate) fn activated(mode: Mode, variables: &str) -> Stepdown {
    let script = format!("{variables} exec \"$0\" \"$@\"");
    Stepdown::in_mode(mode)
        .program("/bin/sh")
        .args(["-c", &script])
        .args([under_test()])
}

/// The run with this socket, or whatever it is, as descriptor 3.
pub(crate) fn with_socket(run: Stepdown, socket: impl Into<OwnedFd>) -> Stepdown {
    let socket: OwnedFd = socket.into();
    run.prepared(move || {
        let fd = socket.as_raw_fd();
        // SAFETY: numbers only; neither the copy nor what lies there already is closed by exec.
        let result = unsafe {
            if fd == 3 {
                libc::fcntl(3, libc::F_SETFD, 0)
            } else {
                libc::dup2(fd, 3)
            }
        };
        match result {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        }
    })
}

const TELL: &str = "test \"$LISTEN_PID\" = $$ && echo mine; \
                    echo $LISTEN_FDS $LISTEN_FDNAMES ${LISTEN_PIDFDID-gone}";

#[test]
fn the_child_is_named_in_place_of_stepdown() {
    both(|mode| {
        let variables = "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:admin LISTEN_PIDFDID=77";
        let ended = activated(mode, variables).shell(TELL).run();
        ended
            .code(0)
            .said("mine")
            .said("2 web:admin gone")
            .was_silent();
    });
}

#[test]
fn the_child_is_named_wherever_stepdown_was() {
    let tell = "for pid in $WATCHDOG_PID $SYSTEMD_EXEC_PID; do test $pid = $$ && echo mine; done; \
                echo $WATCHDOG_USEC";
    both(|mode| {
        let variables = "WATCHDOG_PID=$$ WATCHDOG_USEC=3000000 SYSTEMD_EXEC_PID=$$";
        let ended = activated(mode, variables).shell(tell).run();
        ended.code(0).was_silent();
        assert_eq!(ended.stdout, "mine\nmine\n3000000\n");
        let variables = "WATCHDOG_PID=999999 SYSTEMD_EXEC_PID=999999";
        let told = "echo $WATCHDOG_PID $SYSTEMD_EXEC_PID ${LISTEN_PID-none}";
        let ended = activated(mode, variables).shell(told).run();
        assert_eq!(ended.stdout, "999999 999999 none\n");
    });
}

#[test]
fn sockets_of_another_process_stay_its_own() {
    both(|mode| {
        let variables = "LISTEN_PID=999999 LISTEN_FDS=1 LISTEN_PIDFDID=77";
        let ended = activated(mode, variables)
            .shell(&format!("{TELL}; echo $LISTEN_PID"))
            .run();
        ended.code(0).never_said("mine").said("1 77").said("999999");
        // Nobody is named where nobody was.
        let ended = Stepdown::in_mode(mode)
            .shell("echo ${LISTEN_PID-none}")
            .run();
        ended.said("none");
        for nonsense in ["''", "none", "-1", "99999999999999999999"] {
            let variables = format!("LISTEN_PID={nonsense}");
            let ended = activated(mode, &variables)
                .shell("echo \"<$LISTEN_PID>\"")
                .run();
            ended
                .code(0)
                .said(&format!("<{}>", nonsense.trim_matches('\'')));
        }
    });
}

#[test]
fn what_the_user_sets_is_stronger() {
    let ended = activated(Mode::Ordinary, "LISTEN_PID=$$")
        .args(["--env", "LISTEN_PID=4711"])
        .shell("echo $LISTEN_PID")
        .run();
    ended.code(0).said("4711");
}

#[test]
fn the_sockets_themselves_arrive() {
    both(|mode| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of loopback");
        let address = listener.local_addr().expect("it is bound");
        let deeds = binary::deeds().display();
        let script = format!("test \"$LISTEN_PID\" = $$ && echo ready; exec {deeds} answer 3");
        let run = activated(mode, "LISTEN_PID=$$ LISTEN_FDS=1").shell(&script);
        let mut run = with_socket(run, listener).start();
        run.says("ready");
        let mut client = TcpStream::connect(address).expect("somebody listens");
        client.write_all(b"hello").expect("somebody reads");
        run.says("hello");
        drop(client);
        run.wait().code(0).was_silent().nothing_left();
        // stepdown and everybody else has let go of it; but what another story forked meanwhile may
        // still be on its way to exec.
        wait_until("nobody listens", || TcpStream::connect(address).is_err());
    });
}

#[test]
fn hooks_get_neither_the_sockets_nor_their_name() {
    both(|mode| {
        let file = File::open("/dev/null").expect("a file");
        let hook = "sh -c 'test \"$LISTEN_PID\" = $$ && echo mine; \
                    test -e /proc/self/fd/3 && echo open; echo hook'";
        let run = activated(mode, "LISTEN_PID=$$ LISTEN_FDS=1")
            .args(["--pre-start", hook, "--post-stop", hook])
            .shell("test -e /proc/self/fd/3 && echo child has it");
        let ended = with_socket(run, file).run();
        ended.code(0).said("hook").said("child has it");
        ended.never_said("mine").never_said("open");
    });
}

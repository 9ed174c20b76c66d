//! As a service of systemd that was booted in a container: readiness, status text, restart, reload, watchdog, sockets.

use std::fs;
use std::process::Command;

use crate::support::docker::{self, Container, Image, container};
use crate::support::{binary, need, wait_until};

const SYSTEMD: &str = "/usr/lib/systemd/systemd";

/// Nothing but what a story starts.
const TARGET: &str = "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n";

/// `notifier` obeys what comes on its FIFO, which it holds open itself: the end of the file would be its own.
const NOTIFIES: &str = r#"
[Service]
Type=notify
ExecStartPre=/usr/bin/mkfifo /tmp/orders
ExecStart=/stepdown --ready-when notify --clean-stop -- \
    /bin/sh -c "exec 3<>/tmp/orders; exec /notifier /tmp/orders"
ExecStopPost=/usr/bin/rm -f /tmp/orders
SuccessExitStatus=3
KillMode=mixed
"#;

/// HUP is the command's own.
const RELOADED: &str = r#"
[Service]
Type=notify
ExecStart=/stepdown -- /bin/sh -c "trap 'echo again >>/tmp/reloaded' HUP; while :; do sleep 0.05; done"
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
"#;

/// HUP reads stepdown's file again.
const READ_AGAIN: &str = r#"
[Service]
Type=notify
ExecStart=/stepdown --config /tmp/stepdown.toml --reload-on HUP --clean-stop -- /actor wait
ExecReload=/bin/kill -HUP $MAINPID
StandardError=append:/tmp/log
KillMode=mixed
"#;

const WATCHED: &str = r#"
[Service]
Type=notify
ExecStart=/stepdown -- /actor wait
KillMode=mixed
WatchdogSec=300ms
"#;

const SOCKET: &str = "[Socket]\nListenStream=/run/web.sock\nFileDescriptorName=web\n";

const SERVER: &str = r#"
[Service]
Type=notify
ExecStart=/stepdown -- /listener quick
KillMode=mixed
"#;

/// A booted systemd.
struct Booted {
    _container: Container,
    name: String,
}

impl Booted {
    fn start() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = place.path().join(name);
            fs::write(&path, text).expect("a directory of ours");
            path
        };
        let image = Image::from_scratch("systemd")
            .link("/bin", "usr/bin")
            .link("/sbin", "usr/sbin")
            .link("/lib", "usr/lib")
            .link("/lib64", "usr/lib64")
            .file("/etc/passwd", "/etc/passwd")
            .file("/etc/group", "/etc/group")
            .file("/etc/machine-id", file("machine-id", ""))
            .file(
                "/etc/systemd/system/default.target",
                file("default", TARGET),
            )
            .file(
                "/etc/systemd/system/notifies.service",
                file("notifies", NOTIFIES),
            )
            .file(
                "/etc/systemd/system/watched.service",
                file("watched", WATCHED),
            )
            .file(
                "/etc/systemd/system/reloaded.service",
                file("reloaded", RELOADED),
            )
            .file(
                "/etc/systemd/system/read-again.service",
                file("read-again", READ_AGAIN),
            )
            .file("/etc/systemd/system/web.socket", file("socket", SOCKET))
            .file("/etc/systemd/system/web.service", file("server", SERVER))
            .file("/stepdown", binary::under_test_static())
            .file("/actor", binary::actor())
            .file("/notifier", binary::notifier())
            .file("/listener", binary::listener())
            .line("ENV container=docker PATH=/usr/sbin:/usr/bin")
            .build();
        let mut container = container(&image)
            .options(["--cap-add=SYS_ADMIN", "--cgroupns=private"])
            .options([
                "--security-opt=seccomp=unconfined",
                "--security-opt=apparmor=unconfined",
            ])
            .options([
                "--tmpfs=/run",
                "--tmpfs=/run/lock",
                "--tmpfs=/tmp:exec",
                "--volume=/usr:/usr:ro",
            ])
            .options(["--entrypoint", SYSTEMD])
            .start();
        container.runs();
        let name = container
            .inspect("{{.Name}}")
            .trim_start_matches('/')
            .to_owned();
        let booted = Self {
            _container: container,
            name,
        };
        wait_until("systemd has booted", || {
            booted.ctl(&["is-active", "basic.target"]) == "active"
        });
        booted
    }

    fn exec(&self, words: &[&str]) -> String {
        let ran = Command::new("docker")
            .args(["exec", &self.name])
            .args(words)
            .output();
        String::from_utf8_lossy(&ran.expect("docker").stdout)
            .trim()
            .to_owned()
    }

    fn ctl(&self, words: &[&str]) -> String {
        self.exec(&[&["systemctl"], words].concat())
    }

    fn property(&self, unit: &str, name: &str) -> String {
        self.ctl(&["show", "--value", "--property", name, unit])
    }

    #[track_caller]
    fn has(&self, unit: &str, name: &str, value: &str) {
        wait_until(&format!("{name} of {unit} is {value}"), || {
            self.property(unit, name) == value
        });
    }

    /// Tells the notifier; nobody waits where it does not read.
    fn order(&self, line: &str) {
        self.exec(&[
            "timeout",
            "10",
            "sh",
            "-c",
            "printf '%s\\n' \"$0\" >/tmp/orders",
            line,
        ]);
    }
}

fn can_boot() -> Result<(), String> {
    docker::available()?;
    binary::installed(SYSTEMD)
}

#[test]
fn a_unit_is_active_once_its_command_is_ready_and_has_its_status_text() {
    need!(can_boot());
    let systemd = Booted::start();
    systemd.ctl(&["start", "--no-block", "notifies"]);
    systemd.has("notifies", "ActiveState", "activating");
    systemd.has("notifies", "SubState", "start");
    systemd.order(r"say READY=1\nSTATUS=warm");
    systemd.has("notifies", "ActiveState", "active");
    systemd.has("notifies", "StatusText", "warm");
    let first = systemd.property("notifies", "MainPID");
    systemd.ctl(&["restart", "--no-block", "notifies"]);
    wait_until("there is another one", || {
        !["0", &first].contains(&systemd.property("notifies", "MainPID").as_str())
    });
    systemd.has("notifies", "SubState", "start");
    systemd.order("say READY=1");
    systemd.has("notifies", "ActiveState", "active");
    systemd.ctl(&["stop", "notifies"]);
    systemd.has("notifies", "ActiveState", "inactive");
    systemd.has("notifies", "Result", "success");
}

#[test]
fn a_reload_reaches_the_command() {
    need!(can_boot());
    let systemd = Booted::start();
    systemd.ctl(&["start", "reloaded"]);
    systemd.has("reloaded", "ActiveState", "active");
    let first = systemd.property("reloaded", "MainPID");
    // The shell may not have its handler yet: then HUP ends it, and there is no second one.
    wait_until("it has its handler", || {
        let catches = "grep -q '^SigCgt:.*[13579bdf]$' /proc/$(pgrep -P $0)/status && echo yes";
        systemd.exec(&["sh", "-c", catches, &first]) == "yes"
    });
    systemd.ctl(&["reload", "reloaded"]);
    wait_until("it has reloaded", || {
        systemd.exec(&["cat", "/tmp/reloaded"]) == "again"
    });
    systemd.has("reloaded", "ActiveState", "active");
    assert_eq!(systemd.property("reloaded", "MainPID"), first);
}

#[test]
fn a_reload_reads_the_file_of_stepdown_again() {
    need!(can_boot());
    let systemd = Booted::start();
    let write = |text: &str| {
        systemd.exec(&["sh", "-c", "printf '%s\n' \"$0\" >/tmp/stepdown.toml", text]);
    };
    write("grace = \"20s\"");
    systemd.ctl(&["start", "read-again"]);
    systemd.has("read-again", "ActiveState", "active");
    write("grace = \"30s\"");
    systemd.ctl(&["reload", "read-again"]);
    wait_until("it is told", || {
        systemd.exec(&["cat", "/tmp/log"]).contains("grace")
    });
    systemd.has("read-again", "ActiveState", "active");
    systemd.ctl(&["stop", "read-again"]);
    systemd.has("read-again", "Result", "success");
}

#[test]
fn systemds_watchdog_is_that_of_the_command() {
    need!(can_boot());
    let systemd = Booted::start();
    // The command never says WATCHDOG=1, and stepdown says it for nobody.
    systemd.ctl(&["start", "watched"]);
    systemd.has("watched", "ActiveState", "failed");
    systemd.has("watched", "Result", "watchdog");
}

#[test]
fn a_socket_of_systemd_is_passed_on_to_the_command() {
    need!(can_boot());
    let systemd = Booted::start();
    systemd.ctl(&["start", "web.socket"]);
    assert_eq!(systemd.property("web.service", "ActiveState"), "inactive");
    let ask = "import socket\ns = socket.socket(socket.AF_UNIX)\ns.settimeout(20)\ns.connect('/run/web.sock')\n\
        s.sendall(b'hello\\n')\nprint(s.recv(100).decode())";
    assert_eq!(systemd.exec(&["python3", "-c", ask]), "web hello");
    systemd.has("web.service", "ActiveState", "active");
    systemd.ctl(&["stop", "web.socket", "web.service"]);
    systemd.has("web.service", "Result", "success");
}

//! What the manual page says and the help has no room for, in the words of the pages of `docs`: a test compares them.

use crate::options::hooks::{POST_STOP, PRE_START, PRE_STOP};
use crate::options::{
    Opt, config, drain, left, liveness, main_pid, readiness, restart, signals, sockets, status,
    stop, told, wait,
};

/// What the values of options can be, and what has to be known of them.
pub(super) struct Values {
    pub(super) options: &'static [&'static Opt],
    /// The page that has the same.
    #[cfg_attr(not(test), expect(dead_code, reason = "the test reads it"))]
    pub(super) page: &'static str,
    /// What the second column of `forms` says.
    pub(super) heading: &'static str,
    /// Forms of the value, and what each means.
    pub(super) forms: Rows,
    pub(super) more: &'static str,
}

/// Terms, and what is said of each.
pub(super) type Rows = &'static [(&'static str, &'static str)];

/// The phases of a stop, as docs/stop.md numbers them.
pub(super) const PHASES: Rows = &[
    (
        "Not ready",
        "/readyz answers 503, and systemd is told STOPPING=1.",
    ),
    (
        "Pre-stop hooks",
        "one after the other, each with its timeout. The stop goes on when one fails.",
    ),
    (
        "Drain",
        "waits until all of these hold. --drain-delay has passed; the load balancers have noticed (--drain-checks); no \
         request is in flight (--drain-port), and the program itself says that it has nothing to do (--drain-until), for \
         which --drain-timeout from the beginning of the drain is the most. Without one of these options there is no \
         drain.",
    ),
    (
        "Ladder",
        "the steps of the stop, one after the other until the command has exited. Without options they are TERM to \
         the command, and then KILL to the command and all its descendants.",
    ),
    (
        "Sweep",
        "what the command has left running gets TERM and, --sweep-grace later, KILL. This includes daemons and \
         processes in other sessions.",
    ),
    (
        "Post-stop hooks",
        "run in any case, also after a crash or a failed start.",
    ),
];

/// The table of docs/exit-status.md.
pub(super) const EXIT_STATUS: Rows = &[
    ("the command's own", "the command has exited"),
    (
        "128+n",
        "the command died of signal n, or signal n asked for a stop before the command was started",
    ),
    ("124", "--max-runtime is over"),
    (
        "125",
        "stepdown itself has failed: a wrong command line, a failed pre-start hook, a --wait-for that does not hold \
         in time, a command that is not ready in time or hangs (--live-when)",
    ),
    (
        "126",
        "the command cannot be executed: it is a directory, may not be executed, or is for another machine",
    ),
    (
        "127",
        "the command, its interpreter or its loader is not found",
    ),
];

/// What `--assume` of explain takes, as docs/stop.md has it.
pub(super) const ASSUME: Rows = &[
    (
        "SIGNAL[:DUR], stdin[:DUR], eof[:DUR], exec[:DUR]",
        "the command exits so long after this step of the ladder",
    ),
    (
        "start:DUR",
        "the command exits by itself, so long after its start",
    ),
    (
        "fail[=CODE]:DUR",
        "one life of the command, which fails so long after its start; the last life is the one that is stopped",
    ),
    ("hang:DUR", "the command answers nothing from then on"),
    (
        "replace:DUR",
        "a replacement before the stop, whose next one is ready so long after its start",
    ),
];

pub(super) const VALUES: &[Values] = &[
    Values {
        options: &[&config::RELOAD_ON],
        page: "configuration.md",
        heading: "",
        forms: &[],
        more: "Everything about the stop changes: ladder, times, pre-stop and post-stop hooks, drain, sweep. The command, its \
               settings, pre-start hooks and the listeners do not; one line names the options that need a restart of \
               stepdown, also where it restarts the command. A faulty file is refused, and nothing changes.",
    },
    Values {
        options: &[&stop::LADDER],
        page: "configuration.md",
        heading: "what it can be",
        forms: &[
            (
                "ACTION",
                "a signal; SAME, the signal that asked for the stop; stdin=TEXT, a line on standard input; eof, the \
                 end of standard input; exec=COMMAND",
            ),
            (
                "TARGET",
                "child (default), group, tree: all living descendants",
            ),
            (
                "WAIT",
                "how long to wait for the end of the command; --grace if it is missing",
            ),
        ],
        more: "--ladder is a list of steps, ACTION[@TARGET][:WAIT] each, as in TERM:8s,QUIT@group:2s,KILL.",
    },
    Values {
        options: &[&stop::GRACE],
        page: "stop.md",
        heading: "",
        forms: &[],
        more: "As PID 1 a step waits until the platform sends KILL, because its grace period is over: docker stop after \
               10 s, docker stop -t 60 after 60 s. Then everything ends at once, and post-stop hooks, reports and \
               other files are lost. If they matter, set a --grace or a --deadline that is shorter than the grace \
               period of the platform.",
    },
    Values {
        options: &[&signals::ESCALATE_ON],
        page: "stop.md",
        heading: "",
        forms: &[],
        more: "INT a second time makes the stop faster. It ends the hook or the drain that is waited for. On the \
               ladder the command gets it, too, and the one after that takes the next step.",
    },
    Values {
        options: &[&drain::PORT],
        page: "drain.md",
        heading: "what",
        forms: &[
            ("http", "HTTP/1 in the clear; the default"),
            ("tls", "HTTP/1 behind TLS"),
            ("h2", "HTTP/2 and gRPC, with TLS or without"),
            ("ws", "WebSockets"),
            ("opaque", "anything else"),
        ],
        more: "What a port speaks decides how its connections are judged. It stands behind the port: --drain-port \
               8080,8443/tls.",
    },
    Values {
        options: &[&drain::CHECKS],
        page: "drain.md",
        heading: "",
        forms: &[],
        more: "N is what HAProxy calls fall. Clients are told apart by their address.",
    },
    Values {
        options: &[&drain::UNTIL],
        page: "drain.md",
        heading: "holds when",
        forms: &[
            ("http:URL", "the answer is 2xx"),
            (
                "metric:URL#NAME[{LABEL=\"VALUE\"}]",
                "the series of this name, with these labels, add up to 0 (Prometheus text)",
            ),
            (
                "exec:COMMAND",
                "the command exits with 0; it gets the variables of hooks",
            ),
            (
                "notify",
                "the program says X_STEPDOWN_IN_FLIGHT=0 by sd_notify(3); a larger number is logged as progress",
            ),
        ],
        more: "It works together with --drain-port or alone; if there are several conditions, all must hold.",
    },
    Values {
        options: &[&wait::WAIT_FOR],
        page: "waiting.md",
        heading: "holds once",
        forms: &[
            ("tcp:HOST:PORT", "the server takes a connection"),
            (
                "http:URL",
                "the answer is 2xx; a method may stand before the URL, as in http:HEAD http://db/",
            ),
            (
                "exec:COMMAND",
                "the command exits with 0, as in exec:pg_isready -h db",
            ),
            ("file:PATH", "there is such a file or directory"),
        ],
        more: "Several conditions are waited for one after the other; all must hold. Pre-start hooks run after them.",
    },
    Values {
        options: &[&PRE_START, &PRE_STOP, &POST_STOP],
        page: "hooks.md",
        heading: "what it does",
        forms: &[
            ("a command line", "runs a program, without a shell"),
            (
                "[METHOD ]http://HOST[:PORT]/PATH",
                "sends an HTTP request, a GET without METHOD",
            ),
            ("udp://HOST:PORT/TEXT", "sends one datagram; %00 is a byte"),
            (
                "mdns://INSTANCE._http._tcp.local[:PORT]",
                "multicast DNS: tells the neighbours at once that the service is gone; %20 is a blank. With PORT it \
                 also takes back what was announced of the server itself",
            ),
        ],
        more: "A command line is split into words as a shell would do it, but no shell runs it. An unquoted &&, |, ;, \
               > or $NAME is therefore an error: write sh -c 'COMMAND'.",
    },
    Values {
        options: &[&readiness::READY_WHEN],
        page: "health.md",
        heading: "the command is ready once",
        forms: &[
            (
                "tcp:PORT[,PORT]",
                "it, or a process below it, listens on these ports. stepdown does not connect to them",
            ),
            ("http:URL", "the answer is 2xx"),
            ("exec:COMMAND", "the command exits with 0"),
            ("file:PATH", "the file is made or changed"),
            ("notify", "it says READY=1 (sd_notify(3))"),
        ],
        more: "Without this option the command is ready once it listens on the ports of --drain-port, and without such \
               ports, or with auto, from its start.",
    },
    Values {
        options: &[&liveness::LIVE_WHEN],
        page: "liveness.md",
        heading: "the command is alive as long as",
        forms: &[
            ("http:URL", "the answer is 2xx"),
            ("exec:COMMAND", "the command exits with 0"),
            (
                "file:PATH",
                "the file has changed since the last check: for a worker without a port, which touches the file \
                 after each job",
            ),
            (
                "watchdog:DUR",
                "it says WATCHDOG=1 at least that often (sd_notify(3); NOTIFY_SOCKET and WATCHDOG_USEC are set for it)",
            ),
            (
                "tcp:PORT[,PORT]",
                "it, or a process below it, listens on these ports; whether it still answers, only http: and exec: \
                 find out",
            ),
        ],
        more: "--live-when finds out that a command hangs: it still runs, but does nothing. Such a command is stopped like \
               any other, with pre-stop hooks, drain and ladder. Then stepdown exits with 125, or starts it again if \
               --restart says so.",
    },
    Values {
        options: &[&restart::RESTART_DELAY],
        page: "restart.md",
        heading: "",
        forms: &[],
        more: "Each time it is up to a fifth longer or shorter, so that many containers do not start at once. After the \
               command has been ready for a minute, it begins with the first delay again.",
    },
    Values {
        options: &[&restart::REPLACE_ON],
        page: "replacement.md",
        heading: "",
        forms: &[],
        more: "The command is started once more, beside the one that serves, with a listening socket of its own on the \
               same port. Once it is ready, all new connections go to it. The one before it finishes the requests \
               that it has, by the rules of the drain: --drain-port auto if nothing else is said, and without a \
               delay. Then it is stopped.",
    },
    Values {
        options: &[&main_pid::MAIN_PID],
        page: "hand-over.md",
        heading: "the next one is",
        forms: &[
            ("file:PATH", "the process whose pid is in the file"),
            (
                "notify",
                "the process that the last MAINPID= has named (sd_notify(3))",
            ),
        ],
        more: "If nobody is named yet and the command exits with 0, the name is waited for: until --ready-timeout if the \
               command is not ready yet, otherwise for 10 s, and only as long as a process is left.",
    },
    Values {
        options: &[&sockets::LISTEN],
        page: "sockets.md",
        heading: "listens on",
        forms: &[
            (
                "[NAME=]ADDR:PORT",
                "this address and TCP port. :PORT is all addresses, IPv4 too; for port 0 the kernel chooses one, and \
                 one line says which",
            ),
            (
                "[NAME=]unix:PATH",
                "this unix socket, whose mode is what the umask leaves",
            ),
        ],
        more: "The command finds the sockets as descriptors from 3 on, in the order of the options. LISTEN_FDS is their \
               number, LISTEN_FDNAMES are their names, and LISTEN_PID is the pid of the command.",
    },
    Values {
        options: &[&sockets::FD_STORE_MAX],
        page: "sockets.md",
        heading: "",
        forms: &[],
        more: "The command hands them over with FDSTORE=1 (sd_pid_notify_with_fds(3)), and the next one finds them \
               behind the sockets, under the name of FDNAME= or stored.",
    },
    Values {
        options: &[&left::CGROUP],
        page: "configuration.md",
        heading: "",
        forms: &[],
        more: "It needs a writable cgroup v2; Docker mounts it read-only.",
    },
    Values {
        options: &[&status::SUCCESS_EXIT, &status::CLEAN_STOP],
        page: "exit-status.md",
        heading: "",
        forms: &[],
        more: "A stop that comes before the command is started counts as if its signal had ended the command, and both \
               options turn it into 0: otherwise the status would depend on how far the start was. So neither \
               --clean-stop nor a signal in --success-exit is for a job whose 0 means that the work is done: a stop is \
               then 0, whether the work is half done or was never begun.",
    },
    Values {
        options: &[&told::TERMINATION_LOG],
        page: "after-the-run.md",
        heading: "",
        forms: &[],
        more: "It has at most 4096 bytes, as Kubernetes asks; the oldest lines are left out. An unfinished one is written \
               when a stop is asked for, so there is something to read even if the platform kills stepdown.",
    },
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// A page without its markup, each paragraph and row on one line.
    fn plain(page: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("docs")
            .join(page);
        let text = fs::read_to_string(path).unwrap();
        let mut lines = String::new();
        for line in text.lines() {
            let numbered = line
                .split_once(". ")
                .filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
            let line = numbered.map_or(line, |(_, rest)| rest);
            let line = line.strip_prefix("- ").unwrap_or(line).trim();
            lines.push_str(line);
            let stays = line.is_empty() || line.starts_with('|');
            lines.push(if stays { '\n' } else { ' ' });
        }
        without_links(&lines).replace('`', "").replace("**", "")
    }

    /// `[text](page)` and `[text][name]` become the text, except in code.
    fn without_links(text: &str) -> String {
        let mut out = String::new();
        let mut is_code = false;
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            let after = rest.split_at(character.len_utf8()).1;
            is_code ^= character == '`';
            let link = (character == '[' && !is_code).then(|| link(after));
            rest = match link.flatten() {
                Some((words, behind)) => {
                    out.push_str(words);
                    behind
                }
                None => {
                    out.push(character);
                    after
                }
            };
        }
        out
    }

    /// The text of a link whose `[` has been read, and what follows the link.
    fn link(after: &str) -> Option<(&str, &str)> {
        let (words, target) = after.split_once(']')?;
        let close = match target.chars().next()? {
            '(' => ')',
            '[' => ']',
            _ => return None,
        };
        Some((words, target.split_once(close)?.1))
    }

    fn assert_rows(page: &str, rows: Rows) {
        let text = plain(page);
        for (term, meaning) in rows {
            let row = format!("| {term} | {meaning} |");
            assert!(text.contains(&row), "{page} has no {row}\n{text}");
        }
    }

    #[test]
    fn the_pages_say_the_same() {
        for values in VALUES {
            assert_rows(values.page, values.forms);
            let text = plain(values.page);
            let heading = format!("| {} |", values.heading);
            let is_there = text.lines().any(|line| line.contains(&heading));
            assert!(values.forms.is_empty() || is_there, "{heading}\n{text}");
            assert!(
                text.contains(values.more),
                "{}: {}\n{text}",
                values.page,
                values.more
            );
        }
        assert_rows("exit-status.md", EXIT_STATUS);
        assert_rows("stop.md", ASSUME);
        let stop = plain("stop.md");
        for (name, what) in PHASES {
            assert!(
                stop.contains(&format!("{name}: {what}")),
                "{name}: {what}\n{stop}"
            );
        }
    }
}

//! `stepdown check` and programs with known defects: each gets its verdict, and its clean twin passes.
//!
//! `STEPDOWN_GALLERY_RUNS` says how often each is run; `scripts/gallery` sets it to 50.

use std::ffi::OsString;

use crate::support::ended::Ended;
use crate::support::net::free_port;
use crate::support::stepdown::can_be_pid1;
use crate::support::{BOUND, Stepdown, binary, need};

/// A program of the gallery and the options with which its defect must show.
struct Piece<'a> {
    options: Vec<&'a str>,
    name: &'a str,
    port: Option<u16>,
    /// How many times as long everything takes, see [`at_any_pace`].
    pace: Option<u32>,
    runs: u32,
}

fn piece<'a>(name: &'a str, options: &'a [&'a str]) -> Piece<'a> {
    Piece {
        options: options.to_vec(),
        name,
        port: None,
        pace: None,
        runs: runs(1),
    }
}

/// How often: what the environment says, else what the suite has time for.
fn runs(usual: u32) -> u32 {
    let wanted = std::env::var("STEPDOWN_GALLERY_RUNS").ok();
    wanted.map_or(usual, |wanted| wanted.parse().expect("a number of runs"))
}

impl Piece<'_> {
    /// So often also without anybody asking: it takes next to no time.
    fn often(mut self) -> Self {
        self.runs = runs(50);
        self
    }

    fn on_port(mut self) -> Self {
        self.port = Some(free_port());
        self
    }

    fn check(&self, state: &str) -> Ended {
        let mut command: Vec<OsString> = vec![binary::gallery().into()];
        command.extend([self.name.into(), state.into()]);
        command.extend(self.port.map(|port| port.to_string().into()));
        command.extend(self.pace.map(|pace| pace.to_string().into()));
        self.check_command(command)
    }

    fn check_command(&self, command: Vec<OsString>) -> Ended {
        let port = self.port.map(|port| port.to_string()).unwrap_or_default();
        let options = self
            .options
            .iter()
            .map(|option| option.replace("PORT", &port));
        let sweeps = self
            .options
            .iter()
            .any(|option| option.starts_with("--offsets"));
        let ready = (!sweeps).then(|| "--ready-line=ready".to_owned());
        Stepdown::new()
            .args(["check".to_owned(), format!("--runs={}", self.runs)])
            .args(options.chain(ready))
            .child(command)
            .start()
            .wait_within(BOUND * (1 + self.runs) * self.pace.unwrap_or(1))
    }

    /// The broken one gets this verdict in every run, the clean one passes in every run.
    #[track_caller]
    fn shows(&self, promise: &str, words: &[&str]) {
        shown(&self.check("broken"), self.runs, promise, words);
        passed(&self.unhurried().check("clean"), self.runs);
    }

    /// With all the time that there is: how soon KILL comes is for broken ones only. Where the time is what is
    /// promised, it is whole seconds.
    fn unhurried(&self) -> Self {
        let is_short = |option: &str| {
            let time = option
                .strip_prefix("--within=")
                .or(option.strip_prefix("--grace="));
            time.is_some_and(|time| time.ends_with("ms"))
        };
        let all = self.options.iter().copied();
        Self {
            options: all.filter(|option| !is_short(option)).collect(),
            ..*self
        }
    }
}

#[track_caller]
fn shown(ended: &Ended, runs: u32, promise: &str, words: &[&str]) {
    ended.code(1).nothing_left();
    let sentence = match runs {
        1 => "A promise was broken.".to_owned(),
        runs => format!("A promise was broken in {runs} of {runs} runs."),
    };
    ended.said(&sentence);
    let head = match runs {
        1 => format!("{promise}: broken"),
        runs => format!("{promise}: broken in {runs} of {runs} runs"),
    };
    ended.said(&head);
    for word in words {
        assert!(ended.stdout.contains(word), "{word:?} in\n{}", ended.told());
    }
}

#[track_caller]
fn passed(ended: &Ended, runs: u32) {
    ended.code(0).nothing_left();
    ended.said(&match runs {
        1 => "All promises held.".to_owned(),
        runs => format!("All promises held in {runs} runs."),
    });
}

#[test]
fn no_handler() {
    need!(can_be_pid1());
    let words = [
        "has no handler for TERM",
        "put an init in front (ENTRYPOINT [\"stepdown\", \"--\"], docker run --init)",
    ];
    let options = ["--as-pid1", "--within=300ms", "--grace=300ms"];
    let piece = piece("no-handler", &options);
    shown(&piece.check("broken"), piece.runs, "no-kill", &words);
    let often = self::piece("no-handler", &["--as-pid1"]).often();
    passed(&often.check("clean"), often.runs);
}

#[test]
fn no_handler_by_its_exit_status() {
    piece("no-handler", &["--expect-exit=0"])
        .often()
        .shows("expect-exit", &["happened: died of TERM", "expect 143"]);
}

/// What is told by moments after a start: on a machine that is busy, the start of a program may take longer than
/// what is to be seen in it. So everything is slower the next time; what is wrong stays wrong at any pace.
fn at_any_pace(piece: impl Fn(u32) -> Ended, shown: impl Fn(&Ended, u32) -> Result<(), String>) {
    let mut whys = Vec::new();
    for pace in [1, 4, 8] {
        let ended = piece(pace);
        match shown(&ended, pace) {
            Ok(()) => return,
            Err(why) => whys.push(format!("{pace} times as slow: {why}\n{}", ended.told())),
        }
    }
    panic!("{}", whys.join("\n"));
}

/// A piece of the gallery in runs at these moments after its start.
fn swept(name: &str, state: &str, pace: u32, sweep: [u32; 3], more: &[String]) -> Ended {
    let [from, to, step] = sweep.map(|time| format!("{}ms", time * pace));
    let sweep = format!("--offsets={from}..{to}/{step}");
    let options: Vec<&str> = std::iter::once(&sweep)
        .chain(more)
        .map(String::as_str)
        .collect();
    let mut piece = piece(name, &options);
    piece.pace = Some(pace);
    piece.check(state)
}

/// It is broken, and a window that begins and ends like this is told.
fn has_window(ended: &Ended, begins: &str, ends: &str) -> Result<(), String> {
    let is_window = |line: &str| line.starts_with(begins) && line.ends_with(ends);
    if ended.status.code() != Some(1) {
        Err(format!("{}, not 1", ended.status))
    } else if ended.stdout.lines().any(is_window) {
        Ok(())
    } else {
        Err(format!("no window {begins:?} ... {ends:?}"))
    }
}

/// All runs of all these moments held.
fn all_held(ended: &Ended, moments: u32) -> Result<(), String> {
    let sentence = format!("All promises held in {} runs.", moments * runs(1));
    if ended.status.code() == Some(0) && ended.stdout.lines().any(|line| line == sentence) {
        return Ok(());
    }
    Err(format!("{}, and not: {sentence}", ended.status))
}

#[test]
fn late_handler() {
    need!(can_be_pid1());
    let broken = |pace: u32| {
        let times = [
            "--as-pid1".to_owned(),
            "--within=60s".to_owned(),
            format!("--grace={}ms", 400 * pace),
        ];
        swept("late-handler", "broken", pace, [0, 900, 100], &times)
    };
    at_any_pace(broken, |ended, _| {
        ended.nothing_left();
        let ends = " after the start is lost: the handler is installed late";
        has_window(ended, "TERM between 0 s and ", ends)?;
        let reason = "had no handler for TERM yet when it came";
        let is_told = ended.stdout.contains(reason);
        is_told.then_some(()).ok_or(format!("not: {reason}"))
    });
    // Its twin handles TERM from its first moment on, but the first moments of any program are libc's.
    let clean = |pace: u32| {
        let alone = ["--as-pid1".to_owned()];
        swept("late-handler", "clean", pace, [200, 400, 50], &alone)
    };
    at_any_pace(clean, |ended, _| {
        ended.nothing_left();
        all_held(ended, 5)
    });
}

/// The signal is not lost: it is acted on too late, as long as the program starts.
#[test]
fn slow_start() {
    let moments = [100, 1700, 200];
    let broken = |pace: u32| {
        let times = [
            format!("--within={}ms", 100 * pace),
            "--grace=60s".to_owned(),
            "--expect-exit=0".to_owned(),
        ];
        swept("slow-start", "broken", pace, moments, &times)
    };
    at_any_pace(broken, |ended, pace| {
        ended.nothing_left();
        let begins = format!("TERM between {} ms and ", 100 * pace);
        let ends = " is slow: it is acted on only once the start is over";
        has_window(ended, &begins, ends)
    });
    // Its twin acts on TERM at once, which ends its sleep early.
    let clean = |pace: u32| {
        let expected = ["--expect-exit=0".to_owned()];
        swept("slow-start", "clean", pace, moments, &expected)
    };
    at_any_pace(clean, |ended, _| {
        ended.nothing_left();
        all_held(ended, 9)
    });
}

#[test]
fn term_blocked() {
    piece("blocked", &["--within=300ms"]).shows(
        "no-kill",
        &[
            "gallery blocks TERM and has not taken it",
            "way out:  unblock TERM",
        ],
    );
}

#[test]
fn handler_that_hangs() {
    piece("hanging-handler", &["--within=300ms"])
        .shows("no-kill", &["gallery handles TERM and is not done"]);
}

#[test]
fn orphan() {
    piece("orphan", &[]).often().shows(
        "nothing-left",
        &[
            "1 left behind: ",
            "ended without waiting for gallery, which it had started",
        ],
    );
}

#[test]
fn double_fork() {
    piece("double-fork", &[]).often().shows(
        "nothing-left",
        &["1 left behind: ", "is in a session of its own"],
    );
}

#[test]
fn port_kept() {
    piece("port-kept", &["--allow-left", "--port-free=PORT"])
        .on_port()
        .shows("port-free", &["somebody still listens on port"]);
}

#[test]
fn slow_drain() {
    piece("slow-drain", &["--within=6s", "--grace=60s"]).shows(
        "within",
        &["SLOW", "its way down takes longer than was promised"],
    );
}

#[test]
fn exit_code_swallowed() {
    let script = |rest: &str| -> Vec<OsString> {
        let gallery = binary::gallery().display();
        // $! is there with the child itself: a variable of the shell's own is set when the child may have
        // said already that it is ready.
        let script =
            format!("trap 'kill $!; wait $!; {rest}' TERM; {gallery} exit-code clean & wait");
        vec!["sh".into(), "-c".into(), script.into()]
    };
    let piece = piece("exit-code", &["--expect-exit=3"]);
    let swallowed = piece.check_command(script("exit 0"));
    shown(
        &swallowed,
        piece.runs,
        "expect-exit",
        &["is lost on the way"],
    );
    passed(&piece.check_command(script("exit $?")), piece.runs);
}

#[test]
fn term_eaten_by_a_shell() {
    need!(can_be_pid1());
    let script = |before: &str| -> Vec<OsString> {
        let gallery = binary::gallery().display();
        let script = format!("{before} {gallery} hanging-handler clean; exit $?");
        vec!["sh".into(), "-c".into(), script.into()]
    };
    let piece = piece("", &["--as-pid1", "--within=400ms"]);
    let eaten = piece.check_command(script(""));
    shown(
        &eaten,
        piece.runs,
        "no-kill",
        &[
            "sh is PID 1 and a shell without a trap for TERM",
            "gallery never gets it",
        ],
    );
    passed(&piece.unhurried().check_command(script("exec")), piece.runs);
}

#[test]
fn a_shell_that_leaves_its_child_alone() {
    let script = |before: &str| -> Vec<OsString> {
        let gallery = binary::gallery().display();
        let script = format!("{before} {gallery} hanging-handler clean; exit $?");
        vec!["sh".into(), "-c".into(), script.into()]
    };
    let piece = piece("", &[]).often();
    let alone = piece.check_command(script(""));
    shown(
        &alone,
        piece.runs,
        "nothing-left",
        &[
            "gallery never gets TERM: ",
            " sh, a shell above it, ends on TERM",
        ],
    );
    passed(&piece.unhurried().check_command(script("exec")), piece.runs);
}

#[test]
fn thread_deadlock_at_exit() {
    piece("deadlock", &["--within=300ms"])
        .shows("no-kill", &["handles TERM and is not done, 2 threads"]);
}

#[test]
fn requests_cut_off() {
    let options = [
        "--in-flight=http://127.0.0.1:PORT/",
        "--in-flight-count=4",
        "--port-free=PORT",
    ];
    piece("requests", &options)
        .on_port()
        .shows("in-flight", &["happened: 0 of 4 completed"]);
}

#[test]
fn some_requests_may_be_promised() {
    let options = ["--in-flight=http://127.0.0.1:PORT/", "--in-flight-count=4"];
    for (percent, code) in [("--min-complete=0", 0), ("--min-complete=1%", 1)] {
        let options = [&options[..], &[percent]].concat();
        let ended = piece("requests", &options).on_port().check("broken");
        ended.code(code).nothing_left();
    }
}

#[test]
fn requests_that_are_over_before_the_signal_prove_nothing() {
    let options = ["--in-flight=http://127.0.0.1:PORT/", "--after=1ms"];
    let mut piece = piece("no-handler", &options).on_port();
    piece.runs = 1;
    // Nobody listens there.
    let ended = piece.check("clean");
    ended
        .code(125)
        .said("in-flight: could not be checked")
        .nothing_left();
}

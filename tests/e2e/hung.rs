//! A file system that does not answer holds up who looks into it, and never stepdown.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::identity::is_root;
use crate::support::binary::installed;
use crate::support::ended::Ended;
use crate::support::running::Running;
use crate::support::{Stepdown, binary, need};

const NSENTER: &str = "/usr/bin/nsenter";

/// A mount in a namespace of its own, which ends with the process that should answer.
struct Hung {
    server: Child,
    says: BufReader<ChildStdout>,
    directory: TempDir,
}

impl Hung {
    fn mounted() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut server = Command::new(binary::hung())
            .arg("serve")
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was just built");
        let says = BufReader::new(server.stdout.take().expect("a pipe"));
        let mut hung = Self {
            server,
            says,
            directory,
        };
        hung.says("mounted");
        hung
    }

    #[track_caller]
    fn says(&mut self, expected: &str) {
        let mut line = String::new();
        self.says.read_line(&mut line).expect("a pipe");
        assert_eq!(line.trim_end(), expected);
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// stepdown where the mount can be seen.
    fn stepdown(&self) -> Stepdown {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.server.id());
        let stepdown = Stepdown::new().program(NSENTER).args([namespace]);
        stepdown.args([binary::under_test()])
    }

    /// Waits for the end of the run. What still hangs then has its pipes.
    #[track_caller]
    fn lets_go_after(self, mut run: Running) -> Ended {
        run.logs("stopped in");
        drop(self);
        run.wait()
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn can_hang() -> Result<(), String> {
    is_root()?;
    installed(NSENTER)?;
    match std::fs::File::open("/dev/fuse") {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("no file system can be served: /dev/fuse: {error}")),
    }
}

#[test]
fn a_hook_that_cannot_be_executed_yet_takes_its_timeout() {
    need!(can_hang());
    let hung = Hung::mounted();
    let hook = hung.path("hang");
    let mut run = hung
        .stepdown()
        .args(["--deadline=4s", "--hook-timeout=300ms"])
        .args(["--pre-stop", &hook])
        .shell("trap 'echo obeyed; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    run.logs("killed: its time was over");
    run.says("obeyed");
    hung.lets_go_after(run).code(3);
}

#[test]
fn a_check_that_cannot_be_executed_yet_is_no_answer() {
    need!(can_hang());
    let hung = Hung::mounted();
    let check = format!("exec:{}", hung.path("hang"));
    let mut run = hung
        .stepdown()
        .args([
            "--deadline=4s",
            "--live-every=100ms",
            "--live-timeout=300ms",
        ])
        .args(["--live-failures=2", "--live-when", &check])
        .shell("trap 'echo obeyed; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
        .start();
    run.logs("not alive, 2 of 2: no end of it within 300ms");
    run.says("obeyed");
    hung.lets_go_after(run).code(125);
}

#[test]
fn a_file_that_cannot_be_looked_at_is_waited_for_by_others() {
    need!(can_hang());
    for option in ["--ready-when", "--main-pid"] {
        let hung = Hung::mounted();
        let file = format!("file:{}", hung.path("hang"));
        let mut run = hung
            .stepdown()
            .args(["--deadline=4s", option, &file, "-v"])
            .shell("trap 'echo obeyed; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
            .start();
        run.says("ready");
        if option == "--ready-when" {
            run.logs("not ready yet: ");
        }
        run.signal(Signal::SIGTERM).says("obeyed");
        hung.lets_go_after(run).code(3);
    }
}

/// The kernel reads a command line in the memory of its process, and waits where that is being mapped.
#[test]
fn a_process_that_hangs_while_it_maps_is_told_and_killed_in_time() {
    need!(can_hang());
    let mut hung = Hung::mounted();
    let file = hung.path("file");
    let words = |mode: &str| [binary::hung().into(), mode.into(), file.clone().into()];
    // The page that is awaited.
    let reads = Stepdown::new()
        .program(NSENTER)
        .args([format!("--mount=/proc/{}/ns/mnt", hung.server.id())]);
    let _reads = reads.args::<std::ffi::OsString>(words("read")).start();
    hung.says("read");
    let mut run = hung
        .stepdown()
        .args(["--deadline=10s"])
        .child::<std::ffi::OsString>(words("map"))
        .start();
    run.says("maps").signal(Signal::SIGTERM);
    run.logs("hangs in the kernel");
    run.logs("KILL to the tree");
    // Now it can end.
    drop(hung);
    run.wait().logged(&["in 9.5 s"]);
}

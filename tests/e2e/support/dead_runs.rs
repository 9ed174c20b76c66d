//! What a run of the tests that was killed has left in Docker goes when the next one first needs Docker.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use nix::unistd::Pid;

use super::machine::{self, LABEL};
use super::proc;

/// Kinds of things, how those of the tests are listed, and how they are removed. Containers hold images.
const KINDS: [([&str; 2], [&str; 3]); 2] = [
    (["ps", "--all"], ["rm", "--force", "--volumes"]),
    (["image", "ls"], ["image", "rm", "--force"]),
];

/// Removes it, once in a run.
pub(crate) fn remove_once() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(remove);
}

/// Removes the containers and images of runs that are over. Those of other machines are left for a day.
pub(crate) fn remove() {
    for (list, remove) in KINDS {
        let mut of_runs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let format = format!("{{{{.ID}}}} {{{{.Label \"{LABEL}\"}}}}");
        let with_label = ["--filter", &format!("label={LABEL}")];
        // `image ls` shows no labels: each is asked for its own.
        let lines = if list[0] == "ps" {
            machine::docker(list, with_label.into_iter().chain(["--format", &format]))
        } else {
            let ids = machine::docker(list, with_label.into_iter().chain(["--quiet"]));
            let show = format!("{{{{.Id}}}} {{{{index .Config.Labels \"{LABEL}\"}}}}");
            let inspect = ["image", "inspect", "--format"];
            let has_some = !ids.is_empty();
            let of_all = || machine::docker(inspect, [show].into_iter().chain(ids));
            has_some.then(of_all).unwrap_or_default()
        };
        for (id, run) in lines.iter().filter_map(|line| line.split_once(' ')) {
            of_runs
                .entry(run.to_owned())
                .or_default()
                .push(id.to_owned());
        }
        for (_, ids) in of_runs.into_iter().filter(|(run, _)| is_over(run)) {
            machine::docker(remove, ids);
        }
    }
    let old = [
        "--filter",
        &format!("label={LABEL}"),
        "--filter",
        "until=24h",
    ];
    machine::docker(["image", "prune", "--all", "--force"], old);
}

/// Whether a run of this machine, as far as our processes are concerned, has no process any more.
fn is_over(run: &str) -> bool {
    let rest = run.strip_prefix(&format!("e2e-{}-", machine::place()));
    let numbers = rest.and_then(|rest| rest.split_once('-'));
    let Some((Ok(pid), Ok(started))) =
        numbers.map(|(pid, started)| (pid.parse().map(Pid::from_raw), started.parse::<u64>()))
    else {
        return false;
    };
    proc::process(pid).is_none_or(|process| process.started != started)
}

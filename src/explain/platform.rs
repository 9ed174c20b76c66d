//! What stops containers and services: by which signal, and how long it waits before KILL. It informs, and changes
//! nothing of what a run does.

use std::time::Duration;

use crate::words::fault::{Error, Fault};
use crate::words::signal::Signal;
use crate::words::suggest;

/// A platform as it is where nobody has set anything.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Platform {
    pub(crate) name: &'static str,
    /// What it sends first.
    pub(crate) signal: Signal,
    /// From that signal to KILL.
    pub(crate) grace: Duration,
    /// Where the grace is set; `None` where nobody can.
    pub(crate) setting: Option<&'static str>,
    /// Whether it starts what it stops as PID 1, in a container.
    pub(crate) in_container: bool,
    /// What else is to be known of it.
    pub(crate) note: Option<&'static str>,
    /// Whose words these are.
    pub(crate) source: &'static str,
    /// When they were read, as year and month.
    pub(crate) date: &'static str,
}

const fn row(
    name: &'static str,
    signal: Signal,
    seconds: u64,
    setting: Option<&'static str>,
    source: &'static str,
) -> Platform {
    Platform {
        name,
        signal,
        grace: Duration::from_secs(seconds),
        setting,
        in_container: true,
        note: None,
        source,
        date: "2026-11",
    }
}

const fn noted(platform: Platform, note: &'static str) -> Platform {
    Platform {
        note: Some(note),
        ..platform
    }
}

const fn outside_containers(platform: Platform) -> Platform {
    Platform {
        in_container: false,
        ..platform
    }
}

/// An image may name the signal.
const IMAGE: &str = "STOPSIGNAL of the image replaces TERM";

pub(crate) const PLATFORMS: [Platform; 13] = [
    noted(
        row(
            "docker",
            Signal::TERM,
            10,
            Some("docker run --stop-timeout, docker stop -t"),
            "https://docs.docker.com/reference/cli/docker/container/stop/",
        ),
        IMAGE,
    ),
    noted(
        row(
            "compose",
            Signal::TERM,
            10,
            Some("stop_grace_period"),
            "https://docs.docker.com/reference/compose-file/services/#stop_grace_period",
        ),
        IMAGE,
    ),
    noted(
        row(
            "swarm",
            Signal::TERM,
            10,
            Some("--stop-grace-period, stop_grace_period"),
            "https://docs.docker.com/reference/cli/docker/service/create/",
        ),
        IMAGE,
    ),
    noted(
        row(
            "kubernetes",
            Signal::TERM,
            30,
            Some("terminationGracePeriodSeconds"),
            "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination",
        ),
        "a preStop hook runs before TERM and takes its time from the grace",
    ),
    noted(
        row(
            "ecs",
            Signal::TERM,
            30,
            Some("stopTimeout, on Fargate 120 s at most"),
            "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html",
        ),
        IMAGE,
    ),
    row(
        "cloud-run",
        Signal::TERM,
        10,
        None,
        "https://cloud.google.com/run/docs/container-contract",
    ),
    row(
        "fly",
        Signal::INT,
        5,
        Some("kill_timeout"),
        "https://fly.io/docs/reference/configuration/",
    ),
    noted(
        row(
            "heroku",
            Signal::TERM,
            30,
            None,
            "https://devcenter.heroku.com/articles/dyno-shutdown-behavior",
        ),
        "every process of the dyno gets TERM",
    ),
    noted(
        row(
            "nomad",
            Signal::INT,
            5,
            Some("kill_timeout"),
            "https://developer.hashicorp.com/nomad/docs/job-declare/exit-signals",
        ),
        "a task of the Docker driver gets TERM",
    ),
    row(
        "render",
        Signal::TERM,
        30,
        Some("maxShutdownDelaySeconds, 300 s at most"),
        "https://render.com/docs/deploys",
    ),
    row(
        "azure-container-apps",
        Signal::TERM,
        30,
        Some("terminationGracePeriodSeconds"),
        "https://learn.microsoft.com/en-us/azure/container-apps/application-lifecycle-management",
    ),
    outside_containers(noted(
        row(
            "github-actions",
            Signal::INT,
            10,
            None,
            "https://docs.github.com/en/actions/reference/workflow-cancellation-reference",
        ),
        "TERM follows after 7.5 s",
    )),
    outside_containers(noted(
        row(
            "systemd",
            Signal::TERM,
            90,
            Some("TimeoutStopSec="),
            "https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html",
        ),
        "with the default KillMode= every process of the unit gets TERM",
    )),
];

/// The platform that is called so.
///
/// # Errors
/// None is.
pub(crate) fn named(name: &str) -> Result<&'static Platform, Error> {
    let lower = name.to_ascii_lowercase();
    if let Some(platform) = PLATFORMS.iter().find(|platform| platform.name == lower) {
        return Ok(platform);
    }
    let names = || PLATFORMS.iter().map(|platform| platform.name);
    let list = names().collect::<Vec<_>>().join(", ");
    let near = suggest::nearest(&lower, names());
    let way_out = match near {
        Some(near) => format!("did you mean {near}? There are {list}"),
        None => format!("there are {list}; --fits takes any other grace"),
    };
    let fault = Fault::new(format!("there is no platform {name:?} in the table"));
    Err(Error::new("--platform", fault.way_out(way_out)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_source_and_a_date() {
        for platform in &PLATFORMS {
            let name = platform.name;
            assert!(platform.source.starts_with("https://"), "{name}");
            let (year, month) = platform.date.split_once('-').expect(name);
            assert!((2026..2100).contains(&year.parse::<u32>().unwrap()));
            assert!((1..=12).contains(&month.parse::<u32>().unwrap()) && month.len() == 2);
            assert!(!platform.grace.is_zero(), "{name}");
            assert_eq!(named(name), Ok(platform));
        }
        let names: std::collections::BTreeSet<_> = PLATFORMS.iter().map(|p| p.name).collect();
        assert_eq!(names.len(), PLATFORMS.len());
    }

    #[test]
    fn a_name_that_is_none_is_refused_with_the_list() {
        for (name, hint) in [
            ("kubernets", "did you mean kubernetes?"),
            ("borg", "there are docker, compose, swarm,"),
        ] {
            let refused = named(name).unwrap_err().to_string();
            assert!(refused.contains(hint), "{refused}");
            assert!(refused.contains("systemd"), "{refused}");
        }
    }
}

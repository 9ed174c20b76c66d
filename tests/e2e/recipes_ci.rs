//! The recipes for CI servers: the commands that a runner would run are run, around a server that loses requests
//! without stepdown and finishes them with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::recipes::{document, text, yaml_can_be_read};
use crate::support::docker::{self, Image};
use crate::support::mark::Mark;
use crate::support::net::free_port;
use crate::support::{binary, need};

/// The server behind stepdown; `/usr` of this machine has its Python and its shell.
fn web(drain_port: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = tempfile::tempdir().expect("a temporary directory");
    let server = script.path().join("myserver");
    let exec = "#!/bin/sh\nexec python3 /server.py 0.0.0.0 ${1:-8080}\n";
    fs::write(&server, exec).expect("a directory of ours");
    fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).expect("a file of ours");
    Image::from_scratch("recipe-ci")
        .link("/bin", "usr/bin")
        .link("/lib", "usr/lib")
        .link("/lib64", "usr/lib64")
        .file("/opt/stepdown", binary::under_test_static())
        .file("/opt/myserver", server)
        .file("/server.py", root.join("scripts/rolling.d/server.py"))
        .line(format!(
            "ENV PATH=/opt:/usr/bin STEPDOWN_DRAIN_PORT={drain_port}"
        ))
        .line(r#"ENTRYPOINT ["stepdown", "--"]"#)
        .line(r#"CMD ["myserver"]"#)
        .build()
}

/// Answered after as many milliseconds: in flight for longer than anything between is held up.
const SLOW: &str = "/work/4000";

/// A runner's workspace, and names of its own for what the recipe calls `web`.
struct Runner {
    workspace: tempfile::TempDir,
    name: String,
    port: u16,
}

impl Runner {
    fn new() -> Self {
        let runner = Self {
            workspace: tempfile::tempdir().expect("a temporary directory"),
            name: format!("stepdown-test-ci-{}", Mark::new().as_str()),
            port: free_port(),
        };
        assert!(runner.docker(&["network", "create", &runner.name]));
        runner
    }

    fn docker(&self, words: &[&str]) -> bool {
        let ran = Command::new("docker").args(words).output();
        ran.expect("docker").status.success()
    }

    /// A step of the recipe with this machine's names, ports and tools.
    fn step(&self, step: &str) -> Output {
        let (name, port) = (&self.name, self.port);
        let step = step
            .replace("--tag web", &format!("--tag {name}"))
            .replace("--name web", &format!("--name {name}"))
            .replace(
                "web:/usr/local/bin/stepdown",
                &format!("{name}:/opt/stepdown"),
            )
            .replace(" web &&", &format!(" {name} &&"))
            .replace("docker rm web", &format!("docker rm {name}"))
            .replace("docker stop web", &format!("docker stop {name}"))
            .replace("--container web", &format!("--container {name}"))
            .replace(
                "--publish 8080:8080 web",
                &format!("--publish 127.0.0.1:{port}:8080 {name}"),
            )
            .replace(":8080/", &format!(":{port}/"))
            .replace("--port-free 8080", &format!("--port-free {port}"))
            .replace(
                "docker run ",
                &format!("docker run --network {name} --volume /usr:/usr:ro "),
            )
            .replace("/slow", SLOW);
        Command::new("bash")
            .args(["-e", "-c", &step])
            .current_dir(self.workspace.path())
            .env("GITHUB_ACTIONS", "true")
            .env("DOCKER_BUILDKIT", "0")
            .output()
            .expect("bash")
    }

    fn has(&self, file: &str) -> bool {
        self.workspace
            .path()
            .join(file)
            .metadata()
            .is_ok_and(|file| file.len() > 0)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.docker(&["rm", "--force", &self.name]);
        self.docker(&["network", "rm", &self.name]);
        self.docker(&["image", "rm", "--no-prune", &self.name]);
    }
}

/// The commands of the recipe's steps, in order.
fn steps(job: &Value) -> Vec<String> {
    let steps = job["steps"].as_array().expect("steps").iter();
    let runs = steps.filter(|step| !step["run"].is_null());
    runs.map(|step| text(&step["run"])).collect()
}

fn told(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn github_checks_the_real_container() {
    need!(yaml_can_be_read());
    need!(docker::available());
    let recipe = document("ci/github.yml");
    let job = &recipe["jobs"]["shutdown"];
    let kept = &job["steps"].as_array().expect("steps").last().expect("one")["with"]["path"];
    assert_eq!(kept, "shutdown.*");
    for (drain_port, code) in [("8080", 0), ("", 1)] {
        let runner = Runner::new();
        let dockerfile = format!("FROM {}\n", web(drain_port));
        fs::write(runner.workspace.path().join("Dockerfile"), dockerfile).expect("ours");
        let mut steps = steps(job);
        let check = steps.pop().expect("the check");
        assert_eq!(steps.len(), 2);
        for step in steps {
            let done = runner.step(&step);
            assert!(done.status.success(), "{step}\n{}", told(&done));
        }
        let checked = runner.step(&check);
        assert_eq!(checked.status.code(), Some(code), "{}", told(&checked));
        assert!(runner.has("shutdown.xml") && runner.has("shutdown.html"));
        let annotated = told(&checked).contains("::error title=stepdown check%3A in-flight::");
        assert_eq!(annotated, code == 1, "{}", told(&checked));
    }
}

#[test]
fn gitlab_checks_in_the_image() {
    need!(yaml_can_be_read());
    need!(docker::available());
    let recipe = document("ci/gitlab.yml");
    let job = &recipe["shutdown"];
    assert_eq!(job["artifacts"]["reports"]["junit"], "shutdown.xml");
    let script = text(&job["script"][0]).replace("/slow", SLOW);
    for (drain_port, code) in [("8080", 0), ("", 1)] {
        let workspace = tempfile::tempdir().expect("a temporary directory");
        let mounted = format!("{}:/builds", workspace.path().display());
        let checked = Command::new("docker")
            .args([
                "run",
                "--rm",
                "--network",
                "none",
                "--volume",
                "/usr:/usr:ro",
            ])
            .args([
                "--volume",
                &mounted,
                "--workdir",
                "/builds",
                "--entrypoint",
                "",
            ])
            .args([&web(drain_port), "sh", "-e", "-c", &script])
            .output()
            .expect("docker");
        assert_eq!(checked.status.code(), Some(code), "{}", told(&checked));
        let report = fs::read_to_string(workspace.path().join("shutdown.xml")).expect("a report");
        assert_eq!(report.contains("<failure"), code == 1, "{report}");
    }
}

//! A server of the story's own: a child program that says on which port it is ready.

use std::process::{Child, Command, Stdio};

use super::output::Output;
use super::{binary, wait_until};

/// A program of `tests/e2e/children` that serves on a port of loopback; dropping it kills it.
pub(crate) struct Server {
    process: Child,
    output: Output,
    port: u16,
}

impl Server {
    /// Starts the service registry and waits for its line `ready on PORT`.
    #[track_caller]
    pub(crate) fn registry() -> Self {
        let mut process = Command::new(binary::http())
            .args(["registry", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a program that was just compiled");
        let mut server = Self {
            output: Output::of(process.stdout.take()),
            process,
            port: 0,
        };
        let line = server.says("ready on ");
        let port = line.rsplit(' ').next().and_then(|port| port.parse().ok());
        server.port = port.expect("a port");
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Waits for a line that contains `part`, and returns it.
    #[track_caller]
    pub(crate) fn says(&mut self, part: &str) -> String {
        let mut found = None;
        wait_until(&format!("the server says {part:?}"), || {
            self.output.look();
            found = self.output.line(|seen| seen.contains(part));
            found.is_some()
        });
        found.expect("just waited for")
    }

    /// All it has said.
    pub(crate) fn said(&mut self) -> String {
        self.output.look();
        self.output.text()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

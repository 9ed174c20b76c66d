//! One end of a pipe, read only when asked, so that no thread stands between a story and its facts.
//!
//! What a process wrote before it ended is in the pipe when its end is seen, and one more look
//! collects it, even when somebody else still holds the other end open.

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::emulator;

/// The text that came out of a pipe so far.
pub(crate) struct Output {
    pipe: Option<Box<dyn Read + Send>>,
    seen: Vec<u8>,
}

impl Output {
    /// Takes over the reading end of a pipe and makes it non-blocking (the writer does not notice:
    /// the two ends are two open file descriptions).
    pub(crate) fn of<P: Read + AsFd + Send + 'static>(pipe: Option<P>) -> Self {
        if let Some(pipe) = &pipe {
            fcntl(pipe.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a pipe of our own");
        }
        Self {
            pipe: pipe.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
            seen: Vec::new(),
        }
    }

    /// Collects what is in the pipe now.
    pub(crate) fn look(&mut self) -> &[u8] {
        let mut chunk = [0; 16 * 1024];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut chunk) {
                // End of file, or the other side of a pseudoterminal is gone.
                Ok(0) => self.pipe = None,
                Ok(count) => self.seen.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.pipe = None,
            }
        }
        &self.seen
    }

    /// Everything until now, as text.
    pub(crate) fn text(&mut self) -> String {
        emulator::without_warning(String::from_utf8_lossy(self.look()).into_owned())
    }

    /// Has every writer closed the pipe?
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.look();
        self.pipe.is_none()
    }

    /// The first complete line that `wanted` likes.
    pub(crate) fn line(&mut self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let text = self.text();
        let complete = &text[..text.rfind('\n')? + 1];
        complete
            .lines()
            .map(|line| line.trim_end_matches('\r'))
            .find(|l| wanted(l))
            .map(str::to_owned)
    }
}

//! Descriptors that one child hands over for the next one (sd_pid_notify_with_fds(3)).

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{Interest, Ready};
use tokio::task::JoinHandle;

use crate::sys::{descriptors, watch};

/// The store; its copies are the same one. The tasks that add to it run on the loop's own thread.
#[derive(Clone, Default)]
pub(crate) struct Store {
    kept: Arc<Mutex<Vec<Kept>>>,
    /// How many there may be.
    most: usize,
    /// Where a child gets its own: ours lie above.
    lowest: RawFd,
}

struct Kept {
    name: String,
    fd: Arc<OwnedFd>,
    /// Waits for its end, after which nobody can use it.
    watch: Option<JoinHandle<()>>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

impl Store {
    pub(super) fn new(most: usize, lowest: RawFd) -> Self {
        Self {
            most,
            lowest,
            ..Self::default()
        }
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        // There is one thread, and it does not panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Their names and numbers, in the order in which they came.
    pub(super) fn all(&self) -> Vec<(String, RawFd)> {
        let kept = self.kept();
        let all = kept
            .iter()
            .map(|one| (one.name.clone(), one.fd.as_raw_fd()));
        all.collect()
    }

    /// Keeps one; what is kept already is not kept twice. With `until_end` it is dropped when the other side is gone.
    ///
    /// # Errors
    /// There is no room for it.
    pub(super) fn add(&self, name: &str, fd: OwnedFd, until_end: bool) -> Result<(), String> {
        let mut kept = self.kept();
        if kept.iter().any(|one| descriptors::are_same(&one.fd, &fd)) {
            return Ok(());
        }
        if kept.len() >= self.most {
            return Err(format!(
                "a descriptor {name:?} is not kept: there are {} already (--fd-store-max)",
                self.most
            ));
        }
        let fd = descriptors::above(fd, self.lowest)
            .map_err(|errno| format!("a descriptor {name:?} is not kept: {errno}"))?;
        let fd = Arc::new(fd);
        // A file has no end.
        let watched = if until_end {
            watch::end(Arc::clone(&fd)).ok()
        } else {
            None
        };
        let watch = watched.map(|watched| {
            let (store, number) = (self.clone(), fd.as_raw_fd());
            tokio::spawn(async move {
                while let Ok(mut seen) = watched.ready(Interest::PRIORITY | Interest::ERROR).await {
                    let state = seen.ready();
                    if state.is_read_closed() || state.is_error() {
                        store.kept().retain(|one| one.fd.as_raw_fd() != number);
                        return;
                    }
                    // Urgent data is no end (EPOLLPRI), and is the next one's to read.
                    seen.clear_ready_matching(Ready::PRIORITY);
                }
            })
        });
        kept.push(Kept {
            name: name.to_owned(),
            fd,
            watch,
        });
        Ok(())
    }

    /// Drops all that are called so.
    pub(super) fn remove(&self, name: &str) {
        self.kept().retain(|one| one.name != name);
    }

    pub(super) fn clear(&self) {
        self.kept().clear();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use nix::sys::socket::{MsgFlags, send};

    use super::*;

    #[test]
    fn a_connection_with_urgent_data_is_kept() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let story = async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let store = Store::new(9, 3);
            let connection = || {
                let client = TcpStream::connect(address).unwrap();
                (client, OwnedFd::from(listener.accept().unwrap().0))
            };
            let (urgent, first) = connection();
            store.add("urgent", first, true).unwrap();
            let (left, pipe) = descriptors::pipe().unwrap();
            store.add("ended", left, true).unwrap();
            let names = || store.all().into_iter().map(|(name, _)| name);
            // What ends after it is dropped, so it has been seen by then.
            send(urgent.as_raw_fd(), b"!", MsgFlags::MSG_OOB).unwrap();
            drop(pipe);
            while names().any(|name| name == "ended") {
                tokio::task::yield_now().await;
            }
            assert!(names().eq(["urgent".to_owned()]));
        };
        let limit = Duration::from_secs(60);
        let in_time = runtime.block_on(async { tokio::time::timeout(limit, story).await });
        in_time.unwrap();
    }
}

//! What the kernel says of connections and threads.

use super::look::{proc_net, sock_diag, threads};
use crate::fuzz::text;

/// One datagram, and a socket is found for each that there is room for.
pub(crate) fn sock_diag(bytes: &[u8]) {
    let mut found = Vec::new();
    let mut interrupted = false;
    let sequence = bytes
        .get(8..12)
        .map_or(0, |number| u32::from_ne_bytes(number.try_into().unwrap()));
    let ended = sock_diag::read_datagram(bytes, sequence, &mut interrupted, &mut found);
    assert!(found.len() <= bytes.len() / 88, "{}", found.len());
    // An answer that is not ours says nothing.
    if bytes.len() == 16 {
        let mut none = Vec::new();
        let other = sock_diag::read_datagram(bytes, sequence ^ 1, &mut interrupted, &mut none);
        assert!(none.is_empty() && (ended.is_err() || other.is_ok()));
    }
}

/// A line of /proc/net/tcp, and the rest is not looked at.
pub(crate) fn proc_net(bytes: &[u8]) {
    let text = text(bytes);
    for line in text.lines() {
        let Some(found) = proc_net::line(line) else {
            continue;
        };
        let again = proc_net::line(&format!("  {line} 1 2 3\n"));
        let again = again.unwrap();
        assert_eq!((again.local, again.remote), (found.local, found.remote));
        assert_eq!((again.state, again.inode), (found.state, found.inode));
    }
}

/// /proc/PID/syscall, and what poll and select were given.
pub(crate) fn syscall(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (line, memory) = bytes.split_at(end.unwrap_or(bytes.len()));
    let call = threads::call(&text(line));
    let _ = threads::polled(memory);
    if let threads::Syscall::Select { count, .. } = call {
        let mut sets = [[0; threads::SELECT_MAX as usize / 8]; 3];
        assert!(count > 0 && count <= threads::SELECT_MAX);
        for (to, from) in sets.iter_mut().flatten().zip(memory) {
            *to = *from;
        }
        let _ = threads::selected(&sets, count);
    }
    if let threads::Syscall::Poll { count, .. } = call {
        assert!(count > 0 && count <= threads::POLL_MAX);
    }
}

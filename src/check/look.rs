//! Looks at processes in /proc, for the reasons that `reason` gives: never for a decision of a stop.

use std::fs;

use super::fact::Look;
use crate::sys::tree;

/// One process; `None` when it is gone or there is no /proc.
pub(crate) fn at(pid: i32) -> Option<Look> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let waits_in = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    let mut look = parse(&stat, &status)?;
    look.pid = pid;
    look.waits_in = waits_in.trim_matches(['\0', '0', '\n']).to_owned();
    Some(look)
}

/// Everybody below us.
pub(crate) fn everybody() -> Vec<Look> {
    let members = tree::descendants().unwrap_or_default();
    members.iter().filter_map(|member| at(member.pid)).collect()
}

fn parse(stat: &str, status: &str) -> Option<Look> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, command) = before.split_once('(')?;
    let mut fields = after.split_ascii_whitespace();
    let state = fields.next()?.to_owned();
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map_or("", str::trim)
    };
    let set = |name| u64::from_str_radix(field(name), 16).unwrap_or(0);
    Some(Look {
        pid: 0,
        parent,
        session,
        command: command.to_owned(),
        state,
        threads: field("Threads:").parse().unwrap_or(1),
        blocked: set("SigBlk:"),
        ignored: set("SigIgn:"),
        caught: set("SigCgt:"),
        waits_in: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_kernel_are_understood() {
        let status =
            "Name:\ta b\nThreads:\t3\nSigBlk:\t0000000000004000\nSigIgn:\t0\nSigCgt:\tff\n";
        let look = parse("7 (a) b) S 3 5 6 0 -1", status).unwrap();
        assert_eq!((look.command.as_str(), look.parent), ("a) b", 3));
        assert_eq!((look.session, look.threads), (6, 3));
        assert!(Look::has(look.blocked, crate::signal::Signal::TERM));
        assert!(!Look::has(look.caught, crate::signal::Signal::TERM));
    }

    #[test]
    fn we_are_seen() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(at(pid).unwrap().pid, pid);
    }
}

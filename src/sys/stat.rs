//! /proc/PID/stat (proc_pid_stat(5)): the one place that takes it apart.

/// The fields of one process that something here asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stat {
    /// At most 15 bytes; a newline in it is written `\n` by the kernel.
    pub(crate) command: String,
    /// R, S, D, T, t, Z, X and the like.
    pub(crate) state: char,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// The kernel's `PF_` flags (include/linux/sched.h).
    pub(super) flags: u32,
    pub(super) threads: u32,
    /// When it was started, in hundredths of a second since boot.
    pub(crate) started: u64,
}

impl Stat {
    /// The command stands in parentheses and may hold spaces and parentheses itself: the last parenthesis
    /// closes it. `None` for a text that ends before the session.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let open = text.find('(')?;
        let close = text.rfind(')')?;
        let command = text.get(open + 1..close)?.to_owned();
        let mut fields = text.get(close + 1..)?.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let mut number = || fields.next()?.parse().ok();
        let (parent, group, session) = (number()?, number()?, number()?);
        // The fields 9, 20 and 22, each counted from the one before.
        let flags = fields.nth(2).and_then(|flags| flags.parse().ok());
        let threads = fields.nth(10).and_then(|threads| threads.parse().ok());
        let started = fields.nth(1).and_then(|started| started.parse().ok());
        Some(Self {
            command,
            state,
            parent,
            group,
            session,
            flags: flags.unwrap_or(0),
            threads: threads.unwrap_or(1),
            started: started.unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What follows the session in a file of the kernel, with flags 0x208040, 3 threads and start 4242.
    const REST: &str = "0 -1 2129984 9 0 0 0 1 2 0 0 20 0 3 0 4242 0 0";

    #[test]
    fn a_command_may_hold_spaces_parentheses_and_newlines() {
        for command in [
            "a",
            "a b",
            "(sd-pam)",
            "a) (b c",
            ") S 1 1 1",
            "a\nb",
            "a\\nb",
            "",
        ] {
            let text = format!("7 ({command}) S 3 5 6 {REST}\n");
            let stat = Stat::parse(text.as_bytes()).unwrap();
            assert_eq!(stat.command, command);
            assert_eq!((stat.state, stat.parent), ('S', 3), "{command:?}");
            assert_eq!((stat.group, stat.session), (5, 6), "{command:?}");
            assert_eq!((stat.flags, stat.threads), (0x20_8040, 3), "{command:?}");
            assert_eq!(stat.started, 4242, "{command:?}");
        }
    }

    #[test]
    fn a_command_need_not_be_text() {
        let stat = Stat::parse(b"7 (\xff) R 3 5 6 0").unwrap();
        assert_eq!((&*stat.command, stat.state), ("\u{fffd}", 'R'));
    }

    #[test]
    fn each_state_is_kept_as_it_is_written() {
        for state in ['R', 'S', 'D', 'T', 't', 'Z', 'X', 'x', 'I'] {
            let text = format!("7 (a) {state} 3 5 6 {REST}");
            assert_eq!(Stat::parse(text.as_bytes()).unwrap().state, state);
        }
    }

    #[test]
    fn what_ends_before_the_session_is_no_process() {
        for text in [
            "",
            "7",
            "7 (a",
            "7 (a)",
            "7 (a) S 3 5",
            "7 (a) S x 1 1",
            "7 )a( S 1 1 1",
        ] {
            assert_eq!(Stat::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn our_own_is_understood() {
        let stat = Stat::parse(&std::fs::read("/proc/self/stat").unwrap()).unwrap();
        assert_eq!(
            stat.parent,
            std::os::unix::process::parent_id().cast_signed()
        );
        assert!(stat.threads >= 1 && stat.started > 0);
    }
}

//! What the name of a command says about it: whether it is over soon, and whether it can only be a program.

use crate::lint::programs::Server;

/// Commands that are over soon, or are none of their own.
pub(super) const SHORT: [&str; 59] = [
    ".", ":", "[", "[[", "alias", "awk", "bg", "break", "cat", "cd", "chgrp", "chmod", "chown",
    "command", "continue", "cp", "curl", "date", "disown", "echo", "eval", "exit", "export",
    "false", "find", "git", "grep", "head", "jobs", "jq", "kill", "ln", "local", "ls", "make",
    "mkdir", "mv", "printf", "pwd", "read", "readonly", "return", "rm", "sed", "set", "shift",
    "sort", "source", "tar", "test", "touch", "tr", "trap", "true", "type", "umask", "unset",
    "wget", "which",
];

/// Those of them that only end a line.
pub(super) const CLOSING: [&str; 6] = [":", "echo", "exit", "false", "printf", "true"];

/// Those after which a script with `set -e` goes on.
pub(super) const NEVER_FAILS: [&str; 7] = [":", "echo", "export", "printf", "set", "trap", "true"];

/// Those that may end the script, or run what is not known.
pub(super) const ENDING: [&str; 6] = [".", "eval", "exec", "exit", "return", "source"];

/// Those by which the shell waits for what it has started.
pub(super) const WAITING: [&str; 2] = ["fg", "wait"];

/// Commands that keep a container alive, and do nothing else.
pub(super) const IDLE: [&str; 2] = ["sleep", "tail"];

/// Programs, servers in the table of signals apart, whose names nobody gives a function or an alias.
const PROGRAMS: [&str; 24] = [
    "bun", "bundle", "daphne", "deno", "dotnet", "envoy", "flask", "mongod", "node", "nodejs",
    "npm", "perl", "php", "pm2", "pnpm", "puma", "python", "rails", "ruby", "sleep", "sshd",
    "tail", "uvicorn", "yarn",
];

/// Whether the name is that of a program, with a version behind it or not (`python3.12`).
pub(super) fn is_well_known(name: &str) -> bool {
    let is_version = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || c == '.');
    let mut known = PROGRAMS.iter();
    Server::of(&[name]).is_some()
        || known.any(|known| name.strip_prefix(known).is_some_and(is_version))
}

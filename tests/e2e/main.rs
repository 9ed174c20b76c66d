//! The real binary, run as people run it: as a process, as PID 1, in containers, around real servers.
//!
//! Every story starts a program that prints `ready`, does something to it, and waits for a
//! condition with a bound. What a story starts carries its mark, so that it can show that nothing
//! is left, and nothing but that is killed when it fails.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `STEPDOWN_BIN` | the binary under test instead of the one cargo has just built |
//! | `STEPDOWN_RUN_BY` | the emulator that the kernel runs that binary by (`scripts/arm64 --stories`) |
//! | `STEPDOWN_STATIC_BIN` | the static binary for containers instead of building one |
//! | `NO_SKIPS` | set to anything: the run fails where a story was skipped |
//! | `UPDATE_GOLDEN` | set to anything: the texts in `tests/golden` are written, not compared |

#![expect(
    unsafe_code,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a story fails by panicking and tells on its output what it skipped"
)]

mod support;

mod activation;
mod cannot_start;
mod causes;
mod cgroup;
mod chaos;
mod check;
mod check_containers;
mod check_ends;
mod check_gallery;
mod check_options;
mod check_page;
mod check_ports;
mod check_programs;
mod check_replace;
mod check_requests;
mod check_signals;
mod child;
mod command_lines;
mod config;
mod containers;
mod dockerd;
mod docs;
mod docs_programs;
mod doctor;
mod doctor_containers;
mod doctor_programs;
mod drain;
mod drain_checks;
mod drain_loops;
mod drain_nginx;
mod drain_programs;
mod drain_refused;
mod drain_until;
mod dropin;
mod errors;
mod explain;
mod faults;
mod fd_store;
mod files;
mod files_in_place;
mod hand_over;
mod hand_over_programs;
mod harness;
mod health;
mod hook_bodies;
mod hooks;
mod hostile;
mod http_hooks;
mod hung;
mod identity;
mod idle;
mod init_build;
mod ladder;
mod left;
mod lint;
mod lint_docker;
mod lint_units;
mod listen;
mod listen_programs;
mod liveness;
mod logs;
mod luxuries;
mod manual;
mod mdns;
mod memory;
mod metrics;
mod misnamed;
mod notify;
mod npm_start;
mod options;
mod packages;
mod peers;
mod podman;
mod readme;
mod ready;
mod reaping;
mod recipes;
mod recipes_ci;
mod relay;
mod reload;
mod replace;
mod restart;
mod restart_told;
mod restart_with;
mod rolling;
mod servers;
mod signals;
mod soak;
mod status;
mod stop;
mod systemd;
mod terminal;
mod terminal_containers;
mod termination_log;
mod timeline;
mod trace;
mod tree;
mod wait_for;
mod without_effect;

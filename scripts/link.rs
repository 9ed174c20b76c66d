//! How the program is linked: `stepdown_entry` (src/sys/entry.rs) is its first instruction.

#![allow(
    clippy::print_stdout,
    reason = "this is how a build script speaks to cargo"
)]

fn main() {
    println!("cargo::rerun-if-changed=scripts/link.rs");
    println!("cargo::rerun-if-changed=scripts/layout");
    println!("cargo::rustc-link-arg-bins=-Wl,-e,stepdown_entry");
}

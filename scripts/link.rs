//! How the program is linked: `stepdown_entry` (src/sys/entry.rs) is its first instruction, and what a
//! plain run never executes lies apart (scripts/layout.ld).

#![allow(
    clippy::print_stdout,
    reason = "this is how a build script speaks to cargo"
)]

fn main() {
    println!("cargo::rerun-if-changed=scripts/link.rs");
    println!("cargo::rerun-if-changed=scripts/layout.ld");
    println!("cargo::rustc-link-arg-bins=-Wl,-e,stepdown_entry");
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{root}/scripts/layout.ld");
}

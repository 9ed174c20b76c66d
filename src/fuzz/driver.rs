//! libFuzzer, called from a test: the program is one binary, so no other crate could use its parsers.

#![allow(unsafe_code, reason = "libFuzzer is written in C++")]

use std::ffi::{CString, c_char, c_int};
use std::slice;
use std::sync::OnceLock;

// It brings the library, and is not called.
use libfuzzer_sys as _;

use super::{TARGETS, Target};

unsafe extern "C" {
    fn LLVMFuzzerRunDriver(
        count: *mut c_int,
        arguments: *mut *mut *mut c_char,
        callback: extern "C" fn(*const u8, usize) -> c_int,
    ) -> c_int;
}

/// What `libfuzzer_sys` expects of who uses its macro; nothing calls it.
#[unsafe(no_mangle)]
extern "Rust" fn rust_fuzzer_test_input(_: &[u8]) -> i32 {
    0
}

static CHOSEN: OnceLock<Target> = OnceLock::new();

extern "C" fn take(data: *const u8, size: usize) -> c_int {
    let bytes = if size == 0 {
        &[][..]
    } else {
        // SAFETY: libFuzzer passes `size` bytes that live through the call.
        unsafe { slice::from_raw_parts(data, size) }
    };
    if let Some(target) = CHOSEN.get() {
        target(bytes);
    }
    0
}

/// `FUZZ_TARGET` names the target, `FUZZ_ARGUMENTS` has libFuzzer's options, and `FUZZ_AGAIN` is the program that
/// libFuzzer runs where it needs a process more: it has options of its own.
#[test]
#[ignore = "runs as long as it is told to: scripts/fuzz"]
fn fuzz() {
    let variable = |name| std::env::var(name).unwrap();
    let name = variable("FUZZ_TARGET");
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    CHOSEN.set(found.unwrap().1).unwrap();
    let told = std::panic::take_hook();
    // libFuzzer keeps the input of a process that aborts.
    std::panic::set_hook(Box::new(move |why| {
        told(why);
        std::process::abort();
    }));
    let line = format!("{} {}", variable("FUZZ_AGAIN"), variable("FUZZ_ARGUMENTS"));
    let words = line
        .split_whitespace()
        .map(|word| CString::new(word).unwrap());
    let mut words: Vec<*mut c_char> = words.map(CString::into_raw).collect();
    let mut count = c_int::try_from(words.len()).unwrap();
    words.push(std::ptr::null_mut());
    let mut arguments = words.as_mut_ptr();
    // SAFETY: as many C strings as `count` says, and a null pointer; they live as long as the process.
    let code = unsafe { LLVMFuzzerRunDriver(&raw mut count, &raw mut arguments, take) };
    std::process::exit(code);
}

//! No stack is unwound in a release: the unwinder is left out, and what would read debug information for it.
//!
//! A panic ends the process there (panic = "abort") or keeps its child going (`last_resort`). With RUST_BACKTRACE=1 the
//! standard library would print a backtrace, but a release is stripped, so there are no names to print. It asks the
//! unwinder for each frame; this one has none, which the optimizer sees, and it removes all that reads ELF, DWARF, zlib
//! and mangled names. Debug builds and unit tests keep their backtraces.
//!
//! Source: <https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/libgcc-s.html>

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK`.
const END_OF_STACK: c_int = 5;

/// Walks up the stack, which has no frames.
// SAFETY: the signature is that of the source above, and no other unwinder is linked.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(
    _each: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
    _data: *mut c_void,
) -> c_int {
    END_OF_STACK
}

/// The rest of the interface. The C library names it for the cancellation of threads, and no thread is cancelled here.
/// It is complete because the unwinder of a static library is linked as a whole: one name that is missing here would
/// bring a second `_Unwind_Backtrace`.
macro_rules! never_called {
    ($($name:ident)*) => {
        $(
            // SAFETY: whoever calls it never comes back, so nobody misses its arguments.
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> ! {
                std::process::abort()
            }
        )*
    };
}

never_called! {
    _Unwind_DeleteException
    _Unwind_FindEnclosingFunction
    _Unwind_ForcedUnwind
    _Unwind_GetCFA
    _Unwind_GetDataRelBase
    _Unwind_GetGR
    _Unwind_GetIP
    _Unwind_GetIPInfo
    _Unwind_GetLanguageSpecificData
    _Unwind_GetRegionStart
    _Unwind_GetTextRelBase
    _Unwind_RaiseException
    _Unwind_Resume
    _Unwind_Resume_or_Rethrow
    _Unwind_SetGR
    _Unwind_SetIP
}

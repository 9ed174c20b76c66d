//! The first instructions of the process: all signals are blocked before the C runtime starts.
//!
//! For PID 1 the kernel throws away every signal that is neither blocked nor handled, so a stop that
//! comes before `main` would be lost. The C runtime takes its time there: in a virtual machine each of
//! its sixty cpuid instructions is a trap. The linker makes `stepdown_entry` the entry of the program
//! (see scripts/link.rs); it goes on to `_start` with all registers that `_start` reads as they were.

#[cfg(all(target_arch = "x86_64", not(test)))]
core::arch::global_asm!(
    ".globl stepdown_entry",
    "stepdown_entry:",
    // rdx holds a function for `_start`; r12 is not in use yet.
    "mov r12, rdx",
    "mov eax, {call}",
    "mov edi, {set}",
    "lea rsi, [rip + {all}]",
    "lea rdx, [rip + {inherited}]",
    "mov r10d, 8",
    "syscall",
    "mov rdx, r12",
    "jmp _start",
    call = const libc::SYS_rt_sigprocmask,
    set = const libc::SIG_SETMASK,
    all = sym ALL,
    inherited = sym INHERITED,
);

#[cfg(all(target_arch = "aarch64", not(test)))]
core::arch::global_asm!(
    ".globl stepdown_entry",
    "stepdown_entry:",
    // x0 holds a function for `_start`; x19 is not in use yet.
    "mov x19, x0",
    "mov x8, #{call}",
    "mov x0, #{set}",
    "adrp x1, {all}",
    "add x1, x1, :lo12:{all}",
    "adrp x2, {inherited}",
    "add x2, x2, :lo12:{inherited}",
    "mov x3, #8",
    "svc #0",
    "mov x0, x19",
    "b _start",
    call = const libc::SYS_rt_sigprocmask,
    set = const libc::SIG_SETMASK,
    all = sym ALL,
    inherited = sym INHERITED,
);

// Unit tests keep the mask that they were started with.
#[cfg(all(target_arch = "x86_64", test))]
core::arch::global_asm!(".globl stepdown_entry", "stepdown_entry:", "jmp _start");

#[cfg(all(target_arch = "aarch64", test))]
core::arch::global_asm!(".globl stepdown_entry", "stepdown_entry:", "b _start");

#[cfg(not(test))]
static ALL: u64 = u64::MAX;

/// Written once, by the instructions above.
#[cfg(not(test))]
static INHERITED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// The signal mask that the process was started with.
#[cfg(not(test))]
pub(crate) fn inherited_mask() -> u64 {
    INHERITED.load(std::sync::atomic::Ordering::Relaxed)
}

#[cfg(test)]
pub(crate) fn inherited_mask() -> u64 {
    0
}

//! What a thread sleeps in is told by the number of its call, and nothing is guessed.

#![allow(clippy::print_stderr, reason = "a test says what it skipped")]
#![allow(
    unsafe_code,
    reason = "the calls that a thread sleeps in are made by hand"
)]

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::*;

fn line(number: c_long, args: [u64; 3]) -> String {
    let [a, b, c] = args;
    format!("{number} {a:#x} {b:#x} {c:#x} 0x0 0x0 0x0 0x7ffe263d5078 0x7f258d0072ad\n")
}

#[test]
fn each_call_is_told_by_its_number() {
    for number in [
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_recvmmsg,
    ] {
        assert_eq!(
            call(&line(number, [5, 1, 2])),
            Syscall::Is(Asleep::Reading(5))
        );
    }
    for number in [
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_io_uring_enter,
    ] {
        assert_eq!(call(&line(number, [5, 1, 2])), Syscall::Is(Asleep::Many));
    }
    for number in [
        libc::SYS_futex,
        libc::SYS_accept,
        libc::SYS_write,
        libc::SYS_nanosleep,
    ] {
        assert_eq!(
            call(&line(number, [5, 1, 2])),
            Syscall::Is(Asleep::Elsewhere)
        );
    }
    let poll = Syscall::Poll {
        at: 0x1000,
        count: 2,
    };
    assert_eq!(call(&line(libc::SYS_ppoll, [0x1000, 2, 0])), poll);
    assert_eq!(
        call(&line(libc::SYS_ppoll, [0x1000, 0, 0])),
        Syscall::Is(Asleep::Elsewhere)
    );
    assert_eq!(
        call(&line(libc::SYS_ppoll, [0x1000, 17, 0])),
        Syscall::Is(Asleep::Many)
    );
    let select = Syscall::Select {
        count: 9,
        sets: [0x1000, 0x2000, 0],
    };
    assert_eq!(call(&line(libc::SYS_pselect6, [9, 0x1000, 0x2000])), select);
    assert_eq!(
        call(&line(libc::SYS_pselect6, [0, 0, 0])),
        Syscall::Is(Asleep::Elsewhere)
    );
    assert_eq!(
        call(&line(libc::SYS_pselect6, [9999, 1, 0])),
        Syscall::Is(Asleep::Many)
    );
}

#[test]
fn what_is_no_call_is_no_guess() {
    assert_eq!(call("running\n"), Syscall::Is(Asleep::Running));
    assert_eq!(
        call("-1 0x7ffe263d5078 0x7f258d0072ad\n"),
        Syscall::Is(Asleep::Elsewhere)
    );
    for text in ["", "x", "0", "0 0x1 0x2", "0 1 2 3 4 5 6 7 8"] {
        assert_eq!(call(text), Syscall::Is(Asleep::Unreadable), "{text}");
    }
    // A 32-bit process.
    assert_eq!(
        call("3 0x4 0x0 0x0 0x0 0x0 0x0 0xffd2a5c0 0xf7f3b559"),
        Syscall::Is(Asleep::Unreadable)
    );
}

#[test]
fn poll_on_one_descriptor_reads_it_and_on_two_is_an_event_loop() {
    let poll = |fds: &[(i32, i16)]| {
        let entry = |&(fd, events): &(i32, i16)| {
            [&fd.to_ne_bytes()[..], &events.to_ne_bytes(), &[0, 0]].concat()
        };
        polled(&fds.iter().flat_map(entry).collect::<Vec<u8>>())
    };
    assert_eq!(poll(&[(7, libc::POLLIN)]), Asleep::Reading(7));
    assert_eq!(
        poll(&[(-1, libc::POLLIN), (7, libc::POLLIN)]),
        Asleep::Reading(7)
    );
    assert_eq!(poll(&[(7, libc::POLLOUT)]), Asleep::Elsewhere);
    assert_eq!(poll(&[(-1, libc::POLLIN)]), Asleep::Elsewhere);
    assert_eq!(poll(&[(7, libc::POLLIN), (8, libc::POLLIN)]), Asleep::Many);
}

#[test]
fn select_on_one_descriptor_reads_it_and_on_two_is_an_event_loop() {
    let select = |read: &[usize], write: &[usize]| {
        let mut sets = [[0; 128]; 3];
        read.iter().for_each(|fd| sets[0][fd / 8] |= 1 << (fd % 8));
        write.iter().for_each(|fd| sets[1][fd / 8] |= 1 << (fd % 8));
        selected(&sets, 1024)
    };
    assert_eq!(select(&[70], &[]), Asleep::Reading(70));
    assert_eq!(select(&[70], &[70]), Asleep::Reading(70));
    assert_eq!(select(&[70], &[3]), Asleep::Many);
    assert_eq!(select(&[70, 3], &[]), Asleep::Many);
    assert_eq!(select(&[], &[70]), Asleep::Elsewhere);
    assert_eq!(select(&[], &[]), Asleep::Elsewhere);
}

#[test]
fn a_thread_that_waits_is_found_in_what_it_waits_in() {
    let pid = Pid::this();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let fd = socket.as_raw_fd();
    let waits: [fn(i32); 3] = [
        |fd| {
            let mut byte = [0];
            // SAFETY: the buffer is one byte long and lives over the call.
            unsafe { libc::recv(fd, byte.as_mut_ptr().cast(), 1, libc::MSG_PEEK) };
        },
        |fd| {
            let mut entry = libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: the array is one entry long and lives over the call.
            unsafe { libc::poll(&mut entry, 1, -1) };
        },
        |fd| {
            // SAFETY: the set is initialised, lives over the call, and `fd` is below its size.
            unsafe {
                let mut set: libc::fd_set = std::mem::zeroed();
                libc::FD_SET(fd, &mut set);
                let null = std::ptr::null_mut();
                libc::select(fd + 1, &mut set, null, null, std::ptr::null_mut());
            }
        },
    ];
    for wait in waits {
        let (tell, told) = mpsc::channel();
        let waiter = std::thread::spawn(move || {
            // SAFETY: gettid has no arguments and cannot fail.
            tell.send(Pid::from_raw(unsafe { libc::gettid() })).unwrap();
            wait(fd);
        });
        let tid = told.recv().unwrap();
        let bound = Instant::now() + Duration::from_secs(30);
        let mut memory = ProcessMemory { pid, file: None };
        while thread(pid, tid, &mut memory) != Asleep::Reading(fd) {
            let seen = thread(pid, tid, &mut memory);
            if seen == Asleep::Unreadable {
                eprintln!("skipped: /proc/PID/syscall cannot be read here");
                break;
            }
            assert!(Instant::now() < bound, "{seen:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .send_to(b"x", address)
            .unwrap();
        waiter.join().unwrap();
        socket.recv(&mut [0]).unwrap();
        // A thread that has been joined may still be about to leave.
        while thread(pid, tid, &mut memory) != Asleep::Gone {
            assert!(Instant::now() < bound);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

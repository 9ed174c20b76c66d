//! The filter takes exactly its ports, and no answer of the kernel can bring the reader
//! down.

use std::net::{TcpListener, TcpStream};

use super::*;

/// The kernel's `inet_diag_bc_run` for a socket with this local port.
fn run(program: &[u8], port: u16) -> bool {
    let mut at = 0;
    while at < program.len() {
        let no = u16_at(program, at + 2).unwrap();
        let operand = || u16_at(program, at + 6).unwrap();
        let yes = match program[at] {
            INET_DIAG_BC_S_GE => port >= operand(),
            INET_DIAG_BC_S_LE => port <= operand(),
            INET_DIAG_BC_JMP => false,
            code => panic!("operation {code}"),
        };
        at += if yes {
            program[at + 1].into()
        } else {
            usize::from(no)
        };
    }
    at == program.len()
}

fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = ((NLMSG_HEADER + payload.len()) as u32)
        .to_ne_bytes()
        .to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

fn payload(family: i32, state: u8, info: usize) -> Vec<u8> {
    let mut bytes = vec![0; DIAG_MSG];
    (bytes[0], bytes[1]) = (family as u8, state);
    bytes[4..6].copy_from_slice(&8080u16.to_be_bytes());
    bytes[6..8].copy_from_slice(&4321u16.to_be_bytes());
    if family == libc::AF_INET6 {
        bytes[8..24].copy_from_slice(&"::ffff:10.0.0.1".parse::<Ipv6Addr>().unwrap().octets());
        bytes[24..40].copy_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
    } else {
        bytes[8..12].copy_from_slice(&[10, 0, 0, 1]);
        bytes[24..28].copy_from_slice(&[10, 0, 0, 2]);
    }
    bytes[44..52].copy_from_slice(&[1, 0, 0, 0, 2, 0, 0, 0]);
    bytes[56..60].copy_from_slice(&11u32.to_ne_bytes());
    bytes[60..64].copy_from_slice(&12u32.to_ne_bytes());
    bytes[68..72].copy_from_slice(&13u32.to_ne_bytes());
    // Some other attribute of an odd length first.
    bytes.extend([5, 0, 8, 0, 1, 0, 0, 0]);
    bytes.extend(((4 + info) as u16).to_ne_bytes());
    bytes.extend(INET_DIAG_INFO.to_ne_bytes());
    bytes.extend((0..info).map(|i| if i % 4 == 0 { (i / 4) as u8 } else { 0 }));
    bytes
}

fn read(bytes: &[u8]) -> (Result<bool, DumpError>, bool, Vec<Connection>) {
    let (mut interrupted, mut out) = (false, Vec::new());
    let result = read_datagram(bytes, 1, &mut interrupted, &mut out);
    (result, interrupted, out)
}

#[test]
fn ports_become_ranges() {
    assert_eq!(ranges(&[80]), [(80, 80)]);
    assert_eq!(
        ranges(&[443, 80, 81, 80, 82, 65535, 65534]),
        [(80, 82), (443, 443), (65534, 65535)]
    );
    for port in 0..=u16::MAX {
        let wanted = within(&[(80, 82), (443, 443), (65534, 65535)], port);
        assert_eq!(wanted, matches!(port, 80..=82 | 443 | 65534..), "{port}");
    }
    assert!(!within(&[], 80));
}

#[test]
fn the_filter_takes_exactly_its_ports() {
    for ports in [
        &[80][..],
        &[1, 65535],
        &[80, 81, 443, 8080],
        &[9000, 22, 9001, 5432, 7],
    ] {
        let program = filter(&ranges(ports));
        for port in 0..=u16::MAX {
            assert_eq!(
                run(&program, port),
                ports.contains(&port),
                "{ports:?} {port}"
            );
        }
    }
}

#[test]
fn a_socket_is_read_at_its_offsets() {
    let mut bytes = message(SOCK_DIAG_BY_FAMILY, 2, 1, &payload(libc::AF_INET, 1, 240));
    bytes.extend(message(
        TCPDIAG_GETSOCK,
        2,
        1,
        &payload(libc::AF_INET6, 12, 136),
    ));
    bytes.extend(message(NLMSG_DONE, 2, 1, &[0; 4]));
    let (result, interrupted, out) = read(&bytes);
    assert_eq!((result, interrupted), (Ok(true), false));
    let [first, second] = out[..] else {
        panic!("{out:?}")
    };
    let at = |word: u64| word | (word + 1) << 32;
    assert_eq!(
        first,
        Connection {
            cookie: 1 | 2 << 32,
            local: "10.0.0.1:8080".parse().unwrap(),
            remote: "10.0.0.2:4321".parse().unwrap(),
            state: TcpState::Established,
            recv_queue: 11,
            send_queue: 12,
            inode: 13,
            info: Some(TcpInfo {
                last_data_sent: 11,
                last_data_recv: 13,
                bytes_received: at(32),
                bytes_sent: at(50),
                last_ack_recv: 14,
                round_trip: 17,
                segments: Some(Segments {
                    received: 38,
                    sent: 39,
                    bare: 34u32.wrapping_sub(39),
                }),
            }),
        }
    );
    assert_eq!(second.state, TcpState::SynRecv);
    assert_eq!(second.local, "10.0.0.1:8080".parse().unwrap());
    assert_eq!(second.remote, "[2001:db8::1]:4321".parse().unwrap());
    // An older kernel does not count the bytes sent, only those acknowledged.
    assert_eq!(second.info.unwrap().bytes_sent, at(30));
    assert_eq!(second.info.unwrap().segments, None);
}

#[test]
fn a_kernel_without_the_counters_gives_a_connection_without_info() {
    let bytes = message(SOCK_DIAG_BY_FAMILY, 2, 1, &payload(libc::AF_INET, 1, 104));
    assert_eq!(read(&bytes).2[0].info, None);
}

#[test]
fn unknown_families_states_kinds_and_answers_to_others_are_passed_over() {
    let mut bytes = message(SOCK_DIAG_BY_FAMILY, 2, 1, &payload(1, 1, 240));
    bytes.extend(message(
        SOCK_DIAG_BY_FAMILY,
        2,
        1,
        &payload(libc::AF_INET, 77, 240),
    ));
    bytes.extend(message(
        SOCK_DIAG_BY_FAMILY,
        2,
        9,
        &payload(libc::AF_INET, 1, 240),
    ));
    bytes.extend(message(NLMSG_DONE, 2, 9, &[0; 4]));
    bytes.extend(message(999, 2, 1, &[1, 2, 3]));
    assert_eq!(read(&bytes), (Ok(false), false, vec![]));
}

#[test]
fn errors_are_told_apart() {
    let error =
        |kind, errno: i32| read(&message(kind, 2, 1, &errno.wrapping_neg().to_ne_bytes())).0;
    assert_eq!(
        error(NLMSG_ERROR, libc::EPERM),
        Err(DumpError::Refused(Errno::EPERM))
    );
    assert_eq!(
        error(NLMSG_ERROR, libc::ENOENT),
        Err(DumpError::Refused(Errno::ENOENT))
    );
    assert_eq!(
        error(NLMSG_DONE, libc::ENOMEM),
        Err(DumpError::Failed(Errno::ENOMEM))
    );
    assert_eq!(error(NLMSG_ERROR, 0), Err(DumpError::Malformed));
    assert_eq!(
        error(NLMSG_ERROR, i32::MIN),
        Err(DumpError::Failed(Errno::UnknownErrno))
    );
    assert_eq!(
        error(NLMSG_OVERRUN, 0),
        Err(DumpError::Failed(Errno::ENOBUFS))
    );
    assert_eq!(read(&message(NLMSG_DONE, 2, 1, &[])).0, Ok(true));
}

#[test]
fn an_interrupted_dump_is_noticed() {
    let mut bytes = message(SOCK_DIAG_BY_FAMILY, 2, 1, &payload(libc::AF_INET, 1, 240));
    bytes.extend(message(NLMSG_DONE, NLM_F_DUMP_INTR, 1, &[0; 4]));
    assert_eq!((read(&bytes).0, read(&bytes).1), (Ok(true), true));
}

#[test]
fn no_input_panics() {
    let mut good = message(SOCK_DIAG_BY_FAMILY, 2, 1, &payload(libc::AF_INET6, 1, 240));
    good.extend(message(NLMSG_DONE, 2, 1, &[0; 4]));
    for length in 0..good.len() {
        let _ = read(&good[..length]);
        let payload = &good[NLMSG_HEADER..NLMSG_HEADER.max(length)];
        let whole = read(&message(SOCK_DIAG_BY_FAMILY, 2, 1, payload)).0;
        let short = payload.len() < DIAG_MSG;
        assert_eq!(
            whole,
            if short {
                Err(DumpError::Malformed)
            } else {
                Ok(false)
            },
            "{length}"
        );
    }
    // Each byte in turn takes values that lengths, kinds and states trip over.
    for at in 0..good.len() {
        for value in [0, 1, 3, 4, 15, 16, 127, 128, 254, 255] {
            let mut bytes = good.clone();
            bytes[at] = value;
            let _ = read(&bytes);
        }
    }
    assert_eq!(read(&[]).0, Err(DumpError::Malformed));
    assert_eq!(read(&[0; 64]).0, Err(DumpError::Malformed));
}

#[test]
fn both_kinds_of_request_find_the_same_sockets() {
    let listeners: Vec<TcpListener> = ["127.0.0.1:0", "[::1]:0"]
        .iter()
        .map(|at| TcpListener::bind(at).unwrap())
        .collect();
    let ends: Vec<TcpStream> = listeners
        .iter()
        .map(|l| TcpStream::connect(l.local_addr().unwrap()).unwrap())
        .collect();
    let _accepted: Vec<TcpStream> = listeners.iter().map(|l| l.accept().unwrap().0).collect();
    let locals: Vec<SocketAddr> = listeners.iter().map(|l| l.local_addr().unwrap()).collect();
    let ports: Vec<u16> = listeners
        .iter()
        .map(|l| l.local_addr().unwrap().port())
        .collect();
    let mut remotes: Vec<SocketAddr> = ends.iter().map(|s| s.local_addr().unwrap()).collect();
    remotes.sort();

    for by_family in [false, true] {
        let mut diag = SockDiag::open().unwrap();
        diag.by_family = by_family;
        let mut found = Vec::new();
        // Over several looks the socket and the buffer are the same.
        for _ in 0..3 {
            diag.dump(&[TcpState::Established], Some(&ports), &mut found)
                .unwrap();
            // On the other family anybody may have a connection from one of those ports.
            found.retain(|c| locals.contains(&c.local));
            let mut seen: Vec<SocketAddr> = found.iter().map(|c| c.remote).collect();
            seen.sort();
            assert_eq!(seen, remotes);
            assert!(
                found.iter().all(|c| c.inode != 0 && c.info.is_some()),
                "{found:?}"
            );
            diag.dump(&[TcpState::Listen], Some(&ports), &mut found)
                .unwrap();
            found.retain(|c| locals.contains(&c.local));
            assert_eq!(found.len(), 2);
        }
        diag.dump(
            &[TcpState::Established, TcpState::Listen],
            Some(&[]),
            &mut found,
        )
        .unwrap();
        assert_eq!(found, []);
        diag.dump(&[TcpState::Established, TcpState::Listen], None, &mut found)
            .unwrap();
        assert!(found.len() >= 6);
        // More ranges than the kernel is given.
        let many: Vec<u16> = (1..=500)
            .map(|n| n * 2)
            .chain(ports.iter().copied())
            .collect();
        diag.dump(&[TcpState::Established], Some(&many), &mut found)
            .unwrap();
        assert_eq!(
            found.iter().filter(|c| remotes.contains(&c.remote)).count(),
            2
        );
        assert_eq!(diag.by_family, by_family);
    }
}

#[test]
fn what_a_given_up_dump_left_does_not_answer_the_next() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut diag = SockDiag::open().unwrap();
    let mut found = Vec::new();
    diag.buffer.resize(BUFFER, 0);
    diag.socket = None;
    diag.dump(&[TcpState::Listen], Some(&[port]), &mut found)
        .unwrap();
    assert_eq!(found.len(), 1);
    // An old answer, still queued.
    let mut old = Vec::new();
    build(
        &mut old,
        12345,
        AddressFamily::Unspec,
        &[TcpState::Listen],
        None,
    );
    send(
        diag.socket.as_ref().unwrap().as_raw_fd(),
        &old,
        MsgFlags::empty(),
    )
    .unwrap();
    let _ = diag.dump(&[TcpState::Listen], Some(&[port]), &mut found);
    diag.dump(&[TcpState::Listen], Some(&[port]), &mut found)
        .unwrap();
    assert_eq!(found.len(), 1);
}

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Instant;

use nix::errno::Errno;

use super::*;
use crate::drain::rules::{Patience, Protocols};
use crate::record::held::Why;

fn impatient() -> Tracker {
    let patience = Patience {
        quiet: Some(Duration::ZERO),
        longest: Duration::ZERO,
    };
    Tracker::new(patience, Protocols::default())
}

#[test]
fn where_sock_diag_is_refused_every_open_connection_counts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let tree = || vec![Pid::this()];
    let mut drain = DrainedPorts::new(Ports::List(vec![port]), impatient());
    assert_eq!(drain.fallback(), None);
    let refused = sock_diag::DumpError::Refused(Errno::EPERM);
    drain.source = SocketSource::ProcNet(refused);
    assert_eq!(drain.fallback(), Some(refused));

    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let server = listener.accept().unwrap().0;
    // The byte takes its way, and the kernel may pass a socket over while others come and go.
    let bound = Instant::now() + Duration::from_secs(20);
    let mut look_until = |wanted| loop {
        let look = drain.look(Duration::ZERO, tree).unwrap();
        if look.held.first().is_some_and(|held| held.why == wanted) {
            break look.in_flight;
        }
        assert!(Instant::now() < bound, "{look:?}");
    };
    // Idle by every rule that needs TCP_INFO.
    assert_eq!(look_until(Why::Connected), 1);
    client.write_all(b"x").unwrap();
    assert_eq!(look_until(Why::Unread), 1);
    // Not dropped: what another test has forked meanwhile may hold it, too.
    server.shutdown(Shutdown::Both).unwrap();
    assert!(!drain.look(Duration::from_secs(2), tree).unwrap().drained);
    assert!(drain.look(Duration::from_secs(3), tree).unwrap().drained);
}

#[test]
fn what_is_being_made_when_others_begin_to_get_connections_is_ours() {
    let ports = Ports::List(vec![80]);
    let mut drain = DrainedPorts::new(ports, impatient()).with_passed_on(vec![7], true);
    let connection = |cookie, state, inode| Connection {
        cookie,
        local: ([127, 0, 0, 1], 80).into(),
        remote: ([127, 0, 0, 1], 1000).into(),
        state,
        recv_queue: 0,
        send_queue: 0,
        inode,
        info: None,
    };
    let mut left = |millis, found: &[Connection]| -> Vec<u64> {
        drain.found = found.to_vec();
        drain.leave_out_those_of_others(Duration::from_millis(millis));
        drain.found.iter().map(|c| c.cookie).collect()
    };
    let made = |cookie| connection(cookie, TcpState::Established, 9);
    let being_made = |cookie| connection(cookie, TcpState::SynRecv, 0);
    // What waits in a queue is counted there.
    let queued = |cookie| connection(cookie, TcpState::Established, 0);
    assert_eq!(left(0, &[made(1), being_made(2), queued(3)]), [1, 2]);
    assert_eq!(left(100, &[made(1), being_made(2), being_made(4)]), [1, 2]);
    assert!(left(200, &[queued(2), queued(4)]).is_empty());
    // Only its owner tells whose it is.
    assert_eq!(left(300, &[made(2), made(4)]), [2, 4]);
    assert_eq!(left(5_000, &[made(2), made(5), being_made(6)]), [2]);
}

#[test]
fn no_ports_are_nothing_to_wait_for() {
    let mut drain = DrainedPorts::new(Ports::List(Vec::new()), impatient());
    assert!(!drain.look(Duration::ZERO, Vec::new).unwrap().drained);
    let look = drain.look(drain.next_look(), Vec::new).unwrap();
    assert_eq!((look.drained, look.idle), (true, 0));
    assert_eq!(drain.leaving().unwrap(), Leaving::default());
}

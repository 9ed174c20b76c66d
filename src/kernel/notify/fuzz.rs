//! Whatever a program says and brings along, what is passed on is passed on once, and no descriptor is lost.

use std::io::IoSlice;

use nix::sys::socket::{AddressFamily, sendmsg, setsockopt, sockopt};
use nix::sys::socket::{ControlMessage, MsgFlags, SockFlag, SockType, socketpair};

use super::message::STATUS;
use super::*;
use crate::plan::sockets;

fn message(bytes: &[u8]) -> Message {
    let message = Message::parse(bytes);
    assert!(message.main_pid.is_none_or(|pid| pid > 0));
    let status = message.status.as_deref().unwrap_or_default();
    assert!(status.chars().count() <= STATUS);
    assert!(message.fd_name.as_deref().is_none_or(sockets::is_name));
    // Nothing that is ours is in what is passed on, and all of it would be passed on again.
    let onward = Message::parse(&message.onward);
    assert_eq!(onward.onward, message.onward);
    assert!(!onward.ready && !onward.stopping && !onward.store && !onward.unstore);
    assert_eq!(onward.main_pid.or(onward.in_flight.map(|_| 0)), None);
    assert_eq!((onward.fd_name, onward.unpolled), (None, false));
    assert_eq!(onward.status, message.status);
    assert_eq!(onward.extend, message.extend);
    assert_eq!(onward.watchdog, message.watchdog);
    message
}

/// The first byte says how many descriptors come along, and whether there is room for them.
pub(crate) fn notification(bytes: &[u8]) {
    let Some((first, said)) = bytes.split_first() else {
        return;
    };
    let parsed = message(said);
    let (count, is_room) = (usize::from(first >> 1), first & 1 == 1);
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Datagram, None, flags).unwrap();
    setsockopt(&ours, sockopt::PassCred, &true).unwrap();
    let brought = vec![theirs.as_raw_fd(); count];
    let rights = [ControlMessage::ScmRights(&brought)];
    let along = if count == 0 { &[][..] } else { &rights[..] };
    let slice = [IoSlice::new(said)];
    let number = theirs.as_raw_fd();
    sendmsg::<()>(number, &slice, along, MsgFlags::empty(), None).unwrap();
    let mut buffer = vec![0; LARGEST];
    let mut room = if is_room {
        Room::for_descriptors()
    } else {
        Room::for_credentials()
    };
    let received = sys::notify::receive(&ours, &mut buffer, &mut room);
    if said.len() > LARGEST {
        assert_eq!(received.err(), Some(Errno::EMSGSIZE));
        return;
    }
    let received = received.unwrap();
    assert_eq!(message(&buffer[..received.length]), parsed);
    assert_eq!(received.sender.pid, std::process::id().cast_signed());
    let there = received.descriptors.len();
    assert_eq!(there, if is_room { count } else { 0 });
    assert_eq!(received.cut, there < count);
    drop(received);
    // Closed, all of them: the other side has no writer any more.
    drop(theirs);
    let rest = sys::notify::receive(&ours, &mut buffer, &mut room);
    assert_eq!(rest.err(), Some(Errno::EAGAIN));
}

//! Answers of servers, and the packet of a goodbye.

use super::{brief, mdns};
use crate::plan::mdns::Service;

/// The status is the same however the bytes come, and whatever follows the head.
pub(crate) fn answer(bytes: &[u8]) {
    let whole = brief::parsed(&mut bytes.to_vec());
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let mut head = Vec::new();
    let mut found = Ok(None);
    for chunk in rest.chunks(usize::from(*first).max(1)) {
        head.extend_from_slice(chunk);
        found = brief::parsed(&mut head);
        if !matches!(found, Ok(None)) {
            break;
        }
    }
    let at_once = brief::parsed(&mut rest.to_vec());
    assert_eq!(found.is_err(), at_once.is_err(), "{found:?} {at_once:?}");
    assert_eq!(found.ok().flatten(), at_once.ok().flatten());
    if let Ok(Some(status)) = whole {
        let more = [bytes, b"\0\xff\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"].concat();
        assert_eq!(brief::parsed(&mut more.clone()), Ok(Some(status)));
    }
}

/// The packet ends where its records end.
pub(crate) fn goodbye(service: &Service, host: &str) {
    let packet = mdns::goodbye(service, host);
    let mut rest = &packet[12..];
    let name = |rest: &mut &[u8]| loop {
        let (length, after) = rest.split_first().unwrap();
        assert!(*length < 64, "{length}");
        *rest = &after[usize::from(*length)..];
        if *length == 0 {
            break;
        }
    };
    for _ in 0..packet[7] {
        name(&mut rest);
        let data = usize::from(u16::from_be_bytes([rest[8], rest[9]]));
        rest = &rest[10 + data..];
    }
    assert!(rest.is_empty());
}

//! What programs and service managers say to the kernel's side: notifications, pid files, names of descriptors.

pub(crate) use super::notify::fuzz::notification;
use super::{heir, sockets};
use crate::fuzz::text;

pub(crate) fn pid_file(bytes: &[u8]) {
    let text = text(bytes);
    let read = heir::pid_in_text(&text, false);
    match &read {
        Ok(pid) => {
            assert!(*pid > 0);
            assert_eq!(heir::pid_in_text(&format!("{pid}\n"), true), read);
        }
        Err(why) => assert!(!why.is_empty()),
    }
    // Lines after the first change nothing.
    if text.contains('\n') {
        assert_eq!(heir::pid_in_text(&format!("{text}\n7\n"), true), read);
    }
}

pub(crate) fn listen_names(bytes: &[u8]) {
    let Some((count, names)) = bytes.split_first() else {
        return;
    };
    let count = usize::from(*count);
    let names = sockets::named(&text(names), count);
    assert_eq!(names.len(), count);
    assert!(
        names
            .iter()
            .all(|name| !name.is_empty() && !name.contains(':'))
    );
    // As they are passed on.
    assert_eq!(sockets::named(&names.join(":"), count), names);
}

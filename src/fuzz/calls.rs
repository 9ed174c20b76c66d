//! Hooks, URLs, and the pages that are asked for.

use super::{show, text};
use crate::call;
use crate::plan::call::{self as plan, Call};
use crate::plan::until::Selector;

/// A hook that is a URL: as it is logged it is the same again.
pub(super) fn url(bytes: &[u8]) {
    let text = text(bytes);
    for fault in [
        plan::http(&text).err(),
        plan::udp(&text).err(),
        crate::plan::mdns::parse(&text).err(),
        plan::body(&text).err(),
    ] {
        fault.iter().for_each(show);
    }
    match plan::parse(&text) {
        Some(Ok(Call::Http(request))) => {
            let written = format!("{} {}", request.method, request.url());
            assert_eq!(
                plan::parse(&written),
                Some(Ok(Call::Http(request))),
                "{written}"
            );
        }
        Some(Ok(Call::Goodbye(service))) => call::fuzz::goodbye(&service, "host.example"),
        Some(Ok(Call::Udp(datagram))) => assert!(datagram.payload.len() <= text.len()),
        Some(Err(fault)) => show(&fault),
        None => {}
    }
}

/// The first line selects series of the page in the others.
pub(super) fn metrics(bytes: &[u8]) {
    let text = text(bytes);
    let (selector, page) = text.split_once('\n').unwrap_or((&text, ""));
    match Selector::parse(selector) {
        Ok(selector) => match selector.sum(page) {
            Ok(sum) => {
                assert!(sum >= 0.0);
                let comment = format!("{page}\n# a comment\n");
                assert_eq!(selector.sum(&comment), Ok(sum));
            }
            Err(why) => assert!(!why.is_empty()),
        },
        Err(why) => assert!(!why.is_empty()),
    }
}

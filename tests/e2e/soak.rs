//! A slice of `scripts/soak`: all that repeats does so, and the end is as clean as after one life.

use crate::support::{binary, need, script};

#[test]
fn what_repeats_leaves_no_zombie_and_every_request_is_answered() {
    need!(binary::installed("/usr/bin/python3"));
    let script::Told { text, error, .. } = script::told(
        script::command("soak")
            .args(["--minutes=0.1", "--stepdown"])
            .arg(binary::under_test()),
    );
    assert!(error.is_empty(), "{error}{text}");
    assert!(text.contains(" requests answered, 0 not;"), "{text}");
    assert!(!text.starts_with("0 restarts"), "{text}");
    // So short a time is for what fills itself up to a bound: only a long run can say that nothing grows.
    let wrong = [
        "zombie",
        "does not end",
        "it has ended with",
        " due is ",
        " left",
    ];
    assert!(!wrong.iter().any(|wrong| text.contains(wrong)), "{text}");
}

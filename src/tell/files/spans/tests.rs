//! The trace, as a collector reads it.

use super::*;

#[test]
fn what_has_not_ended_ends_now_and_numbers_stay() {
    let mut spans = Spans::new(&["/usr/bin/web".into()], 7);
    let at = Duration::from_secs;
    spans.tell(
        at(1),
        &Record::StopAsked {
            reason: crate::record::Reason::Signal,
            signal: Some(Signal::TERM),
            sender: None,
            deadline: None,
        },
    );
    let hook = Record::HookStarted {
        phase: HookPhase::PostStop,
        name: "a".to_owned(),
    };
    spans.tell(at(3), &hook);
    let first: serde_json::Value =
        serde_json::from_str(&spans.json(None, UNIX_EPOCH, at(4))).unwrap();
    let all = &first["resourceSpans"][0]["scopeSpans"][0]["spans"];
    let names: Vec<_> = (0..3).map(|i| all[i]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["stop", "post-stop", "a"]);
    assert_eq!(all[1]["parentSpanId"], all[0]["spanId"]);
    assert_eq!(all[2]["parentSpanId"], all[1]["spanId"]);
    assert_eq!(all[2]["startTimeUnixNano"], "3000000000");
    assert_eq!(all[2]["endTimeUnixNano"], "4000000000");
    let again: serde_json::Value =
        serde_json::from_str(&spans.json(None, UNIX_EPOCH, at(4))).unwrap();
    assert_eq!(first, again);
}

#[test]
fn kill_is_a_failure_of_the_ladder_only_where_it_ended_the_child() {
    for (ended_by, failed) in [(Signal::TERM, false), (Signal::KILL, true)] {
        let mut spans = Spans::new(&["web".into()], 7);
        let asked = Record::StopAsked {
            reason: crate::record::Reason::Signal,
            signal: Some(Signal::TERM),
            sender: None,
            deadline: None,
        };
        let step = Record::Step {
            step: 2,
            of: 2,
            text: "KILL".into(),
            signal: Some(Signal::KILL),
            target: crate::plan::Target::Tree,
            by_terminal: false,
            passed_on: false,
            wait: None,
        };
        let exited = Record::ChildExited {
            status: ExitStatus::Killed {
                signal: ended_by,
                core: false,
            },
            after: Duration::ZERO,
            step: Some(2),
        };
        for record in [&asked, &step, &exited] {
            spans.tell(Duration::ZERO, record);
        }
        let ladder = spans.phases.iter().find(|phase| phase.name == "ladder");
        let ladder = ladder.unwrap();
        assert_eq!(ladder.failed.is_some(), failed, "{ended_by}");
    }
}

#[test]
fn who_is_replaced_has_a_trace_of_its_own() {
    use crate::record::Reason;
    let mut spans = Spans::new(&["web".into()], 7);
    let at = Duration::from_secs;
    let asked = |reason| Record::StopAsked {
        reason,
        signal: None,
        sender: None,
        deadline: None,
    };
    let serves = Record::Replaced {
        generation: 2,
        before: 1,
        pid: None,
        ready: true,
    };
    spans.tell(at(1), &serves);
    let of_first = |record| Record::OfGeneration {
        generation: 1,
        record: Box::new(record),
    };
    spans.tell(at(1), &of_first(asked(Reason::Replaced)));
    spans.tell(at(2), &asked(Reason::Signal));
    let told = |generation| {
        let text = spans.json(Some(generation), UNIX_EPOCH, at(3));
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        told["resourceSpans"][0]["scopeSpans"][0]["spans"][0].clone()
    };
    let (first, second) = (told(1), told(2));
    let reason = |span: &serde_json::Value| span["attributes"][0]["value"]["stringValue"].clone();
    assert_eq!(
        (reason(&first), reason(&second)),
        ("replaced".into(), "signal".into())
    );
    assert_ne!(first["traceId"], second["traceId"]);
}

#[test]
fn a_kill_for_lack_of_memory_long_before_begins_no_stop() {
    let mut spans = Spans::new(&["web".into()], 7);
    let (kills, limit) = (1, None);
    let counted_from = crate::record::CountedFrom::Start;
    spans.tell(
        Duration::ZERO,
        &Record::OomKilled {
            kills,
            before_this_life: 0,
            counted_from,
            limit,
        },
    );
    let (status, after, step) = (ExitStatus::Exited(3), Duration::ZERO, None);
    spans.tell(
        Duration::from_secs(9),
        &Record::ChildExited {
            status,
            after,
            step,
        },
    );
    assert_eq!(spans.stop.unwrap().start, Duration::from_secs(9));
}

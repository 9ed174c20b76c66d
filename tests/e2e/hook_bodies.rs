//! What HTTP hooks carry: the report, metrics as a Pushgateway takes them, a trace as a collector of OpenTelemetry takes
//! it, or a text.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::files::directory;
use crate::support::ended::Ended;
use crate::support::net::free_port;
use crate::support::{BOUND, Mode, Stepdown, binary, both, need, wait_until};

/// A request that has come.
struct Posted {
    line: String,
    headers: String,
    body: String,
}

impl Posted {
    fn has_header(&self, header: &str) {
        let headers = &self.headers;
        let has_it = headers
            .lines()
            .any(|line| line.eq_ignore_ascii_case(header));
        assert!(has_it, "{header} in {headers}");
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

fn read(stream: TcpStream) -> Option<Posted> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = String::new();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        let lower = header.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        headers.push_str(&header.replace('\r', ""));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    reader.get_mut().write_all(answer).ok()?;
    Some(Posted {
        line: line.trim().to_owned(),
        headers,
        body: String::from_utf8(body).ok()?,
    })
}

/// Takes each request, and answers 200.
fn inbox() -> (u16, Receiver<Posted>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback");
    let port = listener.local_addr().expect("bound").port();
    let (sender, inbox) = channel();
    thread::spawn(move || {
        for posted in listener.incoming().flatten().filter_map(read) {
            if sender.send(posted).is_err() {
                return;
            }
        }
    });
    (port, inbox)
}

/// A run with this file, which is asked to stop once the child is ready.
fn stopped(mode: Mode, config: &str, script: &str) -> Ended {
    let dir = directory();
    let file = dir.path().join("stepdown.toml");
    fs::write(&file, config).expect("a directory of ours");
    let mut run = Stepdown::in_mode(mode)
        .args(["--config".as_ref(), file.as_os_str()])
        .shell(script)
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    run.wait()
}

const OBEDIENT: &str = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done";

#[test]
fn the_report_is_sent_with_all_that_has_happened() {
    both(|mode| {
        let (port, inbox) = inbox();
        let hook = format!(
            "[[post-stop]]\nname = 'told'\nhttp = 'http://127.0.0.1:{port}/runs'\nbody = 'report'\n"
        );
        let ended = stopped(mode, &hook, OBEDIENT);
        ended.code(3).logged(&["post-stop hook", "told", "done"]);
        let posted = inbox.recv_timeout(BOUND).expect("it was sent");
        assert_eq!(posted.line, "POST /runs HTTP/1.1");
        posted.has_header("content-type: application/json");
        let report = posted.json();
        assert_eq!(
            (&report["schema"], &report["outcome"]),
            (&1.into(), &Value::Null)
        );
        let events: Vec<_> = report["records"]
            .as_array()
            .expect("a list")
            .iter()
            .collect();
        let exited = events
            .iter()
            .find(|record| record["event"] == "child-exited");
        assert_eq!(exited.expect("it has")["status"]["exited"], 3);
    });
}

#[test]
fn a_text_is_json_where_it_is_one() {
    let (port, inbox) = inbox();
    let to = format!("http://127.0.0.1:{port}/");
    let hooks = format!(
        "[[pre-stop]]\nhttp = 'PUT {to}'\nbody = 'text:web is going'\n\
         [[pre-stop]]\nhttp = '{to}'\nbody = 'text:{{\"text\": \"web is going\"}}'\n"
    );
    stopped(Mode::Ordinary, &hooks, OBEDIENT).code(3);
    let plain = inbox.recv_timeout(BOUND).expect("it was sent");
    assert_eq!(
        (&plain.line[..4], &plain.body[..]),
        ("PUT ", "web is going")
    );
    plain.has_header("content-type: text/plain; charset=utf-8");
    let json = inbox.recv_timeout(BOUND).expect("it was sent");
    assert_eq!(json.json()["text"], "web is going");
    json.has_header("content-type: application/json");
}

/// Its documentation: PUT replaces the group that the path names, the body is in the text format, each line ends with
/// a line feed, and no sample has a time.
#[test]
fn metrics_are_what_a_pushgateway_takes() {
    let (port, inbox) = inbox();
    let to = format!("http://127.0.0.1:{port}/metrics/job/web/instance/a");
    let hook = format!("[[post-stop]]\nhttp = 'PUT {to}'\nbody = 'metrics'\n");
    stopped(Mode::Ordinary, &hook, OBEDIENT).code(3);
    let posted = inbox.recv_timeout(BOUND).expect("it was sent");
    assert_eq!(posted.line, "PUT /metrics/job/web/instance/a HTTP/1.1");
    posted.has_header("content-type: text/plain; version=0.0.4; charset=utf-8");
    assert!(
        posted.body.ends_with('\n') && posted.body.contains("stepdown_child_start_time_seconds ")
    );
    for line in posted.body.lines().filter(|line| !line.starts_with('#')) {
        let sample = line.rsplit_once('}').map_or(line, |(_, rest)| rest);
        let words = sample.split_whitespace().count();
        assert!(words <= 2, "no time: {line}");
    }
}

/// A Pushgateway of the story's own.
struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(port: u16, target: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    let request = format!("GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn a_pushgateway_takes_and_serves_them() {
    const GATEWAY: &str = "/usr/bin/prometheus-pushgateway";
    need!(binary::installed(GATEWAY));
    let port = free_port();
    let gateway = Command::new(GATEWAY)
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stderr(Stdio::null())
        .spawn();
    let _gateway = Gateway(gateway.expect("it is installed"));
    wait_until("it is ready", || {
        get(port, "/-/ready").is_some_and(|answer| answer.contains(" 200 "))
    });
    let to = format!("http://127.0.0.1:{port}/metrics/job/web/instance/a");
    let hook = format!("[[post-stop]]\nhttp = 'PUT {to}'\nbody = 'metrics'\nname = 'push'\n");
    let ended = stopped(Mode::Ordinary, &hook, OBEDIENT);
    ended.logged(&["post-stop hook", "push", "done"]);
    let served = get(port, "/metrics").expect("it serves");
    let ours = "stepdown_child_uptime_seconds{instance=\"a\",job=\"web\"}";
    assert!(served.contains(ours), "{served}");
}

/// What `ExportTraceServiceRequest` has in the JSON of OTLP: numbers of traces and spans in hexadecimal, 64 bits as
/// strings, enumerations as numbers, and no other keys.
fn is_a_span(span: &Value) {
    let keys: BTreeSet<_> = span.as_object().expect("an object").keys().collect();
    let known = [
        "traceId",
        "spanId",
        "parentSpanId",
        "name",
        "kind",
        "startTimeUnixNano",
        "endTimeUnixNano",
        "attributes",
        "events",
        "status",
    ];
    assert!(
        keys.iter().all(|key| known.contains(&key.as_str())),
        "{keys:?}"
    );
    let is_hexadecimal = |key: &str, digits: usize| {
        let text = span[key].as_str().expect(key);
        text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    assert!(is_hexadecimal("traceId", 32) && is_hexadecimal("spanId", 16));
    let parent = span["parentSpanId"].as_str().expect("a text");
    assert!(parent.is_empty() || is_hexadecimal("parentSpanId", 16));
    let at = |key: &str| span[key].as_str().and_then(|text| text.parse::<u64>().ok());
    let (start, end) = (at("startTimeUnixNano"), at("endTimeUnixNano"));
    assert!(start.is_some_and(|start| start > 1_700_000_000_000_000_000) && start <= end);
    assert_eq!(span["kind"], 1);
    assert!((1..=2).contains(&span["status"]["code"].as_u64().expect("a number")));
    for attribute in span["attributes"].as_array().expect("a list") {
        assert!(attribute["key"].is_string());
        let value = attribute["value"].as_object().expect("an object");
        let [(kind, value)] = &value.iter().collect::<Vec<_>>()[..] else {
            panic!("one value: {attribute}");
        };
        assert!(["stringValue", "intValue"].contains(&kind.as_str()) && value.is_string());
    }
    for event in span["events"].as_array().expect("a list") {
        assert!(event["name"].is_string() && event["timeUnixNano"].is_string());
    }
}

#[test]
fn a_collector_gets_the_stop_as_a_trace_with_a_span_for_each_phase() {
    both(|mode| {
        let (port, inbox) = inbox();
        let config = format!(
            "env = {{ OTEL_SERVICE_NAME = 'not of stepdown' }}\ndrain-delay = '50ms'\n\
             [[pre-stop]]\nname = 'fails'\nrun = 'false'\n\
             [[post-stop]]\nhttp = 'http://127.0.0.1:{port}/v1/traces'\nbody = 'otlp'\n"
        );
        // What is left makes a sweep.
        stopped(mode, &config, &format!("sleep 1000 & {OBEDIENT}")).code(3);
        let posted = inbox.recv_timeout(BOUND).expect("it was sent");
        assert_eq!(posted.line, "POST /v1/traces HTTP/1.1");
        posted.has_header("content-type: application/json");
        let trace = posted.json();
        let resource = &trace["resourceSpans"][0];
        let name = &resource["resource"]["attributes"][0];
        assert_eq!(
            (&name["key"], &name["value"]["stringValue"]),
            (&"service.name".into(), &"sh".into())
        );
        let scope = &resource["scopeSpans"][0];
        assert_eq!(scope["scope"]["name"], "stepdown");
        let spans = scope["spans"].as_array().expect("a list");
        spans.iter().for_each(is_a_span);
        let named = |name: &str| {
            let span = spans.iter().find(|span| span["name"] == name);
            span.unwrap_or_else(|| panic!("{name} in {trace}"))
        };
        let root = named("stop");
        assert_eq!(root["parentSpanId"], "");
        for phase in ["pre-stop", "drain", "ladder", "sweep", "post-stop"] {
            assert_eq!(named(phase)["parentSpanId"], root["spanId"], "{phase}");
            assert_eq!(named(phase)["traceId"], root["traceId"], "{phase}");
        }
        let hook = named("fails");
        assert_eq!(hook["parentSpanId"], named("pre-stop")["spanId"]);
        assert_eq!(hook["status"]["code"], 2);
        let ids: BTreeSet<_> = spans.iter().map(|span| span["spanId"].as_str()).collect();
        assert_eq!(ids.len(), spans.len());
    });
}

/// It is sent by a copy of stepdown, in the time of the hook.
#[test]
fn a_server_that_takes_nothing_costs_the_time_of_the_hook() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback");
    let port = listener.local_addr().expect("bound").port();
    let config = format!(
        "[[post-stop]]\nhttp = 'http://127.0.0.1:{port}/'\nbody = 'report'\ntimeout = '300ms'\n"
    );
    let ended = stopped(Mode::Ordinary, &config, OBEDIENT);
    ended.code(3).stopped_within(BOUND).nothing_left();
    ended.logged(&["post-stop hook", "time"]);
}

#[test]
fn a_body_that_means_nothing_is_refused_before_the_start() {
    for (hook, hints) in [
        (
            "run = 'true'\nbody = 'report'",
            ["only a request has a body", "write http ="],
        ),
        (
            "http = 'GET http://a/'\nbody = 'report'",
            ["GET and HEAD have no body", "POST or PUT"],
        ),
        (
            "http = 'http://a/'\nbody = 'metrisc'",
            ["is no body", "did you mean metrics?"],
        ),
        (
            "http = 'http://a/'\nbody = 'pdf'",
            [":3:", "write report, metrics, otlp or text:TEXT"],
        ),
    ] {
        let dir = directory();
        let file = dir.path().join("stepdown.toml");
        fs::write(&file, format!("[[post-stop]]\n{hook}\n")).expect("a directory of ours");
        let ended = Stepdown::new()
            .args(["--config".as_ref(), file.as_os_str()])
            .shell("echo started")
            .run();
        ended.code(125).never_said("started");
        ended.logged(&[&["post-stop.body"], &hints[..]].concat());
    }
}

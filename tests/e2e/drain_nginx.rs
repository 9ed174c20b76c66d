//! The drain around an event loop: nginx with an application behind it that is in the hands of the story.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::drainee::Client;
use crate::support::net::{address, free_port};
use crate::support::running::Running;
use crate::support::{Mode, Stepdown, binary, both, need};

/// nginx before an application that is in the hands of the story.
struct Nginx {
    run: Running,
    port: u16,
    application: TcpListener,
    _directory: tempfile::TempDir,
}

impl Nginx {
    #[track_caller]
    fn start(mode: Mode, options: &[&str]) -> Self {
        let application = TcpListener::bind(address(0)).expect("loopback");
        let behind = application.local_addr().expect("a bound socket").port();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let conf = directory.path().join("nginx.conf");
        fs::write(&conf, nginx_conf(directory.path(), port, behind)).expect("a directory of ours");
        let options = options.iter().map(|o| o.replace("PORT", &port.to_string()));
        let mut run = Stepdown::in_mode(mode)
            .args(options)
            .child([
                "nginx".into(),
                "-e".into(),
                "stderr".into(),
                "-c".into(),
                conf.into_os_string(),
            ])
            .start();
        run.wait_for("nginx accepts", |_| {
            TcpStream::connect(address(port)).is_ok()
        });
        Self {
            run,
            port,
            application,
            _directory: directory,
        }
    }

    /// A request, and the connection on which the application is to answer it.
    #[track_caller]
    fn ask(&self) -> (Client, TcpStream) {
        let mut client = Client::connect(address(self.port));
        client.say("GET /application HTTP/1.1\r\nHost: x\r");
        client.say("\r");
        let (mut application, _) = self.application.accept().expect("nginx asks");
        assert_ne!(application.read(&mut [0; 1024]).expect("nginx asks"), 0);
        (client, application)
    }
}

fn nginx_conf(dir: &Path, port: u16, behind: u16) -> String {
    let dir = dir.display();
    format!(
        "daemon off; user root; worker_processes 2; pid {dir}/pid; error_log stderr error;
        events {{}}
        http {{
            access_log off; keepalive_timeout 3600;
            client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
            fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi;
            scgi_temp_path {dir}/scgi;
            server {{
                listen 127.0.0.1:{port};
                location / {{ return 200 'hello\\n'; }}
                location /application {{
                    proxy_buffering off; proxy_pass http://127.0.0.1:{behind};
                }}
            }}
        }}"
    )
}

/// Hears lines until one that ends a body of the stories; says whether it came before the connection's end.
#[track_caller]
fn hears_body(client: &mut Client, last: &str) -> bool {
    std::iter::from_fn(|| client.hear()).any(|line| line == last)
}

#[track_caller]
fn hear_body(client: &mut Client, last: &str) {
    assert!(hears_body(client, last), "the answer is cut");
}

#[test]
fn nginx_told_to_stop_at_once_answers_first() {
    need!(binary::installed("/usr/sbin/nginx"));
    both(|mode| {
        // TERM is nginx's fast shutdown: it cuts every connection.
        let mut nginx = Nginx::start(
            mode,
            &["--drain-port=PORT", "--drain-quiet=500ms", "--grace=60s"],
        );
        let (mut client, mut application) = nginx.ask();
        // An idle one beside it.
        let mut idle = Client::connect(address(nginx.port));
        idle.say("GET / HTTP/1.1\r\nHost: x\r\n\r");
        hear_body(&mut idle, "hello");
        nginx.run.signal(Signal::SIGTERM);
        nginx.run.logs("drain: ");
        nginx.run.logs("drain: 1 in flight");
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfinished\n";
        application.write_all(answer).expect("nginx waits for it");
        hear_body(&mut client, "finished");
        // Not by its timeout: the idle one is not waited for.
        let ended = nginx.run.wait();
        ended.code(0).logged(&["drained in"]).nothing_left();
    });
}

#[test]
fn nginx_streams_an_answer_with_pauses_of_600_ms_to_its_end() {
    need!(binary::installed("/usr/sbin/nginx"));
    both(|mode| {
        // A pause that the machine makes longer than the quiet time is no pause of 600 ms: what holds once could
        // not hold at all if such a pause were taken for the end.
        let is_whole = (0..5).any(|_| {
            let mut nginx = Nginx::start(mode, &["--drain-port=PORT", "--grace=60s"]);
            let (mut client, mut application) = nginx.ask();
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n";
            application.write_all(head).expect("nginx waits for it");
            nginx.run.signal(Signal::SIGTERM);
            let is_whole = ["one.", "two.", "tri.", "end."].into_iter().all(|part| {
                std::thread::sleep(Duration::from_millis(600));
                let sent = application.write_all(format!("{part}\n").as_bytes());
                sent.is_ok() && hears_body(&mut client, part)
            });
            nginx.run.wait().code(0).logged(&["drained in"]);
            is_whole
        });
        assert!(is_whole, "cut each time");
    });
}

//! A server without shutdown code under stepdown, and its clients: what the stories of the drain are told with.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

use nix::sys::signal::Signal;

use super::net::{address, free_port};
use super::running::Running;
use super::{BOUND, Mode, Stepdown, binary};

pub(crate) const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// How the server comes to run under stepdown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Start {
    Direct,
    /// `sh -c 'server & wait'`: the child is a shell that dies of TERM at once.
    BehindShell,
}

/// `drainee.c` under stepdown.
pub(crate) struct Drainee {
    pub(crate) run: Running,
    pub(crate) port: u16,
}

/// What the server listens on, and how its threads wait.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) listen: &'static str,
    pub(crate) wait: &'static str,
    pub(crate) start: Start,
}

pub(crate) const THREADED: Kind = Kind {
    listen: "127.0.0.1",
    wait: "recv",
    start: Start::Direct,
};

impl Drainee {
    /// With `PORT` in the options standing for the server's port.
    #[track_caller]
    pub(crate) fn start(mode: Mode, options: &[&str], kind: Kind) -> Self {
        Self::prepared(Stepdown::in_mode(mode), options, kind)
    }

    #[track_caller]
    pub(crate) fn prepared(stepdown: Stepdown, options: &[&str], kind: Kind) -> Self {
        let port = free_port();
        let options = options.iter().map(|o| o.replace("PORT", &port.to_string()));
        let stepdown = stepdown.args(options);
        let words = words(kind.listen, port, kind.wait);
        let stepdown = match kind.start {
            Start::Direct => stepdown.child(words),
            Start::BehindShell => stepdown.shell(&format!("{} & wait", words.join(" "))),
        };
        let mut run = stepdown.start();
        run.says("ready");
        Self { run, port }
    }

    #[track_caller]
    pub(crate) fn connect(&self) -> Client {
        Client::connect((LOCALHOST, self.port).into())
    }

    /// Lets the server finish one request that it holds.
    pub(crate) fn release(&self) {
        release(self.port);
    }

    #[track_caller]
    pub(crate) fn stop(&mut self) -> &mut Self {
        self.run.signal(Signal::SIGTERM);
        self
    }

    #[track_caller]
    pub(crate) fn logs(&mut self, part: &str) -> &mut Self {
        self.run.logs(part);
        self
    }
}

pub(crate) fn words(listen: &str, port: u16, wait: &str) -> [String; 4] {
    let program = binary::drainee().display().to_string();
    [program, listen.into(), port.to_string(), wait.into()]
}

pub(crate) fn release(port: u16) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    socket.send_to(b"x", address(port)).expect("loopback");
}

pub(crate) struct Client(pub(crate) BufReader<TcpStream>);

impl Client {
    #[track_caller]
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).expect("a server that is ready");
        stream
            .set_read_timeout(Some(BOUND))
            .expect("a bound above zero");
        Self(BufReader::new(stream))
    }

    #[track_caller]
    pub(crate) fn say(&mut self, command: &str) -> &mut Self {
        let line = format!("{command}\n");
        self.0
            .get_mut()
            .write_all(line.as_bytes())
            .expect("the server is there");
        self
    }

    /// The next line of the answer; `None` when the server has closed the connection or cut it.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }

    #[track_caller]
    pub(crate) fn hears(&mut self, line: &str) -> &mut Self {
        assert_eq!(self.hear().as_deref(), Some(line));
        self
    }
}

/// Can the threads of a server be seen waiting (rule 7)? A kernel may lack the file.
pub(crate) fn threads_can_be_read() -> Result<(), String> {
    match fs::read("/proc/self/syscall") {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("/proc/PID/syscall cannot be read: {error}")),
    }
}

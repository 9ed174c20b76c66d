//! `stepdown health`: asks an endpoint once, or until it answers 2xx or a signal comes.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::mpsc;

use super::plan::listen::Listen;
use crate::interrupts::{Interrupts, end_by};
use crate::options::{parse_duration, parse_limit};
use crate::plan::call::Request;
use crate::sys::descriptors;
use crate::sys::signals::Inherited;
use crate::words::duration;
use crate::words::fault::{Error, Fault};
use crate::{call, plan};

/// What `stepdown health` asks: the first of these that answers counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Question {
    requests: Vec<Request>,
    /// How long an answer may take.
    patience: Duration,
    /// How long to ask again; zero asks once.
    wait: Duration,
}

/// How long an answer may take, where nobody says it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// The time between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(200);

impl Question {
    /// # Errors
    /// A URL, a duration or an address is not valid, or there is no endpoint to ask.
    pub(crate) fn parse(
        url: Option<&str>,
        patience: Option<&str>,
        wait: Option<&str>,
        listen: Option<&str>,
    ) -> Result<Self, Error> {
        let patience = patience.map_or(Ok(PATIENCE), parse_limit);
        let patience = patience.map_err(|fault| Error::new("--timeout", fault))?;
        let wait = wait.map_or(Ok(Duration::ZERO), parse_duration);
        let wait = wait.map_err(|fault| Error::new("--wait", fault))?;
        let path = match url {
            Some(url) if !url.starts_with('/') => {
                let request = plan::call::http(url).map_err(|fault| {
                    let fault = match guessed(url) {
                        Some(meant) => fault.way_out(format!("write {meant}")),
                        None => fault,
                    };
                    Error::new("URL", fault)
                })?;
                return Ok(Self {
                    requests: vec![request],
                    patience,
                    wait,
                });
            }
            path => path.unwrap_or("/readyz"),
        };
        let Some(listen) = listen else {
            let fault = Fault::new("nobody to ask");
            return Err(Error::new(
                "URL",
                fault.way_out("write http://HOST:PORT/readyz, or set STEPDOWN_HEALTH_LISTEN"),
            ));
        };
        let listen = Listen::parse(listen).and_then(|listen| {
            if listen.addresses.iter().any(|address| address.port() == 0) {
                let fault = Fault::new("the kernel chooses the port");
                return Err(
                    fault.way_out("write http://HOST:PORT/readyz with the port that the log tells")
                );
            }
            Ok(listen)
        });
        let listen = listen.map_err(|fault| Error::new("STEPDOWN_HEALTH_LISTEN", fault))?;
        let requests = listen.reachable().map(|at| Request::get(at, path));
        Ok(Self {
            requests: requests.collect(),
            patience,
            wait,
        })
    }

    /// Asks, and takes no longer than the time given for it: resolving a name cannot be interrupted, so it is
    /// left to a thread. The exit code is 0 for 2xx; if a signal comes that does not end this process (PID
    /// 1), it is 128+n.
    ///
    /// # Errors
    /// Why the last answer is no 2xx, or that there is none.
    pub(crate) fn ask(self, inherited: Inherited) -> Result<u8, String> {
        descriptors::occupy_closed_streams();
        let (tell, mut answers) = mpsc::unbounded_channel();
        let this = Arc::new(self);
        let asks = Arc::clone(&this);
        // All signals are blocked in the thread: they are for this one.
        let asking = thread::Builder::new().spawn(move || {
            while {
                let answer = asks.ask_each();
                let again = answer.is_err() && !asks.wait.is_zero();
                // The receiver may have stopped waiting.
                tell.send(answer).is_ok() && again
            } {
                thread::sleep(PAUSE);
            }
        });
        if asking.is_err() {
            inherited.restore();
            return this.ask_here();
        }
        let text = |error: std::io::Error| error.to_string();
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.map_err(text)?.block_on(async {
            let mut interrupts = Interrupts::catch().map_err(text)?;
            inherited.restore();
            let limit = tokio::time::sleep(this.limit());
            tokio::pin!(limit);
            let mut why = this.failed("no answer in time");
            loop {
                tokio::select! {
                    signal = interrupts.next() => return Ok(end_by(signal)),
                    answer = answers.recv() => match answer {
                        Some(Ok(())) => return Ok(0),
                        Some(Err(error)) => why = error,
                        // It stops asking.
                        None => return Err(why),
                    },
                    () = &mut limit => return Err(this.over(&why)),
                }
            }
        })
    }

    fn limit(&self) -> Duration {
        if self.wait.is_zero() {
            self.patience
        } else {
            self.wait
        }
    }

    /// No thread could be started: this may take longer.
    fn ask_here(&self) -> Result<u8, String> {
        let began = Instant::now();
        loop {
            match self.ask_each() {
                Ok(()) => return Ok(0),
                Err(why) if began.elapsed() >= self.wait => return Err(self.over(&why)),
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }

    fn over(&self, why: &str) -> String {
        if self.wait.is_zero() {
            why.to_owned()
        } else {
            format!("{why} (--wait {})", duration::Shown(self.wait))
        }
    }

    fn ask_each(&self) -> Result<(), String> {
        let mut why = String::new();
        for request in &self.requests {
            match call::ask(request, self.patience) {
                Ok(()) => return Ok(()),
                Err(error) => why = format!("{}: {error}", request.url()),
            }
        }
        Err(why)
    }

    /// All endpoints that were asked, and why each has failed.
    fn failed(&self, why: &str) -> String {
        let urls: Vec<String> = self.requests.iter().map(Request::url).collect();
        format!("{}: {why}", urls.join(", "))
    }
}

/// The URL that was meant by a port, or by a host and a port.
fn guessed(text: &str) -> Option<String> {
    let (server, path) = match text.split_once('/') {
        Some((server, path)) => (server, format!("/{path}")),
        None => (text, "/readyz".to_owned()),
    };
    let (host, port) = server.rsplit_once(':').unwrap_or(("", server));
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.[]:".contains(&byte);
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    let host = if host.is_empty() { "localhost" } else { host };
    host.bytes()
        .all(is_host)
        .then(|| format!("http://{host}:{port}{path}"))
}

#[cfg(test)]
mod tests {
    use super::guessed;

    #[test]
    fn a_url_is_guessed_from_a_port() {
        for (text, url) in [
            ("9000", Some("http://localhost:9000/readyz")),
            (":9000", Some("http://localhost:9000/readyz")),
            ("web:9000", Some("http://web:9000/readyz")),
            ("[::1]:9000/livez", Some("http://[::1]:9000/livez")),
            ("localhost", None),
            ("99999", None),
            ("https://web:9000/", None),
            ("ftp:x", None),
        ] {
            assert_eq!(guessed(text).as_deref(), url, "{text}");
        }
    }
}

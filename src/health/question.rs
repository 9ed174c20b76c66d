//! `stepdown health`: asks an endpoint, within a time.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::Listen;
use crate::call::{self, Request};
use crate::duration;
use crate::settings::{Error, Fault};

/// What `stepdown health` asks: the first of these that answers counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Question {
    requests: Vec<Request>,
    patience: Duration,
}

const PATIENCE: Duration = Duration::from_secs(5);

impl Question {
    /// # Errors
    /// A URL, a duration or an address that is none, or nobody to ask.
    pub(crate) fn parse(
        url: Option<&str>,
        patience: Option<&str>,
        listen: Option<&str>,
    ) -> Result<Self, Error> {
        let patience = match patience.map(duration::parse) {
            None => PATIENCE,
            Some(Ok(patience)) => patience,
            Some(Err(bad)) => {
                let fault = Fault::new(bad.to_string()).way_out(bad.way_out());
                return Err(Error::new("--timeout", fault));
            }
        };
        let path = match url {
            Some(url) if !url.starts_with('/') => {
                let request = call::http(url).map_err(|fault| {
                    let fault = match guessed(url) {
                        Some(meant) => fault.way_out(format!("write {meant}")),
                        None => fault,
                    };
                    Error::new("URL", fault)
                })?;
                return Ok(Self {
                    requests: vec![request],
                    patience,
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
        let listen =
            Listen::parse(listen).map_err(|fault| Error::new("STEPDOWN_HEALTH_LISTEN", fault))?;
        let requests = listen.reachable().map(|at| Request::get(at, path));
        Ok(Self {
            requests: requests.collect(),
            patience,
        })
    }

    /// Asks, and waits for all of it no longer than its patience: resolving a name cannot be cut short,
    /// only left behind.
    ///
    /// # Errors
    /// Why the answer is no 2xx, or that there is none.
    pub(crate) fn ask(self) -> Result<(), String> {
        let patience = self.patience;
        let (tell, answer) = mpsc::channel();
        let this = Arc::new(self);
        let asks = Arc::clone(&this);
        // Nobody hears it who has stopped waiting.
        let ask = move || drop(tell.send(asks.ask_each()));
        match thread::Builder::new().spawn(ask) {
            Ok(_) => answer
                .recv_timeout(patience)
                .unwrap_or_else(|_| Err(this.failed("no answer in time"))),
            // No thread is to be had here: it may take longer.
            Err(_) => this.ask_each(),
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

    /// All who were asked, and why that has failed.
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

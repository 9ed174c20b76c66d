//! The endpoint itself: one short answer per connection, until stepdown ends.
//!
//! It shares the reactor's thread with everything else, so whatever a client does is bounded: how many
//! connections there are, how long one lasts, how much is read from it.

mod checkers;
#[cfg(test)]
pub(super) mod fuzz;
pub(crate) mod status;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, TcpListener as Std};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::call;
use crate::machine::Event;
use crate::plan::{Health, Plan};
use crate::reactor::Reactor;
use crate::record::Record;
use crate::sys::listening::Sharing;
use crate::sys::{error_text, listening};
use crate::tell::endpoint::checkers::Checkers;
use crate::tell::metrics;
use crate::tell::metrics::totals::Totals;
use crate::tell::progress::{Progress, ReadyState};

/// Connections at a time. The newest is served and the oldest closed: one that is not answered by now
/// is slow on purpose.
const MOST: usize = 64;

/// How long a connection lasts at most, and how much of a request is read.
const PATIENCE: Duration = Duration::from_secs(5);
const REQUEST: usize = 8 * 1024;
const HEADERS: usize = 64;

/// Between two attempts when no connection can be taken (no descriptor left).
const PAUSE: Duration = Duration::from_millis(50);

/// Between the answer that the last balancer needed and what it does about it.
const SETTLING: Duration = Duration::from_millis(100);

/// What the endpoint answers from; shared between the loop, which tells, and the server.
pub(crate) struct Endpoint {
    began: Instant,
    /// The same moment, for metrics.
    began_at: SystemTime,
    not_ready: StatusCode,
    state: Mutex<Shared>,
}

struct Shared {
    progress: Progress,
    totals: Totals,
    checkers: Checkers,
}

impl Endpoint {
    /// The endpoint of a run that wants one: binds and listens, serves as soon as the loop waits. `began` is the
    /// zero of all times, `totals` are those of the runs before where somebody keeps them.
    ///
    /// # Errors
    /// Why no address can be listened on, as text for the log.
    pub(crate) fn open(
        reactor: Option<&Reactor>,
        plan: &Plan,
        began: Instant,
        totals: Option<Totals>,
    ) -> Result<Option<Arc<Self>>, String> {
        match (&plan.health, reactor) {
            (Some(health), Some(reactor)) => {
                Self::listen(reactor, health, began, totals.unwrap_or_default()).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn listen(
        reactor: &Reactor,
        health: &Health,
        began: Instant,
        totals: Totals,
    ) -> Result<Arc<Self>, String> {
        let failed = |why| {
            format!(
                "--health-listen {}: cannot listen: {why}",
                health.listen.text
            )
        };
        let bound = listening::tcp(&health.listen.addresses, Sharing::Alone)
            .map_err(|errno| failed(error_text(errno as i32)))?;
        let bound = Std::from(bound);
        let endpoint = Arc::new(Self {
            began,
            began_at: SystemTime::now() - began.elapsed(),
            not_ready: StatusCode::from_u16(health.not_ready_status)
                .unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
            state: Mutex::new(Shared {
                progress: Progress::default(),
                totals,
                checkers: Checkers::default(),
            }),
        });
        let _inside = reactor.runtime().enter();
        let listener = bound
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(bound));
        let listener = listener.map_err(|error| failed(error.to_string()))?;
        let events = reactor.sender();
        reactor
            .runtime()
            .spawn(serve(listener, Arc::clone(&endpoint), events));
        Ok(endpoint)
    }

    fn state(&self) -> MutexGuard<'_, Shared> {
        // There is one thread, and it does not panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self, at: Duration, record: &Record) {
        let mut state = self.state();
        let Shared {
            progress,
            totals,
            checkers,
        } = &mut *state;
        progress.tell(at, record);
        totals.tell(record, progress);
        checkers.tell(record);
    }

    fn all_know(&self) -> bool {
        self.state().checkers.all_know()
    }

    /// The answer, and whether with it all balancers know that we are not ready.
    fn answer(&self, request: &Request<Incoming>, client: IpAddr) -> (Response<Full<Bytes>>, bool) {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(ALLOW, allowed);
            return (refused, false);
        }
        let now = self.began.elapsed();
        let mut state = self.state();
        let Shared {
            progress,
            totals,
            checkers,
        } = &mut *state;
        match request.uri().path() {
            "/livez" => (response(StatusCode::OK, "alive\n"), false),
            "/readyz" => {
                let agent = request.headers().get(USER_AGENT);
                let balances = agent.is_none_or(|agent| agent != call::AGENT);
                let all = balances && checkers.answered(now, client, progress.not_ready_since());
                (self.readyz(progress), all)
            }
            "/status" => {
                let mut answer = response(StatusCode::OK, status::json(progress, now));
                let json = HeaderValue::from_static("application/json");
                answer.headers_mut().insert(CONTENT_TYPE, json);
                (answer, false)
            }
            "/metrics" => {
                let mut answer = response(
                    StatusCode::OK,
                    metrics::render(progress, totals, self.began_at, now),
                );
                let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
                answer.headers_mut().insert(CONTENT_TYPE, kind);
                (answer, false)
            }
            _ => (
                response(StatusCode::NOT_FOUND, "/livez /readyz /status /metrics\n"),
                false,
            ),
        }
    }

    fn readyz(&self, progress: &Progress) -> Response<Full<Bytes>> {
        let why = match progress.ready_state() {
            ReadyState::Ready => return response(StatusCode::OK, "ready\n"),
            ReadyState::NotYet(_) => "not ready: starting\n",
            ReadyState::NotReady(..) => "not ready: stopping\n",
            ReadyState::Restarting => "not ready: restarting\n",
        };
        let mut answer = response(self.not_ready, why);
        // Another replica may be ready by then; we do not know.
        let soon = HeaderValue::from_static("1");
        answer.headers_mut().insert(RETRY_AFTER, soon);
        answer
    }
}

fn response(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, plain);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn serve(
    listener: TcpListener,
    endpoint: Arc<Endpoint>,
    events: mpsc::UnboundedSender<Event>,
) {
    let mut open: VecDeque<JoinHandle<()>> = VecDeque::new();
    loop {
        // A client that is gone before it is taken is as good as one that never came.
        let Ok((stream, client)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MOST
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let talk = talk(stream, client, Arc::clone(&endpoint), events.clone());
        open.push_back(tokio::spawn(talk));
    }
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    client: SocketAddr,
    endpoint: Arc<Endpoint>,
    events: mpsc::UnboundedSender<Event>,
) {
    let service = service_fn(|request| {
        let (answer, all_told) = endpoint.answer(&request, client.ip());
        if all_told {
            let (events, endpoint) = (events.clone(), Arc::clone(&endpoint));
            tokio::spawn(async move {
                sleep(SETTLING).await;
                if endpoint.all_know() {
                    // The machine exists as long as this process.
                    let _ = events.send(Event::BalancersTold);
                }
            });
        }
        async { Ok::<_, Infallible>(answer) }
    });
    // One plain write: a checker may reset the connection right after the status line, and writev(2)
    // would raise SIGPIPE then.
    let connection = http1::Builder::new()
        .writev(false)
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(REQUEST)
        .max_headers(HEADERS)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    // However it ends, it is the client's business only.
    match timeout(PATIENCE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("a client was not served: {error}"),
        Err(_) => tracing::debug!("a client took longer than {PATIENCE:?}"),
    }
}

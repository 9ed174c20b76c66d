//! The endpoint itself: one short answer per connection, until stepdown ends.
//!
//! It shares the reactor's thread with everything else, so whatever a client does is bounded: how many
//! connections there are, how long one lasts, how much is read from it.

mod checkers;
mod exchange;
#[cfg(test)]
pub(super) mod fuzz;
pub(crate) mod status;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, TcpListener as Std};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{sleep, timeout};

use crate::call;
use crate::machine::Event;
use crate::plan::{Health, Plan};
use crate::reactor::Reactor;
use crate::record::Record;
use crate::sys::listening::Sharing;
use crate::sys::{descriptors, listening};
use crate::tell::endpoint::checkers::Checkers;
use crate::tell::endpoint::exchange::{Request, Response};
use crate::tell::metrics;
use crate::tell::metrics::totals::Totals;
use crate::tell::progress::{Progress, ReadyState};
use crate::words::duration::Shown;

/// Connections at a time. The newest is served and the oldest closed: one that is not answered by now
/// is slow on purpose. So it is, too, where fewer descriptors are left.
const MOST: usize = 64;

/// How long a connection lasts at most, and how much of a request is read.
const PATIENCE: Duration = Duration::from_secs(5);
const REQUEST: usize = 8 * 1024;
const HEADERS: usize = 64;

/// How long a client that has its answer may take to close the connection.
const LINGERING: Duration = Duration::from_millis(200);

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
    listening: Record,
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
            .map_err(|errno| failed(listening::refusal(errno)))?;
        let listening = Record::EndpointListening {
            address: listening::address(&bound)
                .map_or_else(|| health.listen.text.clone(), |address| address.to_string()),
            chosen: health
                .listen
                .addresses
                .iter()
                .all(|address| address.port() == 0),
        };
        let bound = Std::from(bound);
        let endpoint = Arc::new(Self {
            began,
            began_at: SystemTime::now() - began.elapsed(),
            not_ready: StatusCode::from_u16(health.not_ready_status)
                .unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
            listening,
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

    /// Where it is asked.
    pub(crate) fn listening(&self) -> Record {
        self.listening.clone()
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
    fn answer(&self, request: &Request, client: IpAddr) -> (Response, bool) {
        if !["GET", "HEAD"].contains(&&*request.method) {
            let refused = Response::new(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
            return (refused.with("allow", "GET, HEAD"), false);
        }
        let now = self.began.elapsed();
        let mut state = self.state();
        let Shared {
            progress,
            totals,
            checkers,
        } = &mut *state;
        let ok = StatusCode::OK;
        match &*request.path {
            "/livez" => (Response::new(ok, "alive\n"), false),
            "/readyz" => {
                let agent = request.agent.as_deref();
                let balances = agent.is_none_or(|agent| agent != call::AGENT.as_bytes());
                let all = balances && checkers.answered(now, client, progress.not_ready_since());
                (self.readyz(progress), all)
            }
            "/status" => {
                let answer = Response::new(ok, status::json(progress, now));
                (answer.of_type("application/json"), false)
            }
            "/metrics" => {
                let page = metrics::render(progress, totals, self.began_at, now);
                (
                    Response::new(ok, page).of_type(metrics::CONTENT_TYPE),
                    false,
                )
            }
            _ => (
                Response::new(StatusCode::NOT_FOUND, "/livez /readyz /status /metrics\n"),
                false,
            ),
        }
    }

    fn readyz(&self, progress: &Progress) -> Response {
        let why = match progress.ready_state() {
            ReadyState::Ready => return Response::new(StatusCode::OK, "ready\n"),
            ReadyState::NotYet(_) => "not ready: starting\n",
            ReadyState::NotReady(..) => "not ready: stopping\n",
            ReadyState::Restarting => "not ready: restarting\n",
        };
        // Another replica may be ready by then; we do not know.
        Response::new(self.not_ready, why).with("retry-after", "1")
    }
}

async fn serve(
    listener: TcpListener,
    endpoint: Arc<Endpoint>,
    events: mpsc::UnboundedSender<Event>,
) {
    let mut open: VecDeque<JoinHandle<()>> = VecDeque::new();
    loop {
        let taken = listener.accept().await;
        open.retain(|connection| !connection.is_finished());
        let is_full = match &taken {
            Ok(_) => open.len() >= MOST,
            // accept(2) asks for a descriptor before it looks whether anybody waits.
            Err(error) => {
                let is_short = matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
                is_short && descriptors::is_readable(listener.as_raw_fd())
            }
        };
        if is_full {
            // Many may have come at once, or while we were held up: what has been asked is answered first. The first
            // turn hears of it, and in the second one it is read.
            yield_now().await;
            yield_now().await;
            let before = open.len();
            open.retain(|connection| !connection.is_finished());
            if open.len() == before
                && let Some(oldest) = open.pop_front()
            {
                oldest.abort();
            }
        }
        // A client that is gone before it is taken is as good as one that never came.
        let Ok((stream, client)) = taken else {
            sleep(PAUSE).await;
            continue;
        };
        let talk = talk(stream, client, Arc::clone(&endpoint), events.clone());
        open.push_back(tokio::spawn(talk));
    }
}

async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    client: SocketAddr,
    endpoint: Arc<Endpoint>,
    events: mpsc::UnboundedSender<Event>,
) {
    let exchange = async {
        let Some(request) = exchange::read(&mut stream).await? else {
            return Ok::<_, std::io::Error>(());
        };
        let (answer, all_told) = match &request {
            Ok(request) => endpoint.answer(request, client.ip()),
            Err(status) => (Response::new(*status, ""), false),
        };
        if all_told {
            tokio::spawn(settle(events.clone(), Arc::clone(&endpoint)));
        }
        // One plain write: a checker may reset the connection right after the status line, and writev(2) would raise
        // SIGPIPE then.
        let bytes = answer.bytes(request.as_ref().ok());
        stream.write_all(&bytes).await?;
        stream.shutdown().await?;
        // Were something of the request still unread, the kernel would reset the connection, and the answer with it.
        let _ = timeout(LINGERING, stream.read(&mut [0; REQUEST])).await;
        Ok(())
    };
    // However it ends, it is the client's business only.
    match timeout(PATIENCE, exchange).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("a client was not served: {error}"),
        Err(_) => tracing::debug!("a client took longer than {}", Shown(PATIENCE)),
    }
}

async fn settle(events: mpsc::UnboundedSender<Event>, endpoint: Arc<Endpoint>) {
    sleep(SETTLING).await;
    if endpoint.all_know() {
        // The machine exists as long as this process.
        let _ = events.send(Event::BalancersTold);
    }
}

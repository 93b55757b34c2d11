//! Serving: connections are taken until the service is asked to stop, then no more; what is under
//! way has a bounded time to end.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::super::listen::{Accepted, Listener};
use super::super::local::Way;
use super::super::service::Service;
use super::answers::Answers;
use super::connection::{Connection, Order};
use super::protocol::protocol;
use super::stream::Watched;
use super::{Edge, TICK};

/// Time that requests under way have to end once no more connections are taken.
const GRACE: Duration = Duration::from_secs(10);
/// Pause after an error of the listener that will not pass by itself.
const BREATH: Duration = Duration::from_millis(50);
/// Pause between two lines of the log about that.
const QUIET: Duration = Duration::from_secs(30);

/// How the service is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// By whoever runs it: there may be others who do not know yet.
    ToLeave,
    /// By somebody who waits.
    ToStop,
}

/// Serves until `stop` is done. If it is asked to leave it goes on for `drain`, while `/readyz` and
/// answers say that it will go. Then requests under way may end, for a bounded time. A second
/// `stop` cuts all off. `local`: for development.
pub async fn serve(
    listener: Listener,
    service: Service,
    local: bool,
    drain: Duration,
    mut stop: impl AsyncFnMut() -> Asked,
) {
    let mut serving = Serving {
        edge: service.edge().clone(),
        service,
        protocol: Arc::new(protocol()),
        local,
        told: None,
    };
    let asked = serving.until(&listener, stop()).await;
    if asked == Asked::ToLeave && !drain.is_zero() {
        tracing::info!("leaving: serving goes on for {drain:?}, /readyz says draining");
        serving.edge.drain();
        let mut again = false;
        let either = async {
            tokio::select! {
                _ = stop() => again = true,
                () = tokio::time::sleep(drain) => {}
            }
        };
        serving.until(&listener, either).await;
        if again {
            tracing::warn!("requests under way were cut off: asked to stop again");
            return;
        }
    }
    tracing::info!("stopping: requests under way have {} s", GRACE.as_secs());
    drop(listener);
    serving.edge.stop();
    tokio::select! {
        () = serving.ended() => {}
        () = tokio::time::sleep(GRACE) => {
            tracing::warn!("requests under way were cut off after {} s", GRACE.as_secs());
        }
        _ = stop() => {
            tracing::warn!("requests under way were cut off: asked to stop again");
        }
    }
}

struct Serving {
    edge: Arc<Edge>,
    service: Service,
    protocol: Arc<Builder<TokioExecutor>>,
    local: bool,
    /// When the log was last told that a listener has trouble.
    told: Option<Instant>,
}

impl Serving {
    /// Takes connections, and looks at those that there are, until this is done.
    async fn until<T>(&mut self, listener: &Listener, done: impl Future<Output = T>) -> T {
        let mut done = pin!(done);
        let mut ticks = interval_at(Instant::now() + TICK, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                done = &mut done => return done,
                _ = ticks.tick() => self.edge.tick(),
                accepted = listener.accept() => match accepted {
                    Ok(Accepted::Tcp(stream)) => self.take(stream, Way::Tcp),
                    Ok(Accepted::Unix(stream)) => self.take(stream, Way::Unix),
                    Err(error) => self.trouble(&error).await,
                },
            }
        }
    }

    fn take(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, way: Way) {
        let Some((id, connection)) = self.edge.place() else {
            return;
        };
        let edge = &self.edge;
        let answers = Answers {
            service: self.service.clone(),
            edge: edge.clone(),
            connection: connection.clone(),
            local: self.local.then_some(way),
        };
        let stream = Watched::new(stream, connection.clone(), edge.clone());
        let gone = Gone(edge.clone(), id);
        let protocol = self.protocol.clone();
        tokio::spawn(async move {
            let _gone = gone;
            converse(&protocol, stream, answers, &connection).await;
        });
    }

    /// A connection that broke before it was taken is nothing; want of files or memory is.
    async fn trouble(&mut self, error: &io::Error) {
        let is = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
        if is(Errno::CONNABORTED) || is(Errno::CONNRESET) || is(Errno::INTR) {
            return;
        }
        if self.told.is_none_or(|told| told.elapsed() > QUIET) {
            self.told = Some(Instant::now());
            tracing::warn!(%error, "connections cannot be taken");
        }
        self.edge.out_of_files();
        tokio::time::sleep(BREATH).await;
    }

    /// Looks at the connections until there are none.
    async fn ended(&self) {
        // Soon, as somebody waits.
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        let mut since = Instant::now();
        while !self.edge.is_empty() {
            looks.tick().await;
            if since.elapsed() >= TICK {
                self.edge.tick();
                since = Instant::now();
            }
        }
    }
}

/// Leaves the table when its connection ends, however that is.
struct Gone(Arc<Edge>, u64);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.table.remove(self.1);
    }
}

async fn converse(
    protocol: &Builder<TokioExecutor>,
    stream: Watched<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
    answers: Answers,
    orders: &Connection,
) {
    let mut talk = pin!(protocol.serve_connection(TokioIo::new(stream), answers));
    let mut leaves = false;
    poll_fn(|cx| {
        match orders.order(cx.waker()) {
            Order::GoOn => {}
            Order::Leave if leaves => {}
            Order::Leave => {
                leaves = true;
                talk.as_mut().graceful_shutdown();
            }
            Order::End => return Poll::Ready(()),
        }
        talk.as_mut().poll(cx).map(|ended| {
            if let Err(error) = ended {
                tracing::debug!(error, "a connection broke");
            }
        })
    })
    .await;
}

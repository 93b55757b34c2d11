//! Bodies on a connection: what comes is given up when nothing comes for a while, and an answer that is
//! made while it is sent counts as under way until its end. Not for limits of size or of the whole
//! time (`http/input.rs`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::Edge;
use super::connection::{Connection, Wait};

/// Longest time without a byte of a body that is waited for.
pub const STALL: Duration = Duration::from_secs(10);

/// Why a body ended: nothing came any more.
#[derive(Debug, thiserror::Error)]
#[error("nothing of the body came for {} s", STALL.as_secs())]
pub struct Stalled;

/// A request's body. A clock is set only when it has to be waited for: a small one comes with its head.
pub struct Patient {
    body: Incoming,
    connection: Arc<Connection>,
    edge: Arc<Edge>,
    clock: Option<Pin<Box<Sleep>>>,
    waits: bool,
}

impl Patient {
    /// The body, under watch; one that is empty needs none.
    pub fn watch(body: Incoming, connection: &Arc<Connection>, edge: &Arc<Edge>) -> Body {
        if body.is_end_stream() {
            return Body::empty();
        }
        Body::new(Patient {
            body,
            connection: connection.clone(),
            edge: edge.clone(),
            clock: None,
            waits: false,
        })
    }

    fn note(&mut self, waits: bool) {
        if self.waits != waits {
            self.waits = waits;
            self.connection.body_waits(waits, self.edge.now());
        }
    }
}

impl HttpBody for Patient {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.note(false);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if !self.waits {
            self.note(true);
            let until = Instant::now() + STALL;
            match &mut self.clock {
                Some(clock) => clock.as_mut().reset(until),
                None => self.clock = Some(Box::pin(tokio::time::sleep_until(until))),
            }
        }
        if let Some(clock) = &mut self.clock {
            ready!(clock.as_mut().poll(cx));
            self.edge.timed_out(Wait::Body);
            return Poll::Ready(Some(Err(Stalled.into())));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        self.note(false);
    }
}

/// A request under way; dropped, it is answered.
pub struct UnderWay {
    connection: Arc<Connection>,
    edge: Arc<Edge>,
}

impl UnderWay {
    pub fn begin(connection: &Arc<Connection>, edge: &Arc<Edge>) -> UnderWay {
        connection.begin();
        UnderWay {
            connection: connection.clone(),
            edge: edge.clone(),
        }
    }

    /// The body of its answer. One whose size is known is there already, and its connection takes it whole.
    pub fn until_end_of(self, body: Body) -> Body {
        match body.size_hint().exact() {
            Some(_) => body,
            None => Body::new(Held {
                body,
                _under_way: self,
            }),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.connection.end(self.edge.now());
    }
}

struct Held {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

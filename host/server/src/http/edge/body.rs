//! Bodies on a connection: what comes is given up when nothing comes for a while, and an answer
//! that is made while it is sent counts as under way until its end. Not for limits of size or of
//! the whole time (`http/input.rs`).

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

/// A request's body. A clock is set only when it has to be waited for: a small one comes with its
/// head.
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

    /// The body of its answer. One that is small, and of a known size, is left to its connection.
    /// What a larger one holds is counted until all of it is taken. With HTTP/1.1 a connection
    /// takes it whole; with HTTP/2 it stays here until its stream has taken it, which a client can
    /// put off for ever without a write that waits. Unless it `holds` nothing: it is of the program.
    pub fn until_end_of(self, body: Body, holds: bool) -> Body {
        let size = body.size_hint().exact();
        if size.is_some_and(|size| size <= SMALL) {
            return body;
        }
        let is_http2 = self.connection.is_http2();
        let untaken = size.filter(|_| is_http2);
        let untaken = untaken.map(|_| self.connection.answers(self.edge.now()));
        let counted = size.filter(|_| holds);
        let counted = counted.map(|size| Counted::new(&self.connection, &self.edge, size));
        Body::new(Answer {
            body,
            rest: Bytes::new(),
            counted,
            piece: if is_http2 { PIECE } else { usize::MAX },
            untaken,
            under_way: (is_http2 || size.is_none()).then_some(self),
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.connection.end(self.edge.now());
    }
}

/// Largest answer that is left to its connection: with HTTP/2 there may be 128 of them.
const SMALL: u64 = 4 << 10;
/// Bytes that are given to a stream at once, of an answer that it has to take.
const PIECE: usize = 16 << 10;

/// What an answer holds, from when it is made until the last of its bytes is sent or dropped.
struct Counted {
    connection: Arc<Connection>,
    edge: Arc<Edge>,
    size: u64,
}

impl Counted {
    fn new(connection: &Arc<Connection>, edge: &Arc<Edge>, size: u64) -> Counted {
        edge.hold(connection, size);
        Counted {
            connection: connection.clone(),
            edge: edge.clone(),
            size,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.edge.let_go(&self.connection, self.size);
    }
}

/// Bytes with what is dropped with the last piece of them, wherever that is then.
struct Owned {
    bytes: Bytes,
    _counted: Counted,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

struct Answer {
    body: Body,
    /// What has been made and is not given yet.
    rest: Bytes,
    /// Until its bytes are there: an answer of a known size has one piece.
    counted: Option<Counted>,
    /// Bytes that are given at once.
    piece: usize,
    /// Under what its connection knows it, if it has to be taken in time.
    untaken: Option<u64>,
    /// None if a connection of HTTP/1.1 takes all of it now.
    under_way: Option<UnderWay>,
}

impl Answer {
    fn piece(&mut self, mut bytes: Bytes) -> Frame<Bytes> {
        if let Some(counted) = self.counted.take() {
            bytes = Bytes::from_owner(Owned {
                bytes,
                _counted: counted,
            });
        }
        let piece = bytes.split_to(bytes.len().min(self.piece));
        self.rest = bytes;
        Frame::data(piece)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let (Some(id), Some(under_way)) = (self.untaken, &self.under_way) {
            under_way.connection.is_taken(id);
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            return Poll::Ready(Some(Ok(self.piece(rest))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            let data = frame?.into_data();
            Ok(data.map_or_else(|other| other, |bytes| self.piece(bytes)))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    fn answer(is_http2: bool, size: usize) -> (Arc<Connection>, Body) {
        let connection = Arc::new(Connection::new(false, 0));
        if is_http2 {
            connection.speaks_http2(0);
        }
        let under_way = UnderWay::begin(&connection, &Arc::default());
        let body = under_way.until_end_of(Body::from(vec![7; size]), true);
        (connection, body)
    }

    #[tokio::test]
    async fn a_long_answer_of_http2_is_waited_for_until_its_stream_has_taken_it() {
        let (connection, body) = answer(true, PIECE * 2 + 1);
        assert_eq!(body.size_hint().exact(), Some(PIECE as u64 * 2 + 1));
        assert_eq!(connection.waits(9), Some((Wait::Write, 9)));
        let mut sizes = Vec::new();
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            sizes.push(piece.expect("no error").len());
            assert_eq!(
                connection.waits(9),
                Some((Wait::Write, 9)),
                "since it began"
            );
        }
        assert_eq!(sizes, [PIECE, PIECE, 1]);
        drop(pieces);
        assert_eq!(connection.waits(9), Some((Wait::Idle, 9)));
        // One that is given up is not waited for.
        let (connection, body) = answer(true, PIECE + 1);
        assert_eq!(connection.held(), PIECE as u64 + 1);
        drop(body);
        assert_eq!(connection.held(), 0);
        assert_eq!(connection.waits(9), Some((Wait::Idle, 9)));
    }

    #[tokio::test]
    async fn answers_that_fit_and_those_of_one_at_a_time_need_no_watch() {
        for (is_http2, size) in [(true, SMALL as usize), (true, 0), (false, 1 << 20)] {
            let (connection, body) = answer(is_http2, size);
            assert_eq!(connection.waits(9), Some((Wait::Idle, 9)));
            let bytes = axum::body::to_bytes(body, usize::MAX).await;
            assert_eq!(bytes.expect("all of it").len(), size);
        }
    }

    #[tokio::test]
    async fn what_an_answer_holds_is_counted_until_its_last_piece_is_gone() {
        for (is_http2, size) in [(true, 100 << 10), (false, 1 << 20)] {
            let (connection, body) = answer(is_http2, size);
            let mut pieces: Vec<_> = body.into_data_stream().collect().await;
            assert_eq!(connection.held(), size as u64);
            drop(pieces.split_off(1));
            // One piece keeps all of it.
            assert_eq!(connection.held(), size as u64);
            drop(pieces);
            assert_eq!(connection.held(), 0);
        }
    }
}

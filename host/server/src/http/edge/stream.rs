//! A stream of bytes that tells its connection what passes: the first byte, the preface of HTTP/2,
//! writes that find no room. It changes nothing on the way.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Edge;
use super::connection::Connection;

/// What a client begins with that speaks HTTP/2 without asking (RFC 9113 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub struct Watched<S> {
    stream: S,
    connection: Arc<Connection>,
    edge: Arc<Edge>,
    /// How much of the preface has come; `None`: something else has, or all of it.
    preface: Option<usize>,
}

impl<S> Watched<S> {
    pub fn new(stream: S, connection: Arc<Connection>, edge: Arc<Edge>) -> Watched<S> {
        Watched {
            stream,
            connection,
            edge,
            preface: Some(0),
        }
    }

    fn heard(&mut self, bytes: &[u8]) {
        let now = self.edge.now();
        self.connection.heard(now);
        let Some(come) = self.preface else {
            return;
        };
        let rest = &PREFACE[come..];
        let length = rest.len().min(bytes.len());
        self.preface = (bytes[..length] == rest[..length]).then_some(come + length);
        if self.preface == Some(PREFACE.len()) {
            self.preface = None;
            self.connection.speaks_http2(now);
        }
    }

    fn written<T>(&self, outcome: Poll<T>) -> Poll<T> {
        if outcome.is_pending() {
            self.connection.write_waits(true, self.edge.now());
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.heard(&buffer.filled()[before..]);
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.written(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Asked for when all that there was to write is written: only then has the peer taken its
    /// answer. One that takes a byte now and then has not.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        if outcome.is_ready() {
            self.connection.write_waits(false, self.edge.now());
        }
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::Wait;
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// What the connection waits for after each part, and whether it is one of HTTP/2.
    async fn after(parts: &[&[u8]]) -> Vec<(Option<Wait>, bool)> {
        let (mut peer, ours) = tokio::io::duplex(1024);
        let connection = Arc::new(Connection::new(false, 0));
        let mut watched = Watched::new(ours, connection.clone(), Arc::default());
        let mut seen = Vec::new();
        for part in parts {
            peer.write_all(part).await.expect("there is room");
            let mut bytes = vec![0; part.len()];
            watched
                .read_exact(&mut bytes)
                .await
                .expect("they are there");
            assert_eq!(&bytes, part, "nothing is changed");
            let wait = connection.waits(0).map(|(wait, _)| wait);
            seen.push((wait, connection.is_http2()));
        }
        seen
    }

    #[tokio::test]
    async fn http2_is_known_by_its_whole_preface_however_it_comes() {
        let (head, idle) = ((Some(Wait::Head), false), (Some(Wait::Idle), true));
        assert_eq!(after(&[PREFACE]).await, [idle]);
        let cut: [&[u8]; 3] = [&PREFACE[..1], &PREFACE[1..23], &PREFACE[23..]];
        assert_eq!(after(&cut).await, [head, head, idle]);
        let more = [PREFACE.as_slice(), b"more"].concat();
        assert_eq!(after(&[&more]).await, [idle]);
        assert_eq!(after(&[b"PROPFIND / HTTP/1.1\r\n"]).await, [head]);
        assert_eq!(after(&[b"GET /", PREFACE]).await, [head, head]);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_is_seen_until_all_of_it_is() {
        let (mut peer, ours) = tokio::io::duplex(8);
        let connection = Arc::new(Connection::new(false, 0));
        let mut watched = Watched::new(ours, connection.clone(), Arc::default());
        let waits = || connection.waits(0).map(|(wait, _)| wait);
        let mut writing = std::pin::pin!(async {
            watched.write_all(b"twelve bytes").await.expect("written");
            watched.flush().await.expect("flushed");
        });
        assert!(futures::poll!(writing.as_mut()).is_pending());
        assert_eq!(waits(), Some(Wait::Write));
        let mut some = [0; 2];
        peer.read_exact(&mut some).await.expect("some");
        assert!(futures::poll!(writing.as_mut()).is_pending());
        assert_eq!(waits(), Some(Wait::Write), "some is not all");
        let mut rest = [0; 6];
        peer.read_exact(&mut rest).await.expect("more");
        writing.await;
        assert_eq!(waits(), Some(Wait::Silent));
    }
}

//! How HTTP is spoken: 1.1 and 2 on the same port, told apart by the first bytes, and the limits of
//! both. Limits that others chose are named, too, so that none changes unseen.

use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;

/// Longest head: a token, cookies of others, traces. With HTTP/1.1 also the most that is read
/// ahead.
const HEAD: u32 = 32 << 10;
/// Most requests of one connection at a time.
const STREAMS: u32 = 128;
/// Bytes of bodies that may be on their way: of one request, of a connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of an answer that are taken before the client has taken some.
const SEND_BUFFER: usize = 256 << 10;
/// Requests that the client took back before they were looked at, and streams that it made wrong,
/// after which its connection ends (floods of resets).
const RESETS: usize = 20;
const WRONG_STREAMS: usize = 1024;
/// A client that does not answer a ping has gone.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(20);

pub fn protocol() -> Builder<TokioExecutor> {
    let mut protocol = Builder::new(TokioExecutor::new());
    protocol
        .http1()
        .max_buf_size(HEAD as usize)
        // The watch has the clock, for heads and for what is idle.
        .header_read_timeout(None);
    protocol
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(WRONG_STREAMS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    protocol
}

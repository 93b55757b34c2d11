//! Bodies of requests, up to a limit and in time. Not for what they mean, nor for what else a
//! request brings (`headers`, `query`, `route`).

use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use futures::StreamExt;

use super::edge::Stalled;
use super::memory::{Held, Room, SMALL};
use super::problem::Problem;
use super::{coding, memory};
use ordain::request::Malformed;
use ordain_store::utf8;

/// Time that a client has to send its body.
const BODY_TIME: Duration = Duration::from_secs(30);
/// Bytes over the limit that are read and dropped before the answer, so that a client that only
/// reads after writing sees it.
const TOO_LARGE_DRAIN: usize = 32 << 20;
/// The same, and time for it, of a body that nobody wants.
const DRAIN: usize = 8 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Reads a body that should be JSON, of at most `limit` bytes: its text, without a byte order mark.
pub async fn json(head: &Parts, sent: Body, limit: usize) -> Result<Held<String>, Problem> {
    let bytes = body(head, sent, limit).await?;
    bytes.try_map(|bytes| {
        let text = utf8::text(bytes.into());
        text.map_err(|error| Malformed(error.to_string()).into())
    })
}

/// Reads a body of at most `limit` bytes, counted after decompression.
pub async fn body(head: &Parts, body: Body, limit: usize) -> Result<Held<Bytes>, Problem> {
    let mut room = Room::new(&head.extensions);
    let coding = coding::of(&head.headers)?;
    let mut bytes = as_sent(&head.headers, body, limit, &mut room).await?;
    if let Some(coding) = coding {
        bytes = coding::unpack(coding, bytes, limit, &mut room).await?;
    }
    Ok(room.hold(bytes))
}

async fn as_sent(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    room: &mut Room<'_>,
) -> Result<Bytes, Problem> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    // A client that asks first need not send what is refused anyway.
    if announced.is_some_and(|size| size > limit as u64) && headers.contains_key(EXPECT) {
        return Err(Problem::too_large(limit));
    }
    let announced = announced.and_then(|size| usize::try_from(size).ok());
    let announced = announced.filter(|size| *size <= limit);
    let mut reading = std::pin::pin!(collect(body, announced, limit, room));
    // A small body comes with its head: no clock is needed for it.
    if let Poll::Ready(read) = futures::poll!(reading.as_mut()) {
        return read;
    }
    tokio::time::timeout(BODY_TIME, reading)
        .await
        .unwrap_or_else(|_| {
            let detail = format!("the body did not arrive within {} s", BODY_TIME.as_secs());
            Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "body-timeout",
                detail,
            ))
        })
}

async fn collect(
    body: Body,
    mut announced: Option<usize>,
    limit: usize,
    room: &mut Room<'_>,
) -> Result<Bytes, Problem> {
    let mut chunks = body.into_data_stream();
    let mut first = Bytes::new();
    let mut whole = Vec::new();
    let mut size = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(unreadable)?;
        size += chunk.len();
        if size > limit {
            // Dropped; only its end is of interest.
            (first, whole) = (Bytes::new(), Vec::new());
            if size > limit + TOO_LARGE_DRAIN {
                break;
            }
            continue;
        }
        if size > SMALL
            && let Err(problem) = room.take().await
        {
            drop((first, whole, chunk));
            drain(&mut chunks).await;
            return Err(problem);
        }
        // Not before it has its place: who announces much and sends nothing holds nothing.
        if size > SMALL
            && let Some(all) = announced.take()
        {
            whole.reserve_exact(all.saturating_sub(whole.len()));
        }
        if whole.is_empty() && first.is_empty() {
            first = chunk;
        } else {
            memory::grow(&mut whole, first.len() + chunk.len(), limit);
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&chunk);
        }
    }
    match (size > limit, whole.is_empty()) {
        (true, _) => Err(Problem::too_large(limit)),
        (false, true) => Ok(first),
        (false, false) => Ok(whole.into()),
    }
}

/// Lets the rest of a body that nobody wants arrive, for a while: a client that only reads after
/// writing should see why.
pub async fn drain(chunks: &mut BodyDataStream) {
    let read = async {
        let mut size = 0;
        while let Some(Ok(chunk)) = chunks.next().await {
            size += chunk.len();
            if size > DRAIN {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, read).await;
}

/// Why the rest of a body does not come.
pub fn unreadable(error: axum::Error) -> Problem {
    let error = error.into_inner();
    match error.downcast_ref::<Stalled>() {
        Some(stalled) => Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body-timeout",
            stalled.to_string(),
        ),
        None => Problem::bad("body-incomplete", "the body ended too early"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
        let read = |size: usize| async move {
            let chunks: Vec<Result<Bytes, std::io::Error>> = vec![b'x'; size]
                .chunks(7)
                .map(|part| Ok(Bytes::copy_from_slice(part)))
                .collect();
            let stream = Body::from_stream(futures::stream::iter(chunks));
            let (head, ()) = http::Request::new(()).into_parts();
            body(&head, stream, 100).await.map(|bytes| bytes.len())
        };
        assert_eq!(read(0).await, Ok(0));
        assert_eq!(read(100).await, Ok(100));
        assert_eq!(read(101).await, Err(Problem::too_large(100)));
    }
}

//! Answers in JSON, with the position up to which they are complete. Not for problems (`problem`).

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use serde::Serialize;

use super::names::REVISION;
use super::problem::Problem;

/// Bytes of an answer with ids of a usual length.
pub const USUAL_ANSWER: usize = 640;

/// A 200 of JSON that is complete up to `position`.
pub fn json<T: Serialize + ?Sized>(value: &T, position: u64) -> Result<Response, Problem> {
    sized_json(value, position, USUAL_ANSWER)
}

/// `room`: bytes that it will probably take.
pub fn sized_json<T: Serialize + ?Sized>(
    value: &T,
    position: u64,
    room: usize,
) -> Result<Response, Problem> {
    let mut body = Vec::with_capacity(room);
    serde_json::to_writer(&mut body, value).map_err(|error| {
        tracing::error!(%error, "an answer could not be written as JSON");
        Problem::internal()
    })?;
    Ok(with_position(Response::new(body.into()), position))
}

/// Marks a response as JSON that is complete up to `position`.
pub fn with_position(mut response: Response, position: u64) -> Response {
    let map = response.headers_mut();
    map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    map.insert(REVISION, HeaderValue::from(position));
    response
}

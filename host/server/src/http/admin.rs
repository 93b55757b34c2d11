//! `/healthz`, `/readyz` and `/metrics`: whether this instance can answer, and how it fares; and
//! `/openapi.json`: what can be asked.

use super::app::App;
use super::edge::BuiltIn;
use super::exposition::Format;
use super::problem::Problem;
use super::state::Readiness;
use axum::Extension;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};

/// Every call and what is answered, as OpenAPI 3.1 has it. Tests hold it against the routes and
/// against answers.
pub const OPENAPI: &str = include_str!("../../../../docs/openapi.json");

pub async fn openapi() -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, kind)], Extension(BuiltIn), OPENAPI).into_response()
}

pub async fn healthz() -> Response {
    Json(serde_json::json!({"status": "serving"})).into_response()
}

pub async fn readyz(State(app): State<App>) -> Response {
    let mut status = app.ordain.status();
    status.tasks.extend(app.access.tasks());
    let readiness = Readiness::of(&status, app.access.keys());
    let readiness = match app.edge.is_leaving() {
        true => readiness.draining(),
        false => readiness,
    };
    let is_ready = readiness.is_ready();
    // Everybody may look.
    let body = Json(readiness.public());
    if is_ready {
        return body.into_response();
    }
    let retry = [(RETRY_AFTER, HeaderValue::from_static("1"))];
    (StatusCode::SERVICE_UNAVAILABLE, retry, body).into_response()
}

pub async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let format = Format::of(&headers);
    let text = crate::metrics::text(&app.ordain, &app.edge.status()).map_err(|error| {
        tracing::error!(%error, "metrics cannot be written");
        Problem::internal()
    })?;
    let head = [
        (CONTENT_TYPE, format.media_type()),
        (VARY, HeaderValue::from_static("accept")),
    ];
    Ok((head, format.write(text)).into_response())
}

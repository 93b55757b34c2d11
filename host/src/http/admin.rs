//! `/healthz`, `/readyz` and `/metrics`: whether this instance can answer, and how it fares.

use super::App;
use super::problem::Problem;
use super::state::Readiness;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};

pub async fn healthz() -> Response {
    Json(serde_json::json!({"status": "serving"})).into_response()
}

pub async fn readyz(State(app): State<App>) -> Response {
    let status = app.ordain.status();
    let readiness = Readiness::of(&status, app.access.keys_are_current());
    let leaving = app.edge.is_leaving();
    let readiness = match leaving {
        true => readiness.draining(),
        false => readiness,
    };
    // Everybody may look.
    let body = Json(readiness.public());
    if status.ready && !leaving {
        return body.into_response();
    }
    let retry = [(RETRY_AFTER, HeaderValue::from_static("1"))];
    (StatusCode::SERVICE_UNAVAILABLE, retry, body).into_response()
}

pub async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let text = crate::metrics::text(&app.ordain, &app.edge.status()).map_err(|error| {
        tracing::error!(%error, "metrics cannot be written");
        Problem::internal()
    })?;
    let kind =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}

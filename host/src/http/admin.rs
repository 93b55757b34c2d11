//! `/healthz`, `/readyz`, `/metrics` and `/v1/component`: what runs, and whether it can answer.

use super::problem::Problem;
use super::resolve::json;
use super::state::Readiness;
use super::{App, headers, input};
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};

pub async fn healthz() -> Response {
    Json(serde_json::json!({"status": "serving"})).into_response()
}

pub async fn readyz(State(app): State<App>) -> Response {
    let status = app.ordain.status();
    let body = Json(Readiness::of(&status));
    if status.ready {
        return body.into_response();
    }
    let retry = [(RETRY_AFTER, HeaderValue::from_static("1"))];
    (StatusCode::SERVICE_UNAVAILABLE, retry, body).into_response()
}

pub async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let text = crate::metrics::text(&app.ordain).map_err(|error| {
        tracing::error!(%error, "metrics cannot be written");
        Problem::internal()
    })?;
    let kind =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}

pub async fn component(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    input::Query::read(&uri, &[])?;
    let min_revision = headers::min_revision(&headers)?;
    app.ordain.known_up_to(min_revision).await?;
    json(&app.ordain.component(), app.watermark())
}

//! `/healthz`, `/readyz` and `/metrics`: whether this instance can answer, and how it fares; and
//! `/openapi.json`: what can be asked.

use axum::Extension;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, VARY};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Json, Response};

use crate::access::Need;
use crate::http::app::App;
use crate::http::contract::Answer;
use crate::http::edge::BuiltIn;
use crate::http::exposition::Format;
use crate::http::problem::Problem;
use crate::http::route::{Call, Handler, Route};
use crate::http::state::Readiness;

const JSON: &[&str] = &["application/json"];

pub const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/metrics",
        need: Need::Metrics,
        handler: Handler::Of(|app, call| Box::pin(async move { write_metrics(&app, &call) })),
        name: "metrics",
        summary: "For Prometheus",
        parameters: &[],
        body: None,
        answers: &[Answer::of(
            200,
            "In the format that `Accept` asks for",
            &["application/openmetrics-text", "text/plain"],
            "Metrics",
        )],
    },
    Route {
        method: Method::GET,
        path: "/healthz",
        need: Need::Nothing,
        handler: Handler::Of(|_, _| Box::pin(async { Ok(say_alive()) })),
        name: "healthz",
        summary: "The process serves",
        parameters: &[],
        body: None,
        answers: &[Answer::of(200, "It does", JSON, "Health")],
    },
    Route {
        method: Method::GET,
        path: "/readyz",
        need: Need::Nothing,
        handler: Handler::Of(|app, _| Box::pin(async move { Ok(say_ready(&app)) })),
        name: "readyz",
        summary: "Whether fresh answers can be given",
        parameters: &[],
        body: None,
        answers: &[
            Answer::of(200, "They can", JSON, "Readiness"),
            Answer::of(503, "They cannot", JSON, "Readiness"),
        ],
    },
    Route {
        method: Method::GET,
        path: "/openapi.json",
        need: Need::Nothing,
        handler: Handler::Of(|app, _| Box::pin(async move { Ok(show_document(&app)) })),
        name: "openapi",
        summary: "This document",
        parameters: &[],
        body: None,
        answers: &[Answer::of(200, "OpenAPI 3.1", JSON, "OpenApi")],
    },
];

fn show_document(app: &App) -> Response {
    let kind = HeaderValue::from_static("application/json");
    let text: &'static str = app.document;
    ([(CONTENT_TYPE, kind)], Extension(BuiltIn), text).into_response()
}

fn say_alive() -> Response {
    Json(serde_json::json!({"status": "serving"})).into_response()
}

fn say_ready(app: &App) -> Response {
    let mut status = app.ordain.status();
    status.tasks.extend(app.access.tasks());
    let readiness = Readiness::of(&status, app.access.keys());
    let readiness = match app.edge.is_leaving() {
        true => readiness.drain(),
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

fn write_metrics(app: &App, call: &Call) -> Result<Response, Problem> {
    let format = Format::of(&call.parts.headers);
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

//! `/healthz`, `/readyz` and `/v1/component`: what runs, and whether it can answer.

use axum::extract::State;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;

use super::problem::Problem;
use super::resolve::json;
use super::{App, headers, input};
use crate::ordain::Status;

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

pub async fn component(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    input::Query::read(&uri, &[])?;
    headers::min_revision(&headers)?;
    json(&app.ordain.component(), app.watermark())
}

#[derive(Serialize)]
struct Readiness<'a> {
    /// `ready`, `degraded` (answers are fresh, but slower) or `unready`.
    status: &'static str,
    dependencies: Dependencies<'a>,
    near: Near,
}

#[derive(Serialize)]
struct Dependencies<'a> {
    origin: Backend<'a>,
    feed: Feed<'a>,
    far: Backend<'a>,
}

#[derive(Serialize)]
struct Backend<'a> {
    /// `up`, `down` or `off`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Feed<'a> {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    watermark: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proven_age_ms: Option<u64>,
    window: usize,
    purges: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

#[derive(Serialize)]
struct Near {
    entries: usize,
    bytes: u64,
}

fn state(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

impl Readiness<'_> {
    fn of(status: &Status) -> Readiness<'_> {
        let far_down = status.far.as_ref().is_some_and(|far| !far.reachable);
        // The feed reads the origin four times a second: how it fares is how the origin fares.
        let origin_up = status.watermark.is_some() && status.feed_error.is_empty();
        Readiness {
            status: match (status.ready, far_down || !origin_up) {
                (true, false) => "ready",
                (true, true) => "degraded",
                (false, _) => "unready",
            },
            dependencies: Dependencies {
                origin: Backend {
                    state: state(origin_up),
                    backend: Some(&status.origin),
                },
                feed: Feed {
                    state: state(origin_up),
                    watermark: status.watermark,
                    proven_age_ms: status.proven_age_ms,
                    window: status.window,
                    purges: status.purges,
                    error: &status.feed_error,
                },
                far: match &status.far {
                    None => Backend {
                        state: "off",
                        backend: None,
                    },
                    Some(far) => Backend {
                        state: state(far.reachable),
                        backend: Some(&far.backend),
                    },
                },
            },
            near: Near {
                entries: status.near_entries,
                bytes: status.near_bytes,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ordain::FarStatus;

    fn status() -> Status {
        Status {
            ready: true,
            origin: "memory".into(),
            watermark: Some(0),
            proven_age_ms: Some(3),
            window: 0,
            purges: 0,
            feed_error: String::new(),
            far: Some(FarStatus {
                backend: "redis at x:1".into(),
                reachable: true,
            }),
            near_entries: 0,
            near_bytes: 0,
        }
    }

    #[test]
    fn far_down_is_degraded_and_a_lost_origin_is_named() {
        let mut status = status();
        assert_eq!(Readiness::of(&status).status, "ready");
        status.far = Some(FarStatus {
            backend: "redis at x:1".into(),
            reachable: false,
        });
        let readiness = Readiness::of(&status);
        assert_eq!(
            (readiness.status, readiness.dependencies.far.state),
            ("degraded", "down")
        );
        status.ready = false;
        status.feed_error = "the origin did not answer".into();
        let readiness = Readiness::of(&status);
        assert_eq!(
            (readiness.status, readiness.dependencies.origin.state),
            ("unready", "down")
        );
        status.far = None;
        assert_eq!(Readiness::of(&status).dependencies.far.state, "off");
    }
}

//! axum and nothing else: a handler that parses the same requests and prints the same answers, in a
//! process of its own (`ordain-bench --bare`), with tokio and the sockets set as Ordain sets them.
//!
//! Equal: the framework and its version, the JSON that comes and goes, a list of requests or one.
//! Less: nothing is decided (every field of the answer but the echo of the request is written down
//! here), what is wrong with a request is not said, an answer has neither `X-Request-Id` nor
//! `Ordain-Revision`, and a panic would close the connection.

use std::io::Write as _;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use axum::serve::ListenerExt as _;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, UnixListener};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "parsed, as Ordain has to, and not used")]
struct Request {
    tenant: String,
    user: Option<String>,
    task: Option<String>,
    model: Option<String>,
    temperature: Option<f64>,
    max_tokens: Option<u64>,
    egress_mode: Option<String>,
    min_revision: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    allow: bool,
    tenant: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    provider: String,
    model: String,
    temperature: f64,
    max_tokens: u64,
    egress: Egress,
    rules: Rules,
    provenance: Provenance,
}

#[derive(Serialize)]
struct Egress {
    requested: &'static str,
    effective: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rules {
    provider: &'static str,
    model: &'static str,
    temperature: &'static str,
    max_tokens: &'static str,
    egress: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Provenance {
    revision: u64,
    tier: &'static str,
    stale: bool,
    age_ms: u32,
    component: &'static str,
    settings: &'static str,
}

impl Answer {
    fn to(request: Request) -> Answer {
        Answer {
            allow: true,
            tenant: request.tenant,
            user: request.user,
            task: request.task,
            provider: "openai".to_owned(),
            model: "gpt-4o-9".to_owned(),
            temperature: 0.5,
            max_tokens: 2000,
            egress: Egress {
                requested: "report-only",
                effective: "report-only",
            },
            rules: Rules {
                provider: "task",
                model: "task",
                temperature: "task",
                max_tokens: "task",
                egress: "user",
            },
            provenance: Provenance {
                revision: 1_795_415_632_929_977,
                tier: "near",
                stale: false,
                age_ms: 128,
                component: "sha256:88497d59d1a4e8e1d8d6a5ad9a0f6c3dfd4c8a2f7b1e0c9d3a5b7f6e8d1c2b3a",
                settings: "0590d7e4",
            },
        }
    }
}

async fn resolve(body: Bytes) -> Response {
    // By the first byte: an untagged enum would be read twice.
    if body.first() == Some(&b'[') {
        return match serde_json::from_slice::<Vec<Request>>(&body) {
            Ok(requests) => {
                let answers: Vec<Answer> = requests.into_iter().map(Answer::to).collect();
                Json(answers).into_response()
            }
            Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        };
    }
    match serde_json::from_slice(&body) {
        Ok(request) => Json(Answer::to(request)).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// Serves until it is killed, on a free port, or on this socket; prints where, as Ordain does.
pub async fn serve(socket: Option<&str>) -> anyhow::Result<()> {
    let router = Router::new().route("/v1/resolve", post(resolve));
    if let Some(path) = socket {
        let listener = UnixListener::bind(path).context("a socket")?;
        announce(&format!("unix:{path}"))?;
        return Ok(axum::serve(listener, router).await?);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(&format!("http://{}", listener.local_addr()?))?;
    let listener = listener.tap_io(|stream| {
        // Refused, it would be slower, and still right.
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, router).await?)
}

fn announce(address: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening on {address}")?;
    Ok(out.flush()?)
}

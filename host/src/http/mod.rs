//! Ordain over HTTP (DESIGN section 7). Routes and what holds for all of them; one file per group of
//! calls, `problem` for errors. No rule about policies is here: handlers translate and ask
//! [`Ordain`].

mod admin;
mod caches;
mod component;
mod headers;
mod input;
mod lists;
mod object;
mod policy;
mod problem;
mod resolve;
mod state;
mod upkeep;

use std::future::IntoFuture;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;

use crate::ordain::Ordain;
use headers::{REQUEST_ID, RequestId};
use problem::Problem;

pub use policy::RECORD_LIMIT;

/// Time that requests under way have to end once the service is asked to stop.
const GRACE: Duration = Duration::from_secs(10);

/// What every handler has.
#[derive(Clone)]
struct App {
    ordain: Ordain,
    /// Deadline of calls that the library does not bound by itself.
    deadline: Duration,
}

impl App {
    /// Position up to which this instance knows the log; 0, which demands nothing, if it does not.
    fn watermark(&self) -> u64 {
        self.ordain.watermark()
    }
}

/// All routes. Every answer has an `X-Request-Id`; a panic is an answer too.
pub fn router(ordain: Ordain, deadline: Duration) -> Router {
    let policy = get(policy::get).put(policy::put).delete(policy::delete);
    let component = get(component::get)
        .put(component::put)
        .delete(component::withdraw);
    Router::new()
        .route("/v1/resolve", post(resolve::resolve))
        .route("/v1/tenants", get(lists::tenants))
        .route("/v1/tenants/{tenant}/policy", policy)
        .route("/v1/tenants/{tenant}/policy/try", post(policy::try_out))
        .route("/v1/tenants/{tenant}/history", get(lists::history))
        .route("/v1/component", component)
        .route("/v1/component/check", post(component::check))
        .route("/v1/component/promote", post(component::promote))
        .route("/v1/component/rollback", post(component::roll_back))
        .route("/v1/caches", get(caches::get).patch(caches::patch))
        .route("/v1/caches/purge", post(upkeep::purge))
        .route("/v1/log/prune", post(upkeep::prune))
        .route("/metrics", get(admin::metrics))
        .route("/healthz", get(admin::healthz))
        .route("/readyz", get(admin::readyz))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .with_state(App { ordain, deadline })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(identify))
}

/// Serves until `stop` is done, then lets requests under way end, for a bounded time; a second
/// `stop` ends the wait.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    mut stop: impl AsyncFnMut(),
) -> std::io::Result<()> {
    // Answers are small and awaited: none may wait for an acknowledgement of the one before.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was refused");
        }
    });
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let server = axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            // An error means that the sender is gone, which is the same news.
            let _ = told.await;
        })
        .into_future();
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => return ended,
        () = stop() => {}
    }
    tracing::info!("stopping: requests under way have {} s", GRACE.as_secs());
    let _ = tell.send(());
    tokio::select! {
        ended = &mut server => ended,
        () = tokio::time::sleep(GRACE) => {
            tracing::warn!("requests under way were cut off after {} s", GRACE.as_secs());
            Ok(())
        }
        () = stop() => {
            tracing::warn!("requests under way were cut off: asked to stop again");
            Ok(())
        }
    }
}

/// Gives the request an id and the answer the same.
async fn identify(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let line = tracing::enabled!(tracing::Level::DEBUG).then(|| {
        (
            request.method().clone(),
            request.uri().path().to_owned(),
            std::time::Instant::now(),
        )
    });
    let mut response = next.run(request).await;
    if let Some((method, path, start)) = line {
        let status = response.status().as_u16();
        let micros = start.elapsed().as_micros();
        tracing::debug!(%method, path, status, micros, request_id = id.as_str(), "answered");
    } else if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(request_id = id.as_str(), "a request failed");
    }
    response.headers_mut().insert(REQUEST_ID, id.0);
    response
}

async fn unknown_route(request: Request) -> Problem {
    let detail = format!("there is nothing at {}", request.uri().path());
    Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
}

async fn unknown_method(request: Request) -> Problem {
    let detail = format!(
        "{} does not take {}",
        request.uri().path(),
        request.method()
    );
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let cause = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("of unknown cause");
    tracing::error!(cause, "a handler panicked");
    Problem::internal().into_response()
}

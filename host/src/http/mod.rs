//! Ordain over HTTP (DESIGN section 7). Routes and what holds for all of them; one file per group of
//! calls, `gate` and `rules` for who may make them, `problem` for errors. No rule about policies is here: handlers translate and ask
//! [`Ordain`].

mod admin;
mod caches;
mod coding;
mod component;
mod config;
mod exposition;
mod gate;
mod headers;
mod input;
mod listen;
mod lists;
mod object;
mod policy;
mod problem;
mod resolve;
mod rules;
mod service;
mod state;
mod upkeep;

use std::future::IntoFuture;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Router, ServiceExt};

use crate::access::Access;
use crate::ordain::Ordain;
use problem::Problem;

pub use listen::{ListenError, Listener};
pub use policy::RECORD_LIMIT;
pub use service::Service;

/// Time that requests under way have to end once the service is asked to stop.
const GRACE: Duration = Duration::from_secs(10);

/// What every handler has.
#[derive(Clone)]
struct App {
    ordain: Ordain,
    /// Deadline of calls that the library does not bound by itself.
    deadline: Duration,
    access: Access,
}

impl App {
    /// Position up to which this instance knows the log; 0, which demands nothing, if it does not.
    fn watermark(&self) -> u64 {
        self.ordain.watermark()
    }

    /// What comes before a report on this instance: it has no parameters, and a demanded revision is
    /// known here.
    async fn reads(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        input::Query::read(uri, &[])?;
        let min_revision = headers::min_revision(headers)?;
        Ok(self.ordain.known_up_to(min_revision).await?)
    }
}

/// All routes, as a service that is called without a listener, too. A new one needs a line in `rules`.
pub fn service(ordain: Ordain, deadline: Duration, access: Access) -> Service {
    let app = App {
        ordain,
        deadline,
        access,
    };
    let policy = get(policy::get).put(policy::put).delete(policy::delete);
    let component = get(component::get)
        .put(component::put)
        .delete(component::withdraw);
    let config = get(config::get).patch(config::patch).delete(config::delete);
    let routes = Router::new()
        .route("/v1/resolve", post(resolve::resolve))
        .route("/v1/tenants", get(lists::tenants))
        .route("/v1/tenants/{tenant}/policy", policy)
        .route("/v1/tenants/{tenant}/policy/try", post(policy::try_out))
        .route("/v1/tenants/{tenant}/history", get(lists::history))
        .route("/v1/tenants/{tenant}/config", get(config::effective))
        .route("/v1/config", config.clone())
        .route("/v1/config/history", get(config::history))
        .route("/v1/tenants/{tenant}/config/own", config.clone())
        .route(
            "/v1/tenants/{tenant}/config/own/history",
            get(config::history),
        )
        .route("/v1/tenants/{tenant}/users/{user}/config", config)
        .route(
            "/v1/tenants/{tenant}/users/{user}/config/history",
            get(config::history),
        )
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
        .with_state(app.clone());
    Service::new(app, routes)
}

/// Serves until `stop` is done, then lets requests under way end, for a bounded time; a second
/// `stop` ends the wait.
pub async fn serve(
    listener: Listener,
    service: Service,
    stop: impl AsyncFnMut(),
) -> std::io::Result<()> {
    match listener {
        Listener::Tcp(listener) => {
            // Answers are small and awaited: none may wait for an acknowledgement of the one before.
            let listener = listener.tap_io(|stream| {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY was refused");
                }
            });
            serve_on(listener, (), service, stop).await
        }
        Listener::Unix(listener, file) => serve_on(listener, file, service, stop).await,
    }
}

/// `open`: dropped as soon as no more connections are taken.
async fn serve_on<L>(
    listener: L,
    open: impl Send,
    service: Service,
    mut stop: impl AsyncFnMut(),
) -> std::io::Result<()>
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let service = ServiceExt::<Request>::into_make_service(service);
    let server = axum::serve(listener, service)
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
    drop(open);
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

async fn unknown_route(request: Request) -> Problem {
    nothing_at(request.uri().path())
}

fn nothing_at(path: &str) -> Problem {
    let detail = format!("there is nothing at {path}");
    Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
}

async fn unknown_method(request: Request) -> Problem {
    not_taken(request.uri().path(), request.method())
}

fn not_taken(path: &str, method: &Method) -> Problem {
    let detail = format!("{path} does not take {method}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
}

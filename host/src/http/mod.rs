//! Ordain over HTTP (DESIGN section 7). Routes and what holds for all of them; one file per group of
//! calls, `gate` and `rules` for who may make them, `problem` for errors. No rule about policies is here: handlers translate and ask
//! [`Ordain`].

mod admin;
mod caches;
mod coding;
mod component;
mod config;
mod edge;
mod exposition;
mod gate;
mod headers;
mod import;
mod input;
mod listen;
mod lists;
mod local;
mod memory;
mod object;
mod policy;
mod problem;
mod resolve;
mod rules;
mod service;
mod state;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::routing::{get, post};

use crate::access::Access;
use crate::ordain::Ordain;
use problem::Problem;

pub use edge::{Asked, Edge, IDLE, NoRoom, Status as EdgeStatus, room, serve};
pub use import::{LINES, Line};
pub use listen::{ListenError, Listener};
pub use memory::places as memory_places;
pub use policy::RECORD_LIMIT;
pub use service::Service;

/// What every handler has.
#[derive(Clone)]
struct App {
    ordain: Ordain,
    /// Deadline of calls that the library does not bound by itself.
    deadline: Duration,
    access: Access,
    edge: Arc<Edge>,
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
pub fn service(ordain: Ordain, deadline: Duration, access: Access, edge: Arc<Edge>) -> Service {
    let app = App {
        ordain,
        deadline,
        access,
        edge,
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
        .route("/v1/policies/import", post(import::import))
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
        .route("/openapi.json", get(admin::openapi))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .with_state(app.clone());
    Service::new(app, routes)
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

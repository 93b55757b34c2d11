//! All routes. A new one needs a line in `rules`, too.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::{get, post};

use super::app::App;
use super::edge::Edge;
use super::problem::Problem;
use super::service::Service;
use super::{admin, caches, component, config, import, lists, policy, resolve, upkeep};
use crate::access::Access;
use ordain::door::Ordain;

/// All routes, as a service that is called without a listener, too. A new one needs a line in
/// `rules`.
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
    Problem::nothing_at(request.uri().path())
}

async fn unknown_method(request: Request) -> Problem {
    Problem::not_taken(request.uri().path(), request.method())
}

//! `GET /v1/tenants`: who has a policy.

use axum::http::Method;
use axum::response::Response;
use serde::Serialize;

use crate::access::Need;
use crate::http::answer::json;
use crate::http::app::App;
use crate::http::contract::Answer;
use crate::http::deadline::bound;
use crate::http::page::{List, Part, encode};
use crate::http::parameters::PAGE;
use crate::http::problem::Problem;
use crate::http::route::{Call, Handler, Route};

pub const ROUTES: &[Route] = &[Route {
    method: Method::GET,
    path: "/v1/tenants",
    need: Need::Everything,
    handler: Handler::Of(|app, call| Box::pin(list(app, call))),
    name: "listTenants",
    summary: "Tenants that have a policy, in byte order",
    parameters: PAGE,
    body: None,
    answers: &[Answer::json(200, "A page", "Tenants")],
}];

#[derive(Serialize)]
struct TenantItem {
    tenant: String,
    revision: u64,
}

async fn list(app: App, call: Call) -> Result<Response, Problem> {
    let part = Part::read(&call.query()?, &call.parts.headers)?;
    let tenants = app
        .ordain
        .tenants(part.after.as_deref(), part.limit, part.min_revision);
    let page = bound(app.deadline, tenants).await??;
    let last = page.items.last().map(|entry| encode(&entry.tenant));
    let items = page.items.into_iter().map(|entry| TenantItem {
        tenant: entry.tenant,
        revision: entry.revision,
    });
    let list = List {
        items: items.collect(),
        next_cursor: last.filter(|_| page.more),
    };
    json(&list, page.as_of)
}

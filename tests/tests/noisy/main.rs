//! A noisy tenant of each kind beside a quiet one, on real servers: no request of the quiet one fails, it
//! waits little longer than without, and operators get through. An executable of its own, so that no other
//! test runs beside it.
//!
//! The noise comes in paces, so that it is the server that is busy and not the client: both share the same
//! few cores.

mod kinds;
mod quiet;

use ordain_tests::app::App;
use ordain_tests::services::{Postgres, Redis};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use kinds::Kind;
use quiet::Quiet;

async fn run(kinds: &[Kind]) {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let app = App::builder()
        .postgres(&postgres.database())
        .redis(&redis.url())
        .start()
        .await;
    kinds::prepare(&app).await;
    let mut quiet = Quiet::new(&app).await;
    let mut faults = Vec::new();
    for kind in kinds {
        let normal = quiet.watched().await;
        let mut noise = JoinSet::new();
        kind.start(&app, &mut noise);
        let disturbed = quiet.watched().await;
        operators_get_through(&app, kind, &mut faults).await;
        noise.abort_all();
        while noise.join_next().await.is_some() {}
        println!("{kind:?}\n  alone  {normal}\n  beside {disturbed}");
        let found = disturbed.against(&normal);
        faults.extend(found.into_iter().map(|fault| format!("{kind:?}: {fault}")));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// What somebody does at night, while everything else is full.
async fn operators_get_through(app: &App, kind: &Kind, faults: &mut Vec<String>) {
    let purge = json!({"tenant": "nobody"});
    for (method, path, body) in [
        ("GET", "/v1/component", Value::Null),
        ("POST", "/v1/caches/purge", purge),
        ("PATCH", "/v1/caches", json!({"far": true})),
        ("PATCH", "/v1/caches", json!({"far": null})),
        ("GET", "/metrics", Value::Null),
    ] {
        let mut call = app.call(method, path);
        if !body.is_null() {
            call = call.json(&body);
        }
        let reply = call.send().await;
        if reply.status != 200 {
            faults.push(format!(
                "{kind:?}: an operator's {method} {path}: {reply:?}"
            ));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_noisy_reader_costs_a_quiet_tenant_no_request_and_little_time() {
    run(&[
        Kind::ColdUsers,
        Kind::FarFutureRevisions,
        Kind::NearFutureRevisions,
        Kind::Histories,
        Kind::UnreadHistories,
        Kind::HalfRequests,
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_noisy_editor_costs_a_quiet_tenant_no_request_and_little_time() {
    run(&[Kind::Writes, Kind::DryRuns, Kind::HeavyRecords]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_imports_cost_a_quiet_tenant_no_request_and_little_time() {
    run(&[Kind::Lists, Kind::Imports]).await;
}

//! A noisy tenant of each kind beside a quiet one, on real servers: no request of the quiet one
//! fails, it waits little longer than without, and operators get through. An executable of its own,
//! so that no other test runs beside it.
//!
//! The noise comes in paces, so that it is the server that is busy and not the client: both share
//! the same few cores.

mod kinds;
mod quiet;

use ordain_tests::app::App;
use ordain_tests::services::{Postgres, Redis};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use kinds::Kind;
use quiet::{Quiet, Slow};

/// Times that a kind is watched until each kind of request was quick in one of them: what noise
/// costs, it costs each time, and what else this machine is at comes and goes. No request may fail
/// in any.
const TRIES: usize = 4;

/// Nor do the tests of this file run beside each other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn run(kinds: &[Kind]) {
    let _alone = ALONE.lock().await;
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
        let mut slow: Option<Slow> = None;
        for _ in 0..TRIES {
            let normal = quiet.watched().await;
            let noise = Noise::start(*kind, &app);
            let disturbed = quiet.watched().await;
            operators_get_through(&app, kind, &mut faults).await;
            drop(noise);
            println!("{kind:?}\n  alone  {normal}\n  beside {disturbed}");
            let failed = normal.failed().iter().chain(disturbed.failed());
            faults.extend(failed.map(|fault| format!("{kind:?}: {fault}")));
            let now = disturbed.against(&normal);
            let each_time = match slow {
                None => now,
                Some(before) => now
                    .into_iter()
                    .filter(|(what, _)| before.contains_key(what))
                    .collect(),
            };
            let quick = each_time.is_empty();
            slow = Some(each_time);
            if quick {
                break;
            }
        }
        let slow = slow.unwrap_or_default().into_values();
        faults.extend(slow.map(|fault| format!("{kind:?}, each of {TRIES} times: {fault}")));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// On a thread of its own, so that the quiet one never waits for the noisy one's client.
struct Noise(Option<tokio::runtime::Runtime>);

impl Noise {
    fn start(kind: Kind, app: &App) -> Noise {
        let mut threads = tokio::runtime::Builder::new_multi_thread();
        // Of this machine it has what nobody else wants: those who make noise are elsewhere in life.
        // If it may not step back, it is noisier.
        threads.on_thread_start(|| {
            let _ = rustix::process::setpriority_process(None, 19);
        });
        let threads = threads.worker_threads(1).enable_all().build();
        let threads = threads.expect("a thread");
        let mut tasks = JoinSet::new();
        {
            let _within = threads.enter();
            kind.start(app, &mut tasks);
        }
        // They end with the thread.
        tasks.detach_all();
        Noise(Some(threads))
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        if let Some(threads) = self.0.take() {
            threads.shutdown_background();
        }
    }
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

#[tokio::test]
async fn a_noisy_reader_costs_a_quiet_tenant_no_request_and_little_time() {
    run(&[
        Kind::ColdUsers,
        Kind::ColdTenants,
        Kind::FarFutureRevisions,
        Kind::NearFutureRevisions,
        Kind::Histories,
        Kind::UnreadHistories,
        Kind::HalfRequests,
    ])
    .await;
}

#[tokio::test]
async fn a_noisy_editor_costs_a_quiet_tenant_no_request_and_little_time() {
    run(&[Kind::Writes, Kind::DryRuns, Kind::HeavyRecords]).await;
}

#[tokio::test]
async fn lists_and_imports_cost_a_quiet_tenant_no_request_and_little_time() {
    run(&[Kind::Lists, Kind::Imports]).await;
}

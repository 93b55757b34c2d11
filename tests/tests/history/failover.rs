//! Postgres fails over to a replica that lacks the last commits: instances notice, drop all that
//! they judged by the lost history, and are right again.

use std::time::{Duration, Instant};

use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::run::{LIMITS, Plan, Run};

/// A member of a readiness answer, wherever it stands.
fn member(json: &Value, name: &str) -> Option<u64> {
    let object = json.as_object()?;
    let here = object.get(name).and_then(Value::as_u64);
    here.or_else(|| object.values().find_map(|value| member(value, name)))
}

async fn readiness(cluster: &Cluster, slot: usize, name: &str) -> u64 {
    let reply = cluster.shared.target(slot).client.get("/v1/caches").await;
    // While history is being read anew there is no watermark.
    member(&reply.json, name).unwrap_or(0)
}

async fn loses_commits(slots: usize, seed: u64) {
    let mut run = Run::begin(Plan {
        seed,
        slots,
        rounds: 0,
        fails_over: true,
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut before = Vec::new();
    for slot in 0..slots {
        before.push(readiness(&run.cluster, slot, "purges").await);
    }
    run.lose(async |cluster: &Cluster| {
        // Every instance knows of a commit that will be lost.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let shared = &cluster.shared;
        let known = shared.recorder.with(|history| {
            let revisions = history.ops.iter().filter_map(|op| op.acknowledged());
            revisions.max().unwrap_or(0)
        });
        assert!(known > 0);
        for slot in 0..slots {
            let watermark = || async {
                let watermark = readiness(cluster, slot, "watermark").await;
                holds(watermark >= known, format!("{watermark} < {known}"))
            };
            eventually("the lost commit is known", PATIENCE, watermark).await;
        }
    })
    .await;
    let start = Instant::now();
    for (slot, before) in before.iter().enumerate() {
        let noticed = || async {
            let purges = readiness(&run.cluster, slot, "purges").await;
            holds(purges > *before, format!("{purges} purges"))
        };
        eventually("noticed", LIMITS.bound + Duration::from_secs(3), noticed).await;
    }
    run.settle().await;
    println!(
        "noticed and right again, at the latest {:.1?} later",
        start.elapsed()
    );
    let report = run.end().await;
    assert!(
        !report.history.lost.is_empty(),
        "nothing was lost: {}",
        report.summary()
    );
    let lost = |op: &crate::record::Op| {
        let position = op.acknowledged();
        position.is_some_and(|p| report.history.lost.iter().any(|row| row.position == p))
    };
    assert!(
        report.history.ops.iter().any(lost),
        "no acknowledged write was lost"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_lost_commits_is_noticed_and_what_was_lost_is_forgotten() {
    loses_commits(2, 5).await;
    loses_commits(3, 6).await;
}

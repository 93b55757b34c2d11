//! An instance that dies right after a commit, before it could tell anybody: what it wrote is seen
//! everywhere within the bound all the same.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ordain_tests::wait::PATIENCE;
use sqlx::PgConnection;

use crate::calls::{Caller, Form, Target};
use crate::cluster::Cluster;
use crate::record::{Condition, Written};
use crate::run::{Plan, Run};
use crate::sql;
use crate::workload::{self, TENANTS};

/// The others, which must see what a victim wrote.
const SURVIVORS: usize = 2;
/// The slot of the victims.
const VICTIM: usize = SURVIVORS;

/// When the victim dies.
#[derive(Debug, Clone, Copy)]
enum When {
    /// As soon as the caller has the reply.
    Acknowledged,
    /// As soon as the commit can be seen.
    Visible,
    /// As soon as the commit can be seen; the victim itself has not heard of it.
    Unheard,
}

async fn kills(count: usize, seed: u64) {
    let plan = Plan {
        seed,
        slots: SURVIVORS + 1,
        rounds: 0,
        fails_over: false,
    };
    // Nobody writes but the victims: what the others know they have from the log.
    let run = Run::with(plan, |shared| workload::readers(shared, SURVIVORS)).await;
    let cluster = &run.cluster;
    let mut psql = ordain_tests::sql::connect(&cluster.shared.database())
        .await
        .expect("the database accepts connections");
    let start = Instant::now();
    // The next ones start while one is killed: that is what takes the time.
    let (send, mut victims) = tokio::sync::mpsc::channel(1);
    let left = AtomicUsize::new(count);
    let start_some = || async {
        let one_less = |left: usize| left.checked_sub(1);
        let (set, get) = (Ordering::SeqCst, Ordering::SeqCst);
        while left.fetch_update(set, get, one_less).is_ok() {
            if send.send(cluster.victim(VICTIM).await).await.is_err() {
                break;
            }
        }
    };
    let kill_them = async {
        for round in 0..count {
            let victim = victims.recv().await.expect("a victim for each round");
            let when = match round % 3 {
                0 => When::Acknowledged,
                1 => When::Visible,
                _ => When::Unheard,
            };
            kill(cluster, &mut psql, victim, round, when).await;
        }
    };
    futures::join!(start_some(), start_some(), kill_them);
    println!("{count} instances killed in {:.1?}", start.elapsed());
    let report = run.end().await;
    let written = report.history.log.iter().filter(|row| {
        let op = row.op.as_deref().unwrap_or_default();
        op.starts_with("victim-")
    });
    assert_eq!(written.count(), count, "every victim's write is committed");
    assert!(
        report.of(crate::record::Tier::Near) > count,
        "{}",
        report.summary()
    );
}

/// One victim writes and dies; then the others are asked until they know.
async fn kill(
    cluster: &Cluster,
    psql: &mut PgConnection,
    victim: Target,
    round: usize,
    when: When,
) {
    let shared = &cluster.shared;
    let tenant = TENANTS[round % TENANTS.len()];
    let read = |target: Target| {
        let caller = Caller {
            recorder: &shared.recorder,
            target,
            id: format!("round-{round}"),
        };
        caller.read(tenant, 0, Form::Resolve)
    };
    // What is cached is cached everywhere.
    let _ = read(victim.clone()).await;
    let mut tries = 0..5;
    let position = loop {
        // A busy machine may keep it from writing within the deadline of the origin.
        let number = tries.next().expect("one of five writes is committed");
        let id = format!("victim-{round}-{number}");
        if let Some(position) = last_write(cluster, psql, victim.clone(), tenant, id, when).await {
            break position;
        }
    };
    for slot in 0..SURVIVORS {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = read(shared.target(slot)).await;
            let record = answer
                .as_ref()
                .ok()
                .and_then(|answer| answer.record.as_ref());
            if record.is_some_and(|record| record.0 >= position) {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "slot {slot} still says {answer:?}"
            );
        }
    }
}

/// The victim writes, and dies if that is committed: then at this position.
async fn last_write(
    cluster: &Cluster,
    psql: &mut PgConnection,
    victim: Target,
    tenant: &str,
    id: String,
    when: When,
) -> Option<u64> {
    let (shared, link) = (&cluster.shared, cluster.postgres_link(VICTIM));
    let host = victim.host;
    if matches!(when, When::Unheard) {
        // Not the word in "READ COMMITTED".
        link.hold_replies_after("; COMMIT");
    }
    let caller = Caller {
        recorder: &shared.recorder,
        target: victim,
        id: id.clone(),
    };
    let model = format!("{tenant} {id}");
    let write = caller.write(tenant, Some(&model), Condition::None);
    let mut write = std::pin::pin!(write);
    let mut outcome = None;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let seen = async {
            let position = sql::position_of(psql, &id).await;
            position.expect("the database answers")
        };
        let seen = match (when, &outcome) {
            (When::Acknowledged, None) => {
                outcome = Some(write.as_mut().await);
                None
            }
            (_, Some(_)) => seen.await,
            (_, None) => {
                tokio::select! {
                    done = write.as_mut() => {
                        outcome = Some(done);
                        None
                    }
                    seen = seen => seen,
                }
            }
        };
        if let Some(position) = seen {
            let now = shared.recorder.now();
            cluster.kill(host);
            link.pass();
            shared
                .recorder
                .with(|history| history.seen.push((position, now)));
            if outcome.is_none() {
                write.await;
            }
            return Some(position);
        }
        match &outcome {
            Some(Written::Refused(_)) => {
                link.pass();
                return None;
            }
            Some(Written::Unexpected(reply)) => panic!("{reply}"),
            // Not yet; and what was acknowledged must become visible.
            _ => {}
        }
    }
    panic!("{id} is not committed: {outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_instances_killed_after_a_commit_leave_nothing_stale() {
    kills(40, 7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make soak"]
async fn two_hundred_instances_killed_after_a_commit_leave_nothing_stale() {
    kills(200, 8).await;
}

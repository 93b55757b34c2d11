//! An instance that dies right after a commit, before it could tell anybody: what it wrote is seen
//! everywhere within the bound all the same.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use crate::calls::{Caller, Form, Target};
use crate::cluster::Cluster;
use crate::record::Condition;
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
    let mut psql = PgConnection::connect(&cluster.shared.database())
        .await
        .expect("the database accepts connections");
    let start = Instant::now();
    // The next ones start while one is killed: that is what takes the time.
    let (send, mut victims) = tokio::sync::mpsc::channel(1);
    let start_victims = async {
        for _ in 0..count {
            let victim = cluster.victim(VICTIM).await;
            if send.send(victim).await.is_err() {
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
    futures::join!(start_victims, kill_them);
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
    let caller = |target: Target, id: &str| Caller {
        recorder: &shared.recorder,
        target,
        id: format!("{id}-{round}"),
    };
    // What is cached is cached everywhere.
    let _ = caller(victim.clone(), "warm")
        .read(tenant, 0, Form::Resolve)
        .await;
    let model = format!("{tenant} {round}");
    let id = format!("victim-{round}");
    if matches!(when, When::Unheard) {
        cluster.postgres_link(VICTIM).hold_replies_after("COMMIT");
    }
    let host = victim.host;
    let write = caller(victim, "victim").write(tenant, Some(&model), Condition::None);
    let position = if matches!(when, When::Acknowledged) {
        let _ = write.await;
        cluster.kill(host);
        visible(psql, &id).await
    } else {
        let die = async {
            let position = visible(psql, &id).await;
            let seen = shared.recorder.now();
            cluster.kill(host);
            cluster.postgres_link(VICTIM).pass();
            shared
                .recorder
                .with(|history| history.seen.push((position, seen)));
            position
        };
        futures::join!(write, die).1
    };
    for slot in 0..SURVIVORS {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let answer = caller(shared.target(slot), "after").read(tenant, 0, Form::Resolve);
            let answer = answer.await;
            if let Ok(answer) = &answer
                && answer
                    .record
                    .as_ref()
                    .is_some_and(|record| record.0 >= position)
            {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "slot {slot} still says {answer:?}"
            );
        }
    }
}

/// Waits until a write can be seen in the database; its position.
async fn visible(psql: &mut PgConnection, id: &str) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let position = sql::position_of(psql, id)
            .await
            .expect("the database answers");
        if let Some(position) = position {
            return position;
        }
        assert!(Instant::now() < deadline, "{id} is not committed");
    }
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

//! One run: servers, instances and clients, the faults of a seed, then quiet, and the verdict.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ordain_tests::services::Postgres;
use ordain_tests::wait::{eventually, holds};
use tokio::task::JoinHandle;

use crate::calls::{Caller, Form};
use crate::check::{Limits, Violation, check};
use crate::cluster::{Cluster, DATABASE, Made, STALE_LIMIT, blocking};
use crate::faults::schedule;
use crate::report::Report;
use crate::sql;
use crate::workload::{self, Shared, TENANTS};

/// The default bound, and the default deadline of a request with what a busy machine adds to it.
pub const LIMITS: Limits = Limits {
    bound: Duration::from_secs(1),
    stale: STALE_LIMIT,
    deadline: Duration::from_millis(1500),
};

/// Everybody is right again in this time after the last fault: the longest pauses between tries of
/// an instance, the bound, and a busy machine.
const RECOVERY: Duration = Duration::from_secs(10);

/// How long clients go on when there is no fault any more.
const AFTERWARDS: Duration = Duration::from_millis(1500);

/// A gap in the test's own ticking that is longer than this is one in which nobody could be on
/// time.
const STALL: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    pub slots: usize,
    /// How often every fault of Postgres comes; the others come until these are over.
    pub rounds: usize,
    /// Whether a replica takes over that lacks the last commits, at the end.
    pub fails_over: bool,
}

/// A run under way.
pub struct Run {
    pub plan: Plan,
    pub cluster: Cluster,
    clients: Vec<JoinHandle<()>>,
    ticker: JoinHandle<()>,
    replica: Option<Arc<Postgres>>,
    /// The primary that was failed over from.
    old: Option<Arc<Postgres>>,
}

/// Runs a plan and panics, with the seed, if a promise was broken.
pub async fn run(plan: Plan) -> Report {
    let mut run = Run::begin(plan).await;
    run.faults().await;
    if plan.fails_over {
        run.lose(async |_| tokio::time::sleep(Duration::from_millis(800)).await)
            .await;
    }
    run.end().await
}

impl Run {
    pub async fn begin(plan: Plan) -> Run {
        Run::with(plan, workload::start).await
    }

    /// Starts the servers and instances of a plan, and these clients.
    pub async fn with(
        plan: Plan,
        clients: impl FnOnce(&Arc<Shared>) -> Vec<JoinHandle<()>>,
    ) -> Run {
        println!("{plan:?}: to replay it, ORDAIN_SEED={}", plan.seed);
        let cluster = Cluster::start(plan.seed, plan.slots).await;
        let replica = if plan.fails_over {
            let primary = cluster.postgres.clone();
            Some(Arc::new(blocking(move || primary.replica()).await))
        } else {
            None
        };
        Run {
            plan,
            clients: clients(&cluster.shared),
            ticker: tokio::spawn(tick(cluster.shared.clone())),
            cluster,
            replica,
            old: None,
        }
    }

    /// The lanes side by side, until that of Postgres is at its end.
    async fn faults(&self) {
        let Plan {
            seed,
            slots,
            rounds,
            ..
        } = self.plan;
        let schedule = schedule(seed, slots, rounds);
        let (over, never) = (AtomicBool::new(false), AtomicBool::new(false));
        let postgres = async {
            self.cluster.lane(&schedule.postgres, &never).await;
            over.store(true, Ordering::SeqCst);
        };
        let redis = async {
            // When there is something in it that later faults can go back to.
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.cluster.far.look().await;
            self.cluster.lane(&schedule.redis, &over).await;
        };
        let instances = self.cluster.lane(&schedule.instances, &over);
        let operator = self.cluster.lane(&schedule.operator, &over);
        futures::join!(postgres, redis, instances, operator);
    }

    /// Fails over to the replica, which lacks what is committed during `behind`.
    pub async fn lose(&mut self, behind: impl AsyncFnOnce(&Cluster)) {
        // So that there is something to lose: everybody writes and has something cached.
        self.settle().await;
        let replica = self.replica.take().expect("the plan has a replica");
        self.old = Some(self.cluster.fail_over(replica, behind).await);
        tokio::time::sleep(AFTERWARDS).await;
    }

    /// Waits until every instance answers for every tenant, freshly.
    pub async fn settle(&self) {
        let shared = &self.cluster.shared;
        for slot in 0..self.plan.slots {
            for tenant in TENANTS {
                let fresh = || async {
                    let caller = Caller {
                        recorder: &shared.recorder,
                        target: shared.target(slot),
                        id: format!("settle-{slot}"),
                    };
                    let answer = caller.read(tenant, 0, Form::Resolve).await;
                    let fresh = answer.as_ref().is_ok_and(|answer| !answer.stale);
                    holds(fresh, format!("slot {slot}: {answer:?}"))
                };
                eventually("right again", RECOVERY, fresh).await;
            }
        }
    }

    /// Quiet: everybody comes back by himself, while the clients go on. Then the verdict.
    pub async fn end(self) -> Report {
        self.settle().await;
        tokio::time::sleep(AFTERWARDS).await;
        let shared = &self.cluster.shared;
        shared.stop.store(true, Ordering::SeqCst);
        for client in self.clients.into_iter() {
            client.await.expect("no client panics");
        }
        self.ticker.abort();

        let log = sql::log(&shared.database()).await;
        let mut log = log.expect("the log can be read");
        // No commit of before the failover was lost.
        log.append(&mut self.cluster.pruned.lock().expect("nobody panics here"));
        log.sort_by_key(|row| row.position);
        log.dedup();
        let mut history = shared.recorder.with(std::mem::take);
        if let Some(old) = self.old {
            // Nobody else is led to it any more.
            let url = old.url("postgres", DATABASE);
            let server = old.clone();
            blocking(move || server.restart()).await;
            let lost = sql::log(&url).await.expect("the old log can be read");
            history.lost = lost.into_iter().filter(|row| !log.contains(row)).collect();
        }
        history.log = log;
        let faults = self
            .cluster
            .made
            .lock()
            .expect("nobody panics here")
            .clone();
        let report = Report { faults, history };
        println!("seed {}: {}", self.plan.seed, report.summary());
        let found = check(&report.history, LIMITS);
        if !found.is_empty() {
            let file = write_down(self.plan, &report, &found, &self.cluster.logs());
            drop(self.cluster);
            accuse(self.plan, &found, &file);
        }
        report
    }
}

/// Notes when the machine does not let the test itself run.
async fn tick(shared: Arc<Shared>) {
    let mut last = Instant::now();
    loop {
        tokio::time::sleep(TICK).await;
        let gap = last.elapsed();
        last = Instant::now();
        if gap > STALL {
            let now = shared.recorder.now();
            let from = now.saturating_sub(gap - TICK);
            shared
                .recorder
                .with(|history| history.stalls.push((from, now)));
        }
    }
}

fn accuse(plan: Plan, found: &[Violation], file: &std::path::Path) -> ! {
    let first: Vec<String> = found.iter().take(8).map(Violation::to_string).collect();
    panic!(
        "ORDAIN_SEED={} ({plan:?}): {} promises broken, all of them in {}; the first ones:\n{}",
        plan.seed,
        found.len(),
        file.display(),
        first.join("\n")
    );
}

/// Everything that may explain a violation, in a file.
fn write_down(plan: Plan, report: &Report, found: &[Violation], logs: &[String]) -> PathBuf {
    let history = &report.history;
    let mut lines = vec![format!("{plan:?}"), report.summary()];
    lines.extend(found.iter().map(Violation::to_string));
    lines.push(format!("\n---- hosts {:#?}", history.hosts));
    lines.extend(report.faults.iter().map(Made::to_string));
    lines.push(format!("\n---- log; fenced: {:?}", history.fenced));
    lines.extend(history.lost.iter().map(|row| format!("lost {row:?}")));
    lines.extend(history.log.iter().map(|row| format!("{row:?}")));
    lines.push("\n---- operations".to_owned());
    let mut ops: Vec<_> = history.ops.iter().collect();
    ops.sort_by_key(|op| op.began);
    lines.extend(ops.into_iter().map(|op| format!("{op:?}")));
    lines.extend_from_slice(logs);
    let file = format!("history-{}-{}.txt", plan.seed, plan.slots);
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
    std::fs::write(&file, lines.join("\n")).expect("the target folder can be written to");
    file
}

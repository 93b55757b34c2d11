//! From "write acknowledged" on one instance to the first answer of another that reflects it. The
//! other is asked without a pause, before, during and after the write.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rand::Rng as _;

use crate::instance::{Host, Instance, Library};
use crate::measure::{Spread, nanos};
use crate::peers::bentocache::Bentocache;
use crate::peers::predecessor::Predecessor;
use crate::report::{Figure, Finding, Goal, Section};
use crate::scale::Scale;
use crate::servers::Servers;

/// Tenants take turns.
pub const TENANTS: u64 = 10;
/// An instance that still answers by the old record then is given up.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// Writes of one burst.
pub const BURST: u64 = 3;
/// Pause before a write, at most: so that writes meet a feed's timer at any phase (250 ms).
pub const PAUSE: Duration = Duration::from_millis(250);
pub const SHORT_PAUSE: Duration = Duration::from_millis(20);

const OLD: &str = "old after 1 s";

const METHOD: &str = "Two instances, each on threads (bentocache: in a process) of its own, asked in process; \
    one Postgres, one Redis. The other instance is asked by one caller without a pause (near is warm). \
    `propagation_write`: single writes at random times. `propagation_burst`: three writes to one tenant in a \
    row, timed from the last one. `propagation_lost`: Ordain's NOTIFY is taken out of the database's triggers; \
    the predecessor's delete is refused by Redis; bentocache's listener is cut off just before the write. Peers write to a plain table, \
    Ordain to its logged one; only what follows the acknowledgement is timed.";

/// How a case went: times of those writes that were seen, and the number of the others.
#[derive(Debug, Default)]
pub struct Outcome {
    pub nanos: Vec<u64>,
    pub lost: usize,
}

impl Outcome {
    pub fn add(&mut self, took: Option<u64>) {
        match took {
            Some(nanos) => self.nanos.push(nanos),
            None => self.lost += 1,
        }
    }

    fn finding(mut self, id: &str, contender: &'static str) -> Finding {
        let spread = Spread::of(&mut self.nanos);
        let finding = Finding::new(id, contender).times(spread);
        let total = self.nanos.len() + self.lost;
        finding
            .figure("writes", Figure::Count(total as u64))
            .figure(OLD, Figure::Count(self.lost as u64))
    }

    /// Ordain's, with the limit of DESIGN section 8 for one of its times, in milliseconds. A write
    /// that was never seen breaks any limit.
    fn judged(mut self, id: &str, time: Time, must: f64, aim: f64) -> Finding {
        let spread = Spread::of(&mut self.nanos);
        let (name, nanos) = match time {
            Time::P99 => ("p99", spread.p99),
            Time::Max => ("max", spread.max),
        };
        let seen = self.lost == 0 && spread.runs > 0;
        let is = if seen {
            nanos as f64 / 1e6
        } else {
            f64::INFINITY
        };
        let goal = Goal::at_most(format!("{id}: {name}, ms"), is, must, aim);
        self.finding(id, "ordain").goal(goal)
    }

    /// Ordain's, of which no write may be unseen after a second.
    fn never_old(self, id: &str) -> Finding {
        let old = self.lost as f64;
        let goal = Goal::at_most(format!("{id}: old after 1 s"), old, 0.0, 0.0);
        self.finding(id, "ordain").goal(goal)
    }
}

enum Time {
    P99,
    Max,
}

pub async fn run(
    servers: &Arc<Servers>,
    scale: &Scale,
    bento: &Bentocache,
) -> anyhow::Result<Section> {
    let mut findings = ordain(servers, scale).await?;
    findings.extend(predecessor(servers, scale).await?);
    findings.extend(bentocache(servers, scale, bento).await?);
    Ok(Section {
        title: "Write acknowledged -> enforced on another instance",
        method: METHOD.to_owned(),
        findings,
    })
}

async fn ordain(servers: &Arc<Servers>, scale: &Scale) -> anyhow::Result<Vec<Finding>> {
    servers.flush_redis().await?;
    let database = servers.database().await?;
    let redis = servers.redis.url();
    let writer = Host::start(Library::start(database.clone(), redis.clone())).await?;
    let reader = Host::start(Library::start(database.clone(), redis)).await?;
    let mut pair = Pair::new(writer, reader).await?;
    let write = pair.case(scale.writes, 1, SHORT_PAUSE).await?;
    let burst = pair.case(scale.bursts, BURST, SHORT_PAUSE).await?;
    servers.lose_notify(&database)?;
    let lost = pair.case(scale.lost_writes, 1, PAUSE).await?;
    Ok(vec![
        write.judged("propagation_write", Time::P99, 50.0, 5.0),
        burst.never_old("propagation_burst"),
        lost.judged("propagation_lost", Time::Max, 1000.0, 1000.0),
    ])
}

async fn predecessor(servers: &Arc<Servers>, scale: &Scale) -> anyhow::Result<Vec<Finding>> {
    servers.flush_redis().await?;
    let database = servers.peer_database()?;
    let redis = servers.redis.url();
    let writer = Host::start(Predecessor::start(database.clone(), redis.clone())).await?;
    let reader = Host::start(Predecessor::start(database, redis)).await?;
    let mut pair = Pair::new(writer, reader).await?;
    let write = pair.case(scale.writes, 1, SHORT_PAUSE).await?;
    let burst = pair.case(scale.bursts, BURST, SHORT_PAUSE).await?;
    servers.refuse_deletes(true).await?;
    let lost = pair.case(scale.hopeless, 1, SHORT_PAUSE).await;
    servers.refuse_deletes(false).await?;
    Ok(vec![
        write
            .finding("propagation_write", "predecessor")
            .note("it has no cache in process: every answer asks Redis"),
        burst.finding("propagation_burst", "predecessor").note(
            "a read that began before a write stores what it read after the delete: old until the TTL of 300 s",
        ),
        lost?
            .finding("propagation_lost", "predecessor")
            .note("old until the TTL of 300 s"),
    ])
}

async fn bentocache(
    servers: &Arc<Servers>,
    scale: &Scale,
    bento: &Bentocache,
) -> anyhow::Result<Vec<Finding>> {
    let mut pair = match bento.pair(servers, false).await? {
        Ok(pair) => pair,
        Err(why) => return Ok(vec![bento.not_run("propagation", &why)]),
    };
    let write = pair.case(scale.writes, 1, None).await?;
    let burst = pair.case(scale.bursts, BURST, None).await?;
    let lost = pair.case(scale.hopeless, 1, Some(servers)).await?;
    Ok(vec![
        write.finding("propagation_write", "bentocache"),
        burst.finding("propagation_burst", "bentocache").note(
            "a read that began before a write may store what it read after the delete: old until the TTL of 300 s",
        ),
        lost.finding("propagation_lost", "bentocache")
            .note("old in memory until the TTL of 300 s"),
    ])
}

/// A random pause, as long as the longest at most.
pub fn pause(longest: Duration) -> Duration {
    longest.mul_f64(rand::rng().random_range(0.0..1.0))
}

struct Pair<I> {
    writer: Host<I>,
    reader: Host<I>,
    version: u64,
}

impl<I: Instance> Pair<I> {
    /// Every tenant is there, and the reader has answered for it.
    async fn new(writer: Host<I>, reader: Host<I>) -> anyhow::Result<Pair<I>> {
        let mut pair = Pair {
            writer,
            reader,
            version: 0,
        };
        for _ in 0..TENANTS {
            pair.write(1).await?;
        }
        Ok(pair)
    }

    /// Writes `writes` times, each time `burst` versions in a row.
    async fn case(
        &mut self,
        writes: usize,
        burst: u64,
        longest: Duration,
    ) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        for _ in 0..writes {
            tokio::time::sleep(pause(longest)).await;
            outcome.add(self.write(burst).await?);
        }
        Ok(outcome)
    }

    /// Nanoseconds until the reader's first answer that reflects the last version; `None`: it does
    /// not.
    async fn write(&mut self, burst: u64) -> anyhow::Result<Option<u64>> {
        let tenant = format!("tenant-{}", self.version % TENANTS);
        let versions = self.version + 1..=self.version + burst;
        self.version = *versions.end();
        let last = self.version;
        let acknowledged = Arc::new(OnceLock::new());
        let (known, asked) = (acknowledged.clone(), tenant.clone());
        let watching = self.reader.spawn(move |reader| async move {
            loop {
                // No answer reflects nothing.
                let seen = reader.read(&asked).await.unwrap_or(None);
                let now = Instant::now();
                if seen.is_some_and(|version| version >= last) {
                    return Some(now);
                }
                if known.get().is_some_and(|at: &Instant| now > *at + PATIENCE) {
                    return None;
                }
                tokio::task::yield_now().await;
            }
        });
        let writing = self.writer.spawn(move |writer| async move {
            for version in versions {
                writer.write(&tenant, version).await?;
            }
            anyhow::Ok(Instant::now())
        });
        let at = writing.await??;
        // Nobody else sets it.
        let _ = acknowledged.set(at);
        let seen = watching.await?;
        Ok(seen.map(|seen| nanos(seen.saturating_duration_since(at))))
    }
}

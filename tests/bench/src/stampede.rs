//! Many callers of one key that no cache has, on two instances at once. Reads of the origin are
//! counted on the wire, for each instance by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use ordain_tests::proxy::{Count, Proxy};
use tokio::sync::Barrier;

use crate::instance::{Host, Instance, Library};
use crate::measure::{Spread, nanos};
use crate::peers::bentocache::Bentocache;
use crate::peers::predecessor::Predecessor;
use crate::report::{Figure, Finding, Goal, Section};
use crate::scale::Scale;
use crate::servers::Servers;

const METHOD: &str = "In each round a tenant that nobody asked for before is asked for by 500 callers on each of \
    two instances at once, in process; one Postgres, one Redis. Reads are counted between instance and Postgres.";

/// What the rounds came to.
#[derive(Debug, Default)]
pub struct Outcome {
    pub nanos: Vec<u64>,
    pub failed: usize,
    /// Of each round, by instance.
    pub reads: Vec<[usize; 2]>,
}

/// The tenant of a round. No name is a part of another.
pub fn tenant(round: usize) -> String {
    format!("herd-{round:04}")
}

pub async fn run(
    servers: &Arc<Servers>,
    scale: &Scale,
    bento: &Bentocache,
) -> anyhow::Result<Section> {
    let redis = servers.redis.url();
    servers.flush_redis().await?;
    let ways = Ways::new(servers, &servers.database().await?).await?;
    let [one, other] = ways.urls.clone();
    let ordain = [
        Host::start(Library::start(one, redis.clone())).await?,
        Host::start(Library::start(other, redis.clone())).await?,
    ];
    let mut findings = vec![rounds(&ordain, &ways, scale).await?.judged()];
    drop(ordain);

    servers.flush_redis().await?;
    let ways = Ways::new(servers, &servers.peer_database()?).await?;
    let [one, other] = ways.urls.clone();
    let predecessor = [
        Host::start(Predecessor::start(one, redis.clone())).await?,
        Host::start(Predecessor::start(other, redis)).await?,
    ];
    let outcome = rounds(&predecessor, &ways, scale).await?;
    findings.push(outcome.finding("predecessor"));
    drop(predecessor);

    findings.push(match bento.counted_pair(servers).await? {
        Ok((pair, ways)) => pair
            .stampede(&ways, scale)
            .await?
            .finding("bentocache")
            .note("all callers of an instance in one process of Node, on one thread"),
        Err(why) => bento.not_run("stampede", &why),
    });
    Ok(Section {
        title: "500 callers on one cold key, on each of two instances",
        method: METHOD.to_owned(),
        findings,
    })
}

/// For each of two instances a way to the database of its own.
pub struct Ways {
    proxies: [Proxy; 2],
    pub urls: [String; 2],
}

impl Ways {
    pub async fn new(servers: &Servers, database: &str) -> anyhow::Result<Ways> {
        let (one, url_one) = servers.counted(database).await?;
        let (other, url_other) = servers.counted(database).await?;
        Ok(Ways {
            proxies: [one, other],
            urls: [url_one, url_other],
        })
    }

    /// Counts this text from now on.
    pub fn watch(&self, text: &str) -> [Count; 2] {
        [self.proxies[0].watch(text), self.proxies[1].watch(text)]
    }
}

async fn rounds<I: Instance>(
    hosts: &[Host<I>; 2],
    ways: &Ways,
    scale: &Scale,
) -> anyhow::Result<Outcome> {
    let [writer, _] = hosts;
    let rounds = scale.rounds;
    let written = writer.spawn(move |writer| async move {
        for round in 0..rounds {
            writer.write(&tenant(round), 1).await?;
        }
        writer.write("herald", 1).await
    });
    written.await??;
    for host in hosts {
        // Who knows the last write knows all: what is read from now on can be cached.
        let heard = host.spawn(move |host| async move {
            let since = Instant::now();
            while host.read("herald").await.ok().flatten().is_none() {
                ensure!(
                    since.elapsed() < Duration::from_secs(10),
                    "a write is not seen"
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            anyhow::Ok(())
        });
        heard.await??;
    }
    // A feed's interval: by then its watermark has come by, also where the herald came from the
    // origin.
    tokio::time::sleep(Duration::from_millis(300)).await;

    let mut outcome = Outcome::default();
    for round in 0..rounds {
        let reads = ways.watch(&tenant(round));
        // All of them stand at the start before it is given.
        let start = Arc::new(Barrier::new(2 * scale.callers));
        let crowds: Vec<_> = hosts
            .iter()
            .flat_map(|host| (0..scale.callers).map(move |_| host))
            .map(|host| {
                let start = start.clone();
                let tenant = tenant(round);
                host.spawn(move |instance| async move {
                    start.wait().await;
                    let began = Instant::now();
                    let found = instance.read(&tenant).await;
                    (nanos(began.elapsed()), found)
                })
            })
            .collect();
        for caller in crowds {
            let (took, found) = caller.await?;
            outcome.nanos.push(took);
            outcome.failed += usize::from(!matches!(found, Ok(Some(1))));
        }
        outcome.reads.push(reads.map(|count| count.get()));
    }
    Ok(outcome)
}

impl Outcome {
    fn most(&self) -> (u64, u64) {
        let instance = self.reads.iter().flatten().max();
        let fleet = self
            .reads
            .iter()
            .map(|reads| reads.iter().sum::<usize>())
            .max();
        let count = |n: Option<usize>| n.unwrap_or(0) as u64;
        (count(instance.copied()), count(fleet))
    }

    fn finding(mut self, contender: &'static str) -> Finding {
        let (instance, fleet) = self.most();
        let total: usize = self.reads.iter().flatten().sum();
        let mean = total as f64 / self.reads.len().max(1) as f64;
        Finding::new("stampede", contender)
            .times(Spread::of(&mut self.nanos))
            .figure("rounds", Figure::Count(self.reads.len() as u64))
            .figure("reads of an instance, most", Figure::Count(instance))
            .figure("of both, most", Figure::Count(fleet))
            .figure("of both, mean", Figure::Ratio(mean))
            .figure("failed", Figure::Count(self.failed as u64))
    }

    fn judged(self) -> Finding {
        let (instance, fleet) = self.most();
        let failed = self.failed;
        let aim = Goal::at_most(
            "stampede: reads of the fleet",
            fleet as f64,
            f64::INFINITY,
            1.0,
        );
        self.finding("ordain")
            .goal(Goal::at_most(
                "stampede: reads of an instance",
                instance as f64,
                1.0,
                1.0,
            ))
            .goal(Goal::at_most(
                "stampede: callers without an answer",
                failed as f64,
                0.0,
                0.0,
            ))
            .goal(aim)
    }
}

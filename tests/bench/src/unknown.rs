//! Many tenants that have no policy, each asked for ten times, in random order: how often the
//! origin is asked, and how much memory it takes to remember that they do not exist.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use ordain_tests::app::App;
use rand::seq::SliceRandom as _;

use crate::http::Connection;
use crate::instance::{Host, Instance as _};
use crate::load::{Ask as _, Outcome};
use crate::memory::resident;
use crate::peers::bentocache::Bentocache;
use crate::peers::predecessor::Predecessor;
use crate::report::{Figure, Finding, Goal, Section};
use crate::scale::Scale;
use crate::servers::Servers;

const REPEATS: usize = 10;
pub const CALLERS: usize = 16;
/// What every name begins with, to count reads by.
pub const PREFIX: &str = "ghost-";

const METHOD: &str = "One instance, one Redis; 16 callers, each tenant ten times, all in random order. Ordain is the \
    real binary, asked over HTTP, so that its memory can be looked at from outside; peers are asked in process, so \
    only the reads compare. Reads are counted between instance and Postgres.";

pub async fn run(
    servers: &Arc<Servers>,
    scale: &Scale,
    bento: &Bentocache,
) -> anyhow::Result<Section> {
    let mut tenants: Vec<String> = (0..scale.unknown)
        .flat_map(|number| std::iter::repeat_n(format!("{PREFIX}{number:06}"), REPEATS))
        .collect();
    tenants.shuffle(&mut rand::rng());
    let tenants = Arc::new(tenants);
    let findings = vec![
        ordain(servers, &tenants, scale.unknown).await?,
        predecessor(servers, &tenants).await?,
        bentocache(servers, &tenants, bento).await?,
    ];
    Ok(Section {
        title: "Unknown tenants, each asked for ten times",
        method: METHOD.to_owned(),
        findings,
    })
}

/// What a run came to.
pub struct Sweep {
    pub took: Duration,
    pub failed: usize,
    pub reads: usize,
    pub grown: Option<i64>,
}

impl Sweep {
    fn finding(self, contender: &'static str, calls: usize) -> Finding {
        let finding = Finding::new("unknown", contender)
            .figure("calls", Figure::Count(calls as u64))
            .figure("origin reads", Figure::Count(self.reads as u64))
            .figure("failed", Figure::Count(self.failed as u64))
            .figure("seconds", Figure::Ratio(self.took.as_secs_f64()));
        match self.grown {
            Some(grown) => finding.figure("memory grown", Figure::Bytes(grown)),
            None => finding,
        }
    }
}

async fn ordain(
    servers: &Arc<Servers>,
    tenants: &Arc<Vec<String>>,
    unknown: usize,
) -> anyhow::Result<Finding> {
    servers.flush_redis().await?;
    let (proxy, url) = servers.counted(&servers.database().await?).await?;
    let app = App::builder()
        .postgres(&url)
        .redis(&servers.redis.url())
        .start()
        .await;
    // Instances, connections and buffers are there before the memory is looked at.
    let warm: Vec<String> = (0..2000).map(|number| format!("warm-{number}")).collect();
    sweep(&app, &Arc::new(warm)).await?;
    let reads = proxy.watch(PREFIX);
    let before = resident(app.pid())?;
    let mut result = sweep(&app, tenants).await?;
    result.grown = Some(resident(app.pid())? - before);
    result.reads = reads.get();
    let is = result.reads as f64;
    let failed = result.failed as f64;
    let must = unknown as f64;
    Ok(result
        .finding("ordain", tenants.len())
        .goal(Goal::at_most("unknown: origin reads", is, must, must))
        .goal(Goal::at_most("unknown: failed calls", failed, 0.0, 0.0)))
}

async fn sweep(app: &App, tenants: &Arc<Vec<String>>) -> anyhow::Result<Sweep> {
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let mut connection = Connection::new(app.base())?;
        let (next, tenants) = (next.clone(), tenants.clone());
        callers.push(tokio::spawn(async move {
            let mut failed = 0;
            while let Some(tenant) = tenants.get(next.fetch_add(1, Ordering::Relaxed)) {
                failed += usize::from(connection.ask(tenant).await == Outcome::Failed);
            }
            failed
        }));
    }
    finish(start, callers).await
}

async fn finish(
    start: Instant,
    callers: Vec<tokio::task::JoinHandle<usize>>,
) -> anyhow::Result<Sweep> {
    let mut failed = 0;
    for caller in callers {
        failed += caller.await?;
    }
    Ok(Sweep {
        took: start.elapsed(),
        failed,
        reads: 0,
        grown: None,
    })
}

async fn predecessor(
    servers: &Arc<Servers>,
    tenants: &Arc<Vec<String>>,
) -> anyhow::Result<Finding> {
    servers.flush_redis().await?;
    let (proxy, url) = servers.counted(&servers.peer_database()?).await?;
    let host = Host::start(Predecessor::start(url, servers.redis.url())).await?;
    let reads = proxy.watch(PREFIX);
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let callers = (0..CALLERS).map(|_| {
        let (next, tenants) = (next.clone(), tenants.clone());
        host.spawn(move |instance| async move {
            let mut failed = 0;
            while let Some(tenant) = tenants.get(next.fetch_add(1, Ordering::Relaxed)) {
                failed += usize::from(!matches!(instance.read(tenant).await, Ok(None)));
            }
            failed
        })
    });
    let mut result = finish(start, callers.collect()).await?;
    result.reads = reads.get();
    ensure!(
        result.reads > 0,
        "the wire to the predecessor's database is not counted"
    );
    Ok(result
        .finding("predecessor", tenants.len())
        .note("that there is no record is not cached; it keeps nothing in process"))
}

async fn bentocache(
    servers: &Arc<Servers>,
    tenants: &Arc<Vec<String>>,
    bento: &Bentocache,
) -> anyhow::Result<Finding> {
    let (pair, ways) = match bento.counted_pair(servers).await? {
        Ok(found) => found,
        Err(why) => return Ok(bento.not_run("unknown", &why)),
    };
    let reads = ways.watch(PREFIX);
    let mut result = pair.sweep(tenants).await?;
    result.reads = reads.iter().map(|count| count.get()).sum();
    Ok(result
        .finding("bentocache", tenants.len())
        .note("`null` is cached; the memory is that of the whole process of Node"))
}

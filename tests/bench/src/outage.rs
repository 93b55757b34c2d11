//! Redis or Postgres stand still (SIGSTOP) under load and go on again: throughput of near hits,
//! latency, failures, and whether any request takes longer than its deadline.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use ordain_tests::app::App;

use crate::http::Connection;
use crate::instance::{Host, Instance, record};
use crate::load::{self, Ask, Log, Outcome, Span};
use crate::peers::bentocache::Bentocache;
use crate::peers::predecessor::Predecessor;
use crate::report::{Figure, Finding, Goal, Section};
use crate::scale::Scale;
use crate::servers::{Hung, Servers};

/// Of a request (DESIGN section 5), and what a machine may add.
const DEADLINE: Duration = Duration::from_millis(1005);
/// By then a breaker has opened.
const OPENED: Duration = Duration::from_secs(2);

const METHOD: &str = "Twelve callers ask for 100 warm tenants without a pause (near hits), four for cold ones with a \
    pause of 10 ms; all wait for each answer. Ordain is the real binary over HTTP with connections kept alive; \
    peers are asked in process, without HTTP, so only their ratios, failures and longest calls compare. \
    `hung`: the first two seconds of SIGSTOP; `open`: the time after that; `normal`: before, and after SIGCONT \
    (two seconds of settling left out). Throughput is that of the median tenth of a second, answers only. \
    `late`: calls of over 1,005 ms. Bentocache with deadlines (20 ms for Redis, 500 ms for Postgres) and breaker.";

pub async fn run(
    servers: &Arc<Servers>,
    scale: &Scale,
    bento: &Bentocache,
) -> anyhow::Result<Section> {
    let mut findings = Vec::new();
    for hung in [Hung::Redis, Hung::Postgres] {
        let log = ordain(servers, hung, scale).await?;
        findings.extend(phases(&log, hung, scale, "ordain"));
        let log = predecessor(servers, hung, scale).await?;
        findings.extend(phases(&log, hung, scale, "predecessor"));
        match bento.pair(servers, true).await? {
            Ok(pair) => {
                let log = pair.outage(servers, hung, scale).await?;
                findings.extend(phases(&log, hung, scale, "bentocache"));
            }
            Err(why) => findings.push(bento.not_run(name(hung), &why)),
        }
    }
    Ok(Section {
        title: "A server stands still (SIGSTOP) under load",
        method: METHOD.to_owned(),
        findings,
    })
}

fn name(hung: Hung) -> &'static str {
    match hung {
        Hung::Redis => "redis_hung",
        Hung::Postgres => "postgres_hung",
    }
}

async fn ordain(servers: &Arc<Servers>, hung: Hung, scale: &Scale) -> anyhow::Result<Log> {
    servers.flush_redis().await?;
    let database = servers.database().await?;
    servers.sql(&database, &insert("policies", scale))?;
    let app = App::builder()
        .postgres(&database)
        .redis(&servers.redis.url())
        .start()
        .await;
    let mut first = Connection::new(app.base())?;
    for number in 0..load::WARM_TENANTS {
        let (status, body) = first.resolve(&load::warm_tenant(number)).await?;
        let body = String::from_utf8_lossy(body);
        ensure!(
            status == 200 && body.contains("model-1"),
            "{status}: {body}"
        );
    }
    load::run(|| Connection::new(app.base()), servers, hung, scale).await
}

async fn predecessor(servers: &Arc<Servers>, hung: Hung, scale: &Scale) -> anyhow::Result<Log> {
    servers.flush_redis().await?;
    let database = servers.peer_database()?;
    servers.sql(&database, &insert("peer_policies", scale))?;
    let host = Host::start(Predecessor::start(database, servers.redis.url())).await?;
    let (servers, scale) = (servers.clone(), scale.clone());
    let run = host.spawn(move |instance| async move {
        for number in 0..load::WARM_TENANTS {
            instance.read(&load::warm_tenant(number)).await?;
        }
        load::run(|| Ok(InProcess(instance.clone())), &servers, hung, &scale).await
    });
    run.await?
}

/// Statements that store all tenants of a run.
pub fn insert(table: &str, scale: &Scale) -> String {
    let body = record(1);
    let insert = |prefix: &str, count: usize| {
        format!(
            "INSERT INTO {table} (tenant, body) SELECT '{prefix}' || n, $body${body}$body$ \
             FROM generate_series(0, {count}) n;"
        )
    };
    // The names of `load`.
    insert("warm-", load::WARM_TENANTS) + &insert("cold-", load::cold_tenants(scale))
}

struct InProcess<I>(Arc<I>);

impl<I: Instance> Ask for InProcess<I> {
    async fn ask(&mut self, tenant: &str) -> Outcome {
        match self.0.read(tenant).await {
            Ok(Some(1)) => Outcome::Fresh,
            _ => Outcome::Failed,
        }
    }
}

/// The findings of one run; only Ordain's are judged.
fn phases(log: &Log, hung: Hung, scale: &Scale, contender: &'static str) -> Vec<Finding> {
    let opened = (log.hung + OPENED).min(log.back);
    let span = |from, to, whole| Span { from, to, whole };
    let normal = [
        span(scale.settle, log.hung, true),
        span(log.back + scale.settle, log.end, true),
    ];
    let hanging = [span(log.hung, opened, false)];
    let open = [span(opened, log.back, false)];
    let all = [span(Duration::ZERO, log.end, false)];

    let usual = load::per_second(&log.warm, &normal);
    let ratio = load::per_second(&log.warm, &open) / usual;
    let late = late(log, &all);
    let id = |phase: &str| format!("{}.{phase}", name(hung));
    let mut findings = vec![
        phase(log, id("normal"), contender, &normal),
        phase(log, id("hung"), contender, &hanging),
        phase(log, id("open"), contender, &open).figure("of normal", Figure::Ratio(ratio)),
    ];
    if contender == "ordain"
        && let Some(last) = findings.pop()
    {
        let throughput = format!("{}: near hits, of normal", name(hung));
        let deadline = format!("{}: calls over the deadline + 5 ms", name(hung));
        findings.push(
            last.goal(Goal::at_least(throughput, ratio, 0.95, 0.95))
                .goal(Goal::at_most(deadline, late as f64, 0.0, 0.0)),
        );
    }
    findings
}

fn phase(log: &Log, id: String, contender: &'static str, spans: &[Span]) -> Finding {
    let failed = |sample: &load::Sample| sample.outcome == Outcome::Failed;
    let stale = |sample: &load::Sample| sample.outcome == Outcome::Stale;
    let cold = load::spread(&log.cold, spans);
    let both = |holds: &dyn Fn(&load::Sample) -> bool| {
        load::count(&log.warm, spans, holds) + load::count(&log.cold, spans, holds)
    };
    Finding::new(id, contender)
        .times(load::spread(&log.warm, spans))
        .figure(
            "near hits/s",
            Figure::PerSecond(load::per_second(&log.warm, spans)),
        )
        .figure(
            "failed",
            Figure::Count(load::count(&log.warm, spans, failed)),
        )
        .figure("cold calls", Figure::Count(cold.runs as u64))
        .figure("cold p50", Figure::Nanos(cold.p50))
        .figure("cold max", Figure::Nanos(cold.max))
        .figure(
            "cold failed",
            Figure::Count(load::count(&log.cold, spans, failed)),
        )
        .figure("stale", Figure::Count(both(&stale)))
        .figure("late", Figure::Count(late(log, spans)))
}

fn late(log: &Log, spans: &[Span]) -> u64 {
    let late = |sample: &load::Sample| Duration::from_micros(sample.took.into()) > DEADLINE;
    load::count(&log.warm, spans, late) + load::count(&log.cold, spans, late)
}

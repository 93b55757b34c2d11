//! A decision over HTTP, beside a bare axum handler that parses and prints the same JSON: both in
//! processes of their own, under the same load, in turns.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use ordain_tests::app::App;
use ordain_tests::process::Process;
use ordain_tests::wait::PATIENCE;
use serde_json::json;

use crate::decision;
use crate::http::Connection;
use crate::measure::{Spread, median, nanos};
use crate::report::{Figure, Finding, Goal, Section};
use crate::scale::Scale;
use crate::wrk;

const CONTENDERS: [&str; 2] = ["ordain", "bare axum"];
/// Requests in one body of the batch.
const BATCH: usize = 100;
/// Tenants that a batch is about.
const BATCH_TENANTS: usize = 10;
/// Callers over sockets.
const CALLERS: usize = 16;

const METHOD: &str = "The real binary, which checks a token with every request, near warm, and a handler of the same axum in another process; both \
    have TCP_NODELAY and as many threads as there are cores, and share the machine with the load generator. Rounds in \
    turns; figures are medians of the rounds, ratios medians of the rounds' ratios. wrk has one thread; a batch is 100 \
    requests of ten tenants. For Unix sockets, which wrk does not know, and for TCP beside them, 16 callers of the bench itself ask.";

/// One round of one contender.
struct Round {
    per_second: f64,
    times: Spread,
}

/// A kind of load.
struct Case {
    id: String,
    body: String,
    /// Connections of wrk; `None`: the bench itself asks.
    connections: Option<usize>,
    unix: bool,
    decisions: usize,
}

/// Where the two answer.
struct Pair {
    tcp: [String; 2],
    unix: [String; 2],
    _processes: (App, App, Process, Process),
}

pub async fn run(scale: &Scale) -> anyhow::Result<Section> {
    let folder = tempfile::tempdir()?;
    let pair = Pair::start(folder.path()).await?;
    let mut findings = Vec::new();
    let mut method = METHOD.to_owned();
    let mut cases = cases();
    if !wrk::is_there() {
        cases.retain(|case| case.connections.is_none());
        method.push_str(" wrk is not installed: its rows are missing.");
    }
    for case in cases {
        let bases = if case.unix { &pair.unix } else { &pair.tcp };
        let mut rounds = [Vec::new(), Vec::new()];
        // The first round warms up and does not count.
        for turn in 0..=scale.http_rounds {
            let time = if turn == 0 {
                Duration::from_secs(1)
            } else {
                scale.http_time
            };
            for (base, rounds) in bases.iter().zip(&mut rounds) {
                let round = match case.connections {
                    Some(connections) => {
                        under_wrk(folder.path(), base, &case.body, connections, time).await?
                    }
                    None => under_callers(base, &case.body, time).await?,
                };
                if turn > 0 {
                    rounds.push(round);
                }
            }
        }
        findings.extend(compared(&case, &rounds));
    }
    // Guards wait for the processes to end.
    tokio::task::spawn_blocking(move || drop(pair)).await?;
    Ok(Section {
        title: "A decision over HTTP",
        method,
        findings,
    })
}

fn cases() -> Vec<Case> {
    let one = json!({"tenant": decision::TENANT, "user": "ada", "task": "task-9"}).to_string();
    let many: Vec<_> = (0..BATCH)
        .map(|n| {
            let task = format!("task-{}", 1 + 2 * (n % 5));
            json!({"tenant": batch_tenant(n % BATCH_TENANTS), "user": "ada", "task": task})
        })
        .collect();
    let case = |id: &str, connections, unix| Case {
        id: id.to_owned(),
        body: one.clone(),
        connections,
        unix,
        decisions: 1,
    };
    vec![
        case("http: 1 connection", Some(1), false),
        case("http: 32 connections", Some(32), false),
        Case {
            body: json!(many).to_string(),
            decisions: BATCH,
            ..case("http: batch of 100, 4 connections", Some(4), false)
        },
        case("http: 16 callers, TCP", None, false),
        case("http: 16 callers, Unix socket", None, true),
    ]
}

fn batch_tenant(number: usize) -> String {
    format!("{}-{number}", decision::TENANT)
}

impl Pair {
    async fn start(folder: &Path) -> anyhow::Result<Pair> {
        let socket = |name: &str| format!("{}/{name}.sock", folder.display());
        let builder = || App::builder().env("ORDAIN_ENV", "test");
        let apps = [
            builder().start().await,
            builder()
                .listen(&format!("unix:{}", socket("ordain")))
                .start()
                .await,
        ];
        for app in &apps {
            app.store(decision::TENANT, &decision::policy()).await;
            for number in 0..BATCH_TENANTS {
                app.store(&batch_tenant(number), &decision::policy()).await;
            }
        }
        let [tcp, unix] = apps;
        let bare = [bare(None).await?, bare(Some(&socket("bare"))).await?];
        let [(bare_tcp, tcp_base), (bare_unix, unix_base)] = bare;
        let pair = Pair {
            tcp: [tcp.base().to_owned(), tcp_base],
            unix: [unix.base().to_owned(), unix_base],
            _processes: (tcp, unix, bare_tcp, bare_unix),
        };
        for base in pair.tcp.iter().chain(&pair.unix) {
            pair.check(base).await?;
        }
        Ok(pair)
    }

    /// All answer the same, before anyone is timed.
    async fn check(&self, base: &str) -> anyhow::Result<()> {
        let mut connection = Connection::new(base)?;
        for case in cases() {
            let (status, body) = connection.post(&case.body).await?;
            ensure!(status == 200, "{base}: {status}");
            let answer: serde_json::Value = serde_json::from_slice(body)?;
            let first = answer.get(0).unwrap_or(&answer);
            ensure!(first["allow"] == true, "{base}: {first}");
            let count = answer.as_array().map_or(1, Vec::len);
            ensure!(count == case.decisions, "{base}: {count} answers");
            let members = |value: &serde_json::Value| value.as_object().map_or(0, |map| map.len());
            let shape = (
                members(first),
                members(&first["rules"]),
                members(&first["provenance"]),
            );
            ensure!(shape == (11, 5, 6), "{base}: {shape:?} members in {first}");
        }
        Ok(())
    }
}

/// The peer as a process of its own, on a free port or on a socket.
async fn bare(socket: Option<&str>) -> anyhow::Result<(Process, String)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--bare").args(socket);
    let mut process = Process::start(command, "bare axum");
    let start = Instant::now();
    loop {
        if let Some(base) = process.printed("listening on ") {
            return Ok((process, base));
        }
        ensure!(process.exited().is_none(), "bare axum: {}", process.log());
        ensure!(start.elapsed() < PATIENCE, "bare axum does not listen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn under_wrk(
    folder: &Path,
    base: &str,
    body: &str,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Round> {
    let load = wrk::run(folder, base, body, connections, time).await?;
    Ok(Round {
        per_second: load.per_second(),
        times: Spread {
            p50: load.p50 * 1000,
            p99: load.p99 * 1000,
            max: load.max * 1000,
            runs: usize::try_from(load.requests)?,
        },
    })
}

/// Callers in this process, each on a connection of its own and without a pause.
async fn under_callers(base: &str, body: &str, time: Duration) -> anyhow::Result<Round> {
    let over = Arc::new(AtomicBool::new(false));
    let body: Arc<str> = body.into();
    let mut callers = Vec::new();
    let began = Instant::now();
    for _ in 0..CALLERS {
        let (over, body) = (over.clone(), body.clone());
        let mut connection = Connection::new(base)?;
        callers.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let start = Instant::now();
                let (status, _) = connection.post(&body).await?;
                ensure!(status == 200, "{status}");
                taken.push(nanos(start.elapsed()));
            }
            anyhow::Ok(taken)
        }));
    }
    tokio::time::sleep(time).await;
    over.store(true, Ordering::Relaxed);
    let mut taken = Vec::new();
    for caller in callers {
        taken.extend(caller.await?.context("a caller failed")?);
    }
    let per_second = taken.len() as f64 / began.elapsed().as_secs_f64();
    Ok(Round {
        per_second,
        times: Spread::of(&mut taken),
    })
}

fn compared(case: &Case, rounds: &[Vec<Round>; 2]) -> Vec<Finding> {
    let [own, peer] = rounds;
    let ratio = |of: fn(&Round) -> f64| {
        let pairs = own.iter().zip(peer);
        median(
            pairs
                .map(|(own, peer)| of(own) / of(peer).max(1.0))
                .collect(),
        )
    };
    let throughput = ratio(|round| round.per_second);
    // Of rates, as with throughput: more is better.
    let slowest = ratio(|round| 1e9 / round.times.p99.max(1) as f64);
    let goal =
        |what: &str, is| Goal::at_least(format!("{}: {what} / bare axum", case.id), is, 0.8, 0.9);
    let mut findings: Vec<Finding> = CONTENDERS
        .into_iter()
        .zip(rounds)
        .map(|(contender, rounds)| finding(case, contender, rounds))
        .collect();
    if let Some(first) = findings.first_mut() {
        first.beside = Some(("bare axum", 1.0 / throughput));
        first.goals.push(goal("throughput", throughput));
        first.goals.push(goal("inverse p99", slowest));
    }
    findings
}

fn finding(case: &Case, contender: &'static str, rounds: &[Round]) -> Finding {
    let middle =
        |of: fn(&Round) -> u64| median(rounds.iter().map(|r| of(r) as f64).collect()) as u64;
    let per_second = median(rounds.iter().map(|round| round.per_second).collect());
    let each = 1e9 / (per_second * case.decisions as f64).max(1e-9);
    Finding::new(case.id.clone(), contender)
        .times(Spread {
            p50: middle(|round| round.times.p50),
            p99: middle(|round| round.times.p99),
            max: rounds.iter().map(|r| r.times.max).max().unwrap_or(0),
            runs: rounds.iter().map(|round| round.times.runs).sum(),
        })
        .figure("requests/s", Figure::PerSecond(per_second))
        .figure("time per decision", Figure::Nanos(each as u64))
}

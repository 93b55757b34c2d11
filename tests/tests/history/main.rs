//! The history checker: several real instances on one Postgres and one Redis, random clients, and
//! random faults of everything; afterwards every answer is judged by the change log.
//!
//! A seed decides who asks for what in which order, and which faults come when, for how long and
//! where. When a reply comes and how operations of different clients fall together is a real
//! system's own: a seed that failed is run again with `ORDAIN_SEED`, and may have to be run a few
//! times. What a failed run recorded is kept in a file, so nothing depends on that.
//!
//! `record`, `log`, `told` and `check` are the judgement, and are tested by themselves
//! (`check_tests`); the others make the history.
#![allow(clippy::unwrap_used)]

mod calls;
mod check;
mod check_tests;
mod cluster;
mod failover;
mod far;
mod faults;
mod killed;
mod log;
mod record;
mod report;
mod run;
mod sql;
mod told;
mod workload;

use std::time::{Duration, Instant};

use crate::record::Tier;
use crate::report::Report;
use crate::run::{Plan, run};

/// The seed to replay.
fn given_seed() -> Option<u64> {
    let seed = std::env::var("ORDAIN_SEED").ok()?;
    Some(seed.parse().expect("ORDAIN_SEED is a number"))
}

/// Runs until one was worth it: a slow machine does less in the time of a run. Violations end it at
/// once.
const TRIES: u64 = 3;

/// A run without violations proves little if nothing happened in it. What it lacked, if anything.
fn find_lack(report: &Report) -> Option<String> {
    let missing: Vec<String> = faults::kinds()
        .difference(&report.kinds())
        .cloned()
        .collect();
    let enough = report.of(Tier::Near) >= 200
        && report.of(Tier::Far) >= 5
        && report.of(Tier::Origin) >= 100
        && report.acknowledged() >= 40
        && report.errors() >= 5;
    let lacks = !enough || !missing.is_empty();
    lacks.then(|| format!("{missing:?} did not come: {}", report.summary()))
}

async fn run_worth_it(plan: impl Fn(u64) -> Plan, seed: u64) {
    let mut lacks = Vec::new();
    for number in 0..TRIES {
        match find_lack(&run(plan(seed + 100 * number)).await) {
            Some(lack) => lacks.push(lack),
            None => return,
        }
    }
    panic!("none of {TRIES} runs was worth it: {lacks:#?}");
}

async fn short(slots: usize, seeds: [u64; 2]) {
    let seeds = match given_seed() {
        Some(seed) => vec![seed],
        None => seeds.to_vec(),
    };
    let plan = |seed| Plan {
        seed,
        slots,
        rounds: 1,
        fails_over: false,
    };
    for seed in seeds {
        run_worth_it(plan, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_keep_every_promise_through_every_fault() {
    short(2, [1, 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_instances_keep_every_promise_through_every_fault() {
    short(3, [3, 4]).await;
}

/// Random seeds for SOAK_SECONDS, each with two rounds of faults and every third with a failover
/// that loses commits; or the one of ORDAIN_SEED.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make soak"]
async fn soak() {
    let plan = |seed: u64| Plan {
        seed,
        slots: if seed.is_multiple_of(2) { 2 } else { 3 },
        rounds: 2,
        fails_over: seed.is_multiple_of(3),
    };
    if let Some(seed) = given_seed() {
        run_worth_it(plan, seed).await;
        return;
    }
    let seconds = std::env::var("SOAK_SECONDS").unwrap_or_else(|_| "600".to_owned());
    let seconds = seconds.parse().expect("SOAK_SECONDS is a number");
    let start = Instant::now();
    let mut runs = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        // Short enough to be read out.
        let seed = u64::from(rand::random::<u32>());
        run_worth_it(plan, seed).await;
        runs += 1;
    }
    println!("soak: {runs} runs in {:.0?}", start.elapsed());
}

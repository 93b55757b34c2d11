//! A component is replaced every second while all callers go on: what the requests of those seconds
//! notice of it, and what a candidate in the shadow costs them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use ordain_tests::app::App;
use ordain_tests::http::Client;
use ordain_tests::process;

use crate::decision;
use crate::http::Connection;
use crate::measure::{Spread, nanos};
use crate::report::{Figure, Finding, Goal, Section};
use crate::scale::Scale;

const CALLERS: usize = 12;
const TENANTS: usize = 100;
const SECOND: Duration = Duration::from_secs(1);

const METHOD: &str = "Twelve callers ask `ordain serve --dev` over HTTP for 100 warm tenants without a pause. `as usual`, and then with \
    `PUT /v1/component?promote=true` at the beginning of every second, alternating two components (the same code with two digests), both \
    loaded before; `shadow`: with one of them as a candidate for all requests. `not from near`: answers that a swap made cold.";

const USUAL: u8 = 0;
const SWAPS: u8 = 1;
const SHADOW: u8 = 2;
const OVER: u8 = 3;

#[derive(Default)]
struct Phase {
    nanos: Vec<u64>,
    failed: u64,
    cold: u64,
}

pub async fn run(scale: &Scale) -> anyhow::Result<Section> {
    let app = App::builder().dev().start().await;
    let mut first = Connection::new(app.base())?;
    for number in 0..TENANTS {
        app.store(&tenant(number), &decision::policy()).await;
        ensure!(
            first.resolve(&tenant(number)).await?.0 == 200,
            "not answered"
        );
    }
    let one = std::fs::read(process::component())?;
    let components = [other_digest(&one), one];
    for component in &components {
        push(&app, component, "?promote=true").await?;
    }
    let phase = Arc::new(AtomicU8::new(USUAL));
    let mut callers = Vec::new();
    for number in 0..CALLERS {
        let connection = Connection::new(app.base())?;
        callers.push(tokio::spawn(caller(number, connection, phase.clone())));
    }
    tokio::time::sleep(scale.settle + scale.hung).await;
    phase.store(SWAPS, Ordering::Relaxed);
    let began = Instant::now();
    let mut swaps: u32 = 0;
    while began.elapsed() < scale.hung {
        push(&app, &components[swaps as usize % 2], "?promote=true").await?;
        swaps += 1;
        tokio::time::sleep_until((began + SECOND * swaps).into()).await;
    }
    phase.store(SHADOW, Ordering::Relaxed);
    push(&app, &components[swaps as usize % 2], "").await?;
    tokio::time::sleep(scale.hung).await;
    phase.store(OVER, Ordering::Relaxed);

    let mut phases: [Phase; 3] = Default::default();
    for caller in callers {
        for (all, of_one) in phases.iter_mut().zip(caller.await?) {
            all.nanos.extend(of_one.nanos);
            all.failed += of_one.failed;
            all.cold += of_one.cold;
        }
    }
    let [usual, swapping, shadow] = phases;
    let (usual_cold, usual_failed) = (usual.cold, usual.failed);
    let (times, usual) = finding("swap: as usual", usual, scale.settle + scale.hung);
    let failed = swapping.failed + usual_failed;
    let cold = swapping.cold.saturating_sub(usual_cold);
    let (during, swapping) = finding("swap: one each second", swapping, scale.hung);
    let (beside, shadow) = finding("swap: shadow", shadow, scale.hung);
    let ratio = |spread: &Spread| spread.p99 as f64 / times.p99.max(1) as f64;
    Ok(Section {
        title: "A component is replaced under load",
        method: METHOD.to_owned(),
        findings: vec![
            usual,
            swapping
                .figure("swaps", Figure::Count(swaps.into()))
                .goal(Goal::at_most(
                    "swap: failed requests",
                    failed as f64,
                    0.0,
                    0.0,
                ))
                .goal(Goal::at_most(
                    "swap: answers that it made cold",
                    cold as f64,
                    0.0,
                    0.0,
                ))
                .goal(Goal::at_most(
                    "swap: p99, of usual",
                    ratio(&during),
                    1.5,
                    1.5,
                )),
            shadow.goal(Goal::none(
                "shadow: p99, of usual".to_owned(),
                ratio(&beside),
            )),
        ],
    })
}

fn finding(id: &str, mut phase: Phase, time: Duration) -> (Spread, Finding) {
    let spread = Spread::of(&mut phase.nanos);
    let rate = spread.runs as f64 / time.as_secs_f64();
    let finding = Finding::new(id, "ordain")
        .times(spread)
        .figure("requests/s", Figure::PerSecond(rate))
        .figure("failed", Figure::Count(phase.failed))
        .figure("not from near", Figure::Count(phase.cold));
    (spread, finding)
}

fn tenant(number: usize) -> String {
    format!("warm-{}", number % TENANTS)
}

async fn caller(number: usize, mut connection: Connection, phase: Arc<AtomicU8>) -> [Phase; 3] {
    let mut phases: [Phase; 3] = Default::default();
    for number in number.. {
        let now = usize::from(phase.load(Ordering::Relaxed));
        let Some(phase) = phases.get_mut(now) else {
            break;
        };
        let start = Instant::now();
        let reply = connection.resolve(&tenant(number)).await;
        phase.nanos.push(nanos(start.elapsed()));
        match reply {
            Ok((200, body)) => {
                let near = br#""tier":"near""#;
                phase.cold += u64::from(!body.windows(near.len()).any(|part| part == near));
            }
            _ => phase.failed += 1,
        }
    }
    phases
}

async fn push(client: &Client, component: &[u8], query: &str) -> anyhow::Result<()> {
    let call = client.call("PUT", &format!("/v1/component{query}"));
    let reply = call.wasm(component).send().await;
    ensure!(reply.status == 200, "{reply:?}");
    Ok(())
}

/// The same component with a custom section more, that says nothing.
fn other_digest(component: &[u8]) -> Vec<u8> {
    let name = b"bench";
    let mut other = component.to_vec();
    // Section 0 of six bytes: the length of its name, and the name.
    other.extend([0, 6, 5]);
    other.extend(name);
    other
}

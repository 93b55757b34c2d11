//! Load in a closed loop while a server stands still and goes on again: some callers ask for warm
//! tenants without a pause, some for cold ones with a pause. Every call is kept, and summed up by
//! `Span`.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::measure::{Spread, median};
use crate::scale::Scale;
use crate::servers::{Hung, Servers};

pub const WARM_CALLERS: usize = 12;
pub const COLD_CALLERS: usize = 4;
/// Between two calls of a caller of cold tenants: misses go on, and leave the machine to the hits.
pub const COLD_PAUSE: Duration = Duration::from_millis(10);
pub const WARM_TENANTS: usize = 100;
/// Throughput is that of the median slice, so that a hiccup of the machine is one slice.
const SLICE: Duration = Duration::from_millis(100);
/// For callers that still wait when all is over.
const LAST_CALLS: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Fresh,
    Stale,
    Failed,
}

/// Who can be asked. One call at a time.
pub trait Ask: Send + 'static {
    fn ask(&mut self, tenant: &str) -> impl Future<Output = Outcome> + Send;
}

/// One call, in microseconds since the load began.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub start: u32,
    pub took: u32,
    pub outcome: Outcome,
}

/// All calls, and when the server stood still.
#[derive(Debug, Default)]
pub struct Log {
    pub warm: Vec<Sample>,
    pub cold: Vec<Sample>,
    pub hung: Duration,
    pub back: Duration,
    pub end: Duration,
}

pub fn warm_tenant(number: usize) -> String {
    format!("warm-{}", number % WARM_TENANTS)
}

pub fn cold_tenant(number: usize) -> String {
    format!("cold-{number}")
}

/// Cold tenants that a run of this length asks for at most.
pub fn cold_tenants(scale: &Scale) -> usize {
    let calls = length(scale).as_millis() / COLD_PAUSE.as_millis();
    usize::try_from(calls).unwrap_or(usize::MAX) * COLD_CALLERS
}

pub fn length(scale: &Scale) -> Duration {
    2 * (scale.settle + scale.normal) + scale.hung
}

/// Lets the server stand still and go on; says when that was, from `began` on.
pub async fn disturb(
    began: Instant,
    servers: &Arc<Servers>,
    hung: Hung,
    scale: &Scale,
) -> anyhow::Result<(Duration, Duration)> {
    tokio::time::sleep_until((began + scale.settle + scale.normal).into()).await;
    let (stop, go_on) = (servers.clone(), servers.clone());
    tokio::task::spawn_blocking(move || hung.stop(&stop)).await?;
    let stopped = began.elapsed();
    tokio::time::sleep(scale.hung).await;
    let back = began.elapsed();
    tokio::task::spawn_blocking(move || hung.go_on(&go_on)).await?;
    tokio::time::sleep(scale.settle + scale.normal).await;
    Ok((stopped, back))
}

/// Runs the callers on the runtime of whoever calls this.
pub async fn run<A: Ask>(
    mut asked: impl FnMut() -> anyhow::Result<A>,
    servers: &Arc<Servers>,
    hung: Hung,
    scale: &Scale,
) -> anyhow::Result<Log> {
    let over = Arc::new(AtomicBool::new(false));
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let (mut warm, mut cold) = (Vec::new(), Vec::new());
    for number in 0..WARM_CALLERS {
        let (over, asked) = (over.clone(), asked()?);
        warm.push(tokio::spawn(warm_caller(number, asked, began, over)));
    }
    for _ in 0..COLD_CALLERS {
        let (over, next, asked) = (over.clone(), next.clone(), asked()?);
        cold.push(tokio::spawn(cold_caller(next, asked, began, over)));
    }
    let (stopped, back) = disturb(began, servers, hung, scale).await?;
    let end = began.elapsed();
    over.store(true, Ordering::Relaxed);
    let all = async {
        let mut log = Log::default();
        for caller in warm {
            log.warm.extend(caller.await?);
        }
        for caller in cold {
            log.cold.extend(caller.await?);
        }
        anyhow::Ok(log)
    };
    let log = tokio::time::timeout(LAST_CALLS, all).await??;
    Ok(Log {
        hung: stopped,
        back,
        end,
        ..log
    })
}

async fn warm_caller(
    number: usize,
    mut asked: impl Ask,
    began: Instant,
    over: Arc<AtomicBool>,
) -> Vec<Sample> {
    let mut samples = Vec::new();
    let tenants: Vec<String> = (number..number + WARM_TENANTS).map(warm_tenant).collect();
    for tenant in tenants.iter().cycle() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        samples.push(call(&mut asked, tenant, began).await);
        tokio::task::yield_now().await;
    }
    samples
}

async fn cold_caller(
    next: Arc<AtomicUsize>,
    mut asked: impl Ask,
    began: Instant,
    over: Arc<AtomicBool>,
) -> Vec<Sample> {
    let mut samples = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let tenant = cold_tenant(next.fetch_add(1, Ordering::Relaxed));
        samples.push(call(&mut asked, &tenant, began).await);
        tokio::time::sleep(COLD_PAUSE).await;
    }
    samples
}

async fn call(asked: &mut impl Ask, tenant: &str, began: Instant) -> Sample {
    let start = Instant::now();
    let outcome = asked.ask(tenant).await;
    let micros = |duration: Duration| u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    Sample {
        start: micros(start.duration_since(began)),
        took: micros(start.elapsed()),
        outcome,
    }
}

/// A part of a run.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub from: Duration,
    pub to: Duration,
    /// Only calls that began and ended in it; else all that were under way in it.
    pub whole: bool,
}

impl Span {
    fn has(&self, sample: &Sample) -> bool {
        let start = Duration::from_micros(sample.start.into());
        let end = start + Duration::from_micros(sample.took.into());
        if self.whole {
            self.from <= start && end <= self.to
        } else {
            start < self.to && self.from <= end
        }
    }
}

pub fn spread(samples: &[Sample], spans: &[Span]) -> Spread {
    let mut nanos: Vec<u64> = within(samples, spans)
        .map(|sample| u64::from(sample.took) * 1000)
        .collect();
    Spread::of(&mut nanos)
}

pub fn count(samples: &[Sample], spans: &[Span], holds: impl Fn(&Sample) -> bool) -> u64 {
    within(samples, spans)
        .filter(|sample| holds(sample))
        .count() as u64
}

fn within<'a>(samples: &'a [Sample], spans: &'a [Span]) -> impl Iterator<Item = &'a Sample> {
    samples
        .iter()
        .filter(move |sample| spans.iter().any(|span| span.has(sample)))
}

/// Answers a second in the median slice of the spans, by when they came.
pub fn per_second(samples: &[Sample], spans: &[Span]) -> f64 {
    let mut slices = Vec::new();
    for Span { from, to, .. } in spans {
        let number = to.saturating_sub(*from).as_micros() / SLICE.as_micros();
        let mut counts = vec![0u32; usize::try_from(number).unwrap_or(0)];
        for sample in samples {
            let end = u64::from(sample.start) + u64::from(sample.took);
            let Some(at) = Duration::from_micros(end).checked_sub(*from) else {
                continue;
            };
            let slice = usize::try_from(at.as_micros() / SLICE.as_micros());
            if let Some(count) = slice.ok().and_then(|slice| counts.get_mut(slice)) {
                *count += u32::from(sample.outcome != Outcome::Failed);
            }
        }
        slices.extend(counts.into_iter().map(f64::from));
    }
    median(slices) / SLICE.as_secs_f64()
}

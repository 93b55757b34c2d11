//! How time is taken: every call for itself, with the monotonic clock before and after it, less
//! what an empty call takes. Contenders take turns in rounds, so that a busy machine slows all of
//! them; what is reported is the median of the rounds, and ratios are medians of the rounds'
//! ratios. Threads are not pinned.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::report::Row;

/// Percentiles of anything that was timed, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
    pub runs: usize,
}

impl Spread {
    pub fn of(nanos: &mut [u64]) -> Spread {
        let Round { p50, p99, calls } = percentiles(nanos);
        Spread {
            p50,
            p99,
            max: nanos.last().copied().unwrap_or(0),
            runs: calls,
        }
    }
}

/// Percentiles of one round, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    pub p50: u64,
    pub p99: u64,
    calls: usize,
}

/// Takes the time of `calls` calls. The clock's own time is measured anew in every round.
pub async fn round(calls: usize, mut call: impl AsyncFnMut()) -> Round {
    let empty = percentiles(&mut sample(calls.min(1000), async || ()).await);
    let mut nanos = sample(calls, async || call().await).await;
    let taken = percentiles(&mut nanos);
    Round {
        p50: taken.p50.saturating_sub(empty.p50),
        p99: taken.p99.saturating_sub(empty.p50),
        calls,
    }
}

async fn sample(calls: usize, mut call: impl AsyncFnMut()) -> Vec<u64> {
    let mut taken = Vec::with_capacity(calls);
    for _ in 0..calls {
        let start = Instant::now();
        call().await;
        taken.push(nanos(start.elapsed()));
    }
    taken
}

pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn percentiles(nanos: &mut [u64]) -> Round {
    nanos.sort_unstable();
    let at = |percent: usize| nanos.get(nanos.len() * percent / 100).copied().unwrap_or(0);
    Round {
        p50: at(50),
        p99: at(99),
        calls: nanos.len(),
    }
}

/// Rounds of one contender.
pub struct Contender {
    id: &'static str,
    rounds: Vec<Round>,
}

impl Contender {
    pub fn new(id: &'static str) -> Contender {
        Contender {
            id,
            rounds: Vec::new(),
        }
    }

    pub fn add(&mut self, round: Round) {
        self.rounds.push(round);
    }

    /// The row of this contender, compared with peers that had the same rounds.
    pub fn row(&self, peers: &[&Contender]) -> Row {
        let ratio = |peer: &Contender, of: fn(&Round) -> u64| {
            let pairs = self.rounds.iter().zip(&peer.rounds);
            median(
                pairs
                    .map(|(own, other)| of(own) as f64 / of(other).max(1) as f64)
                    .collect(),
            )
        };
        let ratios = |of: fn(&Round) -> u64| -> BTreeMap<_, _> {
            let peers = peers.iter();
            peers.map(|peer| (peer.id, ratio(peer, of))).collect()
        };
        Row {
            id: self.id,
            p50_ns: median(self.rounds.iter().map(|r| r.p50 as f64).collect()).round() as u64,
            p99_ns: median(self.rounds.iter().map(|r| r.p99 as f64).collect()).round() as u64,
            runs: self.rounds.iter().map(|round| round.calls).sum(),
            ratios: ratios(|round| round.p50),
            ratios_p99: ratios(|round| round.p99),
        }
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

//! What a run was made of: the line that says so, and the counts by which a test makes sure that a
//! run without violations was not one without trouble.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cluster::Made;
use crate::record::{Answer, Failed, History, Op, Tier, What, Written};

pub struct Report {
    pub faults: Vec<Made>,
    pub history: History,
}

impl Report {
    fn count(&self, counts: impl Fn(&Op) -> bool) -> usize {
        self.history.ops.iter().filter(|op| counts(op)).count()
    }

    fn answers(&self, counts: impl Fn(&Answer) -> bool) -> usize {
        self.count(|op| op.answer().is_some_and(&counts))
    }

    pub fn of(&self, tier: Tier) -> usize {
        self.answers(|answer| answer.tier == tier)
    }

    pub fn stale(&self) -> usize {
        self.answers(|answer| answer.stale)
    }

    pub fn acknowledged(&self) -> usize {
        self.count(|op| op.acknowledged().is_some())
    }

    /// Reads that ended with an error.
    pub fn errors(&self) -> usize {
        self.count(|op| {
            let What::Read { outcome, .. } = &op.what else {
                return false;
            };
            matches!(outcome, Err(Failed::Code(_)))
        })
    }

    /// Writes of which nobody was told whether they happened.
    fn unknown(&self) -> usize {
        self.count(|op| {
            let What::Write { outcome, .. } = &op.what else {
                return false;
            };
            matches!(outcome, Written::Unknown(_))
        })
    }

    pub fn kinds(&self) -> BTreeSet<String> {
        self.faults.iter().map(|made| made.kind.clone()).collect()
    }

    pub fn summary(&self) -> String {
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for made in &self.faults {
            *kinds.entry(&made.kind).or_default() += 1;
        }
        let ops = self.history.ops.iter();
        let mut took: Vec<Duration> = ops
            .filter(|op| op.answer().is_some())
            .map(Op::took)
            .collect();
        took.sort_unstable();
        let percentile = |thousandths: usize| {
            let index = took.len().saturating_sub(1) * thousandths / 1000;
            took.get(index).copied().unwrap_or_default()
        };
        let stalls = self.history.stalls.iter();
        let stalled: Duration = stalls.map(|(from, to)| *to - *from).sum();
        format!(
            "{} near, {} far, {} origin, of them {} stale; {} errors; writes: {} acknowledged, \
             {} unknown, {} in the log, {} lost by a failover; answers took {:.1?} (p50), {:.1?} \
             (p99), {:.1?} (p99.9); {} processes; {} faults: {kinds:?}; the machine stalled for \
             {stalled:.1?}",
            self.of(Tier::Near),
            self.of(Tier::Far),
            self.of(Tier::Origin),
            self.stale(),
            self.errors(),
            self.acknowledged(),
            self.unknown(),
            self.history.log.len(),
            self.history.lost.len(),
            percentile(500),
            percentile(990),
            percentile(999),
            self.history.hosts.len(),
            self.faults.len(),
        )
    }
}

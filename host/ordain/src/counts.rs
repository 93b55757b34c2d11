//! What has been answered, from where, and what could not be: counted on every request, so without
//! anything that threads share. Not for how counts are shown: the server does.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

use crate::answer::{Provenance, ResolveError, Tier};

/// More than there are cores on most machines; threads beyond it share.
pub const SHARDS: usize = 16;

/// Outcomes of a request, in the order of the slots.
pub const OUTCOMES: [&str; 12] = [
    "near",
    "near-stale",
    "far",
    "far-stale",
    "origin",
    "unavailable",
    "deadline",
    "overloaded",
    "revision-unknown",
    "record-invalid",
    "request-invalid",
    "component-failed",
];
const SLOTS: usize = OUTCOMES.len();

#[derive(Default)]
pub struct Counts {
    shards: [CachePadded<[AtomicU64; SLOTS]>; SHARDS],
}

impl Counts {
    pub fn note(&self, outcome: Result<&Provenance, &ResolveError>) {
        let slot = match outcome {
            Ok(provenance) => match (provenance.tier, provenance.stale) {
                (Tier::Near, false) => 0,
                (Tier::Near, true) => 1,
                (Tier::Far, false) => 2,
                (Tier::Far, true) => 3,
                (Tier::Origin, _) => 4,
            },
            Err(ResolveError::Unavailable) => 5,
            Err(ResolveError::Late) => 6,
            Err(ResolveError::Overloaded) => 7,
            Err(ResolveError::RevisionUnknown) => 8,
            Err(ResolveError::RecordInvalid(_)) => 9,
            Err(ResolveError::RequestInvalid(_)) => 10,
            Err(ResolveError::Component(_) | ResolveError::NotOffered(_)) => 11,
        };
        self.shards[shard()][slot].fetch_add(1, Ordering::Relaxed);
    }

    /// Requests by outcome, since the start.
    pub fn totals(&self) -> [(&'static str, u64); SLOTS] {
        std::array::from_fn(|slot| {
            let shards = self.shards.iter();
            let total = shards
                .map(|shard| shard[slot].load(Ordering::Relaxed))
                .sum();
            (OUTCOMES[slot], total)
        })
    }

    /// Requests whose outcome is one of these.
    pub fn of(&self, outcomes: &[&str]) -> u64 {
        let totals = self.totals().into_iter();
        totals
            .filter(|(outcome, _)| outcomes.contains(outcome))
            .map(|(_, total)| total)
            .sum()
    }
}

/// A number of this thread, below [`SHARDS`]: what is kept by it is shared with few others.
pub fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
    }
    SHARD.with(Cell::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_counts_and_the_sum_is_right() {
        let counts = Counts::default();
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        counts.note(Err(&ResolveError::Overloaded));
                    }
                    counts.note(Err(&ResolveError::Late));
                });
            }
        });
        assert_eq!(counts.of(&["overloaded"]), 4000);
        assert_eq!(counts.of(&["deadline", "near"]), 40);
    }
}

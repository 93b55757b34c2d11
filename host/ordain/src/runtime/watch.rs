//! A new generation on probation: whose requests it failed at, and who was answered. What one
//! tenant alone sends never ends it, unless that is the only one that asks. Not for what is a fault
//! (`blame`).

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::world::Export;
use ordain_coherence::Moment;
use ordain_store::ids::Tenant;

/// Tenants that it takes to end it, if there are so many.
const TENANTS: u32 = 4;
/// Tenants whose faults are counted apart.
const APART: usize = 1000;

/// A new generation on probation.
pub struct Watch {
    until: Moment,
    /// More failures than this end it.
    limit: u32,
    faults: Mutex<Faults>,
    answered: Seen,
}

#[derive(Default)]
struct Faults {
    of: HashMap<Option<Tenant>, u32>,
    /// Where something went wrong last, and what.
    last: Option<(Export, String)>,
}

/// A watch as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchStatus {
    pub left: Duration,
    /// Those that count.
    pub faults: u32,
    pub limit: u32,
    /// Where something went wrong last, and what.
    pub last: Option<(Export, String)>,
}

impl Watch {
    pub fn new(time: Duration, limit: u32) -> Watch {
        Watch {
            until: Moment::now().plus(time),
            limit,
            faults: Mutex::default(),
            answered: Seen::default(),
        }
    }

    /// Nothing to go back to.
    pub fn over() -> Watch {
        Watch::new(Duration::ZERO, u32::MAX)
    }

    pub fn is_over(&self) -> bool {
        Moment::now() >= self.until
    }

    /// Notes a failure at a request of somebody; true if it was one too many.
    pub(super) fn fault(&self, tenant: Option<&Tenant>, export: Export, why: &str) -> bool {
        self.answered.note(tenant);
        let mut faults = self.lock();
        faults.last = Some((export, why.to_owned()));
        let tenant = tenant.cloned();
        if faults.of.len() < APART || faults.of.contains_key(&tenant) {
            let count = faults.of.entry(tenant).or_default();
            *count = count.saturating_add(1);
        }
        self.counted(&faults) > self.limit
    }

    /// Notes that somebody has an answer.
    pub(super) fn note_answer(&self, tenant: Option<&Tenant>) {
        self.answered.note(tenant);
    }

    /// Failures that count: of one of several tenants as many as make `TENANTS` of them, or all
    /// that there are, too many together.
    fn counted(&self, faults: &Faults) -> u32 {
        let each = match self.answered.count().min(TENANTS) {
            0 | 1 => u32::MAX,
            several => self.limit / several + 1,
        };
        let counts = faults.of.values().map(|count| (*count).min(each));
        counts.fold(0, u32::saturating_add)
    }

    /// Whether it answers well, as far as this instance can say.
    pub fn is_going_well(&self) -> bool {
        self.answered.count() > 0 && self.counted(&self.lock()) <= self.limit / 2
    }

    pub fn status(&self) -> WatchStatus {
        let faults = self.lock();
        WatchStatus {
            left: self.until.since(Moment::now()),
            faults: self.counted(&faults),
            limit: self.limit,
            last: faults.last.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// About how many have asked: a bit for each, of which two may share one. On the path of every
/// request, so what is known already is only read.
struct Seen {
    hash: RandomState,
    bits: [AtomicU64; 64],
}

impl Default for Seen {
    fn default() -> Seen {
        Seen {
            hash: RandomState::new(),
            bits: [const { AtomicU64::new(0) }; 64],
        }
    }
}

impl Seen {
    fn note(&self, tenant: Option<&Tenant>) {
        let hash = self.hash.hash_one(tenant);
        let bit = 1 << (hash & 63);
        let word = &self.bits[(hash >> 6) as usize % self.bits.len()];
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    fn count(&self) -> u32 {
        let ones = self
            .bits
            .iter()
            .map(|word| word.load(Ordering::Relaxed).count_ones());
        ones.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(number: usize) -> Tenant {
        Tenant::new(&format!("t{number}")).expect("an id")
    }

    fn watch(limit: u32, answered: usize) -> Watch {
        let watch = Watch::new(Duration::from_secs(600), limit);
        (0..answered).for_each(|number| watch.note_answer(Some(&tenant(number))));
        watch
    }

    #[test]
    fn one_of_several_tenants_cannot_end_it_however_often_it_fails() {
        let watch = watch(20, 100);
        assert!((0..10_000).all(|_| !watch.fault(Some(&tenant(0)), Export::Resolve, "slow")));
        assert_eq!(watch.status().faults, 6);
        assert!(watch.is_going_well());
    }

    #[test]
    fn the_only_tenant_ends_it_with_one_too_many() {
        let watch = watch(3, 1);
        assert!((0..3).all(|_| !watch.fault(Some(&tenant(0)), Export::Resolve, "trap")));
        assert!(watch.fault(Some(&tenant(0)), Export::Resolve, "trap"));
    }

    #[test]
    fn all_of_a_few_tenants_end_it_and_so_do_some_of_many() {
        for (tenants, answered) in [(2, 2), (3, 3), (4, 4), (4, 500)] {
            let watch = watch(20, answered);
            let fault = |n: usize| watch.fault(Some(&tenant(n % tenants)), Export::Resolve, "trap");
            let mut all = (0..1000).map(fault);
            assert!(all.any(|ended| ended), "{tenants} of {answered}");
        }
        let watch = watch(20, 500);
        let fault = |n: usize| watch.fault(Some(&tenant(n % 3)), Export::Resolve, "trap");
        assert!(!(0..1000).any(fault));
    }

    #[test]
    fn a_limit_of_none_is_over_at_the_first() {
        assert!(watch(0, 100).fault(Some(&tenant(0)), Export::Resolve, "trap"));
    }
}

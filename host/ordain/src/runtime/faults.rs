//! How often a generation failed: by kind of failure, and by what it was asked. Not for who is to
//! blame (`blame`), nor for what follows (`judge`).

use std::sync::atomic::{AtomicU64, Ordering};

use super::log_limit::LogLimit;
use crate::world::{Capability, Export};

/// How a generation can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Trap,
    /// A limit of time or of calls of the host.
    Overrun,
    /// An answer that is none.
    Nonsense,
    /// An error where another generation had an answer.
    Error,
}

#[derive(Default)]
pub struct Faults {
    /// By capability, then by kind.
    counts: [[AtomicU64; 4]; Capability::ALL.len()],
    pub(super) log: LogLimit,
}

impl Faults {
    pub(super) fn note(&self, fault: Fault, export: Export) {
        let of_capability = &self.counts[export.capability() as usize];
        of_capability[fault as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Failures of one kind.
    pub fn count(&self, fault: Fault) -> u64 {
        let counts = self.counts.iter().map(|counts| &counts[fault as usize]);
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Failures at one capability.
    pub fn count_of(&self, capability: Capability) -> u64 {
        let counts = self.counts[capability as usize].iter();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

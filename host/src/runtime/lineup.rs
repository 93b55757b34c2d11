//! Which generation answers, and which others stand beside it: the one before, while the new one is
//! watched, and a candidate that answers in the shadow. One lineup is replaced by another in one atomic
//! store; calls under way end on the one that they began with. Not for who decides that
//! (`ordain/components`).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Generation;
use super::shadow::Shadow;
use crate::coherence::Moment;

pub struct Lineup {
    pub current: Arc<Generation>,
    /// Answers what `current` fails at while that is watched, and returns when it fails too often.
    pub good: Option<Arc<Generation>>,
    pub watch: Arc<Watch>,
    pub shadow: Option<Arc<Shadow>>,
}

/// A new generation on probation.
pub struct Watch {
    until: Moment,
    /// More failures than this end it.
    limit: u32,
    faults: AtomicU32,
    last: Mutex<String>,
}

/// A watch as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchStatus {
    pub left: Duration,
    pub faults: u32,
    pub limit: u32,
    /// What went wrong last; empty: nothing.
    pub last: String,
}

impl Watch {
    pub fn new(time: Duration, limit: u32) -> Watch {
        Watch {
            until: Moment::now().plus(time),
            limit,
            faults: AtomicU32::new(0),
            last: Mutex::default(),
        }
    }

    /// Nothing to go back to.
    pub fn over() -> Watch {
        Watch::new(Duration::ZERO, u32::MAX)
    }

    /// Notes a failure; true if it was one too many.
    pub(super) fn fault(&self, why: &str) -> bool {
        why.clone_into(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner));
        let before = self.faults.fetch_add(1, Ordering::Relaxed);
        before >= self.limit
    }

    pub fn faults(&self) -> u32 {
        self.faults.load(Ordering::Relaxed)
    }

    pub fn last(&self) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }
}

impl Lineup {
    /// One generation and nothing beside it.
    pub fn alone(current: Arc<Generation>) -> Lineup {
        Lineup {
            current,
            good: None,
            watch: Arc::new(Watch::over()),
            shadow: None,
        }
    }

    /// The generation that was good before, as long as the new one is watched.
    pub fn watching(&self) -> Option<&Arc<Generation>> {
        let good = self.good.as_ref()?;
        (Moment::now() < self.watch.until).then_some(good)
    }

    /// `None`: nothing is watched.
    pub fn watch_status(&self) -> Option<WatchStatus> {
        self.watching()?;
        Some(WatchStatus {
            left: self.watch.until.since(Moment::now()),
            faults: self.watch.faults(),
            limit: self.watch.limit,
            last: self.watch.last(),
        })
    }
}

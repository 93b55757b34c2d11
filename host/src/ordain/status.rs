//! The state of a running Ordain, as `/readyz`, `/metrics` and `ordain caches` show it.

use super::{FeedStatus, NearStatus, Ordain, Status, TierStatus};
use crate::caches::Caches;
use crate::coherence::{Coherence, Moment};
use crate::counts::Counts;

impl Ordain {
    pub fn status(&self) -> Status {
        let inner = &self.inner;
        let coherence: &Coherence = &inner.coherence;
        let age = coherence.view().map(|view| Moment::now().since(view.proven));
        let error = coherence.feed_error();
        Status {
            ready: age.is_some_and(|age| age <= inner.caches.in_force().bound),
            origin: TierStatus {
                backend: inner.origin.describe(),
                breaker: inner.reader.breaker.status(),
            },
            feed: FeedStatus {
                connected: age.is_some() && error.is_empty(),
                watermark: coherence.watermark(),
                proven_age: age,
                window: coherence.window_rows(),
                lag: coherence.lag(),
                purges: coherence.purges(),
                queue: coherence.queue(),
                error,
            },
            far: inner.far.as_ref().map(|far| TierStatus {
                backend: far.describe(),
                breaker: far.breaker.status(),
            }),
            near: NearStatus {
                entries: coherence.near.entries(),
                bytes: coherence.near.bytes(),
                bytes_max: inner.options.near_bytes,
            },
            waiting: inner.runtime.waiting(),
        }
    }

    /// Position up to which this instance knows the log; 0, which demands nothing, if it does not.
    pub fn watermark(&self) -> u64 {
        self.inner.coherence.watermark().unwrap_or(0)
    }

    /// The switches of the caches and what follows from them.
    pub fn caches(&self) -> &Caches {
        &self.inner.caches
    }

    /// Requests by outcome.
    pub fn counts(&self) -> &Counts {
        &self.inner.runtime.counts
    }
}

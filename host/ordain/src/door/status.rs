//! The state of a running Ordain, as `/readyz`, `/metrics` and `ordain caches` show it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{FeedStatus, NearStatus, Ordain, Status, TierStatus};
use crate::counts::Counts;
use ordain_coherence::auditor::Findings;
use ordain_coherence::caches::Caches;
use ordain_coherence::{Coherence, Moment};
use ordain_store::ids::Kind;

impl Ordain {
    pub fn status(&self) -> Status {
        let inner = &self.inner;
        let coherence: &Coherence = &inner.coherence;
        let age = coherence
            .view()
            .map(|view| Moment::now().since(view.proven));
        let error = coherence.feed_error();
        Status {
            ready: age.is_some_and(|age| age <= inner.caches.in_force().bound)
                && inner.runtime.is_open(),
            origin: TierStatus {
                backend: inner.origin.describe(),
                breaker: inner.reader.breaker.status(),
                in_part: false,
            },
            feed: FeedStatus {
                connected: age.is_some() && error.is_empty(),
                watermark: coherence.watermark(),
                proven_age: age,
                window: coherence.window_rows(),
                lag: coherence.lag(),
                purges: coherence.purges(),
                ordered_purges: coherence.ordered_purges(),
                queue: coherence.queue(),
                error,
            },
            far: inner.far.as_ref().map(|far| TierStatus {
                backend: far.describe(),
                breaker: far.breaker.status(),
                in_part: far.fails_in_part(),
            }),
            far_writes: inner.far.as_ref().map(|far| far.writes.status()),
            near: NearStatus {
                entries: coherence.near.entries(),
                bytes: coherence.near.bytes(),
                bytes_max: inner.options.near_bytes,
            },
            waiting: inner.runtime.waiting(),
            tasks: inner.supervised.status(),
            component: self.component_report(),
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

    /// What the auditor found.
    pub fn audit(&self) -> &Findings {
        &self.inner.findings
    }

    /// Calls that were sent to servers: tier, what was called or became of it, how often.
    pub fn io_counts(&self) -> Vec<(&'static str, &'static str, u64)> {
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let reads = count(&self.inner.reader.reads);
        let mut counts = vec![("origin", "read", reads)];
        if let Some(far) = &self.inner.far {
            let counted = &far.counts;
            counts.extend([
                ("far", "get", count(&counted.gets)),
                ("far", "put", count(&counted.puts)),
                ("far", "put-dropped", count(&counted.puts_dropped)),
                ("far", "restamp", count(&self.inner.restamps)),
                ("far", "error", count(&counted.errors)),
                ("far", "put-error", count(&counted.put_errors)),
                ("far", "unusable", count(&counted.unusable)),
            ]);
        }
        counts
    }

    /// Requests by outcome: decisions, or effective configs.
    pub fn counts(&self, kind: Kind) -> &Counts {
        match kind {
            Kind::Policy => &self.inner.runtime.counts,
            Kind::Config => &self.inner.runtime.config_counts,
        }
    }
}

//! The state of a running Ordain, as `/readyz` shows it.

use super::{FarStatus, Ordain, Status};
use crate::coherence::Moment;

impl Ordain {
    pub fn status(&self) -> Status {
        let inner = &self.inner;
        let age = inner
            .coherence
            .view()
            .map(|view| Moment::now().since(view.proven));
        Status {
            ready: age.is_some_and(|age| age <= inner.options.bound),
            origin: inner.origin.describe(),
            watermark: inner.coherence.watermark(),
            proven_age_ms: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            window: inner.coherence.window_rows(),
            purges: inner.coherence.purges(),
            feed_error: inner.coherence.feed_error(),
            far: inner.far.as_ref().map(|far| FarStatus {
                backend: far.describe(),
                reachable: far.reachable(),
            }),
            near_entries: inner.coherence.near.entries(),
            near_bytes: inner.coherence.near.bytes(),
        }
    }
}

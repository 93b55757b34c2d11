//! Import `feed`: waiting for the change log.

use std::time::Duration;

use super::HostState;
use crate::world::bindings::types::{LookedUp, Tier, Unavailable};
use ordain_coherence::Moment;

impl HostState {
    pub(super) async fn catch_up(&mut self, min_revision: u64, wait_ms: u32) -> LookedUp {
        if let Some(reason) = self.feed_promptly() {
            return LookedUp::Unavailable(reason);
        }
        let services = self.services.clone();
        // Whatever a guest asks for: some of the request's time is left for an answer.
        let options = &services.options;
        let longest = options.min_revision_wait.max(options.feed_deadline);
        let left = self.deadline.since(Moment::now());
        let mut limit = Duration::from_millis(wait_ms.into()).min(left).min(longest);
        if services
            .coherence
            .watermark()
            .is_some_and(|w| w >= min_revision)
        {
            // One feed read is all that a proof takes; what is left of the request is the origin's.
            limit = limit.min(services.options.feed_deadline);
        }
        let fresh_from = self.began.minus(self.in_force.bound);
        services
            .coherence
            .wait(min_revision, fresh_from, limit)
            .await;
        let view = services.coherence.view();
        match view {
            Some(view) => LookedUp::View(self.view(view, Tier::Near)),
            None => LookedUp::Unavailable(Unavailable::NotReady),
        }
    }

    /// What the feed answers without waiting; `None`: there is something to wait for.
    pub(super) fn feed_promptly(&self) -> Option<Unavailable> {
        if self.trial.is_some() {
            return Some(Unavailable::Off);
        }
        if self.services.coherence.view().is_none() {
            return Some(Unavailable::NotReady);
        }
        // The feed goes on trying, and brings the breaker's next probe forward; there is no point
        // in waiting for it. (It may work while reads of records do not: a table is locked.)
        let down = self.services.origin.breaker.is_open() && self.services.coherence.feed_fails();
        down.then_some(Unavailable::Failed)
    }
}

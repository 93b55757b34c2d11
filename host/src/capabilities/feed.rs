//! Import `feed`: waiting for the change log.

use std::time::Duration;

use super::HostState;
use crate::coherence::Moment;
use crate::runtime::bindings::feed::Host;
use crate::runtime::bindings::types::{LookedUp, Tier, Unavailable};

impl Host for HostState {
    async fn catch_up(&mut self, min_revision: u64, wait_ms: u32) -> LookedUp {
        if self.trial.is_some() {
            return LookedUp::Unavailable(Unavailable::Off);
        }
        let services = self.services.clone();
        let mut limit =
            Duration::from_millis(wait_ms.into()).min(self.deadline.since(Moment::now()));
        if services
            .coherence
            .watermark()
            .is_some_and(|w| w >= min_revision)
        {
            // One feed read is all that a proof takes; what is left of the request is the origin's.
            limit = limit.min(services.feed_deadline);
        }
        let fresh_from = self.began.minus(services.bound);
        services
            .coherence
            .wait(min_revision, fresh_from, limit)
            .await;
        let view = services.coherence.view();
        self.resume();
        match view {
            Some(view) => self.view(view, Tier::Near),
            None => LookedUp::Unavailable(Unavailable::NotReady),
        }
    }
}

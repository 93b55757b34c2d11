//! What operators do to the log now and then: purge what the fleet has cached, and delete old rows.
//! Not for when to do so: docs/operations.md.

use std::time::{Duration, Instant, SystemTime};

use super::Ordain;
use ordain_coherence::shares::Whose;
use ordain_store::ids::Tenant;
use ordain_store::{Attribution, Pruned, WriteError};

/// How a prune came to its end.
enum End {
    Complete,
    OutOfTime,
    Failed(WriteError),
}

impl Ordain {
    /// Makes every instance drop what it has cached of a tenant, or (`None`) of all, by a row of
    /// the log (rule F4): this one before this returns, the others as they see any write. To be
    /// done after a change that got past the triggers of the database. Returns the row's revision.
    pub async fn purge(
        &self,
        tenant: Option<&Tenant>,
        by: &Attribution,
    ) -> Result<u64, WriteError> {
        let inner = self.inner.clone();
        let (tenant, by) = (tenant.cloned(), by.clone());
        self.run_write(Whose::Operator, async move {
            let revision = inner.origin.purge(tenant.as_ref(), &by).await?;
            inner.coherence.raise_wide_fence(tenant.as_ref(), revision);
            Ok(revision)
        })
        .await
    }

    /// Deletes rows of the log that were written before `before`, oldest first, but never those
    /// that an instance which starts would load, the newest
    /// [`Options::window`](crate::options::Options). In many short transactions, each of which is
    /// recorded in the log (rule F6). What an error leaves undone, another call does.
    pub async fn prune(&self, before: SystemTime, by: &Attribution) -> Result<Pruned, WriteError> {
        match self.prune_for(before, by, Duration::MAX).await {
            (_, End::Failed(error)) => Err(error),
            (pruned, End::Complete | End::OutOfTime) => Ok(pruned),
        }
    }

    /// As much of a prune as a request has time for; and whether there may be more to do.
    pub async fn prune_some(
        &self,
        before: SystemTime,
        by: &Attribution,
        patience: Duration,
    ) -> Result<(Pruned, bool), WriteError> {
        match self.prune_for(before, by, patience).await {
            (pruned, End::Complete) => Ok((pruned, false)),
            (Pruned { rows: 0, .. }, End::Failed(error)) => Err(error),
            // What is done is done: whoever asks for the rest gets to know what is wrong.
            (pruned, End::OutOfTime | End::Failed(_)) => Ok((pruned, true)),
        }
    }

    /// Begins no further transaction after `patience`. What was done, and how it came to its end.
    async fn prune_for(
        &self,
        before: SystemTime,
        by: &Attribution,
        patience: Duration,
    ) -> (Pruned, End) {
        let began = Instant::now();
        let mut total = Pruned {
            rows: 0,
            revision: None,
        };
        loop {
            match self.prune_once(before, by).await {
                Ok(Pruned { rows: 0, .. }) => return (total, End::Complete),
                Ok(pruned) => {
                    total.rows += pruned.rows;
                    total.revision = pruned.revision;
                }
                Err(error) => return (total, End::Failed(error)),
            }
            if began.elapsed() >= patience {
                return (total, End::OutOfTime);
            }
        }
    }

    async fn prune_once(&self, before: SystemTime, by: &Attribution) -> Result<Pruned, WriteError> {
        let (inner, by) = (self.inner.clone(), by.clone());
        self.run_write(Whose::Operator, async move {
            let keep = inner.options.window;
            let pruned = inner.origin.prune(before, keep, &by).await?;
            inner.coherence.wake();
            Ok(pruned)
        })
        .await
    }
}

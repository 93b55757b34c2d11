//! Writing to the origin, so that this host answers by what is written from then on. Not for what
//! may be written (the guest).

use super::ordain::{Ordain, whose};
use ordain_coherence::shares::Whose;
use ordain_store::ids::Key;
use ordain_store::{Attribution, Change, Precondition, WriteError, Written};

impl Ordain {
    pub(super) async fn write(
        &self,
        key: Key,
        change: Change,
        precondition: Precondition,
        by: &Attribution,
    ) -> Result<Written, WriteError> {
        let inner = self.inner.clone();
        let by = by.clone();
        self.run_write(whose(&key), async move {
            let written = inner.origin.write(&key, change, precondition, &by).await?;
            inner.coherence.raise_fence(&key, written.revision);
            Ok(written)
        })
        .await
    }

    /// Runs a write of the origin, unless that is known not to answer or there is no place for it
    /// in time. It goes on if the caller leaves: once it is committed, this host must know it
    /// before it answers anyone.
    pub(super) async fn run_write<T: Send + 'static>(
        &self,
        whose: Whose,
        write: impl Future<Output = Result<T, WriteError>> + Send + 'static,
    ) -> Result<T, WriteError> {
        let reader = self.inner.reader.clone();
        reader.admit()?;
        // Who waits in vain is told to try again while there is still time to tell.
        let patience = self
            .patience()
            .min(self.inner.options.origin_deadline * 3 / 5);
        let place = self.inner.direct.writes.take(&whose, patience).await;
        let place = place.ok_or(WriteError::Busy)?;
        let write = async move {
            let _place = place;
            write.await.inspect_err(|error| {
                if let WriteError::Origin(_) = error {
                    reader.suspect();
                }
            })
        };
        tokio::spawn(write)
            .await
            .unwrap_or(Err(WriteError::OutcomeUnknown))
    }
}

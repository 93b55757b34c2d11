//! Changing a record by what it says: read it, ask the guest what becomes of it, write that on the
//! condition that nobody else was quicker, and begin again if somebody was. The guest is asked with
//! all that it may go by and writes nothing itself, so it may be asked again, and whatever fails
//! before the write has changed nothing. Not for what the guest is asked (`configs`).

use tokio::time::{Instant, timeout_at};

use super::{Ordain, PutError, ReadError};
use ordain_store::ids::Key;
use ordain_store::{Attribution, Change, Precondition, Record, WriteError, Written};

/// What the guest has decided on the evidence that it was given.
pub(super) enum Verdict {
    Apply(Change),
    /// The record stays as it is.
    Leave,
}

/// What became of a decision.
pub(super) enum Decided {
    Applied(Written),
    /// The revision of the record that was left as it is, if there is one.
    Left(Option<u64>),
}

/// Asks the guest about a record.
pub(super) trait Judge: Sync {
    /// `stored`: the record as the origin has it now. May be asked several times.
    fn judge(
        &self,
        stored: Option<&Record>,
    ) -> impl Future<Output = Result<Verdict, PutError>> + Send;
}

impl Ordain {
    /// Without a condition on the revision it is decided on whatever is there. An error means that
    /// nothing was written, save `OutcomeUnknown`.
    pub(super) async fn decide(
        &self,
        key: Key,
        precondition: Precondition,
        by: &Attribution,
        judge: &impl Judge,
    ) -> Result<Decided, PutError> {
        // One at a time on this host: of many that read the same record only one could write it.
        let lock = self.inner.deciding.of(&key);
        // Hosts may lose against each other many times in a row: time is the limit, with some left
        // to say so.
        let until = Instant::now() + self.inner.options.request_deadline * 3 / 5;
        let Ok(_turn) = timeout_at(until, lock.lock()).await else {
            return Err(WriteError::Busy.into());
        };
        loop {
            let stored = self.read_evidence(key.clone()).await?;
            let current = stored.as_ref().map(|record| record.revision);
            if !precondition.holds(current) {
                return Err(WriteError::Precondition { current }.into());
            }
            let change = match judge.judge(stored.as_ref()).await? {
                Verdict::Leave => return Ok(Decided::Left(current)),
                Verdict::Apply(change) => change,
            };
            let unchanged = current.map_or(Precondition::Absent, Precondition::Revision);
            match self.write(key.clone(), change, unchanged, by).await {
                // Somebody else was quicker: of what is there now the condition may hold as well.
                Err(WriteError::Precondition { .. }) if Instant::now() < until => {}
                Err(WriteError::Precondition { .. })
                    if matches!(precondition, Precondition::None | Precondition::Present) =>
                {
                    return Err(WriteError::Busy.into());
                }
                written => return Ok(Decided::Applied(written?)),
            }
        }
    }

    async fn read_evidence(&self, key: Key) -> Result<Option<Record>, WriteError> {
        match self.read_record(key, 0).await {
            Ok(stored) => Ok(stored.record),
            // Nothing is demanded, so nothing can be unknown.
            Err(ReadError::RevisionUnknown | ReadError::Overloaded) => Err(WriteError::Busy),
            Err(ReadError::Origin(error)) => Err(error.into()),
        }
    }
}

//! Configs through the front door: what holds, and one level at a time. Wires the guest's rules to
//! the origin; decides nothing itself.

use tokio::time::Instant;

use super::{Ordain, Patched, PutError, ReadError, Stored};
use crate::answer::ResolveError;
use crate::effective::EffectiveConfig;
use crate::runtime::Check;
use ordain_store::ids::{Key, Kind, Level, Tenant, User};
use ordain_store::{
    Attribution, Change, HistoryEntry, Page, Precondition, Record, WriteError, Written,
};

impl Ordain {
    /// What holds for a user, or for the tenant where none is given: user, else tenant, else
    /// global, else default, field by field. From the caches, as `resolve` answers.
    pub async fn effective_config(
        &self,
        tenant: &Tenant,
        user: Option<&User>,
        min_revision: u64,
    ) -> Result<EffectiveConfig, ResolveError> {
        self.check_demand(Kind::Config, min_revision)?;
        let user = user.map(User::as_str);
        let runtime = &self.inner.runtime;
        let whose = self.charge.share(Some(tenant));
        runtime
            .effective_config(whose, tenant, user, min_revision)
            .await
    }

    /// One level as it is stored, from the origin.
    pub async fn config(&self, level: &Level, min_revision: u64) -> Result<Stored, ReadError> {
        self.read_record(Key::config(level), min_revision).await
    }

    /// Applies a JSON Merge Patch (RFC 7396: null clears a field) to one level; this instance
    /// answers by it from now on (rule N4). Without a condition on the revision it is applied to
    /// whatever is there.
    pub async fn patch_config(
        &self,
        level: &Level,
        patch: &str,
        precondition: Precondition,
        by: &Attribution,
    ) -> Result<Patched, PutError> {
        let key = Key::config(level);
        let runtime = &self.inner.runtime;
        // One at a time on this host: of many that read the same level only one could write it.
        let lock = self.inner.patching.of(&key);
        // Hosts may lose against each other many times in a row: time is the limit, with some left
        // to say so.
        let until = Instant::now() + self.inner.options.request_deadline * 3 / 5;
        let Ok(_turn) = tokio::time::timeout_at(until, lock.lock()).await else {
            return Err(WriteError::Busy.into());
        };
        let is_empty = serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(patch)
            .is_ok_and(|patch| patch.is_empty());
        loop {
            let stored = match self.read_record(key.clone(), 0).await {
                Ok(stored) => stored.record,
                // Nothing is demanded, so nothing can be unknown.
                Err(ReadError::RevisionUnknown | ReadError::Overloaded) => {
                    return Err(WriteError::Busy.into());
                }
                Err(ReadError::Origin(error)) => return Err(WriteError::from(error).into()),
            };
            let current = stored.as_ref().map(|record: &Record| record.revision);
            if !precondition.holds(current) {
                return Err(WriteError::Precondition { current }.into());
            }
            let text = stored.as_ref().map_or("{}", |record| &*record.body);
            let payer = self.charge.share(level.tenant());
            let body = runtime.check(payer, Check::Patch(text, patch)).await?;
            if is_empty {
                return Ok(Patched::Unchanged(current));
            }
            let unchanged = current.map_or(Precondition::Absent, Precondition::Revision);
            let change = Change::Put(body.into());
            let written = self.write(key.clone(), change, unchanged, by).await;
            match written {
                // Somebody else was quicker: of what is there now the condition may hold as well.
                Err(WriteError::Precondition { .. }) if Instant::now() < until => {}
                Err(WriteError::Precondition { .. })
                    if matches!(precondition, Precondition::None | Precondition::Present) =>
                {
                    return Err(WriteError::Busy.into());
                }
                written => return Ok(Patched::Written(written?)),
            }
        }
    }

    /// Deletes one level: its fields are what weaker levels say.
    pub async fn delete_config(
        &self,
        level: &Level,
        precondition: Precondition,
        by: &Attribution,
    ) -> Result<Written, WriteError> {
        let key = Key::config(level);
        self.write(key, Change::Delete, precondition, by).await
    }

    /// Changes of one level, newest first, those before position `before`.
    pub async fn config_history(
        &self,
        level: &Level,
        before: Option<u64>,
        limit: u32,
        min_revision: u64,
    ) -> Result<Page<HistoryEntry>, ReadError> {
        let key = Key::config(level);
        self.changes_of(key, before, limit, min_revision).await
    }
}

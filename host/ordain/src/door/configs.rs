//! Configs through the front door: what holds, and one level at a time. Wires the guest's rules to
//! the origin; decides nothing itself.

use super::decide::{Decided, Judge, Verdict};
use super::{Ordain, Patched, PutError, ReadError, Stored};
use crate::answer::ResolveError;
use crate::calls::PatchConfig;
use crate::effective::EffectiveConfig;
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
        let patch = Patch {
            ordain: self,
            level,
            text: patch,
        };
        let decided = self.decide(Key::config(level), precondition, by, &patch);
        Ok(match decided.await? {
            Decided::Applied(written) => Patched::Written(written),
            Decided::Left(revision) => Patched::Unchanged(revision),
        })
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

/// What becomes of a level by a merge patch.
struct Patch<'a> {
    ordain: &'a Ordain,
    level: &'a Level,
    text: &'a str,
}

impl Judge for Patch<'_> {
    async fn judge(&self, stored: Option<&Record>) -> Result<Verdict, PutError> {
        let text = stored.map_or("{}", |record| &*record.body);
        let payer = self.ordain.charge.share(self.level.tenant());
        let runtime = &self.ordain.inner.runtime;
        let check = PatchConfig {
            level: text.into(),
            patch: self.text.into(),
        };
        let patched = runtime.check(payer, check).await?;
        let is_empty = serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(self.text)
            .is_ok_and(|patch| patch.is_empty());
        // Without a field there is nothing to log.
        Ok(match is_empty {
            true => Verdict::Leave,
            false => Verdict::Apply(Change::Put(patched.into())),
        })
    }
}

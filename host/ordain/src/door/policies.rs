//! Policies through the front door: decisions by them, and one tenant's at a time. Wires the
//! guest's rules to the origin; decides nothing itself.

use std::sync::Arc;

use super::{Ordain, PutError, ReadError, Stored};
use crate::answer::{Answer, ResolveError};
use crate::calls::{InvalidRecord, ValidatePolicy};
use crate::request::Request;
use ordain_coherence::Entry;
use ordain_store::ids::{Key, Kind, Tenant};
use ordain_store::{
    Attribution, Change, HistoryEntry, Page, Precondition, Record, WriteError, Written,
};

impl Ordain {
    /// Resolves one request within the request deadline.
    pub async fn resolve(
        &self,
        tenant: &Tenant,
        request: &Request,
    ) -> Result<Answer, ResolveError> {
        self.check_demand(Kind::Policy, request.min_revision)?;
        let whose = self.charge.share(Some(tenant));
        self.inner.runtime.resolve(whose, tenant, request).await
    }

    /// Checks a record and returns its canonical text; stores nothing. At the expense of the
    /// tenant, if there is one.
    pub async fn validate(
        &self,
        tenant: Option<&Tenant>,
        record: &str,
    ) -> Result<String, InvalidRecord> {
        let payer = self.charge.share(tenant);
        let check = ValidatePolicy(record.into());
        self.inner.runtime.check(payer, check).await
    }

    /// Resolves requests against a record that is not stored. The record must be valid.
    pub async fn try_policy(
        &self,
        tenant: &Tenant,
        record: &str,
        requests: &[Request],
    ) -> Result<Vec<Result<Answer, ResolveError>>, InvalidRecord> {
        let body = self.validate(Some(tenant), record).await?.into();
        let entry = Arc::new(Entry::new(Some(Record { body, revision: 0 }), 0));
        let requests: Vec<&Request> = requests.iter().collect();
        Ok(self
            .inner
            .runtime
            .try_record(self.charge.share(Some(tenant)), tenant, entry, &requests)
            .await)
    }

    /// Validates and stores; this instance answers by the new policy from now on (rule N4).
    pub async fn put_policy(
        &self,
        tenant: &Tenant,
        record: &str,
        precondition: Precondition,
        by: &Attribution,
    ) -> Result<Written, PutError> {
        let body = self.validate(Some(tenant), record).await?;
        Ok(self
            .write(
                Key::policy(tenant),
                Change::Put(body.into()),
                precondition,
                by,
            )
            .await?)
    }

    pub async fn delete_policy(
        &self,
        tenant: &Tenant,
        precondition: Precondition,
        by: &Attribution,
    ) -> Result<Written, WriteError> {
        self.write(Key::policy(tenant), Change::Delete, precondition, by)
            .await
    }

    /// The stored policy, from the origin.
    pub async fn policy(&self, tenant: &Tenant, min_revision: u64) -> Result<Stored, ReadError> {
        self.read_record(Key::policy(tenant), min_revision).await
    }

    /// Changes of a tenant's policy, newest first, those before position `before`.
    pub async fn history(
        &self,
        tenant: &Tenant,
        before: Option<u64>,
        limit: u32,
        min_revision: u64,
    ) -> Result<Page<HistoryEntry>, ReadError> {
        let key = Key::policy(tenant);
        self.changes_of(key, before, limit, min_revision).await
    }
}

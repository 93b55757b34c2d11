//! What stores records: the origin (source of truth), its change log, and the far cache. One trait
//! each, one file per backend, one contract suite for all (`contract.rs`). Not for caching rules
//! (`coherence`) nor policy rules (the guest); nothing here knows Wasmtime or HTTP.
//!
//! Every call has a deadline of its own, given when the backend is made. Dropping a call's future
//! abandons it: its reply is never delivered to anyone else.

#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod memory;
pub mod postgres;
pub mod redis;

use std::sync::Arc;

use async_trait::async_trait;

use crate::ids::{Key, Tenant};

/// Who changed something and why, as the history keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attribution {
    pub actor: String,
    pub request_id: Option<String>,
    pub reason: Option<String>,
}

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// JSON text, canonical unless it was edited by hand.
    pub body: Arc<str>,
    /// Position of the change that wrote it.
    pub revision: u64,
}

/// Records as one snapshot of the primary showed them (rule O5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Head of the change log in that snapshot; 0 while the log is empty.
    pub as_of: u64,
    /// In the order asked for; `None`: there is no such record.
    pub records: Vec<Option<Record>>,
}

/// What must hold of the stored record for a write to happen (`If-Match`, `If-None-Match`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precondition {
    #[default]
    None,
    /// There is no record.
    Absent,
    /// There is a record.
    Present,
    /// There is a record of this revision.
    Revision(u64),
}

/// A change of one tenant's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Canonical JSON text, already validated by the guest.
    Put(Arc<str>),
    Delete,
}

/// A committed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub revision: u64,
    /// True if there was no record before.
    pub created: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Refused, broken connection, wrong password, a replica instead of the primary. The text is
    /// for the log and names no secret.
    #[error("the origin is unavailable: {0}")]
    Unavailable(String),
    #[error("the origin did not answer within its deadline")]
    Late,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The precondition does not hold; the revision that is stored instead, if any.
    #[error("the precondition does not hold")]
    Precondition { current: Option<u64> },
    /// A delete of what is not there.
    #[error("there is no such record")]
    Absent,
    /// The log's lock was not free in time; nothing was written; try again.
    #[error("other writes are in the way, try again")]
    Busy,
    /// COMMIT was sent and its reply never came: it may have happened or not (rule O4).
    #[error("the write was sent, but whether it was committed is not known")]
    OutcomeUnknown,
    /// The database refused the record (CHECK constraint); the text names it.
    #[error("the origin refused the record: {0}")]
    Rejected(String),
    #[error(transparent)]
    Origin(#[from] OriginError),
}

/// One page of a keyset listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// More follow after the last item.
    pub more: bool,
    /// Head of the log in the snapshot that was listed.
    pub as_of: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantEntry {
    pub tenant: String,
    pub revision: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    pub revision: u64,
    /// RFC 3339, UTC, microseconds.
    pub at: String,
    pub actor: String,
    /// `put` or `delete`.
    pub op: String,
    pub body: Option<String>,
    pub request_id: Option<String>,
    pub reason: Option<String>,
}

/// The source of truth for policies.
#[async_trait]
pub trait Origin: Send + Sync + 'static {
    /// Reads all keys from one snapshot of the primary (rule O5).
    async fn read(&self, keys: &[Key]) -> Result<Snapshot, OriginError>;

    /// Changes one tenant's policy in one transaction (rule O4). Returns after the commit.
    async fn write(
        &self,
        tenant: &Tenant,
        change: Change,
        precondition: Precondition,
        by: &Attribution,
    ) -> Result<Written, WriteError>;

    /// Puts many policies in one transaction, all or none; callers send at most 500 at a time.
    /// Returns the revision of the last one.
    async fn put_many(
        &self,
        policies: &[(Tenant, Arc<str>)],
        by: &Attribution,
    ) -> Result<u64, WriteError>;

    /// Tenants that have a policy, in byte order of their ids, those after `after` only.
    async fn tenants(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<TenantEntry>, OriginError>;

    /// Changes of a tenant's policy, newest first, those before position `before` only.
    async fn history(
        &self,
        tenant: &Tenant,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page<HistoryEntry>, OriginError>;

    /// `postgres at HOST:PORT/DATABASE`, without user and password.
    fn describe(&self) -> String;
}

/// One row of the change log, as the feed needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    pub position: u64,
    /// `None`: the fleet.
    pub tenant: Option<String>,
    pub subject: String,
    /// `put`, `delete` or `purge`.
    pub op: String,
}

/// The change log, read by the feed only.
#[async_trait]
pub trait ChangeLog: Send + Sync + 'static {
    /// The newest rows, at most `limit`, in ascending order; and whether the log has no others
    /// (rule F2). On the primary.
    async fn newest(&self, limit: u32) -> Result<(Vec<LogRow>, bool), OriginError>;

    /// Rows from position `from` (itself included), ascending, at most `limit` (rule F3). On the
    /// primary, within the feed deadline, after which the connection is closed.
    async fn since(&self, from: u64, limit: u32) -> Result<Vec<LogRow>, OriginError>;

    /// Returns when the log may have grown. Only a hint (rule F5): it may come late or never.
    async fn changed(&self);
}

/// Layout of the beginning of a far value, which `put` compares (rules A1, A4): two bytes of
/// format, twenty decimal digits of as-of, and then what makes the header unique.
pub const FAR_HEADER: usize = 62;
pub const FAR_FORMAT: &str = "o1";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FarError {
    #[error("far is unavailable: {0}")]
    Unavailable(String),
    #[error("far did not answer within its deadline")]
    Late,
}

/// The cache that instances share. Holds bytes under a key for a time; may lose any of them.
#[async_trait]
pub trait Far: Send + Sync + 'static {
    /// The values of all keys, in order, in one round trip.
    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, FarError>;

    /// Puts a value (rule A4): refused, returning false, if what is stored begins with `FAR_FORMAT`
    /// and an as-of that is not lower than the new one's and its header is not `seen`
    /// (empty: nothing was seen).
    async fn put(
        &self,
        key: &str,
        value: &[u8],
        seen: &[u8],
        ttl: std::time::Duration,
    ) -> Result<bool, FarError>;

    /// `redis at HOST:PORT`, without user and password.
    fn describe(&self) -> String;
}

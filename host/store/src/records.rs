//! What is stored, and what is asked of those who store it: the origin (source of truth), its
//! change log, and the far cache, one trait each.
//!
//! Every call has a deadline of its own, given when the backend is made. Dropping a call's future
//! abandons it: its reply is never delivered to anyone else.

use std::sync::Arc;
use std::time::SystemTime;

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

/// What an auditor compares a cached value with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Head of the change log in the snapshot.
    pub as_of: u64,
    pub record: Option<Record>,
    /// The given position is in the log (or 0): what is compared is of one history.
    pub known: bool,
    /// Position of the first change of the key after the given one, and the time since it was made
    /// (not: since it was committed), by the clock of the primary; `None`: there is no such change.
    pub newer: Option<(u64, std::time::Duration)>,
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

impl Precondition {
    /// Whether it holds of what is stored: its revision, if there is a record.
    pub fn holds(self, current: Option<u64>) -> bool {
        match self {
            Precondition::None => true,
            Precondition::Absent => current.is_none(),
            Precondition::Present => current.is_some(),
            Precondition::Revision(revision) => current == Some(revision),
        }
    }
}

/// A change of one record.
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

/// Many policies of a committed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenMany {
    /// By which all of them are stored.
    pub revision: u64,
    /// How many were written; the others were stored like that before.
    pub written: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Refused, broken connection, wrong password. The text is for the log and names no secret.
    #[error("the origin is unavailable: {0}")]
    Unavailable(String),
    #[error("the origin did not answer within its deadline")]
    Late,
    /// It answers, and takes no changes: a replica, or a primary that was set so.
    #[error("{0}")]
    ReadOnly(String),
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

/// Text of one page: items are left for the next one where there would be more, save the first.
/// Whoever reads it must not make the origin send, and this process hold, as much as anybody ever
/// stored.
pub const PAGE_BYTES: usize = 1 << 20;

/// One page of a keyset listing: at most as many items as were asked for, and at most
/// [`PAGE_BYTES`].
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

/// Whose level of config: empty where there is no tenant or no user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LevelPlace {
    pub tenant: String,
    pub user: String,
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

/// One setting of the fleet as a row of the logged table has it (rule D1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetSetting {
    pub name: String,
    pub value: String,
    pub revision: u64,
}

/// A component file as the origin keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredComponent {
    /// `sha256:` and the digest of the bytes in hexadecimal.
    pub digest: String,
    pub bytes: Arc<[u8]>,
    /// Ed25519 signature of the bytes, in base64.
    pub signature: Option<String>,
}

/// Outcome of a prune.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    pub rows: u64,
    /// Position of the row that records the prune; `None`: nothing was pruned.
    pub revision: Option<u64>,
}

/// Why keys of two tenants are not read together.
pub(crate) const MIXED: &str = "a read is the work of one tenant, and these keys are of several";

/// Why nothing is written under a key.
pub(crate) const NAMELESS: &str = "no record is called so";

/// The source of truth for policies and configs.
#[async_trait]
pub trait Origin: Send + Sync + 'static {
    /// Reads all keys from one snapshot of the primary (rule O5): of the fleet and of one tenant,
    /// whose work this is. Fails on keys of two tenants.
    async fn read(&self, keys: &[Key]) -> Result<Snapshot, OriginError>;

    /// Changes one record in one transaction (rule O4). Returns after the commit. Rejects a key
    /// that names no record.
    async fn write(
        &self,
        key: &Key,
        change: Change,
        precondition: Precondition,
        by: &Attribution,
    ) -> Result<Written, WriteError>;

    /// Puts many policies in one transaction, all or none; those that are stored as they are given
    /// stay as they are, so that the same again changes nothing. Callers send as many at a time as
    /// take a moment: other writes wait for it (rule O2).
    async fn put_many(
        &self,
        policies: &[(Tenant, Arc<str>)],
        by: &Attribution,
    ) -> Result<WrittenMany, WriteError>;

    /// Tenants that have a policy, in byte order of their ids, those after `after` only.
    async fn tenants(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<TenantEntry>, OriginError>;

    /// Policies of all tenants, in byte order of the tenants' ids, those after `after` only.
    async fn policies(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<(TenantEntry, Arc<str>)>, OriginError>;

    /// Levels of config of the fleet, all tenants and users, in byte order of tenant and user (the
    /// fleet has neither), those after `after` only.
    async fn levels(
        &self,
        after: Option<&LevelPlace>,
        limit: u32,
    ) -> Result<Page<(LevelPlace, Arc<str>)>, OriginError>;

    /// Changes of a record, newest first, those before position `before` only.
    async fn history(
        &self,
        key: &Key,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page<HistoryEntry>, OriginError>;

    /// What the origin holds of a key, and for how long it has held something newer than what was
    /// known at position `after`: one statement, one snapshot.
    async fn audit(&self, key: &Key, after: u64) -> Result<Audit, OriginError>;

    /// Sets (`Some`) or removes (`None`) settings of the fleet in one transaction (rule O4),
    /// provided that the settings of `only_if` are as given there; else `Precondition`, and nothing
    /// is changed. Removing what is not there is no change. Returns the revision of the last row
    /// written, `None` if nothing changed.
    async fn set_settings(
        &self,
        changes: &[(String, Option<String>)],
        only_if: &[(String, Option<String>)],
        by: &Attribution,
    ) -> Result<Option<u64>, WriteError>;

    /// Keeps a component file, and of the others those that the settings `component.*` name and the
    /// newest few. Storing it again is no error; a signature that is given replaces the one before.
    async fn put_component(&self, component: &StoredComponent) -> Result<(), WriteError>;

    /// A component file by its digest; `None`: it was never stored, or is no longer kept.
    async fn component(&self, digest: &str) -> Result<Option<StoredComponent>, OriginError>;

    /// Logs a row with op `purge` for one tenant or (`None`) for all keys (rule F4). Returns its
    /// revision.
    async fn purge(&self, tenant: Option<&Tenant>, by: &Attribution) -> Result<u64, WriteError>;

    /// Deletes the oldest rows of the log, those written before `before`, and records that in the
    /// same transaction (rule F6). Never the newest `keep` rows, nor the newest row. Deletes no
    /// more than one short transaction can: whoever wants all calls again until `rows` is 0.
    async fn prune(
        &self,
        before: SystemTime,
        keep: u32,
        by: &Attribution,
    ) -> Result<Pruned, WriteError>;

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
    /// `put`, `delete`, `purge` or `prune`.
    pub op: String,
}

impl LogRow {
    /// Older rows were deleted from this log (rule F6). The row that says so outlives them: it is
    /// written after them, and only ever deleted together with the writing of a newer one.
    pub fn records_a_prune(&self) -> bool {
        self.op == PRUNE
    }
}

/// Operation of a row that records a prune.
pub const PRUNE: &str = "prune";

/// Operation of a row that makes every host drop what it has cached (rule F4).
pub const PURGE: &str = "purge";

/// Subject of a row that records a prune.
pub const LOG: &str = "log";

/// Subject of a row of a setting of the fleet: this and the setting's name.
pub const SETTING: &str = "setting/";

/// Beginning of the names of the settings that say which component runs.
pub const COMPONENT_SETTINGS: &str = "component.";

/// Subject of a row that touches every record of its tenant, or of all (op `purge`).
pub const EVERYTHING: &str = "*";

/// The change log, read by the feed only.
#[async_trait]
pub trait ChangeLog: Send + Sync + 'static {
    /// The newest rows, at most `limit`, in ascending order; and whether these are all that was
    /// ever logged (rule F2): there are no others, and none of them records a prune. On the
    /// primary.
    async fn newest(&self, limit: u32) -> Result<(Vec<LogRow>, bool), OriginError>;

    /// Rows from position `from` (itself included), ascending, at most `limit` (rule F3). On the
    /// primary, within the feed deadline, after which the connection is closed.
    async fn since(&self, from: u64, limit: u32) -> Result<Vec<LogRow>, OriginError>;

    /// All settings of the fleet, read on the primary, on the feed's connection, within the feed
    /// deadline (rule D1).
    async fn settings(&self) -> Result<Vec<FleetSetting>, OriginError>;

    /// How full the notification queue of the server is, 0 to 1 (rule F5); 0 where there is none.
    async fn notification_queue(&self) -> Result<f64, OriginError>;

    /// How late the newest row of the latest `since` was when it was read, by the clock of the
    /// primary alone; `None`: there was none yet.
    fn lag(&self) -> Option<std::time::Duration>;

    /// The clock of the primary at the latest `since`, in microseconds since 1970, as positions
    /// count; `None`: there was none yet.
    fn clock(&self) -> Option<u64>;

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
    /// It answers, and not what was asked for.
    #[error("far refuses: {0}")]
    Refused(String),
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

    /// True if a call that has just failed says nothing of others: far has several servers, and
    /// some of them are in order.
    fn fails_in_part(&self) -> bool {
        false
    }
}

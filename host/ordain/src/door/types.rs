//! What the front door takes and returns, beside requests and answers.

use std::time::Duration;

use super::ComponentReport;
use crate::calls::InvalidRecord;
use ordain_coherence::BreakerStatus;
use ordain_store::supervise::TaskStatus;
use ordain_store::{OriginError, Record, WriteError, Written};

/// Why a record was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    #[error(transparent)]
    Invalid(#[from] InvalidRecord),
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A record as the origin has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// `None`: there is no such record.
    pub record: Option<Record>,
    /// Head of the log when it was read.
    pub position: u64,
}

/// What became of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patched {
    Written(Written),
    /// The patch was empty: nothing was written. The revision that is stored, if any.
    Unchanged(Option<u64>),
}

/// Why a record could not be read from the origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("the demanded revision is not known here (yet)")]
    RevisionUnknown,
    #[error("too many calls wait for the origin")]
    Overloaded,
    #[error(transparent)]
    Origin(#[from] OriginError),
}

/// Why an import stored nothing or stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Index and fault of every record that is not valid; nothing was stored.
    #[error("{} of the records are not valid", .0.len())]
    Invalid(Vec<(usize, InvalidRecord)>),
    /// The first `stored` records are stored, the others are not.
    #[error("stopped after {stored} records: {cause}")]
    Write { stored: usize, cause: WriteError },
}

/// State of the feed and of the dependencies, for `/readyz`, `/metrics` and `ordain caches`.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Fresh answers can be given.
    pub ready: bool,
    pub origin: TierStatus,
    pub feed: FeedStatus,
    /// `None`: no far cache is configured.
    pub far: Option<TierStatus>,
    /// Whether far is put into; its breaker for look-ups is in `far`.
    pub far_writes: Option<BreakerStatus>,
    pub near: NearStatus,
    /// Calls that wait for servers, and how many may.
    pub waiting: (usize, usize),
    /// What works in the background.
    pub tasks: Vec<TaskStatus>,
    pub component: ComponentReport,
}

/// A server and whether it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierStatus {
    /// Which server, without user and password.
    pub backend: String,
    pub breaker: BreakerStatus,
    /// It has several servers, and some are in order: it is asked though the breaker is open.
    pub in_part: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct FeedStatus {
    /// The latest read of the log was applied.
    pub connected: bool,
    /// Position up to which the log is applied; `None`: not known (yet).
    pub watermark: Option<u64>,
    /// Since near was last proven to be current.
    pub proven_age: Option<Duration>,
    /// Rows of the log in memory, and how many there may be.
    pub window: (usize, usize),
    /// How late the newest row was when it was applied: from its position, by the clock of the
    /// primary; `None`: no row yet.
    pub lag: Option<Duration>,
    /// Times that history had changed and everything was dropped.
    pub purges: u64,
    /// Purges that an operator has ordered.
    pub ordered_purges: u64,
    /// How full the notification queue of the server is, 0 to 1 (rule F5).
    pub queue: f64,
    /// Error of the latest read, empty when it was applied.
    pub error: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NearStatus {
    pub entries: usize,
    pub bytes: u64,
    pub bytes_max: u64,
}

//! What the front door takes and returns, beside requests and answers.

use crate::backends::{OriginError, Record, WriteError};
use crate::request::Fault;

/// Why a record cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecord {
    /// Not JSON; the message says where.
    #[error("{0}")]
    Malformed(String),
    #[error("the record has {} fault(s)", .0.len())]
    Faults(Vec<Fault>),
    /// The component trapped or ran out of time.
    #[error("the component failed: {0}")]
    Component(String),
}

/// Why a policy was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    #[error(transparent)]
    Invalid(#[from] InvalidRecord),
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A policy as the origin has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPolicy {
    /// `None`: the tenant has no policy.
    pub record: Option<Record>,
    /// Head of the log when it was read.
    pub position: u64,
}

/// Why a record could not be read from the origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("the demanded revision is not known here (yet)")]
    RevisionUnknown,
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

/// State of the feed and of the dependencies, for `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Fresh answers can be given.
    pub ready: bool,
    pub origin: String,
    /// Position up to which the log is applied; `None`: not known (yet).
    pub watermark: Option<u64>,
    /// Milliseconds since near was last proven to be current.
    pub proven_age_ms: Option<u64>,
    /// Rows of the log in memory.
    pub window: usize,
    /// Times that history had changed and everything was dropped.
    pub purges: u64,
    /// Last error of the feed, empty when it works.
    pub feed_error: String,
    /// `None`: no far cache is configured.
    pub far: Option<FarStatus>,
    pub near_entries: usize,
    pub near_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FarStatus {
    pub backend: String,
    /// The last call succeeded (or there was none yet).
    pub reachable: bool,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ComponentInfo {
    /// `sha256:...` of the file.
    pub digest: String,
    /// Bytes of the file.
    pub size: u64,
    /// `ordain:policy/policy@0.1.0`.
    pub world: String,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
}

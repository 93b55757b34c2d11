//! What a run recorded: every operation with its times on one clock, and the change log as it was
//! found afterwards. Plain data; `check` judges it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Time since the start of the run.
pub type Time = Duration;

/// Number of a process of Ordain in a run; a restarted instance is another one.
pub type Host = usize;

#[derive(Debug, Clone, Default)]
pub struct History {
    pub ops: Vec<Op>,
    /// Positions that were seen to be committed, by others than Ordain.
    pub seen: Vec<(u64, Time)>,
    /// The change log of the history that survived, in order.
    pub log: Vec<Row>,
    /// What a failover lost, in order: rows of the old primary that the new one never had.
    pub lost: Vec<Row>,
    /// When the old primary had answered for the last time.
    pub fenced: Option<Time>,
    pub hosts: HashMap<Host, Life>,
    /// When the machine gave the test itself no time.
    pub stalls: Vec<(Time, Time)>,
}

/// A row of the change log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub position: u64,
    pub tenant: String,
    /// `None`: a delete.
    pub model: Option<String>,
    /// Who wrote it: [`Op::id`].
    pub op: Option<String>,
}

/// What was done to a process.
#[derive(Debug, Clone, Default)]
pub struct Life {
    pub died: Option<Time>,
    /// From SIGSTOP to SIGCONT.
    pub stopped: Vec<(Time, Time)>,
}

#[derive(Debug, Clone)]
pub struct Op {
    /// The request's id, which the change log keeps.
    pub id: String,
    /// `None`: an edit in SQL, past every instance.
    pub host: Option<Host>,
    pub began: Time,
    pub ended: Time,
    pub tenant: String,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    Write {
        /// `None`: a delete.
        model: Option<String>,
        condition: Condition,
        outcome: Written,
    },
    Read {
        min_revision: u64,
        outcome: Result<Answer, Failed>,
    },
}

/// What a write demands of the stored record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    None,
    Absent,
    Revision(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// Acknowledged at this revision.
    At(u64),
    /// The condition was not met, or there was nothing to delete.
    Unmet,
    /// Said not to have happened, with the code of the error.
    Refused(String),
    /// It may have happened or not: said so, or no reply.
    Unknown(Silence),
    /// A reply that no write should have.
    Unexpected(String),
}

/// Whether there was a reply at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// There was one: the outcome is not known.
    Said,
    /// There was none.
    NoReply,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// The code of an error that may happen during an outage.
    Code(String),
    /// `revision-unknown`.
    RevisionUnknown,
    NoReply,
    /// A reply that no read should have.
    Unexpected(String),
}

#[derive(Debug, Clone)]
pub struct Answer {
    /// Revision and model; `None`: there is no such record.
    pub record: Option<(u64, String)>,
    /// `Ordain-Revision`. Of a batch it is the lowest of its answers.
    pub position: u64,
    pub tier: Tier,
    pub stale: bool,
    pub age: Duration,
    pub of_batch: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    Near,
    Far,
    Origin,
}

impl Op {
    pub fn took(&self) -> Duration {
        self.ended - self.began
    }

    pub fn answer(&self) -> Option<&Answer> {
        match &self.what {
            What::Read {
                outcome: Ok(answer),
                ..
            } => Some(answer),
            _ => None,
        }
    }

    /// The revision of an acknowledged write.
    pub fn acknowledged(&self) -> Option<u64> {
        match &self.what {
            What::Write {
                outcome: Written::At(revision),
                ..
            } => Some(*revision),
            _ => None,
        }
    }

    pub fn is_silent(&self) -> bool {
        matches!(
            self.what,
            What::Write {
                outcome: Written::Unknown(Silence::NoReply),
                ..
            } | What::Read {
                outcome: Err(Failed::NoReply),
                ..
            }
        )
    }
}

/// Collects what all tasks of a run record, on one clock.
pub struct Recorder {
    start: Instant,
    history: Mutex<History>,
}

impl Recorder {
    pub fn start() -> Recorder {
        Recorder {
            start: Instant::now(),
            history: Mutex::default(),
        }
    }

    pub fn now(&self) -> Time {
        self.start.elapsed()
    }

    pub fn add(&self, op: Op) {
        self.with(|history| history.ops.push(op));
    }

    pub fn with<T>(&self, change: impl FnOnce(&mut History) -> T) -> T {
        change(&mut self.history.lock().expect("no holder of the lock panics"))
    }
}

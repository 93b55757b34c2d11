//! How long a call may take. Not for deadlines of what it asks, which are the library's.

use std::future::Future;
use std::time::Duration;

use super::problem::Problem;
use ordain_store::WriteError;

/// Bounds a call that changes nothing.
pub async fn bound<T>(deadline: Duration, call: impl Future<Output = T>) -> Result<T, Problem> {
    tokio::time::timeout(deadline, call)
        .await
        .map_err(|_| Problem::deadline())
}

/// Bounds a write. Late, its outcome is not known here, and that is what the caller is told: the
/// write itself goes on, for neither a deadline nor a client that goes away may stop it half-way
/// (`Ordain` has it on a task of its own).
pub async fn bound_write<T>(
    deadline: Duration,
    write: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let ended = tokio::time::timeout(deadline, write).await;
    ended.unwrap_or_else(|_| {
        warn_late();
        Err(Problem::write_outcome_unknown())
    })
}

/// The same for what may be asked again without a look at what is stored.
pub async fn bound_repeatable<T>(
    deadline: Duration,
    write: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let ended = tokio::time::timeout(deadline, write).await;
    ended.unwrap_or_else(|_| {
        warn_late();
        Err(Problem::repeatable_outcome_unknown())
    })
}

/// Why such a write failed.
pub fn explain_repeatable(error: WriteError) -> Problem {
    match error {
        WriteError::OutcomeUnknown => {
            tracing::warn!("the outcome of a write is not known");
            Problem::repeatable_outcome_unknown()
        }
        error => error.into(),
    }
}

fn warn_late() {
    tracing::warn!("a write did not end within the request's deadline");
}

//! Waiting for conditions: polls with a deadline, so that no test sleeps for a guess.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything may take that has no bound of its own. Generous: a busy machine is not a
/// fault, and a condition that holds ends the wait at once.
pub const PATIENCE: Duration = Duration::from_secs(60);

const STEP: Duration = Duration::from_millis(10);

/// Calls `probe` until it returns `Ok`, and panics with its last error after `deadline`.
pub async fn eventually<T, E, F>(what: &str, deadline: Duration, mut probe: impl FnMut() -> F) -> T
where
    E: std::fmt::Debug,
    F: Future<Output = Result<T, E>>,
{
    let start = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(last) if start.elapsed() >= deadline => {
                panic!("{what}: not within {deadline:?}; last seen: {last:?}")
            }
            Err(_) => tokio::time::sleep(STEP).await,
        }
    }
}

/// `Ok` if it holds, else the text, for use within [`eventually`].
pub fn holds(condition: bool, otherwise: impl std::fmt::Display) -> Result<(), String> {
    if condition {
        Ok(())
    } else {
        Err(otherwise.to_string())
    }
}

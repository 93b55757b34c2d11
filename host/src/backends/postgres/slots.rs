//! When the server gives fewer connections than the pools want (limits of the role, of the database, of
//! the server, of a pooler): whoever wants one then waits for one that exists, and those who have none
//! get one from those who have several. Not for how many a pool wants.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::servers::ConnectError;

/// For so long after a refusal no pool asks for more than it has.
const FULL_FOR: Duration = Duration::from_secs(2);
/// Without a refusal for so long, the next one is another outage, and told.
const OVER: Duration = Duration::from_secs(60);
/// Between two tries of who has no connection at all.
pub const PAUSE: Duration = Duration::from_millis(25);

#[derive(Default)]
pub struct Slots {
    refused: Mutex<Option<Instant>>,
    /// Those who wait and have no connection.
    starving: AtomicUsize,
    pools: Mutex<Vec<Weak<dyn Spare>>>,
}

/// Who may have connections that nobody uses.
pub trait Spare: Send + Sync {
    /// Closes one of several; false: there is none to spare.
    fn give_up_one(&self) -> bool;
}

impl Slots {
    pub fn register(&self, pool: Weak<dyn Spare>) {
        self.pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(pool);
    }

    /// The server has just refused one more.
    pub fn note_refused(&self, why: &dyn std::fmt::Display) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.is_none_or(|then| then.elapsed() > OVER) {
            tracing::warn!(
                %why,
                "the database gives no more connections: requests share those that there are; lower \
                 ORDAIN_ORIGIN_CONNECTIONS, or raise the limit of the role, the database or the server"
            );
        }
        *refused = Some(Instant::now());
    }

    pub fn are_full(&self) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.is_some_and(|then| then.elapsed() < FULL_FOR)
    }

    /// Counts as one who waits without a connection, until it is dropped.
    pub fn starve(&self) -> Starving<'_> {
        self.starving.fetch_add(1, Ordering::Relaxed);
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = pools
            .iter()
            .any(|pool| pool.upgrade().is_some_and(|pool| pool.give_up_one()));
        Starving(self)
    }

    /// Whether who has a connection to spare should close it.
    pub fn are_wanted(&self) -> bool {
        self.starving.load(Ordering::Relaxed) > 0
    }
}

/// Connects for somebody who has one connection or none: where there is none to be had, waits for one that
/// others give up. Callers bound it by their deadline.
pub async fn wait_for<T, F>(slots: &Slots, connect: impl Fn() -> F) -> Result<T, ConnectError>
where
    F: Future<Output = Result<T, ConnectError>>,
{
    let mut starving = None;
    loop {
        match connect().await {
            Err(error) if error.is_full() => slots.note_refused(&error),
            outcome => return outcome,
        }
        starving.get_or_insert_with(|| slots.starve());
        tokio::time::sleep(PAUSE).await;
    }
}

pub struct Starving<'a>(&'a Slots);

impl Drop for Starving<'_> {
    fn drop(&mut self) {
        self.0.starving.fetch_sub(1, Ordering::Relaxed);
    }
}

//! When the server gives fewer connections than the pools want (limits of the role, of the
//! database, of the server, of a pooler): whoever wants one then waits for one that exists, and
//! those who have none get one from those who have several. Not for how many a pool wants.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::fault::ConnectError;

/// For so long after a refusal no pool asks for more than it has.
const FULL_FOR: Duration = Duration::from_secs(5);
/// Without a refusal for so long, the next one is another outage, and told.
const OVER: Duration = Duration::from_secs(60);
/// Between two tries of who has no connection at all.
pub const PAUSE: Duration = Duration::from_millis(25);

#[derive(Default)]
pub struct Slots {
    refused: Mutex<Option<Instant>>,
    /// Somebody waits and has no connection.
    wanted: AtomicBool,
    pools: Mutex<Vec<Weak<dyn Spare>>>,
    /// Of those who try to connect while there is nothing to be had: a server that is full must not
    /// be flooded with tries.
    turn: tokio::sync::Mutex<()>,
}

/// Who may have connections that nobody uses.
pub trait Spare: Send + Sync {
    /// Closes one of several; false: there is none to spare.
    fn give_up_one(&self) -> bool;
}

impl Slots {
    pub fn register(&self, pool: Weak<dyn Spare>) {
        self.pools().push(pool);
    }

    fn pools(&self) -> std::sync::MutexGuard<'_, Vec<Weak<dyn Spare>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// For who has no connection: lets somebody else close one, and waits a moment.
    pub async fn starve(&self) {
        let given_up = {
            let pools = self.pools();
            let mut pools = pools.iter().filter_map(Weak::upgrade);
            pools.any(|pool| pool.give_up_one())
        };
        if !given_up {
            self.wanted.store(true, Ordering::Relaxed);
        }
        let _turn = self.turn.lock().await;
        tokio::time::sleep(PAUSE).await;
    }

    /// Whether who has done with a connection should close it. One is enough.
    pub fn take_wanted(&self) -> bool {
        self.wanted.swap(false, Ordering::Relaxed)
    }
}

/// Connects for somebody who has one connection or none: where there is none to be had, waits for
/// one that others give up. Callers bound it by their deadline.
pub async fn wait_for<T, F>(slots: &Slots, connect: impl Fn() -> F) -> Result<T, ConnectError>
where
    F: Future<Output = Result<T, ConnectError>>,
{
    loop {
        match connect().await {
            Err(error) if error.is_full() => slots.note_refused(&error),
            outcome => return outcome,
        }
        slots.starve().await;
    }
}

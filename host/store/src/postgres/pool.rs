//! Connections for reads and writes. sqlx has a pool, but its own waits for a server that refuses
//! connections until the time is up, where a host must know at once; and it pings. This one is a
//! stack: a connection that was not given back whole (a deadline, a dropped call, an error) is
//! closed, by having nowhere else to go.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::fault::ConnectError;
use super::link::{Link, Role};
use super::schema_name::SchemaName;
use super::servers::Servers;
use super::slots::{self, Slots, Spare};

/// Longer in the stack, and something on the way may have forgotten the connection.
const IDLE_LIMIT: Duration = Duration::from_secs(120);

pub struct Pool {
    servers: Arc<Servers>,
    slots: Arc<Slots>,
    pub role: Role,
    permits: Semaphore,
    connections: usize,
    kept: Arc<Kept>,
    /// One was given back, or closed.
    freed: Notify,
    pub deadline: Duration,
}

#[derive(Default)]
struct Kept {
    /// Connections that exist, on loan or not.
    open: AtomicUsize,
    idle: Mutex<Vec<(Link, Instant)>>,
}

impl Kept {
    fn idle(&self) -> MutexGuard<'_, Vec<(Link, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes connections, oldest first, and leaves `rest` of those that nobody uses.
    fn close_idle(&self, idle: &mut Vec<(Link, Instant)>, rest: usize) {
        let closed = idle.len().saturating_sub(rest);
        self.open.fetch_sub(closed, Ordering::Relaxed);
        idle.drain(..closed);
    }
}

impl Spare for Kept {
    fn give_up_one(&self) -> bool {
        let mut idle = self.idle();
        let rest = idle.len().saturating_sub(1);
        let can = !idle.is_empty() && self.open.load(Ordering::Relaxed) > 1;
        if can {
            self.close_idle(&mut idle, rest);
        }
        can
    }
}

/// A connection on loan. Dropped, it is closed.
pub struct Lease<'a> {
    /// `None`: given back.
    link: Option<Link>,
    /// It was used before, so it may have died since.
    pub reused: bool,
    pool: &'a Pool,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    pub fn new(
        servers: Arc<Servers>,
        slots: Arc<Slots>,
        role: Role,
        connections: usize,
        deadline: Duration,
    ) -> Pool {
        let kept = Arc::<Kept>::default();
        let spare: Weak<Kept> = Arc::downgrade(&kept);
        slots.register(spare);
        Pool {
            servers,
            slots,
            kept,
            role,
            permits: Semaphore::new(connections),
            connections,
            freed: Notify::new(),
            deadline,
        }
    }

    /// Callers bound it by their deadline. Who has waited for most of it in vain gets none any
    /// more: there would be no time left to use it, and a connection that is given up in the middle
    /// is lost.
    pub async fn lease(&self) -> Result<Lease<'_>, ConnectError> {
        let patience = self.deadline * 3 / 5;
        let permit = tokio::time::timeout(patience, self.permits.acquire()).await;
        let permit = permit.map_err(|_| ConnectError::Late)?;
        let permit = permit.map_err(|_| sqlx::Error::PoolClosed)?;
        loop {
            // Before looking: who gives one back afterwards wakes us.
            let freed = self.freed.notified();
            if let Some(link) = self.pop() {
                return Ok(self.lent(link, true, permit));
            }
            let has_some = self.kept.open.load(Ordering::Relaxed) > 0;
            if !(has_some && self.slots.are_full()) {
                let share = Share::of(&self.kept.open);
                let opened = self
                    .servers
                    .connect(Some(self.role), self.deadline, self.deadline);
                match opened.await {
                    Ok(link) => {
                        share.keep();
                        return Ok(self.lent(link, false, permit));
                    }
                    Err(error) if error.is_full() => self.slots.note_refused(&error),
                    Err(error) => return Err(error),
                }
            }
            if self.kept.open.load(Ordering::Relaxed) == 0 {
                self.slots.starve().await;
                continue;
            }
            // One of ours that is given back.
            let _ = tokio::time::timeout(slots::PAUSE, freed).await;
        }
    }

    pub fn schema(&self) -> &SchemaName {
        &self.servers.schema
    }

    /// How many connections of a server that was restarted one call may come across.
    pub fn most_broken(&self) -> usize {
        self.connections
    }

    fn lent<'a>(&'a self, link: Link, reused: bool, permit: SemaphorePermit<'a>) -> Lease<'a> {
        Lease {
            link: Some(link),
            reused,
            pool: self,
            _permit: permit,
        }
    }

    fn pop(&self) -> Option<Link> {
        let mut idle = self.kept.idle();
        if idle.last()?.1.elapsed() < IDLE_LIMIT {
            return idle.pop().map(|(link, _)| link);
        }
        // It was the youngest: the others are no better.
        self.kept.close_idle(&mut idle, 0);
        None
    }

    /// Closes those that nobody uses: they go to a server that is not the right one any more.
    pub fn forget_idle(&self) {
        self.kept.close_idle(&mut self.kept.idle(), 0);
    }
}

/// A connection that is being made counts, and not after a failure or a dropped call.
struct Share<'a>(Option<&'a AtomicUsize>);

impl Share<'_> {
    fn of(open: &AtomicUsize) -> Share<'_> {
        open.fetch_add(1, Ordering::Relaxed);
        Share(Some(open))
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        if let Some(open) = self.0 {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Lease<'_> {
    pub fn link(&mut self) -> Result<&mut Link, sqlx::Error> {
        // Until it is given back, which takes the lease, there is one.
        self.link.as_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Gives the connection back; only when it is idle, outside any transaction.
    pub fn give_back(mut self) {
        if self.pool.slots.take_wanted() {
            // Others have none.
            return;
        }
        let Some(link) = self.link.take() else {
            return;
        };
        self.pool.kept.idle().push((link, Instant::now()));
        self.pool.freed.notify_one();
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.link.take().is_some() {
            self.pool.kept.open.fetch_sub(1, Ordering::Relaxed);
            self.pool.freed.notify_one();
        }
    }
}

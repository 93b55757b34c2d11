//! The places of a host by kind: how many there are, how many of them one tenant may have, and how
//! often there was none. Not for how they are shared out (`shares`), nor for what a caller is told
//! who gets none.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::shares::{Place, Shares, Whose};

/// Callers of one tenant that wait for a place to wait for servers in. Many, since most of them
/// find in near what the first one fetched.
const WAITING_QUEUE: usize = 1024;
const QUEUE: usize = 64;

/// One kind of place.
pub struct Places {
    pub name: &'static str,
    shares: Shares,
    /// For all tenants together.
    pub total: usize,
    refused: AtomicU64,
}

impl Places {
    fn new(name: &'static str, total: usize, each: usize, queue: usize) -> Places {
        Places {
            name,
            shares: Shares::with_queue(total, each, queue),
            total,
            refused: AtomicU64::new(0),
        }
    }

    /// For bodies that callers send.
    pub fn bodies(total: usize, each: usize) -> Places {
        // Who waits holds what has come of it, and what it was unpacked by.
        Places::new("bodies", total, each, 2 * QUEUE)
    }

    /// For bodies that are unpacked.
    pub fn unpacking(total: usize, each: usize) -> Places {
        Places::new("unpacking", total, each, QUEUE)
    }

    /// For calls of the component that wait for servers.
    pub fn waiting(total: usize, each: usize) -> Places {
        Places::new("waiting", total, each, WAITING_QUEUE)
    }

    /// For reads of single records: as many as there are connections.
    pub fn reads(connections: usize) -> Places {
        let half = (connections / 2).max(1);
        Places::new("reads", connections.max(1), half, QUEUE)
    }

    pub fn try_take(&self, whose: &Whose) -> Option<Place> {
        self.shares.try_take(whose)
    }

    /// A place; `None`, and counted: there was none in time, or too many wait already.
    pub async fn take(&self, whose: &Whose, within: Duration) -> Option<Place> {
        let place = self.shares.take(whose, within).await;
        if place.is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        place
    }

    /// Taken by tenants now.
    pub fn taken(&self) -> usize {
        self.shares.taken()
    }

    /// Calls that got no place, since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Places of those who want of the origin what no cache holds.
pub struct Direct {
    /// Lists and histories: long reads that must leave connections for short ones.
    pub lists: Places,
    /// Answers that are as long as a page may be, from its read on until its text is made, which
    /// takes a core.
    pub pages: Places,
    /// All writes share one lock (rule O2): more of them at once would only wait for it elsewhere,
    /// out of turn.
    pub writes: Places,
    /// One at a time, of operators alone.
    pub imports: Places,
}

impl Direct {
    /// For an origin of so many connections. Small shares: a tenant's callers take turns, and
    /// nobody waits longer for many of another's than for these.
    pub fn new(connections: usize) -> Direct {
        let quarter = (connections / 4).max(1);
        let eighth = (connections / 8).max(1);
        Direct {
            lists: Places::new("lists", quarter, eighth, QUEUE / 4),
            pages: Places::new("pages", 2, 1, QUEUE / 4),
            writes: Places::new("writes", quarter, eighth, QUEUE),
            imports: Places::new("imports", 1, 1, 0),
        }
    }

    pub fn all(&self) -> [&Places; 4] {
        [&self.lists, &self.pages, &self.writes, &self.imports]
    }
}

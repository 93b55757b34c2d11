//! What this host knows of the change log, and the test V that judges every value by it (rules F1,
//! F4, V, N1-N4). Not for reading the log (`feed.rs`) or values (`origin.rs`, `far.rs`). What
//! touches more than one key is in `wide`.

mod wide;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::absent::Absences;
use super::clock::Moment;
use super::near::{Entry, Near};
use ordain_store::ids::{Key, Tenant};
use ordain_store::{LogRow, Record};

const STRIPES: usize = 64;
/// More fences than this at once become one fence for all keys (rule N4).
const FENCES_MAX: usize = 10_000;
const NONE: u64 = u64::MAX;
/// By how much the clock of the primary may have jumped since the feed read it.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// Watermark and proof, taken together before a look-up (rule N1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Every change up to here is applied.
    pub watermark: u64,
    /// This host knew everything that was committed before this moment.
    pub proven: Moment,
}

/// How the feed's latest read went; readers that wait for it watch this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Reads that were completed and applied.
    pub applied: u64,
    /// Reads that failed.
    pub failed: u64,
    /// Why the latest read failed; empty after one that was applied.
    pub error: String,
}

#[derive(Default)]
struct Stripe {
    /// Highest position in the window that touches the key.
    last: HashMap<Key, u64>,
    /// Position below which no value of the key is taken, and when that was learnt.
    fence: HashMap<Key, (u64, Moment)>,
}

#[derive(Default)]
struct Rows {
    /// Positions of the window with the key that each touches (`None`: every key).
    rows: VecDeque<(u64, Option<Key>)>,
    /// Lowest position of the window, or 0 if it holds the whole log.
    floor: u64,
    /// Highest position that touches every key.
    all: u64,
    /// Highest position in the window that touches every key of a tenant.
    tenants: HashMap<Tenant, u64>,
}

/// State of a host (rule F1) and the near cache that is valid by it.
pub struct Coherence {
    pub near: Near,
    /// What near and far know to be absent.
    pub absences: Absences,
    window_max: usize,
    hasher: RandomState,
    watermark: AtomicU64,
    /// `Moment` in nanoseconds; 0: none.
    proven: AtomicU64,
    /// Guards what the test V compares, and with it every change of near: test and insert, and
    /// apply and remove, are one step each (rules N3, F4). Taken before `rows`.
    stripes: Vec<Mutex<Stripe>>,
    rows: RwLock<Rows>,
    fences: AtomicUsize,
    fence_all: Mutex<Option<(u64, Moment)>>,
    fence_tenants: Mutex<HashMap<Tenant, (u64, Moment)>>,
    /// Wakes the feed.
    pub(super) wake: Notify,
    pub(super) attempts: watch::Sender<Attempts>,
    purges: AtomicU64,
    /// Purges that an operator has ordered through the log.
    ordered_purges: AtomicU64,
    /// How full the notification queue of the server is, in millionths (rule F5).
    queue: AtomicU64,
    /// Microseconds; `NONE`: not known.
    lag: AtomicU64,
    /// The clock of the primary in microseconds, less the `Moment` at which it was read; 0: not
    /// known.
    clock: AtomicU64,
    /// Held while a reply of the feed is applied and while purging, so that no reply that was sent
    /// for before a purge is applied after it.
    step: Mutex<()>,
}

/// A lock whose holder panicked still guards a usable map: every critical section below leaves it
/// whole, or near is the poorer by an entry.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Coherence {
    pub fn new(near_bytes: u64, window_max: usize) -> Coherence {
        Coherence {
            near: Near::new(near_bytes),
            absences: Absences::default(),
            window_max: window_max.max(1),
            hasher: RandomState::new(),
            watermark: AtomicU64::new(NONE),
            proven: AtomicU64::new(0),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            rows: RwLock::default(),
            fences: AtomicUsize::new(0),
            fence_all: Mutex::new(None),
            fence_tenants: Mutex::default(),
            wake: Notify::new(),
            attempts: watch::Sender::new(Attempts::default()),
            purges: AtomicU64::new(0),
            ordered_purges: AtomicU64::new(0),
            queue: AtomicU64::new(0),
            lag: AtomicU64::new(NONE),
            clock: AtomicU64::new(0),
            step: Mutex::new(()),
        }
    }

    /// Runs one step of the feed, unless a purge came after `purges` was read.
    pub(super) fn step(&self, purges: u64, apply: impl FnOnce()) -> bool {
        let _step = lock(&self.step);
        let current = self.purges() == purges;
        if current {
            apply();
        }
        current
    }

    /// Watermark and proof; `None` while the log is not known (rule F2: then neither near nor far
    /// is read or filled). Take it before the entry that it is to vouch for (rule N1).
    pub fn view(&self) -> Option<View> {
        let proven = self.proven.load(Ordering::Acquire);
        let watermark = self.watermark.load(Ordering::Acquire);
        (watermark != NONE && proven != 0).then(|| View {
            watermark,
            proven: Moment::from_nanos(proven),
        })
    }

    pub fn watermark(&self) -> Option<u64> {
        let watermark = self.watermark.load(Ordering::Acquire);
        (watermark != NONE).then_some(watermark)
    }

    /// Times that history had changed and everything was dropped.
    pub fn purges(&self) -> u64 {
        self.purges.load(Ordering::Relaxed)
    }

    /// Purges that an operator has ordered through the log, and that this host has obeyed.
    pub fn ordered_purges(&self) -> u64 {
        self.ordered_purges.load(Ordering::Relaxed)
    }

    pub(super) fn note_ordered_purges(&self, rows: usize) {
        self.ordered_purges
            .fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Why the feed's latest read failed; empty if it did not.
    pub fn feed_error(&self) -> String {
        self.attempts.borrow().error.clone()
    }

    pub fn feed_fails(&self) -> bool {
        !self.attempts.borrow().error.is_empty()
    }

    /// Rows of the window, and how many it may have.
    pub fn window_rows(&self) -> (usize, usize) {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        (rows.rows.len(), self.window_max)
    }

    /// The position in the middle of a full window; 0 while it is not full, for nothing leaves it
    /// then.
    pub(super) fn middle_of_window(&self) -> u64 {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        if rows.rows.len() < self.window_max {
            return 0;
        }
        let middle = rows.rows.get(rows.rows.len() / 2);
        middle.map_or(0, |(position, _)| *position)
    }

    /// How late the newest row was when it was applied; `None`: none was applied yet.
    pub fn lag(&self) -> Option<Duration> {
        let lag = self.lag.load(Ordering::Relaxed);
        (lag != NONE).then(|| Duration::from_micros(lag))
    }

    pub(super) fn note_lag(&self, lag: Duration) {
        let micros = u64::try_from(lag.as_micros()).unwrap_or(NONE);
        self.lag.store(micros, Ordering::Relaxed);
    }

    pub(super) fn note_clock(&self, micros: u64, read: Moment) {
        let offset = micros.saturating_sub(read.nanos() / 1000);
        self.clock.store(offset, Ordering::Relaxed);
    }

    /// Whether a position may have been given out by now: positions follow the clock of the primary
    /// (O1), or its log where that is ahead of it. Everything may while neither is known.
    pub fn may_exist(&self, position: u64) -> bool {
        let offset = self.clock.load(Ordering::Relaxed);
        if position == 0 || offset == 0 {
            return true;
        }
        let clock = offset.saturating_add(Moment::now().nanos() / 1000);
        let latest = clock.max(self.watermark().unwrap_or(0));
        position <= latest.saturating_add(CLOCK_SLACK.as_micros() as u64)
    }

    pub(super) fn window_max(&self) -> usize {
        self.window_max
    }

    fn stripe(&self, key: &Key) -> MutexGuard<'_, Stripe> {
        let index = self.hasher.hash_one(key) as usize % STRIPES;
        lock(&self.stripes[index])
    }

    /// The test V: a value of `key` read as of `as_of` is exactly its state at the watermark.
    fn valid(&self, stripe: &Stripe, key: &Key, as_of: u64) -> bool {
        let watermark = self.watermark.load(Ordering::Acquire);
        if watermark == NONE || as_of > watermark {
            return false;
        }
        if stripe.last.get(key).is_some_and(|last| *last > as_of)
            || stripe
                .fence
                .get(key)
                .is_some_and(|(fence, _)| as_of < *fence)
            || as_of < self.wide_fence(key)
        {
            return false;
        }
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        if rows.wide(key) > as_of {
            return false;
        }
        // Membership, not only order, is what rejects values of a lost history.
        (as_of == 0 && rows.floor == 0)
            || rows
                .rows
                .binary_search_by_key(&as_of, |(position, _)| *position)
                .is_ok()
    }

    /// Whether a far value may be shown (rule A2).
    pub fn usable(&self, key: &Key, as_of: u64) -> bool {
        self.valid(&self.stripe(key), key, as_of)
    }

    /// Whether an origin reply that another request waited for may be shared (rule N7, the part
    /// that concerns the key). That no later change is known says something only if the window
    /// reaches back to the reply: not when it has moved on, nor when it was dropped by a purge.
    pub(super) fn not_overtaken(&self, key: &Key, as_of: u64) -> bool {
        let stripe = self.stripe(key);
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        self.watermark().is_some()
            && as_of >= rows.floor
            && stripe.last.get(key).is_none_or(|last| *last <= as_of)
            && stripe
                .fence
                .get(key)
                .is_none_or(|(fence, _)| as_of >= *fence)
            && as_of >= self.wide_fence(key)
            && rows.wide(key) <= as_of
    }

    /// Puts a value into near if V holds; test and insert are one step (rule N3). An entry that is
    /// there already is valid too, hence equal: it stays, with its fill number.
    pub fn fill(&self, key: &Key, record: Option<&Record>, as_of: u64) -> Option<Arc<Entry>> {
        let stripe = self.stripe(key);
        if !self.valid(&stripe, key, as_of) {
            return None;
        }
        if let Some(entry) = self.near.peek(key) {
            return Some(entry);
        }
        let entry = Arc::new(Entry::new(record.cloned(), as_of));
        self.near.insert(key.clone(), entry.clone());
        drop(stripe);
        if record.is_none() {
            let has = |key: &Key| self.near.peek(key).is_some_and(|e| e.record.is_none());
            // Gone by any way, an entry is a miss.
            if let Some(oldest) = self.absences.enters(key, has).filter(has) {
                self.near.remove(&oldest);
            }
        }
        Some(entry)
    }

    /// Learns, otherwise than by the feed, that the key changed at or before `position` (rule N4):
    /// an origin reply from beyond the watermark, or an own write. Wakes the feed.
    pub fn raise_fence(&self, key: &Key, position: u64) {
        {
            let mut stripe = self.stripe(key);
            let now = Moment::now();
            if let Some(fence) = stripe.fence.get_mut(key) {
                *fence = (fence.0.max(position), now);
            } else if self.fences.load(Ordering::Relaxed) < FENCES_MAX {
                stripe.fence.insert(key.clone(), (position, now));
                self.fences.fetch_add(1, Ordering::Relaxed);
            } else {
                let mut all = lock(&self.fence_all);
                *all = Some((all.map_or(0, |(p, _)| p).max(position), now));
                drop(all);
                drop(stripe);
                // Near may hold older values of any key that shares the fence.
                self.near.clear();
                self.wake.notify_one();
                return;
            }
            if self
                .near
                .peek(key)
                .is_some_and(|entry| entry.as_of < position)
            {
                self.near.remove(key);
            }
        }
        self.wake.notify_one();
    }

    /// Applies one row (rule F4). Only the feed calls this, in order.
    pub(super) fn apply(&self, row: &LogRow) {
        let key = wide::key_of(row);
        // The row of the watermark vouches that nothing after it is missing (rule F3); an empty log
        // has none. What was logged and pruned again since then touched keys that nobody can name.
        let first = self.watermark.load(Ordering::Acquire) == 0;
        {
            let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
            rows.push(row.position, key.clone());
            if first {
                rows.floor = row.position;
            }
        }
        match &key {
            Some(key) if wide::tenant_of(key).is_none() => {
                let mut stripe = self.stripe(key);
                stripe.last.insert(key.clone(), row.position);
                self.near.remove(key);
            }
            Some(key) => self.drop_near(wide::tenant_of(key), row.position),
            None => self.drop_near(None, row.position),
        }
        if first {
            self.drop_near(None, row.position);
        }
        self.watermark.store(row.position, Ordering::Release);
        self.trim();
    }

    /// Keeps the window at its size; a key whose last change falls out needs no `last`, since
    /// no value from before the floor passes V.
    fn trim(&self) {
        loop {
            let oldest = {
                let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
                if rows.rows.len() <= self.window_max {
                    return;
                }
                let oldest = rows.pop();
                rows.floor = rows.rows.front().map_or(0, |(position, _)| *position);
                oldest
            };
            let Some((position, Some(key))) = oldest else {
                continue;
            };
            let mut stripe = self.stripe(&key);
            if stripe.last.get(&key) == Some(&position) {
                stripe.last.remove(&key);
            }
        }
    }

    /// Starts from the newest rows of the log, sent for at `sent` (rule F2).
    pub(super) fn load(&self, newest: &[LogRow], whole: bool, sent: Moment) {
        let mut stripes: Vec<_> = self.stripes.iter().map(lock).collect();
        self.near.clear();
        let mut fences = 0;
        for stripe in &mut stripes {
            stripe.last.clear();
            stripe.fence.retain(|_, (_, set)| *set >= sent);
            fences += stripe.fence.len();
        }
        self.fences.store(fences, Ordering::Relaxed);
        self.prove_wide(sent);
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        *rows = Rows::default();
        for row in newest {
            let key = wide::key_of(row);
            if let Some(key) = key.as_ref().filter(|key| wide::tenant_of(key).is_none()) {
                let index = self.hasher.hash_one(key) as usize % STRIPES;
                stripes[index].last.insert(key.clone(), row.position);
            }
            rows.push(row.position, key);
        }
        rows.floor = if whole {
            0
        } else {
            newest.first().map_or(0, |row| row.position)
        };
        self.watermark.store(
            newest.last().map_or(0, |row| row.position),
            Ordering::Release,
        );
        self.proven.store(sent.nanos(), Ordering::Release);
    }

    /// A read that was sent at `sent` is applied in full: everything committed before is known
    /// (rule F3).
    pub(super) fn prove(&self, sent: Moment) {
        self.proven.fetch_max(sent.nanos(), Ordering::AcqRel);
        if self.fences.load(Ordering::Relaxed) > 0 {
            for stripe in &self.stripes {
                let mut stripe = lock(stripe);
                let before = stripe.fence.len();
                stripe.fence.retain(|_, (_, set)| *set >= sent);
                // Subtracted, not counted anew: others are raised meanwhile.
                let dropped = before - stripe.fence.len();
                self.fences.fetch_sub(dropped, Ordering::Relaxed);
            }
        }
        self.prove_wide(sent);
    }

    /// Drops every entry of near: it was switched on or off, or means something else now (rule D1).
    pub fn empty_near(&self) {
        let _stripes: Vec<_> = self.stripes.iter().map(lock).collect();
        self.near.clear();
    }

    pub(super) fn set_queue(&self, share: f64) {
        self.queue.store((share * 1e6) as u64, Ordering::Relaxed);
    }

    /// How full the notification queue of the server is, 0 to 1.
    pub fn queue(&self) -> f64 {
        self.queue.load(Ordering::Relaxed) as f64 / 1e6
    }

    /// Asks the feed to read now.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// History is not what it was (rules F3, N5): forgets the log and drops everything that was
    /// judged by it. The feed starts anew.
    pub fn purge(&self, why: &str) {
        {
            let _step = lock(&self.step);
            self.purges.fetch_add(1, Ordering::Relaxed);
            let mut stripes: Vec<_> = self.stripes.iter().map(lock).collect();
            self.watermark.store(NONE, Ordering::Release);
            self.proven.store(0, Ordering::Release);
            self.near.clear();
            for stripe in &mut stripes {
                stripe.last.clear();
            }
            *self.rows.write().unwrap_or_else(PoisonError::into_inner) = Rows::default();
        }
        tracing::error!(why, "the history of the origin has changed: near is purged");
        self.wake.notify_one();
    }
}

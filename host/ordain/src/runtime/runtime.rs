//! One runtime: which generations answer, and the places that their calls need. Below whoever asks:
//! of one generation (`attempt`), of the one in force and the one before (`judge`), for a caller
//! (`answers`). Not for who decides which generation answers (`door/components`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::generation::Generation;
use super::lineup::Lineup;
use crate::counts::Counts;
use ordain_coherence::places::Places;
use ordain_coherence::shares::Shares;

/// Calls that wait for servers at once, and those of one tenant; a near hit needs none of these
/// places.
const WAITING_MAX: usize = 512;
const WAITING_EACH: usize = 8;

pub struct Runtime {
    pub(super) lineup: ArcSwap<Lineup>,
    pub waiting: Places,
    /// Places for calls that compute for long: half of the cores stay free of them.
    pub(super) computing: Shares,
    /// Decisions.
    pub counts: Counts,
    /// Effective configs.
    pub config_counts: Counts,
    pub(super) request_deadline: Duration,
    /// Digests of generations that have failed too often.
    returned: Mutex<Vec<Arc<str>>>,
    has_returned: Notify,
    /// It is settled which component answers.
    is_open: AtomicBool,
}

impl Runtime {
    pub fn new(generation: Arc<Generation>, request_deadline: Duration) -> Runtime {
        Runtime {
            lineup: ArcSwap::from_pointee(Lineup::alone(generation)),
            waiting: Places::waiting(WAITING_MAX, WAITING_EACH),
            computing: Shares::new(cores().div_ceil(2), cores().div_ceil(2)),
            counts: Counts::default(),
            config_counts: Counts::default(),
            request_deadline,
            returned: Mutex::default(),
            has_returned: Notify::new(),
            is_open: AtomicBool::new(true),
        }
    }

    /// Gives no answers until it is opened: it is not known yet which component the fleet wants.
    pub fn closed(generation: Arc<Generation>, request_deadline: Duration) -> Runtime {
        Runtime {
            is_open: AtomicBool::new(false),
            ..Runtime::new(generation, request_deadline)
        }
    }

    pub fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    pub fn lineup(&self) -> Arc<Lineup> {
        self.lineup.load_full()
    }

    /// Replaces the lineup, unless it is not `expected` any more. Calls under way end on the old
    /// one.
    pub fn swap(&self, expected: &Arc<Lineup>, lineup: Lineup) -> bool {
        let previous = self.lineup.compare_and_swap(expected, Arc::new(lineup));
        Arc::ptr_eq(&previous, expected)
    }

    /// Calls that wait for servers now, and how many may.
    pub fn waiting(&self) -> (usize, usize) {
        (self.waiting.taken(), WAITING_MAX)
    }

    /// Notes a component that has failed too often, so that the one before answers again.
    pub(super) fn note_return(&self, failed: &Generation) {
        lock(&self.returned).push(failed.digest().clone());
        self.has_returned.notify_one();
    }

    /// Waits for components that have failed too often, so that the ones before answer again: their
    /// digests.
    pub async fn wait_for_returns(&self) -> Vec<Arc<str>> {
        loop {
            let failed = std::mem::take(&mut *lock(&self.returned));
            if !failed.is_empty() {
                return failed;
            }
            self.has_returned.notified().await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

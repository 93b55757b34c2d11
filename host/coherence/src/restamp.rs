//! Keeps warm values of near usable in far (rule A5): a value there expires, and what was read as
//! of a position that has left the window of a starting host is no answer to it. Values that are
//! asked for are put again as of the watermark, before either happens. Not for deciding what is
//! current: near holds nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use rand::Rng;

use super::clock::Moment;
use super::far::Far;
use super::near::Entry;
use super::window::Coherence;
use crate::caches::{Caches, Kinds};
use ordain_store::ids::Key;

/// Puts of one pass under way at once, and in all: what is left has its turn in the next pass.
const AT_ONCE: usize = 8;
const PASS_MAX: usize = 10_000;
/// Shortest and longest pause between two passes.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

pub struct Restamper {
    pub coherence: Arc<Coherence>,
    pub far: Arc<Far>,
    pub caches: Arc<Caches>,
    /// Life of a value in far.
    pub ttl: Duration,
    /// Values put again, since the start.
    pub count: Arc<AtomicU64>,
}

impl Restamper {
    /// Runs until it is dropped.
    pub async fn run(self: Arc<Self>) {
        loop {
            // Hosts that started together do not work in step.
            let jitter = rand::rng().random_range(0.5..1.0);
            let pause = (self.ttl / 8).clamp(PAUSE.0, PAUSE.1);
            tokio::time::sleep(pause.mul_f64(jitter)).await;
            self.pass().await;
        }
    }

    pub(super) async fn pass(&self) {
        let far_of = self.caches.in_force().far;
        if !far_of.any() || !self.far.takes_puts() {
            return;
        }
        // The watermark first, then the entries: what near holds afterwards was the state at the
        // watermark as well, unless it was read later.
        let Some(watermark) = self.coherence.watermark() else {
            return;
        };
        let (coherence, half_life) = (self.coherence.clone(), self.ttl / 2);
        // Walks all of near: not on a thread that serves.
        let due =
            tokio::task::spawn_blocking(move || due(&coherence, far_of, watermark, half_life))
                .await;
        let due = due.unwrap_or_default();
        let puts = due.into_iter().map(|(key, entry)| async move {
            let put = self
                .far
                .put_again(&key, entry.record.as_ref(), watermark, self.ttl);
            if put.await {
                entry.is_in_far(watermark, Moment::now());
                self.count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut puts = futures::stream::iter(puts).buffer_unordered(AT_ONCE);
        while puts.next().await.is_some() {}
    }
}

/// Entries that were asked for since the last pass, and whose value in far is past half of its
/// life or of the window.
fn due(
    coherence: &Coherence,
    kinds: Kinds,
    watermark: u64,
    half_life: Duration,
) -> Vec<(Key, Arc<Entry>)> {
    let now = Moment::now();
    let middle = coherence.middle_of_window();
    let mut due = Vec::new();
    coherence.near.each(|key, entry| {
        if due.len() < PASS_MAX
            && kinds.has(key.kind())
            && entry.as_of <= watermark
            && entry.past_half(now, half_life, middle)
            && entry.take_used()
        {
            due.push((key.clone(), entry.clone()));
        }
    });
    due
}

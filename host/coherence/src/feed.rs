//! The feed: follows the change log, one read at a time, and proves by each read that this host
//! knows everything that was committed before it (rules F2, F3). Judges no value (`window.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::Rng;
use tokio::sync::watch;
use tokio::time::Instant;

use super::clock::Moment;
use super::origin::OriginReader;
use super::window::{Attempts, Coherence};
use crate::caches::Caches;
use ordain_store::{
    COMPONENT_SETTINGS, ChangeLog, FleetSetting, LogRow, OriginError, PURGE, SETTING,
};

/// Time between two reads when nothing wakes the feed (rule F3).
pub use crate::caches::FEED_INTERVAL as INTERVAL;
/// Time from one read to the next, whoever wakes the feed, and what may be read ahead of that after
/// a while of quiet: changes that come one by one wait for nothing.
const BETWEEN: Duration = Duration::from_millis(5);
const AHEAD: Duration = Duration::from_millis(40);
/// Rows of one read; one more tells that the reply is not the whole rest.
const CHUNK: u32 = 1001;
/// First and longest pause after a failed read, unless a reader asks.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How often the notification queue is looked at, and the share of it that is alarming (rule F5).
const QUEUE_INTERVAL: Duration = Duration::from_secs(30);
const QUEUE_ALARM: f64 = 0.5;
/// Shortest pause after a failed read, so that readers who ask cannot make the feed spin.
const BREATH: Duration = Duration::from_millis(10);

pub struct Feed {
    pub coherence: Arc<Coherence>,
    /// Bounds each read by the feed deadline and closes its connection then, so that no late reply
    /// is ever applied.
    pub log: Arc<dyn ChangeLog>,
    /// Learns how the origin fares, which the feed asks more often than anybody else.
    pub reader: Arc<OriginReader>,
    /// Told of the fleet's settings (rule D1).
    pub caches: Arc<Caches>,
    /// The settings in force may be newer than what is applied of the log.
    unsettled: AtomicBool,
    /// The settings that say which component runs; `None`: not known yet.
    pub component: watch::Sender<Option<Arc<[FleetSetting]>>>,
}

impl Feed {
    pub fn new(
        coherence: Arc<Coherence>,
        log: Arc<dyn ChangeLog>,
        reader: Arc<OriginReader>,
        caches: Arc<Caches>,
    ) -> Feed {
        Feed {
            coherence,
            log,
            reader,
            caches,
            unsettled: AtomicBool::new(false),
            component: watch::Sender::new(None),
        }
    }

    /// Runs until it is dropped. `restarts`: how often it panicked.
    pub async fn run(self: Arc<Self>, restarts: u64) {
        if restarts > 0 {
            // What was applied in part proves nothing.
            self.coherence
                .purge("the feed was begun again after a panic");
        }
        let mut pause = RETRY.0;
        let mut looked = None;
        let mut turn = Instant::now();
        loop {
            turn = turn.max(Instant::now()) + BETWEEN;
            match self.catch_up().await {
                Ok(()) => {
                    pause = RETRY.0;
                    self.reader.breaker.hint();
                    self.coherence.attempts.send_modify(|a| {
                        if !a.error.is_empty() {
                            tracing::info!("the feed works again");
                        }
                        *a = Attempts {
                            applied: a.applied + 1,
                            failed: a.failed,
                            error: String::new(),
                        };
                    });
                    let now = Moment::now();
                    if looked.is_none_or(|then| now.since(then) >= QUEUE_INTERVAL) {
                        looked = Some(now);
                        // The feed does not wait for it.
                        tokio::spawn(look_at_queue(self.log.clone(), self.coherence.clone()));
                    }
                    tokio::select! {
                        () = tokio::time::sleep(INTERVAL) => {}
                        () = self.log.changed() => {}
                        () = self.coherence.wake.notified() => {}
                    }
                    // Whoever may connect to the database may NOTIFY, as often as he likes.
                    if let Some(turn) = turn.checked_sub(AHEAD) {
                        tokio::time::sleep_until(turn).await;
                    }
                }
                Err(error) => {
                    self.reader.suspect();
                    self.coherence.attempts.send_modify(|a| {
                        let error = error.to_string();
                        if a.error != error {
                            tracing::warn!(%error, "the feed cannot read the change log");
                        }
                        *a = Attempts {
                            applied: a.applied,
                            failed: a.failed + 1,
                            error,
                        };
                    });
                    tokio::time::sleep(BREATH).await;
                    let jitter = rand::rng().random_range(0.5..1.0);
                    tokio::select! {
                        () = tokio::time::sleep(pause.mul_f64(jitter)) => {}
                        () = self.coherence.wake.notified() => {}
                    }
                    pause = (pause * 2).min(RETRY.1);
                }
            }
        }
    }

    /// Reads until nothing is left to read.
    async fn catch_up(&self) -> Result<(), OriginError> {
        let mut pending = 0usize;
        loop {
            let purges = self.coherence.purges();
            let Some(watermark) = self.coherence.watermark() else {
                return self.start().await;
            };
            let sent = Moment::now();
            let rows = self.log.since(watermark, CHUNK).await?;
            let whole = rows.len() < CHUNK as usize;
            // Rule F3: the row of the watermark itself must still be there. (An empty log has
            // none, and then every row is news.)
            let known = watermark == 0 || rows.first().is_some_and(|r| r.position == watermark);
            if !known {
                self.coherence
                    .purge("the change log no longer has the watermark");
                continue;
            }
            let news = &rows[usize::from(watermark != 0)..];
            pending += news.len();
            if pending > self.coherence.window_max() {
                // Rule F2: cheaper to start anew than to apply what the window cannot hold.
                return self.start().await;
            }
            let unsettled = self.unsettled.load(Ordering::Relaxed);
            if unsettled || news.iter().any(concerns_settings) {
                let head = news.last().map_or(watermark, |row| row.position);
                self.take_settings(head).await?;
            }
            self.coherence.step(purges, || {
                let ordered = news.iter().filter(|row| row.op == PURGE).count();
                self.coherence.note_ordered_purges(ordered);
                news.iter().for_each(|row| self.coherence.apply(row));
                if whole {
                    self.coherence.prove(sent);
                }
                if let Some(lag) = self.log.lag() {
                    self.coherence.note_lag(lag);
                }
                if let Some(clock) = self.log.clock() {
                    self.coherence.note_clock(clock, Moment::now());
                }
            });
            if whole {
                return Ok(());
            }
        }
    }

    /// Rule D1: settings are in force before the host is proven past the row that changed them.
    /// They are read after the rows, so they are never older than these; if they are newer than
    /// `head`, they are read again with the next rows, for a failover may lose them.
    async fn take_settings(&self, head: u64) -> Result<(), OriginError> {
        let settings = self.log.settings().await?;
        let newest = settings.iter().map(|setting| setting.revision).max();
        self.unsettled.store(
            newest.is_some_and(|newest| newest > head),
            Ordering::Relaxed,
        );
        let (component, caches): (Vec<_>, Vec<_>) = settings
            .into_iter()
            .partition(|setting| setting.name.starts_with(COMPONENT_SETTINGS));
        // Carried out elsewhere: loading a component takes longer than the feed may.
        self.component.send_if_modified(|known| {
            let is_new = known.as_deref() != Some(&component);
            if is_new {
                *known = Some(component.into());
            }
            is_new
        });
        if self.caches.set_fleet(&caches) {
            self.coherence.empty_near();
        }
        Ok(())
    }

    /// Rule F2.
    async fn start(&self) -> Result<(), OriginError> {
        let purges = self.coherence.purges();
        let sent = Moment::now();
        let limit = u32::try_from(self.coherence.window_max()).unwrap_or(u32::MAX);
        let (rows, whole) = self.log.newest(limit).await?;
        self.take_settings(rows.last().map_or(0, |row| row.position))
            .await?;
        self.coherence
            .step(purges, || self.coherence.load(&rows, whole, sent));
        tracing::debug!(rows = rows.len(), "the change log is loaded");
        Ok(())
    }
}

/// How full the server's notification queue is: a session that listens inside a transaction fills
/// it, and when it is full, commits fail (rule F5).
async fn look_at_queue(log: Arc<dyn ChangeLog>, coherence: Arc<Coherence>) {
    match log.notification_queue().await {
        Ok(share) => {
            if share > QUEUE_ALARM {
                tracing::error!(
                    share,
                    "the notification queue of Postgres is filling up: some session that ran LISTEN \
                     stays in a transaction; when it is full, all writes fail"
                );
            }
            coherence.set_queue(share);
        }
        Err(error) => tracing::debug!(%error, "the notification queue cannot be looked at"),
    }
}

/// A purge of the fleet may stand for a change of settings that was made past the triggers.
fn concerns_settings(row: &LogRow) -> bool {
    row.tenant.is_none() && (row.subject.starts_with(SETTING) || row.op == PURGE)
}

impl Coherence {
    /// Wakes the feed and waits until the host is proven at or after `fresh_from` and knows the log
    /// up to `min_revision`; gives up when a read fails that ended after this began, or after
    /// `limit`. The caller looks at `view()` afterwards.
    pub async fn wait(&self, min_revision: u64, fresh_from: Moment, limit: Duration) {
        let mut attempts = self.attempts.subscribe();
        let failed = attempts.borrow_and_update().failed;
        let reached = || {
            self.view()
                .is_some_and(|v| v.watermark >= min_revision && v.proven >= fresh_from)
        };
        if reached() {
            return;
        }
        // Once is enough: a read that is under way ends, and one more follows it. A revision that
        // is not visible to that one either is not committed yet, and its commit will notify.
        self.wake.notify_one();
        let _ = tokio::time::timeout(limit, async {
            while !reached() {
                match attempts.changed().await {
                    Ok(()) if attempts.borrow_and_update().failed == failed => {}
                    _ => return,
                }
            }
        })
        .await;
    }
}

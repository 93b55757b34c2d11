//! The circuit breaker of a tier (far, origin). A failed call makes the tier suspect, and a probe in
//! the background finds out: if it fails as well, the breaker is open until a later one succeeds.
//! While it is open callers are told so at once, and nobody but the probe waits for the tier. There
//! is no count of failures to tune: one that the probe cannot repeat opens nothing. Not for
//! deadlines (the backends have them) nor for what is answered instead (the guest).

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::Rng;
use tokio::sync::Notify;

use super::clock::Moment;

/// Pause between two probes of a tier that is down.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

const CLOSED: u8 = 0;
const SUSPECT: u8 = 1;
const OPEN: u8 = 2;

pub struct Breaker {
    tier: &'static str,
    state: AtomicU8,
    /// Times that it opened.
    opened: AtomicU64,
    /// `Moment` in nanoseconds of the latest opening.
    since: AtomicU64,
    /// Calls that were turned away.
    refused: AtomicU64,
    why: Mutex<String>,
    hint: Notify,
}

/// What operators see of a breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerStatus {
    pub open: bool,
    /// How long it has been open; zero if it is closed.
    pub open_for: Duration,
    pub opened: u64,
    pub refused: u64,
    /// The error that opened it; empty while it is closed.
    pub why: String,
}

impl Breaker {
    pub fn new(tier: &'static str) -> Arc<Breaker> {
        Arc::new(Breaker {
            tier,
            state: AtomicU8::new(CLOSED),
            opened: AtomicU64::new(0),
            since: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            why: Mutex::default(),
            hint: Notify::new(),
        })
    }

    /// Whether the tier may be called. A call that is turned away is counted.
    pub fn admits(&self) -> bool {
        let open = self.is_open();
        if open {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        !open
    }

    pub fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) == OPEN
    }

    /// A call has failed. `probe` tries the tier once, within the tier's deadline: `None` if there
    /// is nothing left to try for.
    pub fn suspect<P, F>(self: &Arc<Self>, probe: P)
    where
        P: Fn() -> F + Send + 'static,
        F: Future<Output = Option<Result<(), String>>> + Send + 'static,
    {
        let first =
            self.state
                .compare_exchange(CLOSED, SUSPECT, Ordering::AcqRel, Ordering::Relaxed);
        if first.is_ok() {
            tokio::spawn(watch(self.clone(), probe));
        }
    }

    /// There is a sign that the tier works again: the next probe need not wait.
    pub fn hint(&self) {
        if self.is_open() {
            self.hint.notify_one();
        }
    }

    pub fn status(&self) -> BreakerStatus {
        let open = self.is_open();
        let since = Moment::from_nanos(self.since.load(Ordering::Relaxed));
        BreakerStatus {
            open,
            open_for: if open {
                Moment::now().since(since)
            } else {
                Duration::ZERO
            },
            opened: self.opened.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            why: self.why().clone(),
        }
    }

    fn why(&self) -> std::sync::MutexGuard<'_, String> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, error: String) {
        let tier = self.tier;
        if self.is_open() {
            *self.why() = error;
            return;
        }
        tracing::warn!(
            tier,
            error,
            "does not answer: nobody waits for it until it does"
        );
        *self.why() = error;
        self.since.store(Moment::now().nanos(), Ordering::Relaxed);
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.state.store(OPEN, Ordering::Release);
    }

    fn close(&self) {
        if self.is_open() {
            tracing::info!(tier = self.tier, "answers again");
        }
        self.why().clear();
        self.state.store(CLOSED, Ordering::Release);
    }
}

struct Closing(Arc<Breaker>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn watch<P, F>(breaker: Arc<Breaker>, probe: P)
where
    P: Fn() -> F,
    F: Future<Output = Option<Result<(), String>>>,
{
    // However this ends, also by a panic: a breaker without a probe must not stay open.
    let breaker = Closing(breaker);
    let breaker = &breaker.0;
    let mut pause = PAUSE.0;
    loop {
        match probe().await {
            None | Some(Ok(())) => return,
            Some(Err(error)) => breaker.open(error),
        }
        // Hosts that lost the same server at the same time do not come back in step.
        let jitter = rand::rng().random_range(0.5..1.0);
        tokio::select! {
            () = tokio::time::sleep(pause.mul_f64(jitter)) => {}
            () = breaker.hint.notified() => {}
        }
        pause = (pause * 2).min(PAUSE.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    async fn until(what: &str, reached: impl Fn() -> bool) {
        let waiting = async {
            while !reached() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        assert!(ended.is_ok(), "{what}");
    }

    #[tokio::test]
    async fn a_failure_that_the_probe_cannot_repeat_opens_nothing() {
        let breaker = Breaker::new("far");
        let probes = Arc::new(AtomicUsize::new(0));
        let counted = probes.clone();
        breaker.suspect(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            async { Some(Ok(())) }
        });
        until("probed", || probes.load(Ordering::SeqCst) == 1).await;
        until("closed", || breaker.state.load(Ordering::SeqCst) == CLOSED).await;
        assert!(breaker.admits());
        assert_eq!((breaker.status().opened, breaker.status().refused), (0, 0));
    }

    #[tokio::test]
    async fn it_opens_when_the_probe_fails_and_closes_when_one_succeeds() {
        let breaker = Breaker::new("far");
        let up = Arc::new(AtomicBool::new(false));
        let tier = up.clone();
        breaker.suspect(move || {
            let up = tier.load(Ordering::SeqCst);
            async move { Some(if up { Ok(()) } else { Err("down".to_owned()) }) }
        });
        until("open", || breaker.is_open()).await;
        assert!(!breaker.admits());
        let status = breaker.status();
        assert_eq!(
            (status.opened, status.refused, &*status.why),
            (1, 1, "down")
        );
        up.store(true, Ordering::SeqCst);
        until("closed", || !breaker.is_open()).await;
        assert!(breaker.admits());
        assert_eq!(breaker.status().why, "");
    }
}

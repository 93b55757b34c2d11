//! The circuit breaker of a tier (far, origin), or of one kind of call to it. A failed call makes
//! the tier suspect, and a probe in the background, a call of the same kind, finds out: if it fails
//! as well, the breaker is open until a later one succeeds. While it is open callers are told so at
//! once, and nobody but the probe waits for the tier. There is no count of failures to tune: one
//! that the probe cannot repeat opens nothing. Not for deadlines (the backends have them) nor for
//! what is answered instead (the guest).

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::Rng;
use tokio::sync::Notify;

use super::clock::Moment;

/// Pause between two probes of a tier that is down.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// What fails again so soon after it was repaired has not been repaired: it is no news for the log.
const SETTLED: Duration = Duration::from_secs(2);

/// What the log says of a breaker: one line when an outage begins, and one when it is over.
pub struct Lines {
    pub begins: &'static str,
    pub over: &'static str,
}

impl Lines {
    pub const ANSWERS: Lines = Lines {
        begins: "does not answer as it should: nobody waits for it until it does",
        over: "answers again",
    };
}

const CLOSED: u8 = 0;
const SUSPECT: u8 = 1;
const OPEN: u8 = 2;

pub struct Breaker {
    tier: &'static str,
    lines: Lines,
    state: AtomicU8,
    /// Times that it opened.
    opened: AtomicU64,
    /// `Moment` in nanoseconds of the latest opening.
    since: AtomicU64,
    /// The same of the latest closing; 0: none.
    closed: AtomicU64,
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
    pub fn new(tier: &'static str, lines: Lines) -> Arc<Breaker> {
        Arc::new(Breaker {
            tier,
            lines,
            state: AtomicU8::new(CLOSED),
            opened: AtomicU64::new(0),
            since: AtomicU64::new(0),
            closed: AtomicU64::new(0),
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
        if self.is_open() {
            *self.why() = error;
            return;
        }
        let (tier, now) = (self.tier, Moment::now());
        let closed = self.closed.load(Ordering::Relaxed);
        if closed == 0 || now.since(Moment::from_nanos(closed)) >= SETTLED {
            tracing::warn!(tier, error, "{}", self.lines.begins);
        }
        *self.why() = error;
        self.since.store(now.nanos(), Ordering::Relaxed);
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.state.store(OPEN, Ordering::Release);
    }

    fn close(&self) {
        if self.is_open() {
            // Never 0, which means none.
            let now = Moment::now().nanos().max(1);
            self.closed.store(now, Ordering::Relaxed);
        }
        self.why().clear();
        self.state.store(CLOSED, Ordering::Release);
    }
}

struct Closing<'a>(&'a Breaker);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn watch<P, F>(breaker: Arc<Breaker>, probe: P)
where
    P: Fn() -> F,
    F: Future<Output = Option<Result<(), String>>>,
{
    let before = breaker.opened.load(Ordering::Relaxed);
    until_it_answers(&breaker, probe).await;
    let outage = breaker.opened.load(Ordering::Relaxed);
    if outage == before {
        return;
    }
    tokio::time::sleep(SETTLED).await;
    if !breaker.is_open() && breaker.opened.load(Ordering::Relaxed) == outage {
        tracing::info!(tier = breaker.tier, "{}", breaker.lines.over);
    }
}

async fn until_it_answers<P, F>(breaker: &Breaker, probe: P)
where
    P: Fn() -> F,
    F: Future<Output = Option<Result<(), String>>>,
{
    // However this ends, also by a panic: a breaker without a probe must not stay open.
    let _closing = Closing(breaker);
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
        let breaker = Breaker::new("far", Lines::ANSWERS);
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
        let breaker = Breaker::new("far", Lines::ANSWERS);
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

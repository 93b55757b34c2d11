//! Keeps background tasks at work: one that panics is told of, counted and begun again, after a
//! pause that grows. Not for what a task does about its own errors, which are no panics.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;

/// First and longest pause after a panic.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// After so long without a panic a task is in order again, and its next pause a short one.
const STEADY: Duration = Duration::from_secs(60);

/// The background tasks of one instance.
#[derive(Default)]
pub struct Tasks(Mutex<Vec<Arc<Task>>>);

struct Task {
    name: &'static str,
    restarts: AtomicU64,
    /// When it last panicked.
    last: Mutex<Option<Instant>>,
}

/// What operators see of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    pub name: &'static str,
    pub restarts: u64,
    /// It has panicked of late.
    pub troubled: bool,
}

impl Tasks {
    /// Runs `work`, again whenever it panics: it is told how often it did so far. Ends when it
    /// returns.
    pub fn spawn<F>(
        &self,
        name: &'static str,
        work: impl Fn(u64) -> F + Send + Sync + 'static,
    ) -> tokio::task::JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = Arc::new(Task {
            name,
            restarts: AtomicU64::new(0),
            last: Mutex::default(),
        });
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push(task.clone());
        tokio::spawn(keep(task, work))
    }

    pub fn status(&self) -> Vec<TaskStatus> {
        let tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().map(|task| task.status()).collect()
    }
}

impl Task {
    fn status(&self) -> TaskStatus {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        TaskStatus {
            name: self.name,
            restarts: self.restarts.load(Ordering::Relaxed),
            troubled: last.is_some_and(|then| then.elapsed() < STEADY),
        }
    }
}

async fn keep<F: Future<Output = ()>>(task: Arc<Task>, work: impl Fn(u64) -> F) {
    let mut pause = PAUSE.0;
    loop {
        let began = Instant::now();
        // What it left half done is its own to look after: it is told that it begins again.
        let run = async { work(task.restarts.load(Ordering::Relaxed)).await };
        let Err(cause) = AssertUnwindSafe(run).catch_unwind().await else {
            return;
        };
        let text = cause.downcast_ref::<&str>().copied();
        let text = text.or_else(|| cause.downcast_ref::<String>().map(String::as_str));
        let cause = text.unwrap_or("unknown");
        tracing::error!(
            task = task.name,
            cause,
            "a background task panicked and is begun again"
        );
        task.restarts.fetch_add(1, Ordering::Relaxed);
        *task.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if began.elapsed() >= STEADY {
            pause = PAUSE.0;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_begun_again_and_told_of() {
        let (tasks, runs) = (Tasks::default(), Arc::new(AtomicU64::new(0)));
        let counted = runs.clone();
        let task = tasks.spawn("unlucky", move |restarts| {
            let counted = counted.clone();
            async move {
                counted.fetch_add(1, Ordering::SeqCst);
                assert!(restarts >= 2, "not yet");
                std::future::pending::<()>().await;
            }
        });
        let third = async {
            while runs.load(Ordering::SeqCst) < 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(10), third).await;
        ended.expect("a third run");
        let expected = TaskStatus {
            name: "unlucky",
            restarts: 2,
            troubled: true,
        };
        assert_eq!(tasks.status(), [expected]);
        task.abort();
        assert!(task.await.expect_err("aborted").is_cancelled());
    }

    #[tokio::test]
    async fn a_task_that_returns_has_ended() {
        let tasks = Tasks::default();
        tasks.spawn("short", |_| async {}).await.expect("no panic");
        let status = &tasks.status()[0];
        assert_eq!((status.restarts, status.troubled), (0, false));
    }
}

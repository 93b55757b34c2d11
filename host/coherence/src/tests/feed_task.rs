//! Tests of the feed as a task: how often it reads when it is woken all the time, and what becomes
//! of it after a panic.

use crate::places::Places;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use ordain_store::supervise::Tasks;
use ordain_store::{ChangeLog, FleetSetting, OriginError};

/// An empty log that says all the time that it has grown.
#[derive(Default)]
struct Restless {
    reads: AtomicU64,
    /// The read that panics; 0: none.
    unlucky: u64,
}

#[async_trait::async_trait]
impl ChangeLog for Restless {
    async fn newest(&self, _: u32) -> Result<(Vec<LogRow>, bool), OriginError> {
        Ok((Vec::new(), true))
    }

    async fn since(&self, _: u64, _: u32) -> Result<Vec<LogRow>, OriginError> {
        let read = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
        assert_ne!(read, self.unlucky, "the unlucky read");
        Ok(Vec::new())
    }

    async fn settings(&self) -> Result<Vec<FleetSetting>, OriginError> {
        Ok(Vec::new())
    }

    async fn notification_queue(&self) -> Result<f64, OriginError> {
        Ok(0.0)
    }

    fn lag(&self) -> Option<Duration> {
        None
    }

    fn clock(&self) -> Option<u64> {
        None
    }

    async fn changed(&self) {
        tokio::task::yield_now().await;
    }
}

fn feed(log: &Arc<Restless>) -> (Arc<Coherence>, Arc<Feed>) {
    let coherence = Arc::new(Coherence::new(1 << 20, 100));
    let origin = Arc::new(MemoryOrigin::new());
    let reader = Arc::new(OriginReader::new(
        origin,
        coherence.clone(),
        Places::reads(16),
    ));
    let caches = Arc::new(Caches::new(Configured::default()));
    let feed = Feed::new(coherence.clone(), log.clone(), reader, caches);
    (coherence, Arc::new(feed))
}

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
async fn however_often_it_is_woken_the_feed_reads_no_more_than_two_hundred_times_a_second() {
    let log = Arc::new(Restless::default());
    let (_coherence, feed) = feed(&log);
    let began = std::time::Instant::now();
    let task = tokio::spawn(feed.run(0));
    until("fifty reads", || log.reads.load(Ordering::SeqCst) >= 50).await;
    let (reads, took) = (log.reads.load(Ordering::SeqCst), began.elapsed());
    task.abort();
    // Some ahead of their time.
    let most = took.as_millis() / 5 + 10;
    assert!(u128::from(reads) <= most, "{reads} reads in {took:?}");
}

#[tokio::test]
async fn a_feed_that_panics_is_begun_again_and_trusts_nothing_from_before() {
    let log = Arc::new(Restless {
        unlucky: 3,
        ..Restless::default()
    });
    let (coherence, feed) = feed(&log);
    let tasks = Tasks::default();
    let task = tasks.spawn("feed", move |restarts| feed.clone().run(restarts));
    until("reads after the panic", || {
        log.reads.load(Ordering::SeqCst) > 5
    })
    .await;
    assert_eq!(coherence.purges(), 1);
    assert!(coherence.view().is_some(), "it proves again");
    let status = &tasks.status()[0];
    assert_eq!((status.restarts, status.troubled), (1, true));
    task.abort();
}

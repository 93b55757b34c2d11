//! Tests of a far that fails in one way and not in another.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::*;
use crate::far::Far;
use crate::far_value::far_key;
use ordain_store::FarError;
use ordain_store::memory::MemoryFar;

/// Fails as the test says.
#[derive(Default)]
struct Faulty {
    memory: MemoryFar,
    gets_fail: AtomicBool,
    puts_fail: AtomicBool,
    /// Look-ups of this key are late.
    slow: Mutex<String>,
    /// Values longer than this are refused.
    longest: AtomicUsize,
    in_part: AtomicBool,
    gets: AtomicUsize,
    puts: AtomicUsize,
}

#[async_trait]
impl ordain_store::Far for Faulty {
    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, FarError> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        let slow = self
            .slow
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if self.gets_fail.load(Ordering::SeqCst) || keys.contains(&slow) {
            return Err(FarError::Late);
        }
        self.memory.get(keys).await
    }

    async fn put(
        &self,
        key: &str,
        value: &[u8],
        seen: &[u8],
        ttl: Duration,
    ) -> Result<bool, FarError> {
        self.puts.fetch_add(1, Ordering::SeqCst);
        let longest = self.longest.load(Ordering::SeqCst);
        if self.puts_fail.load(Ordering::SeqCst) || longest > 0 && value.len() > longest {
            return Err(FarError::Refused("OOM command not allowed".into()));
        }
        self.memory.put(key, value, seen, ttl).await
    }

    fn describe(&self) -> String {
        "a faulty one".into()
    }

    fn fails_in_part(&self) -> bool {
        self.in_part.load(Ordering::SeqCst)
    }
}

fn faulty() -> (Arc<Faulty>, Arc<Far>) {
    let backend = Arc::new(Faulty::default());
    (backend.clone(), Arc::new(Far::new(backend, &[])))
}

fn put(far: &Arc<Far>, number: u64) {
    let (key, ttl) = (key(&format!("t{number}")), Duration::from_secs(60));
    far.put(&key, Some(&record(number)), number, Vec::new(), ttl);
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

async fn errors(far: &Arc<Far>, count: u64) {
    let counted = || far.counts.put_errors.load(Ordering::SeqCst) >= count;
    until("the errors are counted", counted).await;
}

#[tokio::test]
async fn a_far_that_refuses_puts_is_asked_all_the_same_and_put_into_when_a_put_succeeds() {
    let (backend, far) = faulty();
    backend.puts_fail.store(true, Ordering::SeqCst);
    put(&far, 1);
    until("no more puts", || far.writes.is_open()).await;
    let why = far.writes.status().why;
    assert!(why.contains("OOM"), "{why}");
    assert!(far.admits() && !far.breaker.is_open() && !far.takes_puts());
    assert!(far.get(&[key("t1")]).await.1.is_ok());
    // The probe is a put, and looks nothing up.
    let (gets, puts) = (&backend.gets, &backend.puts);
    let before = (gets.load(Ordering::SeqCst), puts.load(Ordering::SeqCst));
    put(&far, 2);
    until("probes", || puts.load(Ordering::SeqCst) > before.1 + 1).await;
    assert_eq!(gets.load(Ordering::SeqCst), before.0);
    assert!(far.writes.is_open());
    backend.puts_fail.store(false, Ordering::SeqCst);
    until("puts again", || far.takes_puts()).await;
    put(&far, 3);
    until("it is put", || far.counts.puts.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_far_that_answers_nothing_is_one_outage_whatever_failed_first() {
    let (backend, far) = faulty();
    backend.puts_fail.store(true, Ordering::SeqCst);
    backend.gets_fail.store(true, Ordering::SeqCst);
    put(&far, 1);
    until("nobody asks", || !far.admits()).await;
    assert_eq!(far.writes.status().opened, 0);
    assert!(!far.takes_puts());
    backend.gets_fail.store(false, Ordering::SeqCst);
    until("asked again", || far.admits()).await;
    // What only now shows.
    put(&far, 2);
    until("no more puts", || far.writes.is_open()).await;
}

#[tokio::test]
async fn a_value_that_is_too_long_for_far_or_for_its_deadline_stops_no_other() {
    let (backend, far) = faulty();
    backend.longest.store(8, Ordering::SeqCst);
    for number in 1..=3 {
        put(&far, number);
        errors(&far, number).await;
    }
    assert_eq!(far.writes.status().opened, 0);
    assert!(far.takes_puts());
    *backend.slow.lock().unwrap_or_else(PoisonError::into_inner) = far_key(&key("t1"));
    for round in 1..=3 {
        assert!(far.get(&[key("t1")]).await.1.is_err());
        let probed = || backend.gets.load(Ordering::SeqCst) == 2 * round;
        until("probed", probed).await;
        assert!(far.get(&[key("t2")]).await.1.is_ok());
        backend.gets.fetch_sub(1, Ordering::SeqCst);
    }
    assert_eq!(far.breaker.status().opened, 0);
}

#[tokio::test]
async fn a_cluster_that_fails_in_part_is_reported_and_used() {
    let (backend, far) = faulty();
    backend.in_part.store(true, Ordering::SeqCst);
    backend.puts_fail.store(true, Ordering::SeqCst);
    put(&far, 1);
    until("reported", || far.writes.status().open).await;
    assert!(far.takes_puts(), "other nodes take them");
    backend.gets_fail.store(true, Ordering::SeqCst);
    assert!(far.get(&[key("t1")]).await.1.is_err());
    until("reported", || far.breaker.status().open).await;
    assert!(far.admits() && far.takes_puts());
    // Now all of it is gone.
    backend.in_part.store(false, Ordering::SeqCst);
    assert!(!far.admits() && !far.takes_puts());
    backend.gets_fail.store(false, Ordering::SeqCst);
    until("asked again", || far.admits()).await;
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn count(&self, words: &str) -> usize {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&log).matches(words).count()
    }
}

#[tokio::test]
async fn a_far_at_the_edge_of_its_memory_is_one_outage_though_it_takes_a_value_now_and_then() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (backend, far) = faulty();
    for number in 1..=5 {
        backend.puts_fail.store(true, Ordering::SeqCst);
        put(&far, number);
        until("no more puts", || far.writes.is_open()).await;
        backend.puts_fail.store(false, Ordering::SeqCst);
        until("puts again", || far.takes_puts()).await;
    }
    assert_eq!(far.writes.status().opened, 5);
    assert_eq!(log.count("takes no values"), 1);
    until("it is over", || log.count("takes values again") == 1).await;
    backend.puts_fail.store(true, Ordering::SeqCst);
    put(&far, 6);
    until("no more puts", || far.writes.is_open()).await;
    assert_eq!(log.count("takes no values"), 2, "another outage");
}

//! Reading and writing far: one round trip, shared by concurrent callers; its failure is a miss.
//! Nothing that comes from far is trusted: `far_value.rs` checks that a value is intact, the test V
//! that it is current (rules A2-A4).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::Rng;
use tokio::sync::Semaphore;

use super::far_value::{FarCodec, far_key};
use super::flight::{Flight, Flights};
use crate::backends::{self, FarError, Record};
use crate::ids::Key;

/// Puts under way at once; one more is dropped, which costs a later miss.
const PUTS_MAX: usize = 256;

type Reply = Result<Arc<Vec<Option<Vec<u8>>>>, FarError>;
/// Keeps a shared reply findable while a call that uses it lasts.
pub type FarFlight = Arc<Flight<Reply>>;

pub struct Far {
    backend: Arc<dyn backends::Far>,
    codec: FarCodec,
    flights: Flights<Reply>,
    puts: Arc<Semaphore>,
    reachable: AtomicBool,
}

impl Far {
    /// The backend bounds each of its calls by the far deadline.
    pub fn new(backend: Arc<dyn backends::Far>, keys: &[String]) -> Far {
        Far {
            backend,
            codec: FarCodec::new(keys),
            flights: Flights::default(),
            puts: Arc::new(Semaphore::new(PUTS_MAX)),
            reachable: AtomicBool::new(true),
        }
    }

    pub fn codec(&self) -> &FarCodec {
        &self.codec
    }

    pub fn describe(&self) -> String {
        self.backend.describe()
    }

    pub fn reachable(&self) -> bool {
        self.reachable.load(Ordering::Relaxed)
    }

    /// The raw values of the keys. A reply may be shared, however old: V judges it now.
    pub async fn get(&self, keys: &[Key]) -> (FarFlight, Reply) {
        let flight = self.flights.join(keys, None, |reply| reply.is_none());
        let reply = flight
            .reply(async {
                let names: Vec<String> = keys.iter().map(far_key).collect();
                let reply = self.backend.get(&names).await;
                self.note(&reply);
                match reply {
                    Ok(values) if values.len() == keys.len() => Ok(Arc::new(values)),
                    Ok(_) => Err(FarError::Unavailable("wrong number of values".into())),
                    Err(error) => Err(error),
                }
            })
            .await;
        (flight, reply)
    }

    /// Puts a value read from the origin, in the background (rule A4).
    pub fn put(
        self: &Arc<Self>,
        key: &Key,
        record: Option<&Record>,
        as_of: u64,
        seen: Vec<u8>,
        ttl: Duration,
    ) {
        let Ok(permit) = self.puts.clone().try_acquire_owned() else {
            return;
        };
        let value = self.codec.encode(key, record, as_of);
        let name = far_key(key);
        // Values that were put together should not all expire together.
        let ttl = ttl.mul_f64(rand::rng().random_range(0.9..1.0));
        let far = self.clone();
        tokio::spawn(async move {
            far.note(&far.backend.put(&name, &value, &seen, ttl).await);
            drop(permit);
        });
    }

    fn note<T>(&self, outcome: &Result<T, FarError>) {
        let reachable = outcome.is_ok();
        if self.reachable.swap(reachable, Ordering::Relaxed) != reachable {
            match outcome {
                Ok(_) => tracing::info!(far = self.describe(), "far answers again"),
                Err(error) => tracing::warn!(far = self.describe(), %error, "far does not answer"),
            }
        }
    }
}

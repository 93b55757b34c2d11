//! Reading and writing far: one round trip, shared by concurrent callers; its failure is a miss.
//! Nothing that comes from far is trusted: `far_value.rs` checks that a value is intact, the test V
//! that it is current (rules A2-A4).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng;
use tokio::sync::Semaphore;

use super::breaker::{Breaker, Lines};
use super::clock::Moment;
use super::far_value::{FarCodec, far_key};
use super::flight::{Flight, Flights};
use ordain_store::ids::Key;
use ordain_store::{FAR_FORMAT, FAR_HEADER, FarError, Record};

/// Puts under way at once; one more is dropped, which costs a later miss.
const PUTS_MAX: usize = 256;

/// What the probe of puts puts, and for how long. Probes use keys of their own: what is wrong with
/// one value (too long for a proxy, or for the deadline on a slow line) says nothing of the others.
const PROBE: (&[u8], Duration) = (b"probe", Duration::from_millis(1));
/// What the look-up at the start asks for, and for how long a first connection may be under way.
const FIRST: (&str, Duration) = ("start", Duration::from_secs(1));

type Reply = Result<Arc<Vec<Option<Vec<u8>>>>, FarError>;
/// Keeps a shared reply findable while a call that uses it lasts.
pub type FarFlight = Arc<Flight<Reply>>;

pub struct Far {
    backend: Arc<dyn ordain_store::Far>,
    codec: FarCodec,
    flights: Flights<Reply>,
    puts: Arc<Semaphore>,
    /// Of look-ups; while it is open far is not asked for anything.
    pub breaker: Arc<Breaker>,
    /// Of puts, which a server may refuse or lose though it answers look-ups.
    pub writes: Arc<Breaker>,
    pub counts: Counts,
}

/// What became of calls, since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Look-ups that were sent, shared ones once.
    pub gets: AtomicU64,
    /// Values that were put, or found to be no news.
    pub puts: AtomicU64,
    /// Puts given up because too many were under way.
    pub puts_dropped: AtomicU64,
    pub errors: AtomicU64,
    /// Those of puts among them.
    pub put_errors: AtomicU64,
    /// Values that were damaged, foreign, or not provably current (rule A3).
    pub unusable: AtomicU64,
}

impl Far {
    /// The backend bounds each of its calls by the far deadline.
    pub fn new(backend: Arc<dyn ordain_store::Far>, keys: &[String]) -> Far {
        Far {
            backend,
            codec: FarCodec::new(keys),
            flights: Flights::default(),
            puts: Arc::new(Semaphore::new(PUTS_MAX)),
            breaker: Breaker::new("far", Lines::ANSWERS),
            writes: Breaker::new(
                "far",
                Lines {
                    begins: "takes no values: what it holds is used, nothing is put until it does",
                    over: "takes values again",
                },
            ),
            counts: Counts::default(),
        }
    }

    pub fn codec(&self) -> &FarCodec {
        &self.codec
    }

    pub fn describe(&self) -> String {
        self.backend.describe()
    }

    /// Whether far may be asked. A call that is turned away is counted.
    pub fn admits(&self) -> bool {
        self.admits_to(&self.breaker)
    }

    /// Whether values may be put.
    pub fn takes_puts(&self) -> bool {
        (!self.breaker.is_open() || self.backend.fails_in_part()) && self.admits_to(&self.writes)
    }

    /// Of a cluster that fails in part the breaker tells, and turns nobody away: the backend lets
    /// nobody wait for a node that is down, and the others go on.
    fn admits_to(&self, breaker: &Breaker) -> bool {
        (breaker.is_open() && self.backend.fails_in_part()) || breaker.admits()
    }

    /// What fails is not all of far, if anything fails.
    pub fn fails_in_part(&self) -> bool {
        self.backend.fails_in_part()
    }

    /// The raw values of the keys. A reply may be shared, however old: V judges it now. At once an
    /// error while the breaker is open.
    pub async fn get(self: &Arc<Self>, keys: &[Key]) -> (Option<FarFlight>, Reply) {
        if !self.admits() {
            let open = FarError::Unavailable("the breaker is open".into());
            return (None, Err(open));
        }
        let flight = self.flights.join(keys, None, |reply| reply.is_none());
        let reply = flight
            .reply(async {
                let names: Vec<String> = keys.iter().map(far_key).collect();
                self.counts.gets.fetch_add(1, Ordering::Relaxed);
                let reply = self.backend.get(&names).await;
                self.note_look_up(&reply, names);
                match reply {
                    Ok(values) if values.len() == keys.len() => Ok(Arc::new(values)),
                    Ok(_) => Err(FarError::Unavailable("wrong number of values".into())),
                    Err(error) => Err(error),
                }
            })
            .await;
        (Some(flight), reply)
    }

    /// Puts a value read from the origin, or one that was found to be current still (A5), in the
    /// background (rule A4).
    pub fn put(
        self: &Arc<Self>,
        key: &Key,
        record: Option<&Record>,
        as_of: u64,
        seen: Vec<u8>,
        ttl: Duration,
    ) {
        if !self.takes_puts() {
            return;
        }
        let Ok(permit) = self.puts.clone().try_acquire_owned() else {
            self.counts.puts_dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let value = self.codec.encode(key, record, as_of);
        let name = far_key(key);
        let ttl = jittered(ttl);
        let far = self.clone();
        tokio::spawn(async move {
            let put = far.backend.put(&name, &value, &seen, ttl).await;
            if put.is_ok() {
                far.counts.puts.fetch_add(1, Ordering::Relaxed);
            }
            far.note_put(&put, name);
            drop(permit);
        });
    }

    /// Puts a value again, as of a later position; whether far holds it now (rule A5).
    pub(super) async fn put_again(
        self: &Arc<Self>,
        key: &Key,
        record: Option<&Record>,
        as_of: u64,
        ttl: Duration,
    ) -> bool {
        if !self.takes_puts() {
            return false;
        }
        let name = far_key(key);
        let value = self.codec.encode(key, record, as_of);
        // The very same value may stand there already, if the log was quiet: it gets a new life
        // (A4).
        let seen = &value[..FAR_HEADER.min(value.len())];
        let put = self.backend.put(&name, &value, seen, jittered(ttl)).await;
        self.note_put(&put, name);
        put == Ok(true)
    }

    /// A look-up in the background that nobody has asked for, so that a server which is down, or
    /// does not let us in, is known before the first request. One that is slow to connect has the
    /// time for it.
    pub fn look(self: &Arc<Self>) {
        let far = self.clone();
        let (name, limit) = FIRST;
        tokio::spawn(async move {
            let names = vec![probe_key(name)];
            let began = Moment::now();
            loop {
                match far.backend.get(&names).await {
                    Err(FarError::Late) if Moment::now().since(began) < limit => {}
                    Err(_) => return far.suspect(names),
                    Ok(_) => return,
                }
            }
        });
    }

    /// A failed look-up makes far suspect; the probe is another one, on the same servers.
    fn note_look_up<T>(self: &Arc<Self>, outcome: &Result<T, FarError>, names: Vec<String>) {
        if let Err(error) = outcome {
            self.counts.errors.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(far = self.describe(), %error, "a look-up in far failed");
            self.suspect(names.iter().map(|name| probe_key(name)).collect());
        }
    }

    fn suspect(self: &Arc<Self>, names: Vec<String>) {
        let far = Arc::downgrade(self);
        self.breaker.suspect(move || {
            let (far, names) = (far.upgrade(), names.clone());
            async move {
                let outcome = far?.backend.get(&names).await;
                Some(outcome.map(drop).map_err(|error| error.to_string()))
            }
        });
    }

    /// A failed put makes far suspect of taking none; the probe is a put.
    fn note_put<T>(self: &Arc<Self>, outcome: &Result<T, FarError>, name: String) {
        let Err(error) = outcome else {
            return;
        };
        self.counts.errors.fetch_add(1, Ordering::Relaxed);
        self.counts.put_errors.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(far = self.describe(), %error, "a put into far failed");
        let far = Arc::downgrade(self);
        self.writes.suspect(move || {
            let (far, name) = (far.upgrade(), name.clone());
            async move { far?.try_put(name).await }
        });
    }

    /// `None`: it is not only the puts that fail.
    async fn try_put(self: Arc<Self>, name: String) -> Option<Result<(), String>> {
        let (value, ttl) = PROBE;
        let name = probe_key(&name);
        let put = self.backend.put(&name, value, b"", ttl).await;
        let Err(error) = put else {
            return Some(Ok(()));
        };
        if !self.writes.is_open() && self.backend.get(std::slice::from_ref(&name)).await.is_err() {
            self.suspect(vec![name]);
            return None;
        }
        Some(Err(error.to_string()))
    }
}

/// Under the same permissions as the key, and in the same slot of a cluster. Keys have no braces.
fn probe_key(name: &str) -> String {
    format!("ordain:{FAR_FORMAT}:{{{name}}}")
}

/// Values that were put together should not all expire together.
fn jittered(ttl: Duration) -> Duration {
    ttl.mul_f64(rand::rng().random_range(0.9..1.0))
}

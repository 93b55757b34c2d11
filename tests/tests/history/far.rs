//! The Redis of a run and what is done to it and to what it holds.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ordain_tests::services::{Redis, Snapshot};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use redis::aio::MultiplexedConnection;

use crate::cluster::blocking;
use crate::faults::Fault;

/// For one look at a server that may just hang.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longer than a run: what is put by hand shall not go by itself.
const TTL_MILLIS: u64 = 600_000;

type Values = Vec<(String, Vec<u8>)>;

pub struct Far {
    redis: Arc<Redis>,
    random: Mutex<StdRng>,
    snapshot: Mutex<Option<Snapshot>>,
    values: Mutex<Values>,
}

impl Far {
    pub fn new(redis: Redis, seed: u64) -> Far {
        Far {
            redis: Arc::new(redis),
            random: Mutex::new(StdRng::seed_from_u64(seed ^ 0xFA4)),
            snapshot: Mutex::default(),
            values: Mutex::default(),
        }
    }

    pub fn socket(&self) -> std::path::PathBuf {
        self.redis.socket()
    }

    /// Makes a fault of Redis; `last` is over when it is to end.
    pub async fn make(&self, fault: Fault, last: impl Future<Output = ()>) {
        let redis = self.redis.clone();
        match fault {
            Fault::RedisKilledAndEmpty => {
                blocking(move || redis.stop()).await;
                last.await;
                let redis = self.redis.clone();
                blocking(move || redis.restart_empty()).await;
            }
            Fault::RedisKilledAndOld => {
                let old = self.snapshot.lock().expect("nobody panics here").take();
                let new = blocking(move || {
                    let new = redis.snapshot();
                    redis.stop();
                    new
                })
                .await;
                last.await;
                let redis = self.redis.clone();
                let kept = blocking(move || {
                    // The first time its own: then only what was put since is missing.
                    redis.restart_from(old.as_ref().unwrap_or(&new));
                    new
                })
                .await;
                *self.snapshot.lock().expect("nobody panics here") = Some(kept);
            }
            Fault::RedisStopped => {
                redis.freeze();
                last.await;
                redis.thaw();
            }
            other => {
                let tamper = self.tamper(other);
                // A Redis that is out of reach just now holds nothing to tamper with.
                let _ = tokio::time::timeout(PATIENCE, tamper).await;
                last.await;
            }
        }
    }

    /// Takes the snapshots that later faults go back to.
    pub async fn look(&self) {
        let redis = self.redis.clone();
        let snapshot = blocking(move || redis.snapshot()).await;
        *self.snapshot.lock().expect("nobody panics here") = Some(snapshot);
        if let Ok(values) = self.values().await {
            *self.values.lock().expect("nobody panics here") = values;
        }
    }

    async fn connection(&self) -> redis::RedisResult<MultiplexedConnection> {
        let client = redis::Client::open(self.redis.url())?;
        client.get_multiplexed_async_connection().await
    }

    async fn values(&self) -> redis::RedisResult<Values> {
        let mut connection = self.connection().await?;
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg("*")
            .query_async(&mut connection)
            .await?;
        let mut values = Vec::new();
        for key in keys {
            let value: Option<Vec<u8>> = redis::cmd("GET")
                .arg(&key)
                .query_async(&mut connection)
                .await?;
            values.extend(value.map(|value| (key, value)));
        }
        Ok(values)
    }

    async fn put(&self, values: &Values) -> redis::RedisResult<()> {
        let mut connection = self.connection().await?;
        for (key, value) in values {
            redis::cmd("SET")
                .arg(key)
                .arg(value)
                .arg("PX")
                .arg(TTL_MILLIS)
                .query_async::<()>(&mut connection)
                .await?;
        }
        Ok(())
    }

    async fn tamper(&self, fault: Fault) -> redis::RedisResult<()> {
        let mut values = self.values().await?;
        match fault {
            Fault::RedisFlushed => {
                let mut connection = self.connection().await?;
                redis::cmd("FLUSHALL").query_async(&mut connection).await
            }
            Fault::RedisLosesKeys => {
                let mut connection = self.connection().await?;
                for (key, _) in values {
                    if self.random(|random| random.random_bool(0.4)) {
                        redis::cmd("DEL")
                            .arg(key)
                            .query_async::<()>(&mut connection)
                            .await?;
                    }
                }
                Ok(())
            }
            Fault::RedisRewound => {
                let old = std::mem::replace(
                    &mut *self.values.lock().expect("nobody panics here"),
                    values,
                );
                self.put(&old).await
            }
            Fault::RedisPoisoned => {
                self.random(|random| poison(&mut values, random));
                self.put(&values).await
            }
            _ => Ok(()),
        }
    }

    fn random<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.random.lock().expect("nobody panics here"))
    }
}

/// Values of other keys; some of them cut, some with a byte changed, some with an as-of of their
/// own making.
fn poison(values: &mut Values, random: &mut StdRng) {
    let mut bodies: Vec<Vec<u8>> = values.iter().map(|(_, value)| value.clone()).collect();
    bodies.shuffle(random);
    for ((_, value), mut body) in values.iter_mut().zip(bodies) {
        match random.random_range(0..4) {
            0 => body.truncate(random.random_range(0..=body.len())),
            1 if !body.is_empty() => {
                let at = random.random_range(0..body.len());
                body[at] ^= 1 << random.random_range(0..8);
            }
            2 => {
                // Its own value, said to be of another position.
                body.clone_from(value);
                if let Some(digit) = body.get_mut(21) {
                    *digit = b'0' + random.random_range(0..10);
                }
            }
            _ => {}
        }
        *value = body;
    }
}

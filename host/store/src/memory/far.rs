//! The far cache in memory. Not for the origin, which shares nothing with it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::{FAR_FORMAT, FAR_HEADER, Far, FarError};

/// A far cache that only this process can see.
#[derive(Default)]
pub struct MemoryFar {
    values: Mutex<HashMap<String, Held>>,
}

struct Held {
    value: Vec<u8>,
    until: Instant,
}

impl MemoryFar {
    pub fn new() -> MemoryFar {
        MemoryFar::default()
    }

    fn values(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts bytes as they are, past all rules: what a fault or a stranger may have left there.
    pub fn plant(&self, key: &str, value: &[u8], ttl: Duration) {
        let held = Held {
            value: value.to_vec(),
            until: Instant::now() + ttl,
        };
        self.values().insert(key.to_owned(), held);
    }
}

/// As-of of a value that begins as this format does (A1); `None`: unreadable, anything replaces it.
fn as_of(value: &[u8]) -> Option<u64> {
    let digits = value.strip_prefix(FAR_FORMAT.as_bytes())?.get(..20)?;
    if value.len() < FAR_HEADER || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[async_trait]
impl Far for MemoryFar {
    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, FarError> {
        let now = Instant::now();
        let mut values = self.values();
        let found = keys.iter().map(|key| match values.get(key) {
            Some(held) if held.until > now => Some(held.value.clone()),
            Some(_) => {
                values.remove(key);
                None
            }
            None => None,
        });
        Ok(found.collect())
    }

    async fn put(
        &self,
        key: &str,
        value: &[u8],
        seen: &[u8],
        ttl: Duration,
    ) -> Result<bool, FarError> {
        let now = Instant::now();
        let mut values = self.values();
        let stored = values.get(key).filter(|held| held.until > now);
        // A4: a stored value that is not older stays, unless it is the one that the caller judged.
        let stays = stored.is_some_and(|held| {
            let newer = as_of(&held.value)
                .zip(as_of(value))
                .is_some_and(|(old, new)| old >= new);
            newer && (seen.is_empty() || held.value.get(..FAR_HEADER) != Some(seen))
        });
        if !stays {
            values.insert(
                key.to_owned(),
                Held {
                    value: value.to_vec(),
                    until: now + ttl,
                },
            );
        }
        Ok(!stays)
    }

    fn describe(&self) -> String {
        "memory of this process".to_owned()
    }
}

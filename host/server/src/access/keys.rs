//! All keys that hold at one time, and which of them may check a token. Not for where they come
//! from.

use super::denied::Denied;
use super::key::{Algorithm, Key};

/// Keys of the configuration and, if there is one, of the set that a file or a URL gives.
pub struct Keys {
    /// Those of the secret and the PEM text.
    configured: Vec<Key>,
    /// `None`: no set is configured, or there has been none yet.
    set: Option<Vec<Key>>,
    /// Rises with every change: what was checked by earlier keys counts no more.
    pub generation: u64,
}

impl Keys {
    pub fn new(configured: Vec<Key>, set: Option<Vec<Key>>) -> Keys {
        Keys {
            configured,
            set,
            generation: 0,
        }
    }

    /// The same with another set.
    pub fn with_set(&self, set: Vec<Key>) -> Keys {
        Keys {
            configured: self.configured.clone(),
            set: Some(set),
            generation: self.generation + 1,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.configured.len() + self.set.as_ref().map_or(0, Vec::len)
    }

    /// The keys that may check a token, at least one. With a set, a `kid` names a key of it, which
    /// must allow the token's algorithm; keys of the configuration have no names. A provider that
    /// gives one name to several keys means any of them. Without a `kid`, or without a set, there
    /// must be exactly one key of the algorithm: which of several is meant is not found out by
    /// trying.
    pub fn find(&self, algorithm: Algorithm, kid: Option<&str>) -> Result<Vec<&Key>, Denied> {
        if let (Some(set), Some(kid)) = (&self.set, kid) {
            let named: Vec<&Key> = set
                .iter()
                .filter(|key| key.id.as_deref() == Some(kid))
                .collect();
            if named.is_empty() {
                return Err(Denied::UnknownKey {
                    tried: self.generation,
                });
            }
            let fitting: Vec<&Key> = named
                .into_iter()
                .filter(|key| key.allows(algorithm))
                .collect();
            return match fitting.is_empty() {
                false => Ok(fitting),
                true => Err(Denied::Invalid("the token's alg is not that of its key")),
            };
        }
        let all = self.configured.iter().chain(self.set.iter().flatten());
        let mut fitting = all.filter(|key| key.allows(algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(vec![key]),
            (None, _) => Err(Denied::Invalid("there is no key for the token's alg")),
            (Some(_), Some(_)) => Err(Denied::Invalid(
                "the token has no kid, and there are several keys for its alg",
            )),
        }
    }
}

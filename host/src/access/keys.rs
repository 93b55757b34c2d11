//! All keys that hold at one time, and which of them may check a token. Not for where they come from.

use super::Denied;
use super::key::{Algorithm, Key};

/// Keys of the configuration and, if there is one, of the file.
pub struct Keys {
    /// Those of the secret and the PEM text; at most one of each algorithm.
    configured: Vec<Key>,
    /// `None`: no file is configured.
    file: Option<Vec<Key>>,
    /// Rises with every change: what was checked by earlier keys counts no more.
    pub generation: u64,
}

impl Keys {
    pub fn new(configured: Vec<Key>, file: Option<Vec<Key>>, generation: u64) -> Keys {
        Keys {
            configured,
            file,
            generation,
        }
    }

    /// The same with another file.
    pub fn with_file(&self, file: Vec<Key>) -> Keys {
        Keys::new(self.configured.clone(), Some(file), self.generation + 1)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.configured.len() + self.file.as_ref().map_or(0, Vec::len)
    }

    /// The one key that may check a token. With a file, a `kid` names a key of it, which must be of the
    /// token's algorithm; keys of the configuration have no names. Without a `kid`, or without a file, there
    /// must be exactly one key of the algorithm: which of several is meant is never found out by trying.
    pub fn find(&self, algorithm: Algorithm, kid: Option<&str>) -> Result<&Key, Denied> {
        if let (Some(file), Some(kid)) = (&self.file, kid) {
            let named = file.iter().find(|key| key.id.as_deref() == Some(kid));
            let named = named.ok_or(Denied::Invalid(
                "the token's kid names no key that is known",
            ))?;
            return if named.algorithm() == algorithm {
                Ok(named)
            } else {
                Err(Denied::Invalid("the token's alg is not that of its key"))
            };
        }
        let all = self.configured.iter().chain(self.file.iter().flatten());
        let mut fitting = all.filter(|key| key.algorithm() == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (None, _) => Err(Denied::Invalid("there is no key for the token's alg")),
            (Some(_), Some(_)) => Err(Denied::Invalid(
                "the token has no kid, and there are several keys for its alg",
            )),
        }
    }
}

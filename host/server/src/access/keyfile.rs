//! A file of keys as it is now: its bytes, and who may read and write it. Not for when it is read
//! (`follow`) and not for what is in it (`jwks`).

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::jwks::{JwksError, LIMIT, Place, Set};

pub struct Content {
    bytes: Vec<u8>,
    mode: u32,
}

impl Content {
    pub fn read(path: &Path) -> Result<Content, JwksError> {
        let failed = |error: std::io::Error| JwksError::Read(error.to_string());
        // A pipe would be waited for.
        let is_file = std::fs::metadata(path).map_err(failed)?.is_file();
        if !is_file {
            return Err(JwksError::Read("it is no file".to_owned()));
        }
        // The open file is asked: it cannot be another one by then.
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > LIMIT {
            return Err(JwksError::Large);
        }
        let mode = metadata.mode() & 0o7777;
        Ok(Content { bytes, mode })
    }

    /// What tells it from another.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.mode.to_le_bytes()).update(&self.bytes);
        hasher.finalize().into()
    }

    pub fn set(&self) -> Result<Set, JwksError> {
        // Whoever can add a key to it can sign as anybody.
        if self.mode & 0o002 != 0 {
            return Err(JwksError::Writable(self.mode));
        }
        let set = Set::read(&self.bytes, Place::File)?;
        // The group may: secrets that a service is given are often 0440 and of its group.
        if set.is_secret && self.mode & 0o004 != 0 {
            return Err(JwksError::Open(self.mode));
        }
        Ok(set)
    }
}

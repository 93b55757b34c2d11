//! Component files in memory, by the rules that the third migration has for Postgres.

use sha2::{Digest, Sha256};

use super::State;
use crate::{COMPONENT_SETTINGS, StoredComponent, WriteError};

/// Bytes of a file, as the CHECK in Postgres has them.
const SIZES: std::ops::RangeInclusive<usize> = 8..=8_388_608;
/// Of those that no setting names, so many are kept.
const KEPT: usize = 16;

impl State {
    pub fn put_component(&mut self, component: &StoredComponent) -> Result<(), WriteError> {
        let rejected = |why: &str| Err(WriteError::Rejected(why.to_owned()));
        if !SIZES.contains(&component.bytes.len()) {
            return rejected("a component has 8 bytes to 8 MiB");
        }
        if component.digest != format!("sha256:{:x}", Sha256::digest(&component.bytes)) {
            return rejected("the digest is not that of the bytes");
        }
        let mut stored = component.clone();
        if let Some(place) = self.place(&component.digest) {
            let before = self.components.remove(place);
            stored.signature = stored.signature.or(before.signature);
        }
        self.components.push(stored);
        let mut older = self.components.len();
        let settings = &self.settings;
        self.components.retain(|component| {
            older -= 1;
            let is_named = settings.values().any(|setting| {
                setting.name.starts_with(COMPONENT_SETTINGS) && setting.value == component.digest
            });
            is_named || older < KEPT
        });
        Ok(())
    }

    pub fn component(&self, digest: &str) -> Option<StoredComponent> {
        self.place(digest)
            .map(|place| self.components[place].clone())
    }

    fn place(&self, digest: &str) -> Option<usize> {
        self.components.iter().position(|c| c.digest == digest)
    }
}

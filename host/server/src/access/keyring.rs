//! The keys that hold now, and how the file or the URL fares that gives them: `follow` changes
//! both, `verifier` looks at them. Not for which of the keys checks a token (`keys`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use arc_swap::{ArcSwap, Guard};

use super::key::Key;
use super::keys::Keys;

/// How the set of keys fares that a file or a URL gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeysState {
    Up,
    /// It cannot be used as it is now, the keys from before are; or a URL has given none yet, and
    /// other keys are there.
    Stale,
    /// There is no key yet.
    Down,
}

pub struct Keyring {
    keys: ArcSwap<Keys>,
    state: AtomicU8,
}

impl Keyring {
    pub fn new(keys: Keys, state: KeysState) -> Keyring {
        Keyring {
            keys: ArcSwap::from_pointee(keys),
            state: AtomicU8::new(state as u8),
        }
    }

    pub fn keys(&self) -> Guard<Arc<Keys>> {
        self.keys.load()
    }

    /// These keys of the source hold from now on, and those that left it no more. How many there
    /// are now.
    pub fn replace(&self, set: Vec<Key>) -> usize {
        let keys = self.keys.load().with_set(set);
        let number = keys.len();
        self.keys.store(Arc::new(keys));
        number
    }

    pub fn state(&self) -> KeysState {
        match self.state.load(Ordering::Relaxed) {
            up if up == KeysState::Up as u8 => KeysState::Up,
            stale if stale == KeysState::Stale as u8 => KeysState::Stale,
            _ => KeysState::Down,
        }
    }

    pub fn set_state(&self, state: KeysState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }
}

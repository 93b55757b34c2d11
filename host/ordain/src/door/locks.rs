//! A lock of each record that somebody changes by what it says, and of no other. Of this host
//! alone: against others stands a condition on the revision.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ordain_store::ids::Key;

#[derive(Default)]
pub struct Locks(Mutex<HashMap<Key, Weak<Lock>>>);

pub type Lock = tokio::sync::Mutex<()>;

impl Locks {
    pub fn of(&self, key: &Key) -> Arc<Lock> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        // What nobody holds any more; there are no more than calls under way.
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(Lock::default());
        locks.insert(key.clone(), Arc::downgrade(&lock));
        lock
    }
}

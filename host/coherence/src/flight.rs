//! Reads that several callers share: one caller reads, the others wait for it. Says nothing about
//! whether a caller may use what another one read (rule N7: `origin.rs`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OnceCell;

use ordain_store::ids::Key;

/// One read under way, or just done. Lives as long as a call holds it.
pub struct Flight<T> {
    reply: OnceCell<T>,
}

pub struct Flights<T> {
    flights: Mutex<HashMap<Vec<Key>, Weak<Flight<T>>>>,
}

impl<T> Default for Flights<T> {
    fn default() -> Flights<T> {
        Flights {
            flights: Mutex::default(),
        }
    }
}

impl<T: Clone> Flights<T> {
    /// The flight of these keys, if it is another than `left` and `joinable` accepts it (it sees
    /// the reply if there is one), or a new one, which later callers find. A call keeps it until it
    /// ends, so that those who come between the reply and its entry into near still find the reply.
    pub fn join(
        &self,
        keys: &[Key],
        left: Option<&Arc<Flight<T>>>,
        joinable: impl Fn(Option<&T>) -> bool,
    ) -> Arc<Flight<T>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(keys).and_then(Weak::upgrade)
            && left.is_none_or(|left| !Arc::ptr_eq(left, &flight))
            && joinable(flight.reply.get())
        {
            return flight;
        }
        if flights.len() >= 1024 && flights.len() == flights.capacity() {
            flights.retain(|_, flight| flight.strong_count() > 0);
        }
        let flight = Arc::new(Flight {
            reply: OnceCell::new(),
        });
        flights.insert(keys.to_vec(), Arc::downgrade(&flight));
        flight
    }
}

impl<T: Clone> Flight<T> {
    /// The reply: waits for the caller that reads, or reads if there is none (any more: when the
    /// reading call is given up, the next in line reads).
    pub async fn reply(&self, read: impl Future<Output = T>) -> T {
        self.reply.get_or_init(|| read).await.clone()
    }
}

//! Which servers cannot be reached: there are several connections to each, and the log says it once
//! when the first of them is lost, and once when the last is back. Not for what is done about it
//! (`link.rs`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections that are lost, by the place that they lead to.
#[derive(Default)]
pub struct Outages(Mutex<HashMap<String, usize>>);

/// Of one connection. It ends when this is dropped, also of a connection that nobody wants any
/// more.
pub struct Outage {
    all: Arc<Outages>,
    place: String,
    /// The server that answers again.
    back: Option<String>,
}

impl Outages {
    pub fn begin(self: &Arc<Self>, place: String, error: &str) -> Outage {
        let mut lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = lost.entry(place.clone()).or_default();
        *count += 1;
        if *count == 1 {
            tracing::info!(server = place, error, "Redis cannot be reached");
        }
        Outage {
            all: self.clone(),
            place,
            back: None,
        }
    }
}

impl Outage {
    /// There is a connection again, to this server.
    pub fn over(mut self, server: &str) {
        self.back = Some(server.to_owned());
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        let mut lost = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = lost.get_mut(&self.place) {
            *count -= 1;
        }
        lost.retain(|_, count| *count > 0);
        if let Some(server) = &self.back
            && !lost.contains_key(&self.place)
        {
            tracing::info!(server, "Redis is back");
        }
    }
}

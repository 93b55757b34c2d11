//! The turn of a call that computes for longer than a tick: it needs one of the places to compute
//! in, out of the share of who pays for it, and gives way to others between ticks. Not for how long
//! it may compute (`Limit`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ordain_coherence::Moment;
use ordain_coherence::shares::{Place, Shares, Whose};

#[derive(Clone)]
pub struct Turn {
    shares: Shares,
    whose: Whose,
    /// When the call must have been answered.
    deadline: Moment,
    state: Arc<Mutex<State>>,
}

enum State {
    None,
    Held(Place),
    /// There was no place in time.
    Refused,
}

impl Turn {
    pub fn new(shares: &Shares, whose: Whose, deadline: Moment) -> Turn {
        Turn {
            shares: shares.clone(),
            whose,
            deadline,
            state: Arc::new(Mutex::new(State::None)),
        }
    }

    /// Waits for a place at first, later for all others that wait for one.
    pub async fn come(&self) {
        tokio::task::yield_now().await;
        let held = std::mem::replace(&mut *self.lock(), State::None);
        let left = self.deadline.since(Moment::now());
        let place = match held {
            State::Held(place) => place.rotate(left).await,
            _ => self.shares.take(&self.whose, left).await,
        };
        *self.lock() = place.map_or(State::Refused, State::Held);
    }

    /// Gives the place back, until it is needed again.
    pub fn leave(&self) {
        let mut state = self.lock();
        if matches!(*state, State::Held(_)) {
            let held = std::mem::replace(&mut *state, State::None);
            drop(state);
            drop(held);
        }
    }

    pub fn is_refused(&self) -> bool {
        matches!(*self.lock(), State::Refused)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

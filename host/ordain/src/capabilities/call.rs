//! One call of the guest: whose it is, what it may take, and until when. Not for what it holds on
//! its way (`state`), nor for how it is made (`runtime`).

use std::sync::Arc;
use std::time::Duration;

use super::Turn;
use crate::answer::ResolveError;
use ordain_coherence::shares::Whose;
use ordain_coherence::{Entry, Moment};
use ordain_store::ids::Tenant;

/// Ticks of the engine (5 ms each) that the guest may compute through in one call.
pub const GUEST_TICKS: u32 = 50;

/// What an instance is told about a call.
#[derive(Clone)]
pub struct Call {
    pub tenant: Option<Tenant>,
    pub began: Moment,
    pub deadline: Moment,
    /// How many ticks of the engine the guest may compute through.
    pub ticks: u32,
    /// The same on an instance that keeps its thread.
    pub prompt_ticks: u32,
    /// It begins even where it is known to take longer than that.
    pub insists: bool,
    /// Where it computes for longer than a tick, if it may wait.
    pub turn: Option<Turn>,
    /// Whose share it takes of what is short.
    pub whose: Whose,
    pub trial: Option<Arc<Entry>>,
    /// There is no place to wait in: servers count as not answering.
    pub hurried: bool,
    /// The answer is compared with another and given to nobody.
    pub shadow: bool,
}

impl Call {
    /// A call that concerns no tenant, yet.
    pub fn new(whose: Whose, began: Moment, deadline: Duration) -> Call {
        Call {
            tenant: None,
            whose,
            began,
            deadline: began.plus(deadline),
            ticks: GUEST_TICKS,
            prompt_ticks: GUEST_TICKS,
            insists: false,
            turn: None,
            trial: None,
            hurried: false,
            shadow: false,
        }
    }

    /// Rule K2: a process that was stopped on the way answers with an error, not late.
    pub fn in_time<T>(&self, outcome: T) -> Result<T, ResolveError> {
        if Moment::now() <= self.deadline {
            Ok(outcome)
        } else {
            Err(ResolveError::Late)
        }
    }
}

//! Whether a generation is to blame that there is no answer, and whether another one has a better
//! one. Time is blamed only where another needs far less of it. Not for what follows from it
//! (`judge`).

use std::time::Duration;

use super::reply::Said;
use crate::answer::{Breakdown, ResolveError};
use crate::calls::{Question, Reply as _};
use crate::capabilities::GUEST_TICKS;
use crate::world::bindings::types::Failure;

/// How often two generations are asked the same before one is called slow.
pub const REPEATS: u32 = 3;
/// So many times longer is clearly longer.
pub const CLEARLY: u32 = 4;

type Ended<Q> = Result<Said<<Q as Question>::Reply>, ResolveError>;

/// Why the component may be to blame that there is no answer; `None`: there is one, or the servers
/// are to blame, or the caller.
pub fn blame<Q: Question>(reply: &Ended<Q>, question: &Q) -> Option<Breakdown> {
    match reply {
        Err(ResolveError::Component(why)) => Some(why.clone()),
        Err(_) => None,
        Ok(said) => {
            let outcomes = said.reply.answers().enumerate();
            let suspects = outcomes
                .filter_map(|(index, one)| suspect(one, said.excused, question.demand(index)));
            suspects.map(|why| why.to_owned().into()).next()
        }
    }
}

/// What a component without fault might not have said; another one can tell.
fn suspect(outcome: Result<(), &Failure>, excused: bool, demand: u64) -> Option<&'static str> {
    match outcome {
        Ok(_) => None,
        Err(Failure::RecordInvalid(_)) => Some("it refuses a stored record"),
        Err(Failure::RequestInvalid(_)) => Some("it refuses a request"),
        Err(Failure::Unavailable) if !excused => {
            Some("it has no answer, though nothing failed that it asked")
        }
        Err(Failure::RevisionUnknown) if demand == 0 => {
            Some("it misses a revision that nobody demanded")
        }
        Err(_) => None,
    }
}

/// Of one that has answered in so many ticks, where another did not within its budget.
pub fn is_far_quicker(ticks: u32) -> bool {
    ticks.saturating_mul(CLEARLY) <= GUEST_TICKS
}

/// What a call returns, and for how long this thread was at it. Time of other threads does not
/// count.
pub fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        // Since the thread began: neither part is ever negative.
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let began = now();
    let said = call();
    (said, now().saturating_sub(began))
}

/// Whether `second` answers what `first` did not, and nothing less.
pub fn improves<Q: Question>(first: &Ended<Q>, second: &Ended<Q>, question: &Q) -> bool {
    let Ok(second) = second else {
        return false;
    };
    let mut better = second.reply.answers();
    match first {
        // A request or a record that is refused with reason is an answer, too.
        Err(_) => better.any(|outcome| {
            matches!(
                outcome,
                Ok(()) | Err(Failure::RequestInvalid(_) | Failure::RecordInvalid(_))
            )
        }),
        Ok(said) => {
            let outcomes = || said.reply.answers();
            let improved = outcomes().zip(better).enumerate().any(|(index, pair)| {
                let (worse, better) = pair;
                better.is_ok() && suspect(worse, said.excused, question.demand(index)).is_some()
            });
            let better = second.reply.answers();
            let answered = better.filter(Result::is_ok).count();
            improved && answered >= outcomes().filter(Result::is_ok).count()
        }
    }
}

//! Asks the generation in force and, while it is watched, the one before: whose answer counts,
//! whether the new one is to blame, and what follows from it. Not for how one of them is asked.

use std::sync::Arc;

use super::blame::{CLEARLY, REPEATS, blame, improves, is_far_quicker, timed};
use super::generation::Generation;
use super::lineup::Lineup;
use super::reply::{Prompt, Said};
use super::runtime::Runtime;
use crate::answer::{Cause, ResolveError};
use crate::calls::Question;
use crate::capabilities::Call;
use crate::world::Export;
use ordain_coherence::Moment;

/// Ticks in which a generation shows how slow it is. More than one: a thread that shares its core
/// with many has little of a tick for itself.
const JUDGED_TICKS: u32 = 3;

impl Runtime {
    /// Asks the generation in force; if it fails while it is watched, the one before. What computes
    /// for long is asked of both at once before it is given more time.
    pub(super) async fn call_with_fallback<Q: Question>(
        &self,
        lineup: &Arc<Lineup>,
        call: &Call,
        question: &Q,
    ) -> Result<Said<Q::Reply>, ResolveError> {
        let current = &lineup.current;
        let Some(good) = lineup.watching() else {
            return self.call_generation(current, call, question, true).await;
        };
        let mut patient = false;
        loop {
            let first = self.call_generation(current, call, question, patient).await;
            let Some(blamed) = blame(&first, question) else {
                if first.is_ok() {
                    lineup.watch.note_answer(call.whose.tenant());
                }
                return first;
            };
            let second = self.call_generation(good, call, question, patient).await;
            if improves(&first, &second, question) {
                let is_to_blame = match (blamed.cause, &second) {
                    (Cause::Other, _) | (_, Err(_)) => true,
                    (Cause::OutOfTime, Ok(good)) => is_far_quicker(good.ticks),
                    (Cause::PutOff, Ok(_)) => self.is_slower(current, good, call, question).await,
                };
                if is_to_blame {
                    self.note_fault(lineup, good, call, Q::EXPORT, &blamed.why);
                }
                return second;
            }
            if patient || blamed.cause != Cause::PutOff {
                // Neither has an answer: nobody is to blame, and a reason is better than a trap.
                return match (first, second) {
                    (Err(ResolveError::Component(_)), Ok(second)) => Ok(second),
                    (first, _) => first,
                };
            }
            patient = true;
        }
    }

    /// Whether one generation computes clearly longer than another at a question, every time that
    /// both are asked it once more, one after the other on this thread. By its own time: others
    /// that compete for the cores do not count.
    async fn is_slower<Q: Question>(
        &self,
        slow: &Generation,
        quick: &Generation,
        call: &Call,
        question: &Q,
    ) -> bool {
        let Some(_place) = self.computing.try_take(&call.whose) else {
            return false;
        };
        let call = Call {
            insists: true,
            prompt_ticks: JUDGED_TICKS,
            ..call.clone()
        };
        for _ in 0..REPEATS {
            if Moment::now() > call.deadline {
                return false;
            }
            let (said, needed) = timed(|| quick.call_promptly(&call, question));
            let Ok(Prompt::Said(_)) = said else {
                return false;
            };
            let (said, taken) = timed(|| slow.call_promptly(&call, question));
            match said {
                Ok(Prompt::Overtime) if taken >= CLEARLY * needed => {}
                // Something else than time ends it, if only it has enough of that.
                Err(ResolveError::Component(_)) => {}
                _ => return false,
            }
            tokio::task::yield_now().await;
        }
        true
    }

    /// Notes that the generation in force failed where the one before did not; after too many, that
    /// one answers again.
    fn note_fault(
        &self,
        lineup: &Arc<Lineup>,
        good: &Arc<Generation>,
        call: &Call,
        export: Export,
        why: &str,
    ) {
        let current = &lineup.current;
        current.note_error(export, why);
        if !lineup.watch.fault(call.whose.tenant(), export, why) {
            return;
        }
        let back = Lineup {
            shadow: lineup.shadow.clone(),
            ..Lineup::alone(good.clone())
        };
        if self.swap(lineup, back) {
            let (failed, good) = (&**current.digest(), &**good.digest());
            tracing::error!(
                failed,
                good,
                call = %export,
                why,
                "the new component has failed too often: the one before answers again"
            );
            current.retire();
            self.note_return(current);
        }
    }
}

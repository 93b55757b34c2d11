//! Asks one generation: at once if it can answer so, else where it may wait for servers or compute
//! for longer, if there is a place for that. Not for what follows if it fails (`judge`).

use super::generation::Generation;
use super::reply::{Prompt, Said};
use super::runtime::Runtime;
use crate::answer::{Breakdown, Cause, ResolveError};
use crate::calls::{Question, Reply};
use crate::capabilities::{Call, Limit, Turn};
use ordain_coherence::Moment;

/// The part of a call's time after which a stale answer is better than to wait on for a place.
const PATIENCE: u32 = 4;

impl Runtime {
    /// Asks one generation. First on a prompt instance, which answers near hits and cannot wait;
    /// only if it wanted to wait, once more on a waiting one. If there is no place to wait in, a
    /// stale answer is better than none. What computes for long is given more time only if
    /// `patient`.
    pub(super) async fn call_generation<Q: Question>(
        &self,
        generation: &Generation,
        call: &Call,
        question: &Q,
        patient: bool,
    ) -> Result<Said<Q::Reply>, ResolveError> {
        // Once more, if settings changed while the call waited (rule D1).
        for last in [false, true] {
            let prompt = match question.is_heavy() {
                true => Prompt::Overtime,
                false => generation.call_promptly(call, question)?,
            };
            let said = match prompt {
                Prompt::Said(said) => call.in_time(said)?,
                Prompt::WantsIo => self.call_with_place(generation, call, question).await?,
                Prompt::Overtime if !patient && !question.is_heavy() => {
                    return Err(ResolveError::Component(Breakdown {
                        cause: Cause::PutOff,
                        why: Limit::Time.to_string(),
                    }));
                }
                Prompt::Overtime => {
                    let waiting = self.with_turn(call, question);
                    if let Some(turn) = &waiting.turn {
                        turn.come().await;
                        if turn.is_refused() {
                            call.in_time(())?;
                            return Err(ResolveError::Overloaded);
                        }
                    }
                    let waiting = generation.call_waiting(&waiting, question);
                    self.wait(call, waiting).await?
                }
            };
            if said.current || last {
                return Ok(said);
            }
        }
        Err(ResolveError::Overloaded)
    }

    /// Answers a call that wants to wait for servers, as soon as there is a place for it; while it
    /// waited for that, others may have fetched what it wants. Without a place a stale answer is
    /// better than none.
    async fn call_with_place<Q: Question>(
        &self,
        generation: &Generation,
        call: &Call,
        question: &Q,
    ) -> Result<Said<Q::Reply>, ResolveError> {
        let whose = &call.whose;
        let mut place = self.waiting.try_take(whose);
        if place.is_none() {
            let left = call.deadline.since(Moment::now());
            let mut turn = std::pin::pin!(self.waiting.take(whose, left));
            place = match tokio::time::timeout(left / PATIENCE, &mut turn).await {
                Ok(place) => place,
                Err(_) => match call_hurried(generation, call, question) {
                    Ok(said) => return call.in_time(said),
                    Err(_) => turn.await,
                },
            };
            if place.is_none() {
                return call.in_time(call_hurried(generation, call, question)?);
            }
            if let Prompt::Said(said) = generation.call_promptly(call, question)? {
                return call.in_time(said);
            }
        }
        let waiting = self.with_turn(call, question);
        self.wait(call, generation.call_waiting(&waiting, question))
            .await
    }

    /// The call, where it may wait.
    fn with_turn<Q: Question>(&self, call: &Call, question: &Q) -> Call {
        Call {
            turn: Some(Turn::new(
                &self.computing,
                call.whose.clone(),
                call.deadline,
            )),
            ticks: call.ticks.saturating_add(question.more_ticks()),
            ..call.clone()
        }
    }

    /// Lets a call wait for servers, within its deadline.
    async fn wait<T>(
        &self,
        call: &Call,
        waiting: impl Future<Output = Result<T, ResolveError>>,
    ) -> Result<T, ResolveError> {
        let left = call.deadline.since(Moment::now());
        let outcome = tokio::time::timeout(left, waiting).await;
        call.in_time(outcome.unwrap_or(Err(ResolveError::Late))?)
    }
}

/// What can be said without any server.
fn call_hurried<Q: Question>(
    generation: &Generation,
    call: &Call,
    question: &Q,
) -> Result<Said<Q::Reply>, ResolveError> {
    let mut call = call.clone();
    call.hurried = true;
    let Prompt::Said(said) = generation.call_promptly(&call, question)? else {
        return Err(ResolveError::Overloaded);
    };
    let is_answer = said.reply.answers().any(|one| one.is_ok());
    match is_answer {
        true => Ok(said),
        false => Err(ResolveError::Overloaded),
    }
}

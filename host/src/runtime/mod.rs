//! Calls of the component: takes an instance of the generation in force, binds it to a tenant, calls,
//! and turns what comes back into an answer. Knows neither HTTP nor where records are kept, and does
//! not decide which generation is in force (`ordain/components`).

pub mod bindings;
mod compiled;
mod convert;
mod engine;
mod generation;
mod idle;
mod instances;
mod lineup;
mod loader;
mod question;
mod sandbox;
mod shadow;
pub mod signature;
mod vectors;
pub mod world;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, Semaphore};

use crate::answer::{Answer, ResolveError};
use crate::capabilities::Call;
use crate::coherence::{Entry, Moment};
use crate::counts::Counts;
use crate::ids::Tenant;
use crate::ordain::InvalidRecord;
use crate::request::Request;

pub use engine::{EngineError, GuestEngine};
use generation::Prompt;
pub use generation::{BYTES_MAX, Generation, LoadError, Said, digest, inspect};
pub use lineup::{Lineup, Watch, WatchStatus};
pub use loader::Loader;
use question::{Many, One, Outcome, Question};
pub use sandbox::services_in_memory;
pub use shadow::{Plan, Report, Sample, Shadow};
pub use vectors::{Vectors, VectorsError};

use bindings::resolver::Failure;

/// Ticks of the engine (5 ms each) that the guest may compute through in one call.
const GUEST_TICKS: u32 = 50;
/// The same without a break for the thread that it is on: then it goes on where it yields to others.
const PROMPT_TICKS: u32 = 1;
/// Calls that wait for servers at once; a near hit needs none of these places.
const WAITING_MAX: usize = 512;

pub struct Runtime {
    lineup: ArcSwap<Lineup>,
    waiting: Semaphore,
    /// Places for calls that compute for long: half of the cores stay free of them.
    overtime: Semaphore,
    pub counts: Counts,
    request_deadline: Duration,
    /// A generation has failed too often, and the one before answers again.
    pub returned: Notify,
}

impl Runtime {
    pub fn new(generation: Arc<Generation>, request_deadline: Duration) -> Runtime {
        Runtime {
            lineup: ArcSwap::from_pointee(Lineup::alone(generation)),
            waiting: Semaphore::new(WAITING_MAX),
            overtime: Semaphore::new(cores().div_ceil(2)),
            counts: Counts::default(),
            request_deadline,
            returned: Notify::new(),
        }
    }

    pub fn lineup(&self) -> Arc<Lineup> {
        self.lineup.load_full()
    }

    /// Replaces the lineup, unless it is not `expected` any more. Calls under way end on the old one.
    pub fn swap(&self, expected: &Arc<Lineup>, lineup: Lineup) -> bool {
        let previous = self.lineup.compare_and_swap(expected, Arc::new(lineup));
        Arc::ptr_eq(&previous, expected)
    }

    fn call(&self, tenant: Option<Tenant>, began: Moment) -> Call {
        Runtime::call_of(tenant, began, self.request_deadline)
    }

    /// A call that goes on where it may wait and yields, if it does not end at once.
    fn waiting_call(&self, tenant: &Tenant, began: Moment) -> Call {
        Call {
            prompt_ticks: PROMPT_TICKS,
            ..self.call(Some(tenant.clone()), began)
        }
    }

    fn call_of(tenant: Option<Tenant>, began: Moment, deadline: Duration) -> Call {
        Call {
            tenant,
            began,
            deadline: began.plus(deadline),
            ticks: GUEST_TICKS,
            prompt_ticks: GUEST_TICKS,
            trial: None,
            hurried: false,
            shadow: false,
        }
    }

    pub async fn resolve(
        &self,
        tenant: &Tenant,
        request: &Request,
    ) -> Result<Answer, ResolveError> {
        let answer = self.answer(tenant, request).await;
        self.counts.note(&answer);
        answer
    }

    async fn answer(&self, tenant: &Tenant, request: &Request) -> Result<Answer, ResolveError> {
        let lineup = self.lineup.load();
        let call = self.waiting_call(tenant, Moment::now());
        let said = self.asked(&lineup, &call, &One(request)).await?;
        let Said {
            outcome,
            component,
            settings,
            ..
        } = said;
        let answer = convert::answer(outcome, tenant, request, component, settings)?;
        if let Some(shadow) = &lineup.shadow {
            shadow.offer(tenant, request, &answer);
        }
        Ok(answer)
    }

    /// Calls that wait for servers now, and how many may.
    pub fn waiting(&self) -> (usize, usize) {
        (WAITING_MAX - self.waiting.available_permits(), WAITING_MAX)
    }

    /// Resolves requests of one tenant, in order, by one call of the guest. `began`: when the
    /// whole began that these are a part of.
    pub async fn resolve_batch(
        &self,
        began: Moment,
        tenant: &Tenant,
        requests: &[&Request],
    ) -> Vec<Result<Answer, ResolveError>> {
        let call = self.waiting_call(tenant, began);
        let answers = self.batch(&call, tenant, requests).await;
        answers.iter().for_each(|answer| self.counts.note(answer));
        answers
    }

    /// Resolves requests against a record that is stored nowhere.
    pub async fn try_record(
        &self,
        tenant: &Tenant,
        record: Arc<Entry>,
        requests: &[&Request],
    ) -> Vec<Result<Answer, ResolveError>> {
        let mut call = self.waiting_call(tenant, Moment::now());
        call.trial = Some(record);
        let mut answers = self.batch(&call, tenant, requests).await;
        for answer in answers.iter_mut().flatten() {
            // It was never written, so it has no revision.
            answer.provenance.revision = None;
        }
        answers
    }

    async fn batch(
        &self,
        call: &Call,
        tenant: &Tenant,
        requests: &[&Request],
    ) -> Vec<Result<Answer, ResolveError>> {
        let lineup = self.lineup.load_full();
        let said = match self.asked(&lineup, call, &Many(requests)).await {
            Ok(asked) => asked,
            Err(error) => return requests.iter().map(|_| Err(error.clone())).collect(),
        };
        let shadow = lineup.shadow.as_ref().filter(|_| call.trial.is_none());
        let answers = said.outcome.into_iter().zip(requests);
        answers
            .map(|(outcome, request)| {
                let (component, settings) = (said.component.clone(), said.settings.clone());
                let answer = convert::answer(outcome, tenant, request, component, settings)?;
                if let Some(shadow) = shadow {
                    shadow.offer(tenant, request, &answer);
                }
                Ok(answer)
            })
            .collect()
    }

    /// Asks the generation in force; if it fails while it is watched, the one before.
    async fn asked<Q: Question>(
        &self,
        lineup: &Arc<Lineup>,
        call: &Call,
        question: &Q,
    ) -> Result<Said<Q::Outcome>, ResolveError> {
        let mut first = self.said(&lineup.current, call, question).await;
        let Some(why) = blame(&mut first, question) else {
            return first;
        };
        let Some(good) = lineup.watching() else {
            return first;
        };
        let mut second = self.said(good, call, question).await;
        // What the one before cannot answer either is not the new one's fault.
        if blame(&mut second, question).is_some() || second.is_err() {
            return first;
        }
        self.fault(lineup, good, &why);
        second
    }

    /// Notes that the generation in force failed where the one before did not; after too many, that
    /// one answers again.
    fn fault(&self, lineup: &Arc<Lineup>, good: &Arc<Generation>, why: &str) {
        let current = &lineup.current;
        current.note_error(why);
        if !lineup.watch.fault(why) {
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
                why,
                "the new component has failed too often: the one before answers again"
            );
            current.retire();
            self.returned.notify_one();
        }
    }

    /// Asks one generation. First on a prompt instance, which answers near hits and cannot wait; only
    /// if it wanted to wait, once more on a waiting one. If there is no place to wait in, a stale
    /// answer is better than none.
    async fn said<Q: Question>(
        &self,
        generation: &Generation,
        call: &Call,
        question: &Q,
    ) -> Result<Said<Q::Outcome>, ResolveError> {
        // Once more, if settings changed while the call waited (rule D1).
        for last in [false, true] {
            let said = match generation.promptly(call, question)? {
                Prompt::Said(said) => call.in_time(said)?,
                Prompt::WantsIo => {
                    let waiting = generation.waiting(call, question);
                    match self.wait(call, waiting).await {
                        Err(ResolveError::Overloaded) => hurried(generation, call, question)?,
                        said => said?,
                    }
                }
                Prompt::Overtime => {
                    let work = async {
                        // Never closed.
                        let _place = self.overtime.acquire().await;
                        generation.waiting(call, question).await
                    };
                    self.wait(call, work).await?
                }
            };
            if said.current || last {
                return Ok(said);
            }
        }
        Err(ResolveError::Overloaded)
    }

    /// Canonical text of a record, or what is wrong with it. Asks no server.
    pub fn validate(&self, record: &str) -> Result<String, InvalidRecord> {
        let lineup = self.lineup.load();
        let call = self.call(None, Moment::now());
        let outcome = lineup.current.validate(&call, record);
        match (&outcome, lineup.watching()) {
            (Err(InvalidRecord::Component(why)), Some(good)) => {
                match good.validate(&call, record) {
                    Err(InvalidRecord::Component(_)) => outcome,
                    second => {
                        self.fault(&lineup, good, why);
                        second
                    }
                }
            }
            _ => outcome,
        }
    }

    /// The same by a generation that need not be in force.
    pub fn validate_by(
        &self,
        generation: &Generation,
        record: &str,
    ) -> Result<String, InvalidRecord> {
        generation.validate(&self.call(None, Moment::now()), record)
    }

    /// Lets a call wait for servers, within its deadline and within the cap.
    async fn wait<T>(
        &self,
        call: &Call,
        waiting: impl Future<Output = Result<T, ResolveError>>,
    ) -> Result<T, ResolveError> {
        let work = async {
            let Ok(_place) = self.waiting.try_acquire() else {
                return Err(ResolveError::Overloaded);
            };
            waiting.await
        };
        let left = call.deadline.since(Moment::now());
        let outcome = tokio::time::timeout(left, work).await;
        call.in_time(outcome.unwrap_or(Err(ResolveError::Late))?)
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What can be said without any server.
fn hurried<Q: Question>(
    generation: &Generation,
    call: &Call,
    question: &Q,
) -> Result<Said<Q::Outcome>, ResolveError> {
    let mut call = call.clone();
    call.hurried = true;
    call.prompt_ticks = call.ticks;
    let Prompt::Said(mut said) = generation.promptly(&call, question)? else {
        return Err(ResolveError::Overloaded);
    };
    match question
        .outcomes(&mut said.outcome)
        .iter()
        .any(Result::is_ok)
    {
        true => Ok(said),
        false => Err(ResolveError::Overloaded),
    }
}

/// Why the component may be to blame that there is no answer; `None`: there is one, or the servers are,
/// or the caller.
fn blame<Q: Question>(
    said: &mut Result<Said<Q::Outcome>, ResolveError>,
    question: &Q,
) -> Option<String> {
    let said = match said {
        Err(ResolveError::Component(why)) => return Some(why.clone()),
        Err(_) => return None,
        Ok(said) => said,
    };
    let excused = said.excused;
    let suspect = |outcome: &Outcome| match outcome {
        Ok(_) => None,
        Err(Failure::RecordInvalid(_)) => Some("it refuses a stored record"),
        Err(Failure::RequestInvalid(_)) => Some("it refuses a request"),
        Err(Failure::Unavailable) if !excused => {
            Some("it has no answer, though nothing failed that it asked")
        }
        Err(Failure::RevisionUnknown) if question.least_demand() == 0 => {
            Some("it misses a revision that nobody demanded")
        }
        Err(_) => None,
    };
    let outcomes = question.outcomes(&mut said.outcome);
    outcomes.iter().find_map(suspect).map(str::to_owned)
}

impl Call {
    /// Rule K2: a process that was stopped on the way answers with an error, not late.
    fn in_time<T>(&self, outcome: T) -> Result<T, ResolveError> {
        if Moment::now() <= self.deadline {
            Ok(outcome)
        } else {
            Err(ResolveError::Late)
        }
    }
}

//! Calls of the component: takes an instance, binds it to a tenant, calls, and turns what comes
//! back into an answer. Knows neither HTTP nor where records are kept.

pub mod bindings;
mod convert;
mod engine;
mod generation;
mod instances;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::answer::{Answer, ResolveError};
use crate::capabilities::Call;
use crate::coherence::{Entry, Moment};
use crate::counts::Counts;
use crate::ids::Tenant;
use crate::ordain::InvalidRecord;
use crate::request::Request;

pub use engine::{EngineError, GuestEngine};
pub use generation::{Generation, LoadError, inspect};
use generation::{Outcome, Said};

/// Ticks of the engine (10 ms each) that the guest may compute through in one call.
const GUEST_TICKS: u32 = 25;
/// Calls that wait for servers at once; a near hit needs none of these places.
const WAITING_MAX: usize = 512;

pub struct Runtime {
    current: ArcSwap<Generation>,
    waiting: Semaphore,
    pub counts: Counts,
    request_deadline: Duration,
}

impl Runtime {
    pub fn new(generation: Arc<Generation>, request_deadline: Duration) -> Runtime {
        Runtime {
            current: ArcSwap::new(generation),
            waiting: Semaphore::new(WAITING_MAX),
            counts: Counts::default(),
            request_deadline,
        }
    }

    /// The component that answers now.
    pub fn generation(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    fn call(&self, tenant: Option<Tenant>, began: Moment) -> Call {
        Call {
            tenant,
            began,
            deadline: began.plus(self.request_deadline),
            ticks: GUEST_TICKS,
            trial: None,
            hurried: false,
        }
    }

    /// Resolves one request. First on a prompt instance, which answers near hits and cannot wait;
    /// only if it wanted to wait, once more on a waiting one. If there is no place to wait in, a stale
    /// answer is better than none.
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
        let generation = self.current.load();
        let mut call = self.call(Some(tenant.clone()), Moment::now());
        // Once more, if settings changed while the call waited (rule D1).
        for last in [false, true] {
            let said = match generation.resolve_promptly(&call, request)? {
                Some(said) => call.in_time(said)?,
                None => {
                    let waiting = generation.resolve_waiting(&call, request);
                    match self.wait(&call, waiting).await {
                        Err(ResolveError::Overloaded) => {
                            call.hurried = true;
                            let said = generation.resolve_promptly(&call, request)?;
                            said.filter(|said| said.outcome.is_ok())
                                .ok_or(ResolveError::Overloaded)?
                        }
                        said => said?,
                    }
                }
            };
            if said.current || last {
                let settings = said.settings;
                let digest = generation.digest();
                return convert::answer(said.outcome, tenant, request, digest, settings);
            }
        }
        Err(ResolveError::Overloaded)
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
        let call = self.call(Some(tenant.clone()), began);
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
        let mut call = self.call(Some(tenant.clone()), Moment::now());
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
        let generation = self.current.load_full();
        let said = self.batch_said(&generation, call, requests).await;
        match said {
            Ok(Said {
                outcome, settings, ..
            }) => outcome
                .into_iter()
                .zip(requests)
                .map(|(outcome, request)| {
                    let settings = settings.clone();
                    convert::answer(outcome, tenant, request, generation.digest(), settings)
                })
                .collect(),
            Err(error) => requests.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn batch_said(
        &self,
        generation: &Generation,
        call: &Call,
        requests: &[&Request],
    ) -> Result<Said<Vec<Outcome>>, ResolveError> {
        let mut call = call.clone();
        for last in [false, true] {
            let said = match generation.resolve_batch_promptly(&call, requests)? {
                Some(said) => call.in_time(said)?,
                None => {
                    let waiting = generation.resolve_batch_waiting(&call, requests);
                    match self.wait(&call, waiting).await {
                        Err(ResolveError::Overloaded) => {
                            call.hurried = true;
                            let said = generation.resolve_batch_promptly(&call, requests)?;
                            said.filter(|said| said.outcome.iter().any(Result::is_ok))
                                .ok_or(ResolveError::Overloaded)?
                        }
                        said => said?,
                    }
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
        let generation = self.current.load();
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

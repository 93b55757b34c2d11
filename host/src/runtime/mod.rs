//! Calls of the component: takes an instance of the generation in force, binds it to a tenant, calls,
//! and turns what comes back into an answer. Knows neither HTTP nor where records are kept, and does
//! not decide which generation is in force (`ordain/components`).

pub mod bindings;
mod blame;
mod compiled;
mod compiler;
mod convert;
mod engine;
mod generation;
mod idle;
mod instances;
mod limits;
mod lineup;
mod loader;
mod log_limit;
mod question;
mod sandbox;
mod shadow;
pub mod signature;
mod vectors;
pub mod world;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, Semaphore};

use crate::answer::{Answer, ResolveError};
use crate::capabilities::Call;
use crate::coherence::{Entry, Moment};
use crate::counts::Counts;
use crate::effective::EffectiveConfig;
use crate::ids::Tenant;
use crate::ordain::InvalidRecord;
use crate::places::Places;
use crate::request::Request;
use crate::shares::Whose;

pub use compiler::compile_apart;
pub use engine::{EngineError, GuestEngine, Room};
use generation::Prompt;
pub use generation::{BYTES_MAX, Generation, LoadError, Said, digest, inspect};
pub use lineup::{Lineup, Watch, WatchStatus};
pub use loader::Loader;
pub use question::Check;
use question::{Config, Many, One, Question};
pub use sandbox::services_in_memory;
pub use shadow::{Plan, Report, Sample, Shadow};
pub use vectors::{Vectors, VectorsError};

use blame::{blame, improves};

/// Ticks of the engine (5 ms each) that the guest may compute through in one call.
const GUEST_TICKS: u32 = 50;
/// The same without a break for the thread that it is on: then it goes on where it yields to others.
const PROMPT_TICKS: u32 = 1;
/// Why a call of a component ends that could have gone on.
const OVERTIME: &str = "it computed for too long";
/// Calls that wait for servers at once, and those of one tenant; a near hit needs none of these places.
const WAITING_MAX: usize = 512;
const WAITING_EACH: usize = 8;
/// For a place to wait in, as a part of what is left of a call's time.
const QUEUEING: u32 = 4;

pub struct Runtime {
    lineup: ArcSwap<Lineup>,
    pub waiting: Places,
    /// Places for calls that compute for long: half of the cores stay free of them.
    overtime: Semaphore,
    /// Decisions.
    pub counts: Counts,
    /// Effective configs.
    pub config_counts: Counts,
    request_deadline: Duration,
    /// Digests of generations that have failed too often.
    returned: Mutex<Vec<Arc<str>>>,
    has_returned: Notify,
    /// It is settled which component answers.
    is_open: AtomicBool,
}

impl Runtime {
    pub fn new(generation: Arc<Generation>, request_deadline: Duration) -> Runtime {
        Runtime {
            lineup: ArcSwap::from_pointee(Lineup::alone(generation)),
            waiting: Places::waiting(WAITING_MAX, WAITING_EACH),
            overtime: Semaphore::new(cores().div_ceil(2)),
            counts: Counts::default(),
            config_counts: Counts::default(),
            request_deadline,
            returned: Mutex::default(),
            has_returned: Notify::new(),
            is_open: AtomicBool::new(true),
        }
    }

    /// Gives no answers until it is opened: it is not known yet which component the fleet wants.
    pub fn closed(generation: Arc<Generation>, request_deadline: Duration) -> Runtime {
        Runtime {
            is_open: AtomicBool::new(false),
            ..Runtime::new(generation, request_deadline)
        }
    }

    pub fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
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
        self.counts.note(answer.as_ref().map(|a| &a.provenance));
        answer
    }

    async fn answer(&self, tenant: &Tenant, request: &Request) -> Result<Answer, ResolveError> {
        if !self.is_open() {
            return Err(ResolveError::Unavailable);
        }
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
        (self.waiting.taken(), WAITING_MAX)
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
        for answer in &answers {
            self.counts.note(answer.as_ref().map(|a| &a.provenance));
        }
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
        if !self.is_open() {
            return requests
                .iter()
                .map(|_| Err(ResolveError::Unavailable))
                .collect();
        }
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

    /// Asks the generation in force; if it fails while it is watched, the one before. What computes for
    /// long is asked of both at once before it is given more time.
    async fn asked<Q: Question>(
        &self,
        lineup: &Arc<Lineup>,
        call: &Call,
        question: &Q,
    ) -> Result<Said<Q::Outcome>, ResolveError> {
        let current = &lineup.current;
        let mut patient = false;
        loop {
            let good = lineup.watching();
            let alone = good.is_none();
            let first = self.said(current, call, question, patient || alone).await;
            let (Some(why), Some(good)) = (blame(&first, question), good) else {
                return first;
            };
            let second = self.said(good, call, question, patient).await;
            if improves(&first, &second, question) {
                self.fault(lineup, good, &why);
                return second;
            }
            if patient || why != OVERTIME {
                // Neither has an answer: nobody is to blame, and a reason is better than a trap.
                return match (first, second) {
                    (Err(ResolveError::Component(_)), Ok(second)) => Ok(second),
                    (first, _) => first,
                };
            }
            patient = true;
        }
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
            lock(&self.returned).push(current.digest().clone());
            self.has_returned.notify_one();
        }
    }

    /// Waits for components that have failed too often, so that the ones before answer again: their
    /// digests.
    pub async fn returned(&self) -> Vec<Arc<str>> {
        loop {
            let failed = std::mem::take(&mut *lock(&self.returned));
            if !failed.is_empty() {
                return failed;
            }
            self.has_returned.notified().await;
        }
    }

    /// Asks one generation. First on a prompt instance, which answers near hits and cannot wait; only
    /// if it wanted to wait, once more on a waiting one. If there is no place to wait in, a stale
    /// answer is better than none. What computes for long is given more time only if `patient`.
    async fn said<Q: Question>(
        &self,
        generation: &Generation,
        call: &Call,
        question: &Q,
        patient: bool,
    ) -> Result<Said<Q::Outcome>, ResolveError> {
        // Once more, if settings changed while the call waited (rule D1).
        for last in [false, true] {
            let said = match generation.promptly(call, question)? {
                Prompt::Said(said) => call.in_time(said)?,
                Prompt::WantsIo => self.waited(generation, call, question).await?,
                Prompt::Overtime if !patient => {
                    return Err(ResolveError::Component(OVERTIME.to_owned()));
                }
                Prompt::Overtime => {
                    let left = call.deadline.since(Moment::now());
                    let place = tokio::time::timeout(left, self.overtime.acquire()).await;
                    let Ok(Ok(_place)) = place else {
                        return Err(ResolveError::Late);
                    };
                    self.wait(call, generation.waiting(call, question)).await?
                }
            };
            if said.current || last {
                return Ok(said);
            }
        }
        Err(ResolveError::Overloaded)
    }

    /// Answers a call that wants to wait for servers, as soon as there is a place for it; while it waited for
    /// that, others may have fetched what it wants. Without a place a stale answer is better than none.
    async fn waited<Q: Question>(
        &self,
        generation: &Generation,
        call: &Call,
        question: &Q,
    ) -> Result<Said<Q::Outcome>, ResolveError> {
        let whose = call.tenant.as_ref().map_or(Whose::Operator, Whose::from);
        let mut place = self.waiting.try_take(&whose);
        if place.is_none() {
            let left = call.deadline.since(Moment::now());
            place = self.waiting.take(&whose, left / QUEUEING).await;
            if place.is_none() {
                return call.in_time(hurried(generation, call, question)?);
            }
            if let Prompt::Said(said) = generation.promptly(call, question)? {
                return call.in_time(said);
            }
        }
        self.wait(call, generation.waiting(call, question)).await
    }

    /// What config holds for a user of the tenant, or for the tenant.
    pub async fn effective_config(
        &self,
        tenant: &Tenant,
        user: Option<&str>,
        min_revision: u64,
    ) -> Result<EffectiveConfig, ResolveError> {
        if !self.is_open() {
            return Err(ResolveError::Unavailable);
        }
        let lineup = self.lineup.load();
        let call = self.waiting_call(tenant, Moment::now());
        let question = Config { user, min_revision };
        let answer = match self.asked(&lineup, &call, &question).await {
            Ok(said) => convert::effective(said.outcome, said.component, said.settings),
            Err(error) => Err(error),
        };
        let outcome = answer.as_ref().map(|answer| &answer.provenance);
        self.config_counts.note(outcome);
        answer
    }

    /// Canonical text of a record, or what is wrong with it. Asks no server.
    pub fn check(&self, check: Check<'_>) -> Result<String, InvalidRecord> {
        let lineup = self.lineup.load();
        let call = self.call(None, Moment::now());
        let outcome = lineup.current.check(&call, check);
        match (&outcome, lineup.watching()) {
            (Err(InvalidRecord::Component(why)), Some(good)) => match good.check(&call, check) {
                Err(InvalidRecord::Component(_) | InvalidRecord::NotOffered) => outcome,
                second => {
                    self.fault(&lineup, good, why);
                    second
                }
            },
            _ => outcome,
        }
    }

    /// The same by a generation that need not be in force.
    pub fn check_by(
        &self,
        generation: &Generation,
        check: Check<'_>,
    ) -> Result<String, InvalidRecord> {
        generation.check(&self.call(None, Moment::now()), check)
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    let Prompt::Said(said) = generation.promptly(&call, question)? else {
        return Err(ResolveError::Overloaded);
    };
    let is_answer = question.outcomes(&said.outcome).any(|one| one.is_ok());
    match is_answer {
        true => Ok(said),
        false => Err(ResolveError::Overloaded),
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

//! Calls of the component: takes an instance of the generation in force, binds it to a tenant, calls,
//! and turns what comes back into an answer. Knows neither HTTP nor where records are kept, and does
//! not decide which generation is in force (`ordain/components`).

mod blame;
mod check;
mod compiled;
mod compiler;
mod convert;
mod engine;
mod generation;
mod idle;
mod instances;
mod judge;
mod limits;
mod lineup;
mod loader;
mod log_limit;
mod question;
mod sandbox;
mod shadow;
pub mod signature;
mod vectors;
mod watch;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::answer::{Answer, ResolveError};
use crate::capabilities::{Call, Turn};
use crate::coherence::{Entry, Moment};
use crate::counts::Counts;
use crate::effective::EffectiveConfig;
use crate::ids::Tenant;
use crate::ordain::InvalidRecord;
use crate::places::Places;
use crate::request::Request;
use crate::shares::{Shares, Whose};

pub use check::Check;
pub use compiler::compile_apart;
pub use engine::{EngineError, GuestEngine, Room};
use generation::Prompt;
pub use generation::{BYTES_MAX, Generation, LoadError, Said, digest, inspect};
pub use lineup::Lineup;
pub use loader::Loader;
use question::{Config, Many, One, Question};
pub use sandbox::services_in_memory;
pub use shadow::{Plan, Report, Sample, Shadow};
pub use vectors::{Vectors, VectorsError};
pub use watch::{Watch, WatchStatus};

use blame::OVERTIME;

/// Ticks of the engine (5 ms each) that the guest may compute through in one call.
const GUEST_TICKS: u32 = 50;
/// The same without a break for the thread that it is on: then it goes on where it yields to others.
const PROMPT_TICKS: u32 = 1;
/// Calls that wait for servers at once, and those of one tenant; a near hit needs none of these places.
const WAITING_MAX: usize = 512;
const WAITING_EACH: usize = 8;
/// The part of a call's time after which a stale answer is better than to wait on for a place.
const PATIENCE: u32 = 4;

pub struct Runtime {
    lineup: ArcSwap<Lineup>,
    pub waiting: Places,
    /// Places for calls that compute for long: half of the cores stay free of them.
    computing: Shares,
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
            computing: Shares::new(cores().div_ceil(2), cores().div_ceil(2)),
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

    /// A call that goes on where it may wait and yields, if it does not end at once.
    fn waiting_call(&self, whose: Whose, tenant: &Tenant, began: Moment) -> Call {
        Call {
            tenant: Some(tenant.clone()),
            prompt_ticks: PROMPT_TICKS,
            ..Runtime::call_of(whose, began, self.request_deadline)
        }
    }

    /// A call that concerns no tenant, yet.
    fn call_of(whose: Whose, began: Moment, deadline: Duration) -> Call {
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

    pub async fn resolve(
        &self,
        whose: Whose,
        tenant: &Tenant,
        request: &Request,
    ) -> Result<Answer, ResolveError> {
        let answer = self.answer(whose, tenant, request).await;
        self.counts.note(answer.as_ref().map(|a| &a.provenance));
        answer
    }

    async fn answer(
        &self,
        whose: Whose,
        tenant: &Tenant,
        request: &Request,
    ) -> Result<Answer, ResolveError> {
        if !self.is_open() {
            return Err(ResolveError::Unavailable);
        }
        let lineup = self.lineup.load();
        let call = self.waiting_call(whose, tenant, Moment::now());
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
        whose: Whose,
        began: Moment,
        tenant: &Tenant,
        requests: &[&Request],
    ) -> Vec<Result<Answer, ResolveError>> {
        let call = self.waiting_call(whose, tenant, began);
        let answers = self.batch(&call, tenant, requests).await;
        for answer in &answers {
            self.counts.note(answer.as_ref().map(|a| &a.provenance));
        }
        answers
    }

    /// Resolves requests against a record that is stored nowhere.
    pub async fn try_record(
        &self,
        whose: Whose,
        tenant: &Tenant,
        record: Arc<Entry>,
        requests: &[&Request],
    ) -> Vec<Result<Answer, ResolveError>> {
        let mut call = self.waiting_call(whose, tenant, Moment::now());
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
            let prompt = match question.is_heavy() {
                true => Prompt::Overtime,
                false => generation.promptly(call, question)?,
            };
            let said = match prompt {
                Prompt::Said(said) => call.in_time(said)?,
                Prompt::WantsIo => self.waited(generation, call, question).await?,
                Prompt::Overtime if !patient && !question.is_heavy() => {
                    return Err(ResolveError::Component(OVERTIME.to_owned()));
                }
                Prompt::Overtime => {
                    let waiting = self.turn_of(call, question);
                    if let Some(turn) = &waiting.turn {
                        turn.come().await;
                        if turn.is_refused() {
                            call.in_time(())?;
                            return Err(ResolveError::Overloaded);
                        }
                    }
                    let waiting = generation.waiting(&waiting, question);
                    self.wait(call, waiting).await?
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
        let whose = &call.whose;
        let mut place = self.waiting.try_take(whose);
        if place.is_none() {
            let left = call.deadline.since(Moment::now());
            let mut turn = std::pin::pin!(self.waiting.take(whose, left));
            place = match tokio::time::timeout(left / PATIENCE, &mut turn).await {
                Ok(place) => place,
                Err(_) => match hurried(generation, call, question) {
                    Ok(said) => return call.in_time(said),
                    Err(_) => turn.await,
                },
            };
            if place.is_none() {
                return call.in_time(hurried(generation, call, question)?);
            }
            if let Prompt::Said(said) = generation.promptly(call, question)? {
                return call.in_time(said);
            }
        }
        let waiting = self.turn_of(call, question);
        self.wait(call, generation.waiting(&waiting, question))
            .await
    }

    /// What config holds for a user of the tenant, or for the tenant.
    pub async fn effective_config(
        &self,
        whose: Whose,
        tenant: &Tenant,
        user: Option<&str>,
        min_revision: u64,
    ) -> Result<EffectiveConfig, ResolveError> {
        if !self.is_open() {
            return Err(ResolveError::Unavailable);
        }
        let lineup = self.lineup.load();
        let call = self.waiting_call(whose, tenant, Moment::now());
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
    pub async fn check(&self, whose: Whose, check: Check<'_>) -> Result<String, InvalidRecord> {
        let lineup = self.lineup.load_full();
        let call = self.checking_call(whose);
        check::checked(self.asked(&lineup, &call, &check).await)
    }

    /// The same by a generation that need not be in force.
    pub async fn check_by(
        &self,
        generation: &Generation,
        check: Check<'_>,
    ) -> Result<String, InvalidRecord> {
        let call = self.checking_call(Whose::Operator);
        check::checked(self.said(generation, &call, &check, true).await)
    }

    /// What is written afterwards needs some time as well.
    fn checking_call(&self, whose: Whose) -> Call {
        let deadline = self.request_deadline * 4 / 5;
        Call {
            prompt_ticks: PROMPT_TICKS,
            ..Runtime::call_of(whose, Moment::now(), deadline)
        }
    }

    /// The call, where it may wait.
    fn turn_of<Q: Question>(&self, call: &Call, question: &Q) -> Call {
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

//! A candidate that answers a share of the live calls after the component in force has, and whose
//! answers go to nobody: they are compared, whatever was asked. It has one thread of low priority
//! and a short queue; what does not fit is dropped, so no call ever waits for it, and under load it
//! is the first to go. Not for what is kept of a comparison (`tally`), nor for what follows from it
//! (`door/components`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use rand::Rng;
use serde_json::Value;
use tokio::sync::Notify;

use super::generation::Generation;
use super::reply::Prompt;
use super::tally::{Asked, Outcome, Report, find_differing};
use crate::answer::ResolveError;
use crate::calls::{Compared, Reply, read_failure};
use crate::capabilities::Call;
use ordain_coherence::Moment;
use ordain_coherence::shares::Whose;
use ordain_store::ids::Tenant;

/// Answers that wait to be compared.
const QUEUE: usize = 256;
/// Pause of the thread: requests need not wake it.
const PAUSE: Duration = Duration::from_millis(2);
/// Answers that it compares between two pauses: a few hundredths of a core, however many there are.
const AT_ONCE: usize = 8;
/// Deadline of one call of the candidate.
const PATIENCE: Duration = Duration::from_secs(1);

pub struct Shadow {
    candidate: Arc<Generation>,
    plan: Plan,
    queue: ArrayQueue<Box<dyn Case>>,
    dropped: AtomicU64,
    report: Mutex<Report>,
    /// The plan's number of equal answers has been reached.
    pub ready: Arc<Notify>,
}

/// How a candidate is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Share of the requests, 0 to 1.
    pub share: f64,
    /// Promote it by itself after so many equal answers and no other.
    pub promote_after: Option<u64>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            share: 1.0,
            promote_after: None,
        }
    }
}

/// A call that was answered, whichever it was.
trait Case: Send {
    /// Asks the candidate the same.
    fn compare(&self, candidate: &Generation) -> Outcome;

    fn asked(&self) -> Asked;
}

struct Answered<Q: Compared> {
    tenant: Option<Tenant>,
    question: Q,
    reply: Q::Reply,
    /// Digest of the settings that it was answered by.
    settings: Arc<str>,
}

impl Shadow {
    /// Starts to compare; ends when the shadow is dropped.
    pub fn start(candidate: Arc<Generation>, plan: Plan) -> std::io::Result<Arc<Shadow>> {
        let shadow = Arc::new(Shadow {
            candidate,
            plan,
            queue: ArrayQueue::new(QUEUE),
            dropped: AtomicU64::new(0),
            report: Mutex::default(),
            ready: Arc::new(Notify::new()),
        });
        // It may have been in force before.
        shadow.candidate.enlist();
        let weak = Arc::downgrade(&shadow);
        std::thread::Builder::new()
            .name("shadow".to_owned())
            .spawn(move || compare_all(&weak))?;
        Ok(shadow)
    }

    pub fn candidate(&self) -> &Arc<Generation> {
        &self.candidate
    }

    pub fn plan(&self) -> Plan {
        self.plan
    }

    pub fn report(&self) -> Report {
        let mut report = self.lock().clone();
        report.dropped = self.dropped.load(Ordering::Relaxed);
        report
    }

    /// Takes an answer to compare, perhaps. On the path of every call: what is not taken costs
    /// next to nothing.
    pub(super) fn offer<Q: Compared>(
        &self,
        tenant: Option<&Tenant>,
        question: &Q,
        reply: &Q::Reply,
        settings: &Arc<str>,
    ) {
        // What failed is no answer, and the candidate is not better for failing as well.
        if !reply.answers().all(|answer| answer.is_ok()) {
            return;
        }
        if self.plan.share < 1.0 && rand::rng().random::<f64>() >= self.plan.share {
            return;
        }
        // Long texts would fill the memory of the queue.
        if question.is_heavy() || self.queue.is_full() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let case = Answered {
            tenant: tenant.cloned(),
            question: question.keep(),
            reply: reply.clone(),
            settings: settings.clone(),
        };
        if self.queue.push(Box::new(case)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compare(&self, case: &dyn Case) {
        if self.lock().has_given_up() {
            return;
        }
        let outcome = case.compare(&self.candidate);
        let mut report = self.lock();
        report.note(case.asked(), outcome);
        if report.is_ready(self.plan.promote_after) {
            self.ready.notify_one();
        }
    }
}

impl<Q: Compared + Send> Case for Answered<Q> {
    fn compare(&self, candidate: &Generation) -> Outcome {
        let whose = self.tenant.as_ref().map_or(Whose::Operator, Whose::from);
        let call = Call {
            tenant: self.tenant.clone(),
            shadow: true,
            ..Call::new(whose, Moment::now(), PATIENCE)
        };
        let said = match candidate.call_promptly(&call, &self.question) {
            Ok(Prompt::Said(said)) => said,
            // It wants to wait for a server, or is of a version that has no such call.
            Ok(Prompt::WantsIo | Prompt::Overtime) | Err(ResolveError::NotOffered(_)) => {
                return Outcome::Skipped;
            }
            Err(error) => return Outcome::Failed(show_error(&error)),
        };
        if let Some(failure) = said.reply.answers().find_map(Result::err) {
            // Excused: so would the component in force have, had it asked now.
            return match said.excused {
                true => Outcome::Skipped,
                false => Outcome::Failed(show_error(&read_failure(failure.clone()))),
            };
        }
        let show = |reply| self.question.show(self.tenant.as_ref(), reply);
        match (show(self.reply.clone()), show(said.reply)) {
            // Of the same record under the same settings.
            (Some(current), Some(candidate))
                if current.revision == candidate.revision && said.settings == self.settings =>
            {
                Outcome::Compared(find_differing(&current.fields, &candidate.fields))
            }
            _ => Outcome::Skipped,
        }
    }

    fn asked(&self) -> Asked {
        Asked {
            export: Q::EXPORT,
            tenant: self.tenant.as_ref().map(Tenant::to_string),
            task: self.question.task().map(str::to_owned),
        }
    }
}

fn compare_all(shadow: &Weak<Shadow>) {
    // Not the lowest: it takes locks of near that live requests take, too. Refused: then it
    // competes like any other thread.
    let _ = rustix::process::setpriority_process(None, 10);
    while let Some(shadow) = shadow.upgrade() {
        let cases = std::iter::from_fn(|| shadow.queue.pop());
        cases.take(AT_ONCE).for_each(|case| shadow.compare(&*case));
        drop(shadow);
        std::thread::sleep(PAUSE);
    }
}

/// Without the texts of faults: they quote records.
fn show_error(error: &ResolveError) -> Value {
    match error {
        ResolveError::Component(why) => format!("the component failed: {why}").into(),
        other => other.to_string().into(),
    }
}

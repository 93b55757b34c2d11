//! A candidate that answers a share of the live requests after the component in force has, and
//! whose answers go to nobody: they are compared. It has one thread of low priority and a short
//! queue; what does not fit is dropped, so no request ever waits for it, and under load it is the
//! first to go. Not for what follows from the comparison (`door/components`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use crossbeam_queue::ArrayQueue;
use rand::Rng;
use serde_json::Value;
use tokio::sync::Notify;

use super::convert;
use super::generation::Generation;
use super::question::One;
use super::reply::Prompt;
use crate::answer::{Answer, ResolveError};
use crate::capabilities::Call;
use crate::request::Request;
use ordain_coherence::Moment;
use ordain_coherence::shares::Whose;
use ordain_store::ids::Tenant;

/// Answers that wait to be compared.
const QUEUE: usize = 256;
/// Differing answers that are kept to be looked at.
const SAMPLES: usize = 20;
/// Pause of the thread: requests need not wake it.
const PAUSE: Duration = Duration::from_millis(2);
/// Answers that it compares between two pauses: a few hundredths of a core, however many there are.
const AT_ONCE: usize = 8;
/// Failures of the candidate, after which it is asked no more.
const FAILURES_MAX: u64 = 20;

pub struct Shadow {
    candidate: Arc<Generation>,
    plan: Plan,
    queue: ArrayQueue<Case>,
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

/// An answer that was given.
struct Case {
    tenant: Tenant,
    request: Request,
    answer: Answer,
}

/// What came of it so far.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub compared: u64,
    pub equal: u64,
    /// The candidate trapped, overran or gave an error.
    pub failed: u64,
    /// Could not be compared: the record has changed, or the candidate would have had to wait.
    pub skipped: u64,
    /// Not asked, for lack of time.
    pub dropped: u64,
    /// Differing answers by field.
    pub differences: BTreeMap<String, u64>,
    /// The latest of them.
    pub samples: VecDeque<Sample>,
}

/// One differing answer. No user and no record: ids of tenant and task, and what was decided.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Sample {
    /// RFC 3339.
    pub at: String,
    pub tenant: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Field, what the component in force said, what the candidate said.
    pub fields: Vec<Differing>,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Differing {
    pub field: String,
    pub current: Value,
    pub candidate: Value,
}

impl Report {
    pub fn different(&self) -> u64 {
        self.compared - self.equal
    }

    fn is_ready(&self, plan: &Plan) -> bool {
        plan.promote_after
            .is_some_and(|wanted| self.equal >= wanted && self.different() == 0 && self.failed == 0)
    }

    /// The candidate has failed too often to go on.
    pub fn has_given_up(&self) -> bool {
        self.failed > FAILURES_MAX
    }
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

    /// Takes an answer to compare, perhaps. On the path of every request: what is not taken costs
    /// next to nothing.
    pub(super) fn offer(&self, tenant: &Tenant, request: &Request, answer: &Answer) {
        if self.plan.share < 1.0 && rand::rng().random::<f64>() >= self.plan.share {
            return;
        }
        let case = || Case {
            tenant: tenant.clone(),
            request: request.clone(),
            answer: answer.clone(),
        };
        if self.queue.is_full() || self.queue.push(case()).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compare(&self, case: &Case) {
        if self.lock().has_given_up() {
            return;
        }
        let mut call = Call::new(
            Whose::from(&case.tenant),
            Moment::now(),
            Duration::from_secs(1),
        );
        call.tenant = Some(case.tenant.clone());
        call.shadow = true;
        let said = self.candidate.call_promptly(&call, &One(&case.request));
        let answer = match said {
            // It wants to wait for a server.
            Ok(Prompt::WantsIo | Prompt::Overtime) => {
                self.lock().skipped += 1;
                return;
            }
            // So would the component in force have, had it asked now.
            Ok(Prompt::Said(said)) if said.excused && said.outcome.is_err() => {
                self.lock().skipped += 1;
                return;
            }
            Ok(Prompt::Said(said)) => convert::answer(
                said.outcome,
                &case.tenant,
                &case.request,
                said.component,
                said.settings,
            ),
            Err(error) => Err(error),
        };
        let mut report = self.lock();
        let fields = match answer {
            Ok(answer) if !comparable(&case.answer, &answer) => {
                report.skipped += 1;
                return;
            }
            Ok(answer) => differing(&shown(&case.answer), &shown(&answer)),
            Err(error) => {
                report.failed += 1;
                vec![Differing {
                    field: "error".to_owned(),
                    current: Value::Null,
                    candidate: error_shown(&error),
                }]
            }
        };
        report.compared += 1;
        if fields.is_empty() {
            report.equal += 1;
        } else {
            for differing in &fields {
                *report
                    .differences
                    .entry(differing.field.clone())
                    .or_default() += 1;
            }
            report.samples.truncate(SAMPLES - 1);
            report.samples.push_front(Sample {
                at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
                tenant: case.tenant.to_string(),
                task: case.request.task.clone(),
                fields,
            });
        }
        if report.is_ready(&self.plan) {
            self.ready.notify_one();
        }
    }
}

fn compare_all(shadow: &Weak<Shadow>) {
    // Not the lowest: it takes locks of near that live requests take, too. Refused: then it
    // competes like any other thread.
    let _ = rustix::process::setpriority_process(None, 10);
    while let Some(shadow) = shadow.upgrade() {
        let cases = std::iter::from_fn(|| shadow.queue.pop());
        cases.take(AT_ONCE).for_each(|case| shadow.compare(&case));
        drop(shadow);
        std::thread::sleep(PAUSE);
    }
}

/// Of the same record under the same settings.
fn comparable(current: &Answer, candidate: &Answer) -> bool {
    current.provenance.revision == candidate.provenance.revision
        && current.provenance.settings == candidate.provenance.settings
}

/// What is compared: the decision, not where it comes from nor how a refusal is worded.
fn shown(answer: &Answer) -> Value {
    let mut value = serde_json::to_value(answer).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        members.remove("provenance");
    }
    if let Some(refusal) = value.get_mut("refusal").and_then(Value::as_object_mut) {
        refusal.remove("message");
    }
    value
}

/// Without the texts of faults: they quote records.
fn error_shown(error: &ResolveError) -> Value {
    match error {
        ResolveError::Component(why) => format!("the component failed: {why}").into(),
        other => other.to_string().into(),
    }
}

/// Every leaf that differs, its name with dots.
fn differing(current: &Value, candidate: &Value) -> Vec<Differing> {
    fn walk(path: &str, current: &Value, candidate: &Value, found: &mut Vec<Differing>) {
        let empty = serde_json::Map::new();
        match (current.as_object(), candidate.as_object()) {
            (None, None) if current == candidate => {}
            (None, None) => found.push(Differing {
                field: path.to_owned(),
                current: current.clone(),
                candidate: candidate.clone(),
            }),
            (a, b) => {
                let (a, b) = (a.unwrap_or(&empty), b.unwrap_or(&empty));
                let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
                for name in names {
                    let path = match path {
                        "" => name.clone(),
                        path => format!("{path}.{name}"),
                    };
                    let member = |of: &serde_json::Map<String, Value>| {
                        of.get(name).cloned().unwrap_or_default()
                    };
                    walk(&path, &member(a), &member(b), found);
                }
            }
        }
    }
    let mut found = Vec::new();
    walk("", current, candidate, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_that_differs_is_named_with_both_values() {
        let current =
            json!({"allow": true, "model": "a", "rules": {"model": "task"}, "temperature": 1.0});
        let candidate = json!({"allow": false, "model": "a", "refusal": {"code": "no-policy"}});
        let fields: Vec<String> = differing(&current, &candidate)
            .into_iter()
            .map(|d| format!("{} {} {}", d.field, d.current, d.candidate))
            .collect();
        let expected = [
            "allow true false",
            "refusal.code null \"no-policy\"",
            "rules.model \"task\" null",
            "temperature 1.0 null",
        ];
        assert_eq!(fields, expected);
        assert_eq!(differing(&current, &current), []);
    }

    #[test]
    fn a_candidate_is_ready_after_equal_answers_alone() {
        let plan = |promote_after| Plan {
            share: 1.0,
            promote_after,
        };
        let mut report = Report {
            compared: 10,
            equal: 10,
            ..Report::default()
        };
        assert!(report.is_ready(&plan(Some(10))));
        assert!(!report.is_ready(&plan(Some(11))));
        assert!(!report.is_ready(&plan(None)));
        report.compared = 11;
        assert!(!report.is_ready(&plan(Some(10))), "one answer differs");
    }
}

//! Judges a recorded run by the promises of the coherence protocol. Pure: the same history, the
//! same verdict. Not for collecting histories; `check_tests` shows that each promise can be broken.
//!
//! For one key, `t0` the time at which a request began:
//! - **bound** (S): an answer not marked stale reflects every change committed more than the bound
//!   before `t0`;
//! - **age**: any answer reflects every change committed before `t0` minus the age that it states;
//! - **token** (T): an answer to `minRevision r` reflects every change at or below r, and so it
//!   does for the `Ordain-Revision` that it carries;
//! - **monotonic** (M, X): an answer, stale ones included, is never older than one that the same
//!   instance completed before `t0`, nor than a change that it had applied then (`applied`);
//! - **own write**: nor than a write that this instance acknowledged before `t0`;
//! - **content**: it is the very record of the revision that it states, of that tenant;
//! - **lost write**: an acknowledged write is in the log where it was said to be; one that was said
//!   not to have happened is not (**ghost**);
//! - **deadline**: every request ends in time, and while its instance lives, with a reply.
//!
//! When a change was committed is known from outside only as "not after": it is what anybody's
//! answer proves who has seen its position or a higher one (positions become visible in order).
//! Every such moment is one of a reply, and every `t0` one before the request was sent, so the
//! check errs on the side of the accused, by the time that messages take.
//!
//! After a failover that lost commits, "committed" means in the surviving history. What was lost
//! may be shown until the bound is over, and stale until the instance is known to know better.

use std::time::Duration;

use crate::log::{Key, Log};
use crate::record::{Answer, Condition, Failed, History, Op, Silence, Tier, Time, What, Written};
use crate::told::{Told, told};

/// What the deployment promises.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub bound: Duration,
    pub stale: Duration,
    /// Of a request, with what the machine may add.
    pub deadline: Duration,
}

#[derive(Debug, Clone)]
pub struct Violation {
    pub promise: &'static str,
    pub text: String,
    pub op: Option<Op>,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {:?}", self.promise, self.text, self.op)
    }
}

/// All that was promised and not kept, in the order of the run.
pub fn check(history: &History, limits: Limits) -> Vec<Violation> {
    let log = Log::new(history);
    let told = told(history, &log);
    let mut check = Check {
        history,
        limits,
        log: &log,
        found: Vec::new(),
    };
    check.the_log();
    for (op, told) in history.ops.iter().zip(&told) {
        check.deadline(op);
        match &op.what {
            What::Read {
                outcome: Ok(answer),
                min_revision,
            } => check.answer(op, answer, *min_revision, *told),
            What::Read {
                outcome: Err(failed),
                min_revision,
            } => check.failed(op, failed, *min_revision),
            What::Write { .. } => check.write(op),
        }
    }
    let began = |violation: &Violation| violation.op.as_ref().map(|op| op.began);
    check.found.sort_by_key(began);
    check.found
}

struct Check<'a> {
    history: &'a History,
    limits: Limits,
    log: &'a Log<'a>,
    found: Vec<Violation>,
}

impl Check<'_> {
    fn report(&mut self, promise: &'static str, op: &Op, text: impl Into<String>) {
        self.found.push(Violation {
            promise,
            text: text.into(),
            op: Some(op.clone()),
        });
    }

    /// Every row has one writer, began before anybody saw it, and is what was written.
    fn the_log(&mut self) {
        let mut last = 0;
        for row in self.log.rows() {
            let text = match row.writer {
                _ if row.position <= last => "a position that is given out twice".to_owned(),
                None => "a change that nobody made".to_owned(),
                Some(op) if row.committed < op.began => {
                    format!("seen at {:?}, before its write began", row.committed)
                }
                Some(op) => match &op.what {
                    What::Write { model, .. } if *model == row.model && op.tenant == row.tenant => {
                        last = row.position;
                        continue;
                    }
                    _ => "another change than was asked for".to_owned(),
                },
            };
            last = row.position;
            self.found.push(Violation {
                promise: "log",
                text: format!("{row:?}: {text}"),
                op: row.writer.cloned(),
            });
        }
    }

    fn deadline(&mut self, op: &Op) {
        let Some(life) = op.host.and_then(|host| self.history.hosts.get(&host)) else {
            return;
        };
        if life.died.is_some_and(|died| died <= op.ended) {
            return;
        }
        let pauses = life.stopped.iter().chain(&self.history.stalls);
        let excused: Duration = pauses.map(|pause| overlap(*pause, op)).sum();
        if op.took() > self.limits.deadline + excused {
            let text = format!("took {:?}, of which {excused:?} are excused", op.took());
            self.report("deadline", op, text);
        } else if op.is_silent() {
            self.report("deadline", op, "no reply from an instance that lives");
        }
    }

    fn failed(&mut self, op: &Op, failed: &Failed, min_revision: u64) {
        match failed {
            Failed::Unexpected(reply) => {
                self.report("reply", op, format!("not a reply to this: {reply}"));
            }
            // The primary has every position that was ever seen, unless a failover lost it.
            Failed::RevisionUnknown if self.log.was_committed(min_revision, op.began) => {
                let text = "unknown, though it was committed before the request began";
                self.report("token", op, text);
            }
            Failed::RevisionUnknown | Failed::Code(_) | Failed::NoReply => {}
        }
    }

    fn answer(&mut self, op: &Op, answer: &Answer, min_revision: u64, told: Told) {
        let key = self.log.key(&op.tenant);
        if let Some((revision, model)) = &answer.record {
            match key.at(*revision) {
                None => {
                    let text = "shows a revision that this tenant never had";
                    return self.report("content", op, text);
                }
                Some(row) if row.model.as_ref() != Some(model) => {
                    let text = format!("that revision is {row:?}");
                    return self.report("content", op, text);
                }
                Some(_) => {}
            }
        }
        self.shape(op, answer, min_revision);
        self.lost(op, answer, &key, told);

        let shown = key.latest_shown(answer, op.ended);
        let bound = op.began.checked_sub(self.limits.bound);
        let proven = op.began.checked_sub(answer.age);
        let mut demands = vec![
            ("age", proven.map_or(0, |t| key.committed_before(t))),
            ("token", key.last_at(min_revision)),
            ("token", key.last_at(answer.position)),
            ("own write", told.own),
            ("applied", key.last_at(told.applied)),
            ("monotonic", told.shown),
        ];
        if !answer.stale {
            let demand = bound.map_or(0, |t| key.committed_before(t));
            demands.insert(0, ("bound", demand));
        }
        // One is enough: they often come together.
        if let Some((promise, demand)) = demands.into_iter().find(|(_, demand)| shown < *demand) {
            let committed = key.at(demand).map(|row| row.committed);
            let text = format!("does not reflect {demand}, committed by {committed:?}");
            self.report(promise, op, text);
        }
    }

    /// What an answer says of itself.
    fn shape(&mut self, op: &Op, answer: &Answer, min_revision: u64) {
        if answer.position < min_revision && !answer.of_batch {
            self.report("token", op, "its position is below the demanded revision");
        }
        if answer.stale {
            if answer.tier == Tier::Origin {
                self.report("shape", op, "an origin answer cannot be stale");
            }
            if answer.age > self.limits.stale {
                self.report("stale limit", op, "staler than the limit");
            }
        } else if answer.age > self.limits.bound {
            self.report("bound", op, "older than the bound, and not marked stale");
        }
    }

    /// Answers of a history that was lost.
    fn lost(&mut self, op: &Op, answer: &Answer, key: &Key, told: Told) {
        let Some((fenced, (revision, _))) = self.history.fenced.zip(answer.record.as_ref()) else {
            return;
        };
        if !key.at(*revision).is_some_and(|row| row.lost) {
            return;
        }
        if !answer.stale && op.began > fenced + self.limits.bound {
            self.report("lost history", op, "shown after the bound was over");
        } else if self.log.is_after_loss(told.applied) || self.log.is_after_loss(answer.position) {
            self.report("lost history", op, "the instance knew the new one");
        }
    }

    fn write(&mut self, op: &Op) {
        let What::Write {
            condition, outcome, ..
        } = &op.what
        else {
            return;
        };
        let row = self.log.written_by(&op.id);
        match (outcome, row) {
            (Written::Unexpected(reply), _) => {
                self.report("reply", op, format!("not a reply to this: {reply}"));
            }
            (Written::At(revision), Some(row)) if row.position == *revision => {}
            (Written::At(_), Some(row)) => {
                let text = format!("acknowledged elsewhere than written: {row:?}");
                self.report("lost write", op, text);
            }
            (Written::At(_), None) => {
                self.report("lost write", op, "acknowledged, and not in the log");
            }
            (Written::Refused(_) | Written::Unmet, Some(row)) => {
                let text = format!("said not to have happened: {row:?}");
                self.report("ghost", op, text);
            }
            (Written::Unmet, None) => self.unmet(op, *condition),
            (Written::Refused(_) | Written::Unknown(Silence::Said | Silence::NoReply), _) => {}
        }
        if let Some(row) = row {
            let before = self.log.key(&op.tenant).before(row);
            let met = match condition {
                Condition::None => true,
                Condition::Absent => before.is_none_or(|row| row.model.is_none()),
                Condition::Revision(revision) => {
                    before.is_some_and(|row| row.position == *revision)
                }
            };
            if !met {
                let text = format!("written at {}, after {before:?}", row.position);
                self.report("condition", op, text);
            }
        }
    }

    /// A condition that held for as long as the request lasted was met.
    fn unmet(&mut self, op: &Op, condition: Condition) {
        let Condition::Revision(revision) = condition else {
            return;
        };
        let key = self.log.key(&op.tenant);
        let Some(row) = key.at(revision).filter(|row| !row.lost) else {
            return;
        };
        let next = key.after(row).map_or(Time::MAX, |next| next.begun());
        if row.model.is_some()
            && row.committed < op.began
            && next > op.ended
            && !self.log.has_loss()
        {
            self.report("condition", op, "refused, though its condition held");
        }
    }
}

fn overlap((from, to): (Time, Time), op: &Op) -> Duration {
    let (from, to) = (from.max(op.began), to.min(op.ended));
    to.saturating_sub(from)
}

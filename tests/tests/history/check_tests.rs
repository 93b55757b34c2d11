//! Histories made by hand: a sound one passes, and one that breaks a promise is found by just that
//! promise. Times in milliseconds; the bound is 1000, the stale limit 3000, the deadline 1500.

use std::time::Duration;

use crate::check::{Limits, check};
use crate::record::{
    Answer, Condition, Failed, History, Life, Op, Row, Silence, Tier, Time, What, Written,
};

const LIMITS: Limits = Limits {
    bound: Duration::from_secs(1),
    stale: Duration::from_secs(3),
    deadline: Duration::from_millis(1500),
};

fn at(millis: u64) -> Time {
    Duration::from_millis(millis)
}

fn write(id: &str, host: usize, time: u64, model: Option<&str>, outcome: Written) -> Op {
    Op {
        id: id.to_owned(),
        host: Some(host),
        began: at(time),
        ended: at(time + 10),
        tenant: "t".to_owned(),
        what: What::Write {
            model: model.map(str::to_owned),
            condition: Condition::None,
            outcome,
        },
    }
}

/// A near answer, 5 ms old, to a request that demands nothing.
fn read(host: usize, time: u64, record: Option<(u64, &str)>, position: u64) -> Op {
    Op {
        id: "read".to_owned(),
        host: Some(host),
        began: at(time),
        ended: at(time + 10),
        tenant: "t".to_owned(),
        what: What::Read {
            min_revision: 0,
            outcome: Ok(Answer {
                record: record.map(|(revision, model)| (revision, model.to_owned())),
                position,
                tier: Tier::Near,
                stale: false,
                age: at(5),
                of_batch: false,
            }),
        },
    }
}

impl Op {
    fn answered(mut self, change: impl FnOnce(&mut Answer)) -> Op {
        if let What::Read {
            outcome: Ok(answer),
            ..
        } = &mut self.what
        {
            change(answer);
        }
        self
    }

    fn aged(self, millis: u64) -> Op {
        self.answered(|answer| answer.age = at(millis))
    }

    fn stale(self, age: u64) -> Op {
        self.aged(age).answered(|answer| answer.stale = true)
    }

    fn of(mut self, tier: Tier) -> Op {
        self = self.answered(|answer| answer.tier = tier);
        self
    }

    fn demanding(mut self, revision: u64) -> Op {
        if let What::Read { min_revision, .. } = &mut self.what {
            *min_revision = revision;
        }
        self
    }

    fn provided(mut self, wanted: Condition) -> Op {
        if let What::Write { condition, .. } = &mut self.what {
            *condition = wanted;
        }
        self
    }

    fn failing(mut self, failed: Failed) -> Op {
        if let What::Read { outcome, .. } = &mut self.what {
            *outcome = Err(failed);
        }
        self
    }

    fn lasting(mut self, millis: u64) -> Op {
        self.ended = self.began + at(millis);
        self
    }
}

fn row(position: u64, op: &str, model: Option<&str>) -> Row {
    Row {
        position,
        tenant: "t".to_owned(),
        model: model.map(str::to_owned),
        op: Some(op.to_owned()),
    }
}

/// Two puts and a delete by host 0, at 0, 5 and 10 seconds, seen in time by host 1.
fn sound() -> History {
    History {
        ops: vec![
            write("w1", 0, 0, Some("a"), Written::At(100)),
            write("w2", 0, 5000, Some("b"), Written::At(200)),
            write("w3", 0, 10_000, None, Written::At(300)),
            read(1, 1500, Some((100, "a")), 100),
            read(1, 5600, Some((100, "a")), 100).aged(700),
            read(1, 6500, Some((200, "b")), 200),
            read(1, 12_000, None, 300),
        ],
        log: vec![
            row(100, "w1", Some("a")),
            row(200, "w2", Some("b")),
            row(300, "w3", None),
        ],
        hosts: [(0, Life::default()), (1, Life::default())].into(),
        ..History::default()
    }
}

fn with(op: Op) -> History {
    let mut history = sound();
    history.ops.push(op);
    history
}

/// As `sound`; then host 0 writes "c" at 400, which a failover at 15 seconds loses, and after it
/// "d" at 500.
fn failed_over() -> History {
    let mut history = sound();
    history.fenced = Some(at(15_000));
    let put = |id: &str, time, model: &str, at| write(id, 0, time, Some(model), Written::At(at));
    history.ops.push(put("w4", 14_000, "c", 400));
    history.ops.push(put("w5", 17_000, "d", 500));
    history.lost.push(row(400, "w4", Some("c")));
    history.log.push(row(500, "w5", Some("d")));
    history
}

fn with_loss(op: Op) -> History {
    let mut history = failed_over();
    history.ops.push(op);
    history
}

#[track_caller]
fn kept(history: &History) {
    let found = check(history, LIMITS);
    assert!(found.is_empty(), "{found:#?}");
}

/// The last operation breaks just this promise. Others may look bad beside it.
#[track_caller]
fn broken(history: &History, promise: &str) {
    let found = check(history, LIMITS);
    let last = history.ops.last().expect("an operation");
    let accused = |op: &Op| op.id == last.id && op.began == last.began;
    let mut promises: Vec<_> = found
        .iter()
        .filter(|violation| violation.op.as_ref().is_some_and(accused))
        .map(|violation| violation.promise)
        .collect();
    promises.dedup();
    assert_eq!(promises, [promise], "{found:#?}");
}

/// The log itself is not what it should be.
#[track_caller]
fn broken_log(history: &History) {
    let found = check(history, LIMITS);
    assert!(
        found.iter().any(|violation| violation.promise == "log"),
        "{found:#?}"
    );
}

#[test]
fn sound_histories_pass() {
    kept(&History::default());
    kept(&sound());
    kept(&failed_over());
}

#[test]
fn an_answer_past_the_bound_that_lacks_a_change() {
    broken(
        &with(read(1, 6011, Some((100, "a")), 100).aged(1000)),
        "bound",
    );
    kept(&with(read(1, 6009, Some((100, "a")), 100).aged(1000)));
    broken(
        &with(read(1, 11_500, Some((200, "b")), 200).aged(1000)),
        "bound",
    );
    broken(&with(read(1, 1400, None, 0).aged(1000)), "bound");
}

#[test]
fn an_answer_past_the_bound_is_marked() {
    broken(
        &with(read(1, 3000, Some((100, "a")), 100).aged(1001)),
        "bound",
    );
    kept(&with(read(1, 3000, Some((100, "a")), 100).stale(1001)));
}

#[test]
fn a_change_counts_from_the_moment_at_which_anybody_saw_it() {
    let mut history = sound();
    // Nobody knows when this was committed, until somebody sees it or a later one.
    history.ops[1] = write("w2", 0, 5000, Some("b"), Written::Unknown(Silence::Said));
    let late = read(1, 6450, Some((100, "a")), 100).aged(1000);
    history.ops.push(late);
    kept(&history);
    history.seen.push((200, at(5200)));
    broken(&history, "bound");
}

#[test]
fn an_answer_that_is_older_than_it_says() {
    broken(&with(read(1, 5700, Some((100, "a")), 100).aged(100)), "age");
    broken(
        &with(read(1, 8000, Some((100, "a")), 100).stale(2500)),
        "age",
    );
    kept(&with(read(2, 8000, Some((100, "a")), 100).stale(2995)));
}

#[test]
fn a_stale_answer_past_its_limit_or_from_the_origin() {
    broken(
        &with(read(2, 8500, Some((100, "a")), 100).stale(3500)),
        "stale limit",
    );
    let origin = read(1, 3000, Some((100, "a")), 100).stale(1100);
    broken(&with(origin.of(Tier::Origin)), "shape");
}

#[test]
fn a_token_that_is_not_honoured() {
    let read = |position| read(1, 5500, Some((100, "a")), position).aged(700);
    broken(&with(read(200)), "token");
    broken(&with(read(100).demanding(200)), "token");
    kept(&with(read(100).demanding(150)).ops_without_position());
    let unknown = |revision| {
        let read = read(100).demanding(revision);
        with(read.failing(Failed::RevisionUnknown))
    };
    broken(&unknown(200), "token");
    kept(&unknown(300));
}

impl History {
    /// For demands between two changes: the answer's position is then at least the demand.
    fn ops_without_position(mut self) -> History {
        if let Some(op) = self.ops.pop() {
            self.ops.push(op.answered(|answer| answer.position = 150));
        }
        self
    }
}

#[test]
fn an_instance_that_goes_back() {
    let early = read(1, 5700, Some((200, "b")), 100).aged(600);
    let late = read(1, 5900, Some((100, "a")), 100).aged(950);
    let mut history = with(early);
    history.ops.push(late.clone());
    broken(&history, "monotonic");
    history.ops.pop();
    history.ops.push(late.clone().stale(1200));
    broken(&history, "monotonic");
    // Another one may be behind, and so may one whose request began before.
    history.ops.pop();
    history.ops.push(Op {
        host: Some(2),
        ..late.clone()
    });
    kept(&history);
    history.ops.pop();
    history.ops.push(Op {
        began: at(5705),
        ..late
    });
    kept(&history);
}

#[test]
fn an_instance_that_goes_back_to_there_being_nothing() {
    let mut history = with(read(1, 510, Some((100, "a")), 50).aged(600));
    history.ops.push(read(1, 600, None, 50).aged(600));
    broken(&history, "monotonic");
}

#[test]
fn that_there_is_nothing_yet_is_not_that_it_was_deleted() {
    // The delete is under way when the first answer is given, which is from before all changes.
    let mut history = sound();
    history.ops[2] = write("w3", 0, 500, None, Written::At(300)).lasting(9510);
    history.ops[2].host = None;
    history.ops[6] = read(1, 520, None, 50).aged(600);
    history.ops.push(read(1, 700, Some((100, "a")), 100));
    kept(&history);
}

#[test]
fn an_instance_that_shows_less_than_it_applied() {
    let mut history = with(Op {
        tenant: "u".to_owned(),
        ..read(1, 5300, None, 200)
    });
    history
        .ops
        .push(read(1, 5500, Some((100, "a")), 100).aged(700));
    broken(&history, "applied");
    // What the origin said in between proves nothing of what the instance knows.
    let origin = history.ops.remove(history.ops.len() - 2);
    history.ops.push(origin.of(Tier::Origin));
    kept(&history);
}

#[test]
fn an_instance_that_does_not_show_its_own_write() {
    broken(
        &with(read(0, 5500, Some((100, "a")), 100).aged(700)),
        "own write",
    );
    broken(
        &with(read(0, 5500, Some((100, "a")), 100).stale(2000)),
        "own write",
    );
}

#[test]
fn an_answer_that_was_never_written() {
    broken(&with(read(1, 2000, Some((100, "x")), 100)), "content");
    broken(&with(read(1, 2000, Some((150, "a")), 150)), "content");
    broken(&with(read(1, 12_000, Some((300, "b")), 300)), "content");
    let mut history = sound();
    history.ops.push(Op {
        tenant: "u".to_owned(),
        ..read(1, 2000, Some((100, "a")), 100)
    });
    broken(&history, "content");
}

#[test]
fn an_answer_from_before_its_write_began() {
    broken_log(&with(read(1, 4000, Some((200, "b")), 200)));
}

#[test]
fn an_acknowledged_write_that_is_not_there_or_elsewhere() {
    let lost = |at| with(write("w9", 0, 6000, Some("z"), Written::At(at)));
    broken(&lost(210), "lost write");
    let mut history = lost(210);
    history.log.insert(2, row(220, "w9", Some("z")));
    history.ops.retain(|op| op.host != Some(1));
    broken(&history, "lost write");
}

#[test]
fn a_write_that_happened_though_it_was_refused() {
    for outcome in [Written::Unmet, Written::Refused("busy".to_owned())] {
        let mut history = with(write("w9", 0, 12_000, Some("z"), outcome));
        history.log.push(row(400, "w9", Some("z")));
        broken(&history, "ghost");
    }
    for outcome in [Silence::Said, Silence::NoReply] {
        let outcome = Written::Unknown(outcome);
        let mut history = with(write("w9", 0, 12_000, Some("z"), outcome));
        history.hosts.get_mut(&0).expect("host 0").died = Some(at(12_005));
        kept(&history);
        history.log.push(row(400, "w9", Some("z")));
        kept(&history);
    }
}

#[test]
fn a_condition_that_was_not_met_or_not_seen_to_be() {
    let put = |condition, outcome| write("w9", 0, 12_000, Some("z"), outcome).provided(condition);
    for (condition, met) in [
        (Condition::Absent, true),
        (Condition::Revision(300), true),
        (Condition::Revision(200), false),
    ] {
        let mut history = with(put(condition, Written::At(400)));
        history.log.push(row(400, "w9", Some("z")));
        match met {
            true => kept(&history),
            false => broken(&history, "condition"),
        }
    }
    let mut history = sound();
    let unmet = |time| {
        let write = write("w9", 0, time, Some("z"), Written::Unmet);
        write.provided(Condition::Revision(200))
    };
    history.ops.push(unmet(8000));
    broken(&history, "condition");
    history.ops.pop();
    history.ops.push(unmet(9995));
    kept(&history);
}

#[test]
fn a_log_that_is_not_what_was_written() {
    let mut history = sound();
    history.log.push(row(400, "nobody", Some("z")));
    broken_log(&history);
    let mut history = sound();
    history.log[2].model = Some("z".to_owned());
    broken_log(&history);
    let mut history = sound();
    history.log.push(row(300, "w3", None));
    broken_log(&history);
}

#[test]
fn a_request_that_takes_too_long_or_has_no_reply() {
    let slow = || read(1, 2000, Some((100, "a")), 100).lasting(1700);
    broken(&with(slow()), "deadline");
    let silent = || {
        let read = read(1, 2000, None, 100);
        with(read.failing(Failed::NoReply))
    };
    broken(&silent(), "deadline");
    // Unless the instance was stopped meanwhile, or dead, or the machine gave nobody time.
    let mut history = with(slow());
    let life = history.hosts.get_mut(&1).expect("host 1");
    life.stopped.push((at(1900), at(2300)));
    kept(&history);
    let mut history = silent();
    history.hosts.get_mut(&1).expect("host 1").died = Some(at(2005));
    kept(&history);
    let mut history = with(slow());
    history.stalls.push((at(2100), at(2350)));
    kept(&history);
}

#[test]
fn a_reply_that_does_not_belong_here() {
    let read = read(1, 2000, None, 100);
    let odd = Failed::Unexpected("500".to_owned());
    broken(&with(read.failing(odd)), "reply");
    let odd = Written::Unexpected("500".to_owned());
    broken(&with(write("w9", 0, 2000, Some("z"), odd)), "reply");
}

#[test]
fn a_lost_change_may_be_shown_until_the_bound_is_over() {
    let shown = |time| read(1, time, Some((400, "c")), 400).aged(1000);
    kept(&with_loss(shown(14_500)));
    kept(&with_loss(shown(15_900)));
    broken(&with_loss(shown(16_100)), "lost history");
    // Stale for longer, but not once the instance knows the new history.
    let stale = |time| read(1, time, Some((400, "c")), 400).stale(2000);
    kept(&with_loss(stale(17_005)));
    let mut history = with_loss(Op {
        tenant: "u".to_owned(),
        ..read(1, 17_020, None, 500)
    });
    history.ops.push(stale(17_040));
    let found = check(&history, LIMITS);
    assert!(
        found
            .iter()
            .any(|violation| violation.promise == "lost history"),
        "{found:?}"
    );
}

#[test]
fn after_a_loss_only_the_surviving_history_binds() {
    // The lost write is not owed to anybody, not even to the one who made it.
    kept(&with_loss(read(0, 15_900, None, 300)));
    broken(&with_loss(read(1, 18_500, None, 300).aged(1000)), "bound");
    broken(&with_loss(read(1, 13_000, Some((200, "b")), 300)), "bound");
}

//! A slow request on a host, in the steps of `guest/src/read.rs` and
//! `host/ordain/src/capabilities`: anything may happen between two of them, and it may stop for
//! good at each. Quick requests, which look and answer in one step, are in `answers.rs`.

use crate::answers::Since;
use crate::config::Config;
use crate::far::Put;
use crate::rules::Rule;
use crate::state::{Age, Id, Position, State, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Idle,
    /// Has t0 and then the view (N1); looks into near next.
    Began,
    /// Has read far; `value` is what was there.
    FarRead,
    /// Far was of no use.
    FarMissed,
    /// On its way to the origin.
    Sent,
    /// Without [`Rule::RowWithHead`] or its like: one of two statements is done.
    HalfRead,
    /// The origin has answered; `value` is what it says.
    Read,
    /// Has answered; `value` may still go into near, and may be shared by joiners.
    Answered,
    /// Without [`Rule::AtomicFill`]: the test was passed.
    Tested,
    /// Without [`Rule::ViewFirst`]: has the entry of near.
    HasEntry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reader {
    pub phase: Phase,
    /// What its answer must not fall behind.
    pub since: Since,
    /// The watermark that it took, and whether the proof was young enough then.
    pub view: Option<Position>,
    pub fresh: bool,
    pub value: Option<Value>,
    /// The unusable value that it found in far.
    pub seen: Option<Value>,
    /// Without [`Rule::StaleNow`]: what it found in near, with the watermark of its view.
    pub found: Option<(Value, Position)>,
    /// When it sent to the origin, and the watermark then (N5, N7).
    pub sent: Age,
    pub watermark: Option<Position>,
    /// The host was purged since.
    pub purged: bool,
    /// The answer came from the origin.
    pub from_origin: bool,
    /// A request that waits for this one's reply, and whether it was sent for recently enough.
    pub joiner: Option<(Since, bool)>,
}

impl Reader {
    pub const IDLE: Reader = Reader {
        phase: Phase::Idle,
        since: Since::NOTHING,
        view: None,
        fresh: false,
        value: None,
        seen: None,
        found: None,
        sent: Age::OLD,
        watermark: None,
        purged: false,
        from_origin: false,
        joiner: None,
    };

    pub fn has_sent(&self) -> bool {
        matches!(self.phase, Phase::Sent | Phase::HalfRead | Phase::Read)
    }

    fn answered(value: Value) -> Reader {
        Reader {
            phase: Phase::Answered,
            value: Some(value),
            ..Reader::IDLE
        }
    }
}

impl State {
    /// N1: t0, then watermark and proof.
    pub fn reader_begins(&mut self, id: Id, config: &Config) {
        let since = self.since(id);
        let host = &mut self.hosts[id];
        host.reader = Reader {
            phase: Phase::Began,
            since,
            view: host.watermark,
            fresh: host.watermark.is_some() && host.proven.within_bound(),
            ..Reader::IDLE
        };
        if !config.rules.has(Rule::StaleNow) {
            host.reader.found = host.near.zip(host.watermark);
        }
        if !config.rules.has(Rule::ViewFirst) && host.near.is_some() {
            host.reader.phase = Phase::HasEntry;
            host.reader.value = host.near;
        }
    }

    /// N2: the entry that is there now, by the view that was taken before.
    pub fn reader_looks_up(&mut self, id: Id) {
        let host = &mut self.hosts[id];
        let reader = std::mem::replace(&mut host.reader, Reader::IDLE);
        if reader.phase == Phase::HasEntry {
            let now = host.watermark.filter(|_| host.proven.within_bound());
            if let (Some(entry), Some(view)) = (reader.value, now) {
                self.answer(id, entry.version, view, &reader.since);
            }
        } else if let (Some(entry), Some(view)) = (host.near, reader.view) {
            self.answer(id, entry.version, view, &reader.since);
        }
    }

    /// A2: what far holds, or what it held when another request asked (a shared reply).
    pub fn reader_reads_far(&mut self, id: Id, value: Value) {
        let reader = &mut self.hosts[id].reader;
        reader.phase = Phase::FarRead;
        reader.value = Some(value);
    }

    /// A2, A3: usable and of the view's state or older: an answer. Else a miss.
    pub fn reader_judges(&mut self, id: Id, config: &Config) {
        let host = &mut self.hosts[id];
        let Some(value) = host.reader.value else {
            return;
        };
        let Some(view) = host.reader.view else {
            return;
        };
        let usable = value.as_of <= view && host.valid(value.as_of, config.rules);
        if usable && host.reader.fresh {
            let since = host.reader.since;
            host.reader = Reader::answered(value);
            self.answer(id, value.version, view, &since);
        } else {
            host.reader.phase = Phase::FarMissed;
            host.reader.value = None;
            host.reader.seen = (!usable).then_some(value);
        }
    }

    pub fn reader_sends(&mut self, id: Id, config: &Config) {
        let host = &mut self.hosts[id];
        host.reader.phase = Phase::Sent;
        host.reader.view = None;
        host.reader.fresh = false;
        if config.joiners {
            host.reader.sent = Age::NOW;
        }
        host.reader.watermark = host.watermark;
    }

    /// R3, for a request that kept what it had found. (One that looks again is a quick request.)
    pub fn origin_fails(&mut self, id: Id) {
        let reader = std::mem::replace(&mut self.hosts[id].reader, Reader::IDLE);
        if let Some((entry, view)) = reader.found {
            self.stale_answer(id, entry.version, view);
        }
    }

    /// O5: the primary answers from one snapshot, that of the first `len` rows.
    pub fn origin_answers(&mut self, id: Id, len: u8, config: &Config) {
        let value = self.origin.snapshot(len);
        let reader = &mut self.hosts[id].reader;
        let two = [Rule::RowWithHead, Rule::HeadWithRow];
        if two.iter().all(|rule| config.rules.has(*rule)) {
            reader.phase = Phase::Read;
            reader.value = Some(value);
        } else if reader.phase == Phase::Sent {
            reader.phase = Phase::HalfRead;
            reader.value = Some(value);
        } else if let Some(half) = &mut reader.value {
            reader.phase = Phase::Read;
            if config.rules.has(Rule::RowWithHead) {
                half.version = value.version;
            } else {
                half.as_of = value.as_of;
            }
        }
    }

    /// The reply arrives: what it says about the log is learnt, then it is the answer, then it may
    /// go into far. As `OriginReader::learn`, and then `keep`.
    pub fn reader_is_answered(&mut self, id: Id, puts: bool, config: &Config) {
        let rules = config.rules;
        let host = &mut self.hosts[id];
        let Some(value) = host.reader.value else {
            return;
        };
        let reader = host.reader;
        let below = reader.watermark.is_some_and(|w| value.as_of < w);
        if below && !reader.purged && rules.has(Rule::ReplyBelow) {
            host.purge();
        }
        if host.watermark.is_none_or(|w| value.as_of > w) && rules.has(Rule::Fence) {
            host.raise_fence(value.as_of);
        }
        host.reader = Reader::answered(value);
        if config.joiners {
            host.reader.from_origin = true;
            host.reader.sent = reader.sent;
        }
        if puts && host.watermark.is_some() {
            host.put = Some(Put {
                value,
                seen: reader.seen.filter(|_| rules.has(Rule::Seen)),
            });
        }
        self.answer(id, value.version, value.as_of, &reader.since);
        if let Some((since, recent)) = reader.joiner
            && self.may_join(id, recent, config)
        {
            self.answer(id, value.version, value.as_of, &since);
        }
    }

    /// N7, for a request that sent nothing itself.
    pub fn may_join(&self, id: Id, recent: bool, config: &Config) -> bool {
        let host = &self.hosts[id];
        let reader = &host.reader;
        reader.phase == Phase::Answered
            && reader.from_origin
            && (recent || !config.rules.has(Rule::JoinAge))
            && reader
                .value
                .is_some_and(|value| host.not_overtaken(value.as_of, config.rules))
    }

    /// A joiner that has found an unusable value in far, and keeps the reply that it shares.
    pub fn joiner_puts(&mut self, id: Id, config: &Config) {
        let stored = self.far.stored;
        let host = &mut self.hosts[id];
        if let Some(value) = host.reader.value {
            // A3: the reply is older than what was found, so it has no claim to replace it.
            let seen = stored.filter(|_| !config.rules.has(Rule::SeenBefore));
            host.put = Some(Put { value, seen });
        }
    }

    /// N3.
    pub fn reader_fills(&mut self, id: Id, config: &Config) {
        let host = &mut self.hosts[id];
        let Some(value) = host.reader.value else {
            return;
        };
        if host.reader.phase == Phase::Tested {
            host.near = Some(value);
            host.reader = Reader::IDLE;
        } else if config.rules.has(Rule::AtomicFill) {
            host.fill(value, config.rules);
            host.reader = Reader::IDLE;
        } else {
            host.reader.phase = Phase::Tested;
        }
    }
}

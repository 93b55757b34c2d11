//! One host: the window, the test V, near and fences. The methods have the names of those of
//! `host/coherence/src/window.rs` and do the same. Each is one step, as its lock makes it there.

use crate::far::Put;
use crate::feed::Feed;
use crate::reader::Reader;
use crate::rules::{Rule, Rules};
use crate::state::{Age, Position, Set, Value, Version, bit, highest};

/// The recent log in memory (F1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Window {
    pub rows: Set,
    /// Those that touch the key; the highest is `last[k]`.
    pub touching: Set,
    /// `floor` is 0: the window holds the whole log.
    pub whole: bool,
}

impl Window {
    /// Keeps the newest `max` rows.
    fn trim(&mut self, max: u8) {
        while self.rows.count_ones() > max.into() {
            self.rows &= self.rows - 1;
            self.whole = false;
        }
        self.touching &= self.rows;
    }

    /// Whether all rows after `as_of` are here.
    fn reaches(self, as_of: Position) -> bool {
        self.whole || (self.rows != 0 && as_of >= self.rows.trailing_zeros() as u8)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    pub watermark: Option<Position>,
    pub proven: Age,
    pub window: Window,
    /// Position below which no value of the key is taken; 0: none.
    pub fence: Position,
    /// The fence was set before the feed's read was sent.
    pub fence_is_older: bool,
    pub near: Option<Value>,
    pub feed: Feed,
    pub reader: Reader,
    pub put: Option<Put>,
    /// A re-stamp (A5) that has begun: what it took first.
    pub stamp: Option<Stamp>,
    /// An own commit that is not acknowledged yet.
    pub unacknowledged: Option<Value>,
    /// Newest version that an answer not marked stale has shown (promise M); like `shown` it
    /// belongs to the observer and outlives the process.
    pub given: Version,
    /// Newest version that any answer has shown or the feed has applied (promise X).
    pub shown: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stamp {
    Watermark(Position),
    /// Without [`Rule::StampFirst`].
    Entry(Value),
}

impl Host {
    /// A process that has just begun. The log is not known, so nothing is proven (F2).
    pub fn new() -> Host {
        Host {
            watermark: None,
            proven: Age::OLD,
            window: Window::default(),
            fence: 0,
            fence_is_older: false,
            near: None,
            feed: Feed::Idle,
            reader: Reader::IDLE,
            put: None,
            stamp: None,
            unacknowledged: None,
            given: 0,
            shown: 0,
        }
    }

    /// The process dies and another one takes its place. What it sent to far may still arrive.
    pub fn crash(&mut self) {
        *self = Host {
            put: self.put,
            given: self.given,
            shown: self.shown,
            ..Host::new()
        };
    }

    /// The test V: a value read as of `as_of` is exactly the key's state at the watermark.
    pub fn valid(&self, as_of: Position, rules: Rules) -> bool {
        let Some(watermark) = self.watermark else {
            return false;
        };
        if as_of > watermark {
            return false;
        }
        if !rules.has(Rule::Test) {
            return true;
        }
        let member = self.window.rows & bit(as_of) != 0 || (as_of == 0 && self.window.whole);
        highest(self.window.touching) <= as_of
            && as_of >= self.fence
            && (member || !rules.has(Rule::Membership))
    }

    /// N7, the part that concerns the key: no later change is known, and the window would know.
    pub fn not_overtaken(&self, as_of: Position, rules: Rules) -> bool {
        let overtaken = highest(self.window.touching) > as_of || as_of < self.fence;
        let reaches = self.watermark.is_some() && self.window.reaches(as_of);
        (!overtaken || !rules.has(Rule::JoinOvertaken)) && (reaches || !rules.has(Rule::JoinWindow))
    }

    /// N3: an entry that is there is valid too, so it stays.
    pub fn fill(&mut self, value: Value, rules: Rules) {
        if self.valid(value.as_of, rules) && self.near.is_none() {
            self.near = Some(value);
        }
    }

    /// N4.
    pub fn raise_fence(&mut self, position: Position) {
        self.fence = self.fence.max(position);
        self.fence_is_older = false;
        self.near = self.near.filter(|entry| entry.as_of >= position);
    }

    /// F4, first half: the window grows and near loses the key.
    pub fn append(&mut self, position: Position, touches: bool, rules: Rules) {
        self.window.rows |= bit(position);
        // No row of a watermark vouches that this is the first row that there ever was (F3): rows
        // before it may be gone.
        let first = self.watermark == Some(0) && rules.has(Rule::PrunedEmpty);
        if first {
            self.window.whole = false;
        }
        if touches {
            self.window.touching |= bit(position);
        }
        if touches || first {
            self.near = None;
        }
    }

    /// F4, second half.
    pub fn raise_watermark(&mut self, position: Position, window_max: u8) {
        self.watermark = Some(position);
        self.window.trim(window_max);
    }

    /// F2: starts from the newest rows of the log, sent for `sent` ago.
    pub fn load(&mut self, rows: Set, touching: Set, whole: bool, sent: Age, rules: Rules) {
        self.near = None;
        self.window = Window {
            rows,
            touching,
            whole,
        };
        self.watermark = Some(highest(rows));
        self.proven = sent;
        self.drop_fence(rules);
    }

    /// F3: everything that was committed before `sent` is known.
    pub fn prove(&mut self, sent: Age, rules: Rules) {
        self.proven = self.proven.min(sent);
        self.drop_fence(rules);
    }

    fn drop_fence(&mut self, rules: Rules) {
        let goes = if rules.has(Rule::FenceDropped) {
            self.fence_is_older
        } else {
            self.watermark.is_some_and(|w| w >= self.fence)
        };
        if goes {
            self.fence = 0;
            self.fence_is_older = false;
        }
    }

    /// F3, N5: history is not what it was. A reply of the feed that was sent for before is dropped.
    pub fn purge(&mut self) {
        self.watermark = None;
        self.proven = Age::OLD;
        self.window = Window::default();
        self.near = None;
        self.feed = Feed::Idle;
        self.reader.purged |= self.reader.has_sent();
    }
}

impl Default for Host {
    fn default() -> Host {
        Host::new()
    }
}

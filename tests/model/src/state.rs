//! What a state of the model is made of. One key is followed; changes of other subjects are rows of
//! the log that do not touch it. Not for what may happen (`model.rs`) nor for what must hold
//! (`properties.rs`).

use crate::far::Far;
use crate::feed::Feed;
use crate::host::Host;
use crate::origin::Origin;

/// Position in the change log; 0 is before every change.
pub type Position = u8;
/// What the key holds: the number, in the order of time, of the commit that wrote it; 0: as it was
/// at the start. Stands for puts, deletes and re-creates alike: "no such record" is a value too.
pub type Version = u8;
/// One of the two hosts.
pub type Id = usize;
/// A set of positions or versions, one bit each.
pub type Set = u8;

pub const fn bit(n: u8) -> Set {
    1 << n
}

/// Highest member of a set; 0 for none.
pub const fn highest(set: Set) -> u8 {
    match set.checked_ilog2() {
        Some(n) => n as u8,
        None => 0,
    }
}

/// Time since something, in ticks. The bound is one tick, so `OLD` stands for any time beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Age(pub u8);

impl Age {
    pub const NOW: Age = Age(0);
    pub const OLD: Age = Age(2);

    pub fn within_bound(self) -> bool {
        self < Age::OLD
    }

    pub fn tick(&mut self) {
        self.0 = (self.0 + 1).min(Age::OLD.0);
    }
}

/// A value and the position that it was read as of (A1, O5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value {
    pub as_of: Position,
    pub version: Version,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub origin: Origin,
    pub far: Far,
    pub hosts: [Host; 2],
    /// Faults that may still happen.
    pub faults: u8,
    /// Promises that were broken on the way here, one bit each.
    pub broken: u8,
}

impl State {
    pub fn tick(&mut self) {
        self.origin.tick();
        for host in &mut self.hosts {
            host.proven.tick();
            host.reader.sent.tick();
            if let Feed::Sent { age, .. } | Feed::Reply { age, .. } = &mut host.feed {
                age.tick();
            }
        }
    }
}

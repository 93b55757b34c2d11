//! The promises, as properties of states. S, T, M, F and X are `always` properties over what a
//! state remembers of its past. So is L: see `recovery.rs`.

use stateright::Property;

use crate::model::Protocol;
use crate::state::State;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Promise {
    /// An answer not marked stale reflects every change committed more than the bound before its
    /// request began, and shows no change that was lost more than the bound before.
    S,
    /// An answer, stale or not, to a demanded revision reflects every change at or below it.
    T,
    /// On one host, an answer not marked stale is never older than one that was given before its
    /// request began.
    M,
    /// No put into far replaces a value of the surviving history by one with a lower as-of.
    F,
    /// A stale answer is never older than a change that this host has applied, nor than an answer
    /// that it has given.
    X,
    /// Once faults stop, near fills again, and the other host can use what was put into far.
    L,
}

impl Promise {
    pub const ALL: [Promise; 6] = [
        Promise::S,
        Promise::T,
        Promise::M,
        Promise::F,
        Promise::X,
        Promise::L,
    ];

    pub const fn bit(self) -> u8 {
        1 << self as u8
    }

    pub const fn name(self) -> &'static str {
        match self {
            Promise::S => "S",
            Promise::T => "T",
            Promise::M => "M",
            Promise::F => "F",
            Promise::X => "X",
            Promise::L => "L",
        }
    }

    pub fn property(self) -> Property<Protocol> {
        match self {
            Promise::S => Property::always("S", |_, s: &State| s.broken & Promise::S.bit() == 0),
            Promise::T => Property::always("T", |_, s: &State| s.broken & Promise::T.bit() == 0),
            Promise::M => Property::always("M", |_, s: &State| s.broken & Promise::M.bit() == 0),
            Promise::F => Property::always("F", |_, s: &State| s.broken & Promise::F.bit() == 0),
            Promise::X => Property::always("X", |_, s: &State| s.broken & Promise::X.bit() == 0),
            Promise::L => Property::always("L", |m: &Protocol, s: &State| s.recovers(&m.config)),
        }
    }
}

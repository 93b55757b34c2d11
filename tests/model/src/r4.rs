//! Rule R4 by itself: one answer made of two records (config levels), on one host. Checked: the
//! answer is the state at one position, and that position is the revision that it claims.
//! Freshness, faults and far are in the large model; here only the combination counts.

use stateright::{Model, Property};

use crate::state::{Position, Set, bit, highest};

pub const PARTS: usize = 2;
const COMMITS: u8 = 3;

/// What can be taken out of R4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clause {
    /// A cached part is used only if its as-of is not above the watermark that was taken first.
    AsOf,
    /// A missing part makes all parts be read from the origin, not just this one.
    NoMixture,
    /// The origin is read in one statement, not in one for each part.
    OneStatement,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Levels {
    pub without: Option<Clause>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    /// Looks for the part of this number in near.
    Near(usize),
    /// Reads the origin from the part of this number on.
    Origin(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Positions are 1, 2, 3; these touch the part.
    log: [Set; PARTS],
    head: Position,
    /// The host has applied up to here; a row beyond it may be applied by half (F4).
    watermark: Position,
    half: bool,
    /// As-of of the entries of near. The version is the part's at that position (O5).
    near: [Option<Position>; PARTS],
    /// As-of of a read of the origin that may still fill near.
    fill: [Option<Position>; PARTS],
    phase: Phase,
    /// The watermark that the request took, and whether it did so for the second time.
    view: Position,
    again: bool,
    /// Version of each part so far: the position of its last change.
    parts: [Position; PARTS],
    broken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Commit(usize),
    /// Half a row at a time.
    FeedApplies,
    ReadForFill(usize),
    Fill(usize),
    Evict(usize),
    Begin,
    Step,
}

impl State {
    fn version(&self, part: usize, position: Position) -> Position {
        highest(self.log[part] & (bit(position + 1) - 1))
    }

    /// The last change of the part that the host knows (F4: from the first half on).
    fn last(&self, part: usize) -> Position {
        self.version(part, self.watermark + u8::from(self.half))
    }

    fn begin(&mut self, again: bool) {
        self.view = self.watermark;
        self.again = again;
        self.parts = [0; PARTS];
        self.phase = Phase::Near(0);
    }

    fn look_up(&mut self, part: usize, without: Option<Clause>) {
        let newer = |as_of| as_of > self.view && without != Some(Clause::AsOf);
        match self.near[part] {
            Some(as_of) if newer(as_of) && !self.again => self.begin(true),
            Some(as_of) if !newer(as_of) => {
                self.parts[part] = self.version(part, as_of);
                if part + 1 < PARTS {
                    self.phase = Phase::Near(part + 1);
                } else {
                    self.answer(self.view);
                }
            }
            _ if without == Some(Clause::NoMixture) => self.phase = Phase::Origin(part),
            _ => self.phase = Phase::Origin(0),
        }
    }

    fn ask_origin(&mut self, from: usize, without: Option<Clause>) {
        let parts = match without {
            Some(Clause::OneStatement) => from..from + 1,
            _ => from..PARTS,
        };
        let next = parts.end;
        for part in parts {
            self.parts[part] = self.version(part, self.head);
        }
        if next < PARTS {
            self.phase = Phase::Origin(next);
        } else {
            self.answer(self.head);
        }
    }

    fn answer(&mut self, claims: Position) {
        self.broken = (0..PARTS).any(|part| self.parts[part] != self.version(part, claims));
        self.parts = [0; PARTS];
        self.view = 0;
        self.again = false;
        self.phase = Phase::Idle;
    }
}

impl Model for Levels {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            log: [0; PARTS],
            head: 0,
            watermark: 0,
            half: false,
            near: [None; PARTS],
            fill: [None; PARTS],
            phase: Phase::Idle,
            view: 0,
            again: false,
            parts: [0; PARTS],
            broken: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken {
            return;
        }
        if state.watermark < state.head {
            actions.push(Action::FeedApplies);
        }
        actions.push(if state.phase == Phase::Idle {
            Action::Begin
        } else {
            Action::Step
        });
        for part in 0..PARTS {
            if state.head < COMMITS {
                actions.push(Action::Commit(part));
            }
            actions.push(Action::ReadForFill(part));
            // V (N3).
            let valid = |as_of| as_of <= state.watermark && state.last(part) <= as_of;
            if state.near[part].is_none() && state.fill[part].is_some_and(valid) {
                actions.push(Action::Fill(part));
            }
            if state.near[part].is_some() {
                actions.push(Action::Evict(part));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Commit(part) => {
                state.head += 1;
                state.log[part] |= bit(state.head);
            }
            Action::FeedApplies if state.half => {
                state.half = false;
                state.watermark += 1;
            }
            Action::FeedApplies => {
                state.half = true;
                for part in 0..PARTS {
                    if state.log[part] & bit(state.watermark + 1) != 0 {
                        state.near[part] = None;
                    }
                }
            }
            Action::ReadForFill(part) => state.fill[part] = Some(state.head),
            Action::Fill(part) => state.near[part] = state.fill[part].take(),
            Action::Evict(part) => state.near[part] = None,
            Action::Begin => state.begin(false),
            Action::Step => match state.phase {
                Phase::Near(part) => state.look_up(part, self.without),
                Phase::Origin(part) => state.ask_origin(part, self.without),
                Phase::Idle => return None,
            },
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Levels>> {
        vec![Property::always("R4", |_: &Levels, state: &State| {
            !state.broken
        })]
    }
}

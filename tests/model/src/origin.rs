//! The origin: a change log whose positions only grow (O1), and snapshots of it (O5). A commit is
//! one step, since the row lock of the head makes it one (O2, O4). Faults: a failover that loses
//! the last commits, and pruning (F6).

use crate::state::{Position, Set, Value, Version, bit};

/// Most commits of one run.
pub const COMMITS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Of the key that the model follows.
    Change,
    /// Of another subject.
    Other,
    /// `op = 'purge'`, after an edit that went past the triggers (O3, F4): touches every key, ours
    /// has changed, and no row of the log names it.
    Purge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub position: Position,
    /// Number of the commit: never reused, whatever becomes of positions.
    pub version: Version,
    pub kind: Kind,
}

impl Row {
    const NONE: Row = Row {
        position: 0,
        version: 0,
        kind: Kind::Other,
    };

    pub fn changes_key(self) -> bool {
        self.kind != Kind::Other
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    rows: [Row; COMMITS],
    len: u8,
    /// Rows at the beginning that the log no longer shows.
    pub pruned: u8,
    /// Commits so far, lost ones included.
    pub commits: u8,
    /// How many rows are older than the bound, and how many older than this tick.
    old: u8,
    earlier: u8,
    /// Commits that a failover lost in this tick, and in the one before.
    lost_now: Set,
    lost_before: Set,
}

impl Origin {
    pub fn new() -> Origin {
        Origin {
            rows: [Row::NONE; COMMITS],
            len: 0,
            pruned: 0,
            commits: 0,
            old: 0,
            earlier: 0,
            lost_now: 0,
            lost_before: 0,
        }
    }

    /// The surviving history, pruned rows included.
    pub fn history(&self) -> &[Row] {
        &self.rows[..self.len.into()]
    }

    /// What a reader of the log sees of its first `len` rows.
    pub fn visible(&self, len: u8) -> &[Row] {
        &self.rows[self.pruned.min(len).into()..len.into()]
    }

    pub fn count(&self) -> u8 {
        self.len
    }

    /// Highest position in use; `max(position)` of the log.
    pub fn head(&self) -> Position {
        self.history().last().map_or(0, |row| row.position)
    }

    /// O1: greater than every position that was ever given out. `reuse`: than every one that is
    /// still in use, as `max(position) + 1` or a counter that fails over with the rest would be.
    pub fn commit(&mut self, kind: Kind, reuse: bool) -> Row {
        self.commits += 1;
        let position = if reuse { self.head() + 1 } else { self.commits };
        let row = Row {
            position,
            version: self.commits,
            kind,
        };
        self.rows[usize::from(self.len)] = row;
        self.len += 1;
        row
    }

    /// O5: record and head of the log in one snapshot, the one that shows the first `len` rows.
    pub fn snapshot(&self, len: u8) -> Value {
        Value {
            as_of: self.rows[..len.into()].last().map_or(0, |r| r.position),
            version: newest(&self.rows[..len.into()]),
        }
    }

    /// The primary dies and a replica takes over that lacks the last `lost` commits.
    pub fn fail_over(&mut self, lost: u8) {
        for _ in 0..lost {
            self.len -= 1;
            let row = &mut self.rows[usize::from(self.len)];
            self.lost_now |= bit(row.version);
            *row = Row::NONE;
        }
        self.old = self.old.min(self.len);
        self.earlier = self.earlier.min(self.len);
    }

    pub fn tick(&mut self) {
        self.old = self.earlier;
        self.earlier = self.len;
        self.lost_before = self.lost_now;
        self.lost_now = 0;
    }

    /// The version that the key had more than the bound ago.
    pub fn old_version(&self) -> Version {
        newest(&self.rows[..self.old.into()])
    }

    /// The newest surviving version that is not newer than `version`.
    pub fn surviving(&self, version: Version) -> Version {
        let is_older = |row: &&Row| row.changes_key() && row.version <= version;
        let row = self.history().iter().rev().find(is_older);
        row.map_or(0, |row| row.version)
    }

    /// The version that the key had at `position` of the surviving history.
    pub fn version_at(&self, position: Position) -> Version {
        let is_older = |row: &&Row| row.changes_key() && row.position <= position;
        let row = self.history().iter().rev().find(is_older);
        row.map_or(0, |row| row.version)
    }

    pub fn has_position(&self, position: Position) -> bool {
        position == 0 || self.history().iter().any(|row| row.position == position)
    }

    /// Versions that were lost more than the bound ago: no answer may show them any more.
    pub fn long_lost(&self) -> Set {
        let surviving = self.history().iter().map(|row| bit(row.version));
        let surviving = surviving.fold(1, |set, version| set | version);
        let made = bit(self.commits + 1).wrapping_sub(1);
        made & !(surviving | self.lost_now | self.lost_before)
    }
}

impl Default for Origin {
    fn default() -> Origin {
        Origin::new()
    }
}

fn newest(rows: &[Row]) -> Version {
    let row = rows.iter().rev().find(|row| row.changes_key());
    row.map_or(0, |row| row.version)
}

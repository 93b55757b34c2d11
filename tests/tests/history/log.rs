//! The change log of a run, both histories of it, with what is known of the times of each change.
//! For questions of `check`; judges nothing.

use std::collections::HashMap;

use crate::record::{Answer, History, Op, Row, Time, What};

pub struct Log<'a> {
    /// Both histories, in the order of positions.
    rows: Vec<Change<'a>>,
    keys: HashMap<&'a str, Vec<usize>>,
    writers: HashMap<&'a str, usize>,
    /// Positions that are known to be committed and by when: both grow.
    seen: Vec<(u64, Time)>,
    /// First and last position that was lost.
    loss: Option<(u64, u64)>,
}

/// A change and what is known of it.
#[derive(Debug)]
pub struct Change<'a> {
    pub position: u64,
    pub tenant: &'a str,
    pub model: Option<String>,
    /// Committed in the history that did not survive.
    pub lost: bool,
    pub writer: Option<&'a Op>,
    /// It was committed at this time or earlier.
    pub committed: Time,
}

impl Change<'_> {
    /// It was not committed earlier than this.
    pub fn begun(&self) -> Time {
        self.writer.map_or(Time::ZERO, |op| op.began)
    }
}

impl<'a> Log<'a> {
    pub fn new(history: &'a History) -> Log<'a> {
        let writers: HashMap<&str, &Op> = history
            .ops
            .iter()
            .filter(|op| matches!(op.what, What::Write { .. }))
            .map(|op| (op.id.as_str(), op))
            .collect();
        let seen = seen(history);
        let change = |row: &'a Row, lost| Change {
            position: row.position,
            tenant: &row.tenant,
            model: row.model.clone(),
            lost,
            writer: row.op.as_deref().and_then(|op| writers.get(op).copied()),
            committed: committed(&seen, row.position),
        };
        let mut rows: Vec<Change> = history.log.iter().map(|row| change(row, false)).collect();
        rows.extend(history.lost.iter().map(|row| change(row, true)));
        rows.sort_by_key(|row| row.position);
        let mut keys: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut writers = HashMap::new();
        for (index, row) in rows.iter().enumerate() {
            keys.entry(row.tenant).or_default().push(index);
            writers.extend(row.writer.map(|op| (op.id.as_str(), index)));
        }
        let loss = history.lost.first().zip(history.lost.last());
        Log {
            rows,
            keys,
            writers,
            seen,
            loss: loss.map(|(first, last)| (first.position, last.position)),
        }
    }

    pub fn rows(&self) -> &[Change<'a>] {
        &self.rows
    }

    pub fn written_by(&self, op: &str) -> Option<&Change<'a>> {
        self.writers.get(op).map(|index| &self.rows[*index])
    }

    pub fn key(&self, tenant: &str) -> Key<'_, 'a> {
        Key {
            rows: &self.rows,
            indices: self.keys.get(tenant).map_or(&[], Vec::as_slice),
        }
    }

    pub fn has_loss(&self) -> bool {
        self.loss.is_some()
    }

    /// Whether only the surviving history can have this position: it goes on where the other one
    /// ended, by the clock.
    pub fn is_after_loss(&self, position: u64) -> bool {
        self.loss.is_some_and(|(_, last)| position > last)
    }

    /// Whether the surviving history had this position before `time`, for certain.
    pub fn was_committed(&self, position: u64, time: Time) -> bool {
        let lost = self
            .loss
            .is_some_and(|(first, last)| (first..=last).contains(&position));
        !lost && committed(&self.seen, position) < time
    }
}

/// The changes of one tenant.
pub struct Key<'l, 'a> {
    rows: &'l [Change<'a>],
    indices: &'l [usize],
}

impl<'l, 'a> Key<'l, 'a> {
    fn changes(&self) -> impl DoubleEndedIterator<Item = &'l Change<'a>> + use<'l, 'a> {
        let rows = self.rows;
        self.indices.iter().map(move |index| &rows[*index])
    }

    fn surviving(&self) -> impl DoubleEndedIterator<Item = &'l Change<'a>> + use<'l, 'a> {
        self.changes().filter(|row| !row.lost)
    }

    pub fn at(&self, position: u64) -> Option<&'l Change<'a>> {
        self.changes().find(|row| row.position == position)
    }

    /// The last change at or below a position that survived; 0 if there is none.
    pub fn last_at(&self, position: u64) -> u64 {
        let mut rows = self.surviving().rev();
        rows.find(|row| row.position <= position)
            .map_or(0, |row| row.position)
    }

    /// The last change that had certainly been committed at this time.
    pub fn committed_before(&self, time: Time) -> u64 {
        let mut rows = self.surviving().rev();
        rows.find(|row| row.committed < time)
            .map_or(0, |row| row.position)
    }

    /// The change before, in the history of this one.
    pub fn before(&self, change: &Change) -> Option<&'l Change<'a>> {
        let mut rows = self.changes().rev();
        rows.find(|row| row.position < change.position && (!row.lost || change.lost))
    }

    /// The change after, in the surviving history.
    pub fn after(&self, change: &Change) -> Option<&'l Change<'a>> {
        self.surviving().find(|row| row.position > change.position)
    }

    /// The latest state that an answer can have shown. That there is no record can have been seen
    /// after any delete that was begun in time, and before the first change of all (0).
    pub fn latest_shown(&self, answer: &Answer, ended: Time) -> u64 {
        match &answer.record {
            Some((revision, _)) => *revision,
            None => {
                let mut rows = self.changes().rev();
                rows.find(|row| row.model.is_none() && row.begun() <= ended)
                    .map_or(0, |row| row.position)
            }
        }
    }

    /// The earliest state that an answer can have shown, if it is one of the surviving history: it
    /// is not from before its own position. 0 if that cannot be told.
    pub fn earliest_shown(&self, answer: &Answer, ended: Time) -> u64 {
        match &answer.record {
            Some((revision, _)) => {
                let row = self.at(*revision).filter(|row| !row.lost);
                row.map_or(0, |row| row.position)
            }
            None if self.changes().any(|row| row.lost) => 0,
            None => {
                let from = self.last_at(answer.position);
                if from == 0 {
                    // As it was before the first change.
                    return 0;
                }
                let delete = |row: &&Change| {
                    row.position >= from && row.model.is_none() && row.begun() <= ended
                };
                self.surviving().find(delete).map_or(0, |row| row.position)
            }
        }
    }
}

/// Every position that anybody saw, and when it was seen at the latest; sorted, times growing.
fn seen(history: &History) -> Vec<(u64, Time)> {
    let mut seen = history.seen.clone();
    for op in &history.ops {
        seen.extend(op.acknowledged().map(|revision| (revision, op.ended)));
        if let Some(answer) = op.answer() {
            let revision = answer.record.as_ref().map_or(0, |(revision, _)| *revision);
            seen.push((answer.position.max(revision), op.ended));
        }
    }
    seen.sort_unstable();
    // Who sees a position sees all below it.
    let mut earliest = Time::MAX;
    for (_, time) in seen.iter_mut().rev() {
        earliest = earliest.min(*time);
        *time = earliest;
    }
    seen
}

/// When a position was committed at the latest; the end of time if nobody saw it.
fn committed(seen: &[(u64, Time)], position: u64) -> Time {
    let first = seen.partition_point(|(seen, _)| *seen < position);
    seen.get(first).map_or(Time::MAX, |(_, time)| *time)
}

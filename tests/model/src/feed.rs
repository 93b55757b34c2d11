//! The feed of a host (F2 to F4): send, snapshot at the server, and the reply applied row by row.
//! As `host/coherence/src/feed.rs` does it. Wakes, timers and NOTIFY are not here: a read may
//! happen at any time, or never.

use crate::config::Config;
use crate::host::Host;
use crate::origin::{Kind, Origin, Row};
use crate::rules::Rule;
use crate::state::{Age, Set, bit};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feed {
    Idle,
    /// On its way to the server; `start`: for the newest rows (F2) instead of those since the
    /// watermark (F3).
    Sent {
        age: Age,
        start: bool,
    },
    /// Answered; `rows` are those that are left to apply.
    Reply {
        age: Age,
        start: bool,
        rows: Set,
        touching: Set,
        /// F3: the log still has the watermark. F2: the log has no other rows than these.
        known: bool,
        /// There are more rows than one reply takes.
        full: bool,
        /// The lowest row is applied by half.
        half: bool,
    },
}

impl Host {
    pub fn feed_sends(&mut self, start: bool) {
        self.fence_is_older = self.fence != 0;
        self.feed = Feed::Sent {
            age: Age::NOW,
            start,
        };
    }

    /// The server answers from a snapshot of the first `len` rows.
    pub fn feed_is_answered(&mut self, origin: &Origin, len: u8, config: &Config) {
        let rules = config.rules;
        let Feed::Sent { age, start } = self.feed else {
            return;
        };
        let visible = origin.visible(len);
        let pruned = origin.pruned > 0;
        let (rows, known) = if start {
            let skipped = visible.len().saturating_sub(config.window.into());
            let whole = skipped == 0 && (!pruned || !rules.has(Rule::PrunedStart));
            (&visible[skipped..], whole)
        } else {
            let watermark = self.watermark.unwrap_or(0);
            let since = visible.partition_point(|row| row.position < watermark);
            let since = &visible[since..];
            match since.split_first() {
                // An empty log has no row of the watermark.
                _ if watermark == 0 => (since, true),
                Some((first, news)) if first.position == watermark => (news, true),
                _ => (since, !rules.has(Rule::WatermarkRow)),
            }
        };
        let full = !start && rows.len() > config.chunk.into();
        let rows = if full {
            &rows[..config.chunk.into()]
        } else {
            rows
        };
        let set = |rows: &[Row], of: &dyn Fn(&Row) -> bool| {
            let rows = rows.iter().filter(|row| of(row));
            rows.fold(0, |set, row| set | bit(row.position))
        };
        let touches = |row: &Row| match row.kind {
            Kind::Change => true,
            Kind::Other => false,
            Kind::Purge => rules.has(Rule::PurgeTouchesAll),
        };
        self.feed = Feed::Reply {
            age,
            start,
            rows: set(rows, &|_| true),
            touching: set(rows, &touches),
            known,
            full,
            half: false,
        };
    }

    /// One step of applying the reply.
    pub fn feed_applies(&mut self, origin: &Origin, config: &Config) {
        let rules = config.rules;
        let Feed::Reply {
            age,
            start,
            rows,
            touching,
            known,
            full,
            half,
        } = self.feed
        else {
            return;
        };
        if start {
            self.feed = Feed::Idle;
            self.load(rows, touching, known, age, rules);
            self.has_applied(origin, touching);
        } else if !known {
            self.purge();
        } else if rows.count_ones() > config.window.into() && !half {
            // Cheaper to start anew than to apply what the window cannot hold (F2).
            self.feed_sends(true);
        } else if rows == 0 {
            self.feed = Feed::Idle;
            let age = if rules.has(Rule::SendTime) {
                age
            } else {
                Age::NOW
            };
            if !full || !rules.has(Rule::WholeReply) {
                self.prove(age, rules);
            }
        } else {
            let position = rows.trailing_zeros() as u8;
            let touches = touching & bit(position) != 0;
            if half == rules.has(Rule::RemoveFirst) {
                self.raise_watermark(position, config.window);
            } else {
                self.append(position, touches, rules);
            }
            if half {
                self.has_applied(origin, touching & bit(position));
            }
            self.feed = Feed::Reply {
                age,
                start,
                rows: if half { rows & (rows - 1) } else { rows },
                touching,
                known,
                full,
                half: !half,
            };
        }
    }

    /// For promise X: the feed has applied these changes of the key.
    fn has_applied(&mut self, origin: &Origin, touching: Set) {
        let applied = |row: &&Row| row.changes_key() && touching & bit(row.position) != 0;
        let newest = origin.history().iter().rev().find(applied);
        self.shown = self.shown.max(newest.map_or(0, |row| row.version));
    }

    /// The whole read in one step, for a host whose feed is not under study.
    pub fn feed_reads(&mut self, origin: &Origin, config: &Config) {
        self.feed_sends(self.watermark.is_none());
        self.feed_ends(origin, config);
    }

    /// A read that was sent runs to its end.
    pub fn feed_ends(&mut self, origin: &Origin, config: &Config) {
        while self.feed != Feed::Idle {
            self.feed_is_answered(origin, origin.count(), config);
            self.feed_applies(origin, config);
        }
    }
}

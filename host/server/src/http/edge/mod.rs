//! The edge: connections are taken up to a bound, watched, and ended in order. One watch looks at
//! all of them four times a second; no timer belongs to a request. Not for what a request is
//! answered (`service`), nor for how a listener comes about (`listen`).

mod answers;
mod body;
mod connection;
mod protocol;
mod room;
mod serving;
mod stream;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

pub use answers::BuiltIn;
pub use body::Stalled;
pub use room::{NoRoom, room};
pub use serving::{Asked, serve};

use super::memory::ANSWERS;
use connection::{Connection, Wait};
use table::{Leaving, Place, Table};

/// Pause between two looks at the connections.
const TICK: Duration = Duration::from_millis(250);
/// For the first byte, and from there for the whole head.
const HEAD: Duration = Duration::from_secs(10);
/// The same beyond the bound.
const HEAD_EXTRA: Duration = Duration::from_secs(2);
/// For an answer to be taken, once the connection is full.
const WRITE: Duration = Duration::from_secs(60);
/// For a client of HTTP/2 to go that was asked to.
const PARTING: Duration = Duration::from_secs(1);

/// Longest time without a request, if nothing is said: above that of the usual load balancers.
pub const IDLE: Duration = Duration::from_secs(75);

const SERVING: u8 = 0;
const DRAINING: u8 = 1;
const STOPPING: u8 = 2;

/// The connections of an instance, and whether it is about to go. Commands without a server have
/// one without any.
#[derive(Default)]
pub struct Edge {
    /// Most connections.
    most: usize,
    /// Ticks that a connection may be idle for.
    idle: u32,
    /// Counts the looks: what a starved or suspended process had no time for, nobody is blamed for.
    ticks: AtomicU32,
    stage: AtomicU8,
    /// When clients of HTTP/2 have had their time to go, once it stops.
    parted: AtomicU32,
    table: Table,
    /// Bytes of answers that no connection has taken.
    held: AtomicU64,
    taken: AtomicU64,
    /// Told that there is no room, or not even that.
    refused: AtomicU64,
    /// By what they were waited for; [`Wait::ALL`] has the order.
    timed_out: [AtomicU64; Wait::ALL.len()],
    /// Ended to make room for others.
    made_room: AtomicU64,
}

/// How the edge fares.
#[derive(Debug, Clone)]
pub struct Status {
    pub open: usize,
    pub most: usize,
    pub draining: bool,
    pub taken: u64,
    pub refused: u64,
    /// Connections that were ended, by cause.
    pub ended: Vec<(&'static str, u64)>,
}

impl Edge {
    pub fn new(most: usize, idle: Duration) -> Edge {
        Edge {
            most,
            idle: ticks(idle),
            ..Edge::default()
        }
    }

    fn now(&self) -> u32 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// It goes soon: answers say so, and whoever asks whether to send more is told not to.
    pub fn is_leaving(&self) -> bool {
        self.stage.load(Ordering::Relaxed) != SERVING
    }

    pub fn status(&self) -> Status {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let timed_out = Wait::ALL.iter().zip(&self.timed_out);
        let timed_out = timed_out.map(|(wait, counter)| (wait.name(), count(counter)));
        Status {
            open: self.table.len(),
            most: self.most,
            draining: self.is_leaving(),
            taken: count(&self.taken),
            refused: count(&self.refused),
            ended: timed_out
                .chain([("room", count(&self.made_room))])
                .collect(),
        }
    }

    /// A place for a new connection; `None`: there is none.
    fn place(&self) -> Option<(u64, Arc<Connection>)> {
        let Place { taken, leaving } = self.table.place(self.most, self.now());
        self.make_room(leaving);
        let is_full = taken.as_ref().is_none_or(|(_, taken)| taken.extra);
        let counter = if is_full { &self.refused } else { &self.taken };
        counter.fetch_add(1, Ordering::Relaxed);
        taken
    }

    /// Ends some connections because there are no files for new ones.
    fn out_of_files(&self) {
        let leaving = self.table.make_room(self.now());
        self.make_room(leaving);
    }

    fn make_room(&self, leaving: Vec<Leaving>) {
        for (connection, _) in leaving {
            self.made_room.fetch_add(1, Ordering::Relaxed);
            connection.end_now();
        }
    }

    /// An answer is made for a connection. If callers take too few of theirs, connections end:
    /// their memory is free at once. To let answers wait until there is room would not bound it,
    /// since they are made already; and to let calls wait for it before they are answered would
    /// keep those waiting who take what they ask for.
    fn hold(&self, connection: &Connection, bytes: u64) {
        connection.hold(bytes);
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > ANSWERS {
            // Some more at once: looking for them costs a look at each.
            let leaving = self
                .table
                .take_holders(self.now(), held - ANSWERS + ANSWERS / 16);
            for (one, _) in &leaving {
                self.let_go(one, u64::MAX);
            }
            self.make_room(leaving);
        }
    }

    /// It is taken, or given up with its connection.
    fn let_go(&self, connection: &Connection, bytes: u64) {
        let held = connection.let_go(bytes);
        self.held.fetch_sub(held, Ordering::Relaxed);
    }

    /// One look at all connections: whoever was waited for too long goes.
    fn tick(&self) {
        let now = self.ticks.fetch_add(1, Ordering::Relaxed) + 1;
        for (connection, wait) in self.table.overdue(now, |one, wait, waited| {
            self.is_overdue(one, wait, waited, now)
        }) {
            tracing::debug!(waited_for = wait.name(), "a connection was ended");
            self.timed_out(wait);
            connection.end_now();
        }
    }

    fn timed_out(&self, wait: Wait) {
        let counters = Wait::ALL.iter().zip(&self.timed_out);
        for (_, counter) in counters.filter(|(one, _)| **one == wait) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_overdue(&self, connection: &Connection, wait: Wait, waited: u32, now: u32) -> bool {
        let stops = self.stage.load(Ordering::Relaxed) == STOPPING;
        let limit = match wait {
            // Its own clock answers it.
            Wait::Body => return false,
            Wait::Write => ticks(WRITE),
            // It was asked to go, which takes its answer.
            Wait::Idle if stops && connection.is_http2() => {
                return now >= self.parted.load(Ordering::Relaxed);
            }
            _ if stops => 0,
            Wait::Silent | Wait::Head if connection.extra => ticks(HEAD_EXTRA),
            Wait::Silent | Wait::Head => ticks(HEAD),
            Wait::Idle => {
                // Asked first: a request may be on its way.
                if connection.is_http2() && waited >= self.idle {
                    connection.leave();
                    return waited >= self.idle.saturating_add(ticks(PARTING));
                }
                self.idle
            }
        };
        waited >= limit
    }

    /// From now on answers ask clients to go elsewhere.
    fn drain(&self) {
        self.stage.store(DRAINING, Ordering::Relaxed);
    }

    /// From now on connections end: idle ones and half heads at once, others with the answer that
    /// is under way.
    fn stop(&self) {
        let parted = self.now().saturating_add(ticks(PARTING));
        self.parted.store(parted, Ordering::Relaxed);
        self.stage.store(STOPPING, Ordering::Relaxed);
        self.table.each(Connection::leave);
        self.tick();
    }

    fn is_empty(&self) -> bool {
        self.table.len() == 0
    }
}

fn ticks(time: Duration) -> u32 {
    let ticks = time.as_millis().div_ceil(TICK.as_millis());
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge() -> Edge {
        Edge::new(2, Duration::from_secs(1))
    }

    fn placed(edge: &Edge) -> Arc<Connection> {
        edge.place().expect("a place").1
    }

    fn ended(edge: &Edge) -> String {
        let ended = edge.status().ended.into_iter();
        let some = ended.filter(|(_, count)| *count > 0);
        some.map(|(cause, count)| format!("{cause} {count} "))
            .collect()
    }

    #[test]
    fn who_says_nothing_and_who_asks_nothing_more_has_to_go() {
        let edge = edge();
        let idle = placed(&edge);
        idle.begin();
        idle.end(edge.now());
        placed(&edge);
        (0..4).for_each(|_| edge.tick());
        assert_eq!(ended(&edge), "idle 1 ");
        (4..ticks(HEAD)).for_each(|_| edge.tick());
        assert_eq!(ended(&edge), "silent 1 idle 1 ");
        assert!(edge.is_empty());
    }

    #[test]
    fn a_client_of_http2_is_asked_before_it_has_to_go() {
        let edge = edge();
        let one = placed(&edge);
        one.speaks_http2(edge.now());
        (0..4).for_each(|_| edge.tick());
        let order = one.order(std::task::Waker::noop());
        assert_eq!(order, connection::Order::Leave);
        assert!(!edge.is_empty());
        (0..4).for_each(|_| edge.tick());
        assert!(edge.is_empty());
    }

    #[test]
    fn a_stop_ends_what_waits_for_its_peer_and_nothing_that_is_under_way() {
        let edge = edge();
        let busy = placed(&edge);
        busy.begin();
        let head = placed(&edge);
        head.heard(edge.now());
        edge.stop();
        assert_eq!(edge.status().open, 1);
        assert_eq!(ended(&edge), "head 1 ");
        let order = |one: &Connection| one.order(std::task::Waker::noop());
        assert_eq!(order(&busy), connection::Order::Leave);
        assert_eq!(order(&head), connection::Order::End);
    }

    #[test]
    fn a_client_of_http2_that_is_idle_is_asked_to_go_before_a_stop_ends_it() {
        let edge = Edge::new(2, IDLE);
        let one = placed(&edge);
        one.speaks_http2(edge.now());
        (0..40).for_each(|_| edge.tick());
        edge.stop();
        let order = one.order(std::task::Waker::noop());
        assert_eq!(order, connection::Order::Leave);
        (0..ticks(PARTING)).for_each(|_| edge.tick());
        assert!(edge.is_empty());
    }

    #[test]
    fn an_answer_that_a_stream_does_not_take_ends_its_connection_whatever_else_that_asks() {
        let edge = edge();
        let one = placed(&edge);
        one.speaks_http2(edge.now());
        one.answers(edge.now());
        for _ in 0..ticks(WRITE) {
            assert!(!edge.is_empty());
            one.begin();
            one.end(edge.now());
            edge.tick();
        }
        assert_eq!(ended(&edge), "write 1 ");
    }

    #[test]
    fn whoever_is_turned_away_is_counted() {
        let edge = edge();
        (0..2).for_each(|_| placed(&edge).begin());
        assert!(placed(&edge).extra);
        let status = edge.status();
        assert_eq!((status.taken, status.refused, status.open), (2, 1, 3));
    }

    #[test]
    fn where_answers_hold_too_much_who_leaves_most_untaken_goes_and_is_counted_no_more() {
        let edge = Edge::new(10, IDLE);
        let (most, some, fresh) = (placed(&edge), placed(&edge), placed(&edge));
        for (one, eighths) in [(&most, 5), (&some, 1)] {
            one.begin();
            one.write_waits(true, edge.now());
            edge.hold(one, ANSWERS / 8 * eighths);
        }
        fresh.begin();
        (0..10).for_each(|_| edge.tick());
        assert_eq!(ended(&edge), "");
        // More than any other, but only just.
        edge.hold(&fresh, ANSWERS / 8 * 6);
        assert_eq!(ended(&edge), "room 1 ");
        let order = |one: &Connection| one.order(std::task::Waker::noop());
        assert_eq!(order(&most), connection::Order::End);
        assert_eq!(edge.held.load(Ordering::Relaxed), ANSWERS / 8 * 7);
        // Who holds little goes after whoever holds much, however long it waits.
        let small = placed(&edge);
        small.begin();
        small.write_waits(true, edge.now());
        edge.hold(&small, 5 << 10);
        (0..10).for_each(|_| edge.tick());
        let attacker = placed(&edge);
        attacker.begin();
        edge.hold(&attacker, ANSWERS / 8 * 2);
        assert_eq!(order(&small), connection::Order::GoOn);
        edge.let_go(&small, 5 << 10);
        edge.let_go(&attacker, ANSWERS / 8 * 2);
        // Its answers are dropped with it, and were taken off already.
        edge.let_go(&most, ANSWERS / 8 * 5);
        edge.let_go(&fresh, ANSWERS / 8 * 6);
        edge.let_go(&some, ANSWERS / 8);
        assert_eq!(edge.held.load(Ordering::Relaxed), 0);
    }
}

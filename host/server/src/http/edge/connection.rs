//! One connection, as those who watch it see it: whose turn it is, and since when. Kept in a few
//! numbers that its own task writes and the watch reads: no timer is set or stopped for a request.
//! Not for what follows from it (`table`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

/// Whom or what a connection waits for while the peer has the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// For the first byte.
    Silent,
    /// For the rest of a head.
    Head,
    /// For a body that a request is being read from.
    Body,
    /// For the peer to take what it has asked for.
    Write,
    /// For another request.
    Idle,
}

impl Wait {
    pub const ALL: [Wait; 5] = [
        Wait::Silent,
        Wait::Head,
        Wait::Body,
        Wait::Write,
        Wait::Idle,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Wait::Silent => "silent",
            Wait::Head => "head",
            Wait::Body => "body",
            Wait::Write => "write",
            Wait::Idle => "idle",
        }
    }
}

const SILENT: u8 = 0;
const HEAD: u8 = 1;
const IDLE: u8 = 2;

/// What its task is told.
const GO_ON: u8 = 0;
const LEAVE: u8 = 1;
const END: u8 = 2;

/// What its task does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    GoOn,
    /// End once what is under way is answered.
    Leave,
    /// End now.
    End,
}

/// Times are ticks of the watch; "no time" is [`NEVER`].
#[derive(Debug)]
pub struct Connection {
    /// Beyond the bound: it is told so, and may ask how the instance fares.
    pub extra: bool,
    http2: AtomicBool,
    /// Requests under way.
    requests: AtomicU32,
    /// What it waits for while none is, and since when.
    turn: AtomicU8,
    since: AtomicU32,
    body: AtomicU32,
    write: AtomicU32,
    /// Long answers that streams of HTTP/2 have not taken, in the order of their beginnings, which
    /// go with them.
    untaken: Mutex<BTreeMap<u64, u32>>,
    /// Bytes of answers that it has not taken.
    held: AtomicU64,
    order: AtomicU8,
    /// Of its task.
    waker: OnceLock<Waker>,
}

const NEVER: u32 = u32::MAX;

impl Connection {
    pub fn new(extra: bool, now: u32) -> Connection {
        Connection {
            extra,
            http2: AtomicBool::new(false),
            requests: AtomicU32::new(0),
            turn: AtomicU8::new(SILENT),
            since: AtomicU32::new(now),
            body: AtomicU32::new(NEVER),
            write: AtomicU32::new(NEVER),
            untaken: Mutex::default(),
            held: AtomicU64::new(0),
            order: AtomicU8::new(GO_ON),
            waker: OnceLock::new(),
        }
    }

    pub fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    /// It speaks HTTP/2, whose frames are no heads: what matters is whether requests are under way.
    pub fn speaks_http2(&self, now: u32) {
        self.http2.store(true, Ordering::Relaxed);
        self.wait(IDLE, now);
    }

    /// Bytes have come.
    pub fn heard(&self, now: u32) {
        let head_begins = self.requests.load(Ordering::Relaxed) == 0
            && self.turn.load(Ordering::Relaxed) != HEAD
            && !self.is_http2();
        if head_begins {
            self.wait(HEAD, now);
        }
    }

    fn wait(&self, turn: u8, now: u32) {
        self.since.store(now, Ordering::Relaxed);
        self.turn.store(turn, Ordering::Relaxed);
    }

    pub fn begin(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A request is answered.
    pub fn end(&self, now: u32) {
        self.wait(IDLE, now);
        // Whoever sees that none is under way also sees since when.
        self.requests.fetch_sub(1, Ordering::Release);
    }

    /// A body has not come, or has.
    pub fn body_waits(&self, waits: bool, now: u32) {
        mark(&self.body, waits, now);
    }

    /// What is to be sent finds no room, or is all sent.
    pub fn write_waits(&self, waits: bool, now: u32) {
        mark(&self.write, waits, now);
    }

    fn untaken(&self) -> MutexGuard<'_, BTreeMap<u64, u32>> {
        self.untaken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A long answer is there for one of several streams. Under what it is known.
    pub fn answers(&self, now: u32) -> u64 {
        let mut untaken = self.untaken();
        let id = untaken.last_key_value().map_or(0, |(id, _)| id + 1);
        untaken.insert(id, now);
        id
    }

    /// It is taken, or given up.
    pub fn is_taken(&self, id: u64) {
        self.untaken().remove(&id);
    }

    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    pub fn hold(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes are taken or given up; how many of them were held still.
    pub fn let_go(&self, bytes: u64) -> u64 {
        let rest = |held: u64| Some(held.saturating_sub(bytes));
        let relaxed = Ordering::Relaxed;
        let held = self.held.fetch_update(relaxed, relaxed, rest);
        held.map_or(0, |held| held.min(bytes))
    }

    /// What the peer is waited for, and for how many ticks; `None`: it is this instance's turn.
    pub fn waits(&self, now: u32) -> Option<(Wait, u32)> {
        let ticks = |since: u32| now.saturating_sub(since);
        let write = self.write.load(Ordering::Relaxed);
        if write != NEVER {
            return Some((Wait::Write, ticks(write)));
        }
        if self.is_http2()
            && let Some((_, since)) = self.untaken().first_key_value()
        {
            return Some((Wait::Write, ticks(*since)));
        }
        if self.requests.load(Ordering::Acquire) > 0 {
            let body = self.body.load(Ordering::Relaxed);
            // One of several requests: the others are not kept waiting by it.
            return (body != NEVER && !self.is_http2()).then(|| (Wait::Body, ticks(body)));
        }
        let wait = match self.turn.load(Ordering::Relaxed) {
            SILENT => Wait::Silent,
            HEAD => Wait::Head,
            _ => Wait::Idle,
        };
        Some((wait, ticks(self.since.load(Ordering::Relaxed))))
    }

    /// Asks the peer to go once what is under way is answered.
    pub fn leave(&self) {
        self.tell(LEAVE);
    }

    pub fn end_now(&self) {
        self.tell(END);
    }

    fn tell(&self, order: u8) {
        if self.order.fetch_max(order, Ordering::AcqRel) < order
            && let Some(waker) = self.waker.get()
        {
            waker.wake_by_ref();
        }
    }

    /// For its task, which is woken when this changes.
    pub fn order(&self, waker: &Waker) -> Order {
        if self.waker.get().is_none() {
            // One task for all of its life, hence one waker.
            let _ = self.waker.set(waker.clone());
        }
        match self.order.load(Ordering::Acquire) {
            GO_ON => Order::GoOn,
            LEAVE => Order::Leave,
            _ => Order::End,
        }
    }
}

fn mark(since: &AtomicU32, waits: bool, now: u32) {
    let marked = since.load(Ordering::Relaxed) != NEVER;
    if waits != marked {
        since.store(if waits { now } else { NEVER }, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_turn_it_is_follows_what_happens() {
        let one = Connection::new(false, 5);
        assert_eq!(one.waits(7), Some((Wait::Silent, 2)));
        one.heard(8);
        one.heard(9);
        assert_eq!(one.waits(9), Some((Wait::Head, 1)), "since its first byte");
        one.begin();
        assert_eq!(one.waits(20), None);
        one.body_waits(true, 21);
        one.body_waits(true, 23);
        assert_eq!(one.waits(24), Some((Wait::Body, 3)));
        one.body_waits(false, 25);
        one.heard(25);
        assert_eq!(one.waits(25), None, "what comes is its body");
        one.write_waits(true, 26);
        one.end(27);
        assert_eq!(one.waits(28), Some((Wait::Write, 2)));
        one.write_waits(false, 28);
        assert_eq!(one.waits(29), Some((Wait::Idle, 2)));
        one.heard(30);
        assert_eq!(one.waits(31), Some((Wait::Head, 1)));
    }

    #[test]
    fn frames_of_http2_are_no_heads() {
        let one = Connection::new(false, 0);
        one.heard(1);
        one.speaks_http2(1);
        one.heard(4);
        assert_eq!(one.waits(5), Some((Wait::Idle, 4)));
        one.begin();
        one.begin();
        one.body_waits(true, 6);
        assert_eq!(one.waits(9), None, "other requests may be under way");
        one.end(9);
        assert_eq!(one.waits(9), None);
        one.end(10);
        assert_eq!(one.waits(12), Some((Wait::Idle, 2)));
    }

    #[test]
    fn an_order_is_never_taken_back() {
        let one = Connection::new(false, 0);
        let order = || one.order(Waker::noop());
        assert_eq!(order(), Order::GoOn);
        one.leave();
        assert_eq!(order(), Order::Leave);
        one.end_now();
        one.leave();
        assert_eq!(order(), Order::End);
    }
}

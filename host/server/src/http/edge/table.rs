//! All connections, and which of them have to go: those that keep their instance waiting for too
//! long, and, when there is no room, those that have for longest. Not for what a connection says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::connection::{Connection, Wait};

/// Connections beyond the bound, which are told so.
pub const EXTRA: usize = 16;
/// Ticks that a connection has been waited for before it makes room for another; one that has said
/// nothing has no such claim.
const CLAIM: u32 = 4;
/// Of all that there may be, this part goes at once when there is no room: looking for them costs a
/// look at each.
const SHARE: usize = 64;

#[derive(Default)]
pub struct Table(Mutex<Open>);

#[derive(Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Connection>>,
    extra: usize,
}

/// A connection that has to go, and what it was waited for.
pub type Leaving = (Arc<Connection>, Wait);

impl Open {
    fn add(&mut self, connection: Connection) -> (u64, Arc<Connection>) {
        let connection = Arc::new(connection);
        let id = self.next;
        self.next += 1;
        self.extra += usize::from(connection.extra);
        self.connections.insert(id, connection.clone());
        (id, connection)
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Connection>> {
        let gone = self.connections.remove(&id)?;
        self.extra -= usize::from(gone.extra);
        Some(gone)
    }

    /// Those that may have to go, who has kept its instance waiting for longest first, idle ones
    /// last.
    fn candidates(&self, now: u32, extra: bool) -> Vec<(u64, Wait)> {
        let mut found: Vec<(bool, u32, u64, Wait)> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.extra == extra)
            .filter_map(|(id, connection)| {
                let (wait, ticks) = connection.waits(now)?;
                let goes = extra || wait == Wait::Silent || ticks >= CLAIM;
                goes.then_some((wait == Wait::Idle, u32::MAX - ticks, *id, wait))
            })
            .collect();
        found.sort_unstable_by_key(|(idle, ticks, id, _)| (*idle, *ticks, *id));
        found
            .into_iter()
            .map(|(_, _, id, wait)| (id, wait))
            .collect()
    }

    fn take_out(&mut self, candidates: Vec<(u64, Wait)>, count: usize) -> Vec<Leaving> {
        let first = candidates.into_iter().take(count);
        first
            .filter_map(|(id, wait)| Some((self.remove(id)?, wait)))
            .collect()
    }
}

/// What becomes of a new connection.
pub struct Place {
    /// `None`: there is no place even for one that would be told so.
    pub taken: Option<(u64, Arc<Connection>)>,
    pub leaving: Vec<Leaving>,
}

impl Table {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn len(&self) -> usize {
        self.open().connections.len()
    }

    /// A place for a new connection, of which there are `most` and a few more for those beyond.
    pub fn place(&self, most: usize, now: u32) -> Place {
        let mut open = self.open();
        let mut leaving = Vec::new();
        if open.connections.len() - open.extra >= most {
            let candidates = open.candidates(now, false);
            leaving = open.take_out(candidates, (most / SHARE).max(1));
        }
        let extra = open.connections.len() - open.extra >= most;
        if extra && open.extra >= EXTRA {
            let candidates = open.candidates(now, true);
            leaving = open.take_out(candidates, 1);
            if open.extra >= EXTRA {
                return Place {
                    taken: None,
                    leaving,
                };
            }
        }
        let taken = Some(open.add(Connection::new(extra, now)));
        Place { taken, leaving }
    }

    /// Room where there is none for files: those go that would go at the bound.
    pub fn make_room(&self, now: u32) -> Vec<Leaving> {
        let mut open = self.open();
        let count = (open.connections.len() / SHARE).max(1);
        let candidates = open.candidates(now, false);
        open.take_out(candidates, count)
    }

    /// Takes out those whose answers hold most for longest, until these are so many bytes. Neither
    /// counts alone: who has only just been answered may take it all, and little may wait long.
    pub fn take_holders(&self, now: u32, bytes: u64) -> Vec<Leaving> {
        let mut open = self.open();
        let mut holders: Vec<(u64, u64, u64)> = open
            .connections
            .iter()
            .filter(|(_, connection)| connection.held() > 0)
            .map(|(id, connection)| {
                let ticks = connection.waits(now).map_or(0, |(_, ticks)| ticks);
                let held = connection.held();
                (held.saturating_mul(u64::from(ticks) + 1), held, *id)
            })
            .collect();
        holders.sort_unstable_by(|one, other| other.cmp(one));
        let mut found = 0;
        let enough = |(_, held, _): &(u64, u64, u64)| {
            let more = found < bytes;
            found += held;
            more
        };
        let holders = holders.into_iter().take_while(enough);
        let holders = holders.map(|(_, _, id)| (id, Wait::Write)).collect();
        open.take_out(holders, usize::MAX)
    }

    /// Takes out those for which this says so.
    pub fn overdue(
        &self,
        now: u32,
        mut is_overdue: impl FnMut(&Connection, Wait, u32) -> bool,
    ) -> Vec<Leaving> {
        let mut open = self.open();
        let found = open
            .connections
            .iter()
            .filter_map(|(id, connection)| {
                let (wait, ticks) = connection.waits(now)?;
                is_overdue(connection, wait, ticks).then_some((*id, wait))
            })
            .collect();
        open.take_out(found, usize::MAX)
    }

    pub fn remove(&self, id: u64) {
        self.open().remove(id);
    }

    pub fn each(&self, mut f: impl FnMut(&Connection)) {
        self.open().connections.values().for_each(|one| f(one));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(leaving: &[Leaving]) -> Vec<Wait> {
        leaving.iter().map(|(_, wait)| *wait).collect()
    }

    fn taken(place: Place) -> Arc<Connection> {
        place.taken.expect("a place").1
    }

    #[test]
    fn at_the_bound_who_was_silent_for_longest_makes_room() {
        let table = Table::default();
        let silent = taken(table.place(3, 0));
        let head = taken(table.place(3, 0));
        head.heard(0);
        let busy = taken(table.place(3, 0));
        busy.begin();
        let place = table.place(3, 2);
        assert_eq!(waits(&place.leaving), [Wait::Silent]);
        assert!(Arc::ptr_eq(&place.leaving[0].0, &silent));
        let fresh = taken(place);
        assert!(!fresh.extra);
        fresh.begin();
        // Half a head has its time, then it goes.
        let place = table.place(3, 3);
        assert!(waits(&place.leaving).is_empty());
        assert!(taken(place).extra, "it is told that there is no room");
        let place = table.place(3, CLAIM);
        assert_eq!(waits(&place.leaving), [Wait::Head]);
        assert!(!taken(place).extra);
    }

    #[test]
    fn idle_ones_go_last_and_those_with_a_request_never() {
        let table = Table::default();
        let idle = taken(table.place(2, 0));
        idle.begin();
        idle.end(0);
        let head = taken(table.place(2, 50));
        head.heard(50);
        let busy = taken(table.place(2, 100));
        busy.begin();
        assert!(table.len() == 2);
        let place = table.place(2, 100);
        assert_eq!(
            waits(&place.leaving),
            [Wait::Idle],
            "the half head has gone"
        );
        taken(place).begin();
        for _ in 0..EXTRA {
            let one = taken(table.place(2, 1000));
            assert!(one.extra);
            one.begin();
        }
        let place = table.place(2, 1000);
        assert!(place.taken.is_none() && place.leaving.is_empty());
        assert_eq!(table.len(), 2 + EXTRA);
    }

    #[test]
    fn who_is_beyond_the_bound_and_says_nothing_makes_room_for_the_next() {
        let table = Table::default();
        taken(table.place(1, 0)).begin();
        let first = taken(table.place(1, 0));
        for tick in 1..100 {
            let place = table.place(1, tick);
            assert!(taken(place).extra);
        }
        assert_eq!(table.len(), 1 + EXTRA);
        let mut is_there = false;
        table.each(|one| is_there |= std::ptr::eq(one, &*first));
        assert!(!is_there);
    }

    #[test]
    fn a_connection_that_has_gone_leaves_its_place() {
        let table = Table::default();
        let (id, _) = table.place(1, 0).taken.expect("a place");
        table.remove(id);
        table.remove(id);
        assert_eq!(table.len(), 0);
        let overdue = |_: &Connection, _: Wait, ticks: u32| ticks > 3;
        table.place(1, 0);
        assert!(table.overdue(3, overdue).is_empty());
        assert_eq!(waits(&table.overdue(4, overdue)), [Wait::Silent]);
        assert_eq!(table.len(), 0);
    }
}

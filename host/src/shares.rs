//! Places of which nobody can have all: who has many waits, who has none finds one. For whatever is
//! short on a host (cores, connections, calls that wait). Not for what is done in a place, nor for how
//! long a place is kept: who takes one has a deadline of its own.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::ids::Tenant;

/// Callers that wait for a place of one share, unless something else is said; more are refused at once.
const QUEUE: usize = 64;

/// Whose share it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Whose {
    Tenant(Tenant),
    /// Whoever runs the fleet: has places of its own, which no tenant can take.
    Operator,
}

impl From<&Tenant> for Whose {
    fn from(tenant: &Tenant) -> Whose {
        Whose::Tenant(tenant.clone())
    }
}

/// A number of places for tenants, and some for operators beside them. A tenant gets another place only
/// while more are free than it has: one that is alone can have half of them, `n` that want all of them
/// get an equal part each, and one part stays free for who comes next. What is kept of a share goes with its
/// last place and its last caller.
#[derive(Clone)]
pub struct Shares {
    state: Arc<Mutex<State>>,
}

struct State {
    /// Most places of one share.
    each: usize,
    /// Callers that wait in one share.
    queue: usize,
    /// Places that no tenant has, and that no operator has.
    free: usize,
    kept: usize,
    shares: HashMap<Whose, Share>,
    /// Shares that somebody waits for, in the order of their turns.
    turns: VecDeque<Whose>,
}

#[derive(Default)]
struct Share {
    taken: usize,
    waiting: VecDeque<oneshot::Sender<Place>>,
}

/// Given back when it is dropped.
pub struct Place {
    of: Shares,
    whose: Whose,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.give_back(&self.whose);
    }
}

impl Place {
    /// Lets others have their turn, if another share is waited for, and goes on before later callers
    /// of its own; `None`: the turn did not come back in time.
    pub async fn rotate(self, within: Duration) -> Option<Place> {
        let turn = self.of.lock().steps_back(&self.whose);
        let Some(turn) = turn else {
            return Some(self);
        };
        drop(self);
        tokio::time::timeout(within, turn).await.ok()?.ok()
    }
}

impl Shares {
    /// `places` for all tenants together, of which one has `each` at most; operators have `each` beside
    /// them.
    pub fn new(places: usize, each: usize) -> Shares {
        let state = State {
            each,
            queue: QUEUE,
            free: places,
            kept: each,
            shares: HashMap::new(),
            turns: VecDeque::new(),
        };
        Shares {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The same, where `queue` callers may wait in one share.
    pub fn with_queue(places: usize, each: usize, queue: usize) -> Shares {
        let shares = Shares::new(places, each);
        shares.lock().queue = queue;
        shares
    }

    /// A place that can be had at once.
    pub fn try_take(&self, whose: &Whose) -> Option<Place> {
        self.lock().takes(whose).then(|| self.place(whose))
    }

    /// A place, waited for; `None`: there was none in time, or too many wait for one already. Shares take
    /// turns, whoever waits in them; callers of one share are served in order.
    pub async fn take(&self, whose: &Whose, within: Duration) -> Option<Place> {
        let turn = {
            let mut state = self.lock();
            if state.takes(whose) {
                return Some(self.place(whose));
            }
            state.queue(whose)?
        };
        // One that is given to who has left in the meantime is dropped with the channel.
        tokio::time::timeout(within, turn).await.ok()?.ok()
    }

    /// Places that tenants have now.
    pub fn taken(&self) -> usize {
        let state = self.lock();
        let tenants = state.shares.iter();
        let tenants = tenants.filter(|(whose, _)| **whose != Whose::Operator);
        tenants.map(|(_, share)| share.taken).sum()
    }

    fn place(&self, whose: &Whose) -> Place {
        Place {
            of: self.clone(),
            whose: whose.clone(),
        }
    }

    fn give_back(&self, whose: &Whose) {
        self.lock().give_back(whose);
        // Without the lock: a caller who has just left gives the place back from in here.
        while let Some((whose, caller)) = self.next() {
            let _ = caller.send(self.place(&whose));
        }
    }

    fn next(&self) -> Option<(Whose, oneshot::Sender<Place>)> {
        self.lock().next()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a place, if one can be had without passing those who wait for the same share.
    fn takes(&mut self, whose: &Whose) -> bool {
        let share = self.shares.get(whose);
        let waited_for = share.is_some_and(|s| s.waiting.iter().any(|w| !w.is_closed()));
        if waited_for || !self.may(whose, share.map_or(0, |share| share.taken)) {
            return false;
        }
        self.note_taken(whose);
        true
    }

    fn may(&self, whose: &Whose, taken: usize) -> bool {
        match whose {
            Whose::Operator => self.kept > 0,
            Whose::Tenant(_) => taken < self.each && taken < self.free,
        }
    }

    fn note_taken(&mut self, whose: &Whose) {
        self.shares.entry(whose.clone()).or_default().taken += 1;
        *self.left(whose) -= 1;
    }

    fn left(&mut self, whose: &Whose) -> &mut usize {
        match whose {
            Whose::Operator => &mut self.kept,
            Whose::Tenant(_) => &mut self.free,
        }
    }

    fn give_back(&mut self, whose: &Whose) {
        *self.left(whose) += 1;
        if let Some(share) = self.shares.get_mut(whose) {
            share.taken -= 1;
        }
        self.forget(whose);
    }

    /// Keeps nothing of a share that nobody has or waits for.
    fn forget(&mut self, whose: &Whose) {
        let share = self.shares.get(whose);
        if share.is_some_and(|share| share.taken == 0 && share.waiting.is_empty()) {
            self.shares.remove(whose);
        }
    }

    /// Waits for a share; `None`: too many do.
    fn queue(&mut self, whose: &Whose) -> Option<oneshot::Receiver<Place>> {
        let queue = self.queue;
        let share = self.shares.entry(whose.clone()).or_default();
        share.waiting.retain(|caller| !caller.is_closed());
        if share.waiting.len() >= queue {
            return None;
        }
        let (caller, turn) = oneshot::channel();
        share.waiting.push_back(caller);
        if !self.turns.contains(whose) {
            self.turns.push_back(whose.clone());
        }
        Some(turn)
    }

    /// Waits at the head of its own share, behind all others; `None`: nobody else waits.
    fn steps_back(&mut self, whose: &Whose) -> Option<oneshot::Receiver<Place>> {
        let is_waited_for = |other: &Whose| {
            let share = self.shares.get(other);
            other != whose && share.is_some_and(|s| s.waiting.iter().any(|w| !w.is_closed()))
        };
        if !self.turns.iter().any(is_waited_for) {
            return None;
        }
        let (caller, turn) = oneshot::channel();
        let share = self.shares.entry(whose.clone()).or_default();
        share.waiting.push_front(caller);
        self.turns.retain(|other| other != whose);
        self.turns.push_back(whose.clone());
        Some(turn)
    }

    /// Who gets a place next. It counts as taken.
    fn next(&mut self) -> Option<(Whose, oneshot::Sender<Place>)> {
        for _ in 0..self.turns.len() {
            let whose = self.turns.pop_front()?;
            let taken = self.shares.get(&whose).map_or(0, |share| share.taken);
            let may = self.may(&whose, taken);
            let Some(share) = self.shares.get_mut(&whose) else {
                continue;
            };
            share.waiting.retain(|caller| !caller.is_closed());
            let caller = may.then(|| share.waiting.pop_front()).flatten();
            if !share.waiting.is_empty() {
                self.turns.push_back(whose.clone());
            }
            match caller {
                Some(caller) => {
                    self.note_taken(&whose);
                    return Some((whose, caller));
                }
                None => self.forget(&whose),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    fn tenant(name: &str) -> Whose {
        Whose::Tenant(Tenant::new(name).expect("an id"))
    }

    fn all(shares: &Shares, whose: &Whose) -> Vec<Place> {
        std::iter::from_fn(|| shares.try_take(whose)).collect()
    }

    #[test]
    fn whoever_takes_all_it_can_get_leaves_a_place_for_the_next() {
        for places in [1, 2, 3, 8, 64] {
            let shares = Shares::new(places, places);
            let mut kept = Vec::new();
            for number in 0.. {
                let before = shares.taken();
                kept.push(all(&shares, &tenant(&format!("t{number}"))));
                if shares.taken() == before {
                    break;
                }
            }
            // The first had half, the next half of the rest, and so on to the last place.
            assert_eq!(shares.taken(), places);
            assert_eq!(kept[0].len(), places.div_ceil(2), "{places} places");
        }
    }

    #[test]
    fn one_alone_has_half_and_never_more_than_each_may_have() {
        let shares = Shares::new(8, 8);
        assert_eq!(all(&shares, &tenant("a")).len(), 4);
        let shares = Shares::new(8, 2);
        assert_eq!(all(&shares, &tenant("a")).len(), 2);
    }

    #[test]
    fn tenants_cannot_take_what_is_kept_for_operators() {
        let shares = Shares::new(2, 1);
        let tenants: Vec<Place> = ["a", "b", "c"]
            .iter()
            .filter_map(|name| shares.try_take(&tenant(name)))
            .collect();
        assert_eq!(tenants.len(), 2);
        let operator = shares.try_take(&Whose::Operator);
        assert!(operator.is_some());
        assert!(shares.try_take(&Whose::Operator).is_none());
    }

    #[tokio::test]
    async fn shares_take_turns_however_many_wait_in_one() {
        let shares = Shares::new(1, 1);
        let held = shares.try_take(&tenant("noisy")).expect("free");
        let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
        let mut callers = Vec::new();
        for number in 0..21 {
            let whose = tenant(if number == 20 { "quiet" } else { "noisy" });
            let (shares, done) = (shares.clone(), done.clone());
            callers.push(tokio::spawn(async move {
                let place = shares.take(&whose, SOON).await;
                done.send(whose).expect("listened to");
                drop(place);
            }));
            // The quiet one comes last.
            tokio::task::yield_now().await;
        }
        drop(held);
        let mut served = Vec::new();
        for _ in 0..21 {
            served.push(order.recv().await.expect("served"));
        }
        let at = served.iter().position(|whose| *whose == tenant("quiet"));
        assert!(at.is_some_and(|at| at <= 1), "{at:?}");
        for caller in callers {
            caller.await.expect("no panic");
        }
        assert_eq!(shares.lock().shares.len(), 0, "nothing is remembered");
        assert_eq!(shares.lock().turns.len(), 0);
    }

    #[tokio::test]
    async fn who_is_at_it_for_long_lets_others_in_between_and_goes_on_before_its_own() {
        let shares = Shares::new(1, 1);
        let (noisy, quiet) = (tenant("noisy"), tenant("quiet"));
        let place = shares.try_take(&noisy).expect("free");
        let place = place.rotate(SOON).await.expect("nobody waits");
        let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
        for whose in [&noisy, &quiet] {
            let (shares, done, whose) = (shares.clone(), done.clone(), whose.clone());
            tokio::spawn(async move {
                let place = shares.take(&whose, SOON).await;
                done.send(Some(whose)).expect("listened to");
                drop(place);
            });
            tokio::task::yield_now().await;
        }
        let place = place.rotate(SOON).await.expect("its turn came back");
        done.send(None).expect("listened to");
        drop(place);
        let mut served = Vec::new();
        for _ in 0..3 {
            served.push(order.recv().await.expect("served"));
        }
        assert_eq!(served, [Some(quiet), None, Some(noisy)]);
    }

    #[tokio::test]
    async fn who_leaves_the_queue_takes_no_place_with_it() {
        let shares = Shares::new(1, 1);
        let held = shares.try_take(&tenant("a")).expect("free");
        for _ in 0..10 {
            let left = shares.take(&tenant("b"), Duration::ZERO).await;
            assert!(left.is_none());
        }
        drop(held);
        assert!(shares.take(&tenant("c"), SOON).await.is_some());
        assert_eq!(shares.lock().shares.len(), 0);
    }

    #[tokio::test]
    async fn a_queue_that_is_full_is_told_at_once() {
        let shares = Shares::new(1, 1);
        let held = shares.try_take(&tenant("a")).expect("free");
        let callers: Vec<_> = (0..QUEUE)
            .map(|_| {
                let shares = shares.clone();
                tokio::spawn(async move { shares.take(&tenant("a"), SOON).await.is_some() })
            })
            .collect();
        while shares.lock().shares[&tenant("a")].waiting.len() < QUEUE {
            tokio::task::yield_now().await;
        }
        assert!(shares.take(&tenant("a"), SOON).await.is_none());
        drop(held);
        for caller in callers {
            assert!(caller.await.expect("no panic"));
        }
    }
}

//! Places of which nobody can have all: who has many waits, who has none finds one. For whatever is
//! short on a host (cores, connections, calls that wait). Not for what is done in a place, nor for
//! how long a place is kept: who takes one has a deadline of its own.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use ordain_store::ids::Tenant;

/// Callers that wait for a place of one share, unless something else is said; more are refused at
/// once.
const QUEUE: usize = 64;
/// Shares of one payer that are waited for at once, of a token that asks about that many tenants:
/// so many times as callers of one share.
const SHARES: usize = 16;
/// Of those who come when there are so many already, one in so many looks who has left.
const LOOKS: usize = 64;
/// A token has so many places for each that is free at most.
const TOKEN: usize = 3;
/// And as many as so many tenants may have: what is ready at once, others wait behind.
const TOKEN_EACH: usize = 8;

/// Whose share it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Whose {
    Tenant(Tenant),
    /// A tenant, asked about by a token that may ask about several: a part of what the token has,
    /// and of what the tenant has.
    Through(Arc<str>, Tenant),
    /// Of a token of that kind, before it is known which tenant it asks about.
    Token(Arc<str>),
    /// Whoever runs the fleet: has places of its own, which no tenant can take.
    Operator,
}

impl From<&Tenant> for Whose {
    fn from(tenant: &Tenant) -> Whose {
        Whose::Tenant(tenant.clone())
    }
}

impl Whose {
    pub fn tenant(&self) -> Option<&Tenant> {
        match self {
            Whose::Tenant(tenant) | Whose::Through(_, tenant) => Some(tenant),
            Whose::Token(_) | Whose::Operator => None,
        }
    }

    fn payer(&self) -> Payer {
        match self {
            Whose::Tenant(tenant) => Payer::Tenant(tenant.clone()),
            Whose::Through(token, _) | Whose::Token(token) => Payer::Token(token.clone()),
            Whose::Operator => Payer::Operator,
        }
    }
}

/// Who pays for the calls of somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Charge {
    /// Each tenant that they ask about.
    #[default]
    Tenants,
    /// They do too, by this name, as they may ask about several.
    Token(Arc<str>),
    /// Whoever runs the fleet.
    Operator,
}

impl Charge {
    /// What concerns no tenant is the operator's.
    pub fn share(&self, tenant: Option<&Tenant>) -> Whose {
        match (self, tenant) {
            (Charge::Operator, _) | (_, None) => Whose::Operator,
            (Charge::Tenants, Some(tenant)) => tenant.into(),
            (Charge::Token(name), Some(tenant)) => Whose::Through(name.clone(), tenant.clone()),
        }
    }
}

/// A number of places for tenants, and some for operators beside them. A tenant gets another place
/// only while more are free than it has: one that is alone can have half of them, `n` that want all
/// of them get an equal part each, and one part stays free for who comes next. A token that asks
/// about many tenants can have three quarters in all, since it may well be the only one there is,
/// and no more than eight tenants. What is kept of a share goes with its last place and its last
/// caller.
#[derive(Clone)]
pub struct Shares {
    state: Arc<Mutex<State>>,
}

/// Whose turn it is, before it is asked which of its shares has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Payer {
    Tenant(Tenant),
    Token(Arc<str>),
    Operator,
}

struct State {
    /// Most places of one tenant.
    each: usize,
    /// Callers that wait in one share.
    queue: usize,
    /// For all tenants.
    places: usize,
    /// Places that no tenant has, and that no operator has.
    free: usize,
    kept: usize,
    /// Places that tenants have, whoever asks about them.
    tenants: HashMap<Tenant, usize>,
    payers: HashMap<Payer, Account>,
    /// Payers that somebody waits for, in the order of their turns.
    turns: VecDeque<Payer>,
}

#[derive(Default)]
struct Account {
    taken: usize,
    shares: HashMap<Whose, VecDeque<oneshot::Sender<Place>>>,
    /// Its shares that somebody waits for, in the order of their turns.
    turns: VecDeque<Whose>,
    /// Callers that found no room to wait in.
    refused: usize,
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
    /// Lets others have their turn, if another share is waited for, and goes on before later
    /// callers of its own; `None`: the turn did not come back in time.
    pub async fn rotate(self, within: Duration) -> Option<Place> {
        let turn = self.of.lock().step_back(&self.whose);
        let Some(turn) = turn else {
            return Some(self);
        };
        drop(self);
        tokio::time::timeout(within, turn).await.ok()?.ok()
    }
}

impl Shares {
    /// `places` for all tenants together, of which one has `each` at most; operators have `each`
    /// beside them.
    pub fn new(places: usize, each: usize) -> Shares {
        let state = State {
            each,
            queue: QUEUE,
            places,
            free: places,
            kept: each,
            tenants: HashMap::new(),
            payers: HashMap::new(),
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
        self.lock().take(whose).then(|| self.place(whose))
    }

    /// A place, waited for; `None`: there was none in time, or too many wait for one already.
    /// Payers take turns, and so do the shares of one payer; callers of one share are served in
    /// order.
    pub async fn take(&self, whose: &Whose, within: Duration) -> Option<Place> {
        let turn = {
            let mut state = self.lock();
            if state.take(whose) {
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
        state.places - state.free
    }

    fn place(&self, whose: &Whose) -> Place {
        Place {
            of: self.clone(),
            whose: whose.clone(),
        }
    }

    fn give_back(&self, whose: &Whose) {
        let mut next = {
            let mut state = self.lock();
            state.give_back(whose);
            state.next()
        };
        // Without the lock: a caller who has just left gives the place back from in here.
        while let Some((whose, caller)) = next {
            let _ = caller.send(self.place(&whose));
            next = self.next();
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
    fn take(&mut self, whose: &Whose) -> bool {
        let account = self.payers.get(&whose.payer());
        if account.is_some_and(|account| account.is_waited_for(whose)) || !self.may_take(whose) {
            return false;
        }
        self.note_taken(whose);
        true
    }

    fn may_take(&self, whose: &Whose) -> bool {
        let taken = whose.tenant().and_then(|tenant| self.tenants.get(tenant));
        let taken = taken.copied().unwrap_or(0);
        match whose {
            Whose::Operator => self.kept > 0,
            _ => taken < self.each && taken < self.free && self.may_pay(&whose.payer()),
        }
    }

    /// Whether a payer may have one more, whatever for.
    fn may_pay(&self, payer: &Payer) -> bool {
        match payer {
            Payer::Token(_) => {
                let account = self.payers.get(payer);
                let taken = account.map_or(0, |account| account.taken);
                let part = (TOKEN + 1) * (taken + 1) <= TOKEN * self.places || self.places == 1;
                part && taken < TOKEN * self.free && taken < TOKEN_EACH * self.each
            }
            Payer::Tenant(_) => true,
            Payer::Operator => self.kept > 0,
        }
    }

    fn note_taken(&mut self, whose: &Whose) {
        self.payers.entry(whose.payer()).or_default().taken += 1;
        if let Some(tenant) = whose.tenant() {
            *self.tenants.entry(tenant.clone()).or_default() += 1;
        }
        *self.left(whose) -= 1;
    }

    /// The places that these are of.
    fn left(&mut self, whose: &Whose) -> &mut usize {
        match whose {
            Whose::Operator => &mut self.kept,
            _ => &mut self.free,
        }
    }

    fn give_back(&mut self, whose: &Whose) {
        *self.left(whose) += 1;
        if let Some(tenant) = whose.tenant()
            && let Some(taken) = self.tenants.get_mut(tenant)
        {
            *taken -= 1;
            if *taken == 0 {
                self.tenants.remove(tenant);
            }
        }
        let payer = whose.payer();
        if let Some(account) = self.payers.get_mut(&payer) {
            account.taken -= 1;
        }
        self.forget(&payer);
    }

    /// Keeps nothing of a payer that has no place and waits for none.
    fn forget(&mut self, payer: &Payer) {
        let account = self.payers.get(payer);
        if account.is_some_and(|account| account.taken == 0 && account.shares.is_empty()) {
            self.payers.remove(payer);
        }
    }

    /// Waits for a share; `None`: too many do.
    fn queue(&mut self, whose: &Whose) -> Option<oneshot::Receiver<Place>> {
        let (payer, queue) = (whose.payer(), self.queue);
        if queue == 0 {
            return None;
        }
        let account = self.payers.entry(payer.clone()).or_default();
        let is_new = account.shares.is_empty();
        if !account.has_room_for(whose, queue) {
            return None;
        }
        let (caller, turn) = oneshot::channel();
        account.line(whose).push_back(caller);
        if is_new {
            self.turns.push_back(payer);
        }
        Some(turn)
    }

    /// Waits at the head of its own share, behind all others; `None`: nobody else waits.
    fn step_back(&mut self, whose: &Whose) -> Option<oneshot::Receiver<Place>> {
        let is_waited_for = |payer: &Payer| {
            let account = self.payers.get(payer);
            account.is_some_and(|account| account.is_waited_for_beside(whose))
        };
        if !self.turns.iter().any(is_waited_for) {
            return None;
        }
        let payer = whose.payer();
        let (caller, turn) = oneshot::channel();
        // It has a place, hence an account.
        let account = self.payers.get_mut(&payer)?;
        account.line(whose).push_front(caller);
        move_to_the_end(&mut account.turns, whose);
        move_to_the_end(&mut self.turns, &payer);
        Some(turn)
    }

    /// Who gets a place next. It counts as taken.
    fn next(&mut self) -> Option<(Whose, oneshot::Sender<Place>)> {
        for _ in 0..self.turns.len() {
            let payer = self.turns.pop_front()?;
            let next = match self.may_pay(&payer) {
                true => self.next_of(&payer),
                false => None,
            };
            let account = self.payers.get(&payer);
            if account.is_some_and(|account| !account.shares.is_empty()) {
                self.turns.push_back(payer);
            } else {
                self.forget(&payer);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }

    fn next_of(&mut self, payer: &Payer) -> Option<(Whose, oneshot::Sender<Place>)> {
        let shares = self.payers.get(payer)?.turns.len();
        for _ in 0..shares {
            let whose = self.payers.get_mut(payer)?.turns.pop_front()?;
            let may_take = self.may_take(&whose);
            let account = self.payers.get_mut(payer)?;
            let Some(line) = account.shares.get_mut(&whose) else {
                continue;
            };
            line.retain(|caller| !caller.is_closed());
            let caller = may_take.then(|| line.pop_front()).flatten();
            if line.is_empty() {
                account.shares.remove(&whose);
            } else {
                account.turns.push_back(whose.clone());
            }
            if let Some(caller) = caller {
                self.note_taken(&whose);
                return Some((whose, caller));
            }
        }
        None
    }
}

impl Account {
    /// The queue of a share, which has its turn from now on.
    fn line(&mut self, whose: &Whose) -> &mut VecDeque<oneshot::Sender<Place>> {
        if !self.shares.contains_key(whose) {
            self.turns.push_back(whose.clone());
        }
        self.shares.entry(whose.clone()).or_default()
    }

    fn has_room_for(&mut self, whose: &Whose, queue: usize) -> bool {
        if let Some(line) = self.shares.get_mut(whose) {
            if line.len() >= queue {
                line.retain(|caller| !caller.is_closed());
            }
            return line.len() < queue;
        }
        let most = SHARES * queue;
        if self.shares.len() >= most {
            // That is much work under the lock.
            self.refused += 1;
            if self.refused % LOOKS == 1 {
                self.shares.retain(|_, line| is_live(line));
                let shares = &self.shares;
                self.turns.retain(|whose| shares.contains_key(whose));
            }
        }
        self.shares.len() < most
    }

    fn is_waited_for(&self, whose: &Whose) -> bool {
        self.shares.get(whose).is_some_and(is_live)
    }

    /// Whether any other share than this is.
    fn is_waited_for_beside(&self, whose: &Whose) -> bool {
        let mut shares = self.shares.iter();
        shares.any(|(of, line)| of != whose && is_live(line))
    }
}

fn is_live(line: &VecDeque<oneshot::Sender<Place>>) -> bool {
    line.iter().any(|caller| !caller.is_closed())
}

fn move_to_the_end<T: PartialEq + Clone>(turns: &mut VecDeque<T>, one: &T) {
    turns.retain(|other| other != one);
    turns.push_back(one.clone());
}

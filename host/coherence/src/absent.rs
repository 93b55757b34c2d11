//! What is known to be absent, by whose it is. "No such record" is a value like any other, and
//! anybody may ask for names that they make up: this bounds what near and far hold of such answers.
//! Not for whether they are true (`window`).

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::clock::Moment;
use ordain_store::ids::{Key, Tenant, USER_CONFIG};

/// Users of one tenant, and tenants, that near knows to have nothing; and that one host tells far
/// of while a value lives there.
const USERS_MAX: usize = 1000;
const TENANTS_MAX: usize = 65_536;
/// Names that are remembered in all before those are forgotten that near has not any more.
const NAMES_MAX: usize = 200_000;

pub struct Absences(Mutex<Names>);

struct Names {
    /// By the tenant of the users; `None`: tenants themselves.
    rings: HashMap<Option<Tenant>, Ring>,
    /// Keys and rings.
    total: usize,
    most: usize,
}

struct Ring {
    /// The oldest first.
    keys: VecDeque<Key>,
    /// Puts into far since then.
    puts: (usize, Moment),
}

impl Default for Absences {
    fn default() -> Absences {
        Absences(Mutex::new(Names {
            rings: HashMap::new(),
            total: 0,
            most: NAMES_MAX,
        }))
    }
}

/// Whose absence it is, and how many of these there may be.
fn share(key: &Key) -> (Option<Tenant>, usize) {
    match &key.tenant {
        Some(tenant) if key.subject.starts_with(USER_CONFIG) => (Some(tenant.clone()), USERS_MAX),
        _ => (None, TENANTS_MAX),
    }
}

impl Absences {
    /// The absence of this key enters near: the one that has to leave for it. `has`: whether near
    /// has the absence of a key.
    pub(super) fn enters(&self, key: &Key, has: impl Fn(&Key) -> bool) -> Option<Key> {
        let (whose, most) = share(key);
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.total >= names.most {
            names.forget(has);
        }
        let ring = names.ring(whose);
        ring.keys.push_back(key.clone());
        if ring.keys.len() > most {
            return ring.keys.pop_front();
        }
        names.total += 1;
        None
    }

    /// Whether far may be told of one more absence, which lives there for `ttl`.
    pub fn may_put(&self, key: &Key, ttl: Duration) -> bool {
        let (whose, most) = share(key);
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = &mut names.ring(whose).puts;
        let now = Moment::now();
        if now.since(*since) >= ttl {
            (*count, *since) = (0, now);
        }
        *count += 1;
        *count <= most
    }
}

impl Names {
    fn ring(&mut self, whose: Option<Tenant>) -> &mut Ring {
        let total = &mut self.total;
        self.rings.entry(whose).or_insert_with(|| {
            *total += 1;
            Ring {
                keys: VecDeque::new(),
                puts: (0, Moment::now()),
            }
        })
    }

    /// Near lets go of entries by itself: what it has not is no use to remember.
    fn forget(&mut self, has: impl Fn(&Key) -> bool) {
        self.rings.retain(|_, ring| {
            ring.keys.retain(&has);
            !ring.keys.is_empty()
        });
        let keys = self.rings.values().map(|ring| ring.keys.len() + 1);
        self.total = keys.sum();
        // The work is to stay small beside what led to it.
        self.most = (self.total * 2).max(NAMES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(tenant: &str, user: usize) -> Key {
        Key {
            tenant: Some(Tenant::new(tenant).expect("an id")),
            subject: format!("config/{user}").into(),
        }
    }

    #[test]
    fn users_that_are_made_up_push_out_those_of_their_tenant_only() {
        let absences = Absences::default();
        let quiet = user("quiet", 0);
        assert_eq!(absences.enters(&quiet, |_| true), None);
        for n in 0..5 * USERS_MAX {
            let left = absences.enters(&user("noisy", n), |_| true);
            let expected = n.checked_sub(USERS_MAX).map(|n| user("noisy", n));
            assert_eq!(left, expected);
        }
    }

    #[test]
    fn far_is_told_of_so_many_while_a_value_lives() {
        let absences = Absences::default();
        let ttl = Duration::from_secs(3600);
        let put = (0..5 * USERS_MAX).filter(|n| absences.may_put(&user("noisy", *n), ttl));
        assert_eq!(put.count(), USERS_MAX);
        assert!(absences.may_put(&user("quiet", 0), ttl));
        assert!(absences.may_put(&user("noisy", 0), Duration::ZERO));
    }

    #[test]
    fn what_near_has_not_any_more_is_forgotten() {
        let absences = Absences::default();
        for n in 0..NAMES_MAX {
            absences.enters(&user(&format!("t{n}"), 0), |_| false);
        }
        let names = absences.0.lock().expect("no panic");
        assert!(
            names.rings.len() <= NAMES_MAX / 2 + 1,
            "{}",
            names.rings.len()
        );
    }
}

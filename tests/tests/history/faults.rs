//! Which fault happens when: a schedule made from the seed alone. Four lanes run side by side, so
//! that faults of Postgres, of Redis, of instances and by operators meet; within a lane one follows
//! the other. Not for how a fault is made (`cluster`).

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use crate::workload::TENANTS;

/// Whose link a fault concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Link {
    Postgres,
    Redis,
}

/// What a proxy does to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// By so many milliseconds each way.
    Delay(u64, u64),
    Cut,
    /// Cut, and not let in again.
    Refuse,
    Hang,
    /// Requests arrive, replies do not.
    HoldReplies,
}

/// Faults, each with the shortest and longest time that it lasts, in milliseconds.
type Deck = Vec<(Fault, u64, u64)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// kill -9, and a start when the fault is over.
    PostgresKilled,
    /// SIGSTOP of all its processes.
    PostgresStopped,
    /// Somebody holds the lock of the log.
    LogLocked,
    RedisKilledAndEmpty,
    /// Killed, and started again from a snapshot that was taken a while ago.
    RedisKilledAndOld,
    RedisStopped,
    RedisFlushed,
    /// Some of its keys are gone.
    RedisLosesKeys,
    /// Its values are those of a while ago; it went on running and nobody was told.
    RedisRewound,
    /// Values of other tenants, cut ones, changed ones.
    RedisPoisoned,
    /// Between one instance and a server, or between all and it (`None`).
    Link(Link, Trouble, Option<usize>),
    /// kill -9, and a new process when the fault is over.
    InstanceKilled(usize),
    InstanceStopped(usize),
    /// A cache of the whole fleet is off for a while.
    SwitchedOff(&'static str),
    /// Everybody is told to drop what he has cached, of a tenant or (`None`) of all.
    Purged(Option<&'static str>),
    /// The log is cut down to its newest rows: no instance has to find its place in it again.
    Pruned,
}

/// After a pause a fault, for some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub pause: Duration,
    pub fault: Fault,
    pub lasts: Duration,
}

/// The lanes of a run. All of them repeat: `postgres` as often as the run has rounds, the others
/// until it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub postgres: Vec<Step>,
    pub redis: Vec<Step>,
    pub instances: Vec<Step>,
    pub operator: Vec<Step>,
}

/// Every kind of fault at least once in each lane, in an order and with times of the seed.
pub fn schedule(seed: u64, slots: usize, rounds: usize) -> Schedule {
    let lane = |salt: u64, rounds, deck: fn(&mut StdRng, usize) -> Deck| {
        let mut random = StdRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(salt));
        let mut steps = Vec::new();
        for _ in 0..rounds {
            let mut deck = deck(&mut random, slots);
            deck.shuffle(&mut random);
            steps.extend(deck.into_iter().map(|(fault, least, most)| Step {
                pause: Duration::from_millis(random.random_range(50..500)),
                fault,
                lasts: Duration::from_millis(random.random_range(least..=most)),
            }));
        }
        steps
    };
    Schedule {
        postgres: lane(1, rounds, postgres),
        // More than will be used: the run ends with the first lane.
        redis: lane(2, rounds * 4, redis),
        instances: lane(3, rounds * 8, instances),
        operator: lane(4, rounds * 8, operator),
    }
}

/// One instance, or one time in three all of them.
fn whose(random: &mut StdRng, slots: usize) -> Option<usize> {
    random
        .random_bool(0.67)
        .then(|| random.random_range(0..slots))
}

fn links(random: &mut StdRng, slots: usize, link: Link) -> Deck {
    let slow = random.random_range(5..200);
    [
        (Trouble::Delay(slow / 4, slow), 300, 800),
        (Trouble::Cut, 0, 0),
        (Trouble::Refuse, 100, 1000),
        (Trouble::Hang, 100, 1400),
        (Trouble::HoldReplies, 100, 1000),
    ]
    .into_iter()
    .map(|(trouble, least, most)| {
        let whose = whose(random, slots);
        (Fault::Link(link, trouble, whose), least, most)
    })
    .collect()
}

fn postgres(random: &mut StdRng, slots: usize) -> Deck {
    let mut deck = links(random, slots, Link::Postgres);
    deck.push((Fault::PostgresKilled, 0, 1200));
    deck.push((Fault::PostgresStopped, 300, 2200));
    deck.push((Fault::LogLocked, 200, 900));
    deck
}

fn redis(random: &mut StdRng, slots: usize) -> Deck {
    let mut deck = links(random, slots, Link::Redis);
    deck.push((Fault::RedisKilledAndEmpty, 50, 500));
    deck.push((Fault::RedisKilledAndOld, 50, 500));
    deck.push((Fault::RedisStopped, 100, 700));
    deck.push((Fault::RedisFlushed, 0, 0));
    deck.push((Fault::RedisLosesKeys, 0, 0));
    deck.push((Fault::RedisRewound, 0, 0));
    deck.push((Fault::RedisRewound, 0, 0));
    deck.push((Fault::RedisPoisoned, 0, 0));
    // Short ones: they go round while Postgres has its longer ones.
    for (_, least, most) in &mut deck {
        (*least, *most) = (*least / 2, *most / 2);
    }
    deck
}

fn instances(random: &mut StdRng, slots: usize) -> Deck {
    let slot = |random: &mut StdRng| random.random_range(0..slots);
    vec![
        (Fault::InstanceKilled(slot(random)), 50, 700),
        (Fault::InstanceStopped(slot(random)), 100, 1800),
    ]
}

fn operator(random: &mut StdRng, _: usize) -> Deck {
    let switch = ["cache", "cache.policy", "cache.near", "cache.far"];
    let switch = switch.choose(random).expect("some switches");
    let tenant = TENANTS.choose(random).copied();
    let tenant = tenant.filter(|_| random.random_bool(0.5));
    vec![
        (Fault::SwitchedOff(switch), 100, 500),
        (Fault::Purged(tenant), 100, 500),
        (Fault::Pruned, 100, 500),
    ]
}

/// Its kind, whatever its numbers: for counting.
pub fn kind(fault: Fault) -> String {
    match fault {
        Fault::Link(link, trouble, _) => {
            let trouble = format!("{trouble:?}");
            let trouble = trouble.split('(').next().unwrap_or_default().to_owned();
            format!("{link:?}Link{trouble}")
        }
        other => format!("{other:?}")
            .split('(')
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

/// All kinds that a run has.
pub fn kinds() -> std::collections::BTreeSet<String> {
    let schedule = schedule(0, 1, 1);
    [
        schedule.postgres,
        schedule.redis,
        schedule.instances,
        schedule.operator,
    ]
    .concat()
    .into_iter()
    .map(|step| kind(step.fault))
    .collect()
}

#[test]
fn a_schedule_comes_from_its_seed_and_has_every_kind_of_fault() {
    assert_eq!(schedule(7, 3, 2), schedule(7, 3, 2));
    assert_ne!(schedule(7, 3, 2), schedule(8, 3, 2));
    assert_eq!(kinds().len(), 25, "{:?}", kinds());
    // A longer run begins like a shorter one.
    let (short, long) = (schedule(7, 3, 1), schedule(7, 3, 2));
    assert_eq!(short.postgres[..], long.postgres[..short.postgres.len()]);
}

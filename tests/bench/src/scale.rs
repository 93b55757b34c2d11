//! How much is done: enough for figures, or just enough to see that everything works.

use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Scale {
    pub writes: usize,
    pub bursts: usize,
    /// Writes that nobody is notified of; each takes up to the interval of the feed.
    pub lost_writes: usize,
    /// Writes of a contender that will not see them; each takes a second.
    pub hopeless: usize,
    pub rounds: usize,
    pub callers: usize,
    pub unknown: usize,
    pub settle: Duration,
    pub normal: Duration,
    pub hung: Duration,
    /// Rounds of the load on HTTP, and how long each contender has in one.
    pub http_rounds: usize,
    pub http_time: Duration,
    /// Tenants in near; the first is what the others are compared with.
    pub tenants: &'static [usize],
    pub starts: usize,
}

impl Scale {
    pub fn full() -> Scale {
        Scale {
            writes: 300,
            bursts: 300,
            lost_writes: 300,
            hopeless: 5,
            rounds: 20,
            callers: 500,
            unknown: 10_000,
            settle: Duration::from_secs(2),
            normal: Duration::from_secs(3),
            hung: Duration::from_secs(6),
            http_rounds: 7,
            http_time: Duration::from_secs(2),
            tenants: &[1_000, 100_000, 1_000_000],
            starts: 15,
        }
    }

    /// Says nothing about speed.
    pub fn quick() -> Scale {
        Scale {
            writes: 30,
            bursts: 30,
            lost_writes: 20,
            hopeless: 2,
            rounds: 3,
            callers: 500,
            unknown: 1000,
            settle: Duration::from_secs(1),
            normal: Duration::from_secs(1),
            hung: Duration::from_secs(4),
            http_rounds: 1,
            http_time: Duration::from_secs(1),
            tenants: &[1_000, 10_000],
            starts: 3,
        }
    }
}

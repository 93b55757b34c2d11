//! What is configured of the caches. Not for what holds: the fleet and this host may say otherwise
//! (`caches`).

use std::time::Duration;

/// What a host is started with. Of other options the caches know nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configured {
    pub switches: Switches,
    /// There is a far cache.
    pub has_far: bool,
    /// An answer older than this is not fresh.
    pub bound: Duration,
    /// An answer older than this is not even given as a stale one.
    pub stale_limit: Duration,
    /// Deadline of one read of the change log.
    pub feed_deadline: Duration,
}

impl Default for Configured {
    fn default() -> Configured {
        Configured {
            switches: Switches::default(),
            has_far: false,
            bound: Duration::from_secs(1),
            stale_limit: Duration::from_secs(15 * 60),
            feed_deadline: Duration::from_millis(300),
        }
    }
}

/// Configured switches of the caches. A cache is on if all that concern it are (DESIGN section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switches {
    pub all: bool,
    pub policy: bool,
    pub config: bool,
    pub near: bool,
    pub far: bool,
}

impl Default for Switches {
    fn default() -> Switches {
        Switches {
            all: true,
            policy: true,
            config: true,
            near: true,
            far: true,
        }
    }
}

//! How many messages of one kind are logged in a second: a component that fails on every request
//! must not fill a disk. Counts of failures are kept elsewhere, and whole.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ordain_coherence::Moment;

const PER_SECOND: u64 = 10;

/// The current second since the first message, and how many there were in it.
pub struct LogLimit {
    start: Moment,
    second: AtomicU64,
    count: AtomicU64,
}

impl Default for LogLimit {
    fn default() -> LogLimit {
        LogLimit {
            start: Moment::now(),
            second: AtomicU64::new(0),
            count: AtomicU64::new(0),
        }
    }
}

impl LogLimit {
    pub fn allows(&self) -> bool {
        self.allows_after(Moment::now().since(self.start))
    }

    fn allows_after(&self, time: Duration) -> bool {
        let second = time.as_secs();
        if self.second.swap(second, Ordering::Relaxed) != second {
            // A message more or less when two threads meet here is no matter.
            self.count.store(0, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed) < PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_messages_and_the_next_one_has_them_again() {
        let limit = LogLimit::default();
        let allowed = |second| {
            let time = Duration::from_secs(second);
            (0..100).filter(|_| limit.allows_after(time)).count()
        };
        assert_eq!([allowed(0), allowed(1), allowed(7)], [10, 10, 10]);
    }
}

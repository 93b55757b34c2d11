//! Instances that wait for their next call. Every thread has a place of its own first, so that
//! threads which answer near hits do not meet there. Not for which instances may wait
//! (`instances`).

use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;

use crate::counts::{SHARDS, shard};

/// Instances that wait in one place. A thread runs one call at a time, or a few that wait.
const PLACES: usize = 8;

pub struct Idle<T> {
    shards: [CachePadded<ArrayQueue<T>>; SHARDS],
}

impl<T> Default for Idle<T> {
    fn default() -> Idle<T> {
        Idle {
            shards: std::array::from_fn(|_| CachePadded::new(ArrayQueue::new(PLACES))),
        }
    }
}

impl<T> Idle<T> {
    /// The thread's own, else anybody's.
    pub fn pop(&self) -> Option<T> {
        let own = shard();
        let shards = (own..SHARDS).chain(0..own);
        shards
            .map(|index| &self.shards[index])
            .find_map(|shard| shard.pop())
    }

    /// Dropped if too many wait already.
    pub fn push(&self, instance: T) {
        let _ = self.shards[shard()].push(instance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_thread_left_another_finds_and_surplus_is_dropped() {
        let idle = Idle::default();
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let idle = &idle;
                scope.spawn(move || (0..PLACES + 5).for_each(|n| idle.push(thread * 100 + n)));
            }
        });
        let mut all: Vec<usize> = std::iter::from_fn(|| idle.pop()).collect();
        all.sort_unstable();
        let expected = (0..3).flat_map(|thread| (0..PLACES).map(move |n| thread * 100 + n));
        assert_eq!(all, expected.collect::<Vec<_>>());
    }
}

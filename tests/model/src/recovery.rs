//! Promise L: a fair continuation without faults, from any state, and what must be so at its end.
//!
//! Why not stateright's `eventually`: it holds a path for satisfied when the path runs into a state
//! that was seen before, and this model is full of cycles (a feed may read and find nothing for
//! ever). A continuation is a function of the state, so L can be checked in every state instead.

use crate::config::Config;
use crate::far::Put;
use crate::reader::Reader;
use crate::rules::Rule;
use crate::state::{Id, State};

impl State {
    /// L, with each host as the one that reads first.
    pub fn recovers(&self, config: &Config) -> bool {
        (0..self.hosts.len()).all(|id| self.recovers_on(id, config))
    }

    fn recovers_on(&self, id: Id, config: &Config) -> bool {
        let other = 1 - id;
        let mut state = self.settled(config);
        let put = state.reads(id, config);
        if state.hosts[id].near.is_none() {
            return false;
        }
        let usable = |state: &State, id: Id| {
            let stored = state.far.stored;
            stored.is_some_and(|value| state.hosts[id].valid(value.as_of, config.rules))
        };
        if !put {
            // It was there already, perhaps too old for the other host's window: then that one
            // puts.
            state.reads(other, config);
        }
        usable(&state, other)
    }

    /// Calls under way end, puts land, both feeds catch up, and near is empty.
    fn settled(&self, config: &Config) -> State {
        let mut state = self.clone();
        for id in 0..state.hosts.len() {
            if let Some(put) = state.hosts[id].put.take() {
                state.far.put(put, config.rules, false);
            }
        }
        for host in &mut state.hosts {
            host.reader = Reader::IDLE;
            host.feed_ends(&state.origin, config);
            // The first read may find that history has changed, and each may bring a part only.
            for _ in 0..=config.commits {
                host.feed_reads(&state.origin, config);
            }
            host.near = None;
        }
        state
    }

    /// One request that finds near empty. True if it put a value into far.
    fn reads(&mut self, id: Id, config: &Config) -> bool {
        let rules = config.rules;
        let found = self.far.stored;
        let host = &mut self.hosts[id];
        if let Some(value) = found
            && host.valid(value.as_of, rules)
        {
            host.fill(value, rules);
            return false;
        }
        let value = self.origin.snapshot(self.origin.count());
        if host.watermark.is_none_or(|w| value.as_of > w) && rules.has(Rule::Fence) {
            host.raise_fence(value.as_of);
        }
        host.feed_reads(&self.origin, config);
        host.fill(value, rules);
        let seen = found.filter(|_| rules.has(Rule::Seen));
        self.far.put(Put { value, seen }, rules, false);
        true
    }
}

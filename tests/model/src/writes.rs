//! Steps beside feed and reader: own writes, puts and re-stamps, and what a failover does to
//! memory.

use crate::config::Config;
use crate::far::Put;
use crate::host::Stamp;
use crate::properties::Promise;
use crate::rules::Rule;
use crate::state::{Id, State, Value};

impl State {
    /// N4: the writing host knows its own commit before it says so.
    pub fn acknowledge(&mut self, id: Id, config: &Config) {
        let host = &mut self.hosts[id];
        if let Some(written) = host.unacknowledged.take() {
            if config.rules.has(Rule::OwnFence) {
                host.raise_fence(written.as_of);
            }
            let surviving = self.origin.surviving(written.version);
            let host = &mut self.hosts[id];
            host.given = host.given.max(surviving);
            host.shown = host.shown.max(surviving);
        }
    }

    /// A5, second half. Whether the stored value is old enough to be worth it is not modelled.
    pub fn restamp(&mut self, id: Id, config: &Config) {
        let host = &mut self.hosts[id];
        let value = match (host.stamp.take(), host.near) {
            (Some(Stamp::Watermark(as_of)), Some(entry)) => {
                let within = entry.as_of <= as_of || !config.rules.has(Rule::StampAsOf);
                within.then_some(Value {
                    as_of,
                    version: entry.version,
                })
            }
            (Some(Stamp::Entry(entry)), _) => host.watermark.map(|as_of| Value {
                as_of,
                version: entry.version,
            }),
            _ => None,
        };
        if let Some(value) = value {
            host.put = Some(Put { value, seen: None });
        }
    }

    /// Both hosts follow the log, and the first value is in every cache.
    pub fn warm_up(&mut self, config: &Config) {
        let value = self.origin.snapshot(0);
        for host in &mut self.hosts {
            host.feed_reads(&self.origin, config);
            host.fill(value, config.rules);
        }
        self.put_lands(Put { value, seen: None }, config);
    }

    pub fn put_lands(&mut self, put: Put, config: &Config) {
        let before = self.far.stored;
        let accepted = self.far.put(put, config.rules, config.remembers());
        let lower = |stored: Value| {
            put.value.as_of < stored.as_of && self.origin.has_position(stored.as_of)
        };
        if accepted && before.is_some_and(lower) {
            self.breaks(Promise::F);
        }
    }

    /// What was lost binds no later answer; what survives of it does.
    pub fn fail_over(&mut self, lost: u8) {
        self.origin.fail_over(lost);
        let origin = &self.origin;
        for host in &mut self.hosts {
            host.given = origin.surviving(host.given);
            host.shown = origin.surviving(host.shown);
            let reader = &mut host.reader;
            let joiner = reader.joiner.iter_mut().map(|(since, _)| since);
            for since in joiner.chain([&mut reader.since]) {
                since.old = origin.surviving(since.old);
                since.given = origin.surviving(since.given);
            }
        }
    }
}

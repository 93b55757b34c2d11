//! What an answer must not fall behind, and what is remembered of it: the promises S, T, M and X,
//! as history that a state carries. Not part of the protocol.

use crate::config::Config;
use crate::properties::Promise;
use crate::rules::Rule;
use crate::state::{Id, Position, Set, State, Value, Version, bit};

/// What was so at t0, the start of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Since {
    /// The key's version more than the bound before t0 (S).
    pub old: Version,
    /// The newest version that this host had given (M).
    pub given: Version,
    /// Versions lost by a failover more than the bound before t0 (S).
    pub lost: Set,
}

impl Since {
    pub const NOTHING: Since = Since {
        old: 0,
        given: 0,
        lost: 0,
    };
}

impl State {
    pub fn since(&self, id: Id) -> Since {
        Since {
            old: self.origin.old_version(),
            given: self.hosts[id].given,
            lost: self.origin.long_lost(),
        }
    }

    pub fn breaks(&mut self, promise: Promise) {
        self.broken |= promise.bit();
    }

    /// An answer that is not marked stale. It claims to know the log up to `claims`, so it is what
    /// every request that demands a revision up to there gets.
    pub fn answer(&mut self, id: Id, version: Version, claims: Position, since: &Since) {
        if version < since.old || since.lost & bit(version) != 0 {
            self.breaks(Promise::S);
        }
        if version < since.given {
            self.breaks(Promise::M);
        }
        self.answer_to_demand(version, claims);
        let surviving = self.origin.surviving(version);
        let host = &mut self.hosts[id];
        host.given = host.given.max(surviving);
        host.shown = host.shown.max(surviving);
    }

    /// An answer marked stale.
    pub fn stale_answer(&mut self, id: Id, version: Version, claims: Position) {
        if version < self.hosts[id].shown {
            self.breaks(Promise::X);
        }
        self.answer_to_demand(version, claims);
        let surviving = self.origin.surviving(version);
        let host = &mut self.hosts[id];
        host.shown = host.shown.max(surviving);
    }

    fn answer_to_demand(&mut self, version: Version, revision: Position) {
        if version < self.origin.version_at(revision) {
            self.breaks(Promise::T);
        }
    }

    /// Quick requests: whatever near and far, or a shared reply, would answer in this state is
    /// answered, on both hosts. This changes nothing but what is remembered, so it may happen after
    /// every step. Twice, since each answer binds the others.
    pub fn answer_quick_requests(&mut self, config: &Config) {
        for id in 0..self.hosts.len() {
            for _ in 0..2 {
                self.answer_from_caches(id, config);
                if config.joiners
                    && self.may_join(id, self.hosts[id].reader.sent.within_bound(), config)
                    && let Some(value) = self.hosts[id].reader.value
                {
                    let since = self.since(id);
                    self.answer(id, value.version, value.as_of, &since);
                }
            }
        }
    }

    fn answer_from_caches(&mut self, id: Id, config: &Config) {
        let host = &self.hosts[id];
        // F2: while the log is not known, neither near nor far is read.
        let Some(watermark) = host.watermark else {
            return;
        };
        let fresh = host.proven.within_bound();
        let near = host.near;
        let usable = |value: &Value| {
            let untested = !fresh && !config.rules.has(Rule::StaleTest);
            value.as_of <= watermark && (untested || host.valid(value.as_of, config.rules))
        };
        let far = self.far.stored.filter(usable);
        // R2: the watermark answers demands up to itself.
        let claims = if config.rules.has(Rule::Demand) {
            watermark
        } else {
            self.origin.head()
        };
        for value in [near, far].into_iter().flatten() {
            if fresh {
                let since = self.since(id);
                self.answer(id, value.version, claims, &since);
            } else {
                self.stale_answer(id, value.version, claims);
            }
        }
    }
}

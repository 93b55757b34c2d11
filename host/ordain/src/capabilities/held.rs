//! Import `held`: what a look-up left here (rules D2, D4, D5).

use std::sync::Arc;
use std::time::Duration;

use super::HostState;
use super::state::Held;
use crate::world::bindings::held::{Present, State};
use ordain_coherence::Moment;
use ordain_store::Record;

/// Longest that a fill waits for the feed to reach it.
const LATE_FILL: Duration = Duration::from_secs(1);
/// Derived bytes beyond twice the length of their text.
const DERIVED_SLACK: usize = 1024;

impl HostState {
    pub(super) fn entry(&self, index: u32) -> State {
        let (record, fill) = match self.held.get(index as usize) {
            None | Some(Held::Missing) => return State::Missing,
            Some(Held::Near(entry)) => (&entry.record, entry.fill),
            Some(Held::Read { record, .. }) => (record, 0),
        };
        match record {
            Some(record) => State::Present(Present {
                fill,
                revision: record.revision,
            }),
            None => State::Absent,
        }
    }

    pub(super) fn text(&self, index: u32) -> Arc<str> {
        self.record(index)
            .map_or_else(|| "".into(), |record| record.body.clone())
    }

    pub(super) fn derived(&self, index: u32) -> Arc<[u8]> {
        match self.held.get(index as usize) {
            Some(Held::Near(entry)) => entry.derived(&self.component),
            _ => Arc::default(),
        }
    }

    pub(super) fn attach(&self, index: u32, bytes: &[u8]) {
        if let Some(Held::Near(entry)) = self.held.get(index as usize)
            && !self.shadow
            && bytes.len() <= 2 * entry.record.as_ref().map_or(0, |r| r.body.len()) + DERIVED_SLACK
        {
            entry.attach(&self.component, bytes.into());
        }
    }

    pub(super) fn keep(&mut self, index: u32, far_ttl_ms: u32) -> u64 {
        let services = self.services.clone();
        let Some(held) = self.held.get_mut(index as usize) else {
            return 0;
        };
        let (key, record, as_of, from_origin) = match held {
            Held::Missing => return 0,
            Held::Near(entry) => return entry.fill,
            Held::Read {
                key,
                record,
                as_of,
                from_origin,
            } => (key, record, *as_of, *from_origin),
        };
        if self.shadow {
            return 0;
        }
        // Rule A4: only what the origin said, and not before the log is known.
        let mut is_put = false;
        if let Some(far) = &services.far
            && self.in_force.far.has(key.kind())
            && let Some(sent) = from_origin
            && far_ttl_ms > 0
            && services.coherence.watermark().is_some()
            && (record.is_some()
                || services
                    .coherence
                    .absences
                    .may_put(key, Duration::from_millis(far_ttl_ms.into())))
        {
            // What was seen after a shared reply was sent for may be newer than the reply.
            let mut seen = self.seen.iter();
            let seen = seen.find(|(of, _, at)| of == key && *at <= sent);
            let seen = seen.map_or_else(Vec::new, |(_, header, _)| header.clone());
            far.put(
                key,
                record.as_ref(),
                as_of,
                seen,
                Duration::from_millis(far_ttl_ms.into()),
            );
            is_put = true;
        }
        // What is in force now, not when the call began: a cache that is off takes nothing (rule
        // D1).
        if !services.caches.in_force().near.has(key.kind()) {
            return 0;
        }
        if let Some(entry) = services.coherence.fill(key, record.as_ref(), as_of) {
            let fill = entry.fill;
            if is_put {
                entry.is_in_far(as_of, Moment::now());
            }
            *held = Held::Near(entry);
            return fill;
        }
        // Rule N3: read from beyond the watermark: not early, but when the feed gets there.
        if services.coherence.watermark().is_some_and(|w| as_of > w)
            && let Ok(permit) = Arc::clone(&services.late_fills).try_acquire_owned()
        {
            let (key, record) = (key.clone(), record.clone());
            let bound = self.in_force.bound;
            tokio::spawn(async move {
                let from = Moment::now().minus(bound);
                services.coherence.wait(as_of, from, LATE_FILL).await;
                let near_on = services.caches.in_force().near.has(key.kind());
                let entry = near_on.then(|| services.coherence.fill(&key, record.as_ref(), as_of));
                let entry = entry.flatten();
                if let Some(entry) = entry.filter(|_| is_put) {
                    entry.is_in_far(as_of, Moment::now());
                }
                drop(permit);
            });
        }
        0
    }

    /// Remembers of what the call looked up whether it needs more than a tick.
    pub fn set_heavy(&self, is_heavy: bool) {
        for held in &self.held {
            if let Held::Near(entry) = held {
                entry.set_heavy(self.mark, is_heavy);
            }
        }
    }

    fn record(&self, index: u32) -> Option<&Record> {
        match self.held.get(index as usize)? {
            Held::Missing => None,
            Held::Near(entry) => entry.record.as_ref(),
            Held::Read { record, .. } => record.as_ref(),
        }
    }
}

//! Import `origin`: reads from the source of truth (rules O5, N7, R1).

use super::HostState;
use super::state::{Held, millis};
use crate::world::bindings::types::{LookedUp, Tier, Unavailable, View};
use ordain_coherence::origin::Demand;
use ordain_store::OriginError;
use ordain_store::ids::Key;

impl HostState {
    /// What the origin answers without waiting; `None`: it would have to be asked.
    pub(super) fn origin_promptly(&self) -> Option<Unavailable> {
        if self.trial.is_some() {
            return Some(Unavailable::Off);
        }
        (!self.services.origin.breaker.admits()).then_some(Unavailable::Failed)
    }

    /// `keys` is `None` if the guest named what it has none of.
    pub(super) async fn origin_read(
        &mut self,
        keys: Option<Vec<Key>>,
        min_revision: u64,
    ) -> LookedUp {
        self.held.clear();
        if self.trial.is_some() {
            return LookedUp::Unavailable(Unavailable::Off);
        }
        let Some(keys) = keys else {
            return LookedUp::Unavailable(Unavailable::Failed);
        };
        if let Some(view) = self.filled_meanwhile(&keys, min_revision) {
            return view;
        }
        let services = self.services.clone();
        let sent_from = self.began.minus(self.in_force.bound);
        let demand = Demand {
            whose: self.whose.clone(),
            within: services.options.origin_deadline,
            began: self.began,
            sent_from,
            min_revision,
        };
        let (flight, reply) = services.origin.read(&keys, &demand).await;
        self.flights.1 = flight;
        let reading = match reply {
            Ok(reading) => reading,
            Err(OriginError::Late) => return LookedUp::Unavailable(Unavailable::Late),
            Err(OriginError::Unavailable(_) | OriginError::ReadOnly(_)) => {
                return LookedUp::Unavailable(Unavailable::Failed);
            }
        };
        let as_of = reading.snapshot.as_of;
        let records = reading.snapshot.records.iter().cloned();
        self.held.extend(
            keys.into_iter()
                .zip(records)
                .map(|(key, record)| Held::Read {
                    key,
                    record,
                    as_of,
                    from_origin: Some(reading.sent),
                }),
        );
        LookedUp::View(View {
            position: as_of,
            age_ms: millis(self.began.since(reading.sent)),
            tier: Tier::Origin,
        })
    }

    /// Near, if another call has filled it since this one looked: of many callers of one cold key,
    /// those who come late enough to miss the shared read find its result.
    fn filled_meanwhile(&mut self, keys: &[Key], min_revision: u64) -> Option<LookedUp> {
        let services = self.services.clone();
        let view = services.coherence.view().filter(|view| {
            keys.iter().all(|key| self.in_force.near.has(key.kind()))
                && view.watermark >= min_revision
                && self.began.since(view.proven) <= self.in_force.bound
        })?;
        for key in keys {
            let tenant = key.tenant.as_ref().map(|t| t.as_str());
            match services.coherence.near.get(tenant, &key.subject) {
                Some(entry) => self.held.push(Held::Near(entry)),
                None => {
                    self.held.clear();
                    return None;
                }
            }
        }
        if !self.within(view.watermark, false) {
            self.held.clear();
            return None;
        }
        Some(LookedUp::View(self.view(view, Tier::Near)))
    }
}

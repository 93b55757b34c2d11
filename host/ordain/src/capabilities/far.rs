//! Import `far`: look-ups in the shared cache (rules A2, A3).

use std::sync::atomic::Ordering;

use super::HostState;
use super::state::Held;
use crate::world::bindings::types::{LookedUp, Tier, Unavailable};
use ordain_coherence::Moment;
use ordain_coherence::far_value::as_of;
use ordain_store::ids::Key;
use ordain_store::{FAR_HEADER, FarError};

impl HostState {
    /// What far answers without waiting; `None`: it would have to be asked.
    pub(super) fn far_promptly(&self) -> Option<Unavailable> {
        let services = &self.services;
        match &services.far {
            Some(far) if self.in_force.far.any() && self.trial.is_none() => {
                if services.coherence.view().is_none() {
                    Some(Unavailable::NotReady)
                } else {
                    (!far.admits()).then_some(Unavailable::Failed)
                }
            }
            _ => Some(Unavailable::Off),
        }
    }

    /// `None`: the guest named what it has none of.
    pub(super) async fn far_look_up(&mut self, keys: Option<Vec<Key>>) -> LookedUp {
        self.held.clear();
        let services = self.services.clone();
        let Some(far) = services
            .far
            .as_ref()
            .filter(|_| self.in_force.far.any() && self.trial.is_none())
        else {
            return LookedUp::Unavailable(Unavailable::Off);
        };
        // Rule A2: watermark and proof are taken before the values are judged.
        let Some(view) = services.coherence.view() else {
            return LookedUp::Unavailable(Unavailable::NotReady);
        };
        let Some(keys) = keys else {
            return LookedUp::Unavailable(Unavailable::Failed);
        };
        if !keys.iter().all(|key| self.in_force.far.has(key.kind())) {
            return LookedUp::Unavailable(Unavailable::Off);
        }
        let (flight, reply) = far.get(&keys).await;
        self.flights.0 = flight;
        let values = match reply {
            Ok(values) => values,
            Err(FarError::Late) => return LookedUp::Unavailable(Unavailable::Late),
            Err(FarError::Unavailable(_) | FarError::Refused(_)) => {
                return LookedUp::Unavailable(Unavailable::Failed);
            }
        };
        for (key, value) in keys.into_iter().zip(values.iter()) {
            let Some(value) = value else {
                self.held.push(Held::Missing);
                continue;
            };
            match far.codec().decode(&key, value) {
                // Of one state with the view (rule R4), so not newer than it either.
                Some(read)
                    if read.as_of <= view.watermark
                        && services.coherence.usable(&key, read.as_of) =>
                {
                    let (record, as_of) = (read.record, read.as_of);
                    self.held.push(Held::Read {
                        key,
                        record,
                        as_of,
                        from_origin: None,
                    });
                }
                _ => {
                    far.counts.unusable.fetch_add(1, Ordering::Relaxed);
                    if as_of(value) > Some(view.watermark) {
                        services.coherence.wake();
                    }
                    let header = value.get(..FAR_HEADER).unwrap_or(value);
                    self.seen.push((key, header.to_vec(), Moment::now()));
                    self.held.push(Held::Missing);
                }
            }
        }
        LookedUp::View(self.view(view, Tier::Far))
    }
}

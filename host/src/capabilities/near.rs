//! Import `near`: look-ups without waiting.

use super::{Held, HostState};
use crate::runtime::bindings::near::Host;
use crate::runtime::bindings::types::{LookedUp, Scope, Subject, Tier, Unavailable, View};

impl Host for HostState {
    fn look_up(&mut self, subjects: Vec<Subject>) -> LookedUp {
        self.held.clear();
        if let Some(trial) = &self.trial {
            self.held
                .extend(subjects.iter().map(|_| Held::Near(trial.clone())));
            let position = self.services.coherence.watermark().unwrap_or(0);
            return LookedUp::View(View {
                position,
                age_ms: 0,
                tier: Tier::Near,
            });
        }
        if !self.services.near_on {
            return LookedUp::Unavailable(Unavailable::Off);
        }
        // Rule N1: the view first, then the entries.
        let Some(view) = self.services.coherence.view() else {
            return LookedUp::Unavailable(Unavailable::NotReady);
        };
        for subject in &subjects {
            let tenant = match (subject.scope, &self.tenant) {
                (Scope::Fleet, _) => None,
                (Scope::Tenant, Some(tenant)) => Some(tenant.as_str()),
                (Scope::Tenant, None) => return LookedUp::Unavailable(Unavailable::Failed),
            };
            let entry = self.services.coherence.near.get(tenant, &subject.name);
            self.held.push(entry.map_or(Held::Missing, Held::Near));
        }
        self.view(view, Tier::Near)
    }
}

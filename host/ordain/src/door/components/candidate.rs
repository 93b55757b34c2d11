//! The candidate on this instance: set to answer in the shadow, and promoted when it has answered
//! well for long enough. Not for what answering well is (`runtime/shadow`).

use std::sync::Arc;

use super::fleet::Fleet;
use super::shelf::Missing;
use super::state::Components;
use super::types::Trouble;
use crate::runtime::{Lineup, Runtime, Shadow};

impl Components {
    /// Deals with the candidate that is wanted. True: something is to be tried again.
    pub(super) async fn settle_candidate(&self, runtime: &Runtime, fleet: &Fleet) -> bool {
        let plan = fleet.plan;
        let as_planned = match runtime.lineup().shadow.as_ref() {
            Some(shadow) => shadow.plan() == plan,
            None => true,
        };
        if self.state().tried == fleet.candidate && as_planned {
            return false;
        }
        let shadow = match &fleet.candidate {
            None => Ok(None),
            Some(named) => match self.find(runtime, &named.digest).await {
                Ok(generation) => Shadow::start(generation, plan)
                    .map(Some)
                    .map_err(|error| Missing::Never(error.to_string().into())),
                Err(missing) => Err(missing),
            },
        };
        let digest = fleet.candidate.as_ref().map_or("", |named| &*named.digest);
        let (shadow, found, again) = match shadow {
            Ok(shadow) => (shadow, None, false),
            Err(Missing::Later(why)) => (None, Some(why), true),
            Err(Missing::Never(why)) => {
                tracing::error!(
                    component = digest,
                    why = why.text,
                    "the candidate cannot be loaded"
                );
                (None, Some(why), false)
            }
        };
        let mut state = self.state();
        if !again {
            state.tried.clone_from(&fleet.candidate);
        }
        state.candidate_trouble = found.map(|why| Trouble::new(digest, why));
        drop(state);
        loop {
            let before = runtime.lineup();
            let lineup = Lineup {
                current: before.current.clone(),
                good: before.good.clone(),
                watch: before.watch.clone(),
                shadow: shadow.clone(),
            };
            if runtime.swap(&before, lineup) {
                return again;
            }
        }
    }

    /// Enough answers were equal.
    pub(super) async fn promote_by_itself(&self, shadow: &Option<Arc<Shadow>>) {
        let Some(shadow) = shadow else { return };
        let digest = shadow.candidate().digest().to_string();
        let equal = shadow.report().all.equal;
        let changes = self.wanted().promote_candidate(&digest);
        let reason = format!("{equal} answers in the shadow were equal and none differed");
        if self.change(changes, &reason).await {
            // The next equal answer asks again.
            tracing::warn!(
                component = digest,
                "the candidate could not be promoted yet"
            );
        }
    }
}

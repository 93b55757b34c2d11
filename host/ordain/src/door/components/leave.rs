//! What an instance does when a component has failed: notes that it runs the one before, tells the
//! fleet, and objects where the component answers well here. Not for when the fleet returns
//! (`doubt`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use super::doubt::{Failed, Step};
use super::fleet::{FILE, Fleet};
use super::state::Components;
use super::types::Trouble;
use crate::runtime::Runtime;

impl Components {
    /// The runtime has returned to the component before.
    pub(super) fn note_return(&self, runtime: &Runtime, failed: &[Arc<str>]) {
        let number = failed.len() as u64;
        self.returns.fetch_add(number, Ordering::Relaxed);
        self.swaps.fetch_add(number, Ordering::Relaxed);
        let running = runtime.lineup().current.digest().to_string();
        let mut state = self.state();
        state.since = SystemTime::now();
        // Unless something else was chosen in the meantime.
        let chosen = match &state.chosen {
            Some(named) => named.digest.clone(),
            None => state.file.digest().to_string(),
        };
        if !failed.iter().any(|digest| **digest == *chosen) {
            return;
        }
        let why = format!("it failed too often, and {running} answers again");
        match state.chosen.clone() {
            Some(named) => {
                state.trouble = Some(Trouble::new(&named.digest, why.clone().into()));
                let good = match running == **state.file.digest() {
                    true => FILE.to_owned(),
                    false => running,
                };
                state.failed = Some(Failed {
                    named,
                    good,
                    why,
                    told: None,
                });
            }
            None => state.trouble = Some(Trouble::new(FILE, why.into())),
        }
    }

    /// Goes on with a component that failed here. True: it is to be looked at again.
    pub(super) async fn settle_failed(&self, fleet: &Fleet) -> bool {
        let Some(failed) = self.state().failed.clone() else {
            return false;
        };
        let reason = format!("{}: {}", failed.named.digest, failed.why);
        let again = match failed.step(fleet, &self.name) {
            Step::End => false,
            Step::Wait => return true,
            Step::Return => self.change(fleet.return_to(&failed.good), &reason).await,
            Step::Tell => {
                let reason = format!("{reason} on one instance");
                if !self.change(fleet.doubted_by(&self.name), &reason).await
                    && let Some(failed) = &mut self.state().failed
                {
                    failed.told = Some(Instant::now());
                }
                return true;
            }
        };
        if !again {
            self.state().failed = None;
        }
        again
    }

    /// Objects, if another instance has left what answers well here.
    pub(super) async fn vouch(&self, runtime: &Runtime, fleet: &Fleet) {
        let Some(doubt) = fleet.doubt() else { return };
        if doubt.who == self.name || fleet.is_vouched_for() {
            return;
        }
        let lineup = runtime.lineup();
        if **lineup.current.digest() == *doubt.digest && lineup.watch.is_going_well() {
            let reason = format!(
                "{} failed on one instance and answers well here",
                doubt.digest
            );
            self.change(fleet.vouched_for_by(&self.name), &reason).await;
        }
    }
}

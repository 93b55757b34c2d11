//! Carries out on this instance what the fleet wants of components, in one task: what is at hand
//! (`shelf`) is swapped in (`swap`), tried (`candidate`) or left (`leave`). What cannot be done
//! leaves everything as it is, and is told. Not for the fleet's wish (`fleet`) nor for a single
//! swap (`runtime/lineup`).

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::file::{Stamp, read_signed};
use super::fleet::{FILE, Fleet};
use super::shelf::Missing;
use super::state::Components;
use super::types::Trouble;
use crate::runtime::Runtime;
use ordain_store::FleetSetting;

/// Between two tries to fetch what the origin did not give.
const RETRY: Duration = Duration::from_secs(1);
/// Between two looks at the file.
const LOOK: Duration = Duration::from_millis(250);

impl Components {
    /// Runs until it is dropped.
    pub async fn follow(self: Arc<Self>, runtime: Arc<Runtime>) {
        let mut fleet = self.fleet.clone();
        loop {
            let settings = fleet.borrow_and_update().clone();
            let again = self.settle(&runtime, settings.as_deref()).await;
            let shadow = runtime.lineup().shadow.clone();
            let ready = async {
                match &shadow {
                    Some(shadow) => shadow.ready.notified().await,
                    None => std::future::pending().await,
                }
            };
            let pause = match (again, self.options.reload) {
                (_, true) => Some(LOOK),
                (true, false) => Some(RETRY),
                (false, false) => None,
            };
            let look = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = fleet.changed() => if changed.is_err() { return },
                failed = runtime.wait_for_returns() => self.note_return(&runtime, &failed),
                () = ready => self.promote_by_itself(&shadow).await,
                () = look => if self.options.reload { self.reload(&runtime).await },
            }
        }
    }

    /// Deals with what is wanted. True: something is to be tried again.
    async fn settle(&self, runtime: &Runtime, settings: Option<&[FleetSetting]>) -> bool {
        let Some(settings) = settings else {
            return false;
        };
        let fleet = Fleet::of(settings);
        self.tell_what_is_not_understood(settings);
        let mut again = self.settle_failed(&fleet).await;
        self.vouch(runtime, &fleet).await;
        if self.settle_current(runtime, &fleet).await {
            again = true;
        } else {
            let current = Some(fleet.current.clone());
            // Before it is told: whoever waits for this asks at once.
            runtime.open();
            self.done.send_modify(|done| done.current = current);
        }
        if self.settle_candidate(runtime, &fleet).await {
            again = true;
        } else {
            let candidate = fleet.candidate;
            self.done.send_modify(|done| done.candidate = candidate);
        }
        again
    }

    fn tell_what_is_not_understood(&self, settings: &[FleetSetting]) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now: Vec<FleetSetting> = Fleet::not_understood(settings).cloned().collect();
        for setting in now.iter().filter(|setting| !told.contains(setting)) {
            let (setting, value) = (&*setting.name, &*setting.value);
            tracing::error!(setting, value, "a setting of the fleet is ignored");
        }
        *told = now;
    }

    async fn settle_current(&self, runtime: &Runtime, fleet: &Fleet) -> bool {
        if self.state().chosen == fleet.current {
            return false;
        }
        let generation = match &fleet.current {
            None => Ok(self.state().file.clone()),
            Some(named) => self.find(runtime, &named.digest).await,
        };
        let digest = fleet.current.as_ref().map_or(FILE, |named| &*named.digest);
        match generation {
            Ok(generation) => {
                // A start knows what ran before only from the fleet.
                let previous = match &fleet.previous {
                    Some(previous) if previous == FILE => Some(self.state().file.clone()),
                    Some(previous) if !runtime.is_open() => self.find(runtime, previous).await.ok(),
                    _ => None,
                };
                self.swap(runtime, generation, fleet.previous.is_some(), previous);
                let mut state = self.state();
                state.chosen.clone_from(&fleet.current);
                state.trouble = None;
                false
            }
            Err(Missing::Later(why)) => {
                let mut state = self.state();
                // Once, however often it is tried.
                if state
                    .trouble
                    .as_ref()
                    .is_none_or(|told| told.error != why.text)
                {
                    tracing::warn!(
                        component = digest,
                        why = why.text,
                        "the component that the fleet wants is not at hand yet"
                    );
                }
                state.trouble = Some(Trouble::new(digest, why));
                true
            }
            Err(Missing::Never(why)) => {
                tracing::error!(
                    component = digest,
                    why = why.text,
                    "the component that the fleet wants cannot be loaded: this instance stays on what it runs"
                );
                let mut state = self.state();
                state.trouble = Some(Trouble::new(digest, why));
                state.chosen.clone_from(&fleet.current);
                false
            }
        }
    }

    /// Looks whether the file has changed (`--watch`), and takes what is in it.
    async fn reload(&self, runtime: &Runtime) {
        // Before what it describes is read: a change in between is seen by the next look.
        let now = Stamp::of(&self.path).await;
        if now.is_none() || now == self.state().seen {
            // Unchanged, or being replaced, or gone: what runs goes on.
            return;
        }
        let Ok((bytes, signature)) = read_signed(&self.path).await else {
            return;
        };
        self.state().seen = now;
        let path = self.path.display().to_string();
        match self.loader.load(&bytes, signature.as_deref()).await {
            Ok(file) => {
                let is_promoted = {
                    let mut state = self.state();
                    state.file = file.clone();
                    state.trouble.take_if(|trouble| trouble.digest == FILE);
                    state.chosen.is_some()
                };
                if is_promoted {
                    tracing::warn!(
                        path,
                        "the file has changed, but the fleet runs another component"
                    );
                } else {
                    self.swap(runtime, file, true, None);
                }
            }
            Err(error) => {
                tracing::error!(path, %error, "the changed component is refused");
                self.state().trouble = Some(Trouble::new(FILE, (&error).into()));
            }
        }
    }
}

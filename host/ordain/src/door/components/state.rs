//! What one instance knows of components: what it runs and why, what it has tried, what went wrong;
//! and how it says something to the fleet. Not for carrying out what is wanted (`follow`).

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::doubt::Failed;
use super::file::Stamp;
use super::fleet::{Changes, Fleet, Named};
use super::types::Trouble;
use crate::options::ComponentOptions;
use crate::runtime::{Generation, Loader};
use ordain_store::{Attribution, FleetSetting, Origin, WriteError};

/// Who changes the fleet's settings by itself.
const ACTOR: &str = "ordain";

pub struct Components {
    pub(super) loader: Arc<Loader>,
    pub(super) origin: Arc<dyn Origin>,
    pub(super) options: ComponentOptions,
    pub(super) path: PathBuf,
    pub(super) fleet: watch::Receiver<Option<Arc<[FleetSetting]>>>,
    state: Mutex<State>,
    pub(super) done: watch::Sender<Done>,
    /// Settings that nobody understands, and that were told of.
    pub(super) told: Mutex<Vec<FleetSetting>>,
    pub(super) swaps: AtomicU64,
    pub(super) returns: AtomicU64,
    /// What this instance is called where instances differ.
    pub(super) name: String,
}

/// What of the fleet's wish has been carried out, or tried in vain.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Done {
    /// `None`: nothing is known of the fleet's wish yet.
    pub current: Option<Option<Named>>,
    pub candidate: Option<Named>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Current,
    Candidate,
}

pub(super) struct State {
    pub file: Arc<Generation>,
    /// The file as it was when it was last read.
    pub seen: Option<Stamp>,
    /// What was asked for when the component that runs was chosen; `None`: the file.
    pub chosen: Option<Named>,
    pub since: SystemTime,
    /// The candidate that was dealt with, in the shadow or in vain.
    pub tried: Option<Named>,
    pub trouble: Option<Trouble>,
    pub candidate_trouble: Option<Trouble>,
    /// A component that failed here, which the fleet may have to leave.
    pub failed: Option<Failed>,
}

impl Components {
    pub fn new(
        loader: Arc<Loader>,
        origin: Arc<dyn Origin>,
        options: ComponentOptions,
        path: PathBuf,
        (file, seen): (Arc<Generation>, Option<Stamp>),
        fleet: watch::Receiver<Option<Arc<[FleetSetting]>>>,
    ) -> Components {
        Components {
            loader,
            origin,
            options,
            path,
            fleet,
            state: Mutex::new(State {
                file,
                seen,
                chosen: None,
                since: SystemTime::now(),
                tried: None,
                trouble: None,
                candidate_trouble: None,
                failed: None,
            }),
            done: watch::Sender::default(),
            told: Mutex::default(),
            swaps: AtomicU64::new(0),
            returns: AtomicU64::new(0),
            name: format!("{:016x}", rand::random::<u64>()),
        }
    }

    /// What the fleet wants, as far as this instance knows.
    pub fn wanted(&self) -> Fleet {
        self.known().unwrap_or_default()
    }

    fn known(&self) -> Option<Fleet> {
        self.fleet.borrow().as_deref().map(Fleet::of)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what is known to be wanted has been carried out; false if that took longer, or
    /// could not be done.
    pub async fn wait_until_settled(&self, part: Part, limit: Duration) -> bool {
        let mut done = self.done.subscribe();
        let is_done = |done: &Done| match (self.known(), part) {
            (None, _) => false,
            (Some(fleet), Part::Current) => done.current == Some(fleet.current),
            (Some(fleet), Part::Candidate) => done.candidate == fleet.candidate,
        };
        let waited = tokio::time::timeout(limit, done.wait_for(is_done)).await;
        let state = self.state();
        let trouble = match part {
            Part::Current => &state.trouble,
            Part::Candidate => &state.candidate_trouble,
        };
        matches!(waited, Ok(Ok(_))) && trouble.is_none()
    }

    /// Changes what the fleet wants. True: worth another try.
    pub(super) async fn change(&self, changes: Changes, reason: &str) -> bool {
        let by = Attribution {
            actor: ACTOR.to_owned(),
            request_id: None,
            reason: Some(reason.to_owned()),
        };
        let Changes { changes, only_if } = &changes;
        match self.origin.set_settings(changes, only_if, &by).await {
            Ok(_) => {
                tracing::warn!(reason, "the fleet's component is changed by this instance");
                false
            }
            // Somebody has changed it already.
            Err(WriteError::Precondition { .. }) => false,
            Err(error) => {
                tracing::warn!(%error, reason, "the fleet's component cannot be changed now");
                true
            }
        }
    }
}

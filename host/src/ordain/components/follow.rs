//! Carries out on this instance what the fleet wants of components: fetches, loads, swaps, tries, and
//! tells the fleet of a component that failed here. One task; what it cannot do leaves everything as
//! it is, and is told. Not for the fleet's wish (`fleet`) nor for a single swap (`runtime/lineup`).

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::doubt::Failed;
use super::fleet::{Changes, FILE, Fleet, Named};
use super::report::{Candidate, ComponentReport, Faults, Trouble, Wanted, Watching};
use super::shelf::{Missing, Stamp};
use crate::backends::{Attribution, FleetSetting, Origin};
use crate::options::ComponentOptions;
use crate::runtime::{Generation, Lineup, Loader, Runtime, Shadow, Watch};

/// Between two tries to fetch what the origin did not give.
const RETRY: Duration = Duration::from_secs(1);
/// Between two looks at the file.
const LOOK: Duration = Duration::from_millis(250);
/// Who changes the fleet's settings by itself.
const ACTOR: &str = "ordain";

pub struct Components {
    pub(super) loader: Arc<Loader>,
    pub(super) origin: Arc<dyn Origin>,
    options: ComponentOptions,
    pub(super) path: PathBuf,
    fleet: watch::Receiver<Option<Arc<[FleetSetting]>>>,
    state: Mutex<State>,
    done: watch::Sender<Done>,
    /// Settings that nobody understands, and that were told of.
    told: Mutex<Vec<FleetSetting>>,
    pub(super) swaps: AtomicU64,
    pub(super) returns: AtomicU64,
    /// What this instance is called where instances differ.
    pub(super) name: String,
}

/// What of the fleet's wish has been carried out, or tried in vain.
#[derive(Debug, Clone, Default, PartialEq)]
struct Done {
    /// `None`: nothing is known of the fleet's wish yet.
    current: Option<Option<Named>>,
    candidate: Option<Named>,
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
    tried: Option<Named>,
    pub trouble: Option<Trouble>,
    candidate_trouble: Option<Trouble>,
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

    /// Waits until what is known to be wanted has been carried out; false if that took longer, or could
    /// not be done.
    pub async fn settled_within(&self, part: Part, limit: Duration) -> bool {
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
                failed = runtime.returned() => self.note_return(&runtime, &failed),
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
            Some(named) => self.at_hand(runtime, &named.digest).await,
        };
        let digest = fleet.current.as_ref().map_or(FILE, |named| &*named.digest);
        match generation {
            Ok(generation) => {
                // A start knows what ran before only from the fleet.
                let previous = match &fleet.previous {
                    Some(previous) if previous == FILE => Some(self.state().file.clone()),
                    Some(previous) if !runtime.is_open() => {
                        self.at_hand(runtime, previous).await.ok()
                    }
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
                if state.trouble.as_ref().is_none_or(|told| told.error != why) {
                    tracing::warn!(
                        component = digest,
                        why,
                        "the component that the fleet wants is not at hand yet"
                    );
                }
                state.trouble = Some(trouble(digest, &why));
                true
            }
            Err(Missing::Never(why)) => {
                tracing::error!(
                    component = digest,
                    why,
                    "the component that the fleet wants cannot be loaded: this instance stays on what it runs"
                );
                let mut state = self.state();
                state.trouble = Some(trouble(digest, &why));
                state.chosen.clone_from(&fleet.current);
                false
            }
        }
    }

    /// Makes a generation the one that answers. `watched`: with the one that was good so far at hand;
    /// that is the one that answers now, or the one behind it if that is watched itself, or, where the
    /// lineup has none, `previous`.
    pub(super) fn swap(
        &self,
        runtime: &Runtime,
        generation: Arc<Generation>,
        watched: bool,
        previous: Option<Arc<Generation>>,
    ) {
        loop {
            let before = runtime.lineup();
            if before.current.digest() == generation.digest() {
                // What is known of it so far stays so.
                return;
            }
            let in_lineup = [before.watching().cloned(), Some(before.current.clone())];
            let first = previous.clone().filter(|_| !runtime.is_open());
            let candidates = [first]
                .into_iter()
                .chain(in_lineup)
                .chain([previous.clone()]);
            let good = candidates
                .flatten()
                .find(|good| watched && good.digest() != generation.digest());
            let shadow = before.shadow.clone();
            let lineup = Lineup {
                current: generation.clone(),
                watch: Arc::new(match good {
                    Some(_) => Watch::new(self.options.watch, self.options.faults),
                    None => Watch::over(),
                }),
                good: good.clone(),
                shadow: shadow.filter(|s| s.candidate().digest() != generation.digest()),
            };
            generation.enlist();
            if let Some(good) = &good {
                good.enlist();
            }
            if !runtime.swap(&before, lineup) {
                // It has just returned by itself.
                continue;
            }
            self.swaps.fetch_add(1, Ordering::Relaxed);
            self.state().since = SystemTime::now();
            let is_asked = |old: &&Arc<Generation>| {
                let new = [Some(&generation), good.as_ref()];
                new.into_iter()
                    .flatten()
                    .any(|new| new.digest() == old.digest())
            };
            let old = [Some(&before.current), before.good.as_ref()];
            let old = old.into_iter().flatten();
            old.filter(|old| !is_asked(old))
                .for_each(|old| old.retire());
            let (from, to) = (&**before.current.digest(), &**generation.digest());
            tracing::warn!(from, to, "another component answers now");
            return;
        }
    }

    async fn settle_candidate(&self, runtime: &Runtime, fleet: &Fleet) -> bool {
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
            Some(named) => match self.at_hand(runtime, &named.digest).await {
                Ok(generation) => Shadow::start(generation, plan)
                    .map(Some)
                    .map_err(|error| Missing::Never(error.to_string())),
                Err(missing) => Err(missing),
            },
        };
        let digest = fleet.candidate.as_ref().map_or("", |named| &*named.digest);
        let (shadow, found, again) = match shadow {
            Ok(shadow) => (shadow, None, false),
            Err(Missing::Later(why)) => (None, Some(why), true),
            Err(Missing::Never(why)) => {
                tracing::error!(component = digest, why, "the candidate cannot be loaded");
                (None, Some(why), false)
            }
        };
        let mut state = self.state();
        if !again {
            state.tried.clone_from(&fleet.candidate);
        }
        state.candidate_trouble = found.map(|why| trouble(digest, &why));
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
    async fn promote_by_itself(&self, shadow: &Option<Arc<Shadow>>) {
        let Some(shadow) = shadow else { return };
        let digest = shadow.candidate().digest().to_string();
        let equal = shadow.report().equal;
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
            Err(crate::backends::WriteError::Precondition { .. }) => false,
            Err(error) => {
                tracing::warn!(%error, reason, "the fleet's component cannot be changed now");
                true
            }
        }
    }

    pub(super) fn report(&self, runtime: &Runtime) -> ComponentReport {
        let lineup = runtime.lineup();
        let fleet = self.wanted();
        let state = self.state();
        let faults = &lineup.current.faults;
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let running = lineup.current.info().clone();
        let wanted = fleet
            .current
            .as_ref()
            .map_or(&**state.file.digest(), |n| &*n.digest);
        ComponentReport {
            as_wanted: wanted == running.digest,
            from: match &state.chosen {
                Some(named) if named.digest == running.digest => "fleet",
                _ if running.digest == **state.file.digest() => FILE,
                _ => "fleet",
            },
            running,
            since: humantime::format_rfc3339_millis(state.since).to_string(),
            trouble: [&state.trouble, &state.candidate_trouble]
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
            watch: Watching::of(runtime),
            candidate: lineup.shadow.as_deref().map(Candidate::of),
            fleet: Wanted::of(&fleet),
            faults: Faults {
                traps: count(&faults.traps),
                overruns: count(&faults.overruns),
                nonsense: count(&faults.nonsense),
                errors: count(&faults.errors),
            },
            swaps: count(&self.swaps),
            returns: count(&self.returns),
        }
    }
}

pub(super) fn trouble(digest: &str, error: &str) -> Trouble {
    Trouble {
        digest: digest.to_owned(),
        at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        error: error.to_owned(),
    }
}

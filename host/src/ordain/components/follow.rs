//! Carries out on this instance what the fleet wants of components: fetches, loads, swaps, tries, and
//! tells the fleet of a component that failed here. One task; what it cannot do leaves everything as
//! it is, and is told. Not for the fleet's wish (`fleet`) nor for a single swap (`runtime/lineup`).

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::ComponentError;
use super::fleet::{Changes, FILE, Fleet, Named};
use super::report::{Candidate, ComponentReport, Faults, Trouble, Wanted, Watching};
use crate::backends::{Attribution, FleetSetting, Origin, OriginError};
use crate::options::ComponentOptions;
use crate::runtime::{Generation, Lineup, LoadError, Loader, Runtime, Shadow, Watch};

/// Between two tries to fetch what the origin did not give.
const RETRY: Duration = Duration::from_secs(1);
/// Between two looks at the file.
const LOOK: Duration = Duration::from_millis(250);
/// Who changes the fleet's settings by itself.
const ACTOR: &str = "ordain";

pub struct Components {
    pub(super) loader: Loader,
    origin: Arc<dyn Origin>,
    options: ComponentOptions,
    path: PathBuf,
    fleet: watch::Receiver<Option<Arc<[FleetSetting]>>>,
    state: Mutex<State>,
    /// What of the fleet's wish has been dealt with.
    dealt_with: watch::Sender<Option<Fleet>>,
    swaps: AtomicU64,
    returns: AtomicU64,
}

struct State {
    file: Arc<Generation>,
    /// What was asked for when the component that runs was chosen; `None` in it: the file.
    chosen: Option<Named>,
    since: SystemTime,
    /// The candidate that was dealt with, in the shadow or in vain.
    tried: Option<Named>,
    trouble: Option<Trouble>,
    candidate_trouble: Option<Trouble>,
    /// A component that failed here, which the fleet is still to be told of.
    failed: Option<(String, String)>,
}

/// Why a component is not at hand.
enum Missing {
    /// Worth another try.
    Origin(OriginError),
    Never(String),
}

impl Components {
    pub fn new(
        loader: Loader,
        origin: Arc<dyn Origin>,
        options: ComponentOptions,
        path: PathBuf,
        file: Arc<Generation>,
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
                chosen: None,
                since: SystemTime::now(),
                tried: None,
                trouble: None,
                candidate_trouble: None,
                failed: None,
            }),
            dealt_with: watch::Sender::new(None),
            swaps: AtomicU64::new(0),
            returns: AtomicU64::new(0),
        }
    }

    /// What the fleet wants, as far as this instance knows.
    pub fn wanted(&self) -> Fleet {
        self.known().unwrap_or_default()
    }

    fn known(&self) -> Option<Fleet> {
        self.fleet.borrow().as_deref().map(Fleet::of)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what is known to be wanted has been dealt with; false if that took longer, or could
    /// not be done.
    pub async fn settled_within(&self, limit: Duration) -> bool {
        let mut dealt_with = self.dealt_with.subscribe();
        let wanted = self.known();
        let done = dealt_with.wait_for(|dealt_with| *dealt_with == wanted && wanted.is_some());
        let done = tokio::time::timeout(limit, done).await;
        let settled = matches!(done, Ok(Ok(_)));
        settled && self.state().trouble.is_none()
    }

    /// Runs until it is dropped.
    pub async fn follow(self: Arc<Self>, runtime: Arc<Runtime>) {
        let mut fleet = self.fleet.clone();
        let mut seen = None;
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
            let look = async {
                match self.options.reload {
                    true => tokio::time::sleep(LOOK).await,
                    false => std::future::pending().await,
                }
            };
            let retry = async {
                match again {
                    true => tokio::time::sleep(RETRY).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = fleet.changed() => if changed.is_err() { return },
                () = runtime.returned.notified() => self.note_return(&runtime),
                () = ready => self.promote_by_itself(&shadow).await,
                () = look => self.reload(&runtime, &mut seen).await,
                () = retry => {}
            }
        }
    }

    /// Deals with what is wanted. True: something is to be tried again.
    async fn settle(&self, runtime: &Runtime, settings: Option<&[FleetSetting]>) -> bool {
        let Some(settings) = settings else {
            return false;
        };
        let fleet = Fleet::of(settings);
        let again = self.settle_failed(&fleet).await;
        let again = self.settle_current(runtime, &fleet).await | again;
        let again = self.settle_candidate(runtime, &fleet).await | again;
        if !again {
            self.dealt_with.send_replace(Some(fleet));
        }
        again
    }

    async fn settle_current(&self, runtime: &Runtime, fleet: &Fleet) -> bool {
        if self.state().chosen == fleet.current {
            return false;
        }
        let generation = match &fleet.current {
            None => Ok(self.state().file.clone()),
            Some(named) => self.at_hand(&named.digest).await,
        };
        let digest = fleet.current.as_ref().map_or(FILE, |named| &*named.digest);
        match generation {
            Ok(generation) => {
                let good = match &fleet.previous {
                    Some(previous) if previous == FILE => Some(self.state().file.clone()),
                    // Without it there is nothing to return to, and no reason not to go on.
                    Some(previous) => self.at_hand(previous).await.ok(),
                    None => None,
                };
                self.swap(runtime, generation, good);
                let mut state = self.state();
                state.chosen.clone_from(&fleet.current);
                state.trouble = None;
                false
            }
            Err(Missing::Origin(error)) => {
                self.state().trouble = Some(trouble(digest, &error.to_string()));
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

    fn swap(&self, runtime: &Runtime, generation: Arc<Generation>, good: Option<Arc<Generation>>) {
        let good = good.filter(|good| good.digest() != generation.digest());
        loop {
            let before = runtime.lineup();
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
            if !runtime.swap(&before, lineup) {
                // It has just returned by itself.
                continue;
            }
            if before.current.digest() != generation.digest() {
                self.swaps.fetch_add(1, Ordering::Relaxed);
                self.state().since = SystemTime::now();
                before.current.retire();
                let (from, to) = (&**before.current.digest(), &**generation.digest());
                tracing::warn!(from, to, "another component answers now");
            }
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
            Some(named) => match self.at_hand(&named.digest).await {
                Ok(generation) => Shadow::start(generation, plan)
                    .map(Some)
                    .map_err(|error| Missing::Never(error.to_string())),
                Err(missing) => Err(missing),
            },
        };
        let digest = fleet.candidate.as_ref().map_or("", |named| &*named.digest);
        let (shadow, found, again) = match shadow {
            Ok(shadow) => (shadow, None, false),
            Err(Missing::Origin(error)) => (None, Some(error.to_string()), true),
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

    /// A component by its digest: from what was loaded before, else from the origin.
    async fn at_hand(&self, digest: &str) -> Result<Arc<Generation>, Missing> {
        let file = self.state().file.clone();
        if &**file.digest() == digest {
            return Ok(file);
        }
        if let Some(generation) = self.loader.loaded(digest) {
            return Ok(generation);
        }
        let stored = self
            .origin
            .component(digest)
            .await
            .map_err(Missing::Origin)?;
        let Some(stored) = stored else {
            return Err(Missing::Never(
                "it is not in the database: push it again".to_owned(),
            ));
        };
        let loaded = self
            .loader
            .load(&stored.bytes, stored.signature.as_deref())
            .await;
        loaded.map_err(|error| match error {
            LoadError::Interrupted => Missing::Origin(OriginError::Late),
            error => Missing::Never(error.to_string()),
        })
    }

    /// The same for a caller who wants to hear of it.
    pub(super) async fn fetched(&self, digest: &str) -> Result<(), ComponentError> {
        if self.loader.loaded(digest).is_some() || &**self.state().file.digest() == digest {
            // A component that no database has runs here alone.
            let stored = self.origin.component(digest).await?;
            return stored
                .map(drop)
                .ok_or_else(|| ComponentError::Unknown(digest.to_owned()));
        }
        let stored = self.origin.component(digest).await?;
        let stored = stored.ok_or_else(|| ComponentError::Unknown(digest.to_owned()))?;
        self.loader
            .load(&stored.bytes, stored.signature.as_deref())
            .await?;
        Ok(())
    }

    /// The runtime has returned to the component before: so must the fleet.
    fn note_return(&self, runtime: &Runtime) {
        self.returns.fetch_add(1, Ordering::Relaxed);
        self.swaps.fetch_add(1, Ordering::Relaxed);
        let running = runtime.lineup().current.digest().to_string();
        let mut state = self.state();
        state.since = SystemTime::now();
        let failed = match &state.chosen {
            Some(named) => named.digest.clone(),
            None => FILE.to_owned(),
        };
        let why = format!("it failed too often, and {running} answers again");
        state.trouble = Some(trouble(&failed, &why));
        if failed != FILE {
            state.failed = Some((failed, why));
        }
    }

    /// Tells the fleet of a component that failed here: the others return, too. Only if the fleet
    /// still wants it.
    async fn settle_failed(&self, fleet: &Fleet) -> bool {
        let Some((failed, why)) = self.state().failed.clone() else {
            return false;
        };
        let wanted = fleet
            .current
            .as_ref()
            .is_some_and(|named| named.digest == failed);
        let changes = fleet.roll_back().filter(|_| wanted);
        let again = match changes {
            None => false,
            Some(changes) => self.change(changes, &format!("{failed}: {why}")).await,
        };
        if !again {
            self.state().failed = None;
        }
        again
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
    async fn change(&self, changes: Changes, reason: &str) -> bool {
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

    /// Looks whether the file has changed (`--watch`), and takes what is in it.
    async fn reload(&self, runtime: &Runtime, seen: &mut Option<(u64, SystemTime)>) {
        let Ok(metadata) = tokio::fs::metadata(&self.path).await else {
            // Being replaced, or gone: what runs goes on.
            return;
        };
        let Ok(modified) = metadata.modified() else {
            return;
        };
        let now = (metadata.len(), modified);
        let before = seen.replace(now);
        if before.is_none_or(|before| before == now) {
            return;
        }
        let file = match read_signed(&self.path).await {
            Ok((bytes, signature)) => self.loader.load(&bytes, signature.as_deref()).await,
            Err(error) => {
                let path = self.path.display().to_string();
                tracing::error!(path, %error, "the changed component cannot be read");
                return;
            }
        };
        match file {
            Ok(file) => {
                let before = std::mem::replace(&mut self.state().file, file.clone());
                if self.state().chosen.is_some() {
                    tracing::warn!("the file has changed, but the fleet runs a promoted component");
                } else {
                    self.state().trouble = None;
                    self.swap(runtime, file, Some(before));
                }
            }
            Err(error) => {
                let path = self.path.display().to_string();
                tracing::error!(path, %error, "the changed component is refused");
                self.state().trouble = Some(trouble(FILE, &error.to_string()));
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

/// A component file, and its signature if there is one beside it (`FILE.sig`: 64 bytes or base64).
pub async fn read_signed(path: &std::path::Path) -> std::io::Result<(Arc<[u8]>, Option<String>)> {
    let bytes = tokio::fs::read(path).await?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".sig");
    let signature = match tokio::fs::read(&beside).await {
        Ok(signature) => Some(crate::runtime::signature::text(&signature)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok((bytes.into(), signature))
}

fn trouble(digest: &str, error: &str) -> Trouble {
    Trouble {
        digest: digest.to_owned(),
        at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        error: error.to_owned(),
    }
}

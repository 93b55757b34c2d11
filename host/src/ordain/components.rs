//! Components at run time: push one, try it in the shadow, promote it, roll back. The fleet's wish is
//! kept in the origin and announced by the change log; every instance carries it out by itself
//! (`follow`). Not for what a component answers.

mod doubt;
pub(super) mod fleet;
pub(super) mod follow;
pub(super) mod report;
pub(super) mod shelf;

use std::sync::Arc;
use std::time::Duration;

use super::Ordain;
use crate::backends::{Attribution, LevelPlace, OriginError, StoredComponent, WriteError};
use crate::coherence::Moment;
use crate::runtime::{Check, InvalidRecord, LoadError, Plan};
use crate::shares::Whose;
use fleet::{Changes, Fleet};
use follow::Part;

pub use report::ComponentReport;

/// Records that are validated between two looks at the clock.
const PAGE: u32 = 100;
/// Records that the component failed at, after which a check has seen enough for one answer.
const FAILURES_MAX: u32 = 5;
/// Invalid records that one answer lists.
const LISTED_MAX: usize = 100;

/// How far a check has got: through policies first, then through levels of config.
enum Place {
    /// After this tenant.
    Policies(Option<String>),
    Levels(Option<LevelPlace>),
}

/// No id has it: it parts the ids of a cursor, and begins one of levels.
const PART: char = '\u{1}';

impl Place {
    fn of(cursor: String) -> Place {
        let Some(ids) = cursor.strip_prefix(PART) else {
            return Place::Policies(Some(cursor));
        };
        Place::Levels(ids.split_once(PART).map(|(tenant, user)| LevelPlace {
            tenant: tenant.to_owned(),
            user: user.to_owned(),
        }))
    }

    fn cursor(&self) -> String {
        match self {
            Place::Policies(tenant) => tenant.clone().unwrap_or_default(),
            Place::Levels(None) => PART.to_string(),
            Place::Levels(Some(LevelPlace { tenant, user })) => {
                format!("{PART}{tenant}{PART}{user}")
            }
        }
    }
}

/// A level of config, as a report names it.
fn config_of(place: &LevelPlace) -> String {
    match (&*place.tenant, &*place.user) {
        ("", _) => "the global config".to_owned(),
        (tenant, "") => format!("the config of {tenant}"),
        (tenant, user) => format!("the config of {tenant}, user {user}"),
    }
}

/// What becomes of a component that was pushed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Intent {
    /// It answers in the shadow.
    Try(Plan),
    /// It answers.
    Promote,
}

/// Why a component was not pushed, promoted or rolled back. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    #[error("the component is refused: {0}")]
    Refused(#[from] LoadError),
    #[error("there is no candidate: push a component first")]
    NoCandidate,
    #[error("there is no component {0}: push it first")]
    Unknown(String),
    #[error("there is nothing to roll back to: no component was promoted since the last rollback")]
    NothingBefore,
    #[error(
        "somebody else has changed the component in the meantime: look at its status and try again"
    )]
    Changed,
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Read(#[from] OriginError),
}

/// A change of what the fleet runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Position of the change.
    pub revision: u64,
    /// `None`: what each instance has in its file.
    pub digest: Option<String>,
    /// This instance has carried it out.
    pub done: bool,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    pub vectors: usize,
    /// Stored records that the component was shown.
    pub records: u64,
    /// Tenants whose record it refuses, with its faults.
    pub invalid: Vec<(String, InvalidRecord)>,
    /// Not all were shown: the last tenant that was.
    pub more_after: Option<String>,
}

impl Ordain {
    /// Checks a component, keeps it in the origin, and has the fleet try or run it. `signature`: base64
    /// of Ed25519 over the bytes.
    pub async fn push_component(
        &self,
        bytes: Arc<[u8]>,
        signature: Option<String>,
        intent: Intent,
        by: &Attribution,
    ) -> Result<Changed, ComponentError> {
        let inner = &self.inner;
        let generation = inner
            .components
            .loader
            .load_for_call(&bytes, signature.as_deref())
            .await?;
        let stored = StoredComponent {
            digest: generation.digest().to_string(),
            bytes,
            signature,
        };
        let origin = inner.origin.clone();
        let digest = stored.digest.clone();
        self.written(Whose::Operator, async move {
            origin.put_component(&stored).await
        })
        .await?;
        let changes = match intent {
            Intent::Try(plan) => self.fleet().await.propose(&digest, &plan),
            Intent::Promote => self.fleet().await.promote(&digest),
        };
        let part = match intent {
            Intent::Try(_) => Part::Candidate,
            Intent::Promote => Part::Current,
        };
        self.change(changes, Some(digest), part, by).await
    }

    /// Has the fleet run the candidate, or a component that was pushed before.
    pub async fn promote_component(
        &self,
        digest: Option<&str>,
        by: &Attribution,
    ) -> Result<Changed, ComponentError> {
        let fleet = self.fleet().await;
        let changes = match (digest, &fleet.candidate) {
            (None, None) => return Err(ComponentError::NoCandidate),
            (None, Some(candidate)) => fleet.promote_candidate(&candidate.digest),
            (Some(digest), _) => fleet.promote(digest),
        };
        let candidate = fleet.candidate.map(|candidate| candidate.digest);
        let digest = digest.map(str::to_owned).or(candidate).unwrap_or_default();
        // Whatever this instance cannot run, it does not recommend.
        self.inner.components.fetched(&digest).await?;
        self.change(changes, Some(digest), Part::Current, by).await
    }

    /// Has the fleet run what it ran before the last promotion.
    pub async fn roll_component_back(&self, by: &Attribution) -> Result<Changed, ComponentError> {
        let fleet = self.fleet().await;
        let changes = fleet.roll_back().ok_or(ComponentError::NothingBefore)?;
        let digest = fleet.previous.filter(|name| name != fleet::FILE);
        if let Some(digest) = &digest {
            self.inner.components.fetched(digest).await?;
        }
        self.change(changes, digest, Part::Current, by).await
    }

    /// Ends the trial of the candidate.
    pub async fn withdraw_component(&self, by: &Attribution) -> Result<Changed, ComponentError> {
        let fleet = self.fleet().await;
        let changes = fleet.withdraw();
        let candidate = fleet.candidate.ok_or(ComponentError::NoCandidate)?;
        let digest = Some(candidate.digest);
        self.change(changes, digest, Part::Candidate, by).await
    }

    /// Checks a component as a push does, and shows it stored records, policies and then configs, those after
    /// the cursor `after`, for as long as `patience`. Changes nothing.
    pub async fn check_component(
        &self,
        bytes: Arc<[u8]>,
        signature: Option<&str>,
        after: Option<String>,
        patience: Duration,
    ) -> Result<Checked, ComponentError> {
        let began = Moment::now();
        let inner = &self.inner;
        let loader = &inner.components.loader;
        let generation = loader.load_for_call(&bytes, signature).await?;
        let mut checked = Checked {
            vectors: inner.components.loader.vectors(),
            ..Checked::default()
        };
        let mut at = after.map_or(Place::Policies(None), Place::of);
        loop {
            let (page, more) = match &at {
                Place::Policies(after) => {
                    let page = inner.origin.policies(after.as_deref(), PAGE).await?;
                    let records = page.items.into_iter().map(|(entry, body)| {
                        let name = entry.tenant.clone();
                        (Place::Policies(Some(entry.tenant)), name, body)
                    });
                    (records.collect::<Vec<_>>(), page.more)
                }
                Place::Levels(after) => {
                    let page = inner.origin.levels(after.as_ref(), PAGE).await?;
                    let records = page.items.into_iter().map(|(place, body)| {
                        let name = config_of(&place);
                        (Place::Levels(Some(place)), name, body)
                    });
                    (records.collect(), page.more)
                }
            };
            let mut failures = 0;
            for (place, name, body) in page {
                let check = match &place {
                    Place::Policies(_) => Check::Policy(&body),
                    Place::Levels(_) => Check::Level(&body),
                };
                match inner.runtime.check_by(&generation, check).await {
                    Ok(_) => {}
                    // It has not been seen: the next check begins with it.
                    Err(why @ (InvalidRecord::Late | InvalidRecord::Overloaded)) => {
                        if checked.records == 0 {
                            return Err(LoadError::Busy(why.to_string()).into());
                        }
                        checked.more_after = Some(at.cursor());
                        return Ok(checked);
                    }
                    Err(why) => {
                        failures += u32::from(matches!(why, InvalidRecord::Component(_)));
                        checked.invalid.push((name, why));
                    }
                }
                at = place;
                checked.records += 1;
                // It computes: others have their turn, and the time is looked at.
                tokio::task::yield_now().await;
                if Moment::now().since(began) >= patience || failures >= FAILURES_MAX {
                    checked.more_after = Some(at.cursor());
                    return Ok(checked);
                }
            }
            at = match at {
                at if more => at,
                // A component of a world without configs is not asked about them.
                Place::Policies(_) if generation.has_configs() => Place::Levels(None),
                _ => return Ok(checked),
            };
            if Moment::now().since(began) >= patience || checked.invalid.len() >= LISTED_MAX {
                checked.more_after = Some(at.cursor());
                return Ok(checked);
            }
        }
    }

    /// What runs here, what the fleet wants, and how a candidate does.
    pub fn component_report(&self) -> ComponentReport {
        self.inner.components.report(&self.inner.runtime)
    }

    /// What the fleet wants, as of now if the origin answers.
    async fn fleet(&self) -> Fleet {
        let inner = &self.inner;
        let limit = inner.options.feed_deadline;
        inner.coherence.wait(0, Moment::now(), limit).await;
        inner.components.wanted()
    }

    async fn change(
        &self,
        changes: Changes,
        digest: Option<String>,
        part: Part,
        by: &Attribution,
    ) -> Result<Changed, ComponentError> {
        let origin = self.inner.origin.clone();
        let attribution = by.clone();
        let write = async move {
            let Changes { changes, only_if } = &changes;
            origin.set_settings(changes, only_if, &attribution).await
        };
        let revision = match self.written(Whose::Operator, write).await {
            Ok(revision) => revision.unwrap_or_else(|| self.watermark()),
            Err(WriteError::Precondition { .. }) => return Err(ComponentError::Changed),
            Err(error) => return Err(error.into()),
        };
        let done = self.carried_out(revision, part).await;
        Ok(Changed {
            revision,
            digest,
            done,
        })
    }

    /// Waits, for a bounded time, until this instance has carried out what was changed.
    async fn carried_out(&self, revision: u64, part: Part) -> bool {
        let inner = &self.inner;
        let any_age = Moment::now().minus(Duration::from_secs(u32::MAX.into()));
        let limit = inner.options.feed_deadline;
        inner.coherence.wait(revision, any_age, limit).await;
        if self.watermark() < revision {
            return false;
        }
        let limit = inner.options.request_deadline / 2;
        inner.components.settled_within(part, limit).await
    }
}

//! Pushes, promotes, rolls back and withdraws components: changes of what the fleet wants, which
//! this instance carries out before it answers, if it can in time. Not for how it does (`follow`).

use std::sync::Arc;
use std::time::Duration;

use super::fleet::{self, Changes, Fleet};
use super::report::ComponentReport;
use super::state::Part;
use super::types::{Changed, ComponentError, Intent};
use crate::door::Ordain;
use ordain_coherence::Moment;
use ordain_coherence::shares::Whose;
use ordain_store::{Attribution, StoredComponent, WriteError};

impl Ordain {
    /// Checks a component, keeps it in the origin, and has the fleet try or run it. `signature`:
    /// base64 of Ed25519 over the bytes.
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
        self.run_write(Whose::Operator, async move {
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
        self.inner.components.try_load(&digest).await?;
        self.change(changes, Some(digest), Part::Current, by).await
    }

    /// Has the fleet run what it ran before the last promotion.
    pub async fn roll_component_back(&self, by: &Attribution) -> Result<Changed, ComponentError> {
        let fleet = self.fleet().await;
        let changes = fleet.roll_back().ok_or(ComponentError::NothingBefore)?;
        let digest = fleet.previous.filter(|name| name != fleet::FILE);
        if let Some(digest) = &digest {
            self.inner.components.try_load(digest).await?;
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
        let revision = match self.run_write(Whose::Operator, write).await {
            Ok(revision) => revision.unwrap_or_else(|| self.watermark()),
            Err(WriteError::Precondition { .. }) => return Err(ComponentError::Changed),
            Err(error) => return Err(error.into()),
        };
        let done = self.wait_until_done(revision, part).await;
        Ok(Changed {
            revision,
            digest,
            done,
        })
    }

    /// Waits, for a bounded time, until this instance has carried out what was changed.
    async fn wait_until_done(&self, revision: u64, part: Part) -> bool {
        let inner = &self.inner;
        let any_age = Moment::now().minus(Duration::from_secs(u32::MAX.into()));
        let limit = inner.options.feed_deadline;
        inner.coherence.wait(revision, any_age, limit).await;
        if self.watermark() < revision {
            return false;
        }
        let limit = inner.options.request_deadline / 2;
        inner.components.wait_until_settled(part, limit).await
    }
}

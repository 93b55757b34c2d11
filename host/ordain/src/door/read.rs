//! Reading the origin for a caller who wants just that, and demands of a revision. Not for what is
//! read of it (`policies`, `configs`), nor for answers out of the caches (`runtime`).

use std::time::Duration;

use super::ordain::{Ordain, whose};
use super::{ReadError, Stored};
use crate::answer::ResolveError;
use ordain_coherence::Moment;
use ordain_coherence::places::Places;
use ordain_coherence::shares::{Place, Whose};
use ordain_store::ids::{Key, Kind, Tenant};
use ordain_store::{HistoryEntry, OriginError, Page, TenantEntry};

impl Ordain {
    pub(super) async fn read_record(
        &self,
        key: Key,
        min_revision: u64,
    ) -> Result<Stored, ReadError> {
        self.await_revision(min_revision).await?;
        let keys = [key];
        let before = self.inner.reader.before();
        let (reads, whose) = (&self.inner.reader.places, whose(&keys[0]));
        let read = self.inner.origin.read(&keys);
        let snapshot = self.ask_origin(reads, &whose, read).await;
        let snapshot = snapshot.inspect_err(|error| self.suspect(error))?;
        self.inner.reader.learn(&before, snapshot.as_of, &keys);
        check_reached(snapshot.as_of, min_revision)?;
        let record = snapshot.records.into_iter().next().flatten();
        Ok(Stored {
            record,
            position: snapshot.as_of,
        })
    }

    /// Tenants that have a policy, in byte order, those after `after`.
    pub async fn tenants(
        &self,
        after: Option<&str>,
        limit: u32,
        min_revision: u64,
    ) -> Result<Page<TenantEntry>, ReadError> {
        self.await_revision(min_revision).await?;
        let before = self.inner.reader.before();
        let (lists, whose) = (&self.inner.direct.lists, Whose::Operator);
        let list = self.inner.origin.tenants(after, limit);
        let page = self.ask_origin(lists, &whose, list).await?;
        let shown: Vec<Key> = page
            .items
            .iter()
            .filter_map(|item| Tenant::new(&item.tenant).ok())
            .map(|tenant| Key::policy(&tenant))
            .collect();
        self.inner.reader.learn(&before, page.as_of, &shown);
        check_reached(page.as_of, min_revision)?;
        Ok(page)
    }

    pub(super) async fn changes_of(
        &self,
        key: Key,
        before: Option<u64>,
        limit: u32,
        min_revision: u64,
    ) -> Result<Page<HistoryEntry>, ReadError> {
        self.await_revision(min_revision).await?;
        self.changes_now(key, before, limit, min_revision).await
    }

    /// The same with a place in which the text of the page is made. Who waits for a revision has
    /// none yet.
    pub async fn long_page(
        &self,
        key: Key,
        before: Option<u64>,
        limit: u32,
        min_revision: u64,
    ) -> Result<(Page<HistoryEntry>, Place), ReadError> {
        self.await_revision(min_revision).await?;
        let whose = whose(&key);
        let place = self.inner.direct.pages.take(&whose, self.patience()).await;
        let place = place.ok_or(ReadError::Overloaded)?;
        let page = self.changes_now(key, before, limit, min_revision).await?;
        Ok((page, place))
    }

    async fn changes_now(
        &self,
        key: Key,
        before: Option<u64>,
        limit: u32,
        min_revision: u64,
    ) -> Result<Page<HistoryEntry>, ReadError> {
        let earlier = self.inner.reader.before();
        let shown = [key];
        let (lists, whose) = (&self.inner.direct.lists, whose(&shown[0]));
        let history = self.inner.origin.history(&shown[0], before, limit);
        let page = self.ask_origin(lists, &whose, history).await?;
        self.inner.reader.learn(&earlier, page.as_of, &shown);
        check_reached(page.as_of, min_revision)?;
        Ok(page)
    }

    /// Reads the origin for a caller who wants just that, unless it is known not to answer, or
    /// there is no place for it in time. A failure makes nothing suspect: a list that takes too
    /// long says nothing of short reads.
    pub(super) async fn ask_origin<T>(
        &self,
        places: &Places,
        whose: &Whose,
        read: impl Future<Output = Result<T, OriginError>>,
    ) -> Result<T, ReadError> {
        self.inner.reader.admit()?;
        let place = places.take(whose, self.patience()).await;
        let _place = place.ok_or(ReadError::Overloaded)?;
        Ok(read.await?)
    }

    fn suspect(&self, error: &ReadError) {
        if let ReadError::Origin(_) = error {
            self.inner.reader.suspect();
        }
    }

    /// Refuses at once to demand what cannot have been written yet: nobody waits for it, and no
    /// server is asked.
    pub(super) fn check_demand(&self, kind: Kind, min_revision: u64) -> Result<(), ResolveError> {
        if self.inner.coherence.may_exist(min_revision) {
            return Ok(());
        }
        let error = ResolveError::RevisionUnknown;
        self.counts(kind).note(Err(&error));
        Err(error)
    }

    /// Waits until this instance knows the log up to a demanded revision, for a bounded time.
    pub async fn known_up_to(&self, min_revision: u64) -> Result<(), ReadError> {
        self.await_revision(min_revision).await?;
        check_reached(self.watermark(), min_revision)
    }

    /// A demanded revision that this host does not know yet is waited for, as in resolve (rule R2).
    async fn await_revision(&self, min_revision: u64) -> Result<(), ReadError> {
        if !self.inner.coherence.may_exist(min_revision) {
            return Err(ReadError::RevisionUnknown);
        }
        if self
            .inner
            .coherence
            .watermark()
            .is_none_or(|w| w < min_revision)
            && min_revision > 0
        {
            let any_age = Moment::now().minus(Duration::from_secs(u32::MAX.into()));
            let limit = self.inner.options.min_revision_wait;
            self.inner
                .coherence
                .wait(min_revision, any_age, limit)
                .await;
        }
        Ok(())
    }
}

fn check_reached(as_of: u64, min_revision: u64) -> Result<(), ReadError> {
    if as_of < min_revision {
        Err(ReadError::RevisionUnknown)
    } else {
        Ok(())
    }
}

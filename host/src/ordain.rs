//! The library's front door: one running Ordain, and what it answers. Wires the parts together;
//! decides nothing itself.

mod batch;
mod components;
mod configs;
mod import;
mod settings;
mod start;
mod status;
mod types;
mod upkeep;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::answer::{Answer, ResolveError};
use crate::backends::{
    Attribution, Change, HistoryEntry, Origin, OriginError, Page, Precondition, Record,
    TenantEntry, WriteError, Written,
};
use crate::caches::Caches;
use crate::coherence::auditor::Findings;
use crate::coherence::far::Far;
use crate::coherence::origin::OriginReader;
use crate::coherence::{Coherence, Entry, Moment};
use crate::ids::{Key, Kind, Tenant};
use crate::options::Options;
use crate::places::{Direct, Places};
use crate::request::Request;
use crate::runtime::{Check, Runtime};
use crate::shares::{Place, Whose};
use crate::supervise::Tasks;

pub use components::{
    Changed, Checked, ComponentError, ComponentReport, Intent, fleet::is_share, shelf::read_signed,
};
pub use import::{Imported, Importer};
pub use start::{
    Builder, CheckError, StartError, check_component_file, inspect_component, migrate,
};
pub use types::{
    ComponentInfo, FeedStatus, ImportError, InvalidRecord, NearStatus, Patched, PutError,
    ReadError, Status, Stored, TierStatus,
};

/// One running Ordain: a component, its backends and its caches. Cheap to clone; stops when the
/// last clone is dropped.
///
/// ```
/// use ordain::{Ordain, ids::Tenant, request::Request};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Without `.postgres(url)` policies are kept in memory: for development and tests.
/// let ordain = Ordain::builder()
///     .component("../target/debug/ordain-policy.wasm")
///     .start()
///     .await?;
/// let acme = Tenant::new("acme")?;
/// let policy = r#"{
///     "defaultProvider": "openai",
///     "defaultModel": "gpt-4o",
///     "tasks": [{"task": "chat", "provider": "local", "model": "llama-3-8b", "temperature": 0.3}]
/// }"#;
/// ordain.put_policy(&acme, policy, Default::default(), &Default::default()).await?;
///
/// let request = Request { task: Some("chat".into()), ..Request::default() };
/// let answer = ordain.resolve(&acme, &request).await?;
/// let route = answer.route().expect("allowed");
/// assert_eq!((&*route.provider, &*route.model), ("local", "llama-3-8b"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Ordain {
    inner: Arc<Inner>,
    /// Records are checked at the expense of who runs the fleet, not of their tenant.
    operator: bool,
}

struct Inner {
    options: Options,
    runtime: Arc<Runtime>,
    components: Arc<components::follow::Components>,
    coherence: Arc<Coherence>,
    origin: Arc<dyn Origin>,
    reader: Arc<OriginReader>,
    far: Option<Arc<Far>>,
    caches: Arc<Caches>,
    /// Turns of those who patch a level of config.
    patching: configs::Turns,
    direct: Direct,
    batches: batch::Turns,
    /// Values put into far again (rule A5).
    restamps: Arc<AtomicU64>,
    /// What the auditor found.
    findings: Arc<Findings>,
    /// What becomes of the tasks.
    supervised: Arc<Tasks>,
    /// The feed and what else works in the background; aborted when the last clone goes.
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Ordain {
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The same for whoever runs the fleet: what takes long to compute has places of its own, which no
    /// tenant can take.
    pub fn as_operator(&self) -> Ordain {
        Ordain {
            inner: self.inner.clone(),
            operator: true,
        }
    }

    /// Whose share of the cores it takes to check a record of this tenant.
    fn payer(&self, tenant: Option<&Tenant>) -> Whose {
        match tenant {
            Some(tenant) if !self.operator => tenant.into(),
            _ => Whose::Operator,
        }
    }

    /// Resolves one request within the request deadline.
    pub async fn resolve(
        &self,
        tenant: &Tenant,
        request: &Request,
    ) -> Result<Answer, ResolveError> {
        self.possible(Kind::Policy, request.min_revision)?;
        self.inner.runtime.resolve(tenant, request).await
    }

    /// Refuses at once to demand what cannot have been written yet: nobody waits for it, and no server is
    /// asked.
    fn possible(&self, kind: Kind, min_revision: u64) -> Result<(), ResolveError> {
        if self.inner.coherence.may_exist(min_revision) {
            return Ok(());
        }
        let error = ResolveError::RevisionUnknown;
        self.counts(kind).note(Err(&error));
        Err(error)
    }

    /// Checks a record and returns its canonical text; stores nothing. At the expense of the tenant, if
    /// there is one.
    pub async fn validate(
        &self,
        tenant: Option<&Tenant>,
        record: &str,
    ) -> Result<String, InvalidRecord> {
        let payer = self.payer(tenant);
        let check = Check::Policy(record);
        self.inner.runtime.check(payer, check).await
    }

    /// Resolves requests against a record that is not stored. The record must be valid.
    pub async fn try_policy(
        &self,
        tenant: &Tenant,
        record: &str,
        requests: &[Request],
    ) -> Result<Vec<Result<Answer, ResolveError>>, InvalidRecord> {
        let body = self.validate(Some(tenant), record).await?.into();
        let entry = Arc::new(Entry::new(Some(Record { body, revision: 0 }), 0));
        let requests: Vec<&Request> = requests.iter().collect();
        Ok(self
            .inner
            .runtime
            .try_record(self.payer(Some(tenant)), tenant, entry, &requests)
            .await)
    }

    /// Validates and stores; this instance answers by the new policy from now on (rule N4).
    pub async fn put_policy(
        &self,
        tenant: &Tenant,
        record: &str,
        precondition: Precondition,
        by: &Attribution,
    ) -> Result<Written, PutError> {
        let body = self.validate(Some(tenant), record).await?;
        Ok(self
            .write(
                Key::policy(tenant),
                Change::Put(body.into()),
                precondition,
                by,
            )
            .await?)
    }

    pub async fn delete_policy(
        &self,
        tenant: &Tenant,
        precondition: Precondition,
        by: &Attribution,
    ) -> Result<Written, WriteError> {
        self.write(Key::policy(tenant), Change::Delete, precondition, by)
            .await
    }

    async fn write(
        &self,
        key: Key,
        change: Change,
        precondition: Precondition,
        by: &Attribution,
    ) -> Result<Written, WriteError> {
        let inner = self.inner.clone();
        let by = by.clone();
        self.written(whose(&key), async move {
            let written = inner.origin.write(&key, change, precondition, &by).await?;
            inner.coherence.raise_fence(&key, written.revision);
            Ok(written)
        })
        .await
    }

    /// Runs a write of the origin, unless that is known not to answer or there is no place for it in time. It
    /// goes on if the caller leaves: once it is committed, this host must know it before it answers anyone.
    async fn written<T: Send + 'static>(
        &self,
        whose: Whose,
        write: impl Future<Output = Result<T, WriteError>> + Send + 'static,
    ) -> Result<T, WriteError> {
        let reader = self.inner.reader.clone();
        reader.admit()?;
        // Who waits in vain is told to try again while there is still time to tell.
        let patience = self
            .patience()
            .min(self.inner.options.origin_deadline * 3 / 5);
        let place = self.inner.direct.writes.take(&whose, patience).await;
        let place = place.ok_or(WriteError::Busy)?;
        let write = async move {
            let _place = place;
            write.await.inspect_err(|error| {
                if let WriteError::Origin(_) = error {
                    reader.suspect();
                }
            })
        };
        tokio::spawn(write)
            .await
            .unwrap_or(Err(WriteError::OutcomeUnknown))
    }

    /// The stored policy, from the origin.
    pub async fn policy(&self, tenant: &Tenant, min_revision: u64) -> Result<Stored, ReadError> {
        self.stored(Key::policy(tenant), min_revision).await
    }

    async fn stored(&self, key: Key, min_revision: u64) -> Result<Stored, ReadError> {
        self.await_revision(min_revision).await?;
        let keys = [key];
        let before = self.inner.reader.before();
        let (reads, whose) = (&self.inner.direct.reads, whose(&keys[0]));
        let read = self.inner.origin.read(&keys);
        let snapshot = self.asked(reads, &whose, read).await;
        let snapshot = snapshot.inspect_err(|error| self.suspect(error))?;
        self.inner.reader.learn(&before, snapshot.as_of, &keys);
        known(snapshot.as_of, min_revision)?;
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
        let page = self.asked(lists, &whose, list).await?;
        let shown: Vec<Key> = page
            .items
            .iter()
            .filter_map(|item| Tenant::new(&item.tenant).ok())
            .map(|tenant| Key::policy(&tenant))
            .collect();
        self.inner.reader.learn(&before, page.as_of, &shown);
        known(page.as_of, min_revision)?;
        Ok(page)
    }

    /// Changes of a tenant's policy, newest first, those before position `before`.
    pub async fn history(
        &self,
        tenant: &Tenant,
        before: Option<u64>,
        limit: u32,
        min_revision: u64,
    ) -> Result<Page<HistoryEntry>, ReadError> {
        let key = Key::policy(tenant);
        self.changes_of(key, before, limit, min_revision).await
    }

    async fn changes_of(
        &self,
        key: Key,
        before: Option<u64>,
        limit: u32,
        min_revision: u64,
    ) -> Result<Page<HistoryEntry>, ReadError> {
        self.await_revision(min_revision).await?;
        self.changes_now(key, before, limit, min_revision).await
    }

    /// The same with a place in which the text of the page is made. Who waits for a revision has none yet.
    pub(crate) async fn long_page(
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
        let page = self.asked(lists, &whose, history).await?;
        self.inner.reader.learn(&earlier, page.as_of, &shown);
        known(page.as_of, min_revision)?;
        Ok(page)
    }

    /// Reads the origin for a caller who wants just that, unless it is known not to answer, or there is no
    /// place for it in time. A failure makes nothing suspect: a list that takes too long says nothing of
    /// short reads.
    async fn asked<T>(
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

    /// How long a call may wait for a place: what is left of the request is the origin's.
    fn patience(&self) -> Duration {
        let options = &self.inner.options;
        let left = options.request_deadline;
        let left = left.saturating_sub(options.origin_deadline);
        left.max(options.request_deadline / 5)
    }

    /// Places of each kind, as operators measure them.
    pub(crate) fn places(&self) -> Vec<&Places> {
        let waiting = &self.inner.runtime.waiting;
        std::iter::once(waiting)
            .chain(self.inner.direct.all())
            .collect()
    }

    /// Waits until this instance knows the log up to a demanded revision, for a bounded time.
    pub(crate) async fn known_up_to(&self, min_revision: u64) -> Result<(), ReadError> {
        self.await_revision(min_revision).await?;
        known(self.watermark(), min_revision)
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

    /// What runs.
    pub fn component(&self) -> ComponentInfo {
        self.inner.runtime.lineup().current.info().clone()
    }

    /// What this was started with.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Stops following the log; calls under way end.
    pub async fn close(&self) {
        let tasks = self.inner.tasks.iter();
        tasks.for_each(tokio::task::JoinHandle::abort);
    }
}

/// Whose share work on a record is part of.
fn whose(key: &Key) -> Whose {
    key.tenant.as_ref().map_or(Whose::Operator, Whose::from)
}

fn known(as_of: u64, min_revision: u64) -> Result<(), ReadError> {
    if as_of < min_revision {
        Err(ReadError::RevisionUnknown)
    } else {
        Ok(())
    }
}

//! Origin and far cache in this process's memory, for development and tests. They behave as
//! Postgres and Redis do (`contract/` says how); nothing survives the process. Not the near
//! cache: that is `ordain_coherence`.

mod components;
mod configs;
mod far;
mod upkeep;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::Notify;

pub use self::far::MemoryFar;

use super::{
    Attribution, Audit, Change, ChangeLog, FleetSetting, HistoryEntry, LevelPlace, LogRow, MIXED,
    NAMELESS, Origin, OriginError, PAGE_BYTES, Page, Precondition, Pruned, Record, Snapshot,
    StoredComponent, TenantEntry, WriteError, Written, WrittenMany,
};
use crate::ids::{Key, RecordName, Tenant};

/// Longest record in bytes, as the CHECK in Postgres has it.
const BODY_LIMIT: usize = 262_144;

/// A source of truth that lives as long as its last handle. A clone is another handle on the same
/// records, with a `changed` of its own: give each host one.
pub struct MemoryOrigin {
    shared: Arc<Shared>,
    wake: Arc<Notify>,
}

struct Shared {
    /// One lock over everything: a read is one snapshot (O5), positions become visible in order
    /// (O2).
    state: Mutex<State>,
    /// One for each handle.
    wakes: Mutex<Vec<Weak<Notify>>>,
}

#[derive(Default, Clone)]
struct State {
    policies: BTreeMap<String, Record>,
    configs: HashMap<Key, Record>,
    settings: BTreeMap<String, FleetSetting>,
    /// The one that was stored last is at the end.
    components: Vec<StoredComponent>,
    /// In ascending order of position.
    changes: Vec<Logged>,
}

#[derive(Clone)]
struct Logged {
    tenant: Option<String>,
    subject: String,
    at: SystemTime,
    entry: HistoryEntry,
}

impl MemoryOrigin {
    pub fn new() -> MemoryOrigin {
        MemoryOrigin::handle(Arc::new(Shared {
            state: Mutex::default(),
            wakes: Mutex::default(),
        }))
    }

    fn handle(shared: Arc<Shared>) -> MemoryOrigin {
        let wake = Arc::new(Notify::new());
        let mut wakes = lock(&shared.wakes);
        wakes.retain(|wake| wake.strong_count() > 0);
        wakes.push(Arc::downgrade(&wake));
        drop(wakes);
        MemoryOrigin { shared, wake }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }

    fn announce(&self) {
        for wake in lock(&self.shared.wakes).iter().filter_map(Weak::upgrade) {
            // Whoever waits now, and who comes next: the change may lie between a read of the log
            // and the wait for more. At worst somebody looks once in vain.
            wake.notify_waiters();
            wake.notify_one();
        }
    }
}

impl Default for MemoryOrigin {
    fn default() -> Self {
        MemoryOrigin::new()
    }
}

impl Clone for MemoryOrigin {
    fn clone(&self) -> Self {
        MemoryOrigin::handle(self.shared.clone())
    }
}

/// As much of what is left, with its sizes, as one page may have.
fn paged<T>(items: impl Iterator<Item = (usize, T)>, limit: u32, as_of: u64) -> Page<T> {
    let mut page = Page {
        items: Vec::new(),
        more: false,
        as_of,
    };
    let mut bytes = 0;
    for (size, item) in items {
        bytes += size;
        let fits = page.items.is_empty() || bytes <= PAGE_BYTES;
        if page.items.len() == limit as usize || !fits {
            page.more = true;
            break;
        }
        page.items.push(item);
    }
    page
}

/// Since 1970.
fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(0)
}

/// A panic elsewhere leaves no half-done state behind: changes are made on valid values only.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn head(&self) -> u64 {
        self.changes
            .last()
            .map_or(0, |change| change.entry.revision)
    }

    /// O1: grows, has gaps, follows the clock.
    fn next(&self) -> u64 {
        (self.head() + 1).max(micros())
    }

    fn get(&self, key: &Key) -> Option<&Record> {
        match (key.record()?, &key.tenant) {
            (RecordName::Policy, Some(tenant)) => self.policies.get(tenant.as_str()),
            (RecordName::Policy, None) => None,
            (RecordName::Config(_), _) => self.configs.get(key),
        }
    }

    /// Of a key that names a record.
    fn apply(&mut self, key: &Key, change: &Change, by: &Attribution) -> Written {
        let (op, body) = match change {
            Change::Put(body) => ("put", Some(body.to_string())),
            Change::Delete => ("delete", None),
        };
        let tenant = key.tenant.as_ref().map(Tenant::as_str);
        let revision = self.log(tenant, &key.subject, op, body, by);
        let record = match change {
            Change::Put(body) => Some(Record {
                body: body.clone(),
                revision,
            }),
            Change::Delete => None,
        };
        let previous = match (key.record(), tenant, record) {
            (Some(RecordName::Policy), Some(tenant), Some(record)) => {
                self.policies.insert(tenant.to_owned(), record)
            }
            (Some(RecordName::Policy), Some(tenant), None) => self.policies.remove(tenant),
            (_, _, Some(record)) => self.configs.insert(key.clone(), record),
            (_, _, None) => self.configs.remove(key),
        };
        Written {
            revision,
            created: op == "put" && previous.is_none(),
        }
    }

    /// Appends a row and returns its position.
    fn log(
        &mut self,
        tenant: Option<&str>,
        subject: &str,
        op: &str,
        body: Option<String>,
        by: &Attribution,
    ) -> u64 {
        let (revision, at) = (self.next(), SystemTime::now());
        let entry = HistoryEntry {
            revision,
            at: humantime::format_rfc3339_micros(at).to_string(),
            actor: by.actor.clone(),
            op: op.to_owned(),
            body,
            request_id: by.request_id.clone(),
            reason: by.reason.clone(),
        };
        self.changes.push(Logged {
            tenant: tenant.map(str::to_owned),
            subject: subject.to_owned(),
            at,
            entry,
        });
        revision
    }

    /// Number of changes below a position.
    fn below(&self, position: u64) -> usize {
        self.changes
            .partition_point(|change| change.entry.revision < position)
    }
}

/// What the CHECKs of Postgres refuse: size and outer structure, no rule of a policy.
fn check(body: &str) -> Result<(), WriteError> {
    if body.len() > BODY_LIMIT {
        return Err(WriteError::Rejected(format!(
            "a record has at most {BODY_LIMIT} bytes"
        )));
    }
    match serde_json::from_str::<serde_json::Value>(body) {
        Ok(serde_json::Value::Object(_)) => Ok(()),
        Ok(_) => Err(WriteError::Rejected("a record is a JSON object".to_owned())),
        Err(error) => Err(WriteError::Rejected(format!("a record is JSON: {error}"))),
    }
}

impl Logged {
    fn is_of(&self, key: &Key) -> bool {
        self.tenant.as_deref() == key.tenant.as_ref().map(Tenant::as_str)
            && self.subject == *key.subject
    }

    fn row(&self) -> LogRow {
        LogRow {
            position: self.entry.revision,
            tenant: self.tenant.clone(),
            subject: self.subject.clone(),
            op: self.entry.op.clone(),
        }
    }
}

#[async_trait]
impl Origin for MemoryOrigin {
    async fn read(&self, keys: &[Key]) -> Result<Snapshot, OriginError> {
        let mut tenants = keys.iter().filter_map(|key| key.tenant.as_ref());
        let first = tenants.next();
        if !tenants.all(|tenant| Some(tenant) == first) {
            return Err(OriginError::Unavailable(MIXED.to_owned()));
        }
        let state = self.state();
        let records = keys.iter().map(|key| state.get(key).cloned());
        Ok(Snapshot {
            as_of: state.head(),
            records: records.collect(),
        })
    }

    async fn write(
        &self,
        key: &Key,
        change: Change,
        precondition: Precondition,
        by: &Attribution,
    ) -> Result<Written, WriteError> {
        let Some(name) = key.record() else {
            return Err(WriteError::Rejected(NAMELESS.to_owned()));
        };
        let mut state = self.state();
        let current = state.get(key).map(|record| record.revision);
        if !precondition.holds(current) {
            return Err(WriteError::Precondition { current });
        }
        match &change {
            Change::Put(body) if name == RecordName::Policy => check(body)?,
            Change::Put(body) => configs::check(body)?,
            Change::Delete if current.is_none() => return Err(WriteError::Absent),
            Change::Delete => {}
        }
        let written = state.apply(key, &change, by);
        drop(state);
        self.announce();
        Ok(written)
    }

    async fn put_many(
        &self,
        policies: &[(Tenant, Arc<str>)],
        by: &Attribution,
    ) -> Result<WrittenMany, WriteError> {
        policies.iter().try_for_each(|(_, body)| check(body))?;
        let mut state = self.state();
        let mut written = 0;
        for (tenant, body) in policies {
            let stored = state.policies.get(tenant.as_str());
            if stored.is_some_and(|record| record.body == *body) {
                continue;
            }
            state.apply(&Key::policy(tenant), &Change::Put(body.clone()), by);
            written += 1;
        }
        let revision = state.head();
        drop(state);
        self.announce();
        Ok(WrittenMany { revision, written })
    }

    async fn tenants(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<TenantEntry>, OriginError> {
        let state = self.state();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = state.policies.range::<str, _>((from, Bound::Unbounded));
        let items = rest.map(|(tenant, record)| {
            let (tenant, revision) = (tenant.clone(), record.revision);
            (tenant.len(), TenantEntry { tenant, revision })
        });
        Ok(paged(items, limit, state.head()))
    }

    async fn policies(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<(TenantEntry, Arc<str>)>, OriginError> {
        let state = self.state();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = state.policies.range::<str, _>((from, Bound::Unbounded));
        let items = rest.map(|(tenant, record)| {
            let (tenant, revision) = (tenant.clone(), record.revision);
            let size = tenant.len() + record.body.len();
            (
                size,
                (TenantEntry { tenant, revision }, record.body.clone()),
            )
        });
        Ok(paged(items, limit, state.head()))
    }

    async fn levels(
        &self,
        after: Option<&LevelPlace>,
        limit: u32,
    ) -> Result<Page<(LevelPlace, Arc<str>)>, OriginError> {
        let state = self.state();
        let mut levels: Vec<_> = state
            .configs
            .iter()
            .map(|(key, record)| {
                let tenant = key.tenant.as_ref().map(ToString::to_string);
                let user = match key.record() {
                    Some(RecordName::Config(Some(user))) => user.to_owned(),
                    _ => String::new(),
                };
                let tenant = tenant.unwrap_or_default();
                (LevelPlace { tenant, user }, record.body.clone())
            })
            .filter(|(place, _)| after.is_none_or(|after| place > after))
            .collect();
        levels.sort();
        let items = levels.into_iter().map(|(place, body)| {
            let size = place.tenant.len() + place.user.len() + body.len();
            (size, (place, body))
        });
        Ok(paged(items, limit, state.head()))
    }

    async fn history(
        &self,
        key: &Key,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page<HistoryEntry>, OriginError> {
        let state = self.state();
        let end = before.map_or(state.changes.len(), |before| state.below(before));
        let changes = state.changes[..end].iter().rev();
        let items = changes.filter(|change| change.is_of(key)).map(|change| {
            let entry = &change.entry;
            let texts = [&entry.body, &entry.reason, &entry.request_id];
            let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
            (texts + entry.actor.len() + 100, entry.clone())
        });
        Ok(paged(items, limit, state.head()))
    }

    async fn set_settings(
        &self,
        changes: &[(String, Option<String>)],
        only_if: &[(String, Option<String>)],
        by: &Attribution,
    ) -> Result<Option<u64>, WriteError> {
        let revision = self.state().set_settings(changes, only_if, by)?;
        if revision.is_some() {
            self.announce();
        }
        Ok(revision)
    }

    async fn put_component(&self, component: &StoredComponent) -> Result<(), WriteError> {
        self.state().put_component(component)
    }

    async fn component(&self, digest: &str) -> Result<Option<StoredComponent>, OriginError> {
        Ok(self.state().component(digest))
    }

    async fn purge(&self, tenant: Option<&Tenant>, by: &Attribution) -> Result<u64, WriteError> {
        let revision = self.state().purge(tenant, by);
        self.announce();
        Ok(revision)
    }

    async fn prune(
        &self,
        before: SystemTime,
        keep: u32,
        by: &Attribution,
    ) -> Result<Pruned, WriteError> {
        let pruned = self.state().prune(before, keep, by);
        if pruned.revision.is_some() {
            self.announce();
        }
        Ok(pruned)
    }

    async fn audit(&self, key: &Key, after: u64) -> Result<Audit, OriginError> {
        let state = self.state();
        let newer = state
            .changes
            .iter()
            .find(|change| change.entry.revision > after && change.is_of(key));
        Ok(Audit {
            as_of: state.head(),
            record: state.get(key).cloned(),
            known: after == 0 || state.changes.iter().any(|c| c.entry.revision == after),
            newer: newer.map(|change| {
                let age = change.at.elapsed().unwrap_or_default();
                (change.entry.revision, age)
            }),
        })
    }

    fn describe(&self) -> String {
        "memory of this process".to_owned()
    }
}

#[async_trait]
impl ChangeLog for MemoryOrigin {
    async fn newest(&self, limit: u32) -> Result<(Vec<LogRow>, bool), OriginError> {
        let state = self.state();
        let start = state.changes.len().saturating_sub(limit as usize);
        let rows: Vec<_> = state.changes[start..].iter().map(Logged::row).collect();
        let whole = start == 0 && !rows.iter().any(LogRow::records_a_prune);
        Ok((rows, whole))
    }

    async fn since(&self, from: u64, limit: u32) -> Result<Vec<LogRow>, OriginError> {
        let state = self.state();
        let rows = state.changes[state.below(from)..]
            .iter()
            .take(limit as usize);
        Ok(rows.map(Logged::row).collect())
    }

    async fn settings(&self) -> Result<Vec<FleetSetting>, OriginError> {
        Ok(self.state().settings.values().cloned().collect())
    }

    async fn notification_queue(&self) -> Result<f64, OriginError> {
        Ok(0.0)
    }

    fn lag(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    fn clock(&self) -> Option<u64> {
        Some(micros())
    }

    async fn changed(&self) {
        self.wake.notified().await;
    }
}

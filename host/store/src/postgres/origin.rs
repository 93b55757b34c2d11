//! What is asked of an origin and of its change log, each handed to the file that does it. Not for
//! doing it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::{Postgres, lists, read};
use crate::ids::{Key, Tenant};
use crate::{
    Attribution, Audit, Change, ChangeLog, FleetSetting, HistoryEntry, LevelPlace, LogRow, Origin,
    OriginError, Page, Precondition, Pruned, Snapshot, StoredComponent, TenantEntry, WriteError,
    Written, WrittenMany,
};

#[async_trait]
impl Origin for Postgres {
    async fn read(&self, keys: &[Key]) -> Result<Snapshot, OriginError> {
        self.records(keys).await
    }

    async fn write(
        &self,
        key: &Key,
        change: Change,
        precondition: Precondition,
        by: &Attribution,
    ) -> Result<Written, WriteError> {
        self.write_one(key, &change, precondition, by).await
    }

    async fn put_many(
        &self,
        policies: &[(Tenant, Arc<str>)],
        by: &Attribution,
    ) -> Result<WrittenMany, WriteError> {
        self.write_many(policies, by).await
    }

    async fn tenants(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<TenantEntry>, OriginError> {
        lists::tenants(&self.fleet_pool, after, limit).await
    }

    async fn policies(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<(TenantEntry, Arc<str>)>, OriginError> {
        lists::policies(&self.fleet_pool, after, limit).await
    }

    async fn levels(
        &self,
        after: Option<&LevelPlace>,
        limit: u32,
    ) -> Result<Page<(LevelPlace, Arc<str>)>, OriginError> {
        lists::levels(&self.fleet_pool, after, limit).await
    }

    async fn history(
        &self,
        key: &Key,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page<HistoryEntry>, OriginError> {
        self.history_of(key, before, limit).await
    }

    async fn set_settings(
        &self,
        changes: &[(String, Option<String>)],
        only_if: &[(String, Option<String>)],
        by: &Attribution,
    ) -> Result<Option<u64>, WriteError> {
        self.set_all(changes, only_if, by).await
    }

    async fn put_component(&self, component: &StoredComponent) -> Result<(), WriteError> {
        self.store_component(component).await
    }

    async fn component(&self, digest: &str) -> Result<Option<StoredComponent>, OriginError> {
        self.fetch_component(digest).await
    }

    async fn purge(&self, tenant: Option<&Tenant>, by: &Attribution) -> Result<u64, WriteError> {
        self.purge_logged(tenant, by).await
    }

    async fn prune(
        &self,
        before: SystemTime,
        keep: u32,
        by: &Attribution,
    ) -> Result<Pruned, WriteError> {
        self.prune_some(before, keep, by).await
    }

    async fn audit(&self, key: &Key, after: u64) -> Result<Audit, OriginError> {
        self.audited(key, after).await
    }

    fn describe(&self) -> String {
        self.place.clone()
    }
}

#[async_trait]
impl ChangeLog for Postgres {
    async fn newest(&self, limit: u32) -> Result<(Vec<LogRow>, bool), OriginError> {
        self.log.newest(limit).await
    }

    async fn since(&self, from: u64, limit: u32) -> Result<Vec<LogRow>, OriginError> {
        self.log.since(from, limit).await
    }

    async fn settings(&self) -> Result<Vec<FleetSetting>, OriginError> {
        self.log.settings().await
    }

    async fn notification_queue(&self) -> Result<f64, OriginError> {
        read::notification_queue(&self.fleet_pool).await
    }

    fn lag(&self) -> Option<Duration> {
        self.log.lag()
    }

    fn clock(&self) -> Option<u64> {
        self.log.clock()
    }

    async fn changed(&self) {
        self.log.changed().await;
    }
}

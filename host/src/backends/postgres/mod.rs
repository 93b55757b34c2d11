//! The origin in Postgres: policies, configs and their change log (rules O1 to O6). `read` fills, `lists`
//! lists, `write` changes (`configs` has the statements of that table), `upkeep` purges, prunes and sets what the fleet
//! goes by, `components` keeps files, `log` and `listen` are what the feed follows, `migrate` and `schema`
//! see to the schema, `address`, `servers`, `link`, `pool` and `slots` to connections. Not for caching, nor
//! for what a policy may say.

mod address;
mod components;
mod configs;
mod fault;
mod link;
mod listen;
mod lists;
mod log;
mod migrate;
mod pool;
mod read;
mod schema;
mod servers;
mod slots;
mod upkeep;
mod write;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::sync::Semaphore;

pub use self::schema::{SchemaError, SchemaStatus};

use self::link::Role;
use self::log::Log;
use self::pool::Pool;
use self::servers::Servers;
use self::slots::Slots;
use super::{
    Attribution, Audit, Change, ChangeLog, FleetSetting, HistoryEntry, LevelPlace, LogRow, Origin,
    OriginError, Page, Precondition, Pruned, Snapshot, StoredComponent, TenantEntry, WriteError,
    Written, WrittenMany,
};
use crate::ids::{Key, Tenant};

/// Work that concerns all tenants is rare: people and upkeep ask for it.
const FLEET_CONNECTIONS: usize = 4;

/// How to reach the origin, and how long to wait for it.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with commas between several hosts, or
    /// `?host=DIRECTORY` for a socket.
    pub url: String,
    /// Of a read or a write.
    pub deadline: Duration,
    /// Of a read of the log (rule F3).
    pub feed_deadline: Duration,
    /// Connections for reads and writes of tenants; what concerns all of them has up to four more, feed
    /// and LISTEN have one each.
    pub connections: usize,
}

impl PostgresOptions {
    pub fn new(url: impl Into<String>) -> PostgresOptions {
        PostgresOptions {
            url: url.into(),
            deadline: Duration::from_millis(500),
            feed_deadline: Duration::from_millis(300),
            connections: 16,
        }
    }
}

pub struct Postgres {
    /// For the work of one tenant at a time.
    pool: Pool,
    /// For what concerns all of them.
    fleet_pool: Pool,
    log: Log,
    writers: Semaphore,
    /// Of what concerns all tenants: operators do not stand in one queue with them.
    fleet_writers: Semaphore,
    deadline: Duration,
    servers: Arc<Servers>,
    slots: Arc<Slots>,
    place: String,
}

impl Postgres {
    /// Connects to nothing yet: the server may be down, or come later. Fails on a URL that cannot
    /// be read.
    pub fn connect(options: PostgresOptions) -> Result<Arc<Postgres>, OriginError> {
        let address = address::parse(&options.url).map_err(OriginError::Unavailable)?;
        let place = address::place_of(&address.hosts);
        let (servers, slots) = (Servers::new(address), Arc::new(Slots::default()));
        let connections = options.connections.max(1);
        let pool = |role, connections| {
            let (servers, slots) = (servers.clone(), slots.clone());
            Pool::new(servers, slots, role, connections, options.deadline)
        };
        Ok(Arc::new(Postgres {
            place,
            pool: pool(Role::Tenant, connections),
            fleet_pool: pool(Role::Fleet, FLEET_CONNECTIONS.min(connections)),
            log: Log::new(
                (servers.clone(), slots.clone()),
                options.deadline,
                options.feed_deadline,
            ),
            // All writes share one lock (O2): more of them would only keep connections from reads.
            writers: Semaphore::new(connections.div_ceil(4)),
            fleet_writers: Semaphore::new(FLEET_CONNECTIONS / 2),
            deadline: options.deadline,
            servers,
            slots,
        }))
    }

    /// Brings the schema up to date, as the role of the URL. Several hosts may do so at once.
    pub async fn migrate(url: &str) -> Result<(), SchemaError> {
        migrate::migrate(url).await
    }

    /// Whether the schema is the one that this program was built with.
    pub async fn schema_status(&self) -> Result<SchemaStatus, SchemaError> {
        schema::status(&self.servers).await
    }
}

/// Whether a URL can be read, before anything is connected to.
pub fn check_url(url: &str) -> Result<(), String> {
    address::parse(url).map(drop)
}

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

//! The origin in Postgres: policies, configs and their change log (rules O1 to O6). `read` reads
//! records and `lists` lists them (`rows` is how both ask), `write` changes records (`table` has
//! the statements of each kind) and `upkeep` purges, prunes and sets what the fleet goes by (`work`
//! and `transaction` are how both do it), `components` keeps files, `log` and `listen` are what the
//! feed follows, `migrate` and `schema` see to the schema, `address`, `servers`, `link`, `pool` and
//! `slots` to connections; `origin` says which of them does what is asked. Not for caching, nor for
//! what a policy may say.

mod address;
mod components;
mod fault;
mod link;
mod listen;
mod lists;
mod log;
mod migrate;
mod origin;
mod pool;
mod read;
mod rows;
mod schema;
mod schema_name;
mod servers;
mod slots;
mod table;
mod transaction;
mod upkeep;
mod work;
mod write;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

pub use self::schema::{SchemaError, SchemaStatus};
pub use self::schema_name::{SchemaName, SchemaNameError};

use self::link::Role;
use self::log::Log;
use self::pool::Pool;
use self::servers::Servers;
use self::slots::Slots;
use super::OriginError;

/// Work that concerns all tenants is rare: people and upkeep ask for it.
const FLEET_CONNECTIONS: usize = 4;

/// How to reach the origin, and how long to wait for it.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with commas between several hosts, or
    /// `?host=DIRECTORY` for a socket.
    pub url: String,
    /// Where everything lies in the database.
    pub schema: SchemaName,
    /// Of a read or a write.
    pub deadline: Duration,
    /// Of a read of the log (rule F3).
    pub feed_deadline: Duration,
    /// Connections for reads and writes of tenants; what concerns all of them has up to four more,
    /// feed and LISTEN have one each.
    pub connections: usize,
}

impl PostgresOptions {
    pub fn new(url: impl Into<String>) -> PostgresOptions {
        PostgresOptions {
            url: url.into(),
            schema: SchemaName::default(),
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
        let servers = Servers::new(address, options.schema);
        let slots = Arc::new(Slots::default());
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
    pub async fn migrate(url: &str, schema: &SchemaName) -> Result<(), SchemaError> {
        migrate::migrate(url, schema, &[]).await
    }

    /// The same with migrations of a later release after those of this one, each a number and its
    /// statements: for tests of what running hosts notice of them.
    #[cfg(feature = "contract")]
    pub async fn migrate_further(
        url: &str,
        schema: &SchemaName,
        later: &[(i64, &'static str)],
    ) -> Result<(), SchemaError> {
        migrate::migrate(url, schema, later).await
    }

    fn schema(&self) -> &SchemaName {
        &self.servers.schema
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

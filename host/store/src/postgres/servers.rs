//! Connects to the server that is wanted: of several hosts the one that is the primary, as found by
//! asking, and again after a failover. Finds out whether a connection is a session of our own on
//! it, or goes through something that shares sessions among clients. Not for keeping connections
//! (`pool.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use tokio::time::Instant;

use super::address::{Address, Wanted};
use super::fault::ConnectError;
use super::link::{Link, Role};
use super::schema_name::SchemaName;

/// Name of a setting that the server sees at the beginning of a session only if nobody is between
/// us.
const OWN: &str = "ordain.session";

pub struct Servers {
    /// What is looked for there.
    pub schema: SchemaName,
    hosts: Vec<Host>,
    wanted: Wanted,
    /// The host that was right the last time.
    last: AtomicUsize,
}

pub struct Host {
    options: PgConnectOptions,
    /// Something between us and the server takes no settings at the start of a session, or does not
    /// hand them on: a pooler, in whatever mode.
    pooled: AtomicBool,
    /// Whether that is news for the log.
    told: bool,
}

pub const IS_REPLICA: &str = "this is a replica, the primary is needed (rule O5)";
pub const IS_READ_ONLY: &str =
    "sessions of this server are read-only (default_transaction_read_only)";

impl Servers {
    pub fn new(address: Address, schema: SchemaName) -> Arc<Servers> {
        Servers::heard(address, schema, true)
    }

    /// For one piece of work beside the service, which tells of the same servers by itself.
    pub fn silent(address: Address, schema: SchemaName) -> Arc<Servers> {
        Servers::heard(address, schema, false)
    }

    fn heard(address: Address, schema: SchemaName, told: bool) -> Arc<Servers> {
        let hosts = address.hosts.into_iter().map(|options| Host {
            options,
            pooled: AtomicBool::new(false),
            told,
        });
        Arc::new(Servers {
            schema,
            hosts: hosts.collect(),
            wanted: address.wanted,
            last: AtomicUsize::new(0),
        })
    }

    /// Connects within `limit`. Hosts have a share of it each: one that swallows every packet must
    /// not keep us from the next. `role`: none for a connection as whoever connects.
    pub async fn connect(
        &self,
        role: Option<Role>,
        statement: Duration,
        limit: Duration,
    ) -> Result<Link, ConnectError> {
        let (last, count) = (self.last.load(Ordering::Relaxed), self.hosts.len());
        let until = Instant::now() + limit;
        let mut failed = None;
        for step in 0..count {
            let index = (last + step) % count;
            let left = until.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(count - step).unwrap_or(1);
            let opened = self.hosts[index].open(role, statement, self.asks());
            let error = match tokio::time::timeout(share, opened).await {
                Ok(Ok(link)) => {
                    self.last.store(index, Ordering::Relaxed);
                    return Ok(link);
                }
                Ok(Err(error)) => error,
                Err(_) => ConnectError::Late,
            };
            // What one has answered says more than that another did not.
            let answered = !matches!(error, ConnectError::Late)
                && !matches!(&error, ConnectError::Driver(sqlx::Error::Io(_)));
            if failed.is_none() || answered {
                failed = Some(error);
            }
        }
        Err(failed.unwrap_or(ConnectError::Late))
    }

    /// A replica among several hosts is passed over; as the only one it says itself what it is, to
    /// whoever reads from it.
    fn asks(&self) -> Option<Wanted> {
        (self.hosts.len() > 1 || self.wanted == Wanted::Writable).then_some(self.wanted)
    }

    /// The host that was right the last time, for LISTEN.
    pub fn right(&self) -> &Host {
        let index = self.last.load(Ordering::Relaxed);
        &self.hosts[index % self.hosts.len()]
    }
}

impl Host {
    /// As it is connected to once a pooler was found, and for LISTEN.
    pub fn plain(&self) -> &PgConnectOptions {
        &self.options
    }

    async fn open(
        &self,
        role: Option<Role>,
        statement: Duration,
        asks: Option<Wanted>,
    ) -> Result<Link, ConnectError> {
        if !self.pooled.load(Ordering::Relaxed) {
            let token = format!("{:032x}", rand::random::<u128>());
            match self
                .options
                .clone()
                .options([(OWN, &*token)])
                .connect()
                .await
            {
                Ok(mut connection) => {
                    let found = settle(&mut connection, Some(&token), role, statement).await?;
                    found.checked(asks, role)?;
                    if found.own {
                        return Ok(Link::own(connection));
                    }
                    self.found_pooler();
                }
                Err(error) if may_refuse_settings(&error) => {
                    let Ok(connection) = self.options.connect().await else {
                        return Err(error.into());
                    };
                    if says_so(&error) {
                        self.found_pooler();
                    }
                    return Host::to_share(connection, role, statement, asks).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let connection = self.options.connect().await?;
        Host::to_share(connection, role, statement, asks).await
    }

    async fn to_share(
        mut connection: PgConnection,
        role: Option<Role>,
        statement: Duration,
        asks: Option<Wanted>,
    ) -> Result<Link, ConnectError> {
        settle(&mut connection, None, role, statement)
            .await?
            .checked(asks, role)?;
        Ok(Link::shared(connection, role, statement))
    }

    fn found_pooler(&self) {
        if !self.pooled.swap(true, Ordering::Relaxed) && self.told {
            tracing::info!(
                "the database is reached through a pooler: nothing is left in its sessions, and every \
                 read is a transaction of its own"
            );
        }
    }
}

/// Poolers have no common words or codes for it, so without the setting is tried as well. Not where
/// the server itself has spoken: of passwords, of databases that are not there, of limits, of its
/// start and end.
fn may_refuse_settings(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().map(|server| server.code());
    code.is_some_and(|code| {
        let code = code.unwrap_or_default();
        !["28", "3D", "53", "57"]
            .iter()
            .any(|class| code.starts_with(class))
    })
}

/// Known words for it: nobody need try again.
fn says_so(error: &sqlx::Error) -> bool {
    let words = error.to_string().to_ascii_lowercase();
    words.contains("startup parameter") || words.contains("command-line options")
}

struct Found {
    own: bool,
    replica: bool,
    read_only: bool,
    /// The role gets past row level security.
    bypasses: bool,
}

/// One round trip: looks at the session, and only if it is our own, brings it into the state that
/// we work in. The server then gives up a little after we did: a statement nobody waits for, or a
/// transaction whose client froze with the lock of the log in its hands (O4).
async fn settle(
    connection: &mut PgConnection,
    token: Option<&str>,
    role: Option<Role>,
    statement: Duration,
) -> Result<Found, sqlx::Error> {
    let own = match token {
        Some(token) => format!("coalesce(current_setting('{OWN}', true), '') = '{token}'"),
        None => "false".to_owned(),
    };
    let set = match role {
        Some(role) => super::link::settings(role, statement, false),
        None => "NULL".to_owned(),
    };
    let sql = format!(
        "SELECT s.own, pg_is_in_recovery() AS replica, \
         current_setting('transaction_read_only') = 'on' AS read_only, \
         coalesce((SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = '{name}'), \
         false) AS bypasses, CASE WHEN s.own THEN concat({set}) END AS set \
         FROM (SELECT {own} AS own OFFSET 0) s",
        name = role.map_or("", Role::name),
    );
    // Safe: constants, numbers and hexadecimal digits only.
    let row = sqlx::raw_sql(AssertSqlSafe(sql))
        .fetch_one(connection)
        .await?;
    Ok(Found {
        own: row.try_get("own")?,
        replica: row.try_get("replica")?,
        read_only: row.try_get("read_only")?,
        bypasses: row.try_get("bypasses")?,
    })
}

impl Found {
    fn checked(&self, asks: Option<Wanted>, role: Option<Role>) -> Result<(), ConnectError> {
        match asks {
            Some(_) if self.replica => return Err(ConnectError::NotPrimary(IS_REPLICA)),
            Some(Wanted::Writable) if self.read_only => {
                return Err(ConnectError::NotPrimary(IS_READ_ONLY));
            }
            _ => {}
        }
        match role {
            Some(role) if self.bypasses => Err(ConnectError::Unsafe(bypass(role.name()))),
            _ => Ok(()),
        }
    }
}

/// What a role must not be that shall see one tenant's rows only.
pub fn bypass(role: &str) -> String {
    format!(
        "the role {role} gets past row level security: ALTER ROLE {role} NOSUPERUSER NOBYPASSRLS \
         (and run `ordain migrate`)"
    )
}

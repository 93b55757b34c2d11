//! Connections for reads and writes. sqlx has a pool, but its own waits for a server that refuses
//! connections until the time is up, where a host must know at once; and it pings. This one is a
//! stack: a connection that was not given back whole (a deadline, a dropped call, an error) is
//! closed, by having nowhere else to go.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Longer in the stack, and something on the way may have forgotten the connection.
const IDLE_LIMIT: Duration = Duration::from_secs(120);

/// As whom a connection works. Neither owns anything (O3).
#[derive(Debug, Clone, Copy)]
pub enum Role {
    /// For one tenant at a time, which `ordain.tenant` names in each transaction: row level security
    /// shows it no other's rows. Also for following the log.
    Tenant,
    /// For what concerns all tenants.
    Fleet,
}

pub struct Pool {
    connect: PgConnectOptions,
    setup: String,
    permits: Semaphore,
    connections: usize,
    idle: Mutex<Vec<(PgConnection, Instant)>>,
    pub deadline: Duration,
}

/// A connection on loan. Dropped, it is closed.
pub struct Lease<'a> {
    pub connection: PgConnection,
    /// It was used before, so it may have died since.
    pub reused: bool,
    pool: &'a Pool,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    pub fn new(
        connect: PgConnectOptions,
        role: Role,
        connections: usize,
        deadline: Duration,
    ) -> Pool {
        Pool {
            connect,
            setup: setup(role, deadline),
            permits: Semaphore::new(connections),
            connections,
            idle: Mutex::default(),
            deadline,
        }
    }

    pub async fn lease(&self) -> Result<Lease<'_>, sqlx::Error> {
        let permit = self
            .permits
            .acquire()
            .await
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let (connection, reused) = match self.pop() {
            Some(connection) => (connection, true),
            None => (open(&self.connect, &self.setup).await?, false),
        };
        Ok(Lease {
            connection,
            reused,
            pool: self,
            _permit: permit,
        })
    }

    /// How many connections of a server that was restarted one call may come across.
    pub fn most_broken(&self) -> usize {
        self.connections
    }

    fn pop(&self) -> Option<PgConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let (connection, since) = idle.pop()?;
        if since.elapsed() < IDLE_LIMIT {
            return Some(connection);
        }
        // It was the youngest: the others are no better.
        idle.clear();
        None
    }
}

impl Lease<'_> {
    /// Gives the connection back; only when it is idle, outside any transaction.
    pub fn give_back(self) {
        let mut idle = self
            .pool
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        idle.push((self.connection, Instant::now()));
    }
}

/// The server gives up a little after we did: a statement nobody waits for, or a transaction whose
/// client froze with the lock of the log in its hands (O4).
pub fn setup(role: Role, deadline: Duration) -> String {
    let role = match role {
        Role::Tenant => "ordain_tenant",
        Role::Fleet => "ordain_service",
    };
    let statement = deadline.as_millis() + 100;
    let idle = (deadline.as_millis() * 2).max(1000);
    format!(
        "SET ROLE {role}; SET statement_timeout = {statement}; \
         SET idle_in_transaction_session_timeout = {idle}"
    )
}

pub async fn open(connect: &PgConnectOptions, setup: &str) -> Result<PgConnection, sqlx::Error> {
    let mut connection = connect.connect().await?;
    // Safe: constants and numbers only.
    sqlx::raw_sql(AssertSqlSafe(setup.to_owned()))
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

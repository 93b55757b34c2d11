//! LISTEN, on a connection of its own (F5): what wakes the feed before its next turn. Through a
//! pooler only if a session is ours for as long as we are connected; otherwise the registration
//! would stay behind in a session of other programs, and the feed polls. Not for reading the log.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::fault::{self, ConnectError};
use super::servers::Servers;
use crate::supervise::Tasks;

/// Between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between two looks at a pooler that shares sessions: somebody may have changed its mode.
const POOLED_PAUSE: Duration = Duration::from_secs(300);
/// Silence after which the connection is tried.
const CHECK: Duration = Duration::from_secs(30);
/// For a pooler to clean up a session that was ours.
const RESET_WAIT: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(10);
/// Times that it is looked whether a session is ours: a client that is given it as soon as it is
/// clean hides that.
const LOOKS: usize = 5;

/// A task that waits for NOTIFY; ends with the origin.
pub struct Listener {
    pub wake: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Listener {
    pub fn start(servers: Arc<Servers>) -> Listener {
        let wake = Arc::new(Notify::new());
        let woken = wake.clone();
        // Told of in the log only: the feed polls on meanwhile.
        let task =
            Tasks::default().spawn("listen", move |_| listen(servers.clone(), woken.clone()));
        Listener { wake, task }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(servers: Arc<Servers>, wake: Arc<Notify>) {
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    loop {
        match listen_once(&servers, &wake, &mut pause).await {
            Ok(Ended::Lost) => {}
            Ok(Ended::Shared) => {
                if !told {
                    told = true;
                    tracing::warn!(
                        "the database is reached through a pooler that shares sessions among clients: \
                         there is no LISTEN, and changes are seen by polling, up to 250 ms later; \
                         session pooling or a direct connection is quicker"
                    );
                }
                tokio::time::sleep(POOLED_PAUSE).await;
            }
            Err(error) => {
                let error = fault::of_connect(error);
                tracing::debug!(%error, "LISTEN ended, the feed polls on");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

enum Ended {
    Lost,
    /// A session is not ours.
    Shared,
}

/// Until the connection is lost. Never in a transaction (F5): LISTEN is all that it ever says.
async fn listen_once(
    servers: &Servers,
    wake: &Notify,
    pause: &mut Duration,
) -> Result<Ended, ConnectError> {
    // Finds the right server, and what is between us and it.
    let found = servers.connect(None, LONGEST_PAUSE, LONGEST_PAUSE).await?;
    let ours = found.keeps();
    found.close().await;
    let host = servers.right();
    if !ours && !sessions_are_ours(host.plain()).await? {
        return Ok(Ended::Shared);
    }
    // The listener wants a pool; it is one connection and dies with it.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .acquire_timeout(LONGEST_PAUSE)
        .connect_lazy_with(host.plain().clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(servers.schema.as_str()).await?;
    *pause = FIRST_PAUSE;
    // What happened while nobody listened.
    wake.notify_one();
    loop {
        match tokio::time::timeout(CHECK, listener.try_recv()).await {
            Ok(Ok(Some(_))) => wake.notify_one(),
            Ok(Ok(None)) => return Ok(Ended::Lost),
            Ok(Err(error)) => return Err(error.into()),
            // Silence may be a connection that died unnoticed: a word on it finds out.
            Err(_) => tokio::time::timeout(LONGEST_PAUSE, listener.listen(servers.schema.as_str()))
                .await
                .unwrap_or(Err(sqlx::Error::PoolTimedOut))?,
        }
    }
}

/// Whether that was seen once: a pooler that shares sessions never shows it.
async fn sessions_are_ours(options: &PgConnectOptions) -> Result<bool, ConnectError> {
    for _ in 0..LOOKS {
        if session_is_ours(options).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a pooler keeps a session for one client until that leaves, and cleans it up then. It
/// says so itself only by what it does: the session of a client that has left is given `DISCARD`,
/// one that is shared keeps the last statement. Nothing that could leak is done to find out; what
/// is not seen counts as shared.
async fn session_is_ours(options: &PgConnectOptions) -> Result<bool, ConnectError> {
    let work = async {
        let mut first = options.connect().await?;
        let mut second = options.connect().await?;
        let mark = format!("ordain {:032x}", rand::random::<u128>());
        let one = asked(&mut first, &mark, "SELECT pg_backend_pid() AS pid").await?;
        let pid: i32 = one.try_get("pid")?;
        let look = format!(
            "SELECT pg_backend_pid() AS pid, (SELECT query FROM pg_catalog.pg_stat_activity \
             WHERE pid = {pid}) AS said"
        );
        let before = asked(&mut second, "look", &look).await?;
        let said: Option<String> = before.try_get("said")?;
        let is_other = before.try_get::<i32, _>("pid")? != pid;
        if !is_other || !said.is_some_and(|said| said.contains(&mark)) {
            return Ok(false);
        }
        first.close().await?;
        let until = Instant::now() + RESET_WAIT;
        while Instant::now() < until {
            let after = asked(&mut second, "look", &look).await?;
            match after.try_get::<Option<String>, _>("said")? {
                Some(said)
                    if said
                        .trim_start()
                        .to_ascii_uppercase()
                        .starts_with("DISCARD") =>
                {
                    return Ok(true);
                }
                Some(said) if said.contains(&mark) => tokio::time::sleep(STEP).await,
                _ => return Ok(false),
            }
        }
        Ok(false)
    };
    tokio::time::timeout(LONGEST_PAUSE, work)
        .await
        .unwrap_or(Err(ConnectError::Late))
}

async fn asked(
    connection: &mut PgConnection,
    mark: &str,
    sql: &str,
) -> Result<sqlx::postgres::PgRow, sqlx::Error> {
    // Safe: constants, numbers and hexadecimal digits only.
    let sql = AssertSqlSafe(format!("/* {mark} */ {sql}"));
    sqlx::raw_sql(sql).fetch_one(connection).await
}

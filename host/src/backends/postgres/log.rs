//! What the feed follows: the log and the settings of the fleet, read on a connection of its own (F2,
//! F3, D1), and LISTEN on another (F5). Not for applying rows, nor for what a gap means: that is the feed's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions, PgRow};
use tokio::sync::{Mutex, Notify};

use super::pool::{Role, open, setup};
use super::{fault, read};
use crate::backends::{FleetSetting, LogRow, OriginError};

/// F2, and which end it came from. From one row on the left, so that a replica is known for what it
/// is when its log is empty, too; the same goes for F3.
const NEWEST: &str = "SELECT pg_is_in_recovery() AS replica, \
     (SELECT position FROM public.log_head WHERE one) AS head, c.position, c.tenant, c.subject, c.op \
     FROM (VALUES (1)) x LEFT JOIN (SELECT position, tenant, subject, op FROM public.log \
     ORDER BY position DESC LIMIT $1) c ON true ORDER BY c.position";
const SINCE: &str = "SELECT pg_is_in_recovery() AS replica, \
     (SELECT position FROM public.log_head WHERE one) AS head, c.position, c.tenant, c.subject, c.op, \
     (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now \
     FROM (VALUES (1)) x LEFT JOIN (SELECT position, tenant, subject, op FROM public.log \
     WHERE position >= $1 ORDER BY position LIMIT $2) c ON true ORDER BY c.position";

/// D1, in the same shape.
const SETTINGS: &str = "SELECT pg_is_in_recovery() AS replica, s.name, s.value, s.revision \
     FROM (VALUES (1)) x LEFT JOIN public.settings s ON true ORDER BY s.name";
/// A start reads up to 100,000 rows; it may take longer than a heartbeat, and nothing is proven
/// meanwhile.
const NEWEST_DEADLINE: Duration = Duration::from_secs(5);

const NO_LAG: u64 = u64::MAX;

/// Between two tries to LISTEN.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Silence of LISTEN after which its connection is tried.
const LISTEN_CHECK: Duration = Duration::from_secs(30);

pub struct Log {
    connect: PgConnectOptions,
    setup: String,
    /// `None`: to be opened. Taken out while in use, so that a read that was given up closes it and
    /// its late reply is never taken for another's (F3).
    connection: Mutex<Option<PgConnection>>,
    connect_deadline: Duration,
    deadline: Duration,
    listener: OnceLock<Listener>,
    /// Microseconds; `NO_LAG`: not known.
    lag: AtomicU64,
    /// The clock of the primary at the latest read, in microseconds; 0: not known.
    clock: AtomicU64,
}

impl Log {
    pub fn new(connect: PgConnectOptions, connect_deadline: Duration, deadline: Duration) -> Log {
        Log {
            setup: setup(Role::Tenant, deadline),
            connect,
            connection: Mutex::new(None),
            connect_deadline,
            deadline,
            listener: OnceLock::new(),
            lag: AtomicU64::new(NO_LAG),
            clock: AtomicU64::new(0),
        }
    }

    pub async fn newest(&self, limit: u32) -> Result<(Vec<LogRow>, bool), OriginError> {
        // On a connection of its own: the server gives up a heartbeat sooner than this.
        let mut connection = within(self.connect_deadline, async {
            let opened = open(&self.connect, &setup(Role::Tenant, NEWEST_DEADLINE)).await;
            opened.map_err(|error| fault::of_origin(&error))
        })
        .await?;
        let rows = within(NEWEST_DEADLINE, async {
            let query = sqlx::query(NEWEST).bind(i64::from(limit) + 1);
            let rows = query.fetch_all(&mut connection).await;
            rows.map_err(|error| fault::of_origin(&error))
        })
        .await?;
        read::refuse_replica(&rows)?;
        let mut rows = seen(&rows, 0)?;
        let all = rows.len() <= limit as usize;
        if !all {
            rows.remove(0);
        }
        let whole = all && !rows.iter().any(LogRow::records_a_prune);
        Ok((rows, whole))
    }

    pub async fn since(&self, from: u64, limit: u32) -> Result<Vec<LogRow>, OriginError> {
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        let arguments = vec![from, i64::from(limit)];
        let rows = self.fetch(SINCE, arguments, self.deadline).await?;
        let of_origin = |error| fault::of_origin(&error);
        let found = seen(&rows, from)?;
        if let Some(row) = rows.first() {
            let now = read::number(row, "now").map_err(of_origin)?;
            self.clock.store(now, Ordering::Relaxed);
            // The row of the watermark itself is no news.
            if let Some(newest) = found.last().filter(|_| found.len() > 1) {
                let lag = now.saturating_sub(newest.position);
                self.lag.store(lag, Ordering::Relaxed);
            }
        }
        Ok(found)
    }

    pub fn clock(&self) -> Option<u64> {
        let clock = self.clock.load(Ordering::Relaxed);
        (clock != 0).then_some(clock)
    }

    pub fn lag(&self) -> Option<Duration> {
        let lag = self.lag.load(Ordering::Relaxed);
        (lag != NO_LAG).then(|| Duration::from_micros(lag))
    }

    pub async fn settings(&self) -> Result<Vec<FleetSetting>, OriginError> {
        let rows = self.fetch(SETTINGS, Vec::new(), self.deadline).await?;
        let found = rows.iter().filter_map(|row| setting(row).transpose());
        found
            .collect::<Result<_, _>>()
            .map_err(|error| fault::of_origin(&error))
    }

    /// Within `deadline`, for which a new connection does not count: it has one of its own, or a
    /// server that is slow to connect to would never be followed again.
    async fn fetch(
        &self,
        statement: &'static str,
        arguments: Vec<i64>,
        deadline: Duration,
    ) -> Result<Vec<PgRow>, OriginError> {
        let mut slot = self.connection.lock().await;
        let query = || {
            arguments
                .iter()
                .fold(sqlx::query(statement), |query, n| query.bind(*n))
        };
        // A connection that died since its last use costs a new one, not the read: whatever the new
        // one answers is no older than the time at which the caller asked.
        let used = match slot.take() {
            Some(mut connection) => {
                let rows = async { Ok(query().fetch_all(&mut connection).await) };
                match within(deadline, rows).await? {
                    Err(error) if fault::is_broken(&error) => None,
                    rows => Some((connection, rows)),
                }
            }
            None => None,
        };
        let (connection, rows) = match used {
            Some(used) => used,
            None => {
                let mut connection = within(self.connect_deadline, async {
                    let opened = open(&self.connect, &self.setup).await;
                    opened.map_err(|error| fault::of_origin(&error))
                })
                .await?;
                let rows = async { Ok(query().fetch_all(&mut connection).await) };
                let rows = within(deadline, rows).await?;
                (connection, rows)
            }
        };
        let rows = rows.map_err(|error| fault::of_origin(&error))?;
        read::refuse_replica(&rows)?;
        *slot = Some(connection);
        Ok(rows)
    }

    pub async fn changed(&self) {
        self.listener
            .get_or_init(|| Listener::start(self.connect.clone()))
            .wake
            .notified()
            .await;
    }
}

async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, OriginError>>,
) -> Result<T, OriginError> {
    tokio::time::timeout(deadline, work)
        .await
        .unwrap_or(Err(OriginError::Late))
}

/// The rows of a read from position `from` on. A log that shows nothing from its beginning is an empty one
/// only if no position was ever given out: otherwise it is not shown to us, and proves nothing.
fn seen(rows: &[PgRow], from: i64) -> Result<Vec<LogRow>, OriginError> {
    let of_origin = |error: sqlx::Error| fault::of_origin(&error);
    let found = log_rows(rows).map_err(of_origin)?;
    if found.is_empty() && from == 0 {
        let head = rows.first().map(|row| read::number(row, "head"));
        if head.transpose().map_err(of_origin)?.unwrap_or(0) > 0 {
            return Err(OriginError::Unavailable(HIDDEN.to_owned()));
        }
    }
    Ok(found)
}

const HIDDEN: &str = "the change log cannot be seen, though it is not empty: the view public.log must belong \
     to the owner of the table public.changes";

fn log_rows(rows: &[PgRow]) -> Result<Vec<LogRow>, sqlx::Error> {
    rows.iter()
        .filter_map(|row| log_row(row).transpose())
        .collect()
}

/// `None`: the one row of an empty result.
fn log_row(row: &PgRow) -> Result<Option<LogRow>, sqlx::Error> {
    if row.try_get::<Option<i64>, _>("position")?.is_none() {
        return Ok(None);
    }
    Ok(Some(LogRow {
        position: read::number(row, "position")?,
        tenant: row.try_get("tenant")?,
        subject: row.try_get("subject")?,
        op: row.try_get("op")?,
    }))
}

/// `None`: the one row of an empty result.
fn setting(row: &PgRow) -> Result<Option<FleetSetting>, sqlx::Error> {
    let Some(name) = row.try_get::<Option<String>, _>("name")? else {
        return Ok(None);
    };
    Ok(Some(FleetSetting {
        name,
        value: row.try_get("value")?,
        revision: read::number(row, "revision")?,
    }))
}

/// A task that waits for NOTIFY; ends with the origin.
struct Listener {
    wake: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Listener {
    fn start(connect: PgConnectOptions) -> Listener {
        let wake = Arc::new(Notify::new());
        let task = tokio::spawn(listen(connect, wake.clone()));
        Listener { wake, task }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(connect: PgConnectOptions, wake: Arc<Notify>) {
    let mut pause = FIRST_PAUSE;
    loop {
        if let Err(error) = listen_once(&connect, &wake, &mut pause).await {
            tracing::debug!(error = %fault::of_origin(&error), "LISTEN ended, the feed polls on");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Until the connection is lost. Never in a transaction (F5): LISTEN is all that it ever says.
async fn listen_once(
    connect: &PgConnectOptions,
    wake: &Notify,
    pause: &mut Duration,
) -> Result<(), sqlx::Error> {
    // The listener wants a pool; it is one connection and dies with it.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .acquire_timeout(LONGEST_PAUSE)
        .connect_lazy_with(connect.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen("ordain").await?;
    *pause = FIRST_PAUSE;
    // What happened while nobody listened.
    wake.notify_one();
    loop {
        match tokio::time::timeout(LISTEN_CHECK, listener.try_recv()).await {
            Ok(Ok(Some(_))) => wake.notify_one(),
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            // Silence may be a connection that died unnoticed: a word on it finds out.
            Err(_) => tokio::time::timeout(LONGEST_PAUSE, listener.listen("ordain"))
                .await
                .unwrap_or(Err(sqlx::Error::PoolTimedOut))?,
        }
    }
}

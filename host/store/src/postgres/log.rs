//! What the feed follows: the log and the settings of the fleet, read on a connection of its own
//! (F2, F3, D1); LISTEN is `listen.rs`. Not for applying rows, nor for what a gap means: that is
//! the feed's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::sync::Mutex;

use super::fault;
use super::link::{Link, Role};
use super::listen::Listener;
use super::rows::{number, trusted};
use super::servers::Servers;
use super::slots::{self, Slots};
use crate::{FleetSetting, LogRow, OriginError};

/// F2, and which end it came from. From one row on the left, so that a replica is known for what it
/// is when its log is empty, too; the same goes for F3.
const NEWEST: &str = "SELECT pg_is_in_recovery() AS replica, current_user AS acts_as, \
     (SELECT position FROM {schema}.log_head WHERE one) AS head, c.position, c.tenant, c.subject, c.op \
     FROM (VALUES (1)) x LEFT JOIN (SELECT position, tenant, subject, op FROM {schema}.log \
     ORDER BY position DESC LIMIT $1) c ON true ORDER BY c.position";
const SINCE: &str = "SELECT pg_is_in_recovery() AS replica, current_user AS acts_as, \
     (SELECT position FROM {schema}.log_head WHERE one) AS head, c.position, c.tenant, c.subject, c.op, \
     (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now \
     FROM (VALUES (1)) x LEFT JOIN (SELECT position, tenant, subject, op FROM {schema}.log \
     WHERE position >= $1 ORDER BY position LIMIT $2) c ON true ORDER BY c.position";

/// D1, in the same shape.
const SETTINGS: &str = "SELECT pg_is_in_recovery() AS replica, current_user AS acts_as, s.name, s.value, s.revision \
     FROM (VALUES (1)) x LEFT JOIN {schema}.settings s ON true ORDER BY s.name";
/// A start reads up to 100,000 rows; it may take longer than a heartbeat, and nothing is proven
/// meanwhile.
const NEWEST_DEADLINE: Duration = Duration::from_secs(5);

const NO_LAG: u64 = u64::MAX;

pub struct Log {
    servers: Arc<Servers>,
    slots: Arc<Slots>,
    /// `None`: to be opened. Taken out while in use, so that a read that was given up closes it and
    /// its late reply is never taken for another's (F3).
    connection: Mutex<Option<Link>>,
    connect_deadline: Duration,
    deadline: Duration,
    listener: OnceLock<Listener>,
    /// Microseconds; `NO_LAG`: not known.
    lag: AtomicU64,
    /// The clock of the primary at the latest read, in microseconds; 0: not known.
    clock: AtomicU64,
}

impl Log {
    pub fn new(
        (servers, slots): (Arc<Servers>, Arc<Slots>),
        connect_deadline: Duration,
        deadline: Duration,
    ) -> Log {
        Log {
            servers,
            slots,
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
        let mut link = self.open(NEWEST_DEADLINE).await?;
        let rows = within(NEWEST_DEADLINE, async {
            let query = self.servers.schema.query(NEWEST);
            let query = query.bind(i64::from(limit) + 1);
            let rows = link.fetch(query).await;
            rows.map_err(|error| fault::of_origin(&error))
        })
        .await?;
        trusted(&rows, Role::Tenant)?;
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
            let now = number(row, "now").map_err(of_origin)?;
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
                .fold(self.servers.schema.query(statement), |query, n| {
                    query.bind(*n)
                })
        };
        // A connection that died since its last use costs a new one, not the read: whatever the new
        // one answers is no older than the time at which the caller asked.
        let used = match slot.take() {
            Some(mut link) => {
                let rows = async { Ok(link.fetch(query()).await) };
                match within(deadline, rows).await? {
                    Err(error) if fault::is_broken(&error) => None,
                    rows => Some((link, rows)),
                }
            }
            None => None,
        };
        let (link, rows) = match used {
            Some(used) => used,
            None => {
                let mut link = self.open(self.deadline).await?;
                let rows = async { Ok(link.fetch(query()).await) };
                let rows = within(deadline, rows).await?;
                (link, rows)
            }
        };
        let rows = rows.map_err(|error| fault::of_origin(&error))?;
        trusted(&rows, Role::Tenant)?;
        *slot = Some(link);
        Ok(rows)
    }

    async fn open(&self, statement: Duration) -> Result<Link, OriginError> {
        let limit = self.connect_deadline;
        let connect = || self.servers.connect(Some(Role::Tenant), statement, limit);
        let opened = slots::wait_for(&self.slots, connect);
        within(limit, async { opened.await.map_err(fault::of_connect) }).await
    }

    pub async fn changed(&self) {
        self.listener
            .get_or_init(|| Listener::start(self.servers.clone()))
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

/// The rows of a read from position `from` on. A log that shows nothing from its beginning is an
/// empty one only if no position was ever given out: otherwise it is not shown to us, and proves
/// nothing.
fn seen(rows: &[PgRow], from: i64) -> Result<Vec<LogRow>, OriginError> {
    let of_origin = |error: sqlx::Error| fault::of_origin(&error);
    let found = log_rows(rows).map_err(of_origin)?;
    if found.is_empty() && from == 0 {
        let head = rows.first().map(|row| number(row, "head"));
        if head.transpose().map_err(of_origin)?.unwrap_or(0) > 0 {
            return Err(OriginError::Unavailable(HIDDEN.to_owned()));
        }
    }
    Ok(found)
}

const HIDDEN: &str = "the change log cannot be seen, though it is not empty: the view `log` must belong to the \
     owner of the table `changes`";

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
        position: number(row, "position")?,
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
        revision: number(row, "revision")?,
    }))
}

//! Reads of the origin: each is one statement on the primary, hence one snapshot that holds the
//! head of the log too (rule O5).

use std::sync::Arc;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::{PgArguments, PgRow};

use super::fault;
use super::pool::Pool;
use crate::backends::{Audit, HistoryEntry, OriginError, Page, Record, Snapshot, TenantEntry};
use crate::ids::{Key, POLICY, Tenant};

/// O5 as printed.
const ONE: &str = "SELECT pg_is_in_recovery() AS replica, \
     coalesce((SELECT max(position) FROM public.changes), 0) AS as_of, p.body, p.revision \
     FROM (VALUES (1)) x LEFT JOIN public.policies p ON p.tenant = $1";

/// O5 for several keys; NULL where a key is of a subject that the origin does not have.
const MANY: &str = "SELECT pg_is_in_recovery() AS replica, \
     coalesce((SELECT max(position) FROM public.changes), 0) AS as_of, p.body, p.revision \
     FROM (VALUES (1)) x LEFT JOIN unnest($1::text[]) WITH ORDINALITY k(tenant, n) ON true \
     LEFT JOIN public.policies p ON p.tenant = k.tenant ORDER BY k.n";

const TENANTS: &str = "SELECT pg_is_in_recovery() AS replica, \
     coalesce((SELECT max(position) FROM public.changes), 0) AS as_of, p.tenant, p.revision \
     FROM (VALUES (1)) x LEFT JOIN (SELECT tenant, revision FROM public.policies \
     WHERE tenant > $1 ORDER BY tenant LIMIT $2) p ON true ORDER BY p.tenant";

const HISTORY: &str = "SELECT pg_is_in_recovery() AS replica, \
     coalesce((SELECT max(position) FROM public.changes), 0) AS as_of, \
     c.position, c.op, c.body, c.actor, c.request_id, c.reason, \
     to_char(c.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS at \
     FROM (VALUES (1)) x LEFT JOIN (SELECT * FROM public.changes \
     WHERE tenant = $1 AND subject = 'policy' AND position < $2 \
     ORDER BY position DESC LIMIT $3) c ON true ORDER BY c.position DESC";

pub async fn records(pool: &Pool, keys: &[Key]) -> Result<Snapshot, OriginError> {
    let tenants: Vec<Option<&str>> = keys
        .iter()
        .map(|key| match &key.tenant {
            Some(tenant) if &*key.subject == POLICY => Some(tenant.as_str()),
            _ => None,
        })
        .collect();
    let rows = match tenants.as_slice() {
        [one] => rows(pool, ONE, || bind(PgArguments::default(), one)).await?,
        many => rows(pool, MANY, || bind(PgArguments::default(), many)).await?,
    };
    let records = rows
        .iter()
        .take(keys.len())
        .map(record)
        .collect::<Result<_, _>>();
    Ok(Snapshot {
        as_of: as_of(&rows)?,
        records: records.map_err(|e| fault::of_origin(&e))?,
    })
}

/// O5, with what is newer than `$2`. Both times are of the primary's clock (K1).
const AUDIT: &str = "SELECT pg_is_in_recovery() AS replica, \
     coalesce((SELECT max(position) FROM public.changes), 0) AS as_of, p.body, p.revision, \
     $2 = 0 OR EXISTS (SELECT FROM public.changes WHERE position = $2) AS known, c.position AS newer, \
     (extract(epoch FROM clock_timestamp() - c.at) * 1000000)::bigint AS newer_for \
     FROM (VALUES (1)) x LEFT JOIN public.policies p ON p.tenant = $1 \
     LEFT JOIN (SELECT position, at FROM public.changes WHERE tenant = $1 AND subject = 'policy' \
     AND position > $2 ORDER BY position LIMIT 1) c ON true";

pub async fn audit(pool: &Pool, key: &Key, after: u64) -> Result<Audit, OriginError> {
    let tenant = key.tenant.as_ref().filter(|_| &*key.subject == POLICY);
    let tenant = tenant.map(Tenant::as_str);
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let arguments = || bind(bind(PgArguments::default(), tenant), after);
    let rows = rows(pool, AUDIT, arguments).await?;
    let read = |row: &PgRow| {
        let newer: Option<i64> = row.try_get("newer")?;
        let age: Option<i64> = row.try_get("newer_for")?;
        let age = age.map(|micros| Duration::from_micros(micros.max(0).unsigned_abs()));
        Ok(Audit {
            as_of: number(row, "as_of")?,
            record: record(row)?,
            known: row.try_get("known")?,
            newer: newer.map(i64::unsigned_abs).zip(age),
        })
    };
    let row = rows.first().ok_or(sqlx::Error::RowNotFound);
    row.and_then(read).map_err(|error| fault::of_origin(&error))
}

/// F5.
const QUEUE: &str = "SELECT pg_is_in_recovery() AS replica, pg_notification_queue_usage() AS usage";

pub async fn notification_queue(pool: &Pool) -> Result<f64, OriginError> {
    let rows = rows(pool, QUEUE, PgArguments::default).await?;
    let usage = rows.first().ok_or(sqlx::Error::RowNotFound);
    usage
        .and_then(|row| row.try_get("usage"))
        .map_err(|error| fault::of_origin(&error))
}

pub async fn tenants(
    pool: &Pool,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<TenantEntry>, OriginError> {
    // Postgres has no U+0000 in texts. No id holds one either, so what follows it decides nothing.
    let after = after.unwrap_or("").split('\0').next().unwrap_or("");
    let arguments = || bind(bind(PgArguments::default(), after), i64::from(limit) + 1);
    page(
        rows(pool, TENANTS, arguments).await?,
        limit,
        "tenant",
        |row| {
            Ok(TenantEntry {
                tenant: row.try_get("tenant")?,
                revision: number(row, "revision")?,
            })
        },
    )
}

pub async fn history(
    pool: &Pool,
    tenant: &Tenant,
    before: Option<u64>,
    limit: u32,
) -> Result<Page<HistoryEntry>, OriginError> {
    let before = before
        .and_then(|before| i64::try_from(before).ok())
        .unwrap_or(i64::MAX);
    let arguments = || {
        let arguments = bind(bind(PgArguments::default(), tenant.as_str()), before);
        bind(arguments, i64::from(limit) + 1)
    };
    page(
        rows(pool, HISTORY, arguments).await?,
        limit,
        "position",
        |row| {
            Ok(HistoryEntry {
                revision: number(row, "position")?,
                at: row.try_get("at")?,
                actor: row.try_get("actor")?,
                op: row.try_get("op")?,
                body: row.try_get("body")?,
                request_id: row.try_get("request_id")?,
                reason: row.try_get("reason")?,
            })
        },
    )
}

/// Runs a statement whose first column is `replica`, within the deadline. A pooled connection
/// that turns out dead costs another one, not the read. A connection that failed is closed.
async fn rows(
    pool: &Pool,
    statement: &'static str,
    arguments: impl Fn() -> PgArguments + Send + Sync,
) -> Result<Vec<PgRow>, OriginError> {
    let work = async {
        let mut tries = 0;
        loop {
            let mut lease = pool
                .lease()
                .await
                .map_err(|error| fault::of_origin(&error))?;
            let query = sqlx::query_with(statement, arguments());
            match query.fetch_all(&mut lease.connection).await {
                Ok(rows) => {
                    refuse_replica(&rows)?;
                    lease.give_back();
                    return Ok(rows);
                }
                Err(error)
                    if lease.reused && fault::is_broken(&error) && tries < pool.most_broken() =>
                {
                    tries += 1;
                }
                Err(error) => {
                    // The server answered properly and is idle again: no need for a new connection.
                    if fault::is_answer(&error) && !fault::is_broken(&error) {
                        lease.give_back();
                    }
                    return Err(fault::of_origin(&error));
                }
            }
        }
    };
    tokio::time::timeout(pool.deadline, work)
        .await
        .unwrap_or(Err(OriginError::Late))
}

/// O5, F3: what a replica says is discarded, and the connection to it closed (by not being given
/// back). No row, no answer.
pub fn refuse_replica(rows: &[PgRow]) -> Result<(), OriginError> {
    match rows.first().map(|row| row.try_get::<bool, _>("replica")) {
        Some(Ok(false)) => Ok(()),
        Some(Ok(true)) => Err(OriginError::Unavailable(
            "this is a replica, the primary is needed (rule O5)".to_owned(),
        )),
        _ => Err(OriginError::Unavailable(
            "an answer without rows".to_owned(),
        )),
    }
}

fn bind<'q, T>(mut arguments: PgArguments, value: T) -> PgArguments
where
    T: sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    use sqlx::Arguments as _;
    if let Err(error) = arguments.add(value) {
        // Only for values beyond the protocol's 2 GiB; the statement then lacks an argument and
        // the server refuses it.
        tracing::error!(%error, "an argument cannot be sent");
    }
    arguments
}

fn record(row: &PgRow) -> Result<Option<Record>, sqlx::Error> {
    let Some(body) = row.try_get::<Option<&str>, _>("body")? else {
        return Ok(None);
    };
    Ok(Some(Record {
        body: Arc::from(body),
        revision: number(row, "revision")?,
    }))
}

fn as_of(rows: &[PgRow]) -> Result<u64, OriginError> {
    let first = rows.first().ok_or(sqlx::Error::RowNotFound);
    first
        .and_then(|row| number(row, "as_of"))
        .map_err(|error| fault::of_origin(&error))
}

/// A position or revision; the schema has no negative ones.
pub fn number(row: &PgRow, column: &str) -> Result<u64, sqlx::Error> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Rows of a listing that was asked for one item more than the page holds; the one row of an empty
/// listing has NULL in `key`.
fn page<T>(
    rows: Vec<PgRow>,
    limit: u32,
    key: &str,
    item: impl Fn(&PgRow) -> Result<T, sqlx::Error>,
) -> Result<Page<T>, OriginError> {
    let as_of = as_of(&rows)?;
    let is_item = |row: &&PgRow| row.try_get_raw(key).is_ok_and(|value| !is_null(&value));
    let items = rows.iter().filter(is_item).take(limit as usize).map(item);
    let items = items
        .collect::<Result<_, _>>()
        .map_err(|error| fault::of_origin(&error))?;
    Ok(Page {
        items,
        more: rows.len() > limit as usize && limit > 0,
        as_of,
    })
}

fn is_null(value: &sqlx::postgres::PgValueRef<'_>) -> bool {
    use sqlx::ValueRef as _;
    value.is_null()
}

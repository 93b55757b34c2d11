//! Lists of the origin, page by page: tenants, policies, levels of config, histories. Each page is
//! bounded in rows and in bytes. Not for reads of single records (`read.rs`).

use std::sync::Arc;

use sqlx::Row;
use sqlx::postgres::{PgArguments, PgRow};

use super::pool::Pool;
use super::rows::{as_of, bind, for_tenant, id, number, rows, snapshot};
use super::{Postgres, fault};
use crate::ids::Key;
use crate::{HistoryEntry, LevelPlace, OriginError, PAGE_BYTES, Page, TenantEntry};

/// One page: of `$rows`, which are one more than it may have, as many from the first on as have
/// `$most` bytes together, and the first in any case. Those left out are counted (`found`) but
/// never read: the length of a long text is known without it.
macro_rules! page {
    ($rows:expr, $bytes:literal, $order:literal, $limit:literal, $most:literal) => {
        concat!(
            "SELECT * FROM (SELECT w.*, count(*) OVER () AS found, row_number() OVER (ORDER BY ",
            $order,
            ") AS n, sum(",
            $bytes,
            ") OVER (ORDER BY ",
            $order,
            ") AS bytes FROM (",
            $rows,
            " LIMIT ",
            $limit,
            ") w) v WHERE n < ",
            $limit,
            " AND (n = 1 OR bytes <= ",
            $most,
            ")"
        )
    };
}

macro_rules! tenants {
    ($columns:literal, $bytes:literal) => {
        concat!(
            snapshot!(),
            ", p.* FROM (VALUES (1)) x LEFT JOIN (",
            page!(
                concat!(
                    "SELECT tenant, revision",
                    $columns,
                    " FROM {schema}.policies WHERE tenant > $1 ORDER BY tenant"
                ),
                $bytes,
                "tenant",
                "$2",
                "$3"
            ),
            ") p ON true ORDER BY p.tenant"
        )
    };
}
const TENANTS: &str = tenants!("", "octet_length(tenant)");
const POLICIES: &str = tenants!(", body", "octet_length(tenant) + octet_length(body)");

macro_rules! levels {
    ($after:literal) => {
        concat!(
            snapshot!(),
            ", coalesce(c.tenant, '') AS tenant, coalesce(c.user_id, '') AS user_id, c.body, c.found \
             FROM (VALUES (1)) x LEFT JOIN (",
            page!(
                concat!(
                    "SELECT tenant, user_id, body FROM {schema}.configs WHERE ",
                    $after,
                    " ORDER BY tenant NULLS FIRST, user_id NULLS FIRST"
                ),
                "coalesce(octet_length(tenant), 0) + coalesce(octet_length(user_id), 0) \
                 + octet_length(body)",
                "tenant NULLS FIRST, user_id NULLS FIRST",
                "$1",
                "$2"
            ),
            ") c ON true ORDER BY c.tenant NULLS FIRST, c.user_id NULLS FIRST"
        )
    };
}
const FIRST_LEVELS: &str = levels!("true");
const LEVELS: &str = levels!("tenant >= $3 AND (tenant > $3 OR user_id > $4)");

macro_rules! history {
    ($owner:literal) => {
        concat!(
            snapshot!(),
            ", c.position, c.op, c.body, c.actor, c.request_id, c.reason, \
             to_char(c.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS at",
            ", c.found",
            for_tenant!(),
            "LEFT JOIN LATERAL (",
            page!(
                concat!(
                    "SELECT * FROM {schema}.changes WHERE ",
                    $owner,
                    " AND subject = $2 AND position < $3 ORDER BY position DESC"
                ),
                "coalesce(octet_length(body), 0) + coalesce(octet_length(reason), 0) \
                 + coalesce(octet_length(request_id), 0) + octet_length(actor) + 100",
                "position DESC",
                "$4",
                "$5"
            ),
            ") c ON true ORDER BY c.position DESC"
        )
    };
}
const HISTORY: &str = history!("tenant = t.tenant");
const FLEET_HISTORY: &str = history!("tenant IS NULL AND t.tenant = ''");

impl Postgres {
    pub(super) async fn history_of(
        &self,
        key: &Key,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page<HistoryEntry>, OriginError> {
        let before = before
            .and_then(|before| i64::try_from(before).ok())
            .unwrap_or(i64::MAX);
        let tenant = key.tenant.as_ref();
        let arguments = || {
            let arguments = bind(bind(PgArguments::default(), id(tenant)), &*key.subject);
            paged(bind(arguments, before), limit)
        };
        let statement = tenant.map_or(FLEET_HISTORY, |_| HISTORY);
        let rows = rows(self.pool_of(tenant), statement, arguments).await?;
        page(rows, "position", |row| {
            Ok(HistoryEntry {
                revision: number(row, "position")?,
                at: row.try_get("at")?,
                actor: row.try_get("actor")?,
                op: row.try_get("op")?,
                body: row.try_get("body")?,
                request_id: row.try_get("request_id")?,
                reason: row.try_get("reason")?,
            })
        })
    }
}

pub async fn tenants(
    pool: &Pool,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<TenantEntry>, OriginError> {
    let rows = rows(pool, TENANTS, || listed(after, limit)).await?;
    page(rows, "tenant", tenant)
}

pub async fn policies(
    pool: &Pool,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<(TenantEntry, Arc<str>)>, OriginError> {
    let rows = rows(pool, POLICIES, || listed(after, limit)).await?;
    page(rows, "tenant", |row| {
        let body: &str = row.try_get("body")?;
        Ok((tenant(row)?, body.into()))
    })
}

pub async fn levels(
    pool: &Pool,
    after: Option<&LevelPlace>,
    limit: u32,
) -> Result<Page<(LevelPlace, Arc<str>)>, OriginError> {
    let arguments = || {
        let arguments = paged(PgArguments::default(), limit);
        match after {
            None => arguments,
            Some(after) => bind(bind(arguments, &*after.tenant), &*after.user),
        }
    };
    let statement = after.map_or(FIRST_LEVELS, |_| LEVELS);
    page(rows(pool, statement, arguments).await?, "body", |row| {
        let body: &str = row.try_get("body")?;
        let place = LevelPlace {
            tenant: row.try_get("tenant")?,
            user: row.try_get("user_id")?,
        };
        Ok((place, body.into()))
    })
}

fn listed(after: Option<&str>, limit: u32) -> PgArguments {
    // Postgres has no U+0000 in texts. No id holds one either, so what follows it decides nothing.
    let after = after.unwrap_or("").split('\0').next().unwrap_or("");
    paged(bind(PgArguments::default(), after), limit)
}

/// The last two arguments of a page.
fn paged(arguments: PgArguments, limit: u32) -> PgArguments {
    let arguments = bind(arguments, i64::from(limit) + 1);
    bind(arguments, i64::try_from(PAGE_BYTES).unwrap_or(i64::MAX))
}

fn tenant(row: &PgRow) -> Result<TenantEntry, sqlx::Error> {
    Ok(TenantEntry {
        tenant: row.try_get("tenant")?,
        revision: number(row, "revision")?,
    })
}

/// Rows of a page; the one row of an empty listing has NULL in `key`.
fn page<T>(
    rows: Vec<PgRow>,
    key: &str,
    item: impl Fn(&PgRow) -> Result<T, sqlx::Error>,
) -> Result<Page<T>, OriginError> {
    let as_of = as_of(&rows)?;
    let of_origin = |error: sqlx::Error| fault::of_origin(&error);
    let found = rows
        .first()
        .map(|row| row.try_get::<Option<i64>, _>("found"));
    let found = found.transpose().map_err(of_origin)?.flatten().unwrap_or(0);
    let is_item = |row: &&PgRow| row.try_get_raw(key).is_ok_and(|value| !is_null(&value));
    let items = rows.iter().filter(is_item).map(item);
    let items: Vec<T> = items.collect::<Result<_, _>>().map_err(of_origin)?;
    Ok(Page {
        more: usize::try_from(found).is_ok_and(|found| found > items.len()),
        items,
        as_of,
    })
}

fn is_null(value: &sqlx::postgres::PgValueRef<'_>) -> bool {
    use sqlx::ValueRef as _;
    value.is_null()
}

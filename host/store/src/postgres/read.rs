//! Reads of the origin: each is one statement on the primary, hence one snapshot that holds the
//! head of the log too (rule O5), and one transaction, in which it says whose rows it may see.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::{PgArguments, PgRow};

use super::pool::Pool;
use super::rows::{as_of, bind, for_tenant, id, number, rows, snapshot};
use super::{Postgres, fault};
use crate::ids::{Key, RecordName, Tenant};
use crate::{Audit, MIXED, OriginError, Record, Snapshot};

/// O5 for the policy of a tenant.
const POLICY: &str = concat!(
    snapshot!(),
    ", p.body, p.revision",
    for_tenant!(),
    "LEFT JOIN LATERAL (SELECT body, revision FROM {schema}.policies WHERE tenant = t.tenant OFFSET 0) p \
     ON true"
);

/// The record that kind, scope and user of `k` name, as `r`. By plain columns: an index on
/// expressions is not used under row level security.
macro_rules! named_record {
    () => {
        "LEFT JOIN LATERAL (\
         SELECT body, revision FROM {schema}.policies WHERE k.kind = 'policy' AND tenant = t.tenant \
         UNION ALL SELECT body, revision FROM {schema}.configs WHERE k.kind = 'config' AND NOT k.fleet \
         AND tenant = t.tenant AND user_id = k.user_id \
         UNION ALL SELECT body, revision FROM {schema}.configs WHERE k.kind = 'config' AND NOT k.fleet \
         AND k.user_id = '' AND tenant = t.tenant AND user_id IS NULL \
         UNION ALL SELECT body, revision FROM {schema}.configs WHERE k.kind = 'config' AND k.fleet \
         AND k.user_id = '' AND t.tenant IS NOT NULL AND tenant IS NULL AND user_id IS NULL \
         OFFSET 0) r ON true"
    };
}

/// O5 for several keys, or for another record than a policy; NULL where a key names no record.
const NAMED: &str = concat!(
    snapshot!(),
    ", r.body, r.revision",
    for_tenant!(),
    "LEFT JOIN unnest($2::text[], $3::bool[], $4::text[]) WITH ORDINALITY k(kind, fleet, user_id, n) ON true ",
    named_record!(),
    " ORDER BY k.n"
);

/// O5, with what is newer than `$6`. Both times are of the primary's clock (K1).
macro_rules! audit {
    ($owner:literal) => {
        concat!(
            snapshot!(),
            ", r.body, r.revision, \
             $6 = 0 OR EXISTS (SELECT FROM {schema}.log WHERE position = $6) AS known, c.position AS newer, \
             (extract(epoch FROM clock_timestamp() - c.at) * 1000000)::bigint AS newer_for",
            for_tenant!(),
            "CROSS JOIN (SELECT $2::text AS kind, $3::bool AS fleet, $4::text AS user_id) k ",
            named_record!(),
            " LEFT JOIN LATERAL (SELECT position, at FROM {schema}.log WHERE ",
            $owner,
            " AND subject = $5 AND position > $6 ORDER BY position LIMIT 1) c ON true"
        )
    };
}
const AUDIT: &str = audit!("tenant = t.tenant");
const FLEET_AUDIT: &str = audit!("tenant IS NULL AND t.tenant = ''");

/// What a key names, in the columns of `k`: kind ('': nothing), fleet, user.
fn named(key: &Key) -> (&'static str, bool, &str) {
    let fleet = key.tenant.is_none();
    match key.record() {
        Some(RecordName::Policy) => ("policy", fleet, ""),
        Some(RecordName::Config(user)) => ("config", fleet, user.unwrap_or("")),
        None => ("", fleet, ""),
    }
}

impl Postgres {
    /// Where the work of a tenant is done, or that of the fleet.
    pub(super) fn pool_of(&self, tenant: Option<&Tenant>) -> &Pool {
        match tenant {
            Some(_) => &self.pool,
            None => &self.fleet_pool,
        }
    }

    pub(super) async fn records(&self, keys: &[Key]) -> Result<Snapshot, OriginError> {
        let tenant = one_tenant(keys)?;
        let pool = self.pool_of(tenant);
        let arguments = || bind(PgArguments::default(), id(tenant));
        let rows = match keys.iter().map(Key::record).collect::<Vec<_>>()[..] {
            [Some(RecordName::Policy)] => rows(pool, POLICY, arguments).await?,
            _ => {
                let named: Vec<_> = keys.iter().map(named).collect();
                let kinds: Vec<&str> = named.iter().map(|(kind, ..)| *kind).collect();
                let fleet: Vec<bool> = named.iter().map(|(_, fleet, _)| *fleet).collect();
                let users: Vec<&str> = named.iter().map(|(.., user)| *user).collect();
                let arguments = || {
                    let arguments = bind(bind(arguments(), &kinds), &fleet);
                    bind(arguments, &users)
                };
                rows(pool, NAMED, arguments).await?
            }
        };
        let records = rows.iter().take(keys.len()).map(record);
        Ok(Snapshot {
            as_of: as_of(&rows)?,
            records: records
                .collect::<Result<_, _>>()
                .map_err(|e| fault::of_origin(&e))?,
        })
    }

    /// The first column, as text (NULL: empty), of a statement on a connection of the pool for
    /// tenants, in the work of `tenant`: for tests of what the database itself keeps apart.
    #[cfg(feature = "contract")]
    pub async fn seen_in_pool(
        &self,
        tenant: Option<&str>,
        statement: &'static str,
    ) -> Result<Vec<String>, String> {
        let shown = |error: sqlx::Error| error.to_string();
        let mut lease = self.pool.lease().await.map_err(|error| error.to_string())?;
        let begin = "SELECT set_config('ordain.tenant', $1, true)";
        let link = lease.link().map_err(shown)?;
        let mut work = sqlx::Connection::begin(&mut link.connection)
            .await
            .map_err(shown)?;
        if let Some(tenant) = tenant {
            let begin = sqlx::query(begin).bind(tenant).execute(&mut *work).await;
            begin.map_err(shown)?;
        }
        let rows = sqlx::query(statement).fetch_all(&mut *work).await;
        let rows = rows.map_err(shown)?;
        work.rollback().await.map_err(shown)?;
        lease.give_back();
        let text = |row: &PgRow| row.try_get_unchecked::<Option<String>, _>(0).map_err(shown);
        rows.iter()
            .map(|row| Ok(text(row)?.unwrap_or_default()))
            .collect()
    }

    pub(super) async fn audited(&self, key: &Key, after: u64) -> Result<Audit, OriginError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let tenant = key.tenant.as_ref();
        let (kind, fleet, user) = named(key);
        let arguments = || {
            let arguments = bind(bind(PgArguments::default(), id(tenant)), kind);
            let arguments = bind(bind(arguments, fleet), user);
            bind(bind(arguments, &*key.subject), after)
        };
        let statement = if fleet { FLEET_AUDIT } else { AUDIT };
        let rows = rows(self.pool_of(tenant), statement, arguments).await?;
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
}

/// The tenant whose work this is; a read is of one tenant, beside what the fleet has.
fn one_tenant(keys: &[Key]) -> Result<Option<&Tenant>, OriginError> {
    let mut tenants = keys.iter().filter_map(|key| key.tenant.as_ref());
    let first = tenants.next();
    match tenants.all(|tenant| Some(tenant) == first) {
        true => Ok(first),
        false => Err(OriginError::Unavailable(MIXED.to_owned())),
    }
}

/// F5.
const QUEUE: &str = "SELECT pg_is_in_recovery() AS replica, current_user AS acts_as, \
     pg_notification_queue_usage() AS usage";

pub async fn notification_queue(pool: &Pool) -> Result<f64, OriginError> {
    let rows = rows(pool, QUEUE, PgArguments::default).await?;
    let usage = rows.first().ok_or(sqlx::Error::RowNotFound);
    usage
        .and_then(|row| row.try_get("usage"))
        .map_err(|error| fault::of_origin(&error))
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

//! The upkeep of the log: settings of the fleet (D1), purges (F4) and prunes (F6), each a
//! transaction by the rules of O4. Not for who may ask for them, nor for how often.

use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::Postgres;
use super::write::{Done, Stop, Work, rolled_back};
use crate::backends::{Attribution, Pruned, WriteError};
use crate::ids::Tenant;

const SET: &str = "INSERT INTO public.settings (name, value) VALUES ($1, $2) \
     ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const UNSET: &str = "DELETE FROM public.settings WHERE name = $1";
const VALUE: &str = "SELECT value FROM public.settings WHERE name = $1";
const PURGE: &str = "SELECT public.log_purge($1)";
const PRUNE: &str = "SELECT pruned FROM public.log_prune(\
     timestamptz 'epoch' + $1 * interval '1 microsecond', $2, $3)";

/// Work of one transaction of a prune, in rows and in pieces of long bodies: what is deleted in
/// about 100 ms, so that it stays far from every deadline.
const PRUNE_MOST: i64 = 10_000;
/// The end of the year 9999: beyond it Postgres has no timestamps.
const LATEST_MICROS: u128 = 253_402_300_799_000_000;

/// Arguments of `log_prune`.
pub struct Prune {
    before_micros: i64,
    keep: i64,
}

impl Postgres {
    pub(super) async fn set_all(
        &self,
        changes: &[(String, Option<String>)],
        only_if: &[(String, Option<String>)],
        by: &Attribution,
    ) -> Result<Option<u64>, WriteError> {
        let work = Work::Settings { changes, only_if };
        match self.transaction(&work, by, self.deadline).await {
            Ok(committed) => Ok(Some(committed.revision)),
            Err(WriteError::Absent) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn purge_logged(
        &self,
        tenant: Option<&Tenant>,
        by: &Attribution,
    ) -> Result<u64, WriteError> {
        let work = Work::Purge(tenant);
        let committed = self.transaction(&work, by, self.deadline).await?;
        Ok(committed.revision)
    }

    pub(super) async fn prune_some(
        &self,
        before: SystemTime,
        keep: u32,
        by: &Attribution,
    ) -> Result<Pruned, WriteError> {
        let micros = before.duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = micros.as_micros().min(LATEST_MICROS);
        let work = Work::Prune(Prune {
            before_micros: i64::try_from(micros).unwrap_or(0),
            keep: i64::from(keep),
        });
        match self.transaction(&work, by, self.deadline).await {
            Ok(committed) => Ok(Pruned {
                rows: committed.done.pruned,
                revision: Some(committed.revision),
            }),
            Err(WriteError::Absent) => Ok(Pruned {
                rows: 0,
                revision: None,
            }),
            Err(error) => Err(error),
        }
    }
}

/// `Absent` if none of them changes anything. The lock of the log is held: what is compared here
/// stays so until the commit.
pub(super) async fn set(
    connection: &mut PgConnection,
    keeps: bool,
    changes: &[(String, Option<String>)],
    only_if: &[(String, Option<String>)],
) -> Result<Done, Stop> {
    for (name, expected) in only_if {
        let row = sqlx::query(VALUE).persistent(keeps).bind(name);
        let row = row.fetch_all(&mut *connection).await;
        let row = row.map_err(Stop::Before)?;
        let value = row.first().map(|row| row.try_get::<String, _>("value"));
        if value.transpose().map_err(Stop::Before)? != *expected {
            let current = None;
            return Err(rolled_back(connection, WriteError::Precondition { current }).await);
        }
    }
    let mut changed = 0;
    for (name, value) in changes {
        let query = match value {
            Some(value) => sqlx::query(SET).bind(name).bind(value),
            None => sqlx::query(UNSET).bind(name),
        };
        let done = query.persistent(keeps).execute(&mut *connection).await;
        changed += done.map_err(Stop::Before)?.rows_affected();
    }
    match changed {
        0 => Err(rolled_back(connection, WriteError::Absent).await),
        _ => Ok(Done::default()),
    }
}

pub(super) async fn log_purge(
    connection: &mut PgConnection,
    keeps: bool,
    tenant: Option<&Tenant>,
) -> Result<Done, Stop> {
    let query = sqlx::query(PURGE)
        .persistent(keeps)
        .bind(tenant.map(Tenant::as_str));
    query.fetch_one(connection).await.map_err(Stop::Before)?;
    Ok(Done::default())
}

/// `Absent` if no row is old enough. Takes the lock of the log as its last act, and the log head that
/// is read before COMMIT is then the position of the row that records the prune.
pub(super) async fn log_prune(
    connection: &mut PgConnection,
    keeps: bool,
    prune: &Prune,
) -> Result<Done, Stop> {
    let query = sqlx::query(PRUNE)
        .persistent(keeps)
        .bind(prune.before_micros)
        .bind(prune.keep)
        .bind(PRUNE_MOST);
    let row = query.fetch_one(&mut *connection).await;
    let row = row.map_err(Stop::Before)?;
    let pruned: i64 = row.try_get("pruned").map_err(Stop::Before)?;
    match u64::try_from(pruned) {
        Ok(pruned) if pruned > 0 => Ok(Done {
            pruned,
            ..Done::default()
        }),
        _ => Err(rolled_back(connection, WriteError::Absent).await),
    }
}

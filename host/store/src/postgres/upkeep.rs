//! The upkeep of the log: settings of the fleet (D1), purges (F4) and prunes (F6), each a
//! transaction by the rules of O4. Not for who may ask for them, nor for how often.

use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::Row;

use super::Postgres;
use super::work::{Stop, Terms, Transaction, Work};
use crate::ids::Tenant;
use crate::{Attribution, Pruned, WriteError};

const SET: &str = "INSERT INTO {schema}.settings (name, value) VALUES ($1, $2) \
     ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const UNSET: &str = "DELETE FROM {schema}.settings WHERE name = $1";
const VALUE: &str = "SELECT value FROM {schema}.settings WHERE name = $1";
const PURGE: &str = "SELECT {schema}.log_purge($1)";
const PRUNE: &str = "SELECT pruned FROM {schema}.log_prune(\
     timestamptz 'epoch' + $1 * interval '1 microsecond', $2, $3)";

/// Work of one transaction of a prune, in rows and in pieces of long bodies: what is deleted in
/// about 100 ms, so that it stays far from every deadline.
const PRUNE_MOST: i64 = 10_000;
/// The end of the year 9999: beyond it Postgres has no timestamps.
const LATEST_MICROS: u128 = 253_402_300_799_000_000;

impl Postgres {
    pub(super) async fn set_all(
        &self,
        changes: &[(String, Option<String>)],
        only_if: &[(String, Option<String>)],
        by: &Attribution,
    ) -> Result<Option<u64>, WriteError> {
        let work = Set { changes, only_if };
        match self.transaction(self.upkeep(by), &work).await {
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
        let work = Purge(tenant);
        let committed = self.transaction(self.upkeep(by), &work).await?;
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
        let work = Prune {
            before_micros: i64::try_from(micros).unwrap_or(0),
            keep: i64::from(keep),
        };
        match self.transaction(self.upkeep(by), &work).await {
            Ok(committed) => Ok(Pruned {
                rows: committed.done,
                revision: Some(committed.revision),
            }),
            Err(WriteError::Absent) => Ok(Pruned {
                rows: 0,
                revision: None,
            }),
            Err(error) => Err(error),
        }
    }

    /// It is the fleet's, whatever tenant it concerns.
    fn upkeep<'a>(&self, by: &'a Attribution) -> Terms<'a> {
        Terms {
            tenant: None,
            by,
            deadline: self.deadline,
        }
    }
}

struct Set<'a> {
    changes: &'a [(String, Option<String>)],
    only_if: &'a [(String, Option<String>)],
}

impl Work for Set<'_> {
    type Done = ();

    /// `Absent` if none of them changes anything. The lock of the log is held: what is compared
    /// here stays so until the commit.
    async fn run(&self, transaction: &mut Transaction<'_>) -> Result<(), Stop> {
        let schema = transaction.schema;
        for (name, expected) in self.only_if {
            let row = transaction.fetch(schema.query(VALUE).bind(name)).await?;
            let value = row.first().map(|row| row.try_get::<String, _>("value"));
            if value.transpose()? != *expected {
                let current = None;
                let failed = WriteError::Precondition { current };
                return Err(transaction.roll_back(failed).await);
            }
        }
        let mut changed = 0;
        for (name, value) in self.changes {
            let query = match value {
                Some(value) => schema.query(SET).bind(name).bind(value),
                None => schema.query(UNSET).bind(name),
            };
            changed += transaction.execute(query).await?;
        }
        match changed {
            0 => Err(transaction.roll_back(WriteError::Absent).await),
            _ => Ok(()),
        }
    }
}

/// Of one tenant; `None`: of all.
struct Purge<'a>(Option<&'a Tenant>);

impl Work for Purge<'_> {
    type Done = ();

    async fn run(&self, transaction: &mut Transaction<'_>) -> Result<(), Stop> {
        let purge = transaction.schema.query(PURGE);
        let purge = purge.bind(self.0.map(Tenant::as_str));
        transaction.fetch(purge).await?;
        Ok(())
    }
}

/// Arguments of `log_prune`.
struct Prune {
    before_micros: i64,
    keep: i64,
}

impl Work for Prune {
    /// Rows that were deleted from the log.
    type Done = u64;
    /// It deletes before it takes the lock of the log, or it would stop all writes. It takes it as
    /// its last act, and the head that is read before COMMIT is then the position of the row that
    /// records the prune.
    const LOCKS_FIRST: bool = false;

    /// `Absent` if no row is old enough.
    async fn run(&self, transaction: &mut Transaction<'_>) -> Result<u64, Stop> {
        let prune = transaction
            .schema
            .query(PRUNE)
            .bind(self.before_micros)
            .bind(self.keep)
            .bind(PRUNE_MOST);
        let rows = transaction.fetch(prune).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        match u64::try_from(row.try_get::<i64, _>("pruned")?) {
            Ok(pruned) if pruned > 0 => Ok(pruned),
            _ => Err(transaction.roll_back(WriteError::Absent).await),
        }
    }
}

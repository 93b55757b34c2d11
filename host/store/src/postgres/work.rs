//! The work that a transaction is given: on what terms, what it may do, and how it may end. Not for
//! how a transaction begins and commits (`transaction.rs`).

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;

use super::schema_name::SchemaName;
use crate::ids::Tenant;
use crate::{Attribution, WriteError};

/// What is done in a transaction. No closure: of a future of one that borrows, the compiler cannot
/// tell that it may be sent to another thread.
pub trait Work: Sync {
    type Done: Send;
    /// Whether the lock of the log is taken before the work. If not, the work takes it.
    const LOCKS_FIRST: bool = true;

    /// May be called several times, each time in another transaction: those before have changed
    /// nothing.
    fn run(
        &self,
        transaction: &mut Transaction<'_>,
    ) -> impl Future<Output = Result<Self::Done, Stop>> + Send;
}

/// Whose work it is, who asked for it, and until when it is done.
pub struct Terms<'a> {
    /// `None`: the fleet's, or of many tenants.
    pub tenant: Option<&'a Tenant>,
    pub by: &'a Attribution,
    pub deadline: Duration,
}

/// A transaction that was committed.
pub struct Committed<T> {
    /// Position of the row that was logged last.
    pub revision: u64,
    /// What the work has said.
    pub done: T,
}

/// Why a transaction ended without a commit.
pub enum Stop {
    /// The lock of the log was not free in time: nothing was written.
    Locked,
    /// Of the statements before COMMIT: nothing was written.
    Before(sqlx::Error),
    /// Sent COMMIT, got this.
    Commit(sqlx::Error),
    /// Rolled back by decision.
    Decided(WriteError),
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Stop {
        Stop::Before(error)
    }
}

/// A transaction that has begun, for the work in it.
pub struct Transaction<'a> {
    pub connection: &'a mut PgConnection,
    pub schema: &'a SchemaName,
    /// Whether statements may be kept for later ones.
    pub keeps: bool,
}

impl Transaction<'_> {
    pub async fn fetch(
        &mut self,
        query: Query<'_, sqlx::Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let query = query.persistent(self.keeps);
        query.fetch_all(&mut *self.connection).await
    }

    /// How many rows it concerned.
    pub async fn execute(
        &mut self,
        query: Query<'_, sqlx::Postgres, PgArguments>,
    ) -> Result<u64, sqlx::Error> {
        let query = query.persistent(self.keeps);
        let done = query.execute(&mut *self.connection).await?;
        Ok(done.rows_affected())
    }

    /// Ends it: there is nothing to commit. The connection stays good.
    pub async fn roll_back(&mut self, why: WriteError) -> Stop {
        match sqlx::raw_sql("ROLLBACK")
            .execute(&mut *self.connection)
            .await
        {
            Ok(_) => Stop::Decided(why),
            Err(error) => Stop::Before(error),
        }
    }
}

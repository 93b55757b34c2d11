//! What all reads of the origin have in common: how a statement begins, how it is run on a
//! connection of a pool, and whether its rows are to be believed (rules O5 and F3). Not for what is
//! read (`read`, `lists`, `log`).

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{AssertSqlSafe, Row};

use super::fault;
use super::link::Role;
use super::pool::Pool;
use super::servers::IS_REPLICA;
use crate::OriginError;
use crate::ids::Tenant;

/// What every read says of its snapshot, and as whom it was made. The head is that of the whole
/// log, whoever reads.
macro_rules! snapshot {
    () => {
        "SELECT pg_is_in_recovery() AS replica, current_user AS acts_as, \
         coalesce((SELECT max(position) FROM {schema}.log), 0) AS as_of"
    };
}

/// Begins the work of the tenant `$1` ('': of the fleet) and shows its id as `t.tenant`.
///
/// Row level security looks at `ordain.tenant` when a table is read, so it must be set by then.
/// What follows therefore reads tables only in LATERAL subqueries that need `t.tenant` and that
/// OFFSET or LIMIT keep the planner from taking apart: they cannot run before there is one.
macro_rules! for_tenant {
    () => {
        " FROM (SELECT set_config('ordain.tenant', $1, true) AS tenant OFFSET 0) t "
    };
}

pub(super) use {for_tenant, snapshot};

/// `$1` of [`for_tenant`].
pub fn id(tenant: Option<&Tenant>) -> &str {
    tenant.map_or("", Tenant::as_str)
}

/// Runs a statement whose first column is `replica`, within the deadline. A pooled connection
/// that turns out dead costs another one, not the read. A connection that failed is closed.
pub async fn rows(
    pool: &Pool,
    statement: &'static str,
    arguments: impl Fn() -> PgArguments + Send + Sync,
) -> Result<Vec<PgRow>, OriginError> {
    let statement = pool.schema().fill(statement);
    let work = async {
        let mut tries = 0;
        loop {
            let mut lease = pool.lease().await.map_err(fault::of_connect)?;
            let again = lease.reused && tries < pool.most_broken();
            // Safe: a constant and a name that needs no escaping.
            let sql = AssertSqlSafe(statement.clone());
            let query = sqlx::query_with(sql, arguments());
            let link = lease.link().map_err(|error| fault::of_origin(&error))?;
            match link.fetch(query).await {
                Ok(rows) => match trusted(&rows, pool.role) {
                    Ok(()) => {
                        lease.give_back();
                        return Ok(rows);
                    }
                    // There was a failover, and another host may be the primary now.
                    Err(OriginError::ReadOnly(_)) if again => {
                        pool.forget_idle();
                        tries += 1;
                    }
                    Err(error) => return Err(error),
                },
                Err(error) if again && fault::is_broken(&error) => tries += 1,
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
/// back). No row, no answer. So is what was read as somebody else than we mean to be: who sees more
/// than one tenant must not answer for one.
pub fn trusted(rows: &[PgRow], role: Role) -> Result<(), OriginError> {
    let found = rows.first().map(|row| {
        let acts_as = row.try_get::<&str, _>("acts_as");
        Ok::<_, sqlx::Error>((row.try_get::<bool, _>("replica")?, acts_as?))
    });
    let role = role.name();
    match found {
        Some(Ok((false, acts_as))) if acts_as == role => Ok(()),
        Some(Ok((true, _))) => Err(OriginError::ReadOnly(IS_REPLICA.to_owned())),
        Some(Ok((_, acts_as))) => Err(OriginError::Unavailable(format!(
            "a connection works as {acts_as} instead of {role}: something between here and the \
             database changes its sessions"
        ))),
        _ => Err(OriginError::Unavailable(
            "an answer without rows".to_owned(),
        )),
    }
}

pub fn bind<'q, T>(mut arguments: PgArguments, value: T) -> PgArguments
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

pub fn as_of(rows: &[PgRow]) -> Result<u64, OriginError> {
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

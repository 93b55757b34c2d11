//! Postgres past every instance: edits by hand, and the change log as the truth of a run.

use std::sync::Mutex;
use std::time::Duration;

use sqlx::{Connection, PgConnection, Row as _};

use crate::calls;
use crate::record::{Condition, Op, Row, Silence, What, Written};
use crate::workload::Shared;

/// An operator gives up then.
const PATIENCE: Duration = Duration::from_secs(2);

pub struct Edit<'a> {
    pub id: String,
    pub tenant: &'a str,
    pub model: Option<&'a str>,
}

/// Makes an edit and records it; keeps the connection while it works.
pub async fn edit(shared: &Shared, kept: &mut Option<PgConnection>, edit: Edit<'_>) -> Written {
    let database = shared.database();
    let began = shared.recorder.now();
    let connection = kept.take();
    let work = async {
        let mut connection = match connection {
            Some(connection) => connection,
            None => match ordain_tests::sql::connect(&database).await {
                Ok(connection) => connection,
                Err(_) => return (None, Written::Refused("no connection".to_owned())),
            },
        };
        match transaction(&mut connection, &edit).await {
            Ok(written) => (Some(connection), written),
            Err(_) => (None, Written::Unknown(Silence::Said)),
        }
    };
    let (connection, outcome) = tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or((None, Written::Unknown(Silence::Said)));
    *kept = connection;
    shared.recorder.add(Op {
        id: edit.id,
        host: None,
        began,
        ended: shared.recorder.now(),
        tenant: edit.tenant.to_owned(),
        what: What::Write {
            model: edit.model.map(str::to_owned),
            condition: Condition::None,
            outcome: outcome.clone(),
        },
    });
    outcome
}

async fn transaction(connection: &mut PgConnection, edit: &Edit<'_>) -> sqlx::Result<Written> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT set_config('ordain.request_id', $1, true)")
        .bind(&edit.id)
        .execute(&mut *transaction)
        .await?;
    let touched = match edit.model {
        Some(model) => {
            let upsert = "INSERT INTO policies (tenant, body) VALUES ($1, $2) \
                 ON CONFLICT (tenant) DO UPDATE SET body = excluded.body";
            let upsert = sqlx::query(upsert).bind(edit.tenant);
            let upsert = upsert.bind(calls::record(model).to_string());
            upsert.execute(&mut *transaction).await?
        }
        None => {
            let delete = sqlx::query("DELETE FROM policies WHERE tenant = $1");
            delete.bind(edit.tenant).execute(&mut *transaction).await?
        }
    };
    if touched.rows_affected() == 0 {
        transaction.rollback().await?;
        return Ok(Written::Unmet);
    }
    // The lock of the log is ours: nobody is behind this position.
    let position: i64 = sqlx::query_scalar("SELECT max(position) FROM changes")
        .fetch_one(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Written::At(position as u64))
}

/// What an operator does to the fleet. An error means that it may have been done or not.
pub async fn operate(shared: &Shared, statement: &str) -> sqlx::Result<()> {
    let work = async {
        let mut connection = ordain_tests::sql::connect(&shared.database()).await?;
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
    };
    let late = sqlx::Error::PoolTimedOut;
    tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or(Err(late))
        .map(drop)
}

/// Leaves the newest few rows of the log. What may be gone then goes to `pruned` first.
pub async fn prune(shared: &Shared, keep: i64, pruned: &Mutex<Vec<Row>>) -> sqlx::Result<()> {
    let work = async {
        let mut connection = ordain_tests::sql::connect(&shared.database()).await?;
        let mut transaction = connection.begin().await?;
        // Nobody writes between the look at the log and its end.
        sqlx::query("SELECT position FROM log_head WHERE one FOR UPDATE")
            .execute(&mut *transaction)
            .await?;
        let rows = rows(&mut transaction).await?;
        pruned
            .lock()
            .expect("no holder of the lock panics")
            .extend(rows);
        sqlx::query("SELECT log_prune(now(), $1, 100000)")
            .bind(keep)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    };
    let late = sqlx::Error::PoolTimedOut;
    tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or(Err(late))
}

/// The whole change log, in order.
pub async fn log(database: &str) -> sqlx::Result<Vec<Row>> {
    let mut connection = ordain_tests::sql::connect(database).await?;
    rows(&mut connection).await
}

async fn rows(connection: &mut PgConnection) -> sqlx::Result<Vec<Row>> {
    // Not what belongs to the fleet, nor what operators did.
    let select = "SELECT position, tenant, body, request_id FROM changes \
         WHERE tenant IS NOT NULL AND op IN ('put', 'delete') ORDER BY position";
    let rows = sqlx::query(select).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let body: Option<String> = row.try_get("body")?;
            Ok(Row {
                position: row.try_get::<i64, _>("position")? as u64,
                tenant: row.try_get("tenant")?,
                model: body.map(|body| model(&body)),
                op: row.try_get("request_id")?,
            })
        })
        .collect()
}

/// Of a stored record.
fn model(body: &str) -> String {
    let record: serde_json::Value = serde_json::from_str(body).expect("a record is JSON");
    let model = record["defaultModel"].as_str();
    model.expect("a record has a model").to_owned()
}

/// Whether this write is committed, and where.
pub async fn position_of(connection: &mut PgConnection, op: &str) -> sqlx::Result<Option<u64>> {
    let position: Option<i64> =
        sqlx::query_scalar("SELECT position FROM changes WHERE request_id = $1")
            .bind(op)
            .fetch_optional(connection)
            .await?;
    Ok(position.map(|position| position as u64))
}

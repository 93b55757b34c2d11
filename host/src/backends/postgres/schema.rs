//! Brings the schema up to date, and tells whether it is. The statements are in `migrations/`.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::time::Instant;

use super::{fault, parse};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");
const ROLE: &str = include_str!("../../../../migrations/role.sql");

/// A server that is starting gets this long to come up.
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);
/// For everything, waiting for other hosts that migrate included.
const DEADLINE: Duration = Duration::from_secs(300);

#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("{0}")]
    Url(String),
    #[error("cannot reach the database: {0}")]
    Unreachable(String),
    #[error("the role of the connection may not do this: {0} (see migrations/README.md, Roles)")]
    NoPrivileges(String),
    #[error(
        "migration {0} is in the database with another content than this program was built with: \
         an applied file must never change"
    )]
    Changed(i64),
    #[error("the migration did not end within {} s", DEADLINE.as_secs())]
    Late,
    #[error("the migration failed: {0}")]
    Failed(String),
}

/// The schema of the database, against the one that this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaStatus {
    Current,
    /// No migration has run.
    Missing,
    /// The newest of the database and the newest of this program.
    Behind {
        database: i64,
        program: i64,
    },
    /// A newer program has migrated: fine, as migrations expand first and contract later.
    Ahead {
        database: i64,
        program: i64,
    },
}

pub async fn migrate(url: &str) -> Result<(), SchemaError> {
    let options = parse(url).map_err(SchemaError::Url)?;
    let work = async {
        let mut connection = connect(&options).await?;
        for setup in ["SET search_path = public", ROLE] {
            sqlx::raw_sql(setup)
                .execute(&mut connection)
                .await
                .map_err(|e| failed(&e))?;
        }
        // Holds an advisory lock, so that of several hosts one migrates and the others wait.
        migrator()
            .run_direct(None, &mut connection, false)
            .await
            .map_err(of_migration)?;
        // All is done and committed; how the connection ends makes no difference.
        let _ = connection.close().await;
        Ok(())
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .unwrap_or(Err(SchemaError::Late))
}

pub async fn status(options: &PgConnectOptions) -> Result<SchemaStatus, SchemaError> {
    let mut connection = connect(options).await?;
    let row = sqlx::query("SELECT to_regclass('public._sqlx_migrations') IS NOT NULL AS there");
    let row = row
        .fetch_one(&mut connection)
        .await
        .map_err(|e| failed(&e))?;
    if !row.try_get::<bool, _>("there").map_err(|e| failed(&e))? {
        return Ok(SchemaStatus::Missing);
    }
    // As the service, which may read the table; an owner of the table may without.
    if let Err(error) = sqlx::raw_sql("SET ROLE ordain_service")
        .execute(&mut connection)
        .await
    {
        tracing::debug!(error = %fault::of_origin(&error), "the schema is looked at as another role");
    }
    let rows = sqlx::query("SELECT version, checksum FROM public._sqlx_migrations WHERE success");
    let rows = rows
        .fetch_all(&mut connection)
        .await
        .map_err(|e| failed(&e))?;
    let mut database = None;
    for row in &rows {
        let version: i64 = row.try_get("version").map_err(|e| failed(&e))?;
        let checksum: &[u8] = row.try_get("checksum").map_err(|e| failed(&e))?;
        let known = MIGRATIONS
            .iter()
            .find(|migration| migration.version == version);
        if known.is_some_and(|migration| &*migration.checksum != checksum) {
            return Err(SchemaError::Changed(version));
        }
        database = database.max(Some(version));
    }
    let program = MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0);
    Ok(match database {
        None => SchemaStatus::Missing,
        Some(database) if database < program => SchemaStatus::Behind { database, program },
        Some(database) if database > program => SchemaStatus::Ahead { database, program },
        Some(_) => SchemaStatus::Current,
    })
}

fn migrator() -> Migrator {
    // A host of the previous version must be able to restart during a roll-out.
    Migrator {
        migrations: MIGRATIONS.migrations.clone(),
        ignore_missing: true,
        ..Migrator::DEFAULT
    }
}

/// Waits for a server that says it is starting; any other failure is final.
async fn connect(options: &PgConnectOptions) -> Result<PgConnection, SchemaError> {
    let until = Instant::now() + CONNECT_DEADLINE;
    loop {
        let error = match tokio::time::timeout_at(until, options.connect()).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => error,
            Err(_) => {
                let waited = CONNECT_DEADLINE.as_secs();
                return Err(SchemaError::Unreachable(format!(
                    "no answer for {waited} s"
                )));
            }
        };
        let server = error.as_database_error().and_then(|server| server.code());
        if server.as_deref() != Some("57P03") {
            return Err(SchemaError::Unreachable(
                fault::of_origin(&error).to_string(),
            ));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn failed(error: &sqlx::Error) -> SchemaError {
    match error.as_database_error() {
        Some(server) if server.code().as_deref() == Some("42501") => {
            SchemaError::NoPrivileges(server.message().to_owned())
        }
        Some(server) => SchemaError::Failed(fault::words(server)),
        None if fault::is_broken(error) => {
            SchemaError::Unreachable(fault::of_origin(error).to_string())
        }
        None => SchemaError::Failed(error.to_string()),
    }
}

fn of_migration(error: MigrateError) -> SchemaError {
    match error {
        MigrateError::VersionMismatch(version) => SchemaError::Changed(version),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => failed(&error),
        other => SchemaError::Failed(other.to_string()),
    }
}

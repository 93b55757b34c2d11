//! Tells whether schema and roles are what this program needs. Changes nothing: that is
//! `migrate.rs`.

use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};
use tokio::time::Instant;

use super::fault::{self, ConnectError};
use super::link::Link;
use super::schema_name::SchemaName;
use super::servers::Servers;

pub static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// For a migration, waiting for other hosts that migrate included.
pub const DEADLINE: Duration = Duration::from_secs(300);
/// A server that is starting gets this long to come up, one that says nothing at all less.
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);
const NO_ANSWER: Duration = Duration::from_secs(8);

#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("{0}")]
    Url(String),
    #[error("cannot reach the database: {0}")]
    Unreachable(String),
    #[error("the role of the connection may not do this: {0} (see migrations/README.md, Roles)")]
    NoPrivileges(String),
    #[error(
        "the schema {0} is not there, and the role of the connection may not make it ({1}); let somebody who \
         may run: CREATE SCHEMA \"{0}\" AUTHORIZATION the_role"
    )]
    NoSchema(SchemaName, String),
    #[error(
        "migration {0} is in the database with another content than this program was built with: \
         an applied file must never change"
    )]
    Changed(i64),
    #[error("the migration did not end within {} s", DEADLINE.as_secs())]
    Late,
    #[error("a role is not what it must be, for it gets past row level security; run: {0}")]
    Roles(String),
    #[error(
        "the migration was in the way of others for too long and changed nothing: what it needs is held by \
         {0}; end that, or try again later"
    )]
    Blocked(String),
    /// Of one try; tried again.
    #[error("a lock was not free")]
    Locked,
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

/// Statements that make the roles what they must be, one for each that is not: they must not get
/// past row level security, by themselves or by what they are members of.
pub const UNSOUND_ROLES: &str = "SELECT format('ALTER ROLE %I NOSUPERUSER NOBYPASSRLS NOCREATEROLE \
     NOREPLICATION', rolname) AS remedy FROM pg_catalog.pg_roles \
     WHERE rolname IN ('ordain_tenant', 'ordain_service') \
     AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolreplication) \
     UNION ALL SELECT format('REVOKE %I FROM %I', up.rolname, r.rolname) \
     FROM pg_catalog.pg_roles r JOIN pg_catalog.pg_roles up ON up.oid <> r.oid \
     WHERE r.rolname IN ('ordain_tenant', 'ordain_service') AND NOT r.rolsuper \
     AND pg_catalog.pg_has_role(r.oid, up.oid, 'MEMBER') AND (up.rolsuper OR up.rolbypassrls \
     OR up.rolcreaterole OR (r.rolname = 'ordain_tenant' AND up.rolname = 'ordain_service') \
     OR up.oid = (SELECT c.relowner FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
     ON n.oid = c.relnamespace WHERE n.nspname = '{schema}' AND c.relname = 'changes')) \
     ORDER BY 1";

pub fn sound(rows: &[PgRow]) -> Result<(), SchemaError> {
    let remedies = rows.iter().map(|row| row.try_get::<String, _>("remedy"));
    let remedies = remedies.collect::<Result<Vec<_>, _>>();
    match remedies.map_err(|error| failed(&error))?.join("; ") {
        none if none.is_empty() => Ok(()),
        remedies => Err(SchemaError::Roles(remedies)),
    }
}

pub async fn status(servers: &Servers) -> Result<SchemaStatus, SchemaError> {
    let mut link = connect(servers).await?;
    let connection = &mut link.connection;
    let of_driver = |error: sqlx::Error| failed(&error);
    let schema = &servers.schema;
    let roles = schema.query(UNSOUND_ROLES).persistent(false);
    sound(&roles.fetch_all(&mut *connection).await.map_err(of_driver)?)?;
    if !is_there(connection, schema).await? {
        return Ok(SchemaStatus::Missing);
    }
    let mut work = connection.begin().await.map_err(of_driver)?;
    // As the service, which may read the table; an owner of the table may without.
    let as_service = "SAVEPOINT owner; SET LOCAL ROLE ordain_service";
    if let Err(error) = sqlx::raw_sql(as_service).execute(&mut *work).await {
        tracing::debug!(error = %fault::of_origin(&error), "the schema is looked at as another role");
        let back = sqlx::raw_sql("ROLLBACK TO SAVEPOINT owner");
        back.execute(&mut *work).await.map_err(of_driver)?;
    }
    let applied = applied(&mut work, schema).await?;
    work.rollback().await.map_err(of_driver)?;
    let database = applied.into_iter().max();
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

/// Whether any migration has run. In the catalogue: whoever connects need not be let into the schema
/// itself.
pub async fn is_there(
    connection: &mut PgConnection,
    schema: &SchemaName,
) -> Result<bool, SchemaError> {
    let there = schema.query(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
         ON n.oid = c.relnamespace WHERE n.nspname = '{schema}' AND c.relname = '_sqlx_migrations') \
         AS there",
    );
    let row = there.persistent(false).fetch_one(connection).await;
    row.and_then(|row| row.try_get("there"))
        .map_err(|error| failed(&error))
}

/// What has run in the database, and was what this program has under that number. A host of the
/// previous version must be able to restart during a roll-out: what is not known is no fault.
pub async fn applied(
    connection: &mut PgConnection,
    schema: &SchemaName,
) -> Result<Vec<i64>, SchemaError> {
    let of_driver = |error: sqlx::Error| failed(&error);
    let rows =
        schema.query("SELECT version, checksum FROM {schema}._sqlx_migrations WHERE success");
    let rows = rows
        .persistent(false)
        .fetch_all(connection)
        .await
        .map_err(of_driver)?;
    let mut versions = Vec::with_capacity(rows.len());
    for row in &rows {
        let version: i64 = row.try_get("version").map_err(of_driver)?;
        let checksum: &[u8] = row.try_get("checksum").map_err(of_driver)?;
        let known = MIGRATIONS
            .iter()
            .find(|migration| migration.version == version);
        if known.is_some_and(|migration| &*migration.checksum != checksum) {
            return Err(SchemaError::Changed(version));
        }
        versions.push(version);
    }
    Ok(versions)
}

/// Waits for a server that says it is starting, or has no free connection; any other failure is
/// final.
pub async fn connect(servers: &Servers) -> Result<Link, SchemaError> {
    let until = Instant::now() + CONNECT_DEADLINE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let error = match servers.connect(None, DEADLINE, left.min(NO_ANSWER)).await {
            Ok(link) => return Ok(link),
            Err(ConnectError::Late) => {
                let waited = NO_ANSWER.as_secs();
                return Err(SchemaError::Unreachable(format!(
                    "no answer for {waited} s"
                )));
            }
            Err(error) => error,
        };
        let starts = matches!(&error, ConnectError::Driver(error) if fault::is_starting(error));
        if !(starts || error.is_full()) || Instant::now() >= until {
            return Err(SchemaError::Unreachable(
                fault::of_connect(error).to_string(),
            ));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub fn failed(error: &sqlx::Error) -> SchemaError {
    match error.as_database_error() {
        Some(_) if fault::is_locked(error) => SchemaError::Locked,
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

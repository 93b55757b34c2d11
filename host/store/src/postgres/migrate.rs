//! Brings the schema up to date: roles, migrations, rights. Each step is one transaction that waits
//! for a lock for a moment only and is tried again, since everybody who reads a table queues behind
//! who waits for its lock. Nothing is left in the session: it may be a pooler's. The statements are
//! in `migrations/`.

use std::time::Duration;

use rand::Rng;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection, Row};
use tokio::time::Instant;

use super::address;
use super::link::Link;
use super::schema::{DEADLINE, MIGRATIONS, SchemaError, UNSOUND_ROLES, connect, failed};
use super::schema_name::SchemaName;
use super::servers::Servers;

const ROLE: &str = include_str!("../../../../migrations/role.sql");
const RIGHTS: &str = include_str!("../../../../migrations/rights.sql");

/// Longest wait for one lock, and between two tries: running instances are to notice next to
/// nothing.
const LOCK_WAIT: Duration = Duration::from_millis(100);
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(1500));
/// For all tries of one step.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether another host is done.
const TURN: Duration = Duration::from_millis(100);
/// Whether the schema is there, and whether a build from before there was one has left its tables.
const PLACE: &str = "SELECT n.oid IS NULL AS missing, EXISTS (SELECT FROM pg_catalog.pg_class c \
     WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'public') AND c.relname = 'log_head') \
     AND EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proname = 'config_text') AS old \
     FROM (VALUES (1)) x LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = '{schema}'";
const CREATE: &str = "CREATE SCHEMA IF NOT EXISTS \"{schema}\"";
const TABLE: &str = "CREATE TABLE {schema}._sqlx_migrations (version bigint PRIMARY KEY, \
     description text NOT NULL, installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL, \
     checksum bytea NOT NULL, execution_time bigint NOT NULL)";
const DONE: &str = "INSERT INTO {schema}._sqlx_migrations \
     (version, description, success, checksum, execution_time) VALUES ($1, $2, true, $3, $4)";
/// Whose transactions hold tables. When a query began and what it does is hidden from roles that
/// are not a member of `pg_read_all_stats` or of that one's role.
const BLOCKERS: &str = "SELECT l.virtualtransaction AS held, a.pid, a.usename::text AS who, \
     a.application_name AS program, \
     to_char(a.query_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS since \
     FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation \
     JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
     WHERE l.granted AND a.pid <> pg_backend_pid() AND c.relnamespace = '{schema}'::regnamespace \
     AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) \
     GROUP BY 1, 2, 3, 4, 5 ORDER BY a.pid";
/// Between two looks: who holds a table in both is no passing reader.
const LINGER: Duration = Duration::from_millis(100);

/// `later`: migrations that this program does not have, for tests.
pub async fn migrate(
    url: &str,
    schema: &SchemaName,
    later: &[(i64, &'static str)],
) -> Result<(), SchemaError> {
    let address = address::parse(url).map_err(SchemaError::Url)?;
    let servers = Servers::silent(address, schema.clone());
    let work = async {
        let mut link = connect(&servers).await?;
        run_step(&mut link, schema, Step::Roles).await?;
        while run_step(&mut link, schema, Step::Next(later)).await? {}
        run_step(&mut link, schema, Step::Rights).await?;
        // All is done and committed; how the connection ends makes no difference.
        let _ = link.connection.close().await;
        Ok(())
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .unwrap_or(Err(SchemaError::Late))
}

async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), SchemaError> {
    // Safe: constants, files of this program, and numbers.
    let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    sql.execute(connection)
        .await
        .map(drop)
        .map_err(|error| failed(&error))
}

/// What one transaction does.
#[derive(Clone, Copy)]
enum Step<'a> {
    Roles,
    /// The oldest migration that the database lacks, of ours and these.
    Next(&'a [(i64, &'static str)]),
    Rights,
}

/// One transaction, until it was not in anybody's way. Whether there may be more to do.
async fn run_step(
    link: &mut Link,
    schema: &SchemaName,
    step: Step<'_>,
) -> Result<bool, SchemaError> {
    let until = Instant::now() + PATIENCE;
    let begin = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL search_path = pg_catalog; SET LOCAL lock_timeout = {}",
        LOCK_WAIT.as_millis()
    );
    let mut told = false;
    loop {
        let connection = &mut link.connection;
        run(connection, &begin).await?;
        let outcome = match step {
            Step::Roles => make_roles(connection, schema).await,
            Step::Next(later) => next(connection, schema, later).await,
            Step::Rights => rights(connection, schema).await,
        };
        match outcome {
            Ok(done) => {
                run(connection, "COMMIT").await?;
                return Ok(done);
            }
            Err(SchemaError::Locked) => run(connection, "ROLLBACK").await?,
            Err(error) => {
                // The server rolls back what was not committed; a later error would hide this one.
                let _ = run(connection, "ROLLBACK").await;
                return Err(error);
            }
        }
        let blockers = blockers(connection, schema).await;
        if Instant::now() >= until {
            return Err(SchemaError::Blocked(blockers));
        }
        if !told {
            told = true;
            tracing::warn!(blockers, "the migration waits for a lock, in short tries");
        }
        let pause = rand::rng().random_range(PAUSE.0..PAUSE.1);
        tokio::time::sleep(pause).await;
    }
}

/// What holds the locks, for people.
async fn blockers(connection: &mut PgConnection, schema: &SchemaName) -> String {
    let before = holders(connection, schema).await;
    tokio::time::sleep(LINGER).await;
    let mut still = holders(connection, schema).await;
    still.retain(|(held, _)| before.iter().any(|(before, _)| before == held));
    match still.is_empty() {
        true => "somebody whose transaction has ended in the meantime".to_owned(),
        false => still
            .into_iter()
            .map(|(_, who)| who)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// Transactions and whose they are.
async fn holders(connection: &mut PgConnection, schema: &SchemaName) -> Vec<(String, String)> {
    let rows = schema
        .query(BLOCKERS)
        .persistent(false)
        .fetch_all(connection)
        .await;
    let shown = |row: &PgRow| {
        let text = |column| row.try_get::<Option<&str>, _>(column).ok().flatten();
        let pid = row.try_get::<i32, _>("pid").unwrap_or(0);
        let (who, program) = (text("who").unwrap_or("?"), text("program").unwrap_or(""));
        let since = text("since").map(|since| format!(", its query began at {since} UTC"));
        let since = since.unwrap_or_default();
        let who = format!("pid {pid} (role {who}, application {program:?}{since})");
        (text("held").unwrap_or_default().to_owned(), who)
    };
    // Without an answer there is less to tell.
    rows.unwrap_or_default().iter().map(shown).collect()
}

/// Applies the oldest migration that the database lacks; false: there is none.
async fn next(
    connection: &mut PgConnection,
    schema: &SchemaName,
    later: &[(i64, &'static str)],
) -> Result<bool, SchemaError> {
    let of_driver = |error: sqlx::Error| failed(&error);
    // Of several hosts one migrates and the others wait.
    let turn = "SELECT pg_try_advisory_xact_lock(hashtextextended('ordain migrate {schema}', 0)) AS ours, \
         current_setting('transaction_read_only') = 'on' AS read_only";
    let row = loop {
        let row = schema.query(turn).persistent(false);
        let row = row.fetch_one(&mut *connection).await.map_err(of_driver)?;
        if row.try_get("ours").map_err(of_driver)? {
            break row;
        }
        tokio::time::sleep(TURN).await;
    };
    let read_only: bool = row.try_get("read_only").map_err(of_driver)?;
    let there = super::schema::is_there(connection, schema).await?;
    let applied = match there {
        true => super::schema::applied(connection, schema).await?,
        false => Vec::new(),
    };
    let ours = MIGRATIONS.iter().map(|one| Pending {
        version: one.version,
        description: &one.description,
        checksum: &one.checksum,
        sql: one.sql.as_str(),
    });
    let later = later.iter().map(|(version, sql)| Pending {
        version: *version,
        description: "of a later release",
        checksum: b"",
        sql,
    });
    let pending = ours
        .chain(later)
        .find(|one| !applied.contains(&one.version));
    let Some(migration) = pending else {
        return Ok(false);
    };
    if read_only {
        let why = "the database takes no changes, and its schema is older than this program: \
             it is a replica, or default_transaction_read_only is on";
        return Err(SchemaError::Failed(why.to_owned()));
    }
    if !there {
        // Who may not make it, though it is there, is not asked to.
        let place = schema.query(PLACE).persistent(false);
        let place = place.fetch_one(&mut *connection).await;
        let place = place.map_err(of_driver)?;
        if place.try_get("old").map_err(of_driver)? {
            tracing::warn!(
                "there are tables of an earlier build in the schema public: they are left alone, and nothing \
                 is taken over from them"
            );
        }
        if place.try_get("missing").map_err(of_driver)? {
            let made = run(connection, &schema.fill(CREATE)).await;
            made.map_err(|error| match error {
                SchemaError::NoPrivileges(why) => SchemaError::NoSchema(schema.clone(), why),
                error => error,
            })?;
            tracing::info!(%schema, "the schema is new");
        }
        run(connection, &schema.fill(TABLE)).await?;
    }
    let began = Instant::now();
    run(connection, &schema.fill(migration.sql)).await?;
    let took = i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX);
    let done = schema
        .query(DONE)
        .persistent(false)
        .bind(migration.version)
        .bind(migration.description)
        .bind(migration.checksum)
        .bind(took);
    done.execute(connection).await.map_err(of_driver)?;
    Ok(true)
}

/// A migration that may have to be run.
struct Pending<'a> {
    version: i64,
    description: &'a str,
    checksum: &'a [u8],
    sql: &'a str,
}

/// What a backup does not bring along. Of the newest schema only: a newer program knows a newer
/// one.
async fn rights(connection: &mut PgConnection, schema: &SchemaName) -> Result<bool, SchemaError> {
    let applied = super::schema::applied(connection, schema).await?;
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max();
    if applied.iter().max() == newest.as_ref() {
        run(connection, &schema.fill(RIGHTS)).await?;
    }
    Ok(false)
}

async fn make_roles(
    connection: &mut PgConnection,
    schema: &SchemaName,
) -> Result<bool, SchemaError> {
    run(connection, ROLE).await?;
    refuse_unsound_roles(connection, schema).await?;
    Ok(false)
}

/// Roles that get past row level security make a show of it.
async fn refuse_unsound_roles(
    connection: &mut PgConnection,
    schema: &SchemaName,
) -> Result<(), SchemaError> {
    let rows = schema.query(UNSOUND_ROLES).persistent(false);
    let rows = rows
        .fetch_all(connection)
        .await
        .map_err(|error| failed(&error))?;
    super::schema::sound(&rows)
}

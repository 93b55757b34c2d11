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
/// What files from before said for themselves.
const OLD_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '5s';";

const TABLE: &str = "CREATE TABLE IF NOT EXISTS public._sqlx_migrations (version bigint PRIMARY KEY, \
     description text NOT NULL, installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL, \
     checksum bytea NOT NULL, execution_time bigint NOT NULL)";
const DONE: &str = "INSERT INTO public._sqlx_migrations \
     (version, description, success, checksum, execution_time) VALUES ($1, $2, true, $3, $4)";
/// Whose transactions hold tables. When a query began and what it does is hidden from roles that
/// are not a member of `pg_read_all_stats` or of that one's role.
const BLOCKERS: &str = "SELECT l.virtualtransaction AS held, a.pid, a.usename::text AS who, \
     a.application_name AS program, \
     to_char(a.query_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS since \
     FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation \
     JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
     WHERE l.granted AND a.pid <> pg_backend_pid() AND c.relnamespace = 'public'::regnamespace \
     AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) \
     GROUP BY 1, 2, 3, 4, 5 ORDER BY a.pid";
/// Between two looks: who holds a table in both is no passing reader.
const LINGER: Duration = Duration::from_millis(100);

pub async fn migrate(url: &str) -> Result<(), SchemaError> {
    let servers = Servers::silent(address::parse(url).map_err(SchemaError::Url)?);
    let work = async {
        let mut link = connect(&servers).await?;
        step(&mut link, async |connection| {
            run(connection, ROLE).await?;
            refuse_unsound_roles(connection).await?;
            Ok(true)
        })
        .await?;
        while step(&mut link, next).await? {}
        step(&mut link, rights).await?;
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

/// One transaction, until it was not in anybody's way.
async fn step<T>(
    link: &mut Link,
    work: impl AsyncFn(&mut PgConnection) -> Result<T, SchemaError>,
) -> Result<T, SchemaError> {
    let until = Instant::now() + PATIENCE;
    let begin = format!(
        "BEGIN; SET LOCAL search_path = public; SET LOCAL lock_timeout = {}",
        LOCK_WAIT.as_millis()
    );
    let mut told = false;
    loop {
        let connection = &mut link.connection;
        run(connection, &begin).await?;
        match work(connection).await {
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
        let blockers = blockers(connection).await;
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
async fn blockers(connection: &mut PgConnection) -> String {
    let before = holders(connection).await;
    tokio::time::sleep(LINGER).await;
    let mut still = holders(connection).await;
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
async fn holders(connection: &mut PgConnection) -> Vec<(String, String)> {
    let rows = sqlx::query(BLOCKERS)
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
async fn next(connection: &mut PgConnection) -> Result<bool, SchemaError> {
    let of_driver = |error: sqlx::Error| failed(&error);
    // Of several hosts one migrates and the others wait. The lock is the one that hosts of earlier
    // releases take, for the same reason.
    let turn = "SELECT pg_try_advisory_xact_lock($1) AS ours, current_setting('transaction_read_only') = 'on' \
         AS read_only, to_regclass('public._sqlx_migrations') IS NOT NULL AS there";
    let name: String = sqlx::query_scalar("SELECT current_database()::text")
        .persistent(false)
        .fetch_one(&mut *connection)
        .await
        .map_err(of_driver)?;
    let row = loop {
        let row = sqlx::query(turn).persistent(false).bind(lock_of(&name));
        let row = row.fetch_one(&mut *connection).await.map_err(of_driver)?;
        if row.try_get("ours").map_err(of_driver)? {
            break row;
        }
        tokio::time::sleep(TURN).await;
    };
    if !row.try_get::<bool, _>("there").map_err(of_driver)? {
        run(connection, TABLE).await?;
    }
    let applied = super::schema::applied(connection).await?;
    let pending = MIGRATIONS
        .iter()
        .find(|migration| !applied.contains(&migration.version));
    let Some(migration) = pending else {
        return Ok(false);
    };
    if row.try_get("read_only").map_err(of_driver)? {
        let why = "the database takes no changes, and its schema is older than this program: \
             it is a replica, or default_transaction_read_only is on";
        return Err(SchemaError::Failed(why.to_owned()));
    }
    let began = Instant::now();
    run(
        connection,
        &migration.sql.as_str().replace(OLD_LOCK_TIMEOUT, ""),
    )
    .await?;
    let took = i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX);
    let done = sqlx::query(DONE)
        .persistent(false)
        .bind(migration.version)
        .bind(&*migration.description)
        .bind(&*migration.checksum)
        .bind(took);
    done.execute(connection).await.map_err(of_driver)?;
    Ok(true)
}

/// What a backup does not bring along. Of the newest schema only: a newer program knows a newer
/// one.
async fn rights(connection: &mut PgConnection) -> Result<(), SchemaError> {
    let applied = super::schema::applied(connection).await?;
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max();
    if applied.iter().max() == newest.as_ref() {
        run(connection, RIGHTS).await?;
    }
    Ok(())
}

/// Roles that get past row level security make a show of it.
async fn refuse_unsound_roles(connection: &mut PgConnection) -> Result<(), SchemaError> {
    let rows = sqlx::query(UNSOUND_ROLES).persistent(false);
    let rows = rows
        .fetch_all(connection)
        .await
        .map_err(|error| failed(&error))?;
    super::schema::sound(&rows)
}

/// As the library that hosts of earlier releases migrate with counts it.
fn lock_of(database: &str) -> i64 {
    let crc = database.bytes().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| match crc & 1 {
            0 => crc >> 1,
            _ => (crc >> 1) ^ 0xedb8_8320,
        })
    });
    0x3d32_ad9e * i64::from(!crc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_that_of_hosts_of_earlier_releases() {
        // CRC-32 of "123456789", as every table of it has.
        assert_eq!(lock_of("123456789"), 0x3d32_ad9e * 0xcbf4_3926);
    }
}

//! The Postgres and Redis that all workloads share, and what is done to them: databases,
//! connections that are counted, notifications that get lost, servers that stand still.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use ordain_tests::proxy::{Proxy, Upstream};
use ordain_tests::services::{Postgres, Redis};
use sqlx::postgres::PgConnectOptions;

/// Takes `pg_notify` out of every function of the schema: writes are logged as ever, and nobody is
/// told. Returns how many functions that was.
const LOSE_NOTIFY: &str = r"
CREATE FUNCTION public.notify_lost(text, text) RETURNS void LANGUAGE sql AS 'SELECT';
DO $lose$
DECLARE
    f record;
BEGIN
    FOR f IN SELECT oid FROM pg_proc
             WHERE pronamespace = 'ordain'::regnamespace AND prosrc LIKE '%pg_notify(%' LOOP
        EXECUTE regexp_replace(pg_get_functiondef(f.oid),
            '(pg_catalog\.)?pg_notify\(', 'public.notify_lost(', 'g');
    END LOOP;
END
$lose$;
SELECT count(*) FILTER (WHERE prosrc LIKE '%notify_lost(%') || '/' || count(*) FILTER (WHERE prosrc LIKE '%pg_notify(%')
    FROM pg_proc WHERE pronamespace = 'ordain'::regnamespace;
";

/// What peers keep their records in: a plain table, without the log that Ordain's writes pay for.
const PEER_TABLE: &str =
    "CREATE TABLE peer_policies (tenant text PRIMARY KEY, body text NOT NULL);";

pub struct Servers {
    pub postgres: Postgres,
    pub redis: Redis,
}

/// The one that stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hung {
    Redis,
    Postgres,
}

impl Servers {
    pub async fn start() -> anyhow::Result<Arc<Servers>> {
        let start = || Servers {
            postgres: Postgres::start(),
            redis: Redis::start(),
        };
        Ok(Arc::new(tokio::task::spawn_blocking(start).await?))
    }

    /// A database with Ordain's schema.
    pub async fn database(&self) -> anyhow::Result<String> {
        let url = self.postgres.database();
        ordain::door::migrate(&url, &Default::default()).await?;
        Ok(url)
    }

    /// A database with the peers' table.
    pub fn peer_database(&self) -> anyhow::Result<String> {
        let url = self.postgres.database();
        self.sql(&url, PEER_TABLE)?;
        Ok(url)
    }

    /// Runs statements as the superuser.
    pub fn sql(&self, url: &str, sql: &str) -> anyhow::Result<String> {
        let options: PgConnectOptions = url.parse()?;
        let database = options.get_database().context("a URL with a database")?;
        self.postgres
            .try_sql(database, sql)
            .map_err(anyhow::Error::msg)
    }

    /// From now on no write in this database notifies anyone.
    pub fn lose_notify(&self, url: &str) -> anyhow::Result<()> {
        let counts = self.sql(url, LOSE_NOTIFY)?;
        let (silent, loud) = counts.split_once('/').context("two counts")?;
        ensure!(silent != "0" && loud == "0", "functions: {counts}");
        Ok(())
    }

    /// A way to this database that counts what is sent over it.
    pub async fn counted(&self, url: &str) -> anyhow::Result<(Proxy, String)> {
        let options: PgConnectOptions = url.parse()?;
        let (folder, database) = (options.get_socket(), options.get_database());
        let (folder, database) = folder.zip(database).context("a URL of a socket")?;
        let socket = folder.join(format!(".s.PGSQL.{}", options.get_port()));
        let proxy = Proxy::start(Upstream::Unix(socket)).await;
        let (user, port) = (options.get_username(), proxy.port());
        let url = format!("postgres://{user}@127.0.0.1:{port}/{database}?sslmode=disable");
        Ok((proxy, url))
    }

    /// Empties Redis, so that no contender meets another's values.
    pub async fn flush_redis(&self) -> anyhow::Result<()> {
        self.redis_command(redis::cmd("FLUSHALL")).await
    }

    /// Redis refuses (or allows again) to delete, as it would with a wrong ACL.
    pub async fn refuse_deletes(&self, refuse: bool) -> anyhow::Result<()> {
        let rule = if refuse { "-del" } else { "+del" };
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg("default").arg(rule);
        self.redis_command(command).await
    }

    /// Closes all connections that listen for messages.
    pub async fn cut_listeners(&self) -> anyhow::Result<()> {
        let mut command = redis::cmd("CLIENT");
        command.arg("KILL").arg("TYPE").arg("PUBSUB");
        self.redis_command(command).await
    }

    async fn redis_command(&self, command: redis::Cmd) -> anyhow::Result<()> {
        let client = redis::Client::open(self.redis.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        command.query_async::<redis::Value>(&mut connection).await?;
        Ok(())
    }
}

impl Hung {
    pub fn stop(self, servers: &Servers) {
        match self {
            Hung::Redis => servers.redis.freeze(),
            Hung::Postgres => servers.postgres.stop_signal(),
        }
    }

    pub fn go_on(self, servers: &Servers) {
        match self {
            Hung::Redis => servers.redis.thaw(),
            Hung::Postgres => servers.postgres.cont(),
        }
    }
}

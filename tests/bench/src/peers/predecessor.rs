//! The caching algorithm of the project that Ordain replaces, written anew from its description: a
//! record in Redis for 300 seconds; a miss reads the database and stores what it found; a write
//! stores in the database and then deletes the key; no record is not cached; no single-flight, no
//! lease, no deadline, and a fault of Redis means "ask the database". It has no cache in process.
//!
//! In its favour: Postgres is asked directly (it went through an HTTP gateway), and nothing is
//! resolved: the record is decoded, that is all.

use anyhow::Context as _;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Postgres};

use crate::instance::{Instance, record, version};

const TTL_SECONDS: u64 = 300;

pub struct Predecessor {
    database: PgPool,
    redis: MultiplexedConnection,
}

impl Predecessor {
    pub async fn start(postgres: String, redis: String) -> anyhow::Result<Predecessor> {
        let database = PgPoolOptions::new()
            .max_connections(16)
            .test_before_acquire(false)
            .acquire_timeout(std::time::Duration::from_secs(3600))
            .connect(&postgres)
            .await?;
        // Its client waits for a reply for as long as it takes.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let client = redis::Client::open(redis)?;
        let redis = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        Ok(Predecessor { database, redis })
    }

    async fn database_read(&self, tenant: &str) -> anyhow::Result<Option<String>> {
        let query = sqlx::query_scalar::<Postgres, String>(
            "SELECT body FROM peer_policies WHERE tenant = $1",
        );
        Ok(query.bind(tenant).fetch_optional(&self.database).await?)
    }

    /// A fault and a broken value are a miss.
    async fn cached(&self, key: &str) -> Option<u64> {
        let mut redis = self.redis.clone();
        let mut get = redis::cmd("GET");
        let found: redis::RedisResult<Option<String>> = get.arg(key).query_async(&mut redis).await;
        decode(&found.ok()??).ok()
    }
}

fn key(tenant: &str) -> String {
    format!("copilot:llm:policy:{tenant}")
}

fn decode(body: &str) -> anyhow::Result<u64> {
    let record: Value = serde_json::from_str(body)?;
    version(record["defaultModel"].as_str().context("a default model")?)
}

impl Instance for Predecessor {
    async fn write(&self, tenant: &str, version: u64) -> anyhow::Result<()> {
        let upsert = sqlx::query::<Postgres>(
            "INSERT INTO peer_policies (tenant, body) VALUES ($1, $2) \
             ON CONFLICT (tenant) DO UPDATE SET body = excluded.body",
        );
        let upsert = upsert.bind(tenant).bind(record(version));
        upsert.execute(&self.database).await?;
        let mut delete = redis::cmd("DEL");
        // A delete that fails is a warning in its log; the write has succeeded.
        let _: redis::RedisResult<u64> = delete
            .arg(key(tenant))
            .query_async(&mut self.redis.clone())
            .await;
        Ok(())
    }

    async fn read(&self, tenant: &str) -> anyhow::Result<Option<u64>> {
        let key = key(tenant);
        if let Some(version) = self.cached(&key).await {
            return Ok(Some(version));
        }
        let Some(body) = self.database_read(tenant).await? else {
            return Ok(None);
        };
        let mut set = redis::cmd("SET");
        set.arg(&key).arg(&body).arg("EX").arg(TTL_SECONDS);
        // As above: the value is returned all the same.
        let _: redis::RedisResult<()> = set.query_async(&mut self.redis.clone()).await;
        Ok(Some(decode(&body)?))
    }
}

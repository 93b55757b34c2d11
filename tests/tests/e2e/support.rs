//! What several of the tests need.

pub mod components;
pub mod configs;

use ordain_tests::app::{App, Builder};
use ordain_tests::proxy::{Proxy, Upstream};
use ordain_tests::services::{Postgres, Redis};
use serde_json::{Value, json};
use std::time::Duration;

/// The default freshness bound.
pub const BOUND: Duration = Duration::from_secs(1);
/// The default deadline of a request.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(1);
/// What the machine that runs the tests may add to a deadline: scheduling, the client.
pub const SLACK: Duration = Duration::from_millis(500);

/// Tests that load all cores on purpose and look at the clock: one at a time.
pub static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A policy that allows one model.
pub fn policy(provider: &str, model: &str) -> Value {
    json!({"defaultProvider": provider, "defaultModel": model})
}

/// A policy whose model shows which version it is.
pub fn version(number: usize) -> Value {
    policy("openai", &format!("m{number}"))
}

/// A request that says no more than whose it is.
pub fn plain(tenant: &str) -> Value {
    json!({ "tenant": tenant })
}

/// A fresh database of the shared server.
pub async fn database() -> String {
    Postgres::shared().database()
}

/// Real servers of one test and a template for instances on them.
pub struct Deployment {
    pub database: String,
    pub redis: Redis,
}

impl Deployment {
    pub async fn start() -> Deployment {
        Deployment {
            database: database().await,
            redis: Redis::start(),
        }
    }

    pub fn instance(&self, name: &str) -> Builder {
        App::builder()
            .postgres(&self.database)
            .redis(&self.redis.url())
            .name(name)
    }
}

impl Deployment {
    /// An instance that waits longer for far than production would: for tests of what far answers,
    /// which a busy machine must not turn into tests of its deadline.
    pub fn patient(&self, name: &str) -> Builder {
        self.instance(name).env("ORDAIN_FAR_DEADLINE", "400ms")
    }
}

/// A connection as an operator with `psql` would have it.
pub async fn psql(url: &str) -> sqlx::PgConnection {
    ordain_tests::sql::connect(url)
        .await
        .expect("the database accepts connections")
}

/// A proxy in front of a Postgres, and the URL through it.
pub async fn through_proxy(url: &str) -> (Proxy, String) {
    let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a database URL");
    let upstream = match options.get_socket() {
        Some(folder) => Upstream::Unix(folder.join(format!(".s.PGSQL.{}", options.get_port()))),
        None if options.get_host().starts_with('/') => {
            Upstream::Unix(format!("{}/.s.PGSQL.{}", options.get_host(), options.get_port()).into())
        }
        None => Upstream::Tcp(format!("{}:{}", options.get_host(), options.get_port())),
    };
    let proxy = Proxy::start(upstream).await;
    let (user, name) = (
        options.get_username(),
        options.get_database().unwrap_or("postgres"),
    );
    let url = format!(
        "postgres://{user}@127.0.0.1:{}/{name}?sslmode=disable",
        proxy.port()
    );
    (proxy, url)
}

/// Resolves until the feed of this instance has come to `revision`, so that what is read from now
/// on can be cached. The tenant asked for is one that nothing else uses.
pub async fn caught_up(app: &App, revision: u64) {
    app.resolve(&json!({"tenant": "nobody's", "minRevision": revision}))
        .await
        .expect(200);
}

/// The model of an allowing answer.
#[track_caller]
pub fn model(answer: &Value) -> &str {
    answer["model"]
        .as_str()
        .unwrap_or_else(|| panic!("no model: {answer}"))
}

/// A proxy in front of a Redis, and the URL through it.
pub async fn redis_through_proxy(url: &str) -> (Proxy, String) {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let place = rest
        .split(['?', '#'])
        .next()
        .expect("a part before the query");
    let upstream = if scheme.contains("unix") {
        Upstream::Unix(place.into())
    } else {
        Upstream::Tcp(place.trim_end_matches('/').to_owned())
    };
    let proxy = Proxy::start(upstream).await;
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    (proxy, url)
}

/// A connection as an operator with `redis-cli` would have it.
pub async fn redis_cli(url: &str) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(url).expect("a Redis URL");
    client
        .get_multiplexed_async_connection()
        .await
        .expect("Redis accepts connections")
}

/// Waits until far holds a value whose key names this tenant; returns the key.
pub async fn far_key(redis: &mut redis::aio::MultiplexedConnection, tenant: &str) -> String {
    let pattern = format!("*:{tenant}:*");
    let start = std::time::Instant::now();
    loop {
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg(&pattern)
            .query_async(redis)
            .await
            .expect("KEYS");
        match keys.as_slice() {
            [key] => return key.clone(),
            [] => assert!(
                start.elapsed() < ordain_tests::wait::PATIENCE,
                "{tenant} is not in far"
            ),
            several => panic!("one key was expected: {several:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Resolves until near answers.
pub async fn warm(app: &App, tenant: &str) -> Value {
    let ask = || async {
        let reply = app.resolve(&plain(tenant)).await;
        if reply.status == 200 && reply.tier() == "near" {
            Ok(reply.json)
        } else {
            Err(reply)
        }
    };
    ordain_tests::wait::eventually("near", ordain_tests::wait::PATIENCE, ask).await
}

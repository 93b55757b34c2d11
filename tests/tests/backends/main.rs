//! The contract suite against every backend, and what only a real server can show: faults.

mod redis_cluster;
mod redis_refusals;
mod redis_sentinel;
mod redis_tls;
mod redis_users;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ordain_store::contract;
use ordain_store::ids::Key;
use ordain_store::memory::{MemoryFar, MemoryOrigin};
use ordain_store::postgres::{Postgres, PostgresOptions, SchemaName};
use ordain_store::redis::RedisFar;
use ordain_store::{
    Attribution, Change, ChangeLog, Far, FarError, Origin, OriginError, Precondition, WriteError,
};
use ordain_tests::services::{self, RedisOptions};
use sqlx::Executor as _;

fn generous(url: String) -> PostgresOptions {
    // What is measured here is not how busy this machine is.
    let mut options = PostgresOptions::new(url);
    options.deadline = Duration::from_secs(10);
    options.feed_deadline = Duration::from_secs(5);
    options
}

async fn migrate(url: &str) {
    let migrated = Postgres::migrate(url, &SchemaName::default()).await;
    migrated.expect("migrated");
}

async fn postgres() -> Arc<Postgres> {
    let url = services::Postgres::shared().database();
    migrate(&url).await;
    Postgres::connect(generous(url)).expect("a proper URL")
}

/// Long enough on a busy machine.
const PATIENT: Duration = Duration::from_secs(5);

macro_rules! origins {
    ($($name:ident($($argument:ident),+);)+) => {
        mod memory_origin {
            $(#[tokio::test]
            async fn $name() {
                let origin = super::MemoryOrigin::new();
                super::contract::$name($(origins!(@ $argument origin)),+).await;
            })+
        }
        mod postgres_origin {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let origin = super::postgres().await;
                super::contract::$name($(origins!(@ $argument *origin)),+).await;
            })+
        }
    };
    (@ origin $value:expr) => { &$value };
    (@ log $value:expr) => { &$value };
}

origins! {
    reads_carry_the_head(origin);
    several_keys_are_one_snapshot(origin);
    configs_are_read_as_they_were_written(origin);
    every_level_is_a_record_of_its_own(origin);
    configs_that_the_table_cannot_hold_are_rejected(origin);
    levels_can_be_audited(origin);
    levels_are_listed_in_byte_order(origin);
    revisions_strictly_grow(origin);
    preconditions(origin);
    broken_records_are_rejected(origin);
    history_is_attributed_and_paged(origin);
    pages_are_bounded_by_bytes(origin);
    tenants_are_listed_in_byte_order(origin);
    many_are_put_at_once(origin, log);
    the_log_is_read_in_order(origin, log);
    a_change_wakes_the_feed(origin, log);
    concurrent_writers_are_put_in_order(origin, log);
    settings_are_logged_one_by_one_and_read_as_a_whole(origin, log);
    broken_settings_are_rejected(origin, log);
    settings_change_only_if_others_are_as_expected(origin, log);
    component_files_are_kept_by_digest(origin);
    broken_component_files_are_rejected(origin);
    old_component_files_go_unless_a_setting_names_them(origin);
    a_purge_is_a_row_of_its_tenant_or_of_all(origin, log);
    a_pruned_log_keeps_its_newest_rows_and_shows_that_it_was_pruned(origin, log);
    the_notification_queue_is_measured(origin, log);
    settings_purges_and_prunes_wake_the_feed(origin, log);
}

async fn far_contract<F: Future<Output = ()>>(far: &dyn Far, plant: impl Fn(String, Vec<u8>) -> F) {
    contract::far_returns_what_was_put(far).await;
    contract::far_values_expire(far).await;
    contract::far_puts_only_what_is_newer(far).await;
    contract::far_overwrites_what_it_cannot_read(far, plant).await;
}

#[tokio::test]
async fn far_in_memory_keeps_the_contract() {
    let far = MemoryFar::new();
    far_contract(&far, async |key, value| far.plant(&key, &value, PATIENT)).await;
}

#[tokio::test]
async fn far_in_redis_keeps_the_contract() {
    let redis = services::Redis::start();
    let far = RedisFar::connect(&redis.url(), PATIENT).expect("a proper URL");
    let bare = redis::Client::open(redis.url()).expect("a proper URL");
    let bare = bare
        .get_multiplexed_async_connection()
        .await
        .expect("Redis answers");
    far_contract(&far, async |key, value| {
        let mut bare = bare.clone();
        redis::cmd("SET")
            .arg(key)
            .arg(value)
            .exec_async(&mut bare)
            .await
            .expect("planted");
    })
    .await;

    // A4: of another type.
    let mut bare = bare.clone();
    redis::cmd("RPUSH")
        .arg("list")
        .arg("x")
        .exec_async(&mut bare)
        .await
        .expect("planted");
    assert_eq!(far.get(&["list".to_owned()]).await, Ok(vec![None]));
    let value = format!("o1{:020}{}", 1, "-".repeat(40)).into_bytes();
    assert_eq!(far.put("list", &value, b"", PATIENT).await, Ok(true));
    assert_eq!(far.get(&["list".to_owned()]).await, Ok(vec![Some(value)]));
}

/// Repeats a call of far until it succeeds.
async fn until_far_answers(far: &RedisFar) {
    let until = Instant::now() + Duration::from_secs(20);
    while let Err(error) = far.get(&["key".to_owned()]).await {
        assert!(Instant::now() < until, "far does not come back: {error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn redis_may_be_down_at_first_and_go_and_come_again() {
    let redis = services::Redis::start_with(RedisOptions {
        tcp: true,
        ..RedisOptions::default()
    });
    redis.stop();
    for url in [redis.url(), redis.tcp_url()] {
        let far = RedisFar::connect(&url, Duration::from_millis(200)).expect("a proper URL");
        assert!(matches!(
            far.get(&["key".to_owned()]).await,
            Err(FarError::Unavailable(_))
        ));
        redis.restart_empty();
        until_far_answers(&far).await;
        redis.stop();
        assert!(far.get(&["key".to_owned()]).await.is_err());
        assert!(far.put("key", b"", b"", PATIENT).await.is_err());
        redis.restart_empty();
        until_far_answers(&far).await;
        // The script is gone with the old server, and loaded again.
        assert_eq!(far.put("key", b"", b"", PATIENT).await, Ok(true));
        redis.stop();
    }
}

#[tokio::test]
async fn a_hung_redis_costs_its_deadline_and_no_more() {
    let redis = services::Redis::start();
    let far = RedisFar::connect(&redis.url(), Duration::from_millis(50)).expect("a proper URL");
    until_far_answers(&far).await;
    redis.freeze();
    for _ in 0..40 {
        let start = Instant::now();
        assert!(far.get(&["key".to_owned()]).await.is_err());
        assert!(
            start.elapsed() < Duration::from_millis(250),
            "took {:?}",
            start.elapsed()
        );
    }
    redis.thaw();
    until_far_answers(&far).await;
}

#[tokio::test]
async fn a_wrong_password_is_an_error_until_it_is_put_right() {
    let options = RedisOptions {
        password: Some("right-one".to_owned()),
        tcp: true,
        ..RedisOptions::default()
    };
    let redis = services::Redis::start_with(options);
    for url in [redis.url(), redis.tcp_url()] {
        let far = RedisFar::connect(&url, PATIENT).expect("a proper URL");
        until_far_answers(&far).await;
        assert!(!far.describe().contains("right-one"), "{}", far.describe());
    }
    let wrong = redis.tcp_url().replace("right-one", "wrong-one");
    let far = RedisFar::connect(&wrong, Duration::from_millis(200)).expect("a proper URL");
    let Err(FarError::Unavailable(error)) = far.get(&["key".to_owned()]).await else {
        panic!("a wrong password is let in");
    };
    assert!(!error.contains("wrong-one") && !error.is_empty(), "{error}");

    let admin = redis::Client::open(redis.url()).expect("a proper URL");
    let mut admin = admin
        .get_multiplexed_async_connection()
        .await
        .expect("Redis answers");
    let config = redis::cmd("CONFIG")
        .arg(&["SET", "requirepass", "wrong-one"])
        .to_owned();
    config.exec_async(&mut admin).await.expect("changed");
    until_far_answers(&far).await;
}

#[test]
fn broken_urls_are_errors_that_keep_the_password() {
    for url in [
        "",
        "nonsense",
        "http://u:s3cret@h/",
        "redis://u:s3cret@h:99999/",
        "redis://u:s3cret@h/x",
        "rediss://u:s3cret@h/#insecure",
        "redis+cluster://u:s3cret@a:1,b:2/1",
    ] {
        let error = RedisFar::connect(url, PATIENT)
            .err()
            .expect(url)
            .to_string();
        assert!(
            !error.contains("s3cret") && error.contains("Redis URL"),
            "{error}"
        );
    }
    for url in [
        "",
        "nonsense",
        "mysql://u:s3cret@h/d",
        "postgres://u:s3cret@h:99999/d",
        "postgres://u:s3cret@h/d?sslmode=x",
    ] {
        let error = Postgres::connect(PostgresOptions::new(url))
            .err()
            .expect(url)
            .to_string();
        assert!(
            !error.contains("s3cret") && error.contains("database URL"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn places_are_described_without_credentials() {
    let origin = Postgres::connect(PostgresOptions::new(
        "postgres://ann:s3cret@db.example:6543/shop",
    ));
    assert_eq!(
        origin.expect("a proper URL").describe(),
        "postgres at db.example:6543/shop"
    );
    let origin = Postgres::connect(PostgresOptions::new(
        "postgres://ann@localhost/shop?host=/run/pg",
    ));
    assert_eq!(
        origin.expect("a proper URL").describe(),
        "postgres at /run/pg/shop"
    );
    let far = RedisFar::connect("redis://ann:s3cret@cache.example:6380/2", PATIENT);
    assert_eq!(
        far.expect("a proper URL").describe(),
        "redis at cache.example:6380"
    );
    let far = RedisFar::connect("redis+unix:///run/r.sock?pass=s3cret", PATIENT);
    assert_eq!(
        far.expect("a proper URL").describe(),
        "redis at /run/r.sock"
    );
    let far = RedisFar::connect("rediss+cluster://ann:s3cret@a:1,b:2", PATIENT);
    assert_eq!(
        far.expect("a proper URL").describe(),
        "redis cluster at a:1, b:2 (TLS)"
    );
}

async fn write(origin: &Postgres) -> Result<u64, WriteError> {
    let by = Attribution {
        actor: "test".to_owned(),
        ..Attribution::default()
    };
    let change = Change::Put(contract::body("m"));
    let written = origin
        .write(
            &Key::policy(&contract::tenant("a")),
            change,
            Precondition::None,
            &by,
        )
        .await;
    written.map(|written| written.revision)
}

async fn read(origin: &Postgres) -> Result<u64, OriginError> {
    let snapshot = origin.read(&[Key::policy(&contract::tenant("a"))]).await?;
    Ok(snapshot.records[0]
        .as_ref()
        .map_or(0, |record| record.revision))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_may_be_down_at_first_and_be_restarted_without_an_error() {
    let server = services::Postgres::start();
    let url = server.database();
    migrate(&url).await;
    let origin = Postgres::connect(generous(url)).expect("a proper URL");
    server.kill();
    let start = Instant::now();
    assert!(matches!(
        read(&origin).await,
        Err(OriginError::Unavailable(_))
    ));
    assert!(matches!(
        write(&origin).await,
        Err(WriteError::Origin(OriginError::Unavailable(_)))
    ));
    assert!(matches!(
        origin.newest(10).await,
        Err(OriginError::Unavailable(_))
    ));
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "a refusal needs no deadline"
    );
    server.restart();
    let revision = write(&origin).await.expect("written");

    // Several pooled connections, all dead after the restart: each call still succeeds.
    for round in 0..2 {
        let many = futures_of(12, || read(&origin)).await;
        assert!(
            many.iter().all(|read| *read == Ok(revision)),
            "round {round}: {many:?}"
        );
        assert!(origin.since(0, 10).await.is_ok());
        server.restart();
    }
    assert_eq!(read(&origin).await, Ok(revision));
    assert!(write(&origin).await.expect("written") > revision);
    assert_eq!(origin.since(0, 10).await.map(|rows| rows.len()), Ok(2));
}

async fn futures_of<T, F: Future<Output = T>>(n: usize, make: impl Fn() -> F) -> Vec<T> {
    futures::future::join_all((0..n).map(|_| make())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_postgres_costs_its_deadline_and_writes_nothing() {
    let server = services::Postgres::start();
    let url = server.database();
    migrate(&url).await;
    let mut options = PostgresOptions::new(url);
    options.deadline = Duration::from_millis(400);
    options.feed_deadline = Duration::from_millis(200);
    let origin = Postgres::connect(options).expect("a proper URL");
    let until = Instant::now() + PATIENT;
    let revision = loop {
        match write(&origin).await {
            Ok(revision) => break revision,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    };
    while origin.since(0, 10).await.is_err() {
        assert!(Instant::now() < until);
    }

    server.stop_signal();
    let start = Instant::now();
    assert_eq!(read(&origin).await, Err(OriginError::Late));
    assert!(
        start.elapsed() < Duration::from_millis(900),
        "took {:?}",
        start.elapsed()
    );
    assert_eq!(
        write(&origin).await,
        Err(WriteError::Origin(OriginError::Late))
    );
    let start = Instant::now();
    assert_eq!(origin.since(0, 10).await, Err(OriginError::Late));
    assert!(
        start.elapsed() < Duration::from_millis(700),
        "took {:?}",
        start.elapsed()
    );
    server.cont();

    let until = Instant::now() + Duration::from_secs(20);
    while read(&origin).await.is_err() || origin.since(0, 10).await.is_err() {
        assert!(Instant::now() < until, "the origin does not come back");
    }
    assert_eq!(
        read(&origin).await,
        Ok(revision),
        "a late write was not written"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_lock_makes_writes_busy_and_leaves_reads_alone() {
    let origin = {
        let url = services::Postgres::shared().database();
        migrate(&url).await;
        let holder = url.clone();
        let mut options = PostgresOptions::new(url);
        options.deadline = Duration::from_secs(2);
        (Postgres::connect(options).expect("a proper URL"), holder)
    };
    let (origin, url) = origin;
    let revision = write(&origin).await.expect("written");
    let mut holder = ordain_tests::sql::connect(&url).await.expect("connected");
    holder
        .execute("BEGIN; UPDATE policies SET body = body")
        .await
        .expect("the lock is held");

    let writers = futures_of(20, || write(&origin));
    let readers = async {
        for _ in 0..20 {
            assert_eq!(read(&origin).await, Ok(revision));
        }
    };
    let (written, ()) = tokio::join!(writers, readers);
    assert!(
        written.iter().all(|write| *write == Err(WriteError::Busy)),
        "{written:?}"
    );
    holder.execute("ROLLBACK").await.expect("the lock is free");
    assert!(write(&origin).await.expect("written") > revision);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prune_that_waits_for_rows_stops_no_write_and_a_second_one_waits_for_it() {
    let url = services::Postgres::shared().database();
    migrate(&url).await;
    let origin = Postgres::connect(generous(url.clone())).expect("a proper URL");
    for _ in 0..5 {
        write(&origin).await.expect("written");
    }
    let mut holder = ordain_tests::sql::connect(&url).await.expect("connected");
    let hold = "BEGIN; SELECT FROM changes ORDER BY position LIMIT 1 FOR UPDATE";
    holder.execute(hold).await.expect("a row is held");
    let prune = || {
        let origin = origin.clone();
        let before = std::time::SystemTime::now() + Duration::from_secs(3600);
        tokio::spawn(async move { origin.prune(before, 2, &Attribution::default()).await })
    };
    let prunes = [prune(), prune()];
    let mut observer = ordain_tests::sql::connect(&url).await.expect("connected");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
         AND datname = current_database() AND query LIKE '%log_prune%'";
    let until = Instant::now() + PATIENT;
    while sqlx::query_scalar::<_, i64>(waiting)
        .fetch_one(&mut observer)
        .await
        .expect("counted")
        < 2
    {
        assert!(Instant::now() < until, "the prunes do not wait");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..3 {
        write(&origin).await.expect("a write waits for no prune");
    }
    assert!(prunes.iter().all(|prune| !prune.is_finished()));
    holder.execute("ROLLBACK").await.expect("the row is free");
    let mut rows = Vec::new();
    for prune in prunes {
        rows.push(prune.await.expect("no panic").expect("pruned").rows);
    }
    rows.sort_unstable();
    // The first one counted five rows when it began, the second one eight and the record.
    assert_eq!(rows, [3, 3]);
    let (left, whole) = origin.newest(10).await.expect("the log answers");
    let records = left.iter().filter(|row| row.records_a_prune()).count();
    assert_eq!((left.len(), records, whole), (4, 2, false));
}

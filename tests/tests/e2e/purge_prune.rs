//! `purge` and `prune` on running instances: what got past the triggers is served until somebody
//! purges, and then nowhere; and no host takes what is left of a pruned log for the whole.

use std::time::{Duration, Instant};

use ordain_tests::app::{App, Builder};
use ordain_tests::cli::cli;
use ordain_tests::http::Reply;
use ordain_tests::tokens::ACTOR;
use ordain_tests::wait::{PATIENCE, eventually, holds};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

use crate::support::{
    BOUND, Deployment, caught_up, far_key, model, plain, psql, redis_cli, version, warm,
};

pub const PURGE: &str = "/v1/caches/purge";
pub const PRUNE: &str = "/v1/log/prune";

/// What an answer says of a tenant: its model, or `none`.
fn said(reply: &Reply) -> String {
    match reply.json["allow"] == true {
        true => model(&reply.json).to_owned(),
        false => "none".to_owned(),
    }
}

/// Asks until the answer is the new one. No request that began more than the bound after the commit
/// gets an older one that is not marked stale.
async fn becomes(app: &App, tenant: &str, committed: Instant, new: &str) {
    loop {
        let began = Instant::now();
        let late = began.duration_since(committed);
        let reply = app.resolve(&plain(tenant)).await;
        assert!(late < PATIENCE, "{reply:?}");
        if reply.status != 200 || reply.json["provenance"]["stale"] == true {
            // Nothing, or what says of itself that it is old.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        if said(&reply) == new {
            return;
        }
        assert!(
            late <= BOUND,
            "old {late:?} after the commit: {}",
            reply.text
        );
    }
}

async fn purges(app: &App) -> u64 {
    let ready = app.get("/readyz").await;
    ready.json["dependencies"]["feed"]["purges"]
        .as_u64()
        .unwrap_or_else(|| panic!("no purges: {ready:?}"))
}

pub async fn watermark(app: &App) -> i64 {
    let ready = app.get("/v1/caches").await;
    ready.json["dependencies"]["feed"]["watermark"]
        .as_i64()
        .unwrap_or_else(|| panic!("no watermark: {ready:?}"))
}

async fn get(redis: &mut MultiplexedConnection, key: &str) -> Vec<u8> {
    let mut get = redis::cmd("GET");
    get.arg(key).query_async(redis).await.expect("GET")
}

async fn set(redis: &mut MultiplexedConnection, key: &str, value: &[u8]) {
    let mut set = redis::cmd("SET");
    let set = set.arg(key).arg(value).query_async::<()>(redis);
    set.await.expect("SET");
}

async fn count(psql: &mut sqlx::PgConnection, which: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM changes WHERE {which}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .fetch_one(psql)
        .await
        .expect("counted")
}

/// Puts a tenant's policy behind the back of the triggers.
async fn edit_past_the_triggers(database: &str, tenant: &str, policy: &Value) {
    let mut psql = psql(database).await;
    sqlx::raw_sql("SET session_replication_role = replica")
        .execute(&mut psql)
        .await
        .expect("the tests are a superuser");
    let edited = sqlx::query("UPDATE policies SET body = $1 WHERE tenant = $2")
        .bind(policy.to_string())
        .bind(tenant)
        .execute(&mut psql)
        .await
        .expect("edited");
    assert_eq!(edited.rows_affected(), 1);
}

#[tokio::test]
async fn what_got_past_the_triggers_is_served_until_a_purge_and_never_after() {
    let deployment = Deployment::start().await;
    let (one, two) = futures::join!(
        roomy(&deployment, "one").start(),
        roomy(&deployment, "two").start()
    );
    let mut redis = redis_cli(&deployment.redis.url()).await;
    let mut old = Vec::new();
    for tenant in ["t", "u"] {
        let revision = one.store(tenant, &version(1)).await;
        caught_up(&one, revision).await;
        warm(&one, tenant).await;
        let key = far_key(&mut redis, tenant).await;
        old.push((get(&mut redis, &key).await, key));
        warm(&two, tenant).await;
        edit_past_the_triggers(&deployment.database, tenant, &version(2)).await;
    }
    // Whatever the feeds read, nobody has told them.
    let told = one.store("other", &version(0)).await;
    for app in [&one, &two] {
        caught_up(app, told).await;
        for tenant in ["t", "u"] {
            let reply = app.resolve(&plain(tenant)).await.expect(200);
            assert_eq!((said(&reply).as_str(), reply.tier()), ("m1", "near"));
        }
    }

    // Of one tenant: at once here, within the bound there, and the other tenant is not touched.
    let purged = one.post(PURGE, &json!({"tenant": "t"})).await.expect(200);
    let committed = Instant::now();
    assert_eq!(purged.revision(), purged.ordain_revision());
    assert!(purged.revision() > told);
    let here = one.resolve(&plain("t")).await.expect(200);
    assert_eq!(said(&here), "m2", "{here:?}");
    becomes(&two, "t", committed, "m2").await;
    for app in [&one, &two] {
        caught_up(app, purged.revision()).await;
        let reply = app.resolve(&plain("u")).await.expect(200);
        assert_eq!((said(&reply).as_str(), reply.tier()), ("m1", "near"));
        assert_eq!(model(&warm(app, "t").await), "m2");
    }
    // What far had is no answer any more, not even for who starts now.
    set(&mut redis, &old[0].1, &old[0].0).await;
    let three = roomy(&deployment, "three").start().await;
    let reply = three.resolve(&plain("t")).await.expect(200);
    assert_eq!(said(&reply), "m2", "{reply:?}");

    // Of all, by the command line, at the other instance.
    let printed = cli(["purge", "--reason", "by hand", "--server", two.base()]).await;
    let committed = Instant::now();
    let printed = printed.expect(0);
    assert!(
        printed.stdout.contains("all tenants: purged, revision "),
        "{printed:?}"
    );
    assert_eq!(said(&two.resolve(&plain("u")).await.expect(200)), "m2");
    for app in [&one, &three] {
        becomes(app, "u", committed, "m2").await;
    }
    let logged: Vec<(Option<String>, String, Option<String>)> = sqlx::query_as(
        "SELECT tenant, actor, reason FROM changes WHERE op = 'purge' ORDER BY position",
    )
    .fetch_all(&mut psql(&deployment.database).await)
    .await
    .expect("the log");
    let row = |tenant: Option<&str>, reason: Option<&str>| {
        let text = |text: &str| text.to_owned();
        (tenant.map(text), text(ACTOR), reason.map(text))
    };
    assert_eq!(logged, [row(Some("t"), None), row(None, Some("by hand"))]);
}

/// What is answered is in question here, not how fast a busy machine writes.
fn roomy(deployment: &Deployment, name: &str) -> Builder {
    deployment
        .patient(name)
        .env("ORDAIN_ORIGIN_DEADLINE", "5s")
        .env("ORDAIN_REQUEST_DEADLINE", "10s")
}

/// Instances with a window so small that a test can fill it.
pub fn small(deployment: &Deployment, name: &str) -> Builder {
    roomy(deployment, name).env("ORDAIN_WINDOW", "10")
}

pub async fn some_writes(app: &App, number: usize) -> u64 {
    let mut last = 0;
    for n in 0..number {
        last = app.store(&format!("some-{n}"), &version(n)).await;
    }
    last
}

#[tokio::test]
async fn a_prune_keeps_the_window_and_instances_stay_right() {
    let deployment = Deployment::start().await;
    let (one, two) = futures::join!(
        small(&deployment, "one").start(),
        small(&deployment, "two").start()
    );
    let nothing = one.post(PRUNE, &json!({"before": "0s"})).await.expect(200);
    assert_eq!(nothing.json, json!({"pruned": 0}));
    one.store("t", &version(7)).await;
    let last = some_writes(&one, 30).await;
    for app in [&one, &two] {
        caught_up(app, last).await;
        warm(app, "t").await;
    }
    // An age that nothing has yet, a window that is all of it.
    for before in ["1d", "2026-01-31T00:00:00Z"] {
        let reply = one
            .post(PRUNE, &json!({"before": before}))
            .await
            .expect(200);
        assert_eq!(reply.json, json!({"pruned": 0}), "{before}");
        assert!(reply.ordain_revision() >= last);
    }
    let call = one.call("POST", PRUNE).header("ordain-reason", "too much");
    let pruned = call.json(&json!({"before": "0s"})).send().await.expect(200);
    assert_eq!(pruned.json["pruned"], 21, "{pruned:?}");
    assert_eq!(pruned.revision(), pruned.ordain_revision());
    assert!(pruned.json.get("more").is_none(), "{pruned:?}");
    let mut log = psql(&deployment.database).await;
    assert_eq!(count(&mut log, "true").await, 11);
    assert_eq!(
        count(&mut log, "op = 'prune' AND reason = 'too much'").await,
        1
    );

    // Nobody started anew, what was warm is warm, and what is written now is seen as ever.
    for app in [&one, &two] {
        caught_up(app, pruned.revision()).await;
        assert_eq!(purges(app).await, 0);
        let reply = app.resolve(&plain("t")).await.expect(200);
        assert_eq!((said(&reply).as_str(), reply.tier()), ("m7", "near"));
    }
    let three = small(&deployment, "three").start().await;
    for tenant in ["t", "some-0", "some-29"] {
        let expected = said(&one.resolve(&plain(tenant)).await.expect(200));
        assert_eq!(
            said(&three.resolve(&plain(tenant)).await.expect(200)),
            expected
        );
    }
    one.store("t", &version(8)).await;
    let committed = Instant::now();
    for app in [&two, &three] {
        becomes(app, "t", committed, "m8").await;
    }
    let history = one.get("/v1/tenants/t/history").await.expect(200);
    let items = history.json["items"].as_array().expect("items");
    assert_eq!(items.len(), 1, "its older row is gone: {history:?}");
}

#[tokio::test]
async fn an_instance_that_slept_through_a_prune_starts_anew_and_is_right() {
    let deployment = Deployment::start().await;
    let (one, two) = futures::join!(
        small(&deployment, "one").start(),
        small(&deployment, "two").start()
    );
    let mut redis = redis_cli(&deployment.redis.url()).await;
    let first = one.store("t", &version(1)).await;
    caught_up(&one, first).await;
    warm(&one, "t").await;
    let key = far_key(&mut redis, "t").await;
    let old = get(&mut redis, &key).await;
    caught_up(&two, first).await;
    warm(&two, "t").await;
    let (known, before) = (watermark(&two).await, purges(&two).await);

    two.freeze();
    one.store("t", &version(2)).await;
    let committed = Instant::now();
    some_writes(&one, 20).await;
    let pruned = one.post(PRUNE, &json!({"before": "0s"})).await.expect(200);
    assert!(pruned.json["pruned"].as_u64() >= Some(11), "{pruned:?}");
    let mut log = psql(&deployment.database).await;
    assert_eq!(count(&mut log, &format!("position <= {known}")).await, 0);
    assert_eq!(count(&mut log, "tenant = 't'").await, 0);
    set(&mut redis, &key, &old).await;
    two.thaw();
    becomes(&two, "t", committed, "m2").await;
    let anew = || async {
        let now = purges(&two).await;
        holds(now > before, format!("{now} purges"))
    };
    eventually("it starts anew", PATIENCE, anew).await;
    caught_up(&two, pruned.revision()).await;
    assert_eq!(model(&warm(&two, "t").await), "m2");

    // And who starts now does not take the old value from far.
    set(&mut redis, &key, &old).await;
    let three = small(&deployment, "three").start().await;
    let reply = three.resolve(&plain("t")).await.expect(200);
    assert_eq!(said(&reply), "m2", "{reply:?}");
}

/// The one position that is no row: as of an empty log.
#[tokio::test]
async fn what_was_read_of_an_empty_log_does_not_survive_a_prune() {
    let deployment = Deployment::start().await;
    // The second one has room for all that is left of the log, so it applies it row by row.
    let (one, two) = futures::join!(
        small(&deployment, "one").start(),
        roomy(&deployment, "two").start()
    );
    let mut redis = redis_cli(&deployment.redis.url()).await;
    warm(&one, "t").await;
    let key = far_key(&mut redis, "t").await;
    let old = get(&mut redis, &key).await;
    assert!(old.starts_with(b"o100000000000000000000"), "as of 0");
    let answer = warm(&two, "t").await;
    assert_eq!(answer["refusal"]["code"], "no-policy");

    two.freeze();
    one.store("t", &version(1)).await;
    let committed = Instant::now();
    some_writes(&one, 20).await;
    one.post(PRUNE, &json!({"before": "0s"})).await.expect(200);
    let mut log = psql(&deployment.database).await;
    assert_eq!(count(&mut log, "tenant = 't'").await, 0, "its row is gone");
    set(&mut redis, &key, &old).await;
    two.thaw();
    becomes(&two, "t", committed, "m1").await;

    set(&mut redis, &key, &old).await;
    let three = roomy(&deployment, "three").start().await;
    let reply = three.resolve(&plain("t")).await.expect(200);
    assert_eq!(said(&reply), "m1", "{reply:?}");
}

#[tokio::test]
async fn a_large_prune_is_done_in_steps_while_others_write() {
    let deployment = Deployment::start().await;
    let one = small(&deployment, "one").start().await;
    some_writes(&one, 15).await;
    let mut log = psql(&deployment.database).await;
    // As a log of months, in a moment.
    let rows = "SET session_replication_role = replica; \
         INSERT INTO changes (position, tenant, subject, op, body, actor, at) \
         SELECT n, 't' || n % 100, 'policy', 'put', '{}', 'x', now() - interval '90 days' \
         FROM generate_series(1, 120000) n";
    sqlx::raw_sql(rows)
        .execute(&mut log)
        .await
        .expect("inserted");
    let writes = async {
        let mut slowest = Duration::ZERO;
        for n in 0..60 {
            let began = Instant::now();
            one.store("busy", &version(n)).await;
            slowest = slowest.max(began.elapsed());
        }
        slowest
    };
    let prune = async {
        let began = Instant::now();
        let args = [
            "log",
            "prune",
            "--before",
            "30d",
            "--json",
            "--server",
            one.base(),
        ];
        (cli(args).await.expect(0).json(), began.elapsed())
    };
    let (slowest, (pruned, took)) = futures::join!(writes, prune);
    println!("120,000 rows went in {took:?}; the slowest of 60 writes beside took {slowest:?}");
    assert_eq!(pruned["pruned"], 120_000, "{pruned}");
    let records = count(&mut log, "op = 'prune'").await;
    assert!((2..=13).contains(&records), "{records} transactions");
    assert_eq!(count(&mut log, "op <> 'prune'").await, 75);
    let head: i64 = sqlx::query_scalar("SELECT max(position) FROM changes WHERE op = 'prune'")
        .fetch_one(&mut log)
        .await
        .expect("a position");
    assert_eq!(pruned["revision"], head);
}

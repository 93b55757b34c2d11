//! Servers that die, hang, lose everything or do not let us in, during traffic.

use std::time::{Duration, Instant};

use ordain_tests::app::App;
use ordain_tests::http::Reply;
use ordain_tests::services::{Postgres, Redis, RedisOptions};
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::json;

use crate::support::{
    BOUND, Deployment, REQUEST_DEADLINE, SLACK, caught_up, database, far_key, model, plain,
    redis_cli, version, warm,
};

/// One request, which must be over within the request's deadline, whatever the answer.
async fn timed(app: &App, tenant: &str) -> Reply {
    let start = Instant::now();
    let reply = app.resolve(&plain(tenant)).await;
    let took = start.elapsed();
    assert!(took <= REQUEST_DEADLINE + SLACK, "{took:?}: {reply:?}");
    reply
}

/// Stores some policies and returns their tenants.
async fn some_tenants(app: &App, count: usize) -> Vec<String> {
    let tenants: Vec<String> = (0..count)
        .map(|number| format!("tenant-{number}"))
        .collect();
    for (number, tenant) in tenants.iter().enumerate() {
        app.store(tenant, &version(number)).await;
    }
    tenants
}

/// Every tenant is answered, rightly, while far is out of order.
async fn all_are_answered(app: &App, tenants: &[String]) {
    let answers = tenants
        .iter()
        .enumerate()
        .map(|(number, tenant)| async move {
            let reply = timed(app, tenant).await.expect(200);
            assert_eq!(model(&reply.json), format!("m{number}"));
            assert_ne!(reply.tier(), "far");
        });
    futures::future::join_all(answers).await;
}

#[tokio::test]
async fn a_stopped_redis_costs_no_answer_and_is_used_again_when_it_is_back() {
    let deployment = Deployment::start().await;
    let (one, two) = futures::join!(
        deployment.instance("one").start(),
        deployment.instance("two").start()
    );
    let tenants = some_tenants(&one, 20).await;
    warm(&one, &tenants[0]).await;
    deployment.redis.stop();
    all_are_answered(&one, &tenants).await;
    all_are_answered(&two, &tenants).await;
    let ready = one.get("/readyz").await.expect(200);
    assert!(ready.text.contains("degraded"), "{}", ready.text);
    // An instance that starts without its Redis works as well.
    let three = deployment.instance("three").start().await;
    all_are_answered(&three, &tenants).await;

    deployment.redis.restart_empty();
    let used = |number: usize| {
        let (one, redis) = (&one, deployment.redis.url());
        async move {
            let tenant = format!("after-{number}");
            let revision = one.store(&tenant, &version(number)).await;
            caught_up(one, revision).await;
            timed(one, &tenant).await.expect(200);
            let mut redis = redis_cli(&redis).await;
            let keys: usize = redis::cmd("DBSIZE")
                .query_async(&mut redis)
                .await
                .expect("DBSIZE");
            holds(keys > 0, "far is still empty")
        }
    };
    let mut number = 0;
    let again = || {
        number += 1;
        used(number)
    };
    eventually("far is used again", PATIENCE, again).await;
}

#[tokio::test]
async fn a_wrong_redis_password_costs_no_answer_and_stays_secret() {
    let redis = Redis::start_with(RedisOptions {
        password: Some("right-password".to_owned()),
        ..RedisOptions::default()
    });
    let url = redis.url().replace("right-password", "wrong-password");
    assert_ne!(url, redis.url(), "the URL carries the password");
    let app = App::builder()
        .postgres(&database().await)
        .redis(&url)
        .start()
        .await;
    let tenants = some_tenants(&app, 20).await;
    all_are_answered(&app, &tenants).await;
    all_are_answered(&app, &tenants).await;
    let ready = app.get("/readyz").await.expect(200);
    assert!(ready.text.contains("degraded"), "{}", ready.text);
    assert!(!app.log().contains("wrong-password"), "a secret in the log");
    assert!(
        !ready.text.contains("wrong-password"),
        "a secret in an answer"
    );
}

#[tokio::test]
async fn a_redis_that_hangs_during_traffic_costs_no_answer() {
    let deployment = Deployment::start().await;
    let app = deployment.instance("one").start().await;
    let tenants = some_tenants(&app, 40).await;
    for tenant in &tenants[..20] {
        warm(&app, tenant).await;
    }
    deployment.redis.freeze();
    // Warm and cold ones, at once and again and again, and writes between them.
    for round in 0..3 {
        all_are_answered(&app, &tenants).await;
        let start = Instant::now();
        app.store(&tenants[round], &version(round)).await;
        assert!(
            start.elapsed() < REQUEST_DEADLINE + SLACK,
            "a write waits for no cache"
        );
    }
    let three = deployment
        .instance("started with a hung Redis")
        .start()
        .await;
    all_are_answered(&three, &tenants).await;
    deployment.redis.thaw();
    all_after_thaw(&app, &tenants).await;
}

/// What was put while Redis hung is never an old answer afterwards.
async fn all_after_thaw(app: &App, tenants: &[String]) {
    for (number, tenant) in tenants.iter().enumerate() {
        let revision = app.store(tenant, &version(number + 1)).await;
        let reply = timed(app, tenant).await.expect(200);
        assert_eq!(reply.json["provenance"]["revision"], revision);
    }
}

#[tokio::test]
async fn an_emptied_redis_costs_no_answer_and_fills_again() {
    let deployment = Deployment::start().await;
    let app = deployment.instance("one").start().await;
    let tenants = some_tenants(&app, 10).await;
    all_are_answered(&app, &tenants).await;
    let mut redis = redis_cli(&deployment.redis.url()).await;
    redis::cmd("FLUSHALL")
        .query_async::<()>(&mut redis)
        .await
        .expect("FLUSHALL");
    all_are_answered(&app, &tenants).await;
    let revision = app.store("later", &version(1)).await;
    caught_up(&app, revision).await;
    timed(&app, "later").await.expect(200);
    far_key(&mut redis, "later").await;
}

#[tokio::test]
async fn a_postgres_that_hangs_leaves_stale_answers_for_what_is_known_and_quick_503s_for_the_rest()
{
    let postgres = Postgres::start();
    let redis = Redis::start();
    let app = App::builder()
        .postgres(&postgres.database())
        .redis(&redis.url())
        .start()
        .await;
    app.store("warm", &version(1)).await;
    app.store("cold", &version(2)).await;
    warm(&app, "warm").await;
    postgres.stop_signal();
    let frozen = Instant::now();
    let mut fresh = 0;
    let stale = loop {
        let asked = frozen.elapsed();
        let reply = timed(&app, "warm").await.expect(200);
        assert_eq!((reply.tier(), model(&reply.json)), ("near", "m1"));
        if reply.json["provenance"]["stale"] == true {
            break reply;
        }
        assert!(
            asked <= BOUND,
            "an answer {asked:?} after the last proof cannot be fresh"
        );
        fresh += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    // The last proof was at most one interval of the feed (250 ms) and its reply old.
    assert!(
        fresh >= 10,
        "near answered only {fresh} times within the bound"
    );
    let bound = u64::try_from(BOUND.as_millis()).unwrap();
    let age = stale.json["provenance"]["ageMs"].as_u64().expect("an age");
    assert!(age > bound, "{stale:?}");
    for tenant in ["cold", "nobody"] {
        let reply = timed(&app, tenant).await.error(503);
        assert!(!reply.header("retry-after").is_empty());
    }
    // From now on nobody waits for it.
    let open = || async {
        let ready = app.get("/readyz").await.expect(503).json;
        holds(
            ready["dependencies"]["origin"]["breaker"]["open"] == true,
            ready.to_string(),
        )
    };
    eventually("the breaker is open", PATIENCE, open).await;
    for tenant in ["warm", "cold", "nobody"] {
        let mut took: Vec<Duration> = Vec::new();
        for _ in 0..50 {
            let start = Instant::now();
            let reply = app.resolve(&plain(tenant)).await;
            took.push(start.elapsed());
            match tenant {
                "warm" => assert_eq!(reply.expect(200).json["provenance"]["stale"], true),
                _ => drop(reply.problem(503, "unavailable")),
            }
        }
        took.sort();
        assert!(
            took[25] < Duration::from_millis(300),
            "half of the answers for {tenant} took longer than {:?}, as if they had waited",
            took[25]
        );
    }
    // What was demanded and is not known here is no stale answer either (rule R2).
    let request = json!({"tenant": "warm", "minRevision": stale.ordain_revision()});
    assert_eq!(
        app.resolve(&request).await.expect(200).json["provenance"]["stale"],
        true
    );
    let request = json!({"tenant": "warm", "minRevision": stale.ordain_revision() + 1});
    app.resolve(&request).await.problem(503, "unavailable");
    // A batch of many cold tenants has the deadline of one request, not one for each.
    let cold: Vec<_> = (0..300).map(|n| plain(&format!("cold {n}"))).collect();
    let start = Instant::now();
    let batch = app.resolve(&json!(cold)).await.expect(200);
    let took = start.elapsed();
    assert!(took <= REQUEST_DEADLINE + SLACK, "a batch took {took:?}");
    for place in batch.json.as_array().expect("a list") {
        assert_eq!(place["problem"]["status"], 503, "{place}");
    }
    app.get("/healthz").await.expect(200);
    for path in [
        "/v1/tenants/x/policy",
        "/v1/tenants",
        "/v1/tenants/x/history",
    ] {
        let start = Instant::now();
        let reply = app.get(path).await.error(503);
        assert!(start.elapsed() <= SLACK && !reply.header("retry-after").is_empty());
    }
    let start = Instant::now();
    let write = app
        .put("/v1/tenants/x/policy", &version(3))
        .await
        .error(503);
    assert!(start.elapsed() <= SLACK && !write.header("retry-after").is_empty());

    postgres.cont();
    let back = || async {
        let reply = timed(&app, "cold").await;
        holds(reply.status == 200, format!("{reply:?}"))
    };
    eventually("answers again", PATIENCE, back).await;
    app.wait_ready().await;
    let answer = warm(&app, "warm").await;
    assert_eq!(
        (model(&answer), &answer["provenance"]["stale"]),
        ("m1", &json!(false))
    );
}

#[tokio::test]
async fn a_postgres_that_dies_leaves_stale_answers_up_to_the_limit_until_it_is_back() {
    let postgres = Postgres::start();
    let app = App::builder()
        .postgres(&postgres.database())
        .env("ORDAIN_STALE_LIMIT", "3s")
        .start()
        .await;
    app.store("t", &version(1)).await;
    warm(&app, "t").await;
    // A fact is known, too: that this tenant has no policy.
    warm(&app, "nobody").await;
    postgres.kill();
    let died = Instant::now();
    let mut stale = 0;
    loop {
        let asked = died.elapsed();
        let reply = timed(&app, "t").await;
        if reply.status != 200 {
            reply.problem(503, "unavailable");
            break;
        }
        let provenance = &reply.json["provenance"];
        let age = provenance["ageMs"].as_u64().expect("an age");
        assert!(age <= 3000, "{reply:?}");
        assert_eq!(provenance["stale"] == true, age > 1000, "{reply:?}");
        assert!(asked <= Duration::from_secs(3), "{asked:?}: {reply:?}");
        if provenance["stale"] == true {
            stale += 1;
            // Time for one more question within the limit.
            if age > 2500 {
                continue;
            }
            let nobody = timed(&app, "nobody").await.expect(200).json;
            assert_eq!(nobody["refusal"]["code"], "no-policy");
            assert_eq!(nobody["provenance"]["stale"], true);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(stale >= 10, "only {stale} stale answers in two seconds");
    let batch = app
        .resolve(&json!([plain("t"), plain("u")]))
        .await
        .expect(200);
    assert_eq!(batch.json[1]["problem"]["status"], 503);
    postgres.restart();
    let back = || async {
        let reply = timed(&app, "t").await;
        holds(
            reply.status == 200 && model(&reply.json) == "m1",
            format!("{reply:?}"),
        )
    };
    eventually("answers again", PATIENCE, back).await;
    let written = || async {
        let reply = app.put("/v1/tenants/t/policy", &version(2)).await;
        holds(reply.status == 200, format!("{reply:?}"))
    };
    eventually("writes are taken again", PATIENCE, written).await;
    assert_eq!(model(&app.resolve(&plain("t")).await.json), "m2");
}

#[tokio::test]
async fn a_stale_answer_is_never_older_than_a_change_that_this_instance_knows() {
    let postgres = Postgres::start();
    let redis = Redis::start();
    let app = App::builder()
        .postgres(&postgres.database())
        .redis(&redis.url())
        .env("ORDAIN_FAR_DEADLINE", "400ms")
        .start()
        .await;
    for tenant in ["changed", "deleted", "same"] {
        let revision = app.store(tenant, &version(1)).await;
        caught_up(&app, revision).await;
        warm(&app, tenant).await;
        far_key(&mut redis_cli(&redis.url()).await, tenant).await;
    }
    app.store("changed", &version(2)).await;
    app.delete("/v1/tenants/deleted/policy").await.expect(200);
    postgres.stop_signal();
    let stale = || async {
        let reply = timed(&app, "same").await.expect(200);
        holds(
            reply.json["provenance"]["stale"] == true,
            format!("{reply:?}"),
        )
    };
    eventually("what has not changed is answered", PATIENCE, stale).await;
    // Near lost them by the write, and what far holds of them is older than it.
    for tenant in ["changed", "deleted"] {
        timed(&app, tenant).await.problem(503, "unavailable");
    }
    postgres.cont();
}

#[tokio::test]
async fn a_locked_table_is_a_quick_503_its_queries_are_cancelled_and_near_goes_on() {
    let url = database().await;
    let app = App::builder().postgres(&url).start().await;
    app.store("warm", &version(1)).await;
    warm(&app, "warm").await;
    let mut psql = crate::support::psql(&url).await;
    let mut lock = sqlx::Connection::begin(&mut psql).await.expect("BEGIN");
    sqlx::query("LOCK TABLE policies IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *lock)
        .await
        .expect("LOCK");
    let crowd = (0..300).map(|number| {
        let app = &app;
        async move { timed(app, &format!("cold-{number}")).await.error(503) }
    });
    for reply in futures::future::join_all(crowd).await {
        assert!(!reply.header("retry-after").is_empty(), "{reply:?}");
    }
    let reply = timed(&app, "warm").await.expect(200);
    assert_eq!(
        reply.json["provenance"]["stale"], false,
        "the log is not locked"
    );
    let mut other = crate::support::psql(&url).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND wait_event_type = 'Lock'";
    // One probe at a time may be waiting.
    let cancelled = async || {
        let count: i64 = sqlx::query_scalar(waiting)
            .fetch_one(&mut other)
            .await
            .expect("a count");
        count <= 1
    };
    let start = Instant::now();
    let mut cancelled = cancelled;
    while !cancelled().await {
        assert!(start.elapsed() < PATIENCE, "queries wait on in the server");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    lock.rollback().await.expect("ROLLBACK");
    let back = || async {
        let reply = timed(&app, "cold-0").await;
        holds(reply.status == 200, format!("{reply:?}"))
    };
    eventually("answers again", PATIENCE, back).await;
}

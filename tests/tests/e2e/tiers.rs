//! Which tier answers, and what it costs: statements and commands are counted on the wire.

use ordain_tests::app::{App, Builder};
use ordain_tests::wait::{PATIENCE, eventually};
use serde_json::{Value, json};

use crate::support::{
    Deployment, caught_up, database, far_key, model, plain, redis_cli, redis_through_proxy,
    through_proxy, version, warm,
};

#[tokio::test]
async fn the_origin_fills_near_and_far_and_another_instance_is_answered_from_far() {
    let deployment = Deployment::start().await;
    let (one, two) = futures::join!(
        deployment.patient("one").start(),
        deployment.patient("two").start()
    );
    let revision = one.store("acme", &version(1)).await;
    caught_up(&one, revision).await;
    let first = one.resolve(&plain("acme")).await.expect(200);
    assert_eq!(
        (first.tier(), &first.json["provenance"]["revision"]),
        ("origin", &json!(revision))
    );
    let second = one.resolve(&plain("acme")).await.expect(200);
    assert_eq!(
        (second.tier(), &second.json["provenance"]["revision"]),
        ("near", &json!(revision))
    );

    far_key(&mut redis_cli(&deployment.redis.url()).await, "acme").await;
    caught_up(&two, revision).await;
    let first = two.resolve(&plain("acme")).await.expect(200);
    assert_eq!((first.tier(), model(&first.json)), ("far", "m1"));
    assert_eq!(two.resolve(&plain("acme")).await.expect(200).tier(), "near");
}

#[tokio::test]
async fn a_tenant_without_a_policy_is_remembered_too() {
    let deployment = Deployment::start().await;
    let (proxy, url) = through_proxy(&deployment.database).await;
    let app = App::builder()
        .postgres(&url)
        .redis(&deployment.redis.url())
        .start()
        .await;
    let revision = app.store("someone", &version(1)).await;
    caught_up(&app, revision).await;
    let reads = proxy.watch("unknown-tenant");
    assert_eq!(
        app.resolve(&plain("unknown-tenant"))
            .await
            .expect(200)
            .tier(),
        "origin"
    );
    for _ in 0..20 {
        let reply = app.resolve(&plain("unknown-tenant")).await.expect(200);
        assert_eq!(
            (reply.tier(), &reply.json["refusal"]["code"]),
            ("near", &json!("no-policy"))
        );
    }
    assert_eq!(reads.get(), 1);

    // Another instance learns even this from far.
    far_key(
        &mut redis_cli(&deployment.redis.url()).await,
        "unknown-tenant",
    )
    .await;
    let other = deployment.patient("other").start().await;
    caught_up(&other, revision).await;
    assert_eq!(
        other
            .resolve(&plain("unknown-tenant"))
            .await
            .expect(200)
            .tier(),
        "far"
    );

    // And it is forgotten as soon as there is a policy.
    app.store("unknown-tenant", &version(2)).await;
    assert_eq!(
        model(&app.resolve(&plain("unknown-tenant")).await.json),
        "m2"
    );
}

#[tokio::test]
async fn near_hits_touch_neither_postgres_nor_redis() {
    let deployment = Deployment::start().await;
    let (postgres, url) = through_proxy(&deployment.database).await;
    let (redis, redis_url) = redis_through_proxy(&deployment.redis.url()).await;
    let app = App::builder()
        .postgres(&url)
        .redis(&redis_url)
        .start()
        .await;
    app.store("warm-tenant", &version(1)).await;
    warm(&app, "warm-tenant").await;
    far_key(&mut redis_cli(&deployment.redis.url()).await, "warm-tenant").await;

    let (statements, commands) = (postgres.watch("warm-tenant"), redis.watch("warm-tenant"));
    for _ in 0..100 {
        assert_eq!(
            app.resolve(&plain("warm-tenant")).await.expect(200).tier(),
            "near"
        );
    }
    let batch: Vec<Value> = (0..100).map(|_| plain("warm-tenant")).collect();
    app.resolve(&json!(batch)).await.expect(200);
    assert_eq!((statements.get(), commands.get()), (0, 0));

    // The count would see one: a change takes the entry out of near.
    app.store("warm-tenant", &version(2)).await;
    app.resolve(&plain("warm-tenant")).await.expect(200);
    assert!(statements.get() > 0 && commands.get() > 0);
}

/// What is judged is how often the origin is asked, not whether a busy machine computes hundreds of
/// answers in time.
fn patient(builder: Builder) -> Builder {
    let builder = builder.env("ORDAIN_ORIGIN_DEADLINE", "10s");
    builder.env("ORDAIN_REQUEST_DEADLINE", "20s")
}

/// How often the origin was asked when many callers of one instance met a cold key at once.
async fn reads_of_a_crowd(app: &App, proxy: &ordain_tests::proxy::Proxy, tenant: &str) -> usize {
    let reads = proxy.watch(tenant);
    let request = plain(tenant);
    let replies = futures::future::join_all((0..200).map(|_| app.resolve(&request))).await;
    for reply in replies {
        assert_eq!(model(&reply.expect(200).json), "m1");
    }
    reads.get()
}

#[tokio::test]
async fn many_callers_of_one_cold_key_cost_one_read() {
    let url = database().await;
    let (proxy, through) = through_proxy(&url).await;
    let app = patient(App::builder().postgres(&through)).start().await;
    let mut revision = 0;
    for round in 0..5 {
        revision = app.store(&format!("crowd-{round}"), &version(1)).await;
    }
    caught_up(&app, revision).await;
    for round in 0..5 {
        assert_eq!(
            reads_of_a_crowd(&app, &proxy, &format!("crowd-{round}")).await,
            1,
            "round {round}"
        );
    }
}

#[tokio::test]
async fn many_callers_of_one_cold_key_cost_one_read_per_instance_with_redis() {
    let deployment = Deployment::start().await;
    let (proxy_one, url_one) = through_proxy(&deployment.database).await;
    let (proxy_two, url_two) = through_proxy(&deployment.database).await;
    let redis = deployment.redis.url();
    let start = |name, url| patient(App::builder().postgres(url).redis(&redis).name(name)).start();
    let (one, two) = futures::join!(start("one", &url_one), start("two", &url_two));
    let revision = one.store("crowd", &version(1)).await;
    futures::join!(caught_up(&one, revision), caught_up(&two, revision));
    let (reads_one, reads_two) = futures::join!(
        reads_of_a_crowd(&one, &proxy_one, "crowd"),
        reads_of_a_crowd(&two, &proxy_two, "crowd")
    );
    assert!(reads_one <= 1 && reads_two <= 1, "{reads_one}, {reads_two}");
    assert!(reads_one + reads_two >= 1);
}

#[tokio::test]
async fn a_batch_reads_each_of_its_tenants_once() {
    let (proxy, url) = through_proxy(&database().await).await;
    let app = App::builder().postgres(&url).start().await;
    let mut revision = 0;
    for tenant in ["batch-a", "batch-b"] {
        revision = app.store(tenant, &version(1)).await;
    }
    caught_up(&app, revision).await;
    let counts = [proxy.watch("batch-a"), proxy.watch("batch-b")];
    let batch: Vec<Value> = (0..300)
        .map(|n| plain(if n % 2 == 0 { "batch-a" } else { "batch-b" }))
        .collect();
    let reply = app.resolve(&json!(batch)).await.expect(200);
    assert!(
        reply
            .json
            .as_array()
            .expect("a list")
            .iter()
            .all(|answer| answer["allow"] == true)
    );
    assert_eq!(counts.map(|count| count.get()), [1, 1]);
}

#[tokio::test]
async fn caches_that_are_switched_off_are_not_used() {
    let deployment = Deployment::start().await;
    let off = deployment
        .patient("off")
        .env("ORDAIN_CACHE", "OFF")
        .start()
        .await;
    let no_near = deployment
        .patient("no near")
        .env("ORDAIN_CACHE_NEAR", "no")
        .start()
        .await;
    let revision = off.store("t", &version(1)).await;
    caught_up(&off, revision).await;
    for _ in 0..5 {
        assert_eq!(off.resolve(&plain("t")).await.expect(200).tier(), "origin");
    }
    let mut redis = redis_cli(&deployment.redis.url()).await;
    let keys: usize = redis::cmd("DBSIZE")
        .query_async(&mut redis)
        .await
        .expect("DBSIZE");
    assert_eq!(keys, 0, "an instance whose caches are off puts nothing");
    caught_up(&no_near, revision).await;
    assert_eq!(
        no_near.resolve(&plain("t")).await.expect(200).tier(),
        "origin"
    );
    far_key(&mut redis, "t").await;
    for _ in 0..5 {
        assert_eq!(no_near.resolve(&plain("t")).await.expect(200).tier(), "far");
    }
}

#[tokio::test]
async fn warm_values_stay_usable_in_far_for_instances_that_start_later() {
    let deployment = Deployment::start().await;
    let small = |name: &str| {
        let builder = deployment.patient(name).env("ORDAIN_WINDOW", "20");
        builder.env("ORDAIN_FAR_TTL", "2s")
    };
    let one = small("one").start().await;
    let revision = one.store("warm", &version(1)).await;
    caught_up(&one, revision).await;
    warm(&one, "warm").await;
    let mut redis = redis_cli(&deployment.redis.url()).await;
    let key = far_key(&mut redis, "warm").await;

    // Three lives of a value in far, and three windows of the log, with the record asked for all
    // along.
    let start = std::time::Instant::now();
    let mut number = 0;
    while start.elapsed() < std::time::Duration::from_secs(6) || number < 60 {
        one.store("others", &version(number)).await;
        number += 1;
        one.resolve(&plain("warm")).await.expect(200);
        let life: i64 = redis::cmd("PTTL")
            .arg(&key)
            .query_async(&mut redis)
            .await
            .expect("PTTL");
        assert!(life > 0, "it is gone from far after {:?}", start.elapsed());
    }
    // What the last writes have pushed out of the window is put again by the next pass.
    let restamps = async || {
        let metrics = one.get("/metrics").await.expect(200).text;
        let name = "ordain_tier_calls_total{tier=\"far\",call=\"restamp\"} ";
        let count = metrics.lines().find_map(|line| line.strip_prefix(name));
        count
            .and_then(|count| count.parse::<u64>().ok())
            .expect("a count")
    };
    let before = restamps().await;
    assert!(before > 0);
    let again = async || {
        one.resolve(&plain("warm")).await.expect(200);
        match restamps().await {
            now if now > before => Ok(()),
            now => Err(now),
        }
    };
    eventually("another pass", PATIENCE, again).await;
    // It is asked for while the other starts, or it would rightly be gone.
    let asked = async {
        loop {
            one.resolve(&plain("warm")).await.expect(200);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let two = tokio::select! {
        two = small("two").start() => two,
        () = asked => unreachable!("it asks for ever"),
    };
    let reply = two.resolve(&plain("warm")).await.expect(200);
    assert_eq!(
        (reply.tier(), model(&reply.json)),
        ("far", "m1"),
        "{reply:?}"
    );
}

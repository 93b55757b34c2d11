//! Real instances on a Redis Cluster, and on a Redis with TLS.

use std::time::Instant;

use ordain_tests::app::{App, Builder};
use ordain_tests::services::{Authority, Redis, RedisCluster, RedisOptions};
use ordain_tests::wait::{PATIENCE, eventually, holds};

use crate::support::{
    REQUEST_DEADLINE, SLACK, caught_up, database, far_key, model, plain, redis_cli, version,
};

/// With a deadline for far that a busy machine can keep.
fn patient(database: &str, url: &str, name: &str) -> Builder {
    App::builder()
        .postgres(database)
        .redis(url)
        .name(name)
        .env("ORDAIN_FAR_DEADLINE", "400ms")
}

/// The node that holds a value of this tenant, and its key.
fn place(cluster: &RedisCluster, tenant: &str) -> Option<(usize, String)> {
    (0..3).find_map(|node| {
        let mut keys = redis::cmd("KEYS");
        keys.arg(format!("*:{tenant}:*"));
        let keys: Vec<String> = keys.query(&mut cluster.connection(node)).expect("KEYS");
        Some((node, keys.into_iter().next()?))
    })
}

async fn placed(cluster: &RedisCluster, tenant: &str) -> (usize, String) {
    let look = || async { place(cluster, tenant).ok_or("it is not in far") };
    eventually(tenant, PATIENCE, look).await
}

/// Stores policies, the models of which are their numbers, and has them all put into far.
async fn stored(app: &App, cluster: &RedisCluster, count: usize) -> (Vec<(usize, String)>, u64) {
    let mut revision = 0;
    for number in 0..count {
        revision = app.store(&format!("t{number}"), &version(number)).await;
    }
    caught_up(app, revision).await;
    let mut places = Vec::new();
    for number in 0..count {
        let tenant = format!("t{number}");
        app.resolve(&plain(&tenant)).await.expect(200);
        places.push(placed(cluster, &tenant).await);
    }
    (places, revision)
}

#[tokio::test]
async fn instances_share_a_cluster_and_believe_nothing_that_it_mixes_up() {
    let cluster = RedisCluster::start();
    let database = database().await;
    let start = |name: &str| patient(&database, &cluster.url(), name).start();
    let (one, two) = futures::join!(start("one"), start("two"));
    let (places, revision) = stored(&one, &cluster, 24).await;
    for node in 0..3 {
        let there = places.iter().filter(|(at, _)| *at == node).count();
        assert!(there > 0, "node {node} holds nothing: {places:?}");
    }
    caught_up(&two, revision).await;

    // Values of other tenants, on the same node and from another one.
    for (number, stranger) in [(0, 1), (2, 3), (4, 5)] {
        let (from, key) = &places[stranger];
        let get = redis::cmd("GET").arg(key).to_owned();
        let foreign: Vec<u8> = get.query(&mut cluster.connection(*from)).expect("GET");
        let (to, key) = &places[number];
        let set = redis::cmd("SET").arg(key).arg(&foreign).to_owned();
        set.exec(&mut cluster.connection(*to)).expect("SET");
        let reply = two.resolve(&plain(&format!("t{number}"))).await.expect(200);
        assert_eq!(model(&reply.json), format!("m{number}"));
        assert_eq!(reply.tier(), "origin", "{reply:?}");
    }
    for number in 6..24 {
        let reply = two.resolve(&plain(&format!("t{number}"))).await.expect(200);
        assert_eq!(model(&reply.json), format!("m{number}"));
        assert_eq!(reply.tier(), "far", "{reply:?}");
    }
}

#[tokio::test]
async fn a_node_that_hangs_or_dies_costs_no_answer_and_is_used_again() {
    let cluster = RedisCluster::start();
    let database = database().await;
    let instance = |name: &str| {
        App::builder()
            .postgres(&database)
            .redis(&cluster.url())
            .name(name)
            // All look-ups go past memory.
            .env("ORDAIN_CACHE_NEAR", "off")
    };
    let app = instance("one").start().await;
    let (places, _) = stored(&app, &cluster, 12).await;
    let all_are_answered = async || {
        for number in 0..places.len() {
            let start = Instant::now();
            let reply = app.resolve(&plain(&format!("t{number}"))).await.expect(200);
            let took = start.elapsed();
            assert_eq!(model(&reply.json), format!("m{number}"));
            assert!(took <= REQUEST_DEADLINE + SLACK, "{took:?}: {reply:?}");
        }
    };
    let used = async |number: usize| {
        let ask = || async {
            let reply = app.resolve(&plain(&format!("t{number}"))).await.expect(200);
            holds(reply.tier() == "far", format!("{reply:?}"))
        };
        eventually("far answers", PATIENCE, ask).await;
    };
    let (node, _) = places[0];
    used(0).await;
    cluster.freeze(node);
    for _ in 0..5 {
        all_are_answered().await;
    }
    // An instance that starts now learns of the cluster from the nodes that answer.
    let other = instance("started with a hung node").start().await;
    let reply = other.resolve(&plain("t0")).await.expect(200);
    assert_eq!(model(&reply.json), "m0");
    cluster.thaw(node);
    used(0).await;
    cluster.stop(node);
    for _ in 0..5 {
        all_are_answered().await;
    }
    cluster.restart(node);
    used(0).await;
}

#[tokio::test]
async fn a_redis_with_tls_is_used_if_its_authority_is_known() {
    let redis = Redis::start_with(RedisOptions {
        password: Some("s3cret-one".to_owned()),
        tls: true,
        ..RedisOptions::default()
    });
    let database = database().await;
    let instance = |name: &str, authority: &Authority| {
        let file = authority.file().display().to_string();
        patient(&database, &redis.tls_url(), name).env("ORDAIN_REDIS_CA", &file)
    };
    let stranger = Authority::new();
    let (one, two, three) = futures::join!(
        instance("one", redis.authority()).start(),
        instance("two", redis.authority()).start(),
        instance("of another authority", &stranger).start()
    );
    let revision = one.store("acme", &version(1)).await;
    caught_up(&one, revision).await;
    one.resolve(&plain("acme")).await.expect(200);
    far_key(&mut redis_cli(&redis.url()).await, "acme").await;
    futures::join!(caught_up(&two, revision), caught_up(&three, revision));
    let reply = two.resolve(&plain("acme")).await.expect(200);
    assert_eq!((reply.tier(), model(&reply.json)), ("far", "m1"));

    let reply = three.resolve(&plain("acme")).await.expect(200);
    assert_eq!((reply.tier(), model(&reply.json)), ("origin", "m1"));
    let told = || async {
        let log = three.log();
        holds(log.contains("signed by no known authority"), log)
    };
    eventually("the cause is in the log", PATIENCE, told).await;
    for app in [&one, &three] {
        assert!(!app.log().contains("s3cret-one"), "a secret in the log");
    }
}

#[tokio::test]
async fn a_file_of_authorities_that_is_missing_or_empty_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").expect("the folder is ours");
    let missing = folder.path().join("missing.pem");
    for (file, reason) in [
        (&missing, "cannot be read"),
        (&empty, "holds no certificate"),
    ] {
        let file = file.display().to_string();
        let app = App::builder()
            .dev()
            .redis("rediss://:s3cret@127.0.0.1:1")
            .env("ORDAIN_REDIS_CA", &file);
        let (code, log) = app.refused().await;
        assert!(matches!(code, Some(1 | 2)), "{code:?}\n{log}");
        for part in [&*file, "ORDAIN_REDIS_CA", reason] {
            assert!(log.contains(part), "it should say {part:?}\n{log}");
        }
        assert!(!log.contains("s3cret"), "{log}");
    }
}

#[tokio::test]
async fn a_node_that_takes_no_values_is_reported_and_the_others_are_put_into() {
    let cluster = RedisCluster::start();
    let database = database().await;
    let app = patient(&database, &cluster.url(), "one")
        .env("ORDAIN_CACHE_NEAR", "off")
        .start()
        .await;
    let (places, _) = stored(&app, &cluster, 12).await;
    let (full, _) = places[0];
    let (there, elsewhere): (Vec<usize>, Vec<usize>) =
        (0..12).partition(|number| places[*number].0 == full);
    cluster.run(full, "CONFIG SET maxmemory 1");
    for (node, key) in &places {
        let delete = redis::cmd("DEL").arg(key).to_owned();
        delete.exec(&mut cluster.connection(*node)).expect("DEL");
    }
    let far = async || app.get("/readyz").await.expect(200).json["dependencies"]["far"].clone();
    let told = || async {
        for number in &there {
            app.resolve(&plain(&format!("t{number}"))).await.expect(200);
        }
        let far = far().await;
        holds(far["error"] == "its memory is full", far)
    };
    eventually("it is reported", PATIENCE, told).await;
    assert_eq!(far().await["state"], "degraded");
    for number in &elsewhere {
        let tenant = format!("t{number}");
        app.resolve(&plain(&tenant)).await.expect(200);
        placed(&cluster, &tenant).await;
    }
    cluster.run(full, "CONFIG SET maxmemory 0");
    let over = || async {
        let far = far().await;
        holds(far["state"] == "up", far)
    };
    eventually("it is over", PATIENCE, over).await;

    // No node answers look-ups: nobody may.
    for node in 0..3 {
        cluster.run(node, "ACL SETUSER default -get");
    }
    let told = || async {
        for number in 0..12 {
            app.resolve(&plain(&format!("t{number}"))).await.expect(200);
        }
        let far = far().await;
        holds(far["error"] == "its user may not do what is needed", far)
    };
    eventually("it is reported", PATIENCE, told).await;
}

//! Far is never trusted: whatever stands in Redis, it is the state of the record or no answer.

use ordain_tests::app::App;
use ordain_tests::http::policy_path;
use redis::aio::MultiplexedConnection;

use crate::support::{Deployment, caught_up, far_key, model, plain, redis_cli, version};

async fn get(redis: &mut MultiplexedConnection, key: &str) -> Vec<u8> {
    redis::cmd("GET")
        .arg(key)
        .query_async(redis)
        .await
        .expect("GET")
}

async fn set(redis: &mut MultiplexedConnection, key: &str, value: &[u8]) {
    redis::cmd("SET")
        .arg(key)
        .arg(value)
        .query_async::<()>(redis)
        .await
        .expect("SET");
}

/// Two instances: the first one fills far, the second one, which knows the whole log and has an
/// empty near, is asked.
struct Scene {
    deployment: Deployment,
    one: App,
    two: App,
    redis: MultiplexedConnection,
}

impl Scene {
    async fn start() -> Scene {
        let deployment = Deployment::start().await;
        let (one, two) = futures::join!(
            deployment.patient("one").start(),
            deployment.patient("two").start()
        );
        let redis = redis_cli(&deployment.redis.url()).await;
        Scene {
            deployment,
            one,
            two,
            redis,
        }
    }

    /// Stores a version and waits until far holds it; its key and value.
    async fn in_far(&mut self, tenant: &str, number: usize) -> (String, Vec<u8>) {
        let revision = self.one.store(tenant, &version(number)).await;
        caught_up(&self.one, revision).await;
        self.one.resolve(&plain(tenant)).await.expect(200);
        let key = far_key(&mut self.redis, tenant).await;
        let value = get(&mut self.redis, &key).await;
        (key, value)
    }

    /// The second instance answers rightly, not from far.
    async fn not_believed(&self, tenant: &str, number: usize) {
        let head = self
            .one
            .get("/v1/tenants?limit=1")
            .await
            .expect(200)
            .ordain_revision();
        caught_up(&self.two, head).await;
        let reply = self.two.resolve(&plain(tenant)).await.expect(200);
        assert_eq!(
            (model(&reply.json), reply.tier()),
            (&*format!("m{number}"), "origin"),
            "{tenant}"
        );
    }
}

#[tokio::test]
async fn values_that_were_tampered_with_are_no_answer_and_are_replaced() {
    let mut scene = Scene::start().await;
    let (_, foreign) = scene.in_far("other-tenant", 99).await;
    for (number, kind) in [
        "foreign",
        "truncated",
        "header-only",
        "garbage",
        "empty",
        "other-format",
        "flipped-byte",
        "appended",
        "text",
        "future",
    ]
    .into_iter()
    .enumerate()
    {
        let tenant = format!("t-{kind}");
        let (key, good) = scene.in_far(&tenant, number).await;
        let mut poison = good.clone();
        match kind {
            "foreign" => poison = foreign.clone(),
            "truncated" => poison.truncate(good.len() - 1),
            "header-only" => poison.truncate(62),
            "garbage" => poison = (0..200).map(|n: u32| (n * 37 % 251) as u8).collect(),
            "empty" => poison.clear(),
            "other-format" => poison[..2].copy_from_slice(b"o9"),
            "flipped-byte" => *poison.last_mut().unwrap() ^= 1,
            "appended" => poison.extend_from_slice(b" "),
            "text" => poison = br#"{"defaultModel":"evil","defaultProvider":"evil"}"#.to_vec(),
            _ => poison[2..22].copy_from_slice(b"09007199254740990000"),
        }
        set(&mut scene.redis, &key, &poison).await;
        scene.not_believed(&tenant, number).await;
        let replaced = async || get(&mut scene.redis.clone(), &key).await != poison;
        let start = std::time::Instant::now();
        while !replaced().await {
            assert!(
                start.elapsed() < ordain_tests::wait::PATIENCE,
                "{kind} stays in far"
            );
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        // What replaced it is good: a third instance, with near empty, may take it.
        let value = get(&mut scene.redis, &key).await;
        let text = String::from_utf8_lossy(&value).into_owned();
        assert!(text.contains(&format!("\"m{number}\"")), "{kind}: {text}");
    }
}

#[tokio::test]
async fn an_older_value_that_comes_back_is_no_answer() {
    let mut scene = Scene::start().await;
    let (key, old) = scene.in_far("rewound", 1).await;
    scene.one.store("rewound", &version(2)).await;
    set(&mut scene.redis, &key, &old).await;
    scene.not_believed("rewound", 2).await;

    let (key, old) = scene.in_far("deleted", 3).await;
    scene.one.delete(&policy_path("deleted")).await.expect(200);
    set(&mut scene.redis, &key, &old).await;
    let head = scene.one.get("/v1/tenants?limit=1").await.ordain_revision();
    caught_up(&scene.two, head).await;
    let reply = scene.two.resolve(&plain("deleted")).await.expect(200);
    assert_eq!(reply.json["refusal"]["code"], "no-policy");
}

#[tokio::test]
async fn a_key_of_another_type_is_no_answer_and_no_error() {
    let mut scene = Scene::start().await;
    let (key, _) = scene.in_far("typed", 1).await;
    let _: () = redis::cmd("DEL")
        .arg(&key)
        .query_async(&mut scene.redis)
        .await
        .expect("DEL");
    let _: () = redis::cmd("RPUSH")
        .arg(&key)
        .arg("x")
        .query_async(&mut scene.redis)
        .await
        .expect("RPUSH");
    scene.not_believed("typed", 1).await;
    let revision = scene.two.store("typed", &version(2)).await;
    caught_up(&scene.two, revision).await;
    assert_eq!(
        model(&scene.two.resolve(&plain("typed")).await.expect(200).json),
        "m2"
    );
    // One bad key does not make far look broken for the others.
    scene.in_far("neighbour", 5).await;
    let head = scene.one.get("/v1/tenants?limit=1").await.ordain_revision();
    caught_up(&scene.two, head).await;
    assert_eq!(
        scene
            .two
            .resolve(&plain("neighbour"))
            .await
            .expect(200)
            .tier(),
        "far"
    );
}

#[tokio::test]
async fn values_of_another_deployment_on_the_same_redis_are_no_answer() {
    let mut scene = Scene::start().await;
    scene.in_far("shared", 1).await;
    // Another database, the same Redis, the same tenant: a staging system, say.
    let staging = App::builder()
        .postgres(&crate::support::database().await)
        .redis(&scene.deployment.redis.url())
        .name("staging")
        .start()
        .await;
    let reply = staging.resolve(&plain("shared")).await.expect(200);
    assert_eq!(reply.json["refusal"]["code"], "no-policy", "{reply:?}");
    let revision = staging.store("shared", &version(50)).await;
    caught_up(&staging, revision).await;
    assert_eq!(model(&staging.resolve(&plain("shared")).await.json), "m50");
    scene.in_far("another", 2).await;
    let again = scene.one.resolve(&plain("shared")).await.expect(200);
    assert_eq!(model(&again.json), "m1");
    let head = scene.one.get("/v1/tenants?limit=1").await.ordain_revision();
    caught_up(&scene.two, head).await;
    assert_eq!(model(&scene.two.resolve(&plain("shared")).await.json), "m1");
}

#[tokio::test]
async fn values_sealed_with_another_key_are_no_answer() {
    let deployment = Deployment::start().await;
    let keyed = |name: &str, key: &str| deployment.patient(name).env("ORDAIN_FAR_KEY", key).start();
    let secret = "0123456789abcdef0123456789abcdef";
    let (one, two, three) = futures::join!(
        keyed("one", secret),
        keyed("two", secret),
        keyed("three", "another-key-another-key-another-")
    );
    let revision = one.store("t", &version(1)).await;
    caught_up(&one, revision).await;
    one.resolve(&plain("t")).await.expect(200);
    far_key(&mut redis_cli(&deployment.redis.url()).await, "t").await;
    futures::join!(caught_up(&two, revision), caught_up(&three, revision));
    assert_eq!(
        three.resolve(&plain("t")).await.expect(200).tier(),
        "origin"
    );
    drop(three);
    assert!(!one.log().contains(secret), "a secret in the log");
    drop(one);
    drop(two);
}

//! Ids have up to 256 characters, however many bytes these take, and wherever an id stands.

use ordain_tests::app::App;
use ordain_tests::cli::cli;
use ordain_tests::http::{history_path, policy_path};
use ordain_tests::services::Redis;
use ordain_tests::tokens::reader;
use serde_json::{Value, json};

use crate::cli_remote::file;
use crate::support::configs::{Level, effective, set};
use crate::support::{caught_up, database, model, warm};

fn ids() -> [String; 3] {
    // A resource of Azure, a Chinese name, one that no encoding makes longer than.
    let azure = format!("/subscriptions/{}", "0123456789abcde/".repeat(16));
    ["x".repeat(256), azure[..256].to_owned(), "𝄞".repeat(256)]
}

fn record(id: &str) -> Value {
    json!({"defaultProvider": id, "defaultModel": id, "tasks": [{"task": id, "provider": id, "model": id}],
        "userPolicies": {id: {"egressMode": "report-only"}}, "allowedModels": [format!("{id}/{id}")]})
}

/// Everything that an id of this length can do.
async fn works(app: &App, id: &str) {
    app.store(id, &record(id)).await;
    assert_eq!(
        app.get(&policy_path(id)).await.expect(200).json["defaultModel"],
        id
    );
    let asked = json!({"tenant": id, "user": id, "task": id, "model": id});
    let answer = app.resolve(&asked).await.expect(200).json;
    assert_eq!(
        (model(&answer), &answer["egress"]["effective"]),
        (id, &json!("report-only"))
    );
    let batch = app.resolve(&json!([asked, asked])).await.expect(200).json;
    assert_eq!(model(&batch[1]), id);
    let trial = json!({"record": record(id), "requests": [{"user": id, "task": id}]});
    let tried = app
        .post(&policy_path(id).replace("/policy", "/policy/try"), &trial)
        .await;
    assert_eq!(model(&tried.expect(200).json[0]), id);
    let revision = set(app, Level::User(id, id), &json!({"mergeMaxMessages": 5})).await;
    let holds = effective(app, id, Some(id), revision).await.expect(200);
    assert_eq!(holds.json["levels"]["mergeMaxMessages"], "user");
    set(app, Level::Tenant(id), &json!({"mergeMaxMessages": 6})).await;
    let history = app.get(&history_path(id)).await.expect(200);
    assert_eq!(history.json["items"].as_array().map(Vec::len), Some(1));
    app.post("/v1/caches/purge", &json!({"tenant": id}))
        .await
        .expect(200);
    let own = app
        .with(&reader(id))
        .resolve(&json!({"tenant": id}))
        .await
        .expect(200);
    assert_eq!(model(&own.json), id);
}

/// What is one character longer is refused, with its pointer where there is a body.
async fn refused(app: &App, id: &str) {
    let long = format!("{id}y");
    app.put(&policy_path(&long), &record("x"))
        .await
        .problem(422, "invalid-tenant");
    app.get(&policy_path(&long)).await.error(422);
    let faults = app
        .put(&policy_path("t"), &record(&long))
        .await
        .problem(422, "invalid-record");
    assert!(faults.pointers().len() >= 6, "{faults:?}");
    for member in ["tenant", "user", "task", "model"] {
        let mut asked = json!({"tenant": "t"});
        asked[member] = json!(long);
        let reply = app.resolve(&asked).await.problem(422, "invalid-request");
        assert_eq!(reply.pointers(), [format!("/{member}")].into());
        let batch = app.resolve(&json!([asked])).await.expect(200).json;
        assert_eq!(
            batch[0]["problem"]["errors"][0]["pointer"],
            format!("/{member}")
        );
    }
    let path = Level::User("t", &long).path();
    let patch = app
        .call("PATCH", &path)
        .json(&json!({"mergeMaxMessages": 5}));
    patch.send().await.problem(422, "invalid-user");
    app.post("/v1/caches/purge", &json!({"tenant": long}))
        .await
        .error(422);
}

#[tokio::test]
async fn ids_of_256_characters_are_ids_in_memory_and_longer_ones_are_not() {
    let app = App::memory().await;
    for id in ids() {
        works(&app, &id).await;
        refused(&app, &id).await;
    }
}

#[tokio::test]
async fn ids_of_256_characters_are_ids_in_postgres_and_redis() {
    let (url, redis) = (database().await, Redis::start());
    let builder = || App::builder().postgres(&url).redis(&redis.url());
    let one = builder().start().await;
    let two = builder().env("ORDAIN_FAR_DEADLINE", "400ms").start().await;
    for id in ids() {
        works(&one, &id).await;
        refused(&one, &id).await;
        let revision = one.store(&id, &record(&id)).await;
        caught_up(&two, revision).await;
        assert_eq!(model(&warm(&two, &id).await), id);
    }
    let list = two.get("/v1/tenants?limit=500").await.expect(200);
    assert_eq!(list.json["items"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn ids_of_256_characters_are_imported_and_a_longer_one_is_named() {
    let url = database().await;
    let app = App::builder().postgres(&url).start().await;
    let line = |id: &str| json!({"tenant": id, "policy": record("m")}).to_string();
    let good: Vec<String> = ids().iter().map(|id| line(id)).collect();
    let (_good, good) = file(&good.join("\n"));
    let (_bad, bad) = file(&line(&"é".repeat(257)));
    for target in [["--server", app.base()], ["--database-url", &url]] {
        cli([&["policy", "import", &good], &target[..]].concat())
            .await
            .expect(0);
        let failed = cli([&["policy", "import", &bad], &target[..]].concat())
            .await
            .expect(1);
        assert!(failed.stderr.contains("1 to 256 characters"), "{failed:?}");
    }
    for id in ids() {
        app.get(&policy_path(&id)).await.expect(200);
    }
}

//! Batches of `POST /v1/resolve`: many requests in one call.

use std::time::Instant;

use ordain_tests::app::App;
use ordain_tests::services::{Postgres, Redis};
use serde_json::{Value, json};

use crate::support::{REQUEST_DEADLINE, SLACK, model, plain, policy, warm};

#[tokio::test]
async fn a_batch_answers_in_order_and_a_bad_item_spoils_only_itself() {
    let app = App::memory().await;
    let first = app.store("a", &policy("openai", "ma")).await;
    app.store("b", &policy("openai", "mb")).await;
    let empty = app.resolve(&json!([])).await.expect(200);
    assert_eq!(empty.json, json!([]));
    empty.ordain_revision();

    let batch = json!([plain("a"), {"tenant": "a", "maxTokens": 0}, plain("b"), 5, plain("nobody"), {"tenant": "b", "minRevision": 9_007_199_254_740_991_u64}, plain("a")]);
    let reply = app.resolve(&batch).await.expect(200);
    let items = reply.json.as_array().expect("a list");
    assert_eq!(items.len(), 7);
    assert_eq!(
        (model(&items[0]), model(&items[2]), model(&items[6])),
        ("ma", "mb", "ma")
    );
    assert_eq!(items[4]["refusal"]["code"], "no-policy");
    for (at, status) in [(1, 422), (3, 422), (5, 409)] {
        let members = items[at].as_object().expect("an object");
        assert_eq!(members.keys().collect::<Vec<_>>(), ["problem"]);
        ordain_tests::http::assert_problem(&items[at]["problem"], status);
    }
    assert_eq!(items[5]["problem"]["code"], "revision-unknown");
    assert_eq!(items[1]["problem"]["errors"][0]["pointer"], "/maxTokens");
    assert!(reply.ordain_revision() >= first);
}

#[tokio::test]
async fn a_batch_takes_a_thousand_requests_and_not_one_more() {
    let app = App::memory().await;
    let thousand: Vec<Value> = (0..1000).map(|n| plain(&format!("t{}", n % 7))).collect();
    let reply = app.resolve(&json!(thousand)).await.expect(200);
    assert_eq!(reply.json.as_array().map(Vec::len), Some(1000));
    let more: Vec<Value> = (0..1001).map(|_| plain("t")).collect();
    app.resolve(&json!(more))
        .await
        .problem(422, "batch-too-large");
}

/// A thousand tenants, one of which is in memory, while servers do not answer: that one is
/// answered.
async fn stalled(app: &App, known: &str) {
    let mut batch: Vec<Value> = (1..1000).map(|n| plain(&format!("cold-{n}"))).collect();
    batch.insert(500, plain(known));
    let began = Instant::now();
    let reply = app.resolve(&json!(batch)).await.expect(200);
    let took = began.elapsed();
    assert!(took <= REQUEST_DEADLINE + SLACK, "{took:?}");
    let items = reply.json.as_array().expect("a list");
    assert_eq!(items.len(), 1000);
    assert_eq!(model(&items[500]), "m");
    let mut late = 0;
    for (_, item) in items.iter().enumerate().filter(|(at, _)| *at != 500) {
        ordain_tests::http::assert_problem(&item["problem"], 503);
        late += u32::from(item["problem"]["code"] == "deadline-exceeded");
    }
    assert!(late > 500, "{late} are late: {}", reply.text);
    let counted = "ordain_requests_total{outcome=\"deadline\"}";
    assert_eq!(app.metric(counted).await, f64::from(late));
}

#[tokio::test]
async fn a_thousand_cold_tenants_end_with_the_deadline_though_servers_stand_still() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    for far in [true, false] {
        let mut app = App::builder()
            .postgres(&postgres.database())
            .env("ORDAIN_ORIGIN_DEADLINE", "900ms");
        if far {
            app = app.redis(&redis.url()).env("ORDAIN_FAR_DEADLINE", "400ms");
        }
        let app = app.start().await;
        app.store("known", &policy("openai", "m")).await;
        warm(&app, "known").await;
        redis.freeze();
        postgres.stop_signal();
        stalled(&app, "known").await;
        redis.thaw();
        postgres.cont();
    }
}

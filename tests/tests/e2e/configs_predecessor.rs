//! Faults of the config store that Ordain replaces, one test each, in which they do not show.

use std::collections::BTreeMap;

use futures::future::join_all;
use ordain_tests::app::App;
use serde_json::json;
use sqlx::Row;

use crate::support::configs::{Level, effective, patch, set, warm};
use crate::support::{Deployment, database, psql};

async fn two() -> (Deployment, App, App) {
    let deployment = Deployment::start().await;
    let patient = |name: &str| {
        let patient = deployment
            .patient(name)
            .env("ORDAIN_ORIGIN_DEADLINE", "10s");
        patient.env("ORDAIN_REQUEST_DEADLINE", "20s").start()
    };
    let (one, two) = (patient("one"), patient("two"));
    let (one, two) = futures::join!(one, two);
    (deployment, one, two)
}

#[tokio::test]
async fn a_record_of_a_tenant_does_not_hide_what_is_set_for_everybody() {
    let app = App::builder().postgres(&database().await).start().await;
    set(&app, Level::Global, &json!({"mergeMaxMessages": 7})).await;
    set(
        &app,
        Level::Tenant("a"),
        &json!({"mergeCompressionStrategy": "aggressive"}),
    )
    .await;
    let last = set(
        &app,
        Level::User("a", "ann"),
        &json!({"autoCompactEnabled": false}),
    )
    .await;
    let config = effective(&app, "a", Some("ann"), last)
        .await
        .expect(200)
        .json;
    // It answered 100 and `moderate`.
    assert_eq!(config["config"]["mergeMaxMessages"], 7);
    assert_eq!(config["config"]["mergeCompressionStrategy"], "aggressive");
    assert_eq!(
        config["config"]["pathSlidingWindowSize"], 50,
        "nothing is missing"
    );
}

#[tokio::test]
async fn a_set_keeps_what_was_set_before_and_fills_in_nothing() {
    let app = App::builder().postgres(&database().await).start().await;
    let level = Level::Tenant("a");
    set(&app, level, &json!({"mergeMaxMessages": 7})).await;
    set(&app, level, &json!({"pathMaxMessages": 9})).await;
    let stored = app.get(&level.path()).await.expect(200).json;
    assert_eq!(
        stored["config"],
        json!({"mergeMaxMessages": 7, "pathMaxMessages": 9})
    );
}

#[tokio::test]
async fn writes_of_a_tenant_and_of_everybody_reach_cached_users_at_once() {
    let (_deployment, one, two) = two().await;
    for app in [&one, &two] {
        warm(app, "a", Some("ann")).await;
    }
    for (level, number) in [
        (Level::Tenant("a"), 11),
        (Level::Global, 12),
        (Level::Tenant("a"), 13),
    ] {
        let field = match level {
            Level::Global => "pathMaxMessages",
            _ => "mergeMaxMessages",
        };
        let revision = set(&one, level, &json!({ field: number })).await;
        for app in [&one, &two] {
            let answer = effective(app, "a", Some("ann"), revision).await.expect(200);
            assert_eq!(answer.json["config"][field], number);
        }
        // The writer needs not even say which revision it demands.
        let answer = effective(&one, "a", Some("ann"), 0).await.expect(200);
        assert_eq!(answer.json["config"][field], number);
    }
}

#[tokio::test]
async fn a_level_never_has_two_rows_and_no_update_is_lost() {
    let (deployment, one, two) = two().await;
    let fields = [
        "mergeMaxMessages",
        "pathMaxMessages",
        "pathSlidingWindowSize",
        "compactionIntervalMinutes",
    ];
    let level = Level::Tenant("a");
    let writes = (0..20_u32).map(|number| {
        let app = if number % 2 == 0 { &one } else { &two };
        let field = fields[number as usize % 4];
        async move {
            let fields = json!({ field: number + 1 });
            let revision = patch(app, level, &fields).await.expect(200).revision();
            (revision, field, number + 1)
        }
    });
    // In the order in which they happened: each must have kept what the ones before had written.
    let written: BTreeMap<u64, (&str, u32)> = join_all(writes)
        .await
        .into_iter()
        .map(|(revision, field, number)| (revision, (field, number)))
        .collect();
    assert_eq!(written.len(), 20, "each write has a revision of its own");
    let path = format!("{}/history?limit=50", level.path());
    let history = two.get(&path).await.expect(200).json;
    let mut items = history["items"].as_array().expect("a list").clone();
    items.reverse();
    let mut level_then = serde_json::Map::new();
    for (item, (revision, (field, number))) in items.iter().zip(&written) {
        level_then.insert((*field).to_owned(), json!(number));
        assert_eq!(item["revision"], *revision);
        assert_eq!(item["record"], json!(level_then), "an update was lost");
    }
    assert_eq!(items.len(), 20);
    let revisions: Vec<u64> = written.into_keys().collect();
    let config = effective(&two, "a", None, revisions[19]).await.expect(200);
    for (field, value) in &level_then {
        assert_eq!(config.json["config"][field], *value);
    }
    let mut psql = psql(&deployment.database).await;
    let rows = sqlx::query("SELECT count(*) AS rows FROM configs")
        .fetch_one(&mut psql)
        .await;
    assert_eq!(rows.expect("a count").get::<i64, _>("rows"), 1);
    // Whoever wants to win says over what.
    let late = one
        .call("PATCH", &level.path())
        .header("if-match", &format!("\"{}\"", revisions[0]));
    late.json(&json!({"mergeMaxMessages": 1}))
        .send()
        .await
        .problem(412, "precondition-failed");
}

#[tokio::test]
async fn a_read_that_races_a_write_leaves_nothing_old_in_a_cache() {
    let (_deployment, one, two) = two().await;
    for number in 1..40 {
        let readers = (0..8).map(|_| effective(&two, "a", Some("ann"), 0));
        let fields = json!({"mergeMaxMessages": number});
        let write = set(&one, Level::User("a", "ann"), &fields);
        let (revision, _) = futures::join!(write, join_all(readers));
        let answer = effective(&two, "a", Some("ann"), revision)
            .await
            .expect(200);
        assert_eq!(answer.json["config"]["mergeMaxMessages"], number);
    }
}

#[tokio::test]
async fn a_cache_that_fails_is_counted_and_costs_no_answer() {
    let (deployment, one, _two) = two().await;
    set(&one, Level::Global, &json!({"mergeMaxMessages": 7})).await;
    deployment.redis.stop();
    for user in 0..20 {
        let answer = effective(&one, "a", Some(&format!("u{user}")), 0)
            .await
            .expect(200);
        assert_eq!(answer.json["config"]["mergeMaxMessages"], 7);
    }
    let metrics = one.get("/metrics").await.expect(200).text;
    let counted = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.is_some_and(|count| count.trim() != "0")
    };
    for name in [
        "ordain_tier_calls_total{tier=\"far\",call=\"error\"} ",
        "ordain_configs_total{outcome=\"origin\"} ",
    ] {
        assert!(counted(name), "{name}: {metrics}");
    }
}

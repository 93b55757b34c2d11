//! A Redis that is down, or does not let us in, when the service starts. Not for one that fails
//! later (`outages.rs`).

use ordain_tests::app::App;
use ordain_tests::services::{Redis, RedisOptions};
use ordain_tests::wait::{PATIENCE, eventually, holds};

use crate::support::database;

/// The state of far and the reason: for everybody and for admins.
async fn degraded(app: &App) -> Result<(String, String), String> {
    let ready = app.get("/readyz").await.expect(200).json;
    let caches = app.get("/v1/caches").await.expect(200).json;
    let far = &ready["dependencies"]["far"];
    let shown = &caches["dependencies"]["far"];
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let states = [&ready["status"], &far["state"], &shown["state"]];
    holds(
        states == ["degraded", "down", "down"],
        format!("{ready} {caches}"),
    )?;
    Ok((text(&far["error"]), text(&shown["error"])))
}

#[tokio::test]
async fn a_redis_that_is_of_no_use_at_the_start_is_told_before_anybody_asks_and_once() {
    let database = database().await;
    let redis = Redis::start_with(RedisOptions {
        password: Some("right-password".to_owned()),
        tcp: true,
        ..RedisOptions::default()
    });
    let wrong = redis.tcp_url().replace("right", "wrong");
    let builder = |url: &str| {
        App::builder()
            .postgres(&database)
            .redis(url)
            .env("ORDAIN_CACHE_NEAR", "off")
    };
    let app = builder(&wrong).start().await;
    let (public, shown) = eventually("degraded", PATIENCE, || degraded(&app)).await;
    assert_eq!(public, "authentication failed");
    assert!(shown.contains("WRONGPASS"), "{shown}");
    let lines = |app: &App, words: &str| app.log().matches(words).count();
    assert_eq!(lines(&app, "Redis cannot be reached"), 1, "{}", app.log());
    assert!(!app.log().contains("wrong-password"), "{}", app.log());

    redis.stop();
    let app = builder(&redis.tcp_url()).start().await;
    let (public, shown) = eventually("degraded", PATIENCE, || degraded(&app)).await;
    assert_eq!(public, "the connection was refused");
    let place = format!("127.0.0.1:{}", redis.port());
    assert!(shown.contains(&place), "{shown}");
    // It comes back, and nobody asks for anything meanwhile.
    redis.restart_empty();
    let up = || async {
        let ready = app.get("/readyz").await.expect(200).json;
        holds(ready["status"] == "ready", ready)
    };
    eventually("ready again", PATIENCE, up).await;
    // Once all connections to it are back, all of them have said what they had to say.
    let back = || async { holds(lines(&app, "Redis is back") == 1, app.log()) };
    eventually("told once", PATIENCE, back).await;
    assert_eq!(lines(&app, "Redis cannot be reached"), 1, "{}", app.log());
    assert_eq!(
        app.metric("ordain_tier_calls_total{tier=\"far\",call=\"get\"}")
            .await,
        0.0
    );

    // What is not to be used is not looked at.
    redis.stop();
    let app = builder(&redis.tcp_url())
        .env("ORDAIN_CACHE_FAR", "off")
        .start()
        .await;
    assert_eq!(app.get("/readyz").await.json["status"], "ready");
    assert_eq!(lines(&app, "Redis cannot be reached"), 0, "{}", app.log());
}

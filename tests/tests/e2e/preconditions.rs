//! `If-Match` and `If-None-Match`: compare and set on revisions, also under contention.

use ordain_tests::app::App;
use ordain_tests::http::{Reply, policy_path};
use serde_json::Value;

use crate::support::{database, version};

async fn conditional(app: &App, method: &str, header: (&str, &str), body: Option<&Value>) -> Reply {
    let call = app
        .call(method, &policy_path("t"))
        .header(header.0, header.1);
    match body {
        Some(body) => call.json(body).send().await,
        None => call.send().await,
    }
}

async fn conditions_hold(app: &App) {
    let body = Some(&version(1)).cloned();
    let body = body.as_ref();
    // Nothing is stored yet.
    conditional(app, "PUT", ("if-match", "*"), body)
        .await
        .error(412);
    conditional(app, "PUT", ("if-match", "\"1\""), body)
        .await
        .error(412);
    let absent = conditional(app, "DELETE", ("if-match", "\"1\""), None).await;
    assert!(matches!(absent.status, 404 | 412), "{absent:?}");
    app.get(&policy_path("t")).await.error(404);

    let created = conditional(app, "PUT", ("if-none-match", "*"), body)
        .await
        .expect(201);
    let refused = conditional(app, "PUT", ("if-none-match", "*"), Some(&version(2))).await;
    refused.problem(412, "precondition-failed");
    assert_eq!(app.get(&policy_path("t")).await.json, version(1));

    let first = format!("\"{}\"", created.revision());
    let second = conditional(app, "PUT", ("if-match", &first), Some(&version(2)))
        .await
        .expect(200);
    let lost = conditional(app, "PUT", ("if-match", &first), Some(&version(3))).await;
    lost.problem(412, "precondition-failed");
    assert_eq!(app.get(&policy_path("t")).await.json, version(2));
    conditional(app, "PUT", ("if-match", "*"), Some(&version(4)))
        .await
        .expect(200);

    let second = format!("\"{}\"", second.revision());
    conditional(app, "DELETE", ("if-match", &second), None)
        .await
        .error(412);
    let now = app.get(&policy_path("t")).await.header("etag").to_owned();
    let several = format!("{first}, {now}");
    conditional(app, "PUT", ("if-match", &several), Some(&version(5)))
        .await
        .expect(200);
    conditional(app, "PUT", ("if-match", "\"nonsense\""), body)
        .await
        .error(412);

    for broken in ["W/1", "1", "\"", "", "*, \"1\"", "'1'"] {
        conditional(app, "PUT", ("if-match", broken), body)
            .await
            .error(400);
        conditional(app, "DELETE", ("if-match", broken), None)
            .await
            .error(400);
    }
    let both = app
        .call("PUT", &policy_path("t"))
        .header("if-match", "*")
        .header("if-none-match", "*");
    both.json(&version(6)).send().await.error(400);
    assert_eq!(app.get(&policy_path("t")).await.json, version(5));

    let now = app.get(&policy_path("t")).await.header("etag").to_owned();
    conditional(app, "DELETE", ("if-match", &now), None)
        .await
        .expect(200);
    app.get(&policy_path("t")).await.error(404);
}

#[tokio::test]
async fn conditional_writes_happen_only_on_the_revision_they_name_on_postgres() {
    conditions_hold(&App::builder().postgres(&database().await).start().await).await;
}

#[tokio::test]
async fn conditional_writes_happen_only_on_the_revision_they_name_in_memory() {
    conditions_hold(&App::memory().await).await;
}

#[tokio::test]
async fn a_reader_that_has_the_revision_is_told_so() {
    let app = App::memory().await;
    let revision = app.store("t", &version(1)).await;
    let tag = format!("\"{revision}\"");
    let same = conditional(&app, "GET", ("if-none-match", &tag), None)
        .await
        .expect(304);
    assert_eq!(
        (same.text.as_str(), same.header("etag")),
        ("", tag.as_str())
    );
    app.store("t", &version(2)).await;
    let newer = conditional(&app, "GET", ("if-none-match", &tag), None)
        .await
        .expect(200);
    assert_eq!(newer.json, version(2));
}

/// Of many writers that start from the same revision exactly one wins, on either instance.
#[tokio::test]
async fn of_many_concurrent_conditional_writers_one_wins() {
    let url = database().await;
    // Who wins is in question here, not how fast a busy machine writes.
    let patient = |name: &str| {
        let builder = App::builder().postgres(&url).name(name);
        let builder = builder.env("ORDAIN_ORIGIN_DEADLINE", "5s");
        builder.env("ORDAIN_REQUEST_DEADLINE", "10s")
    };
    let (one, two) = futures::join!(patient("one").start(), patient("two").start());
    let winners = |replies: &[Reply]| replies.iter().filter(|reply| reply.status < 300).count();
    let round = async |header: (&str, &str), number: usize| {
        let record = version(number);
        let writers = (0..12).map(|n| {
            conditional(
                if n % 2 == 0 { &one } else { &two },
                "PUT",
                header,
                Some(&record),
            )
        });
        let replies = futures::future::join_all(writers).await;
        assert!(
            replies.iter().all(|r| matches!(r.status, 200 | 201 | 412)),
            "{replies:?}"
        );
        winners(&replies)
    };
    assert_eq!(round(("if-none-match", "*"), 0).await, 1);
    for number in 1..4 {
        let tag = one.get(&policy_path("t")).await.header("etag").to_owned();
        assert_eq!(round(("if-match", &tag), number).await, 1);
    }
    let history = one.get(&ordain_tests::http::history_path("t")).await.json;
    assert_eq!(
        history["items"].as_array().map(Vec::len),
        Some(4),
        "losers leave no trace"
    );
}

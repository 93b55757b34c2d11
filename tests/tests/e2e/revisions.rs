//! Read your writes, anywhere: `minRevision` in the body, `Ordain-Min-Revision` in the header.

use std::time::{Duration, Instant};

use ordain_tests::app::App;
use ordain_tests::http::{history_path, policy_path};
use serde_json::json;

use crate::support::{Deployment, SLACK, model, plain, version};

/// Above every revision that this century gives out.
const FUTURE: u64 = 9_007_199_254_740_991;

#[tokio::test]
async fn a_write_on_one_instance_is_seen_on_another_at_once_by_its_revision() {
    let deployment = Deployment::start().await;
    let (one, two) = futures::join!(
        deployment.instance("one").start(),
        deployment.instance("two").start()
    );
    for number in 0..50 {
        let revision = one.store("t", &version(number)).await;
        let reply = two
            .resolve(&json!({"tenant": "t", "minRevision": revision}))
            .await
            .expect(200);
        assert_eq!(model(&reply.json), format!("m{number}"));
        assert!(reply.ordain_revision() >= revision);
    }
    for number in 50..60 {
        let revision = one.store("t", &version(number)).await;
        let header = revision.to_string();
        let call = two
            .call("POST", "/v1/resolve")
            .header("ordain-min-revision", &header);
        assert_eq!(
            model(&call.json(&plain("t")).send().await.expect(200).json),
            format!("m{number}")
        );
        let call = two
            .call("GET", &policy_path("t"))
            .header("ordain-min-revision", &header);
        assert_eq!(call.send().await.expect(200).json, version(number));
    }
    let revision = one.delete(&policy_path("t")).await.expect(200).revision();
    let reply = two
        .resolve(&json!({"tenant": "t", "minRevision": revision}))
        .await
        .expect(200);
    assert_eq!(reply.json["refusal"]["code"], "no-policy");
}

#[tokio::test]
async fn the_revision_of_an_answer_can_be_demanded_of_another_instance() {
    let deployment = Deployment::start().await;
    let (one, two) = futures::join!(
        deployment.instance("one").start(),
        deployment.instance("two").start()
    );
    one.store("t", &version(1)).await;
    let known = one.resolve(&plain("t")).await.expect(200).ordain_revision();
    two.resolve(&json!({"tenant": "t", "minRevision": known}))
        .await
        .expect(200);
    let listed = one.get("/v1/tenants").await.expect(200).ordain_revision();
    two.resolve(&json!({"tenant": "t", "minRevision": listed}))
        .await
        .expect(200);
}

async fn future_revisions_are_unknown(app: &App) {
    app.store("t", &version(1)).await;
    app.resolve(&plain("t")).await.expect(200);
    let start = Instant::now();
    let reply = app
        .resolve(&json!({"tenant": "t", "minRevision": FUTURE}))
        .await;
    reply.problem(409, "revision-unknown");
    // minRevisionWait and one look at the origin, not the request's whole second.
    assert!(
        start.elapsed() < Duration::from_millis(100) + SLACK,
        "{:?}",
        start.elapsed()
    );

    for path in [
        policy_path("t"),
        history_path("t"),
        "/v1/tenants".to_owned(),
    ] {
        let call = app
            .call("GET", &path)
            .header("ordain-min-revision", &FUTURE.to_string());
        call.send().await.problem(409, "revision-unknown");
    }
    // The higher one of body and header counts.
    let call = app
        .call("POST", "/v1/resolve")
        .header("ordain-min-revision", &FUTURE.to_string());
    call.json(&json!({"tenant": "t", "minRevision": 1}))
        .send()
        .await
        .problem(409, "revision-unknown");
    let call = app
        .call("POST", "/v1/resolve")
        .header("ordain-min-revision", "1");
    call.json(&json!({"tenant": "t", "minRevision": FUTURE}))
        .send()
        .await
        .problem(409, "revision-unknown");
    app.resolve(&plain("t")).await.expect(200);
}

#[tokio::test]
async fn a_revision_that_nobody_wrote_is_unknown_on_postgres_and_redis() {
    let deployment = Deployment::start().await;
    future_revisions_are_unknown(&deployment.instance("one").start().await).await;
}

#[tokio::test]
async fn a_revision_that_nobody_wrote_is_unknown_in_memory() {
    future_revisions_are_unknown(&App::memory().await).await;
}

#[tokio::test]
async fn the_wait_for_a_revision_is_configurable() {
    let app = App::builder()
        .dev()
        .env("ORDAIN_MIN_REVISION_WAIT", "400ms")
        .start()
        .await;
    // One that the next write could have; what lies further ahead is refused at once.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let soon = now.expect("after 1970") + Duration::from_secs(20);
    let soon = u64::try_from(soon.as_micros()).expect("this century");
    let start = Instant::now();
    app.resolve(&json!({"tenant": "t", "minRevision": soon}))
        .await
        .problem(409, "revision-unknown");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(400), "{took:?}");
}

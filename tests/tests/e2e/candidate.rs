//! A candidate answers in the shadow: what is compared, what is kept of it, and what it must never
//! do.

use ordain_tests::app::App;
use ordain_tests::components::{component as test_component, digest, real};
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::{Value, json};

use crate::support::components::{Load, component, occasion, push, report, runs};
use crate::support::configs::{self, Level, effective, set};
use crate::support::{REQUEST_DEADLINE, model, plain, policy, warm};

/// The candidate's part of the report, once it satisfies.
async fn candidate(app: &App, what: &str, satisfies: impl Fn(&Value) -> bool) -> Value {
    let look = || async {
        let candidate = report(app).await["candidate"].clone();
        match satisfies(&candidate) {
            true => Ok(candidate),
            false => Err(candidate),
        }
    };
    eventually(what, PATIENCE, look).await
}

#[tokio::test]
async fn differing_answers_are_counted_by_field_and_sampled_without_users() {
    let app = App::memory().await;
    app.store("acme", &policy("openai", "m")).await;
    warm(&app, "acme").await;
    let bytes = test_component("model:other");
    let reply = push(&app, &bytes, "").await.expect(200);
    assert_eq!(
        (
            &reply.json["state"],
            &reply.json["digest"],
            &reply.json["done"]
        ),
        (&json!("candidate"), &json!(digest(&bytes)), &json!(true))
    );
    for _ in 0..3 {
        app.resolve(&plain("acme")).await.expect(200);
    }
    let mut request = occasion("acme");
    request["user"] = "confidential".into();
    let answer = app.resolve(&request).await.expect(200);
    assert_eq!(
        (model(&answer.json), component(&answer.json)),
        ("m", &*digest(&real()))
    );

    let seen = candidate(&app, "four are compared", |c| c["compared"] == 4).await;
    assert_eq!(
        (&seen["equal"], &seen["different"], &seen["failed"]),
        (&json!(3), &json!(1), &json!(0))
    );
    assert_eq!(seen["differences"], json!({"model": 1}));
    let sample = &seen["samples"][0];
    assert_eq!(
        (&sample["tenant"], &sample["task"]),
        (&json!("acme"), &json!("x-1"))
    );
    assert_eq!(
        sample["fields"],
        json!([{"field": "model", "current": "m", "candidate": "other"}])
    );
    assert!(!seen.to_string().contains("confidential"), "{seen}");
    let promoted = app
        .call("POST", "/v1/component/promote")
        .text("")
        .send()
        .await
        .expect(200);
    assert_eq!(
        (&promoted.json["digest"], &promoted.json["done"]),
        (&json!(digest(&bytes)), &json!(true))
    );
    let answer = app.resolve(&request).await.expect(200);
    assert_eq!((model(&answer.json), answer.tier()), ("other", "near"));
    assert_eq!(report(&app).await["candidate"], Value::Null);
    app.call("POST", "/v1/component/promote")
        .text("")
        .send()
        .await
        .problem(409, "no-candidate");
}

#[tokio::test]
async fn whatever_is_asked_is_compared_and_counted_by_capability() {
    let app = App::memory().await;
    app.store("acme", &policy("openai", "m")).await;
    warm(&app, "acme").await;
    push(&app, &test_component("window:7;other-record"), "")
        .await
        .expect(200);
    app.resolve(&plain("acme")).await.expect(200);
    for (user, asked) in [("ann", 1), ("x-ann", 2)] {
        // What is in no cache yet could not be compared.
        configs::warm(&app, "acme", Some(user)).await;
        effective(&app, "acme", Some(user), 0).await.expect(200);
        let of_config = |c: &Value| c["byCapability"]["config"]["compared"].as_u64();
        candidate(&app, "a config is compared", |c| {
            of_config(c) >= Some(asked)
        })
        .await;
    }
    set(&app, Level::Tenant("acme"), &json!({"mergeMaxMessages": 5})).await;
    app.store("acme", &policy("openai", "x-secret")).await;
    let seen = candidate(&app, "a check is compared", |c| {
        c["differences"]["record"] == 1
    })
    .await;
    let differences = &seen["differences"];
    assert!(
        differences["config.pathSlidingWindowSize"].as_u64() >= Some(1),
        "{seen}"
    );
    let by_capability = &seen["byCapability"];
    assert_eq!(by_capability["policy"]["compared"], 2, "{seen}");
    assert_eq!(by_capability["policy"]["equal"], 1, "{seen}");
    let of_config = &by_capability["config"];
    assert!(of_config["equal"].as_u64() >= Some(2), "{seen}");
    assert!(
        of_config["equal"].as_u64() < of_config["compared"].as_u64(),
        "{seen}"
    );
    assert_eq!(seen["samples"][0]["call"], "policy.validate", "{seen}");
    assert!(!seen.to_string().contains("x-"), "{seen}");
}

#[tokio::test]
async fn a_candidate_is_promoted_by_itself_after_enough_equal_answers() {
    let app = App::memory().await;
    app.store("acme", &policy("openai", "m")).await;
    warm(&app, "acme").await;
    let bytes = test_component("none");
    push(&app, &bytes, "?promoteAfter=25").await.expect(200);
    let asked = || async {
        app.resolve(&plain("acme")).await.expect(200);
        let report = report(&app).await;
        let running = report["digest"] == digest(&bytes);
        holds(running, report)
    };
    eventually("it is promoted", PATIENCE, asked).await;
    let report = report(&app).await;
    assert_eq!(
        (&report["from"], &report["fleet"]["previous"]),
        (&json!("fleet"), &json!("file"))
    );
}

#[tokio::test]
async fn a_candidate_that_once_differed_is_never_promoted_by_itself() {
    let app = App::memory().await;
    app.store("acme", &policy("openai", "m")).await;
    warm(&app, "acme").await;
    push(&app, &test_component("model:other"), "?promoteAfter=5")
        .await
        .expect(200);
    app.resolve(&occasion("acme")).await.expect(200);
    candidate(&app, "a difference", |c| c["different"] == 1).await;
    for _ in 0..50 {
        app.resolve(&plain("acme")).await.expect(200);
    }
    let seen = candidate(&app, "equal answers", |c| c["equal"].as_u64() >= Some(20)).await;
    assert_eq!(seen["state"], "comparing");
    assert_eq!(report(&app).await["digest"], digest(&real()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_hangs_delays_nobody_and_is_given_up() {
    let app = App::memory().await;
    app.store("acme", &policy("openai", "m")).await;
    warm(&app, "acme").await;
    push(&app, &test_component("hang@always"), "")
        .await
        .problem(422, "component-refused");
    // One that passes the checks.
    let bytes = test_component("hang");
    push(&app, &bytes, "").await.expect(200);
    let load = Load::start(&app, 4, occasion("acme"));
    candidate(&app, "most are dropped", |c| {
        c["dropped"].as_u64() > Some(1000)
    })
    .await;
    let outcome = load.stop().await;
    assert_eq!(outcome.others, Vec::<String>::new());
    assert!(outcome.slowest < REQUEST_DEADLINE, "{:?}", outcome.slowest);
    let seen = candidate(&app, "it is given up", |c| c["state"] == "failed").await;
    assert_eq!(seen["differences"]["error"], seen["failed"], "{seen}");
    runs(&app, &digest(&real())).await;
}

#[tokio::test]
async fn a_candidate_changes_nothing_that_others_see() {
    let app = App::memory().await;
    app.store("acme", &policy("openai", "m")).await;
    // It traps, logs and attaches bytes; answers are those of the component in force.
    for mode in [
        "trap",
        "log:50",
        "attach:5",
        "refuse-record",
        "huge-provider:30",
    ] {
        push(&app, &test_component(mode), "").await.expect(200);
        for _ in 0..5 {
            let answer = app.resolve(&occasion("acme")).await.expect(200);
            assert_eq!(
                (model(&answer.json), component(&answer.json)),
                ("m", &*digest(&real()))
            );
        }
        let digest = digest(&test_component(mode));
        candidate(&app, mode, |c| {
            c["digest"] == digest && c["compared"].as_u64() >= Some(4)
        })
        .await;
    }
}

#[tokio::test]
async fn parameters_of_a_trial_are_checked() {
    let app = App::memory().await;
    for query in [
        "?share=0",
        "?share=1.5",
        "?share=much",
        "?promoteAfter=0",
        "?promoteAfter=-1",
        "?promote=maybe",
        "?promote=true&share=0.5",
        "?colour=red",
    ] {
        push(&app, &real(), query)
            .await
            .problem(400, "invalid-parameter");
    }
    assert_eq!(report(&app).await["fleet"], json!({"current": "file"}));
}

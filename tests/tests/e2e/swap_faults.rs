//! A promoted component that fails where the one before did not: that one answers, and runs again
//! after too many. A server that hangs is nobody's fault.

use ordain_tests::app::App;
use ordain_tests::components::{component as test_component, digest, real};
use ordain_tests::services::Postgres;
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::{Value, json};

use crate::support::components::{Load, component, occasion, push, report, runs, swap_to};
use crate::support::{ALONE, model, plain, policy, warm};

/// An instance that leaves a new component after more than so many failures, and a tenant in near.
async fn warm_app(max_faults: u32) -> App {
    let app = App::builder()
        .dev()
        .env("ORDAIN_COMPONENT_MAX_FAULTS", &max_faults.to_string())
        .start()
        .await;
    app.store("acme", &policy("openai", "m")).await;
    warm(&app, "acme").await;
    app
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_a_good_component_alternates_with_one_that_traps() {
    let app = warm_app(3).await;
    let (good, bad) = (real(), test_component("trap@every:100"));
    swap_to(&app, &good).await;
    let load = Load::start(&app, 4, plain("acme"));
    for round in 1..=6 {
        swap_to(&app, &bad).await;
        let left = || async {
            let report = report(&app).await;
            holds(report["returns"] == round, report)
        };
        eventually("it has failed too often", PATIENCE, left).await;
        swap_to(&app, &good).await;
    }
    let outcome = load.stop().await;
    assert_eq!(outcome.others, Vec::<String>::new());
}

/// One that fails on every `x-` request: they are all answered, and it is left after the limit.
async fn is_left(mode: &str, kind: &str) {
    let app = warm_app(3).await;
    let good = digest(&real());
    let bad = test_component(mode);
    swap_to(&app, &bad).await;
    for call in 0..3 {
        let answer = app.resolve(&occasion("acme")).await.expect(200);
        assert_eq!(
            (model(&answer.json), component(&answer.json)),
            ("m", &*good),
            "{mode} {call}"
        );
        // Unless this machine kept it from its core for a tick.
        let own = || async {
            let batch = app.resolve(&json!([plain("acme")])).await.expect(200);
            holds(
                component(&batch.json[0]) == digest(&bad),
                format!("{batch:?}"),
            )
        };
        eventually("others are its own", PATIENCE, own).await;
    }
    let watch = report(&app).await["watch"].clone();
    assert_eq!(
        (&watch["faults"], &watch["limit"], &watch["good"]),
        (&json!(3), &json!(3), &json!(good)),
        "{mode}: {watch}"
    );
    // One too many.
    app.resolve(&occasion("acme")).await.expect(200);
    runs(&app, &good).await;
    let answer = app.resolve(&plain("acme")).await.expect(200);
    assert_eq!(
        (component(&answer.json), answer.tier()),
        (&*good, "near"),
        "{mode}"
    );
    let told = || async {
        let report = report(&app).await;
        let is_told = report["fleet"]["current"] == "file" && report["asWanted"] == true;
        holds(is_told && report["returns"] == 1, report)
    };
    eventually("the fleet is told", PATIENCE, told).await;
    assert!(app.log().contains(kind), "{mode}: {}", app.log());
    // Whoever wants it all the same gets it.
    swap_to(&app, &bad).await;
    runs(&app, &digest(&bad)).await;
}

#[tokio::test]
async fn a_component_that_traps_is_left_after_too_many() {
    is_left("trap", "unreachable").await;
}

#[tokio::test]
async fn a_component_that_overruns_is_left_after_too_many() {
    is_left("hang", "computed for too long").await;
}

#[tokio::test]
async fn a_component_that_refuses_what_the_other_took_is_left_after_too_many() {
    is_left("refuse-record", "refuses a stored record").await;
}

#[tokio::test]
async fn a_component_that_gives_up_without_reason_is_left_after_too_many() {
    is_left("unavailable", "nothing failed that it asked").await;
}

#[tokio::test]
async fn a_component_that_answers_nonsense_is_left_after_too_many() {
    is_left("control-id", "no id").await;
}

#[tokio::test]
async fn a_component_that_calls_the_host_without_end_is_left_after_too_many() {
    is_left("near:100000", "called the host").await;
}

#[tokio::test]
async fn after_its_time_a_component_is_on_its_own() {
    let app = App::builder()
        .dev()
        .env("ORDAIN_COMPONENT_WATCH_TIME", "300ms")
        .start()
        .await;
    app.store("acme", &policy("openai", "m")).await;
    swap_to(&app, &test_component("trap")).await;
    let over = || async {
        let report = report(&app).await;
        holds(report["watch"].is_null(), report)
    };
    eventually("the watch is over", PATIENCE, over).await;
    app.resolve(&occasion("acme"))
        .await
        .problem(500, "component-failed");
    app.resolve(&plain("acme")).await.expect(200);
    assert_eq!(report(&app).await["returns"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_database_is_never_the_new_components_fault() {
    let postgres = Postgres::start();
    let app = App::builder()
        .postgres(&postgres.database())
        .env("ORDAIN_COMPONENT_MAX_FAULTS", "0")
        .start()
        .await;
    app.store("acme", &policy("openai", "m")).await;
    warm(&app, "acme").await;
    let new = test_component("none");
    swap_to(&app, &new).await;
    postgres.stop_signal();
    let mut failed = 0;
    for number in 0..20 {
        let cold = plain(&format!("cold-{number}"));
        failed += u64::from(app.resolve(&cold).await.status >= 500);
        app.resolve(&plain("acme")).await.expect(200);
    }
    postgres.cont();
    assert!(failed > 0, "the database did answer");
    let report = report(&app).await;
    let expected: Value = json!({"errors": 0, "nonsense": 0, "overruns": 0, "traps": 0});
    assert_eq!(
        (&report["digest"], &report["faults"]),
        (&json!(digest(&new)), &expected),
        "{report}"
    );
    assert_eq!(
        (&report["returns"], &report["watch"]["faults"]),
        (&json!(0), &json!(0))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_at_once_are_answered_while_a_new_component_overruns() {
    let _alone = ALONE.lock().await;
    let app = warm_app(20).await;
    swap_to(&app, &test_component("hang")).await;
    let load = Load::start(&app, 16, occasion("acme"));
    runs(&app, &digest(&real())).await;
    let outcome = load.stop().await;
    assert_eq!(outcome.others, Vec::<String>::new());
}

#[tokio::test]
async fn what_the_good_one_refuses_with_reason_is_refused_with_that_reason() {
    let app = warm_app(20).await;
    swap_to(&app, &test_component("trap")).await;
    let mut invalid = occasion("acme");
    invalid["temperature"] = 3.into();
    let pointers = app.resolve(&invalid).await.error(422).pointers();
    assert_eq!(pointers, ["/temperature".to_owned()].into());
    let batch = json!([occasion("acme"), invalid, plain("acme")]);
    let batch = app.resolve(&batch).await.expect(200).json;
    assert_eq!((model(&batch[0]), model(&batch[2])), ("m", "m"));
    assert_eq!(batch[1]["problem"]["status"], 422, "{batch}");
    assert_eq!(report(&app).await["watch"]["faults"], 2);
}

#[tokio::test]
async fn promoting_what_runs_already_changes_nothing_and_loses_nothing() {
    let app = App::memory().await;
    let new = test_component("none");
    swap_to(&app, &new).await;
    let before = report(&app).await;
    swap_to(&app, &new).await;
    // As a candidate, too: equal to itself, and no news.
    let pushed = push(&app, &new, "?promoteAfter=1").await.expect(200);
    assert_eq!(pushed.json["done"], true);
    app.call("POST", "/v1/component/promote")
        .text("")
        .send()
        .await
        .expect(200);
    let after = report(&app).await;
    for member in ["digest", "fleet", "since", "swaps"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    assert_eq!(after["watch"]["good"], before["watch"]["good"]);
    app.call("POST", "/v1/component/rollback")
        .text("")
        .send()
        .await
        .expect(200);
    runs(&app, &digest(&real())).await;
}

#[tokio::test]
async fn the_last_good_component_stands_by_and_not_a_bad_one_that_came_in_between() {
    let app = warm_app(3).await;
    swap_to(&app, &test_component("trap")).await;
    swap_to(&app, &test_component("trap;none")).await;
    for _ in 0..4 {
        let answer = app.resolve(&occasion("acme")).await.expect(200);
        assert_eq!(component(&answer.json), digest(&real()));
    }
    runs(&app, &digest(&real())).await;
}

//! Components that misbehave when they are asked for a config: the one before answers while they
//! are watched, and nothing that no rule can produce gets out.

use ordain_tests::app::App;
use ordain_tests::components::{component as test_component, digest, real};
use serde_json::json;

use crate::support::components::{component, push, report, runs, swap_to};
use crate::support::configs::{Level, effective, patch, set};

/// Users whom the test component misbehaves for.
const BAD: &str = "x-ann";

#[tokio::test]
async fn what_a_new_component_fails_at_is_answered_by_the_one_before_until_it_runs_again() {
    for mode in [
        "trap",
        "threshold:nonsense",
        "window:",
        "no-levels",
        "refuse-record",
        "unavailable",
    ] {
        let app = App::builder()
            .dev()
            .env("ORDAIN_COMPONENT_MAX_FAULTS", "3")
            .start()
            .await;
        set(&app, Level::Global, &json!({"mergeMaxMessages": 7})).await;
        let bad = test_component(mode);
        swap_to(&app, &bad).await;
        for call in 0..4 {
            let answer = effective(&app, "acme", Some(BAD), 0).await.expect(200);
            assert_eq!(answer.json["config"]["mergeMaxMessages"], 7, "{mode}");
            assert_eq!(component(&answer.json), digest(&real()), "{mode} {call}");
            if call == 0 {
                let report = report(&app).await;
                let at = &report["watch"]["lastFaultAt"];
                assert_eq!(at, "config.get-effective", "{mode}: {report}");
                let faults = &report["faultsByCapability"];
                assert_eq!(faults["policy"], 0, "{mode}: {report}");
                assert!(faults["config"].as_u64() > Some(0), "{mode}: {report}");
            }
        }
        runs(&app, &digest(&real())).await;
        let report = report(&app).await;
        assert_eq!(report["returns"], 1, "{mode}");
        let log = app.log();
        assert!(log.contains("config.get-effective"), "{mode}: {log}");
    }
}

#[tokio::test]
async fn what_fails_alone_is_an_error_and_harms_nobody_else() {
    let bad = test_component("trap");
    let (_guard, file) = crate::cli_remote::file("");
    std::fs::write(&file, &bad).expect("a file");
    let app = App::builder()
        .dev()
        .env("ORDAIN_COMPONENT", &file)
        .start()
        .await;
    for _ in 0..20 {
        let failed = effective(&app, "acme", Some(BAD), 0).await;
        failed.problem(500, "component-failed");
        effective(&app, "acme", Some("ann"), 0).await.expect(200);
    }
    // A patch that it traps at is not stored.
    let before = app.get(&Level::Global.path()).await.status;
    let failed = patch(&app, Level::Global, &json!({"x-field": 1})).await;
    failed.problem(500, "component-failed");
    assert_eq!(app.get(&Level::Global.path()).await.status, before);
}

#[tokio::test]
async fn a_component_that_merges_otherwise_is_refused_by_the_vectors() {
    let app = App::memory().await;
    for mode in ["threshold:0.5@always", "window:7@always"] {
        let refused = push(&app, &test_component(mode), "").await.error(422);
        assert!(
            refused
                .text
                .contains("without any level every field has its default"),
            "{refused:?}"
        );
    }
    runs(&app, &digest(&real())).await;
}

//! Another component while requests run: what a swap keeps, what it changes, and how to go back.
//! What the new one does wrong is in `swap_faults`; what is never let in, in `component_refused`.

use std::time::Duration;

use ordain_tests::app::App;
use ordain_tests::cli::cli;
use ordain_tests::components::{component as test_component, digest, made, real};
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::json;

use crate::support::components::{Load, component, occasion, push, report, runs, swap_to};
use crate::support::configs::{Level, effective, set};
use crate::support::{model, plain, policy, warm};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_under_load_fail_no_request_and_keep_the_caches_warm() {
    let app = App::memory().await;
    app.store("acme", &policy("openai", "m")).await;
    warm(&app, "acme").await;
    let components = [test_component("none"), real()];
    for bytes in &components {
        swap_to(&app, bytes).await;
    }
    let load = Load::start(&app, 4, plain("acme"));
    for round in 0..20 {
        let bytes = &components[round % 2];
        swap_to(&app, bytes).await;
        let answer = app.resolve(&plain("acme")).await.expect(200);
        assert_eq!(component(&answer.json), digest(bytes), "round {round}");
    }
    let outcome = load.stop().await;
    assert_eq!(outcome.others, Vec::<String>::new());
    assert!(outcome.answers > 100, "{outcome:?}");
    let report = report(&app).await;
    assert_eq!(
        (&report["swaps"], &report["returns"]),
        (&json!(22), &json!(0)),
        "{report}"
    );
}

#[tokio::test]
async fn a_rollback_returns_to_what_ran_before_and_only_once() {
    let app = App::memory().await;
    let file = digest(&real());
    let (first, second) = (test_component("model:a"), test_component("model:b"));
    app.call("POST", "/v1/component/rollback")
        .text("")
        .send()
        .await
        .problem(409, "nothing-to-roll-back");
    swap_to(&app, &first).await;
    let answer = app
        .call("POST", "/v1/component/rollback")
        .text("")
        .send()
        .await
        .expect(200);
    assert_eq!(answer.json["digest"], "file");
    assert_eq!(answer.json["done"], true);
    runs(&app, &file).await;

    swap_to(&app, &first).await;
    swap_to(&app, &second).await;
    app.store("acme", &policy("openai", "m")).await;
    let answer = app.resolve(&occasion("acme")).await.expect(200);
    assert_eq!(model(&answer.json), "b");
    let back = cli([
        "component",
        "rollback",
        "--server",
        app.base(),
        "--reason",
        "b is wrong",
    ])
    .await
    .expect(0);
    assert!(back.stdout.contains(&digest(&first)), "{back:?}");
    let answer = app.resolve(&occasion("acme")).await.expect(200);
    assert_eq!(
        (model(&answer.json), component(&answer.json)),
        ("a", &*digest(&first))
    );
    let again = cli(["component", "rollback", "--server", app.base()])
        .await
        .expect(1);
    assert!(again.stderr.contains("nothing-to-roll-back"), "{again:?}");
    // What was pushed once needs no second push.
    let second = digest(&second);
    cli(["component", "promote", &second, "--server", app.base()])
        .await
        .expect(0);
    runs(&app, &second).await;
    let unknown = format!("sha256:{}", "0".repeat(64));
    let refused = cli(["component", "promote", &unknown, "--server", app.base()]).await;
    assert!(refused.expect(1).stderr.contains("component-unknown"));
    runs(&app, &second).await;
}

#[tokio::test]
async fn a_component_of_an_older_version_and_another_capability_runs_beside_the_newest() {
    let other = made::other_versions();
    let app = App::memory().await;
    app.store("acme", &policy("openai", "m")).await;
    swap_to(&app, &other).await;
    assert_eq!(
        report(&app).await["capabilities"],
        json!(["ordain:events@1.0.0", "ordain:policy@1.0.0"])
    );
    // It has no configs.
    let config = app.get("/v1/tenants/acme/config").await;
    assert_eq!(config.error(501).json["code"], "not-offered");
    let level = app
        .call("PATCH", "/v1/config")
        .json(&json!({"mergeMaxMessages": 7}));
    assert_eq!(level.send().await.error(501).json["code"], "not-offered");
    // From the origin, and from near.
    let answer = app.resolve(&plain("acme")).await.expect(200);
    assert_eq!(
        (model(&answer.json), component(&answer.json)),
        ("m", &*digest(&other))
    );
    warm(&app, "acme").await;
    // There were no batches then.
    let batch = app
        .resolve(&json!([plain("acme"), plain("nobody")]))
        .await
        .expect(200);
    for one in [0, 1] {
        assert_eq!(batch.json[one]["problem"]["code"], "not-offered");
    }
    let broken = app.put("/v1/tenants/acme/policy", &json!({})).await;
    let expected = ["/defaultModel", "/defaultProvider"].map(str::to_owned);
    assert_eq!(broken.error(422).pointers(), expected.into());
    swap_to(&app, &real()).await;
    let answer = app.resolve(&plain("acme")).await.expect(200);
    assert_eq!(
        (answer.tier(), component(&answer.json)),
        ("near", &*digest(&real()))
    );
}

#[tokio::test]
async fn a_component_may_have_configs_alone() {
    let other = made::without_policies();
    let app = App::memory().await;
    app.store("acme", &policy("openai", "m")).await;
    swap_to(&app, &other).await;
    let report = report(&app).await;
    assert_eq!(
        report["capabilities"],
        json!(["ordain:config@1.0.0", "ordain:people@1.1.0"])
    );
    app.resolve(&plain("acme"))
        .await
        .problem(501, "not-offered");
    let written = app
        .put("/v1/tenants/acme/policy", &policy("openai", "m"))
        .await;
    written.problem(501, "not-offered");
    set(&app, Level::Global, &json!({"mergeMaxMessages": 7})).await;
    let holds = effective(&app, "acme", None, 0).await.expect(200).json;
    assert_eq!(holds["config"]["mergeMaxMessages"], 7);
    assert_eq!(component(&holds), digest(&other));
}

#[tokio::test]
async fn a_changed_file_is_taken_with_watch_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rules.wasm");
    std::fs::write(&file, real()).expect("written");
    let path = file.to_str().expect("UTF-8");
    let app = App::builder()
        .dev()
        .arg("--component")
        .arg(path)
        .arg("--watch")
        .start()
        .await;
    app.store("acme", &policy("openai", "m")).await;
    let other = test_component("model:seen");
    // Looked at before it changes: what was there at the start is no change.
    let look = || async {
        std::fs::write(&file, &other).expect("written");
        let running = report(&app).await["digest"].clone();
        holds(running == digest(&other), format!("{running} runs"))
    };
    eventually("the changed file runs", PATIENCE, look).await;
    let answer = app.resolve(&occasion("acme")).await.expect(200);
    assert_eq!(model(&answer.json), "seen");
    std::fs::write(&file, &other[..1000]).expect("written");
    let told = || async {
        let report = report(&app).await;
        let trouble = report["trouble"][0]["error"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        holds(trouble.contains("not a WebAssembly component"), report)
    };
    eventually("the broken file is told of", PATIENCE, told).await;
    let answer = app.resolve(&occasion("acme")).await.expect(200);
    assert_eq!(
        (model(&answer.json), component(&answer.json)),
        ("seen", &*digest(&other))
    );
}

#[tokio::test]
async fn every_change_is_in_the_answer_to_status_and_in_the_metrics() {
    let app = App::memory().await;
    swap_to(&app, &test_component("none")).await;
    push(
        &app,
        &test_component("model:c"),
        "?share=0.5&promoteAfter=1000000",
    )
    .await
    .expect(200);
    let shown = cli(["component", "status", "--server", app.base()])
        .await
        .expect(0);
    for words in [
        "from the fleet",
        "before it",
        "file",
        "watched",
        "50 %",
        "after 1000000",
    ] {
        assert!(shown.stdout.contains(words), "{words}: {shown:?}");
    }
    let json = cli(["component", "status", "--json", "--server", app.base()])
        .await
        .expect(0)
        .json();
    assert_eq!(json["candidate"]["state"], "comparing");
    assert_eq!(
        json["fleet"]["candidate"],
        digest(&test_component("model:c"))
    );
    let metrics = app.get("/metrics").await.expect(200).text;
    for line in [
        "ordain_component_as_wanted 1",
        "ordain_component_swaps_total{cause=\"order\"} 1",
        "ordain_component_faults_total{kind=\"trap\"} 0",
        "ordain_candidate_answers_total{outcome=\"equal\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let withdrawn = cli(["component", "withdraw", "--server", app.base()])
        .await
        .expect(0);
    assert!(withdrawn.stdout.contains("withdrawn"), "{withdrawn:?}");
    let gone = || async {
        let report = report(&app).await;
        holds(report["candidate"].is_null(), report)
    };
    eventually("no candidate", Duration::from_secs(5), gone).await;
}

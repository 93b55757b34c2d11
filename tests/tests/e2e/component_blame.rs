//! What makes instances leave a new component and what does not: a caller whose requests take as
//! long as may be is not enough, nor is one tenant of several, nor one instance for the fleet.

use ordain_tests::app::App;
use ordain_tests::components::{component as test_component, digest, real};
use ordain_tests::tokens;
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::{Value, json};

use crate::support::components::{component, occasion, report, runs, swap_to};
use crate::support::{Deployment, plain, policy, warm};

/// A record whose requests take long, and one of them.
fn dear() -> (Value, Value) {
    let glob = |n: usize| {
        let stars = "*".repeat(1 + n % 25);
        format!("*{}{stars}b*c", "*a".repeat(55 + n / 25))
    };
    let mut record = policy("openai", "m");
    record["allowedModels"] = (0..1000).map(glob).collect();
    let model = format!("c{}b", "a".repeat(110));
    (record, json!({"tenant": "acme", "model": model}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_whose_calls_take_as_long_as_they_may_cannot_roll_a_component_back() {
    let app = App::builder()
        .dev()
        .env("ORDAIN_COMPONENT_MAX_FAULTS", "3")
        .start()
        .await;
    let (record, request) = dear();
    app.store("acme", &record).await;
    app.resolve(&request).await.expect(200);
    // The same rules under another digest.
    let new = test_component("none");
    swap_to(&app, &new).await;
    let reader = app.with(&tokens::reader("acme"));
    // Wherever the edge of a tick is, some of these come close to it.
    for round in 0..4 {
        for size in 1..=60 {
            let batch: Vec<Value> = (0..size).map(|_| request.clone()).collect();
            let reply = reader.resolve(&json!(batch)).await;
            assert_eq!(reply.status, 200, "{round} {size}: {reply:?}");
        }
    }
    let report = report(&app).await;
    assert_eq!(
        (
            &report["digest"],
            &report["returns"],
            &report["watch"]["faults"]
        ),
        (&json!(digest(&new)), &json!(0), &json!(0)),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_is_right_but_far_slower_is_left_by_itself() {
    let app = App::builder()
        .dev()
        .env("ORDAIN_COMPONENT_MAX_FAULTS", "3")
        .start()
        .await;
    let good = digest(&real());
    app.store("acme", &policy("openai", "m")).await;
    warm(&app, "acme").await;
    // Far beyond a tick on any machine.
    swap_to(&app, &test_component("spin:200000")).await;
    let left = || async {
        let answer = app.resolve(&occasion("acme")).await.expect(200);
        assert_eq!(component(&answer.json), good, "nobody waits for it");
        let report = report(&app).await;
        holds(report["returns"] == 1, report)
    };
    eventually("it is left", PATIENCE, left).await;
    runs(&app, &good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_tenants_does_not_end_a_component_and_several_do() {
    let app = App::builder()
        .dev()
        .env("ORDAIN_COMPONENT_MAX_FAULTS", "8")
        .start()
        .await;
    let bad = test_component("trap");
    let tenants = ["t0", "t1", "t2", "t3", "t4"];
    for tenant in tenants {
        app.store(tenant, &policy("openai", "m")).await;
        warm(&app, tenant).await;
    }
    swap_to(&app, &bad).await;
    for tenant in tenants {
        app.resolve(&plain(tenant)).await.expect(200);
    }
    for _ in 0..40 {
        let answer = app.resolve(&occasion("t0")).await.expect(200);
        assert_eq!(component(&answer.json), digest(&real()), "it is answered");
    }
    let now = report(&app).await;
    assert_eq!(
        (&now["returns"], &now["watch"]["faults"]),
        (&json!(0), &json!(3)),
        "{now}"
    );
    for tenant in tenants {
        for _ in 0..3 {
            app.resolve(&occasion(tenant)).await.expect(200);
        }
    }
    runs(&app, &digest(&real())).await;
}

async fn pair(deployment: &Deployment) -> [App; 2] {
    let limit = |name: &str| {
        let instance = deployment.instance(name);
        instance.env("ORDAIN_COMPONENT_MAX_FAULTS", "2").start()
    };
    let apps = [limit("one").await, limit("two").await];
    apps[0].store("acme", &policy("openai", "m")).await;
    for app in &apps {
        warm(app, "acme").await;
    }
    apps
}

async fn fails(app: &App) {
    for _ in 0..3 {
        let answer = app.resolve(&occasion("acme")).await.expect(200);
        assert_eq!(component(&answer.json), digest(&real()));
    }
    runs(app, &digest(&real())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_fails_on_one_instance_and_answers_well_on_another_stays_there() {
    let deployment = Deployment::start().await;
    let [one, two] = pair(&deployment).await;
    let bad = digest(&test_component("trap"));
    swap_to(&one, &test_component("trap")).await;
    runs(&two, &bad).await;
    two.resolve(&plain("acme")).await.expect(200);
    fails(&one).await;
    let objected = || async {
        let log = two.log();
        holds(
            log.contains("failed on one instance and answers well here"),
            log,
        )
    };
    eventually("the other one objects", PATIENCE, objected).await;
    // Longer than anybody could have objected.
    let start = std::time::Instant::now();
    let stays = || async {
        let report = report(&two).await;
        assert_eq!(
            (&report["digest"], &report["fleet"]["current"]),
            (&json!(bad), &json!(bad))
        );
        holds(start.elapsed().as_secs() >= 5, "not yet")
    };
    eventually("time passes", PATIENCE, stays).await;
    let own = report(&one).await;
    assert_eq!(
        (&own["digest"], &own["asWanted"]),
        (&json!(digest(&real())), &json!(false))
    );
    assert!(
        own["trouble"].to_string().contains("failed too often"),
        "{own}"
    );

    // The second one has had enough, too.
    fails(&two).await;
    let told = || async {
        let report = report(&one).await;
        holds(report["fleet"] == json!({"current": "file"}), report)
    };
    eventually("the fleet wants the old one", PATIENCE, told).await;
}

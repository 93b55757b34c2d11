//! One command swaps a fleet: the wish is kept in Postgres and announced by the change log. An
//! instance that cannot follow says so; one that starts later takes what was promoted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ordain_tests::cli::cli;
use ordain_tests::components::{
    component as test_component, digest, made, real, write, write_component,
};
use ordain_tests::wait::{PATIENCE, eventually, holds};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use crate::support::components::{component, occasion, push, report, runs, swap_to};
use crate::support::{Deployment, model, plain, policy, psql, warm};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_command_swaps_a_fleet_and_another_swaps_it_back() {
    let deployment = Deployment::start().await;
    let mut fleet = Vec::new();
    for name in ["one", "two", "three"] {
        fleet.push(deployment.instance(name).start().await);
    }
    fleet[0].store("acme", &policy("openai", "m")).await;
    for app in &fleet {
        warm(app, "acme").await;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let new = test_component("model:new");
    let path = write_component(folder.path(), "model:new");
    let path = path.to_str().expect("UTF-8");
    let pushed = cli([
        "component",
        "push",
        path,
        "--promote",
        "--reason",
        "for acme",
        "--server",
        fleet[0].base(),
    ]);
    pushed.await.expect(0);
    for app in &fleet {
        runs(app, &digest(&new)).await;
        let answer = app.resolve(&occasion("acme")).await.expect(200);
        assert_eq!(
            (model(&answer.json), answer.tier()),
            ("new", "near"),
            "the caches are warm"
        );
    }
    // A newcomer's very first answer is the promoted component's.
    let late = deployment.instance("late").start().await;
    let answer = late.resolve(&occasion("acme")).await.expect(200);
    assert_eq!(
        (model(&answer.json), component(&answer.json)),
        ("new", &*digest(&new))
    );

    cli(["component", "rollback", "--server", fleet[2].base()])
        .await
        .expect(0);
    fleet.push(late);
    for app in &fleet {
        runs(app, &digest(&real())).await;
    }
    let mut sql = psql(&deployment.database).await;
    let rows: Vec<(String, String, Option<String>)> = sqlx::query_as(
        "SELECT subject, op, reason FROM changes WHERE subject LIKE 'setting/component%' ORDER BY position",
    )
    .fetch_all(&mut sql)
    .await
    .expect("the log can be read");
    let because = Some("for acme".to_owned());
    let row = |subject: &str, op: &str, reason: &Option<String>| {
        (
            format!("setting/component.{subject}"),
            op.to_owned(),
            reason.clone(),
        )
    };
    let expected = [
        row("previous", "put", &because),
        row("current", "put", &because),
        row("previous", "delete", &None),
        row("current", "delete", &None),
    ];
    assert_eq!(rows, expected, "who did what, and why, is in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_cannot_load_it_stays_on_the_old_one_and_says_so() {
    let deployment = Deployment::start().await;
    let easy = deployment.instance("easy").start().await;
    let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).expect("a seed");
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "rules", &real());
    std::fs::write(folder.path().join("rules.wasm.sig"), pair.sign(&real())).expect("written");
    let strict = deployment
        .instance("strict")
        .arg("--component")
        .arg(file.to_str().expect("UTF-8"))
        .env("ORDAIN_COMPONENT_SIGNATURE", "required")
        .env("ORDAIN_COMPONENT_KEYS", &STANDARD.encode(pair.public_key()))
        .start()
        .await;
    let new = test_component("model:unsigned");
    let revision = swap_to(&easy, &new).await.revision();
    let told = || async {
        let reply = strict.get("/readyz").await;
        let told = reply.status == 200
            && reply.json["status"] == "degraded"
            && reply.json["component"]["asWanted"] == false
            && reply.text.contains("no signature");
        holds(told, format!("{reply:?}"))
    };
    eventually("it says so", PATIENCE, told).await;
    let report = report(&strict).await;
    assert_eq!(
        (&report["digest"], &report["fleet"]["current"]),
        (&json!(digest(&real())), &json!(digest(&new)))
    );
    let metrics = strict.get("/metrics").await.expect(200).text;
    assert!(
        metrics.contains("ordain_component_as_wanted 0"),
        "{metrics}"
    );
    let call = strict.call("POST", "/v1/resolve").json(&plain("acme"));
    call.header("ordain-min-revision", &revision.to_string())
        .send()
        .await
        .expect(200);
    assert!(
        strict.log().contains("stays on what it runs"),
        "{}",
        strict.log()
    );
    // Signed, it is taken.
    let call = easy.call("PUT", "/v1/component?promote=true");
    let signed = test_component("model:signed");
    let refused = call.header("ordain-signature", &STANDARD.encode(pair.sign(&signed)));
    // An instance without keys cannot check a signature, and does not pretend to.
    refused
        .wasm(signed.clone())
        .send()
        .await
        .problem(422, "component-refused");
    let call = strict.call("PUT", "/v1/component?promote=true");
    let pushed = call.header("ordain-signature", &STANDARD.encode(pair.sign(&signed)));
    assert_eq!(
        pushed.wasm(signed.clone()).send().await.expect(200).json["done"],
        true
    );
    runs(&strict, &digest(&signed)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_fails_on_one_instance_is_left_by_the_fleet() {
    let deployment = Deployment::start().await;
    let limit = |name: &str| {
        deployment
            .instance(name)
            .env("ORDAIN_COMPONENT_MAX_FAULTS", "2")
    };
    let (one, two) = (limit("one").start().await, limit("two").start().await);
    one.store("acme", &policy("openai", "m")).await;
    let bad = test_component("trap");
    swap_to(&one, &bad).await;
    runs(&two, &digest(&bad)).await;
    for _ in 0..3 {
        let answer = one.resolve(&occasion("acme")).await.expect(200);
        assert_eq!(component(&answer.json), digest(&real()));
    }
    for app in [&one, &two] {
        runs(app, &digest(&real())).await;
    }
    let told = || async {
        let report = report(&two).await;
        holds(report["fleet"] == json!({"current": "file"}), report)
    };
    eventually("the fleet wants the old one", PATIENCE, told).await;
    let mut sql = psql(&deployment.database).await;
    let (actor, reason): (String, String) = sqlx::query_as(
        "SELECT actor, reason FROM changes WHERE subject = 'setting/component.current' ORDER BY position DESC LIMIT 1",
    )
    .fetch_one(&mut sql)
    .await
    .expect("the log can be read");
    assert_eq!(actor, "ordain");
    assert!(
        reason.contains(&digest(&bad)) && reason.contains("failed too often"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_tries_a_candidate_everywhere_and_an_older_version_still_loads() {
    let deployment = Deployment::start().await;
    let (one, two) = (
        deployment.instance("one").start().await,
        deployment.instance("two").start().await,
    );
    one.store("acme", &policy("openai", "m")).await;
    let released = made::other_versions();
    push(&one, &released, "").await.expect(200);
    let tried = || async {
        two.resolve(&plain("acme")).await.expect(200);
        let candidate = report(&two).await["candidate"].clone();
        let equal =
            candidate["digest"] == digest(&released) && candidate["equal"].as_u64() > Some(0);
        holds(equal && candidate["different"] == 0, candidate)
    };
    eventually("the other instance compares", PATIENCE, tried).await;
    let promoted: Value = cli(["component", "promote", "--json", "--server", two.base()])
        .await
        .expect(0)
        .json();
    assert_eq!(
        (&promoted["state"], &promoted["digest"]),
        (&json!("promoted"), &json!(digest(&released)))
    );
    for app in [&one, &two] {
        runs(app, &digest(&released)).await;
        let answer = app.resolve(&plain("acme")).await.expect(200);
        assert_eq!(model(&answer.json), "m");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_made_in_psql_is_obeyed_and_one_that_names_nothing_is_told_of() {
    let deployment = Deployment::start().await;
    let app = deployment.instance("one").start().await;
    let bytes = test_component("model:psql");
    push(&app, &bytes, "").await.expect(200);
    let mut sql = psql(&deployment.database).await;
    let set = "INSERT INTO settings (name, value) VALUES ('component.current', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    sqlx::query(set)
        .bind(digest(&bytes))
        .execute(&mut sql)
        .await
        .expect("written");
    runs(&app, &digest(&bytes)).await;
    let nothing = format!("sha256:{}", "1".repeat(64));
    sqlx::query(set)
        .bind(&nothing)
        .execute(&mut sql)
        .await
        .expect("written");
    let told = || async {
        let report = report(&app).await;
        let told = report["trouble"][0]["digest"] == nothing && report["asWanted"] == false;
        holds(told, report)
    };
    eventually("it is told of", PATIENCE, told).await;
    runs(&app, &digest(&bytes)).await;
}

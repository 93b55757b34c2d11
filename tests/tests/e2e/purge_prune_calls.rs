//! The calls and commands of `purge` and `prune`: what they take, print and refuse.

use std::time::Instant;

use ordain_tests::app::App;
use ordain_tests::cli::cli;
use ordain_tests::services::Postgres;
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::json;

use crate::purge_prune::{PRUNE, PURGE, small, some_writes, watermark};
use crate::support::{Deployment, REQUEST_DEADLINE, SLACK, caught_up, version};

#[tokio::test]
async fn the_command_line_purges_and_prunes_with_and_without_a_server() {
    let deployment = Deployment::start().await;
    let app = small(&deployment, "one").start().await;
    some_writes(&app, 15).await;
    let server = ["--server", app.base()];
    let run = async |args: &[&str]| cli([args, &server[..]].concat()).await;
    let purged = run(&["purge", "--tenant", "a/b %", "--json"])
        .await
        .expect(0);
    assert!(purged.json()["revision"].is_u64(), "{purged:?}");
    let purged = run(&["purge", "--tenant", "a/b %"]).await.expect(0);
    assert!(
        purged.stdout.starts_with("a/b %: purged, revision "),
        "{purged:?}"
    );
    let refused = run(&["purge", "--tenant", ".."]).await.expect(1);
    assert!(refused.stderr.contains("`..`"), "{refused:?}");

    let nothing = run(&["log", "prune", "--before", "30d"]).await.expect(0);
    assert!(
        nothing.stdout.starts_with("nothing to prune"),
        "{nothing:?}"
    );
    let nothing = run(&["log", "prune", "--before", "30d", "--json"]).await;
    assert_eq!(nothing.expect(0).json(), json!({"pruned": 0}));
    let refused = run(&["log", "prune", "--before", "yesterday"])
        .await
        .expect(1);
    assert!(refused.stderr.contains("30d"), "{refused:?}");
    run(&["log", "prune"]).await.expect(2);
    let pruned = run(&["log", "prune", "--before", "0s", "--reason", "r"])
        .await
        .expect(0);
    assert!(
        pruned.stdout.starts_with("pruned 7 rows, revision "),
        "{pruned:?}"
    );

    // Without a server: its window is the default, so everything stays.
    let database = ["--database-url", deployment.database.as_str()];
    let run = async |args: &[&str]| cli([args, &database[..]].concat()).await;
    let nothing = run(&["log", "prune", "--before", "0s"]).await.expect(0);
    assert!(
        nothing.stdout.starts_with("nothing to prune"),
        "{nothing:?}"
    );
    let purged = run(&["purge", "--json"]).await.expect(0).json();
    let revision = purged["revision"].as_u64().expect("a revision");
    caught_up(&app, revision).await;
}

#[tokio::test]
async fn faults_of_purge_and_prune_are_problems_and_nothing_is_logged() {
    let app = App::memory().await;
    for (path, body, pointers) in [
        (PURGE, json!({"tenant": ""}), "/tenant"),
        (PURGE, json!({"tenant": ".."}), "/tenant"),
        (PURGE, json!({"tenant": null}), "/tenant"),
        (PURGE, json!({"tenant": 1}), "/tenant"),
        (
            PURGE,
            json!({"tenants": "a", "all/of~it": true}),
            "/all~1of~0it /tenants",
        ),
        (PURGE, json!([]), ""),
        (PRUNE, json!({}), "/before"),
        (PRUNE, json!({"before": "30"}), "/before"),
        (PRUNE, json!({"before": 30}), "/before"),
        (PRUNE, json!({"before": "9999y"}), "/before"),
        (PRUNE, json!({"before": "30d", "keep": 1}), "/keep"),
        (PRUNE, json!("30d"), ""),
    ] {
        let reply = app.post(path, &body).await.problem(422, "invalid-request");
        let named: Vec<_> = reply.pointers().into_iter().collect();
        assert_eq!(named.join(" "), pointers, "{body}");
    }
    for path in [PURGE, PRUNE] {
        let twice = app
            .call("POST", path)
            .text(r#"{"tenant":"a","before":"1d","tenant":"b","before":"2d"}"#);
        twice.send().await.problem(422, "invalid-request");
        for broken in ["", "{", "{}{}"] {
            let reply = app.call("POST", path).text(broken).send().await;
            reply.problem(400, "malformed-json");
        }
        let good = json!({"before": "1d"}).to_string();
        let sent = app
            .call("POST", path)
            .header("content-type", "text/plain")
            .body(&*good);
        sent.send().await.problem(415, "unsupported-media-type");
        let sent = app.call("POST", &format!("{path}?all=true")).text(&*good);
        sent.send().await.problem(400, "invalid-parameter");
        for (name, value) in [
            ("ordain-min-revision", "-1"),
            ("ordain-reason", &*"x".repeat(501)),
        ] {
            let sent = app.call("POST", path).header(name, value).text(&*good);
            sent.send().await.problem(400, "invalid-header");
        }
        app.get(path).await.problem(405, "method-not-allowed");
        let long = format!("{{\"x\":\"{}\"}}", "x".repeat(20_000));
        let sent = app.call("POST", path).text(long).send().await;
        sent.problem(413, "body-too-large");
    }
    assert_eq!(watermark(&app).await, 0, "nothing was logged");
    let call = app
        .call("POST", PURGE)
        .header("ordain-min-revision", "9000000000000000");
    call.json(&json!({})).send().await.expect(200);
}

#[tokio::test]
async fn an_origin_that_hangs_makes_purge_and_prune_quick_503s() {
    let postgres = Postgres::start();
    let app = App::builder().postgres(&postgres.database()).start().await;
    app.store("t", &version(1)).await;
    postgres.stop_signal();
    for (path, body) in [(PURGE, json!({})), (PRUNE, json!({"before": "1d"}))] {
        let began = Instant::now();
        let reply = app.post(path, &body).await.error(503);
        let took = began.elapsed();
        assert!(took <= REQUEST_DEADLINE + SLACK, "{path} took {took:?}");
        assert!(!reply.header("retry-after").is_empty(), "{reply:?}");
    }
    postgres.cont();
    let back = || async {
        let reply = app.post(PURGE, &json!({})).await;
        holds(reply.status == 200, format!("{reply:?}"))
    };
    eventually("purges again", PATIENCE, back).await;
}

//! When a change is seen: at once on the instance that wrote it, within the bound on all others,
//! whoever wrote it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ordain_tests::app::App;
use ordain_tests::http::{history_path, policy_path};
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::{Value, json};

use crate::support::{BOUND, Deployment, model, plain, policy, psql, version, warm};

/// Asks until the answer is the new one. The promise: no request that began more than the bound
/// after the commit is answered by the old state.
async fn within_the_bound(
    app: &App,
    tenant: &str,
    committed: Instant,
    is_new: impl Fn(&Value) -> bool,
) {
    loop {
        let began = Instant::now();
        let reply = app.resolve(&plain(tenant)).await.expect(200);
        assert_eq!(reply.json["provenance"]["stale"], false);
        if is_new(&reply.json) {
            return;
        }
        let late = began.duration_since(committed);
        assert!(
            late <= BOUND,
            "old {late:?} after the commit: {}",
            reply.text
        );
    }
}

#[tokio::test]
async fn an_instance_never_answers_older_than_its_own_write() {
    let deployment = Deployment::start().await;
    let app = Arc::new(
        deployment
            .instance("one")
            // What is answered is in question here, not how fast a busy machine writes.
            .env("ORDAIN_ORIGIN_DEADLINE", "5s")
            .env("ORDAIN_REQUEST_DEADLINE", "10s")
            .start()
            .await,
    );
    // Readers that keep refilling the caches while the policy changes.
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (app, stop) = (app.clone(), stop.clone());
            tokio::spawn(async move {
                let mut last = 0;
                while !stop.load(Ordering::SeqCst) {
                    let reply = app.resolve(&plain("t")).await.expect(200);
                    let revision = reply.json["provenance"]["revision"].as_u64().unwrap_or(0);
                    assert!(revision >= last, "went back from {last} to {revision}");
                    last = revision;
                }
            })
        })
        .collect();
    let mut slowest = std::time::Duration::ZERO;
    for number in 0..200 {
        let began = Instant::now();
        let revision = app.store("t", &version(number)).await;
        slowest = slowest.max(began.elapsed());
        let reply = app.resolve(&plain("t")).await.expect(200);
        assert_eq!(model(&reply.json), format!("m{number}"), "{reply:?}");
        assert_eq!(reply.json["provenance"]["revision"], revision);
        assert!(reply.ordain_revision() >= revision, "{reply:?}");
    }
    println!("the slowest of 200 writes took {slowest:?}");
    stop.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.expect("no reader saw an older state");
    }
    app.delete(&policy_path("t")).await.expect(200);
    assert_eq!(
        app.resolve(&plain("t")).await.json["refusal"]["code"],
        "no-policy"
    );
}

#[tokio::test]
async fn a_write_on_one_instance_is_seen_on_another_within_the_bound() {
    let deployment = Deployment::start().await;
    let (one, two) = futures::join!(
        deployment.instance("one").start(),
        deployment.instance("two").start()
    );
    one.store("t", &version(0)).await;
    for number in 1..15 {
        warm(&two, "t").await;
        let revision = one.store("t", &version(number)).await;
        let committed = Instant::now();
        let is_new = |answer: &Value| answer["provenance"]["revision"] == revision;
        within_the_bound(&two, "t", committed, is_new).await;
    }
    warm(&two, "t").await;
    one.delete(&policy_path("t")).await.expect(200);
    within_the_bound(&two, "t", Instant::now(), |answer| {
        answer["refusal"]["code"] == "no-policy"
    })
    .await;
}

#[tokio::test]
async fn edits_in_psql_are_ordinary_changes() {
    let deployment = Deployment::start().await;
    let (one, two) = futures::join!(
        deployment.instance("one").start(),
        deployment.instance("two").start()
    );
    let first = one.store("t", &version(1)).await;
    let mut psql = psql(&deployment.database).await;
    let mut last = first;
    for statement in [
        "UPDATE policies SET body = '{\"defaultModel\":\"edited\",\"defaultProvider\":\"openai\"}' WHERE tenant = 't'",
        "DELETE FROM policies WHERE tenant = 't'",
        "INSERT INTO policies (tenant, body) VALUES ('t', '{\"defaultModel\":\"edited\",\"defaultProvider\":\"openai\"}')",
        "UPDATE policies SET body = '{ \"defaultProvider\":\"openai\" , \"defaultModel\":\"edited\"}'",
    ] {
        futures::join!(warm(&one, "t"), warm(&two, "t"));
        sqlx::query(statement)
            .execute(&mut psql)
            .await
            .expect(statement);
        let committed = Instant::now();
        let deleted = statement.starts_with("DELETE");
        let history = one.get(&history_path("t")).await.expect(200).json;
        let entry = &history["items"][0];
        let revision = entry["revision"].as_u64().expect("a revision");
        assert!(revision > last, "{statement}");
        last = revision;
        assert_eq!(entry["op"], if deleted { "delete" } else { "put" });
        assert!(
            entry["actor"]
                .as_str()
                .is_some_and(|actor| actor.starts_with("sql:")),
            "{entry}"
        );
        for app in [&one, &two] {
            let is_new = |answer: &Value| match deleted {
                true => answer["refusal"]["code"] == "no-policy",
                false => answer["provenance"]["revision"] == revision,
            };
            within_the_bound(app, "t", committed, is_new).await;
            if !deleted {
                assert_eq!(model(&app.resolve(&plain("t")).await.json), "edited");
            }
        }
    }
}

#[tokio::test]
async fn a_record_broken_by_hand_is_an_error_and_never_an_answer() {
    let deployment = Deployment::start().await;
    let one = deployment
        .instance("one")
        .env("ORDAIN_DEFAULT_PROVIDER", "p")
        .env("ORDAIN_DEFAULT_MODEL", "m");
    let (one, two) = futures::join!(one.start(), deployment.instance("two").start());
    one.store("sound", &version(1)).await;
    let mut psql = psql(&deployment.database).await;
    let mut passed = 0;
    for body in [
        r#"{"defaultModel":"m"}"#,
        r#"{"defaultModel":"m","defaultProvider":""}"#,
        r#"{"defaultModel":"m","defaultProvider":"p","egressMode":"audit"}"#,
        r#"{"defaultModel":"m","defaultProvider":"p","tasks":[{"task":"t"}]}"#,
        r#"{"defaultModel":"m","defaultProvider":"p","unknown":1}"#,
        r#"{"defaultModel":"m","defaultModel":"n","defaultProvider":"p"}"#,
    ] {
        one.store("t", &policy("p", "sound")).await;
        futures::join!(warm(&one, "t"), warm(&two, "t"));
        let edit = "UPDATE policies SET body = $1 WHERE tenant = 't'";
        if sqlx::query(edit)
            .bind(body)
            .execute(&mut psql)
            .await
            .is_err()
        {
            // The table's CHECKs know it too: all the better.
            continue;
        }
        passed += 1;
        let revision: i64 = sqlx::query_scalar("SELECT revision FROM policies WHERE tenant = 't'")
            .fetch_one(&mut psql)
            .await
            .expect("a revision");
        for app in [&one, &two] {
            // From near, from far, from the origin: the same error, time after time.
            for _ in 0..3 {
                let request = json!({"tenant": "t", "minRevision": revision});
                app.resolve(&request).await.problem(503, "record-invalid");
            }
            let refused = || async {
                let reply = app.resolve(&plain("t")).await;
                holds(reply.status == 503, format!("{reply:?}"))
            };
            eventually("the broken record is an error", BOUND, refused).await;
            let batch = app
                .resolve(&json!([plain("t"), plain("sound")]))
                .await
                .expect(200);
            assert_eq!(batch.json[0]["problem"]["code"], "record-invalid");
            assert_eq!(model(&batch.json[1]), "m1", "other tenants are not touched");
        }
    }
    assert!(
        passed >= 3,
        "only {passed} of the broken records passed the CHECKs"
    );
    // Repaired by an ordinary write.
    let revision = one.store("t", &version(7)).await;
    let repaired = || async {
        let reply = two
            .resolve(&json!({"tenant": "t", "minRevision": revision}))
            .await;
        holds(
            reply.status == 200 && reply.json["model"] == "m7",
            format!("{reply:?}"),
        )
    };
    eventually("repaired", PATIENCE, repaired).await;
    assert_eq!(model(&one.resolve(&plain("t")).await.json), "m7");
}

#[tokio::test]
async fn an_instance_never_answers_older_than_a_policy_that_it_has_shown() {
    let deployment = Deployment::start().await;
    let writer = deployment.instance("writer").start().await;
    let reader = deployment.instance("reader").start().await;
    for number in 0..100 {
        writer.store("t", &version(number)).await;
        // Read, listed or shown in the history: each may come before the reader's feed does.
        let path = match number % 3 {
            0 => policy_path("t"),
            1 => "/v1/tenants".to_owned(),
            _ => history_path("t"),
        };
        let shown = reader.get(&path).await.expect(200).ordain_revision();
        let answer = reader.resolve(&plain("t")).await.expect(200);
        assert_eq!(model(&answer.json), format!("m{number}"), "after {path}");
        assert!(answer.ordain_revision() >= shown, "{answer:?}");
    }
}

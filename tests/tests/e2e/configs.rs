//! Configs over HTTP: what every call answers, on both origins.

use ordain_tests::app::App;
use ordain_tests::http::segment;
use serde_json::{Map, Value, json};

use crate::support::configs::{Level, effective, oracle, patch, set};
use crate::support::database;

async fn both() -> [App; 2] {
    // What is judged is what is answered, not how busy this machine is.
    let postgres = App::builder()
        .postgres(&database().await)
        .env("ORDAIN_ORIGIN_DEADLINE", "10s")
        .env("ORDAIN_REQUEST_DEADLINE", "20s");
    [App::memory().await, postgres.start().await]
}

#[tokio::test]
async fn a_level_is_patched_read_and_deleted_and_says_its_revision() {
    for app in both().await {
        for level in [Level::Global, Level::Tenant("a"), Level::User("a", "ann")] {
            let path = level.path();
            let absent = app.get(&path).await.problem(404, "config-not-found");
            assert!(absent.header("ordain-revision").parse::<u64>().is_ok());

            let fields = json!({"mergeMaxMessages": 7, "pathMaxMessages": 9});
            let first = patch(&app, level, &fields);
            let first = first.await.expect(200);
            let revision = first.revision();
            assert_eq!(first.header("etag"), format!("\"{revision}\""));
            assert_eq!(first.ordain_revision(), revision);
            assert_eq!(first.json, json!({"revision": revision}));

            let fields = json!({"pathMaxMessages": null, "autoCompactEnabled": false});
            let second = set(&app, level, &fields);
            let second = second.await;
            assert!(second > revision);
            let read = app.get(&path).await.expect(200);
            let fields = json!({"mergeMaxMessages": 7, "autoCompactEnabled": false});
            assert_eq!(read.json, json!({"config": fields, "revision": second}));
            assert_eq!(read.header("etag"), format!("\"{second}\""));
            let known = app
                .call("GET", &path)
                .header("if-none-match", &format!("\"{second}\""));
            known.send().await.expect(304);

            // Nothing is asked for, so nothing is written.
            let nothing = patch(&app, level, &json!({})).await.expect(200);
            assert_eq!(nothing.json, json!({"revision": second}));
            let history = app.get(&format!("{path}/history")).await.expect(200).json;
            let seen: Vec<_> = history["items"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|item| {
                    (
                        item["revision"].as_u64().expect("a number"),
                        item["op"].clone(),
                    )
                })
                .collect();
            assert_eq!(seen, [(second, json!("put")), (revision, json!("put"))]);
            assert_eq!(history["items"][0]["record"], fields);

            let deleted = app.delete(&path).await.expect(200).revision();
            assert!(deleted > second);
            app.get(&path).await.problem(404, "config-not-found");
            app.delete(&path).await.problem(404, "config-not-found");
            let nothing = patch(&app, level, &json!({})).await.expect(200);
            assert_eq!(nothing.json, json!({"revision": null}));
            let tenant = match level {
                Level::Global => "z",
                Level::Tenant(tenant) | Level::User(tenant, _) => tenant,
            };
            let answer = effective(&app, tenant, Some("ann"), deleted)
                .await
                .expect(200);
            assert_eq!(
                answer.json["config"]["mergeMaxMessages"], 100,
                "delete is visible at once"
            );
        }
    }
}

#[tokio::test]
async fn conditions_hold_for_levels_as_for_policies() {
    for app in both().await {
        let level = Level::User("a", "ann");
        let call = |method: &str, name: &str, value: &str| {
            let call = app.call(method, &level.path()).header(name, value);
            let body = json!({"mergeMaxMessages": 5});
            async move { call.json(&body).send().await }
        };
        for value in ["*", "\"5\""] {
            let missed = call("PATCH", "if-match", value)
                .await
                .problem(412, "precondition-failed");
            assert_eq!(missed.json["detail"], "the user has no config");
        }
        let revision = call("PATCH", "if-none-match", "*")
            .await
            .expect(200)
            .revision();
        let current = format!("\"{revision}\"");
        let missed = call("PATCH", "if-none-match", "*")
            .await
            .problem(412, "precondition-failed");
        assert_eq!(missed.json["currentRevision"], revision);
        assert_eq!(
            missed.json["detail"],
            format!("the stored config has revision {revision}")
        );
        call("PATCH", "if-match", "\"5\"")
            .await
            .problem(412, "precondition-failed");
        call("DELETE", "if-match", "\"5\"")
            .await
            .problem(412, "precondition-failed");
        call("PATCH", "if-match", "W/\"5\"")
            .await
            .problem(412, "precondition-failed");
        let several = format!("\"5\", {current}");
        let next = call("PATCH", "if-match", &several)
            .await
            .expect(200)
            .revision();
        call("PATCH", "if-match", &current)
            .await
            .problem(412, "precondition-failed");
        call("DELETE", "if-match", &format!("\"{next}\""))
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn every_fault_of_a_patch_is_listed_and_nothing_is_written() {
    for app in both().await {
        let level = Level::Tenant("a");
        let before = set(&app, level, &json!({"mergeMaxMessages": 7})).await;
        let broken = json!({
            "mergeCompressionStrategy": "extreme", "mergeMaxMessages": 0, "mergePreservePinned": "yes",
            "pathCompressionStrategy": "sliding-window", "pathMaxMessages": 1.5,
            "pathSlidingWindowSize": -1, "pathCompressionThreshold": 1.01, "autoCompactEnabled": 1,
            "compactionIntervalMinutes": "60", "mergeMaxMesages": null, "a/b": 1,
        });
        let faults = patch(&app, level, &broken)
            .await
            .problem(422, "invalid-record");
        let expected: Vec<String> = broken
            .as_object()
            .expect("an object")
            .keys()
            .map(|name| format!("/{}", name.replace('/', "~1")))
            .collect();
        assert_eq!(faults.pointers(), expected.into_iter().collect());
        let send = |body: &'static str| {
            let call = app.call("PATCH", &level.path());
            async move { call.text(body).send().await }
        };
        for body in [
            "[]",
            "null",
            "7",
            "\"x\"",
            r#"{"pathMaxMessages":1,"pathMaxMessages":2}"#,
        ] {
            send(body).await.problem(422, "invalid-record");
        }
        for body in ["", "{", "{'a':1}", "\u{feff}{"] {
            send(body).await.problem(400, "malformed-json");
        }
        for kind in ["text/plain", "application/json-patch+json"] {
            let call = app
                .call("PATCH", &level.path())
                .header("content-type", kind);
            call.body("{}")
                .send()
                .await
                .problem(415, "unsupported-media-type");
        }
        let call = app
            .call("PATCH", &level.path())
            .header("content-type", "application/merge-patch+json");
        call.body("{}").send().await.expect(200);
        let long = format!("{{\"x\":\"{}\"}}", "x".repeat(300_000));
        app.call("PATCH", &level.path())
            .text(long)
            .send()
            .await
            .problem(413, "body-too-large");
        let read = app.get(&level.path()).await.expect(200);
        assert_eq!(
            read.json,
            json!({"config": {"mergeMaxMessages": 7}, "revision": before})
        );
    }
}

#[tokio::test]
async fn odd_ids_are_ids_and_none_meets_another() {
    let long = "𝄞".repeat(256);
    let tenants = [
        "a:b",
        "a",
        "config",
        "global",
        "default",
        "x' OR '1'='1",
        "a,b)",
        "%",
        "a/b",
        &*long,
    ];
    let users = [
        "c",
        "b:c",
        "config",
        "own",
        "x' OR '1'='1",
        "a,b)",
        "%",
        "../..",
        &*long,
    ];
    for app in both().await {
        let mut number = 0;
        for tenant in tenants {
            for user in users {
                number += 1;
                set(
                    &app,
                    Level::User(tenant, user),
                    &json!({"mergeMaxMessages": number}),
                )
                .await;
            }
        }
        let mut number = 0;
        for tenant in tenants {
            for user in users {
                number += 1;
                let answer = effective(&app, tenant, Some(user), 0).await.expect(200);
                assert_eq!(
                    answer.json["config"]["mergeMaxMessages"], number,
                    "{tenant} {user}"
                );
                let own = app.get(&Level::User(tenant, user).path()).await.expect(200);
                assert_eq!(own.json["config"], json!({"mergeMaxMessages": number}));
            }
            let nobody = effective(&app, tenant, None, 0).await.expect(200);
            assert_eq!(nobody.json["config"]["mergeMaxMessages"], 100, "{tenant}");
        }
        for wrong in ["", ".", "..", "a\nb", &format!("{long}x")] {
            let user = segment(wrong);
            let answer = app.get(&format!("/v1/tenants/a/config?user={user}")).await;
            answer.problem(422, "invalid-user");
        }
        for lossy in ["%ff", "%zz", "%f0%9d"] {
            let answer = app.get(&format!("/v1/tenants/a/config?user={lossy}")).await;
            answer.problem(400, "invalid-parameter");
        }
        app.get("/v1/tenants/a/config?users=x")
            .await
            .problem(400, "invalid-parameter");
    }
}

#[tokio::test]
async fn what_holds_is_said_with_the_level_of_each_field_and_where_it_was_read() {
    for app in both().await {
        let none = effective(&app, "a", None, 0).await.expect(200);
        assert_eq!(without_provenance(&none.json), oracle(&[]));
        assert_eq!(none.json["provenance"]["revision"], Value::Null);
        let levels = [
            (
                "global",
                Level::Global,
                json!({"mergeMaxMessages": 7, "pathMaxMessages": 1}),
            ),
            (
                "tenant",
                Level::Tenant("a"),
                json!({"mergeCompressionStrategy": "aggressive", "pathMaxMessages": 2}),
            ),
            (
                "user",
                Level::User("a", "ann"),
                json!({"pathCompressionThreshold": 0.000_000_1, "pathMaxMessages": 3}),
            ),
        ];
        let mut last = 0;
        for (_, level, fields) in &levels {
            last = set(&app, *level, fields).await;
        }
        let maps: Vec<(&str, Map<String, Value>)> = levels
            .iter()
            .map(|(name, _, fields)| (*name, fields.as_object().expect("an object").clone()))
            .collect();
        let maps: Vec<(&str, &Map<String, Value>)> =
            maps.iter().map(|(name, map)| (*name, map)).collect();
        let ann = effective(&app, "a", Some("ann"), last).await.expect(200);
        assert_eq!(without_provenance(&ann.json), oracle(&maps));
        assert_eq!(ann.json["provenance"]["revision"], last);
        assert!(ann.ordain_revision() >= last);
        let bob = effective(&app, "a", Some("bob"), last).await.expect(200);
        assert_eq!(without_provenance(&bob.json), oracle(&maps[..2]));
        let other = effective(&app, "b", Some("ann"), last).await.expect(200);
        assert_eq!(without_provenance(&other.json), oracle(&maps[..1]));
        let ahead = effective(&app, "a", None, last + 3_600_000_000).await;
        ahead.problem(409, "revision-unknown");
    }
}

fn without_provenance(answer: &Value) -> Value {
    let members = answer.as_object().expect("an object");
    assert_eq!(members.len(), 3, "{answer}");
    json!({"config": answer["config"], "levels": answer["levels"]})
}

//! Writing, reading, deleting and trying out policies, and what the history says of it.

use ordain_tests::app::App;
use ordain_tests::generate::{ODD_IDS, longest_id};
use ordain_tests::http::{history_path, policy_path, segment};
use ordain_tests::oracle::comparable;
use serde_json::{Value, json};

use crate::support::{database, model, plain, policy, version};

#[tokio::test]
async fn a_policy_is_created_replaced_and_deleted_with_growing_revisions() {
    for app in [
        App::memory().await,
        App::builder().postgres(&database().await).start().await,
    ] {
        let path = policy_path("acme");
        app.get(&path).await.error(404);
        let created = app.put(&path, &version(1)).await.expect(201);
        let first = created.revision();
        assert_eq!(created.json, json!({ "revision": first }));
        assert_eq!(
            (created.header("etag"), created.ordain_revision()),
            (&*format!("\"{first}\""), first)
        );

        let same = app.put(&path, &version(1)).await.expect(200);
        assert!(
            same.revision() > first,
            "equal content makes a revision too"
        );
        let replaced = app.put(&path, &version(2)).await.expect(200);
        assert!(replaced.revision() > same.revision());
        assert!(replaced.revision() < 1 << 53, "exact in every JSON reader");
        let got = app.get(&path).await.expect(200);
        assert_eq!(
            (&got.json, got.header("etag")),
            (&version(2), replaced.header("etag"))
        );
        assert!(got.ordain_revision() >= replaced.revision());

        let deleted = app.delete(&path).await.expect(200);
        assert_eq!(deleted.json, json!({"revision": deleted.revision()}));
        assert!(deleted.revision() > replaced.revision());
        assert_eq!(deleted.ordain_revision(), deleted.revision());
        app.delete(&path).await.error(404);
        let gone = app.get(&path).await.error(404);
        assert!(
            gone.ordain_revision() >= deleted.revision(),
            "a 404 says up to when it holds"
        );
        let answer = app.resolve(&plain("acme")).await.expect(200);
        assert_eq!(answer.json["refusal"]["code"], "no-policy");

        let again = app.put(&path, &version(3)).await.expect(201);
        assert!(again.revision() > deleted.revision());
        assert_eq!(model(&app.resolve(&plain("acme")).await.json), "m3");
    }
}

/// Every odd id as a tenant of its own: written, read, resolved, listed, deleted.
async fn odd_ids(app: &App) {
    let mut ids: Vec<String> = ODD_IDS.iter().map(|&id| id.to_owned()).collect();
    ids.push(longest_id());
    for (number, id) in ids.iter().enumerate() {
        app.put(&policy_path(id), &version(number))
            .await
            .expect(201);
    }
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(
            app.get(&policy_path(id)).await.expect(200).json,
            version(number),
            "{id:?}"
        );
        for tier in ["origin or near", "near"] {
            let answer = app.resolve(&plain(id)).await.expect(200).json;
            assert_eq!(
                (model(&answer), &answer["tenant"]),
                (&*format!("m{number}"), &json!(id)),
                "{tier}"
            );
        }
        let history = app.get(&history_path(id)).await.expect(200);
        assert_eq!(
            history.json["items"].as_array().map(Vec::len),
            Some(1),
            "{id:?}"
        );
    }
    let (gone, kept) = ids.split_at(ids.len() / 2);
    for id in gone {
        app.delete(&policy_path(id)).await.expect(200);
    }
    for id in gone {
        assert_eq!(
            app.resolve(&plain(id)).await.json["refusal"]["code"],
            "no-policy",
            "{id:?}"
        );
    }
    for id in kept {
        assert_eq!(app.resolve(&plain(id)).await.json["allow"], true, "{id:?}");
    }
}

#[tokio::test]
async fn odd_tenant_ids_are_ordinary_on_postgres_and_redis() {
    let deployment = crate::support::Deployment::start().await;
    odd_ids(&deployment.instance("one").start().await).await;
}

#[tokio::test]
async fn odd_tenant_ids_are_ordinary_in_memory() {
    odd_ids(&App::memory().await).await;
}

#[tokio::test]
async fn an_encoded_path_names_one_tenant_however_it_is_encoded() {
    let app = App::memory().await;
    app.store("a b", &version(1)).await;
    app.store("ab", &version(2)).await;
    for (path, expected) in [
        ("a%20b", "m1"),
        ("%61%20%62", "m1"),
        ("%61b", "m2"),
        ("a%62", "m2"),
    ] {
        let got = app
            .get(&format!("/v1/tenants/{path}/policy"))
            .await
            .expect(200);
        assert_eq!(got.json["defaultModel"], expected, "{path}");
    }
    app.get("/v1/tenants/a+b/policy").await.error(404);
    for (path, status) in [
        ("%ff", 400),
        ("%zz", 400),
        ("a%00b", 422),
        (&*"x".repeat(257), 422),
    ] {
        app.get(&format!("/v1/tenants/{path}/policy"))
            .await
            .error(status);
        app.put(&format!("/v1/tenants/{path}/policy"), &version(1))
            .await
            .error(status);
    }
}

#[tokio::test]
async fn a_dry_run_validates_and_stores_nothing() {
    let app = App::memory().await;
    let path = format!("{}?dryRun=true", policy_path("t"));
    app.put(&path, &version(1)).await.expect(200);
    app.get(&policy_path("t")).await.error(404);
    let faults = app
        .put(&path, &json!({"defaultProvider": "p"}))
        .await
        .problem(422, "invalid-record");
    assert_eq!(faults.pointers(), ["/defaultModel".to_owned()].into());
    app.put(&format!("{}?dryRun=false", policy_path("t")), &version(1))
        .await
        .expect(201);
    app.put(&format!("{}?dryRun=maybe", policy_path("t")), &version(1))
        .await
        .error(400);
}

#[tokio::test]
async fn a_policy_can_be_tried_before_it_is_stored() {
    let app = App::memory().await;
    app.store("t", &version(1)).await;
    let path = format!("/v1/tenants/{}/policy/try", segment("t"));
    let mut record = policy("openai", "tried");
    record["tasks"] = json!([{"task": "chat", "provider": "groq", "model": "fast"}]);
    let trial = json!({"record": record, "requests": [{"task": "chat"}, {"model": "x"}, {"maxTokens": 0}, {"tenant": "t"}]});
    let reply = app.post(&path, &trial).await.expect(200);
    let answers = reply.json.as_array().expect("a list");
    assert_eq!(answers.len(), 4);
    assert_eq!(
        (model(&answers[0]), model(&answers[1]), model(&answers[3])),
        ("fast", "x", "tried")
    );
    assert_eq!(answers[2]["problem"]["status"], 422);
    for at in [0, 1, 3] {
        comparable(&answers[at], 1_000).expect("an answer like any other");
        assert_eq!(answers[at]["tenant"], "t");
    }
    assert_eq!(
        model(&app.resolve(&plain("t")).await.json),
        "m1",
        "nothing was stored"
    );
    assert_eq!(
        app.get(&history_path("t")).await.json["items"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );

    let broken = json!({"record": {"defaultProvider": "p", "x/y": 1}, "requests": []});
    let faults = app.post(&path, &broken).await.error(422).pointers();
    assert_eq!(
        faults,
        ["/record/defaultModel".to_owned(), "/record/x~1y".to_owned()].into()
    );
    let other = json!({"record": policy("p", "m"), "requests": [{"tenant": "someone else"}]});
    let reply = app.post(&path, &other).await;
    assert!(
        reply.status == 422 || reply.json[0]["problem"]["status"] == 422,
        "{reply:?}"
    );
    app.post(&path, &json!({"record": policy("p", "m")}))
        .await
        .error(422);
    app.post(&path, &json!([])).await.error(422);
}

#[tokio::test]
async fn the_history_says_who_did_what_when_and_why() {
    for app in [
        App::memory().await,
        App::builder().postgres(&database().await).start().await,
    ] {
        let path = policy_path("acme");
        let reason = "contract #4711: größer";
        let put = app
            .call("PUT", &path)
            .header("ordain-reason", reason)
            .header("x-request-id", "req-1");
        let first = put.json(&version(1)).send().await.expect(201);
        assert_eq!(first.header("x-request-id"), "req-1");
        let second = app.store("acme", &version(2)).await;
        let third = app.delete(&path).await.expect(200).revision();
        app.store("other", &version(9)).await;

        let history = app.get(&history_path("acme")).await.expect(200);
        assert!(history.ordain_revision() >= third);
        assert_eq!(history.json["nextCursor"], Value::Null);
        let items = history.json["items"].as_array().expect("a list");
        let of = |member: &str| {
            items
                .iter()
                .map(|item| item[member].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of("revision"),
            [json!(third), json!(second), json!(first.revision())]
        );
        assert_eq!(of("op"), ["delete", "put", "put"]);
        assert_eq!(
            items[0].get("record"),
            None,
            "a deleted record is absent, not null"
        );
        assert_eq!(
            (&items[1]["record"], &items[2]["record"]),
            (&version(2), &version(1))
        );
        assert_eq!(
            (&items[2]["reason"], &items[2]["requestId"]),
            (&json!(reason), &json!("req-1"))
        );
        assert_eq!(items[1].get("reason"), None);
        for item in items {
            assert!(
                item["actor"]
                    .as_str()
                    .is_some_and(|actor| !actor.is_empty()),
                "{item}"
            );
            let at = item["at"].as_str().expect("a time");
            humantime::parse_rfc3339(at).unwrap_or_else(|error| panic!("{at}: {error}"));
        }
        let known = [
            "revision",
            "at",
            "actor",
            "op",
            "record",
            "reason",
            "requestId",
        ];
        for item in items {
            let members = item.as_object().expect("an object");
            assert!(
                members.keys().all(|name| known.contains(&&**name)),
                "{item}"
            );
        }
        let nobody = app.get(&history_path("nobody")).await.expect(200);
        assert_eq!(nobody.json, json!({"items": [], "nextCursor": null}));
    }
}

#[tokio::test]
async fn a_reason_that_cannot_be_kept_is_refused_and_nothing_is_stored() {
    let app = App::memory().await;
    let path = policy_path("t");
    for reason in ["a\tb".to_owned(), "x".repeat(10_000)] {
        let reply = app
            .call("PUT", &path)
            .header("ordain-reason", &reason)
            .json(&version(1))
            .send()
            .await;
        reply.error(400);
    }
    app.get(&path).await.error(404);
}

//! Single answers of `POST /v1/resolve`: exact shapes, and the rules one by one where an example
//! says more than a random comparison (`random`).

use ordain_tests::app::App;
use ordain_tests::oracle::{comparable, numbers_as_floats};
use serde_json::{Value, json};

use crate::support::{model, plain, policy};

/// The answer without provenance, after a check of its shape.
#[track_caller]
fn answer(reply: &Value) -> Value {
    comparable(reply, 1_000).unwrap_or_else(|error| panic!("{error}: {reply}"))
}

#[tokio::test]
async fn an_answer_has_exactly_the_members_of_the_design() {
    let app = App::memory().await;
    let record = json!({
        "defaultProvider": "openai", "defaultModel": "gpt-4o",
        "tasks": [{"task": "chat", "provider": "groq", "model": "m", "temperature": 0.5, "maxTokens": 9}],
        "egressMode": "report-only"
    });
    let revision = app.store("acme", &record).await;

    let full =
        json!({"tenant": "acme", "user": "ann", "task": "chat", "temperature": 1, "maxTokens": 7});
    let reply = app.resolve(&full).await.expect(200);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.json["provenance"]["revision"], revision);
    let expected = json!({
        "allow": true, "tenant": "acme", "user": "ann", "task": "chat", "provider": "groq", "model": "m",
        "temperature": 0.5, "maxTokens": 9, "egress": {"requested": "report-only", "effective": "report-only"},
        "rules": {"provider": "task", "model": "task", "temperature": "task", "maxTokens": "task", "egress": "tenant"}
    });
    assert_eq!(answer(&reply.json), numbers_as_floats(&expected));

    let reply = app.resolve(&plain("acme")).await.expect(200);
    let expected = json!({
        "allow": true, "tenant": "acme", "provider": "openai", "model": "gpt-4o",
        "egress": {"requested": "report-only", "effective": "report-only"},
        "rules": {"provider": "tenant", "model": "tenant", "egress": "tenant"}
    });
    assert_eq!(answer(&reply.json), expected);
    assert!(
        !reply.text.contains("null"),
        "an optional member is absent, never null: {}",
        reply.text
    );
}

#[tokio::test]
async fn a_refusal_carries_code_words_egress_and_provenance_and_no_route() {
    let app = App::memory().await;
    let request =
        json!({"tenant": "nobody", "user": "u", "task": "t", "model": "x", "egressMode": "off"});
    let reply = app.resolve(&request).await.expect(200);
    let expected = json!({
        "allow": false, "tenant": "nobody", "user": "u", "task": "t", "refusal": {"code": "no-policy"},
        "egress": {"requested": "off", "effective": "enforce"}
    });
    assert_eq!(answer(&reply.json), expected);
    assert_eq!(
        reply.json["provenance"]["revision"],
        Value::Null,
        "a tenant without a policy has no revision"
    );
}

fn set(object: &mut Value, member: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object[member] = value.into();
    }
}

/// A row of the table below: see its heading.
type EgressCase = (
    Option<&'static str>,
    Option<bool>,
    Option<&'static str>,
    Option<bool>,
    Option<&'static str>,
    &'static str,
    &'static str,
    &'static str,
);

#[tokio::test]
async fn egress_modes_follow_the_table_of_levels_and_permissions() {
    // tenant mode, tenant flag, user mode, user flag, call -> requested, effective, level
    let table: &[EgressCase] = &[
        (None, None, None, None, None, "enforce", "enforce", "base"),
        (
            None,
            None,
            None,
            None,
            Some("report-only"),
            "report-only",
            "report-only",
            "caller",
        ),
        (
            None,
            None,
            None,
            None,
            Some("off"),
            "off",
            "enforce",
            "base",
        ),
        (
            None,
            Some(true),
            None,
            None,
            Some("off"),
            "off",
            "off",
            "caller",
        ),
        (
            Some("off"),
            None,
            None,
            None,
            None,
            "off",
            "enforce",
            "base",
        ),
        (
            Some("off"),
            Some(false),
            None,
            None,
            None,
            "off",
            "enforce",
            "base",
        ),
        (
            Some("off"),
            Some(true),
            None,
            None,
            None,
            "off",
            "off",
            "tenant",
        ),
        (
            Some("report-only"),
            None,
            Some("off"),
            None,
            None,
            "off",
            "report-only",
            "tenant",
        ),
        (
            Some("report-only"),
            None,
            Some("off"),
            Some(true),
            None,
            "off",
            "off",
            "user",
        ),
        (
            Some("report-only"),
            Some(true),
            Some("off"),
            Some(false),
            None,
            "off",
            "report-only",
            "tenant",
        ),
        // A user's "no" does not undo an off that the tenant itself may have.
        (
            Some("off"),
            Some(true),
            None,
            Some(false),
            None,
            "off",
            "off",
            "tenant",
        ),
        (
            Some("off"),
            Some(true),
            None,
            Some(false),
            Some("off"),
            "off",
            "off",
            "tenant",
        ),
        (
            Some("off"),
            None,
            None,
            Some(true),
            None,
            "off",
            "enforce",
            "base",
        ),
        (
            Some("off"),
            None,
            None,
            Some(true),
            Some("off"),
            "off",
            "off",
            "caller",
        ),
        (
            None,
            None,
            Some("enforce"),
            None,
            None,
            "enforce",
            "enforce",
            "user",
        ),
        (
            Some("report-only"),
            None,
            Some("enforce"),
            None,
            Some("report-only"),
            "report-only",
            "report-only",
            "caller",
        ),
        (
            None,
            None,
            Some("report-only"),
            None,
            Some("off"),
            "off",
            "report-only",
            "user",
        ),
        (
            None,
            Some(true),
            Some("report-only"),
            None,
            Some("off"),
            "off",
            "off",
            "caller",
        ),
    ];
    let app = App::memory().await;
    for (row, (tenant, may, user, user_may, call, requested, effective, level)) in
        table.iter().enumerate()
    {
        let (mut record, mut of_user, mut request) = (
            policy("openai", "m"),
            json!({}),
            json!({"tenant": "t", "user": "u"}),
        );
        set(&mut record, "egressMode", *tenant);
        set(&mut record, "allowOffMode", *may);
        set(&mut of_user, "egressMode", *user);
        set(&mut of_user, "allowOffMode", *user_may);
        set(&mut request, "egressMode", *call);
        record["userPolicies"] =
            json!({"u": of_user, "someone else": {"egressMode": "off", "allowOffMode": true}});
        app.store("t", &record).await;
        let reply = app.resolve(&request).await.expect(200);
        let expected = json!({"requested": requested, "effective": effective});
        assert_eq!(
            (&reply.json["egress"], &reply.json["rules"]["egress"]),
            (&expected, &json!(level)),
            "row {row}"
        );
    }
}

#[tokio::test]
async fn without_remote_egress_only_local_providers_are_chosen() {
    let app = App::memory().await;
    let mut record = json!({
        "defaultProvider": "openai", "defaultModel": "gpt", "allowRemoteEgress": false,
        "tasks": [
            {"task": "chat", "provider": "groq", "model": "fast", "temperature": 1.5},
            {"task": "chat", "provider": "local", "model": "small"},
            {"task": "chat", "provider": "local", "model": "smaller"}
        ]
    });
    app.store("t", &record).await;
    let chat = json!({"tenant": "t", "task": "chat", "temperature": 0.25});
    let reply = app.resolve(&chat).await.expect(200);
    assert_eq!(
        (model(&reply.json), &reply.json["temperature"]),
        ("small", &json!(0.25))
    );
    assert_eq!(reply.json["rules"]["temperature"], "caller");

    let other = app
        .resolve(&json!({"tenant": "t", "task": "other", "model": "small"}))
        .await
        .expect(200);
    assert_eq!(
        other.json["refusal"]["code"], "remote-egress-disabled",
        "a caller's model rescues nothing"
    );

    record["defaultProvider"] = json!("local");
    app.store("t", &record).await;
    let reply = app
        .resolve(&json!({"tenant": "t", "task": "other"}))
        .await
        .expect(200);
    assert_eq!(
        (model(&reply.json), &reply.json["rules"]["provider"]),
        ("gpt", &json!("tenant"))
    );
}

#[tokio::test]
async fn a_callers_model_replaces_the_name_and_must_be_allowed() {
    let app = App::memory().await;
    let mut record = policy("openai", "gpt-4o");
    record["allowedModels"] = json!(["openai/gpt-4o*", "a/b/*"]);
    app.store("t", &record).await;
    let ask = async |model: &str| {
        app.resolve(&json!({"tenant": "t", "model": model}))
            .await
            .expect(200)
            .json
    };
    let mini = ask("gpt-4o-mini").await;
    assert_eq!(
        (&mini["provider"], &mini["model"]),
        (&json!("openai"), &json!("gpt-4o-mini"))
    );
    assert_eq!(
        mini["rules"],
        json!({"provider": "tenant", "model": "caller", "egress": "base"})
    );
    for refused in ["gpt-4", "GPT-4o", "b/x"] {
        assert_eq!(
            ask(refused).await["refusal"]["code"],
            "model-not-allowed",
            "{refused}"
        );
    }
    record["allowedModels"] = json!([]);
    app.store("t", &record).await;
    assert_eq!(
        ask("gpt-4o").await["refusal"]["code"],
        "model-not-allowed",
        "an empty list allows nothing"
    );
    record["allowedModels"] = json!(["*"]);
    app.store("t", &record).await;
    assert_eq!(ask("b/x").await["allow"], true);
}

#[tokio::test]
async fn deployment_defaults_answer_for_tenants_without_a_policy() {
    let app = App::builder()
        .dev()
        .env("ORDAIN_DEFAULT_PROVIDER", "house")
        .env("ORDAIN_DEFAULT_MODEL", "small")
        .start()
        .await;
    let reply = app
        .resolve(&json!({"tenant": "x", "maxTokens": 5}))
        .await
        .expect(200);
    let expected = json!({
        "allow": true, "tenant": "x", "provider": "house", "model": "small", "maxTokens": 5,
        "egress": {"requested": "enforce", "effective": "enforce"},
        "rules": {"provider": "deployment", "model": "deployment", "maxTokens": "caller", "egress": "base"}
    });
    assert_eq!(answer(&reply.json), numbers_as_floats(&expected));
    let reply = app
        .resolve(&json!({"tenant": "x", "model": "big"}))
        .await
        .expect(200);
    assert_eq!(reply.json["rules"]["model"], "caller");
    app.store("x", &policy("openai", "gpt")).await;
    assert_eq!(model(&app.resolve(&plain("x")).await.json), "gpt");
}

#[tokio::test]
async fn the_settings_fingerprint_differs_between_settings_and_not_between_starts() {
    let fingerprint = async |builder: ordain_tests::app::Builder| {
        let app = builder.start().await;
        app.resolve(&plain("x")).await.expect(200).json["provenance"]["settings"].clone()
    };
    let one = fingerprint(App::builder().dev()).await;
    assert_eq!(one, fingerprint(App::builder().dev()).await);
    assert_ne!(
        one,
        fingerprint(App::builder().dev().env("ORDAIN_LOCAL_PROVIDERS", "vllm")).await
    );
}

#[tokio::test]
async fn faults_of_a_request_are_all_named() {
    let app = App::memory().await;
    let long = "x".repeat(257);
    for (request, pointers) in [
        (json!({}), vec!["/tenant"]),
        (json!({"tenant": ""}), vec!["/tenant"]),
        (json!({"tenant": ".."}), vec!["/tenant"]),
        (json!({"tenant": long}), vec!["/tenant"]),
        (json!({"tenant": 1}), vec!["/tenant"]),
        (json!({"tenant": "t", "user": "."}), vec!["/user"]),
        (
            json!({"tenant": "t", "user": "a\u{0}b", "task": "\u{85}", "model": ""}),
            vec!["/model", "/task", "/user"],
        ),
        (json!({"tenant": null}), vec!["/tenant"]),
        (json!({"tenant": "t", "task": long}), vec!["/task"]),
        (
            json!({"tenant": "t", "temperature": 2.01, "maxTokens": 0}),
            vec!["/maxTokens", "/temperature"],
        ),
        (
            json!({"tenant": "t", "temperature": -0.01}),
            vec!["/temperature"],
        ),
        (
            json!({"tenant": "t", "temperature": "1"}),
            vec!["/temperature"],
        ),
        (json!({"tenant": "t", "maxTokens": 1.5}), vec!["/maxTokens"]),
        (json!({"tenant": "t", "maxTokens": -1}), vec!["/maxTokens"]),
        (
            json!({"tenant": "t", "maxTokens": 9_007_199_254_740_992_u64}),
            vec!["/maxTokens"],
        ),
        (
            json!({"tenant": "t", "egressMode": "audit"}),
            vec!["/egressMode"],
        ),
        (
            json!({"tenant": "t", "minRevision": -1}),
            vec!["/minRevision"],
        ),
        (
            json!({"tenant": "t", "minRevision": "1"}),
            vec!["/minRevision"],
        ),
        (
            json!({"tenant": "t", "a/b~c": 1, "egress_mode": "off"}),
            vec!["/a~1b~0c", "/egress_mode"],
        ),
        (json!("t"), vec![""]),
    ] {
        let reply = app.resolve(&request).await.error(422);
        let expected = pointers.iter().map(|&pointer| pointer.to_owned()).collect();
        assert_eq!(reply.pointers(), expected, "{request}");
    }
    let twice = app
        .call("POST", "/v1/resolve")
        .text(r#"{"tenant":"a","tenant":"b"}"#)
        .send()
        .await;
    assert_eq!(twice.error(422).pointers(), ["/tenant".to_owned()].into());
}

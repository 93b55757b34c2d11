//! `/openapi.json` is the document of the repository, everybody may read it, and answers are as it
//! says.

use ordain_tests::app::App;
use ordain_tests::http::Reply;
use ordain_tests::openapi::Document;
use serde_json::{Value, json};

use crate::access::guarded;
use crate::support::{plain, version};

const FILE: &str = include_str!("../../../docs/openapi.json");

/// The path of the document, filled in.
fn filled(path: &str) -> String {
    path.replace("{tenant}", "t").replace("{user}", "u")
}

#[tokio::test]
async fn everybody_may_read_the_document_of_the_repository() {
    let app = guarded().await;
    let read = app.without().get("/openapi.json").await.expect(200);
    assert_eq!(read.header("content-type"), "application/json");
    assert_eq!(read.text, FILE);
    let head = app.without().call("HEAD", "/openapi.json").send().await;
    assert_eq!((head.status, head.text.len()), (200, 0));
}

#[tokio::test]
async fn answers_are_as_the_document_says() {
    let document = Document(serde_json::from_str(FILE).expect("JSON"));
    let app = App::memory().await;
    let long = |members: Value| json!([plain("t"), plain("none"), members]);
    let record = json!({"defaultProvider": "openai", "defaultModel": "m", "egressMode": "report-only",
        "tasks": [{"task": "chat", "provider": "local", "model": "l", "temperature": 0.5, "maxTokens": 9}],
        "userPolicies": {"u": {"allowOffMode": true}}, "allowedModels": ["*"]});
    let policy = "/v1/tenants/{tenant}/policy";
    let full =
        json!({"tenant": "t", "user": "u", "task": "chat", "model": "x", "egressMode": "off"});
    let trial = json!({"record": record, "requests": [{}, {"x": 1}]});
    let patch = json!({"mergeMaxMessages": 3, "pathCompressionThreshold": 0.5});
    let levels = [
        "/v1/config",
        "/v1/tenants/{tenant}/config/own",
        "/v1/tenants/{tenant}/users/{user}/config",
    ];
    let mut calls: Vec<(String, String, Value)> = Vec::new();
    let mut call = |method: &str, path: &str, body: Value| {
        calls.push((format!("{method} {path}"), filled(path), body));
    };
    call("GET", policy, json!(null));
    call("PUT", policy, record.clone());
    call("PUT", policy, record.clone());
    call("PUT", policy, json!({"x": 1}));
    call("GET", policy, json!(null));
    call("POST", "/v1/tenants/{tenant}/policy/try", trial);
    call("POST", "/v1/resolve", full);
    call("POST", "/v1/resolve", plain("none"));
    call("POST", "/v1/resolve", long(json!({"tenant": "t", "x": 1})));
    call("POST", "/v1/resolve", json!({"tenant": 5}));
    for level in levels {
        call("GET", level, json!(null));
        call("PATCH", level, patch.clone());
        call("GET", level, json!(null));
    }
    call("GET", "/v1/tenants/{tenant}/config", json!(null));
    for level in levels {
        call("DELETE", level, json!(null));
        call("PATCH", level, json!({}));
        call("GET", &format!("{level}/history"), json!(null));
    }
    for path in [
        "/v1/tenants",
        "/v1/tenants/{tenant}/history",
        "/v1/component",
        "/v1/caches",
        "/healthz",
        "/readyz",
        "/openapi.json",
    ] {
        call("GET", path, json!(null));
    }
    call("PATCH", "/v1/caches", json!({"near": false, "bound": "2s"}));
    call("PATCH", "/v1/caches", json!({"near": false}));
    call("GET", "/v1/caches", json!(null));
    call("POST", "/v1/caches/purge", json!({"tenant": "t"}));
    call("POST", "/v1/log/prune", json!({"before": "30d"}));
    call("POST", "/v1/component/promote", json!({}));
    call("POST", "/v1/component/rollback", json!({}));
    call("DELETE", "/v1/component", json!(null));
    call("DELETE", policy, json!(null));
    for (name, path, body) in calls {
        let method = name.split(' ').next().unwrap_or_default();
        let mut sent = app.call(method, &path);
        if !body.is_null() {
            sent = sent.json(&body);
        }
        fits(&document, &name, &sent.send().await);
    }
    let dry = app
        .put("/v1/tenants/t/policy?dryRun=true", &version(1))
        .await;
    fits(&document, &format!("PUT {policy}"), &dry);
    let local = app
        .call("PATCH", "/v1/caches?local=true")
        .json(&json!({"near": true}));
    fits(&document, "PATCH /v1/caches", &local.send().await);
    let component = std::fs::read(ordain_tests::process::component()).expect("the component");
    for (method, path) in [
        ("POST", "/v1/component/check"),
        ("PUT", "/v1/component"),
        ("GET", "/v1/component"),
        ("DELETE", "/v1/component"),
    ] {
        let mut sent = app.call(method, path);
        if path != "/v1/component" || method == "PUT" {
            sent = sent
                .header("content-type", "application/wasm")
                .body(component.clone());
        }
        fits(
            &document,
            &format!("{method} {path}"),
            &sent.send().await.expect(200),
        );
    }
}

#[track_caller]
fn fits(document: &Document, call: &str, reply: &Reply) {
    let kind = reply.header("content-type");
    let faults = document.faults(call, reply.status, kind, &reply.json);
    assert!(faults.is_empty(), "{call}: {faults:#?}\n{reply:?}");
    assert!(reply.status < 500, "{reply:?}");
}

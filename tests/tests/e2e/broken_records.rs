//! More than sixty records that break one or several rules of DESIGN 4.1: each is a 422 that names
//! every fault by its JSON pointer, and leaves nothing behind.

use ordain_tests::app::App;
use ordain_tests::http::{history_path, policy_path};
use serde_json::{Value, json};

use crate::support::{database, policy};

/// A valid record with this member set to this value.
fn with(member: &str, value: Value) -> Value {
    let mut record = policy("p", "m");
    record[member] = value;
    record
}

/// A valid record without this member.
fn without(member: &str) -> Value {
    let mut record = policy("p", "m");
    record.as_object_mut().unwrap().remove(member);
    record
}

/// A valid record with one good task and one that has this member set.
fn with_task(member: &str, value: Value) -> Value {
    let good = json!({"task": "t", "provider": "p", "model": "m"});
    let mut bad = good.clone();
    bad[member] = value;
    with("tasks", json!([good, bad]))
}

fn with_user(user: &str, value: Value) -> Value {
    with("userPolicies", json!({ user: value }))
}

fn cases() -> Vec<(String, Vec<&'static str>)> {
    let long = || json!("é".repeat(257));
    let values = vec![
        (json!({}), vec!["/defaultModel", "/defaultProvider"]),
        (json!([]), vec![""]),
        (json!("policy"), vec![""]),
        (json!(42), vec![""]),
        (json!(true), vec![""]),
        (Value::Null, vec![""]),
        (without("defaultProvider"), vec!["/defaultProvider"]),
        (without("defaultModel"), vec!["/defaultModel"]),
        // null is a fault everywhere.
        (
            with("defaultProvider", Value::Null),
            vec!["/defaultProvider"],
        ),
        (with("defaultModel", Value::Null), vec!["/defaultModel"]),
        (
            with("allowRemoteEgress", Value::Null),
            vec!["/allowRemoteEgress"],
        ),
        (with("egressMode", Value::Null), vec!["/egressMode"]),
        (with("allowOffMode", Value::Null), vec!["/allowOffMode"]),
        (with("tasks", Value::Null), vec!["/tasks"]),
        (with("userPolicies", Value::Null), vec!["/userPolicies"]),
        (with("allowedModels", Value::Null), vec!["/allowedModels"]),
        (
            with_task("temperature", Value::Null),
            vec!["/tasks/1/temperature"],
        ),
        (
            with_task("maxTokens", Value::Null),
            vec!["/tasks/1/maxTokens"],
        ),
        (with_user("u", Value::Null), vec!["/userPolicies/u"]),
        (
            with_user("u", json!({"egressMode": null})),
            vec!["/userPolicies/u/egressMode"],
        ),
        // Wrong types.
        (with("defaultProvider", json!(1)), vec!["/defaultProvider"]),
        (with("defaultModel", json!(["m"])), vec!["/defaultModel"]),
        (
            with("allowRemoteEgress", json!("true")),
            vec!["/allowRemoteEgress"],
        ),
        (
            with("allowRemoteEgress", json!(1)),
            vec!["/allowRemoteEgress"],
        ),
        (with("egressMode", json!(true)), vec!["/egressMode"]),
        (with("allowOffMode", json!("yes")), vec!["/allowOffMode"]),
        (with("tasks", json!({})), vec!["/tasks"]),
        (with("tasks", json!("t")), vec!["/tasks"]),
        (with("tasks", json!(["t"])), vec!["/tasks/0"]),
        (with("tasks", json!([[]])), vec!["/tasks/0"]),
        (with("userPolicies", json!([])), vec!["/userPolicies"]),
        (with_user("u", json!("off")), vec!["/userPolicies/u"]),
        (with("allowedModels", json!("*")), vec!["/allowedModels"]),
        (
            with("allowedModels", json!(["*", 1])),
            vec!["/allowedModels/1"],
        ),
        (
            with("allowedModels", json!([null])),
            vec!["/allowedModels/0"],
        ),
        (with_task("task", json!(1)), vec!["/tasks/1/task"]),
        (
            with_task("temperature", json!("0.5")),
            vec!["/tasks/1/temperature"],
        ),
        (
            with_task("maxTokens", json!("5")),
            vec!["/tasks/1/maxTokens"],
        ),
        (
            with_task("maxTokens", json!(true)),
            vec!["/tasks/1/maxTokens"],
        ),
        // Ids.
        (with("defaultProvider", json!("")), vec!["/defaultProvider"]),
        (with("defaultModel", json!("")), vec!["/defaultModel"]),
        (with("defaultProvider", long()), vec!["/defaultProvider"]),
        (with("defaultModel", long()), vec!["/defaultModel"]),
        (
            with("defaultProvider", json!("a\u{0}")),
            vec!["/defaultProvider"],
        ),
        (with("defaultModel", json!("a\nb")), vec!["/defaultModel"]),
        (with("defaultModel", json!("\u{7f}")), vec!["/defaultModel"]),
        (with("defaultModel", json!("\u{9f}")), vec!["/defaultModel"]),
        (with_task("task", json!("")), vec!["/tasks/1/task"]),
        (with_task("provider", long()), vec!["/tasks/1/provider"]),
        (with_task("model", json!("\u{1f}")), vec!["/tasks/1/model"]),
        (with_user("", json!({})), vec!["/userPolicies/"]),
        (with_user(".", json!({})), vec!["/userPolicies/."]),
        (with_user("..", json!({})), vec!["/userPolicies/.."]),
        (with_user("a\tb", json!({})), vec!["/userPolicies/a\tb"]),
        // Values out of their ranges.
        (with("egressMode", json!("audit")), vec!["/egressMode"]),
        (with("egressMode", json!("Off")), vec!["/egressMode"]),
        (
            with("egressMode", json!("report_only")),
            vec!["/egressMode"],
        ),
        (with("egressMode", json!("")), vec!["/egressMode"]),
        (
            with_user("a/b", json!({"egressMode": "on"})),
            vec!["/userPolicies/a~1b/egressMode"],
        ),
        (
            with_user("~", json!({"allowOffMode": 0})),
            vec!["/userPolicies/~0/allowOffMode"],
        ),
        (
            with_task("temperature", json!(-0.000001)),
            vec!["/tasks/1/temperature"],
        ),
        (
            with_task("temperature", json!(2.000001)),
            vec!["/tasks/1/temperature"],
        ),
        (with_task("maxTokens", json!(0)), vec!["/tasks/1/maxTokens"]),
        (
            with_task("maxTokens", json!(-5)),
            vec!["/tasks/1/maxTokens"],
        ),
        (
            with_task("maxTokens", json!(1.5)),
            vec!["/tasks/1/maxTokens"],
        ),
        (
            with_task("maxTokens", json!(9_007_199_254_740_992_u64)),
            vec!["/tasks/1/maxTokens"],
        ),
        // Unknown members, with names that need escaping.
        (with("default_model", json!("m")), vec!["/default_model"]),
        (with("DefaultModel", json!("m")), vec!["/DefaultModel"]),
        (with("tenant", json!("t")), vec!["/tenant"]),
        (with("a/b", json!(1)), vec!["/a~1b"]),
        (with("~1", json!(1)), vec!["/~01"]),
        (with("", json!(1)), vec!["/"]),
        (with_task("top_p", json!(1)), vec!["/tasks/1/top_p"]),
        (
            with_user("u", json!({"model": "m"})),
            vec!["/userPolicies/u/model"],
        ),
        // Missing members of a task, and everything at once.
        (
            with("tasks", json!([{}])),
            vec!["/tasks/0/model", "/tasks/0/provider", "/tasks/0/task"],
        ),
        (
            with("tasks", json!([{"task": "t", "model": "m"}])),
            vec!["/tasks/0/provider"],
        ),
        (
            json!({
                "defaultProvider": "", "egressMode": "x", "allowOffMode": 1, "colour": "red",
                "tasks": [{"task": "t", "provider": "p", "model": "m", "temperature": 3, "maxTokens": 0, "x": 1}, 7],
                "userPolicies": {"..": {}, "u": {"egressMode": 1, "y": 2}}, "allowedModels": [1, "*", null]
            }),
            vec![
                "/allowOffMode",
                "/allowedModels/0",
                "/allowedModels/2",
                "/colour",
                "/defaultModel",
                "/defaultProvider",
                "/egressMode",
                "/tasks/0/maxTokens",
                "/tasks/0/temperature",
                "/tasks/0/x",
                "/tasks/1",
                "/userPolicies/..",
                "/userPolicies/u/egressMode",
                "/userPolicies/u/y",
            ],
        ),
    ];
    let mut cases: Vec<_> = values
        .into_iter()
        .map(|(value, pointers)| (value.to_string(), pointers))
        .collect();
    // What a JSON value cannot hold: duplicate keys, also when one of them is spelt with an escape.
    let texts = [
        (
            r#"{"defaultProvider":"p","defaultModel":"m","defaultModel":"n"}"#,
            vec!["/defaultModel"],
        ),
        (
            r#"{"defaultProvider":"p","defaultModel":"m","\u0064efaultModel":"m"}"#,
            vec!["/defaultModel"],
        ),
        (
            r#"{"defaultProvider":"p","defaultModel":"m","tasks":[{"task":"t","task":"t","provider":"p","model":"m"}]}"#,
            vec!["/tasks/0/task"],
        ),
        (
            r#"{"defaultProvider":"p","defaultModel":"m","userPolicies":{"u":{},"u":{}}}"#,
            vec!["/userPolicies/u"],
        ),
        (
            r#"{"defaultProvider":"p","defaultModel":"m","userPolicies":{"u":{"allowOffMode":true,"allowOffMode":true}}}"#,
            vec!["/userPolicies/u/allowOffMode"],
        ),
        (
            r#"{"defaultProvider":"p","defaultModel":"m","userPolicies":{"u":{}},"userPolicies":{}}"#,
            vec!["/userPolicies"],
        ),
    ];
    cases.extend(
        texts
            .into_iter()
            .map(|(text, pointers)| (text.to_owned(), pointers)),
    );
    cases
}

async fn refuses_all(app: &App) {
    let cases = cases();
    assert!(cases.len() >= 60, "{}", cases.len());
    for (number, (record, pointers)) in cases.iter().enumerate() {
        let tenant = format!("broken {number}");
        let expected = pointers.iter().map(|&pointer| pointer.to_owned()).collect();
        for query in ["?dryRun=true", ""] {
            let path = format!("{}{query}", policy_path(&tenant));
            let reply = app.call("PUT", &path).text(record.as_str()).send().await;
            assert_eq!(reply.status, 422, "{record}: {reply:?}");
            let reply = reply.problem(422, "invalid-record");
            assert_eq!(reply.pointers(), expected, "{record}");
        }
        app.get(&policy_path(&tenant)).await.error(404);
        let history = app.get(&history_path(&tenant)).await.expect(200);
        assert_eq!(history.json["items"], json!([]), "{record}");
    }
    let tenants = app.get("/v1/tenants").await.expect(200);
    assert_eq!(tenants.json["items"], json!([]), "nothing was stored");
}

#[tokio::test]
async fn broken_records_are_refused_with_all_their_faults_on_postgres() {
    refuses_all(&App::builder().postgres(&database().await).start().await).await;
}

#[tokio::test]
async fn broken_records_are_refused_with_all_their_faults_in_memory() {
    refuses_all(&App::memory().await).await;
}

#[tokio::test]
async fn a_broken_record_leaves_the_stored_one_in_force() {
    let app = App::memory().await;
    let revision = app.store("t", &policy("openai", "kept")).await;
    app.put(&policy_path("t"), &policy("", "new"))
        .await
        .problem(422, "invalid-record");
    let got = app.get(&policy_path("t")).await.expect(200);
    assert_eq!(
        (got.json["defaultModel"].as_str(), got.header("etag")),
        (Some("kept"), &*format!("\"{revision}\""))
    );
}

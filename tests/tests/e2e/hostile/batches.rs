//! Batches whose component fails, or answers another number of requests than it was asked.

use ordain_tests::http::{Reply, assert_problem};
use serde_json::{Value, json};

use super::Host;
use crate::support::model;

/// Three requests of the tenant that is harmed, one of which is bad, and one of another.
async fn ask(host: &Host) -> Reply {
    let bad = |task: &str| json!({"tenant": "bad", "task": task});
    let batch = json!([bad("a"), bad("x-1"), {"tenant": "good"}, bad("b")]);
    host.timed(&batch).await
}

/// What is the component's fault is said for each request that it was asked; another tenant's,
/// which is another call, is answered.
fn one_tenant_fails(reply: &Reply) {
    let items = reply.json.as_array().expect("a list");
    assert_eq!(items.len(), 4);
    let failed = |item: &Value| {
        assert_problem(&item["problem"], 500);
        assert_eq!(item["problem"]["code"], "component-failed", "{item}");
    };
    [&items[0], &items[1], &items[3]].map(failed);
    assert_eq!(model(&items[2]), "good");
}

#[tokio::test]
async fn a_batch_with_too_few_or_too_many_answers_is_answered_by_errors_and_no_mix_up() {
    for mode in [
        "batch-few",
        "batch-none",
        "batch-many:1",
        "batch-many:100000",
    ] {
        let host = Host::start(mode).await;
        for _ in 0..20 {
            let reply = ask(&host).await.expect(200);
            one_tenant_fails(&reply);
            host.ordinary("bad").await;
        }
    }
}

#[tokio::test]
async fn a_component_that_fails_in_a_batch_fails_that_tenants_part_only() {
    for mode in ["trap", "hang", "memory", "huge-model:24"] {
        let host = Host::start(mode).await;
        for _ in 0..4 {
            let reply = ask(&host).await.expect(200);
            one_tenant_fails(&reply);
            host.ordinary("bad").await;
        }
    }
}

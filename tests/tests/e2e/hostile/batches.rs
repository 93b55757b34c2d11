//! Batches whose component fails, or answers another number of requests than it was asked.

use ordain_tests::http::Reply;
use ordain_tests::wait::holds;
use serde_json::{Value, json};

use super::{Faults, Host, shown};

/// Three requests of the tenant that is harmed, one of which is bad, and one of another.
async fn ask(host: &Host) -> Reply {
    let bad = |task: &str| json!({"tenant": "bad", "task": task});
    let batch = json!([bad("a"), bad("x-1"), {"tenant": "good"}, bad("b")]);
    host.timed(&batch).await
}

/// What is the component's fault is said for each request that it was asked; another tenant's,
/// which is another call, is answered.
fn one_tenant_fails(reply: &Reply) -> Result<(), String> {
    let items = reply.json.as_array().map_or(&[][..], Vec::as_slice);
    let fails = |item: &Value| {
        let problem = &item["problem"];
        problem["status"] == 500 && problem["code"] == "component-failed"
    };
    let as_meant = matches!(items, [a, b, c, d]
        if [a, b, d].into_iter().all(fails) && c["model"] == "good");
    holds(as_meant, shown(reply))
}

async fn all_fail(modes: &[&str], calls: usize) {
    let mut faults = Faults::default();
    for mode in modes {
        let host = Host::start(mode).await;
        for _ in 0..calls {
            let reply = ask(&host).await.expect(200);
            faults.add(mode, one_tenant_fails(&reply));
            host.ordinary("bad").await;
        }
    }
    faults.none();
}

#[tokio::test]
async fn a_batch_with_too_few_or_too_many_answers_is_answered_by_errors_and_no_mix_up() {
    let modes = [
        "batch-few",
        "batch-none",
        "batch-many:1",
        "batch-many:100000",
    ];
    all_fail(&modes, 20).await;
}

#[tokio::test]
async fn a_component_that_fails_in_a_batch_fails_that_tenants_part_only() {
    all_fail(&["trap", "hang", "memory"], 4).await;
}

#[tokio::test]
async fn an_answer_of_many_mebibytes_is_left_out_of_a_batch() {
    let host = Host::start("huge-model:24").await;
    let reply = ask(&host).await.expect(200);
    // Whether the answers beside it count is the host's choice.
    assert!(reply.text.len() < 10_000, "{}", shown(&reply));
    assert_eq!(
        reply.json[1]["problem"]["code"],
        "component-failed",
        "{}",
        shown(&reply)
    );
    assert_eq!(reply.json[2]["model"], "good", "{}", shown(&reply));
}

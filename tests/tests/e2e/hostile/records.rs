//! Components that misbehave when a record is to be stored: nothing is, and the client learns why.

use ordain_tests::app::App;
use ordain_tests::http::policy_path;
use ordain_tests::wait::holds;
use serde_json::json;

use super::{Ends, Faults, Host};
use crate::support::{policy, version};

#[tokio::test]
async fn a_record_whose_validation_fails_is_not_stored() {
    for mode in ["hang", "trap", "recurse", "memory"] {
        let host = Host::start(mode).await;
        for _ in 0..4 {
            let reply = host.app.put(&policy_path("new"), &policy("x-p", "m")).await;
            Ends::Failed.check(&reply);
            host.app.get(&policy_path("new")).await.error(404);
            host.ordinary("bad").await;
        }
        host.app.store("new", &version(1)).await;
    }
}

#[tokio::test]
async fn a_canonical_text_that_is_no_record_is_not_stored() {
    let mut faults = Faults::default();
    for mode in ["broken-record", "huge-record:1", "huge-record:24"] {
        let host = Host::start(mode).await;
        let reply = host.app.put(&policy_path("new"), &policy("x-p", "m")).await;
        faults.add(mode, Ends::Failed.judge(&reply));
        let stored = host.app.get(&policy_path("new")).await;
        faults.add(mode, holds(stored.status == 404, "it was stored"));
        host.ordinary("bad").await;
    }
    faults.none();
}

#[tokio::test]
async fn a_component_that_refuses_a_record_stores_none_and_answers_from_none() {
    let host = Host::bare(App::builder().dev(), "refuse-record").await;
    let reply = host
        .app
        .put(&policy_path("new"), &policy("openai", "x-m"))
        .await;
    let reply = reply.problem(422, "invalid-record");
    assert!(reply.pointers().contains("/defaultModel"));
    host.app.get(&policy_path("new")).await.error(404);
    host.app.store("new", &version(1)).await;
    let reply = host.timed(&json!({"tenant": "new", "task": "x-1"})).await;
    reply.problem(503, "record-invalid");
    host.timed(&json!({"tenant": "new"})).await.expect(200);
}

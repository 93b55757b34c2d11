//! Components that answer what no answer may be. A host that passed it on would make it everybody's
//! problem: logs, terminals, JSON readers, memory.

use ordain_tests::components;

use super::{Ends, Faults, Host, is_contained};

async fn all_end(modes: &[&str], ends: Ends) {
    let mut faults = Faults::default();
    for mode in modes {
        let host = Host::start(mode).await;
        faults.add(mode, ends.judge(&host.bad().await));
        host.ordinary("bad").await;
    }
    faults.none();
}

#[tokio::test]
async fn texts_of_many_mebibytes_are_no_answer() {
    let modes = [
        "huge-provider:24",
        "huge-model:24",
        "huge-message:24",
        "huge-model:1",
    ];
    all_end(&modes, Ends::Failed).await;
    is_contained("huge-model:24", 200, Ends::Failed).await;
}

#[tokio::test]
async fn ids_that_no_record_may_hold_are_no_answer() {
    all_end(&["control-id", "empty-id", "long-id"], Ends::Failed).await;
}

#[tokio::test]
async fn numbers_that_no_record_may_hold_are_no_answer() {
    let modes = [
        "temperature:NaN",
        "temperature:inf",
        "temperature:1e308",
        "temperature:-1",
        "tokens:0",
        "tokens:18446744073709551615",
    ];
    all_end(&modes, Ends::Failed).await;
}

#[tokio::test]
async fn a_failure_that_is_made_up_is_passed_on_and_lasts_no_longer_than_its_call() {
    is_contained("unavailable", 200, Ends::With(503, "unavailable")).await;
}

#[tokio::test]
async fn a_million_faults_are_no_answer() {
    let host = Host::start("faults:1000000").await;
    let reply = host.bad().await;
    assert!(reply.status >= 500, "{}", reply.status);
    assert!(reply.text.len() < 1 << 20, "{} bytes", reply.text.len());
    host.ordinary("bad").await;
}

#[tokio::test]
async fn another_model_is_answered_when_told_and_the_digest_says_by_whom() {
    let host = Host::start("model:other").await;
    let reply = host.bad().await.expect(200);
    assert_eq!(reply.json["model"], "other");
    host.ordinary("bad").await;
    let digest = |mode: &str| components::digest(&components::component(mode));
    assert_eq!(reply.json["provenance"]["component"], digest("model:other"));
    assert_ne!(digest("model:other"), digest("none"));
}

#[tokio::test]
async fn the_component_of_these_tests_is_the_real_one_until_it_is_told() {
    is_contained("none", 200, Ends::Right).await;
}

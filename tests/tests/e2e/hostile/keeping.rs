//! A component that remembers one tenant's record and answers the next tenant from it. With warm
//! instances nothing can prevent that: it is why an operator who does not trust a component has
//! instances made afresh for every call.

use ordain_tests::app::App;

use super::Host;
use crate::support::model;

/// Makes the component see the record of `bad` and then asks for `good`, several times over.
async fn models_of_good(host: &Host) -> Vec<String> {
    let mut models = Vec::new();
    for _ in 0..20 {
        host.bad().await.expect(200);
        let asked = serde_json::json!({"tenant": "good", "task": "x-1"});
        let reply = host.timed(&asked).await.expect(200);
        models.push(model(&reply.json).to_owned());
    }
    models
}

#[tokio::test]
async fn a_warm_instance_can_answer_one_tenant_from_the_record_of_another() {
    let host = Host::start("keep").await;
    let models = models_of_good(&host).await;
    assert!(
        models.iter().any(|model| model == "bad"),
        "the component of this test keeps nothing: {models:?}"
    );
}

#[tokio::test]
async fn a_fresh_instance_has_nothing_to_remember() {
    let builder = App::builder().dev().env("ORDAIN_INSTANCES", "fresh");
    let host = Host::on(builder, "keep").await;
    let models = models_of_good(&host).await;
    assert!(models.iter().all(|model| model == "good"), "{models:?}");
}

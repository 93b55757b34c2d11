//! What the tests of components at run time share: pushing, promoting, and a load that notes every
//! answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ordain_tests::app::App;
use ordain_tests::http::{Client, Reply};
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::{Value, json};

/// `PUT /v1/component`, with a query.
pub async fn push(client: &Client, bytes: &[u8], query: &str) -> Reply {
    let call = client.call("PUT", &format!("/v1/component{query}"));
    call.wasm(bytes).send().await
}

/// Makes it the one that answers, here and now.
pub async fn swap_to(client: &Client, bytes: &[u8]) -> Reply {
    let reply = push(client, bytes, "?promote=true").await.expect(200);
    assert_eq!(reply.json["done"], true, "{reply:?}");
    reply
}

pub async fn report(client: &Client) -> Value {
    client.get("/v1/component").await.expect(200).json
}

/// Digest of the component that gave this answer.
#[track_caller]
pub fn component(answer: &Value) -> &str {
    answer["provenance"]["component"]
        .as_str()
        .unwrap_or_else(|| panic!("no component: {answer}"))
}

/// Waits until this component answers.
pub async fn runs(app: &App, digest: &str) {
    let look = || async {
        let running = report(app).await["digest"].clone();
        holds(running == digest, format!("{running} runs"))
    };
    eventually("the component runs", PATIENCE, look).await;
}

/// What a load got.
#[derive(Debug, Default)]
pub struct Outcome {
    pub answers: u64,
    /// Everything but a 200 from near.
    pub others: Vec<String>,
    pub slowest: Duration,
}

/// Callers who ask without a pause until they are told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    callers: Vec<tokio::task::JoinHandle<Outcome>>,
}

impl Load {
    /// Asks for tenants that are warm.
    pub fn start(app: &App, callers: usize, request: Value) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let client: &Client = app;
        let callers = (0..callers).map(|_| {
            let (client, stop, request) = (client.clone(), stop.clone(), request.clone());
            tokio::spawn(async move {
                let mut outcome = Outcome::default();
                while !stop.load(Ordering::Relaxed) {
                    let start = std::time::Instant::now();
                    let reply = client.resolve(&request).await;
                    outcome.slowest = outcome.slowest.max(start.elapsed());
                    outcome.answers += 1;
                    if reply.status != 200 || reply.tier() != "near" {
                        outcome
                            .others
                            .push(format!("{} {}", reply.status, reply.text));
                    }
                }
                outcome
            })
        });
        Load {
            stop: stop.clone(),
            callers: callers.collect(),
        }
    }

    pub async fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        for caller in self.callers {
            let outcome = caller.await.expect("a caller does not panic");
            all.answers += outcome.answers;
            all.others.extend(outcome.others);
            all.slowest = all.slowest.max(outcome.slowest);
        }
        all
    }
}

/// A request that the test components take as an occasion.
pub fn occasion(tenant: &str) -> Value {
    json!({"tenant": tenant, "task": "x-1"})
}

//! Random policies and requests over HTTP, compared with the independent reading of the rules.

use futures::stream::{self, StreamExt};
use ordain_tests::app::App;
use ordain_tests::generate::Generator;
use ordain_tests::http::policy_path;
use ordain_tests::oracle::{Settings, comparable, expected, numbers_as_floats};
use serde_json::Value;

use crate::support::Deployment;

/// Tenants with their policies; one in six has none.
struct Fleet {
    generator: Generator,
    policies: Vec<(String, Option<Value>)>,
}

impl Fleet {
    fn new(tenants: usize) -> Fleet {
        let mut generator = Generator::new();
        let tenants = generator.tenants(tenants);
        let policies = tenants.into_iter().map(|tenant| (tenant, None)).collect();
        Fleet {
            generator,
            policies,
        }
    }

    /// Gives every tenant a new policy, or takes it away.
    async fn change(&mut self, app: &App) {
        for (_, record) in &mut self.policies {
            *record = (self.generator.below(6) > 0).then(|| self.generator.record());
        }
        let writes = self.policies.iter().map(|(tenant, record)| async move {
            let path = policy_path(tenant);
            match record {
                Some(record) => {
                    let reply = app.put(&path, record).await;
                    assert!(
                        matches!(reply.status, 200 | 201),
                        "{tenant:?} {record}: {reply:?}"
                    );
                }
                None => {
                    let reply = app.delete(&path).await;
                    assert!(matches!(reply.status, 200 | 404), "{tenant:?}: {reply:?}");
                }
            }
        });
        stream::iter(writes)
            .buffer_unordered(8)
            .collect::<()>()
            .await;
    }

    /// As many requests, each with what the oracle says.
    fn requests(&mut self, count: usize, settings: &Settings) -> Vec<(Value, Value)> {
        (0..count)
            .map(|_| {
                let at = self.generator.below(self.policies.len());
                let (tenant, record) = &self.policies[at];
                let request = self.generator.request(tenant);
                let answer = expected(settings, record.as_ref(), &request);
                (request, numbers_as_floats(&answer))
            })
            .collect()
    }

    fn explain(&self, request: &Value) -> String {
        let record = self
            .policies
            .iter()
            .find(|(tenant, _)| request["tenant"] == **tenant);
        format!("request {request}\npolicy {record:?}")
    }

    /// Batches through HTTP, compared one by one; returns how many allowed and how many refused.
    async fn compare(&mut self, app: &App, settings: &Settings, count: usize) -> (usize, usize) {
        let cases = self.requests(count, settings);
        let mut verdicts = (0, 0);
        for batch in cases.chunks(400) {
            let body = batch.iter().map(|(request, _)| request.clone()).collect();
            let reply = app.resolve(&Value::Array(body)).await.expect(200);
            let answers = reply.json.as_array().expect("a list");
            assert_eq!(answers.len(), batch.len());
            for (answer, (request, expected)) in answers.iter().zip(batch) {
                self.check(request, answer, expected);
                let count = if answer["allow"] == true {
                    &mut verdicts.0
                } else {
                    &mut verdicts.1
                };
                *count += 1;
            }
        }
        verdicts
    }

    fn check(&self, request: &Value, answer: &Value, expected: &Value) {
        match comparable(answer, 1_000) {
            Ok(found) => {
                assert_eq!(
                    &found,
                    expected,
                    "{}\nanswer {answer}",
                    self.explain(request)
                )
            }
            Err(error) => panic!("{error}\n{}\nanswer {answer}", self.explain(request)),
        }
    }

    async fn run(mut self, app: &App, settings: &Settings, count: usize) {
        for round in 0..3 {
            self.change(app).await;
            let (allowed, refused) = self.compare(app, settings, count / 3).await;
            // Input that only ever meets one verdict would prove little.
            assert!(
                allowed > count / 30 && refused > count / 60,
                "{round}: {allowed}, {refused}"
            );
        }
        for (request, expected) in self.requests(60, settings) {
            let reply = app.resolve(&request).await.expect(200);
            self.check(&request, &reply.json, &expected);
        }
    }
}

#[tokio::test]
async fn thousands_of_random_answers_agree_with_the_rules_on_postgres_and_redis() {
    let deployment = Deployment::start().await;
    // What is answered is in question here, not how fast a busy machine writes.
    let patient = deployment
        .instance("one")
        .env("ORDAIN_ORIGIN_DEADLINE", "5s");
    let app = patient.env("ORDAIN_REQUEST_DEADLINE", "10s").start().await;
    Fleet::new(110).run(&app, &Settings::default(), 3_600).await;
}

#[tokio::test]
async fn thousands_of_random_answers_agree_with_the_rules_in_memory() {
    let app = App::memory().await;
    Fleet::new(110).run(&app, &Settings::default(), 3_600).await;
}

#[tokio::test]
async fn random_answers_agree_with_the_rules_under_other_settings() {
    let app = App::builder()
        .dev()
        .env("ORDAIN_EGRESS_MODE", "report-only")
        .env("ORDAIN_LOCAL_PROVIDERS", "vllm,on prem,a/b,😀")
        .env("ORDAIN_DEFAULT_PROVIDER", "on prem")
        .env("ORDAIN_DEFAULT_MODEL", "m/1")
        .start()
        .await;
    let settings = Settings {
        base: "report-only",
        local_providers: vec!["vllm", "on prem", "a/b", "😀"],
        default: Some(("on prem", "m/1")),
    };
    Fleet::new(90).run(&app, &settings, 1_500).await;
}

#[tokio::test]
async fn random_answers_agree_with_the_rules_when_the_base_is_off() {
    let app = App::builder()
        .dev()
        .env("ORDAIN_EGRESS_MODE", "off")
        .start()
        .await;
    let settings = Settings {
        base: "off",
        ..Settings::default()
    };
    Fleet::new(90).run(&app, &settings, 900).await;
}

#[tokio::test]
async fn two_instances_answer_alike_whichever_tier_they_answer_from() {
    let deployment = Deployment::start().await;
    let (one, two) = futures::join!(
        deployment.instance("one").start(),
        deployment.instance("two").start()
    );
    let mut fleet = Fleet::new(90);
    fleet.change(&one).await;
    fleet.compare(&one, &Settings::default(), 600).await;
    // The second one has to know of the writes first; any answer of it then may come from far.
    let head = one
        .get("/v1/tenants?limit=1")
        .await
        .expect(200)
        .ordain_revision();
    crate::support::caught_up(&two, head).await;
    fleet.compare(&two, &Settings::default(), 600).await;
    fleet.compare(&two, &Settings::default(), 600).await;
}

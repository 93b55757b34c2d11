//! One operation each: asks an instance, reads what the reply says, and records both with their
//! times. Judges nothing but whether a reply is one that the interface has.

use std::time::Duration;

use ordain_tests::http::{Call, Client, Reply, policy_path};
use serde_json::{Value, json};

use crate::record::{Answer, Condition, Failed, Host, Op, Recorder, Silence, Tier, What, Written};

/// Longer than any request may take, also of an instance that was stopped for a while.
const NO_REPLY: Duration = Duration::from_secs(5);

/// Errors that a read may end with while servers are in trouble.
const READ_ERRORS: [&str; 3] = ["unavailable", "deadline-exceeded", "overloaded"];
/// Errors after which a write has certainly not happened.
const WRITE_ERRORS: [&str; 3] = ["unavailable", "busy", "overloaded"];

/// A running instance.
#[derive(Clone)]
pub struct Target {
    pub host: Host,
    pub client: Client,
}

/// How a record is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Resolve,
    /// As `Resolve`, the demand in the header.
    Header,
    /// The stored record itself.
    Policy,
}

/// Asks in the name of one client of the run.
pub struct Caller<'a> {
    pub recorder: &'a Recorder,
    pub target: Target,
    pub id: String,
}

impl Caller<'_> {
    /// Stores a policy that allows this model, or deletes (`None`).
    pub async fn write(self, tenant: &str, model: Option<&str>, condition: Condition) -> Written {
        let method = if model.is_some() { "PUT" } else { "DELETE" };
        let mut call = self.call(method, &policy_path(tenant));
        if let Some(model) = model {
            call = call.json(&record(model));
        }
        match condition {
            Condition::None => {}
            Condition::Absent => call = call.header("if-none-match", "*"),
            Condition::Revision(revision) => {
                call = call.header("if-match", &format!("\"{revision}\""));
            }
        }
        let began = self.recorder.now();
        let outcome = match send(call).await {
            Some(reply) => written(&reply),
            None => Written::Unknown(Silence::NoReply),
        };
        self.recorder.add(Op {
            id: self.id,
            host: Some(self.target.host),
            began,
            ended: self.recorder.now(),
            tenant: tenant.to_owned(),
            what: What::Write {
                model: model.map(str::to_owned),
                condition,
                outcome: outcome.clone(),
            },
        });
        outcome
    }

    pub async fn read(self, tenant: &str, min_revision: u64, form: Form) -> Result<Answer, Failed> {
        let mut call = match form {
            Form::Policy => self.call("GET", &policy_path(tenant)),
            Form::Header => self
                .call("POST", "/v1/resolve")
                .json(&json!({ "tenant": tenant })),
            Form::Resolve => self
                .call("POST", "/v1/resolve")
                .json(&request(tenant, min_revision)),
        };
        if form != Form::Resolve && min_revision > 0 {
            call = call.header("ordain-min-revision", &min_revision.to_string());
        }
        let began = self.recorder.now();
        let outcome = match send(call).await {
            Some(reply) if form == Form::Policy => policy(&reply),
            Some(reply) => resolved(&reply),
            None => Err(Failed::NoReply),
        };
        self.record_read(began, tenant, min_revision, outcome.clone());
        outcome
    }

    /// Each item is recorded as a read of its own.
    pub async fn batch(self, items: &[(&str, u64)]) {
        let requests: Vec<Value> = items
            .iter()
            .map(|(tenant, min_revision)| request(tenant, *min_revision))
            .collect();
        let call = self.call("POST", "/v1/resolve").json(&json!(requests));
        let began = self.recorder.now();
        let reply = send(call).await;
        for (index, (tenant, min_revision)) in items.iter().enumerate() {
            let outcome = match &reply {
                Some(reply) if reply.status == 200 && reply.json[index].is_object() => {
                    let answer = item(&reply.json[index], position(reply));
                    answer.map(|answer| Answer {
                        of_batch: true,
                        ..answer
                    })
                }
                Some(reply) => Err(failed(reply.status, &reply.json, &reply.text)),
                None => Err(Failed::NoReply),
            };
            self.record_read(began, tenant, *min_revision, outcome);
        }
    }

    fn call(&self, method: &str, path: &str) -> Call {
        let call = self.target.client.call(method, path);
        call.header("x-request-id", &self.id)
    }

    fn record_read(
        &self,
        began: Duration,
        tenant: &str,
        min_revision: u64,
        outcome: Result<Answer, Failed>,
    ) {
        self.recorder.add(Op {
            id: self.id.clone(),
            host: Some(self.target.host),
            began,
            ended: self.recorder.now(),
            tenant: tenant.to_owned(),
            what: What::Read {
                min_revision,
                outcome,
            },
        });
    }
}

/// A policy that allows this model.
pub fn record(model: &str) -> Value {
    json!({"defaultProvider": "openai", "defaultModel": model})
}

fn request(tenant: &str, min_revision: u64) -> Value {
    match min_revision {
        0 => json!({ "tenant": tenant }),
        _ => json!({"tenant": tenant, "minRevision": min_revision}),
    }
}

/// `None`: no reply, from a server that is gone or after a long wait.
async fn send(call: Call) -> Option<Reply> {
    tokio::time::timeout(NO_REPLY, call.try_send())
        .await
        .ok()?
        .ok()
}

fn written(reply: &Reply) -> Written {
    let code = reply.json["code"].as_str().unwrap_or_default();
    match reply.status {
        200 | 201 => match reply.json["revision"].as_u64() {
            Some(revision) => Written::At(revision),
            None => Written::Unexpected(reply.text.clone()),
        },
        412 => Written::Unmet,
        404 if code == "policy-not-found" => Written::Unmet,
        503 if code == "write-outcome-unknown" => Written::Unknown(Silence::Said),
        503 if WRITE_ERRORS.contains(&code) => Written::Refused(code.to_owned()),
        status => Written::Unexpected(format!("{status}: {}", reply.text)),
    }
}

fn resolved(reply: &Reply) -> Result<Answer, Failed> {
    match reply.status {
        200 => item(&reply.json, position(reply)),
        status => Err(failed(status, &reply.json, &reply.text)),
    }
}

fn failed(status: u16, problem: &Value, text: &str) -> Failed {
    match (status, problem["code"].as_str()) {
        (409, Some("revision-unknown")) => Failed::RevisionUnknown,
        (503, Some(code)) if READ_ERRORS.contains(&code) => Failed::Code(code.to_owned()),
        _ => Failed::Unexpected(format!("{status}: {text}")),
    }
}

/// One answer to a resolve.
fn item(json: &Value, position: Option<u64>) -> Result<Answer, Failed> {
    let unexpected = || Failed::Unexpected(json.to_string());
    if let Some(problem) = json.get("problem") {
        let status = problem["status"].as_u64().unwrap_or(0);
        let status = u16::try_from(status).unwrap_or(0);
        return Err(failed(status, problem, &json.to_string()));
    }
    let provenance = &json["provenance"];
    let revision = provenance["revision"].as_u64();
    let record = match (json["allow"].as_bool(), revision) {
        (Some(true), Some(revision)) if json["provider"] == "openai" => {
            let model = json["model"].as_str().ok_or_else(unexpected)?;
            Some((revision, model.to_owned()))
        }
        (Some(false), None) if json["refusal"]["code"] == "no-policy" => None,
        _ => return Err(unexpected()),
    };
    let tier = match provenance["tier"].as_str() {
        Some("near") => Tier::Near,
        Some("far") => Tier::Far,
        Some("origin") => Tier::Origin,
        _ => return Err(unexpected()),
    };
    let (Some(stale), Some(age), Some(position)) = (
        provenance["stale"].as_bool(),
        provenance["ageMs"].as_u64(),
        position,
    ) else {
        return Err(unexpected());
    };
    Ok(Answer {
        record,
        position,
        tier,
        stale,
        age: Duration::from_millis(age),
        of_batch: false,
    })
}

/// The stored record as it is, always from the origin.
fn policy(reply: &Reply) -> Result<Answer, Failed> {
    let unexpected = || Failed::Unexpected(format!("{}: {}", reply.status, reply.text));
    let record = match (reply.status, reply.json["code"].as_str()) {
        (200, _) => {
            let revision = reply.header("etag").trim_matches('"').parse();
            let model = reply.json["defaultModel"].as_str();
            let (Ok(revision), Some(model)) = (revision, model) else {
                return Err(unexpected());
            };
            Some((revision, model.to_owned()))
        }
        (404, Some("policy-not-found")) => None,
        (status, _) => return Err(failed(status, &reply.json, &reply.text)),
    };
    Ok(Answer {
        record,
        position: position(reply).ok_or_else(unexpected)?,
        tier: Tier::Origin,
        stale: false,
        age: Duration::ZERO,
        of_batch: false,
    })
}

fn position(reply: &Reply) -> Option<u64> {
    reply.header("ordain-revision").parse().ok()
}

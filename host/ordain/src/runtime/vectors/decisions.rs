//! Vectors of decisions: which policies are valid, and what is answered by one of them. Not for
//! configs.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::difference::{Difference, compare_faults, find_difference};
use crate::answer::{Answer, ResolveError};
use crate::calls::{InvalidRecord, ValidatePolicy};
use crate::request::{self, Body};
use crate::runtime::sandbox::{Sandbox, Settings};
use crate::world::Export;
use ordain_coherence::Moment;
use ordain_coherence::shares::Whose;
use ordain_store::ids::Tenant;

/// One record or request, and what must come of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// Names it in reports; one of the operator replaces a built-in one of the same name.
    pub name: String,
    #[serde(default)]
    pub settings: Settings,
    /// Absent: the tenant has none.
    policy: Option<Box<RawValue>>,
    /// Without `tenant`.
    request: Option<Box<RawValue>>,
    /// The answer without tenant, provenance and the message of a refusal; or `{"problem": code}`.
    answer: Option<Value>,
    /// Pointers of all faults of a policy that must be refused.
    faults: Option<Vec<String>>,
}

impl Vector {
    pub fn check(&self, tenant: &Tenant) -> Result<(), String> {
        match (&self.policy, &self.request, &self.answer, &self.faults) {
            (_, Some(request), Some(_), None) => self.read(request, tenant).map(drop),
            (Some(_), None, None, Some(_)) => Ok(()),
            _ => Err(format!(
                "`{}` must have either `request` and `answer` (and `policy`, if the tenant has one), or \
                 `policy` and `faults`",
                self.name
            )),
        }
    }

    fn read(&self, request: &RawValue, tenant: &Tenant) -> Result<request::Request, String> {
        let name = &self.name;
        match request::parse(request.get(), Some(tenant)) {
            Ok(Body::One(Ok(one))) => Ok(one.request),
            Ok(Body::One(Err(faulty))) => {
                let faults = faulty
                    .faults
                    .iter()
                    .map(|f| format!("{} {}", f.pointer, f.message));
                let faults = faults.collect::<Vec<_>>().join(", ");
                Err(format!("the request of `{name}`: {faults}"))
            }
            _ => Err(format!("the request of `{name}` must be an object")),
        }
    }

    pub async fn ask(&self, sandbox: &Sandbox, tenant: &Tenant) -> Result<(), Difference> {
        if let Some(policy) = &self.policy {
            let canonical = match (
                sandbox.check(ValidatePolicy(policy.get().into())).await,
                &self.faults,
            ) {
                (Ok(canonical), None) => canonical,
                (Ok(_), Some(faults)) => {
                    let faults = faults.join(", ");
                    return Err(Difference::Answer(format!(
                        "the policy is taken, and has faults at {faults}"
                    )));
                }
                (Err(InvalidRecord::Component(failed)), _) => {
                    return Err(Difference::Failure(failed.why));
                }
                (Err(why @ (InvalidRecord::Late | InvalidRecord::Overloaded)), _) => {
                    return Err(Difference::Busy(why.to_string()));
                }
                (Err(InvalidRecord::Faults(found)), Some(expected)) => {
                    let found = found.into_iter().map(|fault| fault.pointer);
                    return compare_faults(found.collect(), expected);
                }
                (Err(why), _) => {
                    return Err(Difference::Answer(format!("the policy is refused: {why}")));
                }
            };
            sandbox
                .put(tenant, canonical)
                .await
                .map_err(Difference::Answer)?;
        }
        let (Some(request), Some(expected)) = (&self.request, &self.answer) else {
            return Ok(());
        };
        let request = self.read(request, tenant).map_err(Difference::Answer)?;
        // First from the origin, then from near, then as a batch: the answer is the same.
        for way in ["read from the origin", "read from near"] {
            let answer = sandbox
                .runtime
                .resolve(Whose::Operator, tenant, &request)
                .await;
            compare(answer, expected, way)?;
        }
        if !sandbox.offers(Export::ResolveBatch) {
            return Ok(());
        }
        let twice = [&request, &request];
        let answers = sandbox
            .runtime
            .resolve_batch(Whose::Operator, Moment::now(), tenant, &twice);
        for answer in answers.await {
            compare(answer, expected, "in a batch")?;
        }
        Ok(())
    }
}

/// The answer must be as expected, whichever way it was found.
fn compare(
    answer: Result<Answer, ResolveError>,
    expected: &Value,
    way: &str,
) -> Result<(), Difference> {
    let found = match answer {
        Ok(answer) => {
            let mut found = serde_json::to_value(&answer)
                .map_err(|error| Difference::Answer(error.to_string()))?;
            // What every vector and every wording may differ in.
            if let Some(members) = found.as_object_mut() {
                members.remove("tenant");
                members.remove("provenance");
            }
            if let Some(refusal) = found.get_mut("refusal").and_then(Value::as_object_mut) {
                refusal.remove("message");
            }
            found
        }
        Err(ResolveError::Component(failed)) => return Err(Difference::Failure(failed.why)),
        Err(error @ (ResolveError::Late | ResolveError::Overloaded)) => {
            return Err(Difference::Busy(error.to_string()));
        }
        Err(error) => serde_json::json!({"problem": code(&error)}),
    };
    match find_difference(&found, expected, "") {
        None => Ok(()),
        Some(why) => Err(Difference::Answer(format!("{way}: {why}"))),
    }
}

fn code(error: &ResolveError) -> &'static str {
    match error {
        ResolveError::RequestInvalid(_) => "request-invalid",
        ResolveError::RecordInvalid(_) => "record-invalid",
        ResolveError::RevisionUnknown => "revision-unknown",
        ResolveError::Unavailable => "unavailable",
        ResolveError::Late => "deadline",
        ResolveError::Overloaded => "overloaded",
        ResolveError::Component(_) => "component-failed",
        ResolveError::NotOffered(_) => "not-offered",
    }
}

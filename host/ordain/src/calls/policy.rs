//! The calls of the capability `policy`: one request, many of one tenant, and whether a record is a
//! policy. Not for configs.

use std::borrow::Cow;
use std::sync::Arc;

use wasmtime::Store;

use super::checked::{self, Checked};
use super::convert::{read_failure, read_provenance};
use super::question::{Compared, Exports, Question, Reply, Shown, call_typed};
use crate::answer::{Answer, Egress, EgressRule, Refusal, ResolveError, Route, Rule, Verdict};
use crate::capabilities::HostState;
use crate::request::Request;
use crate::world::bindings::policy::{self as wit, Decision};
use crate::world::bindings::types::Failure;
use crate::world::{Export, ExportIndices};
use ordain_store::ids::{ID_LIMIT, Tenant};

/// Requests of a batch for which there is one tick more: the dearest records take so long.
const REQUESTS_A_TICK: usize = 5;
/// Longest text that a guest may say to people, in bytes.
const MESSAGE_MAX: usize = 16 << 10;

/// What the guest says about one request.
type Decided = Result<Decision, Failure>;

/// One request.
pub struct Resolve<'a>(pub Cow<'a, Request>);

/// Requests of one tenant.
pub struct ResolveBatch<'a>(pub &'a [&'a Request]);

/// Whether a record is a policy.
pub struct ValidatePolicy<'a>(pub Cow<'a, str>);

impl Question for Resolve<'_> {
    const EXPORT: Export = Export::Resolve;
    type Arguments<'a>
        = (wit::Request<'a>,)
    where
        Self: 'a;
    type Reply = Decided;

    fn arguments(&self) -> (wit::Request<'_>,) {
        (write_request(&self.0),)
    }

    fn demand(&self, _index: usize) -> u64 {
        self.0.min_revision
    }

    /// What every near hit is: of the newest version it is found and checked once an instance.
    fn call_prompt(
        &self,
        exports: &Exports,
        indices: &ExportIndices,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Decided> {
        match &exports.policy {
            Some(policy) => policy.call_resolve(store, write_request(&self.0)),
            None => call_typed(self, &exports.instance, indices, store),
        }
    }
}

impl Compared for Resolve<'_> {
    type Kept = Resolve<'static>;

    fn keep(&self) -> Resolve<'static> {
        Resolve(Cow::Owned(self.0.as_ref().clone()))
    }

    /// The decision, not where it comes from nor how a refusal is worded.
    fn show(&self, tenant: Option<&Tenant>, decided: Decided) -> Option<Shown> {
        let answer = read_answer(decided, tenant?, &self.0, Arc::default(), Arc::default()).ok()?;
        let mut fields = serde_json::to_value(&answer).ok()?;
        fields.as_object_mut()?.remove("provenance");
        if let Some(refusal) = fields.get_mut("refusal").and_then(|r| r.as_object_mut()) {
            refusal.remove("message");
        }
        Some(Shown {
            revision: answer.provenance.revision,
            fields,
        })
    }

    fn task(&self) -> Option<&str> {
        self.0.task.as_deref()
    }
}

impl Question for ResolveBatch<'_> {
    const EXPORT: Export = Export::ResolveBatch;
    type Arguments<'a>
        = (Vec<wit::Request<'a>>,)
    where
        Self: 'a;
    type Reply = Vec<Decided>;

    fn arguments(&self) -> (Vec<wit::Request<'_>>,) {
        (self
            .0
            .iter()
            .map(|request| write_request(request))
            .collect(),)
    }

    fn check(&self, decided: &Vec<Decided>) -> Result<(), String> {
        if decided.len() != self.0.len() {
            let (said, asked) = (decided.len(), self.0.len());
            return Err(format!("{said} answers to {asked} requests"));
        }
        decided.check()
    }

    fn demand(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |request| request.min_revision)
    }

    fn more_ticks(&self) -> u32 {
        u32::try_from(self.0.len() / REQUESTS_A_TICK).unwrap_or(u32::MAX)
    }
}

impl Question for ValidatePolicy<'_> {
    const EXPORT: Export = Export::ValidatePolicy;
    type Arguments<'a>
        = (&'a str,)
    where
        Self: 'a;
    type Reply = Checked;

    fn arguments(&self) -> (&str,) {
        (&self.0,)
    }

    fn is_heavy(&self) -> bool {
        checked::is_heavy(self.0.len())
    }
}

impl Compared for ValidatePolicy<'_> {
    type Kept = ValidatePolicy<'static>;

    fn keep(&self) -> ValidatePolicy<'static> {
        ValidatePolicy(Cow::Owned(self.0.to_string()))
    }

    fn show(&self, _tenant: Option<&Tenant>, checked: Checked) -> Option<Shown> {
        Some(checked::show(&checked))
    }
}

fn write_request(request: &Request) -> wit::Request<'_> {
    wit::Request {
        user: request.user.as_deref(),
        task: request.task.as_deref(),
        model: request.model.as_deref(),
        temperature: request.temperature,
        max_tokens: request.max_tokens,
        egress_mode: request.egress_mode.map(Into::into),
        min_revision: request.min_revision,
    }
}

/// The answer to a request. `component` and `settings`: digests of what it was answered by.
pub fn read_answer(
    decided: Decided,
    tenant: &Tenant,
    request: &Request,
    component: Arc<str>,
    settings: Arc<str>,
) -> Result<Answer, ResolveError> {
    let decision = decided.map_err(read_failure)?;
    Ok(Answer {
        tenant: tenant.clone(),
        user: request.user.clone(),
        task: request.task.clone(),
        verdict: match decision.verdict {
            wit::Verdict::Allow(route) => Verdict::Allow(Route {
                provider: route.provider,
                provider_rule: read_rule(route.provider_rule),
                model: route.model,
                model_rule: read_rule(route.model_rule),
                temperature: route.temperature.map(|t| (t.value, read_rule(t.rule))),
                max_tokens: route.max_tokens.map(|m| (m.value, read_rule(m.rule))),
            }),
            wit::Verdict::Refuse(refusal) => Verdict::Refuse(Refusal {
                code: match refusal.code {
                    wit::RefusalCode::NoPolicy => "no-policy",
                    wit::RefusalCode::RemoteEgressDisabled => "remote-egress-disabled",
                    wit::RefusalCode::ModelNotAllowed => "model-not-allowed",
                },
                message: refusal.message,
            }),
        },
        egress: Egress {
            requested: decision.egress.requested.into(),
            effective: decision.egress.effective.into(),
            rule: match decision.egress.rule {
                wit::EgressRule::Base => EgressRule::Base,
                wit::EgressRule::Tenant => EgressRule::Tenant,
                wit::EgressRule::User => EgressRule::User,
                wit::EgressRule::Caller => EgressRule::Caller,
            },
        },
        provenance: read_provenance(decision.provenance, component, settings),
    })
}

fn read_rule(rule: wit::Rule) -> Rule {
    match rule {
        wit::Rule::Task => Rule::Task,
        wit::Rule::Tenant => Rule::Tenant,
        wit::Rule::Deployment => Rule::Deployment,
        wit::Rule::Caller => Rule::Caller,
    }
}

impl Reply for Decided {
    /// From whichever record: it would end up in logs, headers and bills.
    fn check(&self) -> Result<(), String> {
        let Ok(Decision { verdict, .. }) = self else {
            return Ok(());
        };
        match verdict {
            wit::Verdict::Allow(route) => {
                for (what, id) in [("provider", &route.provider), ("model", &route.model)] {
                    if !is_id(id) {
                        let size = id.len();
                        return Err(format!(
                            "it answered a {what} of {size} bytes that is no id: 1 to {ID_LIMIT} \
                             characters without control characters"
                        ));
                    }
                }
                if let Some(temperature) = &route.temperature
                    && !(0.0..=2.0).contains(&temperature.value)
                {
                    let value = temperature.value;
                    return Err(format!("it answered a temperature of {value}"));
                }
                if let Some(max_tokens) = &route.max_tokens
                    && !(1..1 << 53).contains(&max_tokens.value)
                {
                    return Err(format!("it answered {} as maxTokens", max_tokens.value));
                }
                Ok(())
            }
            wit::Verdict::Refuse(refusal) if refusal.message.len() > MESSAGE_MAX => {
                let size = refusal.message.len();
                Err(format!("it answered a message of {size} bytes"))
            }
            wit::Verdict::Refuse(_) => Ok(()),
        }
    }

    fn answers(&self) -> impl Iterator<Item = Result<(), &Failure>> {
        std::iter::once(self.as_ref().map(|_| ()))
    }
}

impl Reply for Vec<Decided> {
    fn check(&self) -> Result<(), String> {
        self.iter().try_for_each(Reply::check)
    }

    fn answers(&self) -> impl Iterator<Item = Result<(), &Failure>> {
        self.iter().map(|decided| decided.as_ref().map(|_| ()))
    }
}

/// As records have them (DESIGN 7.1); plain ASCII, the rule, is settled without decoding.
fn is_id(id: &str) -> bool {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte);
    match id.len() {
        0 => false,
        ..=ID_LIMIT if id.bytes().all(plain) => true,
        _ => ordain_store::ids::is_id(id),
    }
}

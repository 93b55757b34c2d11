//! Between the WIT's types and the library's: names only, no decisions.

use std::sync::Arc;

use super::bindings::{resolver as wit, types};
use super::question::Outcome;
use crate::answer::{
    Answer, Egress, EgressRule, Provenance, Refusal, ResolveError, Route, Rule, Tier, Verdict,
};
use crate::ids::Tenant;
use crate::request::{Fault, Request};

pub fn request(request: &Request) -> wit::Request<'_> {
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

pub fn answer(
    outcome: Outcome,
    tenant: &Tenant,
    request: &Request,
    component: Arc<str>,
    settings: Arc<str>,
) -> Result<Answer, ResolveError> {
    let decision = outcome.map_err(|failure| match failure {
        wit::Failure::Unavailable => ResolveError::Unavailable,
        wit::Failure::RevisionUnknown => ResolveError::RevisionUnknown,
        wit::Failure::RecordInvalid(found) => ResolveError::RecordInvalid(faults(found)),
        wit::Failure::RequestInvalid(found) => ResolveError::RequestInvalid(faults(found)),
    })?;
    let from = decision.provenance;
    Ok(Answer {
        tenant: tenant.clone(),
        user: request.user.clone(),
        task: request.task.clone(),
        verdict: match decision.verdict {
            wit::Verdict::Allow(route) => Verdict::Allow(Route {
                provider: route.provider,
                provider_rule: rule(route.provider_rule),
                model: route.model,
                model_rule: rule(route.model_rule),
                temperature: route.temperature.map(|t| (t.value, rule(t.rule))),
                max_tokens: route.max_tokens.map(|m| (m.value, rule(m.rule))),
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
        provenance: Provenance {
            revision: from.revision,
            tier: match from.tier {
                types::Tier::Near => Tier::Near,
                types::Tier::Far => Tier::Far,
                types::Tier::Origin => Tier::Origin,
            },
            stale: from.stale,
            age_ms: from.age_ms,
            position: from.position,
            component,
            settings,
        },
    })
}

pub fn faults(faults: Vec<types::Fault>) -> Vec<Fault> {
    faults
        .into_iter()
        .map(|fault| Fault {
            pointer: fault.pointer,
            message: fault.message,
        })
        .collect()
}

fn rule(rule: wit::Rule) -> Rule {
    match rule {
        wit::Rule::Task => Rule::Task,
        wit::Rule::Tenant => Rule::Tenant,
        wit::Rule::Deployment => Rule::Deployment,
        wit::Rule::Caller => Rule::Caller,
    }
}

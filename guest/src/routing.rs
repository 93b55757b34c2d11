//! Model routing (DESIGN 4.2): which provider and model, with which parameters, or why none. Pure:
//! everything that it looks at is in its arguments.

use crate::policy::{Candidate, Policy};
use crate::ports::Settings;
use crate::words::{Refusal, RefusalCode, Request, Route, Rule, Verdict};

pub fn route(policy: Option<&Policy>, request: &Request, settings: &Settings) -> Verdict {
    let Some(policy) = policy else {
        return without_policy(request, settings);
    };
    let Some((chosen, rule)) = choose(policy, request, settings) else {
        return refuse(
            RefusalCode::RemoteEgressDisabled,
            remote_egress_disabled(policy, request),
        );
    };
    let (provider, model) = match chosen {
        Some(candidate) => (candidate.provider, candidate.model),
        None => (policy.default_provider(), policy.default_model()),
    };
    // A caller's model replaces the name only after the provider is settled (4.2.5).
    let (model, model_rule) = match &request.model {
        Some(model) => (model.as_str(), Rule::Caller),
        None => (model, rule),
    };
    // 4.2.6
    if !policy.allows(provider, model) {
        return refuse(
            RefusalCode::ModelNotAllowed,
            model_not_allowed(provider, model, request),
        );
    }
    let temperature = chosen.and_then(|candidate| candidate.temperature);
    let max_tokens = chosen.and_then(|candidate| candidate.max_tokens);
    Verdict::Allow(Route {
        provider: provider.to_owned(),
        provider_rule: rule,
        model: model.to_owned(),
        model_rule,
        temperature: parameter(temperature, request.temperature.map(f64::abs)),
        max_tokens: parameter(max_tokens, request.max_tokens),
    })
}

/// 4.2.1: the deployment's answer for tenants without a policy.
fn without_policy(request: &Request, settings: &Settings) -> Verdict {
    let Some(default) = &settings.deployment_default else {
        let message =
            "the tenant has no policy, and the deployment has no default for such tenants";
        return refuse(RefusalCode::NoPolicy, message.to_owned());
    };
    let (model, model_rule) = match &request.model {
        Some(model) => (model, Rule::Caller),
        None => (&default.model, Rule::Deployment),
    };
    Verdict::Allow(Route {
        provider: default.provider.clone(),
        provider_rule: Rule::Deployment,
        model: model.clone(),
        model_rule,
        temperature: parameter(None, request.temperature.map(f64::abs)),
        max_tokens: parameter(None, request.max_tokens),
    })
}

/// 4.2.2 and 4.2.3: a candidate of the task, `None` for the tenant's default, or nothing at all.
fn choose<'a>(
    policy: &'a Policy,
    request: &'a Request,
    settings: &Settings,
) -> Option<(Option<Candidate<'a>>, Rule)> {
    let may_use = |provider: &str| {
        policy.allow_remote_egress
            || settings
                .local_providers
                .iter()
                .any(|local| local == provider)
    };
    let candidate = request.task.as_deref().and_then(|task| {
        policy
            .candidates(task)
            .find(|candidate| may_use(candidate.provider))
    });
    if candidate.is_some() {
        return Some((candidate, Rule::Task));
    }
    may_use(policy.default_provider()).then_some((None, Rule::Tenant))
}

/// 4.2.4: the candidate's value beats the caller's. (Callers of this take the absolute value of a
/// caller's temperature: it is not negative, but may be a negative zero, which JSON would show.)
fn parameter<T>(candidate: Option<T>, caller: Option<T>) -> Option<(T, Rule)> {
    candidate
        .map(|value| (value, Rule::Task))
        .or(caller.map(|value| (value, Rule::Caller)))
}

fn refuse(code: RefusalCode, message: String) -> Verdict {
    Verdict::Refuse(Refusal { code, message })
}

fn remote_egress_disabled(policy: &Policy, request: &Request) -> String {
    let default = format!(
        "the tenant's default, {}/{}",
        policy.default_provider(),
        policy.default_model()
    );
    let Some(task) = request.task.as_deref() else {
        return format!("remote egress is disabled, and {default}, is not local");
    };
    match policy.candidates(task).next() {
        None => format!(
            "remote egress is disabled, task `{task}` has no candidate of its own, and {default}, is not local"
        ),
        Some(first) => format!(
            "remote egress is disabled, no candidate of task `{task}` ({}/{} comes first) is local, and neither is {default}",
            first.provider, first.model
        ),
    }
}

fn model_not_allowed(provider: &str, model: &str, request: &Request) -> String {
    let task = request
        .task
        .as_ref()
        .map(|task| format!(" for task `{task}`"))
        .unwrap_or_default();
    format!("{provider}/{model}, the result{task}, matches no entry of the tenant's allowedModels")
}

#[cfg(test)]
mod tests;

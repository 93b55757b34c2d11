//! Between the WIT's types and the library's: names only, no decisions.

use std::sync::Arc;

use crate::answer::{
    Answer, Egress, EgressRule, Provenance, Refusal, ResolveError, Route, Rule, Tier, Verdict,
};
use crate::effective::{Config, EffectiveConfig, Levels, MergeStrategy, PathStrategy, SetBy};
use crate::request::{Fault, Request};
use crate::world::Outcome;
use crate::world::bindings::types::Failure;
use crate::world::bindings::{configs, resolver as wit, types};
use ordain_store::ids::Tenant;

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
    let decision = outcome.map_err(failed)?;
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
        provenance: provenance(decision.provenance, component, settings),
    })
}

pub fn effective(
    outcome: Result<configs::Effective, Failure>,
    component: Arc<str>,
    settings: Arc<str>,
) -> Result<EffectiveConfig, ResolveError> {
    let configs::Effective {
        config,
        levels,
        provenance: from,
    } = outcome.map_err(failed)?;
    Ok(EffectiveConfig {
        config: Config {
            merge_compression_strategy: match config.merge_compression_strategy {
                configs::MergeStrategy::None => MergeStrategy::None,
                configs::MergeStrategy::Minimal => MergeStrategy::Minimal,
                configs::MergeStrategy::Moderate => MergeStrategy::Moderate,
                configs::MergeStrategy::Aggressive => MergeStrategy::Aggressive,
            },
            merge_max_messages: config.merge_max_messages,
            merge_preserve_pinned: config.merge_preserve_pinned,
            path_compression_strategy: match config.path_compression_strategy {
                configs::PathStrategy::None => PathStrategy::None,
                configs::PathStrategy::SlidingWindow => PathStrategy::SlidingWindow,
                configs::PathStrategy::Semantic => PathStrategy::Semantic,
                configs::PathStrategy::Hybrid => PathStrategy::Hybrid,
            },
            path_max_messages: config.path_max_messages,
            path_sliding_window_size: config.path_sliding_window_size,
            path_compression_threshold: config.path_compression_threshold,
            auto_compact_enabled: config.auto_compact_enabled,
            compaction_interval_minutes: config.compaction_interval_minutes,
        },
        levels: Levels {
            merge_compression_strategy: level(levels.merge_compression_strategy),
            merge_max_messages: level(levels.merge_max_messages),
            merge_preserve_pinned: level(levels.merge_preserve_pinned),
            path_compression_strategy: level(levels.path_compression_strategy),
            path_max_messages: level(levels.path_max_messages),
            path_sliding_window_size: level(levels.path_sliding_window_size),
            path_compression_threshold: level(levels.path_compression_threshold),
            auto_compact_enabled: level(levels.auto_compact_enabled),
            compaction_interval_minutes: level(levels.compaction_interval_minutes),
        },
        provenance: provenance(from, component, settings),
    })
}

fn level(level: configs::Level) -> SetBy {
    match level {
        configs::Level::Default => SetBy::Default,
        configs::Level::Global => SetBy::Global,
        configs::Level::Tenant => SetBy::Tenant,
        configs::Level::User => SetBy::User,
    }
}

fn failed(failure: Failure) -> ResolveError {
    match failure {
        Failure::Unavailable => ResolveError::Unavailable,
        Failure::RevisionUnknown => ResolveError::RevisionUnknown,
        Failure::RecordInvalid(found) => ResolveError::RecordInvalid(faults(found)),
        Failure::RequestInvalid(found) => ResolveError::RequestInvalid(faults(found)),
    }
}

fn provenance(from: types::Provenance, component: Arc<str>, settings: Arc<str>) -> Provenance {
    Provenance {
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
    }
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

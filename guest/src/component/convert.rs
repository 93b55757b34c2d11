//! Generated types to those of this crate and back, field by field: strings are moved, never
//! copied.

use super::bindings::exports::ordain::config::config;
use super::bindings::exports::ordain::policy::policy as wit;
use super::bindings::ordain::host::{held, log, settings, types};
use super::bindings::ordain::policy::settings as policy_settings;
use super::bindings::ordain::policy::types::EgressMode as WitMode;
use crate::ports::{
    DeploymentDefault, LookedUp, Present, Scope, Settings, Severity, State, Subject, Unavailable,
    View,
};
use crate::words::{
    Decision, Effective, Egress, EgressMode, EgressRule, Failure, Fault, Invalid, Provenance,
    RefusalCode, Request, Route, Rule, Tier, Verdict,
};

pub fn request_in(request: wit::Request) -> Request {
    Request {
        user: request.user,
        task: request.task,
        model: request.model,
        temperature: request.temperature,
        max_tokens: request.max_tokens,
        egress_mode: request.egress_mode.map(mode_in),
        min_revision: request.min_revision,
    }
}

pub fn settings_in(settings: settings::Settings, policy: policy_settings::Settings) -> Settings {
    Settings {
        base_egress: mode_in(policy.base_egress),
        local_providers: policy.local_providers,
        deployment_default: policy.deployment_default.map(|default| DeploymentDefault {
            provider: default.provider,
            model: default.model,
        }),
        bound_ms: settings.bound_ms,
        stale_limit_ms: settings.stale_limit_ms,
        min_revision_wait_ms: settings.min_revision_wait_ms,
        far_ttl_ms: settings.far_ttl_ms,
    }
}

pub fn looked_up_in(looked_up: types::LookedUp) -> LookedUp {
    match looked_up {
        types::LookedUp::View(view) => LookedUp::View(View {
            position: view.position,
            age_ms: view.age_ms,
            tier: tier_in(view.tier),
        }),
        types::LookedUp::Unavailable(reason) => LookedUp::Unavailable(match reason {
            types::Unavailable::Off => Unavailable::Off,
            types::Unavailable::NotReady => Unavailable::NotReady,
            types::Unavailable::Failed => Unavailable::Failed,
            types::Unavailable::Late => Unavailable::Late,
        }),
    }
}

pub fn state_in(state: held::State) -> State {
    match state {
        held::State::Missing => State::Missing,
        held::State::Absent => State::Absent,
        held::State::Present(present) => State::Present(Present {
            fill: present.fill,
            revision: present.revision,
        }),
    }
}

pub fn subject_out<'a>(subject: &Subject<'a>) -> types::Subject<'a> {
    let scope = match subject.scope {
        Scope::Tenant => types::Scope::Tenant,
        Scope::Fleet => types::Scope::Fleet,
    };
    types::Subject {
        scope,
        name: subject.name,
    }
}

pub fn severity_out(severity: Severity) -> log::Severity {
    match severity {
        Severity::Debug => log::Severity::Debug,
        Severity::Info => log::Severity::Info,
        Severity::Warn => log::Severity::Warn,
        Severity::Error => log::Severity::Error,
    }
}

pub fn decision_out(decision: Decision) -> wit::Decision {
    let Decision {
        verdict,
        egress,
        provenance,
    } = decision;
    wit::Decision {
        verdict: match verdict {
            Verdict::Allow(route) => wit::Verdict::Allow(route_out(route)),
            Verdict::Refuse(refusal) => wit::Verdict::Refuse(wit::Refusal {
                code: refusal_code_out(refusal.code),
                message: refusal.message,
            }),
        },
        egress: egress_out(egress),
        provenance: provenance_out(provenance),
    }
}

pub fn failure_out(failure: Failure) -> types::Failure {
    match failure {
        Failure::Unavailable => types::Failure::Unavailable,
        Failure::RevisionUnknown => types::Failure::RevisionUnknown,
        Failure::RecordInvalid(faults) => types::Failure::RecordInvalid(faults_out(faults)),
        Failure::RequestInvalid(faults) => types::Failure::RequestInvalid(faults_out(faults)),
    }
}

pub fn invalid_out(invalid: Invalid) -> types::Invalid {
    match invalid {
        Invalid::Malformed(message) => types::Invalid::Malformed(message),
        Invalid::Faults(faults) => types::Invalid::Faults(faults_out(faults)),
    }
}

fn faults_out(faults: Vec<Fault>) -> Vec<types::Fault> {
    faults
        .into_iter()
        .map(|fault| types::Fault {
            pointer: fault.pointer,
            message: fault.message,
        })
        .collect()
}

fn route_out(route: Route) -> wit::Route {
    wit::Route {
        provider: route.provider,
        provider_rule: rule_out(route.provider_rule),
        model: route.model,
        model_rule: rule_out(route.model_rule),
        temperature: route.temperature.map(|(value, rule)| wit::Temperature {
            value,
            rule: rule_out(rule),
        }),
        max_tokens: route.max_tokens.map(|(value, rule)| wit::MaxTokens {
            value,
            rule: rule_out(rule),
        }),
    }
}

fn egress_out(egress: Egress) -> wit::Egress {
    wit::Egress {
        requested: mode_out(egress.requested),
        effective: mode_out(egress.effective),
        rule: match egress.rule {
            EgressRule::Base => wit::EgressRule::Base,
            EgressRule::Tenant => wit::EgressRule::Tenant,
            EgressRule::User => wit::EgressRule::User,
            EgressRule::Caller => wit::EgressRule::Caller,
        },
    }
}

fn provenance_out(provenance: Provenance) -> types::Provenance {
    types::Provenance {
        revision: provenance.revision,
        tier: match provenance.tier {
            Tier::Near => types::Tier::Near,
            Tier::Far => types::Tier::Far,
            Tier::Origin => types::Tier::Origin,
        },
        stale: provenance.stale,
        age_ms: provenance.age_ms,
        position: provenance.position,
    }
}

fn refusal_code_out(code: RefusalCode) -> wit::RefusalCode {
    match code {
        RefusalCode::NoPolicy => wit::RefusalCode::NoPolicy,
        RefusalCode::RemoteEgressDisabled => wit::RefusalCode::RemoteEgressDisabled,
        RefusalCode::ModelNotAllowed => wit::RefusalCode::ModelNotAllowed,
    }
}

fn rule_out(rule: Rule) -> wit::Rule {
    match rule {
        Rule::Task => wit::Rule::Task,
        Rule::Tenant => wit::Rule::Tenant,
        Rule::Deployment => wit::Rule::Deployment,
        Rule::Caller => wit::Rule::Caller,
    }
}

fn mode_in(mode: WitMode) -> EgressMode {
    match mode {
        WitMode::Enforce => EgressMode::Enforce,
        WitMode::ReportOnly => EgressMode::ReportOnly,
        WitMode::Off => EgressMode::Off,
    }
}

fn mode_out(mode: EgressMode) -> WitMode {
    match mode {
        EgressMode::Enforce => WitMode::Enforce,
        EgressMode::ReportOnly => WitMode::ReportOnly,
        EgressMode::Off => WitMode::Off,
    }
}

fn tier_in(tier: types::Tier) -> Tier {
    match tier {
        types::Tier::Near => Tier::Near,
        types::Tier::Far => Tier::Far,
        types::Tier::Origin => Tier::Origin,
    }
}

pub fn effective_out(effective: Effective) -> config::Effective {
    config::Effective {
        config: effective.config,
        levels: effective.levels,
        provenance: provenance_out(effective.provenance),
    }
}

use super::*;
use crate::ports::{DeploymentDefault, fake};

fn candidate(task: &str, provider: &str, model: &str) -> Candidate {
    Candidate {
        task: task.into(),
        provider: provider.into(),
        model: model.into(),
        temperature: None,
        max_tokens: None,
    }
}

fn policy() -> Policy {
    let mut policy = Policy::new("openai".into(), "gpt".into());
    let mut first = candidate("chat", "anthropic", "claude");
    first.temperature = Some(0.5);
    policy.set_tasks(vec![
        first,
        candidate("chat", "local", "llama"),
        candidate("sum", "openai", "mini"),
    ]);
    policy
}

fn request(task: &str) -> Request {
    Request {
        task: Some(task.into()),
        ..Request::default()
    }
}

fn allowed(verdict: Verdict) -> Route {
    match verdict {
        Verdict::Allow(route) => route,
        Verdict::Refuse(refusal) => panic!("{refusal:?}"),
    }
}

fn refused(verdict: Verdict) -> Refusal {
    match verdict {
        Verdict::Refuse(refusal) => refusal,
        Verdict::Allow(route) => panic!("{route:?}"),
    }
}

fn names(verdict: Verdict) -> (String, Rule, String, Rule) {
    let route = allowed(verdict);
    (
        route.provider,
        route.provider_rule,
        route.model,
        route.model_rule,
    )
}

#[test]
fn without_a_policy_the_deployment_answers_or_nobody() {
    let mut settings = fake::settings();
    assert_eq!(
        refused(route(None, &request("chat"), &settings)).code,
        RefusalCode::NoPolicy
    );
    settings.deployment_default = Some(DeploymentDefault {
        provider: "d".into(),
        model: "m".into(),
    });
    let asked = Request {
        temperature: Some(1.0),
        max_tokens: Some(5),
        ..request("chat")
    };
    let answer = allowed(route(None, &asked, &settings));
    assert_eq!(
        (answer.provider_rule, answer.model_rule),
        (Rule::Deployment, Rule::Deployment)
    );
    assert_eq!(answer.temperature, Some((1.0, Rule::Caller)));
    assert_eq!(answer.max_tokens, Some((5, Rule::Caller)));
    let named = Request {
        model: Some("x".into()),
        ..Request::default()
    };
    assert_eq!(
        names(route(None, &named, &settings)),
        ("d".into(), Rule::Deployment, "x".into(), Rule::Caller)
    );
}

#[test]
fn the_first_candidate_wins_and_the_default_serves_other_tasks() {
    let settings = fake::settings();
    assert_eq!(
        names(route(Some(&policy()), &request("chat"), &settings)),
        ("anthropic".into(), Rule::Task, "claude".into(), Rule::Task)
    );
    for other in [request("other"), Request::default()] {
        assert_eq!(
            names(route(Some(&policy()), &other, &settings)),
            ("openai".into(), Rule::Tenant, "gpt".into(), Rule::Tenant)
        );
    }
}

#[test]
fn without_remote_egress_only_local_providers_are_left() {
    let mut settings = fake::settings();
    let mut policy = policy();
    policy.allow_remote_egress = false;
    assert_eq!(
        names(route(Some(&policy), &request("chat"), &settings)),
        ("local".into(), Rule::Task, "llama".into(), Rule::Task)
    );
    for task in ["sum", "other"] {
        let refusal = refused(route(Some(&policy), &request(task), &settings));
        assert_eq!(refusal.code, RefusalCode::RemoteEgressDisabled);
        assert!(
            refusal.message.contains(task) && refusal.message.contains("openai/gpt"),
            "{}",
            refusal.message
        );
    }
    // A caller's model never rescues a refusal.
    let named = Request {
        model: Some("llama".into()),
        ..request("sum")
    };
    assert_eq!(
        refused(route(Some(&policy), &named, &settings)).code,
        RefusalCode::RemoteEgressDisabled
    );
    settings.local_providers = vec!["openai".into()];
    assert_eq!(
        names(route(Some(&policy), &request("chat"), &settings)),
        ("openai".into(), Rule::Tenant, "gpt".into(), Rule::Tenant)
    );
}

#[test]
fn a_candidates_parameters_beat_the_callers() {
    let asked = Request {
        temperature: Some(1.5),
        max_tokens: Some(9),
        ..request("chat")
    };
    let answer = allowed(route(Some(&policy()), &asked, &fake::settings()));
    assert_eq!(answer.temperature, Some((0.5, Rule::Task)));
    assert_eq!(answer.max_tokens, Some((9, Rule::Caller)));
}

#[test]
fn the_resulting_name_must_be_allowed() {
    let settings = fake::settings();
    let mut policy = policy();
    policy.allowed_models = Some(vec!["anthropic/*".into(), "openai/gpt".into()]);
    assert_eq!(
        names(route(Some(&policy), &request("chat"), &settings)).2,
        "claude"
    );
    assert_eq!(
        names(route(Some(&policy), &Request::default(), &settings)).2,
        "gpt"
    );
    let named = Request {
        model: Some("gpt-5".into()),
        ..request("sum")
    };
    let refusal = refused(route(Some(&policy), &named, &settings));
    assert_eq!(refusal.code, RefusalCode::ModelNotAllowed);
    assert!(
        refusal.message.contains("openai/gpt-5") && refusal.message.contains("sum"),
        "{}",
        refusal.message
    );
    policy.allowed_models = Some(Vec::new());
    assert_eq!(
        refused(route(Some(&policy), &Request::default(), &settings)).code,
        RefusalCode::ModelNotAllowed
    );
}

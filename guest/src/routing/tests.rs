use super::*;
use crate::policy::Fields;
use crate::ports::{DeploymentDefault, fake};

fn candidate<'a>(task: &'a str, provider: &'a str, model: &'a str) -> Candidate<'a> {
    Candidate {
        task,
        provider,
        model,
        temperature: None,
        max_tokens: None,
    }
}

fn fields() -> Fields<'static> {
    Fields {
        tasks: vec![
            Candidate {
                temperature: Some(0.5),
                ..candidate("chat", "anthropic", "claude")
            },
            candidate("chat", "local", "llama"),
            candidate("sum", "openai", "mini"),
        ],
        ..Fields::new("openai", "gpt")
    }
}

fn policy() -> Policy {
    Policy::pack(fields())
}

fn allowing(globs: &[&'static str]) -> Policy {
    Policy::pack(Fields {
        allowed_models: Some(globs.to_vec()),
        ..fields()
    })
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
    let policy = Policy::pack(Fields {
        allow_remote_egress: false,
        ..fields()
    });
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
    let policy = allowing(&["anthropic/*", "openai/gpt"]);
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
    let policy = allowing(&[]);
    assert_eq!(
        refused(route(Some(&policy), &Request::default(), &settings)).code,
        RefusalCode::ModelNotAllowed
    );
}

#[test]
fn a_star_in_a_provider_or_before_its_slash_is_no_different() {
    let settings = fake::settings();
    let model = |provider, globs: &[&'static str]| {
        let fields = Fields::new(provider, "m/x");
        let policy = Policy::pack(Fields {
            allowed_models: Some(globs.to_vec()),
            ..fields
        });
        matches!(
            route(Some(&policy), &Request::default(), &settings),
            Verdict::Allow(_)
        )
    };
    for globs in [["a*/m/x"], ["*x"], ["a*b/m/x"], ["a*b/*"], ["*"]] {
        assert!(model("a*b", &globs), "{globs:?}");
    }
    for globs in [["a*b"], ["a*b/m"], ["a*b/x"], ["ab/*"]] {
        assert!(!model("a*b", &globs), "{globs:?}");
    }
    assert!(model("a", &["a/m/x"]) && model("a", &["a/m/*"]) && model("a/m", &["a/*/x"]));
    assert!(!model("a", &["a/x"]) && !model("a", &["a/"]) && !model("a", &["a"]));
}

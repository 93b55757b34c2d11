//! Cedar: may this user's task be served by this provider and model?
//!
//! Equal: the tenant's tasks, users and globs, the egress rules, one user, one task. In Cedar's
//! favour: it cannot choose, so it is told provider and model and only checks them; temperature,
//! maxTokens and the effective egress mode are no part of its answer; the tenant is the only one in
//! its entities, so nothing has to be found or proven current; requests are made beforehand. The
//! policies are the fewest that we found for the question (data in entities, three policies); one
//! policy for each task is slower.

use std::str::FromStr;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, RestrictedExpression,
};
use serde_json::{Value, json};

use crate::decision;

const POLICIES: &str = r#"
// The task's candidate, if a glob allows it.
permit (principal in Tenant::"acme", action == Action::"resolve", resource in Tenant::"acme")
when {
    context.provider == resource.provider &&
    (context.model == resource.model || context.override) &&
    (context.name like "openai/gpt-4*" ||
     context.name like "anthropic/claude-*" ||
     context.name like "local/*")
};

// No remote provider where egress is forbidden.
forbid (principal, action == Action::"resolve", resource)
unless { resource.tenant.allowRemoteEgress || resource.provider == "local" };

// Egress may be switched off by the call only with permission: the user's, else the tenant's.
forbid (principal, action == Action::"resolve", resource)
when {
    context.egressMode == "off" &&
    !(if principal has allowOffMode then principal.allowOffMode else resource.tenant.allowOffMode)
};
"#;

pub struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
    pub allowed: Request,
    pub refused: Request,
}

impl Cedar {
    pub fn new() -> anyhow::Result<Cedar> {
        let (provider, model) = decision::ALLOWED_ROUTE;
        Ok(Cedar {
            authorizer: Authorizer::new(),
            policies: PolicySet::from_str(POLICIES)?,
            entities: Entities::from_json_value(entities(), None)?,
            allowed: request(provider, model, false)?,
            refused: request(provider, "o1-preview", true)?,
        })
    }

    pub fn allows(&self, request: &Request) -> bool {
        let response = self
            .authorizer
            .is_authorized(request, &self.policies, &self.entities);
        response.decision() == Decision::Allow
    }
}

fn request(provider: &str, model: &str, replaced: bool) -> anyhow::Result<Request> {
    let asked = decision::allowed();
    let text = |value: &str| RestrictedExpression::new_string(value.to_owned());
    let context = Context::from_pairs([
        ("provider".to_owned(), text(provider)),
        ("model".to_owned(), text(model)),
        // Cedar has no concatenation: the caller makes the name that the globs are about.
        ("name".to_owned(), text(&format!("{provider}/{model}"))),
        (
            "override".to_owned(),
            RestrictedExpression::new_bool(replaced),
        ),
        ("egressMode".to_owned(), text("enforce")),
    ])?;
    Ok(Request::new(
        uid("User", asked.user.as_deref().unwrap_or_default())?,
        uid("Action", "resolve")?,
        uid("Task", asked.task.as_deref().unwrap_or_default())?,
        context,
        None,
    )?)
}

fn uid(kind: &str, id: &str) -> anyhow::Result<EntityUid> {
    Ok(EntityUid::from_json(json!({"type": kind, "id": id}))?)
}

fn entities() -> Value {
    let policy = decision::policy();
    let tenant = json!({"type": "Tenant", "id": decision::TENANT});
    let mut entities = vec![json!({
        "uid": tenant,
        "attrs": {
            "allowRemoteEgress": policy["allowRemoteEgress"],
            "allowOffMode": policy["allowOffMode"],
            "egressMode": policy["egressMode"],
        },
        "parents": [],
    })];
    for (user, attrs) in policy["userPolicies"].as_object().into_iter().flatten() {
        let uid = json!({"type": "User", "id": user});
        entities.push(json!({"uid": uid, "attrs": attrs, "parents": [tenant]}));
    }
    for task in 0..10 {
        let (name, provider, model) = decision::candidate(task);
        let attrs = json!({
            "provider": provider,
            "model": model,
            "tenant": {"__entity": tenant},
        });
        let uid = json!({"type": "Task", "id": name});
        entities.push(json!({"uid": uid, "attrs": attrs, "parents": [tenant]}));
    }
    entities.into()
}

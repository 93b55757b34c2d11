//! regorus: the same decision in Rego, by the interpreter's `eval_rule`.
//!
//! Equal: the record (the same JSON, as data under the tenant's name), the request, and the answer:
//! provider, model, temperature, maxTokens, requested and effective egress mode. In its favour:
//! data are there already, so nothing has to be proven current; the input is a finished value;
//! globs are compared as prefixes, since all of ours end in their only `*` (the `glob.match` of
//! Rego is slower); which level decided a field is not said.

use anyhow::Context as _;
use ordain::request::Request;
use regorus::{Engine, Value};
use serde_json::json;

use crate::decision;

const RULES: &str = r#"
package ordain

import rego.v1

policy := data.tenants[input.tenant]

candidates := [c | some c in policy.tasks; c.task == input.task]

local(provider) if provider in data.local_providers

local_candidates := [c | some c in candidates; local(c.provider)]

default_candidate := {"provider": policy.defaultProvider, "model": policy.defaultModel}

chosen := candidates[0] if {
    policy.allowRemoteEgress
    count(candidates) > 0
} else := default_candidate if {
    policy.allowRemoteEgress
} else := local_candidates[0] if {
    count(local_candidates) > 0
} else := default_candidate if {
    local(policy.defaultProvider)
}

model := object.get(input, "model", chosen.model)

name := concat("/", [chosen.provider, model])

permitted if not policy.allowedModels

permitted if {
    some glob in policy.allowedModels
    startswith(name, trim_suffix(glob, "*"))
}

user := object.get(policy.userPolicies, object.get(input, "user", ""), {})

tenant_may := object.get(policy, "allowOffMode", false)

user_may := object.get(user, "allowOffMode", tenant_may)

levels := [level |
    some level in [
        {"mode": object.get(policy, "egressMode", null), "may": tenant_may},
        {"mode": object.get(user, "egressMode", null), "may": user_may},
        {"mode": object.get(input, "egressMode", null), "may": user_may},
    ]
    level.mode != null
]

holding := [level.mode | some level in levels; effective(level)]

effective(level) if level.mode != "off"

effective(level) if level.may

last(list, otherwise) := list[count(list) - 1] if count(list) > 0

last(list, otherwise) := otherwise if count(list) == 0

egress := {
    "requested": last([level.mode | some level in levels], data.base_egress),
    "effective": last(holding, data.base_egress),
}

default decision := {"allow": false}

decision := {
    "allow": true,
    "provider": chosen.provider,
    "model": model,
    "temperature": object.get(chosen, "temperature", object.get(input, "temperature", null)),
    "maxTokens": object.get(chosen, "maxTokens", object.get(input, "maxTokens", null)),
    "egress": egress,
} if permitted
"#;

pub struct Regorus {
    engine: Engine,
}

impl Regorus {
    pub fn new() -> anyhow::Result<Regorus> {
        let mut engine = Engine::new();
        engine.add_policy("ordain.rego".to_owned(), RULES.to_owned())?;
        let data = json!({
            "tenants": {decision::TENANT: decision::policy()},
            "local_providers": ["local"],
            "base_egress": "enforce",
        });
        engine.add_data(Value::from_json_str(&data.to_string())?)?;
        Ok(Regorus { engine })
    }

    pub fn input(request: &Request) -> Value {
        let mut input = json!({"tenant": decision::TENANT});
        let members = [
            ("user", &request.user),
            ("task", &request.task),
            ("model", &request.model),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                input[name] = json!(value);
            }
        }
        input.into()
    }

    pub fn decide(&mut self, input: &Value) -> anyhow::Result<Value> {
        // The value is shared, not copied.
        self.engine.set_input(input.clone());
        self.engine.eval_rule("data.ordain.decision".to_owned())
    }

    /// The route, to see that it is the expected one.
    pub fn route(
        &mut self,
        request: &Request,
    ) -> anyhow::Result<Option<(&'static str, &'static str)>> {
        let answer = self.decide(&Regorus::input(request))?;
        let answer: serde_json::Value = serde_json::from_str(&answer.to_json_str()?)?;
        if answer["allow"] != json!(true) {
            return Ok(None);
        }
        let expected = decision::ALLOWED_ROUTE;
        let provider = answer["provider"].as_str().context("a provider")?;
        let model = answer["model"].as_str().context("a model")?;
        anyhow::ensure!((provider, model) == expected, "{answer}");
        anyhow::ensure!(answer["egress"]["effective"] == "report-only", "{answer}");
        Ok(Some(expected))
    }
}

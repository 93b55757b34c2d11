//! The JSON form of an answer (DESIGN 4.4), written straight to bytes: members that have no value
//! are absent, never null, save `provenance.revision`.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Answer, EgressRule, Provenance, Refusal, Route, Rule, Tier, Verdict};
use crate::request::EgressMode;

#[derive(serde::Serialize)]
struct EgressJson {
    requested: EgressMode,
    effective: EgressMode,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct RulesJson {
    provider: Rule,
    model: Rule,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<Rule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<Rule>,
    egress: EgressRule,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct ProvenanceJson<'a> {
    revision: Option<u64>,
    tier: Tier,
    stale: bool,
    age_ms: u32,
    component: &'a str,
    settings: &'a str,
}

impl Serialize for Provenance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ProvenanceJson {
            revision: self.revision,
            tier: self.tier,
            stale: self.stale,
            age_ms: self.age_ms,
            component: &self.component,
            settings: &self.settings,
        }
        .serialize(serializer)
    }
}

impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(2))?;
        object.serialize_entry("code", self.code)?;
        object.serialize_entry("message", &self.message)?;
        object.end()
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        match &self.verdict {
            Verdict::Allow(_) => object.serialize_entry("allow", &true)?,
            Verdict::Refuse(refusal) => {
                object.serialize_entry("allow", &false)?;
                object.serialize_entry("refusal", refusal)?;
            }
        }
        object.serialize_entry("tenant", self.tenant.as_str())?;
        if let Some(user) = &self.user {
            object.serialize_entry("user", user)?;
        }
        if let Some(task) = &self.task {
            object.serialize_entry("task", task)?;
        }
        if let Verdict::Allow(route) = &self.verdict {
            self.write_route(route, &mut object)?;
        } else {
            object.serialize_entry("egress", &self.egress_json())?;
        }
        object.serialize_entry("provenance", &self.provenance)?;
        object.end()
    }
}

impl Answer {
    fn egress_json(&self) -> EgressJson {
        EgressJson {
            requested: self.egress.requested,
            effective: self.egress.effective,
        }
    }

    fn write_route<M: SerializeMap>(&self, route: &Route, object: &mut M) -> Result<(), M::Error> {
        object.serialize_entry("provider", &route.provider)?;
        object.serialize_entry("model", &route.model)?;
        if let Some((temperature, _)) = &route.temperature {
            object.serialize_entry("temperature", temperature)?;
        }
        if let Some((max_tokens, _)) = &route.max_tokens {
            object.serialize_entry("maxTokens", max_tokens)?;
        }
        object.serialize_entry("egress", &self.egress_json())?;
        let rules = RulesJson {
            provider: route.provider_rule,
            model: route.model_rule,
            temperature: route.temperature.map(|(_, rule)| rule),
            max_tokens: route.max_tokens.map(|(_, rule)| rule),
            egress: self.egress.rule,
        };
        object.serialize_entry("rules", &rules)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Egress;
    use super::*;
    use ordain_store::ids::Tenant;

    fn answer(verdict: Verdict, revision: Option<u64>) -> Answer {
        Answer {
            tenant: Tenant::new("a/\"b").expect("an id"),
            user: None,
            task: Some("chat".into()),
            verdict,
            egress: Egress {
                requested: EgressMode::Off,
                effective: EgressMode::ReportOnly,
                rule: EgressRule::Tenant,
            },
            provenance: Provenance {
                revision,
                tier: Tier::Near,
                stale: false,
                age_ms: 12,
                position: 99,
                component: "sha256:ab".into(),
                settings: "0a1b2c3d".into(),
            },
        }
    }

    #[test]
    fn a_decision_has_the_members_of_the_design_and_no_others() {
        let route = Route {
            provider: "local".into(),
            provider_rule: Rule::Task,
            model: "m".into(),
            model_rule: Rule::Caller,
            temperature: Some((0.7, Rule::Task)),
            max_tokens: None,
        };
        assert_eq!(
            serde_json::to_string(&answer(Verdict::Allow(route), Some(7))).expect("JSON"),
            concat!(
                r#"{"allow":true,"tenant":"a/\"b","task":"chat","provider":"local","model":"m","#,
                r#""temperature":0.7,"egress":{"requested":"off","effective":"report-only"},"#,
                r#""rules":{"provider":"task","model":"caller","temperature":"task","egress":"tenant"},"#,
                r#""provenance":{"revision":7,"tier":"near","stale":false,"ageMs":12,"#,
                r#""component":"sha256:ab","settings":"0a1b2c3d"}}"#
            )
        );
    }

    #[test]
    fn a_refusal_has_no_route_and_its_revision_is_null_without_a_policy() {
        let refusal = Refusal {
            code: "no-policy",
            message: "none".into(),
        };
        assert_eq!(
            serde_json::to_string(&answer(Verdict::Refuse(refusal), None)).expect("JSON"),
            concat!(
                r#"{"allow":false,"refusal":{"code":"no-policy","message":"none"},"tenant":"a/\"b","#,
                r#""task":"chat","egress":{"requested":"off","effective":"report-only"},"#,
                r#""provenance":{"revision":null,"tier":"near","stale":false,"ageMs":12,"#,
                r#""component":"sha256:ab","settings":"0a1b2c3d"}}"#
            )
        );
    }
}

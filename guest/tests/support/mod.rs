//! Random records and requests from few ids, so that they meet, and a host that holds one record.

use guest::ports::{
    DeploymentDefault, LookedUp, Ports, Present, Settings, Severity, State, Subject, View,
};
use guest::words::{Decision, EgressMode, EgressRule, RefusalCode, Request, Rule, Tier, Verdict};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::oracle::Deployment;

const IDS: &[&str] = &[
    "chat",
    "a:b",
    "a/b",
    "/",
    "100%",
    "%2F",
    " ",
    "two words",
    "日本語",
    "ä",
    "a\u{308}",
    "𝄞",
    "default",
    "global",
    "*",
    "local",
    "lo",
    "~0",
    "null",
    "\"",
    "\\",
    "...",
    "\u{a0}",
    "\u{2028}",
];
const MODES: &[&str] = &["enforce", "report-only", "off"];

pub fn id() -> impl Strategy<Value = String> {
    prop_oneof![8 => select(IDS).prop_map(str::to_owned), 1 => "[a-c/*]{1,6}", 1 => "\\PC{3,256}"]
}

fn mode() -> impl Strategy<Value = Value> {
    select(MODES).prop_map(Value::from)
}

fn temperature() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(0)),
        Just(json!(2)),
        Just(json!(-0.0)),
        (0.0..=2.0).prop_map(|t: f64| json!(t))
    ]
}

fn max_tokens() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(1)),
        Just(json!(9007199254740991u64)),
        (1u64..100_000).prop_map(|n| json!(n))
    ]
}

fn glob() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("*".to_owned()),
        (id(), id()).prop_map(|(provider, model)| format!("{provider}/{model}")),
        id().prop_map(|provider| format!("{provider}/*")),
        id().prop_map(|model| format!("*{model}")),
        "[a-c/*]{1,8}",
    ]
}

/// An object of the members that are there.
fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    Value::Object(
        members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect(),
    )
}

fn task() -> impl Strategy<Value = Value> {
    (
        id(),
        id(),
        id(),
        option::of(temperature()),
        option::of(max_tokens()),
    )
        .prop_map(|(task, provider, model, temperature, max_tokens)| {
            object([
                ("task", Some(json!(task))),
                ("provider", Some(json!(provider))),
                ("model", Some(json!(model))),
                ("temperature", temperature),
                ("maxTokens", max_tokens),
            ])
        })
}

fn user() -> impl Strategy<Value = Value> {
    (option::of(mode()), option::of(any::<bool>())).prop_map(|(egress_mode, may)| {
        object([
            ("egressMode", egress_mode),
            ("allowOffMode", may.map(Value::from)),
        ])
    })
}

pub fn record() -> impl Strategy<Value = Value> {
    let tasks = option::of(vec(task(), 0..12));
    let users = option::of(btree_map(id(), user(), 0..10));
    let globs = option::weighted(0.4, prop_oneof![vec(glob(), 0..5), vec(glob(), 5..40)]);
    let flags = (
        option::of(any::<bool>()),
        option::of(mode()),
        option::of(any::<bool>()),
    );
    (id(), id(), flags, tasks, users, globs).prop_map(
        |(provider, model, (remote, egress_mode, may), tasks, users, globs)| {
            object([
                ("defaultProvider", Some(json!(provider))),
                ("defaultModel", Some(json!(model))),
                ("allowRemoteEgress", remote.map(Value::from)),
                ("egressMode", egress_mode),
                ("allowOffMode", may.map(Value::from)),
                ("tasks", tasks.map(Value::from)),
                (
                    "userPolicies",
                    users.map(|users| Value::Object(Map::from_iter(users))),
                ),
                ("allowedModels", globs.map(Value::from)),
            ])
        },
    )
}

pub fn request() -> impl Strategy<Value = Value> {
    let ids = (
        option::of(id()),
        option::of(id()),
        option::weighted(0.3, id()),
    );
    (
        ids,
        option::of(temperature()),
        option::of(max_tokens()),
        option::of(mode()),
    )
        .prop_map(
            |((user, task, model), temperature, max_tokens, egress_mode)| {
                object([
                    ("user", user.map(Value::from)),
                    ("task", task.map(Value::from)),
                    ("model", model.map(Value::from)),
                    ("temperature", temperature),
                    ("maxTokens", max_tokens),
                    ("egressMode", egress_mode),
                ])
            },
        )
}

pub fn deployment() -> impl Strategy<Value = Deployment> {
    (select(MODES), vec(id(), 0..6), option::of((id(), id()))).prop_map(|(base, local, default)| {
        Deployment {
            base,
            local,
            default,
        }
    })
}

/// A host with one record in near, and nothing else.
pub struct OneRecord<'a> {
    pub text: Option<&'a str>,
    pub deployment: &'a Deployment,
    pub derived: Vec<u8>,
}

impl Ports for OneRecord<'_> {
    fn settings(&mut self) -> Settings {
        Settings {
            base_egress: mode_of(self.deployment.base),
            local_providers: self.deployment.local.clone(),
            deployment_default: self
                .deployment
                .default
                .clone()
                .map(|(provider, model)| DeploymentDefault { provider, model }),
            bound_ms: 1000,
            stale_limit_ms: 900_000,
            min_revision_wait_ms: 100,
            far_ttl_ms: 1000,
        }
    }
    fn near(&mut self, _: &[Subject<'_>]) -> LookedUp {
        LookedUp::View(View {
            position: 5,
            age_ms: 1,
            tier: Tier::Near,
        })
    }
    fn entry(&mut self, _: u32) -> State {
        self.text.map_or(State::Absent, |_| {
            State::Present(Present {
                fill: 1,
                revision: 4,
            })
        })
    }
    fn text(&mut self, _: u32) -> String {
        self.text.expect("a record").to_owned()
    }
    fn derived(&mut self, _: u32) -> Vec<u8> {
        self.derived.clone()
    }
    fn attach(&mut self, _: u32, bytes: &[u8]) {
        self.derived = bytes.to_vec();
    }
    fn log(&mut self, _: Severity, message: &str) {
        panic!("nothing is worth a message: {message}");
    }
    fn remaining_ms(&mut self) -> u32 {
        panic!("a near hit needs no clock")
    }
    fn far(&mut self, _: &[Subject<'_>]) -> LookedUp {
        panic!("a near hit needs no far")
    }
    fn origin(&mut self, _: &[Subject<'_>], _: u64) -> LookedUp {
        panic!("a near hit needs no origin")
    }
    fn catch_up(&mut self, _: u64, _: u32) -> LookedUp {
        panic!("a near hit needs no feed")
    }
    fn keep(&mut self, _: u32, _: u32) -> u64 {
        panic!("a near hit is kept already")
    }
}

fn mode_of(name: &str) -> EgressMode {
    match name {
        "enforce" => EgressMode::Enforce,
        "report-only" => EgressMode::ReportOnly,
        "off" => EgressMode::Off,
        other => panic!("{other} is no mode"),
    }
}

pub fn request_of(json: &Value) -> Request {
    let text = |name: &str| {
        json.get(name)
            .map(|value| value.as_str().expect("text").to_owned())
    };
    Request {
        user: text("user"),
        task: text("task"),
        model: text("model"),
        temperature: json.get("temperature").and_then(Value::as_f64),
        max_tokens: json.get("maxTokens").and_then(Value::as_u64),
        egress_mode: text("egressMode").map(|name| mode_of(&name)),
        min_revision: 0,
    }
}

/// A decision in the words of the oracle.
pub fn decision_json(decision: &Decision) -> Value {
    let mode = |mode| match mode {
        EgressMode::Enforce => "enforce",
        EgressMode::ReportOnly => "report-only",
        EgressMode::Off => "off",
    };
    let rule = |rule| match rule {
        Rule::Task => "task",
        Rule::Tenant => "tenant",
        Rule::Deployment => "deployment",
        Rule::Caller => "caller",
    };
    let mut json = match &decision.verdict {
        Verdict::Refuse(refusal) => json!({ "allow": false, "code": match refusal.code {
            RefusalCode::NoPolicy => "no-policy",
            RefusalCode::RemoteEgressDisabled => "remote-egress-disabled",
            RefusalCode::ModelNotAllowed => "model-not-allowed",
        }}),
        Verdict::Allow(route) => {
            let rules =
                json!({ "provider": rule(route.provider_rule), "model": rule(route.model_rule) });
            let mut json = json!({ "allow": true, "provider": route.provider, "model": route.model, "rules": rules });
            if let Some((value, of)) = route.temperature {
                json["temperature"] = value.into();
                json["rules"]["temperature"] = rule(of).into();
            }
            if let Some((value, of)) = route.max_tokens {
                json["maxTokens"] = value.into();
                json["rules"]["maxTokens"] = rule(of).into();
            }
            json
        }
    };
    let level = match decision.egress.rule {
        EgressRule::Base => "base",
        EgressRule::Tenant => "tenant",
        EgressRule::User => "user",
        EgressRule::Caller => "caller",
    };
    let (requested, effective) = (
        mode(decision.egress.requested),
        mode(decision.egress.effective),
    );
    json["egress"] = json!({ "requested": requested, "effective": effective, "rule": level });
    json
}

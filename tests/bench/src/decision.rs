//! The decision that everybody makes: one tenant with ten tasks, four users and three globs, asked
//! which provider and model may serve a user's task.

use ordain::request::Request;
use ordain_store::ids::Tenant;
use serde_json::{Value, json};

pub const TENANT: &str = "acme";
pub const GLOBS: [&str; 3] = ["openai/gpt-4*", "anthropic/claude-*", "local/*"];

/// What a task's candidate looks like: every second one has parameters of its own.
pub fn candidate(task: usize) -> (String, &'static str, String) {
    let (provider, model) = match task % 3 {
        0 => ("openai", format!("gpt-4o-{task}")),
        1 => ("anthropic", format!("claude-{task}-sonnet")),
        _ => ("local", format!("llama-{task}-70b")),
    };
    (format!("task-{task}"), provider, model)
}

pub fn policy() -> Value {
    let tasks: Vec<Value> = (0..10)
        .map(|task| {
            let (name, provider, model) = candidate(task);
            let mut entry = json!({"task": name, "provider": provider, "model": model});
            if task % 2 == 1 {
                entry["temperature"] = json!(0.5);
                entry["maxTokens"] = json!(2000);
            }
            entry
        })
        .collect();
    json!({
        "defaultProvider": "openai",
        "defaultModel": "gpt-4o",
        "allowRemoteEgress": true,
        "egressMode": "enforce",
        "allowOffMode": false,
        "tasks": tasks,
        "userPolicies": {
            "ada": {"egressMode": "report-only"},
            "bob": {"allowOffMode": true},
            "cyd": {"egressMode": "off", "allowOffMode": true},
            "dan": {}
        },
        "allowedModels": GLOBS,
    })
}

pub fn tenant() -> Tenant {
    Tenant::new(TENANT).expect("a valid id")
}

/// The measured request: the ninth task, so that whoever searches has to search.
pub fn allowed() -> Request {
    Request {
        user: Some("ada".into()),
        task: Some("task-9".into()),
        ..Request::default()
    }
}

/// What `allowed` must be answered with.
pub const ALLOWED_ROUTE: (&str, &str) = ("openai", "gpt-4o-9");

/// Asked once, to see that everybody refuses what must be refused: a model that no glob allows.
pub fn refused() -> Request {
    Request {
        model: Some("o1-preview".into()),
        ..allowed()
    }
}

/// As large as a record may be, with as many globs, none of which allows what is asked.
pub fn largest() -> Value {
    let glob = |n: usize| format!("openai/{}{n:04}*", "model-".repeat(32));
    let globs: Vec<String> = (0..1000).map(glob).collect();
    let mut policy = policy();
    policy["allowedModels"] = json!(globs);
    let user = |n: usize| (format!("user-{n}"), json!({"allowOffMode": true}));
    policy["userPolicies"] = (0..1000)
        .map(user)
        .collect::<serde_json::Map<_, _>>()
        .into();
    policy
}

//! Configs in tests: paths, calls, and DESIGN 4.5 as we read it ourselves.

use ordain_tests::app::App;
use ordain_tests::http::{Client, Reply, segment};
use serde_json::{Map, Value, json};

/// Whose level: everybody's, a tenant's, a user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level<'a> {
    Global,
    Tenant(&'a str),
    User(&'a str, &'a str),
}

impl Level<'_> {
    pub fn path(&self) -> String {
        match self {
            Level::Global => "/v1/config".to_owned(),
            Level::Tenant(tenant) => format!("/v1/tenants/{}/config/own", segment(tenant)),
            Level::User(tenant, user) => {
                let (tenant, user) = (segment(tenant), segment(user));
                format!("/v1/tenants/{tenant}/users/{user}/config")
            }
        }
    }
}

pub async fn patch(app: &Client, level: Level<'_>, patch: &Value) -> Reply {
    app.call("PATCH", &level.path()).json(patch).send().await
}

/// Writes and returns the revision.
pub async fn set(app: &Client, level: Level<'_>, fields: &Value) -> u64 {
    patch(app, level, fields).await.expect(200).revision()
}

/// What holds, at `min_revision` or later.
pub async fn effective(app: &Client, tenant: &str, user: Option<&str>, min_revision: u64) -> Reply {
    let user = user.map_or(String::new(), |user| format!("?user={}", segment(user)));
    let path = format!("/v1/tenants/{}/config{user}", segment(tenant));
    let call = app.call("GET", &path);
    call.header("ordain-min-revision", &min_revision.to_string())
        .send()
        .await
}

/// The answer without provenance, for levels from the weakest to the strongest: user, else tenant,
/// else global, else the default.
pub fn oracle(levels: &[(&str, &Map<String, Value>)]) -> Value {
    let defaults = json!({
        "mergeCompressionStrategy": "moderate", "mergeMaxMessages": 100, "mergePreservePinned": true,
        "pathCompressionStrategy": "sliding_window", "pathMaxMessages": 200,
        "pathSlidingWindowSize": 50, "pathCompressionThreshold": 0.85, "autoCompactEnabled": true,
        "compactionIntervalMinutes": 60,
    });
    let (mut config, mut by) = (defaults.clone(), defaults);
    for level in by.as_object_mut().expect("an object").values_mut() {
        *level = json!("default");
    }
    for (name, fields) in levels {
        for (field, value) in *fields {
            config[field] = value.clone();
            by[field] = json!(name);
        }
    }
    json!({"config": config, "levels": by})
}

/// Asks until near answers.
pub async fn warm(app: &App, tenant: &str, user: Option<&str>) {
    let ask = || async {
        let reply = effective(app, tenant, user, 0).await;
        match reply.tier() {
            "near" => Ok(()),
            _ => Err(reply),
        }
    };
    ordain_tests::wait::eventually("near", ordain_tests::wait::PATIENCE, ask).await;
}

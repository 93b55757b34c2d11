//! `GET` and `PATCH /v1/caches`: the switches of the caches, why each cache is on or off, what they
//! hold and how often they answered. Not for what the switches do (`caches` of
//! `ordain_coherence`).

use std::collections::BTreeMap;

use axum::http::Method;
use axum::response::Response;
use serde::Serialize;

use crate::access::Need;
use crate::http::answer::json;
use crate::http::app::App;
use crate::http::contract::{Answer, Body, Parameter, Place};
use crate::http::deadline::bound_write;
use crate::http::object::members;
use crate::http::parameters::{MIN_REVISION, REASON, REASON_HEADER};
use crate::http::problem::Problem;
use crate::http::route::{Call, Handler, Route};
use crate::http::state::Readiness;
use crate::http::{headers, input};
use ordain::request::{Faults, fault, pointer};
use ordain_coherence::caches::{Setting, SettingReport, Source, Value};

/// Largest body of a PATCH.
const BODY_LIMIT: usize = 16 << 10;

const LOCAL: Parameter = Parameter {
    key: "local",
    name: "local",
    place: Place::Query,
    description: "Of this instance alone, until it ends",
    schema: r#"{"type": "boolean", "default": false}"#,
    example: "true",
};

pub const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/v1/caches",
        need: Need::Everything,
        handler: Handler::Of(|app, call| Box::pin(get(app, call))),
        name: "getCaches",
        summary: "Caches, settings and the state of everything this instance leans on",
        parameters: &[MIN_REVISION],
        body: None,
        answers: &[Answer::json(200, "The state", "Caches")],
    },
    Route {
        method: Method::PATCH,
        path: "/v1/caches",
        need: Need::Everything,
        handler: Handler::Of(|app, call| Box::pin(patch(app, call))),
        name: "patchCaches",
        summary: "Changes settings of the fleet, or of this instance",
        parameters: &[LOCAL, REASON, REASON_HEADER],
        body: Some(Body::json("Settings")),
        answers: &[Answer::json(
            200,
            "The revision, or nothing if all was so already; the state after a local change",
            "SettingsChange",
        )],
    },
];

#[derive(Serialize)]
struct Report<'a> {
    settings: BTreeMap<&'static str, SettingView>,
    caches: Vec<CacheView>,
    #[serde(flatten)]
    state: Readiness<'a>,
}

/// One setting: what holds, who said so, and what everybody said.
#[derive(Serialize)]
struct SettingView {
    value: ValueView,
    /// `configuration`, `fleet` or `local`.
    from: &'static str,
    configuration: ValueView,
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<ValueView>,
    /// Of the fleet's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<ValueView>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ValueView {
    Switch(bool),
    Time(String),
}

#[derive(Serialize)]
struct CacheView {
    kind: String,
    tier: &'static str,
    on: bool,
    /// Why it is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Requests that it answered, stale ones included.
    hits: u64,
    /// Requests that came to it and had to go on.
    misses: u64,
}

impl From<Value> for ValueView {
    fn from(value: Value) -> ValueView {
        match value {
            Value::Switch(on) => ValueView::Switch(on),
            Value::Time(_) => ValueView::Time(value.to_string()),
        }
    }
}

impl From<&SettingReport> for SettingView {
    fn from(report: &SettingReport) -> SettingView {
        SettingView {
            value: report.value.into(),
            from: match report.source {
                Source::Configuration => "configuration",
                Source::Fleet(_) => "fleet",
                Source::Local => "local",
            },
            configuration: report.configured.into(),
            fleet: report.fleet.map(|(value, _)| value.into()),
            revision: report.fleet.map(|(_, revision)| revision),
            local: report.local.map(Into::into),
        }
    }
}

async fn get(app: App, call: Call) -> Result<Response, Problem> {
    call.query()?;
    app.await_demanded(&call.parts.headers).await?;
    report(&app)
}

async fn patch(app: App, call: Call) -> Result<Response, Problem> {
    let query = call.query()?;
    let Call { parts, body, .. } = call;
    let local = query.flag("local")?;
    headers::expect_json(&parts.headers)?;
    let by = headers::attribution(&parts, &query)?;
    let body = input::json(&parts, body, BODY_LIMIT).await?;
    let changes = parse(&body, &app)?;
    if local {
        let outcome = app.ordain.override_settings(&changes);
        outcome.map_err(|error| Problem::request(vec![fault("", error.to_string())]))?;
        return report(&app);
    }
    let write = async { Ok(app.ordain.set_settings(&changes, &by).await?) };
    let revision = bound_write(app.deadline, write).await?;
    match revision {
        Some(revision) => json(&serde_json::json!({"revision": revision}), revision),
        // Nothing was asked for that is not so already.
        None => json(&serde_json::json!({}), app.watermark()),
    }
}

fn report(app: &App) -> Result<Response, Problem> {
    // Before what it vouches for.
    let watermark = app.watermark();
    let mut status = app.ordain.status();
    status.tasks.extend(app.access.tasks());
    let caches = app.ordain.caches().caches().into_iter().map(|cache| {
        let on = cache.off.is_none();
        let counts = app.ordain.counts(cache.kind);
        let near = counts.of(&["near", "near-stale"]);
        let far = counts.of(&["far", "far-stale"]);
        let origin = counts.of(&["origin", "unavailable"]);
        let (hits, misses) = match cache.tier {
            "near" => (near, far + origin),
            _ => (far, origin),
        };
        CacheView {
            kind: cache.kind.to_string(),
            tier: cache.tier,
            on,
            reason: cache.off,
            hits,
            misses: if on { misses } else { 0 },
        }
    });
    let settings = app.ordain.caches().settings();
    let report = Report {
        settings: settings
            .iter()
            .map(|report| (report.setting.member(), report.into()))
            .collect(),
        caches: caches.collect(),
        state: Readiness::of(&status, app.access.keys()),
    };
    json(&report, watermark)
}

/// A merge patch of settings: every fault with its pointer, or all changes.
fn parse(body: &str, app: &App) -> Result<Vec<(Setting, Option<Value>)>, Problem> {
    let mut changes: Vec<(Setting, Option<Value>)> = Vec::new();
    let mut faults = Faults::default();
    for (name, value) in members(body)? {
        let Some(setting) = Setting::of_member(&name) else {
            let known = Setting::ALL.map(Setting::member).join(", ");
            let message = format!("unknown setting; known are {known}");
            faults.add(|| (pointer(&name), message));
            continue;
        };
        if changes.iter().any(|(earlier, _)| *earlier == setting) {
            faults.add(|| (pointer(&name), "the field appears more than once"));
            continue;
        }
        match read(setting, value.get()).and_then(|value| {
            let checked = value.map_or(Ok(()), |value| app.ordain.caches().check(setting, value));
            checked.map(|()| value).map_err(|error| error.to_string())
        }) {
            Ok(value) => changes.push((setting, value)),
            Err(message) => faults.add(|| (pointer(&name), message)),
        }
    }
    if faults.is_empty() {
        Ok(changes)
    } else {
        Err(Problem::request(faults.into_list()))
    }
}

fn read(setting: Setting, value: &str) -> Result<Option<Value>, String> {
    match serde_json::from_str(value) {
        Ok(serde_json::Value::Null) => Ok(None),
        Ok(serde_json::Value::Bool(on)) if setting.is_switch() => Ok(Some(Value::Switch(on))),
        Ok(serde_json::Value::String(text)) => setting
            .parse(&text)
            .map(Some)
            .map_err(|error| error.to_string()),
        _ if setting.is_switch() => Err("must be true, false or null".to_owned()),
        _ => Err("must be a duration like \"1s\", or null".to_owned()),
    }
}

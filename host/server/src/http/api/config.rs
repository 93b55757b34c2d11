//! `/v1/tenants/{tenant}/config` (what holds) and the levels that it is merged from: `/v1/config`,
//! `/v1/tenants/{tenant}/config/own` and `/v1/tenants/{tenant}/users/{user}/config`. Merging and
//! patching are the guest's, conditions are the origin's; this file only translates.

use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::access::Need;
use crate::http::answer::{json, with_position};
use crate::http::app::App;
use crate::http::conditions::{already_known, condition, settle};
use crate::http::contract::{Answer, Body, NOT_MODIFIED, Parameter, Place};
use crate::http::deadline::{bound, bound_write};
use crate::http::history::{answer_page, embedded};
use crate::http::page::Part;
use crate::http::parameters::{KNOWN, MIN_REVISION, PAGE, WRITE};
use crate::http::problem::Problem;
use crate::http::route::{Call, Handler, Route};
use crate::http::{headers, input, names};
use ordain::door::{Patched, PutError};
use ordain_store::WriteError;
use ordain_store::ids::{Key, Level, User};

/// Largest patch.
const PATCH_LIMIT: usize = 16 << 10;

const GLOBAL: &str = "/v1/config";
const OWN: &str = "/v1/tenants/{tenant}/config/own";
const OF_USER: &str = "/v1/tenants/{tenant}/users/{user}/config";
const USER: Parameter = Parameter {
    key: "ofUser",
    name: "user",
    place: Place::Query,
    description: "Of this user",
    schema: r##"{"$ref": "#/components/schemas/Id"}"##,
    example: r#""ann@example""#,
};

pub const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/v1/tenants/{tenant}/config",
        need: Need::Read,
        handler: Handler::Of(|app, call| Box::pin(get_effective(app, call))),
        name: "effectiveConfig",
        summary: "What holds for the tenant or one of its users",
        parameters: &[USER, MIN_REVISION],
        body: None,
        answers: &[Answer::json(200, "What holds", "EffectiveConfig")],
    },
    read_level(
        GLOBAL,
        Need::Everything,
        "getGlobalConfig",
        "What is set for everybody",
    ),
    patch_level(
        GLOBAL,
        Need::Everything,
        "patchGlobalConfig",
        "Changes what is set for everybody",
    ),
    delete_level(
        GLOBAL,
        Need::Everything,
        "deleteGlobalConfig",
        "Clears what is set for everybody",
    ),
    list_changes(
        "/v1/config/history",
        Need::Everything,
        "globalConfigHistory",
        "Changes of what is set for everybody, newest first",
    ),
    read_level(
        OWN,
        Need::Read,
        "getTenantConfig",
        "What is set for the tenant",
    ),
    patch_level(
        OWN,
        Need::Write,
        "patchTenantConfig",
        "Changes what is set for the tenant",
    ),
    delete_level(
        OWN,
        Need::Write,
        "deleteTenantConfig",
        "Clears what is set for the tenant",
    ),
    list_changes(
        "/v1/tenants/{tenant}/config/own/history",
        Need::Read,
        "tenantConfigHistory",
        "Changes of what is set for the tenant, newest first",
    ),
    read_level(
        OF_USER,
        Need::Read,
        "getUserConfig",
        "What is set for the user",
    ),
    patch_level(
        OF_USER,
        Need::Write,
        "patchUserConfig",
        "Changes what is set for the user",
    ),
    delete_level(
        OF_USER,
        Need::Write,
        "deleteUserConfig",
        "Clears what is set for the user",
    ),
    list_changes(
        "/v1/tenants/{tenant}/users/{user}/config/history",
        Need::Read,
        "userConfigHistory",
        "Changes of what is set for the user, newest first",
    ),
];

// The calls of a level, at the path of each.

const fn read_level(
    path: &'static str,
    need: Need,
    name: &'static str,
    summary: &'static str,
) -> Route {
    Route {
        method: Method::GET,
        path,
        need,
        handler: Handler::Of(|app, call| Box::pin(get(app, call))),
        name,
        summary,
        parameters: &[KNOWN, MIN_REVISION],
        body: None,
        answers: const {
            &[
                Answer::json(200, "The level", "Level").tagged(),
                NOT_MODIFIED,
            ]
        },
    }
}

const fn patch_level(
    path: &'static str,
    need: Need,
    name: &'static str,
    summary: &'static str,
) -> Route {
    Route {
        method: Method::PATCH,
        path,
        need,
        handler: Handler::Of(|app, call| Box::pin(patch(app, call))),
        name,
        summary,
        parameters: WRITE,
        body: Some(Body::of(
            &["application/merge-patch+json", "application/json"],
            "ConfigPatch",
        )),
        answers: const { &[Answer::json(200, "Done", "MaybeWritten").tagged()] },
    }
}

const fn delete_level(
    path: &'static str,
    need: Need,
    name: &'static str,
    summary: &'static str,
) -> Route {
    Route {
        method: Method::DELETE,
        path,
        need,
        handler: Handler::Of(|app, call| Box::pin(delete(app, call))),
        name,
        summary,
        parameters: WRITE,
        body: None,
        answers: const { &[Answer::json(200, "Done", "Written")] },
    }
}

const fn list_changes(
    path: &'static str,
    need: Need,
    name: &'static str,
    summary: &'static str,
) -> Route {
    Route {
        method: Method::GET,
        path,
        need,
        handler: Handler::Of(|app, call| Box::pin(history(app, call))),
        name,
        summary,
        parameters: PAGE,
        body: None,
        answers: const { &[Answer::json(200, "A page", "Changes")] },
    }
}

/// What holds for the tenant, or with `?user=` for a user.
async fn get_effective(app: App, call: Call) -> Result<Response, Problem> {
    let tenant = call.tenant()?;
    let user = call.query()?.get("user").map(User::new).transpose()?;
    let min_revision = headers::min_revision(&call.parts.headers)?;
    let effective = app
        .ordain
        .effective_config(&tenant, user.as_ref(), min_revision)
        .await?;
    json(&effective, effective.provenance.position)
}

#[derive(Serialize)]
struct OneLevel<'a> {
    config: &'a RawValue,
    revision: u64,
}

/// One level as it is stored.
async fn get(app: App, call: Call) -> Result<Response, Problem> {
    let level = call.level()?;
    call.query()?;
    let headers = call.parts.headers;
    let min_revision = headers::min_revision(&headers)?;
    let stored = bound(app.deadline, app.ordain.config(&level, min_revision)).await??;
    let Some(record) = stored.record else {
        let position = Some(stored.position);
        return Err(Problem {
            position,
            ..absent(&level)
        });
    };
    let known = headers.contains_key(IF_NONE_MATCH) && already_known(&headers, record.revision)?;
    let mut response = if known {
        with_position(StatusCode::NOT_MODIFIED.into_response(), stored.position)
    } else {
        let config = embedded(record.body.to_string()).ok_or_else(Problem::internal)?;
        let level = OneLevel {
            config: &config,
            revision: record.revision,
        };
        json(&level, stored.position)?
    };
    response
        .headers_mut()
        .insert(ETAG, names::etag(record.revision));
    Ok(response)
}

/// A JSON Merge Patch (RFC 7396) of one level: null clears a field.
async fn patch(app: App, call: Call) -> Result<Response, Problem> {
    let level = call.level()?;
    let query = call.query()?;
    let Call { parts, body, .. } = call;
    headers::expect_merge_patch(&parts.headers)?;
    let by = headers::attribution(&parts, &query)?;
    let condition = condition(&parts.headers)?;
    let patch = input::json(&parts, body, PATCH_LIMIT).await?;
    let (deadline, watermark) = (app.deadline, app.watermark());
    let ordain = app.front_door(&parts.extensions)?;
    let patched = bound_write(deadline, async move {
        let precondition = settle(condition, app.ordain.config(&level, 0)).await?;
        let patched = ordain.patch_config(&level, &patch, precondition, &by);
        patched.await.map_err(|error| match error {
            PutError::Write(error) => unwritten(&level, error),
            error => error.into(),
        })
    })
    .await?;
    match patched {
        Patched::Written(written) => write_revision(Some(written.revision), written.revision),
        Patched::Unchanged(current) => write_revision(current, current.unwrap_or(0).max(watermark)),
    }
}

/// The fields of one level become what weaker levels say.
async fn delete(app: App, call: Call) -> Result<Response, Problem> {
    let level = call.level()?;
    let query = call.query()?;
    let parts = call.parts;
    let by = headers::attribution(&parts, &query)?;
    let condition = condition(&parts.headers)?;
    let deadline = app.deadline;
    let written = bound_write(deadline, async move {
        let precondition = settle(condition, app.ordain.config(&level, 0)).await?;
        let deleted = app.ordain.delete_config(&level, precondition, &by);
        deleted.await.map_err(|error| unwritten(&level, error))
    })
    .await?;
    let answer = serde_json::json!({"revision": written.revision});
    json(&answer, written.revision)
}

async fn history(app: App, call: Call) -> Result<Response, Problem> {
    let level = call.level()?;
    let part = Part::read(&call.query()?, &call.parts.headers)?;
    answer_page(&app.ordain, app.deadline, Key::config(&level), part).await
}

fn write_revision(revision: Option<u64>, position: u64) -> Result<Response, Problem> {
    let mut response = json(&serde_json::json!({"revision": revision}), position)?;
    if let Some(revision) = revision {
        let tag = names::etag(revision);
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}

/// That there is no such level.
fn say_absent(level: &Level) -> &'static str {
    match level {
        Level::Global => "there is no global config",
        Level::Tenant(_) => "the tenant has no config of its own",
        Level::User(..) => "the user has no config",
    }
}

fn absent(level: &Level) -> Problem {
    let detail = say_absent(level);
    Problem::new(StatusCode::NOT_FOUND, "config-not-found", detail)
}

/// Why a level was not written.
fn unwritten(level: &Level, error: WriteError) -> Problem {
    match error {
        WriteError::Absent => absent(level),
        WriteError::Precondition { current } => {
            let detail = match current {
                Some(revision) => format!("the stored config has revision {revision}"),
                None => say_absent(level).to_owned(),
            };
            Problem::precondition(current, detail)
        }
        error => error.into(),
    }
}

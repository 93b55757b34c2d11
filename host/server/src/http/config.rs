//! `/v1/tenants/{tenant}/config` (what holds) and the levels that it is merged from: `/v1/config`,
//! `/v1/tenants/{tenant}/config/own` and `/v1/tenants/{tenant}/users/{user}/config`. Merging and
//! patching are the guest's, conditions are the origin's; this file only translates.

use axum::extract::{Request, State};
use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::app::App;
use super::headers;
use super::lists::{Part, embedded, history_page};
use super::policy::{settle, settled, within};
use super::problem::Problem;
use super::resolve::{json, with_position};
use super::{input, names};
use ordain::door::Patched;
use ordain_store::ids::{Key, Level, User};

/// Largest patch.
const PATCH_LIMIT: usize = 16 << 10;

/// What holds for the tenant, or with `?user=` for a user.
pub async fn effective(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tenant = input::tenant(&uri)?;
    let query = input::Query::read(&uri, &["user"])?;
    let user = query.get("user").map(User::new).transpose()?;
    let min_revision = headers::min_revision(&headers)?;
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
pub async fn get(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let level = input::level(&uri)?;
    input::Query::read(&uri, &[])?;
    let min_revision = headers::min_revision(&headers)?;
    let stored = within(app.deadline, app.ordain.config(&level, min_revision)).await??;
    let Some(record) = stored.record else {
        let position = Some(stored.position);
        return Err(Problem {
            position,
            ..absent(&level)
        });
    };
    let known =
        headers.contains_key(IF_NONE_MATCH) && headers::already_known(&headers, record.revision)?;
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
pub async fn patch(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let level = input::level(&parts.uri)?;
    let query = input::Query::read(&parts.uri, &["reason"])?;
    headers::expect_merge_patch(&parts.headers)?;
    let by = headers::attribution(&parts, &query)?;
    let condition = headers::condition(&parts.headers)?;
    let patch = input::json(&parts, body, PATCH_LIMIT).await?;
    let (deadline, watermark) = (app.deadline, app.watermark());
    let ordain = app.front_door(&parts.extensions)?;
    let patched = settled(deadline, async move {
        let precondition = settle(condition, app.ordain.config(&level, 0)).await?;
        let patched = ordain.patch_config(&level, &patch, precondition, &by);
        patched.await.map_err(|error| of(&level, error.into()))
    })
    .await?;
    match patched {
        Patched::Written(written) => revision(Some(written.revision), written.revision),
        Patched::Unchanged(current) => revision(current, current.unwrap_or(0).max(watermark)),
    }
}

/// The fields of one level become what weaker levels say.
pub async fn delete(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let level = input::level(&parts.uri)?;
    let query = input::Query::read(&parts.uri, &["reason"])?;
    let by = headers::attribution(&parts, &query)?;
    let condition = headers::condition(&parts.headers)?;
    let deadline = app.deadline;
    let written = settled(deadline, async move {
        let precondition = settle(condition, app.ordain.config(&level, 0)).await?;
        let deleted = app.ordain.delete_config(&level, precondition, &by);
        deleted.await.map_err(|error| of(&level, error.into()))
    })
    .await?;
    let answer = serde_json::json!({"revision": written.revision});
    json(&answer, written.revision)
}

pub async fn history(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let level = input::level(&uri)?;
    let part = Part::read(&uri, &headers)?;
    let key = Key::config(&level);
    let page = app
        .ordain
        .long_page(key, part.before, part.limit, part.min_revision);
    let (page, _place) = within(app.deadline, page).await??;
    history_page(page).await
}

fn revision(revision: Option<u64>, position: u64) -> Result<Response, Problem> {
    let mut response = json(&serde_json::json!({"revision": revision}), position)?;
    if let Some(revision) = revision {
        let tag = names::etag(revision);
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}

fn name(level: &Level) -> &'static str {
    match level {
        Level::Global => "there is no global config",
        Level::Tenant(_) => "the tenant has no config of its own",
        Level::User(..) => "the user has no config",
    }
}

fn absent(level: &Level) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "config-not-found", name(level))
}

/// What went wrong with a record, said of a level.
fn of(level: &Level, problem: Problem) -> Problem {
    match (problem.code, problem.current) {
        ("policy-not-found", _) => absent(level),
        ("precondition-failed", None) => Problem {
            detail: name(level).to_owned(),
            ..problem
        },
        ("precondition-failed", Some(revision)) => Problem {
            detail: format!("the stored config has revision {revision}"),
            ..problem
        },
        _ => problem,
    }
}

//! `/v1/tenants/{tenant}/policy` and `.../policy/try`: reads, writes and trials of one tenant's
//! policy. Validation is the guest's, conditions are the origin's; this file only translates.

use std::future::Future;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::app::App;
use super::headers::{self, Condition};
use super::problem::Problem;
use super::resolve::{BODY_LIMIT, json, split, with_position};
use super::{caller, input, names};
use crate::access::Need;
use ordain::door::{InvalidRecord, ReadError, Stored};
use ordain::request::{self, Body};
use ordain_store::{Precondition, Written};

/// Largest record.
pub const RECORD_LIMIT: usize = 256 << 10;

pub async fn get(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tenant = input::tenant(&uri)?;
    input::Query::read(&uri, &[])?;
    let min_revision = headers::min_revision(&headers)?;
    let stored = within(app.deadline, app.ordain.policy(&tenant, min_revision)).await??;
    let Some(record) = stored.record else {
        return Err(Problem {
            position: Some(stored.position),
            ..Problem::no_policy()
        });
    };
    let known =
        headers.contains_key(IF_NONE_MATCH) && headers::already_known(&headers, record.revision)?;
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        record.body.as_bytes().to_vec().into_response()
    };
    response
        .headers_mut()
        .insert(ETAG, names::etag(record.revision));
    Ok(with_position(response, stored.position))
}

pub async fn put(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let tenant = input::tenant(&parts.uri)?;
    let query = input::Query::read(&parts.uri, &["dryRun", "reason"])?;
    let dry_run = query.flag("dryRun")?;
    headers::expect_json(&parts.headers)?;
    let by = headers::attribution(&parts, &query)?;
    let condition = headers::condition(&parts.headers)?;
    let record = input::json(&parts, body, RECORD_LIMIT).await?;
    let ordain = app.front_door(&parts.extensions)?;
    if dry_run {
        within(app.deadline, ordain.validate(Some(&tenant), &record)).await??;
        return json(&serde_json::json!({"valid": true}), app.watermark());
    }
    let deadline = app.deadline;
    let written = settled(deadline, async move {
        let precondition = settle(condition, app.ordain.policy(&tenant, 0)).await?;
        Ok(ordain
            .put_policy(&tenant, &record, precondition, &by)
            .await?)
    })
    .await?;
    let status = if written.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    write_answer(status, written, true)
}

pub async fn delete(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let tenant = input::tenant(&parts.uri)?;
    let query = input::Query::read(&parts.uri, &["reason"])?;
    let by = headers::attribution(&parts, &query)?;
    let condition = headers::condition(&parts.headers)?;
    let deadline = app.deadline;
    let written = settled(deadline, async move {
        let precondition = settle(condition, app.ordain.policy(&tenant, 0)).await?;
        Ok(app.ordain.delete_policy(&tenant, precondition, &by).await?)
    })
    .await?;
    write_answer(StatusCode::OK, written, false)
}

pub async fn try_out(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let tenant = input::tenant(&parts.uri)?;
    input::Query::read(&parts.uri, &[])?;
    headers::expect_json(&parts.headers)?;
    let min_revision = headers::min_revision(&parts.headers)?;
    let body = input::json(&parts, body, BODY_LIMIT).await?;
    let trial = request::parse_trial(&body, &tenant)?.map_err(Problem::request)?;
    if trial.record.len() > RECORD_LIMIT {
        return Err(Problem::too_large(RECORD_LIMIT));
    }
    let items = match trial.requests {
        Body::Many(items) => items,
        Body::TooMany(count) => return Err(Problem::batch_too_large(count)),
        Body::One(_) => return Err(Problem::internal()),
    };
    let principal = caller::principal(&parts.extensions)?;
    for faulty in items.iter().filter_map(|item| item.as_ref().err()) {
        for named in &faulty.tenants {
            principal.require(Need::Write(named.as_str()))?;
        }
    }
    let (requests, outcome) = split(items, min_revision);
    // A trial reads nothing that is stored: there is no revision that it could lack.
    let requests: Vec<_> = requests
        .into_iter()
        .map(|one| request::Request {
            min_revision: 0,
            ..one.request
        })
        .collect();
    let ordain = app.front_door(&parts.extensions)?;
    let answers = within(
        app.deadline,
        ordain.try_policy(&tenant, trial.record, &requests),
    )
    .await?
    .map_err(|invalid| match invalid {
        InvalidRecord::Faults(mut faults) => {
            for fault in &mut faults {
                fault.pointer.insert_str(0, "/record");
            }
            Problem::from(InvalidRecord::Faults(faults))
        }
        other => other.into(),
    })?;
    outcome.respond(answers, app.watermark())
}

fn write_answer(status: StatusCode, written: Written, stored: bool) -> Result<Response, Problem> {
    let mut response = json(
        &serde_json::json!({"revision": written.revision}),
        written.revision,
    )?;
    *response.status_mut() = status;
    if stored {
        response
            .headers_mut()
            .insert(ETAG, names::etag(written.revision));
    }
    Ok(response)
}

/// Bounds a call that changes nothing.
pub async fn within<T>(deadline: Duration, call: impl Future<Output = T>) -> Result<T, Problem> {
    tokio::time::timeout(deadline, call)
        .await
        .map_err(|_| Problem::deadline())
}

/// Bounds a write. Late, its outcome is not known here, and that is what the caller is told: the
/// write itself goes on, for neither a deadline nor a client that goes away may stop it half-way
/// (`Ordain` has it on a task of its own).
pub async fn settled<T>(
    deadline: Duration,
    write: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    tokio::time::timeout(deadline, write)
        .await
        .unwrap_or_else(|_| {
            tracing::warn!("a write did not end within the request's deadline");
            Err(Problem::write_outcome_unknown())
        })
}

/// Origins compare with one revision. Of several, the one that `stored` says is taken; should it
/// change before the write, the write fails as it must.
pub async fn settle(
    condition: Condition,
    stored: impl Future<Output = Result<Stored, ReadError>>,
) -> Result<Precondition, Problem> {
    let revisions = match condition {
        Condition::Plain(precondition) => return Ok(precondition),
        Condition::AnyOf(revisions) => revisions,
    };
    let stored = stored.await?.record.map(|record| record.revision);
    Ok(Precondition::Revision(
        stored.filter(|now| revisions.contains(now)).unwrap_or(0),
    ))
}

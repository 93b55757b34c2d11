//! `/v1/tenants/{tenant}/policy`, `.../policy/try` and `.../history`: reads, writes and trials of one
//! tenant's policy, and its changes. Validation is the guest's, conditions are the origin's; this
//! file only translates.

use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::resolve::{BODY_LIMIT, split};
use crate::access::Need;
use crate::http::answer::{json, with_position};
use crate::http::app::App;
use crate::http::conditions::{already_known, condition, settle};
use crate::http::contract::{Answer, Body, NOT_MODIFIED, Parameter, Place};
use crate::http::deadline::{bound, bound_write};
use crate::http::history::answer_page;
use crate::http::page::Part;
use crate::http::parameters::{
    IF_MATCH, IF_NONE_MATCH as ABSENT, KNOWN, MIN_REVISION, PAGE, REASON, REASON_HEADER, WRITE,
};
use crate::http::problem::Problem;
use crate::http::route::{Call, Handler, Route};
use crate::http::{caller, headers, input, names};
use ordain::door::InvalidRecord;
use ordain::request::{self, Body as Requests};
use ordain_store::Written;
use ordain_store::ids::Key;

/// Largest record.
pub const RECORD_LIMIT: usize = 256 << 10;

const POLICY: &str = "/v1/tenants/{tenant}/policy";
const DRY_RUN: Parameter = Parameter {
    key: "dryRun",
    name: "dryRun",
    place: Place::Query,
    description: "Check it and store nothing",
    schema: r#"{"type": "boolean", "default": false}"#,
    example: "true",
};

pub const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: POLICY,
        need: Need::Read,
        handler: Handler::Of(|app, call| Box::pin(get(app, call))),
        name: "getPolicy",
        summary: "The policy",
        parameters: &[KNOWN, MIN_REVISION],
        body: None,
        answers: &[
            Answer::json(200, "The record", "Policy").tagged(),
            NOT_MODIFIED,
        ],
    },
    Route {
        method: Method::PUT,
        path: POLICY,
        need: Need::Write,
        handler: Handler::Of(|app, call| Box::pin(put(app, call))),
        name: "putPolicy",
        summary: "Stores a policy",
        parameters: &[DRY_RUN, IF_MATCH, ABSENT, REASON, REASON_HEADER],
        body: Some(Body::json("Policy")),
        answers: &[
            Answer::json(200, "Replaced, or valid", "WrittenOrValid").tagged(),
            Answer::json(201, "Created", "Written").tagged(),
        ],
    },
    Route {
        method: Method::DELETE,
        path: POLICY,
        need: Need::Write,
        handler: Handler::Of(|app, call| Box::pin(delete(app, call))),
        name: "deletePolicy",
        summary: "Deletes the policy",
        parameters: WRITE,
        body: None,
        answers: &[Answer::json(200, "Done", "Written")],
    },
    Route {
        method: Method::POST,
        path: "/v1/tenants/{tenant}/policy/try",
        need: Need::Write,
        handler: Handler::Of(|app, call| Box::pin(try_out(app, call))),
        name: "tryPolicy",
        summary: "Answers of a record that is not stored",
        parameters: &[MIN_REVISION],
        body: Some(Body::json("Trial")),
        answers: &[Answer::json(200, "Answers in order", "Answers")],
    },
    Route {
        method: Method::GET,
        path: "/v1/tenants/{tenant}/history",
        need: Need::Read,
        handler: Handler::Of(|app, call| Box::pin(history(app, call))),
        name: "policyHistory",
        summary: "Changes of the policy, newest first",
        parameters: PAGE,
        body: None,
        answers: &[Answer::json(200, "A page", "Changes")],
    },
];

async fn get(app: App, call: Call) -> Result<Response, Problem> {
    let tenant = call.tenant()?;
    call.query()?;
    let headers = call.parts.headers;
    let min_revision = headers::min_revision(&headers)?;
    let stored = bound(app.deadline, app.ordain.policy(&tenant, min_revision)).await??;
    let Some(record) = stored.record else {
        return Err(Problem {
            position: Some(stored.position),
            ..Problem::no_policy()
        });
    };
    let known = headers.contains_key(IF_NONE_MATCH) && already_known(&headers, record.revision)?;
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

async fn put(app: App, call: Call) -> Result<Response, Problem> {
    let tenant = call.tenant()?;
    let query = call.query()?;
    let Call { parts, body, .. } = call;
    let dry_run = query.flag("dryRun")?;
    headers::expect_json(&parts.headers)?;
    let by = headers::attribution(&parts, &query)?;
    let condition = condition(&parts.headers)?;
    let record = input::json(&parts, body, RECORD_LIMIT).await?;
    let ordain = app.front_door(&parts.extensions)?;
    if dry_run {
        bound(app.deadline, ordain.validate(Some(&tenant), &record)).await??;
        return json(&serde_json::json!({"valid": true}), app.watermark());
    }
    let deadline = app.deadline;
    let written = bound_write(deadline, async move {
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

async fn delete(app: App, call: Call) -> Result<Response, Problem> {
    let tenant = call.tenant()?;
    let query = call.query()?;
    let parts = call.parts;
    let by = headers::attribution(&parts, &query)?;
    let condition = condition(&parts.headers)?;
    let deadline = app.deadline;
    let written = bound_write(deadline, async move {
        let precondition = settle(condition, app.ordain.policy(&tenant, 0)).await?;
        Ok(app.ordain.delete_policy(&tenant, precondition, &by).await?)
    })
    .await?;
    write_answer(StatusCode::OK, written, false)
}

async fn try_out(app: App, call: Call) -> Result<Response, Problem> {
    let tenant = call.tenant()?;
    call.query()?;
    let Call { parts, body, .. } = call;
    headers::expect_json(&parts.headers)?;
    let min_revision = headers::min_revision(&parts.headers)?;
    let body = input::json(&parts, body, BODY_LIMIT).await?;
    let trial = request::parse_trial(&body, &tenant)?.map_err(Problem::request)?;
    if trial.record.len() > RECORD_LIMIT {
        return Err(Problem::too_large(RECORD_LIMIT));
    }
    let items = match trial.requests {
        Requests::Many(items) => items,
        Requests::TooMany(count) => return Err(Problem::batch_too_large(count)),
        Requests::One(_) => return Err(Problem::internal()),
    };
    let principal = caller::principal(&parts.extensions)?;
    for faulty in items.iter().filter_map(|item| item.as_ref().err()) {
        for named in &faulty.tenants {
            principal.require(Need::Write, named.as_str())?;
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
    let answers = bound(
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

async fn history(app: App, call: Call) -> Result<Response, Problem> {
    let tenant = call.tenant()?;
    let part = Part::read(&call.query()?, &call.parts.headers)?;
    answer_page(&app.ordain, app.deadline, Key::policy(&tenant), part).await
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

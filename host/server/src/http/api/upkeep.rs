//! `POST /v1/caches/purge` and `POST /v1/log/prune`: what operators do to the log now and then.
//! Only translates; `Ordain` does the work.

use std::time::SystemTime;

use axum::http::Method;
use axum::response::Response;
use serde::Serialize;

use crate::access::Need;
use crate::http::answer::json;
use crate::http::app::App;
use crate::http::contract::{Answer, Body};
use crate::http::deadline::{bound_repeatable, explain_repeatable};
use crate::http::object::texts;
use crate::http::parameters::CHANGE;
use crate::http::problem::Problem;
use crate::http::route::{Call, Handler, Route};
use crate::http::{headers, input};
use ordain::request::fault;
use ordain_store::Attribution;
use ordain_store::ids::Tenant;

/// Largest body.
const BODY_LIMIT: usize = 16 << 10;

pub const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/v1/caches/purge",
        need: Need::Everything,
        handler: Handler::Of(|app, call| Box::pin(purge(app, call))),
        name: "purge",
        summary: "Every instance drops what it has cached",
        parameters: CHANGE,
        body: Some(Body::json("Purge")),
        answers: &[Answer::json(200, "Done", "Written")],
    },
    Route {
        method: Method::POST,
        path: "/v1/log/prune",
        need: Need::Everything,
        handler: Handler::Of(|app, call| Box::pin(prune(app, call))),
        name: "prune",
        summary: "Deletes old rows of the change log",
        parameters: CHANGE,
        body: Some(Body::json("Prune")),
        answers: &[Answer::json(200, "Done", "Pruned")],
    },
];

#[derive(Serialize)]
struct PruneAnswer {
    pruned: u64,
    /// Of the row that records it, the last one if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    /// The time of one request did not suffice: ask again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

async fn purge(app: App, call: Call) -> Result<Response, Problem> {
    let (by, [tenant]) = read(call, ["tenant"]).await?;
    let tenant = tenant.map(|id| Tenant::new(&id)).transpose();
    let tenant =
        tenant.map_err(|error| Problem::request(vec![fault("/tenant", error.to_string())]))?;
    let write = async {
        let purged = app.ordain.purge(tenant.as_ref(), &by).await;
        purged.map_err(explain_repeatable)
    };
    let revision = bound_repeatable(app.deadline, write).await?;
    json(&serde_json::json!({"revision": revision}), revision)
}

async fn prune(app: App, call: Call) -> Result<Response, Problem> {
    let (by, [before]) = read(call, ["before"]).await?;
    let before = before
        .ok_or_else(|| "the field is missing".to_owned())
        .and_then(|text| moment(&text, SystemTime::now()))
        .map_err(|message| Problem::request(vec![fault("/before", message)]))?;
    // The last transaction begins in the first third, so that its end has its time.
    let patience = app.deadline / 3;
    let write = async {
        let pruned = app.ordain.prune_some(before, &by, patience).await;
        pruned.map_err(explain_repeatable)
    };
    let (pruned, more) = bound_repeatable(app.deadline, write).await?;
    let answer = PruneAnswer {
        pruned: pruned.rows,
        revision: pruned.revision,
        more,
    };
    json(&answer, pruned.revision.unwrap_or_else(|| app.watermark()))
}

/// Who asks, and the texts of a body that is an object of these members and no others.
async fn read<const N: usize>(
    call: Call,
    names: [&str; N],
) -> Result<(Attribution, [Option<String>; N]), Problem> {
    let query = call.query()?;
    let Call { parts, body, .. } = call;
    headers::expect_json(&parts.headers)?;
    // Whatever is demanded, a write comes after it.
    headers::min_revision(&parts.headers)?;
    let by = headers::attribution(&parts, &query)?;
    let body = input::json(&parts, body, BODY_LIMIT).await?;
    Ok((by, texts(&body, names)?))
}

/// An age, or a point in time.
fn moment(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    if let Ok(time) = humantime::parse_rfc3339(text) {
        return Ok(time);
    }
    let age = humantime::parse_duration(text).map_err(|_| {
        "must be an age like \"30d\", or a time in UTC like \"2026-01-31T00:00:00Z\"".to_owned()
    })?;
    now.checked_sub(age)
        .filter(|time| *time > SystemTime::UNIX_EPOCH)
        .ok_or_else(|| "nothing is that old".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_too_old_is_said_by_age_or_by_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let ago = |text: &str| {
            let time = moment(text, now).expect(text);
            now.duration_since(time).expect("the past").as_secs()
        };
        assert_eq!(ago("30d"), 30 * 86_400);
        assert_eq!(ago("1h 30m"), 5_400);
        assert_eq!(ago("0s"), 0);
        assert_eq!(ago("2027-01-15T08:00:00Z"), 0);
        assert_eq!(ago("2027-01-15T07:59:58.5Z"), 1);
        for text in [
            "",
            "30",
            "-1d",
            "yesterday",
            "2027-01-15",
            "2027-01-15T08:00:00+01:00",
        ] {
            let error = moment(text, now).expect_err(text);
            assert!(error.contains("30d"), "{text}: {error}");
        }
        assert!(moment("5000y", now).is_err());
    }
}

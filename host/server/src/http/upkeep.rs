//! `POST /v1/caches/purge` and `POST /v1/log/prune`: what operators do to the log now and then.
//! Only translates; `Ordain` does the work.

use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;

use super::app::App;
use super::object::members;
use super::policy::settled;
use super::problem::Problem;
use super::resolve::json;
use super::{headers, input};
use ordain::request::{Faults, fault, pointer};
use ordain_store::Attribution;
use ordain_store::ids::Tenant;

/// Largest body.
const BODY_LIMIT: usize = 16 << 10;

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

pub async fn purge(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (by, [tenant]) = read(request, ["tenant"]).await?;
    let tenant = tenant.map(|id| Tenant::new(&id)).transpose();
    let tenant =
        tenant.map_err(|error| Problem::request(vec![fault("/tenant", error.to_string())]))?;
    let write = async { Ok(app.ordain.purge(tenant.as_ref(), &by).await?) };
    let revision = settled(app.deadline, write).await.map_err(repeatable)?;
    json(&serde_json::json!({"revision": revision}), revision)
}

pub async fn prune(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (by, [before]) = read(request, ["before"]).await?;
    let before = before
        .ok_or_else(|| "the field is missing".to_owned())
        .and_then(|text| moment(&text, SystemTime::now()))
        .map_err(|message| Problem::request(vec![fault("/before", message)]))?;
    // The last transaction begins in the first third, so that its end has its time.
    let patience = app.deadline / 3;
    let write = async { Ok(app.ordain.prune_some(before, &by, patience).await?) };
    let (pruned, more) = settled(app.deadline, write).await.map_err(repeatable)?;
    let answer = PruneAnswer {
        pruned: pruned.rows,
        revision: pruned.revision,
        more,
    };
    json(&answer, pruned.revision.unwrap_or_else(|| app.watermark()))
}

/// Who asks, and the texts of a body that is an object of these members and no others.
async fn read<const N: usize>(
    request: Request,
    names: [&str; N],
) -> Result<(Attribution, [Option<String>; N]), Problem> {
    let (parts, body) = request.into_parts();
    let query = input::Query::read(&parts.uri, &["reason"])?;
    headers::expect_json(&parts.headers)?;
    // Whatever is demanded, a write comes after it.
    headers::min_revision(&parts.headers)?;
    let by = headers::attribution(&parts, &query)?;
    let body = input::json(&parts, body, BODY_LIMIT).await?;
    Ok((by, texts(&body, names)?))
}

/// The texts of a body that is an object of these members and no others.
pub fn texts<const N: usize>(body: &str, names: [&str; N]) -> Result<[Option<String>; N], Problem> {
    let mut found = [const { None }; N];
    let mut faults = Faults::default();
    for (name, value) in members(body)? {
        let Some(index) = names.iter().position(|known| *known == name) else {
            let known = match names.join(", ") {
                known if known.is_empty() => "none".to_owned(),
                known => known,
            };
            let message = format!("unknown field; known is {known}");
            faults.add(|| (pointer(&name), message));
            continue;
        };
        match serde_json::from_str::<String>(value.get()) {
            Ok(_) if found[index].is_some() => {
                faults.add(|| (pointer(&name), "the field appears more than once"));
            }
            Ok(text) => found[index] = Some(text),
            Err(_) if value.get() == "null" => {
                let message = "must be a string; leave the field out for none";
                faults.add(|| (pointer(&name), message));
            }
            Err(_) => faults.add(|| (pointer(&name), "must be a string")),
        }
    }
    if faults.is_empty() {
        Ok(found)
    } else {
        Err(Problem::request(faults.into_list()))
    }
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

/// Of what may have happened or not: here nothing need be looked up first.
pub fn repeatable(problem: Problem) -> Problem {
    if problem.code != "write-outcome-unknown" {
        return problem;
    }
    Problem {
        detail: "it may have happened or not: it does no harm to ask again".to_owned(),
        ..problem
    }
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

    #[test]
    fn every_fault_of_a_body_is_named() {
        let read = |body: &str| texts(body, ["a", "b"]);
        let pointers = |body: &str| {
            let problem = read(body).expect_err(body);
            let pointers = problem.errors.iter().map(|fault| fault.pointer.clone());
            (
                problem.status.as_u16(),
                pointers.collect::<Vec<_>>().join(" "),
            )
        };
        assert_eq!(read("{}"), Ok([None, None]));
        assert_eq!(read(r#" {"b":"x"} "#), Ok([None, Some("x".to_owned())]));
        for (body, expected) in [
            ("", (400, "")),
            ("{", (400, "")),
            ("{} {}", (400, "")),
            ("[]", (422, "")),
            ("null", (422, "")),
            (r#"{"c/d":1,"a":1}"#, (422, "/c~1d /a")),
            (r#"{"a":"x","a":"y"}"#, (422, "/a")),
            (r#"{"a":null}"#, (422, "/a")),
        ] {
            let (status, list) = pointers(body);
            assert_eq!((status, &*list), expected, "{body}");
        }
    }
}

//! Errors of the HTTP interface: RFC 9457 problems with stable codes. The one place that knows
//! which error has which status, and the one place that logs failures. Not for refusals, which are
//! answers.

use axum::http::header::{CONTENT_TYPE, ETAG, HeaderName, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::names::{REVISION, etag};
use ordain::answer::ResolveError;
use ordain::door::{InvalidRecord, PutError, ReadError};
use ordain::request::{Fault, Malformed};
use ordain::world::Export;
use ordain_store::ids::{TenantError, UserError};
use ordain_store::{OriginError, WriteError};

/// Seconds after which a caller may try again.
const RETRY_SECONDS: u32 = 1;

/// One error, as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    /// Stable; an open set.
    pub code: &'static str,
    /// For people; never a secret, never the text of a driver.
    pub detail: String,
    /// Every fault of a document.
    pub errors: Vec<Fault>,
    /// Revision that is stored, where another one was expected.
    pub current: Option<u64>,
    /// Position up to which the answer is known to be complete.
    pub position: Option<u64>,
    pub retry: bool,
    /// What the client is told to bring, in a header of its own.
    pub demand: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            current: None,
            position: None,
            retry: false,
            demand: None,
        }
    }

    pub fn bad(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub fn faults(code: &'static str, what: &str, errors: Vec<Fault>) -> Problem {
        let detail = match errors.as_slice() {
            [one] => format!(
                "{what} has a fault: {}: {}",
                shown(&one.pointer),
                one.message
            ),
            many => format!("{what} has {} faults", many.len()),
        };
        Problem {
            errors,
            ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
        }
    }

    pub fn request(errors: Vec<Fault>) -> Problem {
        Problem::faults("invalid-request", "the request", errors)
    }

    pub(super) fn later(code: &'static str, detail: impl Into<String>) -> Problem {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        Problem {
            retry: true,
            ..problem
        }
    }

    pub fn deadline() -> Problem {
        Problem::later("deadline-exceeded", "the request's deadline is over")
    }

    pub fn write_outcome_unknown() -> Problem {
        Problem::later(
            "write-outcome-unknown",
            "the write may have happened or not: read what is stored before trying again",
        )
    }

    /// The same, where nothing need be looked up first.
    pub fn repeatable_outcome_unknown() -> Problem {
        Problem::later(
            "write-outcome-unknown",
            "it may have happened or not: it does no harm to ask again",
        )
    }

    pub fn import_runs() -> Problem {
        Problem::later(
            "busy",
            "another import runs on this instance; nothing was written",
        )
    }

    /// `current`: the revision that is stored.
    pub fn precondition(current: Option<u64>, detail: String) -> Problem {
        let problem = Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition-failed",
            detail,
        );
        Problem { current, ..problem }
    }

    pub fn no_policy() -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "policy-not-found",
            "the tenant has no policy",
        )
    }

    pub fn too_large(limit: usize) -> Problem {
        let detail = format!("at most {limit} bytes are taken here");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
    }

    pub fn batch_too_large(count: usize) -> Problem {
        let detail = format!(
            "a batch has at most {} requests, this one has {count}",
            ordain::request::BATCH_LIMIT
        );
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "batch-too-large", detail)
    }

    pub fn nothing_at(path: &str) -> Problem {
        let detail = format!("there is nothing at {path}");
        Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    pub fn not_taken(path: &str, method: &Method) -> Problem {
        let detail = format!("{path} does not take {method}");
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
    }

    pub fn internal() -> Problem {
        let detail = "an error of Ordain itself; its log has the cause under this X-Request-Id";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }
}

fn shown(pointer: &str) -> &str {
    if pointer.is_empty() {
        "the whole"
    } else {
        pointer
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("type", "about:blank")?;
        object.serialize_entry("title", self.status.canonical_reason().unwrap_or("Error"))?;
        object.serialize_entry("status", &self.status.as_u16())?;
        object.serialize_entry("detail", &self.detail)?;
        object.serialize_entry("code", self.code)?;
        if !self.errors.is_empty() {
            object.serialize_entry("errors", &self.errors)?;
        }
        if let Some(current) = self.current {
            object.serialize_entry("currentRevision", &current)?;
        }
        object.end()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // A string-keyed map of strings, numbers and lists of them is always JSON.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let map = response.headers_mut();
        map.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(demand) = self.demand {
            map.insert(demand.0, demand.1);
        }
        if self.retry {
            map.insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
        }
        if let Some(current) = self.current {
            map.insert(ETAG, etag(current));
        }
        if let Some(position) = self.position {
            map.insert(REVISION, HeaderValue::from(position));
        }
        response
    }
}

impl From<ResolveError> for Problem {
    fn from(error: ResolveError) -> Problem {
        match error {
            ResolveError::Unavailable => Problem::later(
                "unavailable",
                "no cache has a fresh answer and the origin cannot be reached",
            ),
            ResolveError::Late => Problem::deadline(),
            ResolveError::Overloaded => {
                Problem::later("overloaded", "too many requests are waiting")
            }
            ResolveError::RevisionUnknown => revision_unknown(),
            ResolveError::RecordInvalid(errors) => {
                // Pointers may name users: how many there are is enough for the log.
                let faults = errors.len();
                tracing::error!(faults, "a stored record breaks the rules of the component");
                let detail = "the stored record breaks the rules of the component: put a valid one";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Problem {
                    errors,
                    ..Problem::new(status, "record-invalid", detail)
                }
            }
            ResolveError::RequestInvalid(errors) => Problem::request(errors),
            ResolveError::Component(_) => component_failed(),
            ResolveError::NotOffered(export) => not_offered(export),
        }
    }
}

fn revision_unknown() -> Problem {
    let detail = "the demanded revision is not known here (yet)";
    Problem::new(StatusCode::CONFLICT, "revision-unknown", detail)
}

fn not_offered(export: Export) -> Problem {
    let detail = format!("the component that runs does not offer `{export}`");
    Problem::new(StatusCode::NOT_IMPLEMENTED, "not-offered", detail)
}

/// The log has the cause already.
fn component_failed() -> Problem {
    let detail = "the component trapped or ran out of time";
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "component-failed",
        detail,
    )
}

impl From<OriginError> for Problem {
    fn from(error: OriginError) -> Problem {
        tracing::warn!(%error, "a request failed");
        let (code, detail) = match error {
            OriginError::Unavailable(_) => ("unavailable", "the origin cannot be reached"),
            OriginError::Late => ("unavailable", "the origin did not answer in time"),
            OriginError::ReadOnly(_) => (
                "origin-read-only",
                "the database answers and takes no changes: it is a replica, or was set read-only",
            ),
        };
        Problem::later(code, detail)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Problem {
        match error {
            ReadError::RevisionUnknown => revision_unknown(),
            ReadError::Overloaded => {
                Problem::later("overloaded", "too many requests are waiting for the origin")
            }
            ReadError::Origin(error) => error.into(),
        }
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Problem {
        match error {
            WriteError::Precondition { current } => {
                let detail = match current {
                    Some(revision) => format!("the stored policy has revision {revision}"),
                    None => "the tenant has no policy".to_owned(),
                };
                Problem::precondition(current, detail)
            }
            WriteError::Absent => Problem::no_policy(),
            WriteError::Busy => {
                Problem::later("busy", "other writes are in the way; nothing was written")
            }
            WriteError::OutcomeUnknown => {
                tracing::warn!("the outcome of a write is not known");
                Problem::write_outcome_unknown()
            }
            WriteError::Rejected(constraint) => {
                let detail = format!("the database refused the record: {constraint}");
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "record-rejected", detail)
            }
            WriteError::Origin(error) => error.into(),
        }
    }
}

impl From<InvalidRecord> for Problem {
    fn from(error: InvalidRecord) -> Problem {
        match error {
            InvalidRecord::Malformed(message) => Malformed(message).into(),
            InvalidRecord::Faults(errors) => {
                Problem::faults("invalid-record", "the record", errors)
            }
            InvalidRecord::Component(_) => component_failed(),
            InvalidRecord::NotOffered(export) => not_offered(export),
            InvalidRecord::Late => Problem::deadline(),
            InvalidRecord::Overloaded => {
                Problem::later("overloaded", "too many records wait to be checked")
            }
        }
    }
}

impl From<PutError> for Problem {
    fn from(error: PutError) -> Problem {
        match error {
            PutError::Invalid(error) => error.into(),
            PutError::Write(error) => error.into(),
        }
    }
}

impl From<Malformed> for Problem {
    fn from(error: Malformed) -> Problem {
        Problem::bad("malformed-json", format!("the body is not JSON: {error}"))
    }
}

impl From<UserError> for Problem {
    fn from(error: UserError) -> Problem {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Problem::new(status, "invalid-user", error.to_string())
    }
}

impl From<TenantError> for Problem {
    fn from(error: TenantError) -> Problem {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-tenant",
            error.to_string(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_pass_by_themselves_say_when_to_try_again_and_others_do_not() {
        let retry = |problem: Problem| problem.into_response().headers().contains_key(RETRY_AFTER);
        assert!(retry(ResolveError::Unavailable.into()));
        assert!(retry(ResolveError::Late.into()));
        assert!(retry(ResolveError::Overloaded.into()));
        assert!(retry(WriteError::Busy.into()));
        assert!(retry(WriteError::OutcomeUnknown.into()));
        assert!(!retry(ResolveError::RecordInvalid(Vec::new()).into()));
        assert!(!retry(ResolveError::RevisionUnknown.into()));
        assert!(!retry(WriteError::Absent.into()));
    }

    #[test]
    fn a_problem_is_what_rfc_9457_says_and_has_a_code() {
        let problem = Problem::from(WriteError::Precondition { current: Some(7) });
        let json = serde_json::to_string(&problem).expect("JSON");
        let expected = r#"{"type":"about:blank","title":"Precondition Failed","status":412,"detail":"the stored policy has revision 7","code":"precondition-failed","currentRevision":7}"#;
        assert_eq!(json, expected);
        let response = problem.into_response();
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[ETAG], "\"7\"");
    }

    #[test]
    fn what_a_driver_says_stays_in_the_log() {
        let problem = Problem::from(OriginError::Unavailable("host db.internal refused".into()));
        assert!(!problem.detail.contains("db.internal"));
    }
}

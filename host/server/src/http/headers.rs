//! Reads the headers that Ordain knows: demanded revisions, who asks and why, what a body is. Not
//! for conditions (`conditions`), nor for bodies (`input`).

use std::borrow::Cow;
use std::time::SystemTime;

use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};

use super::caller;
use super::names::{MIN_REVISION, REASON, REQUEST_ID, SIGNATURE};
use super::problem::Problem;
use super::query::Query;
use ordain_store::Attribution;

/// Longest reason of a write, in bytes.
const REASON_LIMIT: usize = 500;
/// Longest request id that is taken from a caller, in bytes.
const REQUEST_ID_LIMIT: usize = 128;

/// What a page may send without asking first (Fetch, "CORS-safelisted request-header").
const FORMS: [&str; 3] = [
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "text/plain",
];

/// The id of the request that is being served; every request has one.
#[derive(Debug, Clone)]
pub struct RequestId(pub HeaderValue);

impl RequestId {
    /// As text: printable ASCII, by construction.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The caller's, if it is printable and short; else a new one.
    pub fn of(headers: &HeaderMap) -> RequestId {
        let given = headers.get(REQUEST_ID).filter(|value| {
            let bytes = value.as_bytes();
            (1..=REQUEST_ID_LIMIT).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
        });
        RequestId(given.cloned().unwrap_or_else(RequestId::fresh))
    }

    /// UUID version 7, its random bits from the thread's generator: the system's costs a call each
    /// time.
    fn fresh() -> HeaderValue {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let millis = since.unwrap_or_default().as_millis();
        let millis = u64::try_from(millis).unwrap_or_default();
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid();
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = id.hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).expect("hexadecimal digits and hyphens are header text")
    }
}

/// Who writes, in which request, and why.
pub fn attribution(parts: &Parts, query: &Query) -> Result<Attribution, Problem> {
    let request_id = parts
        .extensions
        .get::<RequestId>()
        .map(|id| id.as_str().to_owned());
    Ok(Attribution {
        actor: caller::principal(&parts.extensions)?.actor().to_owned(),
        request_id,
        reason: reason(&parts.headers, query)?,
    })
}

/// Header or parameter: not every client can send every text in a header, and not all agree on how.
fn reason(headers: &HeaderMap, query: &Query) -> Result<Option<String>, Problem> {
    let (place, text) = match (single(headers, &REASON)?, query.get("reason")) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            let detail = "the reason is given twice: in Ordain-Reason and by ?reason=";
            return Err(Problem::bad("invalid-header", detail));
        }
        (None, Some(text)) => (("invalid-parameter", "reason"), Cow::Borrowed(text)),
        (Some(value), None) => {
            let decoded = percent_encoding::percent_decode(value.as_bytes()).decode_utf8();
            let text = decoded.map_err(|_| {
                let detail = "Ordain-Reason is not UTF-8: encode what is not ASCII by percent signs \
                              (caf%C3%A9; % itself is %25), or send it as ?reason=";
                Problem::bad("invalid-header", detail)
            })?;
            (("invalid-header", "Ordain-Reason"), text)
        }
    };
    let ((code, name), size) = (place, text.len());
    if size > REASON_LIMIT {
        let detail = format!("{name} has {size} bytes, at most {REASON_LIMIT} are kept");
        return Err(Problem::bad(code, detail));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::bad(
            code,
            format!("{name} has a control character"),
        ));
    }
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

/// The revision that the answer must reflect; 0 without the header.
pub fn min_revision(headers: &HeaderMap) -> Result<u64, Problem> {
    let Some(value) = single(headers, &MIN_REVISION)? else {
        return Ok(0);
    };
    value
        .to_str()
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|revision| *revision < 1 << 53)
        .ok_or_else(|| {
            let detail = "Ordain-Min-Revision must be an integer from 0 to 9007199254740991";
            Problem::bad("invalid-header", detail)
        })
}

/// A signature of a component: base64, which its reader judges.
pub fn signature(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let value = single(headers, &SIGNATURE)?.filter(|value| !value.is_empty());
    let text = |value: &HeaderValue| value.to_str().map(str::to_owned);
    value
        .map(text)
        .transpose()
        .map_err(|_| Problem::bad("invalid-header", "Ordain-Signature is not base64"))
}

fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, Problem> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Problem::bad(
            "invalid-header",
            format!("{name} is given more than once"),
        ));
    }
    Ok(first)
}

/// JSON, or nothing said.
pub fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    if value == "application/json" {
        return Ok(());
    }
    let kind = media_type(value);
    let json = kind == "application/json"
        || kind
            .split_once('/')
            .is_some_and(|(_, subtype)| subtype.ends_with("+json"));
    if json {
        return Ok(());
    }
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    let detail = format!("the body must be application/json, not {kind:?}");
    Err(Problem::new(status, "unsupported-media-type", detail))
}

pub fn media_type(value: &HeaderValue) -> String {
    let text = value.to_str().unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

/// A merge patch is JSON; a patch of another kind would mean something else.
pub fn expect_merge_patch(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = media_type(value);
    if ["application/merge-patch+json", "application/json"].contains(&&*kind) {
        return Ok(());
    }
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    let detail =
        format!("the body must be application/merge-patch+json or application/json, not {kind:?}");
    Err(Problem::new(status, "unsupported-media-type", detail))
}

/// For calls that take bytes: `wanted`, or whatever a client calls them, but nothing that a form
/// sends.
pub fn expect_no_form(headers: &HeaderMap, wanted: &str) -> Result<(), Problem> {
    let kind = headers.get(CONTENT_TYPE).map(media_type);
    match kind.filter(|kind| FORMS.contains(&kind.as_str())) {
        None => Ok(()),
        Some(form) => {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            let detail = format!("the body must be {wanted}, not {form:?}");
            Err(Problem::new(status, "unsupported-media-type", detail))
        }
    }
}

#[cfg(test)]
mod tests;

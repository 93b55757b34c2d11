//! What a request brings besides its headers: the tenant in the path, query parameters, the body.
//! Not for what these mean.

use std::borrow::Cow;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use futures::StreamExt;

use super::edge::Stalled;
use super::memory::{Held, Room, SMALL};
use super::problem::Problem;
use super::{coding, memory};
use ordain::request::Malformed;
use ordain_store::ids::{Level, Tenant, User};
use ordain_store::utf8;

/// Time that a client has to send its body.
const BODY_TIME: Duration = Duration::from_secs(30);
/// Bytes over the limit that are read and dropped before the answer, so that a client that only
/// reads after writing sees it.
const TOO_LARGE_DRAIN: usize = 32 << 20;
/// The same, and time for it, of a body that nobody wants.
const DRAIN: usize = 8 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// The tenant of `/v1/tenants/{tenant}/...`.
pub fn tenant(uri: &Uri) -> Result<Tenant, Problem> {
    Ok(Tenant::new(&segment(uri, 3, "tenant")?)?)
}

/// Whose config `/v1/config`, `/v1/tenants/{tenant}/config/own` or
/// `/v1/tenants/{tenant}/users/{user}/config` means.
pub fn level(uri: &Uri) -> Result<Level, Problem> {
    let mut segments = uri.path().split('/').skip(2);
    match (segments.next(), segments.nth(1)) {
        (Some("tenants"), Some("users")) => {
            let user = segment(uri, 5, "user")?;
            Ok(Level::User(tenant(uri)?, User::new(&user)?))
        }
        (Some("tenants"), _) => Ok(Level::Tenant(tenant(uri)?)),
        _ => Ok(Level::Global),
    }
}

/// One segment of the path, decoded strictly: a path names one tenant or user, or none.
fn segment<'a>(uri: &'a Uri, index: usize, what: &str) -> Result<Cow<'a, str>, Problem> {
    let raw = uri.path().split('/').nth(index).unwrap_or_default();
    decoded(raw).map_err(|why| {
        let detail = match why {
            Undecodable::Digits => DIGITS.replace("{}", "path"),
            Undecodable::Utf8 => format!("the {what} in the path is not UTF-8"),
        };
        Problem::bad("malformed-path", detail)
    })
}

const DIGITS: &str = "a % in the {} must be followed by two hexadecimal digits";

/// Why a part of a URL stands for no text.
enum Undecodable {
    Digits,
    Utf8,
}

/// What a part of a URL stands for: one text, or none.
fn decoded(raw: &str) -> Result<Cow<'_, str>, Undecodable> {
    let mut rest = raw.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let digits = rest.get(at + 1..at + 3);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(Undecodable::Digits);
        }
        rest = &rest[at + 3..];
    }
    let bytes = percent_encoding::percent_decode_str(raw);
    bytes.decode_utf8().map_err(|_| Undecodable::Utf8)
}

/// Query parameters of a call.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Refuses names that the call does not know, and names given twice.
    pub fn read(uri: &Uri, known: &[&str]) -> Result<Query, Problem> {
        if uri.query().is_none() {
            return Ok(Query(Vec::new()));
        }
        let bad = |detail: String| Problem::bad("invalid-parameter", detail);
        // The form decoder takes anything for something: two ids could become one.
        decoded(uri.query().unwrap_or_default()).map_err(|why| {
            bad(match why {
                Undecodable::Digits => DIGITS.replace("{}", "query"),
                Undecodable::Utf8 => "the query is not UTF-8".to_owned(),
            })
        })?;
        let axum::extract::Query(pairs) =
            axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
                .map_err(|rejection| bad(rejection.body_text()))?;
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let takes = if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                };
                return Err(bad(format!(
                    "unknown query parameter {name:?}; this call takes {takes}"
                )));
            }
            if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(bad(format!(
                    "query parameter {name} is given more than once"
                )));
            }
        }
        Ok(Query(pairs))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::bad(
                "invalid-parameter",
                format!("{name} must be true or false"),
            )),
        }
    }
}

/// Reads a body that should be JSON, of at most `limit` bytes: its text, without a byte order mark.
pub async fn json(head: &Parts, sent: Body, limit: usize) -> Result<Held<String>, Problem> {
    let bytes = body(head, sent, limit).await?;
    bytes.try_map(|bytes| {
        let text = utf8::text(bytes.into());
        text.map_err(|error| Malformed(error.to_string()).into())
    })
}

/// Reads a body of at most `limit` bytes, counted after decompression.
pub async fn body(head: &Parts, body: Body, limit: usize) -> Result<Held<Bytes>, Problem> {
    let mut room = Room::new(&head.extensions);
    let coding = coding::of(&head.headers)?;
    let mut bytes = as_sent(&head.headers, body, limit, &mut room).await?;
    if let Some(coding) = coding {
        bytes = coding::unpack(coding, bytes, limit, &mut room).await?;
    }
    Ok(room.hold(bytes))
}

async fn as_sent(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    room: &mut Room<'_>,
) -> Result<Bytes, Problem> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    // A client that asks first need not send what is refused anyway.
    if announced.is_some_and(|size| size > limit as u64) && headers.contains_key(EXPECT) {
        return Err(Problem::too_large(limit));
    }
    let announced = announced.and_then(|size| usize::try_from(size).ok());
    let announced = announced.filter(|size| *size <= limit);
    let mut reading = std::pin::pin!(collect(body, announced, limit, room));
    // A small body comes with its head: no clock is needed for it.
    if let Poll::Ready(read) = futures::poll!(reading.as_mut()) {
        return read;
    }
    tokio::time::timeout(BODY_TIME, reading)
        .await
        .unwrap_or_else(|_| {
            let detail = format!("the body did not arrive within {} s", BODY_TIME.as_secs());
            Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "body-timeout",
                detail,
            ))
        })
}

async fn collect(
    body: Body,
    mut announced: Option<usize>,
    limit: usize,
    room: &mut Room<'_>,
) -> Result<Bytes, Problem> {
    let mut chunks = body.into_data_stream();
    let mut first = Bytes::new();
    let mut whole = Vec::new();
    let mut size = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(unreadable)?;
        size += chunk.len();
        if size > limit {
            // Dropped; only its end is of interest.
            (first, whole) = (Bytes::new(), Vec::new());
            if size > limit + TOO_LARGE_DRAIN {
                break;
            }
            continue;
        }
        if size > SMALL
            && let Err(problem) = room.take().await
        {
            drop((first, whole, chunk));
            drain(&mut chunks).await;
            return Err(problem);
        }
        // Not before it has its place: who announces much and sends nothing holds nothing.
        if size > SMALL
            && let Some(all) = announced.take()
        {
            whole.reserve_exact(all.saturating_sub(whole.len()));
        }
        if whole.is_empty() && first.is_empty() {
            first = chunk;
        } else {
            memory::grow(&mut whole, first.len() + chunk.len(), limit);
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&chunk);
        }
    }
    match (size > limit, whole.is_empty()) {
        (true, _) => Err(Problem::too_large(limit)),
        (false, true) => Ok(first),
        (false, false) => Ok(whole.into()),
    }
}

/// Lets the rest of a body that nobody wants arrive, for a while: a client that only reads after
/// writing should see why.
pub async fn drain(chunks: &mut BodyDataStream) {
    let read = async {
        let mut size = 0;
        while let Some(Ok(chunk)) = chunks.next().await {
            size += chunk.len();
            if size > DRAIN {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, read).await;
}

/// Why the rest of a body does not come.
pub fn unreadable(error: axum::Error) -> Problem {
    let error = error.into_inner();
    match error.downcast_ref::<Stalled>() {
        Some(stalled) => Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body-timeout",
            stalled.to_string(),
        ),
        None => Problem::bad("body-incomplete", "the body ended too early"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Result<String, (u16, String)> {
        tenant(&path.parse().expect("a URI"))
            .map(|tenant| tenant.as_str().to_owned())
            .map_err(|problem| (problem.status.as_u16(), problem.detail))
    }

    #[test]
    fn tenants_may_hold_anything_that_can_be_encoded() {
        assert_eq!(of("/v1/tenants/acme/policy").as_deref(), Ok("acme"));
        assert_eq!(
            of("/v1/tenants/a%2Fb%25%3A%20%C3%BC/policy").as_deref(),
            Ok("a/b%: ü")
        );
        assert_eq!(of("/v1/tenants/a+b/history").as_deref(), Ok("a+b"));
    }

    #[test]
    fn paths_that_name_no_tenant_say_why() {
        for (path, status, word) in [
            ("/v1/tenants/%FF/policy", 400, "UTF-8"),
            ("/v1/tenants/100%/policy", 400, "hexadecimal"),
            ("/v1/tenants/%zz/policy", 400, "hexadecimal"),
            ("/v1/tenants/%2E%2E/policy", 422, "`..`"),
            ("/v1/tenants/a%0Ab/policy", 422, "U+000A"),
        ] {
            let (got, detail) = of(path).expect_err(path);
            assert_eq!(got, status, "{path}");
            assert!(detail.contains(word), "{path}: {detail}");
        }
    }

    #[test]
    fn unknown_and_repeated_parameters_are_named() {
        let read = |query: &str| {
            let uri: Uri = format!("/x?{query}").parse().expect("a URI");
            Query::read(&uri, &["limit", "cursor"]).map_err(|problem| problem.detail)
        };
        assert!(read("limit=5&cursor=%20x").is_ok_and(|query| query.get("cursor") == Some(" x")));
        assert!(read("Limit=5").expect_err("unknown").contains("\"Limit\""));
        for lossy in [
            "cursor=%ff",
            "cursor=%zz",
            "cursor=%",
            "limit=5&cursor=%f0%9d",
        ] {
            let why = read(lossy).expect_err(lossy);
            assert!(
                why.contains("UTF-8") || why.contains("hexadecimal"),
                "{why}"
            );
        }
        assert!(
            read("limit=5&limit=6")
                .expect_err("twice")
                .contains("limit")
        );
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
        let read = |size: usize| async move {
            let chunks: Vec<Result<Bytes, std::io::Error>> = vec![b'x'; size]
                .chunks(7)
                .map(|part| Ok(Bytes::copy_from_slice(part)))
                .collect();
            let stream = Body::from_stream(futures::stream::iter(chunks));
            let (head, ()) = http::Request::new(()).into_parts();
            body(&head, stream, 100).await.map(|bytes| bytes.len())
        };
        assert_eq!(read(0).await, Ok(0));
        assert_eq!(read(100).await, Ok(100));
        assert_eq!(read(101).await, Err(Problem::too_large(100)));
    }
}

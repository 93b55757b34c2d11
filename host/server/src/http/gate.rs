//! Who passes: every request comes by here before anything else looks at it, its body included. Who
//! asks is settled first (401), then whether they may (403), and only then whether there is such a
//! call (404, 405). Which call needs what its route says, what a role may do is in `access`.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{ALLOW, AUTHORIZATION, EXPECT, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::input;
use super::problem::Problem;
use super::route::Route;
use super::routes::{Found, find, methods};
use crate::access::{Access, Denied, Need, Principal};

/// Who has passed, and the route that they take; nobody, if it is open to everybody.
pub type Admitted = (Option<Arc<Principal>>, &'static Route);

pub fn admit(
    access: &Access,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Admitted, Denial> {
    let found = find(method, uri.path());
    // Who may know of a path is who may make the first of its calls.
    let route = match found {
        Found::Call(route) | Found::Path(route) => Some(route),
        Found::Nothing => None,
    };
    let principal = match route.map(|route| route.need) {
        Some(Need::Nothing) => None,
        _ => Some(access.principal(token(headers))?),
    };
    if let (Some(route), Some(principal)) = (route, &principal) {
        match route.need {
            // Of the tenants in the body: the handler looks, as nobody else knows them.
            Need::Nothing | Need::Resolve => {}
            Need::Read | Need::Write => {
                // What names no tenant is nobody's own; whoever may do everything is told what is
                // wrong with it.
                let tenant = route.tenant_in(uri.path());
                let tenant = tenant.as_ref().map_or("", |tenant| tenant.as_str());
                principal.require(route.need, tenant)?;
            }
            Need::Metrics | Need::Everything => principal.require(route.need, "")?,
        }
    }
    match found {
        Found::Call(route) => Ok((principal, route)),
        Found::Path(_) => Err(Denial::Method),
        Found::Nothing => Err(Denial::Nothing),
    }
}

/// The token of a request (RFC 6750 2.1).
fn token(headers: &HeaderMap) -> Result<&str, Denied> {
    const FORM: Denied =
        Denied::Unauthenticated("the Authorization header is not `Bearer` and a token");
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Denied::Unauthenticated(
        "the call needs a token: Authorization: Bearer TOKEN",
    ))?;
    if values.next().is_some() {
        return Err(Denied::Unauthenticated(
            "there are several Authorization headers",
        ));
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or(FORM)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim_matches(' '))
    } else {
        Err(FORM)
    }
}

/// Why somebody does not pass.
#[derive(Debug, PartialEq, Eq)]
pub enum Denial {
    /// Whoever they are.
    Problem(Box<Problem>),
    Denied(Denied),
    /// They are known, and there is nothing for them.
    Nothing,
    /// They may know of the path, which does not take the method.
    Method,
}

impl From<Denied> for Denial {
    fn from(denied: Denied) -> Denial {
        Denial::Denied(denied)
    }
}

impl Denial {
    /// The answer, after the body has had its chance to arrive; a client that asks first need not
    /// send it.
    pub async fn answer(self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        if !head.headers.contains_key(EXPECT) {
            input::drain(&mut body.into_data_stream()).await;
        }
        match self {
            Denial::Problem(problem) => problem.into_response(),
            Denial::Denied(denied) => Problem::from(denied).into_response(),
            Denial::Nothing => Problem::nothing_at(head.uri.path()).into_response(),
            Denial::Method => {
                let path = head.uri.path();
                let mut response = Problem::not_taken(path, &head.method).into_response();
                if let Ok(methods) = HeaderValue::from_str(&methods(path)) {
                    response.headers_mut().insert(ALLOW, methods);
                }
                response
            }
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Problem {
        tracing::debug!(%denied, "a request was turned away");
        let detail = denied.to_string();
        let (status, code, challenge) = match denied {
            Denied::Unauthenticated(_) => {
                let bearer = HeaderValue::from_static("Bearer");
                (StatusCode::UNAUTHORIZED, "unauthenticated", Some(bearer))
            }
            Denied::Invalid(_) | Denied::UnknownKey { .. } => {
                let invalid = challenge_invalid(&detail);
                (StatusCode::UNAUTHORIZED, "invalid-token", Some(invalid))
            }
            Denied::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "keys-unavailable", None),
            Denied::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden", None),
        };
        Problem {
            retry: denied == Denied::Unavailable,
            demand: challenge.map(|value| Box::new((WWW_AUTHENTICATE, value))),
            ..Problem::new(status, code, detail)
        }
    }
}

/// What a client is told whose token is not good (RFC 6750 3).
fn challenge_invalid(detail: &str) -> HeaderValue {
    let text = format!("Bearer error=\"invalid_token\", error_description=\"{detail}\"");
    HeaderValue::from_str(&text)
        .unwrap_or(HeaderValue::from_static("Bearer error=\"invalid_token\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<String, Denied> {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("header text");
            headers.append(AUTHORIZATION, value);
        }
        token(&headers).map(str::to_owned)
    }

    #[test]
    fn one_bearer_token_is_taken_in_any_case_of_the_scheme() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c"] {
            assert_eq!(read(&[value]).as_deref(), Ok("a.b.c"), "{value}");
        }
        for values in [
            &[][..],
            &["a.b.c"],
            &["Basic dTpw"],
            &["Bearer"],
            &["Bearer\u{e9} x"],
            &["Bearer a.b.c", "Bearer a.b.c"],
        ] {
            let denied = read(values).expect_err("none");
            assert!(matches!(denied, Denied::Unauthenticated(_)), "{values:?}");
        }
    }

    #[test]
    fn an_open_gate_lets_everybody_do_everything() {
        let passed = |method: Method, path: &str| {
            let uri = path.parse().expect("a URI");
            let admitted = admit(&Access::open(), &method, &uri, &HeaderMap::new());
            admitted.map(|(principal, _)| principal)
        };
        for path in ["/v1/tenants/t/policy", "/v1/component", "/metrics"] {
            let principal = passed(Method::GET, path)
                .expect("passes")
                .expect("somebody");
            assert_eq!(principal.actor(), "anonymous");
        }
        assert_eq!(passed(Method::GET, "/healthz"), Ok(None));
        assert_eq!(passed(Method::PUT, "/healthz"), Err(Denial::Method));
        assert_eq!(passed(Method::GET, "/x"), Err(Denial::Nothing));
    }
}

//! Who passes: every request comes by here before anything else looks at it, its body included. Who
//! asks is settled first (401), then whether they may (403), and only then whether there is such a
//! call (404, 405). Which call needs what is in `rules`, what a role may do in `access`.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{ALLOW, AUTHORIZATION, EXPECT};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::input;
use super::problem::Problem;
use super::rules::{Rule, methods, rule};
use crate::access::{Access, Denied, Need, Principal};

/// `Ok(None)`: the call is open to everybody.
pub fn admit(
    access: &Access,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Option<Arc<Principal>>, Denial> {
    let (found, taken) = rule(method, uri.path());
    if found == Rule::Open {
        return if taken { Ok(None) } else { Err(Denial::Method) };
    }
    let principal = access.principal(token(headers))?;
    // What names no tenant is nobody's own; whoever may do everything is told what is wrong with
    // it.
    let tenant = || input::tenant(uri).map_or(String::new(), |tenant| tenant.as_str().to_owned());
    match found {
        Rule::Open | Rule::Resolve => {}
        Rule::Read => principal.require(Need::Read(&tenant()))?,
        Rule::Write => principal.require(Need::Write(&tenant()))?,
        Rule::Metrics => principal.require(Need::Metrics)?,
        Rule::Admin => principal.require(Need::Everything)?,
        // Whoever may not do everything finds nothing where no rule is.
        Rule::None if !principal.may(Need::Everything) => return Err(Denial::Nothing),
        Rule::None => {}
    }
    // The router may know a method that no rule is for: that is for whoever may do everything.
    if !taken && !principal.may(Need::Everything) {
        return Err(Denial::Method);
    }
    Ok(Some(principal))
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
        let (status, code) = match denied {
            Denied::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            Denied::Invalid(_) | Denied::UnknownKey { .. } => {
                (StatusCode::UNAUTHORIZED, "invalid-token")
            }
            Denied::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "keys-unavailable"),
            Denied::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
        };
        Problem {
            retry: denied == Denied::Unavailable,
            ..Problem::new(status, code, denied.to_string())
        }
    }
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
            admit(&Access::open(), &method, &uri, &HeaderMap::new())
        };
        for path in ["/v1/tenants/t/policy", "/v1/component", "/metrics", "/x"] {
            let principal = passed(Method::GET, path)
                .expect("passes")
                .expect("somebody");
            assert_eq!(principal.actor(), "anonymous");
        }
        assert_eq!(passed(Method::GET, "/healthz"), Ok(None));
        assert_eq!(passed(Method::PUT, "/healthz"), Err(Denial::Method));
    }
}

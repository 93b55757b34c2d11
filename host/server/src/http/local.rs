//! Who is served in development, where nobody needs a token: programs of this machine, and no web
//! page that a browser on it happens to show. A page can make its browser send requests to any
//! address; what it cannot do is choose the host that the browser says it asks (which a name that
//! is made to point here shows), hide where it comes from, or say that its body is JSON without
//! asking first. Not for access by tokens (`gate`).

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version};

use super::headers::{expect_no_form, media_type};
use super::problem::Problem;
use super::routes::{Found, find};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// How a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Tcp,
    /// No browser speaks to a socket; who asks in a browser's words has a proxy between.
    Unix,
}

pub fn check(way: Way, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let is_page = headers.contains_key(ORIGIN) || headers.contains_key(SEC_FETCH_SITE);
    if way == Way::Tcp || is_page {
        hosts(request)?;
    }
    if is_page {
        of_itself(request)?;
    }
    let bodies = [Method::POST, Method::PUT, Method::PATCH];
    // What is no call needs nothing.
    let found = find(request.method(), request.uri().path());
    match matches!(found, Found::Call(_)) && bodies.contains(request.method()) {
        true => no_form(headers),
        false => Ok(()),
    }
}

/// Every name of a host that the request bears is one of this machine.
fn hosts(request: &Request) -> Result<(), Problem> {
    let authority = request.uri().authority();
    let named = request.headers().get_all(HOST).iter().map(authority_of);
    let mut all = named.chain(authority.map(|authority| Some(authority.clone())));
    let misdirected = |what: &str| {
        let detail = format!(
            "with --dev only localhost, 127.0.0.1 and [::1] are asked, and {what}; under other names, serve \
             without --dev and with a key to check tokens by"
        );
        Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", detail)
    };
    let mut none = true;
    for host in &mut all {
        none = false;
        let is_here = host.as_ref().is_some_and(|host| is_here(host.host()));
        if !is_here {
            return Err(misdirected("the request names another host"));
        }
    }
    // Probes in HTTP/1.0 need not; browsers always do.
    if none && request.version() > Version::HTTP_10 {
        return Err(misdirected("the request names no host"));
    }
    Ok(())
}

fn authority_of(value: &HeaderValue) -> Option<Authority> {
    let authority: Authority = value.to_str().ok()?.parse().ok()?;
    // `user@host` is no host.
    (!authority.as_str().contains('@')).then_some(authority)
}

/// A name that no DNS server can have a say in.
fn is_here(host: &str) -> bool {
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address: Result<IpAddr, _> = address.parse();
    address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// A page asks, and it is one that came from here.
fn of_itself(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let host = request.uri().authority().cloned();
    let host = host.or_else(|| headers.get(HOST).and_then(authority_of));
    let same = |origin: &HeaderValue| {
        let origin = origin.to_str().unwrap_or_default();
        let rest = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        let host = host.as_ref().map(Authority::as_str);
        rest.zip(host)
            .is_some_and(|(rest, host)| rest.eq_ignore_ascii_case(host))
    };
    let site = |value: &HeaderValue| value == "same-origin" || value == "none";
    let is_own = headers.get_all(ORIGIN).iter().all(same)
        && headers.get_all(SEC_FETCH_SITE).iter().all(site);
    if is_own {
        return Ok(());
    }
    let detail = "with --dev no page of another origin is answered, since nobody needs a token";
    Err(Problem::new(StatusCode::FORBIDDEN, "cross-site", detail))
}

/// What changes something says what its body is, even if it has none, and is no form.
fn no_form(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(CONTENT_TYPE).map(media_type);
    let detail = match kind.as_deref() {
        None | Some("") => {
            "with --dev a request that changes or asks something must say what it sends: \
             Content-Type: application/json"
                .to_owned()
        }
        Some(_) => return expect_no_form(headers, "application/json"),
    };
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Err(Problem::new(status, "unsupported-media-type", detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    /// The status of a refusal, 0 if there is none.
    fn status(way: Way, method: &str, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        check(way, &request).map_or_else(|problem| problem.status.as_u16(), |()| 0)
    }

    fn get(headers: &[(&str, &str)]) -> u16 {
        status(Way::Tcp, "GET", "/healthz", headers)
    }

    #[test]
    fn only_names_of_this_machine_are_asked() {
        for host in [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1",
            "127.0.0.1:7171",
            "127.8.9.1",
            "[::1]",
            "[::1]:7171",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert_eq!(get(&[("host", host)]), 0, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:7171",
            "evil-localhost",
            "app.localhost",
            "localhost.",
            "0.0.0.0:7171",
            "10.0.0.7",
            "[::]",
            "2130706433",
            "0x7f.1",
            "localhost@evil.example",
            "evil.example@localhost",
            "localhost:7171@evil.example",
            "",
            "a b",
            "localhost/evil",
            "[::1",
        ] {
            assert_eq!(get(&[("host", host)]), 421, "{host}");
        }
        assert_eq!(get(&[]), 421, "none");
        let probe = Request::builder().version(Version::HTTP_10);
        let probe = probe.body(Body::empty()).expect("a request");
        assert_eq!(check(Way::Tcp, &probe), Ok(()));
        let both = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(get(&both), 421);
        let local = [("host", "localhost:7171")];
        let absolute = |uri: &str| status(Way::Tcp, "GET", uri, &local);
        assert_eq!(absolute("http://evil.example/healthz"), 421);
        assert_eq!(absolute("http://localhost:7171/healthz"), 0);
        // HTTP/2 names the host in the address alone.
        let uri = "http://127.0.0.1:7171/healthz";
        assert_eq!(status(Way::Tcp, "GET", uri, &[]), 0);
    }

    #[test]
    fn a_page_of_another_origin_is_not_answered() {
        let page = |name: &str, value: &str| get(&[("host", "localhost:7171"), (name, value)]);
        for origin in [
            "null",
            "",
            "http://evil.example",
            "http://localhost:3000",
            "http://localhost",
            "http://127.0.0.1:7171",
            "http://localhost:7171.evil.example",
            "http://localhost:7171@evil.example",
            "file://",
            "chrome-extension://localhost:7171",
        ] {
            assert_eq!(page("origin", origin), 403, "{origin}");
        }
        for origin in ["http://localhost:7171", "https://LOCALHOST:7171"] {
            assert_eq!(page("origin", origin), 0, "{origin}");
        }
        for (site, expected) in [
            ("cross-site", 403),
            ("same-site", 403),
            ("", 403),
            ("same-origin", 0),
            ("none", 0),
        ] {
            assert_eq!(page("sec-fetch-site", site), expected, "{site}");
        }
        let two = [
            ("host", "localhost:7171"),
            ("origin", "http://localhost:7171"),
            ("origin", "null"),
        ];
        assert_eq!(get(&two), 403);
    }

    #[test]
    fn what_a_page_can_send_without_asking_is_no_request() {
        let sent = |method: &str, kind: Option<&str>| {
            let mut headers = vec![("host", "localhost")];
            headers.extend(kind.map(|kind| ("content-type", kind)));
            let path = match method {
                "POST" => "/v1/caches/purge",
                "PATCH" => "/v1/caches",
                _ => "/v1/component",
            };
            status(Way::Tcp, method, path, &headers)
        };
        for method in ["POST", "PUT", "PATCH"] {
            for kind in [
                None,
                Some(""),
                Some("text/plain"),
                Some(" Text/Plain ;charset=utf-8"),
                Some("text/plain; application/json"),
                Some("application/x-www-form-urlencoded"),
                Some("multipart/form-data; boundary=x"),
            ] {
                assert_eq!(sent(method, kind), 415, "{method} {kind:?}");
            }
            for kind in ["application/json", "application/wasm"] {
                assert_eq!(sent(method, Some(kind)), 0, "{method} {kind}");
            }
        }
        assert_eq!(sent("DELETE", None), 0, "a page has to ask first");
        assert_eq!(sent("GET", None), 0);
    }

    #[test]
    fn on_a_socket_the_host_is_anybodys_unless_a_browser_asks() {
        let asked = |headers: &[(&str, &str)]| status(Way::Unix, "GET", "/", headers);
        assert_eq!(asked(&[]), 0);
        assert_eq!(asked(&[("host", "ordain")]), 0);
        let page = |host, origin| asked(&[("host", host), ("origin", origin)]);
        assert_eq!(page("evil.example", "http://evil.example"), 421);
        assert_eq!(page("localhost", "http://evil.example"), 403);
        assert_eq!(page("localhost", "http://localhost"), 0);
    }
}

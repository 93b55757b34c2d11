//! Which route a request takes. What is not found here is not there: the gate, the router and
//! `Allow` all go by this. Not for the routes themselves (`api`).

use axum::http::Method;

use super::api::ROUTES;
use super::route::Route;

/// What there is for a request.
#[derive(Clone, Copy)]
pub enum Found {
    Call(&'static Route),
    /// The path, which does not take the method. The first route at it says who is told so.
    Path(&'static Route),
    Nothing,
}

/// All routes.
pub fn all() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().copied().flatten()
}

/// What there is for a request; HEAD is taken where GET is.
pub fn find(method: &Method, path: &str) -> Found {
    let is_head = *method == Method::HEAD;
    let mut at_path = Found::Nothing;
    for route in all().filter(|route| route.is_at(path)) {
        if route.method == *method || (is_head && route.method == Method::GET) {
            return Found::Call(route);
        }
        if let Found::Nothing = at_path {
            at_path = Found::Path(route);
        }
    }
    at_path
}

/// What a path takes, as the header `Allow` has it.
pub fn methods(path: &str) -> String {
    let names = all()
        .filter(|route| route.is_at(path))
        .map(|route| match route.method.as_str() {
            "GET" => "GET,HEAD",
            other => other,
        });
    names.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Need;

    /// Who may make a call, and whether it is one.
    fn of(method: &str, path: &str) -> (Option<Need>, bool) {
        match find(&method.parse().expect("a method"), path) {
            Found::Call(route) => (Some(route.need), true),
            Found::Path(first) => (Some(first.need), false),
            Found::Nothing => (None, false),
        }
    }

    #[test]
    fn what_is_open_is_little() {
        let open = all().filter(|route| route.need == Need::Nothing);
        let paths: Vec<&str> = open.map(|route| route.path).collect();
        assert_eq!(paths, ["/healthz", "/readyz", "/openapi.json"]);
        for path in [
            "/healthz/",
            "//healthz",
            "/healthz/x",
            "/%68ealthz",
            "/v1/healthz",
        ] {
            assert_eq!(of("GET", path), (None, false), "{path}");
        }
    }

    #[test]
    fn no_two_routes_are_one_call_and_what_is_of_a_tenant_has_it_in_its_path() {
        let mut calls: Vec<_> = all().map(|one| (one.path, one.method.as_str())).collect();
        let count = calls.len();
        calls.sort();
        calls.dedup();
        assert!(count > 30 && calls.len() == count, "{calls:?}");
        for route in all() {
            let has_tenant = route.names().any(|name| name == "tenant");
            let is_of_tenant = matches!(route.need, Need::Read | Need::Write);
            assert_eq!(has_tenant, is_of_tenant, "{}", route.path);
        }
    }

    #[test]
    fn reading_and_writing_are_told_apart_and_a_method_that_is_not_here_is_not_taken() {
        let policy = "/v1/tenants/a%2Fb/policy";
        for (method, expected) in [
            ("GET", (Need::Read, true)),
            ("HEAD", (Need::Read, true)),
            ("PUT", (Need::Write, true)),
            ("DELETE", (Need::Write, true)),
            ("PATCH", (Need::Read, false)),
            ("OPTIONS", (Need::Read, false)),
            ("get", (Need::Read, false)),
        ] {
            assert_eq!(
                of(method, policy),
                (Some(expected.0), expected.1),
                "{method}"
            );
        }
        assert_eq!(methods(policy), "GET,HEAD,PUT,DELETE");
        let trial = "/v1/tenants/t/policy/try";
        assert_eq!(of("POST", trial), (Some(Need::Write), true));
        assert_eq!(of("DELETE", "/v1/tenants"), (Some(Need::Everything), false));
        assert_eq!(of("GET", "/v1/resolve"), (Some(Need::Resolve), false));
        assert_eq!(of("POST", "/healthz"), (Some(Need::Nothing), false));
        for path in [
            "/",
            "/v1",
            "/v1/tenants/",
            "/v1/tenants//policy",
            "/v1/resolve/",
            "*",
        ] {
            assert_eq!(of("GET", path), (None, false), "{path}");
        }
    }
}

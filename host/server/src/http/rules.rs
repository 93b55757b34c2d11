//! Which call needs what: the one table that is asked before a request reaches its handler. A call
//! that is not in it is for admins alone, so a path or a method that is forgotten here is hidden
//! and not open.

use axum::http::Method;

/// What a caller needs to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nothing, not even a token.
    Open,
    /// To ask for the tenants in the body: the handler looks, as nobody else knows them.
    Resolve,
    /// To read what is of the tenant in the path.
    Read,
    /// To change what is of the tenant in the path.
    Write,
    /// To see the counters.
    Metrics,
    /// To do everything.
    Admin,
    /// There is no such path, as far as this table knows.
    None,
}

/// Path, method, rule. The first entry of a path also says who is told that it does not take a
/// method.
const RULES: &[(&str, &str, Rule)] = &[
    ("/v1/resolve", "POST", Rule::Resolve),
    ("/v1/tenants/{tenant}/policy", "GET", Rule::Read),
    ("/v1/tenants/{tenant}/policy", "PUT", Rule::Write),
    ("/v1/tenants/{tenant}/policy", "DELETE", Rule::Write),
    ("/v1/tenants/{tenant}/policy/try", "POST", Rule::Write),
    ("/v1/tenants/{tenant}/history", "GET", Rule::Read),
    ("/v1/tenants/{tenant}/config", "GET", Rule::Read),
    ("/v1/tenants/{tenant}/config/own", "GET", Rule::Read),
    ("/v1/tenants/{tenant}/config/own", "PATCH", Rule::Write),
    ("/v1/tenants/{tenant}/config/own", "DELETE", Rule::Write),
    ("/v1/tenants/{tenant}/config/own/history", "GET", Rule::Read),
    (
        "/v1/tenants/{tenant}/users/{user}/config",
        "GET",
        Rule::Read,
    ),
    (
        "/v1/tenants/{tenant}/users/{user}/config",
        "PATCH",
        Rule::Write,
    ),
    (
        "/v1/tenants/{tenant}/users/{user}/config",
        "DELETE",
        Rule::Write,
    ),
    (
        "/v1/tenants/{tenant}/users/{user}/config/history",
        "GET",
        Rule::Read,
    ),
    ("/v1/tenants", "GET", Rule::Admin),
    ("/v1/policies/import", "POST", Rule::Admin),
    ("/v1/config", "GET", Rule::Admin),
    ("/v1/config", "PATCH", Rule::Admin),
    ("/v1/config", "DELETE", Rule::Admin),
    ("/v1/config/history", "GET", Rule::Admin),
    ("/v1/component", "GET", Rule::Admin),
    ("/v1/component", "PUT", Rule::Admin),
    ("/v1/component", "DELETE", Rule::Admin),
    ("/v1/component/check", "POST", Rule::Admin),
    ("/v1/component/promote", "POST", Rule::Admin),
    ("/v1/component/rollback", "POST", Rule::Admin),
    ("/v1/caches", "GET", Rule::Admin),
    ("/v1/caches", "PATCH", Rule::Admin),
    ("/v1/caches/purge", "POST", Rule::Admin),
    ("/v1/log/prune", "POST", Rule::Admin),
    ("/metrics", "GET", Rule::Metrics),
    ("/healthz", "GET", Rule::Open),
    ("/readyz", "GET", Rule::Open),
    ("/openapi.json", "GET", Rule::Open),
];

/// The rule of a call, and whether the path takes the method. Segments are compared as they are
/// written, as the router does.
pub fn rule(method: &Method, path: &str) -> (Rule, bool) {
    let method = match method.as_str() {
        "HEAD" => "GET",
        other => other,
    };
    let mut of_path = Rule::None;
    for (pattern, taken, rule) in RULES {
        if !fits(pattern, path) {
            continue;
        }
        if *taken == method {
            return (*rule, true);
        }
        if of_path == Rule::None {
            of_path = *rule;
        }
    }
    (of_path, false)
}

/// What a path takes, as the header `Allow` has it.
pub fn methods(path: &str) -> String {
    let of_path = RULES.iter().filter(|(pattern, _, _)| fits(pattern, path));
    let names = of_path.map(|(_, method, _)| match *method {
        "GET" => "GET,HEAD",
        other => other,
    });
    names.collect::<Vec<_>>().join(",")
}

fn fits(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let fits = pattern.split('/').all(|wanted| {
        segments.next().is_some_and(|segment| match wanted {
            "{tenant}" | "{user}" => !segment.is_empty(),
            _ => segment == wanted,
        })
    });
    fits && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, path: &str) -> (Rule, bool) {
        rule(&method.parse().expect("a method"), path)
    }

    #[test]
    fn every_route_of_the_service_has_a_rule() {
        let routes = include_str!("routes.rs").split(".route(").skip(1);
        let paths: Vec<&str> = routes.filter_map(|rest| rest.split('"').nth(1)).collect();
        assert!(paths.len() >= 15, "{paths:?}");
        for path in paths {
            let known = RULES.iter().any(|(pattern, _, _)| *pattern == path);
            assert!(known, "{path} has no rule: who may call it?");
        }
    }

    #[test]
    fn every_call_is_documented_and_every_documented_call_is_there() {
        let document: serde_json::Value =
            serde_json::from_str(super::super::admin::OPENAPI).expect("JSON");
        assert_eq!(document["openapi"], "3.1.0");
        let mut documented = Vec::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            let calls = item.as_object().expect("an object").iter();
            for (method, call) in calls.filter(|(name, _)| *name != "parameters") {
                let open = call["security"].as_array().is_some_and(Vec::is_empty);
                documented.push((path.clone(), method.to_uppercase(), open));
            }
        }
        documented.sort();
        let mut known: Vec<_> = RULES
            .iter()
            .map(|(path, method, rule)| {
                let open = *rule == Rule::Open;
                ((*path).to_owned(), (*method).to_owned(), open)
            })
            .collect();
        known.sort();
        assert_eq!(documented, known, "docs/openapi.json");
    }

    #[test]
    fn what_is_open_is_little() {
        let open = RULES.iter().filter(|(_, _, rule)| *rule == Rule::Open);
        let paths: Vec<&str> = open.map(|(path, _, _)| *path).collect();
        assert_eq!(paths, ["/healthz", "/readyz", "/openapi.json"]);
        for path in [
            "/healthz/",
            "//healthz",
            "/healthz/x",
            "/%68ealthz",
            "/v1/healthz",
        ] {
            assert_eq!(of("GET", path), (Rule::None, false), "{path}");
        }
    }

    #[test]
    fn reading_and_writing_are_told_apart_and_a_method_that_is_not_here_is_not_taken() {
        let policy = "/v1/tenants/a%2Fb/policy";
        for (method, expected) in [
            ("GET", (Rule::Read, true)),
            ("HEAD", (Rule::Read, true)),
            ("PUT", (Rule::Write, true)),
            ("DELETE", (Rule::Write, true)),
            ("PATCH", (Rule::Read, false)),
            ("OPTIONS", (Rule::Read, false)),
            ("get", (Rule::Read, false)),
        ] {
            assert_eq!(of(method, policy), expected, "{method}");
        }
        assert_eq!(methods(policy), "GET,HEAD,PUT,DELETE");
        let trial = "/v1/tenants/t/policy/try";
        assert_eq!(of("POST", trial), (Rule::Write, true));
        assert_eq!(of("DELETE", "/v1/tenants"), (Rule::Admin, false));
        assert_eq!(of("GET", "/v1/resolve"), (Rule::Resolve, false));
        assert_eq!(of("POST", "/healthz"), (Rule::Open, false));
        for path in [
            "/",
            "/v1",
            "/v1/tenants/",
            "/v1/tenants//policy",
            "/v1/resolve/",
            "*",
        ] {
            assert_eq!(of("GET", path), (Rule::None, false), "{path}");
        }
    }
}

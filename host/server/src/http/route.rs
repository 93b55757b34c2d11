//! What a route is: the call, who may make it, its handler and what it says of itself, once and
//! beside that handler (`api`). Router, gate, `Allow` and the document come out of it. Not for
//! finding the route of a request (`routes`).

use std::borrow::Cow;

use axum::body::Body as Sent;
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::Response;
use futures::future::BoxFuture;

use super::app::App;
use super::contract::{Answer, Body, Parameter, Place};
use super::problem::Problem;
use super::query::Query;
use super::url::{DIGITS, Undecodable, decode};
use crate::access::Need;
use ordain_store::ids::{Level, Tenant, User};

/// A call that is offered.
pub struct Route {
    pub method: Method,
    /// Segments in braces are parameters, known by name.
    pub path: &'static str,
    /// What a caller needs to be allowed, of the tenant in the path if it is about one.
    pub need: Need,
    pub handler: Handler,
    /// `operationId` of the document.
    pub name: &'static str,
    pub summary: &'static str,
    pub parameters: &'static [Parameter],
    pub body: Option<Body>,
    pub answers: &'static [Answer],
}

/// Who answers.
pub enum Handler {
    /// The one call that is made all the time: without a box for its future.
    Resolve,
    Of(fn(App, Call) -> Answering),
}

pub type Answering = BoxFuture<'static, Result<Response, Problem>>;

/// A request with the route that it takes.
pub struct Call {
    pub route: &'static Route,
    pub parts: Parts,
    pub body: Sent,
}

impl Call {
    /// The tenant in the path.
    pub fn tenant(&self) -> Result<Tenant, Problem> {
        self.route.tenant_in(self.parts.uri.path())
    }

    /// Whose config the path means: a user's, a tenant's or everybody's.
    pub fn level(&self) -> Result<Level, Problem> {
        let path = self.parts.uri.path();
        if self.route.segment("user", path).is_some() {
            let user = User::new(&self.route.text_in("user", path)?)?;
            return Ok(Level::User(self.tenant()?, user));
        }
        match self.route.segment("tenant", path) {
            Some(_) => Ok(Level::Tenant(self.tenant()?)),
            None => Ok(Level::Global),
        }
    }

    /// The parameters after `?`: those that the route names, and no others.
    pub fn query(&self) -> Result<Query, Problem> {
        let named = self.route.parameters.iter();
        let named = named.filter(|one| one.place == Place::Query);
        let names: Vec<&str> = named.map(|one| one.name).collect();
        Query::read(&self.parts.uri, &names)
    }
}

impl Route {
    /// Whether it is at this path. Segments are compared as they are written.
    pub fn is_at(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        let fits = self.path.split('/').all(|wanted| {
            segments
                .next()
                .is_some_and(|segment| match parameter(wanted) {
                    Some(_) => !segment.is_empty(),
                    None => segment == wanted,
                })
        });
        fits && segments.next().is_none()
    }

    /// The tenant that a path of this route names.
    pub fn tenant_in(&self, path: &str) -> Result<Tenant, Problem> {
        Ok(Tenant::new(&self.text_in("tenant", path)?)?)
    }

    /// Names in the path.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(parameter)
    }

    /// A segment as it is written.
    fn segment<'a>(&self, name: &str, path: &'a str) -> Option<&'a str> {
        let mut pairs = self.path.split('/').zip(path.split('/'));
        let found = pairs.find(|(wanted, _)| parameter(wanted) == Some(name));
        found.map(|(_, segment)| segment)
    }

    /// A segment decoded strictly: a path names one tenant or user, or none.
    fn text_in<'a>(&self, name: &str, path: &'a str) -> Result<Cow<'a, str>, Problem> {
        let raw = self.segment(name, path).unwrap_or_default();
        decode(raw).map_err(|why| {
            let detail = match why {
                Undecodable::Digits => DIGITS.replace("{}", "path"),
                Undecodable::Utf8 => format!("the {name} in the path is not UTF-8"),
            };
            Problem::bad("malformed-path", detail)
        })
    }
}

/// The name of a segment that is a parameter.
fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &'static str) -> Route {
        Route {
            method: Method::GET,
            path,
            need: Need::Read,
            handler: Handler::Resolve,
            name: "",
            summary: "",
            parameters: &[],
            body: None,
            answers: &[],
        }
    }

    fn of(path: &str) -> Result<String, (u16, String)> {
        let route = match path.ends_with("/policy") {
            true => route("/v1/tenants/{tenant}/policy"),
            false => route("/v1/tenants/{tenant}/history"),
        };
        let tenant = route.tenant_in(path);
        tenant
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
    fn parameters_are_known_by_name_wherever_they_are_in_the_path() {
        let deep = route("/v1/of/{user}/x/{tenant}/y");
        let path = "/v1/of/ann/x/acme/y";
        assert!(deep.is_at(path) && !deep.is_at("/v1/of//x/acme/y"));
        assert_eq!(deep.segment("tenant", path), Some("acme"));
        assert_eq!(deep.segment("user", path), Some("ann"));
        assert_eq!(deep.segment("other", path), None);
        assert_eq!(deep.names().collect::<Vec<_>>(), ["user", "tenant"]);
    }
}

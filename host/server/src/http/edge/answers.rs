//! What is answered on one connection: what the service says, and that clients should go elsewhere
//! when the instance is about to go or has no room.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode, Version};
use axum::response::Response;
use futures::future::BoxFuture;
use hyper::body::Incoming;

use super::super::local::{self, Way};
use super::super::problem::Problem;
use super::super::service::Service;
use super::Edge;
use super::body::{Patient, UnderWay};
use super::connection::Connection;

/// Calls that are answered even if there is no room: whether the instance lives, and how it fares.
const ALWAYS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Says of an answer that its body is a part of the program, and holds nothing.
#[derive(Clone)]
pub struct BuiltIn;

#[derive(Clone)]
pub struct Answers {
    pub service: Service,
    pub edge: Arc<Edge>,
    pub connection: Arc<Connection>,
    /// For development: only this machine's own programs are served.
    pub local: Option<Way>,
}

impl Answers {
    fn refusal(&self, request: &Request) -> Option<Problem> {
        if self.connection.extra && !ALWAYS.contains(&request.uri().path()) {
            return Some(no_room());
        }
        let way = self.local?;
        local::check(way, request).err()
    }
}

fn no_room() -> Problem {
    let detail = "there are as many connections as this instance takes";
    Problem {
        retry: true,
        ..Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too-many-connections",
            detail,
        )
    }
}

impl hyper::service::Service<hyper::Request<Incoming>> for Answers {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let (connection, edge) = (&self.connection, &self.edge);
        let under_way = UnderWay::begin(connection, edge);
        let is_http2 = request.version() == Version::HTTP_2;
        let request = request.map(|body| Patient::watch(body, connection, edge));
        let refusal = self.refusal(&request);
        let answer = self.service.clone().answer(request, refusal);
        let (connection, edge) = (connection.clone(), edge.clone());
        Box::pin(async move {
            let mut response = answer.await;
            if edge.is_leaving() || connection.extra {
                if is_http2 {
                    connection.leave();
                } else {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
            }
            let holds = response.extensions().get::<BuiltIn>().is_none();
            Ok(response.map(|body: Body| under_way.until_end_of(body, holds)))
        })
    }
}

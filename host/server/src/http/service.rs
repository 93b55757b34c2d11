//! What every request goes through before and after its handler. Not for what only some need: that
//! is in the handlers.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use futures::future::{BoxFuture, Either};

use super::api;
use super::app::App;
use super::edge::Edge;
use super::gate::{self, Admitted, Denial};
use super::headers::RequestId;
use super::names::REQUEST_ID;
use super::openapi;
use super::problem::Problem;
use super::route::{Call, Handler};
use crate::access::{Access, Denied};
use ordain::door::Ordain;

/// What holds for every request: it passes the gate, which finds its route, it has an id and its
/// answer the same, and a panic is an answer too.
#[derive(Clone)]
pub struct Service {
    app: App,
}

impl Service {
    /// All calls, also for whoever makes them without a listener.
    pub fn new(ordain: Ordain, deadline: Duration, access: Access, edge: Arc<Edge>) -> Service {
        let app = App {
            ordain,
            deadline,
            access,
            edge,
            document: &openapi::DOCUMENT,
        };
        Service { app }
    }

    pub(super) fn edge(&self) -> &Arc<Edge> {
        &self.app.edge
    }

    /// The answer to a request. `refusal`: nobody is asked, and this is why.
    pub(super) fn answer(
        self,
        request: Request,
        refusal: Option<Problem>,
    ) -> impl Future<Output = Response> {
        answered(request, |request, id: &RequestId| {
            self.handle(request, id, refusal)
        })
    }

    fn handle(
        self,
        request: Request,
        id: &RequestId,
        refusal: Option<Problem>,
    ) -> impl Future<Output = Response> + use<> {
        let admitted = match refusal {
            Some(problem) => Err(Denial::Problem(Box::new(problem))),
            None => self.admit(&request),
        };
        match admitted {
            Ok(admitted) => Either::Left(self.pass(request, admitted, id)),
            // Boxed: those who pass should not carry it.
            Err(denial) => Either::Right(Box::pin(self.refuse(request, denial, id.clone()))),
        }
    }

    fn admit(&self, request: &Request) -> Result<Admitted, Denial> {
        let (method, uri) = (request.method(), request.uri());
        gate::admit(&self.app.access, method, uri, request.headers())
    }

    /// A token may name a key that its provider has published since: then it is looked at once
    /// more.
    async fn refuse(self, request: Request, denial: Denial, id: RequestId) -> Response {
        let Denial::Denied(Denied::UnknownKey { tried }) = denial else {
            return denial.answer(request).await;
        };
        if !self.app.access.refresh(tried).await {
            return denial.answer(request).await;
        }
        match self.admit(&request) {
            Ok(admitted) => self.pass(request, admitted, &id).await,
            Err(denial) => denial.answer(request).await,
        }
    }

    fn pass(
        self,
        mut request: Request,
        (principal, route): Admitted,
        id: &RequestId,
    ) -> impl Future<Output = Response> + use<> {
        if let Some(principal) = principal {
            request.extensions_mut().insert(principal);
        }
        let (parts, body) = request.into_parts();
        let mut call = Call { route, parts, body };
        match route.handler {
            Handler::Resolve => {
                let answer = api::resolve(self.app, call);
                Either::Left(answer.map(IntoResponse::into_response))
            }
            Handler::Of(handle) => {
                call.parts.extensions.insert(id.clone());
                let answer = handle(self.app, call);
                Either::Right(answer.map(IntoResponse::into_response))
            }
        }
    }
}

/// Gives the request an id and the answer the same, also if the handler panics.
async fn answered<F: Future<Output = Response>>(
    request: Request,
    handle: impl FnOnce(Request, &RequestId) -> F,
) -> Response {
    let id = RequestId::of(request.headers());
    let is_head = request.method() == Method::HEAD;
    let line = tracing::enabled!(tracing::Level::DEBUG).then(|| {
        (
            request.method().clone(),
            request.uri().path().to_owned(),
            std::time::Instant::now(),
        )
    });
    // No state outlives a panic here: what handlers share is behind locks that bear it.
    let handled = AssertUnwindSafe(async { handle(request, &id).await });
    let mut response = handled.catch_unwind().await.unwrap_or_else(panicked);
    if let Some((method, path, start)) = line {
        let status = response.status().as_u16();
        let micros = start.elapsed().as_micros();
        tracing::debug!(%method, path, status, micros, request_id = id.as_str(), "answered");
    } else if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(request_id = id.as_str(), "a request failed");
    }
    response.headers_mut().insert(REQUEST_ID, id.0);
    match is_head {
        true => without_body(response),
        false => response,
    }
}

/// The answer to HEAD: all that GET has but the body.
fn without_body(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    if let Some(size) = body.size_hint().exact()
        && head.status != StatusCode::NOT_MODIFIED
    {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    }
    Response::from_parts(head, Body::empty())
}

impl tower::Service<Request> for Service {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(self.clone().answer(request, None).map(Ok))
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let cause = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("of unknown cause");
    tracing::error!(cause, "a handler panicked");
    Problem::internal().into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    async fn asked(path: &str, id: &str) -> Response {
        let request = Request::get(path).header(REQUEST_ID, id);
        let request = request.body(Body::empty()).expect("a request");
        answered(request, |request, _| async move {
            assert_ne!(request.uri().path(), "/broken", "on purpose");
            Response::default()
        })
        .await
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_and_every_answer_has_the_id_of_its_request() {
        let fine = asked("/fine", "mine").await;
        assert_eq!(fine.status(), 200);
        assert_eq!(fine.headers()[REQUEST_ID], "mine");
        let broken = asked("/broken", "mine").await;
        assert_eq!(broken.status(), 500);
        assert_eq!(broken.headers()[REQUEST_ID], "mine");
        assert_eq!(broken.headers()["content-type"], "application/problem+json");
    }

    #[tokio::test]
    async fn a_request_without_an_id_that_can_be_kept_gets_a_new_one() {
        let first = asked("/fine", "not one word").await;
        let second = asked("/fine", "").await;
        let id = |response: &Response| {
            let id = response.headers()[REQUEST_ID].to_str().expect("text");
            uuid::Uuid::parse_str(id).expect("a UUID")
        };
        assert_ne!(id(&first), id(&second));
        assert_eq!(id(&first).get_version_num(), 7);
    }
}

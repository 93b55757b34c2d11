//! `POST /v1/resolve`: one request or a list of them. Parses, asks [`Ordain`](ordain::door::Ordain)
//! and writes the answer; nothing is decided here.

use axum::http::Method;
use axum::response::Response;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::access::{Denied, Need, Principal};
use crate::http::answer::{USUAL_ANSWER, json, sized_json};
use crate::http::app::App;
use crate::http::contract::{self, Body};
use crate::http::parameters::MIN_REVISION;
use crate::http::problem::Problem;
use crate::http::route::{Call, Handler, Route};
use crate::http::{caller, headers, input};
use ordain::answer::{Answer, ResolveError};
use ordain::request::{self, Body as Requests, Fault, Item, Room, TenantRequest};

/// Largest body, one request or many.
pub const BODY_LIMIT: usize = 4 << 20;

pub const ROUTES: &[Route] = &[Route {
    method: Method::POST,
    path: "/v1/resolve",
    need: Need::Resolve,
    handler: Handler::Resolve,
    name: "resolve",
    summary: "Which provider and model may answer, for one request or up to 1,000",
    parameters: &[MIN_REVISION],
    body: Some(Body::json("Question")),
    answers: &[contract::Answer::json(
        200,
        "A decision or a refusal, or a list of them in order",
        "AnswerOrAnswers",
    )],
}];

pub async fn resolve(app: App, call: Call) -> Result<Response, Problem> {
    call.query()?;
    let Call { parts, body, .. } = call;
    let principal = caller::principal(&parts.extensions)?;
    headers::expect_json(&parts.headers)?;
    let min_revision = headers::min_revision(&parts.headers)?;
    let body = input::json(&parts, body, BODY_LIMIT).await?;
    match request::parse(&body, None)? {
        Requests::One(item) => {
            check_tenants(principal, &item)?;
            let mut one = item.map_err(|faulty| Problem::request(faulty.faults))?;
            one.request.min_revision = one.request.min_revision.max(min_revision);
            let ordain = app.ordain.charged_to(principal.charge());
            let answer = ordain.resolve(&one.tenant, &one.request).await?;
            json(&answer, answer.provenance.position)
        }
        Requests::Many(items) => {
            for item in &items {
                check_tenants(principal, item)?;
            }
            let (requests, outcome) = split(items, min_revision);
            let ordain = app.ordain.charged_to(principal.charge());
            let answers = ordain.resolve_batch(requests).await;
            outcome.respond(answers, app.watermark())
        }
        Requests::TooMany(count) => Err(Problem::batch_too_large(count)),
    }
}

/// Whether they may ask for every tenant that a request names, be it right otherwise or not.
fn check_tenants(principal: &Principal, item: &Item) -> Result<(), Denied> {
    match item {
        Ok(one) => principal.require(Need::Resolve, one.tenant.as_str()),
        Err(faulty) => faulty
            .tenants
            .iter()
            .try_for_each(|tenant| principal.require(Need::Resolve, tenant.as_str())),
    }
}

/// Takes the requests that can be asked out of a batch; what is left knows the place of each.
pub fn split(items: Vec<Item>, min_revision: u64) -> (Vec<TenantRequest>, Outcome) {
    let mut requests = Vec::with_capacity(items.len());
    let faulty = items
        .into_iter()
        .map(|item| match item {
            Ok(mut one) => {
                one.request.min_revision = one.request.min_revision.max(min_revision);
                requests.push(one);
                None
            }
            Err(faulty) => Some(faulty.faults),
        })
        .collect();
    (requests, Outcome { faulty })
}

/// The places of a batch: `Some` is a request that could not be asked.
pub struct Outcome {
    faulty: Vec<Option<Vec<Fault>>>,
}

impl Outcome {
    /// Puts the answers into their places. The batch is complete up to the lowest position of its
    /// answers, or up to `watermark` if it has none.
    pub fn respond(
        self,
        answers: Vec<Result<Answer, ResolveError>>,
        watermark: u64,
    ) -> Result<Response, Problem> {
        let position = answers
            .iter()
            .flatten()
            .map(|answer| answer.provenance.position)
            .min();
        let mut answers = answers.iter();
        // A stored record that breaks the rules has as many faults in each place where it is asked
        // for.
        let room = Room::default();
        let problem = |mut problem: Problem| {
            request::cut(&mut problem.errors, &room);
            Place::Problem(Box::new(problem))
        };
        let places: Vec<Place<'_>> = self
            .faulty
            .into_iter()
            .map(|faults| match faults {
                Some(faults) => problem(Problem::request(faults)),
                None => match answers.next() {
                    Some(Ok(answer)) => Place::Answer(answer),
                    Some(Err(error)) => problem(error.clone().into()),
                    None => problem(Problem::internal()),
                },
            })
            .collect();
        let room = places.len() * USUAL_ANSWER;
        sized_json(&Places(places), position.unwrap_or(watermark), room)
    }
}

enum Place<'a> {
    Answer(&'a Answer),
    Problem(Box<Problem>),
}

struct Places<'a>(Vec<Place<'a>>);

impl Serialize for Places<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for place in &self.0 {
            list.serialize_element(place)?;
        }
        list.end()
    }
}

impl Serialize for Place<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Place::Answer(answer) => answer.serialize(serializer),
            Place::Problem(problem) => {
                let mut object = serializer.serialize_map(Some(1))?;
                object.serialize_entry("problem", problem)?;
                object.end()
            }
        }
    }
}

//! `/v1/component`: which component runs, and replacing it while it runs. Only translates; `Ordain`
//! does the work.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as Sent;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Serialize;

use crate::access::Need;
use crate::http::answer::json;
use crate::http::app::App;
use crate::http::contract::{Answer, Body, Parameter, Place};
use crate::http::deadline::{bound, bound_repeatable, explain_repeatable};
use crate::http::memory::Held;
use crate::http::object::texts;
use crate::http::parameters::{CHANGE, MIN_REVISION, REASON, REASON_HEADER};
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::route::{Call, Handler, Route};
use crate::http::{headers, input};
use ordain::door::{Changed, ComponentError, Intent, InvalidRecord, is_share};
use ordain::request::{self, Fault, Room, fault};
use ordain::runtime::{BYTES_MAX, LoadError, Plan};
use ordain_store::Attribution;

/// Largest body of the other calls.
const BODY_LIMIT: usize = 16 << 10;
/// For a component to be compiled and asked all decision vectors.
const LOAD_DEADLINE: Duration = Duration::from_secs(60);
/// For stored records to be shown to a component, in one call.
const CHECK_PATIENCE: Duration = Duration::from_secs(5);

const COMPONENT: &str = "/v1/component";
const WASM: Body = Body::of(&["application/wasm"], "Wasm");
const SIGNATURE: Parameter = Parameter {
    key: "Ordain-Signature",
    name: "Ordain-Signature",
    place: Place::Header,
    description: "Ed25519 over the bytes, in base64",
    schema: r#"{"type": "string"}"#,
    example: r#""bm8gc2lnbmF0dXJl...""#,
};
const PROMOTE: Parameter = Parameter {
    key: "promote",
    name: "promote",
    place: Place::Query,
    description: "Swap to it at once",
    schema: r#"{"type": "boolean", "default": false}"#,
    example: "true",
};
const SHARE: Parameter = Parameter {
    key: "share",
    name: "share",
    place: Place::Query,
    description: "Of the requests it answers in the shadow",
    schema: r#"{"type": "number", "exclusiveMinimum": 0, "maximum": 1}"#,
    example: "0.1",
};
const PROMOTE_AFTER: Parameter = Parameter {
    key: "promoteAfter",
    name: "promoteAfter",
    place: Place::Query,
    description: "Swap to it after so many equal answers",
    schema: r#"{"type": "integer", "minimum": 1}"#,
    example: "10000",
};
const AFTER: Parameter = Parameter {
    key: "after",
    name: "after",
    place: Place::Query,
    description: "`nextCursor` of the call before",
    schema: r#"{"type": "string"}"#,
    example: r#""acme""#,
};
const DONE: &[Answer] = &[Answer::json(200, "Done", "ComponentChange")];

pub const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: COMPONENT,
        need: Need::Everything,
        handler: Handler::Of(|app, call| Box::pin(get(app, call))),
        name: "getComponent",
        summary: "Which component answers here, and how it fares",
        parameters: &[MIN_REVISION],
        body: None,
        answers: &[Answer::json(200, "The state", "Component")],
    },
    Route {
        method: Method::PUT,
        path: COMPONENT,
        need: Need::Everything,
        handler: Handler::Of(|app, call| Box::pin(put(app, call))),
        name: "pushComponent",
        summary: "Keeps a component and lets it answer in the shadow, or at once",
        parameters: &[
            PROMOTE,
            SHARE,
            PROMOTE_AFTER,
            SIGNATURE,
            REASON,
            REASON_HEADER,
        ],
        body: Some(WASM),
        answers: DONE,
    },
    Route {
        method: Method::DELETE,
        path: COMPONENT,
        need: Need::Everything,
        handler: Handler::Of(|app, call| Box::pin(withdraw(app, call))),
        name: "withdrawComponent",
        summary: "Ends the trial of the candidate",
        parameters: CHANGE,
        body: None,
        answers: DONE,
    },
    Route {
        method: Method::POST,
        path: "/v1/component/check",
        need: Need::Everything,
        handler: Handler::Of(|app, call| Box::pin(check(app, call))),
        name: "checkComponent",
        summary: "Whether a component fits, and stored records please it",
        parameters: &[AFTER, SIGNATURE],
        body: Some(WASM),
        answers: &[Answer::json(200, "What was found", "ComponentCheck")],
    },
    Route {
        method: Method::POST,
        path: "/v1/component/promote",
        need: Need::Everything,
        handler: Handler::Of(|app, call| Box::pin(promote(app, call))),
        name: "promoteComponent",
        summary: "Swaps the fleet to the candidate or to one that was pushed before",
        parameters: CHANGE,
        body: Some(Body::json("Promote").or_none()),
        answers: DONE,
    },
    Route {
        method: Method::POST,
        path: "/v1/component/rollback",
        need: Need::Everything,
        handler: Handler::Of(|app, call| Box::pin(roll_back(app, call))),
        name: "rollBackComponent",
        summary: "Swaps the fleet back",
        parameters: CHANGE,
        body: Some(Body::json("Nothing").or_none()),
        answers: DONE,
    },
];

#[derive(Serialize)]
struct ChangeAnswer<'a> {
    revision: u64,
    /// `file`: what each instance has.
    digest: &'a str,
    /// `candidate`, `promoted`, `rolled-back` or `withdrawn`.
    state: &'static str,
    /// This instance has carried it out already.
    done: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckAnswer {
    digest: String,
    vectors: usize,
    records: u64,
    invalid: Vec<InvalidView>,
    /// Give it as `after` to go on.
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct InvalidView {
    tenant: String,
    errors: Vec<Fault>,
}

async fn get(app: App, call: Call) -> Result<Response, Problem> {
    call.query()?;
    app.await_demanded(&call.parts.headers).await?;
    json(&app.ordain.component_report(), app.watermark())
}

async fn put(app: App, call: Call) -> Result<Response, Problem> {
    let query = call.query();
    let Call { parts, body, .. } = call;
    // First: whoever is still sending would not read what else is wrong.
    let bytes = read_bytes(&parts, body).await?;
    headers::expect_no_form(&parts.headers, "application/wasm")?;
    let query = query?;
    let intent = read_intent(&query)?;
    let signature = headers::signature(&parts.headers)?;
    let by = headers::attribution(&parts, &query)?;
    let push = app
        .ordain
        .push_component(bytes.clone(), signature, intent, &by);
    let changed = bound_repeatable(LOAD_DEADLINE, async { Ok(push.await?) }).await?;
    let state = match intent {
        Intent::Try(_) => "candidate",
        Intent::Promote => "promoted",
    };
    answer(&changed, state)
}

/// The bytes of a component, with their room.
async fn read_bytes(head: &Parts, body: Sent) -> Result<Held<Arc<[u8]>>, Problem> {
    let bytes = input::body(head, body, BYTES_MAX).await?;
    Ok(bytes.map(|bytes| bytes[..].into()))
}

fn read_intent(query: &Query) -> Result<Intent, Problem> {
    let bad = |detail: &str| Problem::bad("invalid-parameter", detail.to_owned());
    let mut plan = Plan::default();
    if let Some(text) = query.get("share") {
        let share = text.parse().ok().filter(|share| is_share(*share));
        plan.share = share.ok_or_else(|| bad("share must be a number above 0, at most 1"))?;
    }
    if let Some(text) = query.get("promoteAfter") {
        let count = text.parse().ok().filter(|count| *count > 0);
        plan.promote_after =
            Some(count.ok_or_else(|| bad("promoteAfter must be a whole number above 0"))?);
    }
    match query.flag("promote")? {
        false => Ok(Intent::Try(plan)),
        true if plan == Plan::default() => Ok(Intent::Promote),
        true => Err(bad(
            "share and promoteAfter are for a candidate: leave them out with promote=true",
        )),
    }
}

async fn promote(app: App, call: Call) -> Result<Response, Problem> {
    headers::expect_json(&call.parts.headers)?;
    let query = call.query()?;
    let Call { parts, body, .. } = call;
    let by = headers::attribution(&parts, &query)?;
    let body = input::json(&parts, body, BODY_LIMIT).await?;
    let [digest] = match body.is_empty() {
        true => [None],
        false => texts(&body, ["digest"])?,
    };
    let promote = app.ordain.promote_component(digest.as_deref(), &by);
    let changed = bound_repeatable(LOAD_DEADLINE, async { Ok(promote.await?) }).await?;
    answer(&changed, "promoted")
}

async fn roll_back(app: App, call: Call) -> Result<Response, Problem> {
    let by = read_bodiless(call).await?;
    let back = app.ordain.roll_component_back(&by);
    let changed = bound_repeatable(LOAD_DEADLINE, async { Ok(back.await?) }).await?;
    answer(&changed, "rolled-back")
}

async fn withdraw(app: App, call: Call) -> Result<Response, Problem> {
    let by = read_bodiless(call).await?;
    let withdraw = app.ordain.withdraw_component(&by);
    let changed = bound_repeatable(LOAD_DEADLINE, async { Ok(withdraw.await?) }).await?;
    answer(&changed, "withdrawn")
}

/// Who asks for what needs no body; an empty object is one, too.
async fn read_bodiless(call: Call) -> Result<Attribution, Problem> {
    headers::expect_json(&call.parts.headers)?;
    let query = call.query()?;
    let Call { parts, body, .. } = call;
    let body = input::json(&parts, body, BODY_LIMIT).await?;
    if !body.is_empty() {
        texts::<0>(&body, [])?;
    }
    headers::attribution(&parts, &query)
}

async fn check(app: App, call: Call) -> Result<Response, Problem> {
    let query = call.query();
    let Call { parts, body, .. } = call;
    let bytes = read_bytes(&parts, body).await?;
    headers::expect_no_form(&parts.headers, "application/wasm")?;
    let after = query?.get("after").map(str::to_owned);
    let signature = headers::signature(&parts.headers)?;
    let digest = ordain::runtime::digest(&bytes);
    let check =
        app.ordain
            .check_component(bytes.clone(), signature.as_deref(), after, CHECK_PATIENCE);
    let checked = bound(LOAD_DEADLINE, check).await??;
    let (room, invalid) = (Room::default(), checked.invalid.into_iter());
    let answer = CheckAnswer {
        digest,
        vectors: checked.vectors,
        records: checked.records,
        invalid: invalid.map(|one| invalid_view(one, &room)).collect(),
        next_cursor: checked.more_after,
    };
    json(&answer, app.watermark())
}

fn invalid_view((tenant, why): (String, InvalidRecord), room: &Room) -> InvalidView {
    let mut errors = match why {
        InvalidRecord::Faults(faults) => faults,
        other => vec![fault("", other.to_string())],
    };
    request::cut(&mut errors, room);
    InvalidView { tenant, errors }
}

fn answer(changed: &Changed, state: &'static str) -> Result<Response, Problem> {
    let answer = ChangeAnswer {
        revision: changed.revision,
        digest: changed.digest.as_deref().unwrap_or("file"),
        state,
        done: changed.done,
    };
    json(&answer, changed.revision)
}

impl From<ComponentError> for Problem {
    fn from(error: ComponentError) -> Problem {
        let detail = error.to_string();
        match error {
            ComponentError::Refused(why) => {
                let errors = match &why {
                    LoadError::Size { .. } => return Problem::too_large(BYTES_MAX),
                    LoadError::Busy(_) | LoadError::Denied(_) => {
                        return Problem::later("busy", detail);
                    }
                    LoadError::World(all) | LoadError::Vectors(all) => {
                        all.iter().map(|one| fault("", one.as_str())).collect()
                    }
                    _ => Vec::new(),
                };
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Problem {
                    errors,
                    ..Problem::new(status, "component-refused", detail)
                }
            }
            ComponentError::NoCandidate => {
                Problem::new(StatusCode::CONFLICT, "no-candidate", detail)
            }
            ComponentError::Unknown(_) => {
                Problem::new(StatusCode::NOT_FOUND, "component-unknown", detail)
            }
            ComponentError::NothingBefore => {
                Problem::new(StatusCode::CONFLICT, "nothing-to-roll-back", detail)
            }
            ComponentError::Changed => {
                Problem::new(StatusCode::CONFLICT, "component-changed", detail)
            }
            ComponentError::Write(error) => explain_repeatable(error),
            ComponentError::Read(error) => error.into(),
        }
    }
}

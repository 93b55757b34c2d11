//! `/v1/component`: which component runs, and replacing it while it runs. Only translates; `Ordain`
//! does the work.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use super::app::App;
use super::local::expect_no_form;
use super::memory::Held;
use super::policy::{settled, within};
use super::problem::Problem;
use super::resolve::json;
use super::upkeep::{repeatable, texts};
use super::{headers, input};
use ordain::door::{Changed, ComponentError, Intent, InvalidRecord, is_share};
use ordain::request::{self, Fault, Room, fault};
use ordain::runtime::{BYTES_MAX, LoadError, Plan};

/// Largest body of the other calls.
const BODY_LIMIT: usize = 16 << 10;
/// For a component to be compiled and asked all decision vectors.
const LOAD_DEADLINE: Duration = Duration::from_secs(60);
/// For stored records to be shown to a component, in one call.
const CHECK_PATIENCE: Duration = Duration::from_secs(5);

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

pub async fn get(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.reads(&uri, &headers).await?;
    json(&app.ordain.component_report(), app.watermark())
}

pub async fn put(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    // First: whoever is still sending would not read what else is wrong.
    let bytes = whole(&parts, body).await?;
    expect_no_form(&parts.headers, "application/wasm")?;
    let query = input::Query::read(&parts.uri, &["promote", "share", "promoteAfter", "reason"])?;
    let intent = intent(&query)?;
    let signature = headers::signature(&parts.headers)?;
    let by = headers::attribution(&parts, &query)?;
    let push = app
        .ordain
        .push_component(bytes.clone(), signature, intent, &by);
    let changed = settled(LOAD_DEADLINE, async { Ok(push.await?) }).await;
    let state = match intent {
        Intent::Try(_) => "candidate",
        Intent::Promote => "promoted",
    };
    answer(&changed.map_err(repeatable)?, state)
}

/// The bytes of a component, with their room.
async fn whole(head: &Parts, body: Body) -> Result<Held<Arc<[u8]>>, Problem> {
    let bytes = input::body(head, body, BYTES_MAX).await?;
    Ok(bytes.map(|bytes| bytes[..].into()))
}

fn intent(query: &input::Query) -> Result<Intent, Problem> {
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

pub async fn promote(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    headers::expect_json(&parts.headers)?;
    let query = input::Query::read(&parts.uri, &["reason"])?;
    let by = headers::attribution(&parts, &query)?;
    let body = input::json(&parts, body, BODY_LIMIT).await?;
    let [digest] = match body.is_empty() {
        true => [None],
        false => texts(&body, ["digest"])?,
    };
    let promote = app.ordain.promote_component(digest.as_deref(), &by);
    let changed = settled(LOAD_DEADLINE, async { Ok(promote.await?) }).await;
    answer(&changed.map_err(repeatable)?, "promoted")
}

pub async fn roll_back(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let by = bodiless(request).await?;
    let back = app.ordain.roll_component_back(&by);
    let changed = settled(LOAD_DEADLINE, async { Ok(back.await?) }).await;
    answer(&changed.map_err(repeatable)?, "rolled-back")
}

pub async fn withdraw(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let by = bodiless(request).await?;
    let withdraw = app.ordain.withdraw_component(&by);
    let changed = settled(LOAD_DEADLINE, async { Ok(withdraw.await?) }).await;
    answer(&changed.map_err(repeatable)?, "withdrawn")
}

/// Who asks for what needs no body; an empty object is one, too.
async fn bodiless(request: Request) -> Result<ordain_store::Attribution, Problem> {
    let (parts, body) = request.into_parts();
    headers::expect_json(&parts.headers)?;
    let query = input::Query::read(&parts.uri, &["reason"])?;
    let body = input::json(&parts, body, BODY_LIMIT).await?;
    if !body.is_empty() {
        texts::<0>(&body, [])?;
    }
    headers::attribution(&parts, &query)
}

pub async fn check(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = whole(&parts, body).await?;
    expect_no_form(&parts.headers, "application/wasm")?;
    let query = input::Query::read(&parts.uri, &["after"])?;
    let after = query.get("after").map(str::to_owned);
    let signature = headers::signature(&parts.headers)?;
    let digest = ordain::runtime::digest(&bytes);
    let check =
        app.ordain
            .check_component(bytes.clone(), signature.as_deref(), after, CHECK_PATIENCE);
    let checked = within(LOAD_DEADLINE, check).await??;
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
            ComponentError::Write(error) => error.into(),
            ComponentError::Read(error) => error.into(),
        }
    }
}

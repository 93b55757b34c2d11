//! `POST /v1/policies/import`: one policy on each line in, what became of them on lines out, while
//! it goes on. Only translates; `Ordain` checks and stores.

use std::ops::ControlFlow;
use std::time::Duration;

use axum::body::{Body as Sent, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::policy::RECORD_LIMIT;
use crate::access::Need;
use crate::http::app::App;
use crate::http::contract::{self, Answer, Body, Parameter, Place};
use crate::http::memory::Room;
use crate::http::names::REVISION;
use crate::http::parameters::{REASON, REASON_HEADER};
use crate::http::problem::Problem;
use crate::http::route::{Call, Handler, Route};
use crate::http::{coding, headers, input};
use ordain::door::{Imported, Importer, InvalidRecord};
use ordain::request::Fault;
use ordain_store::WriteError;
use ordain_store::ids::Tenant;
use ordain_store::utf8;

/// What the answer is, and what the body should be.
pub const LINES: &str = "application/x-ndjson";
/// Longest line: the largest record and its tenant.
const LINE_LIMIT: usize = RECORD_LIMIT + (8 << 10);
/// How often a record is shown to the component again that was busy, and the first pause.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(100);
/// Lines between two reports where nothing is stored.
const STRIDE: u64 = 200;
/// Broken lines that are shown, and faults of one of them; the others are counted.
const SHOWN: u64 = 1000;
const FAULTS_SHOWN: usize = 100;
/// Text of all of them together, which is kept for a client that reads nothing before it has sent
/// all.
const SHOWN_BYTES: usize = 4 << 20;

const DRY_RUN: Parameter = Parameter {
    key: "dryRunOfAll",
    name: "dryRun",
    place: Place::Query,
    description: "Check them and store nothing",
    schema: r#"{"type": "boolean", "default": false}"#,
    example: "true",
};

pub const ROUTES: &[Route] = &[Route {
    method: Method::POST,
    path: "/v1/policies/import",
    need: Need::Everything,
    handler: Handler::Of(|app, call| Box::pin(import(app, call))),
    name: "importPolicies",
    summary: "Stores many policies, one `{\"tenant\",\"policy\"}` a line, and tells while it goes \
              on what became of them",
    parameters: &[DRY_RUN, REASON, REASON_HEADER],
    body: Some(Body::of(&[LINES], "ImportLine")),
    answers: &[Answer {
        headers: &[contract::REVISION],
        ..Answer::of(
            200,
            "A line for each that is broken and for how far it is; the last has `done`",
            &[LINES],
            "ImportReport",
        )
    }],
}];

/// One policy of an import.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line<'a> {
    pub tenant: String,
    #[serde(borrow)]
    pub policy: &'a RawValue,
}

impl Line<'_> {
    /// What is wrong with a text that is none. Whoever shows it says which line: the parser saw
    /// only this one.
    pub fn fault(error: &serde_json::Error) -> String {
        let told = error
            .to_string()
            .replace(" at line 1 column ", " at column ");
        format!("must be {{\"tenant\":...,\"policy\":{{...}}}}: {told}")
    }
}

/// How far it is.
#[derive(Serialize)]
struct Report {
    /// All lines up to this one are settled: stored, now or before, or shown to be broken.
    through: u64,
    stored: u64,
    /// Stored like that before, and left alone.
    unchanged: u64,
    broken: u64,
    revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<bool>,
    /// Why it ended before the last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// A line that cannot be stored.
#[derive(Serialize)]
struct Broken<'a> {
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    errors: Vec<Fault>,
}

async fn import(app: App, call: Call) -> Result<Response, Problem> {
    let query = call.query()?;
    let Call { parts, body, .. } = call;
    let dry_run = query.flag("dryRun")?;
    expect_lines(&parts.headers)?;
    let by = headers::attribution(&parts, &query)?;
    // For its lines and what it tells; one that stores nothing runs beside others.
    let mut room = Room::new(&parts.extensions);
    room.take().await?;
    let importer = match dry_run {
        true => None,
        false => Some(app.ordain.importer(by).map_err(|error| match error {
            WriteError::Busy => Problem::import_runs(),
            error => error.into(),
        })?),
    };
    let watermark = app.watermark();
    let (tell, told) = unbounded::<Bytes>();
    let job = Job {
        app,
        importer,
        tell,
        line: 0,
        settled: 0,
        broken: 0,
        shown: 0,
    };
    // It ends with its client: both ends of it are the connection's.
    let held = room.hold(());
    tokio::spawn(async move {
        job.run(body).await;
        drop(held);
    });
    let mut response = Response::new(Sent::from_stream(told.map(Ok::<_, std::io::Error>)));
    let map = response.headers_mut();
    map.insert(REVISION, HeaderValue::from(watermark));
    map.insert(CONTENT_TYPE, HeaderValue::from_static(LINES));
    Ok(response)
}

fn expect_lines(headers: &HeaderMap) -> Result<(), Problem> {
    if coding::of(headers)?.is_some() {
        let detail = "an import is read line by line as it comes: send it as it is, not packed";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Problem::new(status, "unsupported-media-type", detail));
    }
    const TAKEN: [&str; 4] = [
        LINES,
        "application/jsonl",
        "application/json-lines",
        "application/json",
    ];
    let kind = headers.get(CONTENT_TYPE).map(headers::media_type);
    if kind.as_deref().is_none_or(|kind| TAKEN.contains(&kind)) {
        return Ok(());
    }
    let detail = format!("the body must be {LINES}: one {{\"tenant\",\"policy\"}} on each line");
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Err(Problem::new(status, "unsupported-media-type", detail))
}

/// One import under way.
struct Job {
    app: App,
    /// `None`: everything is checked and nothing stored.
    importer: Option<Importer>,
    tell: UnboundedSender<Bytes>,
    line: u64,
    settled: u64,
    broken: u64,
    /// Bytes of what was told of broken lines.
    shown: usize,
}

/// Why there are no more lines.
type End = ControlFlow<Problem>;

impl Job {
    async fn run(mut self, body: Sent) {
        let problem = match self.lines(body).await {
            ControlFlow::Continue(()) => match self.flush().await {
                Ok(()) => None,
                Err(error) => Some(error.into()),
            },
            ControlFlow::Break(problem) => Some(problem),
        };
        let done = Some(problem.is_none());
        self.report(done, problem);
    }

    /// Reads the body to its end. The last line may lack its line break.
    async fn lines(&mut self, body: Sent) -> End {
        let mut chunks = body.into_data_stream();
        let mut line = Vec::new();
        let mut length = 0;
        loop {
            // The edge gives up a client that is silent.
            let chunk = match chunks.next().await {
                Some(Ok(chunk)) => chunk,
                None => break,
                Some(Err(error)) => return End::Break(input::unreadable(error)),
            };
            for (index, part) in chunk.split(|byte| *byte == b'\n').enumerate() {
                if index > 0 {
                    self.take(&line, length).await?;
                    line.clear();
                    length = 0;
                }
                length += part.len();
                // Of one that is too long only the end is of interest.
                if length <= LINE_LIMIT {
                    line.extend_from_slice(part);
                }
            }
            if self.tell.is_closed() {
                return End::Break(Problem::internal());
            }
        }
        match length {
            0 => End::Continue(()),
            length => self.take(&line, length).await,
        }
    }

    async fn take(&mut self, line: &[u8], length: usize) -> End {
        self.line += 1;
        if length > LINE_LIMIT {
            let detail = format!("a line has at most {LINE_LIMIT} bytes, this one has {length}");
            self.tell_broken(None, vec![whole(detail)]);
            return End::Continue(());
        }
        let text = match utf8::read(line) {
            Ok(text) => text.trim(),
            Err(error) => {
                self.tell_broken(None, vec![whole(error.to_string())]);
                return End::Continue(());
            }
        };
        if text.is_empty() {
            return End::Continue(());
        }
        let (name, record) = match serde_json::from_str::<Line<'_>>(text) {
            Ok(line) => (line.tenant, line.policy.get()),
            Err(error) => {
                self.tell_broken(None, vec![whole(Line::fault(&error))]);
                return End::Continue(());
            }
        };
        match self.checked(&name, record).await {
            Err(problem) => End::Break(problem),
            Ok(Ok((tenant, body))) => self.store(tenant, body).await,
            Ok(Err(faults)) => {
                self.tell_broken(Some(&name), faults);
                End::Continue(())
            }
        }
    }

    /// The canonical text of a record, or what is wrong with it; an error if that cannot be told
    /// now.
    async fn checked(
        &self,
        name: &str,
        record: &str,
    ) -> Result<Result<(Tenant, String), Vec<Fault>>, Problem> {
        let tenant = match Tenant::new(name) {
            Ok(tenant) => tenant,
            Err(error) => return Ok(Err(vec![whole(error.to_string())])),
        };
        if record.len() > RECORD_LIMIT {
            let detail = format!(
                "the record has {} bytes, at most {RECORD_LIMIT} are taken",
                record.len()
            );
            return Ok(Err(vec![whole(detail)]));
        }
        let mut tries = 0;
        loop {
            match self.app.ordain.validate(None, record).await {
                Ok(body) => return Ok(Ok((tenant, body))),
                Err(InvalidRecord::Faults(faults)) => return Ok(Err(faults)),
                Err(InvalidRecord::Malformed(message)) => return Ok(Err(vec![whole(message)])),
                Err(InvalidRecord::Overloaded | InvalidRecord::Late) if tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(PAUSE * tries).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn store(&mut self, tenant: Tenant, body: String) -> End {
        let before = self.line - 1;
        let report = match &mut self.importer {
            None => self.line.is_multiple_of(STRIDE),
            Some(importer) => match importer.add(tenant, body.into()).await {
                Ok(stored) => stored,
                Err(error) => return End::Break(error.into()),
            },
        };
        if report {
            self.settled = before;
            self.report(None, None);
        }
        End::Continue(())
    }

    async fn flush(&mut self) -> Result<(), WriteError> {
        if let Some(importer) = &mut self.importer {
            importer.flush().await?;
        }
        self.settled = self.line;
        Ok(())
    }

    fn report(&self, done: Option<bool>, problem: Option<Problem>) {
        let told = match &self.importer {
            Some(importer) => importer.told(),
            None => Imported {
                revision: self.app.watermark(),
                ..Imported::default()
            },
        };
        let _ = self.say(&Report {
            through: self.settled,
            stored: told.stored as u64,
            unchanged: told.unchanged as u64,
            broken: self.broken,
            revision: told.revision,
            done,
            problem,
        });
    }

    fn tell_broken(&mut self, tenant: Option<&str>, mut errors: Vec<Fault>) {
        self.broken += 1;
        if self.broken <= SHOWN && self.shown < SHOWN_BYTES {
            errors.truncate(FAULTS_SHOWN);
            let line = self.line;
            self.shown += self.say(&Broken {
                line,
                tenant,
                errors,
            });
        }
    }

    /// How many bytes that takes.
    fn say(&self, what: &impl Serialize) -> usize {
        // Texts and numbers are always JSON; nobody may be listening any more.
        let mut line = serde_json::to_vec(what).unwrap_or_default();
        line.push(b'\n');
        let length = line.len();
        let _ = self.tell.unbounded_send(line.into());
        length
    }
}

fn whole(message: String) -> Fault {
    Fault {
        pointer: String::new(),
        message,
    }
}

//! `ordain policy import`: many policies from a file. Everything is checked first; if anything is
//! broken, all of it is listed and nothing is stored. Also what `serve --load` does.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::{Method, StatusCode};
use futures::{StreamExt, TryStreamExt};

use super::output::{self, Failure};
use super::records::{self, Broken, Entry, read_input};
use super::target::{Call, Reply, Target, TargetArgs, tenant_path};
use crate::access::Principal;
use crate::backends::Attribution;
use crate::ordain::{ImportError, InvalidRecord, Ordain};
use crate::utf8;

/// Calls to a server at a time: checks share nothing, writes share the log's lock (rule O2).
const CHECKS: usize = 8;
const WRITES: usize = 4;
/// Times that a write is sent when the server asks to try again.
const ATTEMPTS: u32 = 6;
/// Policies between two lines of progress where there is no terminal.
const STRIDE: usize = 1000;

/// Store many policies from a file: all of them, or none if one is not valid
///
/// The file has one {"tenant":...,"policy":{...}} per line, or a JSON list of these, or a JSON object
/// from tenant to record.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  ordain policy import policies.jsonl --reason 'move from the old system'
  ordain policy import - --dry-run < policies.json")]
pub struct Import {
    #[command(flatten)]
    target: TargetArgs,
    /// The policies, `-` for standard input
    file: String,
    /// Goes into the history of every tenant
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Check the records and store nothing
    #[arg(long)]
    dry_run: bool,
}

impl Import {
    pub async fn run(&self, json: bool) -> Result<(), Failure> {
        let entries = match load(&self.file)? {
            Ok(entries) => entries,
            Err(broken) => return refuse(&broken, json),
        };
        let outcome = match self.target.open().await? {
            Target::Embedded { ordain, .. } => self.embedded(&ordain, &entries).await?,
            target => self.remote(&target, &entries).await?,
        };
        let revision = match outcome {
            Ok(revision) => revision,
            Err(broken) => return refuse(&broken, json),
        };
        let stored = if self.dry_run { 0 } else { entries.len() };
        if json {
            let mut answer = serde_json::json!({"valid": entries.len(), "imported": stored});
            if let Some(revision) = revision {
                answer["revision"] = revision.into();
            }
            return output::line(&answer.to_string());
        }
        match revision {
            Some(revision) => {
                output::line(&format!("imported {stored} policies, revision {revision}"))
            }
            None => output::line(&format!(
                "{} policies are valid, nothing stored",
                entries.len()
            )),
        }
    }

    async fn embedded(&self, ordain: &Ordain, entries: &[Entry]) -> Result<Outcome, Failure> {
        if !self.dry_run {
            return store(ordain, entries, self.reason.clone()).await;
        }
        let progress = Progress::new("checked", entries.len());
        let mut broken = Vec::new();
        for entry in entries {
            if let Err(invalid) = ordain.validate(&entry.record).await {
                broken.extend(faults_of(entry, invalid));
            }
            progress.step();
        }
        progress.end();
        Ok(if broken.is_empty() {
            Ok(None)
        } else {
            Err(broken)
        })
    }

    async fn remote(&self, target: &Target, entries: &[Entry]) -> Result<Outcome, Failure> {
        let progress = Progress::new("checked", entries.len());
        let mut checks = futures::stream::iter(entries)
            .map(|entry| check(target, entry, &progress))
            .buffered(CHECKS);
        let mut broken = Vec::new();
        while let Some(faults) = checks.try_next().await? {
            broken.extend(faults);
        }
        progress.end();
        if !broken.is_empty() {
            return Ok(Err(broken));
        }
        if self.dry_run || entries.is_empty() {
            return Ok(Ok(None));
        }
        let progress = Progress::new("stored", entries.len());
        let revisions = futures::stream::iter(entries)
            .map(|entry| put(target, entry, self.reason.as_deref(), &progress))
            .buffer_unordered(WRITES)
            .try_fold(0, |highest: u64, revision| async move {
                Ok(highest.max(revision))
            })
            .await;
        progress.end();
        match revisions {
            Ok(revision) => Ok(Ok(Some(revision))),
            Err(failure) => {
                output::note(&format!(
                    "stopped: {} of {} policies are stored; the same import can be run again",
                    progress.done(),
                    entries.len()
                ));
                Err(failure)
            }
        }
    }
}

/// The last revision, if anything was stored; or all that is broken.
type Outcome = Result<Option<u64>, Vec<Broken>>;

/// Reads a file of policies.
pub fn load(file: &str) -> Result<Result<Vec<Entry>, Vec<Broken>>, Failure> {
    let bytes = read_input(file)?;
    let text = utf8::read(&bytes).map_err(|error| Failure::new(format!("{file} is {error}")))?;
    let entries = records::parse(text);
    if entries.as_ref().is_ok_and(Vec::is_empty) {
        // More often a broken export than a wish.
        return Err(Failure::new(format!("{file} holds no policies")));
    }
    Ok(entries)
}

/// Checks and stores policies in this process.
pub async fn store(
    ordain: &Ordain,
    entries: &[Entry],
    reason: Option<String>,
) -> Result<Outcome, Failure> {
    if entries.is_empty() {
        return Ok(Ok(None));
    }
    let policies: Vec<_> = entries
        .iter()
        .map(|entry| (entry.tenant.clone(), entry.record.clone()))
        .collect();
    let by = Attribution {
        actor: Principal::anonymous().actor().to_owned(),
        request_id: Some(uuid::Uuid::now_v7().to_string()),
        reason,
    };
    let progress = Progress::new("stored", entries.len());
    let outcome = ordain
        .import(&policies, &by, &|done| progress.show(done))
        .await;
    progress.end();
    match outcome {
        Ok(revision) => Ok(Ok(Some(revision))),
        Err(ImportError::Invalid(invalid)) => Ok(Err(invalid
            .into_iter()
            .filter_map(|(index, invalid)| Some(faults_of(entries.get(index)?, invalid)))
            .flatten()
            .collect())),
        Err(error @ ImportError::Write { .. }) => Err(Failure::new(error)),
    }
}

fn refuse(broken: &[Broken], json: bool) -> Result<(), Failure> {
    if json {
        output::line(&serde_json::json!({"imported": 0, "faults": broken}).to_string())?;
        return Err(Failure::Said);
    }
    Err(Failure::new(listed(broken)))
}

/// Every fault on a line.
pub fn listed(broken: &[Broken]) -> String {
    let lines = broken
        .iter()
        .map(|fault| format!("\n  {fault}"))
        .collect::<String>();
    format!("nothing was stored, {} fault(s):{lines}", broken.len())
}

fn faults_of(entry: &Entry, invalid: InvalidRecord) -> Vec<Broken> {
    let broken = |pointer, message| Broken {
        place: entry.place.clone(),
        tenant: Some(entry.tenant.as_str().to_owned()),
        pointer,
        message,
    };
    match invalid {
        InvalidRecord::Faults(faults) => faults
            .into_iter()
            .map(|fault| broken(Some(fault.pointer), fault.message))
            .collect(),
        other => vec![broken(None, other.to_string())],
    }
}

/// Asks the server whether a record is valid.
async fn check(
    target: &Target,
    entry: &Entry,
    progress: &Progress,
) -> Result<Vec<Broken>, Failure> {
    let path = tenant_path(entry.tenant.as_str(), "/policy?dryRun=true")?;
    let reply = patiently(target, || {
        Call::new(Method::PUT, path.clone()).body(entry.record.as_bytes())
    })
    .await?;
    progress.step();
    if reply.status.is_success() {
        return Ok(Vec::new());
    }
    let broken = [
        StatusCode::UNPROCESSABLE_ENTITY,
        StatusCode::BAD_REQUEST,
        StatusCode::PAYLOAD_TOO_LARGE,
    ];
    if !broken.contains(&reply.status) {
        return Err(Failure::Answer(Box::new(reply)));
    }
    let problem = reply.json()?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let fault = |pointer, message| Broken {
        place: entry.place.clone(),
        tenant: Some(entry.tenant.as_str().to_owned()),
        pointer,
        message,
    };
    Ok(match problem["errors"].as_array() {
        Some(faults) => faults
            .iter()
            .map(|one| fault(Some(text(&one["pointer"])), text(&one["message"])))
            .collect(),
        None => vec![fault(None, text(&problem["detail"]))],
    })
}

/// Stores one record; its revision.
async fn put(
    target: &Target,
    entry: &Entry,
    reason: Option<&str>,
    progress: &Progress,
) -> Result<u64, Failure> {
    let path = tenant_path(entry.tenant.as_str(), "/policy")?;
    let reply = patiently(target, || {
        Call::new(Method::PUT, path.clone())
            .reason(reason)
            .body(entry.record.as_bytes())
    })
    .await?;
    if !reply.status.is_success() {
        return Err(Failure::Answer(Box::new(reply)));
    }
    progress.step();
    reply.json()?["revision"]
        .as_u64()
        .ok_or_else(|| Failure::new("the server's answer has no revision: is it Ordain?"))
}

/// Sends a call again while the server says that it did nothing and may do it later. An unknown
/// outcome is not among these (rule O4).
async fn patiently(target: &Target, call: impl Fn() -> Call) -> Result<Reply, Failure> {
    let mut attempt = 1;
    loop {
        let reply = target.send(call()).await?;
        let later = reply.status == StatusCode::SERVICE_UNAVAILABLE
            && reply.json().is_ok_and(|problem| {
                matches!(
                    problem["code"].as_str(),
                    Some("busy" | "overloaded" | "unavailable")
                )
            });
        if !later || attempt == ATTEMPTS {
            return Ok(reply);
        }
        tokio::time::sleep(std::time::Duration::from_millis(100) * attempt).await;
        attempt += 1;
    }
}

/// How far it is: one moving line on a terminal, else a line now and then.
struct Progress {
    what: &'static str,
    total: usize,
    done: AtomicUsize,
    terminal: bool,
}

impl Progress {
    fn new(what: &'static str, total: usize) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        Progress {
            what,
            total,
            done: AtomicUsize::new(0),
            terminal,
        }
    }

    fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    fn step(&self) {
        self.show(self.done() + 1);
    }

    /// So many are done.
    fn show(&self, done: usize) {
        let before = self.done.swap(done, Ordering::Relaxed);
        if self.terminal {
            let mut err = std::io::stderr().lock();
            // A closed standard error must not stop the work.
            let _ =
                write!(err, "\r{} {done} of {}", self.what, self.total).and_then(|()| err.flush());
        } else if done / STRIDE > before / STRIDE {
            output::note(&format!("{} {done} of {}", self.what, self.total));
        }
    }

    fn end(&self) {
        if self.terminal && self.done() > 0 {
            output::note("");
        }
    }
}

//! `ordain policy import`: many policies from a file. Everything is checked first; if anything is
//! broken, all of it is listed and nothing is stored. Also what `serve --load` does.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use serde_json::Value;

use super::output;
use super::records::{self, Broken, Entry, Policies, read_input};
use super::reply::Failure;
use super::reply::Reply;
use super::target::{Call, Target, TargetArgs};
use crate::access::Principal;
use ordain::door::{ImportError, InvalidRecord, Ordain};
use ordain_store::Attribution;
use ordain_store::utf8;

const PATH: &str = "/v1/policies/import";
/// Policies between two lines of progress where there is no terminal, at least; and how many such
/// lines a large import has.
const STRIDE: usize = 1000;
const LINES: usize = 20;

/// Store many policies from a file: all of them, or none if one is not valid
///
/// The file has one {"tenant":...,"policy":{...}} per line, or a JSON list of these, or a JSON
/// object from tenant to record.
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
        let Policies { entries, broken } = load(&self.file)?;
        if entries.is_empty() {
            return refuse(&broken, 0, json);
        }
        let lines = lines(&entries);
        let check = async {
            let target = self.target.open().await?;
            let checked = self.send(&target, &entries, lines.clone(), true).await?;
            Ok((target, checked))
        };
        let (target, checked) = match check.await {
            Ok(checked) => checked,
            // What is wrong with the file is known all the same.
            Err(failure) if !broken.is_empty() => {
                refuse_unchecked(&broken, json)?;
                return Err(failure);
            }
            Err(failure) => return Err(failure),
        };
        let (more, broken) = (checked.more(), together(broken, checked.broken));
        if !broken.is_empty() {
            return refuse(&broken, more, json);
        }
        if self.dry_run {
            if json {
                return output::line(
                    &serde_json::json!({"valid": entries.len(), "imported": 0}).to_string(),
                );
            }
            let count = entries.len();
            return output::line(&format!("{count} policies are valid, nothing stored"));
        }
        let done = self.send(&target, &entries, lines, false).await?;
        if !done.broken.is_empty() {
            // They were valid a moment ago, by another component.
            let stored = format!("{} of {} policies were stored", done.stored, entries.len());
            return Err(Failure::new(faults(&stored, &done.broken, done.more())));
        }
        let (stored, unchanged, revision) = (done.stored, done.unchanged, done.revision);
        if json {
            let told = serde_json::json!({
                "valid": entries.len(), "imported": stored, "unchanged": unchanged, "revision": revision
            });
            return output::line(&told.to_string());
        }
        output::line(&format!(
            "imported {stored} policies, {unchanged} unchanged, revision {revision}"
        ))
    }

    /// Has all of them checked, or stored, by one call.
    async fn send(
        &self,
        target: &Target,
        entries: &[Entry],
        lines: Bytes,
        dry_run: bool,
    ) -> Result<Told, Failure> {
        let call = Call::new(Method::POST, PATH)
            .query("dryRun", dry_run.then_some("true"))
            .reason(self.reason.as_ref().filter(|_| !dry_run))
            .lines(lines);
        let progress = Progress::new(if dry_run { "checked" } else { "stored" }, entries.len());
        let mut told = Told::default();
        let followed = target
            .follow(call, |line| {
                told.take(line, entries);
                progress.show(told.through);
                Ok(())
            })
            .await;
        progress.end();
        let failure = match (followed, told.end.take()) {
            (Ok(()), Some(Ok(()))) => return Ok(told),
            (Ok(()), Some(Err(reply))) => Failure::Answer(reply),
            (Ok(()), None) => Failure::new("the answer ended before the import did"),
            (Err(failure), _) => failure,
        };
        if told.through > 0 && !dry_run {
            output::note(&format!(
                "stopped: the first {} of {} policies are stored; run the same import again, which leaves \
                 those as they are",
                told.through,
                entries.len()
            ));
        }
        Err(failure)
    }
}

/// What the server has told of an import.
#[derive(Default)]
struct Told {
    broken: Vec<Broken>,
    /// Lines that are settled.
    through: usize,
    stored: u64,
    unchanged: u64,
    /// Broken lines that were told of, and all.
    shown: u64,
    counted: u64,
    revision: u64,
    /// It is done, or why it stopped.
    end: Option<Result<(), Box<Reply>>>,
}

impl Told {
    fn take(&mut self, line: Value, entries: &[Entry]) {
        let number = |name: &str| line[name].as_u64().unwrap_or(0);
        if let Some(faults) = line["errors"].as_array() {
            let index = usize::try_from(number("line")).unwrap_or(0);
            let entry = index.checked_sub(1).and_then(|index| entries.get(index));
            let broken = |fault: &Value| Broken {
                at: entry.map_or(index, |entry| entry.at),
                place: entry.map_or_else(|| format!("line {index}"), |entry| entry.place.clone()),
                tenant: entry.map(|entry| entry.tenant.to_string()),
                pointer: fault["pointer"].as_str().map(str::to_owned),
                message: fault["message"].as_str().unwrap_or_default().to_owned(),
            };
            self.broken.extend(faults.iter().map(broken));
            self.shown += 1;
            return;
        }
        self.through = usize::try_from(number("through")).unwrap_or(0);
        (self.stored, self.unchanged) = (number("stored"), number("unchanged"));
        (self.counted, self.revision) = (number("broken"), number("revision"));
        self.end = line["done"].as_bool().map(|done| match done {
            true => Ok(()),
            false => Err(Box::new(answer(&line["problem"]))),
        });
    }

    /// Broken lines that are counted and not shown.
    fn more(&self) -> u64 {
        self.counted.saturating_sub(self.shown)
    }
}

/// In the order of the file.
fn together(mut broken: Vec<Broken>, more: Vec<Broken>) -> Vec<Broken> {
    broken.extend(more);
    broken.sort_by_key(|fault| fault.at);
    broken
}

/// A problem as if it were the whole answer.
fn answer(problem: &Value) -> Reply {
    let status = problem["status"].as_u64().unwrap_or(500);
    let status = u16::try_from(status).ok();
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    Reply {
        status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        headers: Default::default(),
        body: problem.to_string().into(),
    }
}

/// One policy on each line, in the order of the entries.
fn lines(entries: &[Entry]) -> Bytes {
    let mut lines = String::new();
    for entry in entries {
        let tenant = Value::from(entry.tenant.as_str());
        // A line break in JSON is never part of a text.
        let record = entry.record.replace(['\n', '\r'], " ");
        lines += &format!("{{\"tenant\":{tenant},\"policy\":{record}}}\n");
    }
    lines.into()
}

/// Reads a file of policies.
pub fn load(file: &str) -> Result<Policies, Failure> {
    let bytes = read_input(file)?;
    let text = utf8::read(&bytes).map_err(|error| Failure::new(format!("{file} is {error}")))?;
    let policies = records::parse(text);
    if policies.entries.is_empty() && policies.broken.is_empty() {
        // More often a broken export than a wish.
        return Err(Failure::new(format!("{file} holds no policies")));
    }
    Ok(policies)
}

/// Checks and stores policies in this process: all, or none if anything is wrong.
pub async fn store(
    ordain: &Ordain,
    policies: Policies,
    reason: Option<String>,
) -> Result<(), Failure> {
    let Policies { entries, broken } = policies;
    let invalid = |invalid: Vec<(usize, InvalidRecord)>| {
        let of_entry = |(index, invalid)| Some(faults_of(entries.get(index)?, invalid));
        invalid.into_iter().filter_map(of_entry).flatten().collect()
    };
    if !broken.is_empty() {
        let mut faults = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let checked = ordain.validate(None, &entry.record).await;
            faults.extend(checked.err().map(|error| (index, error)));
        }
        let broken = together(broken, invalid(faults));
        return Err(Failure::new(listed(&broken, 0)));
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
        Ok(_) => Ok(()),
        Err(ImportError::Invalid(faults)) => Err(Failure::new(listed(&invalid(faults), 0))),
        Err(error @ ImportError::Write { .. }) => Err(Failure::new(error)),
    }
}

/// `more`: broken lines beside these, of which the server has told the number only.
fn refuse(broken: &[Broken], more: u64, json: bool) -> Result<(), Failure> {
    if json {
        output::line(&serde_json::json!({"imported": 0, "faults": broken}).to_string())?;
        return Err(Failure::Said);
    }
    Err(Failure::new(listed(broken, more)))
}

/// What is wrong with the file by itself, where the records in it could not be checked.
fn refuse_unchecked(broken: &[Broken], json: bool) -> Result<(), Failure> {
    if json {
        output::note("the other records were not checked: they need a server or a database");
        return refuse(broken, 0, json);
    }
    let listed = listed(broken, 0);
    output::note(&format!("{listed}\n  the other records were not checked:"));
    Ok(())
}

/// Every fault on a line, where nothing was stored.
fn listed(broken: &[Broken], more: u64) -> String {
    faults("nothing was stored", broken, more)
}

fn faults(stored: &str, broken: &[Broken], more: u64) -> String {
    let mut lines = broken
        .iter()
        .map(|fault| format!("\n  {fault}"))
        .collect::<String>();
    if more > 0 {
        lines += &format!("\n  and {more} more broken lines");
    }
    let faults = if broken.len() == 1 { "fault" } else { "faults" };
    format!("{stored}, {} {faults}:{lines}", broken.len())
}

fn faults_of(entry: &Entry, invalid: InvalidRecord) -> Vec<Broken> {
    let broken = |pointer, message| Broken {
        at: entry.at,
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

    /// So many are done.
    fn show(&self, done: usize) {
        let before = self.done.swap(done, Ordering::Relaxed);
        if self.terminal {
            let mut err = std::io::stderr().lock();
            // A closed standard error must not stop the work.
            let _ =
                write!(err, "\r{} {done} of {}", self.what, self.total).and_then(|()| err.flush());
            return;
        }
        let stride = STRIDE.max(self.total / LINES);
        if done / stride > before / stride {
            output::note(&format!("{} {done} of {}", self.what, self.total));
        }
    }

    fn end(&self) {
        if self.terminal && self.done() > 0 {
            output::note("");
        }
    }
}

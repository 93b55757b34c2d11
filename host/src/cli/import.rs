//! `ordain policy import`: many policies from a file. Everything is checked first; if anything is
//! broken, all of it is listed and nothing is stored. Also what `serve --load` does.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use serde_json::Value;

use super::output::{self, Failure};
use super::records::{self, Broken, Entry, read_input};
use super::target::{Call, Reply, Target, TargetArgs};
use crate::access::Principal;
use crate::backends::Attribution;
use crate::ordain::{ImportError, InvalidRecord, Ordain};
use crate::utf8;

const PATH: &str = "/v1/policies/import";
/// Policies between two lines of progress where there is no terminal, at least; and how many such lines
/// a large import has.
const STRIDE: usize = 1000;
const LINES: usize = 20;

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
        let target = self.target.open().await?;
        let lines = lines(&entries);
        let checked = self.send(&target, &entries, lines.clone(), true).await?;
        if !checked.broken.is_empty() {
            return refuse(&checked.broken, json);
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
            return Err(Failure::new(faults(&stored, &done.broken)));
        }
        let (stored, revision) = (done.stored, done.revision);
        if json {
            return output::line(
                &serde_json::json!({"valid": entries.len(), "imported": stored, "revision": revision})
                    .to_string(),
            );
        }
        output::line(&format!("imported {stored} policies, revision {revision}"))
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
                place: entry.map_or_else(|| format!("line {index}"), |entry| entry.place.clone()),
                tenant: entry.map(|entry| entry.tenant.to_string()),
                pointer: fault["pointer"].as_str().map(str::to_owned),
                message: fault["message"].as_str().unwrap_or_default().to_owned(),
            };
            self.broken.extend(faults.iter().map(broken));
            return;
        }
        self.through = usize::try_from(number("through")).unwrap_or(0);
        (self.stored, self.revision) = (number("stored"), number("revision"));
        self.end = line["done"].as_bool().map(|done| match done {
            true => Ok(()),
            false => Err(Box::new(answer(&line["problem"]))),
        });
    }
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

/// Every fault on a line, where nothing was stored.
pub fn listed(broken: &[Broken]) -> String {
    faults("nothing was stored", broken)
}

fn faults(stored: &str, broken: &[Broken]) -> String {
    let lines = broken
        .iter()
        .map(|fault| format!("\n  {fault}"))
        .collect::<String>();
    let faults = if broken.len() == 1 { "fault" } else { "faults" };
    format!("{stored}, {} {faults}:{lines}", broken.len())
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

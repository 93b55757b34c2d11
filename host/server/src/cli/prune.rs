//! `ordain log`: keeps the change log in bounds. A prune is many calls if it is a large one, each
//! within the deadline of a request.

use axum::http::Method;
use clap::Subcommand;
use serde_json::{Value, json};

use super::output;
use super::reply::Failure;
use super::target::{Call, TargetArgs};

/// Keep the change log in bounds
#[derive(Subcommand)]
pub enum Log {
    /// Delete old rows of the change log
    ///
    /// The log is history and audit trail, and nothing is deleted by itself. Rows go oldest first;
    /// the newest ones stay whatever their age, as many as an instance keeps in memory
    /// (ORDAIN_WINDOW). Policies are not touched, their history is. Every prune is recorded in the
    /// log. Instances go on; one that has not followed the log for that long starts anew.
    #[command(after_long_help = "\
Examples:
  ordain log prune --before 365d --reason 'kept for a year'
  ordain log prune --before 2026-01-31T00:00:00Z --json")]
    Prune {
        #[command(flatten)]
        target: TargetArgs,
        /// Rows older than this age, or written before this time in UTC
        #[arg(long, value_name = "AGE|TIME")]
        before: String,
        /// Goes into the change log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

impl Log {
    pub async fn run(&self, json: bool) -> Result<(), Failure> {
        let Log::Prune {
            target,
            before,
            reason,
        } = self;
        let target = target.open_records().await?;
        let (mut pruned, mut revision) = (0, Value::Null);
        loop {
            let call = Call::new(Method::POST, "/v1/log/prune")
                .reason(reason.as_ref())
                .body(json!({ "before": before }).to_string());
            let reply = target.ask(call).await.inspect_err(|_| {
                if pruned > 0 {
                    output::note(&format!("{pruned} rows are pruned, not all"));
                }
            })?;
            let answer = reply.json()?;
            pruned += answer["pruned"].as_u64().unwrap_or(0);
            if let Some(latest) = answer.get("revision") {
                revision = latest.clone();
            }
            if answer["more"] != true {
                break;
            }
            output::note(&format!("{pruned} rows so far"));
        }
        if json {
            let mut whole = json!({ "pruned": pruned });
            if !revision.is_null() {
                whole["revision"] = revision;
            }
            return output::line(&whole.to_string());
        }
        match pruned {
            0 => output::line("nothing to prune: the rows are younger, or the newest, which stay"),
            1 => output::line(&format!("pruned 1 row, revision {revision}")),
            _ => output::line(&format!("pruned {pruned} rows, revision {revision}")),
        }
    }
}

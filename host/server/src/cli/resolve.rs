//! `ordain resolve`: one request by flags, or any by a file.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::output::{self, cell};
use super::records::read_input;
use super::reply::Failure;
use super::target::{Call, TargetArgs};
use crate::config::{fraction, whole};

/// Ask which provider and model may answer
///
/// Exits with 1 if the answer is a refusal.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  ordain resolve --tenant acme --task chat
  ordain resolve --tenant acme --user ann --egress-mode off --json
  ordain resolve --file requests.json     one request or a list of up to 1,000
  echo '{\"tenant\":\"acme\"}' | ordain resolve --file -")]
pub struct Resolve {
    #[command(flatten)]
    target: TargetArgs,

    /// Tenant that asks
    #[arg(long, required_unless_present = "file", value_name = "ID")]
    tenant: Option<String>,

    /// User of the tenant
    #[arg(long, value_name = "ID")]
    user: Option<String>,

    /// What the model is for; the policy's tasks have these names
    #[arg(long, value_name = "ID")]
    task: Option<String>,

    /// Replaces the model's name, never the provider
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// 0 to 2; counts unless the policy has one
    #[arg(long, allow_negative_numbers = true, value_parser = fraction, value_name = "NUMBER")]
    temperature: Option<f64>,

    /// Counts unless the policy has one
    #[arg(long, allow_negative_numbers = true, value_parser = whole::<u64>, value_name = "NUMBER")]
    max_tokens: Option<u64>,

    /// enforce, report-only or off (which needs permission)
    #[arg(long, value_name = "MODE")]
    egress_mode: Option<String>,

    /// The answer must reflect the log up to here; a write prints its revision
    #[arg(long, allow_negative_numbers = true, value_parser = whole::<u64>, value_name = "REVISION")]
    min_revision: Option<u64>,

    /// Requests as JSON, `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tenant", "user", "task", "model", "temperature", "max_tokens", "egress_mode"])]
    file: Option<String>,
}

impl Resolve {
    pub async fn run(&self, json: bool) -> Result<(), Failure> {
        let body = match &self.file {
            Some(file) => read_input(file)?,
            None => self.body().to_string().into_bytes(),
        };
        let call = Call::new(Method::POST, "/v1/resolve")
            .header("ordain-min-revision", self.min_revision)
            .body(body);
        let reply = self.target.open().await?.ask(call).await?;
        let answer = reply.json()?;
        if json {
            output::raw(&reply.body)?;
        } else {
            print(&answer)?;
        }
        let all = match &answer {
            Value::Array(items) => items.iter().all(allowed),
            one => allowed(one),
        };
        if all { Ok(()) } else { Err(Failure::Said) }
    }

    fn body(&self) -> Value {
        let members = [
            ("tenant", self.tenant.as_ref().map(|id| json!(id))),
            ("user", self.user.as_ref().map(|id| json!(id))),
            ("task", self.task.as_ref().map(|id| json!(id))),
            ("model", self.model.as_ref().map(|name| json!(name))),
            ("temperature", self.temperature.map(|number| json!(number))),
            ("maxTokens", self.max_tokens.map(|number| json!(number))),
            (
                "egressMode",
                self.egress_mode.as_ref().map(|mode| json!(mode)),
            ),
        ];
        let given = members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(given.collect::<Map<_, _>>())
    }
}

fn allowed(answer: &Value) -> bool {
    answer["allow"] == Value::Bool(true)
}

fn print(answer: &Value) -> Result<(), Failure> {
    match answer {
        Value::Array(items) => {
            let rows: Vec<_> = items.iter().map(summary).collect();
            output::table(
                &["TENANT", "USER", "TASK", "ANSWER", "EGRESS", "SOURCE"],
                &rows,
            )
        }
        one => output::table(&["", "", ""], &details(one)),
    }
}

/// One line of a batch.
fn summary(answer: &Value) -> Vec<String> {
    let outcome = if allowed(answer) {
        format!("{}/{}", cell(&answer["provider"]), cell(&answer["model"]))
    } else if answer["problem"].is_object() {
        format!("problem: {}", cell(&answer["problem"]["detail"]))
    } else {
        format!("refused: {}", cell(&answer["refusal"]["code"]))
    };
    vec![
        cell(&answer["tenant"]),
        cell(&answer["user"]),
        cell(&answer["task"]),
        outcome,
        cell(&answer["egress"]["effective"]),
        cell(&answer["provenance"]["tier"]),
    ]
}

/// All of one answer: a field, its value, and what decided it.
pub(super) fn details(answer: &Value) -> Vec<Vec<String>> {
    let rules = &answer["rules"];
    let row = |name: &str, value: &Value, rule: &Value| {
        let by = if rule.is_null() {
            String::new()
        } else {
            format!("by {}", cell(rule))
        };
        vec![name.to_owned(), cell(value), by]
    };
    let mut rows = Vec::new();
    if allowed(answer) {
        rows.push(vec!["allowed".to_owned(), String::new(), String::new()]);
        rows.push(row("provider", &answer["provider"], &rules["provider"]));
        rows.push(row("model", &answer["model"], &rules["model"]));
        for (name, member) in [("temperature", "temperature"), ("max tokens", "maxTokens")] {
            if !answer[member].is_null() {
                rows.push(row(name, &answer[member], &rules[member]));
            }
        }
    } else {
        let refusal = &answer["refusal"];
        rows.push(row("refused", &refusal["code"], &Value::Null));
        rows.push(row("because", &refusal["message"], &Value::Null));
    }
    let egress = &answer["egress"];
    rows.push(row("egress", &egress["effective"], &rules["egress"]));
    if egress["requested"] != egress["effective"] {
        rows.push(row("requested", &egress["requested"], &Value::Null));
    }
    let provenance = &answer["provenance"];
    let source = format!(
        "{}, {} ms old{}",
        cell(&provenance["tier"]),
        cell(&provenance["ageMs"]),
        if provenance["stale"] == Value::Bool(true) {
            ", stale"
        } else {
            ""
        }
    );
    rows.push(vec!["source".to_owned(), source, String::new()]);
    let revision = match &provenance["revision"] {
        Value::Null => "none: the tenant has no policy".to_owned(),
        revision => cell(revision),
    };
    rows.push(vec!["revision".to_owned(), revision, String::new()]);
    rows
}

//! `ordain caches`: which caches are on and why not, what they do, and their switches.

use axum::http::Method;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::output::{self, cell};
use super::reply::Failure;
use super::target::{Call, Target, TargetArgs};
use ordain_coherence::caches::Setting;

/// Show the caches and the feed, or change the switches
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "\
Examples:
  ordain caches                                   what is on, and why not
  ordain caches set far=off --reason 'Redis moves'  for the whole fleet
  ordain caches set far=default                   back to what each instance is configured with
  ordain caches set near=off --local              this instance alone; needs no database"
)]
pub struct Caches {
    #[command(flatten)]
    target: TargetArgs,

    #[command(subcommand)]
    change: Option<Change>,
}

#[derive(Subcommand)]
enum Change {
    /// Set switches (all, policy, config, near, far: on or off) and times (bound, staleLimit)
    #[command(after_long_help = "\
Examples:
  ordain caches set near=off far=off
  ordain caches set bound=2s staleLimit=30m
  ordain caches set near=default")]
    Set {
        #[command(flatten)]
        target: TargetArgs,

        /// NAME=VALUE; the value `default` takes back what was set
        #[arg(required = true, value_name = "NAME=VALUE")]
        changes: Vec<String>,

        /// Only the instance that is asked, until it ends
        #[arg(long)]
        local: bool,

        /// Goes into the log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

impl Caches {
    pub async fn run(&self, json: bool) -> Result<(), Failure> {
        match &self.change {
            None => show(&self.target.open_records().await?, json).await,
            Some(Change::Set {
                target,
                changes,
                local,
                reason,
            }) => {
                let body = body(changes)?;
                let target = target.open_records().await?;
                if *local && matches!(target, Target::Embedded { .. }) {
                    return Err(Failure::Usage(
                        "--local is about a running instance: name one with --server".to_owned(),
                    ));
                }
                let call = Call::new(Method::PATCH, "/v1/caches")
                    .query("local", local.then_some("true"))
                    .reason(reason.as_ref())
                    .body(Value::Object(body).to_string());
                let reply = target.ask(call).await?;
                if json {
                    return output::raw(&reply.body);
                }
                if *local {
                    return output::line("set, on this instance alone and until it ends");
                }
                match reply.json()?.get("revision") {
                    Some(revision) => output::line(&format!("set, revision {}", cell(revision))),
                    None => output::line("nothing had to be changed"),
                }
            }
        }
    }
}

fn body(changes: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    for change in changes {
        let known = Setting::ALL.map(Setting::member).join(", ");
        let (name, value) = change
            .split_once('=')
            .filter(|(name, _)| Setting::of_member(name).is_some())
            .ok_or_else(|| {
                Failure::Usage(format!(
                    "{change:?} is no NAME=VALUE with one of the names {known}"
                ))
            })?;
        let value = match value {
            "default" => Value::Null,
            value => Value::from(value),
        };
        if body.insert(name.to_owned(), value).is_some() {
            return Err(Failure::Usage(format!("{name} is given more than once")));
        }
    }
    Ok(body)
}

async fn show(target: &Target, json: bool) -> Result<(), Failure> {
    let reply = target.ask(Call::new(Method::GET, "/v1/caches")).await?;
    if json {
        return output::raw(&reply.body);
    }
    let report = reply.json()?;
    let on = |value: &Value| if value == true { "on" } else { "off" }.to_owned();
    let caches = report["caches"].as_array().into_iter().flatten();
    let rows: Vec<_> = caches
        .map(|cache| {
            vec![
                format!("{} {}", cell(&cache["kind"]), cell(&cache["tier"])),
                on(&cache["on"]),
                cell(&cache["hits"]),
                cell(&cache["misses"]),
                cell(&cache["reason"]),
            ]
        })
        .collect();
    output::table(&["CACHE", "STATE", "HITS", "MISSES", "REASON"], &rows)?;
    output::line("")?;
    let settings = report["settings"].as_object().into_iter().flatten();
    let rows: Vec<_> = settings
        .map(|(name, setting)| {
            let value = match &setting["value"] {
                Value::Bool(_) => on(&setting["value"]),
                value => cell(value),
            };
            vec![name.clone(), value, cell(&setting["from"])]
        })
        .collect();
    output::table(&["SETTING", "VALUE", "FROM"], &rows)?;
    output::line("")?;
    let dependencies = report["dependencies"].as_object().into_iter().flatten();
    let rows: Vec<_> = dependencies
        .map(|(name, state)| vec![name.clone(), cell(&state["state"]), detail(state)])
        .collect();
    output::table(&["DEPENDENCY", "STATE", ""], &rows)
}

/// What is worth knowing of a dependency, in words.
fn detail(state: &Value) -> String {
    let named = [
        ("watermark", "watermark"),
        ("provenAgeMs", "ms since proven"),
        ("window", "rows in memory"),
        ("lagMs", "ms lag"),
        ("purges", "purges"),
    ];
    let mut parts: Vec<String> = Vec::new();
    if !state["backend"].is_null() {
        parts.push(cell(&state["backend"]));
    }
    for (member, words) in named {
        if !state[member].is_null() {
            parts.push(format!("{} {words}", cell(&state[member])));
        }
    }
    if let Some(open) = state["breaker"]["openForMs"].as_u64() {
        parts.push(format!("breaker open for {open} ms"));
    }
    if let Some(open) = state["writes"]["breaker"]["openForMs"].as_u64() {
        parts.push(format!("takes no values for {open} ms"));
    }
    if !state["error"].is_null() {
        parts.push(cell(&state["error"]));
    }
    parts.join(", ")
}

//! `ordain config`: what holds, and the levels that it is merged from. Fields and values are the
//! server's to judge; here they only become a merge patch.

use axum::http::Method;
use clap::{Args, Subcommand};
use percent_encoding::utf8_percent_encode;
use serde_json::{Map, Value};

use super::output::{self, cell};
use super::policy::PageArgs;
use super::reply::Failure;
use super::target::{Call, SEGMENT, TargetArgs, tenant_path};
use crate::config::whole;
use ordain_store::ids::User;

/// Read and write configs of conversations
#[derive(Subcommand)]
pub enum Config {
    /// Print what holds for a tenant or a user, and which level set it
    #[command(after_long_help = "\
Examples:
  ordain config get --tenant acme
  ordain config get --tenant acme --user ann
  ordain config get --tenant acme --user ann --own    only what is set for ann
  ordain config get                                   only what is set for everybody")]
    Get {
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        level: LevelArgs,
        /// Only what this level sets
        #[arg(long)]
        own: bool,
        /// The answer must reflect the log up to here
        #[arg(long, allow_negative_numbers = true, value_parser = whole::<u64>, value_name = "REVISION")]
        min_revision: Option<u64>,
    },
    /// Set fields of one level: of a user, a tenant, or of everybody
    #[command(after_long_help = "\
Examples:
  ordain config set mergeMaxMessages=50                               for everybody
  ordain config set pathCompressionStrategy=semantic --tenant acme
  ordain config set autoCompactEnabled=false pathMaxMessages=80 --tenant acme --user ann")]
    Set {
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        level: LevelArgs,
        #[command(flatten)]
        write: WriteArgs,
        /// Fields and their values
        #[arg(required = true, value_name = "FIELD=VALUE", value_parser = assignment)]
        fields: Vec<(String, Value)>,
    },
    /// Clear fields of one level, so that weaker levels show through, or all of it
    #[command(after_long_help = "\
Examples:
  ordain config unset mergeMaxMessages --tenant acme
  ordain config unset --all --tenant acme --user ann")]
    Unset {
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        level: LevelArgs,
        #[command(flatten)]
        write: WriteArgs,
        /// Delete the level
        #[arg(long, conflicts_with = "fields")]
        all: bool,
        /// Fields to clear
        #[arg(required_unless_present = "all", value_name = "FIELD")]
        fields: Vec<String>,
    },
    /// Print the changes of one level, newest first
    #[command(after_long_help = "\
Examples:
  ordain config history
  ordain config history --tenant acme --user ann --all --json")]
    History {
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        level: LevelArgs,
        #[command(flatten)]
        page: PageArgs,
    },
}

/// Whose config; without a tenant, everybody's
#[derive(Args)]
pub struct LevelArgs {
    /// Of this tenant
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Of this user of the tenant
    #[arg(long, value_name = "ID", requires = "tenant")]
    user: Option<String>,
}

/// Under which condition, and why
#[derive(Args)]
pub struct WriteArgs {
    /// Only over this revision
    #[arg(long, allow_negative_numbers = true, value_parser = whole::<u64>, value_name = "REVISION")]
    if_match: Option<u64>,
    /// Goes into the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// A value is JSON where it is, else text.
fn assignment(text: &str) -> Result<(String, Value), String> {
    let (field, value) = text
        .split_once('=')
        .filter(|(field, _)| !field.is_empty())
        .ok_or("a field and its value look like mergeMaxMessages=50")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    if value.is_null() {
        return Err(format!("to clear a field: ordain config unset {field}"));
    }
    Ok((field.to_owned(), value))
}

impl LevelArgs {
    fn path(&self) -> Result<String, Failure> {
        match (&self.tenant, &self.user) {
            (None, _) => Ok("/v1/config".to_owned()),
            (Some(tenant), None) => tenant_path(tenant, "/config/own"),
            (Some(tenant), Some(user)) => {
                let user = User::new(user).map_err(|error| Failure::Usage(error.to_string()))?;
                let user = utf8_percent_encode(user.as_str(), SEGMENT);
                tenant_path(tenant, &format!("/users/{user}/config"))
            }
        }
    }

    fn shown(&self) -> String {
        match (&self.tenant, &self.user) {
            (None, _) => "global".to_owned(),
            (Some(tenant), None) => tenant.clone(),
            (Some(tenant), Some(user)) => format!("{tenant}, user {user}"),
        }
    }
}

impl WriteArgs {
    fn on(&self, call: Call) -> Call {
        let if_match = self.if_match.map(|revision| format!("\"{revision}\""));
        call.header("if-match", if_match)
            .reason(self.reason.as_ref())
    }
}

impl Config {
    pub async fn run(&self, json: bool) -> Result<(), Failure> {
        match self {
            Config::Get {
                target,
                level,
                own,
                min_revision,
            } => {
                let (call, target) = match &level.tenant {
                    Some(tenant) if !own => {
                        let call = Call::new(Method::GET, tenant_path(tenant, "/config")?);
                        let call = call.query("user", level.user.as_ref());
                        (call, target.open().await?)
                    }
                    _ => {
                        let call = Call::new(Method::GET, level.path()?);
                        (call, target.open_records().await?)
                    }
                };
                let call = call.header("ordain-min-revision", *min_revision);
                let reply = target.ask(call).await?;
                if json {
                    return output::raw(&reply.body);
                }
                show(&reply.json()?)
            }
            Config::Set {
                target,
                level,
                write,
                fields,
            } => {
                let patch: Map<String, Value> = fields.iter().cloned().collect();
                if patch.len() < fields.len() {
                    return Err(Failure::Usage("a field is given more than once".to_owned()));
                }
                send_patch(target, level, write, patch, "set", json).await
            }
            Config::Unset {
                target,
                level,
                write,
                all: true,
                ..
            } => {
                let call = write.on(Call::new(Method::DELETE, level.path()?));
                let reply = target.open_records().await?.ask(call).await?;
                written(&reply, level, "deleted", json)
            }
            Config::Unset {
                target,
                level,
                write,
                fields,
                ..
            } => {
                let null = |field: &String| (field.clone(), Value::Null);
                let patch = fields.iter().map(null).collect();
                send_patch(target, level, write, patch, "cleared", json).await
            }
            Config::History {
                target,
                level,
                page,
            } => {
                let target = target.open_records().await?;
                let path = format!("{}/history", level.path()?);
                page.walk(&target, &path, json, history).await
            }
        }
    }
}

async fn send_patch(
    target: &TargetArgs,
    level: &LevelArgs,
    write: &WriteArgs,
    patch: Map<String, Value>,
    done: &str,
    json: bool,
) -> Result<(), Failure> {
    let call = Call::new(Method::PATCH, level.path()?).body(Value::Object(patch).to_string());
    let reply = target.open().await?.ask(write.on(call)).await?;
    written(&reply, level, done, json)
}

fn written(
    reply: &super::reply::Reply,
    level: &LevelArgs,
    done: &str,
    json: bool,
) -> Result<(), Failure> {
    if json {
        return output::raw(&reply.body);
    }
    let revision = cell(&reply.json()?["revision"]);
    output::line(&format!("{}: {done}, revision {revision}", level.shown()))
}

/// Fields in a table, with their levels where there are any.
fn show(answer: &Value) -> Result<(), Failure> {
    let empty = Map::new();
    let fields = answer["config"].as_object().unwrap_or(&empty);
    let levels = answer["levels"].as_object();
    let rows: Vec<Vec<String>> = fields
        .iter()
        .map(|(field, value)| {
            let mut row = vec![field.clone(), cell(value)];
            row.extend(levels.map(|levels| cell(&levels[field])));
            row
        })
        .collect();
    match levels {
        Some(_) => output::table(&["FIELD", "VALUE", "LEVEL"], &rows)?,
        None => output::table(&["FIELD", "VALUE"], &rows)?,
    }
    let provenance = &answer["provenance"];
    if provenance["stale"] == true {
        output::note("stale: the origin does not answer");
    }
    let revision = match provenance.get("revision") {
        Some(revision) => revision,
        None => &answer["revision"],
    };
    match revision {
        Value::Null => output::note("no level is set"),
        revision => output::note(&format!("revision {}", cell(revision))),
    }
    Ok(())
}

/// Changes of a level, newest first, with what each of them changed. `before`: the one before all
/// of these.
fn history(items: &[Value], before: Option<&Value>) -> Result<(), Failure> {
    let older = items.iter().skip(1).map(Some).chain([before]);
    let row = |(item, older): (&Value, Option<&Value>)| {
        let changed = changed(older.map(|older| &older["record"]), &item["record"]);
        let [revision, at, actor, op, reason] =
            ["revision", "at", "actor", "op", "reason"].map(|name| cell(&item[name]));
        vec![revision, at, actor, op, changed, reason]
    };
    let rows: Vec<_> = items.iter().zip(older).map(row).collect();
    let head = ["REVISION", "AT", "ACTOR", "OP", "CHANGED", "REASON"];
    output::table(&head, &rows)
}

/// Fields that were set, and those that were cleared with a minus; the column is no wider than
/// this, or one field.
const CHANGED_WIDTH: usize = 60;

fn changed(before: Option<&Value>, after: &Value) -> String {
    let empty = Map::new();
    let fields = |record: Option<&Value>| record.and_then(Value::as_object).cloned();
    let (before, after) = (fields(before), after.as_object().unwrap_or(&empty));
    let before = before.unwrap_or_default();
    let set = after
        .iter()
        .filter(|(field, value)| before.get(*field) != Some(*value))
        .map(|(field, value)| format!("{field}={}", cell(value)));
    let cleared = before
        .keys()
        .filter(|field| !after.contains_key(*field))
        .map(|field| format!("-{field}"));
    let parts: Vec<String> = set.chain(cleared).collect();
    let mut shown = String::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 && shown.len() + part.len() >= CHANGED_WIDTH {
            return format!("{shown} and {} more", parts.len() - index);
        }
        let space = if index > 0 { " " } else { "" };
        shown += &format!("{space}{part}");
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_the_fields_that_are_new_or_gone() {
        let before = json!({"a": 1, "b": true, "c": "x"});
        let of = |before: Option<&Value>, after: Value| changed(before, &after);
        assert_eq!(of(None, before.clone()), "a=1 b=true c=x");
        assert_eq!(of(Some(&before), json!({"a": 2, "b": true})), "a=2 -c");
        assert_eq!(of(Some(&before), Value::Null), "-a -b -c");
        assert_eq!(of(Some(&before), before.clone()), "");
        let long = json!({"a": "x".repeat(50), "b": "y".repeat(50), "c": 1});
        let shown = of(None, long);
        assert!(shown.ends_with("x and 2 more"), "{shown}");
    }

    #[test]
    fn a_value_is_json_where_it_is_and_else_text() {
        for (text, value) in [
            ("a=5", json!(5)),
            ("a=true", json!(true)),
            ("a=0.5", json!(0.5)),
            ("a=semantic", json!("semantic")),
            ("a=\"5\"", json!("5")),
            ("a=", json!("")),
            ("a=b=c", json!("b=c")),
        ] {
            assert_eq!(assignment(text), Ok(("a".to_owned(), value)), "{text}");
        }
        for text in ["a", "=5", ""] {
            assert!(assignment(text).is_err_and(|why| why.contains("look like")));
        }
        assert!(assignment("a=null").is_err_and(|why| why.contains("unset a")));
    }
}

//! `ordain policy`: reads and writes policies, one call each; `import` has its own file.

use axum::http::Method;
use clap::Subcommand;
use serde_json::Value;

use super::import::Import;
use super::output::{self, cell};
use super::records::read_input;
use super::reply::Failure;
use super::reply::Reply;
use super::target::{Call, Target, TargetArgs, tenant_path};
use crate::config::whole;

/// Read and write policies
#[derive(Subcommand)]
pub enum Policy {
    /// Print a tenant's policy
    #[command(
        after_long_help = "Examples:\n  ordain policy get acme\n  ordain policy get acme --json > acme.json"
    )]
    Get {
        #[command(flatten)]
        target: TargetArgs,
        tenant: String,
        /// The answer must reflect the log up to here
        #[arg(long, allow_negative_numbers = true, value_parser = whole::<u64>, value_name = "REVISION")]
        min_revision: Option<u64>,
    },
    /// Store a tenant's policy
    #[command(after_long_help = "\
Examples:
  ordain policy put acme policy.json --reason 'new model'
  ordain policy put acme policy.json --if-match 1795420800123456    only if nobody else wrote
  ordain policy put acme policy.json --create-only
  ordain policy put acme - --dry-run < policy.json                  check, store nothing")]
    Put {
        #[command(flatten)]
        target: TargetArgs,
        tenant: String,
        /// The record as JSON, `-` for standard input
        file: String,
        /// Only over this revision
        #[arg(long, allow_negative_numbers = true, value_parser = whole::<u64>, value_name = "REVISION")]
        if_match: Option<u64>,
        /// Only if the tenant has no policy
        #[arg(long, conflicts_with = "if_match")]
        create_only: bool,
        /// Goes into the history
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Check the record and store nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete a tenant's policy
    #[command(after_long_help = "Examples:\n  ordain policy delete acme --reason 'contract ended'")]
    Delete {
        #[command(flatten)]
        target: TargetArgs,
        tenant: String,
        /// Only this revision
        #[arg(long, allow_negative_numbers = true, value_parser = whole::<u64>, value_name = "REVISION")]
        if_match: Option<u64>,
        /// Goes into the history
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// List tenants that have a policy
    #[command(
        after_long_help = "Examples:\n  ordain policy list --all\n  ordain policy list --limit 500 --json"
    )]
    List {
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Print the changes of a tenant's policy, newest first
    #[command(
        after_long_help = "Examples:\n  ordain policy history acme\n  ordain policy history acme --all --json"
    )]
    History {
        #[command(flatten)]
        target: TargetArgs,
        tenant: String,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Store many policies from a file: all of them, or none if one is not valid
    Import(Import),
}

/// Which part of a list
#[derive(clap::Args)]
pub struct PageArgs {
    /// Lines of one page, 1 to 500 [default: 50]
    #[arg(long, allow_negative_numbers = true, value_parser = whole::<u32>, value_name = "NUMBER")]
    limit: Option<u32>,
    /// Go on where a page ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// All pages
    #[arg(long)]
    all: bool,
    /// The answer must reflect the log up to here
    #[arg(long, allow_negative_numbers = true, value_parser = whole::<u64>, value_name = "REVISION")]
    min_revision: Option<u64>,
}

impl Policy {
    pub async fn run(&self, json: bool) -> Result<(), Failure> {
        match self {
            Policy::Get {
                target,
                tenant,
                min_revision,
            } => {
                let call = Call::new(Method::GET, tenant_path(tenant, "/policy")?)
                    .header("ordain-min-revision", *min_revision);
                let reply = target.open_records().await?.ask(call).await?;
                if json {
                    return output::raw(&reply.body);
                }
                output::line(&format!("{:#}", reply.json()?))?;
                output::note(&format!("revision {}", revision_of_tag(&reply)));
                Ok(())
            }
            Policy::Put {
                target,
                tenant,
                file,
                if_match,
                create_only,
                reason,
                dry_run,
            } => {
                let call = Call::new(Method::PUT, tenant_path(tenant, "/policy")?)
                    .query("dryRun", dry_run.then_some("true"))
                    .header(
                        "if-match",
                        if_match.map(|revision| format!("\"{revision}\"")),
                    )
                    .header("if-none-match", create_only.then_some("*"))
                    .reason(reason.as_ref())
                    .body(read_input(file)?);
                let reply = target.open().await?.ask(call).await?;
                let done = match (dry_run, reply.status.as_u16()) {
                    (true, _) => "valid, nothing stored",
                    (false, 201) => "created",
                    (false, _) => "replaced",
                };
                written(&reply, tenant, done, json)
            }
            Policy::Delete {
                target,
                tenant,
                if_match,
                reason,
            } => {
                let call = Call::new(Method::DELETE, tenant_path(tenant, "/policy")?)
                    .header(
                        "if-match",
                        if_match.map(|revision| format!("\"{revision}\"")),
                    )
                    .reason(reason.as_ref());
                let reply = target.open_records().await?.ask(call).await?;
                written(&reply, tenant, "deleted", json)
            }
            Policy::List { target, page } => {
                let target = target.open_records().await?;
                let print = |items: &[Value]| {
                    let row = |item: &Value| vec![cell(&item["tenant"]), cell(&item["revision"])];
                    output::table(
                        &["TENANT", "REVISION"],
                        &items.iter().map(row).collect::<Vec<_>>(),
                    )
                };
                page.walk(&target, "/v1/tenants", json, |items, _| print(items))
                    .await
            }
            Policy::History {
                target,
                tenant,
                page,
            } => {
                let target = target.open_records().await?;
                let path = tenant_path(tenant, "/history")?;
                page.walk(&target, &path, json, |items, _| changes(items))
                    .await
            }
            Policy::Import(import) => import.run(json).await,
        }
    }
}

/// Changes of a record as people read them.
fn changes(items: &[Value]) -> Result<(), Failure> {
    let row = |item: &Value| {
        ["revision", "at", "actor", "op", "reason"]
            .map(|name| cell(&item[name]))
            .to_vec()
    };
    let head = ["REVISION", "AT", "ACTOR", "OP", "REASON"];
    output::table(&head, &items.iter().map(row).collect::<Vec<_>>())
}

fn revision_of_tag(reply: &Reply) -> String {
    let tag = reply.headers.get("etag").and_then(|tag| tag.to_str().ok());
    tag.unwrap_or_default().trim_matches('"').to_owned()
}

fn written(reply: &Reply, tenant: &str, done: &str, json: bool) -> Result<(), Failure> {
    if json {
        return output::raw(&reply.body);
    }
    let answer = reply.json()?;
    match answer["revision"].as_u64() {
        Some(revision) => output::line(&format!("{tenant}: {done}, revision {revision}")),
        None => output::line(&format!("{tenant}: {done}")),
    }
}

impl PageArgs {
    /// Prints one page, or all of them as if they were one; `print` is given what comes after it,
    /// too.
    pub async fn walk(
        &self,
        target: &Target,
        path: &str,
        json: bool,
        print: impl Fn(&[Value], Option<&Value>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut items = Vec::new();
        let mut cursor = self.cursor.clone();
        let limit = self.limit.or(self.all.then_some(500));
        loop {
            let call = Call::new(Method::GET, path)
                .query("limit", limit)
                .query("cursor", cursor.as_ref())
                .header("ordain-min-revision", self.min_revision);
            let reply = target.ask(call).await?;
            if json && !self.all {
                return output::raw(&reply.body);
            }
            let mut page = reply.json()?;
            match page["items"].take() {
                Value::Array(more) => items.extend(more),
                _ => {
                    return Err(Failure::new(
                        "the server's answer is no list: is it Ordain?",
                    ));
                }
            }
            cursor = page["nextCursor"].as_str().map(str::to_owned);
            if cursor.is_none() || !self.all {
                break;
            }
        }
        if json {
            let whole = serde_json::json!({"items": items, "nextCursor": null});
            return output::line(&whole.to_string());
        }
        let next = match &cursor {
            Some(cursor) => {
                let call = Call::new(Method::GET, path)
                    .query("limit", Some(1))
                    .query("cursor", Some(cursor))
                    .header("ordain-min-revision", self.min_revision);
                target.ask(call).await?.json()?["items"][0].take()
            }
            None => Value::Null,
        };
        print(&items, Some(&next).filter(|next| next.is_object()))?;
        if let Some(cursor) = cursor {
            output::note(&format!("more with --cursor {cursor}, or --all"));
        }
        Ok(())
    }
}

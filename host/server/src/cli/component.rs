//! `ordain component`: which component holds the rules, is another one fit, and replacing it while
//! it runs. Not for how that is shown (`component/show`).

mod show;

use std::path::{Path, PathBuf};

use axum::http::Method;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output;
use super::records::read_input;
use super::reply::Failure;
use super::target::{Call, Target, TargetArgs, environment};
use crate::config::{fraction, whole};
use ordain::door::{check_component_file, inspect_component};
use ordain::options::OriginChoice;
use ordain::runtime::signature;

/// Look at the component that holds the rules, and replace it while it runs
#[derive(Subcommand)]
pub enum Component {
    /// Print digest, size, imports and exports of the running component, or of a file
    #[command(after_long_help = "\
Examples:
  ordain component inspect                       what the server runs
  ordain component inspect ordain-policy.wasm    what is in a file; no server is needed")]
    Inspect {
        #[command(flatten)]
        target: TargetArgs,
        /// A component file; without one, what a server runs
        file: Option<String>,
    },
    /// Would this component do? Changes nothing
    ///
    /// Checks signature and world, asks it all decision vectors, and shows it every stored record.
    /// Exits with 1 if anything is not in order.
    #[command(after_long_help = "\
Examples:
  ordain component check new.wasm
  ordain component check new.wasm --offline      without a server: no stored records")]
    Check {
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        file: File,
        /// In this process, without a server: no stored records are shown to it
        #[arg(long, conflicts_with_all = ["server", "database_url"])]
        offline: bool,
    },
    /// Check a component, keep it, and let it answer in the shadow of the running one
    ///
    /// As a candidate it answers live requests after the running one has; the answers go to nobody
    /// and are compared (`ordain component status`).
    #[command(after_long_help = "\
Examples:
  ordain component push new.wasm --promote-after 10000
  ordain component push new.wasm --promote --reason 'fix for acme'")]
    Push {
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        file: File,
        /// Swap the fleet to it at once
        #[arg(long, conflicts_with_all = ["share", "promote_after"])]
        promote: bool,
        /// Share of the requests that it answers in the shadow, above 0, at most 1 [default: 1]
        #[arg(long, allow_negative_numbers = true, value_parser = fraction, value_name = "SHARE")]
        share: Option<f64>,
        /// Promote it by itself after so many equal answers, if none differed
        #[arg(long, value_name = "COUNT", allow_negative_numbers = true, value_parser = counted)]
        promote_after: Option<u64>,
        #[command(flatten)]
        reason: Reason,
    },
    /// Swap the fleet to the candidate, or to a component that was pushed before
    #[command(after_long_help = "\
Examples:
  ordain component promote
  ordain component promote sha256:0123...")]
    Promote {
        #[command(flatten)]
        target: TargetArgs,
        /// `sha256:` and 64 hexadecimal digits [default: the candidate]
        digest: Option<String>,
        #[command(flatten)]
        reason: Reason,
    },
    /// Swap the fleet back to what ran before the last promotion
    Rollback {
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        reason: Reason,
    },
    /// End the trial of the candidate
    Withdraw {
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        reason: Reason,
    },
    /// What runs, what the fleet wants, and how the candidate does
    Status {
        #[command(flatten)]
        target: TargetArgs,
    },
}

#[derive(Args)]
pub struct File {
    /// The component; `-` reads standard input
    file: String,
    /// Its Ed25519 signature, 64 bytes or base64 [default: FILE.sig, if there is one]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
}

#[derive(Args)]
pub struct Reason {
    /// Goes into the change log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

fn counted(text: &str) -> Result<u64, String> {
    match whole(text)? {
        0 => Err("0 answers show nothing: leave it out, or take 1 or more".to_owned()),
        count => Ok(count),
    }
}

impl File {
    fn signature(&self) -> Result<Option<String>, Failure> {
        let beside = PathBuf::from(format!("{}.sig", self.file));
        let path: &Path = match &self.signature {
            Some(path) => path,
            None if self.file != "-" && beside.exists() => &beside,
            None => return Ok(None),
        };
        let bytes = std::fs::read(path)
            .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?;
        Ok(Some(signature::text(&bytes)))
    }

    fn read(&self) -> Result<Vec<u8>, Failure> {
        read_input(&self.file)
    }

    /// A call that sends these bytes.
    fn call(&self, method: Method, path: &str, bytes: Vec<u8>) -> Result<Call, Failure> {
        let mut call = Call::new(method, path)
            .header("content-type", Some("application/wasm"))
            .header("ordain-signature", self.signature()?);
        call.body = Some(bytes.into());
        Ok(call)
    }
}

impl Component {
    pub async fn run(&self, as_json: bool) -> Result<(), Failure> {
        match self {
            Component::Inspect { target, file } => inspect(target, file.as_deref(), as_json).await,
            Component::Check {
                file,
                offline: true,
                ..
            } => check_offline(file, as_json).await,
            Component::Check { target, file, .. } => {
                check(&target.open().await?, file, as_json).await
            }
            Component::Push {
                target,
                file,
                promote,
                share,
                promote_after,
                reason,
            } => {
                let call = file
                    .call(Method::PUT, "/v1/component", file.read()?)?
                    .query("promote", promote.then_some("true"))
                    .query("share", *share)
                    .query("promoteAfter", *promote_after);
                change(target, call, reason, as_json).await
            }
            Component::Promote {
                target,
                digest,
                reason,
            } => {
                let body = match digest {
                    Some(digest) => json!({ "digest": digest }),
                    None => json!({}),
                };
                let call = Call::new(Method::POST, "/v1/component/promote").body(body.to_string());
                change(target, call, reason, as_json).await
            }
            Component::Rollback { target, reason } => {
                let call = Call::new(Method::POST, "/v1/component/rollback").body("{}");
                change(target, call, reason, as_json).await
            }
            Component::Withdraw { target, reason } => {
                let call = Call::new(Method::DELETE, "/v1/component");
                change(target, call, reason, as_json).await
            }
            Component::Status { target } => {
                let reply = target.open().await?.ask(state()).await?;
                match as_json {
                    true => output::raw(&reply.body),
                    false => show::status(&reply.json()?),
                }
            }
        }
    }
}

fn state() -> Call {
    Call::new(Method::GET, "/v1/component")
}

async fn inspect(target: &TargetArgs, file: Option<&str>, as_json: bool) -> Result<(), Failure> {
    let body = match file {
        Some(file) => {
            let info = inspect_component(&read_input(file)?)
                .map_err(|error| Failure::new(format!("{file}: {error}")))?;
            serde_json::to_vec(&info).map_err(Failure::new)?
        }
        None => target.open().await?.ask(state()).await?.body.to_vec(),
    };
    if as_json {
        return output::raw(&body);
    }
    let info = serde_json::from_slice(&body)
        .map_err(|_| Failure::new("the server's answer is not JSON: is it Ordain?"))?;
    show::info(&info)
}

async fn change(
    target: &TargetArgs,
    call: Call,
    reason: &Reason,
    as_json: bool,
) -> Result<(), Failure> {
    let call = call.reason(reason.reason.as_ref());
    let reply = target.open().await?.ask(call).await?;
    match as_json {
        true => output::raw(&reply.body),
        false => show::change(&reply.json()?),
    }
}

async fn check(target: &Target, file: &File, as_json: bool) -> Result<(), Failure> {
    // Once: it may be standard input.
    let bytes = file.read()?;
    let mut after: Option<String> = None;
    let (mut records, mut invalid) = (0, Vec::new());
    loop {
        let call = file
            .call(Method::POST, "/v1/component/check", bytes.clone())?
            .query("after", after.as_ref());
        let mut page = target.ask(call).await?.json()?;
        records += page["records"].as_u64().unwrap_or(0);
        if let Some(found) = page["invalid"].as_array_mut() {
            invalid.append(found);
        }
        after = page["nextCursor"].as_str().map(str::to_owned);
        if after.is_some() {
            continue;
        }
        page["records"] = records.into();
        page["invalid"] = invalid.into();
        match as_json {
            true => output::line(&page.to_string())?,
            false => show::check(&page)?,
        }
        return match page["invalid"].as_array().is_none_or(Vec::is_empty) {
            true => Ok(()),
            false => Err(Failure::Said),
        };
    }
}

async fn check_offline(file: &File, as_json: bool) -> Result<(), Failure> {
    let options = environment()?.options(OriginChoice::Memory);
    let options = options.map_err(Failure::usage)?;
    let bytes = file.read()?.into();
    let checked = check_component_file(&options, bytes, file.signature()?.as_deref()).await;
    let (info, vectors) =
        checked.map_err(|error| Failure::new(format!("{}: {error}", file.file)))?;
    let page: Value = json!({"digest": info.digest, "vectors": vectors});
    match as_json {
        true => output::line(&page.to_string()),
        false => show::check(&page),
    }
}

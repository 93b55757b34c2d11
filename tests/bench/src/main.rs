//! `make bench`: Ordain and its peers side by side in one run, so that ratios mean something on any
//! machine. Arguments: the folder of the build, then the groups to run (default: all); `--quick`
//! does just enough of each to see that it works. Tables go to standard output, and with
//! `result.json` and a picture to `bench/` in that folder. Not a test: nothing here decides whether
//! a change is right.
//!
//! Single calls:
//! - `near`: a decision in process; `tiers`: one that reads Redis or Postgres;
//! - `service` (group `http`): one over HTTP; `start`: the first one of a process; `swap`: while
//!   the component is replaced;
//! - `tenants`: what many tenants in near cost;
//! - `decision`: the policy and the requests that everybody answers;
//!
//! several instances and servers that fail:
//! - `propagation`: how long other instances answer by the old policy after a write;
//! - `stampede`: many callers of one cold key; `unknown`: many tenants that do not exist;
//! - `outage`: Redis or Postgres stand still under load;
//! - `instance`: what is asked there; `http`, `load`, `wrk`: who asks; `servers`: Postgres and
//!   Redis;
//!
//! and for both:
//! - `peers`: who answers besides Ordain, each with what is equal and what is not;
//! - `measure`, `memory`, `scale`: how time is taken, and memory, how much is done; `report`: what
//!   becomes of it.

mod decision;
mod http;
mod instance;
mod load;
mod measure;
mod memory;
mod near;
mod outage;
mod peers;
mod propagation;
mod report;
mod scale;
mod servers;
mod service;
mod stampede;
mod start;
mod swap;
mod tenants;
mod tiers;
mod unknown;
mod wrk;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::peers::bentocache::Bentocache;
use crate::report::Report;
use crate::scale::Scale;
use crate::servers::Servers;

const GROUPS: [&str; 10] = [
    "near",
    "tiers",
    "http",
    "tenants",
    "start",
    "swap",
    "propagation",
    "stampede",
    "unknown",
    "outage",
];
/// Those that need servers of their own and have other caches for peers.
const FLEET: [&str; 4] = ["propagation", "stampede", "unknown", "outage"];

const USAGE: &str = "usage: ordain-bench FOLDER [--quick] [GROUP...]
FOLDER is that of the build (target); groups: near tiers http tenants start swap propagation stampede unknown outage";

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments.next().map(PathBuf::from).context(USAGE)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    if folder.as_os_str() == "--bare" {
        let socket = arguments.next();
        let socket = socket.as_deref().and_then(std::ffi::OsStr::to_str);
        return runtime.block_on(peers::bare::serve(socket));
    }
    let mut scale = Scale::full();
    let mut groups = Vec::new();
    for argument in arguments {
        if argument == "--quick" {
            scale = Scale::quick();
            continue;
        }
        let group = GROUPS.into_iter().find(|group| argument == *group);
        groups.push(group.context(USAGE)?);
    }
    if groups.is_empty() {
        groups = GROUPS.to_vec();
    }
    ensure!(folder.is_dir(), "{} is no folder", folder.display());
    let folder = folder.canonicalize()?;
    let report = runtime.block_on(run(&folder, &groups, &scale))?;
    report.print();
    let files = report.write(&folder.join("bench"))?;
    let [json, text, picture] = files.each_ref().map(|file| file.display());
    println!("\nwritten to {json}, {text} and {picture}");
    Ok(())
}

async fn run(folder: &Path, groups: &[&str], scale: &Scale) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let asked = |group: &str| {
        let asked = groups.contains(&group);
        if asked {
            eprintln!("bench: {group}");
        }
        asked
    };
    if asked("near") {
        report.rows.extend(near::run().await?);
    }
    if asked("tiers") {
        report.rows.extend(tiers::run().await?);
    }
    if asked("http") {
        report.sections.push(service::run(scale).await?);
    }
    if asked("tenants") {
        report.sections.push(tenants::run(scale).await?);
    }
    if asked("start") {
        report.sections.push(start::run(scale).await?);
    }
    if asked("swap") {
        report.sections.push(swap::run(scale).await?);
    }
    if !FLEET.iter().any(|group| groups.contains(group)) {
        return Ok(report);
    }
    let bento = Bentocache::install(folder).await;
    let servers = Servers::start().await?;
    let sections = &mut report.sections;
    if asked("propagation") {
        sections.push(propagation::run(&servers, scale, &bento).await?);
    }
    if asked("stampede") {
        sections.push(stampede::run(&servers, scale, &bento).await?);
    }
    if asked("unknown") {
        sections.push(unknown::run(&servers, scale, &bento).await?);
    }
    if asked("outage") {
        sections.push(outage::run(&servers, scale, &bento).await?);
    }
    // Guards wait for the servers to end.
    tokio::task::spawn_blocking(move || drop(servers)).await?;
    Ok(report)
}

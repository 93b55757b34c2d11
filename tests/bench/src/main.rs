//! `make bench`: Ordain and its peers side by side in one run, so that ratios mean something on any
//! machine. Arguments: the folder of the build, then the groups to run (default: all); `--quick` does
//! just enough of each to see that it works. Tables go to standard output, and with `result.json` to
//! `bench/` in that folder. Not a test: nothing here decides whether a change is right.
//!
//! Single calls:
//! - `near`: a decision in process; `tiers`: one that reads Redis or Postgres;
//! - `decision`: the policy and the requests that everybody answers;
//!
//! several instances and servers that fail:
//! - `propagation`: how long other instances answer by the old policy after a write;
//! - `stampede`: many callers of one cold key; `unknown`: many tenants that do not exist;
//! - `outage`: Redis or Postgres stand still under load;
//! - `instance`: what is asked there; `http`, `load`: who asks; `servers`: Postgres and Redis;
//!
//! and for both:
//! - `peers`: who answers besides Ordain, each with what is equal and what is not;
//! - `measure`, `scale`: how time is taken, how much is done; `report`: what becomes of it.

mod decision;
mod http;
mod instance;
mod load;
mod measure;
mod near;
mod outage;
mod peers;
mod propagation;
mod report;
mod scale;
mod servers;
mod stampede;
mod tiers;
mod unknown;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::peers::bentocache::Bentocache;
use crate::report::Report;
use crate::scale::Scale;
use crate::servers::Servers;

const GROUPS: [&str; 6] = [
    "near",
    "tiers",
    "propagation",
    "stampede",
    "unknown",
    "outage",
];
/// Those that need servers of their own and have other caches for peers.
const FLEET: [&str; 4] = ["propagation", "stampede", "unknown", "outage"];

const USAGE: &str = "usage: ordain-bench FOLDER [--quick] [GROUP...]
FOLDER is that of the build (target); groups: near tiers propagation stampede unknown outage";

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments.next().map(PathBuf::from).context(USAGE)?;
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(run(&folder, &groups, &scale))?;
    report.print();
    let files = report.write(&folder.join("bench"))?;
    println!(
        "\nwritten to {} and {}",
        files[0].display(),
        files[1].display()
    );
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

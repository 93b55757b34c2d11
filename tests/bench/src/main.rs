//! `make bench`: Ordain and its peers side by side in one run, so that ratios mean something on any
//! machine. The first argument is the folder of the build; the table goes to standard output and to
//! `bench/result.json` in that folder. Not a test: nothing here decides whether a change is right.
//!
//! - `decision`: the policy and the requests that everybody answers;
//! - `peers`: who answers them besides Ordain, each with what is equal and what is not;
//! - `near`: a decision in process; `tiers`: one that reads Redis or Postgres;
//! - `measure`: how time is taken; `report`: what becomes of it.

mod decision;
mod measure;
mod near;
mod peers;
mod report;
mod tiers;

use std::path::PathBuf;

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.context("usage: ordain-bench FOLDER (the folder of the build: target)")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut rows = runtime.block_on(near::run())?;
    rows.extend(runtime.block_on(tiers::run())?);
    report::print(&rows);
    let file = report::write(&rows, &folder.join("bench"))?;
    println!("\nwritten to {}", file.display());
    Ok(())
}

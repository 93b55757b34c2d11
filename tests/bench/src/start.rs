//! From the start of the process to its first decision over HTTP: the real binary, three policies
//! loaded from a file, with an empty folder for compiled code and with one that an earlier start
//! has filled.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use ordain_tests::process;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::http::Connection;
use crate::measure::{Spread, nanos};
use crate::report::{Finding, Goal, Section};
use crate::scale::Scale;

/// Where the service keeps compiled code.
const CACHE: &str = "ORDAIN_COMPONENT_CACHE";
/// Of the service in development.
const POLICIES: &str = include_str!("../../../docs/demo-policies.jsonl");
const LONGEST: Duration = Duration::from_secs(60);

const METHOD: &str = "`ordain serve --dev --load docs/demo-policies.jsonl`, from before the process is made until the answer to one \
    resolve request has arrived. Cold: the folder of compiled code is emptied before each start. Cached: it is kept, and the first start does not count.";

pub async fn run(scale: &Scale) -> anyhow::Result<Section> {
    let folder = tempfile::tempdir()?;
    let (cache, policies) = (folder.path().join("cache"), folder.path().join("policies"));
    std::fs::write(&policies, POLICIES)?;
    let (mut cold, mut cached) = (Vec::new(), Vec::new());
    for _ in 0..scale.starts {
        if cache.exists() {
            std::fs::remove_dir_all(&cache)?;
        }
        std::fs::create_dir(&cache)?;
        cold.push(nanos(first_decision(&cache, &policies).await?));
    }
    // The folder is as the last of these left it.
    for _ in 0..scale.starts {
        cached.push(nanos(first_decision(&cache, &policies).await?));
    }
    let cold = Spread::of(&mut cold);
    let cached = Spread::of(&mut cached);
    let millis = cached.p50 as f64 / 1e6;
    let goal = Goal::at_most("start, compiled code cached: ms", millis, 150.0, 50.0);
    Ok(Section {
        title: "Start to first decision",
        method: METHOD.to_owned(),
        findings: vec![
            Finding::new("start: cold", "ordain").times(cold),
            Finding::new("start: cached", "ordain")
                .times(cached)
                .goal(goal),
        ],
    })
}

async fn first_decision(cache: &Path, policies: &Path) -> anyhow::Result<Duration> {
    let mut command = Command::new(process::binary());
    for name in process::scrubbed() {
        command.env_remove(name);
    }
    command
        .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--load"])
        .arg(policies)
        .env(CACHE, cache)
        .current_dir(process::empty_folder())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let began = Instant::now();
    let mut child = command.spawn().context("the service cannot be started")?;
    let out = child.stdout.take().context("an output")?;
    let decided = async {
        let mut lines = BufReader::new(out).lines();
        let base = loop {
            let line = lines.next_line().await?;
            let line = line.context("the service ended before it listened")?;
            if let Some(base) = line.strip_prefix("listening on ") {
                break base.to_owned();
            }
        };
        let mut connection = Connection::new(&base)?;
        let (status, body) = connection
            .post(r#"{"tenant":"acme","task":"chat"}"#)
            .await?;
        let took = began.elapsed();
        ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(body));
        anyhow::Ok(took)
    };
    let took = tokio::time::timeout(LONGEST, decided).await??;
    child.kill().await?;
    Ok(took)
}

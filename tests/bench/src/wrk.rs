//! The load generator wrk, as a program of its own: what it is told, and what it measured. One
//! thread of it, so that servers have at least one core. It cannot use Unix sockets: for those see
//! `http`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::http::AUTHORIZATION;

/// Asks the same again and again, and says what came of it on the last line.
const SCRIPT: &str = r#"
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "AUTHORIZATION"
local file = assert(io.open(BODY))
wrk.body = file:read("*a")
file:close()
function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"requests":%d,"micros":%d,"p50":%d,"p99":%d,"max":%d,"failed":%d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"#;

/// What wrk counted; times in microseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Load {
    pub requests: u64,
    pub micros: u64,
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
    failed: u64,
}

impl Load {
    pub fn per_second(&self) -> f64 {
        self.requests as f64 * 1e6 / self.micros.max(1) as f64
    }
}

/// Whether there is a wrk to run.
pub fn is_there() -> bool {
    let mut command = std::process::Command::new("wrk");
    let command = command.arg("--version");
    // It ends with 1 all the same.
    let ended = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    ended.is_ok()
}

/// Lets `connections` ask for `time` with this body. `folder`: for the script.
pub async fn run(
    folder: &Path,
    base: &str,
    body: &str,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Load> {
    let (script, content) = (folder.join("load.lua"), folder.join("body.json"));
    let name = content.to_str().context("a folder in UTF-8")?;
    std::fs::write(&content, body)?;
    let filled = SCRIPT
        .replace("BODY", &format!("{name:?}"))
        .replace("AUTHORIZATION", &AUTHORIZATION);
    std::fs::write(&script, filled)?;
    let seconds = time.as_secs().max(1);
    let output = tokio::process::Command::new("wrk")
        .args(["-t1", "--latency"])
        .arg(format!("-c{connections}"))
        .arg(format!("-d{seconds}s"))
        .arg("-s")
        .arg(&script)
        .arg(format!("{base}/v1/resolve"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("wrk cannot be run")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or_default();
    let load: Load = serde_json::from_str(last)
        .with_context(|| format!("wrk: {said}{}", String::from_utf8_lossy(&output.stderr)))?;
    ensure!(load.failed == 0 && load.requests > 0, "wrk: {load:?}");
    Ok(load)
}

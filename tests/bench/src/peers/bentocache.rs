//! bentocache: memory, Redis and its Redis bus, in two processes of Node. What each does is in
//! `bentocache/`; here they are installed, started and told what to do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use tokio::process::Command;
use tokio::sync::oneshot;

use super::node::Node;
use crate::instance::record;
use crate::load::{self, Log, Sample};
use crate::outage;
use crate::propagation::{self, PATIENCE, SHORT_PAUSE, TENANTS};
use crate::report::Finding;
use crate::scale::Scale;
use crate::servers::{Hung, Servers};
use crate::stampede::{self, Ways};
use crate::unknown;

const FILES: [(&str, &str); 5] = [
    ("package.json", include_str!("bentocache/package.json")),
    (
        "package-lock.json",
        include_str!("bentocache/package-lock.json"),
    ),
    ("peer.mjs", include_str!("bentocache/peer.mjs")),
    ("store.mjs", include_str!("bentocache/store.mjs")),
    ("work.mjs", include_str!("bentocache/work.mjs")),
];

/// Where it is installed, or why it is not.
pub struct Bentocache(Result<PathBuf, String>);

impl Bentocache {
    /// Below the folder of the build; downloads only what is not there yet. A machine without Node,
    /// or without a network, measures everything else.
    pub async fn install(build: &Path) -> Bentocache {
        let folder = build.join("bench/bentocache");
        let installed = install(&folder).await;
        Bentocache(
            installed
                .map(|()| folder)
                .map_err(|error| format!("{error:#}")),
        )
    }

    pub fn not_run(&self, id: &str, why: &str) -> Finding {
        Finding::new(id, "bentocache").note(format!("not run: {why}"))
    }

    /// Two instances on an empty database and an empty Redis; the inner error says why there are
    /// none.
    pub async fn pair(
        &self,
        servers: &Servers,
        deadlines: bool,
    ) -> anyhow::Result<Result<Pair, String>> {
        let database = servers.peer_database()?;
        let urls = [database.clone(), database.clone()];
        self.open(servers, database, urls, deadlines).await
    }

    /// As `pair`, and what is sent to Postgres is counted.
    pub async fn counted_pair(
        &self,
        servers: &Servers,
    ) -> anyhow::Result<Result<(Pair, Ways), String>> {
        let database = servers.peer_database()?;
        let ways = Ways::new(servers, &database).await?;
        let pair = self
            .open(servers, database, ways.urls.clone(), false)
            .await?;
        Ok(pair.map(|pair| (pair, ways)))
    }

    async fn open(
        &self,
        servers: &Servers,
        database: String,
        urls: [String; 2],
        deadlines: bool,
    ) -> anyhow::Result<Result<Pair, String>> {
        let folder = match &self.0 {
            Ok(folder) => folder,
            Err(why) => return Ok(Err(why.clone())),
        };
        servers.flush_redis().await?;
        let [writer, reader] = [&urls[0], &urls[1]].map(|url| async move {
            let node = Node::start(folder, "peer.mjs")?;
            let options = json!({
                "postgres": place(url)?,
                "redis": servers.redis.socket(),
                "deadlines": deadlines,
            });
            node.call("open", options).await?;
            anyhow::Ok(node)
        });
        Ok(Ok(Pair {
            folder: folder.clone(),
            writer: writer.await?,
            reader: reader.await?,
            database,
            version: 0,
        }))
    }
}

async fn install(folder: &Path) -> anyhow::Result<()> {
    let lock = folder.join("package-lock.json");
    let wanted = include_str!("bentocache/package-lock.json");
    let there = std::fs::read_to_string(&lock).is_ok_and(|text| text == wanted)
        && folder.join("node_modules/bentocache").is_dir();
    std::fs::create_dir_all(folder)?;
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text)?;
    }
    if !there {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
        let output = npm.current_dir(folder).output().await;
        let output = output.context("npm cannot be started: is Node (20 or later) installed?")?;
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.lines().last().unwrap_or_default();
        ensure!(output.status.success(), "npm ci failed: {last}");
    }
    let version = Command::new("node").arg("--version").output().await;
    version.context("node cannot be started")?;
    Ok(())
}

/// What its driver of Postgres wants to know of a URL.
fn place(url: &str) -> anyhow::Result<Value> {
    let options: PgConnectOptions = url.parse()?;
    let host = match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => options.get_host().to_owned(),
    };
    Ok(json!({
        "host": host,
        "port": options.get_port(),
        "user": options.get_username(),
        "database": options.get_database(),
    }))
}

pub struct Pair {
    folder: PathBuf,
    writer: Node,
    reader: Node,
    database: String,
    version: u64,
}

impl Pair {
    /// As `propagation` does with instances in this process; with `cut`, the reader's listener
    /// loses its connection just before each write.
    pub async fn case(
        &mut self,
        writes: usize,
        burst: u64,
        cut: Option<&Arc<Servers>>,
    ) -> anyhow::Result<propagation::Outcome> {
        if self.version == 0 {
            for _ in 0..TENANTS {
                self.write(1, None).await?;
            }
        }
        let mut outcome = propagation::Outcome::default();
        for _ in 0..writes {
            tokio::time::sleep(propagation::pause(SHORT_PAUSE)).await;
            outcome.add(self.write(burst, cut).await?);
        }
        Ok(outcome)
    }

    async fn write(
        &mut self,
        burst: u64,
        cut: Option<&Arc<Servers>>,
    ) -> anyhow::Result<Option<u64>> {
        let tenant = format!("tenant-{}", self.version % TENANTS);
        let bodies: Vec<String> = (self.version + 1..=self.version + burst)
            .map(record)
            .collect();
        self.version += burst;
        if let Some(servers) = cut {
            servers.cut_listeners().await?;
        }
        let watch = self
            .reader
            .call("watch", json!({"tenant": tenant, "version": self.version}));
        let (acknowledged, known) = oneshot::channel();
        let write = async {
            let wanted = json!({"tenant": tenant, "bodies": bodies});
            let written = self.writer.call("write", wanted).await?;
            // Fails only if the watch has ended.
            let _ = acknowledged.send(());
            anyhow::Ok(written)
        };
        let watch_for_long = async {
            tokio::pin!(watch);
            let give_up = async {
                if known.await.is_ok() {
                    tokio::time::sleep(PATIENCE).await;
                }
                self.reader.call("stop", json!({})).await
            };
            tokio::select! {
                seen = &mut watch => seen,
                stopped = give_up => {
                    stopped?;
                    watch.await
                }
            }
        };
        let (seen, written) = tokio::try_join!(watch_for_long, write)?;
        let at = written["at"].as_u64().context("the time of the write")?;
        Ok(seen["at"].as_u64().map(|seen| seen.saturating_sub(at)))
    }

    /// As `stampede` does with instances in this process.
    pub async fn stampede(&self, ways: &Ways, scale: &Scale) -> anyhow::Result<stampede::Outcome> {
        let mut outcome = stampede::Outcome::default();
        for round in 0..scale.rounds {
            let tenant = stampede::tenant(round);
            let wanted = json!({"tenant": tenant, "bodies": [record(1)]});
            self.writer.call("write", wanted).await?;
            let reads = ways.watch(&tenant);
            let crowd = json!({"tenant": tenant, "callers": scale.callers});
            let crowds = tokio::try_join!(
                self.writer.call("crowd", crowd.clone()),
                self.reader.call("crowd", crowd)
            )?;
            for crowd in [crowds.0, crowds.1] {
                let took: Vec<u64> = serde_json::from_value(crowd["took"].clone())?;
                ensure!(took.len() == scale.callers, "{} callers", took.len());
                outcome.nanos.extend(took);
                let failed = crowd["failed"].as_u64().context("a count")?;
                outcome.failed += usize::try_from(failed)?;
            }
            outcome.reads.push(reads.map(|count| count.get()));
        }
        Ok(outcome)
    }

    /// Asks one instance for these tenants.
    pub async fn sweep(&self, tenants: &[String]) -> anyhow::Result<unknown::Sweep> {
        let wanted = json!({"tenants": tenants, "callers": unknown::CALLERS});
        let answer = self.writer.call("sweep", wanted).await?;
        Ok(unknown::Sweep {
            took: Duration::from_nanos(answer["took"].as_u64().context("a time")?),
            failed: usize::try_from(answer["failed"].as_u64().context("a count")?)?,
            reads: 0,
            grown: answer["grown"].as_i64(),
        })
    }

    /// As `load::run` does; the calls come back in files.
    pub async fn outage(
        &self,
        servers: &Arc<Servers>,
        hung: Hung,
        scale: &Scale,
    ) -> anyhow::Result<Log> {
        servers.sql(&self.database, &outage::insert("peer_policies", scale))?;
        let warm: Vec<String> = (0..load::WARM_TENANTS).map(load::warm_tenant).collect();
        let cold: Vec<String> = (0..load::cold_tenants(scale))
            .map(load::cold_tenant)
            .collect();
        let [warm_file, cold_file] = ["warm.bin", "cold.bin"].map(|name| self.folder.join(name));
        let options = json!({
            "warm": warm,
            "cold": cold,
            "warmCallers": load::WARM_CALLERS,
            "coldCallers": load::COLD_CALLERS,
            "pauseMs": load::COLD_PAUSE.as_millis(),
            "files": {"warm": warm_file, "cold": cold_file},
        });
        let running = self.writer.call("load", options);
        let disturbing = async {
            // The beginning is that of the command, give or take a millisecond.
            let began = Instant::now();
            let (hung, back) = load::disturb(began, servers, hung, scale).await?;
            let end = began.elapsed();
            self.writer.call("stop", json!({})).await?;
            anyhow::Ok((hung, back, end))
        };
        let (_, (hung, back, end)) = tokio::try_join!(running, disturbing)?;
        Ok(Log {
            warm: samples(&warm_file)?,
            cold: samples(&cold_file)?,
            hung,
            back,
            end,
        })
    }
}

/// Three numbers of 32 bits for each call: start, duration, outcome.
fn samples(file: &Path) -> anyhow::Result<Vec<Sample>> {
    let bytes = std::fs::read(file)?;
    std::fs::remove_file(file)?;
    let (numbers, rest) = bytes.as_chunks::<4>();
    ensure!(rest.is_empty(), "{} is cut off", file.display());
    let numbers: Vec<u32> = numbers
        .iter()
        .map(|bytes| u32::from_le_bytes(*bytes))
        .collect();
    let (samples, rest) = numbers.as_chunks::<3>();
    ensure!(rest.is_empty(), "{} is cut off", file.display());
    Ok(samples
        .iter()
        .map(|[start, took, outcome]| Sample {
            start: *start,
            took: *took,
            outcome: if *outcome == 0 {
                load::Outcome::Fresh
            } else {
                load::Outcome::Failed
            },
        })
        .collect())
}

//! The servers and instances of a run, and what is done to them: makes the faults of a schedule and
//! ends them. Not for which and when (`faults`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ordain_tests::app::{App, Builder};
use ordain_tests::fault_proxy::FaultProxy;
use ordain_tests::proxy::Upstream;
use ordain_tests::services::{Postgres, Redis};
use ordain_tests::wait::{PATIENCE, eventually, holds};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::calls::Target;
use crate::far::Far;
use crate::faults::{Fault, Link, Step, Trouble, kind};
use crate::record::{Host, Life, Row, Time};
use crate::sql;
use crate::workload::Shared;

/// The longest that an answer may be stale for: short, so that the end of it is seen, too.
pub const STALE_LIMIT: Duration = Duration::from_secs(3);

pub const DATABASE: &str = "test_0";

pub struct Cluster {
    pub shared: Arc<Shared>,
    pub postgres: Arc<Postgres>,
    pub far: Far,
    postgres_links: Vec<FaultProxy>,
    redis_links: Vec<FaultProxy>,
    slots: Vec<Builder>,
    hosts: Mutex<Vec<Running>>,
    /// Rows that may not be in the log any more.
    pub pruned: Mutex<Vec<Row>>,
    /// Faults that were made.
    pub made: Mutex<Vec<Made>>,
}

/// A fault, as it was made.
#[derive(Clone)]
pub struct Made {
    pub kind: String,
    pub fault: String,
    pub from: Time,
    pub to: Time,
}

struct Running {
    slot: usize,
    /// `None`: it was killed.
    app: Option<App>,
    /// What it had said by then.
    last_words: String,
}

impl std::fmt::Display for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} to {:?}: {}", self.from, self.to, self.fault)
    }
}

/// What distinguishes the instances: the seed gives each one of these.
const CHARACTERS: [&[(&str, &str)]; 4] = [
    &[],
    // Less of the log than an outage leaves pending: starts anew instead of applying it.
    &[("ORDAIN_WINDOW", "12")],
    // Room for a few policies: the others are read from far time and again.
    &[("ORDAIN_NEAR_BYTES", "2KiB"), ("ORDAIN_WINDOW", "30")],
    &[("ORDAIN_CACHE_NEAR", "off")],
];

impl Cluster {
    pub async fn start(seed: u64, slots: usize) -> Cluster {
        let (postgres, redis) = blocking(|| (Postgres::start(), Redis::start())).await;
        let database = postgres.database();
        assert!(database.contains(DATABASE), "{database}");
        let mut random = StdRng::seed_from_u64(seed ^ 0x51075);
        let mut cluster = Cluster {
            // The targets come with the instances.
            shared: Arc::new(Shared::new(seed, Vec::new(), database)),
            postgres: Arc::new(postgres),
            far: Far::new(redis, seed),
            postgres_links: Vec::new(),
            redis_links: Vec::new(),
            slots: Vec::new(),
            hosts: Mutex::default(),
            pruned: Mutex::default(),
            made: Mutex::default(),
        };
        for slot in 0..slots {
            let link = FaultProxy::start(Upstream::Unix(cluster.postgres.socket())).await;
            let far = FaultProxy::start(Upstream::Unix(cluster.far.socket())).await;
            let character = match slot {
                0 => random.random_range(0..2),
                _ => random.random_range(2..4),
            };
            let mut builder = App::builder()
                .postgres(&format!(
                    "postgres://postgres@127.0.0.1:{}/{DATABASE}?sslmode=disable",
                    link.port()
                ))
                .redis(&format!("redis://127.0.0.1:{}", far.port()))
                .env(
                    "ORDAIN_STALE_LIMIT",
                    &humantime::format_duration(STALE_LIMIT).to_string(),
                );
            for (name, value) in CHARACTERS[character] {
                builder = builder.env(name, value);
            }
            cluster.slots.push(builder);
            cluster.postgres_links.push(link);
            cluster.redis_links.push(far);
        }
        // The first one migrates; the others would wait for it.
        let mut targets = vec![cluster.launch(0, true).await];
        let others = (1..slots).map(|slot| cluster.launch(slot, false));
        targets.extend(futures::future::join_all(others).await);
        cluster.shared = Arc::new(Shared::new(seed, targets, cluster.shared.database()));
        cluster.shared.recorder.with(|history| {
            history.hosts = (0..slots).map(|host| (host, Life::default())).collect();
        });
        cluster
    }

    /// Starts a process for a slot, ready or not.
    async fn launch(&self, slot: usize, migrate: bool) -> Target {
        let mut builder = self.slots[slot].clone();
        if !migrate {
            builder = builder.arg("--no-migrate").unready();
        }
        let app = builder.name(&format!("instance {slot}")).start().await;
        let client = (*app).clone();
        let mut hosts = self.hosts.lock().expect("no holder of the lock panics");
        hosts.push(Running {
            slot,
            app: Some(app),
            last_words: String::new(),
        });
        let host = hosts.len() - 1;
        self.shared.recorder.with(|history| {
            history.hosts.insert(host, Life::default());
        });
        Target { host, client }
    }

    /// Starts another process for a slot. It is the caller's: clients are not led to it.
    pub async fn victim(&self, slot: usize) -> Target {
        let target = self.launch(slot, false).await;
        let ready = || async {
            let reply = target.client.get("/readyz").await;
            holds(reply.status == 200, reply.text)
        };
        eventually("ready", PATIENCE, ready).await;
        target
    }

    /// kill -9.
    pub fn kill(&self, host: Host) {
        let now = self.shared.recorder.now();
        self.shared.recorder.with(|history| {
            history.hosts.entry(host).or_default().died = Some(now);
        });
        let mut hosts = self.hosts.lock().expect("no holder of the lock panics");
        let running = &mut hosts[host];
        if let Some(app) = running.app.take() {
            app.sigkill();
            running.last_words = app.log();
        }
    }

    fn signal(&self, host: Host, signal: impl FnOnce(&App)) {
        let hosts = self.hosts.lock().expect("no holder of the lock panics");
        if let Some(app) = &hosts[host].app {
            signal(app);
        }
    }

    /// The link of a slot to Postgres.
    pub fn postgres_link(&self, slot: usize) -> &FaultProxy {
        &self.postgres_links[slot]
    }

    /// The log of every process that was ever started.
    pub fn logs(&self) -> Vec<String> {
        let hosts = self.hosts.lock().expect("no holder of the lock panics");
        hosts
            .iter()
            .enumerate()
            .map(|(host, running)| {
                let app = running.app.as_ref();
                let log = app.map_or_else(|| running.last_words.clone(), App::log);
                format!("---- host {host}, slot {}\n{log}", running.slot)
            })
            .collect()
    }

    /// Goes through a lane until it is over.
    pub async fn lane(&self, steps: &[Step], over: &AtomicBool) {
        for step in steps {
            if over.load(Ordering::SeqCst) {
                break;
            }
            tokio::time::sleep(step.pause).await;
            let from = self.shared.recorder.now();
            self.make(*step).await;
            self.was_made(&kind(step.fault), &format!("{:?}", step.fault), from);
        }
    }

    fn was_made(&self, kind: &str, fault: &str, from: Time) {
        let mut made = self.made.lock().expect("no holder of the lock panics");
        made.push(Made {
            kind: kind.to_owned(),
            fault: fault.to_owned(),
            from,
            to: self.shared.recorder.now(),
        });
    }

    /// Makes a fault, for as long as it is to last, and ends it.
    async fn make(&self, step: Step) {
        let began = self.shared.recorder.now();
        let last = tokio::time::sleep(step.lasts);
        let postgres = self.postgres.clone();
        match step.fault {
            Fault::PostgresKilled => {
                blocking(move || postgres.kill()).await;
                last.await;
                let postgres = self.postgres.clone();
                blocking(move || postgres.restart()).await;
            }
            Fault::PostgresStopped => {
                postgres.stop_signal();
                last.await;
                postgres.cont();
            }
            Fault::LogLocked => self.lock_log(step.lasts).await,
            Fault::Link(link, trouble, slot) => {
                self.trouble(link, trouble, slot);
                last.await;
                self.links(link, slot).for_each(FaultProxy::pass);
            }
            Fault::InstanceKilled(slot) => {
                self.kill(self.shared.target(slot).host);
                last.await;
                let target = self.launch(slot, false).await;
                *self.shared.targets[slot]
                    .lock()
                    .expect("no holder of the lock panics") = target;
            }
            Fault::InstanceStopped(slot) => {
                let host = self.shared.target(slot).host;
                self.signal(host, App::freeze);
                last.await;
                self.signal(host, App::thaw);
                let ended = self.shared.recorder.now();
                self.shared.recorder.with(|history| {
                    let life = history.hosts.entry(host).or_default();
                    life.stopped.push((began, ended));
                });
            }
            Fault::SwitchedOff(name) => {
                let off = format!(
                    "INSERT INTO settings (name, value) VALUES ('{name}', 'off') ON CONFLICT DO NOTHING"
                );
                // The server may be away; then nothing is switched.
                let _ = sql::operate(&self.shared, &off).await;
                last.await;
                self.switch_on().await;
            }
            Fault::Purged(tenant) => {
                let tenant = tenant.map_or("NULL".to_owned(), |tenant| format!("'{tenant}'"));
                let purge = format!("SELECT log_purge({tenant})");
                let _ = sql::operate(&self.shared, &purge).await;
                last.await;
            }
            Fault::Pruned => {
                let _ = sql::prune(&self.shared, 4, &self.pruned).await;
                last.await;
            }
            other => self.far.make(other, last).await,
        }
    }

    fn links(&self, link: Link, slot: Option<usize>) -> impl Iterator<Item = &FaultProxy> {
        let links = match link {
            Link::Postgres => &self.postgres_links,
            Link::Redis => &self.redis_links,
        };
        let chosen = move |(index, _): &(usize, _)| slot.is_none_or(|slot| slot == *index);
        links
            .iter()
            .enumerate()
            .filter(chosen)
            .map(|(_, link)| link)
    }

    fn trouble(&self, link: Link, trouble: Trouble, slot: Option<usize>) {
        for proxy in self.links(link, slot) {
            match trouble {
                Trouble::Delay(there, back) => {
                    proxy.delay(Duration::from_millis(there), Duration::from_millis(back));
                }
                Trouble::Cut => proxy.cut(),
                Trouble::Refuse => {
                    proxy.refuse();
                    proxy.cut();
                }
                Trouble::Hang => proxy.hang(),
                Trouble::HoldReplies => proxy.hold_replies(),
            }
        }
    }

    /// Every cache is on that the configuration has on.
    pub async fn switch_on(&self) {
        let on = || sql::operate(&self.shared, "DELETE FROM settings");
        eventually("switched on again", PATIENCE, on).await;
    }

    /// As an operator who forgot a transaction.
    async fn lock_log(&self, lasts: Duration) {
        let work = async {
            let mut connection =
                <sqlx::PgConnection as sqlx::Connection>::connect(&self.shared.database()).await?;
            let lock = "BEGIN; SELECT position FROM log_head WHERE one FOR UPDATE";
            sqlx::raw_sql(lock).execute(&mut connection).await?;
            tokio::time::sleep(lasts).await;
            sqlx::raw_sql("ROLLBACK").execute(&mut connection).await
        };
        // The server may have trouble of its own.
        let _ = tokio::time::timeout(lasts + Duration::from_secs(1), work).await;
    }

    /// A replica takes over that lacks what was committed during `behind`; the old primary is gone
    /// before it does (rule D3). Returns it, when everybody is led to the new one.
    pub async fn fail_over(
        &mut self,
        replica: Arc<Postgres>,
        behind: impl AsyncFnOnce(&Cluster),
    ) -> Arc<Postgres> {
        let from = self.shared.recorder.now();
        let (primary, severed) = (self.postgres.clone(), replica.clone());
        blocking(move || {
            primary.wait_replayed(&severed);
            severed.sever();
        })
        .await;
        behind(self).await;
        let primary = self.postgres.clone();
        blocking(move || primary.kill()).await;
        let fenced = self.shared.recorder.now();
        self.shared.recorder.with(|h| h.fenced = Some(fenced));
        let promoted = replica.clone();
        blocking(move || promoted.promote()).await;
        *self
            .shared
            .database
            .lock()
            .expect("no holder of the lock panics") = replica.url("postgres", DATABASE);
        for link in &self.postgres_links {
            link.lead_to(Upstream::Unix(replica.socket()));
        }
        self.was_made("LossyFailover", "LossyFailover", from);
        std::mem::replace(&mut self.postgres, replica)
    }
}

/// For calls that wait by blocking: the clients of a run go on meanwhile.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .expect("no servers' helper panics")
}

//! The quiet tenant: what it asks for, and how long it waits.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ordain_tests::app::App;
use ordain_tests::http::{Client, Reply, policy_path};
use ordain_tests::tokens::editor;
use serde_json::json;

/// For how long it is watched, and the pause between two of its requests.
const WATCHED: Duration = Duration::from_secs(2);
const PACE: Duration = Duration::from_millis(5);
/// Below these, twice the normal says nothing: client, server and Postgres share two cores, so that
/// a thread that is ready may wait for several slices of others, of some milliseconds each, and a
/// debug build multiplies what each of them computes. A write takes four turns of that, and waits
/// for the one lock that all writes share. What this is to find took hundreds of milliseconds and
/// failed.
const READ_FLOOR: Duration = Duration::from_millis(150);
const WRITE_FLOOR: Duration = Duration::from_millis(400);
/// What `/healthz` may take, save one in a hundred: it waits for nothing but a core, which may be
/// another's.
const HEALTH: Duration = Duration::from_millis(50);

pub struct Quiet {
    client: Client,
    base: String,
    users: usize,
}

/// What was slow, by the kind of request.
pub type Slow = BTreeMap<&'static str, String>;

/// Times that requests took, and what went wrong.
#[derive(Default)]
pub struct Watched {
    hits: Vec<Duration>,
    cold: Vec<Duration>,
    writes: Vec<Duration>,
    health: Vec<Duration>,
    failed: Vec<String>,
}

impl Quiet {
    pub async fn new(app: &App) -> Quiet {
        let quiet = Quiet {
            client: app.with(&editor("quiet")),
            base: app.base().to_owned(),
            users: 0,
        };
        let record = json!({"defaultProvider": "openai", "defaultModel": "m"});
        quiet.client.store("quiet", &record).await;
        app.store("quiet-too", &record).await;
        quiet
    }

    /// Asks for what is in near, for what is not, and writes now and then.
    pub async fn watched(&mut self) -> Watched {
        let mut watched = Watched::default();
        let health = Health::ask(self.base.clone());
        let start = Instant::now();
        for turn in 0.. {
            if start.elapsed() >= WATCHED {
                break;
            }
            let began = Instant::now();
            let (reply, times) = match turn % 20 {
                7 => (self.write(turn).await, &mut watched.writes),
                n if n % 4 == 0 => (self.cold().await, &mut watched.cold),
                _ => (
                    self.client.resolve(&json!({"tenant": "quiet"})).await,
                    &mut watched.hits,
                ),
            };
            times.push(began.elapsed());
            if reply.status != 200 {
                watched.failed.push(format!("{reply:?}"));
            }
            tokio::time::sleep(PACE).await;
        }
        let (times, failed) = health.end();
        watched.health = times;
        watched.failed.extend(failed);
        watched
    }

    async fn write(&self, turn: usize) -> Reply {
        let record = json!({"defaultProvider": "openai", "defaultModel": format!("m{turn}")});
        self.client.put(&policy_path("quiet"), &record).await
    }

    /// A user that nobody has asked for.
    async fn cold(&mut self) -> Reply {
        self.users += 1;
        let path = format!("/v1/tenants/quiet/config?user=user-{}", self.users);
        self.client.get(&path).await
    }
}

/// Somebody who asks all the time whether the instance lives, on a thread that does nothing else.
struct Health {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<(Vec<Duration>, Vec<String>)>,
}

impl Health {
    fn ask(base: String) -> Health {
        let ended = Arc::new(AtomicBool::new(false));
        let until = ended.clone();
        let thread = std::thread::spawn(move || {
            let mut alone = tokio::runtime::Builder::new_current_thread();
            let alone = alone.enable_all().build().expect("a runtime");
            // Connections are this thread's own.
            let client = Client::new(&base);
            alone.block_on(async {
                let (mut times, mut failed) = (Vec::new(), Vec::new());
                while !until.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let reply = client.get("/healthz").await;
                    times.push(began.elapsed());
                    if reply.status != 200 {
                        failed.push(format!("{reply:?}"));
                    }
                    tokio::time::sleep(PACE).await;
                }
                (times, failed)
            })
        });
        Health { ended, thread }
    }

    fn end(self) -> (Vec<Duration>, Vec<String>) {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic")
    }
}

/// The time that one of a hundred exceeds.
fn p99(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    let at = (times.len() * 99 / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default()
}

impl Watched {
    /// Requests that were refused or went wrong: none may.
    pub fn failed(&self) -> &[String] {
        &self.failed
    }

    /// What took longer than it may.
    pub fn against(&self, normal: &Watched) -> Slow {
        let mut slow = Slow::new();
        for (what, times, before, floor) in [
            ("hits", &self.hits, &normal.hits, READ_FLOOR),
            ("cold reads", &self.cold, &normal.cold, READ_FLOOR),
            ("writes", &self.writes, &normal.writes, WRITE_FLOOR),
        ] {
            let most = (p99(before) * 2).max(floor);
            if p99(times) > most {
                let fault = format!("{what}: p99 {:?} of at most {most:?}", p99(times));
                slow.insert(what, fault);
            }
        }
        let health = p99(&self.health);
        if health > HEALTH {
            let fault = format!("healthz: {health:?} of at most {HEALTH:?}");
            slow.insert("healthz", fault);
        }
        slow
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |times: &[Duration]| format!("{:.1?} ({})", p99(times), times.len());
        write!(
            f,
            "p99 of hits {}, cold reads {}, writes {}, healthz {}; {} failed",
            shown(&self.hits),
            shown(&self.cold),
            shown(&self.writes),
            shown(&self.health),
            self.failed.len()
        )
    }
}

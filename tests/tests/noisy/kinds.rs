//! What a noisy tenant does, of each kind. What it is told is its own business.

use std::time::Duration;

use ordain_tests::app::App;
use ordain_tests::http::{Client, history_path, policy_path};
use ordain_tests::tokens::{admin, editor, reader, resolver_of};
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Configs of users that it makes up.
    ColdUsers,
    /// Tenants that it makes up, by a token for all of them, one by one and in batches.
    ColdTenants,
    /// Revisions of the year 2255, and of the next second.
    FarFutureRevisions,
    NearFutureRevisions,
    Histories,
    /// Histories whose answers it does not read.
    UnreadHistories,
    /// Connections that begin a request and no more.
    HalfRequests,
    Writes,
    DryRuns,
    /// Requests that are dear, since its record is.
    HeavyRecords,
    /// All tenants, again and again.
    Lists,
    Imports,
}

const NOISY: &str = "noisy";

/// A valid record with this many users.
fn large(users: usize) -> Value {
    let user = |n: usize| (format!("user-{n:05}"), json!({"egressMode": "report-only"}));
    let users: Map<String, Value> = (0..users).map(user).collect();
    json!({"defaultProvider": "openai", "defaultModel": "m", "userPolicies": users})
}

/// As dear as a record may be.
fn dear() -> Value {
    let globs: Vec<String> = (0..1000).map(|n| format!("*a*{n}*b*")).collect();
    let task = |n: usize| json!({"task": format!("t{n}"), "provider": "openai", "model": "m"});
    let tasks: Vec<Value> = (0..1000).map(task).collect();
    json!({"defaultProvider": "openai", "defaultModel": "m", "allowedModels": globs, "tasks": tasks})
}

/// What some kinds need to be there.
pub async fn prepare(app: &App) {
    let large = large(4500);
    for _ in 0..30 {
        // Large records take their time on a busy machine.
        let stored = || async {
            let reply = app.put(&policy_path(NOISY), &large).await;
            holds(reply.status < 300, reply.text)
        };
        eventually("stored", PATIENCE, stored).await;
    }
    let many: String = (0..2000)
        .map(|n| json!({"tenant": format!("listed-{n}"), "policy": {"defaultProvider": "p", "defaultModel": "m"}}))
        .map(|line| format!("{line}\n"))
        .collect();
    let call = app.call("POST", "/v1/policies/import");
    call.body(many).send().await.expect(200);
}

impl Kind {
    /// Goes on until the tasks are aborted.
    pub fn start(self, app: &App, noise: &mut JoinSet<()>) {
        // With connections of its own.
        let own = Client::new(app.base());
        let (reader, editor) = (own.with(&reader(NOISY)), own.with(&editor(NOISY)));
        let latest = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap_or_default();
        let micros = u64::try_from(latest.as_micros()).unwrap_or(0);
        match self {
            Kind::ColdUsers => repeat(noise, 32, 100, move |n| {
                let path = format!("/v1/tenants/{NOISY}/config?user=invented-{n}-{}", rand());
                get(&reader, path)
            }),
            Kind::ColdTenants => {
                let gateway = own.with(&resolver_of("noisy"));
                repeat(noise, 48, 100, move |n| {
                    let one = |n: usize| json!({"tenant": format!("invented-{n}-{}", rand())});
                    let request = match n % 8 {
                        0 => Value::from_iter((0..20).map(one)),
                        _ => one(n),
                    };
                    ask(&gateway, request)
                });
            }
            Kind::FarFutureRevisions => repeat(noise, 600, 1500, move |_| {
                demand(&reader, 9_000_000_000_000_000)
            }),
            Kind::NearFutureRevisions => {
                repeat(noise, 600, 1500, move |_| {
                    demand(&reader, micros + 30_000_000)
                });
            }
            Kind::Histories => repeat(noise, 16, 50, move |_| {
                get(&reader, format!("{}?limit=500", history_path(NOISY)))
            }),
            Kind::UnreadHistories => {
                let head = format!(
                    "GET {}?limit=500 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
                    history_path(NOISY),
                    ordain_tests::tokens::reader(NOISY)
                );
                unread(noise, app, 64, &head);
            }
            Kind::HalfRequests => {
                let head = "POST /v1/resolve HTTP/1.1\r\nHost: x\r\nX-Filler: ".to_owned();
                unread(noise, app, 200, &(head + &"y".repeat(4000)));
            }
            Kind::Writes => repeat(noise, 100, 100, move |n| {
                let record = json!({"defaultProvider": "p", "defaultModel": format!("m{n}")});
                put(&editor, policy_path(NOISY), record.to_string())
            }),
            Kind::DryRuns => {
                let record = large(4500).to_string();
                repeat(noise, 8, 20, move |_| {
                    put(
                        &editor,
                        format!("{}?dryRun=true", policy_path(NOISY)),
                        record.clone(),
                    )
                });
            }
            Kind::HeavyRecords => {
                let (owner, record) = (editor.clone(), dear());
                noise.spawn(async move { drop(owner.put(&policy_path(NOISY), &record).await) });
                repeat(noise, 8, 20, move |n| {
                    let request =
                        json!({"tenant": NOISY, "task": "t999", "model": format!("openai/aa{n}")});
                    ask(&reader, request)
                });
            }
            Kind::Lists => {
                let admin = own.with(&admin());
                repeat(noise, 16, 50, move |_| {
                    get(&admin, "/v1/tenants?limit=500".to_owned())
                });
            }
            Kind::Imports => {
                let admin = own.with(&admin());
                let record = large(4500);
                // Made once: what is sent must cost the client less than the server.
                let line = |n: usize| json!({"tenant": format!("imported-{n}"), "policy": record});
                let lines: String = (0..20).map(|n| format!("{}\n", line(n))).collect();
                repeat(noise, 2, 100, move |round| {
                    let (admin, model) = (admin.clone(), format!("\"m{}\"", round % 10));
                    let lines = lines.replace("\"m\"", &model);
                    async move {
                        let call = admin.call("POST", "/v1/policies/import").body(lines);
                        call.ignored().await;
                    }
                });
            }
        }
    }
}

/// Loops side by side, each with a pause of so many milliseconds after each call.
fn repeat<F: Future<Output = ()> + Send + 'static>(
    noise: &mut JoinSet<()>,
    loops: u64,
    pause: u64,
    call: impl Fn(usize) -> F + Clone + Send + Sync + 'static,
) {
    for number in 0..loops {
        let call = call.clone();
        noise.spawn(async move {
            // Not all at the same moment.
            tokio::time::sleep(Duration::from_millis(pause * number / loops)).await;
            for round in 0.. {
                call(round).await;
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        });
    }
}

fn get(client: &Client, path: String) -> impl Future<Output = ()> + Send + use<> {
    let client = client.clone();
    async move { client.call("GET", &path).ignored().await }
}

fn put(client: &Client, path: String, body: String) -> impl Future<Output = ()> + Send + use<> {
    let client = client.clone();
    async move { client.call("PUT", &path).text(body).ignored().await }
}

fn demand(client: &Client, revision: u64) -> impl Future<Output = ()> + Send + use<> {
    ask(client, json!({"tenant": NOISY, "minRevision": revision}))
}

fn ask(client: &Client, request: Value) -> impl Future<Output = ()> + Send + use<> {
    let client = client.clone();
    async move {
        client
            .call("POST", "/v1/resolve")
            .json(&request)
            .ignored()
            .await
    }
}

/// Connections that say this and then neither speak nor listen.
fn unread(noise: &mut JoinSet<()>, app: &App, connections: usize, text: &str) {
    let address = app.base().trim_start_matches("http://").to_owned();
    for _ in 0..connections {
        let (address, text) = (address.clone(), text.to_owned());
        noise.spawn(async move {
            let Ok(mut stream) = TcpStream::connect(address).await else {
                return;
            };
            let _ = stream.write_all(text.as_bytes()).await;
            std::future::pending::<()>().await;
        });
    }
}

/// Nobody has asked for it.
fn rand() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

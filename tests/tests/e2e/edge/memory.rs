//! How much memory callers can take: with bodies that they do not finish, bodies that are dear to
//! unpack, and answers that they do not read. Each time somebody else is served beside them.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures::future::join_all;
use http::Request;
use ordain_tests::app::App;
use ordain_tests::http::{Client, policy_path};
use ordain_tests::raw::Raw;
use ordain_tests::tokens::{editor, reader, resolver};
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::http2::{Sender, client};
use crate::access::guarded;
use crate::support::{model, plain, version};

/// Largest body of a resolve.
const BODY: usize = 4 << 20;

/// The most that a process has had in memory beyond what it had at first.
struct Growth {
    first: u64,
    most: u64,
}

impl Growth {
    fn since(app: &App) -> Growth {
        let first = app.resident();
        Growth { first, most: 0 }
    }

    fn look(&mut self, app: &App) {
        let grown = app.resident().saturating_sub(self.first);
        self.most = self.most.max(grown);
    }

    #[track_caller]
    fn stays_below(&self, mebibytes: u64) {
        assert!(self.most < mebibytes << 20, "{} MiB", self.most >> 20);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_one_tenant_that_never_end_hold_little_and_another_s_large_body_gets_through() {
    let app = guarded().await;
    app.store("quiet", &version(1)).await;
    let quiet = app.with(&resolver(Some(&["quiet"])));
    let mut long = plain("quiet").to_string();
    long.insert_str(1, &" ".repeat(BODY - 100));
    let ask = || async {
        let call = quiet.call("POST", "/v1/resolve").text(long.clone());
        model(&call.send().await.expect(200).json).to_owned()
    };
    assert_eq!(ask().await, "m1");
    let mut growth = Growth::since(&app);
    let all_but_one: Arc<[u8]> = vec![b' '; BODY - 1].into();
    let token = reader("noisy");
    let noisy = (0..200).map(|_| {
        let (base, token, body) = (app.base().to_owned(), token.clone(), all_but_one.clone());
        tokio::spawn(async move {
            let mut one = Raw::connect(&base).await;
            let head = format!(
                "Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\
                 Content-Length: {BODY}\r\n\r\n"
            );
            one.begin("POST /v1/resolve", &head).await;
            one.send(&body[..]).await;
            one.answer().await
        })
    });
    let noisy: Vec<_> = noisy.collect();
    while !noisy.iter().all(|one| one.is_finished()) {
        assert_eq!(ask().await, "m1");
        growth.look(&app);
        // Time for other tests, too.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    growth.stays_below(160);
    let answers = join_all(noisy).await;
    let answers = answers.into_iter().map(|one| one.expect("no panic"));
    let (late, others): (Vec<_>, Vec<_>) =
        answers.partition(|answer| answer.starts_with("HTTP/1.1 408"));
    assert!(!late.is_empty(), "some had a place and never ended");
    assert!(!others.is_empty(), "some had none");
    for answer in others {
        let answer = answer.to_ascii_lowercase();
        for part in ["http/1.1 503", "retry-after: 1", "overloaded", "bodies"] {
            assert!(answer.contains(part), "{part}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_announced_and_does_not_come_holds_no_place() {
    let app = guarded().await;
    app.store("t", &version(1)).await;
    let token = reader("t");
    let head = format!(
        "Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {BODY}\r\n\r\n"
    );
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut one = Raw::connect(app.base()).await;
        one.begin("POST /v1/resolve", &head).await;
        one.send([b' '; 10_000]).await;
        held.push(one);
    }
    let long = format!("{}{}", plain("t"), " ".repeat(BODY - 100));
    let call = app.with(&token).call("POST", "/v1/resolve").text(long);
    assert_eq!(model(&call.send().await.expect(200).json), "m1");
    let taken = app.metric("ordain_places_taken{kind=\"bodies\"}").await;
    assert!(taken < 1.0, "{taken}");
    drop(held);
}

/// A frame of zstd that says nothing in many blocks.
fn dear() -> Vec<u8> {
    [
        &b"\x28\xb5\x2f\xfd\0\x68"[..],
        &b"\0\0\0".repeat(200_000),
        b"\x01\0\0",
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_one_tenant_that_are_dear_to_unpack_keep_nobody_else_s_waiting() {
    const NOISY: usize = 40;
    let app = guarded().await;
    app.store("quiet", &version(1)).await;
    let quiet = app.with(&editor("quiet"));
    let packed = {
        let long = format!("{}{}", version(2), " ".repeat(200 << 10));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(long.as_bytes()).expect("memory");
        encoder.finish().expect("memory")
    };
    let answered = Arc::new(AtomicUsize::new(0));
    let (noisy, dear) = (app.with(&reader("noisy")), dear());
    let calls = (0..NOISY).map(|_| {
        let call = noisy.call("POST", "/v1/resolve").text(dear.clone());
        let (call, answered) = (call.header("content-encoding", "zstd"), answered.clone());
        tokio::spawn(async move {
            call.ignored().await;
            answered.fetch_add(1, Ordering::Relaxed)
        })
    });
    let calls: Vec<_> = calls.collect();
    let all_there = || async {
        let open = app.metric("ordain_connections").await;
        let answers = answered.load(Ordering::Relaxed);
        holds(open + answers as f64 >= NOISY as f64, open)
    };
    eventually("all are asking", PATIENCE, all_there).await;
    let before = answered.load(Ordering::Relaxed);
    for _ in 0..3 {
        let call = quiet.call("PUT", &policy_path("quiet"));
        let call = call.header("content-encoding", "gzip");
        call.text(packed.clone()).send().await.expect(200);
    }
    let passed = answered.load(Ordering::Relaxed) - before;
    let left = NOISY - before;
    assert!(passed < left / 2, "{passed} of {left} came first");
    for call in calls {
        call.await.expect("no panic");
    }
}

/// A record nearly as long as one may be.
async fn store_long(app: &App) -> Value {
    let user = |n: usize| (format!("user-{n:05}"), json!({"egressMode": "report-only"}));
    let mut record = version(1);
    record["userPolicies"] = (0..5500).map(user).collect::<Map<_, _>>().into();
    app.store("t", &record).await;
    record
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_streams_of_http2_do_not_take_hold_little_and_who_takes_them_gets_them() {
    let app = App::memory().await;
    let record = store_long(&app).await;
    let mut growth = Growth::since(&app);
    let uri = format!("{}{}", app.base(), policy_path("t"));
    let mut held = Vec::new();
    for _ in 0..16 {
        let stream = Raw::connect(app.base()).await.into_stream();
        // No byte of an answer may be sent.
        let (sender, _) = client(stream, 0).await;
        let answers = join_all((0..100).map(|_| untaken(&sender, &uri))).await;
        held.push((sender, answers));
        growth.look(&app);
        assert_eq!(app.get(&policy_path("t")).await.expect(200).json, record);
    }
    growth.stays_below(230);
    assert!(ended_for_room(&app).await > 0.0);
    drop(held);
}

/// The body of an answer, of which nothing is taken; `None`: its connection has ended.
async fn untaken(sender: &Sender, uri: &str) -> Option<h2::RecvStream> {
    let mut sender = sender.clone().ready().await.ok()?;
    let request = Request::builder().uri(uri).body(()).expect("a request");
    let (answer, _) = sender.send_request(request, true).ok()?;
    Some(answer.await.ok()?.into_body())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_connections_do_not_take_hold_little_and_who_takes_them_gets_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    // A socket of which the kernel itself holds less than an answer.
    let address = format!("unix:{}", path.display());
    let app = App::builder().dev().listen(&address).start().await;
    let record = store_long(&app).await;
    let mut growth = Growth::since(&app);
    let request = format!("GET {} HTTP/1.1\r\nHost: t\r\n\r\n", policy_path("t"));
    let fresh = Client::new(app.base());
    let mut held = Vec::new();
    for number in 0..1300 {
        let mut one = UnixStream::connect(&path).await.expect("a connection");
        one.write_all(request.as_bytes()).await.expect("sent");
        // The beginning of its answer is there.
        one.readable().await.expect("an answer");
        held.push(one);
        if number % 50 == 0 {
            growth.look(&app);
            assert_eq!(fresh.get(&policy_path("t")).await.expect(200).json, record);
        }
    }
    growth.look(&app);
    growth.stays_below(230);
    assert!(ended_for_room(&app).await > 0.0);
}

async fn ended_for_room(app: &App) -> f64 {
    app.metric("ordain_connections_ended_total{cause=\"room\"}")
        .await
}

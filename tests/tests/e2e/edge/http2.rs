//! HTTP/2 with prior knowledge, beside HTTP/1.1 on the same port and socket.

use std::time::Duration;

use h2::client::SendRequest;
use http::{Request, Response};
use ordain_tests::app::App;
use ordain_tests::raw::Raw;
use ordain_tests::wait::{PATIENCE, eventually, holds};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::support::{plain, version};

pub type Sender = SendRequest<std::io::Cursor<Vec<u8>>>;

/// What a client takes of an answer before it says more, usually.
const WINDOW: u32 = 65_535;

/// A client of HTTP/2 with this window for each stream, and how its connection ended.
pub async fn client(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    window: u32,
) -> (Sender, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(window)
        .handshake(stream)
        .await
        .expect("it speaks HTTP/2");
    let ended = tokio::spawn(connection);
    (sender.ready().await.expect("it is there"), ended)
}

async fn connected(app: &App) -> (Sender, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    client(Raw::connect(app.base()).await.into_stream(), WINDOW).await
}

async fn ask(
    sender: &Sender,
    method: &str,
    uri: &str,
    body: Option<String>,
) -> Result<(u16, String), h2::Error> {
    let request = Request::builder().method(method).uri(uri);
    let request = request.header("content-type", "application/json");
    let request = request.body(()).expect("a request");
    let mut sender = sender.clone().ready().await?;
    let (response, mut stream) = sender.send_request(request, body.is_none())?;
    if let Some(body) = body {
        stream.send_data(std::io::Cursor::new(body.into_bytes()), true)?;
    }
    let response: Response<h2::RecvStream> = response.await?;
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        bytes.extend_from_slice(&chunk);
    }
    Ok((
        head.status.as_u16(),
        String::from_utf8_lossy(&bytes).into_owned(),
    ))
}

fn uri(app: &App, path: &str) -> String {
    format!("{}{path}", app.base())
}

#[tokio::test]
async fn a_hundred_requests_at_a_time_are_answered_on_one_connection() {
    let app = App::memory().await;
    app.store("t", &version(1)).await;
    let (sender, _ended) = connected(&app).await;
    let resolve = uri(&app, "/v1/resolve");
    let all = (0..100).map(|_| ask(&sender, "POST", &resolve, Some(plain("t").to_string())));
    for answer in futures::future::join_all(all).await {
        let (status, text) = answer.expect("an answer");
        assert!(status == 200 && text.contains("\"m1\""), "{status} {text}");
    }
    let (status, text) = ask(&sender, "GET", &uri(&app, "/v1/nothing"), None)
        .await
        .expect("one");
    assert!(
        status == 404 && text.contains("not-found"),
        "{status} {text}"
    );
    let taken = app
        .metric("ordain_connections_taken_total{room=\"yes\"}")
        .await;
    assert!(taken < 10.0, "{taken}");
}

#[tokio::test]
async fn a_socket_takes_both_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let address = format!("unix:{}", path.display());
    let app = App::builder().dev().listen(&address).start().await;
    app.store("t", &version(1)).await;
    let stream = tokio::net::UnixStream::connect(&path)
        .await
        .expect("a connection");
    let (sender, _ended) = client(stream, WINDOW).await;
    let body = Some(plain("t").to_string());
    let (status, _) = ask(&sender, "POST", "http://ordain/v1/resolve", body)
        .await
        .expect("one");
    assert_eq!(status, 200);
}

#[tokio::test]
async fn curl_with_prior_knowledge_and_one_that_asks_to_upgrade_are_answered() {
    let app = App::memory().await;
    for (flag, version) in [
        ("--http2-prior-knowledge", "2"),
        ("--http2", "1.1"),
        ("--http1.0", "1"),
    ] {
        let mut curl = tokio::process::Command::new("curl");
        curl.args(["-sS", "-m", "20", "--noproxy", "*", flag, "-o", "/dev/null"]);
        curl.args(["-w", "%{http_version} %{http_code}"]);
        let output = curl.arg(uri(&app, "/healthz")).output().await;
        let output = output.expect("curl is not installed: apt-get install -y curl");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text, format!("{version} 200"), "{output:?}");
    }
}

#[tokio::test]
async fn with_dev_a_foreign_name_is_not_served_either() {
    let app = App::memory().await;
    let (sender, _ended) = connected(&app).await;
    let (status, text) = ask(&sender, "GET", "http://evil.example/healthz", None)
        .await
        .expect("one");
    assert!(
        status == 421 && text.contains("misdirected"),
        "{status} {text}"
    );
}

#[tokio::test]
async fn a_body_that_stops_coming_ends_its_request_and_no_other() {
    let app = App::memory().await;
    let (sender, _ended) = connected(&app).await;
    let request = Request::builder()
        .method("POST")
        .uri(uri(&app, "/v1/resolve"));
    let request = request
        .header("content-type", "application/json")
        .body(())
        .expect("one");
    let mut one = sender.clone().ready().await.expect("ready");
    let (response, mut stream) = one.send_request(request, false).expect("sent");
    let half = std::io::Cursor::new(b"{\"tenant\"".to_vec());
    stream.send_data(half, false).expect("sent");
    let response = tokio::time::timeout(2 * PATIENCE, response).await;
    let response = response.expect("an answer").expect("an answer");
    assert_eq!(response.status(), 408);
    let (status, _) = ask(&sender, "GET", &uri(&app, "/healthz"), None)
        .await
        .expect("one");
    assert_eq!(status, 200);
}

#[tokio::test]
async fn heads_are_bounded() {
    let app = App::memory().await;
    let (sender, _ended) = connected(&app).await;
    let request = Request::builder().uri(uri(&app, "/healthz"));
    let request = request
        .header("x-filler", "x".repeat(40 << 10))
        .body(())
        .expect("one");
    let mut one = sender.clone().ready().await.expect("ready");
    let (response, _) = one.send_request(request, true).expect("sent");
    match response.await {
        Ok(response) => assert_eq!(response.status(), 431),
        Err(error) => assert!(error.is_reset() || error.is_go_away(), "{error}"),
    }
    super::probed(&app).await.expect("others are served");
}

#[tokio::test]
async fn a_flood_of_requests_taken_back_ends_their_connection_and_hurts_nobody() {
    let app = App::memory().await;
    app.store("t", &version(1)).await;
    let (sender, ended) = connected(&app).await;
    let resolve = uri(&app, "/v1/resolve");
    let flood = async {
        for _ in 0..20_000 {
            let Ok(mut one) = sender.clone().ready().await else {
                return;
            };
            let request = Request::builder()
                .method("POST")
                .uri(&resolve)
                .body(())
                .expect("one");
            let Ok((_, mut stream)) = one.send_request(request, false) else {
                return;
            };
            stream.send_reset(h2::Reason::CANCEL);
            tokio::task::yield_now().await;
        }
    };
    let quiet = async {
        for _ in 0..50 {
            app.resolve(&plain("t")).await.expect(200);
        }
    };
    let both = async { tokio::join!(flood, quiet) };
    tokio::time::timeout(3 * PATIENCE, both)
        .await
        .expect("both end");
    drop(sender);
    ended.abort();
    super::probed(&app).await.expect("a probe");
}

#[tokio::test]
async fn a_client_that_only_connected_and_one_that_is_idle_delay_no_stop() {
    let mut app = App::memory().await;
    // One that answers nothing any more: it has said what a client begins with, and no more.
    let mut mute = Raw::connect(app.base()).await;
    mute.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await;
    let (sender, ended) = connected(&app).await;
    ask(&sender, "GET", &uri(&app, "/healthz"), None)
        .await
        .expect("one");
    let start = std::time::Instant::now();
    app.sigterm();
    assert_eq!(app.wait_exit().await.code(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
    let ended = tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("it ends");
    // In order: the server said that it goes.
    assert!(matches!(ended, Ok(Ok(()))), "{ended:?}");
}

#[tokio::test]
async fn requests_under_way_are_answered_before_a_stop() {
    let mut app = App::memory().await;
    app.store("t", &version(1)).await;
    let (sender, _ended) = connected(&app).await;
    let request = Request::builder()
        .method("POST")
        .uri(uri(&app, "/v1/resolve"));
    let request = request
        .header("content-type", "application/json")
        .body(())
        .expect("one");
    let mut one = sender.clone().ready().await.expect("ready");
    let (response, mut stream) = one.send_request(request, false).expect("sent");
    // It is in hand once an answer to a later one is back.
    ask(&sender, "GET", &uri(&app, "/healthz"), None)
        .await
        .expect("one");
    app.sigterm();
    let gone = || async {
        let refused = Raw::try_connect(app.base()).await.is_err();
        holds(refused, "still listening")
    };
    eventually("no new connections", PATIENCE, gone).await;
    let body = std::io::Cursor::new(plain("t").to_string().into_bytes());
    stream.send_data(body, true).expect("sent");
    assert_eq!(response.await.expect("an answer").status(), 200);
    assert_eq!(app.wait_exit().await.code(), Some(0));
}

#[tokio::test]
async fn an_idle_client_is_told_before_its_connection_ends() {
    let app = App::builder()
        .dev()
        .arg("--idle-timeout")
        .arg("1s")
        .start()
        .await;
    let (sender, ended) = connected(&app).await;
    ask(&sender, "GET", &uri(&app, "/healthz"), None)
        .await
        .expect("one");
    let ended = tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("it ends");
    assert!(matches!(ended, Ok(Ok(()))), "{ended:?}");
}

#[tokio::test]
async fn the_preface_may_come_byte_by_byte() {
    let app = App::memory().await;
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let mut wire = Raw::connect(app.base()).await.into_stream();
    wire.set_nodelay(true).expect("a socket");
    let forward = tokio::spawn(async move {
        let (mut from, mut to) = wire.split();
        let mut buffer = [0; 4096];
        let mut sent = 0;
        loop {
            tokio::select! {
                read = near.read(&mut buffer) => {
                    let Ok(length @ 1..) = read else { return };
                    for byte in &buffer[..length] {
                        if to.write_all(&[*byte]).await.is_err() { return }
                        sent += 1;
                        if sent < 40 { tokio::time::sleep(Duration::from_millis(5)).await }
                    }
                    continue;
                }
                done = copy_some(&mut from) => {
                    let Some(bytes) = done else { return };
                    if near.write_all(&bytes).await.is_err() { return }
                }
            }
        }
    });
    let (sender, _ended) = client(far, WINDOW).await;
    let (status, _) = ask(&sender, "GET", &uri(&app, "/healthz"), None)
        .await
        .expect("one");
    assert_eq!(status, 200);
    forward.abort();
}

async fn copy_some(from: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 4096];
    let length = from
        .read(&mut bytes)
        .await
        .ok()
        .filter(|length| *length > 0)?;
    bytes.truncate(length);
    Some(bytes)
}

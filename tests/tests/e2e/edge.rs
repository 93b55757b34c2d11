//! The edge: what clients that say nothing, half of something or far too much can hold, and for how
//! long.

use std::time::{Duration, Instant};

use ordain_tests::app::App;
use ordain_tests::raw::Raw;
use ordain_tests::wait::{PATIENCE, eventually, holds};

use crate::support::{model, plain, version};

mod drain;
mod http2;
mod local;
mod memory;
mod proxies;

/// The server's limit for a first byte and for a head, and what a busy machine may add.
const HEAD: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_secs(10);

async fn silent(app: &App, count: usize) -> Vec<Raw> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.extend(Raw::try_connect(app.base()).await);
    }
    all
}

/// Asked on a connection of its own, as probes do.
async fn probed(app: &App) -> Result<(), String> {
    let asked = async {
        let mut probe = Raw::try_connect(app.base())
            .await
            .map_err(|e| e.to_string())?;
        Ok::<_, String>(probe.get("/healthz").await)
    };
    let answer = tokio::time::timeout(Duration::from_secs(3), asked).await;
    let answer = answer.map_err(|_| "no answer within 3 s".to_owned())??;
    holds(answer.starts_with("HTTP/1.1 200"), answer)
}

#[tokio::test]
async fn silent_connections_keep_nobody_out_where_files_are_few() {
    let app = App::builder().dev().ulimit("-n 128").start().await;
    app.store("t", &version(1)).await;
    let held = silent(&app, 150).await;
    for round in 0..20 {
        probed(&app)
            .await
            .unwrap_or_else(|why| panic!("{round}: {why}"));
    }
    let client = ordain_tests::http::Client::new(app.base());
    let reply = client.resolve(&plain("t")).await.expect(200);
    assert_eq!(model(&reply.json), "m1");
    drop(held);
    let room = app
        .metric("ordain_connections_ended_total{cause=\"room\"}")
        .await;
    assert!(room > 0.0, "somebody made room");
}

#[tokio::test]
async fn half_heads_and_bodies_that_do_not_come_keep_no_probe_out() {
    let app = App::builder().dev().ulimit("-n 128").start().await;
    for kind in [
        "",
        "Content-Length: 100\r\nContent-Type: application/json\r\n\r\n",
    ] {
        let mut held = silent(&app, 150).await;
        for one in &mut held {
            one.begin("POST /v1/resolve", kind).await;
        }
        for round in 0..20 {
            probed(&app)
                .await
                .unwrap_or_else(|why| panic!("{kind:?} {round}: {why}"));
        }
    }
}

#[tokio::test]
async fn beyond_the_bound_callers_are_told_so_at_once_and_probes_are_answered() {
    let builder = App::builder().dev().arg("--max-connections").arg("4");
    let app = builder.start().await;
    app.store("t", &version(1)).await;
    // Requests that are under way: their bodies come, a byte at a time.
    let holders: Vec<_> = (0..6)
        .map(|_| tokio::spawn(dripping(app.base().to_owned())))
        .collect();
    let beyond = || async {
        let mut one = Raw::connect(app.base()).await;
        one.begin(
            "POST /v1/resolve",
            "Content-Type: application/json\r\nContent-Length: 14\r\n\r\n",
        )
        .await;
        one.send("{\"tenant\":\"t\"}").await;
        let answer = one.answer().await;
        let is_told = answer.starts_with("HTTP/1.1 503");
        holds(is_told, &answer)?;
        Ok::<_, String>((answer, one))
    };
    let (answer, mut one) = eventually("a refusal", PATIENCE, beyond).await;
    let lower = answer.to_ascii_lowercase();
    for part in [
        "retry-after: 1",
        "connection: close",
        "too-many-connections",
        "x-request-id",
    ] {
        assert!(lower.contains(part), "{part}: {answer}");
    }
    assert!(one.ends_within(PATIENCE).await);
    probed(&app).await.expect("a probe");
    holders.iter().for_each(|holder| holder.abort());
    let taken = || async {
        let mut one = Raw::connect(app.base()).await;
        let answer = one.get("/v1/tenants/t/policy").await;
        holds(answer.starts_with("HTTP/1.1 200"), answer)
    };
    eventually("room", PATIENCE, taken).await;
}

/// Requests whose body comes slowly, one after the other.
async fn dripping(base: String) {
    let head = "Content-Length: 99999\r\nContent-Type: application/json\r\n\r\n";
    loop {
        let mut one = Raw::connect(&base).await;
        one.begin("POST /v1/resolve", head).await;
        while one.send(" ").await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn heads_have_a_time_and_a_size_and_what_they_held_is_given_back() {
    let app = App::builder().dev().start().await;
    // Under load once, so that what serving takes anyway is there.
    for _ in 0..200 {
        app.resolve(&plain("t")).await;
    }
    let before = app.resident();
    // Longer than a head may be, and as long as one may be, and neither has an end.
    let (long, allowed) = (vec![b'x'; 400 << 10], vec![b'x'; 31 << 10]);
    let hold = |filler: Vec<u8>| {
        let base = app.base().to_owned();
        async move {
            let mut one = Raw::connect(&base).await;
            one.begin("GET /healthz", "X-Filler: ").await;
            one.send(filler).await;
            one
        }
    };
    let start = Instant::now();
    let held: Vec<Raw> = futures::future::join_all((0..1600).map(|n| {
        hold(if n % 2 == 0 {
            long.clone()
        } else {
            allowed.clone()
        })
    }))
    .await;
    let most = app.resident().saturating_sub(before);
    assert!(most < 120 << 20, "{} MiB for half heads", most >> 20);
    probed(&app).await.expect("a probe beside them");
    let gone = || async {
        let open = app.metric("ordain_connections").await;
        holds(open < 20.0, open)
    };
    eventually("they have gone", HEAD + SLACK, gone).await;
    assert!(start.elapsed() > HEAD / 2, "they had their time");
    let back = || async {
        let left = app.resident().saturating_sub(before);
        holds(left < 60 << 20, format!("{} MiB", left >> 20))
    };
    eventually("memory is given back", PATIENCE, back).await;
    let ended = app
        .metric("ordain_connections_ended_total{cause=\"head\"}")
        .await;
    assert!(ended >= 700.0, "{ended}");
    drop(held);
}

#[tokio::test]
async fn a_first_byte_and_a_head_that_drips_have_ten_seconds() {
    let app = App::memory().await;
    let base = app.base().to_owned();
    let (mut silent, mut drips) = (Raw::connect(&base).await, Raw::connect(&base).await);
    let start = Instant::now();
    drips.begin("GET /healthz", "X-Drip: ").await;
    let dripping = async {
        while drips.send("x").await {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        start.elapsed()
    };
    let limit = HEAD + SLACK;
    let (dripped, ended) = tokio::join!(
        tokio::time::timeout(limit, dripping),
        silent.ends_within(limit)
    );
    let dripped = dripped.expect("drops do not keep a head alive");
    assert!(ended, "nor does silence");
    assert!(dripped > HEAD / 2, "{dripped:?}");
}

#[tokio::test]
async fn a_body_that_stops_coming_is_answered_408() {
    let app = App::memory().await;
    let mut one = Raw::connect(app.base()).await;
    let head = "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n";
    one.begin("POST /v1/resolve", head).await;
    one.send("{\"tenant\"").await;
    let answer = one.answer().await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(
        answer.contains("body-timeout") && answer.contains("10 s"),
        "{answer}"
    );
    assert!(
        one.ends_within(PATIENCE).await,
        "the rest would be no request"
    );
    let ended = app
        .metric("ordain_connections_ended_total{cause=\"body\"}")
        .await;
    assert!((ended - 1.0).abs() < 0.5, "{ended}");
}

#[tokio::test]
async fn a_body_that_comes_slowly_is_read() {
    let app = App::memory().await;
    app.store("t", &version(1)).await;
    let mut one = Raw::connect(app.base()).await;
    let body = plain("t").to_string();
    let head = format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    one.begin("POST /v1/resolve", &head).await;
    for byte in body.bytes() {
        one.send([byte]).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = one.answer().await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("\"m1\""),
        "{answer}"
    );
}

#[tokio::test]
async fn a_connection_lives_while_it_is_used_and_ends_when_it_is_not() {
    let app = App::builder()
        .dev()
        .arg("--idle-timeout")
        .arg("1s")
        .start()
        .await;
    let mut one = Raw::connect(app.base()).await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        let answer = one.get("/healthz").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(one.ends_within(PATIENCE).await);
    let ended = app
        .metric("ordain_connections_ended_total{cause=\"idle\"}")
        .await;
    assert!(ended >= 1.0, "{ended}");
}

#[tokio::test]
async fn the_limit_on_open_files_is_raised_as_far_as_may_be() {
    let limits = "-Sn 64 && ulimit -Hn 600";
    let app = App::builder().dev().ulimit(limits).start().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", app.pid()));
    let limits = limits.expect("the process lives");
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = files.and_then(|line| line.split_whitespace().nth(3));
    assert_eq!(soft, Some("600"), "{limits}");
    // All at a time: none makes room for another.
    let mut all = silent(&app, 300).await;
    for one in &mut all {
        let answer = one.get("/healthz").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let most = app.metric("ordain_connections_max").await;
    assert!((300.0..600.0).contains(&most), "{most}");
}

#[tokio::test]
async fn more_connections_than_there_are_files_for_are_refused_at_the_start() {
    let builder = App::builder()
        .dev()
        .ulimit("-n 256")
        .arg("--max-connections");
    let (code, log) = builder.arg("1000").refused().await;
    assert_eq!(code, Some(2), "{log}");
    for part in ["ORDAIN_MAX_CONNECTIONS", "1000", "256", "ulimit -n"] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[tokio::test]
async fn probes_of_old_clients_are_answered() {
    let app = App::memory().await;
    for (request, line) in [
        ("GET /healthz HTTP/1.0\r\n\r\n", "HTTP/1.0 200"),
        ("HEAD /healthz HTTP/1.0\r\n\r\n", "HTTP/1.0 200"),
        (
            "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\nHost: localhost\r\n\r\n",
            "HTTP/1.0 200",
        ),
        ("\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n", "HTTP/1.0 200"),
    ] {
        let mut one = Raw::connect(app.base()).await;
        one.send(request).await;
        // The answer to HEAD has no body: its head is all.
        let mut stream = one.into_stream();
        let mut text = [0; 12];
        let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut text);
        let read = tokio::time::timeout(PATIENCE, read).await;
        read.expect("an answer").expect("an answer");
        assert_eq!(String::from_utf8_lossy(&text), line, "{request}");
    }
}

//! How an instance goes: what waits for its peer does not delay a stop, a drain tells load
//! balancers first, SIGHUP is no stop.

use std::time::{Duration, Instant};

use ordain_tests::app::App;
use ordain_tests::raw::Raw;
use ordain_tests::wait::{PATIENCE, eventually, holds};

use crate::support::{plain, version};

#[tokio::test]
async fn half_heads_silence_and_idle_connections_delay_no_stop() {
    let mut app = App::memory().await;
    let _silent = Raw::connect(app.base()).await;
    let mut half = Raw::connect(app.base()).await;
    half.begin("GET /healthz", "X-Half: ").await;
    let mut idle = Raw::connect(app.base()).await;
    idle.get("/healthz").await;
    let mut second = Raw::connect(app.base()).await;
    second.get("/healthz").await;
    second.begin("GET /healthz", "X-Half: ").await;
    app.get("/healthz").await.expect(200);
    let start = Instant::now();
    app.sigterm();
    assert_eq!(app.wait_exit().await.code(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

/// A `/readyz` that says so.
async fn is_draining(app: &App) -> Result<(), String> {
    let reply = app.get("/readyz").await;
    let is = reply.status == 503 && reply.json["status"] == "draining";
    holds(is, format!("{reply:?}"))
}

#[tokio::test]
async fn while_it_drains_it_serves_on_and_says_that_it_goes() {
    let mut app = App::builder().dev().env("ORDAIN_DRAIN", "3s").start().await;
    app.store("t", &version(1)).await;
    let mut kept = Raw::connect(app.base()).await;
    assert!(!kept.get("/healthz").await.contains("connection: close"));
    let start = Instant::now();
    app.sigterm();
    eventually("/readyz", PATIENCE, || is_draining(&app)).await;
    let reply = app.get("/readyz").await.expect(503);
    assert_eq!(reply.header("retry-after"), "1");
    // New connections and those from before, until the time is over.
    let reply = app.resolve(&plain("t")).await.expect(200);
    assert_eq!(reply.header("connection"), "close");
    app.get("/healthz").await.expect(200);
    assert!((app.metric("ordain_draining").await - 1.0).abs() < 0.1);
    let last = kept.get("/healthz").await;
    assert!(
        last.starts_with("HTTP/1.1 200") && last.contains("connection: close"),
        "{last}"
    );
    assert!(kept.ends_within(PATIENCE).await);
    assert_eq!(app.wait_exit().await.code(), Some(0));
    assert!(
        start.elapsed() >= Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_second_signal_ends_a_drain_and_ctrl_c_knows_none() {
    for second in [App::sigterm, App::sigint] {
        let mut app = App::builder()
            .dev()
            .env("ORDAIN_DRAIN", "10m")
            .start()
            .await;
        app.sigterm();
        eventually("/readyz", PATIENCE, || is_draining(&app)).await;
        second(&app);
        assert_eq!(app.wait_exit().await.code(), Some(0));
        assert!(app.log().contains("asked to stop again"), "{}", app.log());
    }
    let mut app = App::builder()
        .dev()
        .env("ORDAIN_DRAIN", "10m")
        .start()
        .await;
    app.sigint();
    assert_eq!(app.wait_exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_cuts_off_what_is_under_way() {
    let mut app = App::memory().await;
    let mut slow = Raw::connect(app.base()).await;
    let head = "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    slow.begin("POST /v1/resolve", head).await;
    app.get("/healthz").await.expect(200);
    let start = Instant::now();
    app.sigterm();
    let gone = || async {
        let refused = Raw::try_connect(app.base()).await.is_err();
        holds(refused, "still listening")
    };
    eventually("no new connections", PATIENCE, gone).await;
    app.sigterm();
    assert_eq!(app.wait_exit().await.code(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_hangup_ends_nothing() {
    for builder in [
        App::builder().dev(),
        App::builder().env("ORDAIN_ENV", "development"),
    ] {
        let app = builder.start().await;
        app.store("t", &version(1)).await;
        for _ in 0..3 {
            app.sighup();
        }
        let noticed = || async { holds(app.log().contains("SIGHUP"), app.log()) };
        eventually("it is noticed", PATIENCE, noticed).await;
        app.resolve(&plain("t")).await.expect(200);
    }
}

#[tokio::test]
async fn how_long_it_drains_is_checked_and_shown() {
    let (code, log) = App::builder()
        .dev()
        .env("ORDAIN_DRAIN", "soon")
        .refused()
        .await;
    assert_eq!(code, Some(2), "{log}");
    assert!(
        log.contains("ORDAIN_DRAIN") && log.contains("250ms"),
        "{log}"
    );
    let zero = App::builder().dev().env("ORDAIN_IDLE_TIMEOUT", "0s");
    let (code, log) = zero.refused().await;
    assert!(
        code == Some(2) && log.contains("ORDAIN_IDLE_TIMEOUT"),
        "{log}"
    );
    let env = [("ORDAIN_DRAIN", "15s"), ("ORDAIN_MAX_CONNECTIONS", "500")];
    let args = ["serve", "--dev", "--print-config"];
    let shown = ordain_tests::cli::cli_with(&env, args).await.expect(0);
    for line in [
        "ORDAIN_DRAIN=15s",
        "ORDAIN_MAX_CONNECTIONS=500",
        "ORDAIN_IDLE_TIMEOUT=1m15s",
    ] {
        assert!(shown.stdout.contains(line), "{line}: {shown:?}");
    }
}

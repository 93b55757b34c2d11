//! Real proxies in front: connections that are kept alive, headers that are rewritten, HTTP/2
//! behind them, and an instance that goes while requests come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ordain_tests::app::App;
use ordain_tests::http::Client;
use ordain_tests::services::{haproxy, nginx};
use ordain_tests::wait::{PATIENCE, eventually, holds};

use crate::support::{model, plain, version};

/// With tokens, in memory, one policy.
async fn instance(drain: &str) -> App {
    let builder = App::builder().env("ORDAIN_ENV", "development");
    let app = builder.env("ORDAIN_DRAIN", drain).start().await;
    app.store("t", &version(1)).await;
    app
}

async fn served(client: &Client) {
    let up = || async {
        let reply = client.get("/healthz").await;
        holds(reply.status == 200, format!("{reply:?}"))
    };
    eventually("the proxy has a server", PATIENCE, up).await;
}

#[tokio::test]
async fn nginx_keeps_its_connections_and_many_requests_share_them() {
    let app = instance("0s").await;
    let proxy = nginx(&[app.base()], "");
    let client = Client::new(&proxy.base());
    served(&client).await;
    for _ in 0..50 {
        let request = plain("t");
        let answers = (0..8).map(|_| client.resolve(&request));
        for reply in futures::future::join_all(answers).await {
            assert_eq!(model(&reply.expect(200).json), "m1");
        }
    }
    let taken = app
        .metric("ordain_connections_taken_total{room=\"yes\"}")
        .await;
    assert!(taken < 60.0, "{taken} connections for 400 requests");
}

#[tokio::test]
async fn headers_that_haproxy_rewrites_and_http2_to_the_server_work() {
    let app = instance("0s").await;
    for (options, more) in [
        (
            "",
            "http-request set-header Host ordain.internal\n  option forwardfor\n  http-request del-header user-agent",
        ),
        ("", "option http-server-close"),
        ("", "http-reuse always"),
        ("proto h2", "http-reuse always"),
    ] {
        let proxy = haproxy(&[app.base()], options, &format!("  {more}"));
        let client = Client::new(&proxy.base());
        served(&client).await;
        for _ in 0..20 {
            let reply = client.resolve(&plain("t")).await.expect(200);
            assert_eq!(model(&reply.json), "m1", "{options} {more}");
        }
        let reply = client
            .put("/v1/tenants/t/policy", &version(1))
            .await
            .expect(200);
        assert!(reply.revision() > 0);
    }
}

/// Requests by a proxy while the first of two instances goes.
async fn requests_while_one_goes(options: &str) {
    let mut first = instance("2s").await;
    let second = instance("0s").await;
    let more = "  balance roundrobin\n  http-reuse always\n  retries 0";
    let proxy = haproxy(&[first.base(), second.base()], options, more);
    let client = Client::new(&proxy.base());
    served(&client).await;
    let done = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (client, done, count) = (client.clone(), done.clone(), count.clone());
            tokio::spawn(async move {
                let request = plain("t");
                while !done.load(Ordering::Relaxed) {
                    let reply = client.resolve(&request).await.expect(200);
                    assert_eq!(model(&reply.json), "m1");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let so_many = |more: u64| {
        let (count, from) = (count.clone(), count.load(Ordering::Relaxed));
        move || {
            let now = count.load(Ordering::Relaxed);
            async move { holds(now >= from + more, now) }
        }
    };
    eventually("requests flow", PATIENCE, so_many(100)).await;
    first.sigterm();
    assert_eq!(first.wait_exit().await.code(), Some(0));
    assert!(!first.log().contains("cut off"), "{}", first.log());
    eventually("requests flow on", PATIENCE, so_many(100)).await;
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        let ended = tokio::time::timeout(Duration::from_secs(30), caller).await;
        ended.expect("a caller ends").expect("no request failed");
    }
}

#[tokio::test]
async fn no_request_fails_behind_haproxy_while_an_instance_drains_and_goes() {
    requests_while_one_goes("").await;
}

#[tokio::test]
async fn nor_if_haproxy_speaks_http2_to_it() {
    requests_while_one_goes("proto h2").await;
}

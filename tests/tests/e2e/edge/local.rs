//! `--dev` serves the programs of this machine, and no web page that its browser shows.

use ordain_tests::app::App;
use ordain_tests::cli::cli;
use ordain_tests::http::Reply;
use ordain_tests::raw::Raw;
use ordain_tests::services::nginx;
use serde_json::json;

use crate::support::version;

async fn asked(app: &App, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    let call = app.without().call(method, path);
    let call = headers
        .iter()
        .fold(call, |call, (name, value)| call.header(name, value));
    call.send().await
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_name_that_was_made_to_point_here_is_not_served() {
    let app = App::memory().await;
    for host in [
        "evil.example",
        "evil.example:7171",
        "localhost.evil.example",
        "10.0.0.1",
    ] {
        for (method, path) in [
            ("GET", "/healthz"),
            ("GET", "/v1/tenants"),
            ("POST", "/v1/caches/purge"),
            ("PUT", "/v1/tenants/t/policy"),
            ("DELETE", "/v1/tenants/t/policy"),
            ("OPTIONS", "/v1/tenants"),
            ("GET", "/metrics"),
            ("GET", "/nothing"),
        ] {
            let reply = asked(&app, method, path, &[("host", host), JSON]).await;
            let reply = reply.problem(421, "misdirected");
            assert!(reply.text.contains("localhost"), "{reply:?}");
        }
    }
    // By the address in the request line, too, which counts more than the header.
    let mut one = Raw::connect(app.base()).await;
    one.begin("GET http://evil.example/healthz", "\r\n").await;
    let answer = one.answer().await;
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    for host in ["localhost", "LocalHost:1", "127.0.0.1", "[::1]:7171"] {
        asked(&app, "GET", "/healthz", &[("host", host)])
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_page_of_another_origin_changes_and_reads_nothing() {
    let app = App::memory().await;
    app.store("t", &version(1)).await;
    let own = app.base().to_owned();
    for foreign in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for (method, path) in [
            ("POST", "/v1/caches/purge"),
            ("POST", "/v1/log/prune"),
            ("POST", "/v1/component/promote"),
            ("POST", "/v1/component/rollback"),
            ("PATCH", "/v1/caches"),
            ("PUT", "/v1/tenants/t/policy"),
            ("DELETE", "/v1/tenants/t/policy"),
            ("GET", "/v1/tenants/t/policy"),
            ("OPTIONS", "/v1/tenants/t/policy"),
        ] {
            let reply = asked(&app, method, path, &[foreign, JSON]).await;
            reply.problem(403, "cross-site");
        }
    }
    app.get("/v1/tenants/t/policy").await.expect(200);
    let headers = [("origin", own.as_str()), ("sec-fetch-site", "same-origin")];
    asked(&app, "GET", "/v1/tenants", &headers)
        .await
        .expect(200);
}

#[tokio::test]
async fn what_a_form_can_send_changes_nothing() {
    let app = App::memory().await;
    app.store("t", &version(1)).await;
    let calls = [
        ("POST", "/v1/caches/purge", json!({})),
        ("POST", "/v1/log/prune", json!({"before": "1d"})),
        ("POST", "/v1/component/promote", json!({})),
        ("POST", "/v1/component/rollback", json!({})),
        ("POST", "/v1/component/check", json!("x")),
        ("PUT", "/v1/component", json!("x")),
        ("PATCH", "/v1/caches", json!({"near": false})),
        ("PATCH", "/v1/config", json!({"mergeMaxMessages": 5})),
        ("PUT", "/v1/tenants/t/policy", version(2)),
        (
            "POST",
            "/v1/tenants/t/policy/try",
            json!({"record": version(1), "requests": []}),
        ),
        ("POST", "/v1/resolve", json!({"tenant": "t"})),
    ];
    for (method, path, body) in &calls {
        for kind in [
            None,
            Some("text/plain"),
            Some("text/plain;charset=UTF-8"),
            Some("application/x-www-form-urlencoded"),
            Some("multipart/form-data; boundary=b"),
        ] {
            let call = app.without().call(method, path).body(body.to_string());
            let call = match kind {
                Some(kind) => call.header("content-type", kind),
                None => call,
            };
            let reply = call.send().await;
            reply.problem(415, "unsupported-media-type");
        }
        // Without a body, too.
        let reply = asked(&app, method, path, &[]).await;
        reply.problem(415, "unsupported-media-type");
    }
    let stored = app.get("/v1/tenants/t/policy").await.expect(200);
    assert_eq!(stored.json["defaultModel"], "m1");
}

#[tokio::test]
async fn with_tokens_the_host_is_anybodys_and_forms_are_still_no_requests() {
    let app = App::builder()
        .env("ORDAIN_ENV", "development")
        .start()
        .await;
    app.store("t", &version(1)).await;
    let call = |method: &str, path: &str| app.call(method, path);
    let elsewhere = ("host", "ordain.example");
    let reply = call("GET", "/v1/tenants").header(elsewhere.0, elsewhere.1);
    reply
        .header("origin", "https://console.example")
        .send()
        .await
        .expect(200);
    for (method, path) in [
        ("PUT", "/v1/component"),
        ("POST", "/v1/component/check"),
        ("POST", "/v1/component/promote"),
        ("POST", "/v1/component/rollback"),
        ("POST", "/v1/caches/purge"),
    ] {
        for kind in ["text/plain", "application/x-www-form-urlencoded"] {
            let call = call(method, path).header("content-type", kind).body("{}");
            call.send().await.problem(415, "unsupported-media-type");
        }
    }
}

#[tokio::test]
async fn a_proxy_that_names_this_machine_is_served_and_one_that_names_another_is_told() {
    let app = App::memory().await;
    let ask = |proxy: ordain_tests::services::Proxy| async move {
        let reply = ordain_tests::http::Client::new(&proxy.base())
            .get("/healthz")
            .await;
        drop(proxy);
        reply
    };
    ask(nginx(&[app.base()], "proxy_set_header Host $http_host;"))
        .await
        .expect(200);
    let named = nginx(&[app.base()], "proxy_set_header Host ordain.example;");
    ask(named).await.problem(421, "misdirected");
}

#[tokio::test]
async fn commands_work_with_dev_as_they_did() {
    let app = App::memory().await;
    app.store("t", &version(1)).await;
    let server = app.base().replace("127.0.0.1", "localhost");
    let run = |args: &[&str]| {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let server = server.clone();
        async move { cli(args.into_iter().chain(["--server".to_owned(), server])).await }
    };
    run(&["resolve", "--tenant", "t"]).await.expect(0);
    run(&["purge"]).await.expect(0);
    run(&["log", "prune", "--before", "365d"]).await.expect(0);
    run(&["caches", "set", "near=off"]).await.expect(0);
    run(&["config", "set", "mergeMaxMessages=5"])
        .await
        .expect(0);
    // Refused for what they ask, not for how.
    for command in ["promote", "rollback"] {
        let output = run(&["component", command]).await.expect(1);
        assert!(
            !output.stderr.contains("unsupported-media-type"),
            "{output:?}"
        );
    }
}

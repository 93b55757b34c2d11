//! The reason of a write, in whichever form a client can send it; and `/metrics` in whichever
//! format a scraper reads.

use ordain_tests::app::App;
use ordain_tests::cli::cli;
use ordain_tests::http::{history_path, policy_path};
use serde_json::json;

use crate::cli_remote::file;
use crate::support::version;

#[tokio::test]
async fn a_reason_comes_raw_encoded_or_as_a_parameter_and_is_kept_as_text() {
    let app = App::memory().await;
    let path = policy_path("t");
    let last = async || app.get(&history_path("t")).await.json["items"][0]["reason"].clone();
    let put = async |path: &str, reason: Option<&[u8]>| {
        let mut call = app.call("PUT", path).json(&version(1));
        if let Some(reason) = reason {
            call = call.raw_header("ordain-reason", reason);
        }
        call.send().await
    };
    for (reason, kept) in [
        ("früher".as_bytes(), "früher"),
        (b"fr%C3%BCher, 100% sure", "früher, 100% sure"),
        (b"100%25", "100%"),
    ] {
        assert!(put(&path, Some(reason)).await.status < 300);
        assert_eq!(last().await, kept);
    }
    let query = format!("{path}?reason=caf%C3%A9+%2F+50%25");
    put(&query, None).await.expect(200);
    assert_eq!(last().await, "café / 50%");
    for latin in [&b"caf\xe9"[..], b"caf%E9"] {
        let refused = put(&path, Some(latin)).await.problem(400, "invalid-header");
        let detail = refused.json["detail"].as_str().unwrap_or_default();
        assert!(
            detail.contains("?reason=") && detail.contains("%C3%A9"),
            "{detail}"
        );
    }
    put(&query, Some(b"both"))
        .await
        .problem(400, "invalid-header");
    let latin = format!("{path}?reason=caf%E9");
    put(&latin, None).await.problem(400, "invalid-parameter");
    let long = format!("{path}?reason={}", "x".repeat(501));
    put(&long, None).await.problem(400, "invalid-parameter");
}

#[tokio::test]
async fn every_write_takes_a_reason_as_a_parameter_and_no_read_does() {
    let app = App::memory().await;
    app.store("t", &version(1)).await;
    let patch = json!({"mergeMaxMessages": 3});
    for (method, path, body, status) in [
        ("PUT", "/v1/tenants/t/policy", version(2), 200),
        ("PATCH", "/v1/config", patch.clone(), 200),
        ("PATCH", "/v1/tenants/t/users/u/config", patch, 200),
        ("DELETE", "/v1/tenants/t/users/u/config", json!(null), 200),
        ("DELETE", "/v1/tenants/t/policy", json!(null), 200),
        ("PATCH", "/v1/caches", json!({"bound": "2s"}), 200),
        ("POST", "/v1/caches/purge", json!({}), 200),
        ("POST", "/v1/log/prune", json!({"before": "30d"}), 200),
        ("POST", "/v1/component/promote", json!({}), 409),
        ("POST", "/v1/component/rollback", json!({}), 409),
        ("DELETE", "/v1/component", json!(null), 409),
        ("GET", "/v1/tenants/t/policy", json!(null), 400),
        ("POST", "/v1/resolve", json!({"tenant": "t"}), 400),
    ] {
        let mut call = app.call(method, &format!("{path}?reason=because"));
        if !body.is_null() {
            call = call.json(&body);
        }
        let reply = call.send().await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
    }
    let history = app.get("/v1/tenants/t/history").await.json;
    assert_eq!(history["items"][0]["reason"], "because");
    assert_eq!(history["items"][1]["reason"], "because");
}

#[tokio::test]
async fn the_command_line_sends_a_reason_so_that_it_arrives() {
    let app = App::memory().await;
    let (_guard, record) = file(&version(1).to_string());
    for reason in ["früher", "100% of café %41", "日本 \u{1f600}"] {
        let args = [
            "policy",
            "put",
            "t",
            &record,
            "--reason",
            reason,
            "--server",
            app.base(),
        ];
        cli(args).await.expect(0);
        let kept = app.get(&history_path("t")).await.json["items"][0]["reason"].clone();
        assert_eq!(kept, reason);
    }
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let app = App::memory().await;
    let read = async |accept: &str| {
        let reply = app
            .call("GET", "/metrics")
            .header("accept", accept)
            .send()
            .await
            .expect(200);
        (reply.header("content-type").to_owned(), reply.text)
    };
    let (kind, open) =
        read("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
            .await;
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(open.contains("# TYPE ordain_requests counter\n") && open.ends_with("# EOF\n"));
    let (kind, classic) = read("text/plain;version=0.0.4;q=1,*/*;q=0.1").await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert!(
        classic.contains("# TYPE ordain_requests_total counter\n") && !classic.contains("# EOF")
    );
    // Of every family: help, type, and samples that are called as it is.
    let mut families = 0;
    let mut name = String::new();
    for line in classic.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            families += 1;
            name = rest.split(' ').next().unwrap_or_default().to_owned();
        } else if !line.starts_with("# HELP ") {
            assert!(line.starts_with(&name), "{line} in {name}");
        }
    }
    assert!(families > 20, "{families}");
}

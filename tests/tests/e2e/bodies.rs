//! Bodies as clients and proxies send them: packed, with a byte order mark, with null where there
//! is nothing; and answers that stay short whatever was sent.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use ordain_tests::app::App;
use ordain_tests::cli::{cli, cli_input};
use ordain_tests::http::{Reply, policy_path};
use ordain_tests::tokens::{editor, reader, resolver};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};

use crate::access::guarded;
use crate::cli_remote::file;
use crate::support::{database, model, plain, policy, psql, version};

const MARK: &str = "\u{feff}";

fn packed(coding: &str, bytes: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" | "x-gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(bytes).expect("memory");
            encoder.finish().expect("memory")
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(bytes).expect("memory");
            encoder.finish().expect("memory")
        }
        "zstd" => compress_to_vec(bytes, CompressionLevel::Fastest),
        _ => bytes.to_vec(),
    }
}

async fn send(app: &App, method: &str, path: &str, coding: &str, bytes: &[u8]) -> Reply {
    let call = app.call(method, path).header("content-encoding", coding);
    call.text(packed(coding, bytes)).send().await
}

#[tokio::test]
async fn a_packed_body_is_taken_by_every_call_that_takes_a_body() {
    let app = App::memory().await;
    app.store("t", &version(1)).await;
    let record = version(2).to_string();
    let trial = json!({"record": version(3), "requests": [{}]}).to_string();
    for coding in [
        "gzip",
        "x-gzip",
        "deflate",
        "zstd",
        "GZIP, identity",
        "identity",
    ] {
        let packs = if coding.starts_with("GZIP") {
            "gzip"
        } else {
            coding
        };
        for (method, path, body) in [
            ("PUT", "/v1/tenants/t/policy", &*record),
            ("POST", "/v1/tenants/t/policy/try", &trial),
            ("POST", "/v1/resolve", r#"{"tenant":"t"}"#),
            ("POST", "/v1/resolve", r#"[{"tenant":"t"}]"#),
            ("PATCH", "/v1/config", r#"{"mergeMaxMessages":4}"#),
            ("PATCH", "/v1/caches", r#"{"bound":"2s"}"#),
            ("POST", "/v1/caches/purge", "{}"),
            ("POST", "/v1/log/prune", r#"{"before":"30d"}"#),
        ] {
            let call = app.call(method, path).header("content-encoding", coding);
            let reply = call.text(packed(packs, body.as_bytes())).send().await;
            assert_eq!(reply.status, 200, "{coding} {method} {path}: {reply:?}");
        }
    }
    let component = std::fs::read(ordain_tests::process::component()).expect("the component");
    let check = "/v1/component/check";
    let call = app.call("POST", check).header("content-encoding", "zstd");
    let call = call.header("content-type", "application/wasm");
    let checked = call
        .body(packed("zstd", &component))
        .send()
        .await
        .expect(200);
    let own = app.get("/v1/component").await.expect(200);
    assert_eq!(checked.json["digest"], own.json["digest"]);
}

#[tokio::test]
async fn a_packed_body_counts_as_what_it_was_before_and_bombs_do_no_harm() {
    let app = App::memory().await;
    app.store("t", &version(1)).await;
    let path = policy_path("t");
    for coding in ["gzip", "deflate", "zstd"] {
        // A valid record of exactly 256 KiB, and one byte more of white space.
        let frame = policy("openai", "m").to_string();
        let exact = format!("{frame}{}", " ".repeat((256 << 10) - frame.len()));
        send(&app, "PUT", &path, coding, exact.as_bytes())
            .await
            .expect(200);
        let more = format!("{exact} ");
        let refused = send(&app, "PUT", &path, coding, more.as_bytes()).await;
        let refused = refused.problem(413, "body-too-large");
        let detail = refused.json["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("after decompression"), "{detail}");
        let bomb = packed(coding, &vec![b' '; 256 << 20]);
        for place in ["/v1/resolve", "/v1/tenants/t/policy/try"] {
            let call = app.call("POST", place).header("content-encoding", coding);
            call.text(bomb.clone())
                .send()
                .await
                .problem(413, "body-too-large");
        }
        let broken = app.call("PUT", &path).header("content-encoding", coding);
        let broken = broken.text(&b"{}"[..]).send().await;
        broken.problem(400, "malformed-encoding");
    }
    assert!(app.resident() < 400 << 20, "{}", app.resident());
    for coding in ["br", "compress", "gzip, gzip", "zstd, gzip", "x"] {
        let refused = send(&app, "PUT", &path, coding, b"{}").await;
        let refused = refused.problem(415, "unsupported-encoding");
        assert_eq!(refused.header("accept-encoding"), "gzip, deflate, zstd");
    }
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_any_json() {
    let app = App::memory().await;
    let record = version(1).to_string();
    let trial = json!({"record": version(3), "requests": [{}]}).to_string();
    for (method, path, body) in [
        ("PUT", "/v1/tenants/t/policy", &*record),
        ("PUT", "/v1/tenants/t/policy?dryRun=true", &record),
        ("POST", "/v1/tenants/t/policy/try", &trial),
        ("POST", "/v1/resolve", r#"{"tenant":"t"}"#),
        ("POST", "/v1/resolve", r#"[{"tenant":"t"}]"#),
        ("PATCH", "/v1/config", r#"{"mergeMaxMessages":4}"#),
        (
            "PATCH",
            "/v1/tenants/t/config/own",
            r#"{"mergeMaxMessages":4}"#,
        ),
        ("PATCH", "/v1/caches", r#"{"bound":"2s"}"#),
        ("POST", "/v1/caches/purge", "{}"),
        ("POST", "/v1/log/prune", r#"{"before":"30d"}"#),
    ] {
        let reply = app
            .call(method, path)
            .text(format!("{MARK}{body}"))
            .send()
            .await;
        assert!(
            matches!(reply.status, 200 | 201),
            "{method} {path}: {reply:?}"
        );
        let wide: Vec<u8> = format!("{MARK}{body}")
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let reply = app.call(method, path).text(wide).send().await;
        let reply = reply.problem(400, "malformed-json");
        let detail = reply.json["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("UTF-16"), "{method} {path}: {detail}");
    }
    assert_eq!(app.get(&policy_path("t")).await.json, version(1));
    let nothing = app
        .call("POST", "/v1/component/promote")
        .text("\u{feff}{}")
        .send()
        .await;
    nothing.problem(409, "no-candidate");
}

#[tokio::test]
async fn a_byte_order_mark_is_taken_in_every_file_and_utf_16_is_named() {
    let vectors =
        r#"{"vectors":[{"name":"own","request":{"user":null},"answer":{"problem":"no-policy"}}]}"#;
    let vectors = vectors.replace(
        r#"{"problem":"no-policy"}"#,
        r#"{"allow":false,"refusal":{"code":"no-policy"},"egress":{"requested":"enforce","effective":"enforce"}}"#,
    );
    let (_vectors, vectors) = file(&format!("{MARK}{vectors}"));
    let (_config, config) = file(&format!("{MARK}bound = \"2s\"\n"));
    let (_policy, record) = file(&format!("{MARK}{}", version(1)));
    let line = |tenant: &str| json!({"tenant": tenant, "policy": version(2)}).to_string();
    let (_lines, lines) = file(&format!("{MARK}{}\n{MARK}{}\n", line("a"), line("b")));
    let (_asked, asked) = file(&format!("{MARK}{}", json!({"tenant": "t", "task": null})));
    let app = App::builder()
        .dev()
        .env("ORDAIN_COMPONENT_VECTORS", &vectors);
    let app = app.env("ORDAIN_CONFIG", &config).start().await;
    let bound = app.get("/v1/caches").await.json["settings"]["bound"]["value"].clone();
    assert_eq!(bound, "2s");
    let at = ["--server", app.base()];
    let run = async |args: &[&str]| cli([args, &at[..]].concat()).await;
    run(&["policy", "put", "t", &record]).await.expect(0);
    run(&["policy", "import", &lines]).await.expect(0);
    let answer = run(&["resolve", "--file", &asked, "--json"])
        .await
        .expect(0);
    assert_eq!(model(&answer.json()), "m1");
    let input = format!("{MARK}{}", version(4));
    cli_input(&input, ["policy", "put", "t", "-", "--server", app.base()])
        .await
        .expect(0);

    let wide = tempfile::NamedTempFile::new().expect("a file");
    let text = format!("{MARK}{}", line("t"));
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(wide.path(), bytes).expect("a file");
    let wide = wide.path().to_str().expect("UTF-8");
    for args in [
        &["policy", "put", "t", wide][..],
        &["policy", "import", wide],
        &["resolve", "--file", wide],
    ] {
        let failed = run(args).await.expect(1);
        assert!(failed.stderr.contains("UTF-16"), "{args:?}: {failed:?}");
    }
    for variable in ["ORDAIN_COMPONENT_VECTORS", "ORDAIN_CONFIG"] {
        let start = ordain_tests::cli::cli_with(&[(variable, wide)], ["serve", "--dev"]).await;
        assert!(start.stderr.contains("UTF-16"), "{variable}: {start:?}");
    }
}

#[tokio::test]
async fn null_in_a_request_is_as_if_the_field_were_not_there() {
    let app = App::memory().await;
    app.store("t", &version(1)).await;
    let nulls = json!({"tenant": "t", "user": null, "task": null, "model": null, "temperature": null,
        "maxTokens": null, "egressMode": null, "minRevision": null});
    let without = app.resolve(&plain("t")).await.expect(200);
    let mut with = app.resolve(&nulls).await.expect(200);
    with.json["provenance"] = without.json["provenance"].clone();
    assert_eq!(with.json, without.json);
    let mut untenanted = nulls.clone();
    untenanted["tenant"] = Value::Null;
    let batch = app.resolve(&json!([nulls, untenanted])).await.expect(200);
    assert_eq!(model(&batch.json[0]), "m1");
    assert_eq!(batch.json[1]["problem"]["errors"][0]["pointer"], "/tenant");
    assert_eq!(
        batch.json[1]["problem"]["errors"].as_array().map(Vec::len),
        Some(1)
    );
    app.resolve(&untenanted)
        .await
        .problem(422, "invalid-request");
    let trial = json!({"record": version(2), "requests": [nulls, untenanted]});
    let tried = app
        .post("/v1/tenants/t/policy/try", &trial)
        .await
        .expect(200);
    assert_eq!((model(&tried.json[0]), model(&tried.json[1])), ("m2", "m2"));
}

#[tokio::test]
async fn an_answer_is_not_many_times_as_long_as_what_is_wrong() {
    let app = App::memory().await;
    let unknown: Vec<String> = (0..100).map(|n| format!("\"x{n}\":0")).collect();
    let item = format!("{{{}}}", unknown.join(","));
    let batch = format!("[{}]", vec![item; 1000].join(","));
    let sent = batch.len();
    let reply = app
        .call("POST", "/v1/resolve")
        .text(batch)
        .send()
        .await
        .expect(200);
    assert!(
        reply.text.len() < 2 * sent,
        "{} of {sent}",
        reply.text.len()
    );
    let faults = |at: usize| {
        reply.json[at]["problem"]["errors"]
            .as_array()
            .expect("faults")
            .clone()
    };
    assert_eq!(faults(0).len(), 101);
    for at in [0, 500, 999] {
        let last = faults(at).last().expect("one")["message"].to_string();
        assert!(last.contains("more faults than are listed here"), "{last}");
    }

    // Names, trials and small objects have the same bounds.
    let name = format!("{{\"tenant\":\"t\",\"{}\":1}}", "~".repeat(3 << 20));
    let reply = app
        .call("POST", "/v1/resolve")
        .text(name)
        .send()
        .await
        .error(422);
    assert!(reply.text.len() < 5000, "{}", reply.text.len());
    for (method, path, limit) in [
        ("POST", "/v1/tenants/t/policy/try", 4 << 20),
        ("PATCH", "/v1/caches", 16 << 10),
        ("POST", "/v1/caches/purge", 16 << 10),
    ] {
        let many = format!("{{{}\"y\":0}}", "\"\":0,".repeat(limit / 5 - 4));
        let reply = app.call(method, path).text(many).send().await.error(422);
        assert!(reply.text.len() < 40_000, "{path}: {}", reply.text.len());
    }
}

#[tokio::test]
async fn a_stored_record_that_is_wrong_in_many_ways_is_told_once_in_a_batch() {
    let url = database().await;
    let app = App::builder().postgres(&url).start().await;
    let tasks = vec![json!({"task": 1, "provider": 2, "model": 3}); 300];
    let record = json!({"defaultProvider": "p", "defaultModel": "m", "tasks": tasks});
    let mut psql = psql(&url).await;
    let insert = "INSERT INTO policies (tenant, body) VALUES ('t', $1)";
    sqlx::query(insert)
        .bind(record.to_string())
        .execute(&mut psql)
        .await
        .expect("a row");
    let one = app
        .resolve(&plain("t"))
        .await
        .problem(503, "record-invalid");
    assert!(one.text.len() > 10_000, "{}", one.text.len());
    let batch: Vec<Value> = vec![plain("t"); 60];
    let reply = app.resolve(&json!(batch)).await.expect(200);
    assert!(
        reply.text.len() < 4 * one.text.len(),
        "{}",
        reply.text.len()
    );
    assert_eq!(reply.json[59]["problem"]["code"], "record-invalid");
}

#[tokio::test]
async fn a_batch_with_an_item_of_another_tenant_fails_whatever_else_is_wrong_with_it() {
    let app = guarded().await;
    app.store("own", &version(1)).await;
    for client in [
        app.with(&reader("own")),
        app.with(&editor("own")),
        app.with(&resolver(Some(&["own"]))),
    ] {
        for other in [
            json!({"tenant": "other"}),
            json!({"tenant": "other", "x": 1}),
            json!({"tenant": "other", "temperature": "hot"}),
            json!({"tenant": "other", "maxTokens": 0}),
            json!({"x": 1, "user": 7, "tenant": "other"}),
        ] {
            client
                .resolve(&json!([plain("own"), other]))
                .await
                .problem(403, "forbidden");
            client.resolve(&other).await.problem(403, "forbidden");
        }
        let twice = r#"[{"tenant":"own","tenant":"other"}]"#;
        let reply = client.call("POST", "/v1/resolve").text(twice).send().await;
        reply.problem(403, "forbidden");
        for own in [
            json!({"tenant": "own", "x": 1}),
            json!({"tenant": ".."}),
            json!({"x": 1}),
        ] {
            let reply = client
                .resolve(&json!([plain("own"), own]))
                .await
                .expect(200);
            assert_eq!(reply.json[1]["problem"]["status"], 422);
        }
    }
    let trial = json!({"record": version(2), "requests": [{"tenant": "other", "x": 1}]});
    let path = "/v1/tenants/own/policy/try";
    let tried = app.with(&editor("own")).post(path, &trial).await;
    tried.problem(403, "forbidden");
}

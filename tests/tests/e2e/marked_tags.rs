//! Proxies that compress change the ETag of an answer: weak, or with a mark at its end. A revision
//! names one record however it was packed, so each of these names it, too. And what proxies make of
//! `%2F` in a path.

use ordain_tests::app::App;
use ordain_tests::http::{Client, Reply, policy_path};
use ordain_tests::services::nginx;
use serde_json::{Value, json};

use crate::access::guarded;
use crate::support::configs::Level;
use crate::support::{policy, version};

const COMPRESSING: &str = "gzip on;\n gzip_proxied any;\n gzip_types *;\n gzip_min_length 1;";

/// As proxies write the tag of a revision: nginx and most clouds; Apache; lighttpd and Caddy;
/// Jetty; others.
fn marked(revision: u64) -> Vec<String> {
    let plain = [
        "-gzip", "-br", "-zstd", "-deflate", "--gzip", ";gzip", ";br", ":gzip", "-GZIP",
    ];
    let mut tags: Vec<String> = plain.map(|mark| format!("\"{revision}{mark}\"")).into();
    tags.push(format!("W/\"{revision}\""));
    tags.push(format!("W/\"{revision}-gzip\""));
    tags.push(format!("\"1-gzip\", W/\"{revision}-br\" ,\"other\""));
    tags
}

async fn with_tag(client: &Client, method: &str, path: &str, header: &str, tag: &str) -> Reply {
    let call = client.call(method, path).header(header, tag);
    match method {
        "PUT" => call.json(&version(1)).send().await,
        "PATCH" => call.json(&json!({"mergeMaxMessages": 9})).send().await,
        _ => call.send().await,
    }
}

#[tokio::test]
async fn a_compressing_nginx_keeps_conditions_working() {
    let app = guarded().await;
    let proxy = nginx(&[app.base()], COMPRESSING);
    let client = Client::new(&proxy.base());
    let tenants = Level::Tenant("t");
    app.store("t", &policy("openai", &"m".repeat(200))).await;
    let set = json!({"mergeMaxMessages": 7});
    app.call("PATCH", &tenants.path())
        .json(&set)
        .send()
        .await
        .expect(200);
    for (path, method) in [
        (policy_path("t"), "PUT"),
        (tenants.path(), "PATCH"),
        (tenants.path(), "DELETE"),
    ] {
        let packed = || client.call("GET", &path).header("accept-encoding", "gzip");
        let read = packed().send().await.expect(200);
        assert_eq!(read.header("content-encoding"), "gzip", "{read:?}");
        let tag = read.header("etag").to_owned();
        assert!(tag.starts_with("W/"), "{tag}");
        let again = packed().header("if-none-match", &tag).send().await;
        assert_eq!(again.status, 304);
        with_tag(&client, method, &path, "if-match", &tag)
            .await
            .expect(200);
        let late = with_tag(&client, method, &path, "if-match", &tag).await;
        late.problem(412, "precondition-failed");
    }
}

#[tokio::test]
async fn a_marked_tag_names_its_revision_wherever_tags_are_taken() {
    let app = App::memory().await;
    let (user, global) = (Level::User("t", "u"), Level::Global);
    let places = [policy_path("t"), user.path(), global.path()];
    for path in &places {
        let write = if path.ends_with("policy") {
            "PUT"
        } else {
            "PATCH"
        };
        let number = marked(1).len();
        for index in 0..number {
            let written = app.call(write, path).json(&body(write, index)).send().await;
            let revision = written.revision();
            let tag = &marked(revision)[index];
            let known = with_tag(&app, "GET", path, "if-none-match", tag).await;
            assert_eq!(known.status, 304, "{path} {tag}");
            assert_eq!(known.header("etag"), format!("\"{revision}\""));
            let other = &marked(revision + 1)[index];
            with_tag(&app, "GET", path, "if-none-match", other)
                .await
                .expect(200);
            with_tag(&app, write, path, "if-match", other)
                .await
                .problem(412, "precondition-failed");
            let replaced = with_tag(&app, write, path, "if-match", tag)
                .await
                .expect(200);
            let tag = &marked(replaced.revision())[index];
            with_tag(&app, "DELETE", path, "if-match", other)
                .await
                .error(412);
            with_tag(&app, "DELETE", path, "if-match", tag)
                .await
                .expect(200);
        }
    }
}

fn body(method: &str, number: usize) -> Value {
    match method {
        "PUT" => version(number),
        _ => json!({"mergeMaxMessages": number + 1}),
    }
}

#[tokio::test]
async fn a_slash_in_an_id_passes_a_proxy_that_passes_paths_on_as_they_are() {
    let app = guarded().await;
    app.store("a/b", &version(1)).await;
    app.store("a//b", &version(2)).await;
    // With a path behind the server's name nginx decodes, and what was one segment is several.
    let decoding = "location /decoding/ { proxy_pass http://ordain/; }";
    let proxy = nginx(&[app.base()], decoding);
    let client = Client::new(&proxy.base());
    for (tenant, number) in [("a/b", 1), ("a//b", 2)] {
        let path = policy_path(tenant);
        let read = client.get(&path).await.expect(200);
        assert_eq!(read.json, version(number));
        client.get(&format!("/decoding{path}")).await.error(404);
    }
}

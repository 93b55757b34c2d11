//! Another tenant asked for by odd paths: encoded, misspelt, climbing, or named beside the path.

use ordain_tests::app::App;
use ordain_tests::tokens::{self, editor, reader};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::access::guarded;
use crate::support::version;

#[tokio::test]
async fn a_tenant_is_compared_as_it_is_decoded_and_exactly() {
    let app = guarded().await;
    app.store("acme", &version(1)).await;
    app.store("a/b", &version(2)).await;
    let client = app.with(&editor("acme"));
    client.get("/v1/tenants/%61cme/policy").await.expect(200);
    client
        .get("/v1/tenants/%61%63%6D%65/history")
        .await
        .expect(200);
    for other in [
        "ACME",
        "Acme",
        "acme.",
        "acme%20",
        "%20acme",
        "acme%00",
        "acme%2F",
        "acme%2F..%2Ffoo",
        "acm",
        "acmee",
        "%2561cme",
        "%FF",
        "%zz",
        "acme%0A",
        "%EF%BD%81cme",
        "acme%E2%80%8B",
        "a%2Fb",
        "*",
        "acme,foo",
        "acme;x=1",
    ] {
        for rest in ["policy", "history"] {
            client
                .get(&format!("/v1/tenants/{other}/{rest}"))
                .await
                .problem(403, "forbidden");
        }
        let put = client
            .put(&format!("/v1/tenants/{other}/policy"), &version(3))
            .await;
        put.problem(403, "forbidden");
    }
    let slashed = app.with(&editor("a/b"));
    slashed.get("/v1/tenants/a%2Fb/policy").await.expect(200);
    slashed.get("/v1/tenants/a/policy").await.error(403);
    // As they are written: most clients would resolve these away.
    for (path, status) in [
        ("/v1/tenants/%2E%2E/policy", 403),
        ("/v1/tenants/../policy", 403),
        ("/v1/tenants/acme/../a%2Fb/policy", 404),
        ("/v1/tenants/acme//policy", 404),
        ("/v1//tenants/a%2Fb/policy", 404),
        ("/v1/tenants/acme/policy/../../a%2Fb/policy", 404),
        ("//v1/tenants/a%2Fb/policy", 404),
        ("/v1/./tenants/a%2Fb/policy", 404),
        ("/V1/tenants/a%2Fb/policy", 404),
        ("/v1/tenants/a%2Fb/policy#/v1/tenants/acme/policy", 403),
        ("http://acme/v1/tenants/a%2Fb/policy", 403),
        ("/v1/tenants/acme/policy", 200),
    ] {
        assert_eq!(raw(&app, path, &editor("acme")).await, status, "{path}");
    }
    // Who may see all is told what is wrong with the path.
    app.get("/v1/tenants/%FF/policy")
        .await
        .problem(400, "malformed-path");
    let list = app.get("/v1/tenants").await.json;
    assert_eq!(
        list["items"].as_array().map(Vec::len),
        Some(2),
        "nothing was written"
    );
}

/// The status of a GET of a path that no client has touched.
async fn raw(app: &App, path: &str, token: &str) -> u16 {
    let address = app.base().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let status = answer.split(' ').nth(1).expect("a status");
    status.parse().expect("a number")
}

#[tokio::test]
async fn the_path_decides_and_not_what_else_names_a_tenant() {
    let app = guarded().await;
    app.store("foreign", &version(1)).await;
    let client = app.with(&reader("acme"));
    for path in [
        "/v1/tenants/foreign/policy?tenant=acme",
        "/v1/tenants/foreign/policy?tenant_id=acme",
        "/v1/tenants/foreign/history?tenant=acme",
    ] {
        client.get(path).await.problem(403, "forbidden");
    }
    for name in [
        "x-tenant",
        "x-tenant-id",
        "x-original-url",
        "x-http-method-override",
    ] {
        let call = client
            .call("GET", "/v1/tenants/foreign/policy")
            .header(name, "acme");
        call.send().await.problem(403, "forbidden");
    }
    // A query holds no token: it would be in every log.
    let token = tokens::admin();
    let query = format!("/v1/tenants?access_token={token}");
    app.without()
        .get(&query)
        .await
        .problem(401, "unauthenticated");
    let resolve = json!({"tenant": "acme", "user": "foreign", "task": "foreign"});
    client.resolve(&resolve).await.expect(200);
}

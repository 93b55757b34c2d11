//! Who may call what: every route, every role, for the own tenant, for one of somebody else, and
//! for one that there is not. How a path names a tenant is in `access_paths`, tokens that are no
//! good are in `access_tokens`, keys in `access_keys`.

use std::collections::BTreeSet;

use ordain_tests::app::App;
use ordain_tests::http::{Client, Reply};
use ordain_tests::tokens::{self, claims, editor, reader, resolver, token};
use serde_json::{Value, json};

use crate::support::{model, plain, policy, version};

/// In memory, and tokens are asked for.
pub async fn guarded() -> App {
    App::builder().env("ORDAIN_ENV", "test").start().await
}

/// What a route is for.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Read,
    Write,
    Resolve,
    Metrics,
    Admin,
}

/// Method, path and body; `TENANT` is replaced. None of them changes what the others find.
fn routes() -> Vec<(Kind, &'static str, &'static str, Value)> {
    use Kind::{Admin, Metrics, Read, Resolve, Write};
    let record = version(1);
    vec![
        (Read, "GET", "/v1/tenants/TENANT/policy", json!(null)),
        (Read, "HEAD", "/v1/tenants/TENANT/policy", json!(null)),
        (Read, "GET", "/v1/tenants/TENANT/history", json!(null)),
        (
            Read,
            "GET",
            "/v1/tenants/TENANT/history?limit=1",
            json!(null),
        ),
        (Read, "GET", "/v1/tenants/TENANT/config", json!(null)),
        (
            Read,
            "GET",
            "/v1/tenants/TENANT/config?user=ann",
            json!(null),
        ),
        (Read, "GET", "/v1/tenants/TENANT/config/own", json!(null)),
        (
            Read,
            "GET",
            "/v1/tenants/TENANT/config/own/history",
            json!(null),
        ),
        (
            Read,
            "GET",
            "/v1/tenants/TENANT/users/ann/config",
            json!(null),
        ),
        (
            Read,
            "GET",
            "/v1/tenants/TENANT/users/ann/config/history",
            json!(null),
        ),
        (Write, "PUT", "/v1/tenants/TENANT/policy", record.clone()),
        (
            Write,
            "PUT",
            "/v1/tenants/TENANT/policy?dryRun=true",
            record.clone(),
        ),
        (
            Write,
            "POST",
            "/v1/tenants/TENANT/policy/try",
            json!({"record": record, "requests": [{}]}),
        ),
        (Write, "PATCH", "/v1/tenants/TENANT/config/own", json!({})),
        (
            Write,
            "PATCH",
            "/v1/tenants/TENANT/users/ann/config",
            json!({}),
        ),
        (
            Write,
            "DELETE",
            "/v1/tenants/TENANT/config/own",
            json!(null),
        ),
        (
            Write,
            "DELETE",
            "/v1/tenants/TENANT/users/ann/config",
            json!(null),
        ),
        (Write, "DELETE", "/v1/tenants/TENANT/policy", json!(null)),
        (Resolve, "POST", "/v1/resolve", json!({"tenant": "TENANT"})),
        (
            Resolve,
            "POST",
            "/v1/resolve",
            json!([{"tenant": "TENANT", "user": "ann"}]),
        ),
        (Admin, "GET", "/v1/tenants", json!(null)),
        (Admin, "POST", "/v1/policies/import", json!(null)),
        (Admin, "GET", "/v1/config", json!(null)),
        (Admin, "PATCH", "/v1/config", json!({})),
        (Admin, "DELETE", "/v1/config", json!(null)),
        (Admin, "GET", "/v1/config/history", json!(null)),
        (Admin, "GET", "/v1/component", json!(null)),
        (Admin, "PUT", "/v1/component", json!("no component")),
        (Admin, "DELETE", "/v1/component", json!(null)),
        (Admin, "POST", "/v1/component/check", json!("no component")),
        (Admin, "POST", "/v1/component/promote", json!({})),
        (Admin, "POST", "/v1/component/rollback", json!(null)),
        (Admin, "GET", "/v1/caches", json!(null)),
        (Admin, "PATCH", "/v1/caches", json!({})),
        (
            Admin,
            "PATCH",
            "/v1/caches?local=true",
            json!({"near": true}),
        ),
        (
            Admin,
            "POST",
            "/v1/caches/purge",
            json!({"tenant": "TENANT"}),
        ),
        (Admin, "POST", "/v1/log/prune", json!({"before": "30d"})),
        (Metrics, "GET", "/metrics", json!(null)),
        (Metrics, "HEAD", "/metrics", json!(null)),
    ]
}

async fn ask(client: &Client, method: &str, path: &str, body: &Value, tenant: &str) -> Reply {
    let call = client.call(method, &path.replace("TENANT", tenant));
    let call = match body {
        Value::Null => call,
        body => call.text(body.to_string().replace("TENANT", tenant)),
    };
    call.send().await
}

/// Nobody is kept out by what a call finds: anything but 401 and 403 is past the gate.
fn passed(reply: &Reply) -> bool {
    !matches!(reply.status, 401 | 403)
}

#[tokio::test]
async fn every_role_may_call_what_it_is_for_and_nothing_else() {
    let app = guarded().await;
    // Last are those whose calls may pass and change something.
    let roles = [
        ("reader", reader("acme")),
        ("resolver of some", resolver(Some(&["acme", "x"]))),
        ("metrics", token(&claims("metrics", json!({})))),
        (
            "metrics of a tenant",
            token(&claims(
                "metrics",
                json!({"tenant_id": "acme", "tenants": ["acme"]}),
            )),
        ),
        ("resolver of none", resolver(Some(&[]))),
        ("resolver", resolver(None)),
        ("editor", editor("acme")),
        ("admin", tokens::admin()),
        (
            "admin of a tenant",
            token(&claims("admin", json!({"tenant_id": "acme"}))),
        ),
    ];
    for (role, its) in roles {
        let client = app.with(&its);
        for tenant in ["acme", "foreign", "absent"] {
            app.store("acme", &version(1)).await;
            app.store("foreign", &version(2)).await;
            for (kind, method, path, body) in routes() {
                let own = tenant == "acme";
                let expected = match (role, kind) {
                    ("admin" | "admin of a tenant", _) => true,
                    ("reader", Kind::Read | Kind::Resolve) => own,
                    ("editor", Kind::Read | Kind::Write | Kind::Resolve) => own,
                    ("resolver of some", Kind::Resolve) => own,
                    ("resolver", Kind::Resolve) => true,
                    ("metrics" | "metrics of a tenant", Kind::Metrics) => true,
                    _ => false,
                };
                let reply = ask(&client, method, path, &body, tenant).await;
                assert_eq!(
                    passed(&reply),
                    expected,
                    "{role}: {method} {path} {tenant}: {reply:?}"
                );
                if !expected && method != "HEAD" {
                    reply.problem(403, "forbidden");
                }
            }
        }
    }
}

#[tokio::test]
async fn another_tenant_is_refused_alike_whether_it_exists_or_not() {
    let app = guarded().await;
    app.store("foreign", &version(1)).await;
    for its in [reader("acme"), editor("acme"), resolver(Some(&["acme"]))] {
        let client = app.with(&its);
        for (kind, method, path, body) in routes() {
            if matches!(kind, Kind::Admin | Kind::Metrics) {
                continue;
            }
            let existing = ask(&client, method, path, &body, "foreign").await;
            let absent = ask(&client, method, path, &body, "absent").await;
            let shown = |reply: &Reply| {
                let headers: BTreeSet<String> =
                    reply.headers.keys().map(ToString::to_string).collect();
                (reply.status, reply.text.clone(), headers)
            };
            assert_eq!(shown(&existing), shown(&absent), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_told_not_even_what_exists() {
    let app = guarded().await;
    let nobody = app.without();
    app.store("acme", &version(1)).await;
    let mut texts = BTreeSet::new();
    for (_, method, path, body) in routes() {
        let reply = ask(&nobody, method, path, &body, "acme").await.expect(401);
        assert_eq!(reply.header("www-authenticate"), "Bearer");
        texts.insert(reply.text);
    }
    for (method, path) in [
        ("GET", "/v1"),
        ("GET", "/v1/"),
        ("GET", "/v1/nothing"),
        ("GET", "/v1/resolve"),
        ("PUT", "/v1/tenants"),
        ("OPTIONS", "/v1/tenants/acme/policy"),
        ("PATCH", "/v1/tenants/acme/policy"),
        ("GET", "/v1/tenants/%FF/policy"),
        ("GET", "/v1/tenants/acme"),
        ("GET", "/metrics/"),
        ("POST", "/metrics"),
        ("GET", "/admin"),
    ] {
        let reply = nobody.call(method, path).send().await;
        texts.insert(reply.problem(401, "unauthenticated").text);
    }
    texts.remove("");
    assert_eq!(texts.len(), 1, "always the same: {texts:?}");
    for path in ["/healthz", "/readyz"] {
        nobody.get(path).await.expect(200);
        app.with("nonsense").get(path).await.expect(200);
    }
    assert!(matches!(
        nobody.get("/openapi.json").await.status,
        200 | 404
    ));
    nobody.call("POST", "/healthz").send().await.error(405);
}

#[tokio::test]
async fn whoever_is_known_is_told_what_there_is_not() {
    let app = guarded().await;
    for its in [reader("acme"), resolver(None), tokens::admin()] {
        let client = app.with(&its);
        for path in [
            "/",
            "/v1",
            "/v1/nothing",
            "/v1/resolve/",
            "/v1/tenants/acme",
        ] {
            client.get(path).await.problem(404, "not-found");
        }
        let reply = client.get("/v1/resolve").await.error(405);
        assert_eq!(reply.header("allow"), "POST");
    }
    let client = app.with(&reader("acme"));
    client
        .call("PATCH", "/v1/tenants/acme/policy")
        .send()
        .await
        .error(405);
    client
        .call("PATCH", "/v1/tenants/other/policy")
        .send()
        .await
        .error(403);
}

#[tokio::test]
async fn a_batch_with_one_item_of_another_tenant_fails_as_a_whole() {
    let app = guarded().await;
    app.store("acme", &policy("openai", "mine")).await;
    app.store("foreign", &policy("openai", "theirs")).await;
    for its in [reader("acme"), editor("acme"), resolver(Some(&["acme"]))] {
        let client = app.with(&its);
        let good = client
            .resolve(&json!([plain("acme"), plain("acme")]))
            .await
            .expect(200);
        assert_eq!(model(&good.json[1]), "mine");
        for other in ["foreign", "absent"] {
            for batch in [
                json!([plain("acme"), plain(other)]),
                json!([plain(other), plain("acme")]),
                json!([plain("acme"), {"tenant": "acme", "maxTokens": 0}, plain(other)]),
            ] {
                let reply = client.resolve(&batch).await.problem(403, "forbidden");
                assert!(
                    !reply.text.contains("mine") && !reply.text.contains("theirs"),
                    "{reply:?}"
                );
            }
        }
        client.resolve(&json!([])).await.expect(200);
    }
    let all = app.with(&resolver(None));
    let both = all
        .resolve(&json!([plain("acme"), plain("foreign")]))
        .await
        .expect(200);
    assert_eq!(model(&both.json[1]), "theirs");
}

#[tokio::test]
async fn a_trial_with_a_request_of_another_tenant_fails_as_a_whole() {
    let app = guarded().await;
    let client = app.with(&editor("acme"));
    let path = "/v1/tenants/acme/policy/try";
    let trial = |requests: Value| json!({"record": version(1), "requests": requests});
    client
        .post(path, &trial(json!([{}, plain("acme")])))
        .await
        .expect(200);
    for requests in [
        json!([plain("foreign")]),
        json!([{}, plain("acme"), plain("foreign")]),
        json!([{"tenant": "foreign", "nonsense": 1}, {}]),
    ] {
        client
            .post(path, &trial(requests))
            .await
            .problem(403, "forbidden");
    }
    // For an admin it is a mistake in that request, as ever.
    let reply = app
        .post(path, &trial(json!([{}, plain("foreign")])))
        .await
        .expect(200);
    assert_eq!(reply.json[1]["problem"]["errors"][0]["pointer"], "/tenant");
}

#[tokio::test]
async fn the_history_says_who_it_was_by_the_token() {
    let app = guarded().await;
    for (sub, more) in [
        ("ann@example", json!({})),
        ("Bea \u{1F511}", json!({"role": "admin"})),
    ] {
        let mut claims = claims("editor", json!({"sub": sub, "tenant_id": "acme"}));
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let client = app.with(&token(&claims));
        client.store("acme", &version(1)).await;
        let history = client
            .get("/v1/tenants/acme/history")
            .await
            .expect(200)
            .json;
        assert_eq!(history["items"][0]["actor"], sub);
    }
    let call = app.call("PUT", "/v1/tenants/acme/policy").json(&version(2));
    call.header("x-actor", "somebody else")
        .send()
        .await
        .expect(200);
    let history = app.get("/v1/tenants/acme/history").await.json;
    assert_eq!(history["items"][0]["actor"], tokens::ACTOR);
}

#[tokio::test]
async fn what_everybody_may_see_names_no_server_and_no_user() {
    let deployment = crate::support::Deployment::start().await;
    let app = deployment
        .instance("one")
        .env("ORDAIN_ORIGIN_DEADLINE", "300ms")
        .start()
        .await;
    let known = app.get("/v1/caches").await.expect(200);
    let origin = known.json["dependencies"]["origin"]["backend"]
        .as_str()
        .expect("a name");
    let far = known.json["dependencies"]["far"]["backend"]
        .as_str()
        .expect("a name");
    let seen = app.without().get("/readyz").await.expect(200);
    for name in [origin, far, "backend", "postgres", "127.0.0.1"] {
        assert!(!seen.text.contains(name), "{name}: {}", seen.text);
    }
    assert_eq!(seen.json["dependencies"]["origin"]["state"], "up");
    assert_eq!(seen.json["dependencies"]["keys"]["state"], "off");
}

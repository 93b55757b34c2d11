//! Errors of the interface itself: every one is a problem of RFC 9457 with a stable code.

use ordain_tests::app::App;
use ordain_tests::http::{history_path, policy_path};
use serde_json::json;

use crate::support::{plain, version};

#[tokio::test]
async fn unknown_paths_are_404_and_wrong_methods_405() {
    let app = App::memory().await;
    for path in [
        "/",
        "/v1",
        "/v1/nothing",
        "/v1/tenants/t",
        "/v1/tenants/t/policy/x",
        "/v2/resolve",
        "/v1/resolve/",
    ] {
        app.get(path).await.error(404);
    }
    for (method, path) in [
        ("GET", "/v1/resolve"),
        ("PUT", "/v1/resolve"),
        ("POST", &*policy_path("t")),
        ("PATCH", &*policy_path("t")),
        ("DELETE", "/v1/tenants"),
        ("POST", &*history_path("t")),
        ("GET", &*format!("{}/try", policy_path("t"))),
        ("PATCH", "/v1/component"),
        ("GET", "/v1/component/promote"),
        ("POST", "/healthz"),
    ] {
        let reply = app.call(method, path).send().await.error(405);
        assert!(
            !reply.header("allow").is_empty(),
            "{method} {path}: a 405 names what goes"
        );
    }
}

#[tokio::test]
async fn bodies_of_another_type_are_415() {
    let app = App::memory().await;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "multipart/form-data; boundary=x",
    ] {
        let put = app
            .call("PUT", &policy_path("t"))
            .header("content-type", kind)
            .body(version(1).to_string());
        put.send().await.error(415);
        let resolve = app
            .call("POST", "/v1/resolve")
            .header("content-type", kind)
            .body(plain("t").to_string());
        resolve.send().await.error(415);
    }
    app.get(&policy_path("t")).await.error(404);
    let charset = app
        .call("POST", "/v1/resolve")
        .header("content-type", "Application/JSON; charset=utf-8");
    charset
        .body(plain("t").to_string())
        .send()
        .await
        .expect(200);
}

#[tokio::test]
async fn bodies_over_the_limit_are_413_and_below_it_are_read() {
    let app = App::memory().await;
    let limit = 4 << 20;
    let padded = |size: usize| {
        let mut body = plain("t").to_string();
        body.extend(std::iter::repeat_n(' ', size - body.len()));
        body
    };
    app.call("POST", "/v1/resolve")
        .text(padded(limit))
        .send()
        .await
        .expect(200);
    app.call("POST", "/v1/resolve")
        .text(padded(limit + 1))
        .send()
        .await
        .error(413);
    app.resolve(&plain("t")).await.expect(200);
}

#[tokio::test]
async fn unknown_query_parameters_are_refused_everywhere() {
    let app = App::memory().await;
    app.store("t", &version(1)).await;
    for (method, path) in [
        ("GET", policy_path("t")),
        ("PUT", policy_path("t")),
        ("DELETE", policy_path("t")),
        ("GET", history_path("t")),
        ("GET", "/v1/tenants".to_owned()),
        ("GET", "/v1/component".to_owned()),
        ("POST", "/v1/resolve".to_owned()),
    ] {
        let body = if method == "POST" {
            plain("t")
        } else {
            version(2)
        };
        let reply = app
            .call(method, &format!("{path}?dryrun=true"))
            .json(&body)
            .send()
            .await;
        reply.error(400);
    }
    assert_eq!(
        app.get(&policy_path("t")).await.json,
        version(1),
        "a misspelt dry run writes nothing"
    );
}

#[tokio::test]
async fn demanded_revisions_that_are_no_numbers_are_refused() {
    let app = App::memory().await;
    for value in ["x", "-1", "1.5", "", "9007199254740992", "1, 2"] {
        for (method, path) in [
            ("GET", policy_path("t")),
            ("GET", "/v1/tenants".into()),
            ("POST", "/v1/resolve".into()),
        ] {
            let call = app.call(method, &path).header("ordain-min-revision", value);
            let call = if method == "POST" {
                call.json(&plain("t"))
            } else {
                call
            };
            let reply = call.send().await;
            assert!(
                matches!(reply.status, 400 | 422),
                "{value:?} {path}: {reply:?}"
            );
            let status = reply.status;
            reply.error(status);
        }
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_a_callers_id_is_kept() {
    let app = App::memory().await;
    for path in ["/healthz", "/v1/tenants", "/nothing"] {
        assert!(
            !app.get(path).await.header("x-request-id").is_empty(),
            "{path}"
        );
    }
    let reply = app
        .call("GET", "/v1/tenants")
        .header("x-request-id", "abc-123")
        .send()
        .await;
    assert_eq!(reply.header("x-request-id"), "abc-123");
}

#[tokio::test]
async fn every_answer_below_v1_says_up_to_which_revision_it_holds() {
    let app = App::memory().await;
    let revision = app.store("t", &version(1)).await;
    for path in [
        policy_path("t"),
        policy_path("nobody"),
        history_path("t"),
        "/v1/tenants".into(),
        "/v1/component".into(),
    ] {
        let reply = app.get(&path).await;
        assert!(reply.ordain_revision() >= revision, "{path}: {reply:?}");
    }
    for body in [
        plain("t"),
        plain("nobody"),
        json!([plain("t"), plain("x")]),
        json!([]),
    ] {
        assert!(
            app.resolve(&body).await.expect(200).ordain_revision() >= revision,
            "{body}"
        );
    }
}

#[tokio::test]
async fn the_service_says_that_it_lives_is_ready_and_what_it_runs() {
    let app = App::memory().await;
    app.get("/healthz").await.expect(200);
    let ready = app.get("/readyz").await.expect(200);
    assert!(ready.json["dependencies"].is_object(), "{ready:?}");
    let component = app.get("/v1/component").await.expect(200).json;
    let answer = app.resolve(&plain("t")).await.expect(200).json;
    assert_eq!(component["digest"], answer["provenance"]["component"]);
    let expected = json!(["ordain:config@1.0.0", "ordain:policy@1.1.0"]);
    assert_eq!(component["capabilities"], expected);
}

//! The switches of the caches: for the fleet through the log, for one instance, and what the API,
//! the metrics and the command line say of them.

use ordain_tests::app::App;
use ordain_tests::cli::cli;
use ordain_tests::http::Reply;
use ordain_tests::services::Postgres;
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::{Value, json};

use crate::support::{BOUND, Deployment, caught_up, database, model, plain, psql, version, warm};

async fn patch(app: &App, body: &Value) -> Reply {
    app.call("PATCH", "/v1/caches").json(body).send().await
}

async fn patch_local(app: &App, body: &Value) -> Reply {
    let call = app.call("PATCH", "/v1/caches?local=true");
    call.json(body).send().await
}

/// `on`, or the reason why the cache is off.
async fn state(app: &App, tier: &str) -> String {
    let report = app.get("/v1/caches").await.expect(200).json;
    let caches = report["caches"].as_array().expect("a list");
    let cache = caches
        .iter()
        .find(|cache| cache["tier"] == tier && cache["kind"] == "policy")
        .unwrap_or_else(|| panic!("no {tier}: {report}"));
    match cache["on"].as_bool() {
        Some(true) => "on".to_owned(),
        _ => cache["reason"].as_str().expect("a reason").to_owned(),
    }
}

/// The tier that answers within the bound, and stays it.
async fn answers_from(app: &App, tenant: &str, tier: &str) {
    let asked = || async {
        let reply = app.resolve(&plain(tenant)).await;
        holds(
            reply.status == 200 && reply.tier() == tier,
            format!("{reply:?}"),
        )
    };
    eventually(&format!("answers from {tier}"), PATIENCE, asked).await;
    for _ in 0..5 {
        let reply = app.resolve(&plain(tenant)).await.expect(200);
        assert_eq!(reply.tier(), tier, "{reply:?}");
    }
}

#[tokio::test]
async fn a_switch_of_the_fleet_reaches_every_instance_and_those_that_start_later() {
    let deployment = Deployment::start().await;
    let (one, two) = futures::join!(
        deployment.patient("one").start(),
        deployment.patient("two").start()
    );
    one.store("t", &version(1)).await;
    futures::join!(warm(&one, "t"), warm(&two, "t"));

    let off = patch(&one, &json!({"near": false})).await.expect(200);
    let revision = off.revision();
    assert_eq!(off.ordain_revision(), revision);
    let reason = format!("the fleet's switch `near` is off since revision {revision}");
    for app in [&one, &two] {
        caught_up(app, revision).await;
        assert_eq!(state(app, "near").await, reason);
        answers_from(app, "t", "far").await;
        let ready = app.get("/v1/caches").await.expect(200).json;
        assert_eq!(
            ready["near"]["entries"], 0,
            "its entries are dropped: {ready}"
        );
    }
    let three = deployment.patient("three").start().await;
    assert_eq!(state(&three, "near").await, reason);

    let revision = patch(&two, &json!({"far": "off"}))
        .await
        .expect(200)
        .revision();
    for app in [&one, &two, &three] {
        caught_up(app, revision).await;
        answers_from(app, "t", "origin").await;
    }
    // Changes are followed while the caches are off.
    let written = one.store("t", &version(2)).await;
    let revision = patch(&one, &json!({"near": null, "far": true}))
        .await
        .expect(200)
        .revision();
    assert!(revision > written);
    for app in [&one, &two, &three] {
        caught_up(app, revision).await;
        assert_eq!(state(app, "near").await, "on");
        assert_eq!(model(&warm(app, "t").await), "m2");
    }
    // What holds already makes no revision.
    let none = patch(&one, &json!({})).await.expect(200);
    assert_eq!(none.json, json!({}));
    let none = patch(&one, &json!({"near": null})).await.expect(200);
    assert_eq!(none.json, json!({}));
}

#[tokio::test]
async fn an_edit_of_the_settings_in_psql_is_obeyed_and_one_that_makes_no_sense_is_ignored() {
    let url = database().await;
    let app = App::builder().postgres(&url).start().await;
    app.store("t", &version(1)).await;
    warm(&app, "t").await;
    let mut psql = psql(&url).await;
    let edit = "INSERT INTO settings (name, value) VALUES ('cache', 'off')";
    sqlx::query(edit).execute(&mut psql).await.expect(edit);
    answers_from(&app, "t", "origin").await;
    assert!(state(&app, "near").await.contains("`all` is off"));
    for edit in [
        "DELETE FROM settings",
        "INSERT INTO settings (name, value) VALUES ('bound', 'soon')",
        "INSERT INTO settings (name, value) VALUES ('stale-limit', '1s; drop')",
        "INSERT INTO settings (name, value) VALUES ('of-another-program', 'x')",
    ] {
        sqlx::query(edit).execute(&mut psql).await.expect(edit);
    }
    answers_from(&app, "t", "near").await;
    let report = app.get("/v1/caches").await.json;
    assert_eq!(report["settings"]["bound"]["from"], "configuration");
    assert!(app.log().contains("a setting of the fleet is ignored"));
}

#[tokio::test]
async fn an_override_of_one_instance_beats_the_fleet_and_needs_no_database() {
    let postgres = Postgres::start();
    let url = postgres.database();
    let (one, two) = futures::join!(
        App::builder().postgres(&url).name("one").start(),
        App::builder().postgres(&url).name("two").start()
    );
    one.store("t", &version(1)).await;
    let revision = patch(&one, &json!({"near": false}))
        .await
        .expect(200)
        .revision();
    futures::join!(caught_up(&one, revision), caught_up(&two, revision));
    let report = patch_local(&one, &json!({"near": true}))
        .await
        .expect(200)
        .json;
    let near = &report["settings"]["near"];
    let expected = json!({
        "value": true, "from": "local", "configuration": true, "fleet": false,
        "revision": revision, "local": true
    });
    assert_eq!(near, &expected);
    answers_from(&one, "t", "near").await;
    answers_from(&two, "t", "origin").await;

    postgres.kill();
    let report = patch_local(&one, &json!({"near": null, "policy": "OFF"}))
        .await
        .expect(200)
        .json;
    assert_eq!(report["settings"]["near"]["from"], "fleet");
    assert_eq!(
        state(&one, "near").await,
        "the switch `policy` of this instance is off"
    );
    patch(&one, &json!({"near": true})).await.error(503);
}

#[tokio::test]
async fn a_wrong_setting_is_refused_with_its_pointer_and_nothing_is_changed() {
    let app = App::memory().await;
    let before = app.get("/v1/caches").await.json["settings"].clone();
    let body = json!({
        "near": false, "nearr": true, "far": "perhaps", "policy": 1, "bound": "550ms",
        "staleLimit": true, "a/b": null
    });
    for reply in [patch(&app, &body).await, patch_local(&app, &body).await] {
        let pointers = reply.error(422).pointers();
        let expected = [
            "/a~1b",
            "/bound",
            "/far",
            "/nearr",
            "/policy",
            "/staleLimit",
        ];
        assert!(pointers.iter().eq(expected.iter()), "{pointers:?}");
    }
    let call = app.call("PATCH", "/v1/caches");
    let twice = call
        .text(r#"{"near":true,"near":false}"#)
        .send()
        .await
        .error(422);
    assert!(twice.pointers().contains("/near"));
    let call = app.call("PATCH", "/v1/caches");
    call.text("[true]").send().await.error(422);
    let call = app.call("PATCH", "/v1/caches");
    call.text("{").send().await.problem(400, "malformed-json");
    let call = app.call("PATCH", "/v1/caches?locally=true");
    call.json(&json!({}))
        .send()
        .await
        .problem(400, "invalid-parameter");
    assert_eq!(app.get("/v1/caches").await.json["settings"], before);
}

#[tokio::test]
async fn the_bound_and_the_stale_limit_can_be_changed_while_it_runs() {
    let app = App::memory().await;
    app.store("t", &version(1)).await;
    let before = warm(&app, "t").await;
    let revision = patch(&app, &json!({"bound": "3s", "staleLimit": "1h"}))
        .await
        .expect(200)
        .revision();
    caught_up(&app, revision).await;
    let report = app.get("/v1/caches").await.json;
    assert_eq!(report["settings"]["bound"]["value"], "3s");
    assert_eq!(report["settings"]["staleLimit"]["value"], "1h");
    let after = warm(&app, "t").await;
    assert_ne!(
        before["provenance"]["settings"], after["provenance"]["settings"],
        "an answer names the settings that it was made under"
    );
    assert_eq!(before["model"], after["model"]);
}

#[tokio::test]
async fn the_command_line_shows_and_sets_the_switches() {
    let url = database().await;
    let app = App::builder().postgres(&url).start().await;
    let with = |args: &[&'static str]| -> Vec<String> {
        let server = ["--server", app.base()];
        args.iter()
            .chain(&server)
            .map(|arg| (*arg).to_owned())
            .collect()
    };
    let shown = cli(with(&["caches"])).await.expect(0).stdout;
    for part in [
        "policy near",
        "REDIS_URL is not set",
        "staleLimit",
        "15m",
        "watermark",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let set = cli(with(&["caches", "set", "near=off", "--reason", "a trial"])).await;
    assert!(set.expect(0).stdout.starts_with("set, revision "));
    let again = cli(with(&["caches", "set", "near=off", "far=default"])).await;
    assert!(again.expect(0).stdout.starts_with("set, revision "));
    assert!(state(&app, "near").await.contains("`near` is off"));
    let json = cli(with(&["caches", "--json"])).await.expect(0).json();
    assert_eq!(json["settings"]["near"]["from"], "fleet");
    cli(with(&["caches", "set", "near=default", "--json"]))
        .await
        .expect(0)
        .json();
    assert_eq!(state(&app, "near").await, "on");
    cli(with(&["caches", "set", "near=off", "--local"]))
        .await
        .expect(0);
    assert!(state(&app, "near").await.contains("of this instance"));
    // Without a server, on the database.
    let embedded = cli(["caches", "set", "near=on", "--database-url", &url]).await;
    embedded.expect(0);
    let count =
        "SELECT count(*) FROM changes WHERE subject = 'setting/cache.near' AND tenant IS NULL";
    let mut psql = psql(&url).await;
    let history: i64 = sqlx::query_scalar(count)
        .fetch_one(&mut psql)
        .await
        .expect(count);
    assert_eq!(history, 4, "every change is in the log");
    for wrong in [
        vec!["caches", "set"],
        vec!["caches", "set", "near"],
        vec!["caches", "set", "neer=off"],
        vec!["caches", "set", "near=on", "near=off"],
        vec![
            "caches",
            "set",
            "near=on",
            "--local",
            "--database-url",
            &url,
        ],
    ] {
        cli(wrong.clone()).await.expect(2);
    }
    let refused = cli(with(&["caches", "set", "bound=10ms"])).await.expect(1);
    assert!(refused.stderr.contains("bound"), "{refused:?}");
}

#[tokio::test]
async fn metrics_say_what_happened() {
    let deployment = Deployment::start().await;
    let app = deployment
        .patient("audited")
        .env("ORDAIN_AUDIT_INTERVAL", "50ms")
        .start()
        .await;
    app.store("t", &version(1)).await;
    warm(&app, "t").await;
    app.store("t", &version(2)).await;
    warm(&app, "t").await;
    for _ in 0..20 {
        app.resolve(&plain("t")).await.expect(200);
    }
    let metric = |text: &str, name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("no {name}: {text}"));
        line.trim().parse().expect("a number")
    };
    let audited = || async {
        let reply = app.get("/metrics").await.expect(200);
        let text = reply.text;
        let near = metric(
            &text,
            "ordain_audit_checks_total{tier=\"near\",outcome=\"current\"}",
        );
        let far = metric(
            &text,
            "ordain_audit_checks_total{tier=\"far\",outcome=\"current\"}",
        );
        if near >= 3.0 && far >= 3.0 {
            Ok(text)
        } else {
            Err(text)
        }
    };
    let text = eventually("audits", PATIENCE, audited).await;
    assert!(metric(&text, "ordain_requests_total{outcome=\"near\"}") >= 20.0);
    assert!(
        metric(
            &text,
            "ordain_tier_calls_total{tier=\"origin\",call=\"read\"}"
        ) >= 1.0
    );
    assert_eq!(metric(&text, "ordain_ready"), 1.0);
    assert_eq!(metric(&text, "ordain_feed_connected"), 1.0);
    assert!(metric(&text, "ordain_feed_proven_age_seconds") < BOUND.as_secs_f64());
    assert!(metric(&text, "ordain_feed_lag_seconds") < BOUND.as_secs_f64());
    assert_eq!(
        metric(&text, "ordain_feed_purges_total{cause=\"history\"}"),
        0.0
    );
    assert_eq!(metric(&text, "ordain_breaker_open{tier=\"far\"}"), 0.0);
    assert_eq!(
        metric(&text, "ordain_cache_on{kind=\"policy\",tier=\"near\"}"),
        1.0
    );
    for finding in ["late", "wrong"] {
        let name = format!("ordain_audit_checks_total{{tier=\"near\",outcome=\"{finding}\"}}");
        assert_eq!(metric(&text, &name), 0.0, "{finding}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_auditor_finds_an_edit_past_the_triggers() {
    let url = database().await;
    let app = App::builder()
        .postgres(&url)
        .env("ORDAIN_AUDIT_INTERVAL", "50ms")
        .start()
        .await;
    app.store("t", &version(1)).await;
    warm(&app, "t").await;
    let mut psql = psql(&url).await;
    for statement in [
        "SET session_replication_role = replica",
        "UPDATE policies SET body = '{\"defaultModel\":\"m9\",\"defaultProvider\":\"openai\"}'",
    ] {
        sqlx::query(statement)
            .execute(&mut psql)
            .await
            .expect(statement);
    }
    let found = || async {
        app.resolve(&plain("t")).await.expect(200);
        let text = app.get("/metrics").await.expect(200).text;
        let none = "ordain_audit_checks_total{tier=\"near\",outcome=\"wrong\"} 0";
        holds(!text.contains(none), text)
    };
    eventually("found", PATIENCE, found).await;
    assert!(
        app.log().contains("ordain purge"),
        "the log says what to do"
    );
}

//! How `ordain serve` starts and stops. What it refuses to start with is in `start_refused`.

use std::time::Duration;

use ordain_tests::app::App;
use ordain_tests::cli::{cli, cli_with};
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Deployment, caught_up, database, model, plain, psql, version};

#[tokio::test]
async fn four_hosts_may_start_at_once_on_an_empty_database() {
    let deployment = Deployment::start().await;
    let hosts = futures::future::join_all(
        (0..4).map(|n| deployment.instance(&format!("host {n}")).start()),
    )
    .await;
    for (number, host) in hosts.iter().enumerate() {
        let revision = host.store(&format!("t{number}"), &version(number)).await;
        for other in &hosts {
            let request = json!({"tenant": format!("t{number}"), "minRevision": revision});
            assert_eq!(
                model(&other.resolve(&request).await.expect(200).json),
                format!("m{number}")
            );
        }
    }
}

#[tokio::test]
async fn a_parameter_of_the_database_url_that_nobody_knows_is_told_once() {
    let url = database().await;
    let mark = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{mark}conect_timeout=s3cret");
    let app = App::builder().postgres(&url).start().await;
    let log = app.log();
    assert_eq!(log.matches("conect_timeout").count(), 1, "{log}");
    assert!(!log.contains("s3cret"), "{log}");
}

#[tokio::test]
async fn policies_outlive_the_process_and_the_log_goes_on() {
    let url = database().await;
    let mut one = App::builder().postgres(&url).start().await;
    let first = one.store("t", &version(1)).await;
    one.sigkill();
    one.wait_exit().await;
    let two = App::builder().postgres(&url).start().await;
    assert_eq!(model(&two.resolve(&plain("t")).await.json), "m1");
    assert!(two.store("t", &version(2)).await > first);
    let without = App::builder()
        .postgres(&url)
        .arg("--no-migrate")
        .start()
        .await;
    caught_up(&without, first).await;
    assert_eq!(model(&without.resolve(&plain("t")).await.json), "m2");
}

#[tokio::test]
async fn the_pool_works_as_a_role_that_owns_nothing() {
    let url = database().await;
    let app = App::builder().postgres(&url).start().await;
    app.store("t", &version(1)).await;
    let mut psql = psql(&url).await;
    let owned: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolname = 'ordain_service'",
    )
    .fetch_one(&mut psql)
    .await
    .expect("a count");
    assert_eq!(owned, 0);
    let log: i64 = sqlx::query_scalar("SELECT count(*) FROM changes WHERE tenant = 't'")
        .fetch_one(&mut psql)
        .await
        .expect("a count");
    assert_eq!(log, 1);
    sqlx::query("SET ROLE ordain_service")
        .execute(&mut psql)
        .await
        .expect("a superuser may");
    for statement in [
        "INSERT INTO changes SELECT * FROM changes",
        "DELETE FROM changes",
        "ALTER TABLE policies DISABLE TRIGGER ALL",
        "TRUNCATE policies",
    ] {
        assert!(
            sqlx::query(statement).execute(&mut psql).await.is_err(),
            "the service may not: {statement}"
        );
    }
}

#[tokio::test]
async fn requests_under_way_are_answered_before_a_stop_and_new_ones_are_not_taken() {
    let mut app = App::memory().await;
    app.store("t", &version(1)).await;
    // A request whose body is still on its way when the stop comes.
    let address = app.base().trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(&address)
        .await
        .expect("a connection");
    let body = plain("t").to_string();
    let (head, tail) = body.split_at(5);
    let start = format!(
        "POST /v1/resolve HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{head}",
        body.len()
    );
    stream
        .write_all(start.as_bytes())
        .await
        .expect("the server reads");
    // The server has the request in hand once an answer to a later one is back.
    app.resolve(&plain("t")).await.expect(200);
    app.sigterm();
    let refused = || async {
        holds(
            tokio::net::TcpStream::connect(&address).await.is_err(),
            "still listening",
        )
    };
    eventually("no new connections", PATIENCE, refused).await;
    stream
        .write_all(tail.as_bytes())
        .await
        .expect("the server still reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("\"m1\""),
        "{answer}"
    );
    let status = app.wait_exit().await;
    assert_eq!(status.code(), Some(0), "{status}");
}

#[tokio::test]
async fn an_idle_server_stops_at_once_on_sigterm_with_code_0() {
    for builder in [
        App::builder().dev(),
        App::builder().postgres(&database().await),
    ] {
        let mut app = builder.start().await;
        let start = std::time::Instant::now();
        app.sigterm();
        assert_eq!(app.wait_exit().await.code(), Some(0));
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{:?}",
            start.elapsed()
        );
    }
}

#[tokio::test]
async fn the_start_log_names_every_cache_and_why_it_is_off_and_no_secret() {
    let app = App::builder().dev().start().await;
    assert!(
        app.log().contains("near") && app.log().contains("REDIS_URL"),
        "{}",
        app.log()
    );
    drop(app);
    let deployment = Deployment::start().await;
    let app = deployment
        .instance("one")
        .env("ORDAIN_CACHE_FAR", "off")
        .env("ORDAIN_FAR_KEY", "s3cret-s3cret-s3cret-s3cret-0000")
        .start()
        .await;
    assert!(app.log().contains("ORDAIN_CACHE_FAR"), "{}", app.log());
    app.resolve(&plain("t")).await.expect(200);
    assert!(!app.log().contains("s3cret"), "{}", app.log());
}

#[tokio::test]
async fn demo_policies_can_be_loaded_at_start() {
    let lines = format!(
        "{}\n{}\n",
        json!({"tenant": "a/b", "policy": version(1)}),
        json!({"tenant": "c", "policy": version(2)})
    );
    let (_guard, lines) = crate::cli_remote::file(&lines);
    let app = App::builder().dev().arg("--load").arg(&lines).start().await;
    assert_eq!(model(&app.resolve(&plain("a/b")).await.json), "m1");
    assert_eq!(model(&app.resolve(&plain("c")).await.json), "m2");
}

#[tokio::test]
async fn the_configuration_is_printed_with_secrets_masked() {
    let env = [
        (
            "DATABASE_URL",
            "postgres://me:s3cret@db.example:5432/ordain",
        ),
        (
            "ORDAIN_MIGRATE_URL",
            "postgres://owner:s3cret@db.example/ordain",
        ),
        ("REDIS_URL", "redis://:s3cret@cache.example:6379"),
        ("ORDAIN_FAR_KEY", "s3cret-s3cret-s3cret"),
        ("ORDAIN_BOUND", "1500ms"),
        ("ORDAIN_LOCAL_PROVIDERS", ""),
        (
            "ORDAIN_JWT_HS256_SECRET",
            "s3cret-s3cret-s3cret-s3cret-0000",
        ),
    ];
    for json in [false, true] {
        let args = ["serve", "--print-config", "--listen", "127.0.0.1:9"];
        let args = args.into_iter().chain(json.then_some("--json"));
        let shown = cli_with(&env, args).await.expect(0);
        assert!(!shown.all().contains("s3cret"), "{shown:?}");
        for part in [
            "db.example",
            "cache.example",
            "127.0.0.1:9",
            "ORDAIN_BOUND",
            "ORDAIN_LOCAL_PROVIDERS",
        ] {
            assert!(shown.stdout.contains(part), "{part}: {shown:?}");
        }
        if json {
            let config = shown.json();
            assert_eq!(
                config["ORDAIN_LOCAL_PROVIDERS"]["value"], "local",
                "an empty variable counts as unset"
            );
            assert_eq!(
                config["ORDAIN_LISTEN"]["value"], "127.0.0.1:9",
                "a flag wins"
            );
        }
    }
    cli(["serve", "--dev", "--print-config"]).await.expect(0);
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_printed_as_well_and_all_that_is_wrong_told() {
    let env = [
        ("ORDAIN_BOUND", "1500ms"),
        ("ORDAIN_STALE_LIMT", "1s"),
        ("ORDAIN_DEFAULT_MODEL", "m"),
        ("ORDAIN_LISTEN", "postgres://me:s3cret@db/x"),
        ("ORDAIN_FAR_KEY", "s3cret"),
        ("ORDAIN_COMPONENT_KEYS", "s3cret"),
        ("ORDAIN_JWT_MAX_LIFETIME", "500ms"),
        ("REDIS_URL", "redis://:s3cret@cache.example:6379"),
    ];
    for json in [None, Some("--json")] {
        let args = ["serve", "--print-config"].into_iter().chain(json);
        let told = cli_with(&env, args).await.expect(2);
        assert!(!told.all().contains("s3cret"), "{told:?}");
        for part in ["ORDAIN_BOUND", "1s500ms", "cache.example", "15m"] {
            assert!(told.stdout.contains(part), "{part}: {told:?}");
        }
        for part in [
            "did you mean ORDAIN_STALE_LIMIT?",
            "set DATABASE_URL",
            "ORDAIN_LISTEN",
            "ORDAIN_DEFAULT_MODEL is set without",
            "key 1 of ORDAIN_FAR_KEY",
            "key 1 of ORDAIN_COMPONENT_KEYS",
            "ORDAIN_JWT_MAX_LIFETIME must be at least 1s",
            "no key to check tokens by",
        ] {
            assert!(told.stderr.contains(part), "{part}: {told:?}");
        }
        if json.is_none() {
            for line in [
                "# DATABASE_URL is not set",
                "# ORDAIN_LISTEN cannot be used (environment)",
                "# ORDAIN_COMPONENT_KEYS cannot be used (environment)",
                "# ORDAIN_DEFAULT_PROVIDER is not set",
            ] {
                assert!(told.stdout.lines().any(|l| l == line), "{line}: {told:?}");
            }
        } else {
            assert_eq!(told.json()["ORDAIN_LISTEN"]["value"], json!(null));
        }
    }
    // What is no public key may be another one, in the wrong variable.
    let env = [("ORDAIN_JWT_PUBLIC_KEY", "s3cret-s3cret-s3cret-s3cret-0000")];
    let told = cli_with(&env, ["serve", "--print-config"]).await.expect(2);
    assert!(!told.all().contains("s3cret"), "{told:?}");
    assert!(!told.stderr.contains("no key to check"), "{told:?}");
}

//! Through pgbouncer, in all of its modes: what a pooler shares among programs stays as it was.

use std::time::Instant;

use ordain_tests::app::{App, Builder};
use ordain_tests::cli::cli;
use ordain_tests::http::{history_path, policy_path};
use ordain_tests::services::{PgBouncer, Postgres};
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

use crate::support::{BOUND, model, plain, policy, version};

/// What a program could find in a session that another one has used.
const LEFT: &str = "SELECT concat_ws(' ', current_user, current_setting('statement_timeout'), \
     current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout'), \
     current_setting('synchronous_commit'), current_setting('search_path'), \
     (SELECT count(*) FROM pg_prepared_statements WHERE name <> ''), \
     (SELECT count(*) FROM pg_listening_channels()), \
     (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), \
     nullif(current_setting('ordain.tenant', true), ''))";

async fn through(bouncer: &PgBouncer) -> PgConnection {
    let options: PgConnectOptions = bouncer.url("postgres", "test_0").parse().expect("a URL");
    let options = options.extra_float_digits(None);
    options.connect().await.expect("pgbouncer connects")
}

/// What other programs find in all sessions of the pooler at once.
async fn left(bouncer: &PgBouncer, sessions: usize) -> Vec<String> {
    let (mut held, mut found) = (Vec::new(), Vec::new());
    for _ in 0..sessions {
        let mut other = through(bouncer).await;
        // In a transaction, so that each has a session of its own.
        for sql in ["BEGIN", LEFT] {
            let rows = sqlx::raw_sql(sql).fetch_all(&mut other).await.expect(sql);
            found.extend(rows.first().map(|row| sqlx::Row::get::<String, _>(row, 0)));
        }
        held.push(other);
    }
    for other in &mut held {
        sqlx::raw_sql("ROLLBACK")
            .execute(other)
            .await
            .expect("over");
    }
    found
}

fn instance(bouncer: &PgBouncer, name: &str) -> Builder {
    App::builder()
        .postgres(&bouncer.url("postgres", "test_0"))
        // What is answered is in question here, not how fast a busy machine is.
        .env("ORDAIN_ORIGIN_DEADLINE", "5s")
        .env("ORDAIN_FEED_DEADLINE", "700ms")
        .env("ORDAIN_REQUEST_DEADLINE", "10s")
        .name(name)
}

/// Reads and writes of every kind, on two instances.
async fn use_all(one: &App, two: &App) {
    for number in 0..5 {
        let revision = one.store("t", &version(number)).await;
        let committed = Instant::now();
        let seen = || async {
            let reply = two.resolve(&plain("t")).await.expect(200);
            let late = Instant::now().duration_since(committed);
            let new = reply.json["provenance"]["revision"] == revision;
            holds(new, format!("{late:?} after the commit: {}", reply.text))
        };
        eventually("the other instance sees it", BOUND, seen).await;
    }
    let tenants = (0..40).map(|n| format!("tenant-{n}"));
    let asked = tenants.map(|tenant| async move {
        one.store(&tenant, &policy("openai", &tenant)).await;
        let reply = two.get(&policy_path(&tenant)).await.expect(200);
        assert_eq!(reply.json["defaultModel"], tenant);
        let answer = two.resolve(&plain(&tenant)).await.expect(200);
        assert_eq!(model(&answer.json), tenant);
    });
    futures::future::join_all(asked).await;
    let listed = one.get("/v1/tenants?limit=500").await.expect(200);
    assert_eq!(listed.json["items"].as_array().map(Vec::len), Some(41));
    let history = one.get(&history_path("t")).await.expect(200);
    assert_eq!(history.json["items"].as_array().map(Vec::len), Some(5));
    let path = "/v1/tenants/t/config/own";
    let patch = one
        .call("PATCH", path)
        .json(&json!({"mergeMaxMessages": 7}));
    patch.send().await.expect(200);
    let config = two.get("/v1/tenants/t/config").await.expect(200);
    assert_eq!(config.json["config"]["mergeMaxMessages"], 7);
    let switched = one.call("PATCH", "/v1/caches").json(&json!({"far": false}));
    switched.send().await.expect(200);
    one.delete(&policy_path("t")).await.expect(200);
}

fn listeners(server: &Postgres) -> String {
    server.sql(
        "postgres",
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'",
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_pooler_serves_all_and_nothing_is_left_in_its_sessions() {
    let server = Postgres::start();
    server.database();
    let bouncer = PgBouncer::start(&server, "transaction", "default_pool_size = 5");
    let untouched = left(&bouncer, 5).await;
    assert!(
        untouched[0].starts_with("postgres 0 0 0 on"),
        "{untouched:?}"
    );
    let (one, two) = (
        instance(&bouncer, "one").start().await,
        instance(&bouncer, "two").start().await,
    );
    use_all(&one, &two).await;
    let list = ["policy", "list", "--json", "--database-url"];
    let url = bouncer.url("postgres", "test_0");
    let listed = cli(list.into_iter().chain([&*url])).await.expect(0);
    assert!(listed.stdout.contains("tenant-7"), "{listed:?}");
    cli(["migrate", "--database-url", &url]).await.expect(0);
    let told = || async { holds(one.log().contains("there is no LISTEN"), one.log()) };
    eventually("the log says so", PATIENCE, told).await;
    let found = one.log().matches("through a pooler: nothing").count();
    assert_eq!(found, 1, "{}", one.log());
    assert_eq!(left(&bouncer, 5).await, untouched);
    assert_eq!(listeners(&server), "0");
    // Also in sessions that are no longer in use.
    drop((one, two));
    assert_eq!(left(&bouncer, 5).await, untouched);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_pooler_serves_all_with_listen_and_nothing_is_left_in_its_sessions() {
    let server = Postgres::start();
    server.database();
    let bouncer = PgBouncer::start(&server, "session", "default_pool_size = 60");
    let untouched = left(&bouncer, 1).await;
    let (one, two) = (
        instance(&bouncer, "one").start().await,
        instance(&bouncer, "two").start().await,
    );
    use_all(&one, &two).await;
    let listening = || async { holds(listeners(&server) == "2", listeners(&server)) };
    eventually("both listen", PATIENCE, listening).await;
    assert!(!one.log().contains("there is no LISTEN"), "{}", one.log());
    drop((one, two));
    let clean = || async {
        let left = left(&bouncer, 10).await;
        let clean = left.iter().all(|found| *found == untouched[0]);
        holds(clean, format!("{left:?}"))
    };
    eventually("all is as it was", PATIENCE, clean).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_pooler_is_refused_with_advice() {
    let server = Postgres::start();
    let direct = server.database();
    cli(["migrate", "--database-url", &direct]).await.expect(0);
    let bouncer = PgBouncer::start(&server, "statement", "");
    for start in [
        instance(&bouncer, "one"),
        instance(&bouncer, "one").arg("--no-migrate"),
    ] {
        let (code, log) = start.refused().await;
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("pool_mode"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_without_places_left_is_waited_for() {
    let server = Postgres::start();
    let direct = server.database();
    cli(["migrate", "--database-url", &direct]).await.expect(0);
    // As people have it who were told so: settings at the start of a session are swallowed, not
    // refused.
    let more = "max_client_conn = 8\nignore_startup_parameters = options, extra_float_digits";
    let bouncer = PgBouncer::start(&server, "transaction", more);
    let untouched = left(&bouncer, 1).await;
    let app = instance(&bouncer, "one").start().await;
    let asked = (0..200).map(|n| {
        let app = &app;
        async move {
            app.resolve(&plain(&format!("nobody-{n}")))
                .await
                .expect(200)
        }
    });
    futures::future::join_all(asked).await;
    app.get("/v1/tenants").await.expect(200);
    let metrics = app.get("/metrics").await.expect(200).text;
    assert!(
        metrics.contains("ordain_breaker_opened_total{tier=\"origin\"} 0"),
        "{metrics}"
    );
    drop(app);
    assert_eq!(left(&bouncer, 1).await, untouched);
}

//! Forms of DATABASE_URL, several hosts, a server that is not the primary or takes no changes, and
//! one that gives fewer connections than are wanted.

use std::time::{Duration, Instant};

use futures::StreamExt;
use ordain_tests::app::App;
use ordain_tests::cli::cli;
use ordain_tests::http::policy_path;
use ordain_tests::proxy::{Proxy, Upstream};
use ordain_tests::services::Postgres;
use ordain_tests::wait::{PATIENCE, eventually, holds};

use crate::support::{database, model, plain, version};

#[tokio::test]
async fn an_ipv6_literal_names_a_host() {
    let server = Postgres::shared();
    let url = database().await;
    let name = url
        .split("localhost/")
        .nth(1)
        .and_then(|rest| rest.split('?').next());
    let proxy = Proxy::start_on("[::1]:0", Upstream::Unix(server.socket())).await;
    let url = format!(
        "postgresql://postgres@[::1]:{}/{}",
        proxy.port(),
        name.unwrap()
    );
    let app = App::builder().postgres(&url).start().await;
    app.store("t", &version(1)).await;
    let caches = app.get("/v1/caches").await.expect(200).text;
    assert!(
        caches.contains(&format!("[::1]:{}", proxy.port())),
        "{caches}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_hosts_the_primary_is_used_and_followed_when_it_fails_over() {
    let primary = Postgres::start();
    primary.database();
    let replica = primary.replica();
    // A host that nobody answers at, one that swallows everything, the replica, the primary.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (first, second) = (
        Proxy::start(Upstream::Unix(replica.socket())).await,
        Proxy::start(Upstream::Unix(primary.socket())).await,
    );
    let silent_port = silent.local_addr().expect("bound").port();
    let url = format!(
        "postgres://postgres@127.0.0.1:1,127.0.0.1:{silent_port},localhost:{},127.0.0.1:{}/test_0\
         ?target_session_attrs=read-write&sslmode=disable",
        first.port(),
        second.port()
    );
    cli(["migrate", "--database-url", &url]).await.expect(0);
    let start = App::builder()
        .postgres(&url)
        .arg("--no-migrate")
        .env("ORDAIN_ORIGIN_DEADLINE", "2s")
        .env("ORDAIN_REQUEST_DEADLINE", "4s");
    let app = start.start().await;
    let before = app.store("t", &version(1)).await;
    primary.wait_replayed(&replica);
    primary.kill();
    replica.promote();
    let written = || async {
        let reply = app.put(&policy_path("t"), &version(2)).await;
        holds(reply.status == 200, format!("{reply:?}"))
    };
    eventually("writes go to the new primary", PATIENCE, written).await;
    let reply = app.resolve(&plain("t")).await.expect(200);
    assert_eq!(model(&reply.json), "m2");
    assert!(reply.ordain_revision() > before);
    app.wait_ready().await;
    let rows = replica.sql("test_0", "SELECT count(*) FROM changes");
    assert!(rows.parse::<u32>().expect("a number") >= 2, "{rows}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_was_set_read_only_and_a_replica_say_so() {
    let primary = Postgres::start();
    let url = primary.database();
    cli(["migrate", "--database-url", &url]).await.expect(0);
    let app = App::builder().postgres(&url).start().await;
    app.store("t", &version(1)).await;
    let replica = primary.replica();

    let read_only = "ALTER DATABASE test_0 SET default_transaction_read_only = on";
    primary.sql("postgres", read_only);
    let app = App::builder().postgres(&url).start().await;
    let reply = app.resolve(&plain("t")).await.expect(200);
    assert_eq!(model(&reply.json), "m1");
    let refused = app.put(&policy_path("t"), &version(2)).await;
    let refused = refused.problem(503, "origin-read-only");
    assert!(refused.text.contains("takes no changes"), "{refused:?}");
    app.get("/readyz").await.expect(200);
    let with = format!("{url}&target_session_attrs=read-write");
    let list = cli(["policy", "list", "--database-url", &with])
        .await
        .expect(1);
    assert!(list.stderr.contains("read-only"), "{list:?}");

    let url = replica.url("postgres", "test_0");
    let app = App::builder()
        .postgres(&url)
        .arg("--no-migrate")
        .unready()
        .start()
        .await;
    let told = || async {
        let read = app.get(&policy_path("t")).await;
        let write = app.put(&policy_path("t"), &version(2)).await;
        let both = [&read, &write].map(|reply| reply.json["code"] == "origin-read-only");
        let ready = app.get("/readyz").await;
        let known = ready.status == 503 && ready.text.contains("it is a replica");
        holds(
            both == [true, true] && known,
            format!("{read:?} {write:?} {ready:?}"),
        )
    };
    eventually("it says that it is a replica", PATIENCE, told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_connections_is_no_outage() {
    let server = Postgres::start();
    let url = server.database();
    cli(["migrate", "--database-url", &url]).await.expect(0);
    server.sql(
        "test_0",
        "CREATE ROLE app LOGIN CONNECTION LIMIT 10; GRANT ordain_service TO app; \
         INSERT INTO policies SELECT 't' || n, '{\"defaultModel\":\"m1\",\"defaultProvider\":\"p\"}' \
         FROM generate_series(1, 600) n",
    );
    let start = App::builder()
        .postgres(&server.url("app", "test_0"))
        .arg("--no-migrate")
        .env("ORDAIN_ORIGIN_CONNECTIONS", "32")
        .env("ORDAIN_ORIGIN_DEADLINE", "2s")
        .env("ORDAIN_REQUEST_DEADLINE", "4s");
    let app = start.start().await;
    let asked = (1..=600).map(|n| {
        let app = &app;
        async move { app.resolve(&plain(&format!("t{n}"))).await }
    });
    let replies: Vec<_> = futures::stream::iter(asked)
        .buffer_unordered(64)
        .collect()
        .await;
    let failed: Vec<_> = replies.iter().filter(|reply| reply.status != 200).collect();
    assert!(
        failed.is_empty(),
        "{} failed, such as {:?}",
        failed.len(),
        failed[0]
    );
    // What has no connection of its own yet gets one of those that there are.
    app.get("/v1/tenants").await.expect(200);
    app.store("t1", &version(7)).await;
    let metrics = app.get("/metrics").await.expect(200).text;
    assert!(
        metrics.contains("ordain_breaker_opened_total{tier=\"origin\"} 0"),
        "{metrics}"
    );
    let log = app.log();
    assert_eq!(log.matches("gives no more connections").count(), 1, "{log}");
    app.get("/readyz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_whose_database_cannot_be_reached_ends_soon_and_says_so() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = format!(
        "postgres://u:s3cret@{}/d",
        silent.local_addr().expect("bound")
    );
    let places = [
        &*silent,
        "postgres://u:s3cret@nowhere.invalid/d",
        "postgres://u:s3cret@127.0.0.1:1/d",
        "postgres://u:s3cret@127.0.0.1:1,nowhere.invalid:7/d",
        // Routed nowhere (RFC 5737).
        "postgres://u:s3cret@192.0.2.1/d",
    ];
    let commands: [&[&str]; 6] = [
        &["policy", "list"],
        &["policy", "get", "t"],
        &["config", "get"],
        &["caches"],
        &["purge"],
        &["component", "status"],
    ];
    let runs = places
        .iter()
        .flat_map(|place| commands.map(|command| (*place, command)));
    futures::stream::iter(runs)
        .for_each_concurrent(4, |(place, command)| async move {
            let began = Instant::now();
            let args = command.iter().copied().chain(["--database-url", place]);
            let ended = cli(args).await.expect(1);
            let took = began.elapsed();
            assert!(
                took < Duration::from_secs(10),
                "{command:?} {place}: {took:?}"
            );
            assert!(
                ended.stderr.contains("cannot reach the database"),
                "{ended:?}"
            );
            assert!(!ended.all().contains("s3cret"), "{ended:?}");
        })
        .await;
}

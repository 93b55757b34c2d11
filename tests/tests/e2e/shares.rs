//! What one tenant can take from the others: time of those who wait, room in near and in Redis,
//! connections for pages. How all of it feels to a quiet neighbour is in the tests of noisy
//! tenants.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ordain_tests::app::App;
use ordain_tests::http::{history_path, policy_path};
use ordain_tests::tokens::{self, reader, resolver_of};
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::{Map, Value, json};

use crate::support::{
    Deployment, caught_up, database, plain, psql, redis_cli, through_proxy, version,
};

/// Of the year 2255.
const FAR_FUTURE: u64 = 9_000_000_000_000_000;

#[tokio::test]
async fn a_revision_that_cannot_have_been_written_is_refused_without_waiting_or_asking() {
    let (proxy, url) = through_proxy(&database().await).await;
    // Longer than anything on this machine: whoever waits for the feed is found out.
    let app = App::builder()
        .postgres(&url)
        .env("ORDAIN_MIN_REVISION_WAIT", "700ms")
        .start()
        .await;
    let revision = app.store("t", &version(1)).await;
    caught_up(&app, revision).await;
    let asked = proxy.watch("unheard-of");
    let demand = FAR_FUTURE.to_string();
    for path in [
        policy_path("unheard-of"),
        history_path("unheard-of"),
        "/v1/tenants/unheard-of/config?user=ann".to_owned(),
        "/v1/tenants/unheard-of/config/own".to_owned(),
        "/v1/tenants".to_owned(),
    ] {
        let start = Instant::now();
        let call = app
            .call("GET", &path)
            .header("ordain-min-revision", &demand);
        call.send().await.problem(409, "revision-unknown");
        assert!(start.elapsed() < Duration::from_millis(600), "{path}");
    }
    let request = json!({"tenant": "unheard-of", "minRevision": FAR_FUTURE});
    let start = Instant::now();
    app.resolve(&request).await.problem(409, "revision-unknown");
    let batch = app.resolve(&json!([request, plain("t")])).await.expect(200);
    assert_eq!(batch.json[0]["problem"]["code"], "revision-unknown");
    assert_eq!(batch.json[1]["model"], "m1");
    assert!(start.elapsed() < Duration::from_millis(600));
    assert_eq!(asked.get(), 0, "the origin was asked");
    // One that may be on its way is waited for.
    let start = Instant::now();
    let soon = json!({"tenant": "t", "minRevision": revision + 10_000_000});
    app.resolve(&soon).await.problem(409, "revision-unknown");
    assert!(start.elapsed() >= Duration::from_millis(600));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_revision_keeps_nobody_from_a_history() {
    let app = App::builder()
        .postgres(&database().await)
        .env("ORDAIN_MIN_REVISION_WAIT", "700ms")
        .start()
        .await;
    let revision = app.store("quiet", &version(1)).await;
    caught_up(&app, revision).await;
    let soon = (revision + 20_000_000).to_string();
    let waiting = (0..6).map(|n| {
        let path = history_path(&format!("noisy-{n}"));
        let call = app.call("GET", &path).header("ordain-min-revision", &soon);
        tokio::spawn(async move { call.send().await })
    });
    let waiting: Vec<_> = waiting.collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    app.get(&history_path("quiet")).await.expect(200);
    assert!(waiting.iter().any(|call| !call.is_finished()));
    for call in waiting {
        let reply = call.await.expect("no panic");
        reply.problem(409, "revision-unknown");
    }
}

#[tokio::test]
async fn a_page_of_history_has_a_mebibyte_at_most_and_the_rest_follows() {
    for app in [
        App::memory().await,
        App::builder().postgres(&database().await).start().await,
    ] {
        let user = |n: usize| (format!("user-{n:05}"), json!({"egressMode": "report-only"}));
        let mut record = version(1);
        record["userPolicies"] = (0..4500).map(user).collect::<Map<_, _>>().into();
        let mut stored = Vec::new();
        for _ in 0..12 {
            stored.insert(0, app.store("t", &record).await);
        }
        let path = format!("{}?limit=500", history_path("t"));
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = app.get(&format!("{path}{cursor}")).await.expect(200);
            assert!(page.text.len() <= (1 << 20) + 4096, "{}", page.text.len());
            let items = page.json["items"].as_array().expect("items");
            assert!(!items.is_empty());
            seen.extend(items.iter().filter_map(|item| item["revision"].as_u64()));
            match page.json["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, stored);
    }
}

/// Policies of many tenants, each of which takes a while to read.
const SLOW: &str = "INSERT INTO policies SELECT t, '{\"defaultModel\":\"m1\",\"defaultProvider\":\"p\"}' \
     FROM (SELECT 't' || n FROM generate_series(0, 319) n \
           UNION ALL SELECT 'm' || n FROM generate_series(0, 4999) n) AS tenants (t); \
     ALTER POLICY own_tenant ON policies USING \
     (tenant = current_setting('ordain.tenant', true) AND pg_sleep(0.1)::text = '')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_for_few_connections_is_answered_one_by_one_and_nobody_is_turned_away_for_it() {
    let url = database().await;
    let app = App::builder().postgres(&url);
    let app = app.env("ORDAIN_ORIGIN_CONNECTIONS", "2").start().await;
    let slow = sqlx::raw_sql(SLOW).execute(&mut psql(&url).await).await;
    slow.expect("a slow database");
    // Twenty a second are answered, of whom ten within the deadline of the origin.
    let calls = (0..100).map(|n| {
        let app = app.with(&tokens::admin());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20 * n)).await;
            app.resolve(&plain(&format!("t{n}"))).await.status
        })
    });
    let mut answered = 0;
    for call in calls.collect::<Vec<_>>() {
        answered += usize::from(call.await.expect("no panic") == 200);
    }
    assert!(answered >= 15, "{answered} answers");
    let metrics = app.get("/metrics").await.expect(200).text;
    let opened = "ordain_breaker_opened_total{tier=\"origin\"} 0";
    assert!(metrics.contains(opened), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_makes_up_tenants_leaves_connections_and_turns_to_others() {
    let url = database().await;
    let app = App::builder().postgres(&url);
    let app = app.env("ORDAIN_ORIGIN_CONNECTIONS", "8").start().await;
    let slow = sqlx::raw_sql(SLOW).execute(&mut psql(&url).await).await;
    slow.expect("a slow database");
    // Eighty reads a second, of which this wants some thousand, one by one and in batches.
    let noisy = app.with(&resolver_of("noisy"));
    let asked = Arc::new(AtomicUsize::new(0));
    let mut noise = tokio::task::JoinSet::new();
    for n in 0..60 {
        let (noisy, asked) = (noisy.clone(), asked.clone());
        noise.spawn(async move {
            loop {
                let next = |_| plain(&format!("m{}", asked.fetch_add(1, Ordering::Relaxed)));
                match n % 4 {
                    0 => noisy.resolve(&Value::from_iter((0..20).map(next))).await,
                    _ => noisy.resolve(&next(0)).await,
                };
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }
    let crowded = || async {
        let waiting = app.get("/readyz").await.json["waiting"]["used"].as_u64();
        holds(waiting > Some(50), format!("{waiting:?} wait"))
    };
    eventually("a crowd", PATIENCE, crowded).await;
    let quiet = app.with(&resolver_of("quiet"));
    for n in 0..20 {
        let one = quiet.resolve(&plain(&format!("t{n}"))).await.expect(200);
        assert_eq!(one.json["model"], "m1");
        let own = format!("t{}", 20 + n);
        let own = app.with(&reader(&own)).resolve(&plain(&own)).await;
        assert_eq!(own.expect(200).json["model"], "m1");
    }
    let batch = Value::from_iter((40..50).map(|n| plain(&format!("t{n}"))));
    let answers = quiet.resolve(&batch).await.expect(200).json;
    let answers = answers.as_array().expect("a list");
    assert!(
        answers.iter().all(|answer| answer["model"] == "m1"),
        "{answers:?}"
    );
}

/// Statements on policies that the database is at.
async fn reads_under_way(database: &mut sqlx::PgConnection) -> i64 {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                 AND state = 'active' AND query LIKE '%FROM \"ordain\".policies%' AND pid <> pg_backend_pid()";
    let count = sqlx::query_scalar(count).fetch_one(database).await;
    count.expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_batches_read_no_more_at_once_than_one() {
    let url = database().await;
    let app = App::builder()
        .postgres(&url)
        .env("ORDAIN_ORIGIN_CONNECTIONS", "64")
        .env("ORDAIN_ORIGIN_DEADLINE", "5s")
        .env("ORDAIN_REQUEST_DEADLINE", "10s")
        .start()
        .await;
    let mut database = psql(&url).await;
    let slow = sqlx::raw_sql(SLOW).execute(&mut database).await;
    slow.expect("a slow database");
    let batches = (0..4).map(|batch| {
        let tenants = (batch * 80..(batch + 1) * 80).map(|n| plain(&format!("t{n}")));
        let (app, batch) = (app.with(&tokens::admin()), Value::from_iter(tenants));
        tokio::spawn(async move { app.resolve(&batch).await.expect(200).json })
    });
    let batches: Vec<_> = batches.collect();
    let mut most = 0;
    while !batches.iter().all(|batch| batch.is_finished()) {
        most = most.max(reads_under_way(&mut database).await);
    }
    for batch in batches {
        let answers = batch.await.expect("no panic");
        let answers = answers.as_array().expect("a list").clone();
        assert!(answers.iter().all(|answer| answer["model"] == "m1"));
    }
    assert!((8..=32).contains(&most), "{most} reads at once");
}

#[tokio::test]
async fn users_that_are_made_up_push_nobody_out_and_do_not_fill_redis() {
    let deployment = Deployment::start().await;
    let app = deployment.instance("one").start().await;
    let revision = app.store("quiet", &version(1)).await;
    caught_up(&app, revision).await;
    let users: Vec<String> = (0..20)
        .map(|n| format!("/v1/tenants/quiet/config?user=u{n}"))
        .collect();
    for path in &users {
        app.get(path).await.expect(200);
    }
    let noisy = app.with(&reader("noisy"));
    let paths = (0..3000).map(|n| format!("/v1/tenants/noisy/config?user=invented-{n}"));
    let calls = paths.map(|path| {
        let noisy = noisy.clone();
        async move { drop(noisy.get(&path).await) }
    });
    use futures::StreamExt;
    let mut calls = futures::stream::iter(calls).buffer_unordered(16);
    while calls.next().await.is_some() {}
    let entries = app.get("/v1/caches").await.expect(200).json["near"]["entries"].clone();
    assert!(entries.as_u64().is_some_and(|n| n < 1200), "{entries}");
    let mut redis = redis_cli(&deployment.redis.url()).await;
    let keys: u64 = redis::cmd("DBSIZE")
        .query_async(&mut redis)
        .await
        .expect("DBSIZE");
    assert!(keys < 1200, "{keys} keys");
    for path in &users {
        let answer: Value = app.get(path).await.expect(200).json;
        assert_eq!(answer["provenance"]["tier"], "near", "{path}");
    }
}

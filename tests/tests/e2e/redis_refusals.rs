//! A Redis that answers and takes no values, and one whose place another server has taken, during
//! traffic.

use std::time::{Duration, Instant};

use ordain_tests::app::App;
use ordain_tests::odd_redis::OddRedis;
use ordain_tests::proxy::{Proxy, Upstream};
use ordain_tests::services::{Redis, Sentinels};
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::Value;

use crate::support::{
    REQUEST_DEADLINE, SLACK, caught_up, database, far_key, model, plain, redis_cli, version,
};

const TAKES_NONE: &str = "takes no values";
const TAKES_AGAIN: &str = "takes values again";

/// All look-ups go past memory.
async fn start(url: &str) -> App {
    App::builder()
        .postgres(&database().await)
        .redis(url)
        .env("ORDAIN_CACHE_NEAR", "off")
        .env("ORDAIN_FAR_DEADLINE", "400ms")
        .start()
        .await
}

/// One request, which must be right and over within the request's deadline.
async fn answered(app: &App, tenant: &str, number: usize) -> String {
    let start = Instant::now();
    let reply = app.resolve(&plain(tenant)).await.expect(200);
    let took = start.elapsed();
    assert!(took <= REQUEST_DEADLINE + SLACK, "{took:?}: {reply:?}");
    assert_eq!(model(&reply.json), format!("m{number}"));
    reply.tier().to_owned()
}

/// Stores policies, the models of which are their numbers.
async fn stored(app: &App, prefix: &str, count: usize) {
    let mut revision = 0;
    for number in 0..count {
        let tenant = format!("{prefix}-{number}");
        revision = app.store(&tenant, &version(number)).await;
    }
    caught_up(app, revision).await;
}

async fn put_into_far(app: &App, tenant: &str, number: usize) {
    let ask = || async {
        let tier = answered(app, tenant, number).await;
        holds(tier == "far", tier)
    };
    eventually("far answers", PATIENCE, ask).await;
}

async fn far(app: &App) -> (Value, Value) {
    let ready = app.get("/readyz").await.expect(200).json;
    let far = ready["dependencies"]["far"].clone();
    (ready["status"].clone(), far)
}

async fn metric(app: &App, name: &str) -> f64 {
    let metrics = app.get("/metrics").await.expect(200).text;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no {name}"));
    line.trim().parse().expect("a number")
}

fn said(app: &App, words: &str) -> usize {
    app.log()
        .lines()
        .filter(|line| line.contains(words))
        .count()
}

/// Warnings of any kind about far.
fn warned(app: &App) -> Vec<String> {
    let log = app.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("WARN") && line.contains("far"));
    // Of the start.
    let lines = lines.filter(|line| !line.contains("ORDAIN_FAR_KEY"));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn refused_writes_of_each_kind_are_degraded_with_one_warning_and_reads_go_on() {
    let redis = Redis::start_told("--repl-diskless-sync-delay 0");
    let app = start(&redis.tcp_url()).await;
    stored(&app, "held", 1).await;
    put_into_far(&app, "held-0", 0).await;
    assert_eq!(far(&app).await.0, "ready");
    for (round, (begin, code, kind, end)) in [
        (
            "REPLICAOF 127.0.0.1 1",
            "READONLY",
            "it is a replica",
            "REPLICAOF NO ONE",
        ),
        (
            "CONFIG SET maxmemory 1",
            "OOM",
            "its memory is full",
            "CONFIG SET maxmemory 0",
        ),
        (
            "ACL SETUSER default -eval -evalsha",
            "NOPERM",
            "its user may not do what is needed",
            "ACL SETUSER default +eval +evalsha",
        ),
        (
            "CONFIG SET min-replicas-to-write 1",
            "NOREPLICAS",
            "too few replicas follow it",
            "CONFIG SET min-replicas-to-write 0",
        ),
        (
            "CLIENT PAUSE 1000000 WRITE",
            "answer",
            "it did not answer in time",
            "CLIENT UNPAUSE",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let prefix = format!("new-{round}");
        stored(&app, &prefix, 20).await;
        redis.run(begin);
        for number in 0..20 {
            let tier = answered(&app, &format!("{prefix}-{number}"), number).await;
            assert_eq!(tier, "origin");
        }
        let degraded = || async {
            let (status, far) = far(&app).await;
            holds(status == "degraded" && far["state"] == "degraded", far)
        };
        eventually(code, PATIENCE, degraded).await;
        let (_, shown) = far(&app).await;
        assert_eq!(
            (&shown["error"], &shown["writes"]["error"]),
            (&kind.into(), &kind.into())
        );
        assert_eq!(shown["breaker"]["open"], false, "{shown}");
        assert_eq!(shown["writes"]["breaker"]["open"], true, "{shown}");
        assert!(!shown.to_string().contains("127.0.0.1"), "{shown}");
        let all = app.get("/v1/caches").await.expect(200).json;
        let all = all["dependencies"]["far"]["error"].to_string();
        assert!(all.contains(code), "{all}");
        assert_eq!(
            metric(&app, "ordain_breaker_open{tier=\"far-write\"}").await,
            1.0
        );
        assert_eq!(metric(&app, "ordain_breaker_open{tier=\"far\"}").await, 0.0);
        // Reads go on, for as long as it lasts.
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            assert_eq!(answered(&app, "held-0", 0).await, "far");
            answered(&app, &format!("{prefix}-0"), 0).await;
        }
        assert_eq!(
            said(&app, TAKES_NONE),
            round + 1,
            "{code}: one line for each outage"
        );

        redis.run(end);
        let over = || async {
            let (status, far) = far(&app).await;
            holds(
                status == "ready" && said(&app, TAKES_AGAIN) == round + 1,
                far,
            )
        };
        eventually("it is over", PATIENCE, over).await;
        put_into_far(&app, &format!("{prefix}-1"), 1).await;
        assert_eq!(said(&app, TAKES_NONE), round + 1, "{code}: it is over");
    }
    assert_eq!(warned(&app).len(), 5, "{:?}", warned(&app));
}

#[tokio::test]
async fn while_writes_are_refused_nothing_is_put_and_no_look_up_is_made_for_that() {
    let redis = Redis::start_told("--repl-diskless-sync-delay 0");
    let proxy = Proxy::start(upstream(&redis)).await;
    let app = start(&format!("redis://127.0.0.1:{}", proxy.port())).await;
    stored(&app, "new", 100).await;
    redis.run("REPLICAOF 127.0.0.1 1");
    let open = || async {
        answered(&app, "new-0", 0).await;
        let (_, far) = far(&app).await;
        holds(far["state"] == "degraded", far)
    };
    eventually("degraded", PATIENCE, open).await;
    let (gets, puts) = (proxy.watch("\r\nGET\r\n"), proxy.watch("\r\nEVALSHA\r\n"));
    let start = Instant::now();
    for number in 0..100 {
        answered(&app, &format!("new-{number}"), number).await;
    }
    assert_eq!(gets.get(), 100, "one look-up for each request");
    // The probe: every 250 to 500 ms once it has been in vain a few times.
    let probes = start.elapsed().as_millis() / 25 + 5;
    assert!((puts.get() as u128) < probes.min(60), "{} puts", puts.get());
}

fn upstream(redis: &Redis) -> Upstream {
    Upstream::Tcp(format!("127.0.0.1:{}", redis.port()))
}

#[tokio::test]
async fn a_redis_that_lacks_eval_is_named_at_the_first_put_and_costs_no_answer() {
    let redis =
        Redis::start_told("--rename-command EVAL nobodys --rename-command EVALSHA nobodys2");
    let app = start(&redis.tcp_url()).await;
    stored(&app, "new", 20).await;
    let degraded = || async {
        for number in 0..20 {
            answered(&app, &format!("new-{number}"), number).await;
        }
        let (status, far) = far(&app).await;
        let reason = "it lacks a command that is needed";
        holds(status == "degraded" && far["error"] == reason, far)
    };
    eventually("degraded", PATIENCE, degraded).await;
    assert_eq!(warned(&app).len(), 1, "{:?}", warned(&app));
    let named = app.log().contains("unknown command 'EVALSHA'");
    assert!(named, "{}", app.log());
    assert!(!app.log().contains("GETRANGE"), "the script in the log");
    let shown = app.get("/v1/caches").await.expect(200).text;
    assert!(shown.contains("unknown command 'EVALSHA'"), "{shown}");
}

#[tokio::test]
async fn reads_that_are_refused_are_one_outage_with_one_warning_too() {
    let redis = Redis::start_told("--repl-diskless-sync-delay 0");
    let app = start(&redis.tcp_url()).await;
    stored(&app, "new", 20).await;
    put_into_far(&app, "new-0", 0).await;
    redis.run("ACL SETUSER default -@all +info +acl +config");
    let down = || async {
        for number in 0..20 {
            answered(&app, &format!("new-{number}"), number).await;
        }
        let (status, far) = far(&app).await;
        holds(status == "degraded" && far["state"] == "down", far)
    };
    eventually("down", PATIENCE, down).await;
    let (_, shown) = far(&app).await;
    assert_eq!(shown["error"], "its user may not do what is needed");
    assert_eq!(metric(&app, "ordain_breaker_open{tier=\"far\"}").await, 1.0);
    let told = || async { holds(warned(&app).len() == 1, format!("{:?}", warned(&app))) };
    eventually("one warning", PATIENCE, told).await;
    redis.run("ACL SETUSER default +@all");
    put_into_far(&app, "new-0", 0).await;
    let over = || async { holds(said(&app, "answers again") == 1, app.log()) };
    eventually("one line when it is over", PATIENCE, over).await;
    assert_eq!(warned(&app).len(), 1, "{:?}", warned(&app));
}

#[tokio::test]
async fn a_failover_behind_a_name_ends_with_writes_to_the_new_primary() {
    let first = Redis::start_told("--repl-diskless-sync-delay 0");
    let second = Redis::start_told(&format!("--replicaof 127.0.0.1 {}", first.port()));
    second.wait_following();
    let proxy = Proxy::start(upstream(&first)).await;
    let app = start(&format!("redis://127.0.0.1:{}", proxy.port())).await;
    stored(&app, "some", 20).await;
    put_into_far(&app, "some-0", 0).await;

    second.run("REPLICAOF NO ONE");
    first.run(&format!("REPLICAOF 127.0.0.1 {}", second.port()));
    let degraded = || async {
        answered(&app, "some-1", 1).await;
        let (_, far) = far(&app).await;
        holds(far["error"] == "it is a replica", far)
    };
    eventually("degraded", PATIENCE, degraded).await;
    assert_eq!(answered(&app, "some-0", 0).await, "far", "reads go on");
    // The connection that exists lives on.
    proxy.switch(upstream(&second));
    let ready = || async {
        for number in 0..20 {
            answered(&app, &format!("some-{number}"), number).await;
        }
        let (status, far) = far(&app).await;
        holds(status == "ready", far)
    };
    eventually("writes go on", PATIENCE, ready).await;
    put_into_far(&app, "some-19", 19).await;
    far_key(&mut redis_cli(&second.url()).await, "some-19").await;
    assert!(second.is("master"));
    let over = || async { holds(said(&app, TAKES_AGAIN) == 1, app.log()) };
    eventually("it is over", PATIENCE, over).await;
    assert_eq!(warned(&app).len(), 1, "{:?}", warned(&app));
}

/// Traffic until far is used again by the server that is the primary now: no request fails, none is
/// wrong, none takes longer than its deadline.
async fn carried_on(app: &App, redis: &Redis, prefix: &str) {
    stored(app, prefix, 5).await;
    let put = || async {
        for number in 0..5 {
            answered(app, &format!("{prefix}-{number}"), number).await;
        }
        let mut keys = redis::cmd("KEYS");
        let keys = keys.arg(format!("*:{prefix}-4:*"));
        let client = redis::Client::open(redis.url()).expect("a proper URL");
        let there = client
            .get_connection()
            .and_then(|mut at| keys.query(&mut at));
        let there: Vec<String> = there.unwrap_or_default();
        holds(!there.is_empty(), "not put there")
    };
    eventually("the new primary is used", PATIENCE, put).await;
    let ready = || async {
        let (status, far) = far(app).await;
        holds(status == "ready", far)
    };
    eventually("ready", PATIENCE, ready).await;
}

#[tokio::test]
async fn failovers_by_sentinels_cost_no_answer_and_are_followed() {
    let sentinels = Sentinels::start();
    let [first, second] = &sentinels.servers;
    let app = start(&sentinels.url()).await;
    carried_on(&app, first, "before").await;
    sentinels.fail_over();
    sentinels.wait_primary(1);
    carried_on(&app, second, "ordered").await;
    first.wait_following();
    // A sentinel hangs, and then the primary dies.
    sentinels.freeze_sentinel(0);
    second.stop();
    carried_on(&app, first, "died").await;
    assert!(first.is("master"));
    let shown = app.get("/v1/caches").await.expect(200).text;
    assert!(
        shown.contains("primary mymaster by the sentinels"),
        "{shown}"
    );
}

/// Answers that a client must bear, whatever it asked: errors, what belongs to other commands, what
/// no server should say, and the half of an answer. `None`: it hangs up.
const ODDITIES: [Option<&str>; 24] = [
    Some("-LOADING Redis is loading the dataset in memory\r\n"),
    Some("-READONLY You can't write against a read only replica.\r\n"),
    Some("-NOAUTH Authentication required.\r\n"),
    Some("-MOVED 1 127.0.0.1:1\r\n"),
    Some("-MOVED\r\n"),
    Some("-ASK 1 :0\r\n"),
    Some("-\r\n"),
    Some("-ERR \u{fffd}\u{1f980}\r\n"),
    Some("+OK\r\n"),
    Some("+\r\n"),
    Some(":-9223372036854775808\r\n"),
    Some("$-1\r\n"),
    Some("$0\r\n\r\n"),
    Some("$3\r\nfoo\r\n"),
    Some("$62\r\no1000000000000000000420000000000000000000000000000000000000000\r\n"),
    Some("$-2\r\n"),
    Some("$99999999999999999999\r\n"),
    Some("$5\r\nab"),
    Some("*2\r\n+a\r\n"),
    Some("*-1\r\n"),
    Some("%1\r\n+a\r\n+b\r\n"),
    Some(">2\r\n+invalidate\r\n*0\r\n"),
    Some("HTTP/1.1 400 Bad Request\r\n\r\n"),
    None,
];

#[tokio::test]
async fn whatever_redis_answers_no_request_fails_and_none_is_answered_wrongly() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let redis = OddRedis::start(move |_, command| {
        let number = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let greets = command[0] == "PING";
        let answer = match greets {
            true => Some("+PONG\r\n"),
            // Each follows on each.
            false => ODDITIES[number * 7 % 24].filter(|_| !number.is_multiple_of(5)),
        };
        answer.map(str::to_owned)
    })
    .await;
    let app = start(&redis.url()).await;
    stored(&app, "some", 10).await;
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed() < Duration::from_secs(4) || rounds < 10 {
        for number in 0..10 {
            answered(&app, &format!("some-{number}"), number).await;
        }
        rounds += 1;
    }
    app.get("/readyz").await.expect(200);
    app.get("/v1/caches").await.expect(200);
    assert!(redis.connections() > 1, "it was asked");
    assert!(!app.log().contains("panicked"), "{}", app.log());
}

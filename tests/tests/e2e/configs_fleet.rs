//! Configs on several instances: a write for everybody under load, servers that stand still,
//! switches, and what a read costs the servers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use futures::future::join_all;
use ordain_tests::app::App;
use ordain_tests::http::Client;
use ordain_tests::services::Postgres;
use ordain_tests::wait::{PATIENCE, eventually};
use serde_json::json;

use crate::support::configs::{Level, effective, set, warm};
use crate::support::{BOUND, Deployment, SLACK, policy, warm as warm_policy};

fn count(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |count| count.trim().parse().expect("a count"))
}

async fn calls(app: &App, tier: &str, call: &str) -> u64 {
    let metrics = app.get("/metrics").await.expect(200).text;
    let name = format!("ordain_tier_calls_total{{tier=\"{tier}\",call=\"{call}\"}}");
    count(&metrics, &name)
}

#[tokio::test]
async fn a_write_for_everybody_reaches_every_user_on_every_instance_under_load() {
    let deployment = Deployment::start().await;
    // What is judged is which answer comes, not whether a busy machine gives one in time.
    let names = ["one", "two", "three"].map(|name| {
        let patient = deployment
            .patient(name)
            .env("ORDAIN_ORIGIN_DEADLINE", "10s");
        patient.env("ORDAIN_REQUEST_DEADLINE", "20s").start()
    });
    let apps = join_all(names).await;
    let people: Vec<(String, String)> = (0..15)
        .flat_map(|tenant| (0..8).map(move |user| (format!("t{tenant}"), format!("u{user}"))))
        .collect();
    set(&apps[0], Level::Global, &json!({"mergeMaxMessages": 1})).await;
    for (number, (tenant, user)) in people.iter().enumerate().step_by(3) {
        let fields = json!({"pathMaxMessages": number + 1});
        set(&apps[number % 3], Level::User(tenant, user), &fields).await;
    }
    for app in &apps {
        for (tenant, user) in &people {
            effective(app, tenant, Some(user), 0).await.expect(200);
        }
    }
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let load = apps.iter().map(|app| {
        let (stop, asked, people) = (&stop, &asked, &people);
        let client: Client = (**app).clone();
        async move {
            let mut turn = people.iter().cycle();
            while let Some((tenant, user)) = turn.next()
                && !stop.load(Ordering::Relaxed)
            {
                effective(&client, tenant, Some(user), 0).await.expect(200);
                asked.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let writes = async {
        for number in 2..8_u64 {
            let level = Level::Global;
            let revision = set(
                &apps[number as usize % 3],
                level,
                &json!({"mergeMaxMessages": number}),
            )
            .await;
            let written = Instant::now();
            for app in &apps {
                for (tenant, user) in people.iter().step_by(7) {
                    let answer = effective(app, tenant, Some(user), revision)
                        .await
                        .expect(200);
                    assert_eq!(
                        answer.json["config"]["mergeMaxMessages"], number,
                        "a demand is obeyed"
                    );
                }
            }
            // Without a demand: whoever asks a bound later gets it, on each instance.
            let rest = (BOUND + SLACK).saturating_sub(written.elapsed());
            tokio::time::sleep(rest).await;
            let all = apps
                .iter()
                .flat_map(|app| people.iter().map(move |who| (app, who)));
            for (app, (tenant, user)) in all {
                let answer = effective(app, tenant, Some(user), 0).await.expect(200);
                assert_eq!(
                    answer.json["config"]["mergeMaxMessages"], number,
                    "{tenant} {user}"
                );
                assert_eq!(answer.json["levels"]["mergeMaxMessages"], "global");
            }
        }
        stop.store(true, Ordering::Relaxed);
    };
    futures::join!(join_all(load), writes);
    assert!(asked.load(Ordering::Relaxed) > 500);
}

#[tokio::test]
async fn all_levels_cost_one_round_trip_to_far_and_one_statement() {
    let deployment = Deployment::start().await;
    let one = deployment.patient("one").start().await;
    let revision = set(&one, Level::Global, &json!({"mergeMaxMessages": 2})).await;
    effective(&one, "a", Some("warm-up"), revision)
        .await
        .expect(200);
    let before = (
        calls(&one, "far", "get").await,
        calls(&one, "origin", "read").await,
    );
    let first = effective(&one, "a", Some("ann"), 0).await.expect(200);
    assert_eq!(first.tier(), "origin");
    let after = (
        calls(&one, "far", "get").await,
        calls(&one, "origin", "read").await,
    );
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 1));
    // A user who has set nothing is known to have set nothing.
    warm(&one, "a", Some("ann")).await;
    let reads = calls(&one, "origin", "read").await;
    for _ in 0..10 {
        assert_eq!(
            effective(&one, "a", Some("ann"), 0)
                .await
                .expect(200)
                .tier(),
            "near"
        );
    }
    assert_eq!(calls(&one, "origin", "read").await, reads);

    // An instance that starts later finds all three in far.
    let two = deployment.patient("two").start().await;
    let first = effective(&two, "a", Some("ann"), revision)
        .await
        .expect(200);
    assert_eq!(first.tier(), "far");
    assert_eq!(calls(&two, "origin", "read").await, 0);
}

#[tokio::test]
async fn while_postgres_stands_still_configs_are_answered_and_say_that_they_are_stale() {
    let postgres = Postgres::start();
    let app = App::builder().postgres(&postgres.database()).start().await;
    let revision = set(&app, Level::Tenant("a"), &json!({"mergeMaxMessages": 7})).await;
    effective(&app, "a", Some("ann"), revision)
        .await
        .expect(200);
    warm(&app, "a", Some("ann")).await;
    postgres.stop_signal();
    let stale = || async {
        let reply = effective(&app, "a", Some("ann"), 0).await.expect(200);
        assert_eq!(reply.json["config"]["mergeMaxMessages"], 7);
        match reply.json["provenance"]["stale"] == true {
            true => Ok(()),
            false => Err(reply),
        }
    };
    eventually("a stale answer", PATIENCE, stale).await;
    let unknown = effective(&app, "a", Some("nobody-knows"), 0).await;
    unknown.problem(503, "unavailable");
    let write = app
        .call("PATCH", &Level::Global.path())
        .json(&json!({"mergeMaxMessages": 1}));
    assert_eq!(write.send().await.status, 503);
    postgres.cont();
    let fresh = || async {
        let reply = effective(&app, "a", Some("ann"), 0).await.expect(200);
        match reply.json["provenance"]["stale"] == false {
            true => Ok(()),
            false => Err(reply),
        }
    };
    eventually("a fresh answer", PATIENCE, fresh).await;
}

#[tokio::test]
async fn each_kind_has_a_switch_of_its_own() {
    let deployment = Deployment::start().await;
    let app = deployment
        .patient("one")
        .env("ORDAIN_CACHE_CONFIG", "off")
        .start()
        .await;
    app.store("a", &policy("openai", "m")).await;
    warm_policy(&app, "a").await;
    for _ in 0..3 {
        assert_eq!(
            effective(&app, "a", Some("ann"), 0)
                .await
                .expect(200)
                .tier(),
            "origin"
        );
    }
    let caches = app.get("/v1/caches").await.expect(200).json;
    let shown: Vec<_> = caches["caches"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|cache| {
            let text = |name: &str| cache[name].as_str().unwrap_or_default().to_owned();
            (
                text("kind"),
                text("tier"),
                cache["on"] == true,
                text("reason"),
            )
        })
        .collect();
    let row = |kind: &str, tier: &str, on, reason: &str| {
        (kind.to_owned(), tier.to_owned(), on, reason.to_owned())
    };
    let off = "ORDAIN_CACHE_CONFIG is off";
    assert_eq!(
        shown,
        [
            row("policy", "near", true, ""),
            row("policy", "far", true, ""),
            row("config", "near", false, off),
            row("config", "far", false, off),
        ]
    );
    // The other way round, while it runs.
    let switches = app
        .call("PATCH", "/v1/caches?local=true")
        .json(&json!({"config": true, "policy": false}));
    switches.send().await.expect(200);
    warm(&app, "a", Some("ann")).await;
    let answer = app.resolve(&json!({"tenant": "a"})).await.expect(200);
    assert_eq!(answer.tier(), "origin");
}

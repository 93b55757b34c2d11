//! Many policies by one call: what is told of each line, what a second run changes, and that others
//! write meanwhile.

use std::time::{Duration, Instant};

use ordain_tests::app::App;
use ordain_tests::http::{Client, Reply, history_path};
use ordain_tests::tokens::editor;
use serde_json::{Map, Value, json};

use crate::support::{database, model, plain, policy, version};

const PATH: &str = "/v1/policies/import";

fn line(tenant: &str, policy: &Value) -> String {
    format!("{}\n", json!({"tenant": tenant, "policy": policy}))
}

async fn import(client: &Client, path: &str, body: impl Into<Vec<u8>>) -> (Reply, Vec<Value>) {
    let call = client
        .call("POST", path)
        .header("content-type", "application/x-ndjson");
    let reply = call.body(body).send().await;
    let lines = reply.text.lines();
    let lines = lines
        .map(|line| serde_json::from_str(line).unwrap_or_default())
        .collect();
    (reply, lines)
}

#[tokio::test]
async fn lines_that_are_broken_are_told_and_the_others_are_stored() {
    for app in [
        App::memory().await,
        App::builder().postgres(&database().await).start().await,
    ] {
        let long = "x".repeat(400 << 10);
        let body = [
            // As some editors begin a file.
            format!("\u{feff}{}", line("a", &version(1))),
            "\n".to_owned(),
            "nonsense\n".to_owned(),
            line("..", &version(1)),
            line("b", &json!({"defaultProvider": "p", "x/y": 1})),
            format!("{{\"tenant\":\"long\",\"policy\":\"{long}\"}}\n"),
            // Without a line break at the end.
            line("c", &version(3)).trim_end().to_owned(),
        ]
        .concat();
        for (path, stored) in [(format!("{PATH}?dryRun=true"), 0), (PATH.to_owned(), 2)] {
            let (reply, lines) = import(&app, &path, body.clone()).await;
            assert_eq!(reply.status, 200, "{reply:?}");
            assert_eq!(reply.header("content-type"), "application/x-ndjson");
            let broken: Vec<_> = lines
                .iter()
                .filter_map(|line| line["line"].as_u64())
                .collect();
            assert_eq!(broken, [3, 4, 5, 6], "{reply:?}");
            assert_eq!(lines[2]["tenant"], "b");
            assert!(lines[2].to_string().contains("/x~1y"), "{reply:?}");
            let end = lines.last().expect("an end");
            assert_eq!(end["done"], true, "{reply:?}");
            assert_eq!(
                (&end["through"], &end["stored"], &end["broken"]),
                (&json!(7), &json!(stored), &json!(4))
            );
            let revision = end["revision"].as_u64().expect("a revision");
            let request = json!({"tenant": "c", "minRevision": revision});
            let answer = app.resolve(&request).await.expect(200);
            let expected = if stored == 0 {
                Value::Null
            } else {
                json!("m3")
            };
            assert_eq!(answer.json["model"], expected, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn what_is_told_of_broken_lines_is_bounded_however_long_their_faults_are() {
    let app = App::memory().await;
    // Each fault has the name of the user in it.
    let fields: Map<String, Value> = (0..20).map(|n| (format!("f{n}"), json!(n))).collect();
    let mut record = policy("openai", "m");
    record["userPolicies"] = json!({ "k".repeat(100 << 10): fields });
    let body = line("t", &record).repeat(30) + &line("good", &version(1));
    let (reply, lines) = import(&app, PATH, body).await;
    assert!(reply.text.len() < 6 << 20, "{}", reply.text.len());
    let told = lines.iter().filter(|line| line["errors"].is_array());
    assert!(told.count() >= 3);
    let end = lines.last().expect("an end");
    assert_eq!(
        (&end["done"], &end["stored"], &end["broken"]),
        (&json!(true), &json!(1), &json!(30))
    );
}

#[tokio::test]
async fn the_same_import_again_changes_nothing() {
    for app in [
        App::memory().await,
        App::builder().postgres(&database().await).start().await,
    ] {
        let body: String = (0..50)
            .map(|n| line(&format!("t{n}"), &version(n)))
            .collect();
        let (_, first) = import(&app, PATH, body.clone()).await;
        // As if it had stopped on the way: one line is new.
        let (_, second) = import(&app, PATH, body.clone() + &line("new", &version(1))).await;
        let (_, third) = import(&app, PATH, body).await;
        let counts = |lines: &[Value]| {
            let end = lines.last().expect("an end");
            [&end["stored"], &end["unchanged"]].map(Value::as_u64)
        };
        assert_eq!(counts(&first), [Some(50), Some(0)]);
        assert_eq!(counts(&second), [Some(1), Some(50)]);
        assert_eq!(counts(&third), [Some(0), Some(50)]);
        let end = |lines: &[Value]| lines.last().expect("an end")["revision"].clone();
        assert!(end(&second).as_u64() > end(&first).as_u64());
        assert_eq!(end(&third), end(&second));
        let history = app.get(&history_path("t7")).await.expect(200).json;
        assert_eq!(history["items"].as_array().map(Vec::len), Some(1));
    }
}

#[tokio::test]
async fn an_import_is_for_admins_and_says_what_it_takes() {
    let app = App::builder().env("ORDAIN_ENV", "test").start().await;
    let (reply, _) = import(&app.with(&editor("t")), PATH, line("t", &version(1))).await;
    reply.problem(403, "forbidden");
    let call = app.call("POST", PATH).header("content-type", "text/csv");
    let reply = call.body("t,1").send().await;
    reply.problem(415, "unsupported-media-type");
    app.get(PATH).await.error(405);
}

#[tokio::test]
async fn others_write_while_large_records_are_imported() {
    let app = App::builder().postgres(&database().await).start().await;
    // Valid, and as heavy as records come: many of them took the log's lock for seconds once.
    let users: Map<String, Value> = (0..4000)
        .map(|n| (format!("user-{n}"), json!({"egressMode": "report-only"})))
        .collect();
    let mut heavy = policy("openai", "m");
    heavy["userPolicies"] = users.into();
    let body: String = (0..80)
        .map(|n| line(&format!("heavy-{n}"), &heavy))
        .collect();
    assert!(body.len() > 10_000_000, "{}", body.len());
    let importer = app.with(&ordain_tests::tokens::admin());
    let importing = tokio::spawn(async move { import(&importer, PATH, body).await });
    let (mut writes, mut slowest) = (0, Duration::ZERO);
    while !importing.is_finished() {
        let start = Instant::now();
        app.store("other", &version(writes)).await;
        slowest = slowest.max(start.elapsed());
        writes += 1;
        // Another import has to wait, and is told so.
        if writes == 3 {
            let (reply, _) = import(&app, PATH, line("t", &version(1))).await;
            reply.problem(503, "busy");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (reply, lines) = importing.await.expect("no panic");
    assert_eq!(lines.last().expect("an end")["stored"], 80, "{reply:?}");
    assert!(
        writes > 5,
        "{writes} writes beside it, the slowest {slowest:?}"
    );
    assert_eq!(model(&app.resolve(&plain("heavy-79")).await.json), "m");
}

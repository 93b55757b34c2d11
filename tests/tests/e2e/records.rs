//! Stored records come back as they were given, in canonical form; what is no record at all is
//! turned away. Broken records are in `broken_records`.

use ordain_tests::app::App;
use ordain_tests::http::policy_path;
use serde_json::{Map, Value, json};

use crate::support::{database, plain};

/// A record and its canonical text (RFC 8785): members by UTF-16 code units, shortest numbers.
const ROUND_TRIPS: &[(&str, &str)] = &[
    (
        r#"{"defaultProvider":"p","defaultModel":"m"}"#,
        r#"{"defaultModel":"m","defaultProvider":"p"}"#,
    ),
    (
        r#" { "defaultProvider" : "p" , "defaultModel":"m", "tasks":[], "userPolicies":{}, "allowedModels":[] } "#,
        r#"{"allowedModels":[],"defaultModel":"m","defaultProvider":"p","tasks":[],"userPolicies":{}}"#,
    ),
    (
        r#"{"defaultProvider":"p","defaultModel":"m","allowRemoteEgress":true,"allowOffMode":false,"egressMode":"off"}"#,
        r#"{"allowOffMode":false,"allowRemoteEgress":true,"defaultModel":"m","defaultProvider":"p","egressMode":"off"}"#,
    ),
    (
        r#"{"defaultProvider":"p","defaultModel":"m","userPolicies":{"z":{},"a":{"egressMode":"report-only"}}}"#,
        r#"{"defaultModel":"m","defaultProvider":"p","userPolicies":{"a":{"egressMode":"report-only"},"z":{}}}"#,
    ),
    // Sorted by UTF-16 code units, U+1F600 comes before U+FB33; by bytes it would come after it.
    (
        "{\"defaultProvider\":\"p\",\"defaultModel\":\"m\",\"userPolicies\":{\"\u{fb33}\":{},\"\u{1f600}\":{},\"\u{e9}\":{}}}",
        "{\"defaultModel\":\"m\",\"defaultProvider\":\"p\",\"userPolicies\":{\"\u{e9}\":{},\"\u{1f600}\":{},\"\u{fb33}\":{}}}",
    ),
    (
        r#"{"defaultProvider":"p\/\u00e9\"\\","defaultModel":"\ud83d\ude00"}"#,
        "{\"defaultModel\":\"\u{1f600}\",\"defaultProvider\":\"p/\u{e9}\\\"\\\\\"}",
    ),
    (
        r#"{"defaultProvider":"p","defaultModel":"m","tasks":[{"task":"t","provider":"p","model":"m","temperature":1.0,"maxTokens":9007199254740991},{"task":"t","provider":"p","model":"n","temperature":2e-7}]}"#,
        r#"{"defaultModel":"m","defaultProvider":"p","tasks":[{"maxTokens":9007199254740991,"model":"m","provider":"p","task":"t","temperature":1},{"model":"n","provider":"p","task":"t","temperature":2e-7}]}"#,
    ),
    // Seventeen digits name one double each, and none may become its neighbour.
    (
        r#"{"defaultProvider":"p","defaultModel":"m","tasks":[{"task":"t","provider":"p","model":"m","temperature":0.30000000000000004},{"task":"t","provider":"p","model":"m","temperature":1.2345678901234567},{"task":"t","provider":"p","model":"m","temperature":0.11111111111111113}]}"#,
        r#"{"defaultModel":"m","defaultProvider":"p","tasks":[{"model":"m","provider":"p","task":"t","temperature":0.30000000000000004},{"model":"m","provider":"p","task":"t","temperature":1.2345678901234567},{"model":"m","provider":"p","task":"t","temperature":0.11111111111111113}]}"#,
    ),
];

async fn round_trips(app: &App) {
    let path = policy_path("t");
    for (given, canonical) in ROUND_TRIPS {
        let put = app.call("PUT", &path).text(*given).send().await;
        assert!(matches!(put.status, 200 | 201), "{given}: {put:?}");
        let got = app.get(&path).await.expect(200);
        assert_eq!(&got.text, canonical);
        assert_eq!(got.header("content-type"), "application/json");
        assert_eq!(got.header("etag"), format!("\"{}\"", put.revision()));
    }
}

#[tokio::test]
async fn records_come_back_as_given_in_canonical_form_from_postgres() {
    round_trips(&App::builder().postgres(&database().await).start().await).await;
}

#[tokio::test]
async fn records_come_back_as_given_in_canonical_form_from_memory() {
    round_trips(&App::memory().await).await;
}

#[tokio::test]
async fn what_is_no_json_is_a_400_and_nothing_is_stored() {
    let app = App::memory().await;
    let path = policy_path("t");
    let broken: &[&[u8]] = &[
        b"",
        b" ",
        b"{",
        b"}",
        b"{\"defaultProvider\":}",
        b"{'defaultProvider':'p'}",
        b"{\"a\":1}}",
        b"{\"a\":1} x",
        b"{\"a\":01}",
        b"{\"a\":NaN}",
        b"{\"a\":+1}",
        b"{\"a\":1,}",
        b"[1,]",
        b"{\"a\":\"\\x\"}",
        b"{\"a\":\"\n\"}",
        b"{\"a\":\"\\ud800\"}",
        b"{\"a\":\"\xff\"}",
        b"{\"a\":\"\xed\xa0\x80\"}",
        b"nul",
        b"// {}\n{}",
        b"\xef\xbb\xbf{",
        b"\xff\xfe{\0}\0",
    ];
    for body in broken {
        let reply = app.call("PUT", &path).text(*body).send().await;
        assert_eq!(
            reply.status,
            400,
            "{:?}: {reply:?}",
            String::from_utf8_lossy(body)
        );
        reply.error(400);
        let resolve = app.call("POST", "/v1/resolve").text(*body).send().await;
        // A lone surrogate is JSON by its grammar; in a request it stands in an unknown field.
        let expected: &[u16] = if body.ends_with(b"ud800\"}") {
            &[400, 422]
        } else {
            &[400]
        };
        assert!(
            expected.contains(&resolve.status),
            "{:?}: {resolve:?}",
            String::from_utf8_lossy(body)
        );
    }
    app.get(&path).await.error(404);
}

#[tokio::test]
async fn deep_nesting_is_turned_away_and_hurts_nobody() {
    let app = App::memory().await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = format!(r#"{{"defaultProvider":"p","defaultModel":"m","tasks":{deep}}}"#);
    for body in [&deep, &nested] {
        let reply = app
            .call("PUT", &policy_path("t"))
            .text(body.as_str())
            .send()
            .await;
        assert!(matches!(reply.status, 400 | 422), "{}", reply.status);
    }
    let resolve = async |body: &str| app.call("POST", "/v1/resolve").text(body).send().await;
    let reply = resolve(&nested).await;
    assert!(matches!(reply.status, 400 | 422), "{}", reply.status);
    // A list is a batch; this one has one item, which is no request.
    let reply = resolve(&deep).await;
    let of_the_item = &reply.json[0]["problem"]["status"];
    assert!(reply.status == 400 || of_the_item == 422, "{reply:?}");
    app.resolve(&plain("t")).await.expect(200);
}

/// A valid record of exactly so many bytes, in canonical form.
fn record_of(size: usize) -> String {
    let mut users = Map::new();
    let text = |users: &Map<String, Value>| {
        json!({"defaultModel": "m", "defaultProvider": "p", "userPolicies": users}).to_string()
    };
    let each = r#""000000000000000000000000000000":{},"#.len();
    let count = (size - text(&users).len()) / each - 20;
    for number in 0..count {
        users.insert(format!("{number:030}"), json!({}));
    }
    // One id after the other is filled up until the size is reached.
    let mut missing = size - text(&users).len();
    let mut number = count;
    while missing > 0 {
        // A member costs six bytes beside its id; leave nothing that is too little for another.
        let length = if missing > 128 + 6 + 20 {
            100
        } else if missing > 128 + 6 {
            missing - 6 - 20
        } else {
            missing - 6
        };
        users.insert(format!("{number:0length$}"), json!({}));
        missing = size - text(&users).len();
        number += 1;
    }
    text(&users)
}

async fn sizes(app: &App) {
    let limit = 256 * 1024;
    let path = policy_path("big");
    let largest = record_of(limit);
    assert_eq!(largest.len(), limit);
    app.call("PUT", &path)
        .text(largest.as_str())
        .send()
        .await
        .expect(201);
    assert_eq!(app.get(&path).await.expect(200).text.len(), limit);
    assert_eq!(
        app.resolve(&plain("big")).await.expect(200).json["allow"],
        true
    );
    assert_eq!(app.resolve(&plain("big")).await.expect(200).tier(), "near");

    app.call("PUT", &policy_path("bigger"))
        .text(record_of(limit + 1))
        .send()
        .await
        .error(413);
    let padded = format!("{largest} ");
    app.call("PUT", &policy_path("bigger"))
        .text(padded)
        .send()
        .await
        .error(413);
    app.get(&policy_path("bigger")).await.error(404);
}

#[tokio::test]
async fn a_record_has_at_most_256_kib_and_may_have_all_of_them_in_postgres() {
    let deployment = crate::support::Deployment::start().await;
    sizes(&deployment.instance("one").start().await).await;
}

#[tokio::test]
async fn a_record_has_at_most_256_kib_and_may_have_all_of_them_in_memory() {
    sizes(&App::memory().await).await;
}

#[tokio::test]
async fn a_record_that_grows_over_the_limit_in_canonical_form_is_refused_cleanly() {
    let app = App::builder().postgres(&database().await).start().await;
    // 1e15 is four bytes here and sixteen in canonical form.
    let task = r#"{"task":"t","provider":"p","model":"m","maxTokens":1e15}"#;
    let tasks = vec![task; 256 * 1024 / (task.len() + 1) - 2].join(",");
    let record = format!(r#"{{"defaultProvider":"p","defaultModel":"m","tasks":[{tasks}]}}"#);
    assert!(record.len() <= 256 * 1024);
    let reply = app.call("PUT", &policy_path("t")).text(record).send().await;
    assert!(
        matches!(reply.status, 413 | 422),
        "{}: {}",
        reply.status,
        &reply.text[..200.min(reply.text.len())]
    );
    app.get(&policy_path("t")).await.error(404);
}

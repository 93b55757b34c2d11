//! Pages of tenants and of history: complete, in order, each item once.

use ordain_tests::app::App;
use ordain_tests::generate::Generator;
use ordain_tests::http::{history_path, policy_path};
use serde_json::{Value, json};

use crate::support::{database, version};

/// All items, page by page.
async fn walk(app: &App, path: &str, limit: usize) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = match &cursor {
            Some(cursor) => {
                app.get(&format!("{path}?limit={limit}&cursor={cursor}"))
                    .await
            }
            None => app.get(&format!("{path}?limit={limit}")).await,
        };
        let page = page.expect(200).json;
        let found = page["items"].as_array().expect("items");
        assert!(found.len() <= limit);
        items.extend(found.iter().cloned());
        match page["nextCursor"].as_str() {
            Some(next) => {
                assert_eq!(found.len(), limit, "a page before the last one is full");
                cursor = Some(next.to_owned());
            }
            None => {
                assert!(page["nextCursor"].is_null());
                return items;
            }
        }
    }
}

async fn tenants_are_listed(app: &App) {
    let mut tenants = Generator::new().tenants(90);
    let mut revisions = std::collections::HashMap::new();
    for (number, tenant) in tenants.iter().enumerate() {
        revisions.insert(tenant.clone(), app.store(tenant, &version(number)).await);
    }
    let gone = tenants.swap_remove(7);
    let last = app.delete(&policy_path(&gone)).await.expect(200).revision();
    tenants.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    let expected: Vec<Value> = tenants
        .iter()
        .map(|t| json!({"tenant": t, "revision": revisions[t]}))
        .collect();
    for limit in [1, 7, 89, 500] {
        assert_eq!(
            walk(app, "/v1/tenants", limit).await,
            expected,
            "limit {limit}"
        );
    }
    let first = app.get("/v1/tenants").await.expect(200);
    assert_eq!(
        first.json["items"].as_array().map(Vec::len),
        Some(50),
        "the default limit"
    );
    assert!(first.ordain_revision() >= last);
}

#[tokio::test]
async fn tenants_are_listed_in_byte_order_each_once_on_postgres() {
    tenants_are_listed(&App::builder().postgres(&database().await).start().await).await;
}

#[tokio::test]
async fn tenants_are_listed_in_byte_order_each_once_in_memory() {
    tenants_are_listed(&App::memory().await).await;
}

#[tokio::test]
async fn an_empty_deployment_lists_nothing() {
    let app = App::memory().await;
    assert_eq!(
        app.get("/v1/tenants").await.expect(200).json,
        json!({"items": [], "nextCursor": null})
    );
}

#[tokio::test]
async fn history_pages_go_back_in_time_and_hold_each_change_once() {
    for app in [
        App::memory().await,
        App::builder().postgres(&database().await).start().await,
    ] {
        let mut revisions = Vec::new();
        for number in 0..13 {
            revisions.push(app.store("a/b %", &version(number)).await);
            app.store("noise", &version(number)).await;
        }
        revisions.reverse();
        for limit in [1, 5, 13, 500] {
            let items = walk(&app, &history_path("a/b %"), limit).await;
            let found: Vec<u64> = items
                .iter()
                .filter_map(|item| item["revision"].as_u64())
                .collect();
            assert_eq!(found, revisions, "limit {limit}");
            assert_eq!(items[0]["record"], version(12));
        }
    }
}

#[tokio::test]
async fn limits_and_cursors_that_make_no_sense_are_refused() {
    let app = App::memory().await;
    for path in ["/v1/tenants".to_owned(), history_path("t")] {
        for query in [
            "limit=0",
            "limit=501",
            "limit=-1",
            "limit=x",
            "limit=",
            "cursor=%21%21",
            "limit=5&limit=6",
            "offset=3",
        ] {
            let reply = app.get(&format!("{path}?{query}")).await;
            assert!(
                matches!(reply.status, 400 | 422),
                "{path}?{query}: {reply:?}"
            );
            let status = reply.status;
            reply.error(status);
        }
        app.get(&format!("{path}?limit=500")).await.expect(200);
    }
}

//! What happens between the read of a level and the write of what a patch makes of it: the
//! component fails, or somebody else writes.

use futures::future::join;
use ordain_tests::app::App;
use ordain_tests::components::component as test_component;
use serde_json::{Value, json};

use crate::support::Deployment;
use crate::support::configs::{Level, patch, set};

const LEVEL: Level<'static> = Level::Tenant("acme");

async fn stored(app: &App) -> Value {
    app.get(&LEVEL.path()).await.expect(200).json["config"].clone()
}

/// How many changes of the level are in its history.
async fn changes(app: &App) -> usize {
    let path = format!("{}/history?limit=500", LEVEL.path());
    let history = app.get(&path).await.expect(200).json;
    history["items"].as_array().expect("a list").len()
}

#[tokio::test]
async fn a_component_that_fails_between_read_and_write_changes_nothing_and_the_next_patch_counts() {
    let (_guard, file) = crate::cli_remote::file("");
    std::fs::write(&file, test_component("trap@every:120")).expect("a file");
    let app = App::builder()
        .dev()
        .env("ORDAIN_COMPONENT", &file)
        .start()
        .await;
    let (mut acknowledged, mut failed, mut last) = (0, 0, json!(null));
    for number in 1..=400 {
        let reply = patch(&app, LEVEL, &json!({"mergeMaxMessages": number})).await;
        if reply.status == 200 {
            (acknowledged, last) = (acknowledged + 1, json!({"mergeMaxMessages": number}));
            continue;
        }
        reply.problem(500, "component-failed");
        failed += 1;
        assert_eq!(stored(&app).await, last, "as before patch {number}");
    }
    assert!((1..10).contains(&failed), "{failed} of 400 have failed");
    assert_eq!(stored(&app).await, last);
    assert_eq!(changes(&app).await, acknowledged);
}

#[tokio::test]
async fn of_two_instances_that_patch_one_level_neither_loses_what_the_other_has_written() {
    const PATCHES: usize = 20;
    let deployment = Deployment::start().await;
    // Long enough to compute for that the other one writes meanwhile, nearly always.
    let (_guard, file) = crate::cli_remote::file("");
    std::fs::write(&file, test_component("spin:5000@always")).expect("a file");
    let start = |name| {
        let instance = deployment.instance(name).env("ORDAIN_COMPONENT", &file);
        // What is judged is what is stored, not whether a busy machine is in time.
        let patient = instance.env("ORDAIN_ORIGIN_DEADLINE", "10s");
        patient.env("ORDAIN_REQUEST_DEADLINE", "20s").start()
    };
    let (one, two) = join(start("one"), start("two")).await;
    set(&one, LEVEL, &json!({"autoCompactEnabled": false})).await;
    let write = |app, field: &'static str| async move {
        for number in 1..=PATCHES {
            let reply = patch(app, LEVEL, &json!({field: number})).await;
            reply.expect(200);
        }
    };
    join(
        write(&one, "mergeMaxMessages"),
        write(&two, "pathMaxMessages"),
    )
    .await;
    let both = json!({
        "autoCompactEnabled": false, "mergeMaxMessages": PATCHES, "pathMaxMessages": PATCHES,
    });
    assert_eq!(stored(&two).await, both);
    assert_eq!(changes(&one).await, 2 * PATCHES + 1);
}

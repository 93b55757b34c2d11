//! `ordain config`, against a server and on a database without one.

use ordain_tests::app::App;
use ordain_tests::cli::{Output, cli, cli_with};
use serde_json::json;

use crate::support::database;

async fn config(target: [&str; 2], args: &[&str]) -> Output {
    // What is shown is at stake, not how busy this machine is.
    let patient = [
        ("ORDAIN_ORIGIN_DEADLINE", "10s"),
        ("ORDAIN_REQUEST_DEADLINE", "20s"),
    ];
    cli_with(
        &patient,
        ["config"].iter().chain(args).copied().chain(target),
    )
    .await
}

#[tokio::test]
async fn levels_are_set_shown_cleared_and_deleted() {
    let app = App::memory().await;
    let url = database().await;
    cli(["migrate", "--database-url", &url]).await.expect(0);
    for target in [["--server", app.base()], ["--database-url", &url]] {
        let run = async |args: &[&str]| config(target, args).await;
        let set = run(&["set", "mergeMaxMessages=50"]).await.expect(0);
        assert!(set.stdout.starts_with("global: set, revision "), "{set:?}");
        run(&["set", "pathCompressionStrategy=semantic", "--tenant", "a/b"])
            .await
            .expect(0);
        let ann = ["--tenant", "a/b", "--user", "ann"];
        let args = [
            &[
                "set",
                "autoCompactEnabled=false",
                "pathMaxMessages=80",
                "--reason",
                "less",
            ],
            &ann[..],
        ]
        .concat();
        let set = run(&args).await.expect(0);
        assert!(
            set.stdout.starts_with("a/b, user ann: set, revision "),
            "{set:?}"
        );
        let shown = run(&[&["get"], &ann[..]].concat()).await.expect(0);
        let expected = "\
FIELD                      VALUE     LEVEL
autoCompactEnabled         false     user
compactionIntervalMinutes  60        default
mergeCompressionStrategy   moderate  default
mergeMaxMessages           50        global
mergePreservePinned        true      default
pathCompressionStrategy    semantic  tenant
pathCompressionThreshold   0.85      default
pathMaxMessages            80        user
pathSlidingWindowSize      50        default
";
        assert_eq!(shown.stdout, expected);
        assert!(shown.stderr.starts_with("revision "), "{shown:?}");
        let own = run(&[&["get", "--own", "--json"], &ann[..]].concat())
            .await
            .expect(0)
            .json();
        assert_eq!(
            own["config"],
            json!({"autoCompactEnabled": false, "pathMaxMessages": 80})
        );

        let args = [&["unset", "pathMaxMessages"], &ann[..]].concat();
        let cleared = run(&args).await.expect(0);
        assert!(
            cleared.stdout.contains(": cleared, revision "),
            "{cleared:?}"
        );
        let revision = own["revision"].to_string();
        let args = [&["unset", "--all", "--if-match", &*revision], &ann[..]].concat();
        let late = run(&args).await.expect(1);
        assert!(late.stderr.contains("precondition-failed"), "{late:?}");
        run(&[&["unset", "--all"], &ann[..]].concat())
            .await
            .expect(0);
        let gone = run(&[&["get", "--own"], &ann[..]].concat()).await.expect(1);
        assert_eq!(
            gone.stderr,
            "error: the user has no config (config-not-found)\n"
        );
        let history = run(&[&["history", "--json"], &ann[..]].concat())
            .await
            .expect(0)
            .json();
        let items = history["items"].as_array().expect("a list");
        let ops: Vec<_> = items.iter().map(|item| &item["op"]).collect();
        assert_eq!(ops, ["delete", "put", "put"]);
        assert_eq!(items[2]["reason"], "less");
        // What each of them changed, also of the oldest one of a page.
        let table = run(&[&["history"], &ann[..]].concat()).await.expect(0);
        let lines: Vec<&str> = table.stdout.lines().collect();
        assert!(lines[0].contains("  OP      CHANGED"), "{table:?}");
        for (line, changed) in [
            (1, "  delete  -autoCompactEnabled"),
            (2, "  put     -pathMaxMessages"),
            (
                3,
                "  put     autoCompactEnabled=false pathMaxMessages=80  less",
            ),
        ] {
            assert!(lines[line].contains(changed), "{table:?}");
        }
        let one = [&["history", "--limit", "1"], &ann[..]].concat();
        let page = run(&one).await.expect(0);
        assert!(page.stdout.ends_with("-autoCompactEnabled\n"), "{page:?}");
        let global = run(&["get"]).await.expect(0);
        assert_eq!(
            global.stdout,
            "FIELD             VALUE\nmergeMaxMessages  50\n"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_in_words() {
    let app = App::memory().await;
    let target = ["--server", app.base()];
    for (args, code, words) in [
        (&["set"][..], 2, "FIELD=VALUE"),
        (
            &["set", "mergeMaxMessages"],
            2,
            "a field and its value look like mergeMaxMessages=50",
        ),
        (
            &["set", "mergeMaxMessages=null"],
            2,
            "to clear a field: ordain config unset mergeMaxMessages",
        ),
        (
            &["set", "mergeMaxMessages=1", "mergeMaxMessages=2"],
            2,
            "more than once",
        ),
        (&["get", "--user", "ann"], 2, "--tenant"),
        (&["get", "--tenant", ".."], 2, "tenant id"),
        (
            &["get", "--tenant", "a", "--user", "..", "--own"],
            2,
            "user id",
        ),
        (&["unset"], 2, "FIELD"),
        (&["unset", "x", "--all"], 2, "--all"),
        (
            &["set", "mergeMaxMessages=0"],
            1,
            "must be an integer from 1 to 9007199254740991",
        ),
        (
            &["set", "colour=red", "mergeMaxMessages=-1"],
            1,
            "/colour: is no known field; known are ",
        ),
        (
            &["get", "--tenant", "a", "--min-revision", "9007199254740991"],
            1,
            "revision-unknown",
        ),
    ] {
        let output = config(target, args).await;
        assert_eq!(output.code, Some(code), "{args:?}: {output:?}");
        assert!(output.stderr.contains(words), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
    }
}

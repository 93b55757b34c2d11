//! The command line against a running server: every command, plain and as JSON, and its exit code.

use ordain_tests::app::App;
use ordain_tests::cli::{Output, cli, cli_input, cli_with};
use ordain_tests::http::policy_path;
use serde_json::{Value, json};

use crate::support::{model, plain, policy, version};

/// A file of this content, gone with the returned guard.
pub fn file(content: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file");
    std::fs::write(&path, content).expect("a temporary file");
    let name = path.to_str().expect("a path in UTF-8").to_owned();
    (folder, name)
}

/// `ordain ARGS` against this server.
async fn at(app: &App, args: &[&str]) -> Output {
    cli(args.iter().copied().chain(["--server", app.base()])).await
}

#[tokio::test]
async fn policies_are_put_read_listed_and_deleted() {
    let app = App::memory().await;
    let (_guard, record) = file(&version(1).to_string());
    let put = at(
        &app,
        &[
            "policy", "put", "a/b %", &record, "--reason", "first", "--json",
        ],
    )
    .await
    .expect(0)
    .json();
    let revision = put["revision"].as_u64().expect("a revision");
    let again = at(&app, &["policy", "put", "a/b %", &record])
        .await
        .expect(0);
    assert!(again.stdout.contains("revision"), "{again:?}");

    let got = at(&app, &["policy", "get", "a/b %", "--json"])
        .await
        .expect(0);
    assert_eq!(got.json(), version(1));
    let plain_text = at(&app, &["policy", "get", "a/b %"]).await.expect(0);
    assert!(plain_text.stdout.contains("\"m1\""), "{plain_text:?}");

    app.store("z", &version(2)).await;
    let list = at(&app, &["policy", "list", "--json"])
        .await
        .expect(0)
        .json();
    let tenants: Vec<&Value> = list["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| &item["tenant"])
        .collect();
    assert_eq!(tenants, ["a/b %", "z"]);
    let page = at(&app, &["policy", "list", "--limit", "1"])
        .await
        .expect(0);
    assert!(
        page.stdout.contains("a/b %") && !page.stdout.contains("\nz"),
        "{page:?}"
    );
    let all = at(&app, &["policy", "list", "--limit", "1", "--all", "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!(all["items"].as_array().map(Vec::len), Some(2));

    let history = at(&app, &["policy", "history", "a/b %", "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!(history["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        (
            &history["items"][1]["revision"],
            &history["items"][1]["reason"]
        ),
        (&json!(revision), &json!("first"))
    );
    let table = at(&app, &["policy", "history", "a/b %"]).await.expect(0);
    assert!(
        table.stdout.contains("first") && table.stdout.contains(&revision.to_string()),
        "{table:?}"
    );

    at(&app, &["policy", "delete", "a/b %", "--json"])
        .await
        .expect(0)
        .json()["revision"]
        .as_u64()
        .expect("a revision");
    let gone = at(&app, &["policy", "get", "a/b %"]).await.expect(1);
    assert!(
        gone.stdout.is_empty() && !gone.stderr.is_empty(),
        "{gone:?}"
    );
    at(&app, &["policy", "delete", "a/b %"]).await.expect(1);
    let gone = at(&app, &["policy", "get", "a/b %", "--json"])
        .await
        .expect(1);
    assert_eq!(
        gone.json()["status"],
        404,
        "with --json an error is the problem"
    );
}

#[tokio::test]
async fn a_broken_record_is_a_failure_that_names_every_fault() {
    let app = App::memory().await;
    let (_guard, record) = file(r#"{"defaultProvider":"","egressMode":"x"}"#);
    for dry in [&["--dry-run"][..], &[]] {
        let args = [&["policy", "put", "t", &record], dry].concat();
        let put = at(&app, &args).await.expect(1);
        for pointer in ["/defaultProvider", "/defaultModel", "/egressMode"] {
            assert!(put.stderr.contains(pointer), "{put:?}");
        }
        let put = at(&app, &[&args[..], &["--json"]].concat()).await.expect(1);
        assert_eq!(
            put.json()["errors"].as_array().map(Vec::len),
            Some(3),
            "{put:?}"
        );
    }
    app.get(&policy_path("t")).await.error(404);
    let missing = at(&app, &["policy", "put", "t", "/nonexistent/file"])
        .await
        .expect(1);
    assert!(missing.stderr.contains("/nonexistent/file"), "{missing:?}");
}

#[tokio::test]
async fn conditions_of_a_put_are_kept() {
    let app = App::memory().await;
    let (_guard, record) = file(&version(1).to_string());
    at(&app, &["policy", "put", "t", &record, "--dry-run"])
        .await
        .expect(0);
    app.get(&policy_path("t")).await.error(404);
    let first = at(
        &app,
        &["policy", "put", "t", &record, "--create-only", "--json"],
    )
    .await
    .expect(0)
    .json();
    let first = first["revision"].to_string();
    at(&app, &["policy", "put", "t", &record, "--create-only"])
        .await
        .expect(1);
    at(&app, &["policy", "put", "t", &record, "--if-match", &first])
        .await
        .expect(0);
    at(&app, &["policy", "put", "t", &record, "--if-match", &first])
        .await
        .expect(1);
    at(&app, &["policy", "delete", "t", "--if-match", &first])
        .await
        .expect(1);
    app.get(&policy_path("t")).await.expect(200);
    let input = cli_input(
        &version(5).to_string(),
        ["policy", "put", "t", "-", "--server", app.base()],
    )
    .await;
    input.expect(0);
    assert_eq!(app.get(&policy_path("t")).await.json, version(5));
}

#[tokio::test]
async fn resolve_prints_the_decision_and_exits_with_1_for_a_refusal() {
    let app = App::memory().await;
    let revision = app
        .store("acme", &policy("openai", "gpt-4o"))
        .await
        .to_string();
    let args = [
        "resolve",
        "--tenant",
        "acme",
        "--user",
        "ann",
        "--task",
        "chat",
        "--temperature",
        "0.5",
        "--max-tokens",
        "9",
        "--egress-mode",
        "report-only",
        "--min-revision",
        &revision,
    ];
    let allowed = at(&app, &args).await.expect(0);
    assert!(
        allowed.stdout.contains("openai") && allowed.stdout.contains("gpt-4o"),
        "{allowed:?}"
    );
    let json = at(&app, &[&args[..], &["--json"]].concat())
        .await
        .expect(0)
        .json();
    assert_eq!(
        (model(&json), &json["user"], &json["maxTokens"]),
        ("gpt-4o", &json!("ann"), &json!(9))
    );
    let named = at(
        &app,
        &["resolve", "--tenant", "acme", "--model", "x", "--json"],
    )
    .await
    .expect(0)
    .json();
    assert_eq!(named["rules"]["model"], "caller");

    let refused = at(&app, &["resolve", "--tenant", "nobody"]).await.expect(1);
    assert!(refused.stdout.contains("no-policy"), "{refused:?}");
    let refused = at(&app, &["resolve", "--tenant", "nobody", "--json"])
        .await
        .expect(1)
        .json();
    assert_eq!(refused["refusal"]["code"], "no-policy");
    let faulty = at(&app, &["resolve", "--tenant", "acme", "--max-tokens", "0"])
        .await
        .expect(1);
    assert!(faulty.stderr.contains("/maxTokens"), "{faulty:?}");

    let (_guard, requests) = file(&json!([plain("acme"), plain("nobody")]).to_string());
    let batch = at(&app, &["resolve", "--file", &requests, "--json"])
        .await
        .expect(1)
        .json();
    assert_eq!(batch.as_array().map(Vec::len), Some(2));
    let input = cli_input(
        &plain("acme").to_string(),
        ["resolve", "--file", "-", "--json", "--server", app.base()],
    )
    .await;
    assert_eq!(model(&input.expect(0).json()), "gpt-4o");
}

#[tokio::test]
async fn imports_take_json_and_json_lines_and_show_progress() {
    let app = App::memory().await;
    let lines: String = (0..2_100)
        .map(|n| {
            format!(
                "{}\n",
                json!({"tenant": format!("line {n}"), "policy": version(n)})
            )
        })
        .collect();
    let (_guard, lines) = file(&lines);
    let imported = at(&app, &["policy", "import", &lines, "--reason", "moved"])
        .await
        .expect(0);
    assert!(
        imported
            .stderr
            .lines()
            .filter(|line| line.contains("of 2100"))
            .count()
            >= 2,
        "{imported:?}"
    );
    assert_eq!(model(&app.resolve(&plain("line 2099")).await.json), "m2099");
    let history = app
        .get(&ordain_tests::http::history_path("line 7"))
        .await
        .json;
    assert_eq!(history["items"][0]["reason"], "moved");

    for (form, content) in [
        (
            "list",
            json!([{"tenant": "list a/b", "policy": version(1)}, {"tenant": "list", "policy": version(2)}]),
        ),
        (
            "object",
            json!({"object a/b": version(1), "object": version(2)}),
        ),
    ] {
        let (_guard, content) = file(&content.to_string());
        let imported = at(&app, &["policy", "import", &content, "--json"])
            .await
            .expect(0)
            .json();
        assert_eq!(imported["imported"], 2, "{form}");
        assert_eq!(imported["unchanged"], 0, "{form}");
        let again = at(&app, &["policy", "import", &content]).await.expect(0);
        assert!(
            again.stdout.starts_with("imported 0 policies, 2 unchanged"),
            "{again:?}"
        );
        assert_eq!(model(&app.resolve(&plain(form)).await.json), "m2");
        assert_eq!(
            model(&app.resolve(&plain(&format!("{form} a/b"))).await.json),
            "m1"
        );
    }
}

#[tokio::test]
async fn an_import_with_a_fault_stores_nothing_and_lists_all_faults() {
    let app = App::memory().await;
    let content = json!({
        "good": version(1), "bad": {"defaultProvider": "p", "x/y": 1}, "worse": [], "good too": version(2)
    });
    for args in [&[][..], &["--dry-run"], &["--json"]] {
        let (_guard, content) = file(&content.to_string());
        let failed = at(&app, &[&["policy", "import", &content], args].concat())
            .await
            .expect(1);
        for part in ["bad", "/defaultModel", "/x~1y", "worse"] {
            assert!(failed.all().contains(part), "{part}: {failed:?}");
        }
        assert_eq!(app.get("/v1/tenants").await.json["items"], json!([]));
    }
    let (_guard, twice) =
        file("{\"tenant\":\"a\",\"policy\":{}}\n{\"tenant\":\"a\",\"policy\":{}}\nnonsense\n");
    let failed = at(&app, &["policy", "import", &twice]).await.expect(1);
    assert!(
        failed.stderr.contains("line 2") && failed.stderr.contains("line 3"),
        "{failed:?}"
    );
    // What the file shows by itself and what the rules say of it, in one go and in the order of
    // lines.
    let lines = [
        r#"{"tenant":"a","policy":{"defaultProvider":"p"}}"#,
        "nonsense",
        r#"{"tenant":"b","policy":{"defaultModel":"m"}}"#,
    ];
    let (_guard, mixed) = file(&lines.join("\n"));
    let failed = at(&app, &["policy", "import", &mixed]).await.expect(1);
    let places: Vec<_> = ["line 1", "line 2", "line 3"]
        .map(|place| failed.stderr.find(place))
        .into();
    assert!(
        places.is_sorted() && places.iter().all(Option::is_some),
        "{failed:?}"
    );
    let shown = at(&app, &["policy", "import", &mixed, "--json"]).await;
    let faults = shown.expect(1).json()["faults"].clone();
    assert_eq!(faults.as_array().map(Vec::len), Some(3), "{faults}");
    // Without a server the file's own faults are told all the same.
    let unreached = ["policy", "import", &mixed, "--server", "http://127.0.0.1:1"];
    let failed = cli(unreached).await.expect(1);
    for part in ["line 2", "not checked", "127.0.0.1:1"] {
        assert!(failed.stderr.contains(part), "{part}: {failed:?}");
    }
    let valid = json!({"good": version(1)}).to_string();
    let (_guard, valid) = file(&valid);
    at(&app, &["policy", "import", &valid, "--dry-run"])
        .await
        .expect(0);
    assert_eq!(app.get("/v1/tenants").await.json["items"], json!([]));
}

#[tokio::test]
async fn what_is_no_number_is_told_so_in_words() {
    const WHOLE: &str = "a whole number looks like 50";
    for (args, words) in [
        (&["policy", "list", "--limit", "x"][..], WHOLE),
        (&["policy", "get", "t", "--min-revision", "-1"], WHOLE),
        (
            &["resolve", "--tenant", "t", "--temperature", "hot"],
            "a number looks like 0.5",
        ),
        (&["resolve", "--tenant", "t", "--max-tokens", "-1"], WHOLE),
        (
            &["component", "push", "x", "--promote-after", "0"],
            "0 answers show nothing",
        ),
        (&["serve", "--window", "x"], WHOLE),
        (&["serve", "--window", "0"], "0 is not in 1..=4294967295"),
    ] {
        let refused = cli(args).await.expect(2);
        assert!(refused.stderr.contains(words), "{args:?}: {refused:?}");
    }
}

#[tokio::test]
async fn the_server_can_come_from_the_environment() {
    let app = App::memory().await;
    app.store("t", &version(1)).await;
    let env = [("ORDAIN_SERVER", app.base())];
    let json = cli_with(&env, ["resolve", "--tenant", "t", "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!(model(&json), "m1");
    let component = at(&app, &["component", "inspect", "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!(component["digest"], json["provenance"]["component"]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_what_to_do() {
    // Bound and closed again: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr()
        .expect("an address");
    let server = format!("http://name:s3cret@{free}");
    for args in [
        &["resolve", "--tenant", "t"][..],
        &["policy", "list"],
        &["policy", "get", "t", "--json"],
    ] {
        let failed = cli(args.iter().copied().chain(["--server", &server]))
            .await
            .expect(1);
        assert!(
            failed.stderr.contains(&free.to_string()) && failed.stderr.contains("serve"),
            "{failed:?}"
        );
        assert!(!failed.all().contains("s3cret"), "{failed:?}");
    }
    cli(["resolve", "--tenant", "t", "--server", "not a url"])
        .await
        .expect(2);
}

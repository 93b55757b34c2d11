//! The command line without a server: on a database of its own, and what needs neither.

use ordain_tests::app::App;
use ordain_tests::cli::{cli, cli_with};
use ordain_tests::http::policy_path;
use ordain_tests::process::component;
use serde_json::json;

use crate::cli_remote::file;
use crate::support::{database, model, psql, version};

#[tokio::test]
async fn commands_work_on_a_database_without_a_server() {
    let url = database().await;
    let migrated = cli(["migrate", "--database-url", &url]).await.expect(0);
    assert!(!migrated.stdout.is_empty(), "{migrated:?}");
    assert_eq!(
        cli(["migrate", "--database-url", &url, "--json"])
            .await
            .expect(0)
            .json()["migrated"],
        true
    );
    cli_with(&[("DATABASE_URL", &url)], ["migrate"])
        .await
        .expect(0);
    // Whoever names a database by a flag means that one, whatever variables say.
    let elsewhere = [("ORDAIN_MIGRATE_URL", "postgres://127.0.0.1:1/x")];
    cli_with(&elsewhere, ["migrate", "--database-url", &url])
        .await
        .expect(0);
    cli(["policy", "list", "--database-url", "mysql://h/d"])
        .await
        .expect(2);

    let (_guard, record) = file(&version(1).to_string());
    let on = ["--database-url", &url];
    let put = cli([
        &[
            "policy", "put", "t", &record, "--reason", "by hand", "--json",
        ],
        &on[..],
    ]
    .concat())
    .await
    .expect(0)
    .json();
    let got = cli([&["policy", "get", "t", "--json"], &on[..]].concat())
        .await
        .expect(0);
    assert_eq!(got.json(), version(1));
    let answer = cli([&["resolve", "--tenant", "t", "--json"], &on[..]].concat())
        .await
        .expect(0)
        .json();
    assert_eq!(
        (model(&answer), &answer["provenance"]["revision"]),
        ("m1", &put["revision"])
    );
    cli([&["resolve", "--tenant", "nobody"], &on[..]].concat())
        .await
        .expect(1);

    let policies: String = (0..1_200)
        .map(|n| {
            format!(
                "{}\n",
                json!({"tenant": format!("t{n}"), "policy": version(n)})
            )
        })
        .collect();
    let (_guard, policies) = file(&policies);
    let imported = cli([&["policy", "import", &policies], &on[..]].concat())
        .await
        .expect(0);
    assert!(imported.stderr.contains("of 1200"), "{imported:?}");
    let list = cli([&["policy", "list", "--all", "--json"], &on[..]].concat())
        .await
        .expect(0)
        .json();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1_201));

    // Another instance on the same database agrees.
    let app = App::builder().postgres(&url).start().await;
    assert_eq!(app.get(&policy_path("t")).await.json, version(1));
    assert_eq!(
        model(&app.resolve(&json!({"tenant": "t1199"})).await.json),
        "m1199"
    );
    let history = cli_with(
        &[("DATABASE_URL", &url)],
        ["policy", "history", "t", "--json"],
    )
    .await
    .expect(0)
    .json();
    assert_eq!(history["items"][0]["reason"], "by hand");
    cli_with(&[("DATABASE_URL", &url)], ["policy", "delete", "t"])
        .await
        .expect(0);
    app.get(&policy_path("t")).await.error(404);
}

#[tokio::test]
async fn an_embedded_import_with_a_fault_stores_nothing() {
    let url = database().await;
    cli(["migrate", "--database-url", &url]).await.expect(0);
    let mut policies: Vec<_> = (0..700)
        .map(|n| json!({"tenant": format!("t{n}"), "policy": version(n)}))
        .collect();
    policies.push(json!({"tenant": "last", "policy": {"defaultProvider": "p"}}));
    let (_guard, policies) = file(&json!(policies).to_string());
    let failed = cli(["policy", "import", &policies, "--database-url", &url])
        .await
        .expect(1);
    assert!(
        failed.stderr.contains("last") && failed.stderr.contains("/defaultModel"),
        "{failed:?}"
    );
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM policies")
        .fetch_one(&mut psql(&url).await)
        .await
        .expect("a count");
    assert_eq!(stored, 0);
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_a_failure_without_its_password() {
    let url = "postgres://someone:s3cret@127.0.0.1:1/ordain";
    for args in [
        &["migrate"][..],
        &["policy", "list"],
        &["resolve", "--tenant", "t"],
    ] {
        let failed = cli(args.iter().copied().chain(["--database-url", url]))
            .await
            .expect(1);
        assert!(
            !failed.stderr.is_empty() && !failed.all().contains("s3cret"),
            "{failed:?}"
        );
    }
    cli(["migrate"]).await.expect(2);
}

#[tokio::test]
async fn a_component_file_is_inspected_without_a_server() {
    let path = component();
    let info = cli(["component", "inspect", path.to_str().unwrap(), "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!(
        info["size"],
        std::fs::metadata(&path).expect("the file").len()
    );
    assert_eq!(
        info["capabilities"],
        json!(["ordain:config@1.0.0", "ordain:policy@1.1.0"])
    );
    assert_eq!(
        info["exports"],
        json!(["ordain:config/config@1.0.0", "ordain:policy/policy@1.1.0"])
    );
    let shown = cli(["component", "inspect", path.to_str().unwrap()])
        .await
        .expect(0);
    assert!(
        shown.stdout.contains("ordain:host/near@1.0.0") && shown.stdout.contains("sha256:"),
        "{shown:?}"
    );

    let (_guard, other) = file("this is no component");
    let failed = cli(["component", "inspect", &other]).await.expect(1);
    assert!(failed.stderr.contains("component"), "{failed:?}");
}

#[tokio::test]
async fn help_explains_every_command_and_wrong_usage_exits_with_2() {
    let commands: &[&[&str]] = &[
        &[],
        &["serve"],
        &["resolve"],
        &["policy"],
        &["policy", "get"],
        &["policy", "put"],
        &["policy", "delete"],
        &["policy", "list"],
        &["policy", "import"],
        &["policy", "history"],
        &["migrate"],
        &["component"],
        &["component", "inspect"],
    ];
    for command in commands {
        let env = [
            ("DATABASE_URL", "postgres://u:s3cret@h/d"),
            ("ORDAIN_FAR_KEY", "s3cret"),
        ];
        let help = cli_with(&env, command.iter().copied().chain(["--help"]))
            .await
            .expect(0);
        assert!(
            help.stdout.contains("Usage: ordain") && help.stdout.contains("--json"),
            "{command:?}: {help:?}"
        );
        assert!(
            !help.all().contains("s3cret"),
            "{command:?}: help shows a secret"
        );
        let leaf = !matches!(command, [] | ["policy"] | ["component"]);
        assert!(
            !leaf || help.stdout.contains("Examples:"),
            "{command:?}: {help:?}"
        );
    }
    let serve = cli(["serve", "--help"]).await.expect(0).stdout;
    for name in [
        "DATABASE_URL",
        "REDIS_URL",
        "ORDAIN_LISTEN",
        "ORDAIN_BOUND",
        "ORDAIN_CACHE_FAR",
        "--dev",
        "--print-config",
    ] {
        assert!(serve.contains(name), "serve --help does not name {name}");
    }
    let version = cli(["--version"]).await.expect(0);
    assert!(version.stdout.starts_with("ordain "), "{version:?}");
    let wrong: &[&[&str]] = &[
        &[],
        &["nonsense"],
        &["resolve"],
        &["policy", "get"],
        &["policy", "put", "t"],
        &["serve", "--nonsense"],
        &["resolve", "--tenant", "t", "--max-tokens", "many"],
        &["policy", "list", "--limit", "x"],
    ];
    for args in wrong {
        let failed = cli(*args).await.expect(2);
        assert!(
            failed.stdout.is_empty() && !failed.stderr.is_empty(),
            "{args:?}: {failed:?}"
        );
    }
}

#[tokio::test]
async fn two_deployments_share_a_database_by_the_names_of_their_schemas() {
    let url = database().await;
    let named = |name| App::builder().postgres(&url).env("ORDAIN_SCHEMA", name);
    let (one, two) = (named("one").start().await, named("two").start().await);
    one.store("t", &version(1)).await;
    two.store("t", &version(2)).await;
    let purged = one.call("POST", "/v1/caches/purge").json(&json!({}));
    purged.send().await.expect(200);
    for (app, name, wanted) in [(&one, "one", 1), (&two, "two", 2)] {
        let answer = app.resolve(&json!({"tenant": "t"})).await.expect(200);
        assert_eq!(model(&answer.json), format!("m{wanted}"), "{name}");
        let get = ["policy", "get", "t", "--json", "--database-url", &url];
        let stored = cli_with(&[("ORDAIN_SCHEMA", name)], get).await.expect(0);
        assert_eq!(stored.json(), version(wanted), "{name}");
    }
    // In a third one there is nothing, and `migrate` makes it.
    let third = [("ORDAIN_SCHEMA", "third")];
    let list = ["policy", "list", "--database-url", &url];
    let told = cli_with(&third, list).await.expect(1);
    assert!(told.stderr.contains("ordain migrate"), "{told:?}");
    let migrate = ["migrate", "--database-url", &url, "--schema", "third"];
    cli(migrate).await.expect(0);
    cli_with(&third, list).await.expect(0);
}

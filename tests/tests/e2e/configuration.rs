//! Flags, variables and `ordain.toml`: which of them wins, and where a value is said to come from.

use std::path::PathBuf;

use ordain_tests::app::App;
use ordain_tests::cli::{Output, cli_with};
use serde_json::Value;

/// A configuration that is printed from a folder of its own, whose `ordain.toml` has this text.
pub async fn printed(toml: &str, env: &[(&str, &str)], flags: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ordain.toml");
    std::fs::write(&file, toml).expect("a file");
    private(&file);
    let file = file.to_str().expect("UTF-8");
    let mut args = vec![
        "serve",
        "--dev",
        "--print-config",
        "--json",
        "--config",
        file,
    ];
    args.extend(flags);
    cli_with(env, args).await
}

/// Only its owner may read it.
pub fn private(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(file, mode).expect("our own file");
}

fn value<'a>(shown: &'a Value, name: &str) -> &'a str {
    shown[name]["value"].as_str().unwrap_or_default()
}

fn from<'a>(shown: &'a Value, name: &str) -> &'a str {
    shown[name]["from"].as_str().unwrap_or_default()
}

/// Variable, key, and three values that all differ from the default, as they are shown.
const OPTIONS: [(&str, &str, [&str; 3]); 44] = [
    (
        "ORDAIN_LISTEN",
        "listen",
        ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"],
    ),
    ("ORDAIN_ENV", "env", ["test", "development", "test"]),
    ("ORDAIN_DRAIN", "drain", ["1s", "2s", "3s"]),
    ("ORDAIN_IDLE_TIMEOUT", "idle-timeout", ["1m", "2m", "3m"]),
    ("ORDAIN_MAX_CONNECTIONS", "max-connections", ["1", "2", "3"]),
    (
        "ORDAIN_COMPONENT",
        "component",
        ["/a.wasm", "/b.wasm", "/c.wasm"],
    ),
    ("ORDAIN_WATCH", "watch", ["on", "on", "on"]),
    ("ORDAIN_INSTANCES", "instances", ["fresh", "fresh", "fresh"]),
    (
        "ORDAIN_COMPONENT_VECTORS",
        "component-vectors",
        ["/a", "/b", "/c"],
    ),
    (
        "ORDAIN_COMPONENT_WATCH_TIME",
        "component-watch-time",
        ["1m", "2m", "3m"],
    ),
    (
        "ORDAIN_COMPONENT_MAX_FAULTS",
        "component-max-faults",
        ["1", "2", "3"],
    ),
    (
        "DATABASE_URL",
        "database-url",
        ["postgres://a/x", "postgres://b/x", "postgres://c/x"],
    ),
    (
        "ORDAIN_MIGRATE_URL",
        "migrate-url",
        ["postgres://a/y", "postgres://b/y", "postgres://c/y"],
    ),
    ("ORDAIN_SCHEMA", "schema", ["a", "b_2", "user"]),
    (
        "REDIS_URL",
        "redis-url",
        ["redis://a", "redis://b", "redis://c"],
    ),
    ("ORDAIN_REDIS_CA", "redis-ca", ["/a", "/b", "/c"]),
    (
        "ORDAIN_EGRESS_MODE",
        "egress-mode",
        ["off", "report-only", "off"],
    ),
    (
        "ORDAIN_LOCAL_PROVIDERS",
        "local-providers",
        ["a,b", "c", "d"],
    ),
    (
        "ORDAIN_DEFAULT_PROVIDER",
        "default-provider",
        ["a", "b", "c"],
    ),
    ("ORDAIN_DEFAULT_MODEL", "default-model", ["a", "b", "c"]),
    ("ORDAIN_BOUND", "bound", ["2s", "3s", "4s"]),
    ("ORDAIN_STALE_LIMIT", "stale-limit", ["2s", "3s", "4s"]),
    (
        "ORDAIN_MIN_REVISION_WAIT",
        "min-revision-wait",
        ["1ms", "2ms", "3ms"],
    ),
    (
        "ORDAIN_FEED_DEADLINE",
        "feed-deadline",
        ["101ms", "102ms", "103ms"],
    ),
    ("ORDAIN_WINDOW", "window", ["1", "2", "3"]),
    ("ORDAIN_NEAR_BYTES", "near-bytes", ["1024", "2048", "4096"]),
    ("ORDAIN_FAR_TTL", "far-ttl", ["1m", "2m", "3m"]),
    ("ORDAIN_FAR_DEADLINE", "far-deadline", ["1ms", "2ms", "3ms"]),
    (
        "ORDAIN_ORIGIN_DEADLINE",
        "origin-deadline",
        ["1ms", "2ms", "3ms"],
    ),
    (
        "ORDAIN_ORIGIN_CONNECTIONS",
        "origin-connections",
        ["1", "2", "3"],
    ),
    (
        "ORDAIN_REQUEST_DEADLINE",
        "request-deadline",
        ["2s", "3s", "4s"],
    ),
    (
        "ORDAIN_AUDIT_INTERVAL",
        "audit-interval",
        ["1s", "2s", "3s"],
    ),
    ("ORDAIN_CACHE", "cache", ["off", "off", "off"]),
    ("ORDAIN_CACHE_FAR", "cache-far", ["off", "off", "off"]),
    ("ORDAIN_JWKS_FILE", "jwks-file", ["/a", "/b", "/c"]),
    ("ORDAIN_JWT_ISSUER", "jwt-issuer", ["a", "b", "c"]),
    ("ORDAIN_JWT_AUDIENCE", "jwt-audience", ["a", "b", "c"]),
    (
        "ORDAIN_JWKS_URL",
        "jwks-url",
        ["https://a/x", "https://b/x", "https://c/x"],
    ),
    ("ORDAIN_JWKS_INTERVAL", "jwks-interval", ["1m", "2m", "3m"]),
    ("ORDAIN_JWT_ROLE_CLAIM", "jwt-role-claim", ["a", "b", "c"]),
    (
        "ORDAIN_JWT_ROLE_MAP",
        "jwt-role-map",
        ["a=admin", "b=admin,c=reader", "d=editor"],
    ),
    (
        "ORDAIN_JWT_TENANT_CLAIM",
        "jwt-tenant-claim",
        ["a", "b", "c"],
    ),
    (
        "ORDAIN_JWT_TENANTS_CLAIM",
        "jwt-tenants-claim",
        ["a", "b", "c"],
    ),
    (
        "ORDAIN_JWT_MAX_LIFETIME",
        "jwt-max-lifetime",
        ["1h", "2h", "3h"],
    ),
];

#[tokio::test]
async fn a_flag_wins_over_a_variable_and_that_over_the_file_for_every_option() {
    let toml: String = OPTIONS
        .iter()
        .map(|(_, key, [in_file, ..])| format!("{key} = \"{in_file}\"\n"))
        .collect();
    let env: Vec<_> = OPTIONS
        .iter()
        .map(|(name, _, [_, in_env, _])| (*name, *in_env))
        .collect();
    let flags: Vec<_> = OPTIONS
        .iter()
        .map(|(_, key, [.., flag])| format!("--{key}={flag}"))
        .collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();

    let by_file = printed(&toml, &[], &[]).await.expect(0).json();
    let by_env = printed(&toml, &env, &[]).await.expect(0).json();
    let by_flag = printed(&toml, &env, &flags).await.expect(0).json();
    for (line, (name, _, [in_file, in_env, flag])) in (1..).zip(OPTIONS) {
        assert_eq!(value(&by_file, name), in_file, "{name}");
        assert!(
            from(&by_file, name).ends_with(&format!("ordain.toml, line {line}")),
            "{name}"
        );
        assert_eq!(
            (value(&by_env, name), from(&by_env, name)),
            (in_env, "environment"),
            "{name}"
        );
        assert_eq!(value(&by_flag, name), flag, "{name}");
        assert!(from(&by_flag, name).starts_with("flag --"), "{name}");
    }
    let names = by_flag.as_object().expect("an object").len();
    // Not among them: what the next test has, keys in PEM or base64, the issuer, which stands for
    // the URL of keys, and the file itself.
    assert_eq!(
        names,
        OPTIONS.len() + 11,
        "an option is not tested: {by_flag:#}"
    );
}

/// As `echo secret | kubectl create secret ... --from-file` and editors leave them.
#[tokio::test]
async fn line_ends_at_the_end_of_a_value_are_none_of_it() {
    let plain: Vec<_> = OPTIONS
        .iter()
        .map(|(name, _, [_, value, _])| (*name, *value))
        .collect();
    let expected = printed("", &plain, &[]).await.expect(0).json();
    for end in ["\n", "\r\n", "\n\n"] {
        let ended: Vec<_> = plain
            .iter()
            .map(|(name, value)| (*name, format!("{value}{end}")))
            .collect();
        let ended: Vec<_> = ended
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        let shown = printed("", &ended, &[]).await.expect(0).json();
        // A file does not win over a variable that had to be trimmed, a flag does.
        let toml = "bound = \"9s\"\njwt-issuer = \"\"\"x\ny\n\n\"\"\"\n";
        let over = printed(toml, &ended, &["--window=9"])
            .await
            .expect(0)
            .json();
        for (name, _) in &plain {
            assert_eq!(shown[name], expected[name], "{name} {end:?}");
            if *name != "ORDAIN_WINDOW" {
                assert_eq!(over[name], expected[name], "{name} {end:?}");
            }
        }
        assert_eq!(from(&over, "ORDAIN_WINDOW"), "flag --window");
    }
    // Line ends alone are nothing; within a value they stay.
    let toml = "jwt-issuer = \"\"\"x\ny\n\n\"\"\"\n";
    let shown = printed(
        toml,
        &[("ORDAIN_WINDOW", "\n"), ("ORDAIN_NOTHING", "\n")],
        &[],
    )
    .await;
    let shown = shown.expect(0).json();
    assert_eq!(value(&shown, "ORDAIN_JWT_ISSUER"), "x\ny");
    assert_eq!(from(&shown, "ORDAIN_WINDOW"), "default");
    let broken = printed("", &[("ORDAIN_WINDOW", "many\n")], &[]).await;
    let broken = broken.expect(2);
    assert!(broken.stderr.contains("ORDAIN_WINDOW"), "{broken:?}");
}

#[tokio::test]
async fn secrets_that_were_stored_with_a_line_end_are_the_secrets() {
    use ordain_tests::tokens::{SECRET, Signer, claims, token};
    let app = App::builder()
        .env("ORDAIN_ENV", "test\n")
        .env("ORDAIN_JWT_HS256_SECRET", &format!("{SECRET}\n"))
        .env("ORDAIN_JWT_ISSUER", "me\r\n")
        .env("ORDAIN_JWT_AUDIENCE", "ordain\n")
        .start();
    let app = app.await;
    let claims = claims("admin", serde_json::json!({"iss": "me", "aud": "ordain"}));
    let good = token(&claims);
    app.with(&good).get("/v1/tenants").await.expect(200);
    let other = Signer::secret(format!("{SECRET}\n").as_bytes()).token(&claims);
    app.with(&other).get("/v1/tenants").await.expect(401);
    let env = [
        ("ORDAIN_SERVER", format!("{}\n", app.base())),
        ("ORDAIN_TOKEN", format!("{good}\r\n")),
    ];
    let env = env.each_ref().map(|(name, value)| (*name, &**value));
    cli_with(&env, ["policy", "list"]).await.expect(0);
}

/// What is masked or needs another option: only where it comes from can be told apart.
#[tokio::test]
async fn secrets_and_the_other_switches_follow_the_same_order() {
    let secret = "s3cret-s3cret-s3cret-s3cret-s3cret";
    let options = [
        ("ORDAIN_FAR_KEY", "far-key", secret),
        ("ORDAIN_JWT_HS256_SECRET", "jwt-hs256-secret", secret),
        ("ORDAIN_COMPONENT_CACHE", "component-cache", "/a"),
        (
            "ORDAIN_COMPONENT_SIGNATURE",
            "component-signature",
            "optional",
        ),
        ("ORDAIN_CACHE_POLICY", "cache-policy", "off"),
        ("ORDAIN_CACHE_CONFIG", "cache-config", "off"),
        ("ORDAIN_CACHE_NEAR", "cache-near", "off"),
    ];
    let toml: String = options
        .iter()
        .map(|(_, key, value)| format!("{key} = \"{value}\"\n"))
        .collect();
    // The harness sets this one; an empty variable counts as unset.
    let unset = [("ORDAIN_COMPONENT_CACHE", "")];
    let env: Vec<_> = options
        .iter()
        .map(|(name, _, value)| (*name, *value))
        .collect();
    let flags: Vec<_> = options
        .iter()
        .map(|(_, key, value)| format!("--{key}={value}"))
        .collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let by_file = printed(&toml, &unset, &[]).await.expect(0);
    let by_env = printed(&toml, &env, &[]).await.expect(0);
    let by_flag = printed(&toml, &env, &flags).await.expect(0);
    for output in [&by_file, &by_env, &by_flag] {
        assert!(!output.all().contains("s3cret"), "{output:?}");
    }
    let (by_file, by_env, by_flag) = (by_file.json(), by_env.json(), by_flag.json());
    for (line, (name, key, given)) in (1..).zip(options) {
        let shown = if given == secret { "***" } else { given };
        for (printed, source) in [
            (&by_file, format!("ordain.toml, line {line}")),
            (&by_env, "environment".to_owned()),
            (&by_flag, format!("flag --{key}")),
        ] {
            assert_eq!(value(printed, name), shown, "{name}");
            assert!(from(printed, name).ends_with(&source), "{name}: {source}");
        }
    }
}

#[tokio::test]
async fn values_of_the_file_may_have_the_types_that_are_natural() {
    let toml = "window = 5_000\ncache = false\ncache-near = true\nlocal-providers = [\"a\", \"b\"]\n\
        near-bytes = 0x1000\nbound = \"\"\nstale-limit = '2m'\n# far-ttl = \"1s\"\n";
    let shown = printed(toml, &[], &[]).await.expect(0).json();
    for (name, expected) in [
        ("ORDAIN_WINDOW", "5000"),
        ("ORDAIN_CACHE", "off"),
        ("ORDAIN_CACHE_NEAR", "on"),
        ("ORDAIN_LOCAL_PROVIDERS", "a,b"),
        ("ORDAIN_NEAR_BYTES", "4096"),
        ("ORDAIN_BOUND", "1s"),
        ("ORDAIN_STALE_LIMIT", "2m"),
        ("ORDAIN_FAR_TTL", "5m"),
    ] {
        assert_eq!(value(&shown, name), expected, "{name}");
    }
    assert_eq!(
        from(&shown, "ORDAIN_BOUND"),
        "default",
        "an empty string counts as unset"
    );
}

#[tokio::test]
async fn what_is_shown_says_where_it_comes_from_and_can_be_read_by_a_shell() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("my.toml");
    std::fs::write(
        &file,
        "bound = \"2s\"\njwt-issuer = \"a b'c\"\nfar-key = \"s3cret-s3cret-s3cret\"",
    )
    .expect("a file");
    private(&file);
    let file = file.to_str().expect("UTF-8");
    let env = [("ORDAIN_CONFIG", file), ("ORDAIN_WINDOW", "7")];
    let args = ["serve", "--dev", "--print-config", "--listen=localhost:9"];
    let shown = cli_with(&env, args).await.expect(0);
    let text = &shown.stdout;
    for part in [
        "# flag --listen\nORDAIN_LISTEN=127.0.0.1:9\n",
        "# flag --dev\nORDAIN_ENV=development\n",
        &format!("# {file}, line 1\nORDAIN_BOUND=2s\n"),
        &format!("# {file}, line 2\nORDAIN_JWT_ISSUER='a b'\\''c'\n"),
        &format!("# {file}, line 3\nORDAIN_FAR_KEY=***\n"),
        "\n# default\n",
        "\n# DATABASE_URL is not set\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let environment = text.split("# environment\n").nth(1).expect("a group");
    assert!(
        environment.starts_with("ORDAIN_CONFIG=") && environment.contains("\nORDAIN_WINDOW=7\n")
    );
    assert!(!shown.all().contains("s3cret"));
    // Every line is a comment or an assignment.
    for line in text.lines() {
        assert!(line.starts_with("# ") || line.contains('='), "{line}");
    }
}

#[tokio::test]
async fn the_example_of_the_documentation_can_be_used() {
    let example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/ordain.toml");
    let example = example.to_str().expect("UTF-8");
    let env = [
        ("DATABASE_URL", "postgres://db/ordain"),
        ("ORDAIN_JWKS_URL", "https://id.example/keys"),
    ];
    let args = ["serve", "--print-config", "--json", "--config", example];
    let shown = cli_with(&env, args).await.expect(0).json();
    assert_eq!(value(&shown, "ORDAIN_LOCAL_PROVIDERS"), "local,vllm");
    assert_eq!(value(&shown, "ORDAIN_WINDOW"), "200000");
}

#[tokio::test]
async fn a_service_takes_its_file_and_a_command_without_a_server_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ordain.toml");
    std::fs::write(
        &file,
        "default-provider = \"house\"\ndefault-model = \"m-1\"\n",
    )
    .expect("a file");
    let file = file.to_str().expect("UTF-8");
    let url = crate::support::database().await;
    let app = App::builder()
        .postgres(&url)
        .env("ORDAIN_CONFIG", file)
        .start()
        .await;
    let answer = app
        .resolve(&serde_json::json!({"tenant": "nobody"}))
        .await
        .expect(200);
    assert_eq!(answer.json["model"], "m-1");
    let args = [
        "resolve",
        "--tenant",
        "nobody",
        "--database-url",
        &url,
        "--json",
    ];
    let answer = cli_with(&[("ORDAIN_CONFIG", file)], args).await.expect(0);
    assert_eq!(answer.json()["model"], "m-1");
    // A command that talks to a server has no use for it, and does not stumble over it.
    std::fs::write(file, "nonsense").expect("a file");
    let args = ["resolve", "--tenant", "nobody", "--server", app.base()];
    cli_with(&[("ORDAIN_CONFIG", file)], args).await.expect(0);
}

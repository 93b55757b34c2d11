//! Secrets are shown nowhere: not by `--print-config`, not in the log of our parts at its finest,
//! not in answers, not in errors.

use ordain_tests::app::App;
use ordain_tests::cli::cli_with;
use ordain_tests::services::{Redis, RedisOptions};

use crate::support::{database, plain, policy};

const MARK: &str = "Zs3cretZ";

/// The same database by URLs that have a secret in one place after the other.
fn databases(url: &str) -> Vec<String> {
    let (before, folder) = url.split_once("?host=").expect("a socket");
    let name = before.rsplit('/').next().expect("a database");
    vec![
        format!("postgres://postgres:{MARK}@localhost/{name}?host={folder}"),
        format!("postgres://postgres:p%40{MARK}%3F@localhost/{name}?host={folder}"),
        format!("postgres:///{name}?host={folder}&user=postgres&password={MARK}"),
        format!("postgres:///{name}?host={folder}&user=postgres&password=a@{MARK}"),
        format!("postgres:///{name}?user=postgres&password={MARK}@x&host={folder}"),
        format!("postgres:///{name}?password=x@{MARK}&user=postgres&host={folder}"),
        format!("postgres://postgres@localhost/{name}?host={folder}&anything={MARK}"),
        format!("postgres://postgres@localhost/{name}?host={folder}&sslpassword={MARK}"),
        format!("postgres://postgres@localhost/{name}?host={folder}&passfile=/{MARK}"),
    ]
}

#[tokio::test]
async fn a_running_service_shows_no_secret_wherever_it_stands() {
    let plain_url = database().await;
    let redis = Redis::start_with(RedisOptions {
        password: Some(MARK.to_owned()),
        ..RedisOptions::default()
    });
    let socket = redis.socket();
    let redis_urls = [
        format!("redis+unix://{}?pass={MARK}", socket.display()),
        format!("redis+unix://{}?user=default&pass={MARK}", socket.display()),
    ];
    // Of our own parts all, of others what an operator would turn on.
    let log = "debug,ordain=trace";
    for (number, url) in databases(&plain_url).into_iter().enumerate() {
        let env = [
            ("DATABASE_URL", &*url),
            ("ORDAIN_MIGRATE_URL", &url),
            ("REDIS_URL", &redis_urls[number % 2]),
            ("ORDAIN_FAR_KEY", "Zs3cretZ-Zs3cretZ-Zs3cretZ"),
            (
                "ORDAIN_JWT_HS256_SECRET",
                "Zs3cretZ-Zs3cretZ-Zs3cretZ-Zs3cretZ",
            ),
        ];
        for json in [&["--json"][..], &[]] {
            let args = [&["serve", "--print-config"][..], json].concat();
            let shown = cli_with(&env, args).await.expect(0);
            assert!(!shown.all().contains(MARK), "{url}: {shown:?}");
            assert!(shown.stdout.contains("postgres://"), "{url}: {shown:?}");
        }
        let mut builder = App::builder().dev().arg("--log").arg(log);
        for (name, value) in env {
            builder = builder.env(name, value);
        }
        // Whatever becomes of it: what is wrong with a URL is told without it, too.
        let mut app = builder.start().await;
        app.store("acme", &policy("openai", "m")).await;
        app.resolve(&plain("acme")).await.expect(200);
        for path in ["/readyz", "/v1/caches", "/metrics"] {
            let reply = app.get(path).await;
            assert!(!reply.text.contains(MARK), "{path}: {}", reply.text);
        }
        app.sigterm();
        app.wait_exit().await;
        let log = app.log();
        assert!(!log.contains(MARK), "{url}: {}", around(&log));
    }
}

/// The line that shows it.
fn around(log: &str) -> &str {
    log.lines()
        .find(|line| line.contains(MARK))
        .unwrap_or_default()
}

#[tokio::test]
async fn errors_of_commands_repeat_no_secret() {
    let cases = [
        format!("postgres://me:{MARK}@127.0.0.1:1/x"),
        format!("postgres://me:{MARK}@127.0.0.1:99999/x"),
        format!("postgres://me:a/{MARK}@127.0.0.1/x"),
        format!("postgres://me:12/{MARK}?x@127.0.0.1/x"),
        format!("postgres://127.0.0.1:{MARK}/x"),
        format!("postgres://me:%zz{MARK}@127.0.0.1:1/x"),
        format!("postgres://127.0.0.1:1/x?sslkey={MARK}"),
        format!("postgres://127.0.0.1:1/x?sslmode=require:{MARK}"),
        format!("postgres://127.0.0.1:1/x?user=a@b&password={MARK}"),
        format!("mysql://me:{MARK}@127.0.0.1/x"),
        format!("host=127.0.0.1 password={MARK}"),
        MARK.to_owned(),
    ];
    for url in &cases {
        let env = [("DATABASE_URL", &**url)];
        for args in [&["migrate"][..], &["policy", "list"], &["serve"]] {
            let env: &[(&str, &str)] = match args {
                ["serve"] => &[("DATABASE_URL", url), ("ORDAIN_JWT_HS256_SECRET", KEY)],
                _ => &env,
            };
            let told = cli_with(env, args).await;
            assert_ne!(told.code, Some(0), "{url}: {told:?}");
            assert!(!told.all().contains(MARK), "{args:?} {url}: {told:?}");
        }
        for variable in ["REDIS_URL", "ORDAIN_MIGRATE_URL"] {
            let env = [
                ("DATABASE_URL", "postgres://127.0.0.1:1/x"),
                (variable, url),
            ];
            let told = cli_with(&env, ["serve", "--print-config"]).await;
            assert!(!told.all().contains(MARK), "{variable} {url}: {told:?}");
        }
        let told = cli_with(&[], ["policy", "list", "--server", url]).await;
        let is_known = url == MARK;
        assert!(
            is_known || !told.all().contains(MARK),
            "--server {url}: {told:?}"
        );
        // A slip of the pen: what the parser does not know it does not repeat.
        let told = cli_with(&[], ["policy", "list", "--database-urll", url]).await;
        assert_eq!(told.code, Some(2));
        assert!(is_known || !told.all().contains(MARK), "{url}: {told:?}");
        let told = cli_with(&[], ["policy", "list", url]).await;
        assert!(is_known || !told.all().contains(MARK), "{url}: {told:?}");
    }
}

/// Long enough to be a key.
const KEY: &str = "0123456789abcdef0123456789abcdef";

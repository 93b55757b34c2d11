//! The configuration broken in many ways: each is refused before anything listens, and the message
//! says what is wrong, where, and what to do. The whole messages are here, to be read.

use ordain_tests::cli::{cli, cli_with};

use crate::configuration::{printed, private};

/// Hidden in every value that is secret.
const SECRET: &str = "s3cret";

/// What a file with this text is refused for, without the path before it.
async fn of_file(toml: &str) -> String {
    let output = printed(toml, &[], &[]).await;
    assert_eq!(output.code, Some(2), "{toml}: {output:?}");
    assert!(output.stdout.is_empty(), "{toml}: {output:?}");
    assert!(!output.all().contains(SECRET), "{toml}: {output:?}");
    let at = output
        .stderr
        .find("ordain.toml")
        .expect("the file is named");
    output.stderr[at..].trim_end().to_owned()
}

#[tokio::test]
async fn a_key_that_is_not_known_is_refused_with_the_one_that_was_meant() {
    for (line, meant) in [
        (
            "near-byte = 5",
            "unknown key `near-byte`; did you mean `near-bytes`?",
        ),
        (
            "near_bytes = 5",
            "unknown key `near_bytes`; did you mean `near-bytes`?",
        ),
        (
            "nearBytes = 5",
            "unknown key `nearBytes`; did you mean `near-bytes`?",
        ),
        (
            "ORDAIN_NEAR_BYTES = 5",
            "unknown key `ORDAIN_NEAR_BYTES`; did you mean `near-bytes`?",
        ),
        (
            "DATABASE_URL = 'postgres://s3cret@h'",
            "unknown key `DATABASE_URL`; did you mean `database-url`?",
        ),
        (
            "jwt-secret = 's3cret'",
            "unknown key `jwt-secret`; did you mean `jwt-hs256-secret`?",
        ),
        (
            "colour-of-the-house = 'red'",
            "unknown key `colour-of-the-house`; the keys are the flags of `ordain serve --help`",
        ),
        (
            "config = 'x'",
            "`config` names this file and cannot be in it",
        ),
        ("dev = true", "`dev` is for the command line alone"),
    ] {
        let expected = format!("ordain.toml cannot be used:\n  line 1: {meant}");
        assert_eq!(of_file(line).await, expected);
    }
}

#[tokio::test]
async fn a_value_that_its_option_does_not_take_is_refused_with_what_it_takes() {
    for (line, why) in [
        (
            "bound = '1'",
            "bound = \"1\": a duration looks like 250ms, 1s or 15m",
        ),
        (
            "bound = 1",
            "bound = \"1\": a duration looks like 250ms, 1s or 15m",
        ),
        (
            "bound = 1.5",
            "bound: takes a string like \"2s\", not a number with a point",
        ),
        (
            "bound = 2026-01-01",
            "bound: takes a string like \"2s\", not a date",
        ),
        ("bound = ['1s']", "bound: takes one value, not a list"),
        (
            "cache-far = 'maybe'",
            "cache-far = \"maybe\": a switch is one of true, false, 1, 0, on, off, yes, no",
        ),
        (
            "near-bytes = '2 parsecs'",
            "near-bytes = \"2 parsecs\": a size looks like 268435456 or 256MiB",
        ),
        (
            "egress-mode = 'audit'",
            "egress-mode = \"audit\": an egress mode is enforce, report-only or off",
        ),
        (
            "instances = 'hot'",
            "instances = \"hot\": instances are warm or fresh",
        ),
        ("window = 0", "window = \"0\": 0 is not in 1..=4294967295"),
        (
            "origin-connections = 5000",
            "origin-connections = \"5000\": 5000 is not in 1..=1000",
        ),
        (
            "local-providers = ['a', 5]",
            "local-providers: a list has strings in it, not an integer",
        ),
        (
            "local-providers = ['a,b']",
            "local-providers: an item of the list has a comma in it",
        ),
        (
            "far-key = 1.5",
            "far-key: takes a string like \"2s\", not a number with a point",
        ),
    ] {
        let expected = format!("ordain.toml cannot be used:\n  line 1: {why}");
        assert_eq!(of_file(line).await, expected);
    }
}

#[tokio::test]
async fn all_that_is_wrong_with_a_file_is_told_at_once() {
    let toml = "bound = \"2s\"\nbund = \"2s\"\n\nwindow = 0\n[cache]\nfar = true\n";
    assert_eq!(
        of_file(toml).await,
        "ordain.toml cannot be used:\n  line 2: unknown key `bund`; did you mean `bound`?\n  \
         line 4: window = \"0\": 0 is not in 1..=4294967295\n  \
         line 5: `cache` is a section, and there are none: every option is one line, like bound = \"2s\""
    );
}

#[tokio::test]
async fn a_file_that_is_none_or_is_not_toml_is_refused_with_the_place() {
    let broken = of_file("bound = \"2s\"\nwindow 5\n").await;
    assert!(
        broken.starts_with("ordain.toml, line 2, column 8: this is not TOML: "),
        "{broken}"
    );
    let twice = of_file("bound = \"2s\"\nbound = \"3s\"\n").await;
    assert!(
        twice.starts_with("ordain.toml, line 2, column 1: this is not TOML: duplicate key"),
        "{twice}"
    );
    let open = of_file("far-key = \"s3cret").await;
    assert!(open.starts_with("ordain.toml, line 1, "), "{open}");

    for (path, words) in [
        (
            "/nonexistent/ordain.toml",
            "error: /nonexistent/ordain.toml cannot be read: No such file or directory",
        ),
        ("/", "error: / is no file"),
    ] {
        let output = cli(["serve", "--dev", "--config", path]).await;
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.stderr.starts_with(words), "{output:?}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("latin.toml");
    std::fs::write(&file, b"jwt-issuer = \"\xe9\"").expect("a file");
    let output = cli(["serve", "--dev", "--config", file.to_str().expect("UTF-8")]).await;
    assert!(output.stderr.contains("save it as UTF-8"), "{output:?}");
}

#[tokio::test]
async fn a_file_with_a_secret_that_everybody_can_read_is_refused_with_the_command_that_mends_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ordain.toml");
    let path = file.to_str().expect("UTF-8");
    let set = |toml: &str, mode: u32| {
        std::fs::write(&file, toml).expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("our own");
    };
    let args = ["serve", "--dev", "--print-config", "--config", path];
    for (toml, key) in [
        ("\nfar-key = 's3cret-s3cret-s3cret'", "far-key"),
        (
            "\ndatabase-url = 'postgres://me:s3cret@db/x'",
            "database-url",
        ),
        ("\nredis-url = 'redis://:s3cret@cache'", "redis-url"),
        (
            "\njwt-hs256-secret = 's3cret-s3cret-s3cret-s3cret-s3cret'",
            "jwt-hs256-secret",
        ),
    ] {
        set(toml, 0o644);
        let output = cli(args).await;
        assert_eq!(
            output.stderr,
            format!(
                "error: {path} holds a secret (`{key}`, line 2) and its mode 0644 lets everybody read it: \
                 chmod 640 {path}\n"
            )
        );
        set(toml, 0o640);
        let output = cli(args).await.expect(0);
        assert!(!output.all().contains(SECRET), "{output:?}");
    }
    set("database-url = 'postgres://me@db/x'", 0o644);
    cli(args).await.expect(0);
}

#[tokio::test]
async fn a_variable_that_nothing_reads_is_refused_with_the_one_that_was_meant() {
    for (name, words) in [
        ("ORDAIN_LISTN", "did you mean ORDAIN_LISTEN?"),
        ("ORDAIN_DATABASE_URL", "did you mean DATABASE_URL?"),
        ("ORDAIN_REDIS_URL", "did you mean REDIS_URL?"),
        (
            "ORDAIN_COLOUR_OF_THE_HOUSE",
            "unset it (docs/configuration.md has all variables)",
        ),
    ] {
        let output = cli_with(&[(name, SECRET)], ["serve", "--dev"]).await;
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(
            output
                .stderr
                .starts_with(&format!("error: {name} is set, but nothing reads it")),
            "{output:?}"
        );
        assert!(output.stderr.contains(words), "{output:?}");
        assert!(!output.all().contains(SECRET));
    }
    // A service of Kubernetes that is called ordain.
    let env = [
        ("ORDAIN_SERVICE_HOST", "10.0.0.1"),
        ("ORDAIN_PORT_7171_TCP", "tcp://10.0.0.1:7171"),
    ];
    cli_with(&env, ["serve", "--dev", "--print-config"])
        .await
        .expect(0);
}

/// Variables, flags, and what the message begins with.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], &'a str);

#[tokio::test]
async fn guards_say_what_to_do_and_where_the_value_comes_from() {
    let db = ("DATABASE_URL", "postgres://me:s3cret@db/x");
    let key = ("ORDAIN_JWT_HS256_SECRET", ordain_tests::tokens::SECRET);
    let cases: [Case; 14] = [
        (
            &[key],
            &[],
            "error: memory origin is not permitted in production: set DATABASE_URL, or ORDAIN_ENV=development\n",
        ),
        (
            &[db],
            &[],
            "error: no key to check tokens by: set ORDAIN_JWKS_FILE, ORDAIN_JWKS_URL, ORDAIN_OIDC_ISSUER, \
             ORDAIN_JWT_PUBLIC_KEY or ORDAIN_JWT_HS256_SECRET, or --dev for development\n",
        ),
        (
            &[("ORDAIN_LISTEN", "0.0.0.0:7171")],
            &["--dev"],
            "error: --dev has no access control, so ORDAIN_LISTEN=0.0.0.0:7171 is refused: listen on a loopback address like \
             127.0.0.1:7171, or leave --dev out and set a key to check tokens by\n",
        ),
        (
            &[("ORDAIN_ENV", "production")],
            &["--dev"],
            "error: --dev is refused with ORDAIN_ENV=production: leave one of them out\n",
        ),
        (
            &[db, key],
            &["--env", "staging"],
            "error: ORDAIN_ENV is \"staging\": it must be production, development or test\n  \
             ORDAIN_ENV is set by flag --env\n",
        ),
        (
            &[("ORDAIN_DEFAULT_MODEL", "m")],
            &["--dev"],
            "error: ORDAIN_DEFAULT_MODEL is set without ORDAIN_DEFAULT_PROVIDER: a default for tenants without a \
             policy needs both\n",
        ),
        (
            &[],
            &["--dev", "--bound", "400ms"],
            "error: ORDAIN_BOUND must be above the feed's interval (250ms) plus ORDAIN_FEED_DEADLINE (300ms): \
             raise the bound or lower the deadline\n  ORDAIN_BOUND is set by flag --bound\n",
        ),
        (
            &[("ORDAIN_FAR_DEADLINE", "0s")],
            &["--dev"],
            "error: ORDAIN_FAR_DEADLINE must not be zero: leave it out for its default, or set a time like 250ms\n",
        ),
        (
            &[("DATABASE_URL", "mysql://me:s3cret@db/x"), key],
            &[],
            "error: DATABASE_URL: the database URL must begin with postgres://\n",
        ),
        (
            &[("DATABASE_URL", "postgres://me:s3cret@db:port/x"), key],
            &[],
            "error: DATABASE_URL: a port in the database URL is no number from 1 to 65535\n",
        ),
        (
            &[db, ("ORDAIN_JWT_HS256_SECRET", "s3cret")],
            &[],
            "error: ORDAIN_JWT_HS256_SECRET: ",
        ),
        (
            &[db, ("ORDAIN_JWKS_FILE", "/nonexistent.json")],
            &[],
            "error: ORDAIN_JWKS_FILE: /nonexistent.json ",
        ),
        (
            &[],
            &["--dev", "--listen", "somewhere"],
            "error: ORDAIN_LISTEN: \"somewhere\" is no address to listen on, which looks like 127.0.0.1:7171 or unix:/run/ordain.sock",
        ),
        (
            &[("ORDAIN_CACHE_FAR", "maybe")],
            &["--dev"],
            "error: ORDAIN_CACHE_FAR is \"maybe\": a switch is one of true, false, 1, 0, on, off, yes, no\n",
        ),
    ];
    for (env, flags, words) in cases {
        let output = cli_with(env, [&["serve"], flags].concat()).await;
        assert_eq!(output.code, Some(2), "{words}: {output:?}");
        assert!(output.stdout.is_empty(), "{words}: {output:?}");
        assert!(
            output.stderr.starts_with(words),
            "{words}\n{}",
            output.stderr
        );
        assert!(!output.all().contains(SECRET), "{output:?}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ordain.toml");
    std::fs::write(&file, "\nbound = \"400ms\"").expect("a file");
    private(&file);
    let path = file.to_str().expect("UTF-8");
    let output = cli(["serve", "--dev", "--config", path]).await;
    assert!(
        output
            .stderr
            .ends_with(&format!("ORDAIN_BOUND is set by {path}, line 2\n")),
        "{output:?}"
    );
}

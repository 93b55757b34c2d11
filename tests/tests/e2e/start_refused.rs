//! What `ordain serve` refuses to start with, and that it says what to do.

use ordain_tests::app::{App, Builder};

use crate::support::database;

/// It ends with a failure and says all of this.
async fn refused(builder: Builder, says: &[&str]) {
    let what = format!("{builder:?}");
    let (code, log) = builder.refused().await;
    assert!(matches!(code, Some(1 | 2)), "{what}: {code:?}\n{log}");
    assert!(!log.contains("listening on"), "{what}\n{log}");
    for part in says {
        assert!(log.contains(part), "{what} should say {part:?}\n{log}");
    }
}

#[tokio::test]
async fn the_memory_origin_is_refused_in_production() {
    let message =
        "memory origin is not permitted in production: set DATABASE_URL, or ORDAIN_ENV=development";
    refused(App::builder(), &[message]).await;
    refused(App::builder().env("ORDAIN_ENV", "production"), &[message]).await;
    refused(
        App::builder().env("DATABASE_URL", "").env("ORDAIN_ENV", ""),
        &[message],
    )
    .await;
    for environment in ["development", "test"] {
        App::builder().env("ORDAIN_ENV", environment).start().await;
    }
}

#[tokio::test]
async fn an_unclear_environment_is_refused() {
    refused(
        App::builder().dev().env("ORDAIN_ENV", "production"),
        &["--dev", "production"],
    )
    .await;
    refused(
        App::builder().env("ORDAIN_ENV", "staging"),
        &["staging", "development"],
    )
    .await;
    refused(
        App::builder().env("ORDAIN_ENV", "Production"),
        &["ORDAIN_ENV"],
    )
    .await;
}

#[tokio::test]
async fn addresses_that_are_not_loopback_are_refused() {
    // The builder gives a loopback address; the variable would lose against its flag.
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7171", "somewhere"] {
        let args = ["serve", "--dev", "--listen", address];
        let ended = ordain_tests::cli::cli(args).await;
        assert!(matches!(ended.code, Some(1 | 2)), "{address}: {ended:?}");
        assert!(
            ended.stderr.contains(address.split(':').next().unwrap()),
            "{address}: {ended:?}"
        );
        assert!(ended.stdout.is_empty(), "{address}: {ended:?}");
    }
}

#[tokio::test]
async fn half_a_deployment_default_is_refused() {
    let (provider, model) = ("ORDAIN_DEFAULT_PROVIDER", "ORDAIN_DEFAULT_MODEL");
    refused(App::builder().dev().env(provider, "p"), &[provider, model]).await;
    refused(App::builder().dev().env(model, "m"), &[provider, model]).await;
    refused(
        App::builder().dev().env(model, "m").env(provider, ""),
        &[provider, model],
    )
    .await;
    refused(
        App::builder()
            .dev()
            .env(model, "m")
            .env(provider, &"p".repeat(257)),
        &[provider],
    )
    .await;
}

#[tokio::test]
async fn words_and_durations_that_nobody_can_read_are_refused() {
    for (name, value) in [
        ("ORDAIN_CACHE", "maybe"),
        ("ORDAIN_CACHE_POLICY", "2"),
        ("ORDAIN_CACHE_CONFIG", "enabled"),
        ("ORDAIN_CACHE_NEAR", "tru"),
        ("ORDAIN_CACHE_FAR", "y"),
        ("ORDAIN_EGRESS_MODE", "audit"),
        ("ORDAIN_BOUND", "soon"),
        ("ORDAIN_BOUND", "1"),
        ("ORDAIN_BOUND", "-1s"),
        ("ORDAIN_FAR_TTL", "5 parsecs"),
        ("ORDAIN_WINDOW", "many"),
        ("ORDAIN_NEAR_BYTES", "-5"),
        ("ORDAIN_SCHEMA", "My-Schema"),
        ("ORDAIN_SCHEMA", "pg_ordain"),
        // A bound that the feed cannot keep.
        ("ORDAIN_BOUND", "400ms"),
    ] {
        let builder = App::builder().dev().env(name, value);
        let (code, log) = builder.refused().await;
        assert!(
            matches!(code, Some(1 | 2)),
            "{name}={value}: {code:?}\n{log}"
        );
        let flag = format!(
            "--{}",
            name.trim_start_matches("ORDAIN_")
                .to_lowercase()
                .replace('_', "-")
        );
        assert!(
            log.contains(name) || log.contains(&flag),
            "{name}={value} is not named\n{log}"
        );
    }
    for word in ["TRUE", "Off", "0", "yes", ""] {
        App::builder()
            .dev()
            .env("ORDAIN_CACHE_NEAR", word)
            .start()
            .await;
    }
}

#[tokio::test]
async fn a_component_that_is_missing_or_none_is_refused() {
    refused(
        App::builder()
            .dev()
            .env("ORDAIN_COMPONENT", "/nonexistent.wasm"),
        &["/nonexistent.wasm"],
    )
    .await;
    let (_guard, other) = crate::cli_remote::file("no component");
    refused(
        App::builder().dev().env("ORDAIN_COMPONENT", &other),
        &["component"],
    )
    .await;
    // A component of another world: it exports nothing.
    let (_guard, empty) = crate::cli_remote::file("");
    std::fs::write(&empty, b"\0asm\x0d\0\x01\0").expect("a file");
    refused(
        App::builder().dev().env("ORDAIN_COMPONENT", &empty),
        &["ordain:policy/policy"],
    )
    .await;
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_refused_and_its_password_is_not_shown() {
    for url in [
        "postgres://someone:s3cret@127.0.0.1:1/ordain",
        "mysql://someone:s3cret@h/d",
        "s3cret",
    ] {
        let (code, log) = App::builder().postgres(url).refused().await;
        assert!(matches!(code, Some(1 | 2)), "{code:?}\n{log}");
        assert!(!log.contains("s3cret"), "{log}");
    }
    let missing = database().await.replace("/test_", "/missing_");
    refused(App::builder().postgres(&missing), &[]).await;
}

#[tokio::test]
async fn a_file_of_policies_with_a_fault_stops_the_start() {
    let (_guard, broken) = crate::cli_remote::file(r#"{"a":{"defaultProvider":"p"}}"#);
    refused(
        App::builder().dev().arg("--load").arg(&broken),
        &["/defaultModel"],
    )
    .await;
}

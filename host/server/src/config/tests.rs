use std::ffi::OsString;

use clap::{Args, Command, FromArgMatches};

use super::*;
use ordain::options::OriginChoice;

/// Parses flags alone: what the environment of the tests holds must not matter.
fn config(flags: &[&str]) -> Config {
    try_config(flags).unwrap_or_else(|error| panic!("{error}"))
}

fn try_config(flags: &[&str]) -> Result<Config, clap::Error> {
    let command = Config::augment_args(Command::new("ordain"))
        .mut_args(|argument| argument.env(None::<&'static str>));
    let matches = command.try_get_matches_from([&["ordain"], flags].concat())?;
    Config::from_arg_matches(&matches)
}

fn refused(flags: &[&str], dev: bool) -> ConfigError {
    config(flags).settings(dev).expect_err("must be refused")
}

const DB: &str = "--database-url=postgres://me:s3cret@db/x";

#[test]
fn the_memory_origin_is_for_development_and_tests_only() {
    assert_eq!(
        refused(&[], false).to_string(),
        "memory origin is not permitted in production: set DATABASE_URL, or ORDAIN_ENV=development"
    );
    assert_eq!(
        refused(&["--env=production", "--database-url="], false),
        ConfigError::MemoryOrigin
    );
    for env in ["--env=development", "--env=test"] {
        let settings = config(&[env]).settings(false).expect("permitted");
        assert_eq!(settings.options.origin, OriginChoice::Memory);
    }
    let settings = config(&[DB]).settings(false).expect("permitted");
    assert_eq!(settings.environment, Environment::Production);
}

#[test]
fn dev_means_development_unless_something_else_is_said() {
    let settings = config(&[]).settings(true).expect("permitted");
    assert_eq!(settings.environment, Environment::Development);
    assert_eq!(settings.options.origin, OriginChoice::Memory);
    assert_eq!(
        config(&["--env=test"])
            .settings(true)
            .expect("ok")
            .environment,
        Environment::Test
    );
    let with_database = config(&[DB])
        .settings(true)
        .expect("permitted")
        .options
        .origin;
    assert!(matches!(with_database, OriginChoice::Postgres { .. }));
    assert_eq!(
        refused(&["--env=production", DB], true),
        ConfigError::DevInProduction
    );
    assert_eq!(
        refused(&["--env=prod", DB], false),
        ConfigError::Environment("prod".into())
    );
}

#[test]
fn half_a_deployment_default_and_a_bound_that_cannot_hold_are_refused() {
    let half = refused(&[DB, "--default-model=m"], false);
    assert!(
        matches!(half, ConfigError::HalfDefault("ORDAIN_DEFAULT_MODEL", _)),
        "{half}"
    );
    let both = config(&[DB, "--default-model=m", "--default-provider=p"]).settings(false);
    let both = both.expect("permitted").options.deployment_default;
    assert_eq!(both, Some(("p".to_owned(), "m".to_owned())));
    assert!(matches!(
        refused(&[DB, "--bound=550ms"], false),
        ConfigError::Bound(_)
    ));
    assert!(config(&[DB, "--bound=551ms"]).settings(false).is_ok());
    assert_eq!(
        refused(&[DB, "--far-deadline=0s"], false),
        ConfigError::Zero("ORDAIN_FAR_DEADLINE")
    );
}

#[test]
fn with_dev_only_loopback_addresses_are_listened_on() {
    let listen = |address: &str, dev| config(&[DB, "--listen", address]).settings(dev);
    for near in ["127.0.0.1:0", "[::1]:80", "localhost:7171", "127.9.9.9:1"] {
        assert!(listen(near, true).is_ok(), "{near}");
        assert!(listen(near, false).is_ok(), "{near}");
    }
    for far in [
        "0.0.0.0:7171",
        "[::]:7171",
        "10.0.0.1:80",
        "[::ffff:10.0.0.1]:80",
    ] {
        let error = listen(far, true).expect_err(far);
        assert!(matches!(error, ConfigError::DevReachable(_)), "{far}");
        assert!(listen(far, false).is_ok(), "{far}");
    }
    assert!(matches!(
        refused(&[DB, "--listen", "7171"], true),
        ConfigError::Listen(_)
    ));
    let swapped = refused(&[DB, "--listen", "postgres://me:s3cret@db/x"], true);
    assert!(!swapped.to_string().contains("s3cret"), "{swapped}");
}

#[test]
fn a_socket_has_an_absolute_path_that_fits() {
    let listen = |text: &str| config(&[DB, "--listen", text]).settings(false);
    for text in ["unix:/run/ordain.sock", "unix:///run/ordain.sock"] {
        let listen = listen(text).expect("a socket").listen;
        assert_eq!(listen, Listen::Unix("/run/ordain.sock".into()));
        assert_eq!(listen.to_string(), "unix:/run/ordain.sock");
    }
    assert!(listen(&format!("unix:/{}", "x".repeat(106))).is_ok());
    for wrong in [
        "unix:",
        "unix:x.sock",
        "unix:/run/",
        "unix:/",
        &format!("unix:/{}", "x".repeat(107)),
    ] {
        assert!(
            matches!(listen(wrong), Err(ConfigError::Socket(_))),
            "{wrong}"
        );
    }
}

#[test]
fn values_are_parsed_strictly_and_switches_in_any_case() {
    for (word, on) in [
        ("TRUE", true),
        ("1", true),
        ("On", true),
        ("yes", true),
        ("FALSE", false),
        ("0", false),
        ("oFF", false),
        ("no", false),
    ] {
        assert_eq!(config(&["--cache-far", word]).cache_far, on, "{word}");
    }
    for bad in [
        ["--cache", "maybe"],
        ["--cache", ""],
        ["--bound", "1"],
        ["--bound", "soon"],
        ["--bound", "1us"],
        ["--bound", "1y"],
        ["--window", "0"],
        ["--window", "-1"],
        ["--near-bytes", "2 parsecs"],
        ["--egress-mode", "Off"],
    ] {
        assert!(try_config(&bad).is_err(), "{bad:?}");
    }
    assert_eq!(config(&["--near-bytes=2MiB"]).near_bytes, 2 << 20);
    assert_eq!(config(&["--bound=15m"]).bound, Duration::from_secs(900));
    let options = config(&[
        DB,
        "--local-providers= a, b ,",
        "--far-key=key-1-of-16-bytes,key-2-of-16-bytes",
    ])
    .settings(false)
    .expect("ok")
    .options;
    assert_eq!(options.local_providers, ["a", "b"]);
    let far_keys: Vec<_> = options.far_keys.iter().map(|key| key.reveal()).collect();
    assert_eq!(far_keys, ["key-1-of-16-bytes", "key-2-of-16-bytes"]);
}

#[test]
fn defaults_are_those_of_the_library() {
    let settings = config(&[]).settings(true).expect("permitted");
    assert_eq!(settings.options, ordain::options::Options::default());
}

#[test]
fn the_shown_configuration_has_every_variable_and_no_secret() {
    let settings = config(&[
        DB,
        "--redis-url=redis://:s3cret@cache",
        "--far-key=s3cret-s3cret-s3cret",
        "--migrate-url=postgres://o:s3cret@db/x",
        "--jwt-hs256-secret=s3cret-s3cret-s3cret-s3cret-0000",
    ]);
    let debug = format!("{:?}", settings.settings(false));
    assert!(!debug.contains("s3cret"), "{debug}");
    let shown = settings.draft(false).shown();
    assert!(!format!("{shown:?}").contains("s3cret"), "{shown:?}");
    let command = Config::augment_args(Command::new("ordain"));
    let variables: Vec<_> = command
        .get_arguments()
        .filter_map(|a| a.get_env()?.to_str())
        .collect();
    let names: Vec<_> = shown.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, variables);
}

#[test]
fn variables_that_nothing_reads_are_named_with_the_nearest_one() {
    let command = Config::augment_args(Command::new("ordain"));
    let variables = [
        ("ORDAIN_LISTN", "x"),
        ("ORDAIN_BOUND", "1s"),
        ("ORDAIN_SERVER", "x"),
        ("ORDAIN_EMPTY", ""),
        ("PATH", "x"),
        ("ORDAIN_SOMETHING_ELSE", "1"),
    ]
    .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let remarks = strangers(&command, variables.into_iter());
    assert_eq!(remarks.len(), 2, "{remarks:?}");
    assert!(
        remarks[0].contains("did you mean ORDAIN_LISTEN?"),
        "{remarks:?}"
    );
    assert!(
        remarks[1].starts_with("ORDAIN_SOMETHING_ELSE"),
        "{remarks:?}"
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let several = refused(
        &[
            "--listen=7171",
            "--far-key=short",
            "--default-model=m",
            "--far-ttl=0s",
        ],
        false,
    );
    let ConfigError::Several(all) = &several else {
        panic!("{several}");
    };
    assert_eq!(all.len(), 5, "{several}");
    assert!(all.contains(&ConfigError::MemoryOrigin), "{several}");
    assert!(!several.to_string().contains("short"), "{several}");
}

#[test]
fn keys_that_could_be_guessed_names_that_are_none_and_other_kinds_of_redis_are_refused() {
    let sixteen = "sixteen-bytes-ok";
    for (keys, number) in [("short", 1), (",", 1), (&*format!("{sixteen},short"), 2)] {
        let error = refused(&[DB, &format!("--far-key={keys}")], false);
        assert_eq!(error, ConfigError::FarKey(number), "{keys}");
    }
    assert!(
        config(&[DB, &format!("--far-key={sixteen}")])
            .settings(false)
            .is_ok()
    );
    assert_eq!(
        refused(&[DB, "--local-providers=a,b\u{7}"], false),
        ConfigError::LocalProvider(2)
    );
    for url in ["http://:s3cret@cache", "cache:6379", "redis://"] {
        let error = refused(&[DB, "--redis-url", url], false);
        assert!(matches!(error, ConfigError::Url("REDIS_URL", _)), "{url}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

#[test]
fn every_option_that_takes_a_secret_is_marked_as_one() {
    let command = Config::augment_args(Command::new("ordain"));
    for option in command.get_arguments() {
        let names = option.get_value_names().unwrap_or_default();
        let looks_secret = names.iter().any(|name| *name == "SECRET" || *name == "URL");
        let id = option.get_id().as_str();
        assert_eq!(secrets::is_secret(id), looks_secret, "{id}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(400))]
    #[test]
    fn no_random_url_shows_its_secret_in_what_is_printed_or_refused(
        url in ordain_store::secret::random::url(),
    ) {
        for flag in ["--database-url", "--migrate-url", "--redis-url", "--jwks-url"] {
            let settings = config(&[DB, &format!("{flag}={url}")][usize::from(flag == "--database-url")..]);
            let draft = settings.draft(true).shown();
            let shown = match settings.settings(true) {
                Ok(settings) => format!("{settings:?} {draft:?}"),
                Err(error) => format!("{error} {error:?} {draft:?}"),
            };
            let mark = ordain_store::secret::random::MARK;
            proptest::prop_assert!(!shown.contains(mark), "{flag}={url}: {shown}");
        }
    }
}

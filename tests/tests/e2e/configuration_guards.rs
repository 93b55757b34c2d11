//! What is refused beside single values: several faults at once, secrets that could be guessed,
//! places that cannot be listened on. The whole messages are here, to be read. Values of the file
//! are in `configuration_broken`.

use std::net::TcpListener;

use ordain_tests::cli::{Output, cli, cli_with};

use crate::configuration::printed;

/// Hidden in every value that is secret.
const SECRET: &str = "s3cret";

/// Ends as wrong usage does, with nothing said on standard output and no secret anywhere.
async fn refused(env: &[(&str, &str)], flags: &[&str]) -> String {
    let output = cli_with(env, [&["serve"], flags].concat()).await;
    of(output, 2)
}

fn of(output: Output, code: i32) -> String {
    assert_eq!(output.code, Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(!output.all().contains(SECRET), "{output:?}");
    output.stderr
}

#[tokio::test]
async fn all_that_is_wrong_is_told_in_one_go_each_with_the_place_it_was_set() {
    let env = [
        ("ORDAIN_ENV", "staging"),
        ("REDIS_URL", "http://:s3cret@cache"),
        ("ORDAIN_DEFAULT_MODEL", "m"),
    ];
    assert_eq!(
        refused(&env, &["--far-key", "s3cret", "--far-ttl", "0s"]).await,
        "error: several things are wrong:\n  \
         ORDAIN_ENV is \"staging\": it must be production, development or test\n  \
         ORDAIN_DEFAULT_MODEL is set without ORDAIN_DEFAULT_PROVIDER: a default for tenants without a policy needs \
         both\n  \
         ORDAIN_FAR_TTL must not be zero: leave it out for its default, or set a time like 250ms\n  \
         REDIS_URL: the Redis URL cannot be read: redis://USER:PASSWORD@HOST:PORT/NUMBER, rediss://... (by TLS), \
         redis+unix:///PATH, redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT, \
         rediss+cluster://..., redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME or rediss+sentinel://... \
         is expected\n  \
         key 1 of ORDAIN_FAR_KEY has fewer than 16 bytes, so it could be guessed: openssl rand -hex 32 makes one\n  \
         no key to check tokens by: set ORDAIN_JWKS_FILE, ORDAIN_JWKS_URL, ORDAIN_OIDC_ISSUER, ORDAIN_JWT_PUBLIC_KEY \
         or ORDAIN_JWT_HS256_SECRET, or --dev for development\n  \
         ORDAIN_FAR_KEY is set by flag --far-key\n  \
         ORDAIN_FAR_TTL is set by flag --far-ttl\n"
    );
}

#[tokio::test]
async fn all_variables_with_values_that_nobody_can_read_are_named_unless_a_flag_wins() {
    let env = [
        ("ORDAIN_BOUND", "1"),
        ("ORDAIN_NEAR_BYTES", "2 parsecs"),
        ("ORDAIN_ORIGIN_CONNECTIONS", "0"),
        ("ORDAIN_CACHE", "maybe"),
    ];
    assert_eq!(
        refused(&env, &["--dev", "--cache", "on"]).await,
        "error: ORDAIN_BOUND is \"1\": a duration looks like 250ms, 1s or 15m\n  \
         ORDAIN_NEAR_BYTES is \"2 parsecs\": a size looks like 268435456 or 256MiB\n  \
         ORDAIN_ORIGIN_CONNECTIONS is \"0\": 0 is not in 1..=1000\n"
    );
    // A command on a database says the same; one on a server has no use for them.
    let url = "postgres://me:s3cret@127.0.0.1:1/x";
    let args = ["resolve", "--tenant", "t", "--database-url", url];
    let said = of(cli_with(&env[..1], args).await, 2);
    assert_eq!(
        said,
        "error: ORDAIN_BOUND is \"1\": a duration looks like 250ms, 1s or 15m\n"
    );
    let args = ["resolve", "--tenant", "t", "--server", "http://127.0.0.1:1"];
    assert!(!of(cli_with(&env, args).await, 1).contains("ORDAIN_BOUND"));
}

#[tokio::test]
async fn a_flag_that_is_wrong_is_named_as_a_flag() {
    let said = refused(&[("ORDAIN_BOUND", "2s")], &["--dev", "--bound", "1"]).await;
    assert!(
        said.starts_with(
            "error: invalid value '1' for '--bound <DURATION>': a duration looks like 250ms, 1s or 15m\n"
        ),
        "{said}"
    );
    let said = refused(&[], &["--dev", "--near-byte", "1"]).await;
    assert!(said.contains("'--near-bytes'"), "{said}");
}

#[tokio::test]
async fn variables_are_not_mistaken_for_others_of_the_same_length() {
    let said = refused(&[("ORDAIN_JWT_SECRET", SECRET)], &["--dev"]).await;
    assert_eq!(
        said,
        "error: ORDAIN_JWT_SECRET is set, but nothing reads it; did you mean ORDAIN_JWT_HS256_SECRET?\n"
    );
}

#[tokio::test]
async fn a_link_to_nowhere_is_not_taken_for_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join("ordain.toml");
    std::os::unix::fs::symlink("gone.toml", &link).expect("a link");
    let output = cli_in(folder.path(), ["serve", "--dev", "--print-config"]).await;
    assert_eq!(
        of(output, 2),
        "error: ordain.toml cannot be read: No such file or directory (os error 2); make it, or name another by \
         --config or ORDAIN_CONFIG\n"
    );
}

/// A command in this folder: a file that is not named is looked for there.
async fn cli_in<const N: usize>(folder: &std::path::Path, args: [&str; N]) -> Output {
    let mut command = tokio::process::Command::new(ordain_tests::process::binary());
    for name in ordain_tests::process::scrubbed() {
        command.env_remove(name);
    }
    let output = command.current_dir(folder).args(args).output();
    let output = output.await.expect("the binary can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_listened_on_is_told_with_a_way_out() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = holder.local_addr().expect("an address").to_string();
    let output = cli(["serve", "--dev", "--listen", &taken]).await;
    let said = of(output, 1);
    let why = format!(
        "error: {taken} cannot be listened on: Address already in use (os error 98); choose another with --listen \
         (ORDAIN_LISTEN), or port 0\n"
    );
    assert!(said.ends_with(&why), "{said}");
    // Of the networks for documentation (RFC 5737), so nobody's.
    let args = ["serve", "--env", "test", "--listen", "192.0.2.1:7171"];
    let key = (
        "ORDAIN_JWT_HS256_SECRET",
        "s3cret-s3cret-s3cret-s3cret-s3cret",
    );
    let said = of(cli_with(&[key], args).await, 1);
    assert!(
        said.ends_with(
            "this machine has no such address: choose one that it has with --listen (ORDAIN_LISTEN), or 0.0.0.0 for \
             all of them\n"
        ),
        "{said}"
    );
}

#[tokio::test]
async fn what_is_printed_can_be_given_to_a_shell_as_it_is() {
    let url = "postgres://db/x?application_name=a&sslmode=disable";
    let toml = format!("database-url = \"{url}\"\njwt-issuer = \"~/a $HOME\"\n");
    let shown = printed(&toml, &[], &[]).await.expect(0).json();
    assert_eq!(shown["DATABASE_URL"]["value"], url);
    let env = [("DATABASE_URL", url), ("ORDAIN_JWT_ISSUER", "~/a $HOME")];
    let text = cli_with(&env, ["serve", "--dev", "--print-config"])
        .await
        .expect(0)
        .stdout;
    for line in [
        format!("DATABASE_URL='{url}'\n"),
        "ORDAIN_JWT_ISSUER='~/a $HOME'\n".to_owned(),
    ] {
        assert!(text.contains(&line), "{text}");
    }
}

#[tokio::test]
async fn a_pipe_that_lies_about_a_device_without_end_and_keys_for_a_terminal_do_no_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = tokio::process::Command::new("mkfifo")
        .arg(folder.path().join("ordain.toml"))
        .status();
    assert!(made.await.expect("coreutils").success());
    let output = cli_in(folder.path(), ["serve", "--dev", "--print-config"]).await;
    assert_eq!(
        of(output, 2),
        "error: ordain.toml is no file: --config and ORDAIN_CONFIG name a file like ordain.toml\n"
    );
    assert_eq!(
        refused(&[], &["--dev", "--config", "/dev/zero"]).await,
        "error: /dev/zero cannot be read: it is larger than 1024 KiB, which no configuration is\n"
    );
    let output = printed("\"\\u001b[2J\" = 1\n", &[], &[]).await;
    assert!(of(output, 2).ends_with(
        "line 1: unknown key `\\u{1b}[2J`; the keys are the flags of `ordain serve --help`\n"
    ));
}

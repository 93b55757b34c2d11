//! The command line and tokens: `ordain token` makes them, commands send them, and what a server
//! answers to bad ones is shown with what to do.

use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ordain_tests::app::App;
use ordain_tests::cli::{Output, cli, cli_with};
use ordain_tests::tokens::{EC, EC384, ED25519, Pair, RSA, SECRET, now, reader};
use serde_json::{Value, json};

use crate::access::guarded;
use crate::cli_remote::file;
use crate::support::{plain, version};

const ENV: [(&str, &str); 1] = [("ORDAIN_JWT_HS256_SECRET", SECRET)];

fn part(token: &str, index: usize) -> Value {
    let part = token.trim().split('.').nth(index).expect("three parts");
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// A token and nothing else, which the server takes.
fn printed(output: Output) -> String {
    let output = output.expect(0);
    assert!(output.stderr.is_empty(), "{output:?}");
    let token = output.stdout.trim_end();
    assert_eq!(output.stdout, format!("{token}\n"));
    assert_eq!(token.split('.').count(), 3, "{token}");
    token.to_owned()
}

#[tokio::test]
async fn tokens_are_made_for_every_role_and_taken() {
    let app = guarded().await;
    let make = async |args: &[&str]| printed(cli_with(&ENV, [&["token"], args].concat()).await);
    let admin = make(&["--sub", "me", "--role", "admin"]).await;
    let claims = part(&admin, 1);
    assert_eq!(
        (&claims["sub"], &claims["role"]),
        (&json!("me"), &json!("admin"))
    );
    let exp = claims["exp"].as_u64().expect("a number");
    assert!(
        (now() + 3500..now() + 3700).contains(&exp),
        "an hour: {claims}"
    );
    app.with(&admin).get("/v1/tenants").await.expect(200);
    let editor = make(&["--sub", "ann", "--role", "editor", "--tenant", "acme"]).await;
    app.with(&editor).store("acme", &version(1)).await;
    let reader = make(&[
        "--sub", "bea", "--role", "reader", "--tenant", "acme", "--ttl", "5m",
    ])
    .await;
    app.with(&reader)
        .get("/v1/tenants/acme/policy")
        .await
        .expect(200);
    app.with(&reader)
        .get("/v1/tenants/other/policy")
        .await
        .expect(403);
    let all = make(&["--sub", "gateway", "--role", "resolver"]).await;
    app.with(&all).resolve(&plain("acme")).await.expect(200);
    let some = make(&[
        "--sub",
        "g",
        "--role",
        "resolver",
        "--tenants",
        "acme, other",
    ])
    .await;
    assert_eq!(part(&some, 1)["tenants"], json!(["acme", "other"]));
    app.with(&some).resolve(&plain("other")).await.expect(200);
    app.with(&some).resolve(&plain("third")).await.expect(403);
    let named = ["--issuer", "i", "--audience", "a", "--kid", "k"];
    let named = make(&[&["--sub", "me", "--role", "admin"][..], &named].concat()).await;
    let claims = part(&named, 1);
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("i"), &json!("a")));
    assert_eq!(part(&named, 0)["kid"], "k");
    let json = cli_with(&ENV, ["token", "--sub", "me", "--role", "admin", "--json"]).await;
    let token = json.expect(0).json()["token"]
        .as_str()
        .expect("a text")
        .to_owned();
    app.with(&token).get("/v1/tenants").await.expect(200);
}

#[tokio::test]
async fn tokens_are_signed_with_private_keys_that_only_their_owner_can_read() {
    for pair in [&RSA, &EC, &EC384, &ED25519] {
        let app = App::builder()
            .env("ORDAIN_ENV", "test")
            .env("ORDAIN_JWT_HS256_SECRET", "")
            .env("ORDAIN_JWT_PUBLIC_KEY", &pair.public)
            .start()
            .await;
        let (_guard, key) = file(&pair.private);
        let args = ["token", "--sub", "me", "--role", "admin", "--key", &key];
        let mode = |mode| {
            let mode = PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&key, mode).expect("our own");
        };
        for open in [0o644, 0o604] {
            mode(open);
            let failed = cli(args).await.expect(1);
            assert!(failed.stdout.is_empty(), "{failed:?}");
            for part in [&key, &*format!("{open:04o}"), "chmod 600"] {
                assert!(failed.stderr.contains(part), "{part}: {failed:?}");
            }
        }
        mode(0o440);
        printed(cli(args).await);
        mode(0o600);
        let token = printed(cli(args).await);
        assert_eq!(part(&token, 0)["alg"], pair.signer.algorithm());
        app.with(&token).get("/v1/tenants").await.expect(200);
        // The key that is given wins over a secret that is at hand.
        let token = printed(cli_with(&ENV, args).await);
        assert_eq!(part(&token, 0)["alg"], pair.signer.algorithm());
    }
    let (_guard, public) = file(&Pair::ec().public);
    std::fs::set_permissions(&public, PermissionsExt::from_mode(0o600)).expect("our own");
    let failed = cli(["token", "--sub", "me", "--role", "admin", "--key", &public]).await;
    assert!(failed.expect(1).stderr.contains("private key"));
}

#[tokio::test]
async fn tokens_are_made_as_the_service_is_told_to_read_them() {
    let env = [
        ("ORDAIN_JWT_HS256_SECRET", SECRET),
        ("ORDAIN_JWT_ROLE_CLAIM", "app_metadata.role"),
        ("ORDAIN_JWT_ROLE_MAP", "Writer=editor,Gateway=resolver"),
        ("ORDAIN_JWT_TENANT_CLAIM", "app_metadata.tenant"),
        ("ORDAIN_JWT_TENANTS_CLAIM", "https://ordain.example/tenants"),
        ("ORDAIN_JWT_MAX_LIFETIME", "2h"),
    ];
    let app = env.iter().fold(
        App::builder().env("ORDAIN_ENV", "test"),
        |app, (name, value)| app.env(name, value),
    );
    let app = app.start().await;
    let make =
        async |args: &[&str]| cli_with(&env, [&["token", "--sub", "me"], args].concat()).await;
    let editor = printed(make(&["--role", "editor", "--tenant", "acme"]).await);
    let claims = part(&editor, 1);
    assert_eq!(
        claims["app_metadata"],
        json!({"role": "Writer", "tenant": "acme"})
    );
    app.with(&editor).store("acme", &version(1)).await;
    let gateway = printed(make(&["--role", "resolver", "--tenants", "acme"]).await);
    assert_eq!(
        part(&gateway, 1)["https://ordain.example/tenants"],
        json!(["acme"])
    );
    app.with(&gateway).resolve(&plain("acme")).await.expect(200);
    app.with(&gateway)
        .resolve(&plain("other"))
        .await
        .expect(403);
    let none = make(&["--role", "admin"]).await.expect(2);
    assert!(none.stderr.contains("ORDAIN_JWT_ROLE_MAP"), "{none:?}");
    let long = make(&["--role", "resolver", "--ttl", "3h"]).await.expect(2);
    assert!(long.stderr.contains("ORDAIN_JWT_MAX_LIFETIME"), "{long:?}");
}

#[tokio::test]
async fn tokens_that_no_server_would_take_are_not_made() {
    let no_key = cli(["token", "--sub", "me", "--role", "admin"])
        .await
        .expect(2);
    assert!(
        no_key.stderr.contains("ORDAIN_JWT_HS256_SECRET"),
        "{no_key:?}"
    );
    let short = [("ORDAIN_JWT_HS256_SECRET", "s3cret")];
    let short = cli_with(&short, ["token", "--sub", "me", "--role", "admin"]).await;
    assert!(
        short.stderr.contains("32 bytes") && !short.all().contains("s3cret"),
        "{short:?}"
    );
    for args in [
        &["--role", "admin"][..],
        &["--sub", "me"],
        &["--sub", "me", "--role", "root"],
        &["--sub", "", "--role", "admin"],
        &["--sub", "ordain", "--role", "admin"],
        &["--sub", "me", "--role", "reader"],
        &["--sub", "me", "--role", "editor"],
        &["--sub", "me", "--role", "editor", "--tenant", ".."],
        &["--sub", "me", "--role", "resolver", "--tenants", "a,.."],
        &["--sub", "me", "--role", "admin", "--ttl", "soon"],
    ] {
        let failed = cli_with(&ENV, [&["token"], args].concat()).await.expect(2);
        assert!(failed.stdout.is_empty(), "{args:?}: {failed:?}");
        assert!(!failed.all().contains(SECRET), "{args:?}: {failed:?}");
    }
    let help = cli_with(&ENV, ["token", "--help"]).await.expect(0);
    assert!(
        help.stdout.contains("Examples:") && !help.stdout.contains(SECRET),
        "{help:?}"
    );
}

#[tokio::test]
async fn commands_send_their_token_and_say_what_to_do_about_a_bad_one() {
    let app = guarded().await;
    app.store("acme", &version(1)).await;
    let at = ["policy", "get", "acme", "--server", app.base()];
    cli(at).await.expect(0);
    let none = cli_with(&[("ORDAIN_TOKEN", "")], at).await.expect(1);
    for part in ["unauthenticated", "ORDAIN_TOKEN", "ordain token"] {
        assert!(none.stderr.contains(part), "{part}: {none:?}");
    }
    let broken = "s3cret.s3cret.s3cret";
    let bad = cli_with(&[("ORDAIN_TOKEN", broken)], at).await.expect(1);
    assert!(
        bad.stderr.contains("invalid-token") && !bad.all().contains("s3cret"),
        "{bad:?}"
    );
    let odd = cli_with(&[("ORDAIN_TOKEN", "s3cret\nx")], at)
        .await
        .expect(2);
    assert!(
        odd.stderr.contains("ORDAIN_TOKEN") && !odd.all().contains("s3cret"),
        "{odd:?}"
    );
    let other = [("ORDAIN_TOKEN", &*reader("other"))];
    let foreign = cli_with(&other, at).await.expect(1);
    for part in ["forbidden", "ORDAIN_TOKEN"] {
        assert!(foreign.stderr.contains(part), "{part}: {foreign:?}");
    }
    // A flag wins over the variable; with --json an error is the problem.
    let own = reader("acme");
    cli_with(&other, at.into_iter().chain(["--token", &own]))
        .await
        .expect(0);
    let json = cli_with(&other, at.into_iter().chain(["--json"]))
        .await
        .expect(1);
    assert_eq!(json.json()["status"], 403);
    let help = cli_with(&[("ORDAIN_TOKEN", "s3cret")], ["policy", "get", "--help"]).await;
    assert!(help.stdout.contains("ORDAIN_TOKEN") && !help.all().contains("s3cret"));
}

#[tokio::test]
async fn a_token_in_the_clear_is_warned_of_once_and_only_beyond_this_machine() {
    let app = guarded().await;
    let near = cli(["policy", "list", "--server", app.base()])
        .await
        .expect(0);
    assert!(!near.stderr.contains("in the clear"), "{near:?}");
    // Nobody answers there, which does not matter.
    let args = ["policy", "list", "--server", "http://ordain.invalid:7171"];
    let far = cli(args).await.expect(1);
    assert_eq!(far.stderr.matches("in the clear").count(), 1, "{far:?}");
    let none = cli_with(&[("ORDAIN_TOKEN", "")], args).await.expect(1);
    assert!(!none.stderr.contains("in the clear"), "{none:?}");
}

#[tokio::test]
async fn secrets_are_masked_where_the_configuration_is_shown() {
    let env = [
        (
            "ORDAIN_JWT_HS256_SECRET",
            "s3cret-s3cret-s3cret-s3cret-0000",
        ),
        ("ORDAIN_JWT_PUBLIC_KEY", &*EC.public),
        ("ORDAIN_JWKS_FILE", "/nonexistent/keys.json"),
        ("ORDAIN_JWT_AUDIENCE", "ordain"),
    ];
    let shown = cli_with(&env, ["serve", "--dev", "--print-config"])
        .await
        .expect(0);
    assert!(!shown.all().contains("s3cret"), "{shown:?}");
    for line in [
        "ORDAIN_JWT_HS256_SECRET=***",
        "ORDAIN_JWKS_FILE=/nonexistent/keys.json",
        "ORDAIN_JWT_AUDIENCE=ordain",
        "# ORDAIN_JWT_ISSUER is not set",
    ] {
        assert!(
            shown.stdout.lines().any(|shown| shown == line),
            "{line}: {shown:?}"
        );
    }
}

#[tokio::test]
async fn a_token_that_would_have_expired_when_it_is_made_is_refused() {
    for (ttl, words) in [
        ("--ttl=0s", "has expired when it is made"),
        ("--ttl=999ms", "has expired when it is made"),
        ("--ttl=-1h", "a duration looks like"),
        ("--ttl=50d", "at most 49 days"),
    ] {
        let args = ["token", "--sub", "me", "--role", "admin", ttl];
        let refused = cli_with(&ENV, args).await.expect(2);
        assert!(refused.stderr.contains(words), "{ttl}: {refused:?}");
        assert_eq!(refused.stdout, "");
    }
    let args = ["token", "--sub", "me", "--role", "admin", "--ttl", "1s"];
    cli_with(&ENV, args).await.expect(0);
}

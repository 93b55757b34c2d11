//! The keys that tokens are checked by: files of them that change while the service runs, and what
//! it does not start with.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use ordain_tests::app::{App, Builder};
use ordain_tests::tokens::{
    EC, EC384, ED25519, Pair, RSA, SECRET, Signer, base64url, claims, small_rsa_public,
};
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::{Value, json};

use crate::access_tokens::ask;

/// A file of keys in a folder of its own.
struct Jwks {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Jwks {
    fn of(keys: &[Value]) -> Jwks {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("keys.json");
        let file = Jwks {
            _folder: folder,
            path,
        };
        file.put(&json!({ "keys": keys }).to_string());
        file
    }

    /// In one step, as operators should.
    fn put(&self, text: &str) {
        let new = self.path.with_extension("new");
        std::fs::write(&new, text).expect("a file");
        std::fs::set_permissions(&new, PermissionsExt::from_mode(0o600)).expect("our own");
        std::fs::rename(&new, &self.path).expect("a folder of our own");
    }

    fn mode(&self, mode: u32) {
        let mode = PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&self.path, mode).expect("our own");
    }

    fn name(&self) -> &str {
        self.path.to_str().expect("UTF-8")
    }

    /// With these keys alone.
    fn server(&self) -> Builder {
        App::builder()
            .env("ORDAIN_ENV", "test")
            .env("ORDAIN_JWT_HS256_SECRET", "")
            .env("ORDAIN_JWKS_FILE", self.name())
    }
}

fn oct(kid: &str, secret: &[u8]) -> Value {
    json!({"kty": "oct", "kid": kid, "k": base64url(secret)})
}

fn good() -> Value {
    claims("reader", json!({"tenant_id": "acme"}))
}

async fn becomes(app: &App, token: &str, status: u16) {
    let asked = || async {
        let reply = ask(app, token).await;
        holds(reply.status == status, format!("{reply:?}"))
    };
    eventually("the file is read again", PATIENCE, asked).await;
}

async fn keys_are(app: &App, state: &str) {
    let seen = || async {
        let ready = app.without().get("/readyz").await;
        let is = &ready.json["dependencies"]["keys"]["state"];
        holds(ready.status == 200 && is == state, format!("{ready:?}"))
    };
    eventually("readiness says so", PATIENCE, seen).await;
}

#[tokio::test]
async fn every_kind_of_key_of_a_file_checks_its_own_algorithm() {
    let file = Jwks::of(&[
        RSA.signer.jwk("rsa"),
        EC.signer.jwk("ec"),
        ED25519.signer.jwk("ed"),
        oct("oct", SECRET.as_bytes()),
    ]);
    let app = file.server().start().await;
    let secret = Signer::secret(SECRET.as_bytes());
    let signers = [
        ("rsa", &RSA.signer),
        ("ec", &EC.signer),
        ("ed", &ED25519.signer),
        ("oct", &secret),
    ];
    for (kid, signer) in signers {
        ask(&app, &signer.named(kid, &good())).await.expect(200);
        ask(&app, &signer.token(&good())).await.expect(200);
        for (other, key) in signers {
            if other == kid {
                continue;
            }
            // Its own algorithm with another's name, and another's algorithm with its own key.
            for header in [
                json!({"alg": signer.algorithm(), "kid": other}),
                json!({"alg": key.algorithm(), "kid": kid}),
                json!({"alg": key.algorithm(), "kid": other}),
            ] {
                let token = signer.with_header(&header, &good());
                assert_eq!(ask(&app, &token).await.status, 401, "{kid} {header}");
            }
        }
        for unknown in ["", "RSA", "rsa ", "x", "../rsa"] {
            let reply = ask(&app, &signer.named(unknown, &good())).await;
            assert_eq!(reply.status, 401, "{unknown}: {reply:?}");
        }
    }
    // Whoever has the public keys has nothing to sign with.
    for pair in [&RSA, &EC, &ED25519] {
        let confused = Signer::secret(pair.public.as_bytes());
        for kid in ["rsa", "ec", "ed", "oct"] {
            assert_eq!(ask(&app, &confused.named(kid, &good())).await.status, 401);
        }
    }
    keys_are(&app, "up").await;
}

#[tokio::test]
async fn keys_are_rotated_while_it_runs_and_one_that_left_counts_no_more() {
    let (one, two) = (Pair::ec().signer, Pair::ed25519().signer);
    let file = Jwks::of(&[one.jwk("one")]);
    let app = file.server().start().await;
    let (first, second) = (one.named("one", &good()), two.named("two", &good()));
    ask(&app, &first).await.expect(200);
    ask(&app, &second).await.expect(401);
    file.put(&json!({"keys": [one.jwk("one"), two.jwk("two")]}).to_string());
    becomes(&app, &second, 200).await;
    ask(&app, &first).await.expect(200);
    file.put(&json!({"keys": [two.jwk("two")]}).to_string());
    becomes(&app, &first, 401).await;
    ask(&app, &second).await.expect(200);
    // Another key under the same name.
    file.put(&json!({"keys": [one.jwk("two")]}).to_string());
    becomes(&app, &second, 401).await;
    ask(&app, &one.named("two", &good())).await.expect(200);
    // None at all is no set of keys.
    file.put(r#"{"keys":[]}"#);
    keys_are(&app, "stale").await;
    ask(&app, &one.named("two", &good())).await.expect(200);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_leaves_the_keys_as_they_are_and_is_told_once() {
    let signer = Pair::ed25519().signer;
    let file = Jwks::of(&[signer.jwk("a")]);
    let app = file.server().start().await;
    let token = signer.named("a", &good());
    let small = json!({"kty": "RSA", "kid": "small", "n": base64url([0xff; 128]), "e": "AQAB"});
    for broken in [
        "",
        "{",
        "s3cret",
        r#"{"keys":[{"kid":"s3cret"}]}"#,
        &json!({"keys": [small]}).to_string(),
        &json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "d": "s3cret"}]})
            .to_string(),
    ] {
        file.put(broken);
        keys_are(&app, "stale").await;
        let ready = app.without().get("/readyz").await.expect(200);
        assert_eq!(ready.json["status"], "degraded");
        assert!(!ready.text.contains("s3cret"), "{ready:?}");
        ask(&app, &token).await.expect(200);
        file.put(&json!({"keys": [signer.jwk("a")]}).to_string());
        keys_are(&app, "up").await;
    }
    std::fs::remove_file(&file.path).expect("it is there");
    keys_are(&app, "stale").await;
    ask(&app, &token).await.expect(200);
    let log = app.log();
    assert!(
        !log.contains("s3cret") && log.contains("ORDAIN_JWKS_FILE"),
        "{log}"
    );
    let told = log.matches("stay in force").count();
    assert_eq!(told, 7, "once for each\n{log}");
}

#[tokio::test]
async fn a_token_without_a_kid_is_taken_only_if_one_key_can_be_meant() {
    let (one, two) = (Pair::ec().signer, Pair::ec().signer);
    let file = Jwks::of(&[one.jwk("one"), two.jwk("two"), ED25519.signer.jwk("ed")]);
    let app = file.server().start().await;
    let reply = ask(&app, &one.token(&good())).await.expect(401);
    assert!(reply.text.contains("several keys"), "{reply:?}");
    ask(&app, &two.token(&good())).await.expect(401);
    ask(&app, &one.named("one", &good())).await.expect(200);
    ask(&app, &one.named("two", &good())).await.expect(401);
    ask(&app, &ED25519.signer.token(&good())).await.expect(200);
}

#[tokio::test]
async fn keys_for_other_things_are_left_out() {
    let mut enc = RSA.signer.jwk("enc");
    enc["use"] = json!("enc");
    let mut other = RSA.signer.jwk("other");
    other["alg"] = json!("RSA-OAEP");
    let mut sign = EC.signer.jwk("sign");
    sign["key_ops"] = json!(["sign"]);
    let unknown = json!({"kty": "ML-DSA", "kid": "new", "pub": "AAAA"});
    let file = Jwks::of(&[enc, other, sign, unknown, ED25519.signer.jwk("ed")]);
    let app = file.server().start().await;
    for (kid, signer) in [
        ("enc", &RSA.signer),
        ("other", &RSA.signer),
        ("sign", &EC.signer),
    ] {
        ask(&app, &signer.named(kid, &good())).await.expect(401);
        ask(&app, &signer.token(&good())).await.expect(401);
    }
    ask(&app, &ED25519.signer.named("ed", &good()))
        .await
        .expect(200);
    assert!(app.log().contains("left out"), "{}", app.log());
}

#[tokio::test]
async fn one_odd_key_spoils_no_other_neither_at_the_start_nor_later() {
    let good_key = ED25519.signer.jwk("ed");
    let mut padded = RSA.signer.jwk("padded");
    padded["n"] = json!(format!("{}=", padded["n"].as_str().expect("a text")));
    let mut short = EC.signer.jwk("short");
    short["x"] = json!(base64url([7; 31]));
    let odd = [
        json!({"kty": "RSA", "kid": "x5", "use": "sig", "alg": "RS256", "x5c": ["MIIDAA=="]}),
        padded,
        json!({"kty": "RSA", "kid": "small", "n": base64url([0xff; 128]), "e": "AQAB"}),
        short,
        json!({"kid": "no kty"}),
        json!(null),
    ];
    let file = Jwks::of(&[odd[0].clone(), good_key.clone()]);
    let app = file.server().start().await;
    let token = ED25519.signer.named("ed", &good());
    ask(&app, &token).await.expect(200);
    // A rotation goes on though: a key that leaves counts no more, one that comes does.
    for key in odd {
        file.put(&json!({"keys": [key, EC384.signer.jwk("new")]}).to_string());
        becomes(&app, &token, 401).await;
        let new = EC384.signer.named("new", &good());
        ask(&app, &new).await.expect(200);
        file.put(&json!({"keys": [good_key, key]}).to_string());
        becomes(&app, &token, 200).await;
        keys_are(&app, "up").await;
    }
    let log = app.log();
    assert_eq!(log.matches("cannot be used; key").count(), 13, "{log}");
    // Nor one that has a member twice, of which a reader may take the one or the other.
    let twice = good_key
        .to_string()
        .replacen('{', r#"{"d":"x","d":null,"#, 1);
    let new = EC384.signer.named("new", &good());
    file.put(&format!(
        r#"{{"keys":[{twice},{}]}}"#,
        EC384.signer.jwk("new")
    ));
    becomes(&app, &token, 401).await;
    ask(&app, &new).await.expect(200);
    keys_are(&app, "up").await;
    let words = "key 1 is left out: it is no object, or a member comes twice";
    let told = app.log().matches(words).count();
    assert_eq!(told, 2, "{}", app.log());
    // What is null is as good as not there, and two of one name both count.
    let bare = |signer: &Signer| {
        let mut key = signer.jwk("same");
        for name in ["alg", "use", "key_ops"] {
            key[name] = json!(null);
        }
        key
    };
    let (one, two) = (Pair::ec().signer, Pair::ec().signer);
    file.put(&json!({"keys": [bare(&one), bare(&two), bare(&RSA.signer)]}).to_string());
    for signer in [&one, &two, &RSA.signer] {
        becomes(&app, &signer.named("same", &good()), 200).await;
    }
    let stranger = Pair::ec().signer.named("same", &good());
    ask(&app, &stranger).await.expect(401);
}

#[tokio::test]
async fn a_key_checks_all_algorithms_of_its_kind_unless_it_says_one() {
    const RSAS: [&str; 6] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
    let mut any = RSA.signer.jwk("any");
    any.as_object_mut().expect("an object").remove("alg");
    let mut keys = vec![any, EC384.signer.jwk("384")];
    for alg in RSAS {
        let mut key = RSA.signer.jwk(alg);
        key["alg"] = json!(alg);
        keys.push(key);
    }
    let file = Jwks::of(&keys);
    let from_file = file.server().start().await;
    let from_pem = keyless()
        .env("ORDAIN_JWT_PUBLIC_KEY", &RSA.public)
        .start()
        .await;
    for alg in RSAS {
        for (app, kid) in [(&from_file, "any"), (&from_pem, "any"), (&from_file, alg)] {
            let token = RSA.signer.with_algorithm(alg, kid, &good());
            ask(app, &token).await.expect(200);
        }
        for other in RSAS.iter().filter(|other| **other != alg) {
            // Another name for what it is, and a key that is for another.
            let header = json!({"alg": other, "kid": "any"});
            if alg == "RS256" {
                let token = RSA.signer.with_header(&header, &good());
                assert_eq!(
                    ask(&from_file, &token).await.status,
                    401,
                    "{alg} as {other}"
                );
            }
            let token = RSA.signer.with_algorithm(alg, other, &good());
            assert_eq!(
                ask(&from_file, &token).await.status,
                401,
                "{alg} by {other}"
            );
        }
    }
    ask(&from_file, &EC384.signer.named("384", &good()))
        .await
        .expect(200);
    let pem = keyless().env("ORDAIN_JWT_PUBLIC_KEY", &EC384.public);
    let pem = pem.start().await;
    ask(&pem, &EC384.signer.token(&good())).await.expect(200);
    ask(&pem, &EC.signer.token(&good())).await.expect(401);
    for alg in ["ES256", "ES512", "PS256"] {
        let token = EC384.signer.with_header(&json!({"alg": alg}), &good());
        assert_eq!(ask(&pem, &token).await.status, 401, "{alg}");
    }
}

/// It does not start, says all of this, and nothing secret.
async fn refused(builder: Builder, says: &[&str]) {
    let what = format!("{builder:?}");
    let (code, log) = builder.refused().await;
    assert!(matches!(code, Some(1 | 2)), "{what}: {code:?}\n{log}");
    assert!(!log.contains("s3cret"), "{log}");
    for part in says {
        assert!(log.contains(part), "{what} should say {part:?}\n{log}");
    }
}

fn keyless() -> Builder {
    App::builder()
        .env("ORDAIN_ENV", "test")
        .env("ORDAIN_JWT_HS256_SECRET", "")
}

#[tokio::test]
async fn without_a_key_or_with_one_that_is_no_good_it_does_not_start() {
    let says = "no key to check tokens by: set ORDAIN_JWKS_FILE";
    refused(keyless(), &[says, "--dev"]).await;
    let secret = |text: &str| keyless().env("ORDAIN_JWT_HS256_SECRET", text);
    refused(secret("s3cret"), &["ORDAIN_JWT_HS256_SECRET", "32 bytes"]).await;
    refused(
        secret(&RSA.public),
        &["ORDAIN_JWT_HS256_SECRET", "public key"],
    )
    .await;
    let public = |text: &str| keyless().env("ORDAIN_JWT_PUBLIC_KEY", text);
    refused(public("s3cret"), &["ORDAIN_JWT_PUBLIC_KEY", "PEM"]).await;
    refused(public(&small_rsa_public()), &["2048"]).await;
    for pair in [&RSA, &EC, &ED25519] {
        refused(public(&pair.private), &["holds a private key"]).await;
        let two = format!("{}{}", pair.public, pair.public);
        refused(public(&two), &["not one"]).await;
    }
    let file = Jwks::of(&[]);
    refused(file.server(), &[file.name(), "no key"]).await;
    file.put(r#"{"keys":[{"kty":"s3cret"}]}"#);
    refused(file.server(), &[file.name(), "no key"]).await;
    file.put("s3cret");
    refused(file.server(), &[file.name()]).await;
    let missing = keyless().env("ORDAIN_JWKS_FILE", "/nonexistent/keys.json");
    refused(missing, &["/nonexistent/keys.json", "cannot be read"]).await;
    let mut private = ED25519.signer.jwk("a");
    private["d"] = json!("s3cret");
    let file = Jwks::of(&[private]);
    refused(file.server(), &[file.name(), "holds a private key"]).await;
}

#[tokio::test]
async fn secrets_that_others_can_read_are_refused_with_what_to_do() {
    let file = Jwks::of(&[oct("a", b"s3cret-s3cret-s3cret-s3cret-0000")]);
    for mode in [0o644, 0o604, 0o444] {
        file.mode(mode);
        let shown = format!("{mode:04o}");
        refused(file.server(), &[file.name(), &shown, "chmod 640"]).await;
    }
    // As Kubernetes mounts secrets for a service that is in the group.
    file.mode(0o440);
    drop(file.server().start().await);
    file.mode(0o600);
    let app = file.server().start().await;
    // Also while it runs: the mode is a part of the file.
    file.mode(0o644);
    keys_are(&app, "stale").await;
    file.mode(0o600);
    keys_are(&app, "up").await;
    // Public keys are for everybody.
    let file = Jwks::of(&[ED25519.signer.jwk("a")]);
    file.mode(0o644);
    file.server().start().await;
}

#[tokio::test]
async fn with_dev_nobody_is_asked_and_keys_do_not_count() {
    let app = App::builder()
        .dev()
        .env("ORDAIN_JWT_PUBLIC_KEY", &EC.public)
        .start()
        .await;
    app.without().get("/v1/tenants").await.expect(200);
    app.with("nonsense").get("/metrics").await.expect(200);
    assert!(app.log().contains("do not count"), "{}", app.log());
}

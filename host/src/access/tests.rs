use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::jwks::JwksError;
use super::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

fn signed(header: &str, claims: &str) -> String {
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let message = format!(
        "{}.{}",
        encoded(header.as_bytes()),
        encoded(claims.as_bytes())
    );
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET);
    let signature = ring::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", encoded(signature.as_ref()))
}

fn verifier(rules: Rules) -> Verifier {
    let configured = Configured {
        keys: vec![Key::secret(SECRET).expect("long enough")],
        file: None,
        rules,
    };
    Verifier::new(configured).expect("no file")
}

fn asked(claims: &Value) -> Result<Principal, Denied> {
    let token = signed(r#"{"alg":"HS256"}"#, &claims.to_string());
    let principal = verifier(Rules::default()).principal(&token);
    principal.map(|principal| (*principal).clone())
}

/// Good claims with these members instead of their own; null: without.
fn claims(changes: Value) -> Value {
    let mut claims =
        json!({"sub": "ann", "exp": now() + 60, "tenant_id": "acme", "role": "reader"});
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims(json!({}));
    claims.as_object_mut().expect("an object").remove(name);
    claims
}

#[test]
fn good_claims_are_a_principal() {
    let principal = asked(&claims(json!({}))).expect("good");
    assert_eq!(principal.actor(), "ann");
    assert!(principal.may(Need::Read("acme")) && !principal.may(Need::Write("acme")));
    let admin = json!({"sub": "root", "exp": now() + 60, "role": "admin"});
    assert!(
        asked(&admin)
            .expect("needs no tenant")
            .may(Need::Everything)
    );
    let resolver = json!({"sub": "g", "exp": now() + 60, "role": "resolver", "tenants": []});
    assert!(!asked(&resolver).expect("good").may(Need::Resolve("acme")));
}

#[test]
fn claims_of_another_type_or_beyond_limits_are_invalid() {
    let long = "x".repeat(257);
    for changes in [
        json!({"exp": "1900000000"}),
        json!({"exp": null}),
        json!({"exp": -1}),
        json!({"exp": 1e300}),
        json!({"exp": [now() + 60]}),
        json!({"nbf": "0"}),
        json!({"nbf": now() + 3600}),
        json!({"sub": 7}),
        json!({"sub": ""}),
        json!({"sub": "a\nb"}),
        json!({"sub": "sql:postgres"}),
        json!({"sub": "a\u{202e}b"}),
        json!({"sub": long}),
        json!({"tenant_id": 7}),
        json!({"tenant_id": null}),
        json!({"tenant_id": ""}),
        json!({"tenant_id": ".."}),
        json!({"tenant_id": long}),
        json!({"tenant_id": ["acme"]}),
        json!({"tenants": "acme"}),
        json!({"tenants": [1]}),
        json!({"tenants": [""]}),
        json!({"role": ["admin"]}),
        json!({"role": null}),
    ] {
        let denied = asked(&claims(changes.clone())).expect_err("refused");
        assert!(
            matches!(denied, Denied::Invalid(_)),
            "{changes}: {denied:?}"
        );
    }
    for name in ["sub", "exp"] {
        let denied = asked(&without(name)).expect_err("refused");
        assert!(matches!(denied, Denied::Invalid(_)), "{name}: {denied:?}");
    }
    let twice = format!(
        r#"{{"sub":"a","exp":{},"role":"reader","role":"admin"}}"#,
        now() + 60
    );
    let token = signed(r#"{"alg":"HS256"}"#, &twice);
    let denied = verifier(Rules::default()).principal(&token);
    assert!(matches!(denied, Err(Denied::Invalid(_))), "{denied:?}");
}

#[test]
fn a_good_token_without_a_role_or_without_its_tenant_may_nothing() {
    for claims in [
        without("role"),
        without("tenant_id"),
        claims(json!({"role": "Admin"})),
        claims(json!({"role": ""})),
    ] {
        let denied = asked(&claims).expect_err("refused");
        assert!(
            matches!(denied, Denied::Forbidden(_)),
            "{claims}: {denied:?}"
        );
    }
}

#[test]
fn clocks_may_differ_by_half_a_minute() {
    assert!(asked(&claims(json!({"exp": now() - 25}))).is_ok());
    assert!(asked(&claims(json!({"exp": now() - 31}))).is_err());
    assert!(asked(&claims(json!({"nbf": now() + 25}))).is_ok());
    assert!(asked(&claims(json!({"nbf": now() + 35}))).is_err());
}

#[test]
fn issuer_and_audience_count_when_they_are_configured() {
    let rules = Rules {
        issuer: Some("me".to_owned()),
        audience: Some("ordain".to_owned()),
    };
    let verifier = verifier(rules);
    let ask = |changes: Value| {
        let token = signed(r#"{"alg":"HS256"}"#, &claims(changes).to_string());
        verifier.principal(&token).is_ok()
    };
    assert!(ask(json!({"iss": "me", "aud": "ordain"})));
    assert!(ask(json!({"iss": "me", "aud": ["x", "ordain"]})));
    for wrong in [
        json!({}),
        json!({"iss": "me"}),
        json!({"aud": "ordain"}),
        json!({"iss": "ME", "aud": "ordain"}),
        json!({"iss": ["me"], "aud": "ordain"}),
        json!({"iss": "me", "aud": "ordain2"}),
        json!({"iss": "me", "aud": ["x"]}),
        json!({"iss": "me", "aud": []}),
        json!({"iss": "me", "aud": ["ordain", 1]}),
        json!({"iss": "me", "aud": {"ordain": true}}),
    ] {
        assert!(!ask(wrong.clone()), "{wrong}");
    }
}

#[test]
fn headers_choose_among_known_keys_and_bring_none() {
    let verifier = verifier(Rules::default());
    let ask = |header: &str| verifier.principal(&signed(header, &claims(json!({})).to_string()));
    for good in [
        r#"{"alg":"HS256"}"#,
        r#"{"typ":"JWT","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":"there is no file"}"#,
    ] {
        assert!(ask(good).is_ok(), "{good}");
    }
    for bad in [
        "{}",
        "[]",
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":""}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":7}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","jwk":{}}"#,
        r#"{"alg":"HS256","jku":"https://x"}"#,
        r#"{"alg":"HS256","x5u":"https://x"}"#,
    ] {
        assert!(matches!(ask(bad), Err(Denied::Invalid(_))), "{bad}");
    }
}

#[test]
fn whatever_is_done_to_a_token_spoils_it() {
    let verifier = verifier(Rules::default());
    let token = signed(r#"{"alg":"HS256"}"#, &claims(json!({})).to_string());
    assert!(verifier.principal(&token).is_ok());
    for at in 0..token.len() {
        assert!(verifier.principal(&token[..at]).is_err(), "cut at {at}");
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("ASCII");
        assert!(verifier.principal(&changed).is_err(), "changed at {at}");
    }
    let padded = format!("{token}=");
    let long = format!("{token}.{token}");
    let huge = "a".repeat(9000);
    for text in ["", ".", "..", "...", &padded, &long, &huge, " "] {
        assert!(verifier.principal(text).is_err(), "{text:?}");
    }
    assert!(verifier.principal(&token).is_ok(), "and it is still good");
}

#[test]
fn minted_tokens_are_taken() {
    let wish = Wish {
        sub: "ann".to_owned(),
        role: Role::Editor,
        tenant: Some("acme".to_owned()),
        tenants: None,
        ttl: Duration::from_secs(60),
        issuer: None,
        audience: None,
        kid: None,
    };
    let signer = Signer::secret(SECRET).expect("long enough");
    let token = signer.mint(&wish, SystemTime::now()).expect("a token");
    let principal = verifier(Rules::default()).principal(&token).expect("good");
    assert!(principal.may(Need::Write("acme")));
    let homeless = Wish {
        tenant: None,
        ..wish
    };
    let refused = signer.mint(&homeless, SystemTime::now());
    assert_eq!(refused, Err(MintError::Tenant("editor")));
}

#[test]
fn secrets_that_can_be_guessed_or_are_public_are_no_keys() {
    assert_eq!(Key::secret(&SECRET[1..]).err(), Some(KeyError::Short));
    let pem = b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----";
    assert_eq!(Key::secret(pem).err(), Some(KeyError::PemSecret));
    for (pem, why) in [
        ("", KeyError::Pem),
        ("nonsense", KeyError::Pem),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            KeyError::Kind,
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            KeyError::Private,
        ),
    ] {
        assert_eq!(Key::public(pem).err(), Some(why), "{pem:?}");
    }
}

/// A file of keys with this mode, removed with the guard.
struct Keyfile(PathBuf);

impl Drop for Keyfile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Keyfile {
    fn new() -> Keyfile {
        let name = format!("ordain-keys-{}", uuid::Uuid::now_v7().simple());
        Keyfile(std::env::temp_dir().join(name))
    }

    fn write(&self, text: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(&self.0, text).expect("a file");
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&self.0, mode).expect("our own file");
    }

    fn verifier(&self) -> Result<Verifier, JwksError> {
        Verifier::new(Configured {
            keys: Vec::new(),
            file: Some(self.0.clone()),
            rules: Rules::default(),
        })
    }
}

fn oct(kid: &str, secret: &[u8]) -> Value {
    json!({"kty": "oct", "kid": kid, "k": URL_SAFE_NO_PAD.encode(secret)})
}

#[test]
fn a_key_that_leaves_the_file_counts_no_more_and_a_broken_file_changes_nothing() {
    let file = Keyfile::new();
    file.write(&json!({"keys": [oct("a", SECRET)]}).to_string(), 0o600);
    let verifier = file.verifier().expect("in order");
    let token = signed(
        r#"{"alg":"HS256","kid":"a"}"#,
        &claims(json!({})).to_string(),
    );
    let nameless = signed(r#"{"alg":"HS256"}"#, &claims(json!({})).to_string());
    let other = signed(
        r#"{"alg":"HS256","kid":"b"}"#,
        &claims(json!({})).to_string(),
    );
    assert!(verifier.principal(&token).is_ok() && verifier.principal(&nameless).is_ok());
    assert!(verifier.principal(&other).is_err());
    file.write("{", 0o600);
    verifier.look();
    assert_eq!(verifier.is_current(), Some(false));
    assert!(verifier.principal(&token).is_ok());
    file.write(&json!({"keys": [oct("b", SECRET)]}).to_string(), 0o600);
    verifier.look();
    assert_eq!(verifier.is_current(), Some(true));
    assert!(
        verifier.principal(&token).is_err(),
        "also if it was good before"
    );
    assert!(verifier.principal(&other).is_ok());
    let two = json!({"keys": [oct("a", SECRET), oct("b", &[7; 32])]});
    file.write(&two.to_string(), 0o600);
    verifier.look();
    assert!(
        verifier.principal(&nameless).is_err(),
        "which one is not clear"
    );
    std::fs::remove_file(&file.0).expect("it is there");
    verifier.look();
    assert_eq!(verifier.is_current(), Some(false));
    assert!(verifier.principal(&token).is_ok());
    file.write(&two.to_string(), 0o600);
    verifier.look();
    assert_eq!(verifier.is_current(), Some(true), "back as it was");
}

#[test]
fn files_of_keys_are_read_strictly() {
    let file = Keyfile::new();
    let n = URL_SAFE_NO_PAD.encode([0xff; 128]);
    let good = oct("a", SECRET);
    for (text, mode, says) in [
        ("", 0o600, "is not"),
        ("{}", 0o600, "is not"),
        (r#"{"keys":{}}"#, 0o600, "is not"),
        (r#"{"keys":[],"keys":[]}"#, 0o600, "is not"),
        (r#"{"keys":[{"kid":"a"}]}"#, 0o600, "kty"),
        (
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}"#,
            0o600,
            "key 1",
        ),
        (
            r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}]}"#,
            0o600,
            "x or y",
        ),
        (r#"{"keys":[{"kty":"RSA","d":"AAAA"}]}"#, 0o600, "private"),
        (
            &json!({"keys": [{"kty": "RSA", "n": n, "e": "AQAB"}]}).to_string(),
            0o600,
            "2048",
        ),
        (
            &json!({"keys": [oct("a", b"short")]}).to_string(),
            0o600,
            "32",
        ),
        (&json!({"keys": [good, good]}).to_string(), 0o600, "earlier"),
        (&json!({"keys": [good]}).to_string(), 0o644, "chmod 600"),
        (&json!({"keys": [good]}).to_string(), 0o640, "0640"),
    ] {
        file.write(text, mode);
        let error = file.verifier().err().expect(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
        let secret = URL_SAFE_NO_PAD.encode(SECRET);
        assert!(!error.contains(&secret), "{error}");
    }
    // What is not for checking tokens is left out.
    let others = json!({"keys": [
        {"kty": "RSA", "use": "enc", "n": n, "e": "AQAB"},
        {"kty": "EC", "crv": "P-384", "x": "AAAA", "y": "AAAA"},
        {"kty": "unheard of"},
        {"kty": "oct", "alg": "HS512", "k": URL_SAFE_NO_PAD.encode(SECRET)},
        {"kty": "oct", "key_ops": ["encrypt"], "k": URL_SAFE_NO_PAD.encode(SECRET)},
        good,
    ]});
    file.write(&others.to_string(), 0o600);
    assert_eq!(file.verifier().expect("in order").keys(), 1);
}

proptest::proptest! {
    #[test]
    fn nothing_that_is_signed_or_not_makes_it_panic_or_an_admin(
        text in ".{0,200}",
        header in "[{}a-z\":,.0-9]{0,60}",
        claims in "[{}a-z\":,.0-9]{0,120}",
    ) {
        let verifier = verifier(Rules::default());
        for token in [text, signed(&header, &claims), signed(r#"{"alg":"HS256"}"#, &claims)] {
            proptest::prop_assert!(verifier.principal(&token).is_err());
        }
    }
}

//! Tests of files of keys: what of them is used, what is left out, and how they are followed.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::jwks::JwksError;
use super::*;

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
            source: Source::File(self.0.clone()),
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
    verifier.follower.look_at_file();
    assert_eq!(verifier.state(), Some(KeysState::Stale));
    assert!(verifier.principal(&token).is_ok());
    file.write(&json!({"keys": [oct("b", SECRET)]}).to_string(), 0o600);
    verifier.follower.look_at_file();
    assert_eq!(verifier.state(), Some(KeysState::Up));
    assert!(
        verifier.principal(&token).is_err(),
        "also if it was good before"
    );
    assert!(verifier.principal(&other).is_ok());
    let two = json!({"keys": [oct("a", SECRET), oct("b", &[7; 32])]});
    file.write(&two.to_string(), 0o600);
    verifier.follower.look_at_file();
    assert!(
        verifier.principal(&nameless).is_err(),
        "which one is not clear"
    );
    std::fs::remove_file(&file.0).expect("it is there");
    verifier.follower.look_at_file();
    assert_eq!(verifier.state(), Some(KeysState::Stale));
    assert!(verifier.principal(&token).is_ok());
    file.write(&two.to_string(), 0o600);
    verifier.follower.look_at_file();
    assert_eq!(verifier.state(), Some(KeysState::Up), "back as it was");
}

#[test]
fn files_that_are_no_set_of_keys_or_hold_what_is_not_public_are_refused() {
    let file = Keyfile::new();
    let n = URL_SAFE_NO_PAD.encode([0xff; 128]);
    let good = oct("a", SECRET);
    for (text, mode, says) in [
        ("", 0o600, "is not"),
        ("{}", 0o600, "is not"),
        (r#"{"keys":{}}"#, 0o600, "is not"),
        (r#"{"keys":[],"keys":[]}"#, 0o600, "is not"),
        (r#"{"keys":[]}"#, 0o600, "no key"),
        (
            r#"{"keys":[{"kid":"a"}]}"#,
            0o600,
            "key 1 is left out: it has no kty",
        ),
        (r#"{"keys":[{"kty":"RSA","d":"AAAA"}]}"#, 0o600, "private"),
        (r#"{"keys":[{"d":"AAAA"}]}"#, 0o600, "private"),
        (
            r#"{"keys":[{"kty":"RSA","kty":"RSA","p":"AAAA"}]}"#,
            0o600,
            "private",
        ),
        (
            &json!({"keys": [good, {"kty": "AKP", "priv": "AAAA"}]}).to_string(),
            0o600,
            "key 2: holds a private key",
        ),
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
        (&json!({"keys": [good]}).to_string(), 0o644, "chmod 640"),
        (&json!({"keys": [good]}).to_string(), 0o604, "0604"),
        (&json!({"keys": [good]}).to_string(), 0o602, "write"),
    ] {
        file.write(text, mode);
        let error = file.verifier().err().expect(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
        let secret = URL_SAFE_NO_PAD.encode(SECRET);
        assert!(!error.contains(&secret), "{error}");
    }
    // Null is as good as nothing: some write all members that a key could have.
    let n = URL_SAFE_NO_PAD.encode([0xff; 256]);
    let public = json!({"kty": "RSA", "n": n, "e": "AQAB", "d": null, "p": null, "k": null});
    file.write(&json!({"keys": [public]}).to_string(), 0o644);
    assert!(file.verifier().is_ok(), "nothing private");
    for mode in [0o440, 0o640, 0o660, 0o400] {
        file.write(&json!({"keys": [good]}).to_string(), mode);
        assert!(file.verifier().is_ok(), "{mode:04o}");
    }
}

#[test]
fn keys_that_cannot_be_used_are_left_out_and_the_rest_is_used() {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    let file = Keyfile::new();
    let n = [0xff; 256];
    let rsa = |n: String| json!({"kty": "RSA", "kid": "x", "n": n, "e": "AQAB"});
    let ec = |length: usize| {
        let text = URL_SAFE_NO_PAD.encode(vec![7; length]);
        json!({"kty": "EC", "crv": "P-256", "x": text, "y": URL_SAFE_NO_PAD.encode([7; 32])})
    };
    for odd in [
        json!({"kty": "RSA", "kid": "x5", "use": "sig", "alg": "RS256", "x5c": ["MIIDAA=="]}),
        rsa(URL_SAFE.encode(n)),
        rsa(STANDARD.encode(n)),
        rsa(URL_SAFE_NO_PAD.encode([0xff; 128])),
        json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": "AQ"}),
        json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": 65537}),
        json!({"kty": "RSA", "use": "enc", "n": URL_SAFE_NO_PAD.encode(n), "e": "AQAB"}),
        ec(31),
        // On no curve.
        ec(32),
        rsa(URL_SAFE_NO_PAD.encode([0xfe; 256])),
        ec(33),
        ec(0),
        json!({"kty": "EC", "crv": "P-521", "x": "AAAA", "y": "AAAA"}),
        json!({"kty": "EC", "x": "AAAA", "y": "AAAA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": URL_SAFE_NO_PAD.encode([7; 32])}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}),
        json!({"kid": "no kty"}),
        json!({"kty": null}),
        json!({"kty": 7}),
        json!({"kty": "unheard of"}),
        json!({"kty": "oct", "alg": "HS512", "k": URL_SAFE_NO_PAD.encode(SECRET)}),
        json!({"kty": "oct", "alg": "RS256", "k": URL_SAFE_NO_PAD.encode(SECRET)}),
        json!({"kty": "oct", "kid": 7, "k": URL_SAFE_NO_PAD.encode(SECRET)}),
        json!({"kty": "oct", "use": ["sig"], "k": URL_SAFE_NO_PAD.encode(SECRET)}),
        json!({"kty": "oct", "key_ops": ["encrypt"], "k": URL_SAFE_NO_PAD.encode(SECRET)}),
        json!({"kty": "oct", "key_ops": "verify", "k": URL_SAFE_NO_PAD.encode(SECRET)}),
        json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(b"short")}),
        json!({}),
        json!([]),
        json!(null),
        json!("key"),
    ] {
        for keys in [
            json!([odd, oct("a", SECRET)]),
            json!([oct("a", SECRET), odd]),
        ] {
            file.write(&json!({"keys": keys, "more": [1]}).to_string(), 0o600);
            let verifier = file.verifier();
            let verifier = verifier.unwrap_or_else(|error| panic!("{odd}: {error}"));
            assert_eq!(verifier.keys(), 1, "{odd}");
        }
    }
    let twice = r#"{"keys":[{"kty":"OKP","kty":"OKP"},KEY]}"#;
    file.write(&twice.replace("KEY", &oct("a", SECRET).to_string()), 0o600);
    assert_eq!(file.verifier().expect("in order").keys(), 1);
    // null is as good as nothing.
    let mut bare = oct("a", SECRET);
    for name in ["kid", "alg", "use", "key_ops", "x5c"] {
        bare[name] = json!(null);
    }
    file.write(&json!({"keys": [bare]}).to_string(), 0o600);
    let token = signed(r#"{"alg":"HS256"}"#, &claims(json!({})).to_string());
    assert!(file.verifier().expect("in order").principal(&token).is_ok());
    let marked = format!("\u{feff}{}", json!({"keys": [oct("a", SECRET)]}));
    file.write(&marked, 0o600);
    assert_eq!(file.verifier().expect("in order").keys(), 1);
    let many: Vec<Value> = (0..150).map(|n| oct(&n.to_string(), SECRET)).collect();
    file.write(&json!({ "keys": many }).to_string(), 0o600);
    assert_eq!(file.verifier().expect("in order").keys(), 100);
}

#[test]
fn of_several_keys_of_one_name_each_may_check() {
    let file = Keyfile::new();
    let two = json!({"keys": [oct("a", &[7; 32]), oct("a", SECRET)]});
    file.write(&two.to_string(), 0o600);
    let verifier = file.verifier().expect("in order");
    let good = claims(json!({})).to_string();
    let token = signed(r#"{"alg":"HS256","kid":"a"}"#, &good);
    assert!(verifier.principal(&token).is_ok());
    let two = json!({"keys": [oct("a", &[7; 32]), oct("a", &[8; 32])]});
    file.write(&two.to_string(), 0o600);
    let verifier = file.verifier().expect("in order");
    assert!(verifier.principal(&token).is_err());
}

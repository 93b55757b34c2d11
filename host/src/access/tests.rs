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
        source: Source::None,
        rules,
    };
    Verifier::new(configured).expect("no file")
}

fn asked(claims: &Value) -> Result<Principal, Denied> {
    asked_by(Rules::default(), claims)
}

fn asked_by(rules: Rules, claims: &Value) -> Result<Principal, Denied> {
    let token = signed(r#"{"alg":"HS256"}"#, &claims.to_string());
    let principal = verifier(rules).principal(&token);
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
        json!({"tenant_id": ["acme", 7]}),
        json!({"tenant_id": {"acme": true}}),
        json!({"tenants": 7}),
        json!({"tenants": [1]}),
        json!({"tenants": [""]}),
        json!({"role": ["admin", 7]}),
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
        claims(json!({"role": []})),
        claims(json!({"role": ["Admin", "root"]})),
        claims(json!({"role": "admin reader"})),
        claims(json!({"tenant_id": []})),
        claims(json!({"tenant_id": ["acme", "other"]})),
        claims(json!({"tenant_id": ["acme", "other"], "role": "editor"})),
    ] {
        let denied = asked(&claims).expect_err("refused");
        assert!(
            matches!(denied, Denied::Forbidden(_)),
            "{claims}: {denied:?}"
        );
    }
}

#[test]
fn of_several_roles_the_strongest_counts() {
    let order = ["admin", "editor", "reader", "resolver", "metrics"];
    for (rank, strongest) in order.iter().enumerate() {
        let mut roles: Vec<&str> = order[rank..].to_vec();
        roles.reverse();
        let one = asked(&claims(json!({"role": strongest}))).expect("good");
        let several = asked(&claims(json!({"role": ["nonsense", roles[0], strongest]})));
        assert_eq!(several, Ok(one.clone()), "{roles:?}");
        assert_eq!(asked(&claims(json!({ "role": roles }))), Ok(one));
    }
}

#[test]
fn a_list_of_tenants_is_for_a_resolver() {
    let may = |changes: Value, tenant: &str| {
        let principal = asked(&claims(changes)).expect("good");
        principal.may(Need::Resolve(tenant))
    };
    let listed = json!({"role": "resolver", "tenant_id": ["acme", "other"]});
    assert!(may(listed.clone(), "other") && !may(listed, "third"));
    // Also a short one: who takes a tenant away does not give all.
    let one = json!({"role": "resolver", "tenant_id": ["acme"]});
    assert!(may(one.clone(), "acme") && !may(one, "other"));
    let none = json!({"role": "resolver", "tenant_id": []});
    assert!(!may(none, "acme"));
    // What is called so counts first, and one tenant that somebody belongs to is no list.
    let both = json!({"role": "resolver", "tenant_id": ["acme"], "tenants": "other"});
    assert!(may(both.clone(), "other") && !may(both, "acme"));
    assert!(may(json!({"role": "resolver"}), "any"));
    assert!(
        may(json!({"tenant_id": ["acme", "acme"]}), "acme"),
        "a reader of one"
    );
}

#[test]
fn claims_are_called_as_is_configured_and_a_map_says_what_roles_mean() {
    let rules = Rules {
        names: Names {
            role: "scope".to_owned(),
            tenant: "app.tenant".to_owned(),
            tenants: "https://x.example/tenants".to_owned(),
        },
        roles: RoleMap::parse("ordain:write=editor,ordain:ask=resolver").expect("a map"),
        ..Rules::default()
    };
    let ask = |changes: Value| asked_by(rules.clone(), &claims(changes));
    let scope = "openid ordain:write profile";
    let editor = ask(json!({"scope": scope, "app": {"tenant": "foo"}})).expect("good");
    assert!(editor.may(Need::Write("foo")) && !editor.may(Need::Read("acme")));
    let resolver = json!({"scope": "ordain:ask", "https://x.example/tenants": ["foo"]});
    let resolver = ask(resolver).expect("good");
    assert!(resolver.may(Need::Resolve("foo")) && !resolver.may(Need::Resolve("acme")));
    for changes in [
        json!({"scope": "admin", "role": "admin"}),
        json!({"scope": "ordain:writer"}),
        json!({"role": "ordain:write"}),
        json!({"scope": scope}),
        json!({"scope": scope, "app": "tenant"}),
    ] {
        let denied = ask(changes.clone());
        assert!(
            matches!(denied, Err(Denied::Forbidden(_))),
            "{changes}: {denied:?}"
        );
    }
}

#[test]
fn names_that_are_ordains_own_are_nobodys() {
    for sub in [
        "ordain",
        "Ordain",
        " ordain ",
        "anonymous",
        "ANONYMOUS",
        "ordain\u{200b}",
        "SQL:postgres",
        " sql:x",
        "s\u{ad}ql:x",
        "\u{200b}",
        "  ",
    ] {
        let denied = asked(&claims(json!({ "sub": sub }))).expect_err(sub);
        assert!(matches!(denied, Denied::Invalid(_)), "{sub:?}: {denied:?}");
    }
    for sub in [
        "ordain-admin",
        "ordain@example",
        "anonymous2",
        "mysql:x",
        "o r",
    ] {
        let principal = asked(&claims(json!({ "sub": sub }))).expect(sub);
        assert_eq!(principal.actor(), sub);
    }
}

#[test]
fn tokens_hold_for_no_longer_than_is_configured() {
    let rules = Rules {
        lifetime: Some(Duration::from_secs(3600)),
        ..Rules::default()
    };
    let now = now();
    let ask = |changes: Value| asked_by(rules.clone(), &claims(changes));
    for good in [
        json!({"iat": now, "exp": now + 3600}),
        json!({"iat": now - 3500, "exp": now + 100}),
        json!({"exp": now + 3600}),
        json!({"iat": now + 20, "exp": now + 3620}),
    ] {
        assert!(ask(good.clone()).is_ok(), "{good}");
    }
    for long in [
        json!({"iat": now, "exp": now + 3602}),
        json!({"iat": now - 3600, "exp": now + 100}),
        json!({"exp": now + 3700}),
        json!({"iat": now + 1_000_000, "exp": now + 1_000_060}),
        json!({"iat": "yesterday", "exp": now + 60}),
        json!({"iat": null, "exp": now + 60}),
    ] {
        let denied = ask(long.clone());
        assert!(
            matches!(denied, Err(Denied::Invalid(_))),
            "{long}: {denied:?}"
        );
    }
    assert!(asked(&claims(json!({"iat": "yesterday", "exp": now + 1_000_000}))).is_ok());
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
        ..Rules::default()
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
        r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}"#,
        r#"{"alg":"HS256","jku":"https://x"}"#,
        r#"{"alg":"HS256","x5u":7}"#,
        r#"{"alg":"HS256","x5c":["AAAA"],"x5t":"x","x5t#S256":null}"#,
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
        r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
        r#"{"alg":"HS256","crit":null}"#,
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
        names: Names::default(),
        roles: RoleMap::default(),
        lifetime: None,
    };
    let signer = Signer::secret(SECRET).expect("long enough");
    let token = signer.mint(&wish, SystemTime::now()).expect("a token");
    let principal = verifier(Rules::default()).principal(&token).expect("good");
    assert!(principal.may(Need::Write("acme")));
    let refused = |wish: Wish| signer.mint(&wish, SystemTime::now()).expect_err("refused");
    let homeless = Wish {
        tenant: None,
        ..wish.clone()
    };
    assert_eq!(refused(homeless), MintError::Tenant("editor"));
    let reserved = Wish {
        sub: "ordain".to_owned(),
        ..wish.clone()
    };
    assert!(matches!(refused(reserved), MintError::Sub(_)));
    let long = Wish {
        lifetime: Some(Duration::from_secs(59)),
        ..wish.clone()
    };
    assert_eq!(refused(long), MintError::Lifetime);
    // As the configuration calls and means things.
    let names = Names {
        role: "app_metadata.role".to_owned(),
        tenant: "app_metadata.tenant".to_owned(),
        tenants: "https://x.example/tenants".to_owned(),
    };
    let roles = RoleMap::parse("Writer=editor,Ops=metrics").expect("a map");
    let wish = Wish {
        names: names.clone(),
        roles: roles.clone(),
        ..wish
    };
    let token = signer.mint(&wish, SystemTime::now()).expect("a token");
    let rules = Rules {
        names,
        roles,
        ..Rules::default()
    };
    let principal = verifier(rules).principal(&token).expect("good");
    assert!(principal.may(Need::Write("acme")));
    let unknown = Wish {
        role: Role::Admin,
        ..wish
    };
    assert_eq!(refused(unknown), MintError::Role("admin"));
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
    verifier.look_at_file();
    assert_eq!(verifier.state(), Some(KeysState::Stale));
    assert!(verifier.principal(&token).is_ok());
    file.write(&json!({"keys": [oct("b", SECRET)]}).to_string(), 0o600);
    verifier.look_at_file();
    assert_eq!(verifier.state(), Some(KeysState::Up));
    assert!(
        verifier.principal(&token).is_err(),
        "also if it was good before"
    );
    assert!(verifier.principal(&other).is_ok());
    let two = json!({"keys": [oct("a", SECRET), oct("b", &[7; 32])]});
    file.write(&two.to_string(), 0o600);
    verifier.look_at_file();
    assert!(
        verifier.principal(&nameless).is_err(),
        "which one is not clear"
    );
    std::fs::remove_file(&file.0).expect("it is there");
    verifier.look_at_file();
    assert_eq!(verifier.state(), Some(KeysState::Stale));
    assert!(verifier.principal(&token).is_ok());
    file.write(&two.to_string(), 0o600);
    verifier.look_at_file();
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

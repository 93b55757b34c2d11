//! Tests of tokens: what they say, what spoils them, and what is no key.

mod keyfile;

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

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
    assert!(principal.may(Need::Read, "acme") && !principal.may(Need::Write, "acme"));
    let admin = json!({"sub": "root", "exp": now() + 60, "role": "admin"});
    assert!(
        asked(&admin)
            .expect("needs no tenant")
            .may(Need::Everything, "")
    );
    let resolver = json!({"sub": "g", "exp": now() + 60, "role": "resolver", "tenants": []});
    assert!(!asked(&resolver).expect("good").may(Need::Resolve, "acme"));
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
        principal.may(Need::Resolve, tenant)
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
    assert!(editor.may(Need::Write, "foo") && !editor.may(Need::Read, "acme"));
    let resolver = json!({"scope": "ordain:ask", "https://x.example/tenants": ["foo"]});
    let resolver = ask(resolver).expect("good");
    assert!(resolver.may(Need::Resolve, "foo") && !resolver.may(Need::Resolve, "acme"));
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
        r#"{"alg":"HS256","kid":null}"#,
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
    assert!(principal.may(Need::Write, "acme"));
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
    assert!(principal.may(Need::Write, "acme"));
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

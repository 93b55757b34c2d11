//! Tokens that are no good: forged, spoiled, expired, of somebody else, confused about their
//! algorithm.

use ordain_tests::app::App;
use ordain_tests::http::Reply;
use ordain_tests::tokens::{EC, ED25519, RSA, SECRET, Signer, base64url, claims, now, token};
use serde_json::{Value, json};

use crate::access::guarded;

const PATH: &str = "/v1/tenants/acme/history";

/// Asks with this token; 401s are checked for their form, and for not repeating anything.
pub async fn ask(app: &App, token: &str) -> Reply {
    let reply = app.with(token).get(PATH).await;
    if reply.status == 401 {
        let reply = reply.clone().problem(401, "invalid-token");
        let challenge = reply.header("www-authenticate");
        assert!(
            challenge.starts_with("Bearer error=\"invalid_token\", error_description=\""),
            "{reply:?}"
        );
        for part in token.split('.').filter(|part| part.len() > 8) {
            assert!(
                !reply.text.contains(part) && !challenge.contains(part),
                "{reply:?}"
            );
        }
    }
    reply
}

async fn refused(app: &App, token: &str, says: &str) {
    let reply = ask(app, token).await;
    assert_eq!(reply.status, 401, "{says}: {token}: {reply:?}");
    assert!(reply.text.contains(says), "{says}: {reply:?}");
}

fn good() -> Value {
    claims("reader", json!({"tenant_id": "acme"}))
}

#[tokio::test]
async fn forged_and_spoiled_tokens_are_refused() {
    let app = guarded().await;
    let genuine = token(&good());
    ask(&app, &genuine).await.expect(200);
    let other = Signer::secret(b"another secret, as long as the one that counts");
    refused(&app, &other.token(&good()), "signature").await;

    let parts: Vec<&str> = genuine.split('.').collect();
    for (index, part) in parts.iter().enumerate() {
        for at in [0, part.len() / 2, part.len() - 2] {
            let mut bytes = part.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            let mut parts = parts.clone();
            parts[index] = &changed;
            let reply = ask(&app, &parts.join(".")).await;
            assert_eq!(reply.status, 401, "part {index} at {at}: {reply:?}");
        }
    }
    let admin = base64url(claims("admin", json!({})).to_string());
    refused(
        &app,
        &format!("{}.{admin}.{}", parts[0], parts[2]),
        "signature",
    )
    .await;
    refused(&app, &format!("{}.{}.", parts[0], parts[1]), "signature").await;
    for broken in [
        "x".to_owned(),
        "a.b".to_owned(),
        format!("{}.{}", parts[0], parts[1]),
        genuine[..genuine.len() - 1].to_owned(),
        format!("{genuine}."),
        format!("{genuine}.x"),
        format!("{genuine}="),
        format!("{genuine},{genuine}"),
        format!("{} {}", genuine, genuine),
        format!("{}.{}.{}", parts[1], parts[0], parts[2]),
        genuine.replace('.', ".."),
        format!(".{}.{}", parts[1], parts[2]),
    ] {
        let reply = ask(&app, &broken).await;
        assert_eq!(reply.status, 401, "{broken}: {reply:?}");
    }
    let long = token(&claims(
        "reader",
        json!({"tenant_id": "acme", "x": "y".repeat(8000)}),
    ));
    refused(&app, &long, "8 KiB").await;
    ask(&app, &genuine).await.expect(200);
}

#[tokio::test]
async fn tokens_hold_for_their_time_and_half_a_minute() {
    let app = guarded().await;
    let timed = |more: Value| {
        let mut claims = good();
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        token(&claims)
    };
    ask(&app, &timed(json!({"exp": now() - 20})))
        .await
        .expect(200);
    refused(&app, &timed(json!({"exp": now() - 31})), "expired").await;
    refused(&app, &timed(json!({"exp": 0})), "expired").await;
    ask(&app, &timed(json!({"nbf": now() + 20})))
        .await
        .expect(200);
    refused(&app, &timed(json!({"nbf": now() + 60})), "not valid yet").await;
    ask(&app, &timed(json!({"iat": "nonsense"})))
        .await
        .expect(200);
    ask(&app, &timed(json!({"exp": now() as f64 + 60.5})))
        .await
        .expect(200);
    // One that was good is looked at by the clock each time.
    let short = timed(json!({"exp": now() - 28}));
    ask(&app, &short).await.expect(200);
    let expired = || async {
        let reply = ask(&app, &short).await;
        ordain_tests::wait::holds(reply.status == 401, format!("{reply:?}"))
    };
    ordain_tests::wait::eventually("it expires", ordain_tests::wait::PATIENCE, expired).await;
}

#[tokio::test]
async fn claims_that_are_missing_or_of_another_type_are_refused_with_why() {
    let app = guarded().await;
    let signer = Signer::secret(SECRET.as_bytes());
    let with = |more: Value| token(&claims("reader", more));
    let long = "x".repeat(257);
    for (more, says) in [
        (json!({"tenant_id": "acme", "exp": null}), "exp"),
        (json!({"tenant_id": "acme", "exp": "1900000000"}), "exp"),
        (json!({"tenant_id": "acme", "exp": true}), "exp"),
        (json!({"tenant_id": "acme", "exp": -5}), "exp"),
        (json!({"tenant_id": "acme", "exp": 1e300}), "exp"),
        (json!({"tenant_id": "acme", "nbf": "now"}), "nbf"),
        (json!({"tenant_id": "acme", "sub": null}), "sub"),
        (json!({"tenant_id": "acme", "sub": ""}), "sub"),
        (json!({"tenant_id": "acme", "sub": 1}), "sub"),
        (json!({"tenant_id": ""}), "tenant_id"),
        (json!({"tenant_id": 7}), "tenant_id"),
        (json!({"tenant_id": ["acme", 7]}), "tenant_id"),
        (json!({"tenant_id": {"acme": true}}), "tenant_id"),
        (json!({"tenant_id": long}), "tenant_id"),
        (json!({"tenant_id": ".."}), "tenant_id"),
        (json!({"tenant_id": "acme", "tenants": 7}), "tenants"),
        (json!({"tenant_id": "acme", "role": 7}), "role"),
        (json!({"tenant_id": "acme", "role": ["reader", 7]}), "role"),
        (json!({"tenant_id": "acme", "sub": "ordain"}), "reserved"),
        (
            json!({"tenant_id": "acme", "sub": "Anonymous "}),
            "reserved",
        ),
        (
            json!({"tenant_id": "acme", "sub": "SQL:postgres"}),
            "reserved",
        ),
        (
            json!({"tenant_id": "acme", "sub": "sql:postgres"}),
            "reserved",
        ),
    ] {
        refused(&app, &with(more), says).await;
    }
    let now = now() + 60;
    for text in [
        "null".to_owned(),
        "[]".to_owned(),
        "{".to_owned(),
        "\"acme\"".to_owned(),
        format!(r#"{{"sub":"a","exp":NaN,"role":"reader","tenant_id":"acme","x":{now}}}"#),
        format!(
            r#"{{"sub":"a","exp":{now},"role":"reader","tenant_id":"foo","tenant_id":"acme"}}"#
        ),
        format!(r#"{{"sub":"a","exp":{now},"role":"reader","role":"admin","tenant_id":"acme"}}"#),
        format!(r#"{{"sub":"a","exp":1,"exp":{now},"role":"admin"}}"#),
    ] {
        refused(&app, &signer.text(r#"{"alg":"HS256"}"#, &text), "claims").await;
    }
    for more in [
        json!({"tenant_id": "acme", "role": null}),
        json!({"tenant_id": "acme", "role": "root"}),
        json!({"tenant_id": "acme", "role": "Reader"}),
        json!({"tenant_id": "acme", "role": ""}),
        json!({}),
        json!({"role": "editor"}),
    ] {
        ask(&app, &with(more)).await.problem(403, "forbidden");
    }
}

#[tokio::test]
async fn the_authorization_header_has_one_form() {
    let app = guarded().await;
    let nobody = app.without();
    let token = token(&good());
    let with = |value: String| {
        nobody
            .call("GET", PATH)
            .header("authorization", &value)
            .send()
    };
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        with(format!("{scheme} {token}")).await.expect(200);
    }
    for value in [
        token.clone(),
        format!("Basic {token}"),
        format!("Token {token}"),
        format!("Bearer{token}"),
        format!("Bearer:{token}"),
        "Bearer".to_owned(),
        String::new(),
    ] {
        with(value).await.problem(401, "unauthenticated");
    }
    with("Bearer \u{fc}".to_owned())
        .await
        .problem(401, "unauthenticated");
    let twice = nobody
        .call("GET", PATH)
        .header("authorization", &format!("Bearer {token}"))
        .header("authorization", "Bearer x");
    twice.send().await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_key_says_the_algorithm_and_never_the_token() {
    let secret = App::builder().env("ORDAIN_ENV", "test").start().await;
    let signer = Signer::secret(SECRET.as_bytes());
    for alg in [
        "none", "None", "NONE", "nOnE", "", "HS384", "HS512", "hs256", "HS256 ", "RS256", "ES256",
        "EdDSA", "PS256",
    ] {
        let header = json!({"alg": alg});
        let unsigned = format!(
            "{}.{}.",
            base64url(header.to_string()),
            base64url(good().to_string())
        );
        let signed = signer.with_header(&header, &good());
        for token in [unsigned, signed] {
            assert_eq!(ask(&secret, &token).await.status, 401, "{alg}");
        }
    }
    for header in [
        "{}",
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
    ] {
        let token = signer.text(header, &good().to_string());
        assert_eq!(ask(&secret, &token).await.status, 401, "{header}");
    }
    // A public key is known to everybody: as a secret it must not count.
    for pair in [&RSA, &EC, &ED25519] {
        let app = App::builder()
            .env("ORDAIN_ENV", "test")
            .env("ORDAIN_JWT_HS256_SECRET", "")
            .env("ORDAIN_JWT_PUBLIC_KEY", &pair.public)
            .start()
            .await;
        ask(&app, &pair.signer.token(&good())).await.expect(200);
        for bytes in [
            pair.public.as_str(),
            pair.public.trim(),
            &pair.public.replace('\n', ""),
        ] {
            let confused = Signer::secret(bytes.as_bytes());
            refused(&app, &confused.token(&good()), "alg").await;
            for alg in ["RS256", "ES256", "EdDSA"] {
                let token = confused.with_header(&json!({"alg": alg}), &good());
                assert_eq!(ask(&app, &token).await.status, 401, "{alg}");
            }
        }
        for other in [&RSA, &EC, &ED25519] {
            let foreign = other.public != pair.public;
            let token = other.signer.token(&good());
            assert_eq!(
                ask(&app, &token).await.status,
                if foreign { 401 } else { 200 }
            );
            let claimed = json!({"alg": pair.signer.algorithm()});
            let token = other.signer.with_header(&claimed, &good());
            assert_eq!(
                ask(&app, &token).await.status,
                if foreign { 401 } else { 200 }
            );
        }
    }
}

#[tokio::test]
async fn a_token_brings_no_key_and_asks_for_nothing_special() {
    let app = App::builder()
        .env("ORDAIN_ENV", "test")
        .env("ORDAIN_JWT_PUBLIC_KEY", &EC.public.replace('\n', "\\n"))
        .start()
        .await;
    let mine = ordain_tests::tokens::Pair::ec().signer;
    // Where keys are said to be is not looked at: such a token is as good as its signature.
    for (name, value) in [
        ("jwk", mine.jwk("x")),
        ("jku", json!("https://example.org/keys.json")),
        ("x5u", json!("https://example.org/chain.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5c", json!(7)),
    ] {
        let mut header = json!({"alg": "ES256"});
        header[name] = value.clone();
        refused(&app, &mine.with_header(&header, &good()), "signature").await;
        let token = EC.signer.with_header(&header, &good());
        ask(&app, &token).await.expect(200);
    }
    for value in [json!(["exp"]), json!([]), json!(null)] {
        let header = json!({"alg": "ES256", "crit": value});
        refused(&app, &EC.signer.with_header(&header, &good()), "crit").await;
    }
    for kid in ["../../etc/passwd", "/dev/null", "'; DROP TABLE changes; --"] {
        let header = json!({"alg": "ES256", "kid": kid});
        refused(&app, &mine.with_header(&header, &good()), "signature").await;
    }
    ask(&app, &EC.signer.token(&good())).await.expect(200);
}

#[tokio::test]
async fn tokens_that_hold_for_too_long_are_refused_if_there_is_a_limit() {
    let app = App::builder()
        .env("ORDAIN_ENV", "test")
        .env("ORDAIN_JWT_MAX_LIFETIME", "1h")
        .start()
        .await;
    let timed = |more: Value| token(&claims("metrics", more));
    let metrics = async |token: String| app.with(&token).get("/metrics").await;
    let hour = json!({"iat": now(), "exp": now() + 3600});
    metrics(timed(hour)).await.expect(200);
    metrics(timed(json!({"exp": now() + 3600})))
        .await
        .expect(200);
    for long in [
        json!({"iat": now(), "exp": now() + 3601}),
        json!({"exp": now() + 4000}),
        json!({"iat": now() + 90_000, "exp": now() + 90_060}),
        json!({}),
    ] {
        let reply = metrics(timed(long.clone())).await;
        let reply = reply.problem(401, "invalid-token");
        assert!(
            reply.text.contains("ORDAIN_JWT_MAX_LIFETIME"),
            "{long}: {reply:?}"
        );
    }
}

#[tokio::test]
async fn issuer_and_audience_are_checked_when_they_are_configured() {
    let app = App::builder()
        .env("ORDAIN_ENV", "test")
        .env("ORDAIN_JWT_ISSUER", "https://login.example")
        .env("ORDAIN_JWT_AUDIENCE", "ordain")
        .start();
    let app = app.await;
    let with = |more: Value| {
        let mut claims = good();
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        token(&claims)
    };
    let iss = "https://login.example";
    for aud in [json!("ordain"), json!(["x", "ordain"])] {
        ask(&app, &with(json!({"iss": iss, "aud": aud})))
            .await
            .expect(200);
    }
    for (more, says) in [
        (json!({}), "iss"),
        (json!({"iss": iss}), "aud"),
        (
            json!({"iss": "https://login.example/", "aud": "ordain"}),
            "issuer",
        ),
        (json!({"iss": [iss], "aud": "ordain"}), "iss"),
        (json!({"iss": iss, "aud": "ordain-admin"}), "audience"),
        (json!({"iss": iss, "aud": "Ordain"}), "audience"),
        (json!({"iss": iss, "aud": []}), "audience"),
        (json!({"iss": iss, "aud": ["x", "y"]}), "audience"),
        (json!({"iss": iss, "aud": ["ordain", 1]}), "aud"),
        (json!({"iss": iss, "aud": 1}), "aud"),
    ] {
        refused(&app, &with(more), says).await;
    }
}

//! Keys that come by URL or by issuer: rotation, providers that are slow, broken, huge or
//! elsewhere, a start without them, and what is not trusted.

use std::time::Instant;

use ordain_tests::app::{App, Builder};
use ordain_tests::http::Reply;
use ordain_tests::services::{Answer, Authority, Provider};
use ordain_tests::tokens::{ED25519, Pair, SECRET, base64url, claims, token};
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::{Value, json};

use crate::access_tokens::ask;

fn good() -> Value {
    claims("reader", json!({"tenant_id": "acme"}))
}

fn keyless() -> Builder {
    App::builder()
        .env("ORDAIN_ENV", "test")
        .env("ORDAIN_JWT_HS256_SECRET", "")
}

/// Looks five times a second.
fn quick(provider: &Provider) -> Builder {
    keyless()
        .env("ORDAIN_JWKS_URL", &provider.url())
        .env("ORDAIN_JWKS_INTERVAL", "200ms")
}

async fn ready(app: &App) -> Reply {
    app.without().get("/readyz").await
}

async fn keys_are(app: &App, state: &str) {
    let seen = || async {
        let ready = ready(app).await;
        let is = &ready.json["dependencies"]["keys"]["state"];
        holds(is == state, format!("{ready:?}"))
    };
    eventually("readiness says so", PATIENCE, seen).await;
}

async fn becomes(app: &App, token: &str, status: u16) {
    let asked = || async {
        let reply = ask(app, token).await;
        holds(reply.status == status, format!("{reply:?}"))
    };
    eventually("the keys are read again", PATIENCE, asked).await;
}

#[tokio::test]
async fn a_new_key_counts_with_the_first_token_that_names_it_and_invented_names_cost_nothing() {
    let (one, two, three) = (
        Pair::ec().signer,
        Pair::ec384().signer,
        Pair::ed25519().signer,
    );
    let provider = Provider::start("").await;
    provider.keys(&[one.jwk("one")]);
    // The period is five minutes.
    let app = keyless()
        .env("ORDAIN_JWKS_URL", &provider.url())
        .start()
        .await;
    ask(&app, &one.named("one", &good())).await.expect(200);
    assert_eq!(provider.asked(), 1);
    provider.keys(&[two.jwk("two")]);
    // Many at once, as after a roll-out, and nobody is turned away.
    let second = two.named("two", &good());
    let all = (0..20).map(|_| ask(&app, &second));
    for reply in futures::future::join_all(all).await {
        reply.expect(200);
    }
    assert_eq!(provider.asked(), 2, "one look for all of them");
    ask(&app, &one.named("one", &good())).await.expect(401);
    // For half a minute whatever is named asks for nothing more, and does not wait.
    provider.keys(&[two.jwk("two"), three.jwk("three")]);
    let start = Instant::now();
    for number in 0..300 {
        let kid = format!("invented-{number}");
        ask(&app, &three.named(&kid, &good())).await.expect(401);
    }
    ask(&app, &three.named("three", &good())).await.expect(401);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert_eq!(provider.asked(), 2);
    ask(&app, &second).await.expect(200);
}

#[tokio::test]
async fn keys_are_read_on_a_period_and_one_that_left_counts_no_more() {
    let (one, two) = (Pair::ec().signer, Pair::ed25519().signer);
    let provider = Provider::start("").await;
    provider.keys(&[one.jwk("one"), two.jwk("two")]);
    let app = quick(&provider).start().await;
    let first = one.named("one", &good());
    ask(&app, &first).await.expect(200);
    ask(&app, &two.named("two", &good())).await.expect(200);
    provider.keys(&[two.jwk("two")]);
    becomes(&app, &first, 401).await;
    ask(&app, &two.named("two", &good())).await.expect(200);
    // Odd ones beside it change nothing, and are told of once.
    let odd = json!({"kty": "RSA", "kid": "x5", "use": "sig", "alg": "RS256", "x5c": ["MIIDAA=="]});
    provider.keys(&[odd, one.jwk("one")]);
    becomes(&app, &first, 200).await;
    let looks = provider.asked();
    let more = || async { holds(provider.asked() > looks + 3, provider.asked()) };
    eventually("it looks again", PATIENCE, more).await;
    let log = app.log();
    assert_eq!(log.matches("cannot be used; key 1").count(), 1, "{log}");
    keys_are(&app, "up").await;
}

#[tokio::test]
async fn whatever_the_provider_answers_the_last_good_keys_stay_and_readiness_says_so() {
    let signer = Pair::ed25519().signer;
    let provider = Provider::start("").await;
    let elsewhere = Provider::start("").await;
    elsewhere.keys(&[ED25519.signer.jwk("a")]);
    provider.keys(&[signer.jwk("a")]);
    let app = quick(&provider).start().await;
    let token = signer.named("a", &good());
    let mut private = signer.jwk("a");
    private["d"] = json!("s3cret");
    let private = json!({"keys": [private]}).to_string();
    let secret = json!({"keys": [{"kty": "oct", "kid": "a", "k": base64url(SECRET)}]}).to_string();
    for (answer, says) in [
        (Answer::Status(503), "503"),
        (Answer::Status(404), "404"),
        (Answer::Redirect(elsewhere.url()), "redirect"),
        (Answer::Text("<html>s3cret</html>".to_owned()), "is not"),
        (Answer::Text(r#"{"keys":[]}"#.to_owned()), "no key"),
        (Answer::Text(private), "private"),
        (Answer::Text(secret), "public"),
        (Answer::Huge, "more than 1 MiB"),
        (Answer::Half, "JWKS_URL"),
        (Answer::Silent, "within 5 s"),
    ] {
        let what = format!("{answer:?}");
        provider.answer(answer);
        keys_are(&app, "stale").await;
        let seen = ready(&app).await.expect(200);
        assert_eq!(seen.json["status"], "degraded", "{what}");
        assert!(!seen.text.contains("127.0.0.1"), "{seen:?}");
        ask(&app, &token).await.expect(200);
        ask(&app, &ED25519.signer.named("a", &good()))
            .await
            .expect(401);
        assert!(
            app.log().contains(says),
            "{what} should say {says}\n{}",
            app.log()
        );
        provider.answer(Answer::Right);
        keys_are(&app, "up").await;
    }
    assert_eq!(elsewhere.asked_at_all(), 0, "nothing is asked elsewhere");
    let log = app.log();
    assert!(!log.contains("s3cret"), "{log}");
    let told = log.matches("stay in force").count();
    assert_eq!(told, 10, "once for each\n{log}");
}

#[tokio::test]
async fn without_any_key_it_starts_waits_and_turns_no_good_token_away_for_good() {
    let signer = Pair::ed25519().signer;
    let provider = Provider::start("").await;
    provider.answer(Answer::Status(500));
    provider.keys(&[signer.jwk("a")]);
    let app = quick(&provider).unready().start().await;
    let unready = ready(&app).await.expect(503);
    assert_eq!(unready.json["dependencies"]["keys"]["state"], "down");
    let token = signer.named("a", &good());
    let early = ask(&app, &token).await.problem(503, "keys-unavailable");
    assert_eq!(early.header("retry-after"), "1");
    app.without().get("/healthz").await.expect(200);
    provider.answer(Answer::Right);
    becomes(&app, &token, 200).await;
    ready(&app).await.expect(200);
    // A name that leads nowhere and a port where nobody listens.
    for url in ["https://nobody.invalid/keys", "http://127.0.0.1:1/keys"] {
        let app = keyless()
            .env("ORDAIN_JWKS_URL", url)
            .unready()
            .start()
            .await;
        assert_eq!(ready(&app).await.status, 503);
        let told = || async { holds(app.log().contains("ORDAIN_JWKS_URL"), app.log()) };
        eventually("the log says why", PATIENCE, told).await;
    }
}

#[tokio::test]
async fn a_secret_beside_a_url_that_does_not_answer_still_counts() {
    let provider = Provider::start("").await;
    provider.answer(Answer::Status(500));
    let app = App::builder()
        .env("ORDAIN_ENV", "test")
        .env("ORDAIN_JWKS_URL", &provider.url())
        .start()
        .await;
    keys_are(&app, "stale").await;
    ask(&app, &token(&good())).await.expect(200);
}

#[tokio::test]
async fn a_file_stands_in_until_the_url_answers_for_the_first_time() {
    let (old, new) = (Pair::ec().signer, Pair::ed25519().signer);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.json");
    std::fs::write(&path, json!({"keys": [old.jwk("old")]}).to_string()).expect("ours");
    let provider = Provider::start("").await;
    provider.answer(Answer::Status(500));
    provider.keys(&[new.jwk("new")]);
    let file = path.to_str().expect("UTF-8");
    let app = quick(&provider).env("ORDAIN_JWKS_FILE", file).start().await;
    keys_are(&app, "stale").await;
    let (first, second) = (old.named("old", &good()), new.named("new", &good()));
    ask(&app, &first).await.expect(200);
    ask(&app, &second).await.problem(503, "keys-unavailable");
    provider.answer(Answer::Right);
    becomes(&app, &second, 200).await;
    ask(&app, &first).await.expect(401);
    keys_are(&app, "up").await;
    // From then on it is the URL alone that counts.
    provider.answer(Answer::Status(500));
    keys_are(&app, "stale").await;
    ask(&app, &first).await.expect(401);
    ask(&app, &second).await.expect(200);
    // A provider that answers is asked first, and a file that is broken does not matter then.
    provider.answer(Answer::Right);
    std::fs::write(&path, "{").expect("ours");
    let app = quick(&provider).env("ORDAIN_JWKS_FILE", file).start().await;
    ask(&app, &second).await.expect(200);
}

#[tokio::test]
async fn an_issuer_is_believed_if_it_calls_itself_so_and_its_tokens_do() {
    let signer = Pair::ec().signer;
    let provider = Provider::start("/realms/a").await;
    provider.keys(&[signer.jwk("a")]);
    let issuer = provider.issuer();
    let with = |name: &str| {
        keyless()
            .env("ORDAIN_OIDC_ISSUER", name)
            .env("ORDAIN_JWKS_INTERVAL", "200ms")
    };
    let app = with(&issuer).start().await;
    let sign = |iss: &str| {
        let mut claims = good();
        claims["iss"] = json!(iss);
        signer.named("a", &claims)
    };
    ask(&app, &sign(&issuer)).await.expect(200);
    ask(&app, &sign(&format!("{issuer}/"))).await.expect(401);
    ask(&app, &signer.named("a", &good())).await.expect(401);
    for (member, value, says) in [
        ("issuer", json!("https://other.example"), "to the letter"),
        ("issuer", json!(format!("{issuer}/")), "to the letter"),
        ("jwks_uri", json!("http://login.example/keys"), "https://"),
        ("jwks_uri", json!("file:///etc/passwd"), "jwks_uri"),
        ("jwks_uri", json!(7), "no document"),
    ] {
        let before = match member {
            "issuer" => json!(issuer),
            _ => json!(provider.url()),
        };
        provider.says(member, value);
        keys_are(&app, "stale").await;
        ask(&app, &sign(&issuer)).await.expect(200);
        assert!(app.log().contains(says), "{says}\n{}", app.log());
        provider.says(member, before);
        keys_are(&app, "up").await;
    }
    // Under a name that is not quite its own nothing comes.
    let app = with(&format!("{issuer}/")).unready().start().await;
    keys_are(&app, "down").await;
}

#[tokio::test]
async fn over_https_the_system_says_whom_to_believe() {
    let authority = Authority::new();
    let signer = Pair::ec().signer;
    let provider = Provider::tls(&authority, "/x").await;
    provider.keys(&[signer.jwk("a")]);
    let file = authority.file();
    let file = file.to_str().expect("UTF-8");
    let app = keyless()
        .env("ORDAIN_OIDC_ISSUER", &provider.issuer())
        .env("SSL_CERT_FILE", file)
        .start()
        .await;
    let mut claims = good();
    claims["iss"] = json!(provider.issuer());
    ask(&app, &signer.named("a", &claims)).await.expect(200);
    // From https there is no way back into the clear.
    let clear = Provider::start("").await;
    clear.keys(&[signer.jwk("a")]);
    provider.says("jwks_uri", json!(clear.url()));
    let app = keyless()
        .env("ORDAIN_OIDC_ISSUER", &provider.issuer())
        .env("SSL_CERT_FILE", file)
        .unready()
        .start()
        .await;
    let told = || async { holds(app.log().contains("its jwks_uri must begin"), app.log()) };
    eventually("it is refused", PATIENCE, told).await;
    assert_eq!(clear.asked_at_all(), 0);
    // Another authority is not believed.
    let other = Authority::new();
    let app = keyless()
        .env("ORDAIN_JWKS_URL", &provider.url())
        .env("SSL_CERT_FILE", other.file().to_str().expect("UTF-8"))
        .unready()
        .start()
        .await;
    let told = || async { holds(app.log().contains("ertificate"), app.log()) };
    eventually("the log says why", PATIENCE, told).await;
    assert_eq!(ready(&app).await.status, 503);
}

#[tokio::test]
async fn addresses_and_names_that_cannot_be_right_stop_the_start() {
    let far = "https://login.example/keys";
    for (env, says) in [
        (
            vec![("ORDAIN_JWKS_URL", "http://login.example/keys")],
            "https://",
        ),
        (
            vec![("ORDAIN_JWKS_URL", "https://me:s3cret@login.example/keys")],
            "password",
        ),
        (vec![("ORDAIN_JWKS_URL", "s3cret")], "no URL"),
        (
            vec![("ORDAIN_OIDC_ISSUER", "http://login.example")],
            "https://",
        ),
        (
            vec![("ORDAIN_OIDC_ISSUER", "https://login.example?key=s3cret")],
            "query",
        ),
        (
            vec![
                ("ORDAIN_OIDC_ISSUER", "https://login.example"),
                ("ORDAIN_JWKS_URL", far),
            ],
            "leave one of them out",
        ),
        (
            vec![
                ("ORDAIN_OIDC_ISSUER", "https://login.example"),
                ("ORDAIN_JWT_ISSUER", "https://login.example/"),
            ],
            "to the letter",
        ),
        (
            vec![("ORDAIN_JWKS_URL", far), ("ORDAIN_JWKS_INTERVAL", "0s")],
            "ORDAIN_JWKS_INTERVAL",
        ),
        (
            vec![("ORDAIN_JWT_MAX_LIFETIME", "0s")],
            "ORDAIN_JWT_MAX_LIFETIME",
        ),
        (vec![("ORDAIN_JWT_ROLE_MAP", "a=admin,b=root")], "pair 2"),
        (vec![("ORDAIN_JWT_ROLE_MAP", "admin")], "pair 1"),
    ] {
        let builder = App::builder().env("ORDAIN_ENV", "test");
        let builder = env
            .iter()
            .fold(builder, |builder, (name, value)| builder.env(name, value));
        let (code, log) = builder.refused().await;
        assert_eq!(code, Some(2), "{env:?}\n{log}");
        assert!(
            log.contains(says) && !log.contains("s3cret"),
            "{env:?}\n{log}"
        );
        assert!(log.contains(env[env.len() - 1].0), "{env:?}\n{log}");
    }
}

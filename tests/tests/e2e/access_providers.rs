//! Tokens as identity providers make them, each with the set of keys and the claims that it has:
//! what an operator sets for it is in docs/operations.md, section Access.

use ordain_tests::app::App;
use ordain_tests::services::Provider;
use ordain_tests::tokens::{EC, RSA, base64url, now};
use serde_json::{Value, json};

use crate::support::plain;

/// The RSA key as providers publish it, with the members that nobody here looks at.
fn published(kid: &str, changes: Value) -> Value {
    let mut key = RSA.signer.jwk(kid);
    key["x5t"] = json!(base64url([7; 20]));
    key["x5c"] = json!(["MIIC8TCCAdmgAwIBAgIQfEWlTVc1uINEc9RBi6qHMjANBgkqhkiG9w0BAQsFADA="]);
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => drop(key.as_object_mut().expect("an object").remove(name)),
            value => key[name] = value.clone(),
        }
    }
    key
}

fn with(claims: &Value, changes: Value) -> Value {
    let mut claims = claims.clone();
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

async fn server(env: &[(&str, &str)]) -> App {
    let builder = App::builder()
        .env("ORDAIN_ENV", "test")
        .env("ORDAIN_JWT_HS256_SECRET", "");
    let builder = env
        .iter()
        .fold(builder, |builder, (name, value)| builder.env(name, value));
    builder.start().await
}

/// Signed with the RSA key, under this name.
fn token(kid: &str, claims: &Value) -> String {
    let header = json!({"typ": "JWT", "alg": "RS256", "kid": kid, "x5t": kid});
    RSA.signer.with_header(&header, claims)
}

async fn status(app: &App, token: &str, path: &str) -> u16 {
    app.with(token).get(path).await.status
}

const TENANT: &str = "9122040d-6c67-4c5b-b112-36a304b66dad";

#[tokio::test]
async fn entra_id() {
    let provider = Provider::start(&format!("/{TENANT}/v2.0")).await;
    let issuer = "https://login.microsoftonline.com/{tenantid}/v2.0";
    provider.keys(&[
        published("nOo3ZDrODXEK1jKWhXslHR_KXEg", json!({"alg": null, "issuer": issuer})),
        json!({"kty": "RSA", "use": "sig", "kid": "old", "x5t": "old", "n": "AQAB", "e": "AQAB", "x5c": ["MIIC"]}),
    ]);
    let app = server(&[
        ("ORDAIN_OIDC_ISSUER", &provider.issuer()),
        (
            "ORDAIN_JWT_AUDIENCE",
            "6e74172b-be56-4843-9ff4-e66a39bb12e3",
        ),
        ("ORDAIN_JWT_ROLE_CLAIM", "roles"),
        (
            "ORDAIN_JWT_ROLE_MAP",
            "Ordain.Admin=admin,Ordain.Reader=reader",
        ),
        ("ORDAIN_JWT_TENANT_CLAIM", "tid"),
    ])
    .await;
    let claims = json!({
        "aud": "6e74172b-be56-4843-9ff4-e66a39bb12e3", "iss": provider.issuer(),
        "iat": now() - 5, "nbf": now() - 5, "exp": now() + 3599,
        "aio": "AXQAi/8IAAAAXdOL", "azp": "6e74172b-be56-4843-9ff4-e66a39bb12e3", "azpacr": "0",
        "name": "Abe Lincoln", "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
        "preferred_username": "abeli@microsoft.com", "rh": "I", "scp": "access_as_user",
        "roles": ["Ordain.Reader"], "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
        "tid": TENANT, "uti": "fqiBqXLPj0eQa82S-IYFAA", "ver": "2.0",
    });
    let kid = "nOo3ZDrODXEK1jKWhXslHR_KXEg";
    let own = format!("/v1/tenants/{TENANT}/history");
    let reader = token(kid, &claims);
    assert_eq!(status(&app, &reader, &own).await, 200);
    assert_eq!(status(&app, &reader, "/v1/tenants/acme/history").await, 403);
    let both = json!({"roles": ["Ordain.Reader", "Ordain.Admin", "Msiam"]});
    let both = token(kid, &with(&claims, both));
    assert_eq!(status(&app, &both, "/v1/tenants").await, 200);
    // The names of Ordain's roles mean nothing once there is a map.
    for roles in [json!(["admin"]), json!([]), json!(["ordain.admin"])] {
        let token = token(kid, &with(&claims, json!({ "roles": roles })));
        assert_eq!(status(&app, &token, "/v1/tenants").await, 403);
    }
    for wrong in [json!({"aud": "other"}), json!({"iss": issuer})] {
        let token = token(kid, &with(&claims, wrong));
        assert_eq!(status(&app, &token, &own).await, 401);
    }
}

#[tokio::test]
async fn auth0() {
    let provider = Provider::start("/").await;
    provider.keys(&[published("NEVBNUNBOTgxRkE5NkQ", json!({}))]);
    let app = server(&[
        ("ORDAIN_OIDC_ISSUER", &provider.issuer()),
        ("ORDAIN_JWT_AUDIENCE", "https://ordain.example"),
        ("ORDAIN_JWT_ROLE_CLAIM", "https://ordain.example/role"),
        ("ORDAIN_JWT_TENANT_CLAIM", "https://ordain.example/tenant"),
    ])
    .await;
    let claims = json!({
        "https://ordain.example/role": "editor", "https://ordain.example/tenant": "acme",
        "iss": provider.issuer(), "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
        "aud": ["https://ordain.example", "https://x.eu.auth0.com/userinfo"],
        "iat": now(), "exp": now() + 86_400, "azp": "my_client_id",
        "scope": "openid profile email", "permissions": ["write:policies"],
    });
    let kid = "NEVBNUNBOTgxRkE5NkQ";
    let editor = app.with(&token(kid, &claims));
    editor.store("acme", &crate::support::version(1)).await;
    let history = editor.get("/v1/tenants/acme/history").await.expect(200);
    assert_eq!(
        history.json["items"][0]["actor"],
        "auth0|5f7c8ec7c33c6c004bbafe82"
    );
    editor.get("/v1/tenants/other/history").await.expect(403);
    // Without the slash it is another issuer.
    let other = provider.issuer().trim_end_matches('/').to_owned();
    let other = token(kid, &with(&claims, json!({ "iss": other })));
    assert_eq!(status(&app, &other, "/v1/tenants/acme/history").await, 401);
    let list = with(&claims, json!({"https://ordain.example/role": ["reader"]}));
    let list = token(kid, &list);
    assert_eq!(status(&app, &list, "/v1/tenants/acme/history").await, 200);
}

#[tokio::test]
async fn supabase() {
    let provider = Provider::start("/auth/v1").await;
    let mut key = EC.signer.jwk("b81269f1-21d8-4f2e-b719-c2240a840d90");
    for (name, value) in [
        ("alg", json!("ES256")),
        ("use", json!("sig")),
        ("key_ops", json!(["verify"])),
        ("ext", json!(true)),
    ] {
        key[name] = value;
    }
    provider.keys(&[key]);
    let app = server(&[
        ("ORDAIN_JWKS_URL", &provider.url()),
        ("ORDAIN_JWT_ISSUER", &provider.issuer()),
        ("ORDAIN_JWT_AUDIENCE", "authenticated"),
        ("ORDAIN_JWT_ROLE_CLAIM", "app_metadata.role"),
        ("ORDAIN_JWT_TENANT_CLAIM", "app_metadata.tenant_id"),
    ])
    .await;
    // What users may change themselves asks for more than they have.
    let claims = json!({
        "aal": "aal1", "amr": [{"method": "password", "timestamp": now()}],
        "app_metadata": {"provider": "email", "providers": ["email"], "role": "reader", "tenant_id": "acme"},
        "aud": "authenticated", "email": "x@example.com", "exp": now() + 3600, "iat": now(),
        "is_anonymous": false, "iss": provider.issuer(), "phone": "", "role": "authenticated",
        "session_id": "4b938a09-5372-4177-a314-cfa292099ea2",
        "sub": "1b3a3cb0-1e1a-4e4e-9d3e-0c3f4fa0bb3c",
        "user_metadata": {"role": "admin", "tenant_id": "other"}, "tenant_id": "other",
    });
    let sign = |claims: &Value| {
        let header =
            json!({"alg": "ES256", "kid": "b81269f1-21d8-4f2e-b719-c2240a840d90", "typ": "JWT"});
        EC.signer.with_header(&header, claims)
    };
    let reader = sign(&claims);
    assert_eq!(status(&app, &reader, "/v1/tenants/acme/history").await, 200);
    assert_eq!(
        status(&app, &reader, "/v1/tenants/other/history").await,
        403
    );
    assert_eq!(status(&app, &reader, "/v1/tenants").await, 403);
    let none = sign(&with(
        &claims,
        json!({"app_metadata": {"provider": "email"}}),
    ));
    assert_eq!(status(&app, &none, "/v1/tenants/acme/history").await, 403);
}

#[tokio::test]
async fn keycloak() {
    let provider = Provider::start("/realms/prod").await;
    provider.keys(&[
        published("enc", json!({"use": "enc", "alg": "RSA-OAEP"})),
        published(
            "FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE",
            json!({"x5t#S256": "x"}),
        ),
    ]);
    let app = server(&[
        ("ORDAIN_OIDC_ISSUER", &provider.issuer()),
        (
            "ORDAIN_JWT_ROLE_CLAIM",
            "resource_access.ordain.example.com.roles",
        ),
        (
            "ORDAIN_JWT_ROLE_MAP",
            "gateway=resolver,author=editor,ops=metrics",
        ),
        ("ORDAIN_JWT_TENANT_CLAIM", "groups"),
        ("ORDAIN_JWT_TENANTS_CLAIM", "groups"),
    ])
    .await;
    let claims = |roles: Value, groups: Value| {
        json!({
            "exp": now() + 300, "iat": now(), "jti": "trrtro:4a1b", "iss": provider.issuer(),
            "aud": "account", "sub": "f7c3b3f5-6c34-4c8d-9c9f-0e1a5a2b3c4d", "typ": "Bearer",
            "azp": "gateway", "sid": "x", "acr": "1", "allowed-origins": ["/*"],
            "realm_access": {"roles": ["offline_access", "author", "uma_authorization"]},
            "resource_access": {
                "account": {"roles": ["manage-account", "author"]},
                "ordain": {"roles": ["ops"]},
                "ordain.example.com": {"roles": roles},
            },
            "scope": "profile email", "email_verified": true, "preferred_username": "service-account-gateway",
            "groups": groups,
        })
    };
    let sign = |roles: Value, groups: Value| {
        let kid = "FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE";
        token(kid, &claims(roles, groups))
    };
    let gateway = app.with(&sign(json!(["gateway"]), json!(["acme", "clinic"])));
    gateway.resolve(&plain("clinic")).await.expect(200);
    gateway.resolve(&plain("other")).await.expect(403);
    gateway.get("/v1/tenants/acme/history").await.expect(403);
    let author = app.with(&sign(json!(["author", "gateway"]), json!(["acme"])));
    author.get("/v1/tenants/acme/history").await.expect(200);
    let several = app.with(&sign(json!(["author"]), json!(["acme", "clinic"])));
    let refused = several.get("/v1/tenants/acme/history").await;
    let refused = refused.problem(403, "forbidden");
    assert!(refused.text.contains("several tenants"), "{refused:?}");
    let ops = app.with(&sign(json!(["ops"]), json!([])));
    ops.get("/metrics").await.expect(200);
    ops.get("/v1/caches").await.expect(403);
    // Roles of the realm and of other clients are none here.
    let none = app.with(&sign(json!(["manage-account"]), json!(["acme"])));
    none.get("/v1/tenants/acme/history").await.expect(403);
}

#[tokio::test]
async fn cognito() {
    let provider = Provider::start("/eu-central-1_XyZ12345").await;
    let kid = "1234example=";
    provider.keys(&[
        published(kid, json!({"x5t": null, "x5c": null})),
        published(
            "5678example=",
            json!({"x5t": null, "x5c": null, "n": "AQAB"}),
        ),
    ]);
    let app = server(&[
        ("ORDAIN_OIDC_ISSUER", &provider.issuer()),
        ("ORDAIN_JWT_ROLE_CLAIM", "cognito:groups"),
        (
            "ORDAIN_JWT_ROLE_MAP",
            "ordain-authors=editor,ordain-readers=reader",
        ),
        ("ORDAIN_JWT_TENANT_CLAIM", "custom:tenant_id"),
    ])
    .await;
    let claims = json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": ["ordain-readers", "other"],
        "email_verified": true, "iss": provider.issuer(), "cognito:username": "janedoe",
        "custom:tenant_id": "acme", "origin_jti": "x", "aud": "xxxxxxxxxxxxexample",
        "event_id": "64f513be-32db-42b0-b78e-b02127b4f463", "token_use": "id",
        "auth_time": now(), "exp": now() + 3600, "iat": now(), "jti": "y",
    });
    let reader = token(kid, &claims);
    assert_eq!(status(&app, &reader, "/v1/tenants/acme/history").await, 200);
    assert_eq!(
        status(&app, &reader, "/v1/tenants/other/history").await,
        403
    );
    let none = token(kid, &with(&claims, json!({"cognito:groups": "other"})));
    assert_eq!(status(&app, &none, "/v1/tenants/acme/history").await, 403);
}

#[tokio::test]
async fn roles_in_a_scope_are_words_and_everywhere_else_they_are_not() {
    let claims = |name: &str| json!({"sub": "gateway", "exp": now() + 60, name: "openid ordain.admin email"});
    for (name, expected) in [("scope", 200), ("scp", 200), ("ordain_role", 403)] {
        let app = App::builder()
            .env("ORDAIN_ENV", "test")
            .env("ORDAIN_JWT_ROLE_CLAIM", name)
            .env("ORDAIN_JWT_ROLE_MAP", "ordain.admin=admin")
            .start()
            .await;
        let token = ordain_tests::tokens::token(&claims(name));
        assert_eq!(
            status(&app, &token, "/v1/tenants").await,
            expected,
            "{name}"
        );
    }
}

//! Makes tokens, for development: `ordain token`. In production an identity provider does. Not for
//! checking them.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use serde_json::{Map, Value, json};

use super::claims::actor_fault;
use super::key::Algorithm;
use super::material::{KeyError, Material};
use super::names::{Names, RoleMap, put};
use super::principal::Role;
use super::token::LIMIT;

/// Why no token is made, and what to do. Holds nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    #[error(transparent)]
    Secret(#[from] KeyError),
    #[error(
        "not one private key in PEM of RSA (2048 bits and more), EC P-256, EC P-384 or Ed25519: \
         openssl genpkey -algorithm ed25519; one that begins with BEGIN EC is converted by openssl pkey -in KEY"
    )]
    Key,
    #[error("{0}")]
    Sub(&'static str),
    #[error("the role {0} needs a tenant")]
    Tenant(&'static str),
    #[error("no value of ORDAIN_JWT_ROLE_MAP means {0}")]
    Role(&'static str),
    #[error("tokens may not hold for so long: see ORDAIN_JWT_MAX_LIFETIME")]
    Lifetime,
    #[error("the token would be longer than {} KiB, which no server takes", LIMIT >> 10)]
    Long,
    #[error("the key does not sign")]
    Signing,
}

/// A key that signs.
pub enum Signer {
    Secret(hmac::Key),
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair, Algorithm),
    Ed(Ed25519KeyPair),
}

/// What a token shall say.
#[derive(Debug, Clone)]
pub struct Wish {
    pub sub: String,
    pub role: Role,
    pub tenant: Option<String>,
    pub tenants: Option<Vec<String>>,
    pub ttl: Duration,
    pub issuer: Option<String>,
    pub audience: Option<String>,
    pub kid: Option<String>,
    pub names: Names,
    pub roles: RoleMap,
    /// Longest time that a token may hold.
    pub lifetime: Option<Duration>,
}

impl Signer {
    pub fn secret(bytes: &[u8]) -> Result<Signer, MintError> {
        match Material::secret(bytes)? {
            Material::Secret(key) => Ok(Signer::Secret(key)),
            _ => Err(MintError::Key),
        }
    }

    pub fn pem(pem: &[u8]) -> Result<Signer, MintError> {
        let sections: Result<Vec<(SectionKind, Vec<u8>)>, _> =
            <(SectionKind, Vec<u8>)>::pem_slice_iter(pem).collect();
        let sections = sections.map_err(|_| MintError::Key)?;
        match sections.as_slice() {
            [(SectionKind::RsaPrivateKey, der)] => RsaKeyPair::from_der(der)
                .map(|pair| Signer::Rsa(Box::new(pair)))
                .map_err(|_| MintError::Key),
            [(SectionKind::PrivateKey, der)] => pkcs8(der).ok_or(MintError::Key),
            _ => Err(MintError::Key),
        }
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Signer::Secret(_) => Algorithm::Hs256,
            Signer::Rsa(_) => Algorithm::Rs256,
            Signer::Ec(_, algorithm) => *algorithm,
            Signer::Ed(_) => Algorithm::EdDsa,
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, MintError> {
        let random = SystemRandom::new();
        match self {
            Signer::Secret(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| MintError::Signing)?;
                Ok(signature)
            }
            Signer::Ec(pair, _) => pair
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| MintError::Signing),
            Signer::Ed(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }

    pub fn mint(&self, wish: &Wish, now: SystemTime) -> Result<String, MintError> {
        if let Some(why) = actor_fault(&wish.sub) {
            return Err(MintError::Sub(why));
        }
        let role = wish.roles.value(wish.role);
        let role = role.ok_or(MintError::Role(wish.role.name()))?;
        if wish.lifetime.is_some_and(|most| wish.ttl > most) {
            return Err(MintError::Lifetime);
        }
        if matches!(wish.role, Role::Reader | Role::Editor) && wish.tenant.is_none() {
            return Err(MintError::Tenant(wish.role.name()));
        }
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let text = |value: &Option<String>| value.clone().map(Value::from);
        let header = object([
            ("alg", Some(self.algorithm().name().into())),
            ("typ", Some("JWT".into())),
            ("kid", text(&wish.kid)),
        ]);
        let mut claims = object([
            ("sub", Some(json!(wish.sub))),
            ("iss", text(&wish.issuer)),
            ("aud", text(&wish.audience)),
            ("iat", Some(now.as_secs().into())),
            ("exp", Some((now + wish.ttl).as_secs().into())),
        ]);
        let named = [
            (&wish.names.role, Some(Value::from(role))),
            (&wish.names.tenant, text(&wish.tenant)),
            (&wish.names.tenants, wish.tenants.clone().map(Value::from)),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                put(&mut claims, name, value);
            }
        }
        let [header, claims] = [header, claims].map(Value::Object);
        let message = format!(
            "{}.{}",
            encoded(header.to_string()),
            encoded(claims.to_string())
        );
        let signature = encoded(self.sign(message.as_bytes())?);
        let token = format!("{message}.{signature}");
        if token.len() > LIMIT {
            return Err(MintError::Long);
        }
        Ok(token)
    }
}

/// Each kind of key refuses the others.
fn pkcs8(der: &[u8]) -> Option<Signer> {
    let random = SystemRandom::new();
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
        return Some(Signer::Ed(pair));
    }
    for (signing, algorithm) in [
        (&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::Es256),
        (&ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::Es384),
    ] {
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(signing, der, &random) {
            return Some(Signer::Ec(pair, algorithm));
        }
    }
    let pair = RsaKeyPair::from_pkcs8(der).ok()?;
    Some(Signer::Rsa(Box::new(pair)))
}

fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let given = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    given.collect()
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

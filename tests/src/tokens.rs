//! Tokens for tests, good ones and bad ones, made with `ring` alone and nothing of Ordain: what is
//! judged must not make what it is judged by.

use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use serde_json::{Value, json};

/// What servers of tests check tokens by unless they are told otherwise.
pub const SECRET: &str = "a secret of the tests, which nobody else should use";
/// Who calls, unless something else is said.
pub const ACTOR: &str = "harness";

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// Claims of this role that hold for a day, with these members besides or instead; null removes.
pub fn claims(role: &str, more: Value) -> Value {
    let mut claims = json!({"sub": ACTOR, "role": role, "exp": now() + 86_400});
    for (name, value) in more.as_object().expect("an object") {
        match value {
            Value::Null => drop(claims.as_object_mut().expect("an object").remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

/// A token of these claims that servers of tests take.
pub fn token(claims: &Value) -> String {
    Signer::secret(SECRET.as_bytes()).token(claims)
}

pub fn admin() -> String {
    token(&claims("admin", json!({})))
}

pub fn reader(tenant: &str) -> String {
    token(&claims("reader", json!({"tenant_id": tenant})))
}

pub fn editor(tenant: &str) -> String {
    token(&claims("editor", json!({"tenant_id": tenant})))
}

/// For these tenants, or for all.
pub fn resolver(tenants: Option<&[&str]>) -> String {
    token(&claims("resolver", json!({ "tenants": tenants })))
}

/// For all tenants, of another caller than usual.
pub fn resolver_of(actor: &str) -> String {
    token(&claims("resolver", json!({ "sub": actor })))
}

/// A key that signs.
pub enum Signer {
    Secret(hmac::Key),
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ec384(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    pub fn secret(bytes: &[u8]) -> Signer {
        Signer::Secret(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// A private key as PKCS #8 in PEM.
    pub fn pem(pem: &str) -> Signer {
        let lines = pem.lines().filter(|line| !line.starts_with('-'));
        let der = STANDARD.decode(lines.collect::<String>()).expect("PEM");
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
            return Signer::Ed(pair);
        }
        let random = SystemRandom::new();
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random)
        {
            return Signer::Ec(pair);
        }
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &der, &random)
        {
            return Signer::Ec384(pair);
        }
        Signer::Rsa(Box::new(RsaKeyPair::from_pkcs8(&der).expect("a key")))
    }

    pub fn algorithm(&self) -> &'static str {
        match self {
            Signer::Secret(_) => "HS256",
            Signer::Rsa(_) => "RS256",
            Signer::Ec(_) => "ES256",
            Signer::Ec384(_) => "ES384",
            Signer::Ed(_) => "EdDSA",
        }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.sign_as(self.algorithm(), message)
    }

    /// With another algorithm of the same kind of key; one of another kind changes nothing.
    fn sign_as(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Signer::Secret(key) => hmac::sign(key, message).as_ref().to_vec(),
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let padding: &dyn RsaEncoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                pair.sign(padding, &random, message, &mut signature)
                    .expect("it signs");
                signature
            }
            Signer::Ec(pair) | Signer::Ec384(pair) => {
                let signature = pair.sign(&random, message).expect("it signs");
                signature.as_ref().to_vec()
            }
            Signer::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    pub fn token(&self, claims: &Value) -> String {
        self.with_header(&json!({"alg": self.algorithm(), "typ": "JWT"}), claims)
    }

    pub fn named(&self, kid: &str, claims: &Value) -> String {
        self.with_header(&json!({"alg": self.algorithm(), "kid": kid}), claims)
    }

    /// Signed with this algorithm, which the header names truly.
    pub fn with_algorithm(&self, algorithm: &str, kid: &str, claims: &Value) -> String {
        let header = json!({"alg": algorithm, "kid": kid});
        let message = format!(
            "{}.{}",
            base64url(header.to_string()),
            base64url(claims.to_string())
        );
        let signature = base64url(self.sign_as(algorithm, message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// The header as it is given, true or not.
    pub fn with_header(&self, header: &Value, claims: &Value) -> String {
        self.text(&header.to_string(), &claims.to_string())
    }

    /// Both texts as they are given, JSON or not.
    pub fn text(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", base64url(header), base64url(claims));
        let signature = base64url(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// The public key, or the secret, as a member of a JWKS.
    pub fn jwk(&self, kid: &str) -> Value {
        match self {
            Signer::Secret(_) => panic!("a key of ring does not show its secret"),
            Signer::Rsa(pair) => {
                let public: ring::signature::RsaPublicKeyComponents<Vec<u8>> = pair.public().into();
                json!({"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256",
                    "n": base64url(public.n), "e": base64url(public.e)})
            }
            Signer::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "kid": kid, "crv": "P-256",
                    "x": base64url(&point[1..33]), "y": base64url(&point[33..])})
            }
            Signer::Ec384(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "kid": kid, "crv": "P-384",
                    "x": base64url(&point[1..49]), "y": base64url(&point[49..])})
            }
            Signer::Ed(pair) => json!({"kty": "OKP", "kid": kid, "crv": "Ed25519",
                "x": base64url(pair.public_key())}),
        }
    }
}

/// A fresh pair of keys, made by OpenSSL as an operator would.
pub struct Pair {
    /// PKCS #8 in PEM.
    pub private: String,
    pub public: String,
    pub signer: Signer,
}

impl Pair {
    pub fn rsa(bits: usize) -> Pair {
        Pair::new(&["RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")])
    }

    pub fn ec() -> Pair {
        Pair::new(&["EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
    }

    pub fn ec384() -> Pair {
        Pair::new(&["EC", "-pkeyopt", "ec_paramgen_curve:P-384"])
    }

    pub fn ed25519() -> Pair {
        Pair::new(&["ED25519"])
    }

    fn new(kind: &[&str]) -> Pair {
        let private = openssl(&[&["genpkey", "-algorithm"], kind].concat(), "");
        let public = openssl(&["pkey", "-pubout"], &private);
        Pair {
            signer: Signer::pem(&private),
            private,
            public,
        }
    }
}

/// The public key of a private one that `ring` would not take, since it is too small.
pub fn small_rsa_public() -> String {
    let private = openssl(
        &[
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:1024",
        ],
        "",
    );
    openssl(&["pkey", "-pubout"], &private)
}

/// One of each kind, made once for all tests of an executable: an RSA key takes a while.
pub static RSA: LazyLock<Pair> = LazyLock::new(|| Pair::rsa(2048));
pub static EC: LazyLock<Pair> = LazyLock::new(Pair::ec);
pub static EC384: LazyLock<Pair> = LazyLock::new(Pair::ec384);
pub static ED25519: LazyLock<Pair> = LazyLock::new(Pair::ed25519);

fn openssl(args: &[&str], input: &str) -> String {
    use std::io::Write;
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is missing, run: apt-get install openssl");
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    stdin.write_all(input.as_bytes()).expect("openssl reads");
    drop(stdin);
    let output = child.wait_with_output().expect("a child can be waited for");
    assert!(output.status.success(), "openssl {args:?}");
    String::from_utf8(output.stdout).expect("PEM is text")
}
